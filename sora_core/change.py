"""How a video changes: from frame to frame, and in colour, contrast and sharpness over time. Frames are a stream."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .worlds.scorer.colour import to_lab

QUIET = 1 / 255  # half a grey level in [-1, 1]: added to both sides of a ratio of steps, which may be of stillness
FLAT = 0.5  # of L* 0..100: the same for ratios of contrasts


def step(a: Tensor, b: Tensor) -> Tensor:
    """Mean absolute difference of two frames, or of each pair of frames: (3, ..., H, W) in [-1, 1] -> (...)."""
    return (a.clamp(-1, 1) - b.clamp(-1, 1)).abs().mean(dim=(0, -2, -1))


def steps_of(clip: Tensor, closed: bool = False) -> Tensor:
    """The steps from each frame of (3, T, H, W) to the next, `closed` also from the last to the first."""
    following = torch.roll(clip, -1, dims=1) if closed else clip[:, 1:]
    return step(following, clip[:, : following.shape[1]])


def against_median(steps: Tensor, at: Sequence[int]) -> float:
    """The largest of the steps `at` over the median step: 1 where they are like the others."""
    return float((steps[list(at)].max() + QUIET) / (steps.median() + QUIET))


def mean_against_median(steps: Tensor, at: Sequence[int]) -> float:
    """The mean of the steps `at` over the median step: 1 where they are like the others."""
    return float((steps[list(at)].mean() + QUIET) / (steps.median() + QUIET))


@dataclass(frozen=True)
class Look:
    """What frames look like, taken together.

    Attributes:
        colour: (3,) mean CIE L*a*b*.
        contrast: standard deviation of L*.
        edges: root mean square difference of L* between neighbouring pixels, which a blur lowers.
    """

    colour: np.ndarray
    contrast: float
    edges: float

    @property
    def sharpness(self) -> float:
        """Edges for their contrast: a picture that only fades is as sharp as before."""
        return (self.edges + FLAT) / (self.contrast + FLAT)

    def away(self, other: Look) -> float:
        """How far the colours of two looks are apart (CIE76)."""
        return float(np.linalg.norm(self.colour - other.colour))


def look(frames: Iterable[Tensor]) -> Look:
    """The look of frames (3, H, W) in [-1, 1]."""
    lab, square, edges, count = np.zeros(3), 0.0, 0.0, 0
    for frame in frames:
        pixels = to_lab((frame.clamp(-1, 1).permute(1, 2, 0).cpu().numpy() + 1) / 2)
        light = pixels[..., 0].astype(np.float64)
        lab += pixels.reshape(-1, 3).mean(0, dtype=np.float64)
        square += (light**2).mean()
        across = [np.diff(light, axis=axis) ** 2 for axis in (0, 1)]
        edges += sum(one.sum() for one in across) / max(1, sum(one.size for one in across))
        count += 1
    lab, square = lab / count, square / count
    return Look(lab, float(max(0.0, square - lab[0] ** 2)) ** 0.5, float(edges / count) ** 0.5)
