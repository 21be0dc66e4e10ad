"""The kinds of video file: encoder, quality and pixels of each, and what this machine's PyAV lacks of them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import av

from ..errors import UserError

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp")
READ_ENDINGS = (*IMAGE_ENDINGS, ".mp4", ".webm", ".mkv", ".mov", ".m4v", ".avi", ".gif")  # what looks like a film

# swscale's fast default loses 10 dB on a round trip and darkens by one step: bicubic + full chroma + accurate rounding
EXACT = 0x4 | 0x2000 | 0x4000 | 0x40000

AUTO = "auto"
_8BIT = ("yuv420p", "yuv422p", "yuv444p")
_10BIT = ("yuv420p10le", "yuv422p10le", "yuv444p10le")
PIXELS = (*_8BIT, *_10BIT)


@dataclass(frozen=True)
class Format:
    """A kind of video file.

    Attributes:
        name: as a menu shows it.
        ending: of the file's name; "" is a folder of PNG files.
        encoder: FFmpeg's name of it.
        crf: default constant quality, near what the eye can tell apart (lower is better and larger); None has none.
        worst: the largest CRF of this encoder.
        pixels: the pixel formats to choose from; the first is the default.
        odd: the pixel format for odd widths and heights where the default halves its colour planes of even sizes only.
        options: for the encoder.
        least: pixels a side.
        rates: the lowest and highest frames per second.
    """

    name: str
    ending: str
    encoder: str
    crf: int | None = None
    worst: int = 63
    pixels: tuple[str, ...] = ()
    odd: str | None = None
    options: dict[str, str] = field(default_factory=dict)
    least: int = 1
    rates: tuple[float, float] = (1 / 1001, math.inf)  # lower ones have no fraction in `VideoWriter.rate`

    def check(self, width: int, height: int, fps: float, crf: int | None = None, pixels: str = AUTO) -> str:
        """The pixel format for a video, checked before any frame is made.

        Raises:
            UserError: the encoder is missing here; a quality or pixel format that the format does not have; a size
                that the pixel format does not allow; a frame rate that the format cannot count.
        """
        try:
            av.codec.Codec(self.encoder, "w")
        except (av.codec.codec.UnknownCodecError, ValueError):
            raise UserError(
                f"{self.name} needs the encoder {self.encoder}, which this machine's PyAV does not have: choose "
                "another format, or install a build of PyAV with it."
            ) from None
        if crf is not None and self.crf is None:
            raise UserError(f"{self.name} has no constant quality: set crf to -1.")
        if crf is not None and not 0 <= crf <= self.worst:
            raise UserError(f"The quality (CRF) of {self.name} goes from 0 to {self.worst}, not {crf}.")
        if min(width, height) < self.least:
            raise UserError(
                f"{self.name} needs at least {self.least}x{self.least} pixels, not {width}x{height}: choose "
                "another format."
            )
        if fps > self.rates[1]:
            raise UserError(
                f"A {self.name} holds at most {self.rates[1]:g} frames per second, not {fps:g} (its delays count "
                "hundredths of a second, and players slow down below two): lower the frame rate, or choose mp4."
            )
        if fps < self.rates[0]:
            raise UserError(
                f"A {self.name} shows a frame for at most {1 / self.rates[0]:g} s, and {fps:g} frames per second takes "
                "longer: raise the frame rate."
            )
        odd = bool(width % 2 or height % 2)
        if pixels == AUTO:
            return self.odd if odd and self.odd else self.pixels[0]
        if pixels not in self.pixels:
            offered = [own for own in self.pixels if own in PIXELS]  # what a menu has; GIF and PNG know one form only
            choice = f"one of {', '.join((AUTO, *offered))}" if offered else AUTO
            raise UserError(f"{self.name} cannot hold {pixels}: choose {choice}.")
        if odd and self.odd and "444" not in pixels:
            raise UserError(
                f"{self.name} halves the colours of even sizes only, and {width}x{height} is odd: choose {self.odd}, "
                "or an even size."
            )
        return pixels


_VP9 = {"b": "0", "row-mt": "1", "cpu-used": "2"}
_X265 = {"x265-params": "log-level=error"}
_LEAST_X265 = 64  # narrower than its largest block, x265 4.1 writes beyond its buffers and brings the process down
_GIF_RATES = (100 / 65535, 50.0)  # a delay is 16 bits of hundredths of a second; players take 1 for "as none was given"

FORMATS: dict[str, Format] = {
    made.name: made
    for made in (
        # half of x264's usual look-ahead, whose frames take some 9 MB each at 1080p
        Format("mp4 H.264", ".mp4", "libx264", 12, 51, PIXELS, "yuv444p", {"rc-lookahead": "20"}),
        Format("mp4 H.265", ".mp4", "libx265", 14, 51, PIXELS, "yuv444p", _X265, _LEAST_X265),
        Format("mp4 AV1", ".mp4", "libsvtav1", 16, 63, ("yuv420p10le", "yuv420p"), None, {"preset": "6"}),
        Format("webm VP9", ".webm", "libvpx-vp9", 18, 63, _8BIT, None, _VP9),
        Format("webm AV1", ".webm", "libsvtav1", 16, 63, ("yuv420p10le", "yuv420p"), None, {"preset": "6"}),
        Format("mov ProRes", ".mov", "prores_ks", pixels=("yuv422p10le", "yuv444p10le")),
        Format("gif", ".gif", "gif", pixels=("pal8",), rates=_GIF_RATES),
        Format("png sequence", "", "png", pixels=("rgb24",)),
    )
}

BY_ENDING = {made.ending: made for made in reversed(FORMATS.values()) if made.ending}  # the first of each ending
VIDEO_ENDINGS = (".mp4", ".webm", ".gif", ".mov")
