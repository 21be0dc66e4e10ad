"""Solvers over per-patch noise levels, guidance, and the one loop that fills a canvas.

A canvas gives every patch a start level m. Global time s runs from 1 to 0 and the patch is at level m s:
x = (1 - m s) x0 + m s e, so dx/ds = m (e - x0) = (x - x0) / s in expectation: m appears in what the network is told,
not in the equation that is solved,

    dx/ds = v(x, s) = (x - D(x, m s)) / s,        D the network's prediction of x0.

The path is the interpolation of data and noise with one schedule per patch, hence v transports the joint distribution
of all patches, whatever their levels (Albergo et al., "Stochastic interpolants", 2023, theorem 2.6, entry by entry).
Euler, Heun and Adams-Bashforth are therefore the same formula at any m. DPM-Solver++ works in the log signal-to-noise
ratio of a patch, which depends on m: it takes each patch's own. For m = 0 the data itself stands for D, so v = 0.

Measured on Gaussian data, where the flow is known in closed form (tests/core/test_sampler.py), the error at s = 0 is of
order 1.0 for euler and 2.0 for heun and ab2; dpmpp_2m has its order of 2 in steps of log-SNR and 1.4 to 1.8 in steps
of s, whose last ones are large in log-SNR. ab2 is as exact as heun, which evaluates the network twice a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from . import flow
from .canvas import Canvas
from .errors import UserError
from .noise import noise
from .resample import time_travel

MAX_CFG = 100.0  # far beyond any use
JUMP_SEED = 0x9E3779B97F4A7C15  # apart from the neighbouring seeds that a batch has

Denoise = Callable[[Tensor, Tensor], Tensor]  # (x (B, C, t, h, w), level (B, 1, t, h, w)) -> x0
Callback = Callable[[int, int, Tensor, Tensor], None]  # (steps done, steps, x, x0); raising in it interrupts


def _predict(denoise: Denoise, x: Tensor, s: float, mask: Tensor) -> Tensor:
    """D at global time s, in the precision of x; a kept patch is its own prediction and so never moves."""
    return torch.where(mask > 0, denoise(x, mask * s).to(x.dtype), x)


def _steps(schedule: Tensor):
    """(number of the step from 1, time, next time), as exact Python floats."""
    times = schedule.tolist()
    return zip(range(1, len(times)), times[:-1], times[1:], strict=True)


def euler(denoise: Denoise, x: Tensor, schedule: Tensor, mask: Tensor, callback: Callback | None = None) -> Tensor:
    """Euler's method: x' = D + s'/s (x - D), exact while D does not change. Order 1."""
    for i, s, r in _steps(schedule):
        x0 = _predict(denoise, x, s, mask)
        x = x0 + r / s * (x - x0)
        if callback:
            callback(i, len(schedule) - 1, x, x0)
    return x


def heun(denoise: Denoise, x: Tensor, schedule: Tensor, mask: Tensor, callback: Callback | None = None) -> Tensor:
    """Heun's method as in Karras et al. 2022, algorithm 1: the mean of v at both ends. Order 2, two evaluations."""
    for i, s, r in _steps(schedule):
        x0 = _predict(denoise, x, s, mask)
        v = (x - x0) / s
        ahead = x0 + r / s * (x - x0)
        if r > 0:  # v has no value at s = 0: the last step is Euler's, one such step leaves the order at 2
            v = (v + (ahead - _predict(denoise, ahead, r, mask)) / r) / 2
            ahead = x + (r - s) * v
        x = ahead
        if callback:
            callback(i, len(schedule) - 1, x, x0)
    return x


def ab2(denoise: Denoise, x: Tensor, schedule: Tensor, mask: Tensor, callback: Callback | None = None) -> Tensor:
    """Adams-Bashforth on v with steps of any length (Hairer et al., Solving ODEs I, III.5). Order 2, one evaluation.

    Along an exact path of rectified flow v = E[e - x0] is smooth up to both ends, s = 0 included.
    """
    before, h_before = None, 1.0
    for i, s, r in _steps(schedule):
        x0 = _predict(denoise, x, s, mask)
        v, h = (x - x0) / s, r - s
        x = x + h * (v if before is None else v + h / (2 * h_before) * (v - before))
        before, h_before = v, h
        if callback:
            callback(i, len(schedule) - 1, x, x0)
    return x


def dpmpp_2m(denoise: Denoise, x: Tensor, schedule: Tensor, mask: Tensor, callback: Callback | None = None) -> Tensor:
    """DPM-Solver++(2M): Lu et al. 2022, algorithm 2, with alpha = 1 - m s, sigma = m s. Order 2 in lambda.

    D is extrapolated in lambda = log(alpha / sigma) of each patch. It is -infinite at level 1, which makes the second
    step first order as the first is, and infinite at level 0, where the last step is of first order as in k-diffusion.
    """

    def log_snr(s: float) -> Tensor:
        level = flow.double(mask) * s
        return torch.log1p(-level) - torch.log(level)

    before, s_before = None, 1.0
    for i, s, r in _steps(schedule):
        x0 = _predict(denoise, x, s, mask)
        target = x0
        if before is not None and r > 0:
            now = log_snr(s)
            ratio = (log_snr(r) - now) / (now - log_snr(s_before))
            ratio = torch.where(flow.double(mask) > 0, ratio, torch.zeros_like(ratio)).to(
                x
            )  # infinities cancel where kept
            target = x0 + ratio / 2 * (x0 - before)
        x = target + r / s * (x - target)  # alpha' (1 - e^-h) = 1 - s'/s: the integrator of Euler's step
        before, s_before = x0, s
        if callback:
            callback(i, len(schedule) - 1, x, x0)
    return x


