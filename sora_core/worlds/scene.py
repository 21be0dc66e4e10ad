"""What a clip of the playground world consists of, and how one is drawn at random.

A scene knows no pixels: positions are fractions of the frame's width and height, sizes are fractions of its shorter
side, and every path is a function of time 0..1 over the clip. So one scene can be rendered at any size, aspect, frame
rate and duration (`render.py`), described (`caption.py`) and compared with what a scorer reads (`score.py`).
"""

import zlib
from dataclasses import asdict, dataclass
from functools import cache

from .contrast import colours_on, gradients, partners, plain_colours, unit_rgb
from .placing import Dice, place
from .vocabulary import (
    BACKGROUNDS,
    CAMERAS,
    COLOURS,
    DIRECTIONS,
    EXTENT,
    MOTIONS,
    NEON_COLOURS,
    NEON_RGB,
    PALETTES,
    SHAPES,
    STYLES,
)

__all__ = [
    "BACKGROUNDS",
    "CAMERAS",
    "COLOURS",
    "DIRECTIONS",
    "EXTENT",
    "MOTIONS",
    "NEON_COLOURS",
    "NEON_RGB",
    "PALETTES",
    "SHAPES",
    "STYLES",
    "Scene",
    "Thing",
    "Wall",
    "is_held_out",
    "sample_scene",
]

HELD_OUT = 0.10  # share of (shape, colour, motion, background) that no training scene has


@dataclass(frozen=True)
class Thing:
    """One object and its path. Angles are in degrees, clockwise on the screen; t is the time 0..1 over the clip.

    The centre is at (x + dx*t, y + dy*t), except: bounce has y + dy*|sin(pi*cycles*t)|; orbit goes round a circle of
    `radius` (in shorter sides) that starts at `phase` and turns `cycles` times (negative: counter-clockwise).
    The diameter is size * (1 + (scale - 1)*t), the angle is angle + spin*t. In a loop (`Scene.loop`) t is as it says.
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

    @property
    def way(self) -> int:
        """Which way it turns: 1 is clockwise, -1 counter-clockwise, 0 that its motion is none that turns."""
        turned = {"spin": self.spin, "orbit": self.cycles}.get(self.motion, 0.0)
        return (turned > 0) - (turned < 0)


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
    `loop`, where it is not None, makes the clip end as it begins: time starts at the moment `loop` (0..1), and for all
    but things that bounce, orbit or spin, t is (1 - cos(2 pi time)) / 2, which goes there and back.
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
    loop: float | None = None

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
    scene = None
    while scene is None:
        scene = _draw(Dice(rng), aspect, seconds, image, held_out)
    return scene


def _draw(dice: Dice, aspect: float, seconds: float, image: bool, held_out: bool) -> Scene | None:
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
        background, names = "gradient", dice.choice(gradients(walled))
    else:
        background, names = "plain", (dice.choice(plain_colours(walled)),) if style == "flat" else ()

    shapes = [dice.choice(SHAPES[1:4] if motion == "spin" else SHAPES) for motion in motions]
    if len(shapes) == 2 and shapes[0] == shapes[1] and (style in ("charcoal", "blueprint") or dice.chance(0.7)):
        return None
    colours = [dice.choice(NEON_COLOURS if style == "neon" else _palette(style, background, names, walled))]
    if len(motions) == 2:
        others = partners(colours[0], NEON_COLOURS if style == "neon" else _palette(style, background, names, False))
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
    placed = place(dice, shapes, motions, wide, high, seconds, camera, amount)
    if placed is None:
        return None
    geometries, wall = placed
    things = tuple(
        Thing(shape=shape, colour=colour, rgb=dice.vary(unit_rgb(colour)), motion=motion, **geometry)
        for shape, colour, motion, geometry in zip(shapes, colours, motions, geometries, strict=True)
    )
    return Scene(
        things=things,
        background=background,
        background_colours=names,
        background_rgb=tuple(dice.vary(unit_rgb(name)) for name in names),
        direction=dice.choice(tuple(DIRECTIONS)) if background == "gradient" else "",
        camera=camera,
        camera_amount=amount,
        style=style,
        wall=Wall(**wall) if wall else None,
        seed=int(dice.random() * 2**31),
    )


def _palette(style: str, background: str, names: tuple[str, ...], walled: bool) -> tuple[str, ...]:
    return colours_on(background, names, walled) if style == "flat" else tuple(COLOURS)
