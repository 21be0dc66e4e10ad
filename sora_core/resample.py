"""Time travel: steps are taken more than once, with noise added back in between (RePaint: Lugmayr et al., CVPR 2022).

A model that knows one noise level only sees kept patches noised to that level, and what it invents beside them may not
fit. Going back some steps and forward again lets both sides settle: RePaint, algorithm 1 and section 4.2, for rectified
flow. A model that is told the level of each patch sees kept patches clean and has no need of it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .flow import double

JUMP = 0.04  # of all steps: RePaint goes back by 10 of 250


def noised_again(x: Tensor, noise: Tensor, low: Tensor | float, high: Tensor | float) -> Tensor:
    """x at level `low` -> the same content at level `high` >= low.

    x_low = (1 - low) x0 + low e. With a = (1 - high) / (1 - low), a x_low + sqrt(high^2 - (a low)^2) e' has the content
    (1 - high) x0 and noise of size `high`. At low = high nothing is added; at high = 1 nothing is left of x.
    """
    low, high = (double(torch.as_tensor(level)) for level in (low, high))
    a = torch.where(high > low, (1 - high) / (1 - low), torch.ones_like(high))
    added = (high**2 - (a * low) ** 2).clamp(min=0).sqrt()
    return a.to(x) * x + added.to(x) * noise


def time_travel(solver: Callable, repeats: int, noise: Callable[[int], Tensor]) -> Callable:
    """A solver that goes back `repeats` times after every few steps (`JUMP`) and takes them again.

    Args:
        solver: of the common signature (denoise, x, schedule, mask, callback) -> x.
        repeats: how often; each costs as much as the plain solver.
        noise: number of the jump, from 1 -> N(0, 1) of the shape of x.

    Returns:
        A solver of the same signature; its callback counts the repeated steps too.
    """

    def run(denoise, x: Tensor, schedule: Tensor, mask: Tensor, callback=None) -> Tensor:
        steps = len(schedule) - 1
        length = max(1, round(JUMP * steps))
        done = jumps = 0

        def report(_, __, x, x0):
            nonlocal done
            done += 1
            callback(done, steps * (repeats + 1), x, x0)

        for start in range(0, steps, length):
            block = schedule[start : start + length + 1]
            for again in range(repeats + 1):
                if again:
                    jumps += 1
                    x = noised_again(x, noise(jumps), mask * block[-1].item(), mask * block[0].item())
                x = solver(denoise, x, block, mask, report if callback else None)
        return x

    return run
