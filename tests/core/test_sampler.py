"""Solvers against flows that are known in closed form; per-patch levels; guidance; what a run promises.

The data is Gaussian, x0 ~ N(mu, S) over n patches of one value, laid out as a latent (B, 1, 1, 1, n). With the patches
at levels l and A = diag(1 - l), the network is the posterior mean, mu + S A (A S A + diag(l^2))^-1 (x - A mu).
"""

import dataclasses
import math

import pytest
import torch

from sora_core.canvas import Canvas, empty, place
from sora_core.errors import UserError
from sora_core.flow import interpolate, schedule
from sora_core.grid import Geometry, Grid
from sora_core.noise import noise
from sora_core.sampler import SOLVERS, guide, sample

N = 6
ORDER = {"euler": 1.0, "heun": 2.0, "ab2": 2.0}


def _random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _covariance(seed=0):
    a = _random(N, N, seed=seed)
    return a @ a.T / N + 0.05 * torch.eye(N, dtype=torch.float64)


def _oracle(mu, S):
    def denoise(x, level):
        values, l = x.flatten(1), level.double().flatten(1).expand(len(x), -1)
        a = 1 - l
        total = a[:, :, None] * S * a[:, None, :] + torch.diag_embed(l**2)
        gain = torch.linalg.solve(total, (values - a * mu).unsqueeze(-1)).squeeze(-1)
        return (mu + (a * gain) @ S).view_as(x)

    return denoise


def _row(values):
    return values.view(-1, 1, 1, 1, N)


def _run(solver, mu, S, start, mask, steps, a=1.0):
    return SOLVERS[solver](_oracle(mu, S), _row(start), schedule(steps, a), mask.view(1, 1, 1, 1, N)).flatten(1)


def _measured_order(errors):
    """Of the last halving of the step, where the leading term rules."""
    return math.log2(errors[-2] / errors[-1])


def _contract(S, x, m=1.0):
    """The exact flow from level m to 0 for N(0, S): every eigenvector is scaled by the ratio of its deviations."""
    L, Q = torch.linalg.eigh(S)
    return x @ Q * (L / ((1 - m) ** 2 * L + m**2)).sqrt() @ Q.T


@pytest.mark.parametrize("a", [1.0, 2.5])
@pytest.mark.parametrize("solver", ORDER)
def test_order_from_noise(solver, a):
    mu, S, e, mask = _random(N), _covariance(), _random(4, N, seed=1), torch.ones(N)
    exact = mu + _contract(S, e)
    errors = [(_run(solver, mu, S, e, mask, n, a) - exact).norm().item() for n in (80, 160, 320)]
    assert _measured_order(errors) == pytest.approx(ORDER[solver], abs=0.1)


@pytest.mark.parametrize("solver", ORDER)
@pytest.mark.parametrize("m", [0.3, 0.7])
def test_order_from_a_partial_level(solver, m):
    """SDEdit: start between data and noise, all steps spent on what is left."""
    mu, S, mask = _random(N), _covariance(), torch.full((N,), m)
    start = _random(4, N, seed=2)
    exact = mu + _contract(S, start - (1 - m) * mu, m)
    errors = [(_run(solver, mu, S, start, mask, n) - exact).norm().item() for n in (80, 160, 320)]
    assert _measured_order(errors) == pytest.approx(ORDER[solver], abs=0.1)


@pytest.mark.parametrize("solver", ORDER)
def test_order_with_kept_partial_and_new_patches_in_one_canvas(solver):
    """Patches 0-1 are kept, 2-3 start at 0.5, 4-5 at 1; given the kept ones the other two pairs are independent, so the
    exact flow is that of two conditional Gaussians."""
    within = torch.zeros(N, N, dtype=torch.float64)
    within[2:4, 2:4], within[4:, 4:] = _covariance(3)[:2, :2], _covariance(4)[:2, :2]
    gain = torch.zeros(N, 2, dtype=torch.float64)
    gain[:2], gain[2:] = torch.eye(2), _random(4, 2, seed=5)
    S = gain @ _covariance(6)[:2, :2] @ gain.T + within
    mu, start = _random(N), _random(4, N, seed=7)
    mask = torch.tensor([0, 0, 0.5, 0.5, 1, 1])
    mean = mu + (start[:, :2] - mu[:2]) @ gain.T  # of all patches given the kept ones
    exact = start.clone()
    for part, m in ((slice(2, 4), 0.5), (slice(4, 6), 1.0)):
        from_mean = start[:, part] - (1 - m) * mean[:, part]
        exact[:, part] = mean[:, part] + _contract(within[part, part], from_mean, m)
    results = [_run(solver, mu, S, start, mask, n) for n in (80, 160, 320)]
    assert all(torch.equal(x[:, :2], start[:, :2]) for x in results)
    assert _measured_order([(x - exact).norm().item() for x in results]) == pytest.approx(ORDER[solver], abs=0.1)


