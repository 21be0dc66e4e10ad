"""The transformer: packs, levels per patch, sizes."""

import copy
import dataclasses

import pytest
import torch

from sora_core.dit import CONFIGS, DiT, DiTConfig, Segment, deepened
from sora_core.dit.model import precondition
from sora_core.errors import UserError
from sora_core.layers import matmul_attention, sdpa

SMALL = DiTConfig(width=64, depth=2, heads=2, text_width=24, channels=4, patch=(1, 2, 2), local_mix=True)


@pytest.fixture(scope="module")
def dit():
    torch.manual_seed(0)
    model = DiT(SMALL).initialize()
    for p in model.parameters():  # away from zero gates, so that every path matters
        p.data += 0.1 * torch.randn_like(p)
    return model.eval().requires_grad_(False)


def segment(clips, t, h, w, seed=0, tokens=5):
    g = torch.Generator().manual_seed(seed)
    level = torch.rand(clips, 1, t, h // 2, w // 2, generator=g).repeat_interleave(2, 3).repeat_interleave(2, 4)
    mask = torch.arange(tokens) < torch.randint(1, tokens + 1, (clips, 1), generator=g)
    return Segment(
        torch.randn(clips, 4, t, h, w, generator=g), level, torch.randn(clips, tokens, 24, generator=g), mask
    )


def one(dit, s, i):
    return dit(s.x[i : i + 1], s.level[i : i + 1], s.text[i : i + 1], s.text_mask[i : i + 1], s.fps)


def test_packed_equals_separate(dit):
    pack = [segment(2, 3, 4, 6, 1), segment(3, 1, 8, 2, 2, tokens=7), segment(1, 2, 2, 2, 3)]
    for s, out in zip(pack, dit.forward_pack(pack), strict=True):
        assert out.shape == s.x.shape
        for i in range(len(s.x)):
            torch.testing.assert_close(out[i : i + 1], one(dit, s, i), rtol=0, atol=1e-5)


def test_a_level_per_clip_equals_a_level_per_patch(dit):
    s = segment(3, 2, 4, 4)
    level = torch.tensor([1.0, 0.3, 0.0])
    per_patch = level.view(3, 1, 1, 1, 1).expand(3, 1, 2, 4, 4)
    torch.testing.assert_close(
        dit(s.x, level, s.text, s.text_mask), dit(s.x, per_patch, s.text, s.text_mask), rtol=0, atol=1e-5
    )


def test_clean_patches_pass_and_are_read(dit):
    s = segment(1, 2, 4, 4)
    s.level[:, :, 0] = 0
    out = one(dit, s, 0)
    assert torch.equal(out[:, :, 0], s.x[:, :, 0])
    s.x[:, :, 0] += 1
    assert (one(dit, s, 0)[:, :, 1] - out[:, :, 1]).abs().max() > 1e-3


def test_the_level_the_text_and_the_frame_rate_matter(dit):
    s = segment(1, 2, 4, 4)
    out = one(dit, s, 0)
    for other in (
        dataclasses.replace(s, level=s.level * 0.5 + 0.1),
        dataclasses.replace(s, text=s.text.roll(1, dims=-1)),
        dataclasses.replace(s, fps=24.0),
    ):
        assert (one(dit, other, 0) - out).abs().max() > 1e-3


def test_repeating_the_text_changes_nothing(dit):
    """Hosts repeat conditions to make lengths equal."""
    s = segment(1, 2, 4, 4)
    s.text_mask = torch.ones_like(s.text_mask)
    twice = dit(s.x, s.level, s.text.repeat(1, 2, 1), s.text_mask.repeat(1, 2))
    torch.testing.assert_close(twice, one(dit, s, 0), rtol=0, atol=1e-5)


def test_both_attentions_agree():
    g = torch.Generator().manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, 9, 16, generator=g)
    mask = torch.rand(2, 1, 1, 9, generator=g) < 0.6
    torch.testing.assert_close(sdpa(q, k, v, mask), matmul_attention(q, k, v, mask), rtol=0, atol=1e-5)
    torch.testing.assert_close(sdpa(q, k, v), matmul_attention(q, k, v), rtol=0, atol=1e-5)


