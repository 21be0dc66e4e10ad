"""The engine's canvas as the host's LATENT: `samples`, a float `noise_mask` of start levels, and the size in pixels."""

from dataclasses import asdict, replace

import comfy.utils
import torch

from ...sora_core import canvas as canvases
from ...sora_core.canvas import Canvas
from ...sora_core.errors import UserError
from ...sora_core.grid import Geometry, Grid
from .geometry import geometry_of
from .model import DEFAULT_FPS


def grid_to_latent(grid: Grid) -> dict:
    """The size that a person asked for and the geometry it was made for; a latent alone only knows whole cells."""
    size = {"frames": grid.frames, "height": grid.height, "width": grid.width, "fps": grid.fps}
    return size | {"geometry": asdict(grid.geometry)}


def grid_of(latent: dict, geometry: Geometry, patch_known: bool = True) -> Grid:
    """The size of a LATENT: what our grid node noted, unless another node has changed the shape since.

    Args:
        geometry: of the model or VAE that is to read it.
        patch_known: False for a VAE, which does not know the patches of its model: those noted hold.

    Raises:
        UserError: it is no video, or was made for another geometry.
    """
    samples, noted = latent["samples"], latent.get("sora_grid")
    if samples.ndim != 5:
        raise UserError(
            f"This latent has {samples.ndim} axes and a video has 5 (batch, channels, time, height, width): start from "
            "Sora Patch Grid."
        )
    fps = DEFAULT_FPS
    if noted is not None:
        made_for = Geometry(**noted["geometry"])
        if not patch_known:
            geometry = replace(geometry, patch=made_for.patch)
        if made_for != geometry:
            raise UserError(
                f"This latent was made for another model ({made_for}) than this one ({geometry}): connect this model "
                "to Sora Patch Grid, or encode with its VAE."
            )
        size = {name: noted[name] for name in ("frames", "height", "width", "fps")}
        grid, fps = Grid(**size, geometry=geometry), noted["fps"]
        if grid.latent_shape[1:] == tuple(samples.shape[2:]):
            return grid
    t, h, w = samples.shape[2:]
    return Grid(geometry.frames(t), h * geometry.s_stride, w * geometry.s_stride, fps, geometry)


def canvas_of(latent: dict, source) -> Canvas:
    """A LATENT as a canvas, for a geometry or a VAE that has one; a mask of any size is fitted as the host does."""
    of_model = isinstance(source, Geometry)
    grid, samples = grid_of(latent, source if of_model else geometry_of(source), of_model), latent["samples"]
    mask = latent.get("noise_mask")
    if mask is None:
        level = torch.ones(len(samples), 1, *samples.shape[2:])
    else:
        level = comfy.utils.reshape_mask(mask.float(), samples.shape)[:, :1]
    return canvases.place(canvases.empty(grid, len(samples)), samples, strength=level)


def canvas_to_latent(canvas: Canvas) -> dict:
    return {"samples": canvas.latent, "noise_mask": canvas.level, "sora_grid": grid_to_latent(canvas.grid)}
