"""The diffusion transformer as the host's MODEL.

KSampler, SamplerCustomAdvanced, LoRA, EasyCache, torch.compile and offloading then work as with any other model.
"""

import comfy.conds
import comfy.latent_formats
import comfy.ldm.modules.attention
import comfy.model_base
import comfy.model_management
import comfy.model_patcher
import comfy.supported_models_base
import torch
from comfy.patcher_extension import WrapperExecutor, WrappersMP, get_all_wrappers
from torch import Tensor

from ...sora_core.dit import DiT, DiTConfig
from ...sora_core.errors import UserError
from ...sora_core.grid import Geometry
from ...sora_core.windows import Windowing
from .preview import Live, Playhead

CODEC = "Sora"  # whose latents they are: Wan 2.1's and HunyuanVideo's have the same sizes
DEFAULT_FPS = 8.0  # of a prompt that says nothing; a conditioning's `frame_rate` (LTXVConditioning sets it) overrides

SMALL = (
    500_000_000  # parameters: below, half precision saves little, so the host computes in float32 as the engine does
)


class HostAttention:
    """The host's attention, with the `transformer_options` of the running call, through which nodes override it."""

    def __init__(self):
        self.transformer_options: dict = {}

    def __call__(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """q, k, v (b, heads, n, d) -> (b, heads, n, d); mask True where a key may be seen."""
        attention = comfy.ldm.modules.attention
        # The host's memory-saving attentions, its choice for a CPU too, are several times slower there, and all but
        # PyTorch's own add a mask to the scores, where this one says what may be seen.
        own = mask is not None or q.device.type == "cpu"
        function = attention.attention_pytorch if own else attention.optimized_attention
        return function(
            q,
            k,
            v,
            q.shape[1],
            mask=mask,
            skip_reshape=True,
            skip_output_reshape=True,
            transformer_options=self.transformer_options,
        )


class HostDiT(DiT):
    """The engine's transformer, called as the host calls one; its parameters keep their names (LoRA keys)."""

    def __init__(self, config: DiTConfig, *, operations, device=None, dtype=None):
        attention = HostAttention()
        super().__init__(config, operations=operations, attention=attention, device=device, dtype=dtype)
        self.host_attention = attention
        self.dtype = dtype  # the host asks for it

    def forward(
        self,
        x,
        level,
        context,
        fps=DEFAULT_FPS,
        control=None,
        transformer_options=None,
        text_mask=None,
        told=None,
        times=None,
        **_,
    ):
        """x (B, C, t, h, w), level (B,) or (B, 1, t, h, w), context (B, L, D) -> clean latent; the rest as in `DiT`.

        Wrappers of nodes run around it; they find x first and `transformer_options` last (EasyCache reads just that).
        """
        options = {} if transformer_options is None else transformer_options
        wrappers = get_all_wrappers(WrappersMP.DIFFUSION_MODEL, options)
        return WrapperExecutor.new_class_executor(self._predict, self, wrappers).execute(
            x, level, context, text_mask, fps, told, times, options
        )

    def _predict(self, *arguments) -> Tensor:
        *arguments, self.host_attention.transformer_options = arguments
        return super().forward(*arguments)


class SoraModel(comfy.model_base.BaseModel):
    """What the host's samplers call: rectified flow in which every patch has a noise level of its own.

    Attributes:
        windowing: how Sora Sampler fills what is longer than the model's window.
    """

    def __init__(self, model_config, geometry: Geometry, windowing: Windowing, device=None):
        super().__init__(model_config, comfy.model_base.ModelType.FLOW, device=device, unet_model=HostDiT)
        self.geometry = geometry
        self.windowing = windowing

    def _apply_model(
        self,
        x,
        t,
        c_concat=None,
        c_crossattn=None,
        control=None,
        transformer_options={},  # noqa: B006 (the host's signature)
        denoise_mask=None,
        fps=DEFAULT_FPS,
        timeline=None,
        **kwargs,
    ):
        """x (B, C, t, h, w) at noise level t (B,), times the mask where there is one -> clean latent, float32.

        `timeline` (`conditioning.Told`) has the texts of a clip that is told one after the other. Where x is a part of
        a longer clip, `transformer_options` says which, and its levels (`films.Seen`).

        The host's own version turns a velocity into the clean latent with one noise level for all patches. Here the
        network gives the clean latent itself, so that each patch is denoised from its own level.
        """
        network = self.diffusion_model
        wanted = network.config.text_width
        if c_crossattn is None or c_crossattn.shape[-1] != wanted:
            width = "no text" if c_crossattn is None else f"text of width {c_crossattn.shape[-1]}"
            raise UserError(
                f"This model reads text of width {wanted} and was given {width}: encode the prompt with the CLIP of "
                "the same Load Sora Model node."
            )
        level, seen = t.float(), transformer_options.get("sora_seen")
        if seen is not None:
            level = seen.level.repeat(len(x) // len(seen.level), 1, 1, 1, 1)
        elif denoise_mask is not None:
            level = level.view(-1, 1, 1, 1, 1) * denoise_mask[:, :1].to(level)
        network.compute_dtype = self.manual_cast_dtype or self.get_dtype()
        more = {} if timeline is None else timeline.for_cells(seen and seen.cells, len(x), x.device)
        text = more.pop("text", c_crossattn)
        text = comfy.model_management.cast_to_device(text, x.device, network.compute_dtype)
        if seen is not None:
            more["times"] = seen.times
        return network(x.float(), level, text, fps, transformer_options=transformer_options, **more).float()

    def extra_conds(self, **kwargs):
        """The prompt's text, plus the mask of noise levels and the frame rate."""
        out = super().extra_conds(**kwargs)
        mask = kwargs.get("denoise_mask")
        if mask is not None:
            out["denoise_mask"] = comfy.conds.CONDNoiseShape(mask)
        out["fps"] = comfy.conds.CONDConstant(float(kwargs.get("frame_rate", DEFAULT_FPS)))
        if "sora_timeline" in kwargs:
            out["timeline"] = comfy.conds.CONDConstant(kwargs["sora_timeline"])
        return out

    def scale_latent_inpaint(self, sigma, noise, latent_image, **kwargs):
        """Known patches are read clean (level 0), not noised again at the level of the others."""
        return latent_image


class SoraConfig(comfy.supported_models_base.BASE):
    """What the host wants to know about a model before it makes one."""

    unet_config: dict = {}  # noqa: RUF012 (the host's class attributes)
    unet_extra_config: dict = {}  # noqa: RUF012
    scaled_fp8 = None
    quant_config = None

    def __init__(
        self, config: DiTConfig, geometry: Geometry, rgb: tuple[Tensor, Tensor], shift: float, parameters: int
    ):
        self.latent_format = lambda: latent_format(geometry, rgb)
        self.sampling_settings = {"shift": shift}
        super().__init__({"config": config})
        half = [] if parameters < SMALL else [torch.bfloat16, torch.float16]
        self.supported_inference_dtypes = [*half, torch.float32]
        tokens_per_cell = 1 / (config.patch[0] * config.patch[1] * config.patch[2])
        # The host reckons 0.01 MiB of activations per latent cell and byte of the type, times this factor.
        self.memory_usage_factor = 14 * config.width * tokens_per_cell / (0.01 * 2**20)

    def inpaint_model(self):
        return False


def latent_format(geometry: Geometry, rgb: tuple[Tensor, Tensor]) -> comfy.latent_formats.LatentFormat:
    """Shape of the latents, and a linear map (weights (C, 3), bias (3,)) from a cell to its colour, for previews."""
    made = comfy.latent_formats.LatentFormat()
    made.latent_channels = geometry.channels
    made.latent_dimensions = 3
    made.spacial_downscale_ratio = geometry.s_stride
    made.temporal_downscale_ratio = geometry.t_stride
    made.latent_rgb_factors, made.latent_rgb_factors_bias = rgb[0].tolist(), rgb[1].tolist()
    made.latent_rgb_factors_reshape = Playhead(DEFAULT_FPS / geometry.t_stride)
    return made


def start_levels(executor, guider, sigmas, extra_args, callback, noise, latent_image, denoise_mask, disable_pbar):
    """Wraps every sampler of the host: a patch with mask m starts at level m from its content, and ends as new content.

    The host would blend the result with the old content by the mask, and pull it there at every step. Instead, the
    start is mixed once, x = (1 - m s) latent + m s noise, the host's mask keeps only what has m = 0, and the levels go
    to the network as a condition: what the engine's sampler does, with any of the host's solvers.

    Steps may be taken in stages. One that stops half-way gives its x, scaled by the host; there, too, what is kept has
    to be itself, for the next stage takes it from there. That one adds no noise and starts from x as it is.
    """
    if denoise_mask is None:
        return executor(guider, sigmas, extra_args, callback, noise, latent_image, None, disable_pbar)
    if noise.any():
        noise = latent_image + denoise_mask * (noise - latent_image)
    new = denoise_mask > 0
    samples = executor(guider, sigmas, extra_args, callback, noise, latent_image, new.to(denoise_mask), disable_pbar)
    return torch.where(new, samples, latent_image.to(samples))


def show_clip(executor, guider, sigmas, extra_args, callback, *rest):
    """Wraps every sampler of the host: its preview plays the clip, and the time left is told, as by Sora Sampler."""
    if callback is None or isinstance(callback, Live):
        return executor(guider, sigmas, extra_args, callback, *rest)
    model, prompts = guider.model_patcher.model, [one for many in guider.conds.values() for one in many]
    playhead = model.latent_format.latent_rgb_factors_reshape  # so that the host's own pictures keep step
    fps = next((float(one["frame_rate"]) for one in prompts if one.get("frame_rate")), DEFAULT_FPS)
    playhead.rate = fps / model.geometry.t_stride
    with Live(guider.model_patcher, playhead, callback) as live:
        return executor(guider, sigmas, extra_args, live, *rest)


def make_model(
    network: DiT, geometry: Geometry, rgb: tuple[Tensor, Tensor], shift: float, windowing: Windowing
) -> comfy.model_patcher.ModelPatcher:
    """A MODEL with the weights of an engine's transformer, placed and typed as the host decides.

    Args:
        network: on the CPU; its tensors are copied.
        geometry: of the codec and the transformer together.
        rgb: see `latent_format`.
        shift: of the noise schedule under the host's own samplers.
        windowing: see `SoraModel`.
    """
    management = comfy.model_management
    state = network.state_dict()
    parameters = sum(tensor.numel() for tensor in state.values())
    config = SoraConfig(network.config, geometry, rgb, shift, parameters)
    supported = list(config.supported_inference_dtypes)
    device, offload = management.get_torch_device(), management.unet_offload_device()
    dtype = management.unet_dtype(
        model_params=parameters,
        supported_dtypes=supported,
        weight_dtype=next(iter(state.values())).dtype,
    )
    config.set_inference_dtype(dtype, management.unet_manual_cast(dtype, device, supported))
    model = SoraModel(config, geometry, windowing, device=offload)
    model.diffusion_model.load_state_dict(state)
    model.diffusion_model.requires_grad_(False)
    patcher = comfy.model_patcher.ModelPatcher(model, load_device=device, offload_device=offload)
    patcher.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, "sora_start_levels", start_levels)
    patcher.add_wrapper_with_key(WrappersMP.SAMPLER_SAMPLE, "sora_show_clip", show_clip)
    return patcher
