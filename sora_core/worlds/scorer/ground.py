"""What lies behind the things: the style, the kind of background and its colours, and how far every pixel is from it.

Things never touch the frame's edge, so the border shows the bare background. Each kind of background is a model of its
colour by height (from `vocabulary.PALETTES`) and of the colour that its texture adds (clouds, crests, blades, stars);
the kind whose model explains the border best wins, and its model then tells how much of any pixel it cannot explain.
"""

from dataclasses import dataclass

import numpy as np

from ..vocabulary import PALETTES
from .colour import brightest, length, nearest, to_lab

_WHITE = (1.0, 1.0, 1.0)
_BAND = 0.06  # half the height around a horizon where either side may be
_CUT = 30.0  # a pixel cannot count more than this against a model


@dataclass
class Ground:
    """The background of a clip. `distance` (T, H, W) is what it cannot explain of each pixel, in L*a*b* units."""

    style: str
    background: str
    colours: tuple[str, ...]
    distance: np.ndarray
    horizon: np.ndarray | None = None  # (T,), as a fraction of the height, where there is one


def read_ground(rgb: np.ndarray, lab: np.ndarray) -> Ground:
    """rgb, lab: (T, H, W, 3)."""
    border = _border(*rgb.shape[1:3])
    style = _style(rgb, border)
    if style != "flat":
        return Ground(style, "plain", (), _paper_distance(style, rgb, border))
    affine, names, kind, misfit = _affine(lab, rgb, border)
    scores, horizons = {kind: misfit}, {}
    rows, columns = border
    heights = ((np.arange(rgb.shape[1]) + 0.5) / rgb.shape[1]).astype(np.float32)
    some = slice(None, None, max(1, len(rgb) // 4))
    edge_rgb, edge_lab = rgb[some, rows, columns], lab[some, rows, columns]
    for name in _LAYERS:
        horizons[name] = _horizon(_LAYERS[name], rgb) if len(_LAYERS[name]) == 2 else None
        horizon = horizons[name]
        misfits = _distance(name, edge_rgb, edge_lab, heights[rows], None if horizon is None else horizon[some])
        scores[name] = float(np.minimum(misfits, _CUT).mean())
    best = min(scores, key=scores.get)
    if best == kind:
        return Ground(style, kind, names, length(lab - to_lab(affine)))
    distance = _picture_distance(best, rgb, lab, heights, horizons[best])
    return Ground(style, best, (), distance, horizons[best])


def _border(height: int, width: int):
    """Rows and columns of the frame's edge, without the foot of a possible wall. (rows, columns), each (N,)."""
    mask = np.zeros((height, width), bool)
    mask[[0, -1]], mask[:, [0, -1]] = True, True
    mask[-1, width // 5 : -(width // 5)] = False
    return np.nonzero(mask)


# --------------------------------------------------------------------------------------------------------------------
# Style


def _style(rgb, border) -> str:
    """Papers are known by their colour; neon against plain black by its glow."""
    edge = rgb[:, border[0], border[1]]  # (T, N, 3)
    paper = np.median(edge, axis=(0, 1))
    spread = np.abs(edge - paper).mean()
    if np.abs(paper - (0.09, 0.27, 0.56)).max() < 0.12 and spread < 0.08:
        return "blueprint"
    if 0.7 < paper.mean() < 0.93 and np.ptp(paper) < 0.06 and spread < 0.06:
        height, width = rgb.shape[1] // 4 * 4, rgb.shape[2] // 4 * 4
        blocks = rgb[:, :height, :width].reshape(len(rgb), height // 4, 4, width // 4, 4, 3).mean((2, 4))
        return "charcoal" if np.ptp(blocks, axis=-1).mean() < 0.04 else "flat"
    if paper.max() < 0.09 and spread < 0.05:
        bright = brightest(rgb)
        lit, dim = (bright > 0.36).sum(), ((bright > 0.09) & (bright < 0.36)).sum()
        if dim > 0.75 * lit:
            return "neon"
    return "flat"


def _paper_distance(style, rgb, border):
    """How much a pixel differs from the paper, 0..100."""
    if style == "neon":
        return 100 * brightest(rgb)
    mean = rgb @ np.full(3, 1 / 3, np.float32)
    paper = np.median(mean[:, border[0], border[1]])
    return 100 * np.clip(paper - mean if style == "charcoal" else mean - paper, 0, 1)


# --------------------------------------------------------------------------------------------------------------------
# Plain and gradient: colours that change linearly, or not at all


def _affine(lab, rgb, border):
    """The linear fit to the border. Returns (picture (H, W, 3), names, kind, misfit)."""
    height, width = rgb.shape[1:3]
    rows, columns = border
    x, y = (columns + 0.5) / width, (rows + 0.5) / height
    basis = np.stack([np.ones_like(x), x, y], -1)
    edge = np.median(rgb[:, rows, columns], axis=0)  # (N, 3)
    weight = np.ones(len(x))
    for _ in range(3):  # robust: what does not fit loses its say
        fit = np.linalg.lstsq(basis * weight[:, None], edge * weight[:, None], rcond=None)[0]  # (3 terms, 3 channels)
        weight = 1 / (0.03 + np.abs(edge - basis @ fit).max(-1))
    start, across, along = fit
    far_x, far_y = np.linalg.norm(across), np.linalg.norm(along)
    middle = start + (across + along) / 2
    if far_x < 0.4 * far_y:
        ends = middle - along / 2, middle + along / 2
    elif far_y < 0.4 * far_x:
        ends = middle - across / 2, middle + across / 2
    else:
        ends = start, start + across + along
    first, second = (to_lab(np.clip(end, 0, 1)) for end in ends)
    yy, xx = np.mgrid[:height, :width]
    picture = start + across * ((xx + 0.5) / width)[..., None] + along * ((yy + 0.5) / height)[..., None]
    picture = np.clip(picture, 0, 1).astype(np.float32)
    seen = length(lab[:, rows, columns] - to_lab(picture[rows, columns]))
    misfit = float(np.minimum(seen, _CUT).mean())
    if np.linalg.norm(first - second) < 20:
        name, off = nearest(to_lab(np.clip(middle, 0, 1)))
        return picture, (name,), "plain", misfit + max(0.0, off - 14)
    (one, off_one), (two, off_two) = nearest(first), nearest(second)
    return picture, (one, two), "gradient", misfit + max(0.0, (off_one + off_two) / 2 - 14)


# --------------------------------------------------------------------------------------------------------------------
# Sky, sea, grass, night


@dataclass(frozen=True)
class _Layer:
    """One region's colours: from `top` to `bottom` by height, give or take `slack`, then up to `most` of `extra`."""

    top: tuple
    bottom: tuple
    extra: tuple
    most: float
    slack: float

    def explain(self, rgb, s):
        """The layer's colour nearest to each pixel; s (broadcast to rgb's) is the place, 0 = top, 1 = bottom."""
        top, step = np.array(self.top, np.float32), np.array(self.bottom, np.float32) - np.array(self.top, np.float32)
        s = np.clip((rgb - top) @ (step / (step @ step)), s - self.slack, s + self.slack).clip(0, 1)[..., None]
        base = top + step * s
        toward = np.array(self.extra, np.float32) - base
        share = np.einsum("...c,...c->...", rgb - base, toward) / np.einsum("...c,...c->...", toward, toward)
        return base + np.clip(share, 0, self.most)[..., None] * toward


_LAYERS = {
    "sky": (_Layer(*PALETTES["sky"], _WHITE, 0.5, 0.2),),
    "night": (_Layer(*PALETTES["night"], (0.95, 0.95, 0.85), 0.25, 0.3),),
    "sea": (
        _Layer(*PALETTES["sea"][:2], _WHITE, 0.5, 0.3),
        _Layer(*PALETTES["sea"][2:], (0.45, 0.75, 0.88), 0.24, 0.25),
    ),
    "grass": (
        _Layer(*PALETTES["grass"][:2], _WHITE, 0.5, 0.3),
        _Layer(*PALETTES["grass"][2:], (0.79, 0.92, 0.46), 0.55, 0.35),
    ),
}


def _horizon(layers, rgb) -> np.ndarray:
    """Where the lower layer begins, (T,), as a fraction of the height: the cut that explains the frame's sides best."""
    sides = rgb[:, :, [0, 1, -2, -1]]
    above, below = (np.abs(sides - layer.explain(sides, np.float32(0.5))).sum(-1).mean(-1) for layer in layers)
    gain = np.cumsum(np.minimum(below, 0.5) - np.minimum(above, 0.5), axis=1)  # of giving rows 0..i to the upper layer
    found = (gain.argmax(1) + 1.0) / rgb.shape[1]
    middle = np.median(found)
    return np.full_like(found, middle) if np.abs(found - middle).max() < 0.06 else found


def _distance(name, rgb, lab, rows, horizon=None):
    """What the model cannot explain of pixels (T, ..., 3) whose heights, 0..1, are `rows` (broadcast to (T, ...))."""
    layers = _LAYERS[name]
    if horizon is None:
        return _off(layers[0], rgb, lab, rows)
    h = horizon.reshape(-1, *(1,) * (rgb.ndim - 2)).astype(np.float32)
    upper, lower = _off(layers[0], rgb, lab, rows / h), _off(layers[1], rgb, lab, (rows - h) / (1.001 - h))
    # Hills and the horizon's soft edge: near it either will do, or any mixture of the two.
    far, near = np.array(layers[0].bottom, np.float32), np.array(layers[1].top, np.float32)
    share = np.clip((rgb - far) @ ((near - far) / ((near - far) @ (near - far))), 0, 1)[..., None]
    either = np.minimum(np.minimum(upper, lower), length(lab - to_lab(far + share * (near - far))))
    return np.where(rows < h - _BAND, upper, np.where(rows > h + _BAND, lower, either))


def _off(layer, rgb, lab, s):
    return length(lab - to_lab(layer.explain(rgb, np.float32(s))))


def _picture_distance(name, rgb, lab, heights, horizon):
    """`_distance` for whole pictures (T, H, W, 3); rows far from the horizon need one layer only."""
    rows = heights[:, None]
    if horizon is None:
        return _distance(name, rgb, lab, rows)
    low = int(np.searchsorted(heights, horizon.min() - _BAND))
    high = int(np.searchsorted(heights, horizon.max() + _BAND, side="right"))
    h = horizon.astype(np.float32)[:, None, None]
    upper, lower = _LAYERS[name]
    return np.concatenate(
        [
            _off(upper, rgb[:, :low], lab[:, :low], rows[:low] / h),
            _distance(name, rgb[:, low:high], lab[:, low:high], rows[low:high], horizon),
            _off(lower, rgb[:, high:], lab[:, high:], (rows[high:] - h) / (1.001 - h)),
        ],
        axis=1,
    )
