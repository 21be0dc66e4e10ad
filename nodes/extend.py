"""Extend: what comes after, before and between videos, and what closes a loop, all of it as latents."""

from dataclasses import replace

from comfy_api.latest import io

from ..sora_core import canvas as canvases
from ..sora_core.canvas import Canvas
from ..sora_core.errors import UserError
from ..sora_core.grid import MAX_FPS, MAX_SECONDS
from ..sora_core.join import some_new
from . import host
from .animate import strength_input
from .grid import frames_of

DIRECTIONS = ("forward", "backward", "both")
VIDEO = "A video as a latent: sampled, or from Sora Encode Video. What a noise mask leaves open stays open."


def length_inputs(what: str) -> list:
    """The two inputs that say how much is new."""
    return [
        io.Float.Input("length", default=16, min=0, max=MAX_SECONDS * MAX_FPS, step=0.1, tooltip=what),
        io.Combo.Input("unit", options=["frames", "seconds"], default="frames", tooltip="Of the length."),
    ]


def model_input():
    return io.Model.Input("model", optional=True, tooltip="Only for a latent that does not say which model it is for.")


def outputs() -> list:
    return [io.Latent.Output(display_name="latent"), io.Int.Output(display_name="frames")]


class SoraExtendVideo(io.ComfyNode):
    """A video becomes a longer canvas, whose new part is to be invented."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraExtendVideo",
            display_name="Sora Extend Video",
            category="sora",
            description="Makes room for what comes after a video, before it, or both. The sampler fills it as the "
            "prompt says; the frames that were there are kept.",
            search_aliases=["continue video", "longer video", "outpaint in time", "extend"],
            inputs=[
                io.Latent.Input("latent", tooltip=VIDEO),
                io.Combo.Input(
                    "direction",
                    options=list(DIRECTIONS),
                    default="forward",
                    tooltip="What is new follows the video, leads to it, or both.",
                ),
                *length_inputs("What is added, in each direction. Backward it takes whole latent frames (4 frames)."),
                model_input(),
            ],
            outputs=outputs(),
        )

    @classmethod
    def execute(cls, latent, direction, length, unit, model=None) -> io.NodeOutput:
        latent = no_open_loop(latent)
        canvas = host.held(latent, model)
        count = new_frames(length, unit, latent, canvas)
        if direction != "backward":
            canvas = host.with_open_end(latent, canvas)
            latent = latent | {"sora_stills": 0}
        longer = extended(canvas, direction, count)
        return io.NodeOutput(host.canvas_to_latent(longer, latent), longer.grid.frames)


class SoraLoopVideo(io.ComfyNode):
    """A video gets a way back to its start, or an empty canvas becomes a circle."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraLoopVideo",
            display_name="Sora Loop Video",
            category="sora",
            description="Makes a video that repeats without a seam. The mode bridge leads from the end of a video back "
            "to its start; cyclic makes a whole loop from an empty canvas. Decode it with Sora Decode to Video.",
            search_aliases=["seamless loop", "gif", "cinemagraph", "loop"],
            inputs=[
                io.Latent.Input("latent", tooltip="For bridge a video, for cyclic an empty Sora Patch Grid."),
                io.Combo.Input(
                    "mode",
                    options=["bridge", "cyclic"],
                    default="bridge",
                    tooltip="bridge closes a video that is there; cyclic invents a loop that has no start.",
                ),
                *length_inputs(
                    "New frames of the way back, at least one, to the nearest whole latent frame; cyclic keeps the "
                    "grid's length, down to whole latent frames (4 frames)."
                ),
                io.Int.Input(
                    "context",
                    default=3,
                    min=1,
                    max=1000,
                    tooltip="Latent frames of the start that the model sees behind the way back.",
                ),
                model_input(),
            ],
            outputs=outputs(),
        )

    @classmethod
    def execute(cls, latent, mode, length, unit, context, model=None) -> io.NodeOutput:
        latent = no_open_loop(latent)
        canvas = host.held(latent, model)
        is_empty = bool((canvas.level == 1).all())
        if mode == "cyclic":
            if not is_empty:
                raise UserError(
                    "A cyclic loop is made from nothing: use the mode bridge to close a video that is there."
                )
            canvas = circle(canvas)
            return io.NodeOutput(host.canvas_to_latent(canvas, latent), canvas.grid.frames)
        if is_empty:
            raise UserError("There is no video to close: sample it first, or use the mode cyclic for an empty canvas.")
        count = new_frames(length, unit, latent, canvas) - host.stills_of(latent, canvas)
        canvas = host.with_open_end(latent, canvas)
        gap = gap_for(canvas, count, min(context, canvas.latent.shape[2]))
        lap = canvases.lap(canvas, gap, context)
        closed = host.canvas_to_latent(canvases.loop(canvas, gap, context), latent)
        return io.NodeOutput(closed | {"sora_lap": lap, "sora_stills": 0}, lap)


