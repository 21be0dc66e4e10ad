"""The codec at work: pixels to latents and back, as streams and, for large frames, in tiles."""

from __future__ import annotations

import math
import os
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import chain

import torch
from torch import Tensor

from .checkpoint import Models, load
from .errors import UserError
from .grid import Geometry, Grid

TILE = 48  # latent cells a side: larger frames are encoded and decoded in tiles, which have no seams


class Codec:
    """The video compression network of a checkpoint on a device.

    Args:
        models: with at least the codec.
        device: where it is.

    Raises:
        UserError: the checkpoint holds no codec.
    """

    networks: tuple[str, ...] = ("vae",)  # what this needs of a checkpoint

    def __init__(self, models: Models, device: torch.device | str = "cpu"):
        missing = [name for name in self.networks if getattr(models, name) is None]
        if missing:
            raise UserError(f"This checkpoint cannot do that: it holds no {' and no '.join(missing)} network.")
        self.models = models
        self.vae = models.vae
        self.device = torch.device(device)
        self.geometry: Geometry = models.geometry

    @classmethod
    def load(
        cls,
        checkpoint: str | os.PathLike = "bundled",
        device: str = "auto",
        dtype: torch.dtype = torch.float32,
    ):
        """Load a checkpoint (see `checkpoint.load`) onto a device (see `pick_device`)."""
        chosen = pick_device(device)
        return cls(load(checkpoint, chosen, dtype, only=cls.networks), chosen)

    @torch.inference_mode()
    def encode(self, video: Tensor) -> Tensor:
        """(B, 3, T, H, W) in [-1, 1] to the standardised latent (B, C, t, h, w), float32; piece by piece, so that the
        features of the whole clip are never held."""
        tile = self.tile(*video.shape[-2:])
        pieces = self.vae.encode_stream([video.to(self.device, self.dtype)], tile=tile)
        return torch.cat([piece.float() for piece in pieces], dim=2)

    @torch.inference_mode()
    def frames(self, latent: Tensor | Iterable[Tensor], grid: Grid) -> Iterator[Tensor]:
        """Decode: chunks (B, 3, n, H, W) in [-1, 1], float32 on the CPU, exactly as many frames as the grid has.

        Args:
            latent: (B, C, t, h, w), or pieces of it in the order of time.
            grid: a cyclic one is decoded from within: the decoder has gone round the circle for as far as it looks
                back, so that the last frame leads to the first, in any number of laps.

        Raises:
            UserError: the decoder produced values that are not finite.
        """
        tile = self.tile(grid.height, grid.width)
        state: dict = {}
        pieces = [latent] if isinstance(latent, Tensor) else latent
        if grid.cyclic:
            pieces = list(pieces)
            whole = torch.cat(pieces, dim=2).to(self.device, self.dtype)
            count = whole.shape[2]
            for t in range(-self.vae.config.decoder_memory, 0):
                self.vae.decode(whole[:, :, t % count, None], state=state, tile=tile)
        pieces = (piece.to(self.device, self.dtype) for piece in pieces)
        for chunk in self.vae.decode_stream(pieces, grid.frames, grid.height, grid.width, state=state, tile=tile):
            if not torch.isfinite(chunk).all():
                raise UserError("The decoder produced values that are not finite: its weights may be damaged.")
            yield chunk.float().clamp(-1, 1).cpu()

    @torch.inference_mode()
    def reconstruct(self, chunks: Iterable[Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Send a clip through the codec and back, as a stream.

        Args:
            chunks: (B, 3, n, H, W) in [-1, 1], of any lengths and any size.

        Yields:
            (original, reconstruction), both (B, 3, n, H, W) on the CPU; n is the codec's choice.
        """
        chunks = iter(chunks)
        first = next(chunks, None)
        if first is None:
            return
        height, width = first.shape[-2:]
        tile = self.tile(height, width)
        waiting: deque[Tensor] = deque()

        def watched():
            for chunk in chain([first], chunks):
                waiting.extend(chunk.split(1, dim=2))
                yield chunk.to(self.device, self.dtype)

        latents = self.vae.encode_stream(watched(), tile=tile)
        for chunk in self.vae.decode_stream(latents, None, height, width, tile=tile):
            count = min(chunk.shape[2], len(waiting))  # the codec fills its last group up by repeating the last frame
            original = torch.cat([waiting.popleft() for _ in range(count)], dim=2)
            yield original.cpu(), chunk[:, :, :count].float().clamp(-1, 1).cpu()

    @property
    def dtype(self) -> torch.dtype:
        """Of the codec's weights and inputs."""
        return next(self.vae.parameters()).dtype

    def tile(self, height: int, width: int) -> int | None:
        """Side of the tiles, in latent cells, for frames of this size in pixels; None where one pass does."""
        cells = math.ceil(max(height, width) / self.geometry.s_stride)
        return TILE if cells > TILE else None


def pick_device(name: str = "auto") -> torch.device:
    """``auto`` is a CUDA GPU where there is one, else the CPU.

    Raises:
        UserError: no such device, or no CUDA or MPS where it is asked for.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        device = torch.device("meta")
    if device.type not in ("cpu", "cuda", "mps"):
        raise UserError(f"There is no device {name[:40]!r}: choose auto, cpu, cuda or mps.")
    if device.type != "cpu" and (device.index or 0) >= getattr(torch, device.type).device_count():
        raise UserError(f"There is no {device.type.upper()} device {name!r} on this machine: use --device cpu.")
    return device
