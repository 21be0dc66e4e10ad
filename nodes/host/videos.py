"""VIDEO of the host as a stream of frames: from the file behind it, or from the frames that it holds in memory."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from comfy_api.latest import InputImpl

from ...sora_core.audio import Waveform, has_sound
from ...sora_core.video import probe, read_frames


@dataclass(frozen=True)
class Film:
    """A video at hand.

    Attributes:
        source: a file, the bytes of one, or frames (n, H, W, 3) in [0, 1].
        sound: what `audio.Sound` takes, or None.
        start, seconds: the part of the source that is meant.
    """

    source: Path | io.BytesIO | torch.Tensor
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
        return read_frames(self.source, self.start, self.seconds)


def film_of(video) -> Film:
    """A VIDEO; only one that was made of frames is ever held whole, for it already is."""
    if isinstance(video, InputImpl.VideoFromComponents):
        made = video.get_components()
        _, height, width, _ = made.images.shape
        sound = made.audio and Waveform(made.audio["waveform"][0].numpy(), made.audio["sample_rate"])
        return Film(made.images, sound, width, height, float(made.frame_rate))
    source = video.get_stream_source()
    source = Path(source) if isinstance(source, str) else source
    info, part = probe(source), (0.0, 0.0)
    if hasattr(video, "get_active_trim_window"):  # hosts that can cut a video without writing it again
        part = video.get_active_trim_window()
    sound = source if has_sound(source) else None
    return Film(source, sound, info.width, info.height, info.fps, part[0], part[1] or math.inf)
