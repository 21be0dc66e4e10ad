"""How a command that fills a canvas runs: what was said, the film that it plans, sampling, decoding, the file.

`sora inspect COMMAND ...` takes the same words and draws the canvas instead.
"""

from __future__ import annotations

import os
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from ..errors import UserError
from .options import Commands, Parser, making, result


@dataclass(frozen=True)
class Making:
    """A command that fills a canvas.

    Args:
        files: what the first words name, each a file; the last word is the prompt.
        plan: (asked, pipeline) -> `join.Film`; asked.files holds the paths.
        arguments: adds the options of its own to a parser.
        least: how many of the files must be named, None for all.
        prompt: whether a prompt (or a timeline) must be given.
        length: whether it chooses how long the new part is.
    """

    name: str
    files: tuple[str, ...]
    help: str
    plan: Callable
    arguments: Callable[[Parser], None] = lambda parser: None
    least: int | None = None
    prompt: bool = True
    length: bool = True

    @property
    def usage(self) -> str:
        least = len(self.files) if self.least is None else self.least
        words = [name if i < least else f"[{name}]" for i, name in enumerate(self.files)]
        return " ".join([*words, "PROMPT" if self.prompt else "[PROMPT]"])

    def read_words(self, asked) -> None:
        """Tell files and prompt apart: sets asked.files, and asked.prompt to a str, a Timeline, or None."""
        from ..timeline import Timeline

        words, most = list(asked.words), len(self.files)
        least = most if self.least is None else self.least
        prompt = None if asked.timeline is None else Timeline.parse(asked.timeline)
        if prompt is None and words and (self.prompt or len(words) > most):
            prompt = words.pop()
            try:
                prompt = sys.stdin.read() if prompt == "-" else prompt
            except UnicodeDecodeError:
                raise UserError("The prompt that was piped in is not text in UTF-8: save it so.") from None
        if len(words) > most and asked.timeline is not None:
            raise UserError(f"sora {self.name} takes either PROMPT or --timeline, not both, and each in quotes.")
        if len(words) > most:
            raise UserError(
                f'sora {self.name} takes {self.usage}: put the prompt in quotes, for instance "a red ball" (see sora '
                f"{self.name} --help)."
            )
        if len(words) < least or (self.prompt and prompt is None):
            raise UserError(
                f"sora {self.name} takes {self.usage}, or --timeline in place of the prompt (see sora {self.name} "
                "--help)."
            )
        if most and isinstance(prompt, str) and _is_file(prompt):
            raise UserError(
                f"{prompt[:100]} looks like a file and stands where a prompt should: sora {self.name} takes "
                f"{self.usage} (see sora {self.name} --help)."
            )
        asked.files, asked.prompt = [Path(word) for word in words], prompt

    def read_length(self, asked) -> None:
        """Without --frames and --seconds a timeline says how long what is new is: sets asked.seconds."""
        from ..timeline import Timeline

        if not self.length or asked.frames is not None or not isinstance(asked.prompt, Timeline):
            return
        end = asked.prompt.seconds
        if asked.seconds is None:
            asked.seconds = end
        elif asked.prompt.spans[-1].start >= asked.seconds:
            raise UserError(
                f"The timeline ends at {end:g} s and the last prompt would never be read in {asked.seconds:g} s: write "
                f"--seconds {end:g}, or end the timeline sooner."
            )


def _is_file(word: str) -> bool:
    """Whether it names a file that is there, or ends like a film or an image."""
    from ..video import READ_ENDINGS

    return os.path.isfile(word) or Path(word).suffix.lower() in READ_ENDINGS


def register(commands: Commands) -> None:
    from .operations import MAKING

    looking = commands.group("inspect", "a picture of the canvas that a command would fill: what is kept, what is new")
    for group, run in ((commands, fill), (looking, look)):
        for one in MAKING:
            command = group.add(one.name, partial(run, one), one.help)
            command.usage = f"{command.prog} {one.usage} -o FILE [options]"
            command.add_argument("words", nargs="*", metavar=one.usage, help="- as prompt reads standard input")
            one.arguments(command)
            making(command, one.length)


