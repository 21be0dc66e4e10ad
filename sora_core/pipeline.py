"""Prompt and canvas in, video out: the one place that the command line, the tests and the evaluation call.

A video is sampled as a latent and decoded as a stream, so its frames need never be held together.
"""

from __future__ import annotations

import math
import typing
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace

import torch
from torch import Tensor

from . import canvas as canvases
from . import flow, timeline, windows
from .canvas import Canvas
from .checkpoint import Models, fits
from .codec import Codec
from .errors import UserError
from .grid import MIN_SIDE, Grid, frames_for
from .memory import available_memory
from .sampler import Callback, Denoise, guide, sample
from .timeline import Timeline
from .video import fit
from .windows import Windowing

Prompt = str | Timeline | Sequence[str | Timeline]
Defaults = typing.TypeVar("Defaults")


@dataclass(frozen=True)
class Settings(Windowing):
    """How a canvas is filled; `Windowing` has what concerns one that is longer than the model's window.

    Attributes:
        seed: of the noise field; sample b of a batch is the single video of seed + b.
        steps: of the solver.
        solver: a name in `sampler.SOLVERS`.
        cfg: strength of guidance; 1 is none.
        interval: (low, high) levels between which guidance acts.
        rescale: how far guidance keeps the contrast of the plain prediction, 0 to 1.
        shift: of the schedule; None follows the number of tokens.
        negative: what the video should not be.
    """

    seed: int = 0
    steps: int = 20
    solver: str = "ab2"
    cfg: float = 4.0
    interval: tuple[float, float] = (0.0, 1.0)
    rescale: float = 0.0
    shift: float | None = None
    negative: str = ""


@dataclass(frozen=True)
class Size:
    """The size of a video that nobody gave one for."""

    width: int = 64
    height: int = 64
    frames: int = 17
    fps: float = 8.0


