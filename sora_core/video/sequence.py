"""A film as a folder of PNG files, for those who cut or grade it frame by frame."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor

from ..errors import UserError
from ..files import check_writable, explain, replacing
from .write import check_frames, tags_of, to_integers


class FrameFolder:
    """Write a folder of PNG files frame by frame; the folder appears when the ``with`` block succeeds.

    The files are called like the folder, with a number of five digits from 0 on.

    Args:
        path: of the folder, which must not exist yet.
        width, height: pixels.
        metadata: as for `VideoWriter`; every file carries it.

    Raises:
        UserError: the folder exists or cannot be made; pixels that are not finite; a disk that is full.
    """

    def __init__(self, path: str | os.PathLike, width: int, height: int, metadata: Mapping[str, object] | None = None):
        self.path = Path(path)
        if self.path.exists():
            raise UserError(f"{self.path} exists already: choose another name.")
        check_writable(self.path)
        self.width, self.height, self.frames = width, height, 0
        self._info = PngInfo()
        for key, value in tags_of(metadata).items():
            self._info.add_itxt(key, value)

    def name(self, number: int) -> str:
        """Of the file of a frame."""
        return f"{self.path.name}{number:05}.png"

    def __enter__(self) -> FrameFolder:
        self._stack = ExitStack()
        self._part = self._stack.enter_context(replacing(self.path, folder=True))
        return self

    def write(self, video: Tensor) -> None:
        """Append (3, H, W), (3, n, H, W) or (1, 3, n, H, W) in [-1, 1]; values beyond are clipped."""
        for frame in check_frames(video, self.height, self.width).unbind(1):
            try:
                Image.fromarray(to_integers(frame)).save(self._part / self.name(self.frames), pnginfo=self._info)
            except OSError as error:
                raise explain(error, self.path) from error
            self.frames += 1

    def __exit__(self, kind, error, trace):
        if kind is None and self.frames == 0:
            kind, error = ValueError, ValueError("no frame was written")
            self._stack.__exit__(kind, error, None)
            raise error
        return self._stack.__exit__(kind, error, trace)
