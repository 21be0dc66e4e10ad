"""Sample: the canvas is filled, every patch from its own noise level."""

import comfy.model_management
from comfy_api.latest import io

from ..sora_core import flow, sampler
from ..sora_core.pipeline import Settings
from . import host

DEFAULTS = Settings()


class SoraSampler(io.ComfyNode):
    """The engine's own sampler, run through the host's guider: for a seed and settings it gives what the command line
    gives. That line's defaults are the checkpoint's, as for `cfg_from`; those here suit the host's models too."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return host.schema(
            node_id="SoraSampler",
            display_name="Sora Sampler",
            category="sora",
            description="Fills the canvas. Patches with noise mask 0 leave unchanged, masks between repaint from their "
            "content. With the same seed and times of Sora Patch Grid, a larger video keeps a prototype's composition.",
            search_aliases=["ksampler", "generate video", "denoise"],
            inputs=[
                io.Model.Input("model", tooltip="From Load Sora Model, directly or through a LoRA or a speed-up node."),
                io.Conditioning.Input("positive", tooltip="What should be seen: the prompt, from CLIP Text Encode."),
                io.Conditioning.Input("negative", tooltip="What should not be seen; an empty prompt is fine."),
                io.Latent.Input("latent", tooltip="The canvas, from Sora Patch Grid or a node that prepares one."),
                io.Int.Input(
                    "seed",
                    default=0,
                    min=0,
                    max=0xFFFFFFFFFFFFFFFF,
                    control_after_generate=True,
                    tooltip="Chooses the noise: the same seed, prompt and settings give the same video.",
                ),
                io.Int.Input(
                    "steps",
                    default=DEFAULTS.steps,
                    min=1,
                    max=flow.MAX_STEPS,
                    tooltip="More steps take longer and follow the model more closely; 20 is usual.",
                ),
                io.Float.Input(
                    "cfg",
                    default=DEFAULTS.cfg,
                    min=0.0,
                    max=sampler.MAX_CFG,
                    step=0.1,
                    tooltip="How strictly the prompt holds.",
                ),
                io.Combo.Input(
                    "solver",
                    options=list(sampler.SOLVERS),
                    default=DEFAULTS.solver,
                    tooltip="How the steps are taken. heun computes twice per step; the others once.",
                ),
                io.Float.Input(
                    "shift",
                    default=0.0,
                    min=0.0,
                    max=100.0,
                    step=0.1,
                    tooltip="Above 1 spends more steps on the composition; 0 chooses by the size of the grid.",
                ),
                io.Float.Input(
                    "cfg_from",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Guidance acts from this noise level ...",
                ),
                io.Float.Input(
                    "cfg_to", default=1.0, min=0.0, max=1.0, step=0.05, tooltip="... to this one (1 is pure noise)."
                ),
                io.Float.Input(
                    "cfg_rescale",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.05,
                    tooltip="Brings the contrast back that a high cfg adds.",
                ),
                io.Int.Input(
                    "resample",
                    default=0,
                    min=0,
                    max=20,
                    optional=True,
                    tooltip="For models that know one noise level only (Wan 2.1, HunyuanVideo): steps are taken again "
                    "this often, so that what is new fits what is kept. Each costs as much as the whole.",
                    **host.ADVANCED,
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="Only for image-to-video models of the host (Wan 2.1), which read kept frames on grey.",
                ),
                io.Int.Input(
                    "window",
                    default=0,
                    min=0,
                    max=1000,
                    optional=True,
                    tooltip="Latent frames that the model sees at once. A longer video is made window by window, with "
                    "the memory of one; 0 takes the length that the model was trained on.",
                    **host.ADVANCED,
                ),
            ],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def execute(
        cls,
        model,
        positive,
        negative,
        latent,
        seed,
        steps,
        cfg,
        solver,
        shift,
        cfg_from,
        cfg_to,
        cfg_rescale,
        resample=0,
        vae=None,
        window=0,
    ) -> io.NodeOutput:
        canvas = host.canvas_of(latent, host.size_of(model).geometry)
        samples = host.fill(
            model,
            positive,
            negative,
            canvas,
            seed=seed,
            steps=steps,
            solver=solver,
            shift=shift or None,
            cfg=cfg,
            interval=(cfg_from, cfg_to),
            rescale=cfg_rescale,
            resample=resample,
            vae=vae,
            window=window,
        )
        samples = samples.to(comfy.model_management.intermediate_device())
        noted = host.note_of(latent, canvas.grid)  # of the pixels: its latent has whole patches
        return io.NodeOutput(host.filled(latent | noted, samples))