class Pipeline(Codec):
    """The three networks of a checkpoint, working together.

    Attributes:
        settings, size: this checkpoint's defaults, from the tables ``settings`` and ``size`` of its card.
        continuing: the same for canvases that are given a video, in which the table ``continuing`` may change some.

    Raises:
        UserError: a network is missing, or they do not belong together.
    """

    networks = ("vae", "dit", "text")

    def __init__(self, models: Models, device: torch.device | str = "cpu"):
        super().__init__(models, device)
        self.dit, self.text = models.dit, models.text
        if self.vae.config.channels != self.dit.config.channels:
            raise UserError(
                f"The codec's latents have {self.vae.config.channels} channels and the transformer's "
                f"{self.dit.config.channels}: these networks do not belong together."
            )
        if self.text.config.width != self.dit.config.text_width:
            raise UserError(
                f"The text encoder's features are {self.text.config.width} wide, and the transformer reads "
                f"{self.dit.config.text_width}: these networks do not belong together."
            )
        self.settings = from_card(Settings(), models.card.get("settings"))
        self.continuing = from_card(self.settings, models.card.get("continuing"))
        self.size = from_card(Size(), models.card.get("size"))

    # -- sizes ------------------------------------------------------------------------------------------------------

    def grid(
        self,
        width: int | None = None,
        height: int | None = None,
        frames: int | None = None,
        fps: float | None = None,
        seconds: float | None = None,
        cyclic: bool = False,
    ) -> Grid:
        """A grid for this model; what is left out is the checkpoint's default. A cyclic one is a loop: see `Grid`.

        Raises:
            UserError: sizes that are impossible, frames and seconds together, or more memory than there is.
        """
        if frames is not None and seconds is not None:
            raise UserError("Give the frames or the seconds, not both.")
        fps = self.size.fps if fps is None else fps
        if seconds is not None:
            frames = frames_for(seconds, fps)
        grid = Grid(
            self.size.frames if frames is None else frames,
            self.size.height if height is None else height,
            self.size.width if width is None else width,
            fps,
            self.geometry,
            cyclic,
        )
        self.check_memory(grid)
        return grid

    def check_memory(self, grid: Grid) -> None:
        """Refuse a grid that this machine cannot hold, before anything is allocated."""
        weights, config = next(self.dit.parameters()), self.dit.config
        grid.check_memory(
            available_memory(self.device),
            width=config.width,
            bytes_per_element=weights.element_size(),
            window=self.settings.window,
        )

    # -- making -----------------------------------------------------------------------------------------------------

    def settings_for(self, canvas: Canvas) -> Settings:
        """The checkpoint's defaults for a canvas: `continuing` where it keeps two latent frames in a row, so that the
        model goes on with what moves there. An image alone is rather told what to do."""
        whole = canvas.kept.flatten(3).all(3)
        return self.continuing if bool((whole[..., 1:] & whole[..., :-1]).any()) else self.settings

    @torch.inference_mode()
    def fill(self, canvas: Canvas, prompt: Prompt, callback: Callback | None = None, **settings) -> Tensor:
        """Fill a canvas as the prompt says.

        A canvas of more latent frames than the window of the settings is filled window by window, with the memory of
        one; a cyclic grid becomes a loop.

        Args:
            canvas: see `canvas`; its batch must be the number of prompts.
            prompt: a text or a timeline, or one for each sample of the batch. An empty text leaves the model free.
            callback: (steps done, steps, x, x0) after every step; may raise to interrupt. In a long video x and x0 are
                the window's, and the steps those of all windows.
            settings: fields of `Settings` that differ from the checkpoint's defaults, see `settings_for`.

        Returns:
            latent (B, C, t, h, w) float32, on this pipeline's device.

        Raises:
            UserError: impossible settings, a timeline that does not fit, or values that are not finite.
        """
        pieces = list(self.stream(canvas, prompt, callback, **settings))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=2)

    @torch.inference_mode()
    def stream(self, canvas: Canvas, prompt: Prompt, callback: Callback | None = None, **settings) -> Iterator[Tensor]:
        """Like `fill`, in pieces (B, C, n, h, w) of finished latent frames from the first to the last, so that `frames`
        can decode the start of a long video while its end is still to be made."""
        s = replace(self.settings_for(canvas), **settings)
        s.check_windows()
        grid, (batch, _, length, _, _) = canvas.grid, canvas.latent.shape
        prompts = [prompt] if isinstance(prompt, str | Timeline) else list(prompt)
        if len(prompts) != batch:
            raise UserError(f"{len(prompts)} prompts for a canvas of {batch} samples: give one each.")
        if (grid.cyclic or length > s.window) and grid.geometry.patch[0] != 1:
            raise UserError(
                f"Cyclic loops and videos of more than {s.window} latent frames need patches of one latent frame, and "
                f"this model's are {grid.geometry.patch[0]} long: make a shorter video."
            )
        texts, told = timeline.plan(prompts, grid)
        telling = (*self.text.encode_texts(texts), None if told is None else torch.tensor(told))
        plain = None if s.cfg == 1 else (*self.text.encode_texts([s.negative] * batch), None)

        def view(x: Tensor, level: Tensor, cells: list[int] | None = None) -> Tensor:
            times = None
            if cells and not grid.cyclic and cells[-1] - cells[0] >= len(cells):  # an anchor stands apart
                times = torch.tensor(cells)

            def predict(x: Tensor, level: Tensor, condition) -> Tensor:
                text, mask, moments = condition
                here = moments if moments is None or cells is None else moments[:, cells]
                return self.dit(x, level, text, mask, grid.fps, here, times).float()

            return guide(predict, telling, plain, s.cfg, s.interval, s.rescale)(x, level)

        tokens = grid.tokens_within(s.window)
        shift = flow.shift_for_tokens(tokens, self.dit.config.shift) if s.shift is None else s.shift

        def run(denoise: Denoise, part: Canvas, callback: Callback | None) -> Tensor:
            return sample(denoise, part, s.seed, s.steps, s.solver, shift, callback)

        canvas = canvas.to(self.device)
        if grid.cyclic:
            yield run(windows.circle(view, length, s.window), canvas, callback)
        elif length <= s.window:
            yield run(view, canvas, callback)
        elif batch > 1 and not _alike(canvas, told):  # each has windows of its own
            yield torch.cat([self._one(canvas, b, prompts[b], callback, s) for b in range(batch)])
        else:
            yield from windows.fill(view, run, canvas, s, timeline.spans(told, length), s.seed, callback)

    def _one(self, canvas: Canvas, b: int, prompt: str | Timeline, callback: Callback | None, s: Settings) -> Tensor:
        """Sample b of a batch by itself."""
        batch = len(canvas.latent)

        def report(done: int, of: int, x: Tensor, x0: Tensor) -> None:
            callback(b * of + done, batch * of, x, x0)

        return self.fill(canvas.alone(b), prompt, report if callback else None, **vars(s))

    def generate(
        self, prompt: Prompt, grid: Grid | None = None, callback: Callback | None = None, **settings
    ) -> Tensor:
        """Text to video (to an image, with a grid of one frame): (B, 3, T, H, W) in [-1, 1], whole. See `fill`."""
        grid = grid or self.grid()
        canvas = canvases.empty(grid, 1 if isinstance(prompt, str | Timeline) else len(prompt), self.device)
        return torch.cat(list(self.frames(self.fill(canvas, prompt, callback, **settings), grid)), dim=2)

    def animate(
        self, image: Tensor, prompt: Prompt, grid: Grid, callback: Callback | None = None, **settings
    ) -> Tensor:
        """A video (B, 3, T, H, W) in [-1, 1] that starts with the image and goes on as told. See `image_canvas`."""
        canvas = self.image_canvas(image, grid, batch=1 if isinstance(prompt, str | Timeline) else len(prompt))
        return torch.cat(list(self.frames(self.fill(canvas, prompt, callback, **settings), grid)), dim=2)

    @torch.inference_mode()
    def image_canvas(self, image: Tensor, grid: Grid, batch: int = 1) -> Canvas:
        """A canvas whose first frame is an image.

        Args:
            image: (3, H, W) or (B, 3, H, W) in [-1, 1], of any size: see `fit`.
            grid: of the video.
            batch: videos to make of one image.
        """
        image = image[None] if image.ndim == 3 else image
        latent = self.encode(fit(image, grid.width, grid.height)[:, :, None])
        return canvases.animate(grid, latent.expand(max(batch, len(latent)), -1, -1, -1, -1))


