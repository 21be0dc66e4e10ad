"""Which colours can be told apart, so that things stand out from their background and from each other."""

from functools import cache
from itertools import product

import numpy as np

from .vocabulary import COLOURS, PALETTES, WALL_RGB

MIN_CONTRAST = 26.0  # CIE76 colour difference between a thing and anything of the background


def lab(rgb) -> np.ndarray:
    """CIE L*a*b* (D65) of sRGB values 0..1; any shape (..., 3)."""
    rgb = np.asarray(rgb, dtype=np.float64)
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    f = np.where(xyz > 216 / 24389, np.cbrt(xyz), (24389 / 27 * xyz + 16) / 116)
    return np.stack([116 * f[..., 1] - 16, 500 * (f[..., 0] - f[..., 1]), 200 * (f[..., 1] - f[..., 2])], -1)


def unit_rgb(name: str) -> tuple[float, float, float]:
    """A named colour in 0..1."""
    red, green, blue = COLOURS[name]
    return red / 255, green / 255, blue / 255


def contrast(one, many) -> float:
    """The smallest CIE76 difference between a colour and any of many, all sRGB 0..1."""
    return float(np.linalg.norm(lab(many) - lab(one), axis=-1).min())


@cache
def colours_on(background: str, names: tuple[str, ...], wall: bool) -> tuple[str, ...]:
    """The colours that stand out from every part of a background (and from the wall, if there is one)."""
    if background == "plain":
        shown = [unit_rgb(names[0])]
    elif background == "gradient":
        first, second = np.array(unit_rgb(names[0])), np.array(unit_rgb(names[1]))
        shown = [first + (second - first) * k for k in np.linspace(0, 1, 9)]
    else:
        shown = list(PALETTES[background])
    if wall:
        shown.append(WALL_RGB)
    return tuple(name for name in COLOURS if contrast(unit_rgb(name), shown) >= MIN_CONTRAST)


@cache
def gradients(wall: bool) -> tuple[tuple[str, str], ...]:
    """The pairs of colours that differ clearly and leave at least four colours for things."""
    return tuple(
        (a, b)
        for a, b in product(COLOURS, COLOURS)
        if contrast(unit_rgb(a), [unit_rgb(b)]) >= 40
        and len(colours_on("gradient", (a, b), wall)) >= 4
        and not (wall and contrast(WALL_RGB, [unit_rgb(a), unit_rgb(b)]) < MIN_CONTRAST)
    )


@cache
def plain_colours(wall: bool) -> tuple[str, ...]:
    """The colours for a plain background: all that a wall, if there is one, stands out from."""
    return tuple(c for c in COLOURS if not wall or contrast(WALL_RGB, [unit_rgb(c)]) >= MIN_CONTRAST)


@cache
def partners(colour: str, colours: tuple[str, ...]) -> tuple[str, ...]:
    """Those of `colours` that can be told from `colour` beside it."""
    return tuple(c for c in colours if c != colour and contrast(unit_rgb(colour), [unit_rgb(c)]) >= MIN_CONTRAST)
