"""Video files in and out as streams: a film goes frame by frame, so its length costs no memory."""

import itertools
from collections.abc import Iterator
from dataclasses import replace

import torch.nn.functional as F
from comfy_api.latest import Input, InputImpl, io, ui
from torch import Tensor

from ..sora_core.audio import Sound, Waveform
from ..sora_core.errors import UserError
from ..sora_core.grid import MAX_FPS, MAX_SIDE, Grid
from ..sora_core.video import (
    FORMATS,
    Format,
    FrameFolder,
    VideoWriter,
    at_rate,
    fit,
    frames_at_rate,
    probe,
    rate_ratio,
)
from ..sora_core.video.formats import AUTO, PIXELS
from ..sora_core.video.timing import span
from . import host
from .host import saving
from .host.videos import FramesVideo, film_of, watched
from .latents import keep

MOST_FRAMES = 7200  # a minute at the highest frame rate
FITS = ("cover", "pad", "stretch")


class SoraEncodeVideo(io.ComfyNode):
    """A video becomes a latent, frame by frame."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraEncodeVideo",
            display_name="Sora Encode Video",
            category="sora",
            description="Encodes a video, or a part of it, as a stream: the film is never held in memory. Another "
            "frame rate repeats or leaves out frames; another size is scaled.",
            search_aliases=["video to latent", "vae encode video", "video2video", "load video frames"],
            inputs=[
                io.Video.Input("video", tooltip="From Load Video, Create Video or any other node that makes a VIDEO."),
                io.Vae.Input("vae", tooltip="Of Load Sora Model, or of a video model of the host."),
                io.Int.Input(
                    "start_frame",
                    default=0,
                    min=0,
                    max=100_000_000,
                    tooltip="The first frame taken, counted from 0 at the frame rate below.",
                ),
                io.Int.Input(
                    "frames",
                    default=0,
                    min=0,
                    max=MOST_FRAMES,
                    tooltip="How many frames are taken at most; 0 takes all that follow.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=MAX_FPS,
                    step=1.0,
                    tooltip="Frames per second of the result; 0 keeps the video's own.",
                ),
                io.Int.Input(
                    "width",
                    default=0,
                    min=0,
                    max=MAX_SIDE,
                    tooltip="Pixels; 0 keeps the video's own, or follows from the height by its shape.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=MAX_SIDE,
                    tooltip="Pixels; 0 keeps the video's own, or follows from the width by its shape.",
                ),
                io.Combo.Input(
                    "fit",
                    options=list(FITS),
                    default="cover",
                    tooltip="Where the shapes differ: cover cuts off the edges, pad adds black bars, stretch distorts.",
                ),
                io.Latent.Input(
                    "grid",
                    optional=True,
                    tooltip="From Sora Patch Grid: its width, height, frame rate and number of frames are used instead "
                    "of those above.",
                ),
            ],
            outputs=[
                io.Latent.Output(display_name="latent"),
                io.Float.Output(display_name="fps", tooltip="Frames per second, for Create Video."),
                io.Int.Output(display_name="frames"),
                io.Int.Output(display_name="width"),
                io.Int.Output(display_name="height"),
            ],
        )

    @classmethod
    def execute(cls, video, vae, start_frame, frames, fps, width, height, fit, grid=None) -> io.NodeOutput:
        check_rate(fps)
        film, geometry = film_of(video), host.geometry_of(vae)
        if grid is not None:
            asked = host.grid_of(grid, geometry, patch_known=False)
            geometry = asked.geometry
            frames, width, height = asked.frames, asked.width, asked.height
            fps = asked.fps if host.has_rate(grid) else fps
        fps = fps or film.fps
        ratio = rate_ratio(fps, film.fps)
        width, height = size_for(film, width, height)
        expected = max(1, frames_at_rate(frames_in(film), ratio) - start_frame)
        wanted = Grid(min(expected, frames or expected), height, width, fps, geometry)  # refuses before the long work
        bar, taken, stills = saving.ProgressBar(wanted.frames), 0, 0

        def stream() -> Iterator[Tensor]:
            nonlocal taken, stills
            last = None
            for number, frame in enumerate(at_rate(watched(film), ratio)):
                if number < start_frame:
                    continue
                last = whole_patches(scaled(frame, width, height, fit), wanted)
                taken += 1
                yield last
                bar.update(1)
                if taken == wanted.frames:
                    break
            if last is not None:  # latent frames come in whole patches too
                held = replace(wanted, frames=taken)
                stills = geometry.frames(held.latent_shape[1]) - taken
                yield from itertools.repeat(last, stills)

        samples = host.encode_stream(vae, stream())
        made = replace(wanted, frames=taken)
        latent = {"samples": samples, "sora_grid": host.grid_to_latent(made), "sora_stills": stills}
        return io.NodeOutput(latent, float(fps), taken, width, height)


class SoraDecodeToVideo(io.ComfyNode):
    """A latent becomes a video file: frames go from the decoder into the encoder."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraDecodeToVideo",
            display_name="Sora Decode To Video",
            category="sora",
            description="Decodes a latent straight into a video file: the film is never held in memory. The latent is "
            "kept in output/sora_latents until the file is complete, so a decode that dies can be run again alone.",
            search_aliases=["vae decode video", "save video", "latent to video", "video combine", "prores", "export"],
            inputs=[
                io.Latent.Input("latent", tooltip="One clip, of Load Sora Model or of a video model of the host."),
                io.Vae.Input("vae", tooltip="The VAE that belongs to the latent."),
                io.String.Input(
                    "filename_prefix",
                    default="video/Sora",
                    tooltip="Name, or folder/name, below the folder chosen in save_to; a number is added.",
                ),
                io.Combo.Input(
                    "format",
                    options=list(FORMATS),
                    default="mp4 H.264",
                    tooltip="Kind of file and codec. H.264 plays everywhere; ProRes and PNG are for editing.",
                ),
                io.Int.Input(
                    "crf",
                    default=-1,
                    min=-1,
                    max=63,
                    tooltip="Constant quality: lower is better and larger, 0 is the best. -1 is the format's own, "
                    "which is near what the eye can tell apart.",
                ),
                io.Combo.Input(
                    "pixel_format",
                    options=[AUTO, *PIXELS],
                    default=AUTO,
                    tooltip="auto is what plays in most places; 444 keeps full colour resolution, 10le ten bits.",
                ),
                io.Float.Input(
                    "fps",
                    default=0.0,
                    min=0.0,
                    max=MAX_FPS,
                    step=1.0,
                    tooltip="Frames per second; 0 takes the latent's own.",
                ),
                io.Combo.Input(
                    "save_to",
                    options=list(saving.ROOTS),
                    default="output",
                    tooltip="output keeps the file; temp is for going on to Save Video, which copies an mp4 unchanged. "
                    "gif, webm, mov and PNG need output.",
                ),
                io.Audio.Input(
                    "audio", optional=True, tooltip="Its sound is laid under the film and cut to its length."
                ),
                io.Video.Input(
                    "sound_of",
                    optional=True,
                    tooltip="A video whose sound is laid under the film and cut to its length.",
                ),
            ],
            outputs=[io.Video.Output(display_name="video")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
            is_output_node=True,
        )

    @classmethod
    def execute(
        cls, latent, vae, filename_prefix, format, crf, pixel_format, fps, save_to, audio=None, sound_of=None
    ) -> io.NodeOutput:
        check_rate(fps)
        latent = host.settled(latent)
        if not fps and not host.has_rate(latent):
            raise UserError("This latent does not say its frame rate: set fps.")
        grid = host.grid_of(latent, host.geometry_of(vae), patch_known=False)
        if len(latent["samples"]) != 1:
            clips = len(latent["samples"])
            raise UserError(f"This latent holds {clips} clips and a file holds one: use Latent From Batch.")
        kind, fps = FORMATS[format], fps or grid.fps
        quality = None if crf < 0 else crf
        kind.check(grid.width, grid.height, fps, quality, pixel_format)
        sounds = sounds_of(audio, sound_of, grid.frames / fps, kind)
        target = saving.target(filename_prefix, kind.ending, save_to, grid.width, grid.height)
        size, tags = (grid.width, grid.height), saving.workflow_of(cls)
        if kind.ending:
            writer = VideoWriter(target.path, *size, fps, tags, sounds, kind=kind, crf=quality, pixels=pixel_format)
        else:
            writer = FrameFolder(target.path, *size, tags)
        kept, new = keep(latent)
        bar = saving.ProgressBar(grid.frames)  # also where the host interrupts
        with writer:
            for part in host.decode_stream(vae, latent):
                for frame in part:
                    writer.write(frame.movedim(-1, 0).mul(2).sub_(1))
                bar.update(len(part))
        if new:
            kept.unlink(missing_ok=True)
        if kind.ending:
            shown = ui.PreviewVideo([target.result])
            return io.NodeOutput(InputImpl.VideoFromFile(str(target.path)), ui=shown)
        names = [writer.name(number) for number in range(grid.frames)]
        shown = {"images": [target.within(name) for name in names], "animated": (False,)}
        return io.NodeOutput(FramesVideo([target.path / name for name in names], fps), ui=shown)


