"""Prompting with images and videos: extend, loop, connect, edit, reframe, refine, and what stays behind a wall.

Inputs are held-out scenes of the worlds, so what should follow is known exactly. Everything is scored from pixels.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import islice, permutations

import numpy as np
import torch
from torch import Tensor

from .. import canvas as canvases
from .. import join
from ..canvas import Canvas
from ..change import against_median, mean_against_median, steps_of
from ..grid import MIN_SIDE, Grid
from ..quality import psnr
from ..video import fit
from ..worlds.caption import caption, then
from ..worlds.editing import colours_for, recoloured, restyled, styles_for
from ..worlds.scene import Scene
from ..worlds.score import Reading, compare, score, silhouettes
from .measures import ALL_FOUR, Result, Verdict, mean, share
from .prompts import Case, cases
from .setting import Setting, truth
from .sheets import Row, sheet

PREVIEW = 2 / 3  # of the sides that the checkpoint was trained at, so that the full size, twice a preview, is near them
STIRS = 0.25  # of the median step before: below it, what follows stands still
NEAR = 0.15  # of the frame: how far a thing may lie from where it was and still be in its place


def extend(setting: Setting) -> Result:
    """A clip of the checkpoint's length goes on, and is preceded, by as much again."""
    pipeline = setting.pipeline
    grid = pipeline.grid()
    new = grid.frames - 1
    whole = pipeline.grid(frames=grid.frames + new)
    made = _chosen(setting, whole, lambda scene: scene.camera == "still" and _moves(scene))
    tables, sheets = {}, {}
    for direction in ("forward", "backward"):
        seams, kept, goes_on, rows = [], [], [], []
        for group, videos in _batches(setting, made, whole, f"extend {direction}"):
            if direction == "forward":
                given = videos[:, :, : grid.frames]
                added = _new_frames(setting, join.after(pipeline, given, new, grid.fps), group)
                joined, seam = torch.cat([given, added], dim=2), grid.frames - 1
            else:
                given = videos[:, :, new:]
                added = _new_frames(setting, join.before(pipeline, given, new, grid.fps), group)
                joined, seam = torch.cat([added, given], dim=2), new - 1
            for case, clip, part, given_clip in zip(group, joined, added, given, strict=True):
                seams.append(_against_median(clip, [seam]))
                seen = compare(score(part), case.scene)
                kept.append(_both(seen, "colour", "shape"))
                goes_on.append(compare(score(clip), case.scene)["motion"] and _stirs(part, given_clip))
                rows.append(Row(case.prompt, clip, {"kept": kept[-1], "motion": goes_on[-1]}))
        tables[direction] = [
            mean("step at the seam / median step", seams, bar=1.2, most=True),
            share("the thing keeps colour and shape", kept, 90),
            share("the motion continues", goes_on, 85),
        ]
        sheets[direction.capitalize()] = sheet(rows[:16], setting.out / f"extend_{direction}.png", columns=2)
    return Result(
        "Extend",
        f"{len(made)} held-out scenes of {whole.frames} frames; {grid.frames} of them are given and {new} are new. "
        "Colour and shape are read in the new frames alone, the motion in the joined clip; the new frames "
        "have to move, too.",
        tables,
        sheets,
    )


def loop(setting: Setting) -> Result:
    """An existing clip is closed, and a loop is made from text."""
    pipeline = setting.pipeline
    grid = pipeline.grid()
    new = grid.frames - 1
    made = _chosen(setting, grid, _moves)
    bridged, rows = [], []
    for group, videos in _batches(setting, made, grid, "close a loop"):
        added = _new_frames(setting, join.between(pipeline, videos, videos, new, grid.fps), group)
        for case, clip in zip(group, torch.cat([videos, added], dim=2), strict=True):
            bridged.append(_against_median(clip, [grid.frames - 1, -1], closed=True))
            rows.append(Row(case.prompt, clip, {}))
    ring = pipeline.grid(frames=4 * grid.latent_shape[1], cyclic=True)
    cyclic, within = [], []
    stride = ring.geometry.t_stride
    others = range(stride - 1, ring.frames - 1, stride)
    for group, clips in setting.generate(made, ring, "cyclic loops"):
        cyclic += [_against_median(clip, [-1], closed=True) for clip in clips]
        within += [mean_against_median(steps_of(clip, closed=True), others) for clip in clips]
        rows += [Row(f"cyclic: {case.prompt}", clip, {}) for case, clip in zip(group, clips, strict=True)]
    shown = rows[:6] + rows[len(made) : len(made) + 6]
    return Result(
        "Loop",
        f"{len(made)} held-out scenes: a clip of {grid.frames} frames closed by {new} new ones (the larger of its two "
        f"seams counts), and {ring.frames} frames made cyclic from text.",
        {
            "bridged": [mean("step at the seam / median step", bridged, bar=1.05, most=True)],
            "cyclic": [
                mean("step at the seam / median step", cyclic, bar=1.05, most=True),
                mean("step into the other latent frames / median step", within),
            ],
        },
        {"Bridged, then cyclic": sheet(shown, setting.out / "loop.png", columns=2)},
    )