@pytest.mark.parametrize("std", [1.0, 0.2, 3.0])
def test_preconditioning_has_unit_variance(std):
    """x = (1 - s) x0 + s e: the network's input and what it must give, (x0 - skip x) / out, have variance 1."""
    g = torch.Generator().manual_seed(0)
    x0, e = torch.randn(2, 200_000, generator=g, dtype=torch.double)
    for s in (0.01, 0.3, 0.7, 1.0):
        scale_in, skip, out = precondition(torch.tensor(s, dtype=torch.double), std)
        x = (1 - s) * std * x0 + s * e
        assert (scale_in * x).var() == pytest.approx(1, rel=0.02)
        assert ((std * x0 - skip * x) / out).var() == pytest.approx(1, rel=0.02)


def test_channels_are_scaled_one_by_one():
    """Of what a channel's deviation multiplies, a clean patch sees nothing and pure noise everything."""
    std = (0.5, 1.0, 2.0, 4.0)
    config = DiTConfig(width=32, depth=1, heads=2, text_width=24, channels=4, patch=(1, 1, 1))
    plain, scaled = (DiT(dataclasses.replace(config, channel_std=s)).initialize().eval() for s in ((), std))
    torch.nn.init.constant_(plain.patch_out.bias, 1.0)
    scaled.load_state_dict(plain.state_dict())
    x, text = torch.randn(1, 4, 1, 2, 2), torch.zeros(1, 1, 24)
    assert torch.equal(scaled(x, torch.zeros(1), text), x)
    ratio = scaled(x, torch.ones(1), text) / plain(x, torch.ones(1), text)
    torch.testing.assert_close(ratio[0, :, 0, 0, 0], torch.tensor(std))
    with pytest.raises(ValueError, match="channel_std"):
        dataclasses.replace(config, channel_std=(1.0, 2.0))


def test_named_sizes_reach_billions():
    sizes = {}
    for name, config in CONFIGS.items():
        with torch.device("meta"):
            sizes[name] = sum(p.numel() for p in DiT(config).parameters())
    assert sizes["tiny"] < 13e6 and sizes["2b"] > 1.9e9 and sizes["8b"] > 7e9
    assert list(sizes.values()) == sorted(sizes.values())


def test_a_wrong_latent_is_refused(dit):
    with pytest.raises(UserError, match="takes latents of 4 channels"):
        dit(torch.zeros(1, 16, 1, 4, 4), torch.ones(1), torch.zeros(1, 1, 24))
    with pytest.raises(UserError, match="patches of"):
        dit(torch.zeros(1, 4, 1, 3, 4), torch.ones(1), torch.zeros(1, 1, 24))


def test_a_wrong_config_is_refused():
    with pytest.raises(ValueError, match="multiple of heads"):
        DiTConfig(width=100, depth=1, heads=3, text_width=8)
    with pytest.raises(ValueError, match="multiple of 16"):
        DiTConfig(width=48, depth=1, heads=2, text_width=8)
    for shift in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ValueError, match="shift must be a positive number"):
            DiTConfig(width=32, depth=1, heads=2, text_width=8, shift=shift)

    for wrong in ({"exit": 2}, {"exit": -1}, {"exit_guidance": (1.0, 0.0, 1.0)}):
        with pytest.raises(ValueError, match="exit"):
            dataclasses.replace(SMALL, **wrong)
    for guidance in ((-1.0, 0.0, 1.0), (1.0, 0.6, 0.4), (1.0, 0.0, 1.5), (1.0,), (float("nan"), 0.0, 1.0)):
        with pytest.raises(ValueError, match="exit_guidance must be"):
            dataclasses.replace(SMALL, exit=1, exit_guidance=guidance)


# ------------------------------------------------------------------ guided by its own first prediction