class SoraConnectVideos(io.ComfyNode):
    """Two videos become one canvas."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraConnectVideos",
            display_name="Sora Connect Videos",
            category="sora",
            description="Leads from one video to another. The mode bridge invents what lies between them; morph turns "
            "the first into the second while both go on, from the first frame to the last.",
            search_aliases=["transition", "interpolate videos", "morph", "bridge"],
            inputs=[
                io.Latent.Input("latent_a", tooltip=VIDEO),
                io.Latent.Input("latent_b", tooltip="What follows, of the same size, frame rate and model."),
                io.Combo.Input(
                    "mode",
                    options=["bridge", "morph"],
                    default="bridge",
                    tooltip="bridge adds new frames between the two; morph takes two videos of the same length.",
                ),
                *length_inputs(
                    "New frames of the bridge, at least one, to the nearest whole latent frame; a morph is as long as "
                    "the videos."
                ),
                strength_input(0.9, "Of a morph: how freely its middle is repainted; at the ends it is 0."),
                model_input(),
            ],
            outputs=outputs(),
        )

    @classmethod
    def execute(cls, latent_a, latent_b, mode, length, unit, strength, model=None) -> io.NodeOutput:
        latent, latent_b = no_open_loop(latent_a), no_open_loop(latent_b)
        a, b = host.held(latent, model), host.held(latent_b, model)
        if not host.has_rate(latent_b):  # a rate that a latent does not say cannot differ from the other's
            b = at_rate(b, a.grid.fps)
        elif not host.has_rate(latent):
            a = at_rate(a, b.grid.fps)
        if a.grid.cyclic or b.grid.cyclic:
            raise UserError("A cyclic loop has no ends, so it cannot be connected.")
        if mode == "morph":
            joined = canvases.morph(a, b, strength)
            joined = replace(joined, grid=replace(joined.grid, frames=min(a.grid.frames, b.grid.frames)))
        else:
            count = new_frames(length, unit, latent, a) - host.stills_of(latent, a)
            joined = bridged(host.with_open_end(latent, a), b, count)
        cut = joined.grid.geometry.frames(joined.latent.shape[2]) - joined.grid.frames
        stills = {"sora_stills": cut if host.stills_of(latent_b, b) else 0}
        return io.NodeOutput(host.canvas_to_latent(joined, latent) | stills, joined.grid.frames)


def at_rate(canvas: Canvas, fps: float) -> Canvas:
    return replace(canvas, grid=replace(canvas.grid, fps=fps))


def new_frames(length: float, unit: str, latent: dict, canvas: Canvas) -> int:
    """How many new frames of a LATENT, and canvas, are asked for, at least one."""
    if unit == "seconds" and not host.has_rate(latent):
        raise UserError("This latent does not say its frame rate: give the length in frames.")
    return some_new(frames_of(length, unit, canvas.grid.fps))


def no_open_loop(latent: dict) -> dict:
    """The latent, settled; a loop that is still to be filled has a copy of its start behind it."""
    latent = host.settled(latent)
    if "sora_lap" in latent:
        raise UserError("This loop is still to be filled: sample it before it is extended, connected or looped again.")
    return latent


def extended(canvas: Canvas, direction: str, count: int) -> Canvas:
    """`count` frames more in each direction; a canvas shows its frames from its first latent frame on, so backward only
    whole latent frames can be added."""
    grid, unit = canvas.grid, canvas.grid.geometry.t_stride * canvas.grid.geometry.patch[0]
    forward = backward = 0
    if direction != "forward":
        if count % unit:
            near = sorted({max(unit, count // unit * unit), -(-count // unit) * unit})
            raise UserError(
                f"Backward, a video grows by whole latent frames of {unit} frames: ask for "
                f"{' or '.join(map(str, near))} frames instead of {count}."
            )
        backward = count // grid.geometry.t_stride
    if direction != "backward":
        length = canvas.latent.shape[2]
        forward = replace(grid, frames=grid.frames + count, cyclic=False).latent_shape[1] - length
        if forward == 0 and not (canvas.level[:, :, -1] == 1).all():
            least = grid.geometry.frames(length) - grid.frames + 1
            raise UserError(f"The last latent frame holds {least - 1} frames more already: ask for {least} or more.")
    longer = canvases.extend(canvas, forward, backward) if forward or backward else canvas
    frames = grid.frames + count * (1 + (direction == "both"))
    return replace(longer, grid=replace(longer.grid, frames=frames))


def circle(canvas: Canvas) -> Canvas:
    """An empty canvas as a cyclic one of the whole latent frames in it."""
    unit = canvas.grid.geometry.t_stride * canvas.grid.geometry.patch[0]
    grid = replace(canvas.grid, frames=max(unit, canvas.grid.frames // unit * unit), cyclic=True)
    return canvases.blank(grid, canvas)


def gap_for(following: Canvas, count: int, seen: int) -> int:
    """Latent frames between two videos for about `count` new frames. The first latent frame of what follows is invented
    too and shows its own frame last, unless it is an image."""
    stride, patch = following.grid.geometry.t_stride, following.grid.geometry.patch[0]
    lead_in = 0 if seen == 1 else stride - 1
    least = 1 if lead_in == 0 else 0
    return max(least, round((count - lead_in) / (stride * patch))) * patch


def bridged(a: Canvas, b: Canvas, count: int) -> Canvas:
    """`a`, about `count` new frames, `b`, which ends with its own last frame."""
    joined = canvases.connect(a, b, gap_for(b, count, b.latent.shape[2]))
    cut = b.grid.geometry.frames(b.latent.shape[2]) - b.grid.frames
    return replace(joined, grid=replace(joined.grid, frames=joined.grid.frames - cut))
