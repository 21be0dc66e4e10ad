"""Inspect: a picture of a canvas before it is sampled."""

import torch
import torch.nn.functional as F
from comfy_api.latest import io, ui

from ..sora_core.canvas import Canvas
from ..sora_core.inspect import picture
from . import host
from .extend import model_input

SIDE = 160  # pixels of a frame: the picture shows them no larger


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
        image = ((image + 1) / 2).movedim(0, -1)[None]
        return io.NodeOutput(image, ui=ui.PreviewImage(image, cls=cls))


def content(vae, canvas: Canvas) -> torch.Tensor:
    """(frames, 3, H, W) in [-1, 1]: the first clip of a batch, each frame no larger than it is shown."""
    scale = min(1.0, SIDE / max(canvas.grid.width, canvas.grid.height))
    size = [max(1, round(side * scale)) for side in (canvas.grid.height, canvas.grid.width)]
    latent = {"samples": canvas.latent[:1], "sora_grid": host.grid_to_latent(canvas.grid)}
    small = [
        F.interpolate(frames.movedim(-1, 1) * 2 - 1, size, mode="area") for frames in host.decode_stream(vae, latent)
    ]
    return torch.cat(small)
