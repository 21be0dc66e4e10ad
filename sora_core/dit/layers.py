"""Layers of the diffusion transformer. Tokens of all clips lie in one flat sequence (N, width); what belongs together
is said by the segments (see `model.Segment`), so clips of different sizes share every matrix product."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sinusoids(values: Tensor, width: int) -> Tensor:
    """(U,) levels in [0, 1] to (U, width) sines and cosines of geometric frequencies."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=values.device) / (width // 2))
    angles = 1000 * values[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def modulate(x: Tensor, shift: Tensor, gain: Tensor) -> Tensor:
    """Normalise to a root mean square of 1 over the last axis, then scale and shift as the noise level says (adaLN).

    On a CPU `F.rms_norm` would square into a tensor of the size of x; the vector norm needs none.
    """
    exact = x.float()
    power = torch.linalg.vector_norm(exact, dim=-1, keepdim=True).square() / x.shape[-1]
    return torch.addcmul(shift, (exact * torch.rsqrt(power + 1e-6)).to(x.dtype), gain)


def row_of(rows: Tensor, index: Tensor | None) -> Tensor:
    """Of rows (G, U, width) that of every token (G, n, width), by its number (n,); no numbers: they are in place."""
    return rows if index is None else rows.index_select(1, index)


def gelu(x: Tensor) -> Tensor:
    """GELU by its tanh formula; in place where nothing is learnt, for nothing else in a block is as wide.

    Compiled for a CPU, with 1 + tanh(y) = 2 sigmoid(2 y): forward and backward take half the time.
    """
    if torch.is_grad_enabled():
        if x.device.type == "cpu" and torch.compiler.is_compiling():
            return x * torch.sigmoid(2 * math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))
        return F.gelu(x, approximate="tanh")
    return torch.ops.aten.gelu_(x, approximate="tanh")


class LocalMix(nn.Module):
    """Each feature adds a weighted sum of its neighbours' along t, y and x (depthwise, 3 taps an axis, zero-padded)."""

    def __init__(self, width: int, *, device=None, dtype=None):
        super().__init__()
        self.taps = nn.Parameter(torch.zeros(3, 2, width, device=device, dtype=dtype))  # axis, before/after, feature

    def forward(self, x: Tensor, gaps: Sequence[int] = ()) -> Tensor:
        """x (b, t, h, w, width); along t, frame i and i + 1 are no neighbours for i in `gaps`."""
        taps = self.taps.to(x)
        out = x
        for axis in range(3):
            size = x.shape[axis + 1]
            if size == 1:
                continue
            edge = torch.zeros_like(x.narrow(axis + 1, 0, 1))
            before = torch.cat([edge, x.narrow(axis + 1, 0, size - 1)], dim=axis + 1)
            after = torch.cat([x.narrow(axis + 1, 1, size - 1), edge], dim=axis + 1)
            for i in gaps if axis == 0 else ():
                before[:, i + 1], after[:, i] = 0, 0
            out = torch.addcmul(torch.addcmul(out, before, taps[axis, 0]), after, taps[axis, 1])
        return out
