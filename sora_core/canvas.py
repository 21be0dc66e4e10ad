"""The canvas: a latent grid plus, for every patch, the noise level at which it starts.

There is one task: fill a canvas. Level 1 = invent the patch, 0 = keep it, 0.6 = repaint it from its content at
strength 0.6 (SDEdit: Meng et al., ICLR 2022, per patch). Text to video, animating an image, extending, editing and the
rest of the Sora report's "Prompting with images and videos" differ only in how they prepare the canvas; every operation
here returns a new canvas, so they compose, and none samples.

The codec is causal: the first latent frame of a clip stands for one frame, every later one for `t_stride`, of which a
first one shows only the last. A clip whose first latent frame comes to lie inside a longer canvas has it invented anew,
as a cell in motion, for kept it would show its frame `t_stride` times; an image is such a still and is kept.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from einops import repeat
from torch import Tensor

from .errors import UserError
from .grid import Grid
from .strength import check_strength, curve_to_cells, mask_to_cells, size_of

EDIT_STRENGTH = 0.5  # of the bundled model the lowest that follows the prompt: docs/model-card.md
REFINE_STRENGTH = 0.6


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
        batch: the number of each sample in the batch that it was taken from; None counts from 0. Its noise is that of
            seed + number.

    Raises:
        UserError: the latent does not belong to the grid, or holds NaN; a level is outside [0, 1].
    """

    latent: Tensor
    level: Tensor
    grid: Grid
    origin: tuple[int, int, int] = (0, 0, 0)
    scale: int = 1
    batch: tuple[int, ...] | None = None

    def __post_init__(self):
        object.__setattr__(self, "latent", self.latent.float())
        object.__setattr__(self, "level", self.level.float())
        _check_latent(self.latent, self.grid.latent_shape, self.grid)
        b, _, t, h, w = self.latent.shape
        if self.level.shape != (b, 1, t, h, w):
            raise UserError(
                f"The noise levels are {size_of(self.level)}, but the canvas needs one per cell: {b}x1x{t}x{h}x{w}."
            )
        check_strength(self.level)
        if not torch.equal(self.level, _per_patch(self.level, self.grid.geometry.patch)):
            raise UserError("The noise level must be the same for all latent cells of a patch.")

    @property
    def kept(self) -> Tensor:
        """Bool (B, 1, t, h, w): the patches that leave as they came."""
        return self.level == 0

    @property
    def numbers(self) -> tuple[int, ...]:
        """What is added to a seed for the noise of each sample."""
        return tuple(range(len(self.latent))) if self.batch is None else self.batch

    def alone(self, b: int) -> Canvas:
        """Sample b of the batch by itself, with its own noise."""
        return replace(self, latent=self.latent[b, None], level=self.level[b, None], batch=(self.numbers[b],))

    def to(self, device: torch.device | str) -> Canvas:
        """The same canvas on another device."""
        return replace(self, latent=self.latent.to(device), level=self.level.to(device))


def empty(grid: Grid, batch: int = 1, device: torch.device | str = "cpu") -> Canvas:
    """A canvas on which everything is to be invented: text to video, or to an image if the grid has one frame."""
    latent = torch.zeros(batch, *grid.latent_shape, device=device)
    return Canvas(latent, torch.ones_like(latent[:, :1]), grid)


def blank(grid: Grid, like: Canvas) -> Canvas:
    """An empty canvas with the batch, device and scale of another."""
    return replace(empty(grid, len(like.latent), like.latent.device), scale=like.scale, batch=like.batch)


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
    if isinstance(strength, Tensor):
        strength = _to_whole_patches(strength, canvas.grid)
    _check_latent(latent, (channels, None, h, w), canvas.grid)
    check_strength(strength)
    batch, length = len(canvas.latent), latent.shape[2]
    if latent.shape[0] not in (1, batch):
        count = "one" if batch == 1 else f"one, or {batch}"
        raise UserError(f"A batch of {latent.shape[0]} cannot be placed on a canvas of {batch}: give {count}.")
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
            f"A strength of size {size_of(strength)} does not fit {batch}x1x{length}x{h}x{w} cells."
        ) from None
    return replace(canvas, latent=content, level=_per_patch(level, canvas.grid.geometry.patch))


