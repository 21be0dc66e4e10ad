"""Time travel: the added noise is of the right size, and a distribution that the solver samples stays as it is."""

import pytest
import torch

from sora_core import canvas as canvases
from sora_core import sampler
from sora_core.grid import Geometry, Grid
from sora_core.resample import noised_again, time_travel


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.4), (0.3, 0.7), (0.5, 0.5), (0.6, 1.0)])
def test_content_and_noise_have_the_sizes_of_the_higher_level(low, high):
    random = torch.Generator().manual_seed(0)
    x0 = 3 * torch.randn(200_000, generator=random)
    e, fresh = torch.randn(200_000, generator=random), torch.randn(200_000, generator=random)
    x = noised_again((1 - low) * x0 + low * e, fresh, low, high)
    rest = x - (1 - high) * x0
    assert abs(rest.std() - high) < 0.01
    assert abs((rest * x0).mean()) < 0.03
    if low == high:
        assert torch.equal(x, (1 - low) * x0 + low * e)


def test_gaussian_data_keep_their_mean_and_deviation():
    """D for data N(2, 0.5^2) is known in closed form; with or without time travel the samples are of it."""
    mean, std = 2.0, 0.5

    def denoise(x, s):
        gain = (1 - s) * std**2 / ((1 - s) ** 2 * std**2 + s**2)
        return mean + gain * (x - (1 - s) * mean)

    grid = Grid(1, 512, 512, 8.0, Geometry(4, 8, 4))
    for repeats in (0, 2):
        x = sampler.sample(denoise, canvases.empty(grid), seed=1, steps=30, solver="ab2", shift=1.0, resample=repeats)
        assert abs(x.mean() - mean) < 0.03 and abs(x.std() - std) < 0.03


def test_kept_patches_stay_the_steps_are_counted_and_the_seed_decides():
    grid = Grid(9, 32, 32, 8.0, Geometry(4, 8, 4))
    known = torch.randn(1, 4, 1, 4, 4, generator=torch.Generator().manual_seed(2))
    canvas = canvases.animate(grid, known)
    seen = []

    def sample(seed, **changes):
        return sampler.sample(lambda x, s: x * 0.5, canvas, seed=seed, steps=5, resample=2, **changes)

    x = sample(3, callback=lambda done, steps, x, x0: seen.append((done, steps)))
    assert torch.equal(x[:, :, :1], known)
    assert seen == [(i, 15) for i in range(1, 16)]
    assert torch.equal(x, sample(3)) and not torch.equal(x, sample(4))


def test_no_repeats_are_the_plain_solver_and_jumps_get_noise_of_their_own():
    numbers = []
    schedule, mask = torch.linspace(1, 0, 5, dtype=torch.float64), torch.ones(1, 1, 1, 1, 1)
    x = torch.randn(1, 2, 1, 1, 1, generator=torch.Generator().manual_seed(0))

    def noise(jump):
        numbers.append(jump)
        return torch.zeros_like(x)

    plain = sampler.euler(lambda x, s: x * 0, x, schedule, mask)
    assert torch.equal(time_travel(sampler.euler, 0, noise)(lambda x, s: x * 0, x, schedule, mask), plain)
    time_travel(sampler.euler, 2, noise)(lambda x, s: x * 0, x, schedule, mask)
    assert numbers == list(range(1, 9))
