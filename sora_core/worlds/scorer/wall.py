"""The upright wall that things may pass behind: brown bricks in the middle, from near the top to the frame's foot."""

import numpy as np

from ..contrast import lab
from ..vocabulary import WALL_RGB
from .colour import length

_BRICK, _MORTAR = (np.array(c, np.float32) for c in (WALL_RGB, [0.82 * c + 0.16 for c in WALL_RGB]))
_BRICK_LAB, _MORTAR_LAB = (lab(c).astype(np.float32) for c in (_BRICK, _MORTAR))


def find_wall(style: str, rgb, lab_values, distance):
    """The wall's first and last column, or None."""
    frames, height, width = rgb.shape[:3]
    rows = slice(int(0.2 * height), max(int(0.97 * height), int(0.2 * height) + 1))
    some = slice(None, None, max(1, frames // 6))
    if style == "flat":
        seen = lab_values[some, rows]
        like = length(seen - _BRICK_LAB) < 15
        like |= length(seen - _MORTAR_LAB) < 12
        like &= distance[some, rows] > 10  # a gradient may pass through the colour of bricks
    elif style == "charcoal":
        like = np.abs(rgb[some, rows].mean(-1) - 0.65) < 0.09
    else:
        return _between_lines(distance[some, rows], rgb[some, rows], style)
    share = like.mean((0, 1))
    middle = width // 2
    wall = share > 0.7
    if not wall[middle - 1 : middle + 1].all():
        return None
    first = middle
    while first > 0 and wall[first - 1]:
        first -= 1
    last = middle
    while last < width - 1 and wall[last + 1]:
        last += 1
    return _plausible(first - 2, last + 2, height, width)


def _between_lines(distance, rgb, style):
    """In styles of outlines the wall's two edges are lines from top to bottom."""
    line = distance > 15
    if style == "neon":
        line &= np.ptp(rgb, axis=-1) < 0.15
    height, width = distance.shape[1], distance.shape[2]
    columns = np.flatnonzero(line.mean((0, 1)) > 0.6)
    if len(columns) < 2:
        return None
    return _plausible(int(columns[0]), int(columns[-1]), height, width)


def _plausible(first, last, height, width):
    """Only what stands in the middle and is as wide as a wall can be."""
    wide = (last - first + 1) / min(height, width)
    off = abs((first + last + 1) / 2 - width / 2) / width
    return (max(first, 0), min(last, width - 1)) if 0.15 < wide < 0.75 and off < 0.06 and first > 1 else None
