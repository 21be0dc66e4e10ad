"""The things in each frame: connected regions that the background does not explain, and what shape they have.

A region becomes a soft coverage (0..1 per pixel), from which its centre, size and orientation are moments. Its shape is
the one of five templates, drawn at that centre, size and orientation, that overlaps it best.
"""

import math
from dataclasses import dataclass

import numpy as np

from ..vocabulary import CORNERS

SMALLEST = 0.006  # area of the smallest region that counts, in squares of the shorter side
_CORNER = {"triangle": 0.58, "square": 0.42 * math.sqrt(2), "star": 0.56}  # corner's distance / size
RING_HOLE, STAR_WAIST = 0.58, 0.45  # as the renderer draws them
_AREA = {  # area / size squared
    "ball": math.pi / 4,
    "ring": math.pi / 4 * (1 - RING_HOLE**2),
    "square": 0.84**2,
    "triangle": 3 * math.sqrt(3) / 4 * 0.58**2,
    "star": 5 * 0.56**2 * STAR_WAIST * math.sin(math.pi / 5),
}


@dataclass
class Figure:
    """One region in one frame. Lengths in pixels."""

    frame: int
    rows: np.ndarray  # (N,) of its pixels
    columns: np.ndarray
    coverage: np.ndarray  # (N,) 0..1
    whole: bool = True  # not cut off by a wall

    def __post_init__(self):
        weight = self.coverage / self.coverage.sum()
        self.area = float(self.coverage.sum())
        self.x = float((weight * self.columns).sum() + 0.5)
        self.y = float((weight * self.rows).sum() + 0.5)

    def turn(self, fold: int) -> float:
        """The direction (radians, clockwise from the right) in which one of `fold` corners points."""
        z = (self.columns + 0.5 - self.x) + 1j * (self.rows + 0.5 - self.y)
        return float(np.angle((self.coverage * z**fold).sum()) / fold)

    def overlap(self, shape: str) -> float:
        """Intersection over union with the shape's template, 0..1."""
        top, left = self.rows.min() - 2, self.columns.min() - 2
        picture = np.zeros((self.rows.max() + 3 - top, self.columns.max() + 3 - left), np.float32)
        picture[self.rows - top, self.columns - left] = self.coverage
        rows, columns = np.indices(picture.shape)
        ideal = np.clip(0.5 - self.depth(shape, rows + top, columns + left), 0, 1)
        return float(np.minimum(picture, ideal).sum() / np.maximum(picture, ideal).sum())

    def depth(self, shape: str, rows, columns):
        """Signed distance of pixels to the outline of the shape's template, in pixels, negative inside."""
        x, y = columns + 0.5 - self.x, rows + 0.5 - self.y
        size = math.sqrt(self.area / _AREA[shape])
        radius = np.hypot(x, y)
        if shape == "ball":
            return radius - size / 2
        if shape == "ring":
            return np.abs(radius - size * (1 + RING_HOLE) / 4) - size * (1 - RING_HOLE) / 4
        fold = CORNERS[shape]
        half = math.pi / fold
        corner = np.abs(np.remainder(np.arctan2(y, x) - self.turn(fold) + half, 2 * half) - half)  # from the nearest
        outer = size * _CORNER[shape]
        if shape != "star":
            return radius * np.cos(corner - half) - outer * math.cos(half)
        along = STAR_WAIST * math.cos(half) - 1, STAR_WAIST * math.sin(half)  # from a tip to its waist
        return (radius * (np.cos(corner) * along[1] - np.sin(corner) * along[0]) - outer * along[1]) / math.hypot(
            *along
        )


# --------------------------------------------------------------------------------------------------------------------
# From pixels to figures


