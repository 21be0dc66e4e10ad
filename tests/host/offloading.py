"""Run inside a host by `test_offloading`: what the host does with our networks where memory is short.

    python tests/host/offloading.py COMFYUI CHECKPOINT

--lowvram and --novram exclude --cpu, so on a machine without an accelerator their two halves are looked at apart: the
placing of weights by the host's ModelPatcher, with real numbers on the CPU; and the way of tensors between devices,
with tensors that have a device and a shape and no content (PyTorch's FakeTensorMode), which refuse to be mixed. Prints
one JSON object.
"""

# ruff: noqa: E402 (the host reads its arguments while it is imported)

import gc
import importlib
import importlib.util
import json
import sys
import weakref
from pathlib import Path

PACK = Path(__file__).parents[2]
sys.path.insert(0, sys.argv[1])
COMFYUI, CHECKPOINT = sys.argv[1:]
sys.argv = ["main.py", "--cpu", "--use-pytorch-cross-attention"]  # the attention of an accelerator

import comfy.options

comfy.options.enable_args_parsing()
import comfy.model_management
import comfy.ops
import torch
import utils.install_util  # noqa: F401 (the host's `utils`, before its nodes.py makes comfy/utils.py one too)
from torch._subclasses.fake_tensor import FakeTensorMode

spec = importlib.util.spec_from_file_location("pack", PACK / "__init__.py", submodule_search_locations=[str(PACK)])
sys.modules["pack"] = importlib.util.module_from_spec(spec)
host, model, codec, text = (
    importlib.import_module(f"pack.nodes.host{name}") for name in ("", ".model", ".codec", ".text")
)
canvases, checkpoint, grid = (
    importlib.import_module(f"pack.sora_core.{name}") for name in ("canvas", "checkpoint", "grid")
)
CPU, KEY = torch.device("cpu"), "diffusion_model.blocks.0.up.weight"
BUDGETS = {"nothing": 0.1, "half": 0.5, "all": 0}  # of the model's bytes; 0.1 bytes is what --novram asks for


def crossing(operations) -> dict[str, str]:
    """For each network: the device of its result, or the error, with its weights on the CPU and its input on a GPU.
    The text encoder has no input but numbers; its weights are on the GPU."""
    made = checkpoint.load(CHECKPOINT)
    said = {}
    with FakeTensorMode(), torch.inference_mode():

        def there(*shape: int, dtype=torch.bfloat16):
            return torch.empty(*shape, device="cuda", dtype=dtype)

        weights = {"operations": operations, "device": CPU, "dtype": torch.bfloat16}
        dit = model.HostDiT(made.dit.config, **weights)
        dit.compute_dtype = torch.float32
        vae = codec.HostCodec(made.vae.config, **weights)
        words = text.HostTextEncoder(made.text.config, dtype=torch.float32, device="cuda")  # always moved as a whole
        full = torch.float32
        calls = {
            "dit": lambda: dit(there(1, 8, 3, 6, 8, dtype=full), there(1, dtype=full), there(1, 5, 32, dtype=full)),
            "encode": lambda: next(vae.encode_stream([there(1, 3, 1, 48, 64)])),
            "encode a film": lambda: vae.encode(torch.empty(1, 3, 9, 48, 64, dtype=torch.bfloat16), device="cuda"),
            "decode": lambda: next(vae.decode_stream([there(1, 8, 1, 6, 8)])),
            "text": lambda: words.encode_windows([[1, 2, 3]]),
        }
        for name, call in calls.items():
            try:
                said[name] = call().device.type
            except RuntimeError as error:
                said[name] = str(error)[:120]
    return said


