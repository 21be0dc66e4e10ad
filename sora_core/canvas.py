"""The canvas: a latent grid plus, for every patch, the noise level at which it starts.

There is one task: fill a canvas. Level 1 = invent the patch, 0 = keep it, 0.6 = repaint it from its content at
strength 0.6 (SDEdit: Meng et al., ICLR 2022, per patch). Text to video, animating an image, extending, editing and the
rest of the Sora report's "Prompting with images and videos" differ only in how they prepare the canvas; every operation
here returns a new canvas, so they compose, and none samples.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor

from .errors import UserError
from .grid import Grid


@dataclass(frozen=True)
class Canvas:
    """What is to be filled, checked when it is made.

    Args:
        latent: (B, C, t, h, w), standardised content; read only where level < 1. Kept as float32.
        level: (B, 1, t, h, w) in [0, 1], the same for all cells of a patch.
        grid: the size in pixels; its `latent_shape` is the latent's.
        origin: (t, y, x) of the first cell in the noise field. A canvas that grows towards earlier frames or to the
            left or top starts at a negative origin, and its old patches keep their noise.
        scale: how many times wider and higher this canvas is than the prototype whose composition it shares.

    Raises:
        UserError: the latent does not belong to the grid, or holds NaN; a level is outside [0, 1].
    """

    latent: Tensor
    level: Tensor
    grid: Grid
    origin: tuple[int, int, int] = (0, 0, 0)
    scale: int = 1

    def __post_init__(self):
        object.__setattr__(self, "latent", self.latent.float())
        object.__setattr__(self, "level", self.level.float())
        _check_latent(self.latent, self.grid.latent_shape, self.grid)
        b, _, t, h, w = self.latent.shape
        if self.level.shape != (b, 1, t, h, w):
            raise UserError(
                f"The noise levels are {_size(self.level)}, but the canvas needs one per cell: {b}x1x{t}x{h}x{w}."
            )
        if not ((self.level >= 0) & (self.level <= 1)).all():  # also false for NaN
            raise UserError("Every strength must be from 0 (keep) to 1 (invent).")
        if not torch.equal(self.level, _per_patch(self.level, self.grid.geometry.patch)):
            raise UserError("The noise level must be the same for all latent cells of a patch.")

    @property
    def kept(self) -> Tensor:
        """Bool (B, 1, t, h, w): the patches that leave as they came."""
        return self.level == 0

    def to(self, device: torch.device | str) -> Canvas:
        """The same canvas on another device."""
        return replace(self, latent=self.latent.to(device), level=self.level.to(device))


def empty(grid: Grid, batch: int = 1, device: torch.device | str = "cpu") -> Canvas:
    """A canvas on which everything is to be invented: text to video, or to an image if the grid has one frame."""
    latent = torch.zeros(batch, *grid.latent_shape, device=device)
    return Canvas(latent, torch.ones_like(latent[:, :1]), grid)


def place(canvas: Canvas, latent: Tensor, at: int = 0, strength: float | Tensor = 0.0) -> Canvas:
    """Lay a clip or an image onto the canvas over its whole width and height.

    Args:
        latent: (B or 1, C, t', h, w) of the same pixel size as the canvas; edges short of a whole patch are repeated.
        at: latent frame where it starts; negative counts from the end, so -1 is the last frame.
        strength: 0 keeps it, 1 ignores it; a number, or a tensor that broadcasts to (B, 1, t', h, w). A patch takes the
            highest strength of its cells.

    Raises:
        UserError: it is of another model or size, reaches beyond the canvas, or a strength is outside [0, 1].
    """
    channels, t, h, w = canvas.grid.latent_shape
    latent = _to_whole_patches(latent, canvas.grid)
    _check_latent(latent, (channels, None, h, w), canvas.grid)
    batch, length = len(canvas.latent), latent.shape[2]
    if latent.shape[0] not in (1, batch):
        raise UserError(f"A batch of {latent.shape[0]} cannot be placed on a canvas of {batch}: give one, or {batch}.")
    start = at + t if at < 0 else at
    if not 0 <= start <= t - length:
        raise UserError(f"{length} latent frames placed at {at} reach beyond the canvas, which has {t}.")
    inside = slice(start, start + length)
    content, level = canvas.latent.clone(), canvas.level.clone()
    content[:, :, inside] = latent.to(content)
    try:
        level[:, :, inside] = torch.as_tensor(strength).to(level)
    except RuntimeError:
        raise UserError(
            f"A strength of size {_size(strength)} does not fit {batch}x1x{length}x{h}x{w} cells."
        ) from None
    return replace(canvas, latent=content, level=_per_patch(level, canvas.grid.geometry.patch))


def animate(grid: Grid, image: Tensor, at: int = 0) -> Canvas:
    """A canvas that keeps an image (B, C, 1, h, w) at one latent frame and invents the rest: animate an image."""
    if image.ndim == 5 and image.shape[2] != 1:
        raise UserError(f"To animate takes one image, not {image.shape[2]} latent frames: place a clip instead.")
    return place(empty(grid, len(image), image.device), image, at)


def _per_patch(level: Tensor, patch: tuple[int, int, int]) -> Tensor:
    """(B, 1, t, h, w) with the highest level of each patch in all its cells: what is touched at all is repainted."""
    if patch == (1, 1, 1):
        return level
    pooled = F.max_pool3d(level, patch)
    pt, py, px = patch
    return repeat(pooled, "b c t h w -> b c (t pt) (h py) (w px)", pt=pt, py=py, px=px)


def _to_whole_patches(latent: Tensor, grid: Grid) -> Tensor:
    """Repeat the last row and column of a latent that covers the pixels but not the last patches of its grid."""
    if latent.ndim != 5:
        return latent
    _, _, h, w = grid.latent_shape
    stride = grid.geometry.s_stride
    if latent.shape[-2:] == (-(-grid.height // stride), -(-grid.width // stride)):
        latent = F.pad(latent, (0, w - latent.shape[-1], 0, h - latent.shape[-2], 0, 0), mode="replicate")
    return latent


def _check_latent(latent: Tensor, shape: tuple[int, int | None, int, int], grid: Grid) -> None:
    """`latent` is (B, *shape), where None is any length; otherwise a sentence that names both sizes."""
    fits = latent.ndim == 5 and all(want in (None, have) for have, want in zip(latent.shape[1:], shape, strict=True))
    if not fits:
        want = "x".join("any" if n is None else str(n) for n in shape)
        raise UserError(
            f"This latent is {_size(latent)} and the canvas needs batch x {want} (channels x time x height x width) "
            f"for {grid.width}x{grid.height} pixels with {grid.geometry}: use the codec of this model and this size."
        )
    if not torch.isfinite(latent).all():
        raise UserError("The latent holds values that are not numbers (NaN or infinite): encode the input again.")


def _size(x) -> str:
    return "x".join(map(str, torch.as_tensor(x).shape)) or "one number"
