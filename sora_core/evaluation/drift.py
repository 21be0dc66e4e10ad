"""Whether a long video stays what it was: colour, contrast and the things in it against its start, over time.

Every video is made twice from the same seed, with the control of `windows.Windowing` as the checkpoint has it and
without any: no matching, no noise on the history, no start in sight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from .. import canvas as canvases
from ..change import look
from ..grid import Grid
from ..windows import plan
from ..worlds.score import Reading, score
from .measures import Figure, Result, mean, share
from .prompts import Case
from .setting import Setting, held_out
from .sheets import Row, sheet

CONTROLS = {"with control": {}, "without": {"anchor": False, "history": 0.0, "match": 0.0}}
LENGTH = 17  # frames of a part that is compared: two seconds of the bundled model
SHARES = (1 / 4, 1 / 2, 1)  # of the duration after the start, where it is compared with the start
EXTENSIONS = 10

Made = tuple[Iterable[Tensor], Grid, list[int]]
"""Latents in the order of time, their grid, and the latent frames with which a new window or extension begins."""


def long_videos(setting: Setting, seconds: float = 60.0) -> Result:
    """Videos of a minute from one sentence, window by window."""

    def make(group: list[Case], **changes) -> Made:
        pipeline, s = setting.pipeline, replace(setting.pipeline.settings, **changes)
        grid = pipeline.grid(seconds=seconds)
        windows = plan([True] * grid.latent_shape[1], s.window, s.context, int(s.anchor))
        canvas = canvases.empty(grid, len(group), pipeline.device)
        latents = pipeline.stream(canvas, [case.prompt for case in group], seed=group[0].seed, **changes)
        return latents, grid, [w.new for w in windows[1:]]

    text = f"Videos of {seconds:g} s from held-out prompts, made window by window."
    return _both(setting, "Long videos", text, make, setting.out / "long_videos.png")


def extended(setting: Setting) -> Result:
    """A clip that is extended ten times in a row, each time by as much as it was at first."""

    def make(group: list[Case], **changes) -> Made:
        pipeline, told = setting.pipeline, {"seed": group[0].seed} | changes
        prompts = [case.prompt for case in group]
        canvas = canvases.empty(pipeline.grid(), len(group), pipeline.device)
        more = max(1, canvas.latent.shape[2] - 1)
        latent, borders = pipeline.fill(canvas, prompts, **told), []
        for _ in range(EXTENSIONS):
            borders.append(latent.shape[2])
            canvas = canvases.extend(canvases.keep(latent, canvas.grid), forward=more)
            latent = pipeline.fill(canvas, prompts, **told)
        return [latent], canvas.grid, borders

    text = f"Clips from held-out prompts, extended {EXTENSIONS} times in a row by their own length, as latents."
    return _both(setting, "Extending again and again", text, make, setting.out / "extended.png")


def _both(setting: Setting, title: str, text: str, make: Callable[..., Made], picture: Path) -> Result:
    """Make and compare, with and without control."""
    made = held_out(setting, setting.part(1 / 10), setting.pipeline.grid())
    tables, rows = {}, []
    for name, control in CONTROLS.items():
        seen: list[Watched] = []
        for group in setting.batches(made, f"{title.lower()}, {name}"):
            latents, grid, borders = make(group, **(setting.changes | control))
            films = watch(setting.pipeline.frames(latents, grid), grid, borders)
            seen += films
            for case, film in zip(group, films, strict=True):
                rows.append((case.seed, Row(f"{name}: {case.prompt}", film.shown, {})))
        tables[name] = _figures(seen)
    rows = [row for _, row in sorted(rows, key=lambda item: item[0])]
    return Result(
        title,
        f"{text} {len(made)} of them, each compared with its own start ({LENGTH} frames), a quarter and half "
        "of the way on and at the end: distance of the mean colour in CIE Lab, change of the standard deviation of the "
        "lightness, and, where the scorer sees things at the start, whether it still sees the same shapes and colours. "
        "The step at the borders is the change of the picture there over the median of that into other latent frames.",
        tables,
        {"The start, a quarter, half, the end": sheet(rows[:24], picture, columns=2)},
    )


@dataclass
class Watched:
    """One video against its start, at every share of its duration.

    Attributes:
        colour: distance of the mean colours in Lab.
        contrast: change of the deviation of the lightness, in per cent.
        same: whether the things are the same; None where there was none at the start.
        border: step into the latent frames at borders over the median step into the others, for a codec may step at
            every latent frame; None where there are none or nothing moves.
        shown: (3, 4, H, W) frames of the start and of every share.
    """

    colour: list[float]
    contrast: list[float]
    same: list[bool | None]
    border: float | None
    shown: Tensor


def watch(chunks: Iterable[Tensor], grid: Grid, borders: list[int]) -> list[Watched]:
    """Compare a batch of videos with their starts, as a stream: only a few frames are held.

    Args:
        chunks: (B, 3, n, H, W) in [-1, 1], together as many frames as the grid has.
        borders: latent frames that begin something new.
    """
    length = min(LENGTH, grid.frames)
    starts = [0] + [round(part * (grid.frames - length)) for part in SHARES]
    parts: list[list[Tensor]] = [[] for _ in starts]
    steps, last, t = [], None, 0
    for chunk in chunks:
        for frame in chunk.unbind(2):
            for part, start in zip(parts, starts, strict=True):
                if start <= t < start + length:
                    part.append(frame)
            if last is not None:
                steps.append((frame - last).abs().mean((1, 2, 3)))
            last, t = frame, t + 1
    stepped = torch.stack(steps, dim=1)  # (B, frames - 1); step i leads to frame i + 1
    moments = range(1, grid.latent_shape[1])
    at, within = (
        torch.tensor([grid.geometry.frames(t) - 1 for t in moments if (t in borders) == new], dtype=torch.long)
        for new in (True, False)
    )
    pieces = [torch.stack(part, dim=2) for part in parts]
    return [_compared([piece[b] for piece in pieces], steps[at], steps[within]) for b, steps in enumerate(stepped)]


def _compared(pieces: list[Tensor], borders: Tensor, others: Tensor) -> Watched:
    """Pieces (3, T, H, W) of one video, the start first; the steps into latent frames at borders, and into others."""
    first, *later = (look(piece.unbind(1)) for piece in pieces)
    things = [_things(score(piece)) for piece in pieces]
    median = float(others.median()) if len(others) else 0.0
    return Watched(
        [one.away(first) for one in later],
        [100 * abs(one.contrast / max(first.contrast, 1e-6) - 1) for one in later],
        [None if not things[0] else now == things[0] for now in things[1:]],
        float(borders.mean()) / median if len(borders) and median > 0 else None,
        torch.stack([piece[:, 0] for piece in pieces], dim=1),
    )


def _things(reading: Reading) -> list[tuple[str, str]]:
    return sorted((thing.shape, thing.colour or "") for thing in reading.things)


def _figures(films: list[Watched]) -> list[Figure]:
    figures = []
    for i, part in enumerate(SHARES):
        at = "at the end" if part == 1 else f"{part:.0%} of the way"
        figures += [
            mean(f"colour, {at}", [film.colour[i] for film in films], "dE"),
            mean(f"contrast, {at}", [film.contrast[i] for film in films], "% changed"),
            share(f"same things, {at}", [film.same[i] for film in films]),
        ]
    return [
        *figures,
        mean(
            "step at borders / step into other latent frames",
            [film.border for film in films if film.border is not None],
        ),
    ]
