"""How engine objects become the host's MODEL, VAE, CLIP and LATENT, and how a node talks to the host.

Every difference between host versions is met here by asking what is there, never by a version number.
"""

from dataclasses import replace

from ...sora_core import flow
from ...sora_core.checkpoint import Models
from ...sora_core.grid import Grid
from ...sora_core.pipeline import Settings, Size, from_card
from .codec import HostVAE, rgb_of_latents
from .conditioning import timeline_conditioning
from .geometry import NetworkSize, geometry_of, size_of
from .latents import (
    canvas_of,
    canvas_to_latent,
    filled,
    geometry_for,
    grid_of,
    grid_to_latent,
    has_rate,
    held,
    kept,
    note_of,
    settled,
    stills_of,
    with_open_end,
)
from .model import CODEC, make_model
from .sampling import fill
from .schema import ADVANCED, schema
from .streaming import Encoder, decode_stream, encode_stream, whole_cells
from .text import make_clip

__all__ = [
    "ADVANCED",
    "CODEC",
    "Encoder",
    "NetworkSize",
    "canvas_of",
    "canvas_to_latent",
    "decode_stream",
    "encode_stream",
    "fill",
    "filled",
    "geometry_for",
    "geometry_of",
    "grid_of",
    "grid_to_latent",
    "has_rate",
    "held",
    "kept",
    "load",
    "note_of",
    "schema",
    "settled",
    "size_of",
    "stills_of",
    "timeline_conditioning",
    "whole_cells",
    "with_open_end",
]


def load(models: Models) -> tuple:
    """(MODEL, CLIP, VAE) with the weights of a checkpoint's three networks."""
    usual, geometry = from_card(Size(), models.card.get("size")), replace(models.geometry, codec=CODEC)
    grid = Grid(usual.frames, usual.height, usual.width, usual.fps, geometry)
    shift = flow.shift_for_tokens(grid.tokens, models.dit.config.shift)  # the host's samplers take one for all sizes
    windowing = from_card(Settings(), models.card.get("settings"))
    model = make_model(models.dit, geometry, rgb_of_latents(models.vae), shift, windowing)
    return model, make_clip(models.text), HostVAE(models.vae, geometry)