def check_rate(fps: float) -> None:
    """Refuse what the host's bounds let pass: no comparison holds for NaN."""
    if not 0 <= fps <= MAX_FPS:
        raise UserError(f"fps must be a number from 0 to {MAX_FPS:g}, not {fps:g}.")


def frames_in(film) -> int:
    """How many frames a film has, by its own account.

    Args:
        film: see `host.film_of`.
    """
    if isinstance(film.source, Tensor | list):
        return len(film.source)
    info = probe(film.source)
    first, stop = span(info.fps, info.frames, film.start, film.seconds)
    return max(1, stop - first)


def size_for(film, width: int, height: int) -> tuple[int, int]:
    """The size asked for; what is 0 follows from the film."""
    if not width and not height:
        return film.width, film.height
    width = width or max(1, round(height * film.width / film.height))
    return width, height or max(1, round(width * film.height / film.width))


def scaled(frame: Tensor, width: int, height: int, how: str) -> Tensor:
    """(3, H, W) -> (3, height, width)."""
    h, w = frame.shape[1:]
    if (w, h) == (width, height):
        return frame
    if how == "cover":
        return fit(frame[None], width, height)[0]
    inner = (height, width)
    if how == "pad":
        scale = min(width / w, height / h)
        inner = (max(1, min(height, round(h * scale))), max(1, min(width, round(w * scale))))
    small = F.interpolate(frame[None], inner, mode="bicubic", antialias=True, align_corners=False)[0].clamp(-1, 1)
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    return F.pad(small, (left, width - inner[1] - left, top, height - inner[0] - top), value=-1.0)