def connect(setting: Setting) -> Result:
    """From a clip of one scene to a clip of another."""
    pipeline = setting.pipeline
    grid = pipeline.grid()
    new = grid.frames - 1
    made = _chosen(setting, grid, lambda scene: len(scene.things) == 1 and not scene.wall)
    ends, jumps, rows = [], [], []
    for pairs in setting.batches(list(zip(made, made[1:] + made[:1], strict=True)), "connect"):
        group, next_ones = zip(*pairs, strict=True)
        a, b = (truth(part, grid).to(pipeline.device) for part in (group, next_ones))
        prompts = [then(x.prompt, y.prompt) for x, y in zip(group, next_ones, strict=True)]
        added = _new_frames(setting, join.between(pipeline, a, b, new, grid.fps), group, prompts)
        joined = torch.cat([a.cpu(), added, b.cpu()], dim=2)
        for (x, y), clip, part, said in zip(pairs, joined, added, prompts, strict=True):
            first, last = (
                compare(score(part[:, at]), case.scene) for at, case in ((slice(3), x), (slice(-3, None), y))
            )
            ends.append(_both(first, "colour", "shape") and _both(last, "colour", "shape"))
            jumps.append(_against_median(clip, range(clip.shape[1] - 1)))
            rows.append(Row(said, clip, {"ends": ends[-1]}, frames=8))
    return Result(
        "Connect",
        f"{len(made)} pairs of held-out scenes with one thing each, {grid.frames} frames, joined by {new} new ones. "
        "An end is right if the three new frames next to a clip show its thing in colour and shape.",
        {
            "bridge": [
                share("both ends right", ends, 95),
                mean("largest step / median step", jumps, bar=2.5, most=True),
            ]
        },
        {"From one to the other": sheet(rows[:12], setting.out / "connect.png", columns=1)},
    )


def edit(setting: Setting) -> Result:
    """SDEdit: another style, and another colour of the thing."""
    pipeline = setting.pipeline
    grid = pipeline.grid()
    made = _chosen(setting, grid, _editable)
    styled, overlaps, coloured, all_kept, rows = [], [], [], [], []
    for what, change in (("style", _restyled), ("colour", _recoloured)):
        targets = iter([change(case, number) for number, case in enumerate(made)])
        for group, videos in _batches(setting, made, grid, f"edit the {what}"):
            goals = list(islice(targets, len(group)))
            held = canvases.keep(pipeline.encode(videos.to(pipeline.device)), grid)
            clips = setting.clips(canvases.edit(held, canvases.EDIT_STRENGTH), goals)
            for case, video, clip in zip(goals, videos, clips, strict=True):
                seen = compare(score(clip), case.scene)
                if what == "style":
                    styled.append(seen["style"])
                    overlaps.append(_overlap(silhouettes(video), silhouettes(clip)))
                else:
                    coloured.append(seen["colour"])
                    all_kept.append(_both(seen, *ALL_FOUR))
                rows.append(Row(case.prompt, torch.cat([video, clip], dim=-1), seen))
    half = len(made)
    return Result(
        "Edit",
        f"{half} held-out clips; the prompt asks for another style or another colour of the thing (strength "
        f"{canvases.EDIT_STRENGTH}). Left the clip that was given, right the edit.",
        {
            "style": [
                share("style as told", styled, 85),
                mean("layout kept: intersection over union", overlaps, bar=0.6),
            ],
            "colour": [
                share("colour as told, background, shape and motion kept", all_kept, 80),
                share("colour as told", coloured),
            ],
        },
        {"Edits": sheet(rows[:8] + rows[half : half + 8], setting.out / "edit.png", columns=2)},
    )


