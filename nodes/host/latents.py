"""The engine's canvas as the host's LATENT: `samples`, a float `noise_mask` of start levels, and the size in pixels."""

from dataclasses import dataclass

import comfy.utils
import torch

from ...sora_core import canvas as canvases
from ...sora_core.canvas import Canvas
from ...sora_core.errors import UserError
from ...sora_core.grid import Geometry, Grid
from .codec import HostVAE
from .model import DEFAULT_FPS, SoraModel


@dataclass(frozen=True)
class NetworkSize:
    """What a grid needs to know of a model."""

    geometry: Geometry
    width: int
    depth: int


def size_of(model) -> NetworkSize:
    """Of a MODEL.

    Raises:
        UserError: it is not one of ours.
    """
    inner = model.model
    if not isinstance(inner, SoraModel):
        raise UserError(
            f"This node needs a model from Load Sora Model, not {type(inner).__name__}: for that use the host's own "
            "samplers."
        )
    config = inner.diffusion_model.config
    return NetworkSize(inner.geometry, config.width, config.depth)


def geometry_of(vae) -> Geometry:
    """Of a VAE.

    Raises:
        UserError: it is not one of ours.
    """
    if not isinstance(vae, HostVAE):
        raise UserError("This node needs the VAE of Load Sora Model: connect that one.")
    return vae.geometry


def grid_to_latent(grid: Grid) -> dict:
    """The size that a person asked for; a latent alone only knows whole cells."""
    return {"frames": grid.frames, "height": grid.height, "width": grid.width, "fps": grid.fps}


def grid_of(latent: dict, geometry: Geometry) -> Grid:
    """The size of a LATENT: what our grid node noted, unless another node has changed the shape since."""
    samples = latent["samples"]
    if samples.ndim != 5:
        raise UserError(
            f"This latent has {samples.ndim} axes and a video has 5 (batch, channels, time, height, width): start from "
            "Sora Patch Grid."
        )
    noted = latent.get("sora_grid")
    if noted is not None:
        grid = Grid(**noted, geometry=geometry)
        if grid.latent_shape[1:] == tuple(samples.shape[2:]):
            return grid
    t, h, w = samples.shape[2:]
    fps = DEFAULT_FPS if noted is None else noted["fps"]
    return Grid(geometry.frames(t), h * geometry.s_stride, w * geometry.s_stride, fps, geometry)


def canvas_of(latent: dict, source) -> Canvas:
    """A LATENT as a canvas, for a geometry or a VAE that has one; a mask of any size is fitted as the host does."""
    geometry = source if isinstance(source, Geometry) else geometry_of(source)
    grid, samples = grid_of(latent, geometry), latent["samples"]
    mask = latent.get("noise_mask")
    if mask is None:
        level = torch.ones(len(samples), 1, *samples.shape[2:])
    else:
        level = comfy.utils.reshape_mask(mask.float(), samples.shape)[:, :1]
    return canvases.place(canvases.empty(grid, len(samples)), samples, strength=level)


def canvas_to_latent(canvas: Canvas) -> dict:
    return {"samples": canvas.latent, "noise_mask": canvas.level, "sora_grid": grid_to_latent(canvas.grid)}
