"""What a clip of the worlds shows and is told: a scene, a stretch of one, or what only a prompt with a video asks for.

Three kinds of clips make up for what no single scene gives. An **edit** has a noisy latent that still holds another
clip. SDEdit starts from a source at level m; where the network says "target" all the way, Euler's path is at level
r = m s at

    x_r = (1 - s) target + s (1 - m) source + r e,

so that is what it is shown, to find the target in it: things stay in their place while style, colour, shape or backdrop
become what the sentence says. A **dissolve** leads from one scene to another, its ends given: what connects two videos
that have nothing in common. On the way a thing goes to the place of the other scene's as it takes on its looks: one
thing with an outline, not the ghosts of two. A **loop** ends as it begins, seen as a sampler sees a circle that it cut
open (`windows.circle`: the latent frame before the cut leads the others, so is there twice), or with its ends given.

A **lesson** is for what is rare or means little among all else, so that 53,000 steps did not teach it: which colour a
gradient begins with ("order"), which way a thing goes round a circle ("way"), what spins ("spin"), what orbits beside
another thing ("orbit"), and how one clip leads to the next ("bridge"). Nearly all that differs between its clips hangs
on that, at levels at which the noise hides it: gradients that all run downwards, one thing on a circle, one large thing
that spins clockwise. So seen, the order shows in what is predicted after 100 steps of 80 images and the way after 100
of 20 clips, of 48x48, where 200 steps of gradients of all directions, and of all that turns, had shown neither; what
spins keeps its outline after 200 of 12 clips of 64x64, where ten thousand clips that spin either way had left a mean of
both.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from ..config import bounded, fits
from ..grid import MAX_SIDE, MIN_SIDE, Geometry
from ..worlds.caption import caption_with_targets, then
from ..worlds.editing import edited, looped
from ..worlds.presence import by_cell, presence
from ..worlds.render import paths, render, render_morph
from ..worlds.scene import Scene, sample_scene

TURNS = {"spin": 0.24, "orbit": 0.24}  # shares of the clips that are drawn until something does so: hardest to learn
CLOCKWISE = 0.7  # share of the clips in which nothing spins the other way: the word for it is not read, and blurs spins
LESSONS = {  # and between which levels they are
    "order": (0.8, 1.0),
    "way": (0.6, 1.0),
    "spin": (0.5, 0.95),
    "orbit": (0.5, 0.95),
    "bridge": (0.1, 1.0),
}
LARGE = 1 / 3  # of the shorter side, and more: what the lesson of spins shows
STRENGTHS = (0.6, 0.95)  # of edits
EARLY, BEGINNING = 0.5, 0.8  # share of edits early on their path, and where on it: there the source is still to be seen
BACK = 0.25  # share of edits that lead from the edited scene to the plain one
GIVEN = 0.85  # share of dissolves whose ends are given
CUT_OPEN = 0.6  # share of loops that are seen as a circle cut open
EASE = 0.1  # share of a dissolve in which it gains speed, and loses it at the end


@dataclass(frozen=True)
class Part:
    """Clips of one size in a pack."""

    clips: int
    frames: int
    width: int
    height: int
    of: int = 0  # frames of the scene that a clip is a stretch of; 0 is all of it

    def __post_init__(self):
        bounded(self, 1, math.inf, "clips", "frames")
        bounded(self, MIN_SIDE, MAX_SIDE, "width", "height")
        if self.of and self.of < self.frames:
            raise ValueError(f"a clip of {self.frames} frames is no stretch of a scene of {self.of}")

    @classmethod
    def read(cls, numbers: list) -> "Part":
        """A part as a config writes it."""
        if not fits(numbers, tuple[int, ...]) or len(numbers) not in (4, 5):
            raise ValueError(f"parts must be lists of clips, frames, width, height (and of), not {numbers!r:.40}")
        return cls(*numbers)

    @property
    def whole(self) -> int:
        """Frames of the scene."""
        return self.of or self.frames

    @property
    def image(self) -> bool:
        return self.frames == 1

    def scene(self, rng, fps: float) -> Scene:
        return sample_scene(rng, aspect=self.width / self.height, seconds=self.whole / fps, image=self.image)


@dataclass
class Show:
    """One clip before it is rendered."""

    scene: Scene
    level: Tensor  # (t, h, w) in patches
    source: Scene | None = None  # an edit is made out of it,
    strength: float = 1.0  # from this level on
    end: Scene | None = None  # a dissolve leads to it;
    share: Tensor | None = None  # (frames,) 0..1: how much of it each frame shows
    circle: bool = False  # the first latent frame is the last one again, noise and all

    def told(self, rng, image: bool, begins: bool) -> tuple[str, str, list[float], list[float]]:
        """The sentence of the clip, the sentence of its (first) scene, and what facts that one settles; see `caption`
        for the arguments."""
        text, values, mask = caption_with_targets(self.scene, rng, image=image, begins=begins)
        if self.end is None:
            return text, text, values, mask
        end, *_ = caption_with_targets(self.end, rng, begins=False)  # its thing comes from the other scene's place
        return then(text, end), text, values, mask


def draw(
    part: Part,
    rng,
    levels: Callable[..., Tensor],
    geometry: Geometry,
    fps: float,
    pairs: float,
    edits: float,
    dissolves: float,
    loops: float,
) -> list[Show]:
    """The clips of a part, of which shares are edits, dissolves and loops. `levels` is `training_levels` for this grid.

    pairs: share of the scenes of videos that are drawn until two things move, each in its own way; of the others it is
        as the world has it.
    """
    made = []
    for _ in range(part.clips):
        scene, pair, roll = part.scene(rng, fps), rng.random() < pairs, rng.random()
        chance = rng.random()
        turn = "spin" if chance < TURNS["spin"] else "orbit" if chance < sum(TURNS.values()) else None
        clockwise = rng.random() < CLOCKWISE
        while not part.image and not _suits(scene, pair, turn, clockwise):
            scene = part.scene(rng, fps)
        if roll < edits and (target := edited(scene, rng)):
            source, scene = (scene, target) if rng.random() >= BACK else (target, scene)
            strength, time = float(rng.uniform(*STRENGTHS)), levels(mode="whole")
            if rng.random() < EARLY:
                time = torch.full_like(time, rng.uniform(BEGINNING, 1))
            made.append(Show(scene, time * strength, source, strength))
            continue
        show = Show(scene, levels())
        if edits <= roll < edits + dissolves and (moments := geometry.latent_frames(part.frames)) >= 3:
            end = part.scene(rng, fps)
            first, last = sorted(rng.choice(np.arange(1, moments), 2, replace=False).tolist())
            level = levels(mode="whole") if (given := rng.random() < GIVEN) else show.level
            show = _dissolve(scene, end, first, last, level, given, part, geometry)
        of_loops = 0 <= roll - edits - dissolves < loops and _closes(part, geometry)
        if of_loops and (loop := looped(scene, float(rng.random()))):
            show = Show(loop, levels(mode="ends"))
            if rng.random() < CUT_OPEN:
                show.level, show.circle = levels(mode="whole"), True
        made.append(show)
    return made


def _dissolve(
    scene: Scene, end: Scene, first: int, last: int, level: Tensor, given: bool, part: Part, geometry: Geometry
) -> Show:
    """From one scene to another, between the last frame before latent frame `first` and the first frame of `last`.

    given: what lies outside is clean, as it is when a canvas connects two videos.
    """
    level, patch = level.clone(), geometry.patch[0]
    if given:
        level[: first // patch], level[-(-last // patch) :] = 0, 0
    return Show(scene, level, end=end, share=_ramp(part.frames, geometry.t_stride, first, last))


def teach(lesson: str, part: Part, rng, levels: Callable[..., Tensor], geometry: Geometry, fps: float) -> list[Show]:
    """The clips of a part of a lesson, all that is new in each at one level."""
    made, moments = [], geometry.latent_frames(part.frames)
    new, margin = max(1, 2 * moments // 5), max(1, moments // 5)  # of a bridge: as long as what is given of each clip
    patches = levels(mode="whole")
    while len(made) < part.clips:
        scene = part.scene(rng, fps)
        if lesson == "bridge":
            if _single(scene) and _single(end := part.scene(rng, fps)):
                first = int(rng.integers(margin, moments - margin - new + 1))
                level = torch.full_like(patches, rng.uniform(*LESSONS[lesson]))
                made.append(_dissolve(scene, end, first, first + new, level, True, part, geometry))
            continue
        if lesson == "order":
            teaches, scene = scene.background == "gradient", replace(scene, direction="vertical")
        elif lesson == "way":
            teaches = _alone(scene, "orbit", way=-1 if len(made) % 2 else 1)
        elif lesson == "orbit":
            teaches = _beside(scene, "orbit", way=1)
        else:
            teaches = _alone(scene, "spin", way=1) and scene.things[0].size >= LARGE
        if teaches:
            made.append(Show(scene, torch.full_like(patches, rng.uniform(*LESSONS[lesson]))))
    return made


def _alone(scene: Scene, motion: str, way: int) -> bool:
    """Whether one thing moves so, that way, alone, before a camera and a background that do not distract."""
    (thing, *others) = scene.things
    plain = scene.camera == "still" and scene.background != "gradient"
    return plain and not others and thing.motion == motion and thing.way == way


def _beside(scene: Scene, motion: str, way: int) -> bool:
    """Whether one of two things moves so, that way, and the other does not turn, before a camera that stands still."""
    turning = [(thing.motion, thing.way) for thing in scene.things if thing.way]
    return scene.camera == "still" and len(scene.things) == 2 and turning == [(motion, way)]


def _single(scene: Scene) -> bool:
    """Whether it shows one thing and nothing that may hide it."""
    return len(scene.things) == 1 and not scene.wall


def _suits(scene: Scene, pair: bool, turn: str | None, clockwise: bool) -> bool:
    """Whether two things move, each in its own way, one turns so, and what spins does so clockwise, where asked for."""
    motions = {thing.motion for thing in scene.things}
    back = any(thing.motion == "spin" and thing.way < 0 for thing in scene.things)
    return (len(motions) == 2 or not pair) and (turn is None or turn in motions) and not (clockwise and back)


def _closes(part: Part, geometry: Geometry) -> bool:
    """Whether clips of a part can be loops: whole scenes that end with a latent frame, in patches of one."""
    moments = geometry.latent_frames(part.frames)
    whole = geometry.frames(moments) == part.frames and not part.of
    return moments >= 3 and whole and geometry.patch[0] == 1


def _ramp(frames: int, stride: int, first: int, last: int) -> Tensor:
    """(frames,) from 0 to 1, as `_dissolve` has it.

    It eases in and out, so that beside each scene that scene is seen: of 24 pairs of scenes that stand still, morphed
    over 16 frames, both things can be told in the three frames beside their own clips in 92 % (at even speed in 71 %),
    and the largest step is 2.7 times the median step (2.5).
    """
    begin, end = stride * (first - 1), stride * (last - 1) + 1
    time = ((torch.arange(frames) - begin) / (end - begin)).clamp(0, 1)
    near = torch.minimum(time, 1 - time)
    share = torch.where(near < EASE, near.square() / (2 * EASE), near - EASE / 2) / (1 - EASE)
    return torch.where(time < 0.5, share, 1 - share)


def pixels(shows: list[Show], part: Part, start: int, fps: float, device) -> Tensor:
    """(B, 3, T, H, W): the part's frames from `start` on of every scene, or on its way to another."""
    size, seen = (part.whole, part.height, part.width), slice(start, start + part.frames)
    video = torch.empty(len(shows), 3, part.frames, part.height, part.width, device=device)
    ways = [row for row, show in enumerate(shows) if show.end]
    if plain := [row for row, show in enumerate(shows) if not show.end]:
        video[plain] = render([shows[row].scene for row in plain], *size, fps, device)[:, :, seen]
    if ways:
        scenes, ends, share = _ways([shows[row] for row in ways], part, start, device)
        video[ways] = render_morph(scenes, ends, share, *size, fps)[:, :, seen]
    return video


