"""The geometry of any MODEL and VAE of the host: channels, strides, patches and window, read from the objects."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...sora_core.errors import UserError
from ...sora_core.grid import Geometry
from ...sora_core.windows import Windowing
from .codec import HostVAE
from .model import SoraModel

# Where the host's video transformers keep their width: Wan, HunyuanVideo, LTX-Video, Cosmos, Mochi.
WIDTHS = ("dim", "hidden_size", "inner_dim", "model_channels", "hidden_size_x")

HOST_WINDOW = 21  # latent frames: 81 frames of Wan 2.1, what the host's video models of today were trained on at least

# (frames, pixels) per latent cell of the host's video formats, for hosts whose formats do not say it (0.8). Their names
# tell whose latents a model reads,
STRIDES = {
    "Wan21": (4, 8),
    "Wan22": (4, 16),
    "HunyuanVideo": (4, 8),
    "HunyuanVideo15": (4, 16),
    "LTXV": (8, 32),
    "Cosmos1CV8x8x8": (8, 8),
    "Mochi": (6, 8),
}
# the frames per second that their models were trained with, for latents, which do not say their own,
RATES = {
    "Wan21": 16.0,
    "Wan22": 24.0,
    "HunyuanVideo": 24.0,
    "HunyuanVideo15": 24.0,
    "LTXV": 25.0,
    "Cosmos1CV8x8x8": 24.0,
    "Mochi": 30.0,
}
# and the modules of the host's VAEs whose latents these make.
CODECS = {
    "comfy.ldm.wan.vae": "Wan21",
    "comfy.ldm.wan.vae2_2": "Wan22",
    "comfy.ldm.models.autoencoder": "HunyuanVideo",
    "comfy.ldm.lightricks.vae.causal_video_autoencoder": "LTXV",
    "comfy.ldm.cosmos.vae": "Cosmos1CV8x8x8",
    "comfy.ldm.genmo.vae.model": "Mochi",
}


@dataclass(frozen=True)
class NetworkSize:
    """What a grid needs to know of a model.

    Attributes:
        width: features of a token.
        window: latent frames that it sees at once.
        bytes_per_element: of its activations.
    """

    geometry: Geometry
    width: int
    window: int
    bytes_per_element: int


def geometry_of(vae) -> Geometry:
    """Of a VAE; one of the host does not know the model's patches, so its patch is one cell.

    Raises:
        UserError: it is not for video, or its first latent frame does not stand for one frame.
    """
    if isinstance(vae, HostVAE):
        return vae.geometry
    vae.throw_exception_if_invalid()
    stride = vae.temporal_compression_decode()
    if vae.latent_dim != 3 or vae.not_video or stride is None:
        raise UserError("This VAE is not one for video: connect the VAE of Load Sora Model or of a video model.")
    if vae.upscale_ratio[0](1) != 1:
        raise UserError(
            f"The first latent frame of this VAE stands for {vae.upscale_ratio[0](1)} frames and the canvas needs one "
            "that stands for one frame: use the VAE of another video model."
        )
    codec = CODECS.get(type(vae.first_stage_model).__module__, "")
    codec = "HunyuanVideo15" if codec == "HunyuanVideo" and vae.latent_channels == 32 else codec
    return Geometry(stride, vae.spacial_compression_decode(), vae.latent_channels, codec=codec)


def size_of(model) -> NetworkSize:
    """Of a MODEL.

    Raises:
        UserError: it is not a video model, or of a kind whose patches are not known here.
    """
    inner = model.model
    network, latents = inner.diffusion_model, inner.latent_format
    held = windowing_of(inner, 0).window, (inner.manual_cast_dtype or inner.get_dtype()).itemsize
    if isinstance(inner, SoraModel):
        return NetworkSize(inner.geometry, network.config.width, *held)
    name = type(inner).__name__
    if latents.latent_dimensions != 3:
        raise UserError(f"{name} makes no videos: connect a video model, such as that of Load Sora Model.")
    t_stride, s_stride = strides_of(latents)
    geometry = Geometry(t_stride, s_stride, latents.latent_channels, patch_of(network), _format_of(latents))
    width = next((getattr(network, name) for name in WIDTHS if hasattr(network, name)), None)
    if width is None:
        raise UserError(f"{name} is built in a way that this pack does not know: use the host's own nodes for it.")
    return NetworkSize(geometry, width, *held)


def windowing_of(inner, window: int) -> Windowing:
    """How a model fills what is long; a window of 0 latent frames is the model's own.

    Raises:
        UserError: a window without room for context and something new.
    """
    if isinstance(inner, SoraModel):
        how = inner.windowing
        if window:
            how = replace(how, window=window)
            how = replace(how, context=max(1, min(how.context, how.most_context)))
    else:
        size = window or HOST_WINDOW
        how = Windowing(size, max(1, size // 4))
    how.check_windows()
    return how


def strides_of(latents) -> tuple[int, int]:
    """(frames, pixels) per latent cell, of a latent format."""
    if hasattr(latents, "temporal_downscale_ratio"):
        return latents.temporal_downscale_ratio, latents.spacial_downscale_ratio
    if name := _format_of(latents):
        return STRIDES[name]
    raise UserError(f"The latent format {type(latents).__name__} does not say how it packs frames: update ComfyUI.")


def _format_of(latents) -> str:
    """The known format that a latent format is, or is a kind of; else an empty string."""
    return next((kind.__name__ for kind in type(latents).__mro__ if kind.__name__ in STRIDES), "")


def patch_of(network) -> tuple[int, int, int]:
    """Latent cells per token in (t, y, x), of a transformer."""
    if hasattr(network, "patch_spatial"):  # Cosmos
        return network.patch_temporal, network.patch_spatial, network.patch_spatial
    if hasattr(network, "patch_size"):
        size = network.patch_size
        return (getattr(network, "patch_size_t", None) or 1, size, size) if isinstance(size, int) else tuple(size)
    if hasattr(network, "patchifier"):  # LTX-Video
        return tuple(network.patchifier.patch_size)
    raise UserError(f"{type(network).__name__} does not say how it cuts a latent into patches: use the host's nodes.")