def animate(grid: Grid, image: Tensor, at: int = 0) -> Canvas:
    """A canvas that keeps an image (B, C, 1, h, w) at one latent frame and invents the rest: animate an image."""
    if image.ndim == 5 and image.shape[2] != 1:
        raise UserError(f"To animate takes one image, not {image.shape[2]} latent frames: place a clip instead.")
    return place(empty(grid, len(image), image.device), image, at)


def keep(latent: Tensor, grid: Grid, strength: float | Tensor = 0.0) -> Canvas:
    """A canvas that holds a whole clip (B, C, t, h, w) at one strength: the start of every operation on a video."""
    return place(empty(grid, len(latent), latent.device), latent, 0, strength)


def extend(canvas: Canvas, forward: int = 0, backward: int = 0) -> Canvas:
    """Invent what comes after and before.

    Args:
        forward, backward: latent frames, `t_stride` frames each. Backward, the frames that were there follow the new
            ones; the old first latent frame is invented anew (see the top of this file).

    Raises:
        UserError: negative lengths, or none at all; more than a minute.
    """
    if min(forward, backward) < 0 or forward + backward == 0:
        raise UserError(
            f"To extend takes at least one latent frame, forward or backward, not {forward} and {backward}."
        )
    t = canvas.latent.shape[2]
    grid = _longer(canvas.grid, t + forward + backward)
    inner = _as_continuation(canvas) if backward else canvas
    out = replace(blank(grid, canvas), origin=_moved(canvas.origin, -backward))
    return _overlay(out, inner, backward)


def connect(a: Canvas, b: Canvas, gap: int) -> Canvas:
    """A bridge: `a`, then `gap` latent frames to invent, then `b`, whose first latent frame is invented anew too.

    Raises:
        UserError: the two differ in size, frame rate, model or batch; the gap is negative; more than a minute.
    """
    _check_alike(a, b)
    if gap < 0:
        raise UserError(f"The gap between two clips must be at least 0 latent frames, not {gap}.")
    t = a.latent.shape[2]
    out = replace(blank(_longer(a.grid, t + gap + b.latent.shape[2]), a), origin=a.origin)
    return _overlay(_overlay(out, a, 0), _as_continuation(b), t + gap)


def loop(canvas: Canvas, gap: int, context: int = 3) -> Canvas:
    """Close a clip: the clip, `gap` latent frames to invent, and the clip's first `context` latent frames once more,
    so that the gap knows where it leads to. Filled, its first `lap` frames are one lap; what follows is the copy."""
    if canvas.grid.cyclic:
        raise UserError("A cyclic loop has neither start nor end: it is closed already.")
    start = min(context, canvas.latent.shape[2])
    if start < 1:
        raise UserError(f"The context of a loop must be at least 1 latent frame, not {context}.")
    grid = replace(canvas.grid, frames=canvas.grid.geometry.frames(start))
    copy = replace(canvas, latent=canvas.latent[:, :, :start], level=canvas.level[:, :, :start], grid=grid)
    return connect(canvas, copy, gap)


def lap(canvas: Canvas, gap: int, context: int = 3) -> int:
    """Frames of one lap of `loop`: those before the clip's first frame comes again."""
    start, t = min(context, canvas.latent.shape[2]), canvas.latent.shape[2]
    # The latent frame after the gap is a still of the first frame, or is invented and shows that frame last.
    lead_in = 0 if start == 1 else canvas.grid.geometry.t_stride - 1
    return canvas.grid.geometry.frames(t + gap) + lead_in


def morph(a: Canvas, b: Canvas, strength: float = 0.9) -> Canvas:
    """`a` turns into `b`: content blends over time, levels follow half a sine that is 0 at both ends, so the first
    latent frame is kept from `a` and the last from `b`.

    Args:
        a, b: of the same length, at least three latent frames.
        strength: the level in the middle.

    Raises:
        UserError: the two differ in length, size, frame rate, model or batch; strength outside [0, 1].
    """
    _check_alike(a, b)
    check_strength(strength)
    t = a.latent.shape[2]
    if t != b.latent.shape[2]:
        raise UserError(
            f"To morph takes two clips of the same length, not {t} and {b.latent.shape[2]} latent frames: cut the "
            "longer one."
        )
    if t < 3:
        least = a.grid.geometry.frames(2) + 1
        raise UserError(f"To morph takes clips of at least {least} frames, not {a.grid.frames}: take longer ones.")
    u = torch.linspace(0, 1, t, device=a.latent.device).view(1, 1, t, 1, 1)
    share = u * u * (3 - 2 * u)  # smoothstep: at rest at both ends
    bell = strength * torch.sin(math.pi * u).clamp(min=0)
    bell[:, :, -1] = 0  # sin(pi) is not quite 0 in floating point
    latent = torch.lerp(a.latent, b.latent.to(a.latent), share)
    level = torch.maximum(torch.lerp(a.level, b.level.to(a.level), share), bell)
    return replace(a, latent=latent, level=_per_patch(level, a.grid.geometry.patch))


