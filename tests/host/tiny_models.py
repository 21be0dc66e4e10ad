"""A custom node for the tests: tiny random weights of the host's own video models, and a look inside while they sample.

It runs inside the host, where the networks' classes are, and is laid beside this pack in `custom_nodes`. Nothing of the
host is replaced: the files are loaded by the host's loaders.
"""

import copy
import json
import os
import sys
import zlib

import comfy.ldm.hunyuan_video.model
import comfy.ldm.lightricks.model
import comfy.ldm.lightricks.vae.causal_video_autoencoder
import comfy.ldm.wan.model
import comfy.ldm.wan.vae
import comfy.ldm.wan.vae2_2
import comfy.model_patcher
import comfy.ops
import comfy.supported_models
import comfy.taesd.taehv
import folder_paths
import torch
from comfy.patcher_extension import WrappersMP
from safetensors.torch import save_file

MAKE = {"operations": comfy.ops.disable_weight_init, "dtype": torch.float32, "device": "cpu"}
WAN = {"dim": 128, "ffn_dim": 128, "num_heads": 1, "num_layers": 2}
HUNYUAN = {
    "in_channels": 16,
    "out_channels": 16,
    "vec_in_dim": 768,
    "context_in_dim": 32,
    "hidden_size": 128,
    "mlp_ratio": 4.0,
    "num_heads": 1,
    "depth": 1,
    "depth_single_blocks": 1,
    "axes_dim": [16, 56, 56],
    "theta": 256,
    "patch_size": [1, 2, 2],
    "qkv_bias": True,
    "guidance_embed": True,
}
HUNYUAN_LATER = {  # of versions that know more kinds
    "byt5": False,
    "meanflow": False,
    "use_cond_type_embedding": False,
    "vision_in_dim": None,
    "meanflow_sum": False,
}
LTX = {
    "num_attention_heads": 2,
    "attention_head_dim": 32,
    "cross_attention_dim": 64,
    "caption_channels": 64,
    "num_layers": 2,
}
COSMOS = {
    "max_img_h": 240,
    "max_img_w": 240,
    "max_frames": 128,
    "in_channels": 16,
    "out_channels": 16,
    "patch_spatial": 2,
    "patch_temporal": 1,
    "model_channels": 64,
    "num_blocks": 2,
    "num_heads": 2,
    "crossattn_emb_channels": 64,
    "pos_emb_cls": "rope3d",
    "use_adaln_lora": True,
    "adaln_lora_dim": 16,
}
COSMOS_1 = {
    "block_x_format": "THWBD",
    "affline_emb_norm": True,
    "extra_per_block_abs_pos_emb": True,
    "extra_per_block_abs_pos_emb_type": "learnable",
}
LTX_VAE = {
    "_class_name": "CausalVideoAutoencoder",
    "dims": 3,
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": 128,
    "blocks": [["res_x", 1], ["compress_all", 1], ["compress_all", 1], ["compress_all", 1], ["res_x", 1]],
    "scaling_factor": 1.0,
    "norm_layer": "pixel_norm",
    "patch_size": 4,
    "latent_log_var": "uniform",
    "use_quant_conv": False,
    "causal_decoder": False,
}


def hunyuan():
    known = comfy.ldm.hunyuan_video.model.HunyuanVideoParams.__annotations__
    more = {name: value for name, value in HUNYUAN_LATER.items() if name in known}
    return comfy.ldm.hunyuan_video.model.HunyuanVideo(**HUNYUAN, **more, **MAKE)


def weights(network: torch.nn.Module, prefix: str = "") -> dict:
    """Random everywhere, so that every part of a network shows in its output; norms near one."""
    random = torch.Generator().manual_seed(len(prefix))
    state = {}
    for name, tensor in network.state_dict().items():
        if tensor.ndim > 1:
            value = torch.randn(tensor.shape, generator=random) * tensor[0].numel() ** -0.5
        else:
            value = torch.randn(tensor.shape, generator=random) * 0.1
        if "norm" in name or name.endswith(("gamma", "std-of-means")):
            value = 1 + 0.1 * value
        state[prefix + name] = value.to(tensor.dtype).contiguous()
    return state


def write_models() -> None:
    """Into the host's folders, under the names that the tests load."""
    models = folder_paths.models_dir
    wan, taehv = comfy.ldm.wan.model.WanModel, comfy.taesd.taehv.TAEHV
    files = {
        "diffusion_models/wan_t2v": weights(wan("t2v", in_dim=16, out_dim=16, **WAN, **MAKE)),
        "diffusion_models/wan_i2v": weights(wan("i2v", in_dim=36, out_dim=16, **WAN, **MAKE)),
        "diffusion_models/wan22": weights(wan("t2v", in_dim=48, out_dim=48, **WAN, **MAKE)),
        "diffusion_models/hunyuan": weights(hunyuan()),
        "vae/wan": weights(
            comfy.ldm.wan.vae.WanVAE(dim=8, z_dim=16, dim_mult=[1, 2, 4, 4], temperal_downsample=[False, True, True])
        ),
        "vae/wan22": weights(taehv(48)),
        "vae/hunyuan": {name: value.half() for name, value in weights(taehv(16)).items()},
    }
    for name, state in files.items():
        save(state, os.path.join(models, f"{name}.safetensors"))
    vae = comfy.ldm.lightricks.vae.causal_video_autoencoder.VideoVAE(config=LTX_VAE)
    ltx = weights(comfy.ldm.lightricks.model.LTXVModel(**LTX, **MAKE), "model.diffusion_model.")
    config = {"config": json.dumps({"transformer": LTX, "vae": LTX_VAE})}
    save(ltx | weights(vae, "vae."), os.path.join(models, "checkpoints", "ltx.safetensors"), config)


