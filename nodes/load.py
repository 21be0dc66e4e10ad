"""Load: a checkpoint becomes MODEL, CLIP and VAE."""

import os

import folder_paths
from comfy_api.latest import io

from ..sora_core import checkpoint as checkpoints
from ..sora_core.errors import UserError
from . import host

BUNDLED = "bundled"
FOLDERS = ("checkpoints", "diffusion_models")


class SoraLoadModel(io.ComfyNode):
    """Loads the bundled model or a file of the user's."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        files = {name for folder in FOLDERS for name in folder_paths.get_filename_list(folder)}
        names = [BUNDLED, *sorted(name for name in files if name.endswith(".safetensors"))]
        return host.schema(
            node_id="SoraLoadModel",
            display_name="Load Sora Model",
            category="sora",
            description="Loads a Sora Canvas checkpoint: the transformer, its text encoder and its video codec. "
            "The bundled model needs no download.",
            search_aliases=["sora", "checkpoint", "text to video", "load model"],
            inputs=[
                io.Combo.Input(
                    "checkpoint",
                    options=names,
                    default=BUNDLED,
                    tooltip="The model that comes with this pack, or a file in models/checkpoints or "
                    "models/diffusion_models.",
                ),
            ],
            outputs=[
                io.Model.Output(display_name="model"),
                io.Clip.Output(display_name="clip"),
                io.Vae.Output(display_name="vae"),
            ],
        )

    @classmethod
    def fingerprint_inputs(cls, checkpoint: str):
        """A file that was written again is loaded again. The host saves this with the prompt: no path goes into it."""
        return [os.stat(path).st_mtime_ns for path in files_of(checkpoint) if os.path.exists(path)]

    @classmethod
    def execute(cls, checkpoint: str) -> io.NodeOutput:
        models = checkpoints.load(BUNDLED if checkpoint == BUNDLED else files_of(checkpoint)[0])
        for network, name in ((models.dit, "transformer"), (models.text, "text encoder"), (models.vae, "codec")):
            if network is None:
                raise UserError(f"{checkpoint} holds no {name}: choose a complete checkpoint, such as the bundled one.")
        return io.NodeOutput(*host.load(models))


def files_of(name: str) -> list[str]:
    """The paths behind a name of the menu."""
    if name == BUNDLED:
        return [os.fspath(path) for path in checkpoints.BUNDLED]
    found = [path for folder in FOLDERS if (path := folder_paths.get_full_path(folder, name))]
    if not found:
        raise UserError(f"{name} is in none of the folders {' and '.join(FOLDERS)} any more.")
    return found[:1]
