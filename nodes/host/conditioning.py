"""What a model reads beside the video that it makes: the frame rate and, for image-to-video models, the kept frames."""

import comfy.model_base
import torch
from torch import Tensor

from ...sora_core.canvas import Canvas
from ...sora_core.errors import UserError
from .geometry import geometry_of
from .streaming import encode_stream


def with_canvas(inner: comfy.model_base.BaseModel, conditioning: list, canvas: Canvas, vae=None) -> list:
    """A CONDITIONING, told the frame rate and the frames that are kept, unless it already says so.

    Wan2.1 image-to-video and its kin (`reads_image`) were trained to see, beside the noisy video, a latent in which the
    known frames stand and everything else is the latent of grey, and a mask of what is known. Here that is the canvas:
    its kept cells, and 1 - level 0 as the mask.

    Args:
        vae: of the model, which knows what grey is.

    Raises:
        UserError: the model reads kept frames and there is no VAE to make the grey of.
    """
    told: dict = {"frame_rate": canvas.grid.fps}
    if canvas.kept.any() and reads_image(inner) and not all("concat_latent_image" in more for _, more in conditioning):
        if vae is None:
            raise UserError(
                f"{type(inner).__name__} reads the kept frames beside the video, on grey: connect its VAE to the input "
                "vae of Sora Sampler."
            )
        image = torch.where(canvas.kept, canvas.latent, grey(vae, canvas))
        told |= {"concat_latent_image": image, "concat_mask": (~canvas.kept).float()}
    return [[text, told | more] for text, more in conditioning]


def reads_image(inner: comfy.model_base.BaseModel) -> bool:
    """Whether a model takes the latent of an image as further channels, through a `concat_cond` of its own."""
    if type(inner).concat_cond is comfy.model_base.BaseModel.concat_cond:
        return False
    noise = torch.zeros(1, inner.latent_format.latent_channels, 1, 2, 2)
    extra = inner.concat_cond(noise=noise, device=noise.device)
    return extra is not None and extra.shape[1] >= noise.shape[1]


def grey(vae, canvas: Canvas) -> Tensor:
    """The latent (1, C, t, h, w) of a grey clip as long and as large as the canvas's latent."""
    geometry, (_, t, h, w) = geometry_of(vae), canvas.grid.latent_shape
    frame = torch.full((1, h * geometry.s_stride, w * geometry.s_stride, 3), 0.5)
    return encode_stream(vae, (frame for _ in range(geometry.frames(t))))
