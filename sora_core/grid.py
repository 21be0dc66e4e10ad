"""Sizes: pixels <-> latent <-> patches, presets for people, token budgets and an estimate of memory.

A video is a grid of spacetime patches, and its size at test time is chosen by the size of the grid ("Video generation
models as world simulators", section "Variable durations, resolutions, aspect ratios"). The codec works on clips of
1 + t_stride * k frames and on sides that are whole patches; everything else is padded on the way in and cut on the way
out, so a person gets exactly the frames, width and height that were asked for.
"""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial

from .errors import UserError

MIN_SIDE = 8  # pixels: one cell of the usual latent
MAX_SIDE = 2048  # pixels: images go up to 2048 x 2048, as in the report
MAX_VIDEO_PIXELS = 1920 * 1088  # per frame: 1080p as codecs store it
MAX_SECONDS = 60.0
MIN_FPS, MAX_FPS = 0.01, 120.0

_SHAPES = ("16:9", "9:16", "1:1", "4:3", "21:9")
_SIZES = {
    "1080p": ((1920, 1080), (1080, 1920), (1080, 1080), (1440, 1080), (1920, 824)),
    "720p": ((1280, 720), (720, 1280), (720, 720), (960, 720), (1280, 552)),
    "480p": ((848, 480), (480, 848), (480, 480), (640, 480), (848, 360)),
    # Prototypes to refine later. 1080p and 720p (not 21:9), and images in 16:9 and 9:16, are whole multiples of them
    # and so share their noise, see `canvas.enlargement`.
    "preview": ((128, 72), (72, 128), (72, 72), (96, 72), (168, 72)),
    # About the 96 x 96 pixels that the bundled model was trained at last.
    "bundled": ((128, 72), (72, 128), (96, 96), (104, 80), (152, 64)),
    "image": ((2048, 1152), (1152, 2048), (2048, 2048), (2048, 1536), (2048, 880)),
}

PRESETS: dict[str, tuple[int, int]] = {
    f"{name} {shape}": size for name, sizes in _SIZES.items() for shape, size in zip(_SHAPES, sizes, strict=True)
}
"""Name -> (width, height) in pixels, for instance ``"1080p 16:9"``, ``"preview 9:16"``, ``"image 1:1"``."""

PLACES = {"center": (0.5, 0.5), "left": (0, 0.5), "right": (1, 0.5), "top": (0.5, 0), "bottom": (0.5, 1)}
"""Name -> (x, y): how much of the room in a larger frame lies to the left and above, see `canvas.reframe`."""


def _integer(value, what: str) -> int:
    """`value` as an int, or a sentence. Accepts numpy and torch integers; refuses bools, floats and text."""
    try:
        if isinstance(value, bool):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise UserError(f"The {what} must be a whole number, not {str(value)[:40]!r}.") from None


def _whole(value, what: str, least: int = 1) -> int:
    """`value` as an int from `least` on, or a sentence."""
    value = _integer(value, what)
    if value < least:
        raise UserError(f"The {what} must be at least {least}, not {value}.")
    return value


def _real(value, what: str, most: float, least: float = 0) -> float:
    """`value` as a finite float above 0 and from `least` to `most`, or a sentence."""
    try:
        value = float(value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"The {what} must be a number, not {str(value)[:40]!r}.") from None
    if not (value > 0 and least <= value <= most):
        limits = f"from {least:g} to {most:g}" if least else f"above 0 and at most {most:g}"
        raise UserError(f"The {what} must be {limits}, not {value:g}.")
    return value


def _frame_rate(value) -> float:
    return _real(value, "frame rate", MAX_FPS, MIN_FPS)


def _check_side(value, what: str) -> int:
    value = _integer(value, what)
    if not MIN_SIDE <= value <= MAX_SIDE:
        raise UserError(f"The {what} must be from {MIN_SIDE} to {MAX_SIDE} pixels, not {str(value)[:20]}.")
    return value