def same_area(image: Tensor, size: Size) -> tuple[int, int]:
    """(width, height) in multiples of 8 with the shape of an image (..., H, W) and about the area of `size`."""
    h, w = image.shape[-2:]
    scale = math.sqrt(size.width * size.height / (w * h))
    return tuple(max(MIN_SIDE, round(side * scale / 8) * 8) for side in (w, h))


def _alike(canvas: Canvas, told: list[list[int]] | None) -> bool:
    """Whether the same windows suit every sample of a batch: the same is to be filled, and prompts change together."""
    if told is not None and any(timeline.spans([row], len(row)) != timeline.spans(told, len(row)) for row in told):
        return False
    return bool((canvas.level == canvas.level[:1]).all())


def from_card(defaults: Defaults, table: object) -> Defaults:
    """The defaults as a checkpoint has them: unknown keys are a newer version's and are left alone.

    Raises:
        UserError: a value of another type.
    """
    if not isinstance(table, dict):
        return defaults
    known = typing.get_type_hints(type(defaults))
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items() if k in known}
    for name, value in values.items():
        if not fits(value, known[name]):
            raise UserError(f"The checkpoint's card has an impossible {name!r}: {str(value)[:40]}.")
    return replace(defaults, **values)


def describe(settings: Settings, prompt: str, grid: Grid, checkpoint: str) -> dict[str, object]:
    """What a saved file says about how it was made: prompt, seed, and everything else as settings."""
    table = asdict(settings)
    seed = table.pop("seed")
    size = {"width": grid.width, "height": grid.height, "frames": grid.frames, "fps": grid.fps}
    return {"prompt": prompt, "seed": seed, "settings": table | size | {"checkpoint": checkpoint}}
