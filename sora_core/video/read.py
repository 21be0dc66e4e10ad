"""Videos and images read frame by frame: nothing long is ever held whole."""

from __future__ import annotations

import io
import itertools
import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import VideoReformatter
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from ..errors import UserError
from .formats import EXACT, IMAGE_ENDINGS
from .timing import Timing, span, timing_of

MOST_PIXELS = 2**26  # of a picture or frame: a little file can unpack to gigabytes

Source = str | os.PathLike | io.BytesIO  # a file, or the bytes of one


@dataclass(frozen=True)
class VideoInfo:
    """Size of a video or image file: pixels, frames, and frames per second; `even` where the file itself has a frame
    for each of these, see `timing`."""

    width: int
    height: int
    frames: int
    fps: float
    even: bool = True

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


def is_image(path: Source) -> bool:
    """Whether the ending of `path` is that of an image with one frame."""
    return not isinstance(path, io.BytesIO) and Path(path).suffix.lower() in IMAGE_ENDINGS


def read_image(path: str | os.PathLike) -> Tensor:
    """Read an image as (3, H, W) in [-1, 1].

    It is turned upright by its EXIF orientation; transparency is laid over white; grey becomes RGB; 16 bits keep their
    precision where Pillow does (grey; it reads 16-bit colour as 8).

    Raises:
        UserError: no such file, or not an image that can be read.
    """
    return torch.from_numpy(_image(path, _rgb)).mul_(2).sub_(1).permute(2, 0, 1).contiguous()


def read_grey(path: str | os.PathLike) -> Tensor:
    """Read how bright an image is, as (H, W) in [0, 1]; what is transparent is 0. Else as `read_image`."""
    return torch.from_numpy(_image(path, _grey))


