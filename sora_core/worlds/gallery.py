"""Samples of the worlds for people to look at: clips, their captions and scenes, and a contact sheet."""

import json
import random
from pathlib import Path

import torch
from PIL import Image

from ..files import replacing
from ..video import VideoWriter
from .caption import caption
from .render import render
from .scene import sample_scene

_BATCH = 16  # clips rendered at a time
_TILE = 160  # pixels of the longer side of a clip on the sheet
_COLUMNS = 8
_SHEET = 64  # clips on the sheet


def write_samples(out_dir, count: int, size: tuple[int, int], frames: int, fps: float, seed: int) -> list[Path]:
    """Write `count` clips 0000.mp4 and on (.png if there is one frame), each with its caption .txt and scene .json.

    The first 64 also appear on sheet.png. The same arguments give the same files.

    Args:
        out_dir: the folder, made if need be.
        size: width and height in pixels.

    Returns the clips' paths.

    Raises:
        UserError: the folder cannot be written, or the disk is full.
    """
    out, (width, height) = Path(out_dir).expanduser(), size
    rng = random.Random(seed)
    paths, tiles = [], []
    for start in range(0, count, _BATCH):
        scenes = [
            sample_scene(rng, aspect=width / height, seconds=frames / fps, image=frames == 1)
            for _ in range(min(_BATCH, count - start))
        ]
        for scene, clip in zip(scenes, render(scenes, frames, height, width, fps), strict=True):
            path = out / f"{len(paths):04d}{'.png' if frames == 1 else '.mp4'}"
            with VideoWriter(path, width, height, fps) as writer:
                writer.write(clip)
            _write_text(path.with_suffix(".txt"), caption(scene, rng, image=frames == 1))
            _write_text(path.with_suffix(".json"), json.dumps(scene.to_dict(), indent=1))
            paths.append(path)
            if len(tiles) < _SHEET:
                tiles.append(_tile(clip[:, frames // 5 if scene.wall else frames // 2]))
    if tiles:
        with replacing(out / "sheet.png") as part:
            _sheet(tiles).save(part)
    return paths


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
