"""Videos and images in and out, frame by frame: nothing long is ever held whole.

Pixels are float32 in [-1, 1], RGB, channels first. Frames leave through `VideoWriter`, whose file ending chooses the
kind: mp4 (H.264), webm (VP9), mov (ProRes), gif, or png, jpg, webp for a single frame; `formats` has more.
"""

from .formats import FORMATS, IMAGE_ENDINGS, READ_ENDINGS, VIDEO_ENDINGS, Format
from .frames import at_rate, chunks, contact_sheet, fit, frames_at_rate, rate_ratio
from .read import Source, VideoInfo, is_image, probe, read_frames, read_grey, read_image
from .sequence import FrameFolder
from .write import VideoWriter, check_format, check_output

__all__ = [
    "FORMATS",
    "IMAGE_ENDINGS",
    "READ_ENDINGS",
    "VIDEO_ENDINGS",
    "Format",
    "FrameFolder",
    "Source",
    "VideoInfo",
    "VideoWriter",
    "at_rate",
    "check_format",
    "check_output",
    "chunks",
    "contact_sheet",
    "fit",
    "frames_at_rate",
    "is_image",
    "probe",
    "rate_ratio",
    "read_frames",
    "read_grey",
    "read_image",
]
