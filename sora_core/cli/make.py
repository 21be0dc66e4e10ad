"""Commands that fill a canvas."""

from __future__ import annotations

import random
import sys
import time
from pathlib import Path

from .options import Commands, making, result


def register(commands: Commands) -> None:
    generate = commands.add("generate", run_generate, "text to video, or to an image when there is one frame")
    generate.add_argument("prompt", help="what to show, in words; - reads it from standard input")
    making(generate)

    animate = commands.add("animate", run_animate, "an image becomes the first frame of a video")
    animate.add_argument("image", type=Path, help="PNG, JPEG or WebP")
    animate.add_argument("prompt", help="what happens, in words; - reads it from standard input")
    making(animate)


def run_generate(asked) -> dict:
    from .. import canvas

    return _make(asked, lambda pipeline, grid: canvas.empty(grid, device=pipeline.device))


def run_animate(asked) -> dict:
    from ..pipeline import same_area
    from ..video import read_image

    image = read_image(asked.image)
    return _make(
        asked,
        lambda pipeline, grid: pipeline.image_canvas(image, grid),
        size_of=lambda pipeline: same_area(image, pipeline.size),
        extra={"image": asked.image.name},
    )


def _make(asked, canvas_of, size_of=None, extra=None) -> dict:
    """Fill the canvas that `canvas_of` (pipeline, grid) prepares, and write it; the size defaults to `size_of`."""
    from dataclasses import replace

    from tqdm import tqdm

    from ..grid import parse_size
    from ..pipeline import Pipeline, describe
    from ..video import VideoWriter, check_output, is_image

    start = time.monotonic()
    size = parse_size(asked.size) if asked.size is not None else None
    frames = 1 if is_image(asked.output) and asked.frames is None and asked.seconds is None else asked.frames
    check_output(asked.output, frames)
    prompt = sys.stdin.read() if asked.prompt == "-" else asked.prompt
    pipeline = Pipeline.load(asked.checkpoint, asked.device)
    if size is None:
        size = size_of(pipeline) if size_of else (None, None)
    grid = pipeline.grid(*size, frames, asked.fps, asked.seconds)
    check_output(asked.output, grid.frames)
    given = {name: getattr(asked, name) for name in ("steps", "cfg", "negative", "solver")}
    given["seed"] = random.getrandbits(32) if asked.seed is None else asked.seed
    settings = replace(pipeline.settings, **{name: value for name, value in given.items() if value is not None})
    tags = describe(settings, prompt, grid, asked.checkpoint) | (extra or {})

    bar = tqdm(total=settings.steps, desc="sampling", unit="step", file=sys.stderr)
    with bar, VideoWriter(asked.output, grid.width, grid.height, grid.fps, tags) as writer:
        latent = pipeline.fill(canvas_of(pipeline, grid), prompt, lambda *_: bar.update(), **vars(settings))
        bar.reset(grid.frames)
        bar.set_description("decoding")
        bar.unit = "frame"
        for chunk in pipeline.frames(latent, grid):
            writer.write(chunk)
            bar.update(chunk.shape[2])
    print(f"{asked.output}  {grid.width}x{grid.height}, {grid.frames} frames at {grid.fps:g} fps, seed {settings.seed}")
    return result(asked.output, grid.width, grid.height, grid.frames, grid.fps, settings.seed, start) | {
        "prompt": prompt,
        "settings": tags["settings"],
    }
