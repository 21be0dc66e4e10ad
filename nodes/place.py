"""Place: images and clips come to stand anywhere on the canvas, each with a strength of its own."""

import logging

import torch
from comfy_api.latest import io

from ..sora_core import canvas as canvases
from ..sora_core import join
from ..sora_core.canvas import Canvas
from ..sora_core.errors import UserError
from . import host
from .animate import encode_still, strength_input, to_size


class SoraPlaceFrames(io.ComfyNode):
    """Lays an image or a clip onto the canvas at any time; the sampler makes what lies between."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraPlaceFrames",
            display_name="Sora Place Frames",
            category="sora",
            description="Lays an image or a clip onto the canvas at any time. Several of these nodes in a row fix "
            "several moments; the sampler makes what lies between. A clip comes as frames with a VAE, or as a latent.",
            search_aliases=["keyframe", "image to video", "first last frame", "inbetween", "storyboard"],
            inputs=[
                io.Latent.Input("latent", tooltip="The canvas, from Sora Patch Grid or a node that prepares one."),
                io.Int.Input(
                    "frame",
                    default=0,
                    min=-7200,
                    max=7200,
                    tooltip="Where it starts: 0 is the first frame, -1 the last. A clip starts with the nearest whole "
                    "latent frame.",
                ),
                strength_input(0.0, "0 keeps it as it is, higher values repaint it, 1 ignores it."),
                io.Image.Input(
                    "images",
                    optional=True,
                    tooltip="One image, or the frames of a clip, of which those beyond the end of the canvas are left "
                    "out; scaled to cover the frame, cut at the edges.",
                ),
                io.Vae.Input("vae", optional=True, tooltip="Turns the images into patches; of the model that samples."),
                io.Latent.Input(
                    "clip",
                    optional=True,
                    tooltip="In place of images: a clip of the same size as a latent, which is not encoded again; what "
                    "is beyond the end of the canvas is left out.",
                ),
                io.Model.Input(
                    "model", optional=True, tooltip="Only for a latent that does not say which model it is for."
                ),
            ],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(cls, latent, frame, strength, images=None, vae=None, clip=None, model=None) -> io.NodeOutput:
        if (images is None) == (clip is None):
            raise UserError(
                "Sora Place Frames takes either images with a VAE, or a clip as a latent: connect one of them."
            )
        if images is not None and vae is None:
            raise UserError(
                "Images need a VAE to become patches: connect that of the model, or give the clip as a latent."
            )
        latent = host.settled(latent)
        canvas = host.held(latent, model)
        start = canvas.grid.frame_at(frame)
        if clip is not None:
            placed = place_clip(canvas, host.held(clip, model), clip, start, strength)
        elif len(images) > 1:
            grid = canvas.grid
            video = to_size(images, grid.width, grid.height).movedim(-1, 0)[None] * 2 - 1
            placed, first, laid = join.lay(host.Encoder(vae), canvas, video, start, strength)
            if laid < min(len(images), grid.frames - first):
                logging.warning(
                    "Sora Place Frames: of %d images the first %d are laid, whole latent frames of them.",
                    len(images),
                    laid,
                )
        else:
            cell = canvas.grid.cell_of(start)
            known = encode_still(vae, to_size(images, canvas.grid.width, canvas.grid.height), canvas.grid, cell)
            placed = canvases.place(canvas, known.cpu(), cell, strength)
        anew = not torch.equal(placed.latent[:, :, -1], canvas.latent[:, :, -1])  # what filled the end is covered
        return io.NodeOutput(host.canvas_to_latent(placed, latent) | ({"sora_stills": 0} if anew else {}))


def place_clip(canvas: Canvas, clip: Canvas, latent: dict, frame: int, strength: float) -> Canvas:
    """A clip's latent from the cell on whose last frame is nearest to `frame`. What comes to lie behind something has
    its first latent frame invented anew (see `sora_core.canvas`), and what is followed by something an end that was
    filled up (`host.with_open_end`); what reaches beyond the canvas is left out.

    Raises:
        UserError: the clip has another size, or is of another model.
    """
    own, grid = clip.grid, canvas.grid
    if own.geometry == grid.geometry and own.latent_shape[2:] != grid.latent_shape[2:]:
        raise UserError(
            f"The clip is {own.width}x{own.height} and the canvas {grid.width}x{grid.height}: make them alike with "
            "Sora Encode Video (width, height)."
        )
    if own.cyclic and not grid.cyclic:
        raise UserError("A cyclic loop has neither start nor end, so it cannot be laid onto this canvas as a clip.")
    length = canvas.latent.shape[2]
    cell = min(join.first_cell(canvas.grid, frame, 1), length - 1)
    if cell + clip.latent.shape[2] < length:
        clip = host.with_open_end(latent, clip)
    known = clip.latent[:, :, : length - cell]
    level = torch.full_like(clip.level[:, :, : length - cell], strength).maximum(clip.level[:, :, : length - cell])
    if known.shape[2] > 1 and len(grid.frames_of(cell)) > 1:
        level[:, :, 0] = 1
    return canvases.place(canvas, known, cell, level)
