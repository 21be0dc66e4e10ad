"""Colours as people tell them apart: sRGB to CIE L*a*b* by table, and the nearest of the twelve names."""

import numpy as np

from ..contrast import lab
from ..vocabulary import COLOURS, NEON_RGB

_STEPS = 2048
_CODE = np.arange(_STEPS + 1) / _STEPS
_LINEAR = np.where(_CODE <= 0.04045, _CODE / 12.92, ((_CODE + 0.055) / 1.055) ** 2.4).astype(np.float32)
_CUBE_ROOT = np.where(_CODE > 216 / 24389, np.cbrt(_CODE), (24389 / 27 * _CODE + 16) / 116).astype(np.float32)
# Rows give X / Xn, Y / Yn, Z / Zn of linear RGB (D65).
_XYZ = np.array([[0.43395, 0.37622, 0.18990], [0.21260, 0.71520, 0.07220], [0.01773, 0.10947, 0.87280]], np.float32)

NAMES = tuple(COLOURS)
NAMED_LAB = lab(np.array(list(COLOURS.values())) / 255).astype(np.float32)  # (12, 3)
_NEON = np.array(list(NEON_RGB.values()), np.float32)


def to_lab(rgb: np.ndarray) -> np.ndarray:
    """CIE L*a*b* of sRGB values (..., 3) in 0..1, to a quarter of a unit: tables instead of powers, for speed."""
    linear = _LINEAR[(rgb * _STEPS + 0.5).astype(np.int32)]
    f = _CUBE_ROOT[((linear @ _XYZ.T) * _STEPS + 0.5).astype(np.int32).clip(0, _STEPS)]
    x, y, z = f[..., 0], f[..., 1], f[..., 2]
    out = np.empty_like(f)
    out[..., 0], out[..., 1], out[..., 2] = 116 * y - 16, 500 * (x - y), 200 * (y - z)
    return out


def length(vectors: np.ndarray) -> np.ndarray:
    """Euclidean length along the last axis, several times faster than numpy's norm where that axis is short."""
    return np.sqrt(np.einsum("...c,...c->...", vectors, vectors))


def brightest(rgb: np.ndarray) -> np.ndarray:
    """The largest channel of each pixel."""
    return np.maximum(np.maximum(rgb[..., 0], rgb[..., 1]), rgb[..., 2])


def nearest(colour_lab) -> tuple[str, float]:
    """The name whose colour is nearest to a L*a*b* value, and how far it is (CIE76)."""
    away = np.linalg.norm(NAMED_LAB - colour_lab, axis=-1)
    return NAMES[int(away.argmin())], float(away.min())


def nearest_glow(rgb) -> str:
    """The name of the neon glass whose hue and saturation are nearest to those of a glow (brightness set aside)."""
    glass = _NEON / np.linalg.norm(_NEON, axis=-1, keepdims=True)
    own = np.asarray(rgb) / max(float(np.linalg.norm(rgb)), 1e-6)
    return tuple(NEON_RGB)[int(np.linalg.norm(glass - own, axis=-1).argmin())]