SOLVERS = {"euler": euler, "heun": heun, "dpmpp_2m": dpmpp_2m, "ab2": ab2}


def guide(
    predict: Callable[[Tensor, Tensor, object], Tensor],
    cond: object,
    uncond: object,
    cfg: float,
    interval: tuple[float, float] = (0.0, 1.0),
    rescale: float = 0.0,
) -> Denoise:
    """Classifier-free guidance (Ho and Salimans 2022): D = D_uncond + cfg (D_cond - D_uncond).

    Args:
        predict: (x, level, condition) -> x0.
        cond, uncond: what `predict` takes as condition; uncond carries the negative prompt.
        cfg: 1 is no guidance, and the second pass is left out.
        interval: levels at which guidance acts (Kynkaanniemi et al. 2024), patch by patch; elsewhere it costs nothing.
        rescale: 0..1, how far the guided prediction gets the standard deviation of the conditional one back, against
            over-saturation (Lin et al. 2023, section 3.4); taken over the patches under guidance.

    Raises:
        UserError: a strength that is negative or not finite; levels or a rescale outside [0, 1]; an interval the wrong
            way round.
    """
    low, high = interval
    if not math.isfinite(cfg):
        raise UserError(f"The strength of guidance (cfg) must be a finite number, not {cfg}.")
    if not 0 <= cfg <= MAX_CFG:
        raise UserError(f"The strength of guidance (cfg) must be from 0 to {MAX_CFG:g}, not {cfg:g}.")
    if not (0 <= low <= 1 and 0 <= high <= 1):
        raise UserError(
            f"Guidance acts between two noise levels from 0 to 1 (cfg_from and cfg_to), not {low:g} and {high:g}."
        )
    if low > high:
        raise UserError(f"Guidance must begin below where it ends: cfg_from is {low:g} and cfg_to {high:g}.")
    if not 0 <= rescale <= 1:
        raise UserError(f"The rescale of guidance (cfg_rescale) must be from 0 to 1, not {rescale:g}.")

    def denoise(x: Tensor, level: Tensor) -> Tensor:
        x0 = predict(x, level, cond)
        inside = (level > 0) & (level >= low) & (level <= high)
        if cfg == 1 or not inside.any():
            return x0
        free = predict(x, level, uncond)
        guided = free + cfg * (x0 - free)
        if rescale > 0:
            ratio = _std(x0, inside) / _std(guided, inside).clamp(min=1e-6)
            guided = guided * (1 + rescale * (ratio - 1))
        return torch.where(inside, guided, x0)

    return denoise


def _std(x: Tensor, inside: Tensor) -> Tensor:
    """Standard deviation of each sample over the patches `inside` (B, 1, t, h, w): (B, 1, 1, 1, 1)."""
    axes = (1, 2, 3, 4)
    n = (inside.sum(axes, keepdim=True) * x.shape[1]).clamp(min=1)
    mean = (x * inside).sum(axes, keepdim=True) / n
    return (((x - mean) * inside).square().sum(axes, keepdim=True) / n).sqrt()


def field(canvas: Canvas, seed: int) -> Tensor:
    """The canvas's part of the noise field (B, C, t, h, w); sample b of a batch is that of seed + b, or of its number
    there (`Canvas.batch`)."""
    shape, device = tuple(canvas.latent.shape[1:]), canvas.latent.device
    return torch.stack(
        [noise(seed + b, shape, offset=canvas.origin, scale=canvas.scale, device=device) for b in canvas.numbers]
    )


@torch.no_grad()
def sample(
    denoise: Denoise,
    canvas: Canvas,
    seed: int = 0,
    steps: int = 20,
    solver: str = "ab2",
    shift: float | None = None,
    callback: Callback | None = None,
    resample: int = 0,
) -> Tensor:
    """Fill a canvas.

    Args:
        denoise: (x, level) -> x0; may be of any precision, x stays float32.
        canvas: with levels of 0 everywhere it is returned unchanged and nothing is computed.
        seed: of the noise field. Sample b of a batch is the single video of seed + b.
        steps: of the schedule.
        solver: a name in `SOLVERS`.
        shift: of the schedule; None takes `flow.shift_for_tokens` of the grid.
        callback: (steps done, steps, x, x0) after every step; an exception in it interrupts and passes through.
        resample: how often each few steps are taken again, with noise added back (`resample.time_travel`).

    Returns:
        float32 (B, C, t, h, w); kept patches are bit for bit those of the canvas.

    Raises:
        UserError: no such solver, impossible steps or shift, or the model produced NaN.
    """
    if solver not in SOLVERS:
        raise UserError(f"There is no solver {str(solver)[:40]!r}: choose one of {', '.join(SOLVERS)}.")
    times = flow.schedule(steps, flow.shift_for_tokens(canvas.grid.tokens) if shift is None else shift)
    latent, mask = canvas.latent, canvas.level
    if not (mask > 0).any():
        return latent.clone()
    run = SOLVERS[solver]
    if resample:
        run = time_travel(run, resample, lambda jump: field(canvas, seed + JUMP_SEED * jump))
    x = run(denoise, flow.interpolate(latent, field(canvas, seed), mask), times, mask, callback)
    if not torch.isfinite(x).all():
        raise UserError(
            "The model produced values that are not numbers (NaN or infinite): its weights may be damaged or its "
            "precision too low, so load it again in float32."
        )
    return torch.where(mask > 0, x, latent)
