"""Draws the icon and the banner of the pack, docs/icon.png and docs/banner.png: `python docs/art.py`.

Sheets of spacetime patches, one behind the other: noise at the back, and to the front, patch by patch, a ball over
grass under a sky: what the model does.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

FOLDER = Path(__file__).parent
SCALE = 4  # drawn larger and reduced, for smooth edges
BACKGROUND, INK, QUIET = (22, 26, 36), (236, 240, 248), (150, 168, 200)
SKY, GRASS, BALL, SHINE = (96, 170, 236), (72, 160, 84), (228, 56, 52), (255, 150, 140)
SIDE = 8  # patches along a sheet


def scene(time: float, side: int) -> Image.Image:
    """The clip at a time in [0, 1]: a ball that bounces from left to right."""
    image = Image.new("RGB", (side, side), SKY)
    draw = ImageDraw.Draw(image)
    draw.rectangle((0, side * 0.7, side, side), fill=GRASS)
    radius, x, y = side * 0.2, side * (0.25 + 0.5 * time), side * (0.62 - 1.2 * time * (1 - time))
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=BALL)
    x, y, radius = x - radius * 0.35, y - radius * 0.35, radius * 0.3
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=SHINE)
    return image


def sheet(time: float, noise: float, side: int, random: np.random.Generator) -> Image.Image:
    """One frame cut into patches, each between the picture (0) and noise (1) by a level of its own around `noise`."""
    picture = np.asarray(scene(time, side), dtype=float)
    out = Image.new("RGB", (side, side), BACKGROUND)
    edge = side / SIDE
    for row in range(SIDE):
        for column in range(SIDE):
            box = [round(value * edge) for value in (column, row, column + 1, row + 1)]
            level = float(np.clip(noise + random.normal(0, 0.22) * (0 < noise < 1), 0, 1))
            cells = random.uniform(40, 235, (4, 4, 3))
            grain = Image.fromarray(cells.astype("uint8")).resize((box[2] - box[0], box[3] - box[1]), Image.NEAREST)
            known = picture[box[1] : box[3], box[0] : box[2]]
            mixed = Image.fromarray(((1 - level) * known + level * np.asarray(grain)).astype("uint8"))
            gap = max(1, side // 200)
            out.paste(mixed.crop((gap, gap, mixed.width - gap, mixed.height - gap)), (box[0] + gap, box[1] + gap))
    return out


def stack(image: Image.Image, left: int, top: int, side: int, sheets: int, step: tuple[int, int]) -> None:
    """Sheets from noise at the back to the picture in front; (left, top) is the corner of the one in front."""
    random = np.random.default_rng(7)
    for back in range(sheets - 1, -1, -1):
        fade = back / (sheets - 1)
        at = (left + back * step[0], top + back * step[1])
        made = sheet(1 - fade, fade, side, random)
        frame = Image.new("RGB", (side + side // 40, side + side // 40), BACKGROUND)
        image.paste(frame, (at[0] - side // 80, at[1] - side // 80))
        image.paste(Image.blend(made, Image.new("RGB", made.size, BACKGROUND), 0.45 * fade), at)


def main() -> None:
    size = 512 * SCALE
    icon = Image.new("RGB", (size, size), BACKGROUND)
    stack(
        icon, round(size * 0.07), round(size * 0.31), round(size * 0.62), 4, (round(size * 0.08), -round(size * 0.08))
    )
    icon.resize((512, 512), Image.LANCZOS).save(FOLDER / "icon.png", optimize=True)

    width, height = 1344 * SCALE, 576 * SCALE
    banner = Image.new("RGB", (width, height), BACKGROUND)
    side = round(height * 0.56)
    stack(banner, round(height * 0.12), round(height * 0.32), side, 6, (round(height * 0.105), -round(height * 0.045)))
    draw = ImageDraw.Draw(banner)
    left = round(width * 0.56)
    draw.text((left, height * 0.34), "Sora Canvas", INK, ImageFont.load_default(86 * SCALE))
    for line, text in enumerate(("A sentence becomes a video,", "patch by patch, in ComfyUI")):
        draw.text((left, height * (0.54 + 0.085 * line)), text, QUIET, ImageFont.load_default(38 * SCALE))
    banner.resize((1344, 576), Image.LANCZOS).save(FOLDER / "banner.png", optimize=True)


if __name__ == "__main__":
    main()
