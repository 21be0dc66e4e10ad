"""Prompts that follow each other in time: "0-2s: a red ball on the grass; 2-4s: a blue ball on the grass".

Every latent frame attends to the prompt of its own time, the one at the middle of the frames that it stands for; the
network carries what is seen from one prompt into the next. The spans follow each other without a gap and without an
overlap: at every moment exactly one prompt holds.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import UserError
from .grid import Grid

FORM = "write for instance '0-2s: a red ball; 2-4s: a blue ball'"

MOST_SPANS = 2000  # latent frames of the longest video

_NUMBER = r"\d+(?:\.\d*)?|\.\d+"
# Linear in the length of any text: no two neighbouring repetitions can share the same characters.
_SPAN = re.compile(rf"(?:^|[;\n])[^\S\n]*({_NUMBER})\s*(?:s\s*)?[-\u2013]\s*({_NUMBER})\s*(?:s\s*)?(:)?", re.IGNORECASE)


@dataclass(frozen=True)
class Span:
    """A prompt from `start` to `end`, in seconds."""

    start: float
    end: float
    prompt: str


@dataclass(frozen=True)
class Timeline:
    """Prompts and when they hold, in the order of time.

    Raises:
        UserError: no span at all, one that ends before it starts, a start other than 0, a gap or an overlap.
    """

    spans: tuple[Span, ...]

    def __post_init__(self):
        object.__setattr__(self, "spans", tuple(self.spans))
        if not self.spans:
            raise UserError(f"A timeline needs at least one prompt with its time: {FORM}.")
        for span in self.spans:
            if not (math.isfinite(span.start) and math.isfinite(span.end) and span.start < span.end):
                raise UserError(f"In a timeline {_times(span)} is no span of time: its end must come after its start.")
        if self.spans[0].start != 0:
            raise UserError(f"The timeline starts at {self.spans[0].start:g} s: the first prompt must start at 0.")
        for before, after in itertools.pairwise(self.spans):
            if before.end != after.start:
                what = "leave a gap" if before.end < after.start else "overlap"
                raise UserError(
                    f"In the timeline {_times(before)} and {_times(after)} {what}: each prompt must start where the "
                    "one before it ends."
                )

    @classmethod
    def parse(cls, text: str) -> Timeline:
        """Read spans "START-ENDs: prompt", parted by semicolons or new lines.

        A prompt may hold semicolons itself, but what follows one must not begin like a time.

        Raises:
            UserError: it is not of this form, or see `Timeline`.
        """
        if not text.strip():
            raise UserError(f"The timeline is empty: {FORM}.")
        found = list(itertools.islice(_SPAN.finditer(text), MOST_SPANS + 1))
        if len(found) > MOST_SPANS:
            raise UserError(f"The timeline holds more than {MOST_SPANS} prompts: use fewer.")
        if not found or text[: found[0].start()].strip():
            raise UserError(f"{text.strip()[:40]!r} is not a timeline: {FORM}.")
        for match in found:
            if match[3] is None:
                part = text[match.start() : match.start() + 60].lstrip(";\n ")[:40]
                raise UserError(f"In the timeline a colon must follow the time in {part!r}: {FORM}.")
        ends = [match.start() for match in found[1:]] + [len(text)]
        return cls(
            tuple(
                Span(float(match[1]), float(match[2]), text[match.end() : end].strip().rstrip(";").rstrip())
                for match, end in zip(found, ends, strict=True)
            )
        )

    @property
    def seconds(self) -> float:
        """When the last prompt ends."""
        return self.spans[-1].end

    @property
    def prompts(self) -> list[str]:
        return [span.prompt for span in self.spans]

    def told(self, grid: Grid) -> list[int]:
        """For every moment (latent frame, or patch of several) of a grid, the number of the prompt that it attends to.

        The last prompt holds until the end of the video, which may be up to a latent frame after the timeline's.

        Raises:
            UserError: the video goes on after the timeline, or no moment falls into the time of a prompt.
        """
        patch = grid.geometry.patch[0]
        unit = patch * grid.geometry.t_stride / grid.fps
        if self.seconds < grid.seconds - unit - 1e-9:
            raise UserError(
                f"The timeline ends at {self.seconds:g} s and the video at {grid.seconds:g} s: let the last prompt "
                "hold until then."
            )
        middles = [sum(grid.moment(t * patch + i) for i in range(patch)) / patch for t in range(grid.patches[0])]
        starts = [span.start for span in self.spans[1:]]
        told = [sum(start <= middle + 1e-9 for start in starts) for middle in middles]
        for number, span in enumerate(self.spans):
            if number not in told:
                raise UserError(
                    f"The prompt of {_times(span)} would never be read: the video lasts {grid.seconds:g} s, and a "
                    f"prompt should hold for {unit:g} s of it or more."
                )
        return told


def plan(prompts: Sequence[str | Timeline], grid: Grid) -> tuple[list[str], list[list[int]] | None]:
    """What a batch has to be told: the texts, and for each sample and moment the number of its own.

    None in place of the numbers: every sample has one text for all its time.
    """
    whole = [one.prompts[0] if isinstance(one, Timeline) and len(one.spans) == 1 else one for one in prompts]
    if all(isinstance(one, str) for one in whole):
        for one in prompts:
            if isinstance(one, Timeline):
                one.told(grid)  # refuses what does not fit the video
        return whole, None
    texts: list[str] = []
    numbers = []
    for one in prompts:
        told = one.told(grid) if isinstance(one, Timeline) else [0] * grid.patches[0]
        numbers.append([len(texts) + number for number in told])
        texts += one.prompts if isinstance(one, Timeline) else [one]
    return texts, numbers


def spans(told: Sequence[Sequence[int]] | None, length: int) -> list[range]:
    """For each moment, the row of moments around it in which every sample is told the same as there.

    Args:
        told: what `plan` gives.
        length: moments.
    """
    columns = [()] * length if told is None else list(zip(*told, strict=True))
    found = []
    for _, group in itertools.groupby(range(length), key=lambda t: columns[t]):
        row = list(group)
        found += [range(row[0], row[-1] + 1)] * len(row)
    return found


def _times(span: Span) -> str:
    return f"{span.start:g}-{span.end:g}s"