def save(state: dict, path: str, metadata: dict | None = None) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    save_file(state, path, metadata=metadata)


def pack():
    """This pack's part that knows the host, as the host has loaded it."""
    (name,) = (name for name in sys.modules if name.endswith("sora.nodes.host"))
    return sys.modules[name]


class TinyModels:
    """Writes the files."""

    RETURN_TYPES, FUNCTION, CATEGORY, OUTPUT_NODE = (), "run", "tests", True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    def run(self):
        write_models()
        return {"ui": {}}


def random_text(width: int, mask: bool, seed: int) -> list:
    """CONDITIONING of random features."""
    random = torch.Generator().manual_seed(seed)
    text, pooled = torch.randn(1, 7, width, generator=random), torch.randn(1, 768, generator=random)
    more = {"attention_mask": torch.ones(1, 7, dtype=torch.long)} if mask else {}
    return [[text, {"pooled_output": pooled} | more]]


class TinyText:
    """A prompt of random features, for text encoders of billions of parameters have no tiny form."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("CONDITIONING",), "run", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        numbers = {"width": ("INT", {"default": 64, "max": 9999}), "seed": ("INT", {"default": 0})}
        return {"required": {**numbers, "mask": ("BOOLEAN", {"default": False})}}

    def run(self, width, seed, mask):
        return (random_text(width, mask, seed),)


class TinyClip:
    """A CLIP whose features of a text are random and its own."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("CLIP",), "run", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"width": ("INT", {"default": 64, "max": 9999}), "mask": ("BOOLEAN", {"default": False})}}

    def run(self, width, mask):
        self.width, self.mask = width, mask
        return (self,)

    def tokenize(self, text):
        return text

    def encode_from_tokens_scheduled(self, tokens):
        return random_text(self.width, self.mask, zlib.crc32(tokens.encode()))


class TinyCanvas:
    """Random content on the grid of a LATENT, and levels: `LEVELS` says where what is kept."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("LATENT", "LATENT"), "run", "tests"
    RETURN_NAMES = ("canvas", "levels")

    @classmethod
    def INPUT_TYPES(cls):
        kinds = ["first", "ends", "region", "mixed", "edit", "batch", "video"]
        return {"required": {"latent": ("LATENT",), "levels": (kinds,), "seed": ("INT", {"default": 0})}}

    def run(self, latent, levels, seed):
        count, *shape = latent["samples"].shape
        count = 2 if levels == "batch" else count
        samples = torch.randn(count, *shape, generator=torch.Generator().manual_seed(seed))
        level = torch.ones_like(samples[:, :1])
        half = 2 * (level.shape[-1] // 4)
        if levels in ("first", "ends", "mixed"):
            level[:, :, 0] = 0
        if levels in ("ends", "mixed"):
            level[:, :, -1] = 0
        if levels in ("region", "mixed"):
            level[..., :half] = 0
        if levels == "mixed":
            level[:, :, 1, :, half:] = 0.4
        if levels == "edit":
            level[:] = 0.6
        if levels == "batch":
            level[0], level[1, :, 1:] = 0.7, 0.4
            level[1, :, 0] = 0
        mask = {} if levels == "video" else {"noise_mask": level}
        return latent | {"samples": samples} | mask, {"samples": level}


class TinyLevels:
    """The levels of a canvas."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("LATENT",), "run", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"latent": ("LATENT",)}}

    def run(self, latent):
        return ({"samples": latent["noise_mask"]},)


class TinyFilm:
    """The frames of a latent, as the streaming nodes get them."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("LATENT",), "run", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"latent": ("LATENT",), "vae": ("VAE",)}}

    def run(self, latent, vae):
        return ({"samples": torch.cat(list(pack().decode_stream(vae, latent)))},)


class TinyWan22VAE:
    """A Wan 2.2 VAE of width 8: the host's loader makes the full size only, of 700 million parameters."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("VAE",), "run", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"wan": ("VAE",)}}

    def run(self, wan):
        vae = copy.copy(wan)
        network = comfy.ldm.wan.vae2_2.WanVAE(8, 8, 48, temperal_downsample=[False, True, True])
        network.load_state_dict(weights(network))
        vae.first_stage_model, vae.latent_channels = network.eval(), 48
        vae.patcher = comfy.model_patcher.ModelPatcher(network, vae.device, torch.device("cpu"))
        vae.upscale_ratio = (*vae.upscale_ratio[:1], 16, 16)
        vae.downscale_ratio = (*vae.downscale_ratio[:1], 16, 16)
        return (vae,)