@pytest.mark.parametrize("solver", SOLVERS)
def test_any_mixture_of_levels_carries_the_joint_distribution(solver):
    """Six correlated patches at six levels: from the covariance of the prepared canvas to that of the data. The solver
    is affine here, so pushing the identity through it gives its matrix, and no sampling error remains."""
    S, mask = _covariance(), torch.tensor([0.0, 0.1, 0.4, 0.6, 0.9, 1.0], dtype=torch.float64)
    start = torch.diag(1 - mask) @ S @ torch.diag(1 - mask) + torch.diag(mask**2)
    errors = []
    for n in (40, 80, 160):
        matrix = _run(solver, torch.zeros(N), S, torch.eye(N, dtype=torch.float64), mask, n).T
        errors.append((matrix @ start @ matrix.T - S).norm().item())
    order = ORDER.get(solver, 1.8)
    assert errors[-1] < (0.05 if order == 1 else 0.003) and _measured_order(errors) > order - 0.15


def _even_in_log_snr(steps, level=0.98):
    top = math.log((1 - level) / level)
    return torch.sigmoid(-torch.linspace(top, -top, steps + 1, dtype=torch.float64))


@pytest.mark.parametrize("m", [1.0, 0.6])
def test_dpmpp_2m_has_its_published_order_in_log_snr(m):
    """From level .98 m to .02 m in steps of equal lambda, as the paper states it, for any strength."""
    mu, S, start = torch.zeros(N, dtype=torch.float64), _covariance(), _random(4, N, seed=1)
    L, Q = torch.linalg.eigh(S)
    deviation = [((1 - l) ** 2 * L + l**2).sqrt() for l in (0.02 * m, 0.98 * m)]
    exact = start @ Q * (deviation[0] / deviation[1]) @ Q.T
    errors = []
    for n in (80, 160, 320):
        level = _even_in_log_snr(n, 0.98)
        if m != 1:  # equal steps in the log-SNR of m s
            level = torch.sigmoid(
                -torch.linspace(*(math.log((1 - l) / l) for l in (0.98 * m, 0.02 * m)), n + 1).double()
            )
        mask = torch.full((1, 1, 1, 1, N), m, dtype=torch.float64)
        result = SOLVERS["dpmpp_2m"](_oracle(mu, S), _row(start), level / m, mask).flatten(1)
        errors.append((result - exact).norm().item())
    assert _measured_order(errors) == pytest.approx(2.0, abs=0.1)