def _image(path: str | os.PathLike, pixels: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    path = Path(path)
    _check_file(path)
    try:
        with Image.open(path) as image:
            # a JPEG with further pictures behind it (MPO: phones, stereo cameras) is one photo all the same
            if getattr(image, "is_animated", False) and image.format != "MPO":
                raise UserError(f"{path} is an animation, not an image of one frame: give it as an mp4 or gif.")
            _check_pixels(path, *image.size)
            return pixels(ImageOps.exif_transpose(image))
    except UserError:
        raise
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = (
            "is too large to be opened safely" if isinstance(error, Image.DecompressionBombError) else "is no image"
        )
        raise UserError(f"{path} {reason}: give a PNG, JPEG or WebP file.") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # what Pillow raises for damaged files
        raise UserError(f"{path} is damaged and cannot be read as an image: {error}.") from error


def _rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1]."""
    if _is_deep(image):
        return np.repeat(_deep(image)[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"), dtype=np.float32) / 255
        return rgba[..., :3] * rgba[..., 3:] + (1 - rgba[..., 3:])
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255


def _grey(image: Image.Image) -> np.ndarray:
    """(H, W) float32 in [0, 1], 0 where it is transparent."""
    if _is_deep(image):
        return _deep(image)
    grey = np.asarray(image.convert("LA"), dtype=np.float32) / 255
    return grey[..., 0] * grey[..., 1]


def _is_deep(image: Image.Image) -> bool:
    return image.mode.startswith(("I", "F"))


def _deep(image: Image.Image) -> np.ndarray:
    """Grey of more than 8 bits as (H, W) float32 in [0, 1]; 32-bit integers hold 16 bits in practice."""
    return np.clip(np.asarray(image, dtype=np.float32) / (1 if image.mode == "F" else 65535), 0, 1)


def probe(path: Source) -> VideoInfo:
    """Width, height, frames and frame rate of a video or image file, as `read_frames` gives them: in square pixels.

    Raises:
        UserError: no such file, or not a video or image that can be read.
    """
    if is_image(path):
        _, height, width = read_image(path).shape
        return VideoInfo(width, height, 1, 1.0)
    with _explained(path), _Opened(path) as (container, stream):
        first = next(_frames(container, stream), None)
        if first is None:
            raise UserError(f"{name_of(path)} holds no video frame.")
        width, height = _square(first.width, first.height, stream.sample_aspect_ratio)
        if first.rotation % 180:
            width, height = height, width
    timing, _ = _shown(path)
    return VideoInfo(width, height, timing.frames, timing.rate, timing.even)


def read_frames(path: Source, start: float = 0.0, seconds: float = math.inf, paper: int = 255) -> Iterator[Tensor]:
    """The frames of a video (or the one of an image) as (3, H, W) in [-1, 1], upright and in square pixels, one at a
    time, at a constant rate: see `timing`.

    Args:
        start: seconds into the video; what lies before is skipped, not decoded, as far as its key frames allow.
        seconds: how much of it from there on.
        paper: what shows through where a video is transparent, from 0, black, to 255, white.

    Raises:
        UserError: no such file, damaged, empty, without a picture, or shorter than `start`.
    """
    if is_image(path):
        yield read_image(path)
        return
    (timing, pixel), reformatter = _shown(path), VideoReformatter()
    first, stop = span(timing.rate, timing.frames, start, seconds)
    at = first
    held, number = None, -1  # a frame, and where it is first shown

    def shown(until: int) -> Iterator[Tensor]:
        nonlocal at
        if held is not None and at < until:
            yield from itertools.repeat(_pixels(held, pixel, reformatter, paper), until - at)
            at = until

    with _explained(path):
        for frame in _decoded(path, timing, first, start):
            following = timing.number(frame.pts, number)
            yield from shown(min(following, stop))
            held, number = frame, following
            if number >= stop:
                break
        yield from shown(stop)
    if at == first:
        raise UserError(f"{name_of(path)} holds no video frame{f' after {start:g} seconds' if start > 0 else ''}.")


def _shown(path: Source) -> tuple[Timing, Fraction | None]:
    """When the frames are shown, and how wide a pixel is for its height, where the file says it."""
    with _explained(path), _Opened(path) as (container, stream):
        timing, pixel = timing_of(container, stream), stream.sample_aspect_ratio
    if timing is None:
        raise UserError(f"{name_of(path)} holds no video frame.")
    return timing, pixel


def _decoded(path: Source, timing: Timing, first: int, start: float) -> Iterator[av.VideoFrame]:
    """Frames from the one that is shown as number `first`, at `start` seconds, or from one before it."""
    if first > 0 and timing.begin is not None:
        with _Opened(path) as (container, stream):
            container.seek(timing.begin + int(start / stream.time_base), stream=stream)
            frames = _frames(container, stream)
            frame = next(frames, None)
            # a transport stream has no index, and is entered behind the key frame that is needed
            if frame is not None and timing.number(frame.pts, first) <= first:
                yield frame
                yield from frames
                return
    with _Opened(path) as (container, stream):
        yield from _frames(container, stream)


def _frames(container: av.container.InputContainer, stream: av.VideoStream) -> Iterator[av.VideoFrame]:
    """Decoded from where the container stands. What is transparent in VP8 and VP9 only libvpx reads."""
    decoder = {"vp8": "libvpx", "vp9": "libvpx-vp9"}.get(stream.codec_context.name)
    if stream.metadata.get("alpha_mode") != "1" or decoder not in av.codecs_available:
        yield from container.decode(stream)
        return
    context = av.CodecContext.create(decoder, "r")
    for packet in container.demux(stream):
        yield from context.decode(packet)


def _square(width: int, height: int, pixel: Fraction | None) -> tuple[int, int]:
    """The size in square pixels of a picture whose pixels are `pixel` times as wide as high: nothing gets smaller."""
    pixel = pixel or 1  # what a file does not say
    return (round(width * pixel), height) if pixel >= 1 else (width, round(height / pixel))


def _pixels(frame: av.VideoFrame, pixel: Fraction | None, reformatter: VideoReformatter, paper: int) -> Tensor:
    """(3, H, W) in [-1, 1], upright and in square pixels."""
    width, height = _square(frame.width, frame.height, pixel)
    opaque = _opaque(frame, reformatter, paper)  # before it is scaled, or hidden colours would show at its edges
    array = reformatter.reformat(opaque, width, height, format="rgb24", interpolation=EXACT).to_ndarray()
    if frame.rotation:
        array = np.ascontiguousarray(np.rot90(array, k=frame.rotation // 90))
    return torch.from_numpy(array).permute(2, 0, 1).float().div(127.5).sub(1)


def _opaque(frame: av.VideoFrame, reformatter: VideoReformatter, paper: int) -> av.VideoFrame:
    """The frame as it is, or what is transparent in it laid over paper; a palette may hold transparency too."""
    if not (frame.format.has_palette or any(component.is_alpha for component in frame.format.components)):
        return frame
    rgba = reformatter.reformat(frame, format="rgba", interpolation=EXACT).to_ndarray().astype(np.uint32)
    shown = (rgba[..., :3] * rgba[..., 3:] + paper * (255 - rgba[..., 3:]) + 127) // 255
    return av.VideoFrame.from_ndarray(shown.astype(np.uint8), format="rgb24")


def _check_file(path: Path) -> None:
    if os.path.isdir(path):
        raise UserError(f"{path} is a folder, not a file.")
    if not os.path.isfile(path):
        raise UserError(f"{path} is not there.")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty.")


def _check_pixels(path: Source, width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        side = math.isqrt(MOST_PIXELS)
        raise UserError(f"{name_of(path)} has {width}x{height} pixels, which is too large: at most {side}x{side}.")


def name_of(path: Source) -> str:
    """What a sentence calls it."""
    return "The video" if isinstance(path, io.BytesIO) else str(path)


@contextmanager
def _explained(path: Source) -> Iterator[None]:
    """What FFmpeg finds wrong with an open file becomes a sentence."""
    try:
        yield
    except av.error.FFmpegError as error:
        raise UserError(f"{name_of(path)} is damaged: {_reason(error)}.") from error


class _Opened:
    """Open the first video stream."""

    def __init__(self, path: Source):
        self.path = path
        if not isinstance(path, io.BytesIO):
            _check_file(Path(path))

    def __enter__(self):
        try:
            # bytes get a place of reading of their own: they are often read twice at the same time
            in_memory = isinstance(self.path, io.BytesIO)
            self.container = av.open(io.BytesIO(self.path.getvalue()) if in_memory else os.path.abspath(self.path))
        except (av.error.FFmpegError, ValueError) as error:
            raise UserError(
                f"{name_of(self.path)} is no image and no video that can be read: {_reason(error)}."
            ) from error
        if not self.container.streams.video:
            kinds = ", ".join(s.type for s in self.container.streams)
            self.container.close()
            raise UserError(f"{name_of(self.path)} holds no picture, only {kinds}.")
        stream = self.container.streams.video[0]
        size = stream.codec_context and (stream.codec_context.width, stream.codec_context.height)
        try:
            if size is None:
                raise UserError(f"{name_of(self.path)} is of a kind that no decoder here reads: give an mp4 or webm.")
            _check_pixels(self.path, *_square(*size, stream.sample_aspect_ratio))
        except UserError:
            self.container.close()
            raise
        stream.thread_type = "SLICE"  # threads that take a frame each say nothing of what they cannot decode
        return self.container, stream

    def __exit__(self, kind, error, trace):
        self.container.close()


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
