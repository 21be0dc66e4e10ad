"""Pictures of the report: contact sheets with a verdict, and bars with their intervals. Drawn with Pillow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import wrap

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from ..files import replacing
from .measures import Figure, Verdict

INK, PAPER, FAINT = (32, 32, 36), (255, 255, 255), (222, 222, 228)
GOOD, BAD, BLUE = (24, 128, 72), (190, 40, 40), (70, 110, 200)
GAP, LINE = 6, 14
TALLEST = 128  # pixels of a frame on a sheet


class Row:
    """A clip on a sheet: five frames of it, small, with a caption and what the scorer said.

    Args:
        caption: any text.
        clip: (3, T, H, W) in [-1, 1]; only the frames that are shown are kept.
        verdict: attribute -> right, wrong or None.
    """

    def __init__(self, caption: str, clip: Tensor, verdict: Verdict, frames: int = 5):
        length = clip.shape[1]
        chosen = sorted({round(i * (length - 1) / max(1, frames - 1)) for i in range(frames)})
        self.caption, self.verdict = caption, verdict
        self.frames = [_picture(clip[:, i]) for i in chosen]


def sheet(rows: Sequence[Row], path: Path, columns: int = 1) -> Path:
    """Rows of frames under their captions, `columns` of them side by side; wrong attributes are red."""
    font = ImageFont.load_default()
    cells = [_cell(row, font) for row in rows]
    width = max((cell.width for cell in cells), default=1)
    lines = [cells[i : i + columns] for i in range(0, len(cells), columns)]
    height = sum(max(cell.height for cell in line) + GAP for line in lines) or 1
    page = Image.new("RGB", (columns * (width + GAP), height), PAPER)
    y = 0
    for line in lines:
        for i, cell in enumerate(line):
            page.paste(cell, (i * (width + GAP), y))
        y += max(cell.height for cell in line) + GAP
    return _save(page, path)


def bars(groups: Mapping[str, Sequence[Figure]], path: Path) -> Path:
    """Horizontal bars of shares in per cent with their 95 % intervals; a tick marks what should be reached."""
    font = ImageFont.load_default()
    left, width, thick = 190, 420, 12
    height = sum((len(figures) + 1) * (thick + GAP) + LINE for figures in groups.values()) + LINE
    page = Image.new("RGB", (left + width + 150, height), PAPER)
    draw = ImageDraw.Draw(page)
    y = GAP
    for title, figures in groups.items():
        draw.text((GAP, y), title, fill=INK, font=font)
        y += thick + GAP
        for figure in figures:
            at = [left + round(width * value / 100) for value in (figure.value, figure.low, figure.high)]
            draw.text((2 * GAP, y), figure.name, fill=INK, font=font)
            draw.rectangle((left, y, left + width, y + thick), fill=FAINT)
            colour = BLUE if figure.met is None else GOOD if figure.met else BAD
            draw.rectangle((left, y, at[0], y + thick), fill=colour)
            draw.line((at[1], y + thick // 2, at[2], y + thick // 2), fill=INK, width=2)
            label = f"{figure.value:.1f} % of {figure.of}"
            if figure.bar is not None:
                tick = left + round(width * figure.bar / 100)
                draw.line((tick, y - 2, tick, y + thick + 2), fill=INK, width=2)
                label += f" (bar {figure.bar:g})"
            draw.text((left + width + GAP, y), label, fill=INK, font=font)
            y += thick + GAP
        y += LINE
    return _save(page, path)


def _picture(frame: Tensor) -> Image.Image:
    """A frame (3, H, W) in [-1, 1] as an image, at most `TALLEST` high, small ones enlarged by a whole factor."""
    pixels = ((frame.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).permute(1, 2, 0).contiguous().numpy()
    image = Image.fromarray(pixels)
    if image.height > TALLEST:
        return image.resize((round(image.width * TALLEST / image.height), TALLEST), Image.Resampling.BICUBIC)
    factor = max(1, 96 // image.height)
    return image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST)


def _cell(row: Row, font) -> Image.Image:
    width = max(sum(frame.width + 2 for frame in row.frames), 420)
    text = wrap(row.caption, width // 6)
    tall = max(frame.height for frame in row.frames)
    verdict = [(name, right) for name, right in row.verdict.items() if right is not None]
    cell = Image.new("RGB", (width, tall + LINE * (len(text) + bool(verdict)) + GAP), PAPER)
    draw = ImageDraw.Draw(cell)
    for i, line in enumerate(text):
        draw.text((2, i * LINE), line, fill=INK, font=font)
    x, y = 2, len(text) * LINE
    for name, right in verdict:
        draw.text((x, y), name, fill=GOOD if right else BAD, font=font)
        x += round(draw.textlength(name, font=font)) + 10
    y += LINE * bool(verdict)
    x = 0
    for frame in row.frames:
        cell.paste(frame, (x, y))
        x += frame.width + 2
    return cell


def _save(page: Image.Image, path: Path) -> Path:
    with replacing(path) as part:
        page.save(part)
    return path