def fill(command: Making, asked) -> dict:
    """Fill the canvases of a film and write it."""
    from dataclasses import replace

    from ..audio import unheard
    from ..pipeline import Pipeline, describe
    from ..video import VideoWriter, check_output, is_image

    start = time.monotonic()
    asked.still = is_image(asked.output)
    check_output(asked.output, asked.frames)
    read(command, asked)
    pipeline = Pipeline.load(asked.checkpoint, asked.device)
    film = command.plan(asked, pipeline)
    check_output(asked.output, film.frames)
    film.notes.extend(unheard(asked.output, film.sounds))
    say(film)
    given = {name: getattr(asked, name) for name in ("steps", "cfg", "negative", "solver")}
    given["seed"] = random.getrandbits(32) if asked.seed is None else asked.seed
    given = {name: value for name, value in given.items() if value is not None}
    by_part = [replace(pipeline.settings_for(part.canvas), **given) for part in film.parts]
    settings = by_part[-1]  # written down; of an extension both ways that which goes on forwards
    tags = describe(settings, written(asked.prompt), film, asked.checkpoint)
    if getattr(asked, "times", 1) > 1:  # of generate and refine
        tags["settings"]["times"] = asked.times
    if used := inputs(asked):
        tags["inputs"] = [path.name for path in used]

    with VideoWriter(asked.output, film.width, film.height, film.fps, tags, film.sounds) as writer:
        latents = {}
        for part, its in zip(film.parts, by_part, strict=True):
            with bar("sampling", "step", its.steps) as steps:
                told = part_prompt(asked.prompt, part)
                latents[id(part)] = pipeline.fill(part.canvas, told, moving(steps), **vars(its))
        with bar("writing", "frame", film.frames) as frames:
            for chunk in film.show(lambda part: pipeline.frames(latents[id(part)], part.canvas.grid)):
                writer.write(chunk)
                frames.update(chunk.shape[2])
    frames = "1 frame" if film.frames == 1 else f"{film.frames} frames"
    length = "" if is_image(asked.output) else f"{frames} at {film.fps:g} fps, "
    print(f"{asked.output}  {film.width}x{film.height}, {length}seed {settings.seed}")
    return result(asked.output, film.width, film.height, film.frames, film.fps, settings.seed, start) | {
        "prompt": tags["prompt"],
        "settings": tags["settings"],
        "notes": film.notes,
    }


def look(command: Making, asked) -> dict:
    """Draw the canvases of a film instead of filling them."""
    from ..inspect import column, picture
    from ..pipeline import Pipeline
    from ..video import VideoWriter, check_output, is_image

    start = time.monotonic()
    if not is_image(asked.output):
        raise UserError(f"sora inspect draws one picture: {asked.output.name} must end in .png, .jpg or .webp.")
    asked.still = False
    check_output(asked.output, 1)
    read(command, asked)
    pipeline = Pipeline.load(asked.checkpoint, asked.device)
    film = command.plan(asked, pipeline)
    say(film)
    pictures = []
    for number, part in enumerate(film.parts, start=1):
        grid = part.canvas.grid
        content = None
        if (part.canvas.level < 1).any():
            content = (chunk[0].movedim(1, 0) for chunk in pipeline.frames(part.canvas.latent, grid))
        which = f"canvas {number} of {len(film.parts)}: " if len(film.parts) > 1 else ""
        used = f"its frames {part.first} to {part.first + part.count - 1} (from 0 on) go into the video"
        pictures.append(picture(part.canvas, content, f"sora {command.name}: {which}{used}"))
    whole = column(pictures)
    with VideoWriter(asked.output, whole.shape[2], whole.shape[1]) as writer:
        writer.write(whole)
    print(asked.output)
    return result(asked.output, whole.shape[2], whole.shape[1], 1, None, None, start) | {"notes": film.notes}


def read(command: Making, asked) -> None:
    """Understand the words, and refuse what needs no model to be refused."""
    from ..files import check_apart
    from ..flow import schedule
    from ..grid import frames_for, parse_size

    command.read_words(asked)
    check_apart(inputs(asked), asked.output)
    command.read_length(asked)
    if asked.size is not None:
        parse_size(asked.size)
    if asked.steps is not None:
        schedule(asked.steps)
    frames_for(1.0 if asked.seconds is None else asked.seconds, 1.0 if asked.fps is None else asked.fps)


def inputs(asked) -> list[Path]:
    """The files that are made use of."""
    laid, mask = (path for _, path, _ in getattr(asked, "at", ())), getattr(asked, "mask", None)
    return [path for path in (*asked.files, *laid, mask) if path is not None]


def written(prompt) -> str:
    """A prompt, a timeline or nothing as text."""
    from ..timeline import Timeline

    if isinstance(prompt, Timeline):
        return "; ".join(f"{span.start:g}-{span.end:g}s: {span.prompt}" for span in prompt.spans)
    return prompt or ""


def part_prompt(prompt, part):
    """What a part is told: a timeline's seconds count from its first new frame."""
    from ..timeline import Span, Timeline

    if not isinstance(prompt, Timeline):
        return prompt or ""
    grid = part.canvas.grid
    if (part.first, part.count) == (0, grid.frames):
        return prompt
    lead, new = part.first / grid.fps, part.count / grid.fps
    if prompt.seconds < new - 0.5 / grid.fps - 1e-6:  # seconds become whole frames
        raise UserError(
            f"The timeline ends at {prompt.seconds:g} s and the new frames at {new:g} s: write "
            f"{prompt.spans[-1].start:g}-{new:g}s for the last prompt."
        )
    ends = [span.end + lead for span in prompt.spans]
    ends[-1] = max(ends[-1], grid.seconds)
    starts = [0.0, *ends[:-1]]
    return Timeline(tuple(Span(s, e, span.prompt) for s, e, span in zip(starts, ends, prompt.spans, strict=True)))


def say(film) -> None:
    """What was done to the inputs, on standard error."""
    for note in film.notes:
        print(note, file=sys.stderr)


def bar(what: str, unit: str, total: int):
    from tqdm import tqdm

    return tqdm(total=total, desc=what, unit=unit, file=sys.stderr)


def moving(bar) -> Callable:
    """A callback of the sampler that moves a bar; how many steps there are shows as it goes."""

    def step(done: int, steps: int, *_) -> None:
        bar.total = steps
        bar.update(done - bar.n)

    return step
