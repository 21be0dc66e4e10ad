"""The commands that fill a canvas: what each takes, and the film that it plans."""

from __future__ import annotations

import argparse
import json
import os
import re
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from ..errors import UserError
from ..grid import MAX_SIDE, MIN_SIDE, PLACES
from .make import Making
from .options import Parser, number, whole

MORPH = 0.9  # strength of a morph's middle
FREE = "the model is free."
WHOLE = "--seconds or --frames is the length of the whole (default: as much as the model makes)."

# ----------------------------------------------------------------------------------------------------- from words alone


def generate_arguments(parser: Parser) -> None:
    parser.epilog = WHOLE
    parser.add_argument(
        "--times",
        type=whole,
        default=1,
        metavar="N",
        help="how many times wider and higher this is than a prototype with the same --seed, to keep its composition",
    )


def plan_generate(asked, pipeline):
    from .. import canvas

    if asked.times > MAX_SIDE // MIN_SIDE:
        raise UserError(f"--times must be at most {MAX_SIDE // MIN_SIDE}, not {str(asked.times)[:20]}.")
    return _film(replace(canvas.empty(_grid(asked, pipeline)), scale=asked.times))


def loop_arguments(parser: Parser) -> None:
    parser.epilog = "With VIDEO, --seconds or --frames is the way back from its end to its start; else the whole loop."
    _context(parser)


