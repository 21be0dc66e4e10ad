"""The camera's move, read from how the background as a whole shifts or grows.

Every candidate move predicts where each pixel of a later frame was in an earlier one; the move that predicts the
light best wins, if it does so clearly better than no move at all. Things are left out: they may move by themselves.
"""

import numpy as np

# Half of what a scene's camera does (`scene.py`: pans of 0.16-0.26 widths, zooms of 1.35-1.55) to somewhat more.
_PANS = np.linspace(0.10, 0.32, 12)
_ZOOMS = np.geomspace(1.2, 1.75, 9)
_NOTHING = 0.002  # an error of standing still that needs no explanation
_CLEARLY = 0.9  # a move must leave at most this share of the error of standing still


def read_camera(rgb, found, ground) -> str:
    """ "still", "pan_left", "pan_right", "zoom_in" or "zoom_out"; plain grounds show no camera and read as still."""
    if ground.style != "flat" or ground.background in ("plain", "gradient"):
        return "still"
    frames, height, width = rgb.shape[:3]
    light = _smooth(rgb @ np.array([0.3, 0.5, 0.2], np.float32))
    free = np.ones((frames, height, width), bool)
    for figures in found:
        for figure in figures:
            top, left = max(figure.rows.min() - 2, 0), max(figure.columns.min() - 2, 0)
            free[figure.frame, top : figure.rows.max() + 3, left : figure.columns.max() + 3] = False
    if ground.background == "sea":  # waves move by themselves
        free[:, int((ground.horizon.max() + 0.04) * height) :] = False
    middle = (frames - 1) // 2
    pairs = [pair for pair in {(0, frames - 1), (0, middle), (middle, frames - 1)} if pair[0] < pair[1]]
    still = np.mean([_error(light, free, *pair, "still", 0.0) for pair in pairs])
    if still < _NOTHING:
        return "still"
    moves = [(name, amount) for name in ("pan_left", "pan_right") for amount in _PANS]
    moves += [(name, amount) for name in ("zoom_in", "zoom_out") for amount in _ZOOMS]
    errors = [np.mean([_error(light, free, *pair, *move) for pair in pairs]) for move in moves]
    best = int(np.argmin(errors))
    return moves[best][0] if errors[best] < _CLEARLY * still else "still"


def _error(light, free, first, last, name, amount) -> float:
    """How badly a move over the whole clip explains frame `last` by frame `first`: 0..1, capped per pixel."""
    frames, height, width = light.shape
    part = (last - first) / (frames - 1)
    zoom, shift = 1.0, 0.0
    if name.startswith("zoom"):
        zoom = amount ** (part if name == "zoom_in" else -part)
    elif name != "still":
        shift = amount * part * (1 if name == "pan_left" else -1)
    rows, columns = np.arange(0, height, 2), np.arange(width % 2, width, 2)  # every other pixel says enough
    y = ((0.5 + ((rows + 0.5) / height - 0.5) / zoom) * height).astype(int)
    x = ((0.5 + ((columns + 0.5) / width - 0.5 - shift) / zoom) * width + 1).astype(int) - 1  # floor, from -1 on
    rows, y = rows[(y >= 0) & (y < height)], y[(y >= 0) & (y < height)]
    columns, x = columns[(x >= 0) & (x < width)], x[(x >= 0) & (x < width)]
    both = free[last, rows[:, None], columns] & free[first, y[:, None], x]
    seen = both.sum()
    if seen < 0.05 * both.size:
        return 1.0
    off = np.minimum(np.abs(light[last, rows[:, None], columns] - light[first, y[:, None], x]), 0.12)
    return float((off * both).sum() / seen)


def _smooth(light):
    """A little blur, so that half a pixel does not matter."""
    padded = np.pad(light, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    return (across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]) / 16
