"""Measures of prompting with images and videos, on clips whose answer is known."""

import dataclasses

import pytest
import torch

from sora_core.evaluation import prompting
from sora_core.evaluation.measures import mean
from sora_core.evaluation.prompts import Case, cases
from sora_core.evaluation.setting import truth
from sora_core.grid import Grid
from sora_core.worlds.render import coverage
from sora_core.worlds.score import compare, score, silhouettes

GRID = Grid(17, 64, 64, 8.0)


@pytest.fixture(scope="module")
def flat() -> list[Case]:
    return [case for case in cases(60, 3) if prompting._editable(case.scene)][:10]


def test_a_bar_may_be_the_most_that_is_allowed():
    assert mean("seam", [1.1, 1.2], bar=1.2, most=True).met is True
    assert mean("seam", [1.3, 1.2], bar=1.2, most=True).met is False


def test_a_jump_is_seen_at_its_seam():
    even = torch.linspace(-1, 1, 11).view(1, 11, 1, 1).expand(3, 11, 8, 8)
    jump = torch.where(torch.arange(11).view(1, 11, 1, 1) >= 6, even + 0.6, even).clamp(-1, 1)
    assert prompting._against_median(even, [5]) == pytest.approx(1)
    assert prompting._against_median(jump, [5]) > 3 > 1.5 > prompting._against_median(jump, [3])
    assert prompting._against_median(even, [-1], closed=True) > 8, "the last frame is far from the first"
    still = torch.zeros(3, 5, 8, 8)
    assert prompting._against_median(still, range(4)) == 1


def test_true_clips_have_no_seam_and_shuffled_ones_do(flat):
    moving = [case for case in flat if prompting._moves(case.scene)]
    for clip in truth(moving, GRID):
        assert prompting._against_median(clip, [8]) < 2.5
        if prompting._against_median(clip[:, [*range(9), *range(16, 8, -1)]], [8]) > 2.5:
            return
    raise AssertionError("no clip jumped when half of it ran backwards")


def test_what_goes_on_moves_and_what_is_frozen_does_not():
    grid = Grid(33, 64, 64, 8.0)
    moving = [case for case in cases(60, 5, seconds=33 / 8) if prompting._moves(case.scene)][:16]
    for case, clip in zip(moving, truth(moving, grid), strict=True):
        given, new = clip[:, :17], clip[:, 17:]
        assert compare(score(clip), case.scene)["motion"] and prompting._stirs(new, given)
        assert not prompting._stirs(given[:, -1:].expand_as(new), given)


def test_edits_ask_for_what_the_scorer_can_see(flat):
    for number, case in enumerate(flat):
        for goal in (prompting._restyled(case, number), prompting._recoloured(case, number)):
            seen = compare(score(truth([goal], GRID)[0]), goal.scene)
            assert all(value is not False for value in seen.values()), (goal.scene, seen)
            before = compare(score(truth([case], GRID)[0]), goal.scene)
            assert False in (before["style"], before["colour"]), "the clip that is given is not yet what is told"
            assert goal.prompt != case.prompt


def test_silhouettes_are_where_things_are(flat):
    for case, clip in zip(flat, truth(flat, GRID), strict=True):
        seen = silhouettes(clip)
        assert seen.shape == (17, 64, 64)
        said = coverage([case.scene], 17, 64, 64, 1)[0, 0].numpy() > 0.5
        assert prompting._overlap(seen, seen) == 1
        assert prompting._overlap(seen, said) > 0.3, "discs stand for stars and rings too"
        assert prompting._overlap(seen, said) > prompting._overlap(seen, said[:, ::-1, ::-1]) - 0.2


def test_compositions(flat):
    clips = truth(flat, GRID)
    for case, clip in zip(flat, clips, strict=True):
        large = truth([case], Grid(17, 128, 128, 8.0))[0]
        assert prompting._same_composition(score(clip), score(large))
        (thing,) = case.scene.things
        moved = dataclasses.replace(case.scene, things=(dataclasses.replace(thing, x=1 - thing.x, y=1 - thing.y),))
        elsewhere = truth([dataclasses.replace(case, scene=moved)], GRID)[0]
        if max(abs(1 - 2 * thing.x), abs(1 - 2 * thing.y)) > 0.3 and not thing.radius:
            assert not prompting._same_composition(score(clip), score(elsewhere))
