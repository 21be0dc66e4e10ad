"""Loops, and videos longer than a model's window, inside the host's guider: `sora_core.windows` says how they are made.

Our own models are shown a part at a time with the level of every patch (`Seen`), so the result is that of the engine. A
model of the host fills a long video window by window, each one a canvas of its own whose start is kept; it is not shown
the start of the video or a noisy history, which it was not trained on. A loop it makes as ours do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import comfy.model_patcher
import comfy.samplers
import torch
from torch import Tensor

from ...sora_core import sampler, timeline, windows
from ...sora_core.canvas import Canvas
from ...sora_core.errors import UserError
from ...sora_core.windows import Windowing
from .conditioning import cut, reads_image, told_of
from .model import SoraModel


@dataclass(frozen=True)
class Seen:
    """The part of a canvas that our model is shown at a call.

    Attributes:
        level: (B, 1, n, h, w).
        cells: numbers of the n latent frames.
        times: (n,) where they stand in time, if they do not follow each other.
    """

    level: Tensor
    cells: list[int]
    times: Tensor | None


class FilmSampler(comfy.samplers.Sampler):
    """A SAMPLER that fills a loop with any model, or a canvas longer than the window with ours.

    Args:
        told: for every moment the number of its prompt, or None.
    """

    def __init__(
        self, canvas: Canvas, how: Windowing, told, ours: bool, seed: int, steps: int, solver: str, shift: float
    ):
        self.canvas, self.how, self.told, self.ours = canvas, how, told, ours
        self.seed, self.steps, self.solver, self.shift = seed, steps, solver, shift

    def sample(
        self, model_wrap, sigmas, extra_args, callback, noise, latent_image=None, denoise_mask=None, disable_pbar=False
    ):
        """The host's entry, as in `CanvasSampler`."""
        canvas = replace(self.canvas.to(noise.device), latent=latent_image)
        length = canvas.latent.shape[2]

        def view(x: Tensor, level: Tensor, cells: list[int]) -> Tensor:
            options = comfy.model_patcher.create_model_options_clone(extra_args["model_options"])
            if self.ours:
                apart = not canvas.grid.cyclic and cells[-1] - cells[0] >= len(cells)  # the start of the video
                seen = Seen(level, cells, torch.tensor(cells) if apart else None)
                options.setdefault("transformer_options", {})["sora_seen"] = seen
            return model_wrap(x, level.amax().expand(len(x)), model_options=options, seed=extra_args.get("seed"))

        def run(denoise: sampler.Denoise, part: Canvas, report: sampler.Callback | None) -> Tensor:
            return sampler.sample(denoise, part, self.seed, self.steps, self.solver, self.shift, report)

        def report(done: int, steps: int, x: Tensor, x0: Tensor) -> None:
            callback(done - 1, x0, x, steps)

        report = None if callback is None else report
        if canvas.grid.cyclic:
            return run(windows.circle(view, length, self.how.window), canvas, report)
        spans = timeline.spans(None if self.told is None else [self.told], length)
        return torch.cat(list(windows.fill(view, run, canvas, self.how, spans, self.seed, report)), dim=2)


def check_loop(canvas: Canvas, inner, told) -> None:
    """Refuse a loop that a model of the host cannot make."""
    if isinstance(inner, SoraModel):
        return
    if reads_image(inner):
        raise UserError(
            f"{type(inner).__name__} is an image-to-video model, which starts from a first frame, and a cyclic loop "
            "has none: use a text-to-video model."
        )
    if told is not None:
        raise UserError(f"{type(inner).__name__} cannot follow a timeline in a cyclic loop: give it one prompt.")
    if not (canvas.level == 1).all():
        raise UserError(
            f"{type(inner).__name__} makes cyclic loops from nothing only: take an empty Sora Patch Grid, or close a "
            "video with the mode bridge of Sora Loop Video."
        )


def fill_windows(
    fill: Callable[..., Tensor],
    positive: list,
    negative: list,
    canvas: Canvas,
    how: Windowing,
    seed: int,
    callback: Callable,
) -> Tensor:
    """A long canvas through a model of the host, window by window.

    Args:
        fill: (positive, negative, canvas, callback) -> the filled canvas, of at most a window.
        callback: (step, x0, x, steps) of all windows.
    """

    def run(_, part: Canvas, report: sampler.Callback) -> Tensor:
        start = part.origin[0] - canvas.origin[0]
        prompts = (cut(one, start, start + part.latent.shape[2]) for one in (positive, negative))
        return fill(*prompts, part, lambda step, x0, x, steps: report(step + 1, steps, x, x0))

    def report(done: int, steps: int, x: Tensor, x0: Tensor) -> None:
        callback(done - 1, x0, x, steps)

    told = told_of(positive)
    spans = timeline.spans(None if told is None else [told], canvas.latent.shape[2])
    return torch.cat(list(windows.fill(None, run, canvas, how, spans, seed, report)), dim=2)
