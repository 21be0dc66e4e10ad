"""PSNR and SSIM against their definitions."""

import pytest
import torch
from kornia.metrics import ssim as ssim_map

from sora_core.quality import psnr, ssim


def test_psnr_by_hand():
    a = torch.zeros(2, 3, 4, 8, 8)
    b = a + 0.02 * torch.tensor([1, 2, 4, 8.0])[None, None, :, None, None]
    expected = -20 * torch.log10(torch.tensor([0.01, 0.02, 0.04, 0.08]))
    assert torch.allclose(psnr(a, b), expected.expand(2, 4), atol=1e-3)
    assert psnr(a, a).isinf().all()


def test_what_a_file_clips_is_not_counted():
    a, b = torch.ones(1, 3, 1, 8, 8), torch.full((1, 3, 1, 8, 8), 1.5)
    assert psnr(a, b).isinf().all()


@pytest.mark.parametrize("height, width", [(64, 64), (37, 51), (5, 9), (1, 1)])
def test_ssim_is_one_for_the_same_and_falls_with_noise(smooth_clip, height, width):
    video = smooth_clip(3, height, width)[None]
    assert torch.allclose(ssim(video, video), torch.ones(1, 3), atol=1e-4)
    noisy = [
        ssim(video, video + s * torch.randn(video.shape, generator=torch.Generator().manual_seed(0)))
        for s in (0.1, 0.5)
    ]
    assert (noisy[0] > noisy[1]).all() and noisy[0].max() < 1


def test_ssim_is_wangs_formula(smooth_clip):
    """At the one pixel of an 11 x 11 image whose window needs no padding, and the mean from that map."""
    a = smooth_clip(1, 11, 11)
    b = a + 0.2 * torch.randn(a.shape, generator=torch.Generator().manual_seed(1))
    x, y = (((v.clamp(-1, 1) + 1) / 2)[:, 0].double() for v in (a, b))
    bell = torch.exp(-(torch.arange(-5, 6).double() ** 2) / (2 * 1.5**2))
    window = torch.outer(bell, bell) / bell.sum() ** 2

    def mean(v):
        return (v * window).sum(dim=(1, 2))

    c1, c2 = 0.01**2, 0.03**2
    covariance = mean(x * y) - mean(x) * mean(y)
    variances = mean(x * x) - mean(x) ** 2 + mean(y * y) - mean(y) ** 2
    expected = (2 * mean(x) * mean(y) + c1) * (2 * covariance + c2)
    expected = expected / ((mean(x) ** 2 + mean(y) ** 2 + c1) * (variances + c2))
    centre = ssim_map(*(v[None].float() for v in (x, y)), 11)[0, :, 5, 5].double()
    assert torch.allclose(centre, expected, atol=1e-4)
    assert float(ssim(a[None], b[None])) == pytest.approx(float(ssim_map(x[None], y[None], 11).mean()), abs=1e-4)
