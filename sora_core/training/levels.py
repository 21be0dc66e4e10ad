"""Which patches are given and which are to be learnt: the levels one training sample is noised to, and what they weigh.

Every way to prepare a canvas (text to video, animate, extend, loop, outpaint, edit) is a pattern of start levels m, and
sampling visits the levels m s. Training draws the same products, so one model serves every form of prompt: images and
videos as prompts in the Sora report; independent levels per frame after diffusion forcing (Chen et al., NeurIPS 2024);
a slightly noisy history against drift, as in GameNGen (Valevski et al. 2024).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..flow import sample_levels
from .parallel import total

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


class EvenLevels(nn.Module):
    """Weights by level that give every level the same part in the loss: its error, divided by what it is on average.

    The error of the velocity is largest near noise, where most of it cannot be learnt, and several times smaller where
    outlines are drawn. So divided, as by the uncertainty of EDM2 (Karras et al., CVPR 2024, equation 14), which is a
    learnt function there and a running mean over `RANGES` ranges of levels here.
    """

    RANGES = 16
    KEPT = 0.995  # of the past, a step

    def __init__(self):
        super().__init__()
        self.register_buffer("sums", torch.ones(2, self.RANGES))  # of errors, and how much they are the errors of

    def _range(self, level: Tensor) -> Tensor:
        return (level * self.RANGES).long().clamp(max=self.RANGES - 1)

    @torch.no_grad()
    def observe(self, levels: list[Tensor], errors: list[Tensor], learnt: list[Tensor]) -> None:
        """Take in the errors of a step; `learnt` says how much of a cell counts. All of one list alike in shape."""
        seen = torch.zeros_like(self.sums)
        for level, *values in zip(levels, errors, learnt, strict=True):
            of = self._range(level).flatten()
            for row, value in zip(seen, values, strict=True):
                row.index_add_(0, of, value.flatten().float())
        self.sums.mul_(self.KEPT).clamp_(min=1e-9)  # the mean of a range that is never seen comes to 1
        self.sums.add_(total(seen))

    def forward(self, level: Tensor) -> Tensor:
        """The weights of cells at `level`, of its shape: the mean over all ranges, divided by that of their own."""
        mean = self.sums[0] / self.sums[1]
        return (mean.mean() / mean)[self._range(level)]
