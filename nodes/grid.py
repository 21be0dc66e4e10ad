"""Grid: how large and how long the video becomes, as an empty LATENT; an image is a video of one frame."""

import functools
import math

import comfy.model_management
import torch
from comfy_api.latest import io, ui

from ..sora_core import checkpoint as checkpoints
from ..sora_core.errors import UserError
from ..sora_core.grid import MAX_FPS, MAX_SECONDS, MAX_SIDE, MIN_SIDE, PRESETS, Geometry, Grid, frames_for
from ..sora_core.memory import available_memory
from ..sora_core.pipeline import Settings, from_card
from ..sora_core.vae.config import S_STRIDE, T_STRIDE
from . import host
from .picture import picture_of

CUSTOM = "custom"
DEFAULT = "bundled 1:1"


class SoraPatchGrid(io.ComfyNode):
    """Chooses the grid of spacetime patches that will be filled."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraPatchGrid",
            display_name="Sora Patch Grid",
            category="sora",
            description="The size of the video: any width, height and duration. One frame gives an image. "
            "Shows the grid of patches, their number and the memory they need.",
            search_aliases=["empty latent video", "size", "resolution", "duration"],
            inputs=[
                io.Combo.Input("size", options=[*PRESETS, CUSTOM], default=DEFAULT, tooltip="A preset, or custom."),
                io.Int.Input("width", default=96, min=MIN_SIDE, max=MAX_SIDE, tooltip="Pixels, where size is custom."),
                io.Int.Input("height", default=96, min=MIN_SIDE, max=MAX_SIDE, tooltip="Pixels, where size is custom."),
                io.Float.Input(
                    "length", default=17, min=0, max=MAX_SECONDS * MAX_FPS, step=0.1, tooltip="In the unit below."
                ),
                io.Combo.Input("unit", options=["frames", "seconds"], default="frames", tooltip="Of the length."),
                io.Float.Input("fps", default=8.0, min=1.0, max=MAX_FPS, step=1.0, tooltip="Frames per second."),
                io.Int.Input("batch_size", default=1, min=1, max=64, tooltip="Videos made at once, seeds in a row."),
                io.Model.Input("model", optional=True, tooltip="Whose patches these are; else the bundled model's."),
                io.Int.Input(
                    "times",
                    default=1,
                    min=1,
                    max=MAX_SIDE // MIN_SIDE,
                    optional=True,
                    tooltip="How many times wider and higher this is than a prototype made with the same seed: "
                    "Sora Sampler then keeps its composition.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent"),
                io.Float.Output(display_name="fps", tooltip="For Create Video."),
                io.Int.Output(display_name="frames"),
                io.Int.Output(display_name="width"),
                io.Int.Output(display_name="height"),
            ],
            has_intermediate_output=True,
        )

    @classmethod
    def execute(cls, size, width, height, length, unit, fps, batch_size, model=None, times=1) -> io.NodeOutput:
        if size != CUSTOM:
            width, height = PRESETS[size]
        network = bundled_size() if model is None else host.size_of(model)
        grid = Grid(frames_of(length, unit, fps), height, width, fps, network.geometry)
        needs = {
            "width": network.width,
            "bytes_per_element": network.bytes_per_element,
            "batch": batch_size,
            "window": network.window,
        }
        grid.check_memory(memory_here(), **needs)
        latent = {
            "samples": torch.zeros(batch_size, *grid.latent_shape),
            "sora_grid": host.grid_to_latent(grid),
            "sora_field": {"scale": times},
        }
        picture = picture_of(grid, grid.memory_bytes(**needs))
        return io.NodeOutput(
            latent, float(fps), grid.frames, grid.width, grid.height, ui=ui.PreviewImage(picture, cls=cls)
        )


def frames_of(length: float, unit: str, fps: float) -> int:
    """The number of frames that a length in "frames" or "seconds" means."""
    if unit == "seconds":
        return frames_for(length, fps)
    if not math.isfinite(length) or length != int(length):
        raise UserError(f"The number of frames must be a whole number, not {length:g}.")
    return int(length)


def memory_here() -> int | None:
    """Bytes that sampling may take: all of a GPU, for the host moves other models out of the way, or what is free."""
    device = comfy.model_management.get_torch_device()
    if device.type == "cpu":
        return available_memory(device)
    return int(comfy.model_management.get_total_memory(device))


@functools.cache
def bundled_size() -> "host.NetworkSize":
    """Of the bundled model, read from the headers of its files; its activations as float32."""
    headers = [checkpoints.read_header(path) for path in checkpoints.resolve()]
    of = {name: header for header in headers for name in header.networks}
    codec, transformer = (checkpoints.make_config(name, of[name].config[name]) for name in ("vae", "dit"))
    geometry = Geometry(T_STRIDE, S_STRIDE, codec.channels, transformer.patch, host.CODEC)
    windowing = from_card(Settings(), of["dit"].card.get("settings"))
    return host.NetworkSize(geometry, transformer.width, windowing.window, 4)
