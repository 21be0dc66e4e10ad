"""The diffusion process: identities, schedules and the distribution of training levels."""

import math

import pytest
import torch

from sora_core.errors import UserError
from sora_core.flow import exact_device, interpolate, loss_weight, sample_levels, schedule, shift, shift_for_tokens


@pytest.fixture
def pair():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(2, 2, 4, 3, 5, 5, generator=generator).unbind(0)


def test_ends_of_the_path_are_exact(pair):
    x0, e = pair
    assert torch.equal(interpolate(x0, e, 0.0), x0) and torch.equal(interpolate(x0, e, 1.0), e)
    level = torch.tensor([0.0, 0.5, 1.0]).view(1, 1, 3, 1, 1)
    x = interpolate(x0, e, level)
    assert torch.equal(x[:, :, 0], x0[:, :, 0]) and torch.equal(x[:, :, 2], e[:, :, 2])


def test_shift_keeps_the_ends_composes_and_inverts():
    s = torch.linspace(0, 1, 11, dtype=torch.float64)
    assert torch.allclose(shift(s, 1.0), s)
    shifted = shift(s, 3.0)
    assert shifted[0] == 0 and shifted[-1] == 1 and (shifted[1:-1] > s[1:-1]).all()
    assert torch.allclose(shift(shifted, 1 / 3.0), s) and torch.allclose(shift(shift(s, 2.0), 1.5), shifted)
    # It scales the ratio of noise to signal, s / (1 - s), by a.
    assert shift(0.5, 3.0) / (1 - shift(0.5, 3.0)) == pytest.approx(3.0)


def test_shift_grows_with_tokens_through_the_published_points():
    assert shift_for_tokens(1024) == pytest.approx(math.exp(0.95))
    assert shift_for_tokens(4096) == pytest.approx(math.exp(2.05))
    values = [shift_for_tokens(n) for n in (1, 64, 320, 2000, 4000)]
    assert values == sorted(values) and values[0] > 1
    assert shift_for_tokens(10**6) == shift_for_tokens(4096)
    assert shift_for_tokens(320, 3.0) == pytest.approx(3 * shift_for_tokens(320))


def test_schedule_runs_from_noise_to_clean():
    for steps in (1, 2, 20, 1000):
        times = schedule(steps, 2.5)
        assert times.shape == (steps + 1,) and times[0] == 1 and times[-1] == 0 and (times.diff() < 0).all()
    assert torch.allclose(schedule(4), torch.tensor([1, 0.75, 0.5, 0.25, 0], dtype=torch.float64))


@pytest.mark.parametrize(
    "steps, a", [(0, 1.0), (-3, 1.0), (1001, 1.0), (2.5, 1.0), (True, 1.0), (4, 0.0), (4, math.nan)]
)
def test_impossible_schedules_are_refused(steps, a):
    with pytest.raises(UserError):
        schedule(steps, a)


def test_weighted_clean_loss_is_the_velocity_loss(pair):
    x0, e = pair
    guess = x0 + 0.1 * e
    for s in (0.1, 0.4, 1.0):
        level = torch.tensor(s)
        x = interpolate(x0, e, s)
        by_velocity = ((x - guess) / s - (x - x0) / s).square().mean()
        by_clean = loss_weight(level) * (guess - x0).square().mean()
        assert by_clean.item() == pytest.approx(by_velocity.item(), rel=1e-3)


def test_weight_is_bounded_and_ignores_given_patches():
    weight = loss_weight(torch.tensor([0.0, 1e-6, 0.02, 0.2, 0.5, 1.0]), s_min=0.2)
    assert weight.tolist() == pytest.approx([0, 25, 25, 25, 4, 1])


def test_levels_follow_the_distribution_they_name():
    n = 200_000
    generator = torch.Generator().manual_seed(1)
    s = sample_levels(n, generator, mean=0.5, std=0.8, uniform_share=0.0)
    logit = torch.logit(s.double())
    assert logit.mean().item() == pytest.approx(0.5, abs=0.01) and logit.std().item() == pytest.approx(0.8, abs=0.01)
    even = sample_levels(n, generator, uniform_share=1.0)
    assert torch.histc(even, 10, 0, 1).div(n).sub(0.1).abs().max() < 0.004
    mixed = sample_levels(n, generator, a=5.0, std=0.1, uniform_share=0.3)
    assert (mixed < 0.2).float().mean().item() == pytest.approx(0.06, abs=0.005)  # the uniform share is not shifted
    assert mixed.median().item() > 0.8
    assert s.min() > 0 and s.max() < 1
    again = [sample_levels(5, torch.Generator().manual_seed(3)) for _ in range(2)]
    assert torch.equal(*again)


@pytest.mark.parametrize(
    ("device", "exact"), [("cpu", "cpu"), ("cuda", "cuda"), ("mps", "cpu"), ("xpu", "cpu"), ("privateuseone", "cpu")]
)
def test_float64_is_computed_where_it_is_known(device, exact):
    assert exact_device(device).type == exact
