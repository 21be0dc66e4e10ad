"""Encoder, decoder and the ways to run them: whole, streaming, tiled, warm.

Sora report: "a network that reduces the dimensionality of visual data ... outputs a latent representation that is
compressed both temporally and spatially", trained with "a corresponding decoder model".
"""

from collections.abc import Iterable, Iterator

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..errors import UserError
from ..layers import RMSNorm
from .config import S_STRIDE, T_STRIDE, VAEConfig
from .layers import Block, Merge, SpatialConv, Split, State

STEM = 4  # pixels per side folded into channels before the first layer, so that no layer runs at full resolution


class Stack(nn.ModuleList):
    """Blocks in a row, sharing the state of the clip."""

    def __init__(self, count: int, width: int, **kwargs):
        super().__init__(Block(width, **kwargs) for _ in range(count))

    def forward(self, x: Tensor, state: State) -> Tensor:
        for block in self:
            x = block(x, state)
        return x


class Encoder(nn.Module):
    """(B, T, H, W, 3) pixels to (B, t, h, w, 2C): mean and log-variance. A linear path of its own runs beside the
    convolutions: it learns the principal components of the patches at once and leaves the rest to them."""

    def __init__(self, config: VAEConfig, **kwargs):
        super().__init__()
        fine, middle, coarse = config.encoder_blocks
        weights = {k: v for k, v in kwargs.items() if k != "operations"}
        self.stem = SpatialConv(3 * STEM * STEM, config.fine_width, **kwargs)
        self.fine = Stack(fine, config.fine_width, **kwargs)
        self.merge_fine = Merge(config.fine_width, config.middle_width, S_STRIDE // STEM, **kwargs)
        self.middle = Stack(middle, config.middle_width, **kwargs)
        self.merge_middle = Merge(config.middle_width, config.coarse_width, 1, **kwargs)
        self.coarse = Stack(coarse, config.coarse_width, **kwargs)
        self.norm = RMSNorm(config.coarse_width, **weights)
        self.head = SpatialConv(config.coarse_width, 2 * config.channels, **kwargs)
        self.skip = kwargs["operations"].Linear(T_STRIDE * S_STRIDE**2 * 3, config.channels, bias=False, **weights)

    def forward(self, x: Tensor, state: State) -> Tensor:
        lead = x if self in state else torch.cat([x[:, :1].expand(-1, T_STRIDE - 1, -1, -1, -1), x], dim=1)
        state[self] = x.new_empty(0)
        linear = self.skip(
            rearrange(lead, "b (t p) (h q) (w r) c -> b t h w (p q r c)", p=T_STRIDE, q=S_STRIDE, r=S_STRIDE)
        )
        x = self.stem(rearrange(x, "b t (h q) (w r) c -> b t h w (q r c)", q=STEM, r=STEM))
        x = self.merge_fine(self.fine(x, state), state)
        x = self.merge_middle(self.middle(x, state), state)
        x = self.head(F.silu(self.norm(self.coarse(x, state))))
        return x + F.pad(linear, (0, linear.shape[-1]))


class Decoder(nn.Module):
    """(B, t, h, w, C) latent to (B, T, H, W, 3) pixels, with a linear path of its own like the encoder's."""

    def __init__(self, config: VAEConfig, **kwargs):
        super().__init__()
        fine, middle, coarse = config.decoder_blocks
        weights = {k: v for k, v in kwargs.items() if k != "operations"}
        self.stem = SpatialConv(config.channels, config.coarse_width, **kwargs)
        self.coarse = Stack(coarse, config.coarse_width, **kwargs)
        self.split_middle = Split(config.coarse_width, config.middle_width, 1, **kwargs)
        self.middle = Stack(middle, config.middle_width, **kwargs)
        self.split_fine = Split(config.middle_width, config.fine_width, S_STRIDE // STEM, **kwargs)
        self.fine = Stack(fine, config.fine_width, **kwargs)
        self.norm = RMSNorm(config.fine_width, **weights)
        self.head = SpatialConv(config.fine_width, 3 * STEM * STEM, **kwargs)
        self.skip = kwargs["operations"].Linear(config.channels, T_STRIDE * S_STRIDE**2 * 3, **weights)

    def forward(self, z: Tensor, state: State) -> Tensor:
        linear = rearrange(
            self.skip(z), "b t h w (p q r c) -> b (t p) (h q) (w r) c", p=T_STRIDE, q=S_STRIDE, r=S_STRIDE
        )
        if self not in state:
            linear = linear[:, T_STRIDE - 1 :]
            state[self] = z.new_empty(0)
        x = self.split_middle(self.coarse(self.stem(z), state), state)
        x = self.split_fine(self.middle(x, state), state)
        x = self.head(F.silu(self.norm(self.fine(x, state))))
        return linear + rearrange(x, "b t h w (q r c) -> b t (h q) (w r) c", q=STEM, r=STEM)


class VAE(nn.Module):
    """Causal video autoencoder, 4 x 8 x 8 pixels to one latent vector.

    Layers come from `operations` (torch.nn, or a host's), so that a host can offload and cast them.
    Latents are centred and scaled per channel with statistics that live in the checkpoint (see training.vae).
    """

    gentle = ("encoder.stem",)  # see training.optim

    def __init__(self, config: VAEConfig, *, operations=nn, device=None, dtype=None):
        super().__init__()
        kwargs = {"operations": operations, "device": device, "dtype": dtype}
        self.config = config
        self.encoder = Encoder(config, **kwargs)
        self.decoder = Decoder(config, **kwargs)
        self.register_buffer("latent_mean", torch.zeros(config.channels, device=device))
        self.register_buffer("latent_std", torch.ones(config.channels, device=device))

    @torch.no_grad()
    def initialize(self, video: Tensor) -> "VAE":
        """Start as a principal component analysis of the patches of `video` (B, 3, 1 + 4k, H, W): the linear paths hold
        its components, scaled to unit variance, and keep them; the convolutional paths add little yet."""
        lead = torch.cat([video[:, :, :1].expand(-1, -1, T_STRIDE - 1, -1, -1), video], dim=2)
        patches = rearrange(
            lead, "b c (t p) (h q) (w r) -> (b t h w) (p q r c)", p=T_STRIDE, q=S_STRIDE, r=S_STRIDE
        ).double()
        mean = patches.mean(0)
        values, vectors = torch.linalg.eigh((patches - mean).T @ (patches - mean) / len(patches))
        top, scale = vectors[:, -self.config.channels :], values[-self.config.channels :].clamp_min(1e-8).sqrt()
        self.encoder.skip.weight.copy_((top / scale).T)
        self.decoder.skip.weight.copy_(top * scale)
        self.decoder.skip.bias.copy_(mean)
        for path in (self.encoder.skip, self.decoder.skip):
            path.requires_grad_(False)
        for module in (self.encoder.head.conv, self.decoder.head.conv):
            nn.init.normal_(module.weight, std=0.01)
            nn.init.zeros_(module.bias)
        self.encoder.head.conv.bias[: self.config.channels] = -(mean @ (top / scale)).to(video)
        self.encoder.head.conv.bias[self.config.channels :] = -7  # log-variance: little noise at first
        for module in self.modules():
            if isinstance(module, Block):
                nn.init.normal_(module.time.linear.weight, std=0.5 * module.time.linear.in_features**-0.5)
                nn.init.zeros_(module.time.linear.bias)
        return self

    # ------------------------------------------------------------------ encode

    def posterior(self, video: Tensor, state: State | None = None) -> tuple[Tensor, Tensor]:
        """Mean and log-variance (B, C, t, h, w), before standardisation. `video` (B, 3, T, H, W) in [-1, 1]; at the
        start of a clip T = 1 + 4k, later T = 4k; H and W multiples of 8."""
        x = self.encoder(rearrange(video, "b c t h w -> b t h w c"), {} if state is None else state)
        mean, logvar = rearrange(x, "b t h w c -> b c t h w").chunk(2, dim=1)
        return mean, logvar.clamp(-20, 10)

    def encode(self, video: Tensor, *, state: State | None = None, tile: int | None = None) -> Tensor:
        """(B, 3, T, H, W) in [-1, 1] to the standardised latent (B, C, 1 + ceil((T-1)/4), ceil(H/8), ceil(W/8)).

        Frames and sizes that do not fit are padded by repeating the last frame and the border; `decode` cuts them off.
        With `state` (a dict, empty at first) the clip continues from the call before: pass 1 + 4k frames, then 4k.
        `tile` (latent pixels) bounds the memory: tiles carry the halo they look at, so the result has no seams.
        """
        if video.ndim != 5 or video.shape[1] != 3 or 0 in video.shape:
            raise UserError(f"A video must have the shape (batch, 3, frames, height, width), not {tuple(video.shape)}.")
        fresh = not state
        pad_t = (1 - video.shape[2]) % T_STRIDE if fresh else -video.shape[2] % T_STRIDE
        pad_h, pad_w = -video.shape[3] % S_STRIDE, -video.shape[4] % S_STRIDE
        if pad_t or pad_h or pad_w:
            video = F.pad(video, (0, pad_w, 0, pad_h, 0, pad_t), mode="replicate")
        mean = _tiled(self._encode, video, state, tile, self.config.encoder_halo, scale_in=S_STRIDE, scale_out=1)
        return (mean - _per_channel(self.latent_mean, mean)) / _per_channel(self.latent_std, mean)

    def _encode(self, video: Tensor, state: State) -> Tensor:
        return self.posterior(video, state)[0]

    def encode_stream(self, chunks: Iterable[Tensor], *, tile: int | None = None) -> Iterator[Tensor]:
        """Chunks (B, 3, n, H, W) of any lengths in; one latent frame (B, C, 1, h, w) at a time out."""
        state: State = {}
        waiting: list[Tensor] = []
        for chunk in chunks:
            waiting += chunk.split(1, dim=2)
            while len(waiting) >= (T_STRIDE if state else 1):
                take = T_STRIDE if state else 1
                yield self.encode(torch.cat(waiting[:take], dim=2), state=state, tile=tile)
                del waiting[:take]
        if waiting:
            yield self.encode(torch.cat(waiting, dim=2), state=state, tile=tile)

    # ------------------------------------------------------------------ decode

    def decode(
        self,
        latent: Tensor,
        frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        *,
        state: State | None = None,
        tile: int | None = None,
    ) -> Tensor:
        """Standardised latent (B, C, t, h, w) to (B, 3, T, H, W) in [-1, 1], not clamped, cut to frames, height, width.

        With `state` the clip continues from the call before, and every latent frame gives four frames.
        """
        if latent.ndim != 5 or latent.shape[1] != self.config.channels or 0 in latent.shape:
            raise UserError(
                f"A latent for this decoder must have {self.config.channels} channels and the shape (batch, channels, "
                f"frames, height, width), not {tuple(latent.shape)}."
            )
        z = latent * _per_channel(self.latent_std, latent) + _per_channel(self.latent_mean, latent)
        video = _tiled(self._decode, z, state, tile, self.config.decoder_halo, scale_in=1, scale_out=S_STRIDE)
        return video[:, :, :frames, :height, :width]

    def _decode(self, z: Tensor, state: State) -> Tensor:
        return rearrange(self.decoder(rearrange(z, "b c t h w -> b t h w c"), state), "b t h w c -> b c t h w")

    def decode_stream(
        self,
        latents: Iterable[Tensor],
        frames: int | None = None,
        height: int | None = None,
        width: int | None = None,
        *,
        state: State | None = None,
        tile: int | None = None,
    ) -> Iterator[Tensor]:
        """Latents (B, C, n, h, w) of any lengths in; the 1 or 4 frames (B, 3, n, H, W) of each latent frame out."""
        state = {} if state is None else state
        left = frames
        for latent in latents:
            for one in latent.split(1, dim=2):
                video = self.decode(one, left, height, width, state=state, tile=tile)
                left = None if left is None else left - video.shape[2]
                yield video
                if left == 0:
                    return


def _per_channel(values: Tensor, like: Tensor) -> Tensor:
    return values.to(like).view(1, -1, 1, 1, 1)


def _tiled(run, x: Tensor, state, tile: int | None, halo: int, scale_in: int, scale_out: int) -> Tensor:
    """Run over x (B, C, T, H, W) in square tiles of `tile` latent pixels, each with `halo` around it, and put the
    insides together. Every tile keeps its own state, stored in `state` under the tile's corner."""
    state = {} if state is None else state
    height, width = x.shape[3] // scale_in, x.shape[4] // scale_in
    if tile is None or (tile >= height and tile >= width):
        return run(x, state)
    if tile < 1:
        raise UserError(f"A tile must measure at least 1 latent pixel, not {tile}.")
    out = None
    for top in range(0, height, tile):
        for left in range(0, width, tile):
            bottom, right = min(top + tile, height), min(left + tile, width)
            y0, x0 = max(top - halo, 0), max(left - halo, 0)
            y1, x1 = min(bottom + halo, height), min(right + halo, width)
            part = x[..., y0 * scale_in : y1 * scale_in, x0 * scale_in : x1 * scale_in]
            done = run(part, state.setdefault((top, left), {}))
            if out is None:
                out = done.new_empty(*done.shape[:3], height * scale_out, width * scale_out)
            inside = done[
                ...,
                (top - y0) * scale_out : (bottom - y0) * scale_out,
                (left - x0) * scale_out : (right - x0) * scale_out,
            ]
            out[..., top * scale_out : bottom * scale_out, left * scale_out : right * scale_out] = inside
    return out
