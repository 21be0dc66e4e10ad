"""Sizes and paths at random: inside the frame, apart from each other, at any aspect."""

import math

from .vocabulary import EXTENT, WALL_RGB

MARGIN = 0.025  # what stays free between a thing and the frame's edge, in shorter sides
GAP = 0.04  # what stays free between two things
SPIN = 120.0  # degrees in two seconds, and in all of a shorter clip
COUNTER = 0.25  # share of what spins or orbits that does so counter-clockwise, which captions say
LEAN = 15.0  # degrees: how far things lie from upright, and what orbits begins from the top of its circle
SPIN_LEAN = 3.0  # how far what spins begins from upright


class Dice:
    """The few draws needed, from nothing but `random()`, so that both kinds of generator do."""

    def __init__(self, rng):
        self.random = rng.random

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(self.random())

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def choice(self, options):
        return options[int(self.random() * len(options))]

    def way(self) -> int:
        return -1 if self.chance(COUNTER) else 1

    def vary(self, rgb) -> tuple[float, float, float]:
        return tuple(round(min(1.0, max(0.0, c + self.uniform(-0.03, 0.03))), 4) for c in rgb)


def place(dice: Dice, shapes, motions, wide: float, high: float, seconds: float, camera: str, amount: float):
    """Sizes and paths that stay inside the frame and apart, and the wall if there is one; None if they do not fit.

    Each thing has a box that its whole path keeps to; two boxes are set side by side, or one above the other.
    """
    plans = [
        _plan(dice, shape, motion, len(shapes), wide, high, seconds, camera, amount)
        for shape, motion in zip(shapes, motions, strict=True)
    ]
    if motions[0] == "behind_wall":
        return _behind_wall(dice, plans[0], wide, high)

    # What the camera will push out of the frame at one side must stay free from the start.
    left = right = top = bottom = MARGIN
    if camera == "pan_left":
        right += amount * wide
    elif camera == "pan_right":
        left += amount * wide
    elif camera == "zoom_in":
        inner = 0.5 * (1 - 1 / amount)
        left = right = MARGIN + inner * wide
        top = bottom = MARGIN + inner * high
    area = [left, top, wide - right, high - bottom]

    if len(plans) == 1:
        areas = [area]
    else:
        fits = []
        for axis in (0, 1):
            free = area[axis + 2] - area[axis] - GAP - sum(plan["box"][axis] for plan in plans)
            across = min(area[3 - axis] - area[1 - axis] - plan["box"][1 - axis] for plan in plans)
            if free >= 0 and across >= 0:
                fits.append((axis, free))
        if not fits:
            return None
        axis, free = dice.choice(fits)
        order = (0, 1) if dice.chance(0.5) else (1, 0)
        cut = area[axis] + plans[order[0]]["box"][axis] + dice.random() * free
        areas = [list(area), list(area)]
        areas[order[0]][axis + 2] = cut
        areas[order[1]][axis] = cut + GAP

    geometries = []
    for plan, (x0, y0, x1, y1) in zip(plans, areas, strict=True):
        box_w, box_h = plan["box"]
        if x1 - x0 < box_w or y1 - y0 < box_h:
            return None
        corner = x0 + dice.random() * (x1 - x0 - box_w), y0 + dice.random() * (y1 - y0 - box_h)
        fields = dict(plan["fields"])
        fields["x"] = round((corner[0] + plan["start"][0]) / wide, 5)
        fields["y"] = round((corner[1] + plan["start"][1]) / high, 5)
        geometries.append(fields)
    return geometries, None


