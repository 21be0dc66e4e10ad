"""Condition: what is already known of the video goes onto the canvas, with the noise level at which it starts."""

import torch
from comfy_api.latest import io

from ..sora_core import canvas as canvases
from ..sora_core.errors import UserError
from ..sora_core.video import fit
from . import host


def strength_input(default: float, tooltip: str):
    """How strongly what is known is repainted, the same in every node."""
    return io.Float.Input("strength", default=default, min=0.0, max=1.0, step=0.05, tooltip=tooltip)


class SoraAnimateImage(io.ComfyNode):
    """Puts an image into one frame of the grid; the sampler keeps it and invents the rest."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraAnimateImage",
            display_name="Sora Animate Image",
            category="sora",
            description="Lays an image onto one frame of the grid. Strength 0 keeps it as it is, higher values repaint "
            "it, 1 ignores it. The noise levels travel in the latent's noise mask, so the host's samplers work too.",
            search_aliases=["image to video", "i2v", "first frame", "animate"],
            inputs=[
                io.Latent.Input("latent", tooltip="From Sora Patch Grid, or from another Sora Animate Image."),
                io.Image.Input("image", tooltip="Scaled to cover the frame, cut at the edges where the shape differs."),
                io.Vae.Input("vae", tooltip="Turns the image into patches; from the same Load Sora Model."),
                strength_input(0.0, "0 keeps the image, 1 ignores it."),
                io.Int.Input(
                    "frame",
                    default=0,
                    min=-7200,
                    max=7200,
                    tooltip="Where the image stands: 0 is the first frame, -1 the last.",
                ),
            ],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(cls, latent, image, vae, strength, frame) -> io.NodeOutput:
        latent = host.kept(latent)
        canvas = host.canvas_of(latent, vae)
        grid = canvas.grid
        cell = grid.cell_of(grid.frame_at(frame))
        batch = len(canvas.latent)
        if len(image) not in (1, batch):
            count = "one image" if batch == 1 else f"one image, or {batch}"
            raise UserError(
                f"{len(image)} images cannot be laid onto a batch of {batch}: give {count}; the frames of a clip go to "
                "Sora Place Frames."
            )
        known = torch.cat(
            [encode_still(vae, one, grid, cell) for one in to_size(image, grid.width, grid.height).split(1)]
        )
        return io.NodeOutput(host.canvas_to_latent(canvases.place(canvas, known, cell, strength), latent))


def to_size(image: torch.Tensor, width: int, height: int) -> torch.Tensor:
    """(B, H, W, 1, 3 or 4) -> (B, height, width, 3): scaled to cover, centred; grey becomes RGB, alpha is dropped."""
    image = image[..., :3] if image.shape[-1] >= 3 else image[..., :1].expand(*image.shape[:-1], 3)
    if not torch.isfinite(image).all():
        raise UserError("The image holds values that are not finite (NaN or infinity).")
    return (fit(image.movedim(-1, 1).float() * 2 - 1, width, height).movedim(1, -1) + 1) / 2


def encode_still(vae, image: torch.Tensor, grid, cell: int) -> torch.Tensor:
    """(1, H, W, 3) -> (1, C, 1, h, w). The codec's first latent frame stands for one frame and the later ones for
    several, so for a place of several the image is encoded as the end of a still clip."""
    frames = 1 if len(grid.frames_of(cell)) == 1 else grid.geometry.frames(3)
    return vae.encode(host.whole_cells(image, grid.geometry).expand(frames, -1, -1, -1))[:, :, -1:]
