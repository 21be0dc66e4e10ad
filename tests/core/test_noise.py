"""The noise field: exact as a function of its coordinates, Gaussian and white as a random field."""

import math

import pytest
import torch

from sora_core.noise import noise, philox

FIRST = [-0.1169173, 0.9978575, 0.1524376, 0.0883457, -1.3398119, 0.5708719, -0.4522432, 0.1042936]
SCALED = [-0.9706505, 0.0204485, -0.6327919, 1.3491594, 1.1625077, -0.7548841, 2.0456834, -0.4575917]
SHAPE = (16, 12, 64, 64)  # 786,432 values: a mean has a standard error of 0.0011


@pytest.fixture(scope="module")
def field():
    return noise(7, SHAPE)


def _z(correlation: float, n: int) -> float:
    """A correlation of n independent pairs in standard errors."""
    return abs(correlation) * math.sqrt(n)


def test_known_answers():
    """The vectors published with Random123 (kat_vectors, philox4x32 10)."""
    vectors = [
        ([0] * 4, [0] * 2, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ([0xFFFFFFFF] * 4, [0xFFFFFFFF] * 2, "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        (
            [0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344],
            [0xA4093822, 0x299F31D0],
            "d16cfe09 94fdcceb 5001e420 24126ea1",
        ),
    ]
    for counter, key, answer in vectors:
        words = philox([torch.tensor([c]) for c in counter], tuple(key))
        assert " ".join(f"{int(w):08x}" for w in words) == answer


def test_values_never_change():
    """Seeds are a promise to users: these values may not differ in any later version."""
    first = noise(2024, (8, 1, 1, 1)).flatten().tolist()
    scaled = noise(2024, (2, 1, 2, 2), scale=2).flatten().tolist()
    assert first == pytest.approx(FIRST, abs=1e-6) and scaled == pytest.approx(SCALED, abs=1e-6)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_any_block_is_a_slice_of_the_whole(scale):
    whole = noise(5, (7, 6, 13, 17), offset=(-3, -6, -8), scale=scale)
    for t, y, x, nt, ny, nx in [(0, 0, 0, 1, 1, 1), (2, 5, 7, 3, 4, 5), (5, 12, 16, 1, 1, 1), (1, 1, 1, 5, 12, 16)]:
        block = noise(5, (7, nt, ny, nx), offset=(t - 3, y - 6, x - 8), scale=scale)
        assert torch.equal(block, whole[:, t : t + nt, y : y + ny, x : x + nx])
    assert torch.equal(noise(5, (3, 6, 13, 17), offset=(-3, -6, -8), scale=scale), whole[:3])


def test_enlarging_in_every_direction_keeps_the_old_values():
    small = noise(1, (16, 3, 8, 8))
    assert torch.equal(noise(1, (16, 7, 12, 16), offset=(-2, -1, -5))[:, 2:5, 1:9, 5:13], small)


def test_working_in_chunks_changes_nothing(monkeypatch, field):
    monkeypatch.setattr("sora_core.noise.CHUNK", 10_000)
    assert torch.equal(noise(7, SHAPE), field)


def test_large_coordinates_and_seeds_are_distinct():
    seeds = [0, 1, -1, 2**32, 2**63, 2**64 - 2]
    values = torch.stack([noise(s, (4, 2, 4, 4)) for s in seeds]).flatten(1)
    assert torch.pdist(values).min() > 1
    assert torch.equal(noise(-1, (4, 1, 2, 2)), noise(2**64 - 1, (4, 1, 2, 2)))
    far = noise(3, (4, 1, 1, 1), offset=(10**6, -(10**6), 10**6))
    assert torch.isfinite(far).all()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("scale", [1, 2])
def test_same_on_cuda(scale):
    here, there = noise(7, SHAPE, scale=scale), noise(7, SHAPE, scale=scale, device="cuda").cpu()
    assert (here != there).sum() <= 4 and (here - there).abs().max() < 1e-6
    words = [torch.arange(1000) * 4_000_037 & 0xFFFFFFFF for _ in range(4)]
    on_gpu = philox([w.cuda() for w in words], (1, 2))
    assert all(torch.equal(a, b.cpu()) for a, b in zip(philox(words, (1, 2)), on_gpu, strict=True))


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_moments_are_those_of_a_gaussian(scale):
    x = noise(7, SHAPE, scale=scale).double()
    n = x.numel()
    assert x.mean().abs() < 4 / math.sqrt(n)
    assert (x.var() - 1).abs() < 4 * math.sqrt(2 / n)
    assert (x**3).mean().abs() < 4 * math.sqrt(15 / n)
    assert ((x**4).mean() - 3).abs() < 4 * math.sqrt(96 / n)
    # The whole distribution: Kolmogorov-Smirnov at 0.1 %.
    cdf = torch.special.ndtr(x.flatten().sort().values)
    steps = torch.arange(1, n + 1) / n
    assert (cdf - steps).abs().max() < 1.95 / math.sqrt(n)


@pytest.mark.parametrize("scale", [1, 2, 4])
def test_white_along_every_axis(scale):
    x = noise(7, SHAPE, scale=scale).double()
    for axis in range(4):
        for lag in (1, 2, 3, 4):
            a, b = x.narrow(axis, 0, x.shape[axis] - lag), x.narrow(axis, lag, x.shape[axis] - lag)
            assert _z((a * b).mean().item(), a.numel()) < 4.5, (axis, lag)


@pytest.mark.parametrize("scale", [1, 2])
def test_power_spectrum_is_flat(scale):
    """Every 8 x 8 box of spatial frequencies holds the same power: composition is not amplified."""
    x = noise(11, (16, 12, 64, 64), scale=scale).double()
    power = torch.fft.fft2(x).abs().square().mean((0, 1)) / 64**2
    boxes = power.view(8, 8, 8, 8).mean((1, 3))
    assert (boxes - 1).abs().max() < 5 / math.sqrt(16 * 12 * 32)


def test_seeds_channels_and_streams_are_independent(field):
    other = noise(8, SHAPE).double()
    n = other.numel()
    x = field.double()
    assert _z((x * other).mean().item(), n) < 4.5
    assert _z((x.square() * other.square()).mean().item() - 1, n) < 4.5 * math.sqrt(8)  # energies too
    assert _z((x * noise(7, SHAPE, scale=2)).mean().item(), n) < 4.5
    flat = x.flatten(1)
    correlation = flat @ flat.T / flat.shape[1] - torch.eye(16)
    assert correlation.abs().max() < 5 / math.sqrt(flat.shape[1])


@pytest.mark.parametrize("scale", [2, 3, 5])
def test_coarse_component_is_shared_between_sizes(scale):
    base = noise(9, (4, 2, 6, 7))
    large = noise(9, (4, 2, 6 * scale, 7 * scale), scale=scale)
    mean = large.view(4, 2, 6, scale, 7, scale).mean((3, 5))
    assert torch.allclose(mean * scale, base, atol=1e-5)
    part = noise(9, (4, 2, scale, scale), offset=(0, 2 * scale, -scale), scale=scale)
    assert torch.allclose(part.mean((-2, -1)) * scale, noise(9, (4, 2, 1, 1), offset=(0, 2, -1))[..., 0, 0], atol=1e-5)


def test_impossible_blocks_are_refused():
    for arguments in ({"shape": (4, 0, 1, 1)}, {"shape": (4, 1, 1, 1), "scale": 0}):
        with pytest.raises(ValueError):
            noise(0, **arguments)
    with pytest.raises(TypeError):
        noise(0.5, (1, 1, 1, 1))
