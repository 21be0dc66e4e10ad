"""Pictures of finished videos: the seam of a loop, drift over time, and two videos against each other.

Videos come as streams of frames (3, H, W) in [-1, 1]; only small pictures of some of them are held. Every picture is
(3, H, W) in [-1, 1], in the colours of `inspect`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from textwrap import wrap

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from .change import FLAT, Look, against_median, look, step
from .errors import UserError
from .inspect import BACKGROUND, DIM, INK, KEPT, MIDDLE, NEW
from .video import at_rate, rate_ratio

WIDTH, MARGIN, GAP = 800, 16, 6
CHART = 110  # pixels high
TALLEST = 240  # pixels of a frame
MOMENTS = 6  # frames shown of a video
PIECES = 120  # points of a curve at most
LOUDER = 4  # times: differences are shown larger than they are


def loop_seam(frames: Iterable[Tensor]) -> Tensor:
    """The last frames of a loop beside its first, and every step from a frame to the next, the seam's among them.

    Raises:
        UserError: fewer than three frames.
    """
    first, last, steps, before = [], deque(maxlen=3), [], None
    for number, frame in enumerate(frames):
        if before is not None:
            steps.append(step(frame, before))
        if len(first) < 3:
            first.append((number, frame))
        last.append((number, frame))
        before = frame
    if len(steps) < 2:
        raise UserError(
            f"A loop has three frames or more, and this video has {len(last)}: there is no seam to look at."
        )
    steps = torch.stack([*steps, step(first[0][1], before)])
    ratio, median = against_median(steps, [-1]), float(steps.median())
    if ratio <= 1.05:
        said = "no more than between other frames"
    elif (beyond := steps[-1] / steps[:-1].max()) <= 1.05:  # a codec may step at every latent frame
        said = "and other steps are as large"
    else:
        said = "it may be seen" if min(ratio, beyond) <= 1.5 else "it jumps"
    shown = [*((f"frame {n + 1}", f) for n, f in last), *((f"frame {n + 1}", f) for n, f in first)]
    page = _Page([f"The seam: {ratio:.2f} times the median step, {said}", "the last frames | the first frames"])
    edge = page.row(shown, split=len(last))
    page.draw.line((edge[0], edge[1], edge[0], edge[2]), fill=NEW, width=3)
    page.chart(
        "step from each frame to the next; the last one is the seam",
        [100 * float(one) / 2 for one in steps],
        "% of full scale",
        mark=len(steps) - 1,
        level=(100 * median / 2, "median"),
    )
    return page.picture()


def drift(frames: Iterable[Tensor], fps: float) -> Tensor:
    """How colour, contrast and sharpness move over time, against the start of the video.

    Raises:
        UserError: fewer than two frames.
    """
    shown, looks, half = _Moments(), [], max(1, round(fps / 2))

    def watched() -> Iterator[Tensor]:
        for number, frame in enumerate(frames):
            shown.add(number, frame)
            yield frame

    stream = watched()
    for first in stream:  # a look at every half second
        looks.append(look(chain([first], islice(stream, half - 1))))
    if shown.count < 2:
        raise UserError("A single frame cannot drift: give a video of two frames or more.")
    curves = _curves(_thinned(looks))
    end = ", ".join(f"{name} {values[-1]:+.1f} {unit}" for name, values, unit in curves)
    page = _Page([f"Against the start, at the end: {end}", f"{shown.count} frames at {fps:g} fps"])
    page.row([(f"{n / fps:.2f} s", image) for n, image in shown.chosen()])
    for (name, values, unit), colour in zip(curves, (NEW, KEPT, INK), strict=True):
        page.chart(f"{name}, {unit}", values, unit, colour=colour, level=(0.0, "start"), seconds=shown.count / fps)
    return page.picture()


def compare(a: Iterable[Tensor], b: Iterable[Tensor], a_fps: float, b_fps: float) -> Tensor:
    """Two videos at the same moments: A, a wipe from A to B, B, and their difference; below, the difference over time.

    B is brought to A's frame rate and size; the longer is compared as far as the other goes. The picture says so.

    Raises:
        UserError: one of them has no frames.
    """
    ratio, counts, sizes = rate_ratio(a_fps, b_fps), [0, 0], [None, None]

    def counted(frames: Iterable[Tensor], which: int) -> Iterator[Tensor]:
        for frame in frames:
            counts[which] += 1
            sizes[which] = frame.shape[2], frame.shape[1]
            yield frame

    streams = counted(a, 0), at_rate(counted(b, 1), ratio)
    kinds, differences = [_Moments() for _ in range(4)], []
    for number, (one, other) in enumerate(zip(*streams, strict=False)):
        if one.shape != other.shape:
            other = torch.nn.functional.interpolate(other[None], one.shape[1:], mode="bilinear", antialias=True)[0]
        differences.append(100 * float(step(one, other)) / 2)
        wipe = torch.cat([one[..., : one.shape[2] // 2], other[..., one.shape[2] // 2 :]], dim=2)
        apart = ((one - other).abs() / 2 * LOUDER).clamp(0, 1) * 2 - 1
        for kind, frame in zip(kinds, (one, wipe, other, apart), strict=True):
            kind.add(number, frame)
    if not differences:
        raise UserError("Two videos are compared, and one of them has no frames.")
    for stream in streams:  # the rest of the longer one is only counted
        for _ in stream:
            pass
    said = _unlike(counts, sizes, (a_fps, b_fps), len(differences))
    mean, most = float(np.mean(differences)), int(np.argmax(differences))
    alike = "The two are the same" if max(differences) == 0 else f"They differ by {mean:.2f} % of full scale on average"
    at = "" if max(differences) == 0 else f", most at {most / a_fps:.2f} s ({differences[most]:.2f} %)"
    page = _Page([alike + at, *said])
    for name, kind in zip(("A", "A | B", "B", f"difference x {LOUDER}"), kinds, strict=True):
        page.row([(f"{n / a_fps:.2f} s", image) for n, image in kind.chosen()], title=name)
    if len(differences) > 1:
        values = _thinned(differences)
        page.chart("difference", values, "% of full scale", colour=NEW, seconds=len(differences) / a_fps)
    return page.picture()


def _unlike(counts: Sequence[int], sizes: Sequence[tuple[int, int]], rates: Sequence[float], shown: int) -> list[str]:
    """What differs from the outside, in one sentence, if anything does."""
    parts = []
    if sizes[0] != sizes[1]:
        parts.append("A is {}x{} and B {}x{}, shown at A's size".format(*sizes[0], *sizes[1]))
    if rate_ratio(*rates) != 1:
        parts.append(f"A has {rates[0]:g} fps and B {rates[1]:g}, shown at A's")
    length = [count / rate for count, rate in zip(counts, rates, strict=True)]
    if abs(length[0] - length[1]) > 0.5 / max(rates):
        parts.append(f"A lasts {length[0]:.2f} s and B {length[1]:.2f} s, compared over {shown / rates[0]:.2f} s")
    return ["; ".join(parts)] if parts else []


def _curves(looks: Sequence[Look]) -> list[tuple[str, list[float], str]]:
    """(what, values, unit) of each look against the first."""
    first = looks[0]
    ratios = {
        "contrast": [(one.contrast + FLAT) / (first.contrast + FLAT) for one in looks],
        "sharpness": [one.sharpness / first.sharpness for one in looks],
    }
    changes = [(name, [100 * (ratio - 1) for ratio in values], "%") for name, values in ratios.items()]
    return [("colour", [one.away(first) for one in looks], "dE"), *changes]


def _thinned(values: list) -> list:
    """At most `PIECES` of them, evenly chosen, the first and the last among them."""
    if len(values) <= PIECES:
        return values
    return [values[round(i * (len(values) - 1) / (PIECES - 1))] for i in range(PIECES)]


class _Moments:
    """Small pictures of evenly spaced frames of a stream whose length is not known: where there are too many, every
    other one goes. The last frame is always there."""

    def __init__(self):
        self.kept: list[tuple[int, Tensor]] = []
        self.every, self.count, self.last = 1, 0, None

    def add(self, number: int, frame: Tensor) -> None:
        self.count, self.last = number + 1, frame
        if number % self.every == 0:
            self.kept.append((number, _small(frame)))
        if len(self.kept) > 8 * MOMENTS:
            self.every *= 2
            self.kept = self.kept[::2]

    def chosen(self) -> list[tuple[int, Tensor]]:
        """(number, frame), `MOMENTS` of them, or all there are."""
        whole = [*(one for one in self.kept if one[0] < self.count - 1), (self.count - 1, _small(self.last))]
        if len(whole) <= MOMENTS:
            return whole
        return [whole[round(i * (len(whole) - 1) / (MOMENTS - 1))] for i in range(MOMENTS)]


def _small(frame: Tensor) -> Tensor:
    scale = min(1.0, TALLEST / max(frame.shape[1:]))
    size = [max(1, round(side * scale)) for side in frame.shape[1:]]
    return frame if scale == 1 else torch.nn.functional.interpolate(frame[None], size, mode="area")[0]


class _Page:
    """A picture that grows downwards: lines of text, rows of frames, charts."""

    def __init__(self, lines: Sequence[str]):
        self.image = Image.new("RGB", (WIDTH, MARGIN), BACKGROUND)
        self.large, self.small = ImageFont.load_default(15), ImageFont.load_default(11)
        for number, line in enumerate(lines):
            for part in wrap(line, 96):
                top = self._grow(22)
                self.draw.text((MARGIN, top), part, fill=DIM if number else INK, font=self.large)
        self._grow(4)

    def _grow(self, height: int) -> int:
        """Room below; returns where it begins."""
        top = self.image.height
        taller = Image.new("RGB", (WIDTH, top + height), BACKGROUND)
        taller.paste(self.image, (0, 0))
        self.image, self.draw = taller, ImageDraw.Draw(taller)
        return top

    def row(self, frames: Sequence[tuple[str, Tensor]], split: int = 0, title: str = "") -> tuple[int, int, int]:
        """Frames side by side, with what stands below each.

        Returns:
            Where the gap before frame `split` lies: x, upper and lower y.
        """
        room = (WIDTH - 2 * MARGIN - GAP * (len(frames) - 1)) // max(len(frames), 4)
        _, height, width = frames[0][1].shape
        scale = min(room / width, TALLEST / height)
        size = max(1, round(width * scale)), max(1, round(height * scale))
        if title:
            above = self._grow(16)
            self.draw.text((MARGIN, above), title, fill=INK, font=self.small)
        top, edge = self._grow(size[1] + 24), 0
        for place, (said, frame) in enumerate(frames):
            x = MARGIN + place * (size[0] + GAP)
            pixels = ((frame.clamp(-1, 1) + 1) * 127.5).round().byte().permute(1, 2, 0).contiguous().cpu().numpy()
            way = Image.Resampling.NEAREST if scale >= 2 else Image.Resampling.BICUBIC
            self.image.paste(Image.fromarray(pixels).resize(size, way), (x, top))
            self.draw.text((x, top + size[1] + 3), said, fill=DIM, font=self.small)
            edge = x - GAP // 2 - 1 if place == split else edge
        return edge, top, top + size[1]

    def chart(
        self,
        title: str,
        values: Sequence[float],
        unit: str,
        colour: tuple[int, int, int] = KEPT,
        mark: int | None = None,
        level: tuple[float, str] | None = None,
        seconds: float | None = None,
    ) -> None:
        """A curve; `mark` is a point that stands out, `level` a line across with its name, `seconds` the whole time."""
        top = self._grow(CHART + 44) + 18
        left, right, bottom = MARGIN + 56, WIDTH - MARGIN - 8, top + CHART
        self.draw.text((left, top - 16), title, fill=INK, font=self.small)
        low, high = min(0.0, *values), max(*values, 0.0)
        low, high = (low, high) if high - low > 1e-6 else (0.0, 1.0)

        def place(number: float, value: float) -> tuple[float, float]:
            return left + (right - left) * number / max(1, len(values) - 1), bottom - CHART * (value - low) / (
                high - low
            )

        self.draw.rectangle((left, top, right, bottom), outline=DIM)
        for value in (low, high):
            y = place(0, value)[1]
            self.draw.text((left - 6, y), f"{value:.3g}", fill=DIM, font=self.small, anchor="rm")
        if level is not None:
            y = place(0, level[0])[1]
            self.draw.line((left, y, right, y), fill=MIDDLE, width=1)
            self.draw.text((right - 4, y - 2), level[1], fill=MIDDLE, font=self.small, anchor="rd")
        points = [place(number, value) for number, value in enumerate(values)]
        self.draw.line(points, fill=colour, width=2, joint="curve")
        if mark is not None:
            x, y = points[mark]
            self.draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=NEW)
        ends = (f"0 s, {unit}", f"{seconds:.2f} s") if seconds else (unit, f"frame {len(values)}")
        self.draw.text((left, bottom + 4), ends[0], fill=DIM, font=self.small)
        self.draw.text((right, bottom + 4), ends[1], fill=DIM, font=self.small, anchor="ra")

    def picture(self) -> Tensor:
        self._grow(MARGIN // 2)
        return torch.from_numpy(np.asarray(self.image).astype(np.float32) / 127.5 - 1).permute(2, 0, 1).contiguous()
