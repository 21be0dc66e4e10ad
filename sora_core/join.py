"""New frames between the frames of inputs: which canvas makes them, and how both become one film.

The frames of an input never pass through the codec: a film shows them as they are, and of a filled canvas only the
frames that are new. The context that the canvas keeps is decoded in front of them, so the decoder is warm and they
continue it exactly. What the codec loses of an input would still be seen as a jump beside it, and so would what the
model has painted anew a little differently: wherever nothing moves, new frames begin as the input's and go over to
themselves (`led_over`).

What follows an input continues the latent of its last 1 + 4 k frames, so that the last cell ends with the last frame.
What precedes it leads to true cells of four frames that begin with its first frame: as if they followed a still of
that frame, which the codec hardly notices (the first such cell of the bundled one differs by 3 % of its size from the
cell encoded after the true past, and decodes as well), and the model sees the very frame that it has to reach. Between
two inputs the length of the gap need not be whole cells; then up to three of the first frames behind it share a cell
with new ones, are invented for the model's sake and not shown.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from . import canvas as canvases
from .audio import Sound, has_sound
from .canvas import Canvas
from .clip import Clip
from .codec import Codec
from .errors import UserError
from .grid import Geometry, Grid

CONTEXT = 3  # latent frames of an input that the model sees beside the new ones
FADE = 16  # frames over which new ones go over from their neighbour to themselves
UNLIKE = 0.2  # difference, of a range of 2, from which on a pixel shows something else (Tukey's biweight)
LOST = 1.0  # and from which on an original does so there or beside it, where its decoded frame lags behind it


class Encoder(Protocol):
    """What `Codec` offers of itself here."""

    geometry: Geometry

    def encode(self, video: Tensor) -> Tensor: ...


@dataclass(frozen=True)
class Part:
    """New frames: `count` of those that a canvas decodes to, from number `first` on.

    Where the canvas was laid over a clip from its first frame on, `under` is that clip: what is kept of it is shown as
    it is, see `paste`. `before` and `after` are the frames (B, 3, H, W) of inputs that the new ones follow and precede.
    """

    canvas: Canvas
    first: int
    count: int
    under: Clip | None = None
    before: Tensor | None = None
    after: Tensor | None = None


@dataclass(frozen=True)
class Shot:
    """Frames of an input as they are: `count` from number `first` on."""

    clip: Clip
    first: int
    count: int


@dataclass(frozen=True)
class Film:
    """Shots and new parts in a row, with what is to be heard."""

    pieces: list[Shot | Part]
    width: int
    height: int
    fps: float
    sounds: list[Sound] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def frames(self) -> int:
        """How many there are."""
        return sum(piece.count for piece in self.pieces)

    @property
    def parts(self) -> list[Part]:
        return [piece for piece in self.pieces if isinstance(piece, Part)]

    def show(self, decode: Callable[[Part], Iterable[Tensor]]) -> Iterator[Tensor]:
        """Chunks (1, 3, n, H, W) of the whole film; `decode` gives those of a part's canvas, from its first frame."""
        for piece in self.pieces:
            if isinstance(piece, Shot):
                for frame in piece.clip.frames(piece.first, piece.first + piece.count):
                    yield frame[None, :, None]
            else:
                frames = decode(piece)
                if piece.under is not None:
                    frames = paste(frames, piece.under.frames(), piece.canvas)
                yield from new_frames(frames, piece)


def row(pieces: list[Shot | Part]) -> Film:
    """Pieces as a film of the first shot's size and rate; every shot is heard as it is seen."""
    clip = next(piece.clip for piece in pieces if isinstance(piece, Shot))
    sounds, notes, at = [], [], 0
    for piece in pieces:
        if isinstance(piece, Shot):
            notes += piece.clip.changes
            if has_sound(piece.clip.path):
                sounds.append(Sound(piece.clip.path, at / clip.fps, piece.first / clip.fps, piece.count / clip.fps))
        at += piece.count
    return Film(pieces, clip.width, clip.height, clip.fps, sounds, notes)


def cut(chunks: Iterable[Tensor], first: int, count: int) -> Iterator[Tensor]:
    """Of a stream of chunks (B, 3, n, H, W) the `count` frames from number `first` on."""
    at = 0
    for chunk in chunks:
        part = chunk[:, :, max(0, first - at) : max(0, first + count - at)]
        at += chunk.shape[2]
        if part.shape[2]:
            yield part
        if at >= first + count:
            return


