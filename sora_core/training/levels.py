"""Which patches are given and which are to be learnt: the levels one training sample is noised to.

Every way to prepare a canvas (text to video, animate, extend, loop, outpaint, edit) is a pattern of start levels m, and
sampling visits the levels m s. Training draws the same products, so one model serves every form of prompt: images and
videos as prompts in the Sora report; independent levels per frame after diffusion forcing (Chen et al., NeurIPS 2024);
a slightly noisy history against drift, as in GameNGen (Valevski et al. 2024).
"""

from __future__ import annotations

import torch
from torch import Tensor

from ..flow import sample_levels

HISTORY = 0.02  # the level of a history that is nearly clean

SHARES = {
    "whole": 0.47,  # nothing given
    "first": 0.12,  # the first frame: animate an image
    "prefix": 0.10,  # extend forward
    "suffix": 0.07,  # extend backward
    "ends": 0.05,  # loop, connect
    "frames": 0.03,  # any frames
    "rectangle": 0.06,  # a region of the picture: outpaint, repaint
    "independent": 0.05,  # a level per frame
    "history": 0.04,  # a prefix at HISTORY
    "ramp": 0.01,  # strength that changes over time: edit by a curve, morph
}


def _integer(low: int, high: int, generator: torch.Generator | None) -> int:
    """A whole number from low to high, both included."""
    return int(torch.randint(low, high + 1, (), generator=generator))


def _strengths(mode: str, t: int, h: int, w: int, generator: torch.Generator | None) -> Tensor:
    """Start levels m that broadcast to (t, h, w); at least one patch is to be invented."""
    m = torch.ones(t, 1, 1)
    if mode == "first":
        m[0] = 0
    elif mode == "prefix":
        m[: _integer(1, t - 1, generator)] = 0
    elif mode == "suffix":
        m[_integer(1, t - 1, generator) :] = 0
    elif mode == "ends":
        start = _integer(1, t - 2, generator)
        m[:start] = 0
        m[_integer(start + 1, t - 1, generator) :] = 0
    elif mode == "frames":
        m[torch.randperm(t, generator=generator)[: _integer(1, t - 1, generator)]] = 0
    elif mode == "ramp":
        a, b = torch.rand(2, generator=generator).tolist()
        m = (m.cumsum(0) - 1) / max(1, t - 1) * (b - a) + a
    elif mode == "rectangle":
        height, width = _integer(1, h, generator), _integer(1, w, generator)
        y, x = _integer(0, h - height, generator), _integer(0, w - width, generator)
        inside = torch.zeros(1, h, w, dtype=torch.bool)
        inside[:, y : y + height, x : x + width] = True
        given = inside if _integer(0, 1, generator) and not inside.all() else ~inside
        strength = torch.rand((), generator=generator) if _integer(0, 3, generator) == 0 else 0.0  # a quarter: soft
        m = torch.where(given, strength, 1.0)
    return m


def training_levels(
    shape: tuple[int, int, int],
    generator: torch.Generator | None = None,
    *,
    mode: str | None = None,
    a: float = 1.0,
    **distribution,
) -> Tensor:
    """Draw the levels of one sample.

    Args:
        shape: (t, h, w) in patches. Repeat the result over the cells of a patch where a patch has several.
        mode: a key of `SHARES`, or None to draw one. What needs more latent frames than there are (an image has one)
            becomes "whole".
        a: shift of those levels that are not drawn evenly: the schedule's of this grid (`flow.shift_for_tokens`).
        distribution: mean, std, uniform_share of `flow.sample_levels`.

    Returns:
        float32 (t, h, w) in [0, 1); 0 marks given patches, which `flow.loss_weight` leaves out of the loss.
    """
    t, h, w = shape
    if mode is None:
        shares = torch.tensor(list(SHARES.values()))
        mode = list(SHARES)[int(torch.multinomial(shares, 1, generator=generator))]
    elif mode not in SHARES:
        raise ValueError(f"mode must be one of {', '.join(SHARES)}, not {mode!r}")
    if t < {"whole": 1, "rectangle": 1, "ends": 3}.get(mode, 2):
        mode = "whole"

    s = sample_levels(t if mode == "independent" else 1, generator, a, **distribution).view(-1, 1, 1)
    if mode == "history":
        given = _strengths("prefix", t, h, w, generator) == 0
        level = torch.where(given, torch.full_like(s, HISTORY), s)
    else:
        level = _strengths(mode, t, h, w, generator) * s
    return level.expand(t, h, w).contiguous()
