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
    return asdict(grid)


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
    t, h, w = samples.shape[2:]
    if noted is None:
        return Grid(geometry.frames(t), h * geometry.s_stride, w * geometry.s_stride, DEFAULT_FPS, geometry)
    made_for = Geometry(**noted["geometry"])
    if not patch_known:
        geometry = replace(geometry, patch=made_for.patch)
    if made_for != geometry:
        raise UserError(
            f"This latent was made for another model ({made_for}) than this one ({geometry}): connect this model to "
            "Sora Patch Grid, or encode with its VAE."
        )
    grid = Grid(**noted | {"geometry": geometry})
    if grid.latent_shape[1:] == (t, h, w):
        return grid
    return Grid(geometry.frames(t), h * geometry.s_stride, w * geometry.s_stride, grid.fps, geometry)


def canvas_of(latent: dict, source) -> Canvas:
    """A LATENT as a canvas, for a geometry or a VAE that has one; a mask of any size is fitted as the host does."""
    of_model = isinstance(source, Geometry)
    grid = grid_of(latent, source if of_model else geometry_of(source), of_model)
    samples, mask = latent["samples"], latent.get("noise_mask")
    if mask is None:
        level = torch.ones(len(samples), 1, *samples.shape[2:])
    else:
        level = comfy.utils.reshape_mask(mask.float(), samples.shape)[:, :1]
    canvas = canvases.place(canvases.empty(grid, len(samples)), samples, strength=level)
    if grid_to_latent(grid) == latent.get("sora_grid"):  # still where it was laid out in the noise field
        canvas = replace(canvas, **latent.get("sora_field", {}))
    return canvas


def canvas_to_latent(canvas: Canvas) -> dict:
    return {
        "samples": canvas.latent,
        "noise_mask": canvas.level,
        "sora_grid": grid_to_latent(canvas.grid),
        "sora_field": {"origin": canvas.origin, "scale": canvas.scale},
    }
