"""PSNR and SSIM against scikit-image's definitions and by hand."""

import pytest
import torch

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


def test_ssim_agrees_with_scikit_image(smooth_clip):
    metrics = pytest.importorskip("skimage.metrics")
    a = smooth_clip(1, 40, 56)
    b = a + 0.2 * torch.randn(a.shape, generator=torch.Generator().manual_seed(1))
    images = [((x.clamp(-1, 1) + 1) / 2)[:, 0].permute(1, 2, 0).numpy() for x in (a, b)]
    expected = metrics.structural_similarity(
        *images, channel_axis=2, data_range=1, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    assert float(ssim(a[None], b[None])) == pytest.approx(expected, abs=0.01)
