"""A clip back to words: what its pixels show, and whether that is what a scene says.

Classical vision only, deterministic, nothing learned: the background is a model fitted to the frame's border, things
are what it does not explain, shapes are the best of five templates, motions are the paths of centres, sizes and angles.
"""

from dataclasses import dataclass
from itertools import permutations

import numpy as np
import torch
from torch.nn import functional as F

from .scene import Scene, Thing
from .scorer.camera import read_camera
from .scorer.colour import to_lab
from .scorer.figures import find_figures
from .scorer.ground import read_ground
from .scorer.tracks import link, read_colour, read_motion, read_round, read_shape, read_turn
from .scorer.wall import find_wall

ATTRIBUTES = ("background", "colour", "shape", "motion", "count", "style", "camera")
_SHORT = 64  # clips whose shorter side is longer than 1.5 times this are shrunk to it


@dataclass(frozen=True)
class ReadThing:
    """One thing as seen. x, y: its centre when first seen, as fractions of width and height."""

    shape: str
    colour: str | None
    motion: str | None
    x: float
    y: float
    size: float  # square root of its area / shorter side
    turn: float = 0.0  # degrees over the clip, clockwise: of the thing, or of its path if that is an orbit


@dataclass(frozen=True)
class Reading:
    """What a clip shows. `count` may exceed len(things): at most two are described."""

    things: tuple[ReadThing, ...]
    count: int
    background: str
    background_colours: tuple[str, ...]
    style: str
    camera: str | None
    wall: bool


def score(video: torch.Tensor) -> Reading:
    """Read a clip, (3, T, H, W) in [-1, 1], of any size and length; one frame is a picture."""
    rgb, lab, ground, wall, found = _look(video)
    frames, height, width = rgb.shape[:3]
    counts = np.bincount([min(len(figures), 3) for figures in found if figures or not wall] or [0])
    count = int(counts.argmax())
    if wall:
        count = min(count, 1)
    things = []
    for track in link(found, min(count, 2)):
        shape = read_shape(track, ground)
        colour = read_colour(track, shape, ground, rgb, lab)
        turn = read_turn(track, shape)
        motion = read_motion(track, turn, frames, min(height, width), wall)
        if motion == "orbit":
            turn = read_round(track)
        first = track[0]
        size = first.area**0.5 / min(height, width)
        things.append(ReadThing(shape, colour, motion, first.x / width, first.y / height, size, turn))
    camera = read_camera(rgb, found, ground) if frames > 1 else None
    return Reading(tuple(things), count, ground.background, ground.colours, ground.style, camera, wall is not None)


def silhouettes(video: torch.Tensor) -> np.ndarray:
    """Where things are in a clip (3, T, H, W): (T, h, w) bool. Clips larger than the scorer needs are shrunk."""
    rgb, *_, found = _look(video)
    covered = np.zeros(rgb.shape[:3], bool)
    for figure in (figure for figures in found for figure in figures):
        inside = figure.coverage > 0.5
        covered[figure.frame, figure.rows[inside], figure.columns[inside]] = True
    return covered


def _look(video: torch.Tensor):
    """(pixels (T, h, w, 3) in 0..1, the same as Lab, the background, the wall or None, the figures of every frame)."""
    if video.dim() != 4 or video.shape[0] != 3:
        raise ValueError(f"a clip is (3, T, H, W), not {tuple(video.shape)}")
    video = (video.detach().float().cpu().clamp(-1, 1) + 1) / 2
    frames, height, width = video.shape[1:]
    if min(height, width) > 1.5 * _SHORT:
        scale = _SHORT / min(height, width)
        size = round(height * scale), round(width * scale)
        video = F.interpolate(video.transpose(0, 1), size=size, mode="area").transpose(0, 1)
    rgb = video.permute(1, 2, 3, 0).contiguous().numpy()
    lab = to_lab(rgb)
    ground = read_ground(rgb, lab)
    wall = find_wall(ground.style, rgb, lab, ground.distance) if frames > 1 else None
    return rgb, lab, ground, wall, find_figures(ground, wall)


def compare(reading: Reading, scene: Scene) -> dict[str, bool | None]:
    """Which attributes of a scene a reading confirms: True, False, or None where the question does not arise.

    Things are matched by the assignment that gets most right; an attribute is right only if it is for every thing.
    None: colours in styles that show none, the background under such styles, motion of a picture or under a moving
    camera, the camera of a picture.
    """
    moving_camera = scene.camera != "still"
    result = {
        "background": (reading.background, reading.background_colours) == (scene.background, scene.background_colours)
        if scene.shows_background
        else None,
        "colour": False,
        "shape": False,
        "motion": False,
        "count": reading.count == len(scene.things),
        "style": reading.style == scene.style,
        "camera": None if reading.camera is None else reading.camera == scene.camera,
    }
    best = (-1, (False, False, False))
    if len(reading.things) == len(scene.things):
        for things in permutations(reading.things):
            right = [
                (seen.colour == told.colour, seen.shape == told.shape, _moves_alike(seen, told))
                for seen, told in zip(things, scene.things, strict=True)
            ]
            best = max(best, (sum(map(sum, right)), tuple(all(own) for own in zip(*right, strict=True))))
    result["colour"], result["shape"], result["motion"] = best[1]
    if not scene.shows_colour:
        result["colour"] = None
    if reading.camera is None or moving_camera:
        result["motion"] = None
    return result


def _moves_alike(seen: ReadThing, told: Thing) -> bool:
    """Whether a thing moves as told; what spins or orbits has to turn the way it does in the scene."""
    return seen.motion == told.motion and (not told.way or (seen.turn > 0) == (told.way > 0))