def plan_loop(asked, pipeline):
    """Without a file the canvas itself is cyclic; a file gets a bridge from its end to its start."""
    from .. import canvas, join

    if asked.files:
        clip = _clips(asked, pipeline)[0]
        count = _new_frames(asked, pipeline, clip.fps)
        context = _seen(asked)
        head, tail, length = _ends(clip, pipeline, count, context, "between")
        part = join.between(pipeline, tail, head, count, clip.fps, context)
        return join.row([join.Shot(clip, 0, length), part])
    if asked.context is not None:
        raise UserError("--context is for closing a VIDEO: a loop from text alone has nothing to go on from.")
    stride = pipeline.geometry.t_stride
    if asked.frames is None and asked.seconds is None:
        asked.frames = max(stride, pipeline.size.frames // stride * stride)
    return _film(canvas.empty(_grid(asked, pipeline, cyclic=True)))


# ------------------------------------------------------------------------------------------------ images and clips laid


def animate_arguments(parser: Parser) -> None:
    parser.epilog = WHOLE
    parser.add_argument(
        "--at",
        action="append",
        type=laid,
        default=[],
        metavar="TIME:FILE[:STRENGTH]",
        help="lay an image or a clip at a time in seconds, or at the end; again for more. Strength 0 (default) keeps "
        "it, 1 ignores it. IMAGE is the same as --at 0:IMAGE",
    )


def laid(text: str) -> tuple[str, Path, float]:
    """Read TIME:FILE[:STRENGTH]; a file's name may hold colons itself."""
    time, _, rest = text.partition(":")
    file, strength = rest, 0.0
    if not os.path.exists(rest) and ":" in rest:  # a Path of too long a name raises
        name, _, last = rest.rpartition(":")
        try:
            file, strength = name, float(last)
        except ValueError:
            file = rest
    if not file:
        raise argparse.ArgumentTypeError(f"{text[:40]!r} is not TIME:FILE, for instance 1.5:photo.png")
    return (time if time == "end" else str(number(time.removesuffix("s")))), Path(file), strength


def plan_animate(asked, pipeline):
    import torch

    from .. import canvas, join
    from ..audio import Sound, has_sound, laid_over
    from ..clip import Clip
    from ..pipeline import same_area
    from ..video import probe

    items = [("0", path, 0.0) for path in asked.files] + asked.at
    if not items:
        raise UserError("sora animate needs an IMAGE, or --at TIME:FILE (see sora animate --help).")
    first = probe(items[0][1])
    size = same_area(torch.empty(first.height, first.width, device="meta"), pipeline.size)
    grid = _grid(asked, pipeline, size)
    result, notes, sounds = canvas.empty(grid), [], []
    spans: list[tuple[int, int, Path]] = []
    for time, path, strength in items:
        clip = Clip(path, grid.width, grid.height, grid.fps)
        frame = grid.frames - 1 if time == "end" else round(float(time) * grid.fps)
        if not 0 <= frame < grid.frames:
            raise UserError(f"{time} s is not in the video, which lasts {grid.seconds:g} s: lay {path.name} sooner.")
        result, start, length = join.lay(pipeline, result, clip, frame, strength)
        for begin, end, other in spans:
            if start <= begin and end <= start + length:
                raise UserError(f"{path.name} covers all of {other.name}: leave one out, or lay it at another time.")
        spans.append((start, start + length, path))
        notes += clip.changes
        if start != frame:
            notes.append(f"{path.name} starts at {start / grid.fps:g} s, where a latent frame begins.")
        if length < min(clip.expected, grid.frames):
            notes.append(f"Of {path.name} the first {length / grid.fps:g} s are taken.")
        if has_sound(path):
            sounds = laid_over(sounds, Sound(path, start / grid.fps, 0.0, length / grid.fps))
    return _film(result, sounds, notes)


# ------------------------------------------------------------------------------------------- before, after and between


def extend_arguments(parser: Parser) -> None:
    parser.add_argument("--direction", choices=("forward", "backward", "both"), default="forward")
    parser.epilog = "--seconds or --frames is what is added, in each direction (default: as much as the model makes)."
    _context(parser)


def plan_extend(asked, pipeline):
    from .. import join

    if asked.direction == "both" and asked.timeline is not None:
        raise UserError("A timeline goes in one direction: extend forward and backward one after the other.")
    clip = _clips(asked, pipeline)[0]
    count = _new_frames(asked, pipeline, clip.fps)
    context = _seen(asked)
    head, tail, length = _ends(clip, pipeline, count, context, asked.direction)
    pieces = [join.Shot(clip, 0, length)]
    if asked.direction != "forward":
        pieces.insert(0, join.before(pipeline, head, count, clip.fps, context))
    if asked.direction != "backward":
        pieces.append(join.after(pipeline, tail, count, clip.fps, context))
    return join.row(pieces)


def connect_arguments(parser: Parser) -> None:
    parser.add_argument(
        "--mode",
        choices=("bridge", "morph"),
        default="bridge",
        help="new frames between the two, or one turns into the other while both go on",
    )
    parser.add_argument("--strength", type=number, metavar="S", help="of the morph's middle (default 0.9)")
    parser.epilog = (
        "--seconds or --frames is the length of the bridge, or of the morph (default: all of the shorter video). "
        "Without a prompt, what the two files say of themselves is told one after the other."
    )
    _context(parser)


def plan_connect(asked, pipeline):
    from .. import join

    needless, other = ("strength", "morph") if asked.mode == "bridge" else ("context", "bridge")
    if getattr(asked, needless) is not None:
        raise UserError(f"--{needless} is for a {other}: leave it out, or write --mode {other}.")
    a, b = _clips(asked, pipeline)
    if asked.mode == "bridge":
        count, context = _new_frames(asked, pipeline, a.fps), _seen(asked)
        _, tail, length = _ends(a, pipeline, count, context, "between")
        head, _, length_b = _ends(b, pipeline, count, context, "between")
        part = join.between(pipeline, tail, head, count, a.fps, context)
        pieces = [join.Shot(a, 0, length), part, join.Shot(b, 0, length_b)]
    else:
        lengths = [clip.length() for clip in (a, b)]
        count = _new_frames(asked, pipeline, a.fps) if asked.frames or asked.seconds else min(lengths)
        if count > min(lengths):
            raise UserError(
                f"A morph of {count} frames needs two videos of as many, not {lengths[0]} and {lengths[1]}: ask for at "
                f"most {min(lengths)}."
            )
        _check(pipeline, a, count)
        part, last = join.morph(
            pipeline,
            join.Shot(a, lengths[0] - count, count),
            join.Shot(b, 0, count),
            MORPH if asked.strength is None else asked.strength,
        )
        behind = count - last
        pieces = [join.Shot(a, 0, lengths[0] - count + 1), part, join.Shot(b, behind, lengths[1] - behind)]
    film = join.row(pieces)
    if asked.prompt is None:
        asked.prompt = _travel(asked.files, part)
        if asked.prompt is None:
            film.notes.append("No prompt is given, and not both files say of themselves what they show: " + FREE)
    if asked.mode == "morph":  # what is heard goes over to the other in the middle
        middle = (lengths[0] - count / 2) / a.fps
        film = replace(film, sounds=[*_sound(a, 0, 0, middle), *_sound(b, middle, count / 2 / a.fps)])
    return film


def _travel(paths, part):
    """What the one file says of its end and then the other of its start; nothing where one of them is silent."""
    from ..clip import read_tags
    from ..timeline import Span, Timeline

    a, b = (read_tags(path).get("prompt") for path in paths)
    if a is None or b is None:
        return None
    length = part.count / part.canvas.grid.fps
    return Timeline((Span(0.0, length / 2, _told_at(a, -1)), Span(length / 2, length, _told_at(b, 0))))


def _told_at(tag: str, number: int) -> str:
    """The prompt of one span of the timeline that a file says of itself; a plain prompt is told all the time."""
    from ..timeline import Timeline

    try:
        return Timeline.parse(tag).prompts[number]
    except UserError:
        return re.sub(r"[;\n]", ",", tag)  # what follows one in a timeline could be read as a time


# ------------------------------------------------------------------------------------------------------ the whole video


def edit_arguments(parser: Parser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--strength", type=number, default=0.5, metavar="S", help="0 keeps, 1 invents (default 0.5)")
    how.add_argument("--curve", metavar="PLACE:S,...", help="strengths from 0, the start, to 1, the end: 0:0.2,1:0.8")
    told = "image or video, stretched to the size of VIDEO: only what is white is edited"
    parser.add_argument("--mask", type=Path, metavar="FILE", help=told)


def plan_edit(asked, pipeline):
    from .. import canvas
    from ..clip import read_mask
    from ..strength import parse_curve

    curve = None if asked.curve is None else parse_curve(asked.curve)
    clip = _whole(asked, pipeline)
    grid = _check(pipeline, clip, clip.expected)
    mask = None if asked.mask is None else read_mask(asked.mask, clip, grid)
    if mask is not None and not mask.any():
        raise UserError(
            f"{asked.mask.name} has nothing white, so nothing would be edited: paint white what is to change."
        )
    how = asked.strength, mask, curve
    canvas.edit(canvas.empty(grid), *how)  # what is wrong is said before the codec works
    return _film(canvas.edit(_held(clip, pipeline), *how), _sound(clip), clip.changes, under=clip)


def reframe_arguments(parser: Parser) -> None:
    parser.add_argument("--place", choices=tuple(PLACES), default="center", help="of the video in the new frame")


def plan_reframe(asked, pipeline):
    """The video is scaled to fit inside the new frame, whole patches large, and keeps that place."""
    from .. import canvas
    from ..video import probe

    width, height = _size(asked, "reframe")
    info = probe(asked.files[0])
    scale = min(width / info.width, height / info.height)
    inside = []
    for side, most, patch in zip(
        (info.width, info.height), (width, height), pipeline.geometry.patch[:0:-1], strict=True
    ):
        step = patch * pipeline.geometry.s_stride
        wanted = round(side * scale)
        inside.append(most if wanted >= most else max(step, wanted // step * step))
    if inside == [width, height]:
        raise UserError(
            f"{asked.files[0].name} is fitted into {width}x{height} and fills it, so nothing is to be invented: choose "
            "another shape, or enlarge it with sora refine."
        )
    clip = _whole(asked, pipeline, inside)
    _check(pipeline, clip, clip.expected, (width, height))
    framed = canvas.reframe(_held(clip, pipeline), width, height, *PLACES[asked.place])
    return _film(framed, _sound(clip), clip.changes, under=clip)


def refine_arguments(parser: Parser) -> None:
    parser.add_argument("--strength", type=number, default=0.6, metavar="S", help="0 keeps, 1 invents (default 0.6)")
    parser.epilog = "Without a prompt or a seed, what the file says of itself is taken."


def plan_refine(asked, pipeline):
    """Scaled up as pixels, which suits the codec better than a scaled latent; the noise is the prototype's."""
    from .. import canvas
    from ..clip import read_tags
    from ..strength import check_strength
    from ..video import probe

    width, height = _size(asked, "refine")
    check_strength(asked.strength)
    small = probe(asked.files[0])
    tags = read_tags(asked.files[0])
    notes = []
    if asked.prompt is None and "prompt" not in tags:
        notes.append(f"No prompt is given, and {asked.files[0].name} does not say of itself what it shows: {FREE}")
    if asked.seed is None:
        with suppress(KeyError, ValueError):
            asked.seed = int(tags["seed"])
    times = canvas.enlargement(pipeline.grid(small.width, small.height, 1), pipeline.grid(width, height, 1))
    asked.times = times * _times(tags.get("settings", ""), MAX_SIDE // MIN_SIDE // times) if times > 1 else 1
    clip = _whole(asked, pipeline, (width, height))
    if asked.prompt is None:
        asked.prompt = _told(tags.get("prompt", ""), _check(pipeline, clip, clip.expected))
    refined = replace(canvas.edit(_held(clip, pipeline), asked.strength), scale=asked.times)
    return _film(refined, _sound(clip), [*notes, *clip.changes])


def _times(tag: str, most: int) -> int:
    """How many times the size of its own prototype a file says that it has (`generate --times`, `refine`); else 1."""
    try:
        times = json.loads(tag)["times"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return 1
    return times if isinstance(times, int) and 1 <= times <= most else 1


def _told(tag: str, grid):
    """The prompt that a file says of itself: a timeline where it is one of the whole film and not of a part of it."""
    from ..timeline import Timeline

    try:
        timeline = Timeline.parse(tag)
    except UserError:
        return tag
    try:
        timeline.told(grid)
    except UserError:
        return ", then ".join(timeline.prompts)
    return timeline


# -------------------------------------------------------------------------------------------------------------- helpers


def _context(parser: Parser) -> None:
    parser.add_argument(
        "--context", type=whole, metavar="N", help="latent frames of a video that the model sees (default 3)"
    )


def _seen(asked) -> int:
    from ..join import CONTEXT

    return CONTEXT if asked.context is None else asked.context


def _asked_size(asked) -> tuple[int, int] | tuple[None, None]:
    from ..grid import parse_size

    return (None, None) if asked.size is None else parse_size(asked.size)


def _size(asked, name: str) -> tuple[int, int]:
    if asked.size is None:
        raise UserError(f"sora {name} needs the new size: --size WxH.")
    return _asked_size(asked)


def _grid(asked, pipeline, size=(None, None), cyclic: bool = False):
    """The size that is asked for, or `size`, or the checkpoint's; an image's ending means one frame."""
    still = asked.still and asked.frames is None and asked.seconds is None
    frames = 1 if still else asked.frames
    return pipeline.grid(
        *(size if asked.size is None else _asked_size(asked)), frames, asked.fps, asked.seconds, cyclic
    )


def _clips(asked, pipeline):
    """The files at one size and rate; images alone get the checkpoint's rate."""
    from ..clip import alike
    from ..video import check_format, is_image

    fps = pipeline.size.fps if asked.fps is None and all(map(is_image, asked.files)) else asked.fps
    clips = alike(asked.files, *_asked_size(asked), fps)
    check_format(asked.output, clips[0].width, clips[0].height, clips[0].fps)
    return clips


def _new_frames(asked, pipeline, fps: float) -> int:
    """How many frames are asked for; else as long as the checkpoint's videos are."""
    from ..grid import frames_for

    if asked.frames is not None:
        return asked.frames
    return frames_for(pipeline.size.frames / pipeline.size.fps if asked.seconds is None else asked.seconds, fps)


def _ends(clip, pipeline, count: int, context: int, direction: str):
    """First and last frames and length of a clip, once it is clear that what follows is not too long or too large.

    direction: in which new frames go from it (an extension's, or "between" it and another): the model sees them and
        these ends in one piece.
    """
    from .. import join
    from ..grid import MAX_SECONDS, most_frames

    head, tail = join.head_frames(pipeline.geometry, context), join.tail_frames(pipeline.geometry, context)
    known = {"forward": tail, "between": head + tail}.get(direction, head)
    most = most_frames(clip.fps) - known
    if most < 1:
        raise UserError(f"A context of {context} latent frames is too long at {clip.fps:g} fps: choose a smaller one.")
    if count > most:
        raise UserError(
            f"{count} new frames, with the {known} that the model sees beside them, are longer than {MAX_SECONDS:g} "
            f"seconds at {clip.fps:g} fps: ask for at most {most}, and extend again."
        )
    _check(pipeline, clip, known + count)
    return clip.ends(head, tail)


def _check(pipeline, clip, frames: int, size=None):
    """The grid of a clip; refuses what is too large before frames are read."""
    width, height = size or (clip.width, clip.height)
    return pipeline.grid(width, height, frames, clip.fps)


def _whole(asked, pipeline, size=None):
    """The video at a size and rate, once it is clear that there is memory for all of it."""
    from ..clip import Clip
    from ..grid import most_frames
    from ..video import check_format

    clip = Clip(asked.files[0], *(size or _asked_size(asked)), asked.fps)
    if clip.is_image and asked.fps is None:
        clip.fps = pipeline.size.fps
    if clip.expected > (most := most_frames(clip.fps)):
        raise UserError(
            f"{clip.path.name} has {clip.expected} frames at {clip.fps:g} fps, and at most {most} (a minute) are made "
            "at a time: cut it first."
        )
    _check(pipeline, clip, clip.expected)
    check_format(asked.output, clip.width, clip.height, clip.fps)
    return clip


def _held(clip, pipeline):
    """A canvas that keeps the whole of a clip."""
    from .. import canvas

    latent, frames = clip.encode(pipeline)
    return canvas.keep(latent.cpu(), pipeline.grid(clip.width, clip.height, frames, clip.fps))


def _sound(clip, at: float = 0.0, start: float = 0.0, stop: float | None = None) -> list:
    """What is heard of a clip from `start` to `stop`, its end, where it has sound. In seconds."""
    from ..audio import Sound, has_sound

    stop = clip.info.seconds if stop is None else stop
    return [Sound(clip.path, at, start, stop - start)] if has_sound(clip.path) else []


def _film(canvas, sounds=(), notes=(), under=None):
    """A film that is one canvas, over the clip that was laid onto it."""
    from ..join import Film, Part

    grid = canvas.grid
    return Film([Part(canvas, 0, grid.frames, under)], grid.width, grid.height, grid.fps, list(sounds), list(notes))


MAKING = (
    Making("generate", (), "text to video, or to an image when there is one frame", plan_generate, generate_arguments),
    Making(
        "animate",
        ("IMAGE",),
        "images and clips become frames of a video, which goes on from them",
        plan_animate,
        animate_arguments,
        least=0,
    ),
    Making("extend", ("VIDEO",), "what comes after or before a video", plan_extend, extend_arguments),
    Making("loop", ("VIDEO",), "a video that repeats without a seam", plan_loop, loop_arguments, least=0),
    Making("connect", ("A", "B"), "one video leads to another", plan_connect, connect_arguments, prompt=False),
    Making("edit", ("VIDEO",), "repaint a video as told, all of it or a part", plan_edit, edit_arguments, length=False),
    Making(
        "reframe",
        ("VIDEO",),
        "a video fitted into a frame of another shape, the border beside it invented (refine enlarges)",
        plan_reframe,
        reframe_arguments,
        length=False,
    ),
    Making(
        "refine",
        ("FILE",),
        "a small video or image enlarged to full size, with finer detail",
        plan_refine,
        refine_arguments,
        prompt=False,
        length=False,
    ),
)
