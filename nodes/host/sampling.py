"""The engine's sampler inside the host's guider, so that hooks, wrappers, model management and interruption work."""

import comfy.model_patcher
import comfy.samplers
import torch
from torch import Tensor

from ...sora_core import sampler
from ...sora_core.canvas import Canvas


class CanvasSampler(comfy.samplers.Sampler):
    """A SAMPLER that fills a canvas with the engine's solvers and noise field."""

    def __init__(self, canvas: Canvas, seed: int, steps: int, solver: str, shift: float | None):
        self.canvas, self.arguments = canvas, (seed, steps, solver, shift)

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ):
        """The host's entry; `model_wrap` is the guider: (x, global time (B,)) -> x0, with the mask as a condition."""
        canvas = self.canvas.to(noise.device)
        highest = canvas.level.double().max()

        def denoise(x: Tensor, level: Tensor) -> Tensor:
            # The engine gives each patch's level, mask times global time; the host wants the time and has the mask.
            time = (level.double().max() / highest).to(x)
            return model_wrap(x, time.expand(len(x)), **extra_args)

        def report(done: int, steps: int, x: Tensor, x0: Tensor) -> None:
            callback(done - 1, x0, x, steps)

        return sampler.sample(denoise, canvas, *self.arguments, callback=None if callback is None else report)


class Guider(comfy.samplers.CFGGuider):
    """Classifier-free guidance as the engine does it: within an interval of noise levels, with rescaling."""

    def __init__(self, model, cfg: float, interval: tuple[float, float], rescale: float):
        super().__init__(model)
        self.set_cfg(cfg)
        self.interval, self.rescale = interval, rescale
        sampler.guide(None, None, None, cfg, interval, rescale)  # refuses what makes no sense before anything is loaded

    def predict_noise(self, x, timestep, model_options=None, seed=None):
        """x at global time `timestep` (B,) -> x0. Plain guidance is left to the host and to nodes that change it."""
        options = {} if model_options is None else model_options
        level = timestep.view(-1, 1, 1, 1, 1) * self.level.to(timestep)
        low, high = self.interval
        inside = (level > 0) & (level >= low) & (level <= high)
        cfg = self.cfg if inside.any() else 1.0  # at 1 the host leaves the second pass out
        if cfg != 1.0 and (self.rescale > 0 or not inside[level > 0].all()):
            options = comfy.model_patcher.create_model_options_clone(options)
            options["sampler_post_cfg_function"] = [
                lambda given: self._guided(x, level, given),
                *options.get("sampler_post_cfg_function", []),
            ]
        conds = (self.conds.get("negative"), self.conds.get("positive"))
        return comfy.samplers.sampling_function(
            self.inner_model, x, timestep, *conds, cfg, model_options=options, seed=seed
        )

    def _guided(self, x: Tensor, level: Tensor, given: dict) -> Tensor:
        predictions = (given["cond_denoised"], given["uncond_denoised"])
        guide = sampler.guide(
            lambda x, level, prediction: prediction, *predictions, self.cfg, self.interval, self.rescale
        )
        return guide(x, level)

    def sample(self, noise, latent_image, sampler, sigmas, denoise_mask=None, **arguments):
        self.level = torch.ones_like(latent_image[:, :1]) if denoise_mask is None else denoise_mask[:, :1]
        return super().sample(noise, latent_image, sampler, sigmas, denoise_mask=denoise_mask, **arguments)


def start_levels(executor, guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar):
    """Wraps every sampler of the host: a patch with mask m starts at level m from its content, and ends as new content.

    The host would blend the result with the old content by the mask, and pull it there at every step. Instead, the
    start is mixed once, x = (1 - m s) latent + m s noise, the host's mask keeps only what has m = 0, and the levels go
    to the network as a condition: what the engine's sampler does, with any of the host's solvers.
    """
    if denoise_mask is not None:
        noise = latent_image + denoise_mask * (noise - latent_image)
        denoise_mask = (denoise_mask > 0).to(denoise_mask)
    return executor(guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar)


def with_frame_rate(conditioning: list, fps: float) -> list:
    """The prompt, told at what frame rate the video is meant, unless it already says so."""
    return [[text, {"frame_rate": fps} | more] for text, more in conditioning]