def placing() -> dict:
    """Largest differences of the model's result under every budget, with and without a patch (a LoRA) on a weight."""
    patcher = host.load(checkpoint.load(CHECKPOINT))[0]
    before = {name: value.clone() for name, value in patcher.model.state_dict().items()}
    random = torch.Generator().manual_seed(0)
    x, words = torch.randn(1, 8, 3, 6, 8, generator=random), torch.randn(1, 5, 32, generator=random)
    delta = torch.randn(before[KEY].shape, generator=random) / 4

    def result(patcher) -> torch.Tensor:
        with torch.inference_mode():
            return patcher.model.apply_model(x, torch.tensor([0.7]), c_crossattn=words)

    def restored(patcher) -> bool:
        patcher.detach()
        now = patcher.model.state_dict()
        return all(torch.equal(now[name], value) for name, value in before.items())

    plain = result(patcher)
    told = {"plain": {}, "patched": {}, "lowvram": {}, "restored": True}
    patched = patcher.clone()
    patched.add_patches({KEY: (delta,)}, 1.0)
    patched.patch_model(CPU)
    wanted = result(patched)
    told["effect"] = float((wanted - plain).abs().max())
    told["restored"] &= restored(patched)
    for name, share in BUDGETS.items():
        budget = share if share < 0.5 else share * patcher.model_size()
        for kind, one, right in (("plain", patcher, plain), ("patched", patched, wanted)):
            one.patch_model(CPU, lowvram_model_memory=budget)
            told[kind][name] = float((result(one) - right).abs().max())
            told["lowvram"][name] = bool(one.model.model_lowvram)
            told["restored"] &= restored(one)
    patched.patch_model(CPU, lowvram_model_memory=0.9 * patcher.model_size())
    patched.partially_unload(CPU, 0.5 * patcher.model_size())  # another model needs the room
    told["patched"]["made room"] = float((result(patched) - wanted).abs().max())
    patched.partially_load(CPU, patcher.model_size())
    told["patched"]["came back"] = float((result(patched) - wanted).abs().max())
    told["restored"] &= restored(patched)
    return told


def masks() -> list[bool]:
    """Of attention on a GPU with and without a mask of words: whether one reached what the host has chosen there, which
    may be a function that adds it to the scores."""
    said, attention = [], comfy.ldm.modules.attention
    chosen = attention.optimized_attention

    def note(q, *rest, mask=None, **more):
        said.append(mask is not None)
        return chosen(q, *rest, mask=mask, **more)

    attention.optimized_attention = note
    with FakeTensorMode():
        q = torch.empty(1, 2, 4, 8, device="cuda")
        for mask in (None, torch.ones(1, 1, 1, 4, dtype=torch.bool, device="cuda")):
            assert model.HostAttention()(q, q, q, mask).shape == q.shape
    attention.optimized_attention = chosen
    return said


def reserved() -> list[float]:
    """The bytes that the host makes room for, to fill films of 5 and of 9 latent frames that are seen 3 at a time."""
    patcher, wanted, load = host.load(checkpoint.load(CHECKPOINT))[0], [], comfy.model_management.load_models_gpu
    words = [[torch.zeros(1, 5, 32), {}]]

    def note(*models, memory_required=0, **more):
        wanted.append(memory_required)
        return load(*models, memory_required=memory_required, **more)

    comfy.model_management.load_models_gpu = note
    for frames in (17, 33):
        canvas = canvases.empty(grid.Grid(frames, 48, 64, 8.0, patcher.model.geometry))
        how = {"seed": 0, "steps": 1, "solver": "euler", "window": 3, "callback": lambda *_: None}
        with torch.inference_mode():
            host.fill(patcher, words, words, canvas, **how)
    comfy.model_management.load_models_gpu = load
    return wanted


def freeing() -> dict[str, int]:
    """How many networks are loaded, then unloaded by the host, then alive when nobody has them any more."""
    model, clip, vae = host.load(checkpoint.load(CHECKPOINT))
    comfy.model_management.load_models_gpu([model, clip.patcher, vae.patcher])
    loaded = len(comfy.model_management.current_loaded_models)
    alive = [weakref.ref(one) for one in (model.model, clip.cond_stage_model, vae.first_stage_model)]
    comfy.model_management.unload_all_models()
    left = len(comfy.model_management.current_loaded_models)
    del model, clip, vae
    gc.collect()
    return {"loaded": loaded, "left": left, "alive": sum(one() is not None for one in alive)}


if __name__ == "__main__":
    told = {"cast": crossing(comfy.ops.manual_cast), "not cast": crossing(comfy.ops.disable_weight_init)}
    told |= placing() | {"masks": masks(), "reserved": reserved(), "freed": freeing()}
    print(json.dumps(told))
