"""How a model of the host is told the noise levels of a canvas, when it cannot be told each patch's own.

Three kinds, found by what the model does with a mask (`process_timestep`): a level per patch (LTX-Video, and ours), one
per latent frame (Wan2.2-5B) or one for everything (Wan2.1, HunyuanVideo). All patches that share a
level are shown at the highest among them, for that is the only way the level can be true:

- a kept patch is noised again to that level at every step (the host's KSamplerX0Inpaint does the same);
- a patch of strength m below it stays its content, noised likewise, until the level has sunk to m, and is free from
  then on: a threshold on the mask at every step (Levin and Fried, "Differential diffusion", 2023). It is SDEdit at
  strength m, patch by patch, to the nearest step below.

Where a model has a level for each patch nothing of this happens: every patch is at its own level from the first step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import comfy.model_base
import comfy.model_sampling
import torch
from torch import Tensor

from ...sora_core import flow, sampler
from ...sora_core.canvas import Canvas
from ...sora_core.errors import UserError
from .model import SoraModel

PATCH, FRAME, ONE = "patch", "frame", "one"


def kind_of(inner: comfy.model_base.BaseModel) -> str:
    """`PATCH`, `FRAME` or `ONE`: how finely this model can be told noise levels.

    Raises:
        UserError: its noise process is not rectified flow.
    """
    if isinstance(inner, SoraModel):
        return PATCH
    name = type(inner).__name__
    if not isinstance(inner.model_sampling, comfy.model_sampling.CONST):
        raise UserError(f"{name} is not a rectified flow, which Sora Sampler solves: use KSampler with this latent.")
    if type(inner).process_timestep is comfy.model_base.BaseModel.process_timestep:
        return ONE
    frames, side = 3, 16
    mask = torch.ones(1, 1, frames, side, side)
    told = inner.process_timestep(torch.ones(1), x=mask, denoise_mask=mask)
    if not isinstance(told, Tensor):  # LTX-2: of the picture, and of the sound
        raise UserError(f"{name} makes sound with its pictures, which Sora Sampler cannot: use the host's own nodes.")
    return {1: ONE, frames: FRAME}.get(told.numel(), PATCH)


def shown(level: Tensor, kind: str) -> Tensor:
    """The level (B, 1, t, h, w) at which a model of this kind is shown each patch, the highest of those it lumps."""
    axes = {PATCH: (), FRAME: (3, 4), ONE: (2, 3, 4)}[kind]
    return level.amax(axes, keepdim=True).expand_as(level) if axes else level


@dataclass(frozen=True)
class Lumped:
    """A canvas prepared for a model that is shown patches at a level that they share.

    Args:
        canvas: with its own levels, and the latent as the model reads it.
        kind: see `kind_of`.
    """

    canvas: Canvas
    kind: str

    @property
    def level(self) -> Tensor:
        """(B, 1, t, h, w): at which the patches are shown when global time is 1."""
        return shown(self.canvas.level, self.kind)

    @property
    def mask(self) -> Tensor:
        """What the model gets as `denoise_mask`: its levels where it has several, else what is kept and what is not."""
        return (self.canvas.level > 0).float() if self.kind == ONE else self.level

    def moving(self) -> Canvas:
        """What the solver fills: every patch that is not kept goes with the others that share its level."""
        return replace(self.canvas, level=torch.where(self.canvas.level > 0, self.level, 0.0))

    def denoiser(self, model: Callable[[Tensor, Tensor], Tensor], seed: int) -> sampler.Denoise:
        """`model`, (x, sigma (B,)) -> x0 with `mask` as a condition, as what the solver calls."""
        own, level, latent = self.canvas.level, self.level, self.canvas.latent
        exact = flow.double(level)
        top = exact.max()
        scale = exact.amax((1, 2, 3, 4)) if self.kind == ONE else 1.0  # what is not in the mask is in sigma
        noise = sampler.field(self.canvas, seed) if (level > own).any() else None

        def denoise(x: Tensor, told: Tensor) -> Tensor:
            time = flow.double(told).max() / top
            sigma = (time * scale).to(x).expand(len(x))
            if noise is None:
                return model(x, sigma)
            now = (exact * time).to(x)
            x0 = model(torch.where(own > 0, x, flow.interpolate(latent, noise, now)), sigma)
            return torch.where(now > own + 1e-6, latent, x0)  # x of what waits stays on the line from noise to latent

        return denoise


def own_level(executor, x, t, *args, **kwargs):
    """Wraps a model that has several levels: the host makes x0 from the velocity with one level for all patches,
    d = x - t v, and x0 of a patch at level m t is x - m t v = x + m (d - x)."""
    denoised = executor(x, t, *args, **kwargs)
    mask = kwargs.get("denoise_mask")
    return denoised if mask is None else x + mask[:, :1].to(denoised) * (denoised - x)
