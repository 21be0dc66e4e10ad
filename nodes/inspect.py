"""Inspect: a picture of a canvas before it is sampled, and of what became of it."""

from collections.abc import Iterator

import torch
from comfy_api.latest import io, ui

from ..sora_core import review
from ..sora_core.canvas import Canvas
from ..sora_core.inspect import picture
from . import host
from .extend import model_input
from .host.videos import film_of, watched


class SoraInspectCanvas(io.ComfyNode):
    """Shows what the sampler would keep, repaint and invent."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraInspectCanvas",
            display_name="Sora Inspect Canvas",
            category="sora",
            description="A picture of a canvas over time: what the sampler keeps, what it repaints and how strongly, "
            "what is new. Works without sampling.",
            search_aliases=["preview canvas", "noise mask", "debug", "show latent"],
            is_output_node=True,
            inputs=[
                io.Latent.Input("latent", tooltip="The canvas as it goes into the sampler."),
                io.Vae.Input(
                    "vae", optional=True, tooltip="Shows the frames that are known; of the model that samples."
                ),
                model_input(),
            ],
            outputs=[io.Image.Output(display_name="image")],
        )

    @classmethod
    def execute(cls, latent, vae=None, model=None) -> io.NodeOutput:
        canvas = host.canvas_of(latent, host.geometry_for(latent, model))
        known = vae is not None and bool((canvas.level < 1).any())
        image = picture(canvas, content(vae, canvas) if known else None)
        return shown(cls, image)


class SoraLoopSeam(io.ComfyNode):
    """Shows whether a loop can be told from a video without end."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraLoopSeam",
            display_name="Sora Loop Seam",
            category="sora",
            description="A picture of the seam of a loop: its last frames beside its first, and the step from every "
            "frame to the next, so that a jump at the seam stands out.",
            search_aliases=["check loop", "seamless", "loop quality", "first last frame"],
            is_output_node=True,
            inputs=[io.Video.Input("video", tooltip="One lap of the loop.")],
            outputs=[io.Image.Output(display_name="image")],
        )

    @classmethod
    def execute(cls, video) -> io.NodeOutput:
        return shown(cls, review.loop_seam(watched(film_of(video))))


class SoraDriftCurve(io.ComfyNode):
    """Shows whether a long video stays what it was."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraDriftCurve",
            display_name="Sora Drift Curve",
            category="sora",
            description="A picture of how colour, contrast and sharpness of a video move over time, against its start.",
            search_aliases=["colour shift", "contrast", "sharpness", "quality over time", "long video"],
            is_output_node=True,
            inputs=[io.Video.Input("video", tooltip="A long or extended video.")],
            outputs=[io.Image.Output(display_name="image")],
        )

    @classmethod
    def execute(cls, video) -> io.NodeOutput:
        film = film_of(video)
        return shown(cls, review.drift(watched(film), film.fps))


class SoraCompareVideos(io.ComfyNode):
    """Shows two videos at the same moments, and what is different."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraCompareVideos",
            display_name="Sora Compare Videos",
            category="sora",
            description="A picture of two videos at the same moments: the first, a wipe, the second, their difference, "
            "and the difference over time.",
            search_aliases=["a/b", "ab test", "difference", "side by side", "wipe", "before after"],
            is_output_node=True,
            inputs=[
                io.Video.Input("first", tooltip="A, whose size and frame rate the picture has."),
                io.Video.Input("second", tooltip="B, made alike where it has another size or frame rate."),
            ],
            outputs=[io.Image.Output(display_name="image")],
        )

    @classmethod
    def execute(cls, first, second) -> io.NodeOutput:
        a, b = film_of(first), film_of(second)
        return shown(cls, review.compare(watched(a), watched(b), a.fps, b.fps))


def shown(cls: type[io.ComfyNode], image: torch.Tensor) -> io.NodeOutput:
    """A picture (3, H, W) in [-1, 1] as output and on the node."""
    image = ((image + 1) / 2).movedim(0, -1)[None]
    return io.NodeOutput(image, ui=ui.PreviewImage(image, cls=cls))


def content(vae, canvas: Canvas) -> Iterator[torch.Tensor]:
    """(n, 3, H, W) in [-1, 1]: the first clip of a batch."""
    latent = {"samples": canvas.latent[:1], "sora_grid": host.grid_to_latent(canvas.grid)}
    return (frames.movedim(-1, 1) * 2 - 1 for frames in host.decode_stream(vae, latent))
