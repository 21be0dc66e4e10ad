"""From figures to things: who is who from frame to frame, what each looks like, and how it moves."""

import numpy as np

from ..vocabulary import CORNERS, SHAPES
from .colour import nearest, nearest_glow
from .figures import Figure

# Half to two thirds of the least that a scene does (`placing.py`): shorter sides, a ratio of sizes, degrees.
_SHIFT = 0.13
_SCALE = 1.32
_TURN = 75.0
_LOOKS = 6  # frames that are looked at for shape and colour


def link(found: list[list[Figure]], count: int) -> list[list[Figure]]:
    """Follow `count` things through the frames: tracks of figures, with gaps where a thing cannot be seen."""
    tracks: list[list[Figure]] = []
    for figures in found:
        figures = figures[:count]
        if not tracks:
            tracks = [[figure] for figure in figures] if len(figures) == count else []
        elif len(figures) == 2 and count == 2:
            straight = _step(tracks[0], figures[0]) + _step(tracks[1], figures[1])
            crossed = _step(tracks[0], figures[1]) + _step(tracks[1], figures[0])
            for track, figure in zip(tracks, figures if straight <= crossed else figures[::-1], strict=True):
                track.append(figure)
        elif figures:
            min(tracks, key=lambda track: _step(track, figures[0])).append(figures[0])
    return tracks


def _step(track, figure) -> float:
    """How unlikely it is that a figure continues a track: squared distance, and squared change of its radius."""
    last = track[-1]
    return (last.x - figure.x) ** 2 + (last.y - figure.y) ** 2 + (last.area**0.5 - figure.area**0.5) ** 2


def _looks(track) -> list[Figure]:
    """The few figures that show the thing best: whole ones, spread over the clip."""
    whole = [figure for figure in track if figure.whole] or track
    return [whole[k] for k in np.unique(np.linspace(0, len(whole) - 1, _LOOKS).round().astype(int))]


def read_shape(track, ground) -> str:
    """The shape whose template overlaps the thing best, on average over a few frames."""
    looks = _looks(track)
    scores = {shape: sum(figure.overlap(shape) for figure in looks) for shape in SHAPES}
    shape = max(scores, key=scores.get)
    if ground.style != "flat" and shape in ("ball", "ring"):
        return _round(looks, ground)
    return shape


def _round(looks, ground) -> str:
    """Ball or ring, in styles where outlines hide the difference: is there a second outline inside, or a hole?"""
    steps = np.zeros((2, 10))
    for figure in looks:
        off = np.hypot(figure.columns + 0.5 - figure.x, figure.rows + 0.5 - figure.y)
        step = (off * 20 / (figure.rows.max() - figure.rows.min() + 1)).astype(int).clip(0, 9)  # tenths of the radius
        values = ground.distance[figure.frame, figure.rows, figure.columns]
        steps += np.bincount(step, values, 10), np.bincount(step, minlength=10)
    profile = steps[0] / np.maximum(steps[1], 1)
    if ground.style == "charcoal":
        return "ring" if profile[:3].mean() < 0.4 * profile.max() else "ball"
    # A ring's inner line is at six tenths of the radius; inside a ball of neon the light only fades.
    bright = profile[6] > 0.5 * profile.max() if ground.style == "blueprint" else profile[6] > 0.955 * profile[7]
    return "ring" if bright else "ball"


def read_colour(track, shape, ground, rgb, lab) -> str | None:
    """The name of a thing's colour: its median away from outlines; None in styles that show no colour."""
    if ground.style in ("charcoal", "blueprint"):
        return None
    parts = []
    for figure in _looks(track):
        at = figure.frame, figure.rows, figure.columns
        if ground.style == "neon":
            glow = rgb[at]
            parts.append(glow[glow.max(-1) < 0.7])
        else:
            depth = figure.depth(shape, figure.rows, figure.columns)
            parts.append(lab[at][depth <= np.quantile(depth, 0.15 if shape == "ring" else 0.3)])
    pixels = np.concatenate(parts)
    if ground.style == "neon":
        return nearest_glow(pixels.sum(0)) if len(pixels) else None
    return nearest(np.median(pixels, axis=0))[0]


def read_turn(track, shape) -> float:
    """How far a thing with corners turns over the clip, in degrees, clockwise."""
    if shape not in CORNERS or len(track) < 2:
        return 0.0
    turn = np.rad2deg([figure.turn(CORNERS[shape]) for figure in track])
    period = 360 / CORNERS[shape]
    return float((np.remainder(np.diff(turn) + period / 2, period) - period / 2).sum())


def read_round(track) -> float:
    """How far a thing goes round the middle of its path over the clip, in degrees, clockwise."""
    path = np.array([(figure.x, figure.y) for figure in track])
    x, y = (path - (path.min(0) + path.max(0)) / 2).T
    angle = np.unwrap(np.arctan2(y, x))
    return float(np.rad2deg(angle[-1] - angle[0]))


def read_motion(track, turn: float, frames: int, short: int, wall) -> str | None:
    """What a thing that turns by so much (`read_turn`) does over the clip; None if the clip has one frame."""
    if frames < 2 or len(track) < 2:
        return None
    x, y = (np.array([getattr(figure, axis) for figure in track]) / short for axis in "xy")
    if wall:
        middle = (wall[0] + wall[1] + 1) / 2 / short
        if (x[0] - middle) * (x[-1] - middle) < 0:
            return "behind_wall"
    few = min(2, max(1, len(track) // 8))
    dx, dy = x[-few:].mean() - x[:few].mean(), y[-few:].mean() - y[:few].mean()
    wide, high = np.ptp(x), np.ptp(y)
    if np.hypot(wide, high) >= _SHIFT:
        if np.hypot(dx, dy) >= 0.6 * np.hypot(wide, high):
            if abs(dx) > abs(dy):
                return "right" if dx > 0 else "left"
            return "down" if dy > 0 else "up"
        if min(wide, high) > 0.4 * max(wide, high):
            return "orbit"
        return "bounce" if high > wide else None  # nothing goes to the side and back
    size = np.sqrt([figure.area for figure in track])
    growth = np.log(size[-few:].mean() / size[:few].mean()) / np.log(_SCALE)
    turned = turn / _TURN
    if max(abs(growth), abs(turned)) < 1:
        return "still"
    return "spin" if abs(turned) > abs(growth) else "grow" if growth > 0 else "shrink"