def _plan(dice: Dice, shape, motion, count, wide, high, seconds, camera, amount) -> dict:
    """A thing's size and path: its box (width, height), the start within the box, and the fields of `Thing`."""
    least = 0.24 if shape == "ring" else 0.20  # a ring's band has to be seen, too
    low, top = (max(least, 0.22), 0.46) if count == 1 else (least, 0.32)
    if motion in ("bounce", "orbit"):
        top = 0.34 if count == 1 else 0.24
    elif motion == "behind_wall":
        low, top = max(least, 0.22), 0.28
    elif camera == "zoom_in":
        top = 0.5 / amount if count == 1 else 0.24
    elif camera == "zoom_out":
        low = least * amount
        top = max(top, low)
    size, scale = dice.uniform(low, top), 1.0
    if motion in ("grow", "shrink"):
        small = least + dice.uniform(0, 0.06 if count == 1 else 0.01)
        large = min(small * dice.uniform(1.7, 2.2), 0.5 if count == 1 else 0.40)
        size, scale = (small, large / small) if motion == "grow" else (large, small / large)

    reach = EXTENT[shape] * size * max(scale, 1.0)
    fields = {"size": round(size, 5), "scale": round(scale, 5)}
    box, start = [2 * reach, 2 * reach], [reach, reach]
    if shape in ("square", "triangle", "star"):
        lean = SPIN_LEAN if motion == "spin" else LEAN
        fields["angle"] = round(dice.uniform(-lean, lean), 3)
    if motion in ("left", "right", "up", "down"):
        axis, sign = (0 if motion in ("left", "right") else 1), (1 if motion in ("right", "down") else -1)
        side = (wide, high)[axis]
        room = side - 2 * MARGIN - box[axis]
        step = dice.uniform(min(0.32 * side, room), min(0.6 * side, room))
        box[axis] += step
        if sign < 0:
            start[axis] += step
        fields["dx" if axis == 0 else "dy"] = round(sign * step / side, 5)
    elif motion == "bounce":
        jump = dice.uniform(0.3, min(0.42, high - 2 * MARGIN - box[1])) if count == 1 else dice.uniform(0.26, 0.36)
        box[1] += jump
        start[1] += jump
        fields["dy"] = round(-jump / high, 5)
        fields["cycles"] = float(max(1, round(seconds / 2)))
    elif motion == "orbit":
        radius = dice.uniform(0.16, min(0.24, 0.48 - reach - MARGIN)) if count == 1 else dice.uniform(0.12, 0.16)
        phase = dice.uniform(-LEAN, LEAN) - 90
        box = [2 * reach + 2 * radius] * 2
        start = [
            box[0] / 2 + radius * math.cos(math.radians(phase)),
            box[1] / 2 + radius * math.sin(math.radians(phase)),
        ]
        fields["radius"], fields["phase"] = round(radius, 5), round(phase, 3)
        fields["cycles"] = dice.way() * (0.8 + max(0, round(seconds / 2) - 1))  # does not end where it began
    elif motion == "spin":
        # One start, one speed, and the caption says which way: the words settle how a thing lies at each moment.
        # Between latent frames, half a second apart, less than half of a star's fifth: which way stays to be seen.
        fields["spin"] = dice.way() * SPIN * max(1.0, seconds / 2)
    return {"box": box, "start": start, "fields": fields, "reach": reach}


def _behind_wall(dice: Dice, plan: dict, wide: float, high: float):
    """From one side of an upright wall in the middle to the other, in full view at both ends, hidden between."""
    reach = plan["reach"]
    width = dice.uniform(2 * reach, 2 * reach + 0.06)
    side = (wide - width) / 2  # what is free at either side of the wall
    if side < 2 * reach + MARGIN + 0.02:
        return None
    first = dice.uniform(MARGIN + reach, side - reach - 0.02)
    last = wide - dice.uniform(MARGIN + reach, side - reach - 0.02)
    if dice.chance(0.5):
        first, last = last, first
    top = dice.uniform(0.06, 0.14)
    y = dice.uniform(top * high + reach + 0.05, high - MARGIN - reach)
    fields = dict(plan["fields"], x=round(first / wide, 5), y=round(y / high, 5), dx=round((last - first) / wide, 5))
    return [fields], {"x": 0.5, "width": round(width, 5), "top": round(top, 5), "rgb": dice.vary(WALL_RGB)}
