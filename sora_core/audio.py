"""What is heard: sound of the inputs, laid at its time into the file that is being written.

The sound is decoded, cut, and encoded again, block by block beside the pictures: pieces of several inputs, with silence
between them, make one track.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from .errors import UserError

CODECS = {".mp4": "aac", ".webm": "libopus"}  # by the ending of the file; others are silent
_RATES = {".mp4": (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000), ".webm": (48000,)}
_BLOCK = 4096  # samples of silence made at once


@dataclass(frozen=True)
class Sound:
    """`seconds` of the sound of a file, from `start` on, heard `at` a time of the film. All in seconds."""

    path: Path
    at: float
    start: float
    seconds: float


def has_sound(path: str | os.PathLike) -> bool:
    """Whether a file that FFmpeg can read holds sound."""
    try:
        with av.open(str(path)) as container:
            return bool(container.streams.audio)
    except (av.error.FFmpegError, ValueError):
        return False


class Track:
    """The audio stream of a container that is being written.

    Args:
        container: open for writing; the stream is added to it.
        ending: of its name, a key of `CODECS`.
        sounds: in the order of time, from files that hold sound (see `has_sound`).
    """

    def __init__(self, container: av.container.OutputContainer, ending: str, sounds: Sequence[Sound]):
        rates, channels = zip(*(_format(sound.path) for sound in sounds), strict=True)
        self.rate = rates[0] if len(set(rates)) == 1 and rates[0] in _RATES[ending] else 48000
        self.layout = "mono" if set(channels) == {1} else "stereo"
        self.container = container
        self.stream = container.add_stream(CODECS[ending], rate=self.rate, layout=self.layout)
        self.stream.bit_rate = 192_000
        self._blocks = self._samples(sounds)
        self._written = 0

    def until(self, seconds: float) -> None:
        """Write the sound up to a time of the film, as far as there is some."""
        while self._written < seconds * self.rate:
            block = next(self._blocks, None)
            if block is None:
                return
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(block), format="fltp", layout=self.layout)
            frame.sample_rate, frame.pts, frame.time_base = self.rate, self._written, Fraction(1, self.rate)
            self._written += block.shape[1]
            self.container.mux(self.stream.encode(frame))

    def close(self) -> None:
        """Write what the encoder still holds."""
        self.container.mux(self.stream.encode(None))

    def _samples(self, sounds: Sequence[Sound]) -> Iterator[np.ndarray]:
        """(channels, n) float32 from time 0 on, without a gap."""
        at, channels = 0, 1 if self.layout == "mono" else 2
        for sound in sounds:
            begin = round(sound.at * self.rate)
            end = begin + round(sound.seconds * self.rate)
            skip = round(sound.start * self.rate) - begin  # from a sample of the film to one of the file
            for position, block in self._decoded(sound.path):
                first, last = max(at, begin, position - skip), min(end, position - skip + block.shape[1])
                if last <= first:
                    if position - skip >= end:
                        break
                    continue
                while at < first:
                    n = min(_BLOCK, first - at)
                    yield np.zeros((channels, n), np.float32)
                    at += n
                yield block[:, first - position + skip : last - position + skip]
                at = last

    def _decoded(self, path: Path) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first sample, samples (channels, n)) of a file at this track's rate."""
        with _opened(path) as container:
            resampler = av.AudioResampler(format="fltp", layout=self.layout, rate=self.rate)
            position = None
            for frame in container.decode(audio=0):
                if position is None:
                    position = max(0, round((frame.time or 0.0) * self.rate))
                for part in resampler.resample(frame):
                    samples = part.to_ndarray()
                    yield position, samples
                    position += samples.shape[1]


@contextmanager
def _opened(path: Path) -> Iterator[av.container.InputContainer]:
    try:
        with av.open(str(path)) as container:
            yield container
    except av.error.FFmpegError as error:
        raise UserError(f"The sound of {path} is damaged: {error.strerror}.") from error


def _format(path: Path) -> tuple[int, int]:
    """(samples per second, channels) of a file's first sound."""
    with _opened(path) as container:
        stream = container.streams.audio[0]
        return stream.codec_context.sample_rate, stream.codec_context.channels