def new_frames(chunks: Iterable[Tensor], part: Part) -> Iterator[Tensor]:
    """The new frames of a part, as chunks (B, 3, n, H, W), out of what its canvas decodes to from its first frame."""
    return led_over(chunks, part.first, part.count, part.before, part.after)


def led_over(
    chunks: Iterable[Tensor], first: int, count: int, before: Tensor | None = None, after: Tensor | None = None
) -> Iterator[Tensor]:
    """Of a decoded stream of chunks (B, 3, n, H, W) the `count` frames from number `first` on, to lie between the
    originals of the frames before and behind them, `before` and `after` (B, 3, H, W), where there are such.

    Each pixel that is decoded about as in the frame before them begins as the original of that frame has it, and goes
    over to itself in `FADE` frames; so it does towards the frame behind them. So neither what the codec loses nor what
    a model invents a little differently, wherever nothing moves, is seen as a jump. With the clips' own latents in
    place of invented ones (16 clips of 96x96, a codec of 34.0 dB) the step at the seam is 1.1 times the median step
    behind an input and 1.0 times before one, where it is 2.3 as decoded, and the new frames are nearer to the true
    ones, 37.2 for 36.2 dB. (Were the original not asked too, it would be 1.0 both times; but where its decoded frame
    lags behind it, the edge of what moves in the original would be drawn over what the new frames before it show.)
    """
    if before is None and after is None:
        yield from cut(chunks, first, count)
        return
    end, reach = first + count, min(FADE, count)
    frames = (frame for chunk in chunks for frame in chunk.unbind(2))
    left = None
    waiting: deque[tuple[Tensor, Tensor]] = deque()  # as decoded, as shown: what the frame behind them still changes
    for at, decoded in enumerate(frames):
        if at == first - 1 and before is not None:
            left = decoded
        elif first <= at < end:
            shown, number = decoded, at - first
            if left is not None and number < reach:
                shown = shown + _away(decoded, left, before, 1 - (number + 1) / (reach + 1))
            waiting.append((decoded, shown))
            if after is None or len(waiting) > reach:
                yield waiting.popleft()[1].clamp(-1, 1)[:, :, None]
        elif at == end and after is not None:
            waiting = deque(
                (one, shown + _away(one, decoded, after, (number + 1) / (reach + 1)))
                for number, (one, shown) in enumerate(waiting, start=reach - len(waiting))
            )
        if at >= end:
            break
    for _, shown in waiting:
        yield shown.clamp(-1, 1)[:, :, None]


def _away(frame: Tensor, neighbour: Tensor, original: Tensor, fade: float) -> Tensor:
    """What leads the pixels of a frame to the original of a neighbour, as far as both show the same there."""
    original = original.to(frame)
    alike = _biweight((frame - neighbour) / UNLIKE) * -F.max_pool2d(-_biweight((frame - original) / LOST), 3, 1, 1)
    return fade * alike * (original - frame)


def _biweight(difference: Tensor) -> Tensor:
    """(B, 1, H, W): from 1 where two pixels are equal to 0 where their colours differ by 1 or more."""
    return (1 - difference.square().mean(1, keepdim=True)).clamp(min=0).square()


