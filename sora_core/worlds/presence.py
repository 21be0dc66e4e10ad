"""What is where: for every latent cell of a clip, the facts about whatever stands there.

The auxiliary target of the diffusion transformer (see training.dit). It plays the part that the features of a large
image encoder play in REPA (Yu et al., "Representation alignment for generation", ICLR 2025); worlds know the truth.
"""

import math

import torch
from torch import Tensor

from .render import Paths, coverage, paths
from .scene import Scene
from .vocabulary import BACKGROUNDS, COLOURS, CORNERS, DIRECTIONS, MOTIONS, SHAPES, STYLES

_GROUPS = {
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "motion": MOTIONS,
    "background": BACKGROUNDS,
    "background colour": tuple(COLOURS),
    "style": STYLES,
    # What a thing does at the moment: where to, from a hundredth of the shorter side a frame on entirely; whether it
    # grows or shrinks, from a fiftieth a frame on; which way it turns, from 4 degrees a frame on.
    "now": ("left", "right", "up", "down", "grows", "shrinks", "clockwise", "counter-clockwise"),
    # How it lies: its middle from that of the cell, in its diameters, its diameter over the shorter side, and the
    # cosine and sine of its turn times its corners, so that what looks alike is alike; all of these in 0..1.
    "lies": ("across", "along", "size", "cosine", "sine"),
}
PRESENCE = tuple(f"{group}: {name}" for group, names in _GROUPS.items() for name in names)
_INDEX = {name: i for i, name in enumerate(PRESENCE)}
_WORDS = len(PRESENCE) - len(_GROUPS["now"]) - len(_GROUPS["lies"])  # what holds of a thing throughout
_FAST = (0.01, 0.01, 0.02, math.radians(4))  # right, down, growing, turning


def presence(
    scenes: list[Scene],
    frames: int,
    height: int,
    width: int,
    t_stride: int,
    s_stride: int,
    device="cpu",
    seen: slice = slice(None),
    along: Paths | None = None,
) -> Tensor:
    """(B, t, h, w, PRESENCE) in 0..1 on the latent grid of clips, of those frames of all that are `seen`: the share of
    the cell, over its frames, that holds each fact. A thing's facts hold where it is, the background's where
    no thing is, of the colours of a gradient each as far as it goes there (to a camera that stands still); an image
    has no motion, and what a style does not show is not there. `along`: see `render`."""
    along = along or paths(scenes, frames, height, width, device)
    cover = coverage(scenes, frames, height, width, s_stride, device, along)  # (B, 2, T, h, w)
    moments = (_now(along, height, width), _lies(scenes, along, cover, height, width, s_stride))
    moments = torch.cat([(facts * cover[:, :, None]).sum(1) for facts in moments], dim=1)  # (B, facts, T, h, w)
    moments = by_cell(moments[:, :, seen], 2, t_stride).movedim(1, -1)
    cover = by_cell(cover[:, :, seen], 2, t_stride)  # (B, 2, t, h, w)
    free = (1 - cover.sum(1)).clamp(min=0)
    facts = torch.zeros(len(scenes), 3, _WORDS, device=device)  # of the two things and the background
    for row, scene in enumerate(scenes):
        for slot, thing in enumerate(scene.things):
            held = [f"shape: {thing.shape}"]
            held += [f"colour: {thing.colour}"] if scene.shows_colour else []
            held += [f"motion: {thing.motion}"] if frames > 1 else []
            facts[row, slot, [_INDEX[name] for name in held]] = 1
        held = [f"style: {scene.style}"]
        if scene.shows_background:
            held.append(f"background: {scene.background}")
            held += [f"background colour: {name}" for name in scene.background_colours]
        facts[row, 2, [_INDEX[name] for name in held]] = 1
    words = torch.einsum("bsthw,bsf->bthwf", torch.cat([cover, free[:, None]], dim=1), facts)
    for row, scene in enumerate(scenes):
        if scene.background == "gradient":
            ends = [_INDEX[f"background colour: {name}"] for name in scene.background_colours]
            words[row][..., ends] *= _fade(scene.direction, *words.shape[2:4]).to(words)
    return torch.cat([words, moments], dim=-1).clamp(0, 1)


def _fade(direction: str, rows: int, columns: int) -> Tensor:
    """(rows, columns, 2): the share that either colour of a gradient has of every cell."""
    along, across = ((torch.arange(cells) + 0.5) / cells for cells in (rows, columns))
    of_across, of_along = DIRECTIONS[direction]
    second = of_across * across + of_along * along[:, None]
    return torch.stack([1 - second, second], dim=-1)


def _now(along: Paths, height: int, width: int) -> Tensor:
    """(B, 2, 8, T, 1, 1) in 0..1: what things do from each frame to the next, in the last one as in that before."""
    short = min(height, width)

    def rate(path: Tensor) -> Tensor:
        if path.shape[-1] == 1:
            return torch.zeros_like(path)
        change = path.diff(dim=-1)
        return torch.cat([change, change[..., -1:]], dim=-1)

    rates = (along.x * width / short, along.y * height / short, -along.size.log(), -along.angle)
    shares = [sign * rate(path) / fast for path, fast in zip(rates, _FAST, strict=True) for sign in (-1, 1)]
    return torch.stack(shares, dim=2).clamp(0, 1)[..., None, None]


def _lies(scenes: list[Scene], along: Paths, cover: Tensor, height: int, width: int, cell: int) -> Tensor:
    """(B, 2, 5, T, h, w) in 0..1: how things lie, seen from every cell."""
    diameter = along.size * min(height, width)
    rows = (torch.arange(cover.shape[-2], device=cover.device) + 0.5)[:, None] * cell
    columns = (torch.arange(cover.shape[-1], device=cover.device) + 0.5) * cell
    corners = [[CORNERS.get(thing.shape, 0) for thing in (scene.things * 2)[:2]] for scene in scenes]
    turn = along.angle * torch.tensor(corners, device=cover.device)[..., None]
    x, y, diameter, size, cosine, sine = (
        path[..., None, None]
        for path in (along.x * width, along.y * height, diameter, along.size, turn.cos(), turn.sin())
    )
    facts = (0.5 + (x - columns) / diameter, 0.5 + (y - rows) / diameter, size, 0.5 + cosine / 2, 0.5 + sine / 2)
    return torch.stack([fact.expand_as(cover) for fact in facts], dim=2).clamp(0, 1)


def by_cell(x: Tensor, dim: int, t_stride: int) -> Tensor:
    """Means along the frames `dim` over those of each latent frame; where the last is not full, its last one stays."""
    first, later = x.split([1, x.shape[dim] - 1], dim)
    missing = x.narrow(dim, x.shape[dim] - 1, 1).repeat_interleave(-later.shape[dim] % t_stride, dim)
    return torch.cat([first, torch.cat([later, missing], dim).unflatten(dim, (-1, t_stride)).mean(dim + 1)], dim)
