"""The video compression network as the host's VAE: VAEEncode, VAEDecode and their tiled forms work, and are exact."""

import comfy.model_management
import comfy.model_patcher
import comfy.ops
import comfy.sd
import comfy.utils
import torch
from torch import Tensor

from ...sora_core.codec import TILE
from ...sora_core.errors import UserError
from ...sora_core.grid import Geometry
from ...sora_core.vae import VAE
from ...sora_core.vae.config import S_STRIDE, T_STRIDE


class HostCodec(VAE):
    """The engine's codec, called as the host calls one: whole clips in, whole clips out, but one latent frame at a time
    on the device, so that its memory follows the window and not the film."""

    def encode(self, video: Tensor, *, state=None, tile: int | None = None, device=None) -> Tensor:
        if state is not None:
            return super().encode(video, state=state, tile=tile)
        bar = comfy.utils.ProgressBar(1 + -(-(video.shape[2] - 1) // T_STRIDE))
        tile = tile or tile_for(*(-(-side // S_STRIDE) for side in video.shape[-2:]))
        frames = (frame.to(device or video.device) for frame in video.split(1, dim=2))
        return torch.cat([told(bar, part) for part in self.encode_stream(frames, tile=tile)], dim=2)

    def decode(self, latent: Tensor, frames=None, height=None, width=None, *, state=None, tile=None, **_) -> Tensor:
        if state is not None:
            return super().decode(latent, frames, height, width, state=state, tile=tile)
        if not torch.isfinite(latent).all():
            raise UserError("The latent holds values that are not finite (NaN or infinity): sample it again.")
        bar, out = comfy.utils.ProgressBar(latent.shape[2]), comfy.model_management.intermediate_device()
        tile = tile or tile_for(*latent.shape[-2:])
        parts = [told(bar, part.to(out)) for part in self.decode_stream([latent], frames, height, width, tile=tile)]
        return torch.cat(parts, dim=2)


def tile_for(height: int, width: int) -> int | None:
    """Larger pictures (in latent cells) go in tiles, as in the engine: they have no seams and bound the memory."""
    return TILE if max(height, width) > TILE else None


def told(bar, part: Tensor) -> Tensor:
    """Moves the progress bar on, which is also where the host may interrupt."""
    bar.update(1)
    return part


class HostVAE(comfy.sd.VAE):
    """A VAE of the host around the engine's codec (on the CPU; its tensors are copied).

    The host sets every attribute that its version has, for the simplest kind of VAE; then ours replace them.
    """

    def __init__(self, codec: VAE, geometry: Geometry):
        super().__init__(sd={"pixel_space_vae": torch.tensor(1.0)})
        self.working_dtypes = [torch.float32]
        self.vae_dtype = comfy.model_management.vae_dtype(self.device, self.working_dtypes)
        network = HostCodec(codec.config, operations=comfy.ops.manual_cast, dtype=self.vae_dtype)
        network.load_state_dict(codec.state_dict())
        self.first_stage_model = network.eval().requires_grad_(False)
        offload = comfy.model_management.vae_offload_device()
        self.patcher = comfy.model_patcher.ModelPatcher(network, load_device=self.device, offload_device=offload)
        self.geometry = geometry
        t, s = geometry.t_stride, geometry.s_stride
        self.latent_channels, self.latent_dim, self.output_channels = geometry.channels, 3, 3
        self.upscale_ratio = (lambda latent_frames: max(0, 1 + t * (latent_frames - 1)), s, s)
        self.downscale_ratio = (lambda frames: max(0, 1 + -(-(frames - 1) // t)), s, s)
        self.upscale_index_formula = self.downscale_index_formula = (t, s, s)
        self.crop_input = False  # any size is taken; the codec pads by itself
        self.disable_offload = False
        widest = 64 * t  # values per pixel in the widest layer, one latent frame at a time
        self.memory_used_decode = lambda shape, dtype: widest * pixels(shape, s) * bytes_of(dtype)
        self.memory_used_encode = lambda shape, dtype: widest * pixels(shape, 1) * bytes_of(dtype)
        self.size = None
        self.model_size()

    def encode(self, pixel_samples: Tensor) -> Tensor:
        """Clips (T, H, W, 3) or (B, T, H, W, 3) in [0, 1] -> (B, C, t, h, w), a few frames at a time on the device: the
        host would put all of a clip there."""
        if pixel_samples.ndim == 5:
            return torch.cat([self.encode(clip) for clip in pixel_samples])
        return self.encode_tiled(pixel_samples)

    def decode_tiled_3d(self, samples, tile_t=None, tile_x=32, tile_y=32, overlap=None):
        """(B, C, t, h, w) -> (B, 3, T, H, W) in [0, 1], tiles in latent cells.

        They carry the halo that the network looks at, so they meet without a seam and nothing has to overlap; time
        always goes frame by frame.
        """
        parts = [
            self.first_stage_model.decode(one.to(self.device, self.vae_dtype), tile=tile_of(tile_x, tile_y))
            for one in samples.split(1)
        ]
        return self.process_output(torch.cat(parts).to(self.output_device).float())

    def encode_tiled_3d(self, samples, tile_t=None, tile_x=None, tile_y=None, overlap=None):
        """(B, 3, T, H, W) in [0, 1] -> (B, C, t, h, w); tiles in pixels, by default those of `tile_for`."""
        tile = tile_x and max(1, tile_of(tile_x, tile_y) // self.downscale_ratio[-1])
        parts = [
            self.first_stage_model.encode(self.process_input(one).to(self.vae_dtype), tile=tile, device=self.device)
            for one in samples.split(1)
        ]
        return torch.cat(parts).to(self.output_device).float()


def tile_of(x: int, y: int) -> int:
    return max(1, min(int(x), int(y)))


def pixels(shape, stride: int) -> int:
    """Of one frame of every clip of a batch (B, ..., h, w), of which no more than a tile with its halo is worked on."""
    return shape[0] * min(shape[-2] * shape[-1] * stride**2, (2 * TILE * S_STRIDE) ** 2)


def bytes_of(dtype: torch.dtype) -> int:
    return comfy.model_management.dtype_size(dtype)


@torch.no_grad()
def rgb_of_latents(codec: VAE) -> tuple[Tensor, Tensor]:
    """A linear map from a latent cell to its mean colour in [-1, 1]: (weights (C, 3), bias (3,)), for previews.

    Least squares on random pictures that the codec encodes, so every checkpoint has one without storing it.
    """
    random = torch.Generator().manual_seed(0)
    coarse = torch.rand(8, 3, 1, 8, 8, generator=random) * 2 - 1
    pictures = torch.nn.functional.interpolate(coarse, size=(1, 64, 64), mode="trilinear")
    weight = next(codec.parameters())
    latents = codec.encode(pictures.to(weight)).float().cpu().movedim(1, -1).flatten(0, -2)
    colours = torch.nn.functional.avg_pool3d(pictures, (1, S_STRIDE, S_STRIDE)).movedim(1, -1).flatten(0, -2)
    ones = torch.ones(len(latents), 1)
    fitted = torch.linalg.lstsq(torch.cat([latents, ones], dim=1), colours, driver="gelsd").solution
    return fitted[:-1], fitted[-1]