def paste(chunks: Iterable[Tensor], originals: Iterable[Tensor], canvas: Canvas) -> Iterator[Tensor]:
    """Lay what is kept of an original over the frames of a filled canvas, so that it does not pass through the codec.

    From half a cell inside the kept cells on, the pixels are the original's; up to there the two blend.

    Args:
        chunks: (1, 3, n, H, W), what the canvas decodes to.
        originals: (3, h, w) of each frame; smaller ones lie where `canvas.reframe` put them, as the origin tells.
    """
    grid, originals, at = canvas.grid, iter(originals), 0
    stride, reach = grid.geometry.s_stride, grid.geometry.s_stride // 4 * 2 + 1
    _, top, left = (-n * stride for n in canvas.origin)
    for chunk in chunks:
        chunk = chunk.clone()
        for i in range(chunk.shape[2]):
            original = next(originals, None)
            if original is None:
                break
            made = (canvas.level[:1, :, grid.cell_of(at + i)] > 0).float()  # (1, 1, h, w)
            made = made.repeat_interleave(stride, -2).repeat_interleave(stride, -1)[..., : grid.height, : grid.width]
            wide = F.max_pool2d(made, reach, 1, reach // 2)
            weight = F.avg_pool2d(wide, reach, 1, reach // 2, count_include_pad=False)
            h, w = original.shape[-2:]
            inside = (..., slice(top, top + h), slice(left, left + w))
            frame = chunk[:, :, i]
            frame[inside] = torch.lerp(original.to(frame), frame[inside], weight[inside])
        at += chunk.shape[2]
        yield chunk


def tail_frames(geometry: Geometry, context: int = CONTEXT) -> int:
    """How many of the last frames of an input `after` and `between` look at."""
    return geometry.frames(context)


def head_frames(geometry: Geometry, context: int = CONTEXT) -> int:
    """How many of the first frames of an input `before` and `between` look at."""
    return geometry.t_stride * (context + 1) - 1


def after(codec: Encoder, tail: Tensor, count: int, fps: float, context: int = CONTEXT) -> Part:
    """What follows.

    Args:
        tail: (B, 3, T, H, W) in [-1, 1], the last frames of the input; any number from 1, see `tail_frames`.
        count: new frames.
        context: latent frames to keep.

    Raises:
        UserError: no frames are asked for, or sizes that are impossible.
    """
    tail = _whole_cells(codec.geometry, tail[:, :, -tail_frames(codec.geometry, context) :])
    known = tail.shape[2]
    grid = _grid(codec, tail, known + some_new(count), fps)
    canvas = canvases.place(canvases.empty(grid, len(tail)), codec.encode(tail).cpu())
    return Part(canvas, known, count, before=tail[:, :, -1])


def before(codec: Encoder, head: Tensor, count: int, fps: float, context: int = CONTEXT) -> Part:
    """What leads to an input, whose first frames are `head` (see `head_frames`); else as `after`."""
    stride = codec.geometry.t_stride
    known = _true_cells(codec, head, 0, context)
    invented = codec.geometry.latent_frames(some_new(count))
    grid = _grid(codec, head, codec.geometry.frames(invented) + stride * known.shape[2], fps)
    canvas = canvases.place(canvases.empty(grid, len(head)), known, at=invented)
    return Part(canvas, codec.geometry.frames(invented) - count, count, after=head[:, :, 0])


def between(codec: Encoder, tail: Tensor, head: Tensor, count: int, fps: float, context: int = CONTEXT) -> Part:
    """What leads from one input to another, or closes a loop where both are the same; else as `after`."""
    if tail.shape[-2:] != head.shape[-2:] or len(tail) != len(head):
        raise UserError(
            f"The two clips are {tail.shape[-1]}x{tail.shape[-2]} and {head.shape[-1]}x{head.shape[-2]}: make them "
            "alike first."
        )
    stride = codec.geometry.t_stride
    tail = _whole_cells(codec.geometry, tail[:, :, -tail_frames(codec.geometry, context) :])
    shared = -some_new(count) % stride  # first frames of the other input that lie in a cell with new ones
    known, follows = codec.encode(tail).cpu(), _true_cells(codec, head, shared, context)
    start = tail.shape[2]
    grid = _grid(codec, tail, start + count + shared + stride * follows.shape[2], fps)
    canvas = canvases.place(canvases.empty(grid, len(tail)), known)
    canvas = canvases.place(canvas, follows, at=-follows.shape[2])
    return Part(canvas, start, count, before=tail[:, :, -1], after=head[:, :, 0])


def morph(codec: Codec, a: Shot, b: Shot, strength: float = 0.9) -> tuple[Part, int]:
    """One input turns into another over all their frames.

    Args:
        a, b: of the same length and size.
        strength: see `canvas.morph`.

    Returns:
        the new frames between those that are kept, which are the first of `a` and this many last ones of `b`.

    Raises:
        UserError: see `canvas.morph`.
    """
    held = []
    for shot in (a, b):
        latent, frames = shot.clip.encode(codec, shot.first, shot.first + shot.count)
        grid = Grid(frames, shot.clip.height, shot.clip.width, shot.clip.fps, codec.geometry)
        held.append(canvases.keep(latent.cpu(), grid))
    canvas = canvases.morph(*held, strength)
    count = codec.geometry.t_stride * (canvas.grid.latent_shape[1] - 2)
    first, last = (shot.clip.take(at, at + 1)[:, :, 0] for shot, at in ((a, a.first), (b, b.first + 1 + count)))
    return Part(canvas, 1, count, before=first, after=last), canvas.grid.frames - 1 - count


def lay(
    codec: Encoder, canvas: Canvas, video: Tensor | Clip, frame: int, strength: float = 0.0
) -> tuple[Canvas, int, int]:
    """Lay an image or a clip onto a canvas at a time.

    Args:
        video: (B or 1, 3, T, H, W) in [-1, 1], or a clip, which is read as a stream and takes a `Codec`; of the
            canvas's size. One frame is an image and fills a latent frame.
        frame: of the canvas where it is to start. A clip starts with the nearest latent frame, what is not a whole
            latent frame at its end is left out, and so is what reaches beyond the canvas.

    Returns:
        the canvas, the frame where the clip starts, and the frames of it that are there.

    Raises:
        UserError: the frame lies outside the canvas; see `canvas.place`.
    """
    grid, stride = canvas.grid, codec.geometry.t_stride
    frame = grid.frame_at(frame)
    count = video.expected if isinstance(video, Clip) else video.shape[2]
    if count == 1:  # a still is the same in every cell
        return canvases.place(canvas, _cells(codec, video, 1, True), grid.cell_of(frame), strength), frame, 1
    cell = min(first_cell(grid, frame, stride), grid.cells[0] - 1)
    start, alone = grid.frames_of(cell).start, len(grid.frames_of(cell)) == 1
    length = min(count, grid.frames - start)
    if length < grid.frames - start:
        whole = (length - 1) // stride * stride + 1 if alone else max(1, length // stride) * stride
        length = min(length, whole)
    return canvases.place(canvas, _cells(codec, video, length, alone), cell, strength), start, length


def first_cell(grid: Grid, frame: int, shown: int) -> int:
    """The latent frame with which a clip begins, so that its first frame comes nearest to a frame of the canvas; of two
    as near, the later one.

    Args:
        shown: how many frames of the clip that latent frame ends with: all of them, `t_stride`, where the clip was
            encoded behind a still, and one where its latent stands for itself.
    """
    whole = int(grid.cyclic)  # the first latent frame of a loop stands for as many frames as the others
    return max(0, math.floor((frame + shown - 1 + whole) / grid.geometry.t_stride + 0.5) - whole) if frame else 0


def some_new(count: int) -> int:
    """The number of new frames that are asked for.

    Raises:
        UserError: none.
    """
    if count < 1:
        raise UserError(f"At least one new frame must be asked for, not {count}.")
    return count


def _grid(codec: Encoder, like: Tensor, frames: int, fps: float) -> Grid:
    return Grid(frames, like.shape[-2], like.shape[-1], fps, codec.geometry)


def _whole_cells(geometry: Geometry, tail: Tensor) -> Tensor:
    """The last frames as 1 + 4 k of them; too few are led in by a still of the first."""
    missing = geometry.frames(geometry.latent_frames(tail.shape[2])) - tail.shape[2]
    return torch.cat([tail[:, :, :1].expand(-1, -1, missing, -1, -1), tail], dim=2)


def _cells(codec: Encoder, video: Tensor | Clip, length: int, alone: bool) -> Tensor:
    """The latent of the first frames, of which the very first has a cell of its own, or all are in true cells."""
    if isinstance(video, Clip):
        return video.encode(codec, 0, length, led=not alone)[0].cpu()
    video = video[:, :, :length]
    return codec.encode(video).cpu() if alone else _true_cells(codec, video, 0, -(-length // codec.geometry.t_stride))


def _true_cells(codec: Encoder, head: Tensor, start: int, context: int) -> Tensor:
    """(B, C, n, h, w): cells of `t_stride` frames from number `start` on, at most `context`, encoded after the frame
    before that, or after a still of the first; an input that ends sooner stands still."""
    missing = max(0, start + 1 - head.shape[2])
    head = torch.cat([head, head[:, :, -1:].expand(-1, -1, missing, -1, -1)], dim=2)
    lead = head[:, :, max(0, start - 1)][:, :, None]
    video = head[:, :, start : start + context * codec.geometry.t_stride]
    return codec.encode(torch.cat([lead, video], dim=2))[:, :, 1:].cpu()
