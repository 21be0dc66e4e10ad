"""Run inside a host by `test_start`: what of the host is another after the pack was imported, twice, and used.

    python tests/host/untouched.py COMFYUI CHECKPOINT

Prints one JSON object: for each moment a list of names that are bound to something else than before. New submodules do
not count: they are what an import does.
"""

# ruff: noqa: E402 (the host reads its arguments while it is imported)

import asyncio
import importlib
import importlib.util
import json
import sys
import types
from pathlib import Path

PACK = Path(__file__).parents[2]
COMFYUI, CHECKPOINT = sys.argv[1:]
sys.path.insert(0, COMFYUI)
sys.argv = ["main.py", "--cpu"]

import comfy.options

comfy.options.enable_args_parsing()
import utils.extra_config  # noqa: F401, I001 (first, as in the host's main.py: other libraries have a `utils` too)
import execution  # noqa: F401
import folder_paths
import latent_preview
import nodes
import server  # noqa: F401
import torch


def snapshot() -> dict[str, object]:
    """Every name of the host's modules and their classes -> what it is bound to; of collections what is in them."""
    found = {}
    for name, module in list(sys.modules.items()):
        if not (getattr(module, "__file__", None) or "").startswith(COMFYUI):
            continue
        for key, value in list(vars(module).items()):
            found[f"{name}.{key}"] = value
            if isinstance(value, type) and value.__module__ == name:
                found |= {f"{name}.{key}.{attribute}": one for attribute, one in vars(value).items()}
            elif isinstance(value, (list, tuple, set, frozenset)):
                found[f"{name}.{key}[]"] = [id(one) for one in value]
            elif isinstance(value, dict) and not key.startswith("__"):
                found[f"{name}.{key}[]"] = {one: id(it) for one, it in value.items()}
    return found


def changed(before: dict[str, object]) -> list[str]:
    now = snapshot()
    fresh = {name for name in now if name not in before and not isinstance(now[name], types.ModuleType)}
    loaded = {name for name in fresh if not any(old.startswith(name.rpartition(".")[0] + ".") for old in before)}
    other = {
        name
        for name, value in before.items()
        if name not in now or (now[name] != value if name.endswith("[]") else now[name] is not value)
    }
    return sorted(other | fresh - loaded)


def load_pack(name: str):
    """Import the pack and ask it for its nodes, as the host does."""
    spec = importlib.util.spec_from_file_location(name, PACK / "__init__.py", submodule_search_locations=[str(PACK)])
    sys.modules[name] = pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    for node in asyncio.run(asyncio.run(pack.comfy_entrypoint()).get_node_list()):
        node.GET_SCHEMA()


def use(name: str) -> None:
    """Load a checkpoint and fill a canvas."""
    host, checkpoint = (
        importlib.import_module(f"{name}.{module}") for module in ("nodes.host", "sora_core.checkpoint")
    )
    model, clip, _ = host.load(checkpoint.load(CHECKPOINT))
    latent = {"samples": torch.zeros(1, 8, 3, 6, 8)}
    words = clip.encode_from_tokens_scheduled(clip.tokenize("a red ball"))
    nodes.common_ksampler(model, 1, 2, 2.0, "euler", "simple", words, words, latent)


if __name__ == "__main__":
    for folder in folder_paths.folder_names_and_paths:
        folder_paths.get_filename_list(folder)  # the host keeps what any menu has listed
    before = snapshot()
    told = {"names": len(before)}
    for moment, do in (("imported", load_pack), ("imported again", load_pack), ("used", use)):
        do("pack_twice" if moment == "imported again" else "pack")
        told[moment] = changed(before)
    latent_preview.get_previewer = lambda *_: None  # and the check sees what it looks for
    told["patched"] = changed(before)
    print(json.dumps(told))
