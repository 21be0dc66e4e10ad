"""Canvases longer than the model's window, and loops: what the network sees of them at a time.

A long canvas is filled window by window. A window holds context, latent frames that are finished, and new ones. It goes
on from what is there in either direction, and the window that closes a gap has context on both sides. So the memory is
that of one window, and motion goes on because the context shows it. Against drift what a window made is pulled towards
the mean and deviation of the start, channel by channel (AdaIN: Huang and Belongie 2017). Where a network has learnt to,
as its card says, it also sees the start, at its own place in time (an anchor), and reads what earlier windows made at a
small noise level (GameNGen: Valevski et al. 2024). The bundled one draws the grain of either into all that follows:
twenty seconds end with a mosaic.

A loop is a circle of latent frames without a first one. At every step the network sees the circle cut open at another
place, so no place is a border for long (latent shift, Mobius: Bi et al. 2025). The frame before the cut leads every
view, for the network takes the first that it sees for the start of a clip; its prediction for that one is dropped.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from . import flow
from .canvas import Canvas
from .errors import UserError
from .noise import noise
from .sampler import Callback, Denoise

GOLDEN = (math.sqrt(5) - 1) / 2  # turning a circle by this share of it again and again comes by every place evenly

View = Callable[[Tensor, Tensor, list[int]], Tensor]
"""(x (B, C, n, h, w), level (B, 1, n, h, w), n latent frames of the canvas by number) -> x0: a `Denoise` of a part."""

_HISTORY_NOISE = 1 << 24  # latent frames between a place in the noise field and the noise that its history is read with


@dataclass(frozen=True)
class Window:
    """Latent frames start..stop are seen, of which new..end are filled; `forward` is the direction of growth, or None
    where a gap is closed."""

    start: int
    stop: int
    new: int
    end: int
    forward: bool | None


def plan(open_frames: Sequence[bool], window: int, context: int, anchors: int) -> list[Window]:
    """The windows that fill the open latent frames of a canvas, in an order in which each has something to go on from.

    Args:
        open_frames: for each latent frame, whether anything of it is to be filled.
        window: latent frames that are seen at once.
        context: finished ones among them that a growing window goes on from; the last of a row takes more.
        anchors: places that a growing window leaves for the start of the video.

    Returns:
        Forward from what is finished before a gap, backward from what is finished behind it, from both sides in turns
        where both are there. An empty canvas starts at its first frame.
    """
    windows = []
    for low, high, limit in _runs(open_frames):
        left, right = low > 0, high < limit
        if not left and not right:
            windows.append(Window(0, min(window, high), 0, min(window, high), True))
            low, left = windows[-1].stop, True
        forward = left
        while low < high:
            if left and right and high - low + 2 <= window:
                start = min(max(0, low - (window - (high - low) + 1) // 2), max(0, limit - window))
                windows.append(Window(start, min(start + window, limit), low, high, None))
                break
            if forward:
                start, stop = _grown(low, high - right, window, context, anchors)
                windows.append(Window(start, stop, low, stop, True))
                low = stop
            else:  # the same seen from the other end
                start, stop = _grown(limit - high, limit - low - left, window, context, anchors)
                windows.append(Window(limit - stop, limit - start, limit - stop, high, False))
                high = limit - stop
            if left and right:
                forward = not forward
    return windows


def _runs(open_frames: Sequence[bool]) -> list[tuple[int, int, int]]:
    """(start, stop, limit) of every row of open frames; from stop to limit, where the next row starts, none is."""
    edges = [t for t, (a, b) in enumerate(zip([False, *open_frames], [*open_frames, False], strict=True)) if a != b]
    limits = [*edges[2::2], len(open_frames)]
    return list(zip(edges[::2], edges[1::2], limits, strict=False))


def _grown(low: int, high: int, window: int, context: int, anchors: int) -> tuple[int, int]:
    """(start, stop) of a window that goes on from the finished frames before `low` and fills up to `high`."""
    if low <= context:
        anchors = 0  # the start itself is in sight
    new = min(window - anchors - min(context, low), high - low)
    return max(0, low - (window - anchors - new)), low + new


@dataclass(frozen=True)
class Windowing:
    """How a canvas is filled that is longer than what the model sees at once.

    Attributes:
        window: latent frames that the model sees at once.
        context: finished ones among them that a window goes on from.
        anchor: whether a window also sees the first latent frame (of those that are told the same); a checkpoint's card
            says so.
        history: noise level at which it reads what earlier windows made.
        match: how far what it makes gets the mean and the deviation that each channel has in the first `window` latent
            frames (of those that are told the same), 0 to 1.
    """

    window: int = 5
    context: int = 2
    anchor: bool = False
    history: float = 0.0
    match: float = 0.25

    @property
    def most_context(self) -> int:
        """The longest context that leaves room for something new."""
        return self.window - 1 - self.anchor

    def check_windows(self) -> None:
        """Refuse what makes no sense, in a sentence."""
        most = self.most_context
        if self.window < 3 or not 1 <= self.context <= most:
            raise UserError(
                f"A window of {self.window} latent frames that goes on from {self.context} has no room to fill: "
                + (f"choose a context from 1 to {most}." if most > 0 and self.window >= 3 else "it takes at least 3.")
            )
        if not (0 <= self.history < 1 and 0 <= self.match <= 1):
            raise UserError(
                "In a long video the history is read at a noise level from 0 to below 1 and matched by 0 to 1, not "
                f"{self.history} and {self.match}."
            )


def fill(
    view: View,
    run: Callable[[Denoise, Canvas, Callback | None], Tensor],
    canvas: Canvas,
    how: Windowing,
    spans: Sequence[range],
    seed: int,
    callback: Callback | None = None,
) -> Iterator[Tensor]:
    """Fill a canvas window by window.

    Args:
        view: the network.
        run: fills a canvas, as `sampler.sample` does.
        spans: for each latent frame, the row of frames around it that are told the same as it.
        seed: of the noise that history is read with.
        callback: (steps done of all windows, their number, x, x0 of the window), see `sampler.sample`.

    Yields:
        (B, C, n, h, w): finished latent frames in the order of time, each as soon as all before it are finished.
    """
    latent, level = canvas.latent.clone(), canvas.level.clone()
    is_open = (level > 0).amax((0, 1, 3, 4)).tolist()
    made = [False] * len(is_open)
    windows = plan(is_open, how.window, how.context, int(how.anchor))
    shown = 0
    for number, w in enumerate(windows):
        start = _start(w, spans, is_open, how.window)
        cells = list(range(w.start, w.stop))
        if how.anchor and start and w.forward is True and start[0] < w.start:
            cells.insert(0, start[0])
        if how.anchor and start and w.forward is False and start[-1] >= w.stop:
            cells.append(start[-1])
        read = _reader(
            view, cells, slice(cells.index(w.start), cells.index(w.stop - 1) + 1), canvas, latent, made, how, seed
        )

        def report(done: int, of: int, x: Tensor, x0: Tensor, before: int = number) -> None:
            callback(before * of + done, len(windows) * of, x, x0)

        filled = run(read, _cut(canvas, latent, level, w.start, w.stop), report if callback else None)
        new = slice(w.new, w.end)
        latent[:, :, new] = filled[:, :, w.new - w.start : w.end - w.start]
        if len(start) == how.window and (level[:, :, new] == 1).all():  # nothing of it was given
            same = spans[w.new if w.forward else w.end - 1]
            like = slice(max(w.new, same.start), min(w.end, same.stop))
            latent[:, :, like] = _matched(latent[:, :, like], latent[:, :, start.start : start.stop], how.match)
        level[:, :, new] = 0
        for t in range(w.new, w.end):
            is_open[t], made[t] = False, True
        done = is_open.index(True) if True in is_open else len(is_open)
        if done > shown:
            yield latent[:, :, shown:done].clone()
        shown = done
    if shown < len(is_open):  # nothing was open
        yield latent


def _start(w: Window, spans: Sequence[range], is_open: Sequence[bool], window: int) -> range:
    """The finished frames from which the part that a window is in grew: what identity and colour are held to. None for
    the window that closes a gap between two parts, which may differ."""
    if w.forward is None:
        return range(0)
    if w.forward:
        first = spans[w.new].start
        return range(first, min(first + window, w.new))
    last = spans[w.end - 1].stop
    last = next((t for t in range(w.end, last) if is_open[t]), last)
    return range(max(last - window, w.end), last)


def _cut(canvas: Canvas, latent: Tensor, level: Tensor, start: int, stop: int) -> Canvas:
    """Latent frames start..stop as a canvas; they keep their noise."""
    t, y, x = canvas.origin
    return replace(
        canvas,
        latent=latent[:, :, start:stop],
        level=level[:, :, start:stop],
        grid=replace(canvas.grid, frames=canvas.grid.geometry.frames(stop - start)),
        origin=(t + start, y, x),
    )


def _reader(
    view: View,
    cells: list[int],
    inside: slice,
    canvas: Canvas,
    latent: Tensor,
    made: Sequence[bool],
    how: Windowing,
    seed,
) -> Denoise:
    """The network on a window, which is `inside` of the cells that it sees; what was made before is read as history."""
    past = [i for i, t in enumerate(cells) if made[t]]
    given = latent[:, :, cells]
    if past and how.history:
        origin, shape = canvas.origin, (given.shape[1], 1, *given.shape[3:])
        for i in past:
            offset = (origin[0] + cells[i] + _HISTORY_NOISE, *origin[1:])
            e = torch.stack([noise(seed + b, shape, offset=offset, device=given.device) for b in canvas.numbers])
            given[:, :, i, None] = flow.interpolate(given[:, :, i, None], e, how.history)

    def read(x: Tensor, level: Tensor) -> Tensor:
        seen, levels = given.clone(), level.new_zeros(len(x), 1, *given.shape[2:])
        seen[:, :, inside], levels[:, :, inside] = x, level
        seen[:, :, past], levels[:, :, past] = given[:, :, past], how.history
        return view(seen, levels, cells)[:, :, inside]

    return read


def _matched(x: Tensor, start: Tensor, strength: float) -> Tensor:
    """x with the mean and deviation of each channel moved towards those of `start`; at strength 0 as it was."""
    axes = (2, 3, 4)
    mean, std, aim = x.mean(axes, keepdim=True), *(part.std(axes, correction=0, keepdim=True) for part in (x, start))
    ratio = aim / std.clamp(min=1e-6)
    shift = start.mean(axes, keepdim=True) - mean
    return x + strength * ((x - mean) * (ratio - 1) + shift)


def circle(view: View, count: int, window: int) -> Denoise:
    """The network on a loop of `count` latent frames: at every call the circle is cut open at another place, and where
    it is longer than the window, into as many pieces as it takes."""
    calls = itertools.count()

    def denoise(x: Tensor, level: Tensor) -> Tensor:
        turn = int(next(calls) * GOLDEN * count) % count
        order = [(turn + i) % count for i in range(count)]
        pieces = torch.tensor(order).tensor_split(-(-count // (window - 1)))
        x0 = torch.empty_like(x)
        for piece in pieces:
            cells = [(int(piece[0]) - 1) % count, *piece.tolist()]
            x0[:, :, cells[1:]] = view(x[:, :, cells], level[:, :, cells], cells)[:, :, 1:].to(x0)
        return x0

    return denoise
