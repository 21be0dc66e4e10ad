"""Training curves as a picture, drawn from log.jsonl while the run goes on."""

import json
from pathlib import Path

from PIL import Image, ImageDraw

from ..files import replacing

SKIP = {"step", "seconds", "lr", "tokens", "clips"}


def draw_curves(log: Path, out: Path) -> None:
    """One panel per measure in `log` (one JSON object a line), over steps, from its lowest to its highest value."""
    if not Path(log).exists():
        return
    rows = [json.loads(line) for line in Path(log).read_text().splitlines()]
    names = sorted({name for row in rows for name in row} - SKIP)
    width, height = 480, 160  # of a panel
    image = Image.new("RGB", (width, height * max(len(names), 1)), "white")
    draw = ImageDraw.Draw(image)
    for panel, name in enumerate(names):
        points = [(row["step"], row[name]) for row in rows if name in row]
        low, high = min(y for _, y in points), max(y for _, y in points)
        first, last = points[0][0], points[-1][0]
        top = panel * height
        draw.text(
            (4, top + 2), f"{name}: {points[-1][1]:.4g} (from {low:.4g} to {high:.4g}), step {last}", fill="black"
        )
        scaled = [
            (
                (x - first) / max(last - first, 1) * (width - 8) + 4,
                top + height - 6 - (y - low) / max(high - low, 1e-12) * (height - 28),
            )
            for x, y in points
        ]
        if len(scaled) > 1:
            draw.line(scaled, fill=(30, 90, 200), width=1)
        draw.line([(0, top + height - 1), (width, top + height - 1)], fill=(200, 200, 200))
    with replacing(out) as part:
        image.save(part)
