"""The camera's move, read from how the background as a whole shifts or grows.

Every candidate move predicts where each pixel of a later frame was in an earlier one; the move that predicts the
light best wins, if it does so clearly better than no move at all. Things are left out: they may move by themselves.
"""

import numpy as np

# Half of what a scene's camera does (`scene.py`: pans of 0.16-0.26 widths, zooms of 1.35-1.55) to somewhat more.
_PANS = np.linspace(0.10, 0.32, 12)
_ZOOMS = np.geomspace(1.2, 1.75, 9)
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
            rows, columns = figure.rows, figure.columns
            free[
                figure.frame, max(rows.min() - 2, 0) : rows.max() + 3, max(columns.min() - 2, 0) : columns.max() + 3
            ] = False
    middle = (frames - 1) // 2
    errors = {("still", 0.0): 0.0}
    moves = [("still", 0.0)]
    moves += [(name, amount) for name in ("pan_left", "pan_right") for amount in _PANS]
    moves += [(name, amount) for name in ("zoom_in", "zoom_out") for amount in _ZOOMS]
    for move in moves:
        errors[move] = np.mean(
            [_error(light, free, a, b, move) for a, b in {(0, frames - 1), (0, middle), (middle, frames - 1)} if a < b]
        )
    still = errors.pop(("still", 0.0))
    best = min(errors, key=errors.get)
    return best[0] if errors[best] < _CLEARLY * still else "still"


def _error(light, free, first, last, move) -> float:
    """How badly a move over the whole clip explains frame `last` by frame `first`: 0..1, capped per pixel."""
    frames, height, width = light.shape
    name, amount = move
    part = (last - first) / (frames - 1)
    zoom, shift = 1.0, 0.0
    if name.startswith("zoom"):
        zoom = amount ** (part if name == "zoom_in" else -part)
    elif name != "still":
        shift = amount * part * (1 if name == "pan_left" else -1)
    x = (0.5 + ((np.arange(width) + 0.5) / width - 0.5 - shift) / zoom) * width
    y = (0.5 + ((np.arange(height) + 0.5) / height - 0.5) / zoom) * height
    columns, rows = np.flatnonzero((x > 0) & (x < width)), np.flatnonzero((y > 0) & (y < height))
    here = np.ix_(rows, columns)
    there = np.ix_(y[rows].astype(int), x[columns].astype(int))
    both = free[last][here] & free[first][there]
    if both.mean() < 0.2:
        return 1.0
    off = np.minimum(np.abs(light[last][here] - light[first][there]), 0.12)
    return float(off[both].mean())


def _smooth(light):
    """A little blur, so that half a pixel does not matter."""
    padded = np.pad(light, ((0, 0), (1, 1), (1, 1)), mode="edge")
    across = padded[:, :, :-2] + 2 * padded[:, :, 1:-1] + padded[:, :, 2:]
    return (across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]) / 16
