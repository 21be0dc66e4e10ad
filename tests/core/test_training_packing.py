"""Packs: nothing lost, nothing over budget, hardly anything wasted; a packed forward pass equals separate ones."""

import random

import pytest
import torch

from sora_core.dit import DiT, DiTConfig, Segment
from sora_core.errors import UserError
from sora_core.training.packing import FULL, Packs, groups, pack, useful

MIXED = [random.Random(7).choice((4, 6, 9, 12, 16, 20, 36, 60, 80, 100, 160, 320)) for _ in range(400)]


def test_pack_takes_everything_once_within_the_budget():
    packs = pack(MIXED, 400)
    assert sorted(i for one in packs for i in one) == list(range(len(MIXED)))
    assert max(sum(MIXED[i] for i in one) for one in packs) <= 400
    assert (
        len(packs) <= 11 / 9 * sum(MIXED) / 400 + 1
    )  # best-fit decreasing's bound, over the least number there can be


def test_pack_refuses_what_does_not_fit():
    with pytest.raises(ValueError, match="401"):
        pack([3, 401], 400)
    with pytest.raises(UserError, match="raise tokens"):
        Packs([], 400, seed=0)


def test_mixed_sizes_fill_the_budget():
    packs = Packs(MIXED, 400, seed=0)
    for number in range(3):
        assert useful(packs.epoch(number), MIXED, 400) >= 0.95
        assert all(sum(MIXED[i] for i in one) <= 400 for one in packs.epoch(number))
        assert set(range(len(MIXED))) <= {i for one in packs.epoch(number) for i in one}


def test_few_clips_fill_a_pack_by_coming_again():
    packs = Packs([10, 30], 100, seed=0)
    assert all(sum((10, 30)[i] for i in packs[n]) >= FULL * 100 for n in range(5))


def test_packs_are_a_function_of_seed_and_position():
    straight = Packs(MIXED, 400, seed=3)
    row = [straight[n] for n in range(200)]
    assert Packs(MIXED, 400, seed=3)[150] == row[150]  # as a resumed run asks for it
    assert straight[10] == row[10]
    assert [Packs(MIXED, 400, seed=4)[n] for n in range(5)] != row[:5]
    first, second = straight.epoch(0), straight.epoch(1)
    assert first != second and row[len(first)] == second[0]


def test_groups_join_equal_keys():
    assert groups(["a", "b", "a", "c", "b"]) == [[0, 2], [1, 4], [3]]


def test_packed_equals_separate():
    torch.manual_seed(0)
    config = DiTConfig(width=32, depth=2, heads=2, text_width=16, channels=4, patch=(1, 2, 2), local_mix=True)
    model = DiT(config).initialize()
    for p in model.parameters():  # away from the start, where all gates are closed
        torch.nn.init.normal_(p, std=0.2)
    shapes = [(2, 3, 4, 6), (1, 1, 8, 4), (3, 2, 4, 4), (1, 5, 6, 2)]
    segments = [
        Segment(
            torch.randn(b, 4, t, h, w),
            torch.rand(b, 1, t, 1, 1).expand(b, 1, t, h, w) if t > 1 else torch.rand(b),
            torch.randn(b, 5 + t, 16),
            torch.arange(5 + t).expand(b, -1) < 4 + t,
            fps=4.0 * t,
        )
        for b, t, h, w in shapes
    ]
    targets = [torch.randn_like(segment.x) for segment in segments]

    def gradients(outputs):
        model.zero_grad()
        sum((out * target).sum() for out, target in zip(outputs, targets, strict=True)).backward()
        return [p.grad.clone() for p in model.parameters()]

    def alone(s, i):
        only = slice(i, i + 1)
        return model(s.x[only], s.level[only], s.text[only], s.text_mask[only], s.fps)

    packed = model.forward_pack(segments)
    separate = [torch.cat([alone(segment, i) for i in range(len(segment.x))]) for segment in segments]
    assert max((a - b).abs().max() for a, b in zip(packed, separate, strict=True)) <= 1e-5
    for a, b in zip(gradients(packed), gradients(separate), strict=True):
        assert (a - b).abs().max() <= 1e-5 * max(1.0, b.abs().max())
