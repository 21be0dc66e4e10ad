"""Frames on their way: in chunks, at another rate, of another size, on one sheet."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor

from .write import VideoWriter

Frame = TypeVar("Frame")


def chunks(frames: Iterable[Tensor], size: int = 16) -> Iterator[Tensor]:
    """Gather frames (3, H, W) into chunks (1, 3, n, H, W) of at most `size` frames."""
    waiting: list[Tensor] = []
    for frame in frames:
        waiting.append(frame)
        if len(waiting) == size:
            yield torch.stack(waiting, dim=1)[None]
            waiting = []
    if waiting:
        yield torch.stack(waiting, dim=1)[None]


def at_rate(frames: Iterable[Frame], ratio: float) -> Iterator[Frame]:
    """Frames at `ratio` times their rate: frame i of the new rate is the one that is shown at its time, so frames are
    repeated or left out, never blended."""
    shown = 0
    for number, frame in enumerate(frames):
        until = frames_at_rate(number + 1, ratio)
        for _ in range(shown, until):
            yield frame
        shown = max(shown, until)


def rate_ratio(wanted: float, own: float) -> float:
    """`wanted` over `own` frames per second; 1 where both are the same rate, written in another way."""
    ratio = wanted / own
    return 1.0 if abs(ratio - 1) <= 2e-4 else ratio  # 23.98 is 24000/1001; 24 is not, by 1e-3


def frames_at_rate(frames: int, ratio: float) -> int:
    """How many frames `at_rate` makes of `frames`."""
    return math.ceil(frames * ratio - 1e-6)


def fit(image: Tensor, width: int, height: int) -> Tensor:
    """Scale images (B, 3, H, W) until they cover width x height, and cut off evenly what reaches beyond."""
    _, _, h, w = image.shape
    if (w, h) == (width, height):
        return image
    scale = max(width / w, height / h)
    size = (max(height, round(h * scale)), max(width, round(w * scale)))
    image = F.interpolate(image, size, mode="bicubic", antialias=True, align_corners=False).clamp(-1, 1)
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    return image[..., top : top + height, left : left + width]


def contact_sheet(frames: Iterable[Tensor], path: str | os.PathLike, count: int = 8, columns: int = 4) -> None:
    """Lay `count` frames, evenly chosen from first to last, out as one image, small ones enlarged by whole factors.

    Args:
        frames: (3, H, W) in [-1, 1], or a whole video (3, T, H, W).
        path: of the image.
    """
    frames = list(frames.unbind(1)) if isinstance(frames, Tensor) else list(frames)
    chosen = [frames[round(i * (len(frames) - 1) / max(1, count - 1))] for i in range(min(count, len(frames)))]
    scale = max(1, math.ceil(192 / max(chosen[0].shape[1:])))
    gap = 4
    cells = [F.interpolate(f[None], scale_factor=scale)[0] for f in chosen]
    _, height, width = cells[0].shape
    columns = min(columns, len(cells))
    rows = math.ceil(len(cells) / columns)
    sheet = torch.ones(3, rows * (height + gap) - gap, columns * (width + gap) - gap)
    for i, cell in enumerate(cells):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        sheet[:, y : y + height, x : x + width] = cell
    with VideoWriter(path, sheet.shape[2], sheet.shape[1]) as writer:
        writer.write(sheet)
