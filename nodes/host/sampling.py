"""The engine's sampler inside the host's guider, so that hooks, wrappers, model management and interruption work."""

from dataclasses import replace

import comfy.model_patcher
import comfy.samplers
import torch
from comfy.patcher_extension import WrappersMP
from torch import Tensor

from ...sora_core import flow, sampler
from ...sora_core.canvas import Canvas
from ...sora_core.errors import UserError
from .conditioning import beside, of_cells, told_of, with_canvas
from .films import FilmSampler, check_loop, fill_windows
from .geometry import windowing_of
from .levels import FRAME, PATCH, Lumped, kind_of, own_level
from .model import SoraModel
from .preview import Live, Playhead


class CanvasSampler(comfy.samplers.Sampler):
    """A SAMPLER that fills a canvas with the engine's solvers and noise field, with our models or the host's.

    Args:
        kind: of the model's levels (`levels.kind_of`).
        resample: how often steps are taken again (`resample.time_travel`).
    """

    def __init__(
        self, canvas: Canvas, kind: str, seed: int, steps: int, solver: str, shift: float | None, resample: int = 0
    ):
        self.canvas, self.kind = canvas, kind
        self.seed, self.steps, self.solver, self.shift, self.resample = seed, steps, solver, shift, resample

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ):
        """The host's entry; `model_wrap` is the guider: (x, sigma (B,)) -> x0, with the mask as a condition, and
        `latent_image` the canvas's latent in the model's own scaling."""
        canvas = Lumped(replace(self.canvas.to(noise.device), latent=latent_image), self.kind)

        def report(done: int, steps: int, x: Tensor, x0: Tensor) -> None:
            callback(done - 1, x0, x, steps)

        return sampler.sample(
            canvas.denoiser(lambda x, sigma: model_wrap(x, sigma, **extra_args), self.seed),
            canvas.moving(),
            self.seed,
            self.steps,
            self.solver,
            self.shift,
            callback=None if callback is None else report,
            resample=self.resample,
        )


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
        seen = options.get("transformer_options", {}).get("sora_seen")
        time = timestep.view(-1, 1, 1, 1, 1)
        if seen is not None:
            level = seen.level
        elif self.level.shape[2:] == x.shape[2:]:
            level = time * self.level.to(timestep)
        else:  # a piece of a circle, all of which is new
            level = time.expand(len(x), 1, *x.shape[2:])
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
        if seen is not None:
            conds = (of_cells(one, seen.cells, self.level.shape[2]) for one in conds)
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


def reserving(window: int):
    """Wraps the host's making room for a model: what it sees at once counts, not the whole film."""

    def prepare(executor, model, noise_shape, *rest, **more):
        b, c, t, *size = noise_shape
        return executor(model, [b, c, min(t, window), *size], *rest, **more)

    return prepare


def fill(
    model,
    positive: list,
    negative: list,
    canvas: Canvas,
    *,
    seed: int,
    steps: int,
    solver: str,
    shift: float | None = None,
    cfg: float = 1.0,
    interval: tuple[float, float] = (0.0, 1.0),
    rescale: float = 0.0,
    resample: int = 0,
    vae=None,
    window: int = 0,
    callback=None,
) -> Tensor:
    """Fill a canvas with a MODEL, ours or one of the host's: (B, C, t, h, w) on the CPU.

    Args:
        positive, negative: CONDITIONING.
        shift: of the schedule; None chooses by the size of the grid.
        vae: only for models that read kept frames beside the video (`conditioning.beside`).
        window: latent frames that the model sees at once; a longer canvas is filled window by window. 0 is its own.
        callback: (step, x0, x, steps); None shows progress, the time left and a preview.
        others: as of the engine's sampler.

    Returns:
        What is kept is bit for bit that of the canvas; the host's scaling of latents there and back is not used for it.
    """
    inner, grid, batch = model.model, canvas.grid, len(canvas.latent)
    kind, how, length = kind_of(inner), windowing_of(inner, window), canvas.latent.shape[2]
    ours, long = isinstance(inner, SoraModel), length > how.window
    if (grid.cyclic or long) and grid.geometry.patch[0] != 1:
        raise UserError(
            f"Cyclic loops and videos of more than {how.window} latent frames need patches of one latent frame, and "
            f"this model's are {grid.geometry.patch[0]} long: make a shorter video."
        )
    settings = {"steps": steps, "solver": solver, "shift": shift, "cfg": cfg, "interval": interval}
    settings |= {"rescale": rescale, "resample": resample, "vae": vae, "window": window}
    if long and not grid.cyclic and batch > 1 and not (canvas.level == canvas.level[:1]).all():
        ones = (canvas.alone(b) for b in range(batch))  # each has windows of its own
        return torch.cat([fill(model, positive, negative, one, seed=seed, **settings) for one in ones])
    if callback is None:
        with Live(model, Playhead(grid.fps / grid.geometry.t_stride)) as live:
            return fill(model, positive, negative, canvas, seed=seed, callback=live, **settings)
    if long and not grid.cyclic and not ours:

        def one(positive: list, negative: list, part: Canvas, callback) -> Tensor:
            return fill(model, positive, negative, part, seed=seed, callback=callback, **settings)

        return fill_windows(one, positive, negative, canvas, how, seed, callback)
    if kind in (PATCH, FRAME) and not isinstance(model.model, SoraModel):
        model = model.clone()
        model.add_wrapper_with_key(WrappersMP.APPLY_MODEL, "sora_levels", own_level)
    if grid.cyclic or long:
        model = model.clone()
        model.add_wrapper_with_key(WrappersMP.PREPARE_SAMPLING, "sora_window", reserving(how.window))
    guider = Guider(model, cfg, interval, rescale)
    told = beside(inner, [positive, negative], canvas, vae)
    guider.set_conds(*(with_canvas(inner, prompt, canvas, told) for prompt in (positive, negative)))
    factor = inner.diffusion_model.config.shift if ours else 1.0
    shift = shift or flow.shift_for_tokens(grid.tokens_within(how.window), factor)
    if grid.cyclic or long:
        check_loop(canvas, inner, told_of(positive))
        chosen = FilmSampler(canvas, how, told_of(positive), ours, seed, steps, solver, shift)
    else:
        chosen = CanvasSampler(canvas, kind, seed, steps, solver, shift, resample)
    samples = guider.sample(
        torch.zeros_like(canvas.latent),  # the engine's noise field makes its own
        canvas.latent,
        chosen,
        flow.schedule(steps, shift).float(),
        denoise_mask=None if grid.cyclic or long else Lumped(canvas, kind).mask,
        callback=callback,
        disable_pbar=True,
        seed=seed,
    )
    return torch.where(canvas.level > 0, samples.to(canvas.latent), canvas.latent)
