"""Strengths as people give them, in cells: a mask in pixels, a curve over time. 0 keeps, 1 invents."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import UserError
from .grid import Grid


def check_strength(strength: float | Tensor) -> None:
    """Refuse a strength, or one of many, outside [0, 1] or NaN."""
    strength = torch.as_tensor(strength)
    wrong = strength[~((strength >= 0) & (strength <= 1))]  # NaN, too
    if wrong.numel():
        raise UserError(f"Every strength must be from 0 (keep) to 1 (invent), not {float(wrong[0]):g}.")


def mask_to_cells(mask: Tensor, grid: Grid) -> Tensor:
    """A mask in pixels as (1, 1, t, h, w): each cell takes the highest value of its pixels and frames.

    Args:
        mask: (H, W) or (frames, H, W) in [0, 1], a value per cell or per pixel; another height and width is scaled to
            the grid's.

    Raises:
        UserError: values outside [0, 1] or NaN; neither one frame nor as many as the grid has.
    """
    mask = mask.float()
    mask = mask[None] if mask.ndim == 2 else mask
    if mask.ndim != 3 or 0 in mask.shape:
        raise UserError(f"A mask must be (height, width) or (frames, height, width), not {size_of(mask)}.")
    if not ((mask >= 0) & (mask <= 1)).all():
        raise UserError("Every value of a mask must be from 0 (leave alone) to 1 (edit).")
    if len(mask) not in (1, grid.frames):
        raise UserError(f"The mask has {len(mask)} frames and the video {grid.frames}: give one frame, or as many.")
    t, h, w = grid.latent_shape[1:]
    stride = grid.geometry.s_stride
    cells = mask
    if mask.shape[1:] != (h, w):
        mask = F.adaptive_max_pool2d(mask[None], (grid.height, grid.width))
        mask = F.pad(mask, (0, w * stride - grid.width, 0, h * stride - grid.height), mode="replicate")
        cells = F.max_pool2d(mask, stride)[0]
    if len(cells) > 1:
        first = cells[: 0 if grid.cyclic else 1]  # of a latent frame of its own
        missing = (t - len(first)) * grid.geometry.t_stride + len(first) - len(cells)
        rest = torch.cat([cells[len(first) :], cells[-1:].expand(missing, h, w)])
        cells = torch.cat([first, rest.unflatten(0, (t - len(first), -1)).amax(1)])
    return cells.expand(t, h, w)[None, None]


def curve_to_cells(curve: Sequence[tuple[float, float]], grid: Grid) -> Tensor:
    """A curve of (place, strength) as (1, 1, t, 1, 1): a cell takes the value at its last frame.

    Args:
        curve: places rise from 0, the first frame, to 1, the last; linear between the points and held beyond them.

    Raises:
        UserError: no points, places outside [0, 1] or not rising, strengths outside [0, 1].
    """
    if not curve:
        raise UserError("A curve needs at least one point, for instance 0:0.2,1:0.8.")
    places, strengths = zip(*curve, strict=True)
    check_strength(torch.tensor(strengths))
    if not all(0 <= p <= 1 for p in places) or not all(p < q for p, q in pairwise(places)):
        raise UserError("The places of a curve must rise from 0 (the first frame) to 1 (the last).")
    stride = grid.geometry.t_stride
    last_frames = np.arange(grid.latent_shape[1]) * stride + (stride - 1 if grid.cyclic else 0)
    values = np.interp(last_frames / max(1, grid.frames - 1), places, strengths)
    return torch.from_numpy(values).float().view(1, 1, -1, 1, 1)


def parse_curve(text: str) -> list[tuple[float, float]]:
    """Read ``"0:0.2,1:0.8"``: place:strength, see `curve_to_cells`.

    Raises:
        UserError: it is not of that form.
    """
    points = []
    for part in text.split(","):
        place, _, strength = part.partition(":")
        try:
            points.append((float(place), float(strength)))
        except ValueError:
            raise UserError(
                f"{part.strip()[:40]!r} is no point of a curve: write place:strength with commas between, for instance "
                "0:0.2,1:0.8."
            ) from None
    return points


def size_of(x) -> str:
    """The shape of a tensor, or of one number, as people write it."""
    return "x".join(map(str, torch.as_tensor(x).shape)) or "one number"
