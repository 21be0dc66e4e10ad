"""A picture of a canvas: every latent frame in the order of time, what is kept, what is new, and how strong."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .canvas import Canvas
from .grid import Grid
from .video.write import to_integers

SHOWN = 48  # latent frames at most
SIDE = 160  # pixels of the frames that are held: the picture shows them no larger
COLUMNS = 12
BACKGROUND, INK, DIM = (28, 31, 38), (232, 234, 240), (150, 156, 170)
KEPT, MIDDLE, NEW = (60, 130, 214), (240, 196, 84), (222, 84, 60)  # of levels 0, 0.5 and 1


def picture(canvas: Canvas, chunks: Iterable[Tensor] | None = None, title: str = "") -> Tensor:
    """The first sample of a canvas as a picture.

    Args:
        chunks: (n, 3, H, W) in [-1, 1], what the canvas's latent decodes to; the level covers it. Of a long film only
            the frames that are shown are held, and small.
        title: a line above.

    Returns:
        (3, H, W) in [-1, 1].
    """
    grid, level = canvas.grid, canvas.level[0, 0].cpu()
    t, h, w = level.shape
    shown = torch.linspace(0, t - 1, min(t, SHOWN)).round().long().tolist()
    side = max(48, min(120, 960 // min(COLUMNS, len(shown))))
    scale = side / max(h, w)
    tile_w, tile_h = max(8, round(w * scale)), max(8, round(h * scale))
    columns = min(COLUMNS, len(shown))
    rows = math.ceil(len(shown) / columns)
    content = {} if chunks is None else _content(chunks, {_last_frame(grid, cell) for cell in shown})
    lines = _lines(canvas)
    top = 16 + 22 * (len(lines) + bool(title))
    width = max(560, 32 + columns * (tile_w + 8) - 8)
    image = Image.new("RGB", (width, top + rows * (tile_h + 32) + 40), BACKGROUND)
    draw, font, small = ImageDraw.Draw(image), ImageFont.load_default(15), ImageFont.load_default(11)
    for row, line in enumerate([title] * bool(title) + lines):
        draw.text((16, 10 + 22 * row), line, fill=INK if row == 0 else DIM, font=font)
    for place, cell in enumerate(shown):
        x, y = 16 + place % columns * (tile_w + 8), top + place // columns * (tile_h + 32)
        image.paste(_tile(level[cell], content.get(_last_frame(grid, cell)), tile_w, tile_h), (x, y))
        mean = _colours(level[cell].mean().view(1, 1))[0, 0]
        draw.rectangle((x, y + tile_h + 2, x + tile_w - 1, y + tile_h + 6), fill=tuple(int(c) for c in mean))
        draw.text((x, y + tile_h + 9), f"{grid.moment(cell):.2f} s", fill=DIM, font=small)
    _legend(draw, 16, image.height - 28, small)
    pixels = torch.from_numpy(np.asarray(image).astype(np.float32) / 127.5 - 1)
    return pixels.permute(2, 0, 1).contiguous()


def column(pictures: list[Tensor]) -> Tensor:
    """Pictures (3, H, W) below each other."""
    width = max(one.shape[2] for one in pictures)
    whole = (
        torch.tensor(BACKGROUND).div(127.5).sub(1)[:, None, None].repeat(1, sum(p.shape[1] for p in pictures), width)
    )
    top = 0
    for one in pictures:
        whole[:, top : top + one.shape[1], : one.shape[2]] = one
        top += one.shape[1]
    return whole


def _lines(canvas: Canvas) -> list[str]:
    """Two lines: the size, and how much is kept, repainted and new."""
    grid, level = canvas.grid, canvas.level[0]
    nt, ny, nx = grid.patches
    kept, new = float((level == 0).float().mean()), float((level == 1).float().mean())
    length = "one frame" if grid.frames == 1 else f"{grid.frames} frames at {grid.fps:g} fps"
    strong = level[(level > 0) & (level < 1)]
    shares = [f"{kept:.0%} kept"] * (kept > 0)
    if len(strong):
        shares.append(f"{1 - kept - new:.0%} repainted at {_range(strong)}")
    shares += [f"{new:.0%} new"] * (new > 0)
    return [
        f"{grid.width} x {grid.height} pixels, {length}: {nt} x {ny} x {nx} patches"
        + (", a loop" if grid.cyclic else ""),
        ", ".join(shares),
    ]


def _range(strong: Tensor) -> str:
    low, high = f"{float(strong.min()):.2f}", f"{float(strong.max()):.2f}"
    return low if low == high else f"{low} to {high}"


def _last_frame(grid: Grid, cell: int) -> int:
    """The last frame that a latent frame stands for."""
    last = grid.geometry.t_stride * (cell + 1) - 1 if grid.cyclic else grid.geometry.frames(cell + 1) - 1
    return min(last, grid.frames - 1)


def _content(chunks: Iterable[Tensor], wanted: set[int]) -> dict[int, Image.Image]:
    """The frames of some numbers, small."""
    found, at = {}, 0
    for chunk in chunks:
        scale = min(1.0, SIDE / max(chunk.shape[2:]))
        size = [max(1, round(side * scale)) for side in chunk.shape[2:]]
        for number in wanted.intersection(range(at, at + len(chunk))):
            small = F.interpolate(chunk[number - at, None].float(), size, mode="area")[0]
            found[number] = Image.fromarray(to_integers(small))
        at += len(chunk)
    return found


def _tile(level: Tensor, frame: Image.Image | None, width: int, height: int) -> Image.Image:
    """One latent frame: its levels (h, w) as colours, over its picture where one is known."""
    colours = _colours(level)
    tile = Image.fromarray(colours).resize((width, height), Image.Resampling.NEAREST)
    if frame is not None:
        below = frame.resize((width, height), Image.Resampling.BILINEAR)
        weight = Image.fromarray((255 * level.numpy()).astype(np.uint8))
        tile = Image.composite(tile, below, weight.resize((width, height), Image.Resampling.NEAREST))
    return tile


def _colours(level: Tensor) -> np.ndarray:
    """(h, w, 3) uint8."""
    points = np.array([KEPT, MIDDLE, NEW], dtype=np.float32)
    values = level.numpy()
    return np.stack([np.interp(values, [0, 0.5, 1], points[:, c]) for c in range(3)], axis=-1).round().astype(np.uint8)


def _legend(draw: ImageDraw.ImageDraw, x: int, y: int, font) -> None:
    bar = _colours(torch.linspace(0, 1, 160)[None])[0]
    draw.text((x, y + 1), "kept", fill=INK, font=font)
    for i, colour in enumerate(bar):
        draw.line((x + 34 + i, y, x + 34 + i, y + 14), fill=tuple(int(c) for c in colour))
    draw.text((x + 200, y + 1), "new", fill=INK, font=font)
    draw.text((x + 240, y + 1), "times are the middles of the latent frames", fill=DIM, font=font)
