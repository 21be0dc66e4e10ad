"""A video or image file as an operation takes it: at its size and frame rate, read as a stream.

Only the frames that an operation looks at are ever held; the others pass from file to file.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import av
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from .audio import unread_sound
from .codec import Codec
from .errors import UserError
from .grid import Grid
from .strength import mask_to_cells
from .video import VideoInfo, at_rate, fit, frames_at_rate, is_image, probe, rate_ratio, read_frames, read_grey


def made_even(name: str, info: VideoInfo) -> str:
    """What is done to a video of varying frame rate, in words."""
    return f"{name} has no constant frame rate: its frames are held as long as they last, at {info.fps:g} fps."


class Clip:
    """A file at a size and a frame rate.

    Args:
        path: of a video or an image.
        width, height, fps: as it is wanted; what is left out is the file's own. Another size is scaled to cover it and
            cut evenly at the edges, another rate repeats or leaves out frames: `changes` says so.

    Attributes:
        info: of the file as it is.
        changes: sentences on what is done to it.

    Raises:
        UserError: no such file, or not a video or image that can be read.
    """

    def __init__(self, path: str | os.PathLike, width: int | None = None, height: int | None = None, fps=None):
        self.path = Path(path)
        self.info: VideoInfo = probe(path)
        self.is_image = is_image(path)
        self.width, self.height = width or self.info.width, height or self.info.height
        self.fps = float(self.info.fps if fps is None else fps)
        self.changes = []
        if not self.info.even:
            self.changes.append(made_even(self.path.name, self.info))
        if not self.is_image and (silent := unread_sound(path)):
            self.changes.append(silent)
        if (self.width, self.height) != (self.info.width, self.info.height):
            what = "scaled"
            if abs(self.width * self.info.height / (self.height * self.info.width) - 1) > 0.01:
                what = "scaled, and cut at the edges,"
            self.changes.append(
                f"{self.path.name} is {what} from {self.info.width}x{self.info.height} to {self.width}x{self.height}."
            )
        if self._ratio != 1:
            what = "frames are left out" if self.fps < self.info.fps else "frames are repeated"
            self.changes.append(f"{self.path.name} goes from {self.info.fps:g} to {self.fps:g} fps: {what}.")

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """(3, height, width) in [-1, 1], from number `start` to before `stop`, counted at `fps`."""
        for number, frame in enumerate(at_rate(read_frames(self.path), self._ratio)):
            if stop is not None and number >= stop:
                return
            if number >= start:
                yield fit(frame[None], self.width, self.height)[0]

    @property
    def _ratio(self) -> float:
        return 1.0 if self.is_image else rate_ratio(self.fps, self.info.fps)

    def ends(self, head: int, tail: int) -> tuple[Tensor, Tensor, int]:
        """The first `head` and last `tail` frames, each (1, 3, n, height, width), and how many there are in all."""
        first: list[Tensor] = []
        last: deque[Tensor] = deque(maxlen=tail)
        count = 0
        for frame in self.frames():
            if count < head:
                first.append(frame)
            last.append(frame)
            count += 1
        return torch.stack(first, dim=1)[None], torch.stack(list(last), dim=1)[None], count

    @property
    def expected(self) -> int:
        """The number of frames by the file's own account; `length` counts them."""
        return frames_at_rate(self.info.frames, self._ratio)

    def length(self) -> int:
        """The number of frames, counted."""
        return sum(1 for _ in at_rate(read_frames(self.path), self._ratio))

    def take(self, start: int, stop: int) -> Tensor:
        """Frames from number `start` to before `stop`, or as many as there are: (1, 3, n, height, width)."""
        return torch.stack(list(self.frames(start, stop)), dim=1)[None]

    @torch.inference_mode()
    def encode(self, codec: Codec, start: int = 0, stop: int | None = None, led: bool = False) -> tuple[Tensor, int]:
        """(the latent (1, C, t, h, w) of the frames from number `start` to before `stop`, how many there are), encoded
        as a stream. `led`: behind a still of the first one, whose cell is left out."""
        count = 0

        def counted() -> Iterator[Tensor]:
            nonlocal count
            for frame in self.frames(start, stop):
                frame = frame.to(codec.device, codec.dtype)[None, :, None]
                if led and count == 0:
                    yield frame
                count += 1
                yield frame

        latents = codec.vae.encode_stream(counted(), tile=codec.tile(self.height, self.width))
        return torch.cat([latent.float() for latent in latents], dim=2)[:, :, int(led) :], count


def read_mask(path: str | os.PathLike, clip: Clip, grid: Grid) -> Tensor:
    """A mask from an image or a video, fitted as `clip` is: white is 1; what is black or transparent is 0.

    Args:
        grid: of the clip, whose cells it is for.

    Returns:
        (1 or frames, h, w) in [0, 1], a value per cell: see `strength.mask_to_cells`.

    Raises:
        UserError: see `Clip`.
    """
    one = replace(grid, frames=1, cyclic=False)

    def cells(grey: Tensor) -> Tensor:
        grey, size = grey[None, None], (clip.info.height, clip.info.width)
        if grey.shape[2:] != size:
            grey = F.interpolate(grey, size, mode="bilinear", antialias=True)
        return mask_to_cells(fit(grey, clip.width, clip.height)[0, 0].clamp(0, 1), one)[0, 0, 0]

    if is_image(path):
        return cells(read_grey(path))[None]
    frames = at_rate(read_frames(path, paper=0), rate_ratio(clip.fps, probe(path).fps))
    return torch.stack([cells((frame.mean(0) + 1) / 2) for frame in frames])


def read_tags(path: str | os.PathLike) -> dict[str, str]:
    """What a file of this program says about how it was made: prompt, seed, settings; empty for other files. What
    ComfyUI writes as the prompt, a graph of nodes, is none."""
    try:
        if is_image(path):
            with Image.open(path) as image:
                found = dict(image.info) if image.format == "PNG" else json.loads(image.getexif()[0x010E])
        else:
            with av.open(os.path.abspath(path)) as container:
                found = {key.lower(): value for key, value in container.metadata.items()}
    except (OSError, ValueError, KeyError, TypeError, RecursionError, av.error.FFmpegError):
        return {}
    known = ("prompt", "seed", "settings")
    told = {key: found[key] for key in known if isinstance(found, dict) and isinstance(found.get(key), str)}
    return {key: text for key, text in told.items() if key != "prompt" or not _is_graph(text)}


def _is_graph(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def alike(paths: list[Path], width: int | None, height: int | None, fps: float | None) -> list[Clip]:
    """Several files at one size and rate: what is not asked for is that of the first video among them.

    Raises:
        UserError: see `Clip`; only images, and no frame rate.
    """
    infos = [(path, probe(path)) for path in paths]
    path, first = next(((p, i) for p, i in infos if not is_image(p)), infos[0])
    if fps is None and is_image(path):
        raise UserError(f"{path} is an image and has no frame rate: say one with --fps.")
    return [Clip(p, width or first.width, height or first.height, first.fps if fps is None else fps) for p in paths]
