"""The picture that the grid node shows: the patches of the video in perspective, and what they cost."""

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from ..sora_core.grid import Grid

WIDTH, HEIGHT = 512, 384
SHOWN = 12  # layers in time at most
LINES = 48  # grid lines along a side at most
BACKGROUND, INK, LINE, FACE, FRONT = "#1c1f26", "#e8eaf0", "#5b86c9", "#263449", "#2f4a73"


def picture_of(grid: Grid, memory: int) -> torch.Tensor:
    """(1, H, W, 3) in [0, 1]: one sheet per latent frame, ruled into patches, the first frame in front."""
    nt, ny, nx = grid.patches
    image = Image.new("RGB", (WIDTH, HEIGHT), BACKGROUND)
    draw = ImageDraw.Draw(image)
    sheets = min(nt, SHOWN)
    step = 0 if sheets == 1 else min(14, 130 // (sheets - 1))
    room_w, room_h = WIDTH - 48 - step * (sheets - 1), HEIGHT - 118 - step * (sheets - 1)
    scale = min(room_w / grid.width, room_h / grid.height)
    w, h = max(8, round(grid.width * scale)), max(8, round(grid.height * scale))
    left = (WIDTH - w - step * (sheets - 1)) // 2
    top = 20 + step * (sheets - 1) + (room_h - h) // 2
    for back in range(sheets - 1, -1, -1):
        x, y = left + back * step, top - back * step
        draw.rectangle((x, y, x + w, y + h), fill=FACE if back else FRONT, outline=LINE)
        if back == 0:
            every = -(-max(nx, ny) // LINES)  # patches between two lines
            for i in range(every, nx, every):
                draw.line((x + w * i / nx, y, x + w * i / nx, y + h), fill=LINE)
            for i in range(every, ny, every):
                draw.line((x, y + h * i / ny, x + w, y + h * i / ny), fill=LINE)
    for row, text in enumerate(describe(grid, memory)):
        draw.text((24, HEIGHT - 82 + 24 * row), text, fill=INK, font=ImageFont.load_default(16))
    return torch.from_numpy(np.asarray(image).astype(np.float32) / 255)[None]


def describe(grid: Grid, memory: int) -> list[str]:
    """Three lines: what is asked for, the patches, the memory."""
    nt, ny, nx = grid.patches
    length = (
        "1 frame: an image" if grid.frames == 1 else f"{grid.frames} frames = {grid.seconds:.3g} s at {grid.fps:g} fps"
    )
    size = f"{memory / 2**30:.1f} GiB" if memory >= 2**29 else f"{memory / 2**20:.0f} MiB"
    return [
        f"{grid.width} x {grid.height} pixels, {length}",
        f"{nt} x {ny} x {nx} = {grid.tokens:,} patches (time x height x width)",
        f"about {size} of memory to sample and decode",
    ]
