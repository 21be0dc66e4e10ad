"""The noise field: Gaussian noise as a pure function of a seed and a coordinate (channel, t, y, x).

A counter-based generator (Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011) turns
every coordinate into bits without any state, so the same seed gives the same noise on every device, in any order, on
any number of machines; a canvas that is enlarged in any direction keeps the noise of its old patches.

The integers are bit-identical everywhere. The Box-Muller transform runs in float64 and is rounded to float32, which
hides the last-bit differences between the logarithms and cosines of different processors except in about one value out
of 10^8, where it is one unit in the last place of the float32 (tests: `test_known_answers`, `test_same_on_cuda`).
"""

from __future__ import annotations

import math
import operator

import torch
from torch import Tensor

from .flow import exact_device

MASK = 0xFFFFFFFF
CHUNK = 1 << 20  # counters evaluated at once: bounds the working memory to some 100 MB


def philox(counter: list[Tensor], key: tuple[int, int]) -> list[Tensor]:
    """Philox4x32-10 on int64 tensors that hold 32-bit words: four words of counter to four random words.

    A product of two 32-bit words fills all 64 bits; int64 wraps, but its bits are those of the unsigned product.
    """
    a, b, c, d = counter
    k0, k1 = key
    for _ in range(10):
        p, q = a * 0xD2511F53, c * 0xCD9E8D57
        a, b, c, d = (q >> 32 & MASK) ^ b ^ k0, q & MASK, (p >> 32 & MASK) ^ d ^ k1, p & MASK
        k0, k1 = k0 + 0x9E3779B9 & MASK, k1 + 0xBB67AE85 & MASK
    return [a, b, c, d]


def box_muller(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Two words of 32 bits to two independent N(0, 1) in float64, at most 6.8 in size (Box and Muller 1958)."""
    radius = torch.sqrt(-2 * torch.log((a.double() + 0.5) * 2.0**-32))
    angle = b.double() * (2 * math.pi * 2.0**-32)
    return radius * torch.cos(angle), radius * torch.sin(angle)


def _white(seed: int, stream: int, shape, offset, device) -> Tensor:
    """White noise of one stream, float64 (C, t, h, w). One counter serves four channels."""
    channels, frames, height, width = shape
    groups = -(-channels // 4)

    def words(start: int, count: int, axis: int) -> Tensor:
        view = [1, 1, 1, 1]
        view[axis] = count
        return (torch.arange(start, start + count, device=device) & MASK).view(view)

    key = (seed & MASK, seed >> 32 & MASK)
    group = words(0, groups, 0) | stream << 16
    y, x = words(offset[1], height, 2), words(offset[2], width, 3)
    step = max(1, CHUNK // max(1, groups * height * width))
    parts = []
    for first in range(0, frames, step):
        t = words(offset[0] + first, min(step, frames - first), 1)
        bits = philox(list(torch.broadcast_tensors(group, t, y, x)), key)
        normals = torch.stack((*box_muller(*bits[:2]), *box_muller(*bits[2:])), dim=1)  # (groups, 4, t, h, w)
        parts.append(normals.flatten(0, 1)[:channels])
    return torch.cat(parts, dim=1)


def noise(
    seed: int,
    shape: tuple[int, int, int, int],
    *,
    offset: tuple[int, int, int] = (0, 0, 0),
    scale: int = 1,
    device: torch.device | str = "cpu",
) -> Tensor:
    """The noise of a block of latent cells.

    Args:
        seed: any integer, taken modulo 2^64.
        shape: (C, t, h, w) of the block.
        offset: (t, y, x) of its first cell; may be negative. A block equals the slice of any larger one that covers it.
        scale: of a canvas that is `scale` times as wide and high as the one that composed the picture (time is not
            scaled). The mean of every scale x scale cells is the noise of the small canvas at (y // scale, x // scale),
            divided by scale, so the large picture starts from the small one's composition. It is still white N(0, 1):
            what is added inside each cell is white noise of another stream without its mean.
        device: where the result lives.

    Returns:
        float32 (C, t, h, w).
    """
    seed, scale = operator.index(seed), operator.index(scale)
    if not 1 <= scale < 1 << 15 or min(shape) < 1:
        raise ValueError(f"scale must be in 1..32767 and every size at least 1, not {scale} and {tuple(shape)}")
    channels, frames, height, width = shape
    place = exact_device(device)
    if scale == 1:
        return _white(seed, 0, shape, offset, place).float().to(device)

    # Whole blocks around the wanted cells: (rows, columns) of blocks from (top, left).
    dt, dy, dx = offset
    top, left = dy // scale, dx // scale
    rows, columns = -(-(dy + height) // scale) - top, -(-(dx + width) // scale) - left
    coarse = _white(seed, 0, (channels, frames, rows, columns), (dt, top, left), place) / scale
    fine = _white(
        seed, scale - 1, (channels, frames, rows * scale, columns * scale), (dt, top * scale, left * scale), place
    )
    mean = torch.zeros_like(coarse)
    for y in range(scale):  # one by one: the order of a sum must not depend on the size of the block
        for x in range(scale):
            mean += fine[..., y::scale, x::scale]
    shift = coarse - mean / scale**2
    fine += shift.repeat_interleave(scale, -2).repeat_interleave(scale, -1)
    y, x = dy - top * scale, dx - left * scale
    return fine[..., y : y + height, x : x + width].float().contiguous().to(device)