def whole_patches(frame: Tensor, grid: Grid) -> Tensor:
    """(3, H, W) in [-1, 1] -> (1, h, w, 3) in [0, 1], its border repeated until the sides are whole patches."""
    _, _, h, w = grid.latent_shape
    stride = grid.geometry.s_stride
    sides = (0, w * stride - frame.shape[2], 0, h * stride - frame.shape[1])
    return F.pad(frame[None], sides, mode="replicate").movedim(1, -1).add(1).div(2)


def sounds_of(audio: dict | None, video: Input.Video | None, seconds: float, kind: Format) -> list[Sound]:
    """The sound for a film of some length.

    Raises:
        UserError: two sounds, or a format that holds none.
    """
    if audio is not None and video is not None:
        raise UserError("Connect audio or sound_of, not both: a film has one sound here.")
    sounds = []
    if audio is not None:
        samples = audio["waveform"][0].float().cpu().numpy()
        sounds = [Sound(Waveform(samples, int(audio["sample_rate"])), 0.0, 0.0, seconds)]
    elif video is not None:
        film = film_of(video)
        sounds = [] if film.sound is None else [Sound(film.sound, 0.0, film.start, min(seconds, film.seconds))]
    if sounds and kind.name in ("gif", "png sequence"):
        raise UserError(f"{kind.name} holds no sound: disconnect it, or choose an mp4, webm or mov.")
    return sounds
