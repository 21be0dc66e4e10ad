"""The engine's canvas as the host's LATENT: `samples`, a float `noise_mask` of start levels, and the size in pixels."""

from dataclasses import asdict, replace

import comfy.utils
import torch

from ...sora_core import canvas as canvases
from ...sora_core.canvas import Canvas
from ...sora_core.errors import UserError
from ...sora_core.grid import Geometry, Grid
from .geometry import RATES, geometry_of, size_of
from .model import DEFAULT_FPS


def grid_to_latent(grid: Grid) -> dict:
    """The size that a person asked for and the geometry it was made for; a latent alone only knows whole cells."""
    return asdict(grid)


def grid_of(latent: dict, geometry: Geometry, patch_known: bool = True) -> Grid:
    """The size of a LATENT: what our grid node noted, unless another node has changed the shape since.

    Args:
        geometry: of the model or VAE that is to read it.
        patch_known: False for a VAE, which does not know the patches of its model: those noted hold. So does the name
            of the codec where the geometry says none.

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
        fps = RATES.get(geometry.codec, DEFAULT_FPS)
        return Grid(geometry.frames(t), h * geometry.s_stride, w * geometry.s_stride, fps, geometry)
    made_for = Geometry(**noted["geometry"])
    if not patch_known:
        geometry = replace(geometry, patch=made_for.patch)
    geometry = replace(geometry, codec=geometry.codec or made_for.codec)
    if replace(made_for, patch=geometry.patch, codec=made_for.codec or geometry.codec) != geometry:
        raise UserError(
            f"This latent was made for another model ({made_for}) than this one ({geometry}): connect this model to "
            "Sora Patch Grid, or encode with its VAE."
        )
    grid = Grid(**noted | {"geometry": geometry})
    if all(n in sizes for n, *sizes in zip((t, h, w), grid.cells, grid.latent_shape[1:], strict=True)):
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
    noted = latent.get("sora_grid")
    if noted and grid_to_latent(grid) == noted | {"geometry": asdict(grid.geometry)}:  # where it was laid out
        canvas = replace(canvas, **latent.get("sora_field", {}))
    numbers = latent.get("batch_index")  # of nodes that take some of a batch
    if numbers is not None and len(numbers) == len(samples):
        canvas = replace(canvas, batch=tuple(numbers))
    return canvas


def has_rate(latent: dict) -> bool:
    """Whether a LATENT says its frame rate. One of the host does not, and nodes count with a usual one (`grid_of`)."""
    return "sora_grid" in latent and "sora_no_rate" not in latent


def note_of(latent: dict, grid: Grid) -> dict:
    """What a LATENT that was made out of `latent` notes of its size."""
    return {"sora_grid": grid_to_latent(grid)} | ({} if has_rate(latent) else {"sora_no_rate": True})


def canvas_to_latent(canvas: Canvas, latent: dict) -> dict:
    """A LATENT that became a canvas, still to be filled; the content is noted, so that `held` can tell whether it has
    been."""
    return latent | {
        "samples": canvas.latent,
        "noise_mask": canvas.level,
        **note_of(latent, canvas.grid),
        "sora_field": {"origin": canvas.origin, "scale": canvas.scale},
        "sora_content": canvas.latent,
    }


def stills_of(latent: dict, canvas: Canvas) -> int:
    """How often the last frame of an encoded video was repeated to fill its last latent frames (`SoraEncodeVideo`)."""
    stills = latent.get("sora_stills", 0)
    beyond = canvas.grid.geometry.frames(canvas.latent.shape[2]) - canvas.grid.frames
    return stills if stills == beyond else 0  # another node may have cut it since


def with_open_end(latent: dict, canvas: Canvas) -> Canvas:
    """The canvas of a LATENT, to be followed by something: latent frames at its end that hold stills (`stills_of`) are
    invented anew, for kept they would be shown, and the video would stand still at the seam."""
    stills, geometry = stills_of(latent, canvas), canvas.grid.geometry
    if not stills:
        return canvas
    level = canvas.level.clone()
    level[:, :, -(-(-stills // (geometry.t_stride * geometry.patch[0])) * geometry.patch[0]) :] = 1
    return replace(canvas, level=level)


def geometry_for(latent: dict, model=None) -> Geometry:
    """The geometry of the model that a LATENT is for: `model`'s, or without it what the LATENT says.

    Raises:
        UserError: neither is there.
    """
    if model is not None:
        return size_of(model).geometry
    if "sora_grid" in latent:
        return Geometry(**latent["sora_grid"]["geometry"])
    raise UserError(
        "This latent does not say which model it is for: connect the model to this node, or make the latent with Sora "
        "Patch Grid or Sora Encode Video."
    )


def held(latent: dict, model=None) -> Canvas:
    """A LATENT as what an operation on a video starts from: what is there is kept, unless a noise mask says otherwise.

    An empty latent (all zero, as the host has it) is all new. See `settled` for a mask that has done its work.

    Args:
        model: see `geometry_for`.

    Raises:
        UserError: see `geometry_for` and `grid_of`.
    """
    return canvas_of(kept(latent), geometry_for(latent, model))


def kept(latent: dict) -> dict:
    """A LATENT, settled, whose content is kept where no noise mask says otherwise; see `held`."""
    latent = settled(latent)
    if latent.get("noise_mask") is None and latent["samples"].any():
        latent = latent | {"noise_mask": torch.zeros_like(latent["samples"][:, :1])}
    return latent


def settled(latent: dict) -> dict:
    """A LATENT that one of the host's samplers has filled, as Sora Sampler would have left it; others as they are.

    The host leaves the mask on. That it has been used shows in the content, which is not the one it was made for.

    Raises:
        UserError: it is a cyclic loop, which only Sora Sampler can close.
    """
    samples, content = latent["samples"], latent.get("sora_content")
    if content is None or content.shape[1:] != samples.shape[1:]:
        return latent
    first = samples[0].to(content)  # other nodes may have taken some of a batch, or repeated it
    if any(torch.equal(first, one) for one in content):
        return latent
    if latent["sora_grid"]["cyclic"]:
        raise UserError(
            "This cyclic loop was filled by a sampler that does not know of loops, so its end does not meet its start: "
            "fill it with Sora Sampler, or make a loop of an existing clip (Sora Loop Video, bridge)."
        )
    return filled(latent, samples)


def filled(latent: dict, samples: torch.Tensor) -> dict:
    """What a sampler gives back: the LATENT without its mask and, of a loop, only one lap (`SoraLoopVideo`)."""
    gone = ("noise_mask", "sora_content", "sora_lap")
    out = {name: value for name, value in latent.items() if name not in gone} | {"samples": samples}
    if "sora_lap" in latent:
        noted = latent["sora_grid"]
        grid = Grid(**noted | {"geometry": Geometry(**noted["geometry"]), "frames": latent["sora_lap"]})
        out |= {"samples": samples[:, :, : grid.latent_shape[1]], "sora_grid": grid_to_latent(grid)}
    return out
