"""A video or image file as an operation takes it: at its size and frame rate, read as a stream.

Only the frames that an operation looks at are ever held; the others pass from file to file.
"""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from .codec import Codec
from .errors import UserError
from .video import VideoInfo, chunks, is_image, probe, read_frames


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
        if (self.width, self.height) != (self.info.width, self.info.height):
            what = "scaled"
            if abs(self.width * self.info.height / (self.height * self.info.width) - 1) > 0.01:
                what = "scaled, and cut at the edges,"
            self.changes.append(
                f"{self.path.name} is {what} from {self.info.width}x{self.info.height} to {self.width}x{self.height}."
            )
        if not self.is_image and abs(self.fps / self.info.fps - 1) > 1e-3:
            what = "frames are left out" if self.fps < self.info.fps else "frames are repeated"
            self.changes.append(f"{self.path.name} goes from {self.info.fps:g} to {self.fps:g} fps: {what}.")

    def frames(self, start: int = 0, stop: int | None = None) -> Iterator[Tensor]:
        """(3, height, width) in [-1, 1], from number `start` to before `stop`, counted at `fps`."""
        from .pipeline import fit

        for number, frame in enumerate(self._at_rate()):
            if stop is not None and number >= stop:
                return
            if number >= start:
                yield fit(frame[None], self.width, self.height)[0]

    def _at_rate(self) -> Iterator[Tensor]:
        """Frame i at rate fps is the one that the file shows at i / fps seconds."""
        ratio = 1.0 if self.is_image else self.fps / self.info.fps
        if abs(ratio - 1) <= 1e-3:  # the same rate, written in another way
            yield from read_frames(self.path)
            return
        shown = 0
        for number, frame in enumerate(read_frames(self.path)):
            until = math.ceil((number + 1) * ratio - 1e-6)
            yield from [frame] * (until - shown)
            shown = max(shown, until)

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

    def whole(self) -> Tensor:
        """(1, 3, n, height, width)."""
        return torch.stack(list(self.frames()), dim=1)[None]

    @torch.inference_mode()
    def encode(self, codec: Codec) -> tuple[Tensor, int]:
        """(the latent (1, C, t, h, w) of the whole clip, its frames), encoded as a stream."""
        count = 0

        def counted(frames: Iterable[Tensor]) -> Iterator[Tensor]:
            nonlocal count
            for frame in frames:
                count += 1
                yield frame.to(codec.device, codec.dtype)

        latents = codec.vae.encode_stream(chunks(counted(self.frames())), tile=codec.tile(self.height, self.width))
        return torch.cat([latent.float() for latent in latents], dim=2), count


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
