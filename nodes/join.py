"""Join: films in a row, frame by frame, with their sound."""

from collections.abc import Iterator

from comfy_api.latest import InputImpl, io
from torch import Tensor

from ..sora_core.audio import Sound
from ..sora_core.errors import UserError
from ..sora_core.join import led_over
from ..sora_core.video import VideoWriter
from . import host
from .host import saving
from .host.videos import Film, film_of, watched


class SoraJoinVideos(io.ComfyNode):
    """Two films become one; frames that both have are shown once."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraJoinVideos",
            display_name="Sora Join Videos",
            category="sora",
            description="Puts one video behind another, with their sound. Where the second begins with frames of the "
            "first, as an extended video does, they are shown once, and the originals stay.",
            search_aliases=["concatenate", "combine video", "append video", "merge"],
            inputs=[
                io.Video.Input("first", tooltip="What comes first."),
                io.Video.Input("second", tooltip="What follows, of the same size and frame rate."),
                io.Int.Input(
                    "overlap",
                    default=0,
                    min=-1,
                    max=7200,
                    tooltip="Frames at the start of the second that are also the end of the first. -1 is all of the "
                    "one that is kept: join an original to its extended version.",
                ),
                io.Combo.Input(
                    "keep",
                    options=["first", "second"],
                    default="first",
                    tooltip="Whose frames and sound are taken where both overlap.",
                ),
            ],
            outputs=[io.Video.Output(display_name="video")],
            hidden=[io.Hidden.prompt, io.Hidden.extra_pnginfo],
        )

    @classmethod
    def execute(cls, first, second, overlap, keep) -> io.NodeOutput:
        films = [film_of(one) for one in (first, second)]
        for what, one, other in (
            ("size", *(f"{film.width}x{film.height}" for film in films)),
            ("frame rate", *(f"{film.fps:.4g} fps" for film in films)),
        ):
            if one != other:
                raise UserError(
                    f"The two videos differ in {what}, {one} and {other}: make them alike first, with Sora Encode "
                    "Video (width, height, fps) and Sora Decode To Video."
                )
        counts = [sum(1 for _ in watched(film)) for film in films]
        shared = counts[keep == "second"] if overlap < 0 else overlap
        if shared > min(counts):
            raise UserError(
                f"An overlap of {shared} frames does not fit videos of {counts[0]} and {counts[1]} frames: both must "
                "have as many."
            )
        left, right = (shared, 0) if keep == "second" else (0, shared)  # what the first and the second leave out
        shown = [(films[0], 0, counts[0] - left), (films[1], right, counts[1] - right)]
        fps, sounds, at = films[0].fps, [], 0
        for film, start, count in shown:
            if film.sound is not None and count:
                sounds.append(Sound(film.sound, at / fps, film.start + start / fps, count / fps))
            at += count
        size, bar = (films[0].width, films[0].height), saving.ProgressBar(at)
        path = saving.target("sora/joined", ".mp4", "temp", *size).path
        with VideoWriter(path, *size, fps, saving.workflow_of(cls), sounds) as writer:
            for frame in joined(films, counts, shared, keep):
                writer.write(frame)
                bar.update(1)
        return io.NodeOutput(InputImpl.VideoFromFile(str(path)))


def joined(films: list[Film], counts: list[int], shared: int, keep: str) -> Iterator[Tensor]:
    """Frames (3, H, W) of both films, the `shared` ones from the film that is kept. Where the other shows these as a
    codec left them, its own frames beside them begin as those, wherever nothing moves (`join.led_over`)."""
    whole, other = films if keep == "first" else films[::-1]
    others = (frame[None, :, None] for frame in other.frames())
    if keep == "second":
        after = next(whole.frames())[None] if shared else None
        yield from (chunk[0, :, 0] for chunk in led_over(others, 0, counts[0] - shared, after=after))
    frame = None
    for frame in whole.frames():
        yield frame
    if keep == "first":
        before = frame[None] if shared else None
        yield from (chunk[0, :, 0] for chunk in led_over(others, shared, counts[1] - shared, before=before))
