"""What every section of the evaluation works with: the checkpoint, the cases, and how clips are made and judged."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

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
        pipeline, settings = self.pipeline, {**self.changes}
        with self.bar(what, len(made)) as bar:
            for start in range(0, len(made), self.batch):
                group = list(made[start : start + self.batch])
                canvas: Canvas = canvas_of(group) if canvas_of else canvases.empty(grid, len(group), pipeline.device)
                # Sample b of a batch is the video of seed + b, and the cases' seeds follow each other.
                latent = pipeline.fill(canvas, [case.prompt for case in group], seed=group[0].seed, **settings)
                yield group, torch.cat(list(pipeline.frames(latent, grid)), dim=2)
                bar.update(len(group))


def held_out(setting: Setting, count: int, grid: Grid) -> list[Case]:
    """The first `count` cases for this size and duration."""
    return cases(count, setting.seed, aspect=grid.width / grid.height, seconds=grid.seconds, image=grid.frames == 1)


def truth(made: Sequence[Case], grid: Grid) -> Tensor:
    """What the cases should look like: (B, 3, T, H, W) in [-1, 1]."""
    return render([case.scene for case in made], grid.frames, grid.height, grid.width, grid.fps)


def judge(made: Sequence[Case], clips: Tensor) -> list[Verdict]:
    """What the scorer, which sees pixels only, finds right in each clip."""
    return [compare(score(clip), case.scene) for case, clip in zip(made, clips, strict=True)]