def round_up(value: int, multiple: int) -> int:
    """The least multiple that is not below `value`."""
    return -(-value // multiple) * multiple


@dataclass(frozen=True)
class Geometry:
    """How a codec and a transformer cut a video up; it comes from the checkpoint, nothing is assumed elsewhere.

    Args:
        t_stride: frames per latent frame after the first, which stands for one frame (causal codec).
        s_stride: pixels per latent cell, in both directions.
        channels: latent channels.
        patch: latent cells per token in (t, y, x).
        codec: what is known of whose latents these are; the same sizes may mean different things.
    """

    t_stride: int = 4
    s_stride: int = 8
    channels: int = 16
    patch: tuple[int, int, int] = (1, 1, 1)
    codec: str = ""

    def __post_init__(self):
        for name in ("t_stride", "s_stride", "channels"):
            object.__setattr__(self, name, _whole(getattr(self, name), name))
        patch = tuple(_whole(p, "patch size") for p in self.patch)
        if len(patch) != 3:
            raise UserError(f"A patch has three sizes (time, height, width), not {len(patch)}.")
        object.__setattr__(self, "patch", patch)

    def latent_frames(self, frames: int) -> int:
        """Latent frames that hold `frames` frames: 1 + ceil((frames - 1) / t_stride)."""
        return 1 + math.ceil((_whole(frames, "number of frames") - 1) / self.t_stride)

    def frames(self, latent_frames: int) -> int:
        """Frames that `latent_frames` latent frames decode to: 1 + t_stride * (latent_frames - 1)."""
        return 1 + self.t_stride * (_whole(latent_frames, "number of latent frames") - 1)

    def __str__(self):
        pt, py, px = self.patch
        of = f"{self.codec} latents, " if self.codec else ""
        return (
            f"{of}{self.channels} channels, {self.t_stride} frames x {self.s_stride} x {self.s_stride} pixels a cell, "
            f"patches of {pt} x {py} x {px}"
        )


@dataclass(frozen=True)
class Grid:
    """The size of one video, checked when it is made. An image is a video of one frame.

    Args:
        frames: pixel frames, any number from 1; at most `MAX_SECONDS` long.
        height, width: pixels, any number from `MIN_SIDE` to `MAX_SIDE`; a video frame has at most 1080p's area.
        fps: frames per second.
        geometry: of the model that will fill it.
        cyclic: a loop: its last frame is followed by its first. No frame comes first, so every latent frame stands for
            `geometry.t_stride` frames, and their number must be a multiple of it.

    Raises:
        UserError: a size is not a number, zero, negative or beyond the limits; a loop of another number of frames.
            Whether the size fits into the memory of this machine depends on the model: ask `check_memory`.
    """

    frames: int
    height: int
    width: int
    fps: float = 8.0
    geometry: Geometry = field(default_factory=Geometry)
    cyclic: bool = False

    def __post_init__(self):
        frames = _whole(self.frames, "number of frames")
        height, width = _check_side(self.height, "height"), _check_side(self.width, "width")
        fps = _frame_rate(self.fps)
        for name, value in (("frames", frames), ("height", height), ("width", width), ("fps", fps)):
            object.__setattr__(self, name, value)
        if frames > (longest := most_frames(fps)):
            raise UserError(
                f"{str(frames)[:20]} frames at {fps:g} frames per second are longer than {MAX_SECONDS:g} seconds: ask "
                f"for at most {longest} frames."
            )
        stride = self.geometry.t_stride
        if self.cyclic and frames % stride:
            near = sorted({max(stride, round_up(frames, stride) - stride), round_up(frames, stride)})
            raise UserError(
                f"A cyclic loop has a multiple of {stride} frames: make it {' or '.join(map(str, near))} frames long "
                f"instead of {frames}."
            )
        if frames > 1 and height * width > MAX_VIDEO_PIXELS:
            w, h = same_shape(width, height, MAX_VIDEO_PIXELS)
            raise UserError(f"A video of {width}x{height} is too large: the largest of this shape is {w}x{h}.")

    @property
    def latent_shape(self) -> tuple[int, int, int, int]:
        """(C, t, h, w) of the latent; t, h and w are rounded up to whole patches."""
        t, h, w = (round_up(n, patch) for n, patch in zip(self.cells, self.geometry.patch, strict=True))
        return self.geometry.channels, t, h, w

    @property
    def cells(self) -> tuple[int, int, int]:
        """(t, h, w) of a latent that covers the video and is not filled up to whole patches."""
        g = self.geometry
        t = self.frames // g.t_stride if self.cyclic else g.latent_frames(self.frames)
        return t, -(-self.height // g.s_stride), -(-self.width // g.s_stride)

    @property
    def patches(self) -> tuple[int, int, int]:
        """(nt, ny, nx): tokens along time, height and width."""
        return tuple(n // p for n, p in zip(self.latent_shape[1:], self.geometry.patch, strict=True))

    @property
    def tokens(self) -> int:
        """Tokens the transformer attends over."""
        return math.prod(self.patches)

    def tokens_within(self, window: int) -> int:
        """Tokens of a window of so many latent frames, or of the whole grid where it has fewer."""
        moments, ny, nx = self.patches
        return min(moments, -(-window // self.geometry.patch[0])) * ny * nx

    def frame_at(self, number: int) -> int:
        """The frame with this number, of which negative ones count from the end, so that -1 is the last.

        Raises:
            UserError: there is none.
        """
        if not -self.frames <= number < self.frames:
            raise UserError(
                f"Frame {number} is not in a video of {self.frames} frames: use 0 to {self.frames - 1}, or -1."
            )
        return number % self.frames

    def cell_of(self, frame: int) -> int:
        """The latent frame that a frame belongs to."""
        stride = self.geometry.t_stride
        return frame // stride if self.cyclic else self.geometry.latent_frames(frame + 1) - 1

    def frames_of(self, cell: int) -> range:
        """The frames that a latent frame stands for: the first for one alone unless the video is a loop."""
        stride = self.geometry.t_stride
        end = stride * (cell + 1) if self.cyclic else self.geometry.frames(cell + 1)
        return range(max(0, end - stride), end)

    def moment(self, latent_frame: int) -> float:
        """Seconds from the start to the middle of the frames that a latent frame stands for."""
        frames = self.frames_of(latent_frame)
        return (frames.start + frames.stop) / 2 / self.fps

    @property
    def seconds(self) -> float:
        """Duration: each frame is shown for 1 / fps."""
        return self.frames / self.fps

    def memory_bytes(
        self,
        width: int = 384,
        bytes_per_element: int = 4,
        *,
        batch: int = 1,
        window: int | None = None,
    ) -> int:
        """An estimate, in bytes, of what sampling this grid and decoding it as a stream holds at once.

        The weights are not in it: they are loaded by the time this is asked, or are the host's to move out of the way.

        Args:
            width: of the transformer.
            bytes_per_element: of its activations (4 float32, 2 bfloat16).
            batch: videos sampled together; the two passes of guidance follow each other.
            window: latent frames that the transformer sees at once; None is all.
        """
        seen = self.tokens if window is None else self.tokens_within(window)
        activations = 14 * batch * seen * width  # residual, q k v, the attention's result, the mlp's 4 + 4
        latents = 6 * 4 * batch * math.prod(self.latent_shape)  # x, noise, x0 twice, a kept copy, work space: float32
        pixels = self.height * self.width * 4
        codec = 64 * pixels * min(self.frames, self.geometry.t_stride)  # the decoder's widest feature maps
        return activations * bytes_per_element + latents + codec

    def check_memory(self, available: int | None, needs: Callable[..., int] = memory_bytes, **model) -> None:
        """Refuse what cannot fit before anything is allocated.

        Args:
            available: bytes; None (unknown) refuses nothing. `memory.available_memory(device)` reads it.
            needs: (grid, **model) -> bytes; by default what sampling takes.
            model: the arguments of `memory_bytes`.

        Raises:
            UserError: names the largest size of the same shape that fits, or the longest duration where none does.
        """
        needs = partial(needs, **model)
        need = needs(self)
        if available is None or need <= available:
            return
        asked = f"{self.width}x{self.height} with {self.frames} frames needs about {_gib(need)} of memory and "
        asked += f"{_gib(available)} are free"
        smaller = largest(lambda n: self._fits(same_shape(self.width, self.height, n), available, needs), self.pixels)
        if size := same_shape(self.width, self.height, max(1, smaller)):
            raise UserError(f"{asked}: the largest size of this shape that fits is {size[0]}x{size[1]}.")
        some = self.geometry.t_stride if self.cyclic else 1  # a loop has whole latent frames
        fit = largest(lambda n: needs(replace(self, frames=some * n)) <= available, self.frames // some)
        if frames := some * fit:
            raise UserError(f"{asked}: at this size at most {frames} frames fit.")
        raise UserError(f"{asked}: not even one frame fits, so free some memory or use a smaller model.")

    @property
    def pixels(self) -> int:
        """Pixels of one frame."""
        return self.height * self.width

    def _fits(self, size: tuple[int, int] | None, available: int, needs: Callable[[Grid], int]) -> bool:
        # Below the smallest side nothing is left that could fail to fit; the caller looks at what is left.
        return size is None or needs(replace(self, width=size[0], height=size[1])) <= available


def _gib(n: int) -> str:
    return f"{n / 2**30:.1f} GiB" if n >= 2**29 else f"{n / 2**20:.0f} MiB"


def largest(fits, most: int) -> int:
    """The largest n in 1..most for which `fits(n)` holds (it must not come back once lost), or 0."""
    low, high = 0, most
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def same_shape(width: int, height: int, pixels: int) -> tuple[int, int] | None:
    """The largest (width, height) of nearly the same shape with at most `pixels` pixels, in multiples of 8.

    Returns None where a side would fall below `MIN_SIDE`.
    """
    scale = math.sqrt(pixels / (width * height))
    w, h = (int(side * scale + 1e-9) // 8 * 8 for side in (width, height))
    return (w, h) if min(w, h) >= MIN_SIDE else None


def parse_size(text: str) -> tuple[int, int]:
    """Read a size that a person wrote.

    Args:
        text: ``"1920x1080"`` (also with the sign of multiplication, capitals, spaces) or the name of a preset.

    Returns:
        (width, height) in pixels.

    Raises:
        UserError: neither a size nor a preset, or a side is zero, negative or too large.
    """
    cleaned = " ".join(str(text).split())
    by_name = {name.lower(): size for name, size in PRESETS.items()}
    if cleaned.lower() in by_name:
        return by_name[cleaned.lower()]
    match = re.fullmatch(r"([+-]?\d{1,9}) ?[x×X*] ?([+-]?\d{1,9})", cleaned)
    if match is None:
        raise UserError(
            f"{cleaned[:40]!r} is not a size: write width x height in pixels such as 1280x720, or a preset such as "
            "'720p 16:9'."
        )
    return _check_side(int(match[1]), "width"), _check_side(int(match[2]), "height")


def most_frames(fps: float) -> int:
    """The frames of the longest video: a minute in the codec's native form is one frame more."""
    return 1 + math.floor(MAX_SECONDS * fps + 1e-6)


def frames_for(seconds: float, fps: float) -> int:
    """The frames of a clip that lasts `seconds`: 2 s at 8 fps are 16 frames, each shown for 1/8 s; never fewer than 1.

    16 is not of the codec's native form 1 + 4 k: the codec repeats the last frame up to 17 and cuts it off again.
    """
    seconds, fps = _real(seconds, "duration in seconds", MAX_SECONDS), _frame_rate(fps)
    return max(1, math.floor(seconds * fps + 0.5))
