"""What a clip of the playground world consists of, and how one is drawn at random.

A scene knows no pixels: positions are fractions of the frame's width and height, sizes are fractions of its shorter
side, and every path is a function of time 0..1 over the clip. So one scene can be rendered at any size, aspect, frame
rate and duration (`render.py`), described (`caption.py`) and compared with what a scorer reads (`score.py`).
"""

import math
import zlib
from dataclasses import asdict, dataclass
from functools import cache
from itertools import product

import numpy as np

SHAPES = ("ball", "square", "triangle", "star", "ring")
COLOURS = {  # as CSS defines them, 0..255
    "red": (255, 0, 0),
    "orange": (255, 165, 0),
    "yellow": (255, 255, 0),
    "green": (0, 128, 0),
    "cyan": (0, 255, 255),
    "blue": (0, 0, 255),
    "purple": (128, 0, 128),
    "pink": (255, 192, 203),
    "brown": (165, 42, 42),
    "white": (255, 255, 255),
    "gray": (128, 128, 128),
    "black": (0, 0, 0),
}
BACKGROUNDS = ("plain", "gradient", "sky", "sea", "grass", "night")
MOTIONS = ("left", "right", "up", "down", "bounce", "orbit", "grow", "shrink", "spin", "still", "behind_wall")
CAMERAS = ("still", "pan_left", "pan_right", "zoom_in", "zoom_out")
STYLES = ("flat", "charcoal", "neon", "blueprint")
DIRECTIONS = ("vertical", "horizontal", "diagonal")  # of a gradient, from the first colour to the second

NEON_RGB = {  # the colours that can glow, and as what
    "red": (1.0, 0.12, 0.16),
    "orange": (1.0, 0.55, 0.08),
    "yellow": (1.0, 0.95, 0.15),
    "green": (0.12, 0.95, 0.22),
    "cyan": (0.15, 0.95, 1.0),
    "blue": (0.16, 0.28, 1.0),
    "purple": (0.62, 0.16, 1.0),
    "pink": (1.0, 0.50, 0.74),
    "white": (0.96, 0.96, 1.0),
}
NEON_COLOURS = tuple(NEON_RGB)
EXTENT = {"ball": 0.5, "square": 0.594, "triangle": 0.58, "star": 0.56, "ring": 0.5}  # farthest point / size
MARGIN = 0.025  # what stays free between a thing and the frame's edge, in shorter sides
GAP = 0.04  # what stays free between two things
HELD_OUT = 0.10  # share of (shape, colour, motion, background) that no training scene has
MIN_CONTRAST = 26.0  # CIE76 colour difference between a thing and anything of the background
WALL_RGB = (0.56, 0.47, 0.40)

# The colours that a textured background shows, in 0..1, from its top to its bottom (`render.py` draws with them).
PALETTES = {
    "sky": ((0.27, 0.53, 0.90), (0.64, 0.81, 0.97)),
    "sea": ((0.42, 0.68, 0.93), (0.64, 0.82, 0.96), (0.10, 0.42, 0.62), (0.04, 0.25, 0.46)),
    "grass": ((0.38, 0.64, 0.93), (0.63, 0.81, 0.96), (0.60, 0.81, 0.36), (0.45, 0.71, 0.28)),
    "night": ((0.02, 0.03, 0.12), (0.10, 0.12, 0.30)),
}


@dataclass(frozen=True)
class Thing:
    """One object and its path. Angles are in degrees, clockwise on the screen; t is the time 0..1 over the clip.

    The centre is at (x + dx*t, y + dy*t), except: bounce has y + dy*|sin(pi*cycles*t)|; orbit goes round a circle of
    `radius` (in shorter sides) that starts at `phase` and turns `cycles` times (negative: counter-clockwise).
    The diameter is size * (1 + (scale - 1)*t), the angle is angle + spin*t.
    """

    shape: str
    colour: str
    rgb: tuple[float, float, float]  # 0..1, a slight variation of the colour's
    size: float  # diameter at the start / shorter side
    motion: str
    x: float  # centre at the start / width
    y: float  # centre at the start / height
    dx: float = 0.0
    dy: float = 0.0
    scale: float = 1.0  # diameter at the end / diameter at the start
    angle: float = 0.0
    spin: float = 0.0
    radius: float = 0.0
    phase: float = 0.0
    cycles: float = 0.0


