"""Layers that more than one network uses."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class RMSNorm(nn.Module):
    """Root-mean-square normalisation over the last axis, with a learned scale: no statistic crosses space or time."""

    def __init__(self, width: int, *, device=None, dtype=None):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width, device=device, dtype=dtype))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], self.weight.to(x), eps=1e-6)


def rope_table(positions: Tensor, split: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Cosines and sines (n, sum of the split / 2) of rotary position embedding for positions (n, axes).

    split: features for each axis. Frequencies start at one radian per unit and fall to 1/100.
    """
    angles = []
    for axis, features in enumerate(split):
        pairs = features // 2
        frequencies = torch.exp(-math.log(100) * torch.arange(pairs, device=positions.device) / pairs)
        angles.append(positions[:, axis, None].float() * frequencies)
    angles = torch.cat(angles, dim=-1)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate feature pairs (i, i + d/2) of x (b, n, heads, d) by the angles of each token (n, d/2). Su et al. 2021."""
    first, second = x.chunk(2, dim=-1)
    cos, sin = cos[:, None].to(x), sin[:, None].to(x)
    return torch.cat(
        [torch.addcmul(first * cos, second, sin, value=-1), torch.addcmul(second * cos, first, sin)], dim=-1
    )


def sdpa(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention on (b, heads, n, d); `mask` (b, 1, 1, m) is True where a key may be seen."""
    return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)


def matmul_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """The same in two matrix products: on a CPU, forward and backward over short sequences take a fifth less time, and
    over sentences a small part of it."""
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if mask is not None:
        scores = scores.masked_fill(~mask, -1e4)
    return scores.softmax(-1) @ v