def reframe(setting: Setting) -> Result:
    """A square clip inside 16:9 and 9:16."""
    pipeline = setting.pipeline
    grid = pipeline.grid()
    made = _chosen(setting, grid, lambda scene: scene.shows_background and scene.camera == "still")
    tables, sheets = {}, {}
    wide = max(grid.width, round(grid.height * 16 / 9 / 16) * 16)
    high = max(grid.height, round(grid.width * 16 / 9 / 16) * 16)
    for name, width, height in (("16:9", wide, grid.height), ("9:16", grid.width, high)):
        good, rows = [], []
        for group, videos in _batches(setting, made, grid, f"reframe to {name}"):
            latent = pipeline.encode(videos.to(pipeline.device))
            canvas = canvases.reframe(canvases.keep(latent, grid), width, height)
            plain = torch.cat(list(pipeline.frames(latent, grid)), dim=2).cpu()
            top, left = (-cells * grid.geometry.s_stride for cells in canvas.origin[1:])
            for case, clip, alone in zip(group, setting.clips(canvas, group), plain, strict=True):
                inside = clip[..., top : top + grid.height, left : left + grid.width]
                close = float(psnr(alone[None, :, :, 8:-8, 8:-8], inside[None, :, :, 8:-8, 8:-8]).mean()) >= 30
                seen = compare(score(clip), case.scene)
                good.append(close and bool(seen["background"]))
                rows.append(Row(case.prompt, clip, {"inside": close, "background": seen["background"]}))
        tables[name] = [share("inside kept, border continues the background", good, 85)]
        sheets[name] = sheet(rows[:12], setting.out / f"reframe_{width}x{height}.png", columns=2)
    return Result(
        "Reframe",
        f"{len(made)} held-out clips inside {wide}x{grid.height} and {grid.width}x{high}. The inside is kept if it is "
        "within 30 dB of the same latent decoded alone, 8 pixels from the border on; the background is read from all.",
        tables,
        sheets,
    )


def sizes_agree(setting: Setting) -> Result:
    """The same seed at preview and at full size, and the preview refined."""
    pipeline = setting.pipeline
    sides = (pipeline.size.width, pipeline.size.height)
    grid = pipeline.grid(*(max(MIN_SIDE, round(PREVIEW * side / 8) * 8) for side in sides))
    full = pipeline.grid(2 * grid.width, 2 * grid.height)
    made = _chosen(setting, grid, lambda scene: scene.camera == "still", share_of=1 / 8)
    same, after_refine, rows = [], [], []
    for group in setting.batches(made, "preview and full size"):
        prompts, seed = [case.prompt for case in group], group[0].seed
        small = pipeline.fill(canvases.empty(grid, len(group), pipeline.device), prompts, seed=seed, **setting.changes)
        large = replace(canvases.empty(full, len(group), pipeline.device), scale=2)
        preview = torch.cat(list(pipeline.frames(small, grid)), dim=2)
        frames = fit(preview.transpose(1, 2).flatten(0, 1), full.width, full.height)  # as pixels, as `sora refine` does
        latent = pipeline.encode(frames.unflatten(0, (len(group), -1)).transpose(1, 2))
        refined = replace(canvases.edit(canvases.keep(latent, full), canvases.REFINE_STRENGTH), scale=2)
        both = (setting.clips(canvas, group) for canvas in (large, refined))
        for case, a, b, c in zip(group, preview.cpu(), *both, strict=True):
            seen, others = score(a), (score(b), score(c))
            same.append(_same_composition(seen, others[0]))
            after_refine.append(_same_composition(seen, others[1]))
            bigger = torch.nn.functional.interpolate(a.transpose(0, 1), scale_factor=2).transpose(0, 1)
            verdict = {"same seed": same[-1], "refined": after_refine[-1]}
            rows.append(Row(case.prompt, torch.cat([bigger, b, c], dim=-1), verdict, frames=3))
    return Result(
        "Preview and full size",
        f"{len(made)} held-out prompts, {grid.width}x{grid.height} and {full.width}x{full.height} from the same seed, "
        f"and the preview refined (strength {canvases.REFINE_STRENGTH}). The composition is the same if as many things "
        f"of the same colour lie within {NEAR:.0%} of the frame of each other.",
        {"composition": [share("same seed", same, 70), share("after refine", after_refine, 90)]},
        {"Preview, full size from the same seed, preview refined": sheet(rows[:10], setting.out / "sizes_agree.png")},
    )


