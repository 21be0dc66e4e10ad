"""What every section of the evaluation works with: the checkpoint, the cases, and how clips are made and judged."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor
from tqdm import tqdm

from .. import canvas as canvases
from ..canvas import Canvas
from ..codec import Codec
from ..grid import Grid
from ..pipeline import Pipeline
from ..worlds.render import render
from ..worlds.score import compare, score
from .measures import Verdict
from .prompts import Case, cases

Item = TypeVar("Item")


@dataclass
class Setting:
    """One evaluation of one checkpoint.

    Args:
        out: folder for report and pictures.
        count: cases of the main sections; the others take a part of it.
        batch: clips that are generated at a time.
        changes: settings of the pipeline that differ from the checkpoint's defaults.
    """

    out: Path
    checkpoint: str
    device: str = "cpu"
    count: int = 200
    seed: int = 1_000_000
    batch: int = 16
    changes: dict[str, object] = field(default_factory=dict)
    codec_only: bool = False  # no section needs more of the checkpoint than its codec

    @cached_property
    def codec(self) -> Codec:
        """The codec, which is part of the pipeline where that is needed too."""
        return Codec.load(self.checkpoint, self.device) if self.codec_only else self.pipeline

    @cached_property
    def pipeline(self) -> Pipeline:
        return Pipeline.load(self.checkpoint, self.device)

    def part(self, share: float) -> int:
        """Cases of a section that is content with a share of them."""
        return max(1, round(self.count * share))

    def bar(self, what: str, total: int, unit: str = "clip") -> tqdm:
        return tqdm(total=total, desc=what, unit=unit, file=sys.stderr)

    def batches(self, items: Sequence[Item], what: str) -> Iterator[list[Item]]:
        """The items, as many at a time as clips are generated, under a progress bar that says `what`."""
        with self.bar(what, len(items)) as bar:
            for start in range(0, len(items), self.batch):
                group = list(items[start : start + self.batch])
                yield group
                bar.update(len(group))

    def generate(
        self, made: Sequence[Case], grid: Grid, what: str, canvas_of=None
    ) -> Iterator[tuple[list[Case], Tensor]]:
        """Fill a canvas for every case, a batch at a time.

        Args:
            what: said by the progress bar.
            canvas_of: (cases of the batch) -> canvas; None is an empty one, text to video.

        Yields:
            (cases, clips (B, 3, T, H, W) in [-1, 1] on the CPU).
        """
        pipeline = self.pipeline
        for group in self.batches(made, what):
            canvas = canvas_of(group) if canvas_of else canvases.empty(grid, len(group), pipeline.device)
            yield group, self.clips(canvas, group)

    def clips(self, canvas: Canvas, group: Sequence[Case], prompts: Sequence[str] | None = None) -> Tensor:
        """A canvas, filled as the cases say, as pixels (B, 3, T, H, W) in [-1, 1] on the CPU."""
        pipeline = self.pipeline
        prompts = [case.prompt for case in group] if prompts is None else prompts
        # Sample b of a batch is the video of seed + b, and the cases' seeds follow each other.
        latent = pipeline.fill(canvas, prompts, seed=group[0].seed, **self.changes)
        return torch.cat(list(pipeline.frames(latent, canvas.grid)), dim=2).cpu()


def held_out(setting: Setting, count: int, grid: Grid) -> list[Case]:
    """The first `count` cases for this size and duration."""
    return cases(count, setting.seed, aspect=grid.width / grid.height, seconds=grid.seconds, image=grid.frames == 1)


def truth(made: Sequence[Case], grid: Grid) -> Tensor:
    """What the cases should look like: (B, 3, T, H, W) in [-1, 1]."""
    return render([case.scene for case in made], grid.frames, grid.height, grid.width, grid.fps)


def judge(made: Sequence[Case], clips: Tensor) -> list[Verdict]:
    """What the scorer, which sees pixels only, finds right in each clip."""
    return [compare(score(clip), case.scene) for case, clip in zip(made, clips, strict=True)]
