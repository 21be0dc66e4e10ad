"""What is where: for every latent cell of a clip, the facts about whatever stands there.

The auxiliary target of the diffusion transformer (see training.dit). It plays the part that the features of a large
image encoder play in REPA (Yu et al., "Representation alignment for generation", ICLR 2025); worlds know the truth.
"""

import torch
from torch import Tensor

from .render import Paths, coverage
from .scene import Scene
from .vocabulary import BACKGROUNDS, COLOURS, MOTIONS, SHAPES, STYLES

_GROUPS = {
    "shape": SHAPES,
    "colour": tuple(COLOURS),
    "motion": MOTIONS,
    "background": BACKGROUNDS,
    "background colour": tuple(COLOURS),
    "style": STYLES,
}
PRESENCE = tuple(f"{group}: {name}" for group, names in _GROUPS.items() for name in names)
_INDEX = {name: i for i, name in enumerate(PRESENCE)}


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
    no thing is; an image has no motion, and what a style does not show is not there. `along`: see `render`."""
    cover = coverage(scenes, frames, height, width, s_stride, device, along)[:, :, seen]
    cover = by_cell(cover, 2, t_stride)  # (B, 2, t, h, w)
    free = (1 - cover.sum(1)).clamp(min=0)
    facts = torch.zeros(len(scenes), 3, len(PRESENCE), device=device)  # of the two things and the background
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
    return torch.einsum("bsthw,bsf->bthwf", torch.cat([cover, free[:, None]], dim=1), facts).clamp(0, 1)


def by_cell(x: Tensor, dim: int, t_stride: int) -> Tensor:
    """Means along the frames `dim` over those of each latent frame; where the last is not full, its last one stays."""
    first, later = x.split([1, x.shape[dim] - 1], dim)
    missing = x.narrow(dim, x.shape[dim] - 1, 1).repeat_interleave(-later.shape[dim] % t_stride, dim)
    return torch.cat([first, torch.cat([later, missing], dim).unflatten(dim, (-1, t_stride)).mean(dim + 1)], dim)
