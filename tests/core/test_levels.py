"""Training levels: every pattern of the canvas occurs, and looks as sampling will prepare it."""

import pytest
import torch

from sora_core.flow import loss_weight
from sora_core.training.levels import HISTORY, SHARES, EvenLevels, training_levels

SHAPE = (5, 4, 6)


def _draw(mode, count=300, shape=SHAPE, **options):
    generator = torch.Generator().manual_seed(0)
    return [training_levels(shape, generator, mode=mode, **options) for _ in range(count)]


def _frames(level):
    """(t,) levels of a pattern that does not vary over the picture."""
    assert (level == level[:, :1, :1]).all()
    return level[:, 0, 0]


@pytest.mark.parametrize("mode", SHARES)
@pytest.mark.parametrize("shape", [(5, 4, 6), (1, 4, 6), (2, 1, 1), (1, 1, 1), (3, 8, 1)])
def test_every_pattern_leaves_something_to_learn(mode, shape):
    for level in _draw(mode, 40, shape):
        assert level.shape == shape and level.dtype == torch.float32
        assert (level >= 0).all() and (level < 1).all() and (loss_weight(level) > 0).any()


@pytest.mark.parametrize(
    "mode, given",
    [
        ("first", {(0,)}),
        ("prefix", {(0,), (0, 1), (0, 1, 2), (0, 1, 2, 3)}),
        ("suffix", {(4,), (3, 4), (2, 3, 4), (1, 2, 3, 4)}),
        ("ends", {(0, 4), (0, 1, 4), (0, 1, 2, 4), (0, 3, 4), (0, 2, 3, 4), (0, 1, 3, 4)}),
        ("whole", {()}),
    ],
)
def test_given_frames_are_clean_and_the_rest_share_one_level(mode, given):
    seen = set()
    for level in _draw(mode):
        frames = _frames(level)
        seen.add(tuple((frames == 0).nonzero().flatten().tolist()))
        assert len(frames[frames > 0].unique()) == 1
    assert seen == given


def test_any_frames_may_be_given():
    seen = {tuple((_frames(level) == 0).tolist()) for level in _draw("frames", 600)}
    assert len(seen) == 2**5 - 2  # all but none and all


def test_a_rectangle_is_given_or_spared():
    corners, soft = set(), 0
    for level in _draw("rectangle"):
        assert (level == level[:1]).all()
        s = level.max()
        rest = level[0] < s
        soft += bool((level.min() > 0) and rest.any())
        if rest.any():
            box = rest if rest.nonzero().numel() and _is_box(rest) else ~rest
            assert _is_box(box)
            corners.add((bool(rest[0, 0]), bool(rest[-1, -1])))
    assert len(corners) == 4 and 30 < soft < 120


def _is_box(region):
    rows, columns = region.any(1), region.any(0)
    return torch.equal(region, rows[:, None] & columns) and all(
        axis.nonzero().diff(dim=0).max().item() == 1 if axis.sum() > 1 else True for axis in (rows, columns)
    )


def test_independent_levels_differ_and_a_history_is_nearly_clean():
    assert all(len(_frames(level).unique()) == 5 for level in _draw("independent"))
    for level in _draw("history"):
        frames = _frames(level)
        length = int((frames == HISTORY).sum())
        assert 1 <= length < 5 and (frames[:length] == HISTORY).all() and (frames > 0).all()


def test_a_ramp_is_a_straight_line_of_strengths():
    for level in _draw("ramp"):
        assert _frames(level).diff().diff().abs().max() < 1e-6
    assert {bool(_frames(level)[0] < _frames(level)[-1]) for level in _draw("ramp", 20)} == {True, False}


def test_shares_are_those_of_the_table():
    assert sum(SHARES.values()) == pytest.approx(1)
    generator = torch.Generator().manual_seed(1)
    levels = torch.stack([training_levels(SHAPE, generator) for _ in range(4000)])
    whole = (levels == levels[:, :1, :1, :1]).flatten(1).all(1).float().mean()
    assert whole.item() == pytest.approx(SHARES["whole"], abs=0.03)
    only_first = ((levels[:, 0] == 0) & (levels[:, 1] > 0)).flatten(1).all(1).float().mean()
    assert 0.14 < only_first.item() < 0.19  # first, and the shortest prefixes, ends and frames
    images = torch.stack([training_levels((1, 4, 6), generator) for _ in range(1000)])
    assert (images == images[:, :1, :1, :1]).flatten(1).all(1).float().mean() > 0.9


def test_the_distribution_of_levels_is_the_callers():
    high = torch.stack(_draw("whole", mean=2.0, std=0.1, uniform_share=0.0))
    assert high.mean().item() == pytest.approx(0.88, abs=0.01)
    shifted = torch.stack(_draw("whole", mean=0.0, std=0.1, uniform_share=0.0, a=3.0))
    assert shifted.mean().item() == pytest.approx(0.75, abs=0.01)


def test_the_same_generator_gives_the_same_levels():
    a, b = (
        [training_levels(SHAPE, g) for _ in range(20)] for g in (torch.Generator().manual_seed(4) for _ in range(2))
    )
    assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def test_an_unknown_pattern_is_refused():
    with pytest.raises(ValueError, match="whole"):
        training_levels(SHAPE, mode="wholly")


def test_every_level_comes_to_weigh_alike():
    even, generator = EvenLevels(), torch.Generator().manual_seed(0)
    levels = [torch.rand(4, 1, 2, 8, 8, generator=generator) for _ in range(2)]
    errors = [(0.1 + level**2) * torch.rand(level.shape, generator=generator) for level in levels]
    learnt = [torch.ones_like(level) for level in levels]
    learnt[0][:2] = 0
    errors[0][:2] = 0
    for _ in range(1000):
        even.observe(levels, errors, learnt)
    level, error, part = (torch.cat(of) for of in (levels, errors, learnt))
    high = level >= 0.5
    plain = [float(error[where].sum() / part[where].sum()) for where in (high, ~high)]
    weighed = [float((even(level) * error)[where].sum() / part[where].sum()) for where in (high, ~high)]
    assert plain[0] > 3 * plain[1]
    assert weighed[0] == pytest.approx(weighed[1], rel=1e-3)


def test_a_level_that_is_not_seen_has_a_weight_too():
    even = EvenLevels()
    low = torch.full((1, 1, 1, 2, 2), 0.01)
    for _ in range(10_000):
        even.observe([low], [3 * torch.ones_like(low)], [torch.ones_like(low)])
    weight = even(torch.tensor([0.01, 0.5, 0.9])).tolist()
    assert weight[0] == pytest.approx(weight[1] / 3, rel=1e-3) and weight[1] == weight[2]
