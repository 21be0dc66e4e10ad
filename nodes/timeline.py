"""Prompt: what is to be seen, one thing after the other."""

from comfy_api.latest import io

from ..sora_core.timeline import Timeline
from . import host
from .extend import model_input

EXAMPLE = "0-1s: a red ball bounces over the grass\n1-3s: a red ball bounces at night"


class SoraPromptTimeline(io.ComfyNode):
    """Prompts and when they hold: every patch attends to the prompt of its time."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraPromptTimeline",
            display_name="Sora Prompt Timeline",
            category="sora",
            description="Prompts that follow each other in time. Each moment of the video reads the prompt of its own "
            "time; the model carries what is seen from one into the next.",
            search_aliases=["prompt schedule", "prompt travel", "storyboard", "scenes", "text encode"],
            inputs=[
                io.Clip.Input("clip", tooltip="Reads the prompts; from Load Sora Model or of another video model."),
                io.String.Input(
                    "timeline",
                    multiline=True,
                    default=EXAMPLE,
                    tooltip="One prompt a line, with its time in seconds, such as 0-2s: a red ball. The first starts "
                    "at 0 and each where the one before ends.",
                ),
                io.Latent.Input("latent", tooltip="The canvas that will be sampled: it says how long the video is."),
                model_input(),
            ],
            outputs=[io.Conditioning.Output(display_name="conditioning")],
        )

    @classmethod
    def execute(cls, clip, timeline, latent, model=None) -> io.NodeOutput:
        grid = host.grid_of(latent, host.geometry_for(latent, model))
        return io.NodeOutput(host.timeline_conditioning(clip, Timeline.parse(timeline), grid))
