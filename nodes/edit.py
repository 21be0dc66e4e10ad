"""Edit: repaint a video as told, put it into a larger frame, bring a prototype to full size."""

from dataclasses import replace

import torch
from comfy_api.latest import io

from ..sora_core import canvas as canvases
from ..sora_core.errors import UserError
from ..sora_core.grid import MAX_SIDE, MIN_SIDE, PLACES, Grid
from ..sora_core.strength import parse_curve
from . import host
from .animate import strength_input, to_size
from .extend import VIDEO, model_input


def size_inputs(width: int, height: int, what: str) -> list:
    return [
        io.Int.Input("width", default=width, min=MIN_SIDE, max=MAX_SIDE, tooltip=f"{what}, pixels."),
        io.Int.Input("height", default=height, min=MIN_SIDE, max=MAX_SIDE, tooltip=f"{what}, pixels."),
    ]


class SoraEditVideo(io.ComfyNode):
    """SDEdit: what is known is repainted as strongly as told, for the whole, for regions and over time."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraEditVideo",
            display_name="Sora Edit Video",
            category="sora",
            description="Repaints a video as the prompt says: all of it, a region, or more and more over time. Low "
            "strengths keep shapes and motion, high ones follow the prompt more freely.",
            search_aliases=["video to video", "sdedit", "v2v", "style", "inpaint video"],
            inputs=[
                io.Latent.Input("latent", tooltip=VIDEO),
                strength_input(canvases.EDIT_STRENGTH, "0 changes nothing, 1 invents everything anew."),
                io.String.Input(
                    "curve",
                    default="",
                    tooltip="Strength over time, in place of the one above: place:strength with commas between, where "
                    "0 is the start and 1 the end, such as 0:0.2,1:0.8.",
                ),
                io.Mask.Input(
                    "mask",
                    optional=True,
                    tooltip="Only what is white is edited; one mask, or one for each frame, of any size.",
                ),
                model_input(),
            ],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(cls, latent, strength, curve, mask=None, model=None) -> io.NodeOutput:
        latent = host.settled(latent)
        points = parse_curve(curve) if curve.strip() else None
        edited = canvases.edit(host.held(latent, model), strength, mask, points)
        return io.NodeOutput(host.canvas_to_latent(edited, latent))


class SoraReframe(io.ComfyNode):
    """Outpainting: the picture stays, the frame around it grows."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraReframe",
            display_name="Sora Reframe",
            category="sora",
            description="Puts a video or an image into a larger frame, whose border the sampler invents. The inside is "
            "kept as it is.",
            search_aliases=["outpaint", "aspect ratio", "uncrop", "pad"],
            inputs=[
                io.Latent.Input("latent", tooltip=VIDEO),
                *size_inputs(168, 96, "Of the new frame, at least as large as the old one"),
                io.Combo.Input(
                    "place",
                    options=list(PLACES),
                    default="center",
                    tooltip="Where the video stands in the new frame, to the nearest patch.",
                ),
                model_input(),
            ],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(cls, latent, width, height, place, model=None) -> io.NodeOutput:
        latent = host.settled(latent)
        canvas = canvases.reframe(host.held(latent, model), width, height, *PLACES[place])
        return io.NodeOutput(host.canvas_to_latent(canvas, latent))


class SoraRefine(io.ComfyNode):
    """A small prototype at full size."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraRefine",
            display_name="Sora Refine",
            category="sora",
            description="Brings a small video or image to full size: scaled up and repainted with new detail. With the "
            "seed of the prototype and a whole multiple of its size the composition stays closest.",
            search_aliases=["upscale", "hires fix", "highres", "enlarge"],
            inputs=[
                io.Latent.Input("latent", tooltip=VIDEO),
                *size_inputs(192, 192, "Of the result, of the same shape"),
                strength_input(canvases.REFINE_STRENGTH, "0 keeps the enlarged picture, 1 ignores it."),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="Enlarges the picture in pixels, sharper than the enlarged patches; of the model.",
                ),
                model_input(),
            ],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(cls, latent, width, height, strength, vae=None, model=None) -> io.NodeOutput:
        latent = host.settled(latent)
        canvas = host.held(latent, model)
        refined = canvases.refine(canvas, width, height, strength)
        if vae is not None:
            if canvas.grid.cyclic:
                raise UserError("A cyclic loop has no first frame to encode from: refine it without a VAE.")
            clips = [
                host.encode_stream(vae, scaled(vae, one, canvas.grid, refined.grid)) for one in canvas.latent.split(1)
            ]
            refined = canvases.place(refined, torch.cat(clips), 0, refined.level)
        return io.NodeOutput(host.canvas_to_latent(refined, latent))


def scaled(vae, samples: torch.Tensor, small: Grid, large: Grid):
    """The frames of one clip, as many as its latent holds, from the size of one grid to that of another."""
    whole = replace(small, frames=small.geometry.frames(samples.shape[2]))
    for frames in host.decode_stream(vae, {"samples": samples, "sora_grid": host.grid_to_latent(whole)}):
        yield to_size(frames, large.width, large.height)
