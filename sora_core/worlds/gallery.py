"""Samples of the worlds for people to look at: clips, their captions and scenes, and a contact sheet."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import torch
from PIL import Image

from ..files import replacing
from ..grid import Grid
from ..memory import available_memory
from ..video import VideoWriter
from .caption import caption
from .render import render
from .scene import sample_scene

_GROUP = 16  # scenes drawn before their captions, which decides what a seed gives
_ROOM = 2**29  # bytes: clips that take no more together are rendered at a time
_TILE = 160  # pixels of the longer side of a clip on the sheet
_COLUMNS = 8
_SHEET = 64  # clips on the sheet


def write_samples(out_dir, count: int, grid: Grid, seed: int) -> Iterator[Path]:
    """Write `count` clips 0000.mp4 and on (.png if there is one frame), each with its caption .txt and scene .json.

    The first 64 also appear on sheet.png. The same arguments give the same scenes, captions and pixels.

    Args:
        out_dir: the folder, made if need be.
        grid: the size of the clips.

    Yields:
        The path of each clip, once it is written.

    Raises:
        UserError: a clip needs more memory than is free; the folder cannot be written, or the disk is full.
    """
    out, rng, tiles = Path(out_dir).expanduser(), random.Random(seed), []
    frames, height, width, fps = grid.frames, grid.height, grid.width, grid.fps
    free = available_memory()
    grid.check_memory(free, _rendering)
    together = max(1, min(_ROOM, free or _ROOM) // _rendering(grid))
    for start in range(0, count, _GROUP):
        scenes = [
            sample_scene(rng, aspect=width / height, seconds=grid.seconds, image=frames == 1)
            for _ in range(min(_GROUP, count - start))
        ]
        parts = (scenes[first : first + together] for first in range(0, len(scenes), together))
        clips = (clip for part in parts for clip in render(part, frames, height, width, fps))
        for number, (scene, clip) in enumerate(zip(scenes, clips, strict=True), start):
            path = out / f"{number:04d}{'.png' if frames == 1 else '.mp4'}"
            with VideoWriter(path, width, height, fps) as writer:
                writer.write(clip)
            _write_text(path.with_suffix(".txt"), caption(scene, rng, image=frames == 1))
            _write_text(path.with_suffix(".json"), json.dumps(scene.to_dict(), indent=1))
            if len(tiles) < _SHEET:
                tiles.append(_tile(clip[:, frames // 5 if scene.wall else frames // 2]))
            yield path
    if tiles:
        with replacing(out / "sheet.png") as part:
            _sheet(tiles).save(part)


def _rendering(grid: Grid) -> int:
    """About how many bytes rendering a clip takes: ten times the clip itself; eight were measured, in neon."""
    return 10 * 3 * 4 * grid.frames * grid.pixels


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text + "\n", encoding="utf-8")


def _tile(frame: torch.Tensor) -> Image.Image:
    """A frame (3, H, W) in [-1, 1], at the sheet's size."""
    image = Image.fromarray(((frame + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy())
    scale = _TILE / max(image.size)
    return image.resize([max(1, round(side * scale)) for side in image.size], Image.Resampling.BICUBIC)


def _sheet(tiles: list[Image.Image]) -> Image.Image:
    width, height = tiles[0].size
    columns = min(_COLUMNS, len(tiles))
    sheet = Image.new("RGB", (columns * width, -(-len(tiles) // columns) * height))
    for number, tile in enumerate(tiles):
        sheet.paste(tile, (number % columns * width, number // columns * height))
    return sheet
