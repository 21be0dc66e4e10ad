"""What the transformer's blocks are given: shapes that depend on the pack alone, so that they compile once."""

import pytest
import torch
import torch.nn.functional as F

from sora_core.dit import DiT, DiTConfig, Segment
from sora_core.dit.layers import gelu

CONFIG = DiTConfig(width=32, depth=1, heads=2, text_width=8, channels=2, patch=(1, 1, 1))


def given_to_the_block(levels):
    """The modulation's shape for clips with these levels (b, 1, t, h, w)."""
    seen = []
    dit = DiT(CONFIG).initialize()
    dit.blocks[0].register_forward_pre_hook(lambda _, given: seen.append((given[0].shape, given[1].shape)))
    dit.forward_pack([Segment(torch.zeros(len(x), 2, *x.shape[2:]), x, torch.zeros(len(x), 3, 8)) for x in levels])
    return seen[0]


@pytest.mark.parametrize("count", [1, 3])
def test_one_level_a_clip_is_one_row_a_clip(count):
    level = torch.linspace(0.1, 0.9, count).view(-1, 1, 1, 1, 1).expand(count, 1, 2, 3, 4)
    assert given_to_the_block([level]) == ((count, 24, 32), (6, count, 1, 32))


def test_the_number_of_distinct_levels_does_not_show():
    few = torch.full((2, 1, 2, 3, 4), 0.5)
    few[:, :, 0] = 0
    many = torch.rand(2, 1, 2, 3, 4)
    images = torch.full((3, 1, 1, 3, 4), 0.5)
    assert given_to_the_block([few]) == given_to_the_block([many]) == ((1, 48, 32), (6, 1, 48, 32))
    assert given_to_the_block([few, images]) == given_to_the_block([many, images])


def test_with_and_without_gradients_are_the_same():
    """In training every token is given its row; otherwise a block looks its rows up in the table of distinct levels."""
    torch.manual_seed(0)
    dit = DiT(CONFIG)
    level = torch.rand(2, 1, 2, 1, 1).expand(2, 1, 2, 3, 4)
    given = (torch.randn(2, 2, 2, 3, 4), level, torch.randn(2, 3, 8))
    trained = dit(*given)
    with torch.no_grad():
        torch.testing.assert_close(dit(*given), trained, rtol=0, atol=1e-6)
    assert (dit(given[0], level.flip(2), given[2]) - trained).abs().max() > 1e-3


def test_the_compiled_gelu_is_the_formula_s():
    """On a CPU a compiled block has another way to the same; the backend "eager" traces as a compiler does."""
    x = torch.linspace(-12, 12, 4001, dtype=torch.float64, requires_grad=True)
    y, wanted = torch.compile(gelu, backend="eager")(x), F.gelu(x, approximate="tanh")
    torch.testing.assert_close(y, wanted, rtol=0, atol=1e-12)
    (slope,), (wanted_slope,) = (torch.autograd.grad(of.sum(), x) for of in (y, wanted))
    torch.testing.assert_close(slope, wanted_slope, rtol=0, atol=1e-12)
    torch.testing.assert_close(gelu(x), wanted, rtol=0, atol=0)