def test_the_first_prediction_guides_the_last():
    config = dataclasses.replace(SMALL, exit=1)
    torch.manual_seed(1)
    plain = DiT(config).initialize().eval().requires_grad_(False)
    for p in plain.parameters():
        p += 0.1 * torch.randn_like(p)
    guided = DiT(dataclasses.replace(config, exit_guidance=(0.7, 0.2, 0.6))).eval().requires_grad_(False)
    guided.load_state_dict(plain.state_dict())
    s = segment(2, 3, 4, 4)
    s.level[0, :, 0] = 0
    (last,), (first,) = plain.predictions([s], first=True)
    inside = (s.level >= 0.2) & (s.level <= 0.6)
    assert inside.any() and not inside.all() and (last - first).abs().max() > 0.1
    torch.testing.assert_close(plain.forward_pack([s])[0], last)
    wanted = torch.where(inside, last + 0.7 * (last - first), last)
    torch.testing.assert_close(guided.forward_pack([s])[0], wanted)
    assert torch.equal(guided.forward_pack([s])[0][0, :, 0], s.x[0, :, 0])  # what is given stays
    level = torch.tensor([0.5, 0.9])
    torch.testing.assert_close(
        guided(s.x, level, s.text, s.text_mask),
        guided(s.x, level.view(2, 1, 1, 1, 1).expand_as(s.level), s.text, s.text_mask),
    )
    for p in plain.blocks[1].parameters():  # the blocks behind the exit are not seen from it
        p.zero_()
    torch.testing.assert_close(plain.predictions([s], first=True)[1][0], first)
    assert (plain.predictions([s], first=True)[0][0] - last).abs().max() > 0.1


# ------------------------------------------------------------------ prompts and places over time


def test_every_moment_reads_the_text_of_its_time(dit):
    """With attention among patches cut off (values of zero), what a moment gives depends on its own text alone."""
    blind = copy.deepcopy(dit)
    for block in blind.blocks:
        block.attention.qkv.weight.data[-SMALL.width :] = 0
        block.mix.taps.data.zero_()
    s = segment(2, 4, 4, 4)
    text, mask = segment(3, 1, 4, 4, seed=5).text, torch.tensor([[1, 1, 1, 1, 1], [1, 1, 0, 0, 0], [1, 1, 1, 0, 0]]) > 0
    told = torch.tensor([[0, 0, 1, 2], [2, 2, 2, 1]])
    out = blind(s.x, s.level, text, mask, told=told)
    for clip in range(2):
        for row in range(3):
            alone = blind(s.x[clip, None], s.level[clip, None], text[row, None], mask[row, None])[0]
            here = told[clip] == row
            torch.testing.assert_close(out[clip][:, here], alone[:, here], rtol=0, atol=1e-5)


def test_one_text_for_all_moments_is_the_plain_text(dit):
    s = segment(2, 3, 4, 4)
    for told in (torch.tensor([[0, 0, 0], [1, 1, 1]]), torch.tensor([[1, 1, 1], [0, 0, 0]])):
        rows = told[:, 0]
        for level in (s.level, torch.tensor([0.4, 0.9])):
            plain = dit(s.x, level, s.text[rows], s.text_mask[rows])
            torch.testing.assert_close(dit(s.x, level, s.text, s.text_mask, told=told), plain, rtol=0, atol=1e-5)


def test_only_the_difference_in_time_counts(dit):
    s = segment(1, 3, 4, 4)
    here, later, apart = (
        dit(s.x, s.level, s.text, s.text_mask, times=torch.tensor(t)) for t in ([0, 1, 2], [40, 41, 42], [0, 40, 41])
    )
    assert torch.equal(here, one(dit, s, 0))
    torch.testing.assert_close(later, here, rtol=0, atol=1e-4)
    assert (apart - here).abs().max() > 1e-3


def test_what_lies_apart_in_time_does_not_mix_as_neighbours(dit):
    x = torch.randn(2, 3, 2, 2, SMALL.width, generator=torch.Generator().manual_seed(0))
    mix = dit.blocks[0].mix
    pieces = torch.cat([mix(x[:, :1]), mix(x[:, 1:])], dim=1)
    torch.testing.assert_close(mix(x, gaps=[0]), pieces, rtol=0, atol=1e-6)
    assert (mix(x) - pieces).abs().max() > 1e-3


@pytest.mark.parametrize("to", [2, 3, 5])
def test_deeper_predicts_the_same_until_it_learns(dit, to):
    deeper = DiT(dataclasses.replace(SMALL, depth=to))
    deeper.load_state_dict(deepened(dit.state_dict(), 2, to))
    s = segment(2, 2, 4, 4)
    before, after = (model.forward_pack([s])[0] for model in (dit, deeper))
    assert torch.equal(before, after)
    after.square().sum().backward()
    assert all(block.down.weight.grad.abs().max() > 0 for block in deeper.blocks)  # none is dead
