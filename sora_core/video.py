"""Videos and images in and out, frame by frame: nothing long is ever held whole.

Pixels are float32 in [-1, 1], RGB, channels first. Frames leave through `VideoWriter`, whose file ending chooses the
kind: mp4 (H.264), webm (VP9), gif, or png, jpg, webp for a single frame.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from einops import rearrange
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from .audio import CODECS, Sound, Track
from .errors import UserError
from .files import check_writable, explain, replacing

VIDEO_ENDINGS = (".mp4", ".webm", ".gif")
IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
CRF = {".mp4": 12, ".webm": 18}  # constant quality, near what the eye can tell apart; lower is better and larger

# swscale's fast default loses 10 dB on a round trip and darkens by one step: bicubic + full chroma + accurate rounding
_EXACT = 0x4 | 0x2000 | 0x4000 | 0x40000
_BT709 = 1  # ISO/IEC 23091-2 code of the primaries, the transfer and the matrix of HDTV


@dataclass(frozen=True)
class VideoInfo:
    """Size of a video or image file: pixels, frames, and frames per second."""

    width: int
    height: int
    frames: int
    fps: float

    @property
    def seconds(self) -> float:
        return self.frames / self.fps


# ------------------------------------------------------------------------------------------------------------ reading


def is_image(path: str | os.PathLike) -> bool:
    """Whether the ending of `path` is that of an image with one frame."""
    return Path(path).suffix.lower() in IMAGE_ENDINGS


def read_image(path: str | os.PathLike) -> Tensor:
    """Read an image as (3, H, W) in [-1, 1].

    It is turned upright by its EXIF orientation; transparency is laid over white; grey becomes RGB; 16 bits keep their
    precision where Pillow does (grey; it reads 16-bit colour as 8).

    Raises:
        UserError: no such file, or not an image that can be read.
    """
    path = Path(path)
    _check_file(path)
    try:
        with Image.open(path) as image:
            array = _rgb(ImageOps.exif_transpose(image))
    except (UnidentifiedImageError, Image.DecompressionBombError) as error:
        reason = (
            "is too large to be opened safely" if isinstance(error, Image.DecompressionBombError) else "is no image"
        )
        raise UserError(f"{path} {reason}: give a PNG, JPEG or WebP file.") from error
    except (OSError, ValueError, SyntaxError, EOFError) as error:  # what Pillow raises for damaged files
        raise UserError(f"{path} is damaged and cannot be read as an image: {error}.") from error
    return torch.from_numpy(array).permute(2, 0, 1).mul(2).sub(1).contiguous()


def _rgb(image: Image.Image) -> np.ndarray:
    """(H, W, 3) float32 in [0, 1]."""
    if image.mode.startswith(("I", "F")):  # deep grey; 32-bit integers hold 16 bits in practice
        grey = np.asarray(image, dtype=np.float32) / (1 if image.mode == "F" else 65535)
        return np.repeat(np.clip(grey, 0, 1)[..., None], 3, axis=2)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"), dtype=np.float32) / 255
        return rgba[..., :3] * rgba[..., 3:] + (1 - rgba[..., 3:])
    return np.asarray(image.convert("RGB"), dtype=np.float32) / 255


def probe(path: str | os.PathLike) -> VideoInfo:
    """Width, height, frames and frame rate of a video or image file, as `read_frames` gives them.

    The frames are counted from the packets: headers are often wrong or silent about it.

    Raises:
        UserError: no such file, or not a video or image that can be read.
    """
    path = Path(path)
    if is_image(path):
        _, height, width = read_image(path).shape
        return VideoInfo(width, height, 1, 1.0)
    with _Opened(path) as (container, stream):
        first = next(container.decode(stream), None)
        if first is None:
            raise UserError(f"{path} holds no video frame.")
        width, height = first.width, first.height
        if first.rotation % 180:
            width, height = height, width
        # GIF counts hundredths of a second: its first delays, rounded, would make 8.33 fps of 8
        rate = (container.format.name == "gif" and stream.guessed_rate) or stream.average_rate or Fraction(8)
        container.seek(0, stream=stream)
        frames = sum(packet.size > 0 for packet in container.demux(stream))
    return VideoInfo(width, height, max(1, frames), float(rate))


def read_frames(path: str | os.PathLike) -> Iterator[Tensor]:
    """The frames of a video (or the one of an image) as (3, H, W) in [-1, 1], upright, one at a time.

    Raises:
        UserError: no such file, damaged, empty, or without a picture.
    """
    path = Path(path)
    if is_image(path):
        yield read_image(path)
        return
    count, reformatter = 0, VideoReformatter()
    with _Opened(path) as (container, stream):
        for frame in container.decode(stream):
            array = reformatter.reformat(frame, format="rgb24", interpolation=_EXACT).to_ndarray()
            if frame.rotation:
                array = np.ascontiguousarray(np.rot90(array, k=frame.rotation // 90))
            yield torch.from_numpy(array).permute(2, 0, 1).float().div(127.5).sub(1)
            count += 1
    if count == 0:
        raise UserError(f"{path} holds no video frame.")


def chunks(frames: Iterable[Tensor], size: int = 16) -> Iterator[Tensor]:
    """Gather frames (3, H, W) into chunks (1, 3, n, H, W) of at most `size` frames."""
    waiting: list[Tensor] = []
    for frame in frames:
        waiting.append(frame)
        if len(waiting) == size:
            yield torch.stack(waiting, dim=1)[None]
            waiting = []
    if waiting:
        yield torch.stack(waiting, dim=1)[None]


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise UserError(f"{path} is a folder, not a file.")
    if not path.is_file():
        raise UserError(f"{path} is not there.")
    if path.stat().st_size == 0:
        raise UserError(f"{path} is empty.")


class _Opened:
    """Open the first video stream; whatever FFmpeg finds wrong with the file becomes a sentence."""

    def __init__(self, path: Path):
        self.path = path
        _check_file(path)

    def __enter__(self):
        try:
            self.container = av.open(str(self.path))
        except (av.error.FFmpegError, ValueError) as error:
            raise UserError(f"{self.path} is no video that can be read: {_reason(error)}.") from error
        if not self.container.streams.video:
            self.container.close()
            raise UserError(f"{self.path} holds no picture, only {', '.join(s.type for s in self.container.streams)}.")
        stream = self.container.streams.video[0]
        stream.thread_type = "AUTO"
        return self.container, stream

    def __exit__(self, kind, error, trace):
        self.container.close()
        if isinstance(error, av.error.FFmpegError):
            raise UserError(f"{self.path} is damaged: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


# ------------------------------------------------------------------------------------------------------------ writing


def check_output(path: str | os.PathLike, frames: int | None = None) -> Path:
    """Make sure, before long work, that `path` can hold a video of `frames` frames and can be written.

    Raises:
        UserError: an ending that is not known, an image's ending for several frames, a folder that cannot be written.
    """
    path = Path(path).expanduser()
    ending = path.suffix.lower()
    if ending not in VIDEO_ENDINGS + IMAGE_ENDINGS:
        known = ", ".join(e[1:] for e in VIDEO_ENDINGS + IMAGE_ENDINGS)
        raise UserError(f"{path.name!r} must end in one of {known}.")
    if ending in IMAGE_ENDINGS and frames is not None and frames != 1:
        raise UserError(f"{path.name!r} is an image and holds one frame, not {frames}: use .mp4, .webm or .gif.")
    return check_writable(path)


class VideoWriter:
    """Write a video (or, by the ending, one image) frame by frame; the file appears when the ``with`` block succeeds.

    Args:
        path: where to; its ending chooses the kind.
        width, height: pixels, any from 1 up: exactly these come back. H.264 halves the colour planes of even sizes only
            (the usual yuv420p), so odd sizes keep full colour (yuv444p), which some players do not know.
        fps: frames per second.
        metadata: what made it (prompt, seed, settings): each becomes a tag; values that are not text become JSON. GIF
            keeps a comment only.
        sounds: what is heard, in mp4 and webm; the others are silent.

    Raises:
        UserError: see `check_output`; pixels that are not finite; a disk that is full.
    """

    def __init__(
        self,
        path,
        width: int,
        height: int,
        fps: float = 8.0,
        metadata: Mapping[str, object] | None = None,
        sounds: Sequence[Sound] = (),
    ):
        self.path = check_output(path)
        self.ending = self.path.suffix.lower()
        self.width, self.height = width, height
        self.rate = Fraction(fps).limit_denominator(1001)
        self.sounds = list(sounds) if self.ending in CODECS else []
        self.tags = {k: v if isinstance(v, str) else json.dumps(v) for k, v in (metadata or {}).items()}
        self.frames = 0

    def __enter__(self) -> VideoWriter:
        self._stack = ExitStack()
        self._part = self._stack.enter_context(replacing(self.path))
        self._container = None if self.ending in IMAGE_ENDINGS else self._stack.enter_context(_Muxer(self))
        return self

    def write(self, video: Tensor) -> None:
        """Append (3, H, W), (3, n, H, W) or (1, 3, n, H, W) in [-1, 1]; values beyond are clipped."""
        video = video[0] if video.ndim == 5 else video
        video = video[:, None] if video.ndim == 3 else video
        if tuple(video.shape[2:]) != (self.height, self.width) or video.shape[0] != 3:
            raise ValueError(f"frames of shape {tuple(video.shape)} in a video of {self.width}x{self.height}")
        if not torch.isfinite(video).all():
            raise UserError("The video holds values that are not finite (NaN or infinity), so it was not written.")
        pixels = video.detach().float().clamp(-1, 1).add(1).mul(127.5).round().to("cpu", torch.uint8)
        for frame in rearrange(pixels, "c t h w -> t h w c").contiguous().numpy():
            if self._container is None:
                if self.frames:
                    raise UserError(f"{self.path.name!r} is an image and holds one frame: use .mp4, .webm or .gif.")
                self._save_image(frame)
            else:
                self._container.write(frame)
            self.frames += 1

    def _save_image(self, frame: np.ndarray) -> None:
        image, options = Image.fromarray(frame), {}
        if self.ending == ".png":
            from PIL.PngImagePlugin import PngInfo

            options["pnginfo"] = PngInfo()
            for key, value in self.tags.items():
                options["pnginfo"].add_itxt(key, value)
        else:
            options = {"lossless": True} if self.ending == ".webp" else {"quality": 95, "subsampling": 0}
            exif = Image.Exif()
            # ImageDescription; a JPEG's header holds 64 KB, so a text of many pages is cut
            exif[0x010E] = json.dumps({key: value[:4000] for key, value in self.tags.items()})
            options["exif"] = exif
        image.save(self._part, **options)

    def __exit__(self, kind, error, trace):
        if kind is None and self.frames == 0:
            kind, error = ValueError, ValueError("no frame was written")
            self._stack.__exit__(kind, error, None)
            raise error
        return self._stack.__exit__(kind, error, trace)


class _Muxer:
    """One stream of a `VideoWriter` through FFmpeg."""

    def __init__(self, writer: VideoWriter):
        self.writer = writer
        even = writer.width % 2 == 0 and writer.height % 2 == 0
        ending = writer.ending
        self.codec = {".mp4": "libx264", ".webm": "libvpx-vp9", ".gif": "gif"}[ending]
        self.pixels = "pal8" if ending == ".gif" else "yuv420p" if even or ending == ".webm" else "yuv444p"
        self.options = {} if ending == ".gif" else {"crf": str(CRF[ending])}
        if ending == ".webm":
            self.options |= {"b": "0", "row-mt": "1", "cpu-used": "2"}

    def __enter__(self) -> _Muxer:
        writer = self.writer
        options = {".mp4": {"movflags": "use_metadata_tags+faststart"}}.get(writer.ending, {})
        self.container = av.open(str(writer._part), "w", options=options)
        tags = writer.tags
        self.container.metadata.update({"comment": json.dumps(tags)} if tags and writer.ending == ".gif" else tags)
        self.stream = self.container.add_stream(self.codec, rate=writer.rate, options=self.options)
        self.stream.width, self.stream.height, self.stream.pix_fmt = writer.width, writer.height, self.pixels
        if writer.ending == ".gif":
            self.graph = self._palette()
        else:
            self.reformatter = VideoReformatter()
            context = self.stream.codec_context
            context.color_primaries = context.color_trc = context.colorspace = _BT709
            context.color_range = ColorRange.MPEG
        self.track = Track(self.container, writer.ending, writer.sounds) if writer.sounds else None
        return self

    def _palette(self) -> av.filter.Graph:
        """Frame -> the same frame in the 256 colours that suit it best."""
        graph = av.filter.Graph()
        source = graph.add_buffer(
            width=self.writer.width, height=self.writer.height, format="rgb24", time_base=1 / self.writer.rate
        )
        split, make = graph.add("split"), graph.add("palettegen", "stats_mode=single")
        use, sink = graph.add("paletteuse", "new=1:dither=bayer:bayer_scale=3"), graph.add("buffersink")
        source.link_to(split)
        split.link_to(use, 0, 0)
        split.link_to(make, 1, 0)
        make.link_to(use, 0, 1)
        use.link_to(sink)
        graph.configure()
        return graph

    def write(self, pixels: np.ndarray) -> None:
        frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
        frame.pts, frame.time_base = self.writer.frames, 1 / self.writer.rate
        if self.writer.ending == ".gif":
            self.graph.push(frame)
            frame = self.graph.pull()
        else:
            frame = self.reformatter.reformat(
                frame,
                format=self.pixels,
                dst_colorspace=Colorspace.ITU709,
                dst_color_range=ColorRange.MPEG,
                interpolation=_EXACT,
            )
        self.container.mux(self.stream.encode(frame))
        if self.track:
            self.track.until(float((self.writer.frames + 1) / self.writer.rate))

    def __exit__(self, kind, error, trace):
        try:
            if kind is None:
                self.container.mux(self.stream.encode(None))
                if self.track:
                    self.track.close()
            self.container.close()
        except av.error.FFmpegError as failure:
            if kind is None:
                raise explain(failure, self.writer.path) from failure


def contact_sheet(frames: Iterable[Tensor], path: str | os.PathLike, count: int = 8, columns: int = 4) -> None:
    """Lay `count` frames, evenly chosen from first to last, out as one image, small ones enlarged by whole factors.

    Args:
        frames: (3, H, W) in [-1, 1], or a whole video (3, T, H, W).
        path: of the image.
    """
    frames = list(frames.unbind(1)) if isinstance(frames, Tensor) else list(frames)
    chosen = [frames[round(i * (len(frames) - 1) / max(1, count - 1))] for i in range(min(count, len(frames)))]
    scale = max(1, math.ceil(192 / max(chosen[0].shape[1:])))
    gap = 4
    cells = [torch.nn.functional.interpolate(f[None], scale_factor=scale)[0] for f in chosen]
    _, height, width = cells[0].shape
    columns = min(columns, len(cells))
    rows = math.ceil(len(cells) / columns)
    sheet = torch.ones(3, rows * (height + gap) - gap, columns * (width + gap) - gap)
    for i, cell in enumerate(cells):
        y, x = i // columns * (height + gap), i % columns * (width + gap)
        sheet[:, y : y + height, x : x + width] = cell
    with VideoWriter(path, sheet.shape[2], sheet.shape[1]) as writer:
        writer.write(sheet)