class TinyCosmos:
    """A Cosmos 1 or Cosmos-Predict2: the host's loader makes the full sizes only, of 2 billion parameters and more."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "run", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"version": ("INT", {"default": 1, "min": 1, "max": 2})}}

    def run(self, version):
        known = {1: comfy.supported_models.CosmosT2V, 2: comfy.supported_models.CosmosT2IPredict2}
        config = known[version](COSMOS | (COSMOS_1 if version == 1 else {}))
        config.set_inference_dtype(torch.float32, None)
        inner = config.get_model({})
        network = inner.diffusion_model.eval().requires_grad_(False)
        random = weights(network)
        for name, parameter in network.named_parameters():
            parameter.copy_(random[name])
        return (comfy.model_patcher.ModelPatcher(inner, torch.device("cpu"), torch.device("cpu")),)


class TinySound:
    """A model that tells a noise level of its pictures and one of its sound, as LTX-2 does."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "run", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",)}}

    def run(self, model):
        class Sounding(type(model.model)):
            def process_timestep(self, *args, **kwargs):
                return (super().process_timestep(*args, **kwargs),) * 2

        made = model.clone()
        made.model = copy.copy(model.model)
        made.model.__class__ = Sounding
        return (made,)


class TinyOracle:
    """A model that knows the content: it predicts it exactly if, and only if, it is told the true level of what it
    sees.

    `errors` is how far what it sees is from (1 - level) content + level noise, the noise being that of the seed.
    """

    RETURN_TYPES, FUNCTION, CATEGORY = ("MODEL",), "run", "tests"
    errors: dict = {}  # noqa: RUF012

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"model": ("MODEL",), "canvas": ("LATENT",), "seed": ("INT", {"default": 0})}}

    def run(self, model, canvas, seed):
        host = pack()
        inner, size = model.model, host.size_of(model)
        noise = host.sampling.sampler.field(host.canvas_of(canvas, size.geometry), seed)
        content = inner.process_latent_in(canvas["samples"])
        unit = inner.model_sampling.timestep(torch.ones(1)).item()  # some count levels in thousands
        TinyOracle.errors[seed] = torch.zeros(1)

        def predict(executor, x, timestep, *args, **kwargs):
            x = x[:, : content.shape[1]].float()
            level = timestep.float() / unit
            if level.numel() == len(x):
                level = level.view(-1, 1, 1, 1, 1)
            elif level.numel() == len(x) * x.shape[2]:
                level = level.view(len(x), 1, -1, 1, 1)
            else:
                level = level.view(len(x), 1, *x.shape[2:])
            clean, noisy = (of.repeat(len(x) // len(of), 1, 1, 1, 1) for of in (content, noise))  # both passes in one
            seen = x - ((1 - level) * clean + level * noisy)
            TinyOracle.errors[seed] = torch.maximum(TinyOracle.errors[seed], seen.abs().max())
            return torch.where(level > 0, (x - clean) / level.clamp(min=1e-9), torch.zeros_like(x))

        model = model.clone()
        model.add_wrapper_with_key(WrappersMP.DIFFUSION_MODEL, "oracle", predict)
        return (model,)


class TinyVerdict:
    """What `TinyOracle` found while the latent was made."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("LATENT",), "run", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {"latent": ("LATENT",), "seed": ("INT", {"default": 0})}}

    def run(self, latent, seed):
        return ({"samples": TinyOracle.errors[seed].view(1, 1, 1, 1)},)


class TinyStream:
    """A film through a VAE, as a whole and as a stream; as LATENT, for images are saved with 8 bits."""

    RETURN_TYPES, FUNCTION, CATEGORY = ("LATENT",) * 4, "run", "tests"

    @classmethod
    def INPUT_TYPES(cls):
        sizes = {name: ("INT", {"default": 1, "max": 999}) for name in ("frames", "width", "height")}
        return {"required": {"vae": ("VAE",), **sizes, "encode": ("BOOLEAN", {"default": True})}}

    def run(self, vae, frames, width, height, encode):
        host, random = pack(), torch.Generator().manual_seed(frames)
        images = torch.rand(frames, height, width, 3, generator=random)
        geometry = host.geometry_of(vae)
        t = geometry.latent_frames(frames)
        filled = torch.cat([images, images[-1:].expand(geometry.frames(t) - frames, -1, -1, -1)])
        if encode:
            latent, streamed = vae.encode(filled), host.encode_stream(vae, images.split(3))
        else:
            cells = (height // geometry.s_stride, width // geometry.s_stride)
            latent = torch.randn(1, geometry.channels, t, *cells, generator=random)
            streamed = latent
        whole = vae.decode(latent)[0]
        parts = torch.cat(list(host.decode_stream(vae, {"samples": latent})))
        return tuple({"samples": samples} for samples in (latent, streamed, whole, parts))


NODES = (TinyModels, TinyText, TinyClip, TinyCanvas, TinyLevels, TinyFilm, TinyWan22VAE, TinyCosmos)
NODES += (TinyOracle, TinySound, TinyVerdict, TinyStream)
NODE_CLASS_MAPPINGS = {kind.__name__: kind for kind in NODES}
