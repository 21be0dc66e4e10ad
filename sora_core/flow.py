"""The diffusion process: rectified flow between clean patches and noise, its schedules and its training weights.

A patch at level s is x_s = (1 - s) x0 + s e with e ~ N(0, 1): 0 is clean, 1 is noise (Liu et al., "Flow straight and
fast", ICLR 2023; Esser et al., "Scaling rectified flow transformers", ICML 2024, section 2). The network predicts x0
("trained to predict the original clean patches", Sora report). All functions take one level or one per patch: `s`
broadcasts against the latent (B, C, t, h, w), for instance as (B, 1, t, h, w).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .errors import UserError

MAX_STEPS = 1000


def double(x: Tensor) -> Tensor:
    """`x` in float64; on the CPU where its device may know none (GPUs of Apple and Intel, DirectML)."""
    return x.to(exact_device(x.device)).double()


def exact_device(device: torch.device | str) -> torch.device:
    """Where to compute in float64 for tensors of `device`."""
    device = torch.device(device)
    return device if device.type in ("cpu", "cuda") else torch.device("cpu")


def interpolate(x0: Tensor, e: Tensor, s: Tensor | float) -> Tensor:
    """x_s = (1 - s) x0 + s e. At s = 0 the result is x0 bit for bit."""
    return (1 - s) * x0 + s * e


def shift(s: Tensor | float, a: float) -> Tensor | float:
    """s' = a s / (1 + (a - 1) s): a > 1 spends more of the steps at high levels (Esser et al. 2024, equation 23).

    A large picture carries the same signal in more values, so it takes more noise to hide its composition.
    """
    return a * s / (1 + (a - 1) * s)


def shift_for_tokens(tokens: int, factor: float = 1.0) -> float:
    """The shift a for a grid of so many tokens: a = exp(mu), mu linear in tokens, 0.95 at 1024 and 2.05 at 4096.

    These are LTX-Video's figures (HaCohen et al. 2024; `rf.py`, get_normal_shift). The line is continued below 1024
    tokens, where the bundled model works (720 tokens: a = 2.3), and held above 4096 (a = 7.8), where exp would run
    away: Wan2.1 and HunyuanVideo use 3 to 7 for some 30 to 120 thousand tokens. Open-Sora 1.2 has the same idea with
    a proportional to sqrt(area) * sqrt(latent frames).

    Args:
        factor: of the model (`DiTConfig.shift`): what it makes may be decided at higher levels than LTX-Video's.
    """
    return factor * math.exp(0.95 + (2.05 - 0.95) * (min(tokens, 4096) - 1024) / (4096 - 1024))


def schedule(steps: int, a: float = 1.0) -> Tensor:
    """Global times from 1 to 0: float64 (steps + 1,), evenly spaced, then shifted by `a`.

    Raises:
        UserError: steps is not in 1..MAX_STEPS.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= MAX_STEPS:
        raise UserError(f"The number of steps must be a whole number from 1 to {MAX_STEPS}, not {str(steps)[:20]}.")
    if not (math.isfinite(a) and a > 0):
        raise UserError(f"The shift of the schedule must be above 0, not {a}.")
    return shift(torch.linspace(1, 0, steps + 1, dtype=torch.float64), a)


def loss_weight(s: Tensor, s_min: float = 0.1) -> Tensor:
    """The weight of |x0_hat - x0|^2 that makes it the loss of the velocity: 1 / max(s, s_min)^2.

    The velocity's error is (x0_hat - x0) / s, so 1 / s^2 is exact above `s_min`; below it the weight is held, or a few
    patches at small levels would own the gradient. 0 where s = 0: a patch that is given has nothing to be learnt.
    """
    return torch.where(s > 0, s.clamp(min=s_min) ** -2, torch.zeros_like(s))


def sample_levels(
    n: int,
    generator: torch.Generator | None = None,
    a: float = 1.0,
    mean: float = 0.0,
    std: float = 1.4,
    uniform_share: float = 0.5,
) -> Tensor:
    """Draw levels to train at: float32 (n,) in (0, 1).

    logit(s) ~ N(mean, std), the logit-normal of Esser et al. 2024, section 3.1, then shifted by `a` as the schedule is:
    up there words decide what is to be seen. A share of `uniform_share` is uniform and not shifted: outlines are drawn
    at levels of .2 to .6, where a shift of 6 puts one sample in ten. (A model trained with that alone, given the truth
    at level .2, made of it a thing whose shape could be told in 77 % of 48 images; at .4 in 46 %; at 1 in 29 %.)
    """
    s = shift(torch.sigmoid(mean + std * torch.randn(n, generator=generator)), a)
    even = torch.rand(n, generator=generator)
    s = torch.where(torch.rand(n, generator=generator) < uniform_share, even, s)
    return s.clamp(1e-5, 1 - 1e-5)
