"""Videos and images written frame by frame into files that appear whole or not at all."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from av.video.reformatter import ColorRange, Colorspace, VideoReformatter
from PIL import Image
from torch import Tensor

from ..audio import CODECS, Sound, Track
from ..errors import UserError
from ..files import check_writable, explain, replacing
from .formats import AUTO, BY_ENDING, EXACT, IMAGE_ENDINGS, VIDEO_ENDINGS, Format

_BT709 = 1  # ISO/IEC 23091-2 code of the primaries, the transfer and the matrix of HDTV


def check_frames(video: Tensor, height: int, width: int) -> Tensor:
    """(3, H, W), (3, n, H, W) or (1, 3, n, H, W) -> (3, n, H, W), of finite values.

    Raises:
        UserError: values that are not finite.
    """
    video = video[0] if video.ndim == 5 else video
    video = video[:, None] if video.ndim == 3 else video
    if tuple(video.shape[2:]) != (height, width) or video.shape[0] != 3:
        raise ValueError(f"frames of shape {tuple(video.shape)} in a video of {width}x{height}")
    if not torch.isfinite(video).all():
        raise UserError("The video holds values that are not finite (NaN or infinity), so it was not written.")
    return video.detach()


def tags_of(metadata: Mapping[str, object] | None) -> dict[str, str]:
    """What made a film, as text: values that are not text become JSON."""
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in (metadata or {}).items()}
    return {key: text.encode(errors="replace").decode() for key, text in texts.items()}  # no half of a surrogate pair


def to_integers(frame: Tensor, levels: int = 255) -> np.ndarray:
    """(3, H, W) in [-1, 1] -> (H, W, 3) in 0 to `levels`, values beyond clipped; uint8, or uint16 for more levels."""
    scaled = frame.float().clamp(-1, 1).add_(1).mul_(levels / 2).round_().movedim(0, -1)
    return scaled.cpu().numpy().astype(np.uint8 if levels == 255 else np.uint16)


def check_output(path: str | os.PathLike, frames: int | None = None) -> Path:
    """Make sure, before long work, that `path` can hold a video of `frames` frames and can be written.

    Raises:
        UserError: an ending that is not known, an image's ending for several frames, a folder that cannot be written.
    """
    path = Path(os.path.expanduser(path))
    ending = path.suffix.lower()
    if ending not in VIDEO_ENDINGS + IMAGE_ENDINGS:
        known = ", ".join(e[1:] for e in VIDEO_ENDINGS + IMAGE_ENDINGS)
        raise UserError(f"{path.name!r} must end in one of {known}.")
    if ending in IMAGE_ENDINGS and frames is not None and frames != 1:
        raise UserError(f"{path.name!r} is an image and holds one frame, not {frames}: use .mp4, .webm, .mov or .gif.")
    return check_writable(path)


def check_format(path: str | os.PathLike, width: int, height: int, fps: float) -> None:
    """Make sure, before long work, that a file of the kind that the ending of `path` means can hold such a video.

    Raises:
        UserError: see `Format.check`.
    """
    if kind := BY_ENDING.get(Path(path).suffix.lower()):
        kind.check(width, height, fps)


class VideoWriter:
    """Write a video (or, by the ending, one image) frame by frame; the file appears when the ``with`` block succeeds.

    Args:
        path: where to; its ending chooses the kind.
        width, height: pixels, any from 1 up: exactly these come back. H.264 halves the colour planes of even sizes only
            (the usual yuv420p), so odd sizes keep full colour (yuv444p), which some players do not know.
        fps: frames per second.
        metadata: what made it (prompt, seed, settings): each becomes a tag; values that are not text become JSON.
            GIF keeps none.
        sounds: what is heard, in mp4, webm and mov; the others are silent.
        kind: one of `FORMATS` that has this ending; by default the first.
        crf: constant quality; by default the format's.
        pixels: one of the format's pixel formats, or "auto".

    Raises:
        UserError: see `check_output` and `Format.check`; pixels that are not finite; a disk that is full.
    """

    def __init__(
        self,
        path,
        width: int,
        height: int,
        fps: float = 8.0,
        metadata: Mapping[str, object] | None = None,
        sounds: Sequence[Sound] = (),
        *,
        kind: Format | None = None,
        crf: int | None = None,
        pixels: str = AUTO,
    ):
        self.path = check_output(path)
        self.ending = self.path.suffix.lower()
        self.width, self.height = width, height
        self.rate = Fraction(fps).limit_denominator(1001)
        self.sounds = list(sounds) if self.ending in CODECS else []
        self.kind = kind or BY_ENDING.get(self.ending)
        if self.kind is not None:
            if self.kind.ending != self.ending:
                raise ValueError(f"{self.path.name} and the format {self.kind.name}")
            self.pixels = self.kind.check(width, height, fps, crf, pixels)
            self.crf = self.kind.crf if crf is None else crf
        self.tags = tags_of(metadata)
        self.frames = 0

    def __enter__(self) -> VideoWriter:
        with ExitStack() as stack:
            self._part = stack.enter_context(replacing(self.path))
            self._container = None if self.ending in IMAGE_ENDINGS else stack.enter_context(_Muxer(self))
            self._stack = stack.pop_all()
        return self

    def write(self, video: Tensor) -> None:
        """Append (3, H, W), (3, n, H, W) or (1, 3, n, H, W) in [-1, 1]; values beyond are clipped."""
        for frame in check_frames(video, self.height, self.width).unbind(1):
            if self._container is not None:
                self._container.write(frame)
            elif self.frames:
                raise UserError(f"{self.path.name!r} is an image and holds one frame: use .mp4, .webm, .mov or .gif.")
            else:
                self._save_image(to_integers(frame))
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
        made = io.BytesIO()  # written by Pillow, a JPEG on a full disk is cut off without an error
        image.save(made, Image.registered_extensions()[self.ending], **options)
        self._part.write_bytes(made.getbuffer())

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
        self.kind, self.pixels = writer.kind, writer.pixels
        self.options = dict(self.kind.options)
        if writer.crf is not None:
            self.options["crf"] = str(writer.crf)

    def __enter__(self) -> _Muxer:
        writer = self.writer
        options = {"movflags": "use_metadata_tags+faststart"} if writer.ending in (".mp4", ".mov") else {}
        self.container = av.open(os.path.abspath(writer._part), "w", options=options)
        try:
            self._add_streams()
        except BaseException:
            self.container.close()
            raise
        return self

    def _add_streams(self) -> None:
        writer = self.writer
        self.container.metadata.update(writer.tags)
        self.stream = self.container.add_stream(self.kind.encoder, rate=writer.rate, options=self.options)
        self.stream.width, self.stream.height, self.stream.pix_fmt = writer.width, writer.height, self.pixels
        if writer.ending == ".gif":
            self.graph = self._palette()
        else:
            self.reformatter = VideoReformatter()
            context = self.stream.codec_context
            context.color_primaries = context.color_trc = context.colorspace = _BT709
            context.color_range = ColorRange.MPEG
            if self.kind.encoder == "libx265":
                context.codec_tag = "hvc1"  # the one that Apple's players know
        self.track = Track(self.container, writer.ending, writer.sounds) if writer.sounds else None

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

    def write(self, frame: Tensor) -> None:
        if "10" in self.pixels:
            frame = av.VideoFrame.from_ndarray(to_integers(frame, 65535), format="rgb48le")
        else:
            frame = av.VideoFrame.from_ndarray(to_integers(frame), format="rgb24")
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
                interpolation=EXACT,
            )
        self.container.mux(self.stream.encode(frame))
        if self.track:
            self.track.until(float((self.writer.frames + 1) / self.writer.rate))

    def __exit__(self, kind, error, trace):
        try:
            try:
                if kind is None:
                    self.container.mux(self.stream.encode(None))
                    if self.track:
                        self.track.close()
            finally:
                self.container.close()
        except av.error.FFmpegError as failure:
            if kind is None:
                raise explain(failure, self.writer.path) from failure
