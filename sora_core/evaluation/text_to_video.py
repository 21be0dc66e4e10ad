"""Whether a video shows what its sentence says: text to video, to an image, from an image, and at unseen sizes."""

from __future__ import annotations

from ..canvas import Canvas
from ..grid import Grid
from ..quality import psnr
from .measures import Result, Verdict, mean, shares
from .prompts import Case
from .setting import Setting, held_out, judge, truth
from .sheets import Row, sheet

BARS = {"background": 97, "colour": 95, "shape": 85, "motion": 85, "all four": 70}
UNSEEN = (  # width, height, frames that no training clip has
    (128, 64, 17),
    (48, 96, 17),
    (96, 96, 41),
    (144, 144, 17),
    (168, 96, 17),
    (96, 168, 17),
    (112, 112, 9),
    (72, 72, 25),
    (216, 96, 9),
    (64, 64, 65),
)
ROWS = 24  # cases on a sheet


def text_to_video(setting: Setting) -> Result:
    """The main figures: held-out sentences at the checkpoint's own size and settings."""
    pipeline = setting.pipeline
    grid = pipeline.grid()
    made = held_out(setting, setting.count, grid)
    verdicts, rows = _score(setting, made, grid, "text to video")
    return Result(
        "Text to video",
        f"{len(made)} held-out prompts (wording and combinations unseen in training), {_size(grid)}; the videos are "
        "read by the scorer, from pixels. Attributes that a scene does not show (colours in charcoal, motion under a "
        "moving camera) are left out of their figure.",
        {"scorer": shares(verdicts, BARS)},
        {"Prompts and videos": sheet(rows, setting.out / "text_to_video.png", columns=2)},
    )


def text_to_image(setting: Setting) -> Result:
    """A grid of one frame."""
    grid = setting.pipeline.grid(frames=1)
    made = held_out(setting, setting.part(1 / 4), grid)
    verdicts, rows = _score(setting, made, grid, "text to image")
    return Result(
        "Text to image",
        f"{len(made)} held-out prompts on a grid of one frame, {_size(grid)}.",
        {"scorer": shares(verdicts)},
        {"Prompts and images": sheet(rows, setting.out / "text_to_image.png", columns=2)},
    )


def animate(setting: Setting) -> Result:
    """The first frame of a held-out scene becomes a video."""
    pipeline = setting.pipeline
    grid = pipeline.grid()
    made = held_out(setting, setting.part(1 / 4), grid)
    closeness: list[float] = []

    def canvas_of(group: list[Case]) -> Canvas:
        return pipeline.image_canvas(truth(group, grid)[:, :, 0].to(pipeline.device), grid, len(group))

    verdicts, rows = [], []
    for group, clips in setting.generate(made, grid, "animate an image", canvas_of):
        given = truth(group, grid)[:, :, :1]
        closeness += psnr(given, clips[:, :, :1])[:, 0].tolist()
        found = judge(group, clips)
        verdicts += found
        rows += [Row(case.prompt, clip, verdict) for case, clip, verdict in zip(group, clips, found, strict=True)]
    return Result(
        "Animate an image",
        f"The first frame of {len(made)} held-out scenes, given through the codec, and the prompt; {_size(grid)}. "
        "PSNR is of the video's first frame against the given picture.",
        {
            "first frame": [mean("PSNR of frame 0", closeness, "dB", bar=30)],
            "scorer": shares(verdicts, {"motion": BARS["motion"]}),
        },
        {"Given first frames, and what follows": sheet(rows[:ROWS], setting.out / "animate.png", columns=2)},
    )


def unseen_sizes(setting: Setting) -> Result:
    """Sizes and durations outside training; reported without a bar."""
    tables, sheets, count = {}, {}, setting.part(1 / 8)
    for width, height, frames in UNSEEN:
        grid = setting.pipeline.grid(width, height, frames)
        name = f"{width}x{height}, {frames} frames"
        verdicts, rows = _score(setting, held_out(setting, count, grid), grid, name)
        tables[name] = shares(verdicts)
        sheets[name] = sheet(rows[:12], setting.out / f"size_{width}x{height}x{frames}.png", columns=2)
    return Result(
        "Sizes and durations outside training",
        f"{count} held-out prompts each, with scenes that are made for the size and the duration.",
        tables,
        sheets,
    )


def _score(setting: Setting, made: list[Case], grid: Grid, what: str) -> tuple[list[Verdict], list[Row]]:
    """Verdicts of all cases, and rows for a sheet of the first."""
    verdicts, rows = [], []
    for group, clips in setting.generate(made, grid, what):
        found = judge(group, clips)
        verdicts += found
        rows += [Row(case.prompt, clip, verdict) for case, clip, verdict in zip(group, clips, found, strict=True)]
        del rows[ROWS:]
    return verdicts, rows


def _size(grid: Grid) -> str:
    return f"{grid.width}x{grid.height}, {grid.frames} frames at {grid.fps:g} fps"
