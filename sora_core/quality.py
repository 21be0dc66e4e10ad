"""How close two clips are: PSNR and SSIM, frame by frame."""

from __future__ import annotations

import torch
from kornia.metrics import ssim as ssim_map
from torch import Tensor


def psnr(a: Tensor, b: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of each frame, on 8-bit levels' range.

    Args:
        a, b: (B, 3, T, H, W) in [-1, 1]; what lies beyond is clipped, as a file would.

    Returns:
        (B, T); identical frames give infinity.
    """
    error = ((a.clamp(-1, 1) - b.clamp(-1, 1)) / 2).square().mean(dim=(1, 3, 4))
    return -10 * torch.log10(error)


def ssim(a: Tensor, b: Tensor) -> Tensor:
    """Structural similarity (Wang et al. 2004: Gaussian window of 11, sigma 1.5) of each frame: (B, T) in [-1, 1].

    Args:
        a, b: (B, 3, T, H, W) in [-1, 1]. Frames smaller than the window are compared with the largest that fits.
    """
    frames = [x.clamp(-1, 1).add(1).div(2).transpose(1, 2).flatten(0, 1) for x in (a, b)]
    side = min(a.shape[-2:])
    window = min(11, 2 * ((side - 1) // 2) + 1)
    return ssim_map(*frames, window).mean(dim=(1, 2, 3)).view(a.shape[0], a.shape[2])