def _ways(shows: list[Show], part: Part, start: int, device) -> tuple[list[Scene], list[Scene], Tensor]:
    """The scenes, what they lead to, and how far the way is gone (B, T) in every frame of the scenes."""
    share = torch.stack([show.share for show in shows]).to(device)
    share = F.pad(F.pad(share, (start, 0)), (0, part.whole - start - part.frames), value=1.0)
    return [show.scene for show in shows], [show.end for show in shows], share


def content(shows: list[Show], latent: Tensor, part: Part, start: int, fps: float, encode) -> Tensor:
    """(B, C, t, h, w): what the noisy latents hold beside their noise, the clean ones `latent` but for edits."""
    edits = [row for row, show in enumerate(shows) if show.source]
    if not edits:
        return latent
    sources = [Show(shows[row].source, shows[row].level) for row in edits]
    source, held = encode(pixels(sources, part, start, fps, latent.device)), latent.clone()
    for row, before in zip(edits, source, strict=True):
        m, r = shows[row].strength, float(shows[row].level.flatten()[0])
        s = r / m
        held[row] = ((1 - s) * latent[row] + s * (1 - m) * before) / (1 - r)
    return held


def places(shows: list[Show], part: Part, start: int, geometry: Geometry, device) -> Tensor:
    """What stands in the place of every token, in the order of the tokens, (N, PRESENCE): see `worlds.presence`."""
    size, seen = (part.whole, part.height, part.width), slice(start, start + part.frames)
    strides = (geometry.t_stride, geometry.s_stride)
    known = presence([show.scene for show in shows], *size, *strides, device, seen)
    ways = [row for row, show in enumerate(shows) if show.end]
    if ways:
        scenes, ends, share = _ways([shows[row] for row in ways], part, start, device)
        here, there = (paths(of, *size, device) for of in (scenes, ends))
        first = presence(scenes, *size, *strides, device, seen, here.toward(there, share))
        last = presence(ends, *size, *strides, device, seen, there.toward(here, 1 - share))
        share = share[:, seen]
        moments = by_cell(share, 1, geometry.t_stride)
        known[ways] = first.lerp(last, moments[:, :, None, None, None])
    circles = [row for row, show in enumerate(shows) if show.circle]
    known[circles, 0] = known[circles, -1]
    known = known.movedim(-1, 1)
    short = [-n % q for n, q in zip(known.shape[2:], geometry.patch, strict=True)]
    known = F.pad(known, (0, short[2], 0, short[1], 0, short[0]), mode="replicate")
    return F.avg_pool3d(known, geometry.patch).movedim(1, -1).flatten(0, 3)