def test_dpmpp_2m_on_the_flow_schedule_beats_euler_by_far():
    mu, S, e, mask = _random(N), _covariance(), _random(4, N, seed=1), torch.ones(N)
    exact = mu + _contract(S, e)
    error = {name: (_run(name, mu, S, e, mask, 160) - exact).norm().item() for name in SOLVERS}
    assert error["dpmpp_2m"] < error["euler"] / 20
    assert error["ab2"] < 1.5 * error["heun"]  # at half the evaluations
    errors = [(_run("dpmpp_2m", mu, S, e, mask, n) - exact).norm().item() for n in (160, 320, 640)]
    assert _measured_order(errors) > 1.6


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_uniform_strength_is_the_plain_solver_on_the_scaled_schedule(solver):
    """Levels m s with mask m, or a schedule that starts at m with mask 1: the same walk."""
    mu, S, start = _random(N), _covariance(), _row(_random(2, N, seed=3))
    times, m = schedule(12), 0.6
    one, masked = torch.ones(1, 1, 1, 1, N, dtype=torch.float64), torch.full((1, 1, 1, 1, N), m, dtype=torch.float64)
    direct = SOLVERS[solver](_oracle(mu, S), start, times * m, one)
    assert torch.allclose(SOLVERS[solver](_oracle(mu, S), start, times, masked), direct, atol=1e-9)


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_perfect_prediction_is_reached_from_any_level(solver):
    """A network that knows x0 makes every path straight: all solvers are exact, whatever the steps and levels."""
    x0, e = _random(2, 4, 3, 4, 4), _random(2, 4, 3, 4, 4, seed=1)
    mask = torch.rand(2, 1, 3, 4, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask[:, :, 0], mask[:, :, 1] = 0, 1

    def denoise(x, level):
        assert level.shape == mask.shape and torch.equal(level == 0, mask == 0)
        assert torch.allclose(x, interpolate(x0, e, level))  # every patch is where its level says
        return x0

    for steps in (1, 2, 7):
        times = schedule(steps, 3.0)
        assert torch.allclose(SOLVERS[solver](denoise, interpolate(x0, e, mask), times, mask), x0, atol=1e-12)


# -- a whole run ------------------------------------------------------------------------------------------------------

GRID = Grid(9, 32, 32, 8.0, Geometry(channels=4))  # latent 4 x 3 x 4 x 4


def _wild(x, level):
    """A network that is wrong everywhere, kept patches included, and of low precision."""
    return (torch.sin(3 * x) + level).bfloat16()


@pytest.mark.parametrize("solver", SOLVERS)
def test_kept_patches_leave_bit_identical(solver):
    clip = torch.randn(1, 4, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    clip.view(-1)[:4] = torch.tensor([-0.0, 0.0, 1e-42, 3e38])  # signed zero, denormal, huge
    canvas = place(place(empty(GRID, batch=2), clip, 0), clip.clamp(-1, 1), -1, strength=0.5)
    result = sample(_wild, canvas, seed=1, steps=7, solver=solver)
    assert result.dtype == torch.float32
    same = result[:, :, :1].view(torch.int32) == clip.expand(2, -1, -1, -1, -1).contiguous().view(torch.int32)
    assert same.all() and not torch.equal(result[:, :, -1:], canvas.latent[:, :, -1:])


def test_strength_zero_returns_the_latent_and_asks_the_model_nothing():
    latent = torch.randn(1, 4, 3, 4, 4)
    canvas = place(empty(GRID), latent)

    def denoise(x, level):
        raise AssertionError("the model was called")

    result = sample(denoise, canvas)
    assert torch.equal(result, latent) and result.data_ptr() != canvas.latent.data_ptr()


def test_the_walk_starts_from_the_noise_field():
    seen = []

    def denoise(x, level):
        seen.append((x, level))
        return torch.zeros_like(x)

    canvas = dataclasses.replace(empty(GRID, batch=2), origin=(-1, 2, 0), scale=2)
    sample(denoise, canvas, seed=5, steps=3, solver="euler", shift=2.0)
    assert torch.equal(seen[0][0][0], noise(5, (4, 3, 4, 4), offset=(-1, 2, 0), scale=2))
    assert torch.equal(seen[0][0][1], noise(6, (4, 3, 4, 4), offset=(-1, 2, 0), scale=2))
    assert [level.max().item() for _, level in seen] == pytest.approx(schedule(3, 2.0)[:-1].tolist())


def test_a_sample_of_a_batch_is_the_single_video_of_its_seed():
    both = sample(_wild, empty(GRID, batch=2), seed=3, steps=4)
    assert torch.equal(both[1:], sample(_wild, empty(GRID), seed=4, steps=4))
    assert not torch.equal(both[0], both[1])


@pytest.mark.parametrize("solver", SOLVERS)
def test_callback_sees_every_step_and_can_interrupt(solver):
    calls = []
    result = sample(_wild, empty(GRID), steps=5, solver=solver, callback=lambda *step: calls.append(step))
    assert [(i, n) for i, n, _, _ in calls] == [(i, 5) for i in range(1, 6)]
    assert torch.equal(calls[-1][2], result) and calls[0][3].shape == result.shape

    def stop(step, steps, x, x0):
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        sample(_wild, empty(GRID), steps=5, solver=solver, callback=stop)


@pytest.mark.parametrize("solver, evaluations", [("euler", 6), ("ab2", 6), ("dpmpp_2m", 6), ("heun", 11)])
def test_cost_in_evaluations(solver, evaluations):
    count = [0]

    def denoise(x, level):
        count[0] += 1
        return torch.zeros_like(x)

    sample(denoise, empty(GRID), steps=6, solver=solver)
    assert count[0] == evaluations


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_model_that_produces_no_numbers_is_reported(bad):
    with pytest.raises(UserError, match="not numbers"):
        sample(lambda x, level: torch.full_like(x, bad), empty(GRID), steps=2)


@pytest.mark.parametrize(
    "arguments", [{"solver": "rk4"}, {"steps": 0}, {"steps": -5}, {"shift": 0.0}, {"shift": math.nan}]
)
def test_impossible_settings_are_refused(arguments):
    with pytest.raises(UserError):
        sample(_wild, empty(GRID), **arguments)


# -- guidance ---------------------------------------------------------------------------------------------------------


def _predict(x, level, condition):
    return condition * torch.ones_like(x) + 0.1 * x


def test_guidance_extrapolates_from_the_unconditional_prediction():
    x, level = torch.randn(1, 4, 3, 4, 4), torch.full((1, 1, 3, 4, 4), 0.5)
    x0 = guide(_predict, 2.0, 1.0, 3.0)(x, level)
    assert torch.allclose(x0, 1 + 3 * (2 - 1) + 0.1 * x)


def test_guidance_costs_nothing_where_it_does_not_act():
    x, level = torch.randn(1, 4, 3, 4, 4), torch.full((1, 1, 3, 4, 4), 0.5)
    asked = []

    def predict(x, level, condition):
        asked.append(condition)
        return _predict(x, level, condition)

    for cfg, interval in ((1.0, (0, 1)), (3.0, (0.6, 0.9)), (3.0, (0, 0.4))):
        assert torch.equal(guide(predict, 2.0, 1.0, cfg, interval)(x, level), _predict(x, level, 2.0))
    assert asked == [2.0] * 3


def test_the_interval_holds_patch_by_patch():
    x = torch.randn(1, 4, 3, 4, 4)
    level = torch.tensor([0.2, 0.5, 0.9]).view(1, 1, 3, 1, 1).expand(1, 1, 3, 4, 4)
    x0 = guide(_predict, 2.0, 1.0, 3.0, (0.3, 0.8))(x, level)
    assert torch.equal(x0[:, :, [0, 2]], _predict(x, level, 2.0)[:, :, [0, 2]])
    assert torch.allclose(x0[:, :, 1], 4 + 0.1 * x[:, :, 1])


def test_rescale_returns_the_standard_deviation_of_the_conditional_prediction():
    cond, uncond = torch.randn(2, 2, 4, 3, 4, 4, generator=torch.Generator().manual_seed(0)).unbind(0)
    level = torch.ones(2, 1, 3, 4, 4)
    level[:, :, 0] = 0  # a kept frame, which must not count
    spread = cond.clone()
    spread[:, :, 0] = 100.0

    def predict(x, level, condition):
        return condition

    def std(x):
        return x[:, :, 1:].flatten(1).std(1, correction=0)

    plain, half, full = (guide(predict, spread, uncond, 5.0, rescale=r)(cond, level) for r in (0.0, 0.5, 1.0))
    assert (std(plain) > 3 * std(cond)).all()
    assert torch.allclose(std(full), std(cond), rtol=1e-4)
    assert torch.allclose(half[:, :, 1:], (plain + full)[:, :, 1:] / 2, atol=1e-4)
    assert torch.equal(full[:, :, 0], spread[:, :, 0])


@pytest.mark.parametrize(
    "cfg, interval, rescale, expected",
    [
        (math.nan, (0, 1), 0, r"\(cfg\) must be a finite number, not nan"),
        (-1, (0, 1), 0, r"\(cfg\) must be from 0 to 100, not -1"),
        (1e30, (0, 1), 0, r"\(cfg\) must be from 0 to 100, not 1e\+30"),
        (2, (0.9, 0.2), 0, "must begin below where it ends: cfg_from is 0.9 and cfg_to 0.2"),
        (2, (0, 2), 0, r"\(cfg_from and cfg_to\), not 0 and 2"),
        (2, (math.nan, 1), 0, r"\(cfg_from and cfg_to\), not nan and 1"),
        (2, (0, 1), 2, r"\(cfg_rescale\) must be from 0 to 1, not 2"),
    ],
)
def test_impossible_guidance_is_refused(cfg, interval, rescale, expected):
    with pytest.raises(UserError, match=expected):
        guide(_predict, 1.0, 0.0, cfg, interval, rescale)


def test_guidance_inside_a_run_with_kept_frames():
    clip = torch.randn(1, 4, 1, 4, 4)
    canvas = place(empty(GRID), clip)
    assert isinstance(canvas, Canvas)
    result = sample(guide(_predict, 0.5, 0.0, 4.0, rescale=0.7), canvas, steps=4)
    assert torch.equal(result[:, :, :1], clip) and torch.isfinite(result).all()