def permanence(setting: Setting) -> Result:
    """A thing passes behind a wall: what comes out is what went in."""
    pipeline = setting.pipeline
    grid = pipeline.grid()
    made = _chosen(setting, grid, lambda scene: scene.wall is not None and scene.style in ("flat", "neon"))
    same, rows = [], []

    def canvas_of(group: list[Case]) -> Canvas:
        return pipeline.image_canvas(truth(group, grid)[:, :, 0].to(pipeline.device), grid, len(group))

    for group, clips in setting.generate(made, grid, "behind a wall", canvas_of):
        for case, clip in zip(group, clips, strict=True):
            before, after = score(clip[:, :3]), score(clip[:, -3:])
            looks = [[(thing.colour, thing.shape) for thing in seen.things] for seen in (before, after)]
            crossed = bool(before.things and after.things) and abs(before.things[0].x - after.things[0].x) > 0.25
            same.append(crossed and looks[0] == looks[1])
            rows.append(Row(case.prompt, clip, {"same": same[-1]}, frames=7))
    return Result(
        "Permanence",
        f"{len(made)} held-out scenes in which a thing passes behind a wall, from their first frame and the prompt: it "
        "must be on the other side at the end, with the colour and the shape of the start.",
        {"behind a wall": [share("comes out the same", same, 80)]},
        {"Behind a wall": sheet(rows[:12], setting.out / "permanence.png", columns=1)},
    )


# ---------------------------------------------------------------------------------------------------------------- cases


def _chosen(setting: Setting, grid: Grid, wanted: Callable[[Scene], bool], share_of: float = 1 / 4) -> list[Case]:
    """The first held-out cases with the scenes that are wanted; their seeds follow each other."""
    count, found, drawn = setting.part(share_of), [], 64
    while len(found) < count:
        drawn *= 2
        many = cases(drawn, setting.seed, aspect=grid.width / grid.height, seconds=grid.seconds)
        found = [case for case in many if wanted(case.scene)]
    return [replace(case, seed=setting.seed + number) for number, case in enumerate(found[:count])]


def _moves(scene: Scene) -> bool:
    return scene.camera == "still" and any(thing.motion != "still" for thing in scene.things)


def _editable(scene: Scene) -> bool:
    """In every style there is one like it."""
    return scene.style == "flat" and len(scene.things) == 1 and not scene.wall and scene.camera == "still"


def _restyled(case: Case, number: int) -> Case:
    """The scene in another style, the next of the three that suits its colours."""
    styles = styles_for(case.scene)
    return _reworded(case, restyled(case.scene, styles[number % len(styles)]), number)


def _recoloured(case: Case, number: int) -> Case:
    """The scene with another colour of its one thing, that shows before the background."""
    choice = colours_for(case.scene)
    return _reworded(case, recoloured(case.scene, choice[number % len(choice)]), number)


def _reworded(case: Case, scene: Scene, number: int) -> Case:
    return replace(case, scene=scene, prompt=caption(scene, random.Random(f"edit {number}"), "held_out"))


# --------------------------------------------------------------------------------------------------------------- making


def _batches(setting: Setting, made: Sequence[Case], grid: Grid, what: str) -> Iterator[tuple[list[Case], Tensor]]:
    """(cases, what they look like (B, 3, T, H, W)) a batch at a time, on the CPU."""
    for group in setting.batches(made, what):
        yield group, truth(group, grid)


def _new_frames(
    setting: Setting, part: join.Part, group: Sequence[Case], prompts: Sequence[str] | None = None
) -> Tensor:
    return torch.cat(list(join.new_frames([setting.clips(part.canvas, group, prompts)], part)), dim=2)


# ------------------------------------------------------------------------------------------------------------- measures


def _against_median(clip: Tensor, at: Sequence[int], closed: bool = False) -> float:
    """The largest of the steps `at`, mean absolute differences of a frame (3, T, H, W) to the next, over the median
    step; `closed` counts the one from the last frame to the first as the last."""
    return against_median(steps_of(clip, closed), at)


def _stirs(part: Tensor, given: Tensor) -> bool:
    """Whether new frames (3, T, H, W) move, by their median step: a clip that stands still at its end may well be read
    as the motion of its start."""
    return bool(steps_of(part).median() >= STIRS * steps_of(given).median())


def _both(seen: Verdict, *names: str) -> bool:
    """Whether everything among `names` that is to be seen is right."""
    return all(seen[name] for name in names if seen[name] is not None)


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    """Intersection over union of two silhouettes (T, h, w)."""
    either = (a | b).sum()
    return float((a & b).sum() / either) if either else 0.0


def _same_composition(a: Reading, b: Reading) -> bool:
    """Whether two readings see as many things, and can be matched so that colours agree and places are near."""
    if a.count != b.count or len(a.things) != len(b.things) or not a.things or a.background != b.background:
        return False
    return any(
        all(
            x.colour == y.colour and max(abs(x.x - y.x), abs(x.y - y.y)) <= NEAR
            for x, y in zip(a.things, order, strict=True)
        )
        for order in permutations(b.things)
    )