@dataclass(frozen=True)
class Wall:
    """An upright wall in front of the thing, from `top` (fraction of the height) down to the frame's lower edge."""

    x: float  # middle / width
    width: float  # width / shorter side
    top: float
    rgb: tuple[float, float, float]


@dataclass(frozen=True)
class Scene:
    """One or two things before a background. `background_colours` has one name if plain, two if gradient, else none.

    In a style other than flat the paper of that style replaces the background, which is then "plain" without a name.
    `camera_amount` is the pan over the clip as a fraction of the width, or the zoom's factor (> 1).
    `seed` places clouds, waves, blades and stars.
    """

    things: tuple[Thing, ...]
    background: str
    background_colours: tuple[str, ...] = ()
    background_rgb: tuple[tuple[float, float, float], ...] = ()
    direction: str = ""
    camera: str = "still"
    camera_amount: float = 0.0
    style: str = "flat"
    wall: Wall | None = None
    seed: int = 0

    @property
    def background_colour(self) -> str:
        """The (first) named colour of a plain or gradient background, else an empty string."""
        return self.background_colours[0] if self.background_colours else ""

    @property
    def shows_colour(self) -> bool:
        """Whether the things' colours can be seen: charcoal and blueprint draw without them."""
        return self.style in ("flat", "neon")

    @property
    def shows_background(self) -> bool:
        """Whether the background can be seen: only flat scenes have one."""
        return self.style == "flat"

    def to_dict(self) -> dict:
        """Plain lists, numbers and strings, for JSON; `from_dict` is its inverse."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict) -> "Scene":
        """A scene from what `to_dict` gave, also after a JSON round trip."""
        things = tuple(Thing(**{**thing, "rgb": tuple(thing["rgb"])}) for thing in data["things"])
        wall = data["wall"] and Wall(**{**data["wall"], "rgb": tuple(data["wall"]["rgb"])})
        rgb = tuple(tuple(colour) for colour in data["background_rgb"])
        names = tuple(data["background_colours"])
        return cls(**{**data, "things": things, "wall": wall, "background_rgb": rgb, "background_colours": names})


# --------------------------------------------------------------------------------------------------------------------
# Which combinations are kept out of training


@cache
def _combination_held_out(shape: str, colour: str, motion: str, background: str) -> bool:
    key = zlib.crc32(f"{shape}|{colour}|{motion}|{background}|sora".encode())
    key = (key * 2654435761 + 0x9E3779B9) & 0xFFFFFFFF  # CRC is linear: stir it, or neighbours correlate
    key = ((key ^ (key >> 15)) * 2246822519) & 0xFFFFFFFF
    return (key ^ (key >> 13)) / 2**32 < HELD_OUT


def is_held_out(scene: Scene) -> bool:
    """Whether any thing's (shape, colour, motion) on this background belongs to the share kept for the evaluation."""
    return any(_combination_held_out(t.shape, t.colour, t.motion, scene.background) for t in scene.things)


# --------------------------------------------------------------------------------------------------------------------
# Colours that can be told apart


