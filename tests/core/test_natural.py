"""Natural-statistics imagery for the codec."""

import pytest
import torch

from sora_core.worlds.natural import _Draw, _power_law, natural_batch


def test_a_seed_or_a_generator_gives_the_same_batch_again():
    assert torch.equal(natural_batch(3, 4, 5, 32, 40), natural_batch(3, 4, 5, 32, 40))
    assert not torch.equal(natural_batch(3, 4, 5, 32, 40), natural_batch(4, 4, 5, 32, 40))
    one, two = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    assert torch.equal(natural_batch(one, 4, 1, 32, 32), natural_batch(two, 4, 1, 32, 32))
    assert not torch.equal(natural_batch(one, 4, 1, 32, 32), natural_batch(3, 4, 1, 32, 32))


@pytest.mark.parametrize("frames, height, width", [(1, 64, 64), (9, 64, 64), (5, 37, 90), (1, 17, 8), (2, 400, 24)])
def test_any_size_is_in_range(frames, height, width):
    video = natural_batch(5, 12, frames, height, width)
    assert video.shape == (12, 3, frames, height, width) and video.dtype == torch.float32
    assert video.isfinite().all() and video.min() >= -1 and video.max() <= 1


def test_pictures_are_varied_and_mostly_unclipped():
    pictures = natural_batch(6, 128, 1, 64, 64)[:, :, 0]
    assert (pictures.abs() == 1).float().mean() < 0.12
    assert pictures.std((2, 3)).mean() > 0.15
    assert pictures.mean((1, 2, 3)).std() > 0.1
    grey = pictures - pictures.mean((2, 3), keepdim=True)
    neighbours = (grey[..., 1:] * grey[..., :-1]).mean() / grey.square().mean()
    assert neighbours > 0.8  # correlated, as photographs are


def test_power_law_noise_has_its_spectrum():
    noise = _power_law(_Draw(0, "cpu"), 16, 1, 128, 128, torch.full((16, 1, 1, 1), 1.2))
    spectrum = torch.fft.fft2(noise).abs().square().mean((0, 1))
    frequency = torch.fft.fftfreq(128).abs()
    radius = torch.hypot(frequency[:, None], frequency)
    low, high = ((radius > f / 1.1) & (radius < f * 1.1) for f in (0.05, 0.4))
    slope = torch.log(spectrum[high].mean() / spectrum[low].mean()) / torch.log(torch.tensor(0.4 / 0.05))
    assert slope == pytest.approx(-2.4, abs=0.15)  # the power's exponent is twice the amplitude's


def test_most_clips_move_smoothly_and_some_stand_still():
    video = natural_batch(8, 96, 9, 48, 48)
    step = (video[:, :, 1:] - video[:, :, :-1]).abs().mean((1, 3, 4))  # (B, T - 1)
    assert (step.mean(1) > 0.005).float().mean() > 0.7
    assert (step.amax(1) < 1e-4).any()
    assert step.amax() < 0.6