def find_figures(ground, wall) -> list[list[Figure]]:
    """The figures of every frame, largest first. `wall`: (first, last) column of a wall in front, or None."""
    distance = ground.distance
    if wall:
        distance = distance.copy()
        distance[:, :, wall[0] : wall[1] + 1] = 0
    if ground.style in ("neon", "blueprint"):
        mask = fill(distance > 0.45 * np.quantile(distance.reshape(len(distance), -1), 0.995, axis=1).mean())
        return _figures(mask, mask.astype(np.float32), *label(mask), wall)
    # Where the bare background at the frame's edge is itself off, as in poor clips, more is asked of a figure.
    edge = np.concatenate([distance[:, 0].ravel(), distance[:, :, [0, -1]].ravel()])
    least = 4.0 if ground.style == "charcoal" else 10.0
    mask = distance > np.clip(1.8 * np.quantile(edge, 0.95), least, 2.4 * least)
    index, region, count = label(mask)
    index, region, count = _large(index, region, count, distance.shape)
    values = distance.reshape(-1)[index]
    strength = _per_region(region, count, values**2) / np.maximum(_per_region(region, count, values), 1e-6)
    if ground.style == "charcoal":
        strength = np.minimum(strength, 20.0)  # a fill of charcoal is much lighter than its outline
    # Things close to each other, or blurred into one: look again at what is nearly as strong as the core.
    inner = np.zeros(mask.size, bool)
    inner[index[values > 0.4 * strength[region]]] = True
    again = _large(*label(inner.reshape(mask.shape)), distance.shape)
    coverage = np.zeros(mask.size, np.float32)
    coverage[index] = np.clip(values / (0.8 * strength[region]), 0, 1)
    coverage = coverage.reshape(mask.shape)
    if again[2] > count:
        index, region, count = again
    return _figures(mask, coverage, index, region, count, wall)


def _per_region(region, count, values):
    return np.bincount(region, values, count)


def _large(index, region, count, shape):
    """Only the regions that are large enough."""
    area = np.bincount(region, minlength=count)
    keep = area >= SMALLEST * min(shape[1:]) ** 2
    number = np.cumsum(keep) - 1
    kept = keep[region]
    return index[kept], number[region[kept]], int(keep.sum())


def _figures(mask, coverage, index, region, count, wall):
    frames, height, width = mask.shape
    index, region, count = _large(index, region, count, mask.shape)
    order = np.argsort(region, kind="stable")
    index, found = index[order], [[] for _ in range(frames)]
    for part in np.split(index, np.cumsum(np.bincount(region, minlength=count))[:-1]) if count else ():
        frame, rest = divmod(part, height * width)
        rows, columns = np.divmod(rest, width)
        figure = Figure(int(frame[0]), rows, columns, coverage.reshape(-1)[part])
        if wall:
            figure.whole = columns.max() < wall[0] - 1 or columns.min() > wall[1] + 1
        found[figure.frame].append(figure)
    return [sorted(figures, key=lambda figure: -figure.area) for figures in found]


# --------------------------------------------------------------------------------------------------------------------
# Regions


def label(mask: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """Connected regions (8 neighbours) within each frame of a mask (T, H, W).

    Returns the flat indices of the mask's pixels, the region of each (0..n-1), and n.
    """
    frames, height, width = mask.shape
    number = np.full((frames, height + 1, width + 2), -1, np.int32)
    index = np.flatnonzero(mask)
    own = np.arange(len(index), dtype=np.int32)
    number[:, :height, 1:-1][mask] = own
    pairs = []
    for dy, dx in ((0, 1), (1, -1), (1, 0), (1, 1)):
        one = number[:, :height, 1:-1]
        two = number[:, dy : height + dy, 1 + dx : width + 1 + dx]
        both = (one >= 0) & (two >= 0)
        pairs.append(np.stack([one[both], two[both]]))
    first, second = np.concatenate(pairs, axis=1)
    parent = own.copy()
    while True:  # the smallest number spreads over each region; the jumps make it spread in a few rounds
        a, b = parent[first], parent[second]
        if np.array_equal(a, b):
            break
        low = np.minimum(a, b)
        np.minimum.at(parent, a, low)
        np.minimum.at(parent, b, low)
        while not np.array_equal(parent, parent[parent]):
            parent = parent[parent]
    roots, region = np.unique(parent, return_inverse=True)
    return index, region, len(roots)


def fill(mask: np.ndarray) -> np.ndarray:
    """Each frame's mask with its holes filled: all that the border cannot reach in steps along rows and columns."""
    free = np.pad(~mask, ((0, 0), (1, 1), (1, 1)), constant_values=True)
    outside = np.zeros_like(free)
    outside[:, 0], outside[:, -1], outside[:, :, 0], outside[:, :, -1] = True, True, True, True
    while True:
        before = outside.sum()
        for axis in (1, 2):
            for flip in (False, True):
                view = np.flip(outside, axis) if flip else outside
                room = np.flip(free, axis) if flip else free
                _sweep(view, room, axis)
        if outside.sum() == before:
            return ~outside[:, 1:-1, 1:-1]


def _sweep(outside, free, axis):
    """Carry `outside` on along an axis through free pixels, in place."""
    outside, free = np.moveaxis(outside, axis, 0), np.moveaxis(free, axis, 0)
    for k in range(1, len(outside)):
        outside[k] |= outside[k - 1] & free[k]
