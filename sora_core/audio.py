"""What is heard: sound of the inputs, laid at its time into the file that is being written.

The sound is decoded, cut, and encoded again, block by block beside the pictures: pieces of several inputs, with silence
between them, make one track.
"""

from __future__ import annotations

import io
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from .errors import UserError

CODECS = {".mp4": "aac", ".webm": "libopus", ".mov": "pcm_s24le"}  # by the ending of the file; others are silent
_RATES = {
    ".mp4": (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000),
    ".webm": (48000,),
    ".mov": (96000, 88200, 48000, 44100),
}
_BLOCK = 4096  # samples of silence made at once
_GAP = 0.1  # seconds without samples that are a gap, and no rounding of their times


@dataclass(frozen=True, eq=False)
class Waveform:
    """Sound in memory: samples (channels, n), float32 in [-1, 1], and how many of them make a second."""

    samples: np.ndarray
    rate: int


@dataclass(frozen=True)
class Sound:
    """`seconds` of the sound of a file (or of its bytes, or of a waveform), from `start` on, heard `at` a time of the
    film. All in seconds."""

    path: Path | io.BytesIO | Waveform
    at: float
    start: float
    seconds: float


def laid_over(sounds: Sequence[Sound], top: Sound) -> list[Sound]:
    """Sounds in the order of time with another one laid over them: while that is heard, they are not."""
    begin, end, pieces = top.at, top.at + top.seconds, [top]
    for sound in sounds:
        stop = sound.at + sound.seconds
        for first, last in ((sound.at, min(begin, stop)), (max(end, sound.at), stop)):
            if first < last:
                pieces.append(replace(sound, at=first, start=sound.start + first - sound.at, seconds=last - first))
    return sorted(pieces, key=lambda piece: piece.at)


def has_sound(path: str | os.PathLike | io.BytesIO) -> bool:
    """Whether a file that FFmpeg can read holds sound that a decoder here reads."""
    try:
        with _opened(path) as container:
            return any(map(_is_read, container.streams.audio))
    except (UserError, ValueError):
        return False


def unread_sound(path: str | os.PathLike | io.BytesIO) -> str | None:
    """The sentence on sound that is in a file and cannot be heard, because no decoder here reads it."""
    with _opened(path) as container:
        if not container.streams.audio or any(map(_is_read, container.streams.audio)):
            return None
    name = "The video" if isinstance(path, io.BytesIO) else Path(path).name
    return f"{name} is silent here: no decoder reads the kind of sound that it holds."


def unheard(path: Path, sounds: Sequence[Sound]) -> list[str]:
    """The sentence on sounds that the kind of file `path` is cannot hold, if there are such."""
    if not sounds or path.suffix.lower() in CODECS:
        return []
    return [f"{path.name} is silent: files of its kind hold no sound."]


class Track:
    """The audio stream of a container that is being written.

    Args:
        container: open for writing; the stream is added to it.
        ending: of its name, a key of `CODECS`.
        sounds: in the order of time, from files that hold sound (see `has_sound`); they are read through at once, for
            a film may take hours until it gets there.

    Raises:
        UserError: one is damaged, or holds NaN or infinity.
    """

    def __init__(self, container: av.container.OutputContainer, ending: str, sounds: Sequence[Sound]):
        for sound in sounds:
            _check(sound)
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

    def _decoded(self, path: Path | io.BytesIO | Waveform) -> Iterator[tuple[int, np.ndarray]]:
        """(number of the first sample, samples (channels, n)) of a file at this track's rate. Where its sound stops for
        a while, or changes its format, what follows is in its own place."""
        resampler, known, position = None, None, 0
        for time, frame in _frames(path):
            kind = frame and (frame.format.name, frame.layout.name, frame.sample_rate)
            due = round(time * self.rate)
            if resampler is None or (frame and (kind != known or due - position > _GAP * self.rate)):
                for part in resampler.resample(None) if resampler else ():
                    yield position, part.to_ndarray()
                resampler = av.AudioResampler(format="fltp", layout=self.layout, rate=self.rate)
                known, position = kind, due
            for part in resampler.resample(frame):
                samples = part.to_ndarray()
                yield position, samples
                position += samples.shape[1]


def _frames(path: Path | io.BytesIO | Waveform) -> Iterator[tuple[float, av.AudioFrame | None]]:
    """Decoded sound block by block, each with its time in seconds after the first picture; None behind the last."""
    if not isinstance(path, Waveform):
        with _opened(path) as container:
            begin = _begin(container)
            for frame in container.decode(_stream(path, container)):
                yield 0.0 if frame.time is None else frame.time - begin, frame
    else:
        samples = path.samples[:2]  # of surround sound the two in front
        for start in range(0, samples.shape[1], _BLOCK):
            block = np.ascontiguousarray(samples[:, start : start + _BLOCK], dtype=np.float32)
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono" if len(samples) == 1 else "stereo")
            frame.sample_rate, frame.pts, frame.time_base = path.rate, start, Fraction(1, path.rate)
            yield start / path.rate, frame
    yield 0.0, None


def _check(sound: Sound) -> None:
    """Read what a film takes of a sound."""
    for time, frame in _frames(sound.path):
        if frame is None or time > sound.start + sound.seconds:
            return
        if frame.format.name.startswith(("flt", "dbl")) and not np.isfinite(frame.to_ndarray()).all():
            raise UserError(
                f"The sound of {_name(sound.path)} holds values that are not finite (NaN or infinity) after {time:.2f} "
                "seconds: mend it, or leave it out."
            )


def _begin(container: av.container.InputContainer) -> float:
    """When the pictures of a file begin, or a file of sound does, in seconds of its timestamps."""
    video = next(iter(container.streams.video), None)
    if video is not None and video.start_time is not None:
        return float(video.start_time * video.time_base)
    return (container.start_time or 0) / av.time_base


def _is_read(stream: av.AudioStream) -> bool:
    return stream.codec_context is not None  # None where there is no decoder


def _stream(path: Path | io.BytesIO, container: av.container.InputContainer) -> av.AudioStream:
    """The first sound that can be read."""
    stream = next(filter(_is_read, container.streams.audio), None)
    if stream is None:
        raise UserError(f"The sound of {_name(path)} is of a kind that no decoder here reads.")
    return stream


@contextmanager
def _opened(path: str | os.PathLike | io.BytesIO) -> Iterator[av.container.InputContainer]:
    # bytes get a place of reading of their own: pictures and sound are read beside each other
    source = io.BytesIO(path.getvalue()) if isinstance(path, io.BytesIO) else os.path.abspath(path)
    try:
        with av.open(source) as container:
            yield container
    except av.error.FFmpegError as error:
        raise UserError(f"The sound of {_name(path)} is damaged: {error.strerror}.") from error


def _name(path: str | os.PathLike | io.BytesIO) -> str:
    """What a sentence calls it."""
    if isinstance(path, Waveform):
        return "the node before"
    return "the video" if isinstance(path, io.BytesIO) else str(path)


def _format(path: Path | io.BytesIO | Waveform) -> tuple[int, int]:
    """(samples per second, channels) of a file's first sound."""
    if isinstance(path, Waveform):
        return path.rate, min(2, len(path.samples))
    with _opened(path) as container:
        stream = _stream(path, container)
        return stream.codec_context.sample_rate, stream.codec_context.channels