def edit(
    canvas: Canvas,
    strength: float = EDIT_STRENGTH,
    mask: Tensor | None = None,
    curve: Sequence[tuple[float, float]] | None = None,
) -> Canvas:
    """Repaint what is known (SDEdit), as strongly as told for the whole, for regions and over time.

    Args:
        strength: 0 changes nothing, 1 invents everything. What is to be invented already stays so.
        mask: in [0, 1], (H, W) or (frames, H, W) of any size: 1 is edited at full strength. See `mask_to_cells`.
        curve: (place, strength) with place from 0, the first frame, to 1, the last: replaces `strength`, linear between
            the points and held beyond them.

    Raises:
        UserError: strengths or mask outside [0, 1]; a mask with another number of frames than 1 or the grid's.
    """
    check_strength(strength)
    level = torch.full_like(canvas.level[:1], strength)
    if curve is not None:
        level = curve_to_cells(curve, canvas.grid).to(level).expand_as(level)
    if mask is not None:
        level = level * mask_to_cells(mask, canvas.grid).to(level)
    level = _per_patch(level.contiguous(), canvas.grid.geometry.patch)
    return replace(canvas, level=torch.maximum(canvas.level, level))


def reframe(canvas: Canvas, width: int, height: int, x: float = 0.5, y: float = 0.5) -> Canvas:
    """Outpaint: the picture inside a larger frame, whose border is invented.

    Args:
        width, height: of the new frame, pixels.
        x, y: how much of the new room lies to the left and above: 0 none, 0.5 half, 1 all. The picture moves in whole
            patches, so what is left over of the room, less than a patch, lies to the right and below. Where its own
            width or height ends inside a patch and the border goes on, that patch is invented.

    Raises:
        UserError: the new frame is smaller than the old one; x or y outside [0, 1].
    """
    old = canvas.grid
    if width < old.width or height < old.height:
        raise UserError(
            f"{old.width}x{old.height} does not fit inside {width}x{height}: reframe to a size that is at least as "
            "large both ways, or scale the video down first."
        )
    if not (0 <= x <= 1 and 0 <= y <= 1):
        raise UserError(f"The place of the picture in the new frame must be from 0 to 1, not {x} and {y}.")
    grid = replace(old, width=width, height=height)
    (_, ph, pw), stride = old.geometry.patch, old.geometry.s_stride
    top = round((height - old.height) // (ph * stride) * y) * ph
    left = round((width - old.width) // (pw * stride) * x) * pw
    level = canvas.level.clone()
    if old.height % (ph * stride) and height > old.height:
        level[..., -ph:, :] = 1
    if old.width % (pw * stride) and width > old.width:
        level[..., -pw:] = 1
    out = replace(blank(grid, canvas), origin=_moved(canvas.origin, 0, -top, -left))
    return _overlay(out, replace(canvas, level=level), 0, top, left)


def refine(canvas: Canvas, width: int, height: int, strength: float = REFINE_STRENGTH) -> Canvas:
    """A prototype at full size: its latent is scaled up and repainted. Where the new size is a whole multiple, the
    noise is shared with the prototype too (`Canvas.scale`), so the same seed supports the same composition.

    Raises:
        UserError: the new frame is smaller, or of another shape; strength outside [0, 1].
    """
    grid = replace(canvas.grid, width=width, height=height)
    times = enlargement(canvas.grid, grid)
    check_strength(strength)
    t, h, w = grid.latent_shape[1:]
    latent = F.interpolate(canvas.latent, (t, h, w), mode="trilinear", align_corners=False)
    level = F.interpolate(canvas.level, (t, h, w), mode="nearest").clamp(min=strength)
    refined = replace(canvas, latent=latent, level=_per_patch(level, grid.geometry.patch), grid=grid)
    origin = (canvas.origin[0], canvas.origin[1] * times, canvas.origin[2] * times)
    return replace(refined, scale=canvas.scale * times, origin=origin)


def enlargement(small: Grid, large: Grid) -> int:
    """How many times wider and higher `large` is, where that is a whole number and so the noise can be shared
    (`Canvas.scale`); else 1.

    Raises:
        UserError: it is smaller, or of another shape.
    """
    old, new = f"{small.width}x{small.height}", f"{large.width}x{large.height}"
    if large.width < small.width or large.height < small.height:
        raise UserError(f"To refine {old} takes a larger size, not {new}.")
    if not 0.9 < large.width * small.height / (large.height * small.width) < 1.1:
        raise UserError(
            f"{new} has another shape than {old}: refine to the same shape, and reframe before or after that."
        )
    pixels = (small.height, small.width), (large.height, large.width)
    for (h, w), (large_h, large_w) in (pixels, (small.latent_shape[2:], large.latent_shape[2:])):
        if large_h % h == 0 and large_h * w == large_w * h:
            return large_h // h
    return 1


# -------------------------------------------------------------------------------------------------------------- helpers


def _overlay(canvas: Canvas, part: Canvas, t: int, y: int = 0, x: int = 0) -> Canvas:
    """`canvas` with content and levels of `part` from cell (t, y, x) on."""
    content, level = canvas.latent.clone(), canvas.level.clone()
    nt, ny, nx = part.latent.shape[2:]
    inside = (..., slice(t, t + nt), slice(y, y + ny), slice(x, x + nx))
    content[inside], level[inside] = part.latent.to(content), part.level.to(level)
    return replace(canvas, latent=content, level=_per_patch(level, canvas.grid.geometry.patch))


def _as_continuation(canvas: Canvas) -> Canvas:
    """The same, to lie behind something: its first latent frame is invented anew, unless it is all there is."""
    if canvas.latent.shape[2] == 1:
        return canvas
    level = canvas.level.clone()
    level[:, :, 0] = 1
    return replace(canvas, level=_per_patch(level, canvas.grid.geometry.patch))


def _longer(grid: Grid, latent_frames: int) -> Grid:
    """The grid at another length; frames that it cut off its last latent frame are shown again."""
    if grid.cyclic:
        raise UserError("A cyclic loop has neither start nor end: what goes on must be a video that is no loop.")
    return replace(grid, frames=grid.geometry.frames(latent_frames))


def _moved(origin: tuple[int, int, int], t: int = 0, y: int = 0, x: int = 0) -> tuple[int, int, int]:
    return origin[0] + t, origin[1] + y, origin[2] + x


def _check_alike(a: Canvas, b: Canvas) -> None:
    encode = "make them alike first, in ComfyUI with Sora Encode Video (width, height, fps)"
    for what, one, other, advice in (
        ("size", f"{a.grid.width}x{a.grid.height}", f"{b.grid.width}x{b.grid.height}", encode),
        ("frame rate", f"{a.grid.fps:g} fps", f"{b.grid.fps:g} fps", encode),
        ("model", str(a.grid.geometry), str(b.grid.geometry), "encode both with the codec of one model"),
        ("batch", len(a.latent), len(b.latent), "both must hold as many clips"),
    ):
        if one != other:
            raise UserError(f"The two clips differ in {what}, {one} and {other}: {advice}.")


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
    if latent.shape[-2:] == grid.cells[1:]:
        latent = F.pad(latent, (0, w - latent.shape[-1], 0, h - latent.shape[-2], 0, 0), mode="replicate")
    return latent


def _check_latent(latent: Tensor, shape: tuple[int, int | None, int, int], grid: Grid) -> None:
    """`latent` is (B, *shape), where None is any length; otherwise a sentence that names both sizes."""
    fits = latent.ndim == 5 and all(want in (None, have) for have, want in zip(latent.shape[1:], shape, strict=True))
    if not fits:
        want = "x".join("any" if n is None else str(n) for n in shape)
        raise UserError(
            f"This latent is {size_of(latent)} and the canvas needs batch x {want} (channels x time x height x width) "
            f"for {grid.width}x{grid.height} pixels with {grid.geometry}: use the codec of this model and this size."
        )
    if not torch.isfinite(latent).all():
        raise UserError("The latent holds values that are not numbers (NaN or infinite): encode the input again.")
