"""Keep: a LATENT lies in a file before it is decoded, so that a decode that dies can be run again alone."""

import hashlib
import json
import os
from pathlib import Path

import torch
from comfy_api.latest import io
from safetensors import SafetensorError, safe_open

from ..sora_core.errors import UserError
from ..sora_core.files import replacing
from . import host
from .host import saving

KEY, VERSION = "latent_tensor", "latent_format_version_0"  # the host's own names: its LoadLatent reads these files too
NOTED = ("sora_grid", "sora_no_rate")  # what is kept of a LATENT beside its samples
NO_SUCH = "There is no such latent in output/sora_latents: choose one of the menu."


def keep(latent: dict) -> tuple[Path, bool]:
    """Write a LATENT into the folder of kept latents under the hash of its content.

    Returns:
        (the file, whether it is new).

    Raises:
        UserError: the file cannot be written.
    """
    samples = latent["samples"].detach().to("cpu", torch.float32).contiguous()
    noted = {name: json.dumps(latent[name]) for name in NOTED if name in latent}
    data = memoryview(samples.numpy()).cast("B")
    digest = hashlib.sha256(json.dumps(noted).encode())
    digest.update(data)
    path = saving.latents_folder() / f"{digest.hexdigest()[:16]}.latent"
    if path.exists():
        return path, False
    size = data.nbytes
    # The safetensors format by hand: its library would hold the whole latent, of a long film near a GB, twice more.
    header = {
        "__metadata__": noted,
        KEY: {"dtype": "F32", "shape": list(samples.shape), "data_offsets": [0, size]},
        VERSION: {"dtype": "F32", "shape": [0], "data_offsets": [size, size]},
    }
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as part, part.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(data)
    return path, True


def is_kept(name: object) -> bool:
    """Whether this is the name of a file in the folder of kept latents, and not a path."""
    plain = isinstance(name, str) and len(name) < 256 and name == os.path.basename(name)
    return plain and (saving.latents_folder() / name).is_file()


class SoraLoadLatent(io.ComfyNode):
    """Loads a latent that was kept because its decode did not finish."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        folder = saving.latents_folder()
        names = sorted(path.name for path in folder.glob("*.latent")) if folder.is_dir() else []
        return host.schema(
            node_id="SoraLoadLatent",
            display_name="Load Kept Latent",
            category="sora",
            description="Loads a latent that Sora Decode To Video kept in output/sora_latents because its decode did "
            "not finish, with its size and frame rate: connect it to Sora Decode To Video to decode again.",
            search_aliases=["resume", "recover", "load latent", "decode again"],
            inputs=[io.Combo.Input("latent", options=names, tooltip="A file in output/sora_latents.")],
            outputs=[io.Latent.Output(display_name="latent")],
        )

    @classmethod
    def validate_inputs(cls, latent: str):
        return is_kept(latent) or NO_SUCH

    @classmethod
    def execute(cls, latent: str) -> io.NodeOutput:
        if not is_kept(latent):  # a link may bring a name that nobody has checked
            raise UserError(NO_SUCH)
        try:
            with safe_open(saving.latents_folder() / latent, framework="pt") as file:
                noted = file.metadata() or {}
                loaded = {name: json.loads(noted[name]) for name in NOTED if name in noted}
                loaded["samples"] = file.get_tensor(KEY).float()
        except (SafetensorError, OSError, ValueError) as error:
            raise UserError(f"{latent} is damaged and cannot be read: sample it again.") from error
        return io.NodeOutput(loaded)