def lab(rgb) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB values 0..1; any shape (..., 3)."""
    rgb = np.asarray(rgb, dtype=np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def _unit(name: str) -> tuple[float, float, float]:
    red, green, blue = COLOURS[name]
    return red / 255, green / 255, blue / 255


def _contrast(one, many) -> float:
    return float(np.linalg.norm(lab(many) - lab(one), axis=-1).min())


@cache
def _colours_on(background: str, names: tuple[str, ...], wall: bool) -> tuple[str, ...]:
    """The colours that stand out from every part of a background (and from the wall, if there is one)."""
    if background == "plain":
        shown = [_unit(names[0])]
    elif background == "gradient":
        first, second = np.array(_unit(names[0])), np.array(_unit(names[1]))
        shown = [first + (second - first) * k for k in np.linspace(0, 1, 9)]
    else:
        shown = list(PALETTES[background])
    if wall:
        shown.append(WALL_RGB)
    return tuple(name for name in COLOURS if _contrast(_unit(name), shown) >= MIN_CONTRAST)


@cache
def _gradients(wall: bool) -> tuple[tuple[str, str], ...]:
    """The pairs of colours that differ clearly and leave at least four colours for things."""
    return tuple(
        (a, b)
        for a, b in product(COLOURS, COLOURS)
        if _contrast(_unit(a), [_unit(b)]) >= 40
        and len(_colours_on("gradient", (a, b), wall)) >= 4
        and not (wall and _contrast(WALL_RGB, [_unit(a), _unit(b)]) < MIN_CONTRAST)
    )


@cache
def _plain(wall: bool) -> tuple[str, ...]:
    return tuple(c for c in COLOURS if not wall or _contrast(WALL_RGB, [_unit(c)]) >= MIN_CONTRAST)


@cache
def _partners(colour: str, colours: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(c for c in colours if c != colour and _contrast(_unit(colour), [_unit(c)]) >= MIN_CONTRAST)


# --------------------------------------------------------------------------------------------------------------------
# Sampling


def sample_scene(
    rng, *, aspect: float = 1.0, seconds: float = 2.0, image: bool = False, held_out: bool = False
) -> Scene:
    """Draw a scene. The same state of `rng` gives the same scene.

    rng: anything with `random()` in [0, 1): a numpy Generator or a random.Random.
    aspect: width / height of the frames it is meant for; a scene for aspect 1 fits every frame.
    seconds: the clip's duration; longer clips bounce and orbit more often.
    image: all things stand still, as does the camera.
    held_out: True draws only scenes with a combination that False never draws (`is_held_out`).
    """
    for _ in range(10_000):
        scene = _draw(_Dice(rng), aspect, seconds, image, held_out)
        if scene is not None:
            return scene
    raise RuntimeError(f"no scene fits a frame of aspect {aspect:g}")


class _Dice:
    """The few draws needed, from nothing but `random()`, so that both kinds of generator do."""

    def __init__(self, rng):
        self.random = rng.random

    def uniform(self, low: float, high: float) -> float:
        return low + (high - low) * float(self.random())

    def chance(self, probability: float) -> bool:
        return self.random() < probability

    def choice(self, options):
        return options[int(self.random() * len(options))]

    def sign(self) -> int:
        return 1 if self.random() < 0.5 else -1

    def vary(self, rgb, amount: float = 0.03) -> tuple[float, float, float]:
        return tuple(round(min(1.0, max(0.0, c + self.uniform(-amount, amount))), 4) for c in rgb)


def _draw(dice: _Dice, aspect: float, seconds: float, image: bool, held_out: bool) -> Scene | None:
    """One attempt; None if it does not belong to the wanted share or does not fit."""
    style = "flat" if dice.chance(0.76) else dice.choice(STYLES[1:])
    textured = style == "flat" and dice.chance(0.64)
    camera = dice.choice(CAMERAS[1:]) if textured and not image and dice.chance(0.125) else "still"
    if image or camera != "still":
        motions = ("still",) * (2 if dice.chance(0.4) else 1)
    else:
        motions = (dice.choice(MOTIONS),)
        if motions[0] != "behind_wall" and dice.chance(0.45):
            motions += (dice.choice(MOTIONS[:-1]),)
    walled = motions[0] == "behind_wall"

    names: tuple[str, ...] = ()
    if textured:
        background = dice.choice(BACKGROUNDS[2:])
    elif style == "flat" and dice.chance(0.4):
        background, names = "gradient", dice.choice(_gradients(walled))
    else:
        background, names = "plain", (dice.choice(_plain(walled)),) if style == "flat" else ()

    shapes = [dice.choice(SHAPES[1:4] if motion == "spin" else SHAPES) for motion in motions]
    if len(shapes) == 2 and shapes[0] == shapes[1] and (style in ("charcoal", "blueprint") or dice.chance(0.7)):
        return None
    colours = [dice.choice(NEON_COLOURS if style == "neon" else _palette(style, background, names, walled))]
    if len(motions) == 2:
        others = _partners(colours[0], NEON_COLOURS if style == "neon" else _palette(style, background, names, False))
        if not others:
            return None
        colours.append(dice.choice(others))
    kept_out = [_combination_held_out(*key, background) for key in zip(shapes, colours, motions, strict=True)]
    if any(kept_out) != held_out:
        return None

    amount = 0.0
    if camera != "still":
        amount = dice.uniform(0.16, 0.26) if camera.startswith("pan") else dice.uniform(1.35, 1.55)
    wide, high = max(aspect, 1.0), max(1.0 / aspect, 1.0)  # the frame in shorter sides
    placed = _place(dice, shapes, motions, wide, high, seconds, camera, amount)
    if placed is None:
        return None
    geometries, wall = placed
    things = tuple(
        Thing(shape=shape, colour=colour, rgb=dice.vary(_unit(colour)), motion=motion, **geometry)
        for shape, colour, motion, geometry in zip(shapes, colours, motions, geometries, strict=True)
    )
    return Scene(
        things=things,
        background=background,
        background_colours=names,
        background_rgb=tuple(dice.vary(_unit(name)) for name in names),
        direction=dice.choice(DIRECTIONS) if background == "gradient" else "",
        camera=camera,
        camera_amount=amount,
        style=style,
        wall=wall,
        seed=int(dice.random() * 2**31),
    )


def _palette(style: str, background: str, names: tuple[str, ...], walled: bool) -> tuple[str, ...]:
    return _colours_on(background, names, walled) if style == "flat" else tuple(COLOURS)


def _place(dice: _Dice, shapes, motions, wide: float, high: float, seconds: float, camera: str, amount: float):
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


def _plan(dice: _Dice, shape, motion, count, wide, high, seconds, camera, amount) -> dict:
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
        fields["angle"] = round(dice.uniform(-15, 15), 3)
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
        jump = dice.uniform(0.3, min(0.5, high - 2 * MARGIN - box[1])) if count == 1 else dice.uniform(0.26, 0.36)
        box[1] += jump
        start[1] += jump
        fields["dy"] = round(-jump / high, 5)
        fields["cycles"] = float(max(2, round(seconds)))
    elif motion == "orbit":
        radius = dice.uniform(0.16, 0.48 - reach - MARGIN) if count == 1 else dice.uniform(0.12, 0.16)
        phase = dice.uniform(0, 360)
        box = [2 * reach + 2 * radius] * 2
        start = [
            box[0] / 2 + radius * math.cos(math.radians(phase)),
            box[1] / 2 + radius * math.sin(math.radians(phase)),
        ]
        fields["radius"], fields["phase"] = round(radius, 5), round(phase, 3)
        fields["cycles"] = float(dice.sign() * max(1, round(seconds / 2)))
    elif motion == "spin":
        fields["spin"] = round(dice.sign() * dice.uniform(160, 280) * max(1.0, seconds / 2), 3)
    return {"box": box, "start": start, "fields": fields, "reach": reach}


def _behind_wall(dice: _Dice, plan: dict, wide: float, high: float):
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
    return [fields], Wall(x=0.5, width=round(width, 5), top=round(top, 5), rgb=dice.vary(WALL_RGB))
