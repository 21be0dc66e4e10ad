"""What a model reads beside the video that it makes: the frame rate, prompts that follow each other in time and, for
image-to-video models, the kept frames."""

from dataclasses import dataclass

import comfy.model_base
import torch
from torch import Tensor

from ...sora_core.canvas import Canvas
from ...sora_core.errors import UserError
from ...sora_core.grid import Grid
from ...sora_core.timeline import Timeline
from .geometry import geometry_of
from .model import SoraModel
from .streaming import encode_stream

TIMELINE = ("sora_told", "sora_prompt")  # what an entry of a timeline notes: `Told.moments`, and its own number there


@dataclass(frozen=True, eq=False)  # the host compares what positive and negative tell: tensors are no yes or no
class Told:
    """The texts of a timeline, for a model that reads them all in one pass.

    Attributes:
        text: (P, L, D), filled up to the longest.
        mask: bool (P, L), True where there is text.
        moments: for every moment of the canvas (latent frame, or patch of several) the number of its text.
    """

    text: Tensor
    mask: Tensor
    moments: tuple[int, ...]

    def for_cells(self, cells: list[int] | None, batch: int, device: torch.device) -> dict:
        """The arguments of the transformer for these latent frames of the canvas, or for all."""
        moments = self.moments if cells is None else [self.moments[t] for t in cells]
        told = torch.tensor(moments, device=device).expand(batch, -1)
        return {"text": self.text, "text_mask": self.mask.to(device), "told": told}


def timeline_conditioning(clip, timeline: Timeline, grid: Grid) -> list:
    """A timeline as CONDITIONING: one entry a prompt, with a mask (1, t, h, w) over the latent frames of its time.

    The host then runs a model once for each prompt and takes of each what belongs to its time, under any sampler. Sora
    Sampler needs one pass of our own models, which read every prompt in its time (`in_one_pass`).
    """
    told = tuple(timeline.told(grid))
    _, t, h, w = grid.latent_shape
    frames = torch.tensor(told).repeat_interleave(grid.geometry.patch[0])
    entries = []
    for number, prompt in enumerate(timeline.prompts):
        mask = (frames == number).float().view(1, t, 1, 1).expand(1, t, h, w)
        for text, more in clip.encode_from_tokens_scheduled(clip.tokenize(prompt)):
            noted = {"sora_told": told, "sora_prompt": number}
            entries.append([text, more | {"mask": mask, "mask_strength": 1.0} | noted])
    return entries


def in_one_pass(conditioning: list) -> list:
    """A timeline's entries as the one that our models read; anything else as it is, for the host to run entry by entry:
    two timelines combined, or a prompt that a hook of its CLIP splits by noise level."""
    if [more.get("sora_prompt") for _, more in conditioning] != list(range(len(conditioning))):
        return conditioning
    texts = [text for text, _ in conditioning]
    length = max(text.shape[1] for text in texts)
    padded = [torch.nn.functional.pad(text, (0, 0, 0, length - text.shape[1])) for text in texts]
    mask = torch.stack([torch.arange(length) < text.shape[1] for text in texts])
    text, more = conditioning[0]
    more = {name: value for name, value in more.items() if name not in ("mask", "mask_strength", *TIMELINE)}
    return [[text, more | {"sora_timeline": Told(torch.cat(padded), mask, conditioning[0][1]["sora_told"])}]]


def told_of(conditioning: list) -> tuple[int, ...] | None:
    """For every moment the number of its prompt, where they follow each other."""
    return next((more["sora_told"] for _, more in conditioning if "sora_told" in more), None)


def cut(conditioning: list, start: int, stop: int) -> list:
    """What latent frames start..stop are told: masks of their length, and no prompt that none of them reads."""
    parts = []
    for text, more in conditioning:
        if "sora_told" in more:
            mask = more["mask"][:, start:stop]
            if not mask.any():
                continue
            more = more | {"mask": mask, "sora_told": more["sora_told"][start:stop]}
        parts.append([text, more])
    return parts


def of_cells(conds: list[dict], cells: list[int], length: int) -> list[dict]:
    """What the host made of a CONDITIONING for `length` latent frames, for some of them: masks over time are cut."""
    return [
        one | {"mask": one["mask"][:, cells]} if "mask" in one and one["mask"].shape[1] == length else one
        for one in conds
    ]


def beside(inner: comfy.model_base.BaseModel, prompts: list[list], canvas: Canvas, vae=None) -> dict:
    """What a model is told of a canvas with every prompt: the frame rate and the frames that are kept.

    Wan2.1 image-to-video and its kin (`reads_image`) were trained to see, beside the noisy video, a latent in which the
    known frames stand and everything else is the latent of grey, and a mask of what is known. Here that is the canvas:
    its kept cells, and 1 - level 0 as the mask.

    Args:
        prompts: CONDITIONING, positive and negative; what they say themselves holds (`with_canvas`).
        vae: of the model, which knows what grey is.

    Raises:
        UserError: the model reads kept frames and there is no VAE to make the grey of.
    """
    told: dict = {"frame_rate": canvas.grid.fps}
    said = all("concat_latent_image" in more for prompt in prompts for _, more in prompt)
    if canvas.kept.any() and reads_image(inner) and not said:
        if vae is None:
            raise UserError(
                f"{type(inner).__name__} reads the kept frames beside the video, on grey: connect its VAE to the input "
                "vae of Sora Sampler."
            )
        image = torch.where(canvas.kept, canvas.latent, grey(vae, canvas))
        told |= {"concat_latent_image": image, "concat_mask": (~canvas.kept).float()}
    return told


def with_canvas(inner: comfy.model_base.BaseModel, conditioning: list, canvas: Canvas, told: dict) -> list:
    """A CONDITIONING with what is `told` of the canvas (`beside`), unless it says so itself.

    Raises:
        UserError: a timeline of another length.
    """
    moments = told_of(conditioning)
    if moments is not None and len(moments) != canvas.grid.patches[0]:
        raise UserError(
            f"The timeline was laid over {len(moments)} latent frames and this canvas has {canvas.grid.patches[0]}: "
            "connect the same latent to Sora Prompt Timeline and to Sora Sampler."
        )
    if isinstance(inner, SoraModel):
        conditioning = in_one_pass(conditioning)
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
