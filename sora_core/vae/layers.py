"""Layers of the compression network. Features travel as (B, T, H, W, C).

Everything is causal in time and no statistic crosses space or time: a clip fed in pieces gives what the whole gives.
Before the first frame lies that same frame, repeated for ever: a still image is therefore exactly a video of one frame,
and the network never pays for padding frames. What a layer must remember between pieces is kept in `state`, a dict
from the layer to a tensor, which is empty at the start of a clip (feature caching as in WF-VAE and Wan).
"""

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..layers import RMSNorm

State = dict[nn.Module, Tensor]

# PyTorch convolves a single image of no more values than this by another algorithm (on a CPU), whose last bits differ;
# a second image beside it keeps a clip in pieces equal to the whole, bit for bit.
SMALL = 20480


class SpatialConv(nn.Module):
    """3 x 3 convolution of every frame by itself, zeros around the picture."""

    def __init__(self, width_in: int, width_out: int, *, operations, device=None, dtype=None):
        super().__init__()
        self.conv = operations.Conv2d(width_in, width_out, 3, padding=1, device=device, dtype=dtype)

    def forward(self, x: Tensor) -> Tensor:
        # (B T, H, W, C) by way of one axis: even one frame then has channels-last strides, which choose the algorithm
        frames = x.reshape(-1).view(-1, *x.shape[2:])
        if frames.numel() <= SMALL:
            frames = torch.cat([frames, frames[:1]])
        y = self.conv(frames.movedim(-1, 1)).movedim(1, -1)
        return y[: x.shape[0] * x.shape[1]].unflatten(0, x.shape[:2])


class TemporalConv(nn.Module):
    """Causal convolution over a frame and the two before it, each pixel by itself."""

    def __init__(self, width: int, *, operations, device=None, dtype=None):
        super().__init__()
        self.linear = operations.Linear(3 * width, width, device=device, dtype=dtype)

    def forward(self, x: Tensor, state: State) -> Tensor:
        past = state.get(self)
        if past is None:
            past = x[:, :1].expand(-1, 2, -1, -1, -1)
        x = torch.cat([past, x], dim=1)
        state[self] = x[:, -2:].clone()  # a view would keep the whole piece
        return self.linear(torch.cat([x[:, :-2], x[:, 1:-1], x[:, 2:]], dim=-1))


class Block(nn.Module):
    """Residual: look around in space, then back in time."""

    def __init__(self, width: int, **kwargs):
        super().__init__()
        weights = {k: v for k, v in kwargs.items() if k != "operations"}
        self.norm_space = RMSNorm(width, **weights)
        self.space = SpatialConv(width, width, **kwargs)
        self.norm_time = RMSNorm(width, **weights)
        self.time = TemporalConv(width, **kwargs)

    def forward(self, x: Tensor, state: State) -> Tensor:
        y = self.space(F.silu(self.norm_space(x)))
        return x + self.time(F.silu(self.norm_time(y)), state)


class Merge(nn.Module):
    """Two frames, and `size` x `size` pixels, become one: frame 0 by itself (paired with itself), then pairs."""

    def __init__(self, width_in: int, width_out: int, size: int, *, operations, device=None, dtype=None):
        super().__init__()
        self.size = size
        self.linear = operations.Linear(2 * size * size * width_in, width_out, device=device, dtype=dtype)

    def forward(self, x: Tensor, state: State) -> Tensor:
        if self not in state:
            x = torch.cat([x[:, :1], x], dim=1)
            state[self] = x.new_empty(0)  # only marks that the clip has begun
        return self.linear(rearrange(x, "b (t p) (h q) (w r) c -> b t h w (p q r c)", p=2, q=self.size, r=self.size))


class Split(nn.Module):
    """The way back from `Merge`: one becomes two frames of `size` x `size` pixels; the very first keeps the later."""

    def __init__(self, width_in: int, width_out: int, size: int, *, operations, device=None, dtype=None):
        super().__init__()
        self.size = size
        self.linear = operations.Linear(width_in, 2 * size * size * width_out, device=device, dtype=dtype)

    def forward(self, x: Tensor, state: State) -> Tensor:
        x = rearrange(self.linear(x), "b t h w (p q r c) -> b (t p) (h q) (w r) c", p=2, q=self.size, r=self.size)
        if self not in state:
            state[self] = x.new_empty(0)
            x = x[:, 1:]
        return x
