"""VIDEO of the host as a stream of frames: from the files behind it, or from the frames that it holds in memory."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import comfy.model_management
import torch
from comfy_api.latest import Input, InputImpl, Types

from ...sora_core.audio import Waveform, has_sound, unread_sound
from ...sora_core.video import probe, read_frames, read_image


@dataclass(frozen=True)
class Film:
    """A video at hand.

    Attributes:
        source: a file, the bytes of one, image files in a row, or frames (n, H, W, 3) in [0, 1].
        sound: what `audio.Sound` takes, or None.
        start, seconds: the part of the source that is meant.
    """

    source: Path | io.BytesIO | list[Path] | torch.Tensor
    sound: Path | io.BytesIO | Waveform | None
    width: int
    height: int
    fps: float
    start: float = 0.0
    seconds: float = math.inf

    def frames(self) -> Iterator[torch.Tensor]:
        """(3, H, W) in [-1, 1], one at a time."""
        if isinstance(self.source, torch.Tensor):
            return (frame.movedim(-1, 0)[:3].float() * 2 - 1 for frame in self.source)
        if isinstance(self.source, list):
            return (read_image(path) for path in self.source)
        return read_frames(self.source, self.start, self.seconds)


def watched(film: Film) -> Iterator[torch.Tensor]:
    """The frames of a film; the host may interrupt at each."""
    for frame in film.frames():
        comfy.model_management.throw_exception_if_processing_interrupted()
        yield frame


class FramesVideo(Input.Video):
    """A VIDEO of image files, read when another node asks for its frames."""

    def __init__(self, paths: list[Path], fps: float):
        self.paths, self.fps = paths, fps

    def get_components(self) -> Types.VideoComponents:
        images = torch.stack([(read_image(path).movedim(0, -1) + 1) / 2 for path in self.paths])
        return Types.VideoComponents(images=images, frame_rate=Fraction(self.fps).limit_denominator(1001))

    def save_to(self, path, *arguments, **named):
        InputImpl.VideoFromComponents(self.get_components()).save_to(path, *arguments, **named)

    def as_trimmed(self, start_time=0.0, duration=0.0, strict_duration=False):
        start = round((start_time or 0.0) * self.fps)
        start = start if start >= 0 else max(0, start + len(self.paths))  # the host counts such from the end
        stop = start + max(1, round(duration * self.fps)) if duration else len(self.paths)
        if start >= len(self.paths) or (strict_duration and stop > len(self.paths)):
            return None
        return FramesVideo(self.paths[start:stop], self.fps)


def film_of(video) -> Film:
    """A VIDEO, frame by frame as exactly as it has them. Only one that would be compressed to be read as a stream is
    held whole; one made of frames is already."""
    if isinstance(video, FramesVideo):
        first = probe(video.paths[0])
        return Film(video.paths, None, first.width, first.height, video.fps)
    if type(video).get_stream_source is Input.Video.get_stream_source:  # the host's default: into an H.264 in memory
        made = video.get_components()
        _, height, width, _ = made.images.shape
        sound = made.audio and Waveform(made.audio["waveform"][0].float().cpu().numpy(), made.audio["sample_rate"])
        return Film(made.images, sound, width, height, float(made.frame_rate))
    source = video.get_stream_source()
    source = Path(source) if isinstance(source, str) else source
    info, part = probe(source), (0.0, 0.0)
    if hasattr(video, "get_active_trim_window"):  # hosts that can cut a video without writing it again
        part = video.get_active_trim_window()
    sound = source if has_sound(source) else None
    if sound is None and (silent := unread_sound(source)):
        logging.warning(silent)
    return Film(source, sound, info.width, info.height, info.fps, part[0], part[1] or math.inf)
