"""Where the host lets a node write, what it lets it say about itself, and the progress it shows."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import folder_paths
from comfy.cli_args import args
from comfy.utils import ProgressBar
from comfy_api.latest import io, ui

from ...sora_core.errors import UserError

__all__ = ["ROOTS", "ProgressBar", "Target", "latents_folder", "target", "workflow_of"]

ROOTS = ("output", "temp")
LONGEST = 200  # characters of a prefix
LATENTS = "sora_latents"  # a folder in the output folder
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # device names of Windows


@dataclass(frozen=True)
class Target:
    """A file that is to be written, and how the host's messages call it."""

    path: Path
    subfolder: str
    root: str

    @property
    def result(self) -> ui.SavedResult:
        return ui.SavedResult(self.path.name, self.subfolder, io.FolderType(self.root))

    def within(self, name: str) -> ui.SavedResult:
        """A file in this folder."""
        return ui.SavedResult(name, os.path.join(self.subfolder, self.path.name), io.FolderType(self.root))


def target(prefix: str, ending: str, root: str, width: int, height: int) -> Target:
    """A new file below the host's output or temp folder, numbered after those that are there.

    Args:
        prefix: "name" or "folder/name"; %width%, %year% and so on are filled in as by the host's own nodes.
        root: one of `ROOTS`.

    Raises:
        UserError: the prefix leads out of the folder, or is too long.
    """
    top = folder_paths.get_output_directory() if root == "output" else folder_paths.get_temp_directory()
    prefix = clean(prefix)
    folder = Path(top, os.path.dirname(prefix))
    if not Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(top)):
        raise UserError(f"filename_prefix leads out of the {root} folder by a link: choose another folder.")
    folder, name, counter, subfolder, _ = folder_paths.get_save_image_path(prefix, top, width, height)
    return Target(Path(folder, f"{name}_{counter:05}_{ending}"), subfolder, root)


def clean(prefix: str) -> str:
    """A prefix of plain names: what file systems do not take becomes "_".

    Raises:
        UserError: it names another place than one below a folder, or is too long.
    """
    if len(prefix) > LONGEST:
        raise UserError(f"filename_prefix has {len(prefix)} characters: use at most {LONGEST}.")
    parts = [part.strip() for part in re.split(r"[/\\]", prefix.strip())]
    if (
        ".." in parts
        or parts[0].startswith("~")
        or re.match(r"[A-Za-z]:", parts[0])
        or (len(parts) > 1 and not parts[0])
    ):
        raise UserError(
            "filename_prefix must stay below the host's folder: use a name, or folder/name, without .., ~ or a drive."
        )
    parts = [re.sub(r'[\x00-\x1f\x7f-\x9f<>:"|?*\u2028\u2029\ud800-\udfff]', "_", part).strip(" .") for part in parts]
    parts = [f"_{part}" if _RESERVED.fullmatch(part) else part for part in parts if part]
    return "/".join(parts) or "Sora"


def latents_folder() -> Path:
    """Where latents are kept while they are decoded."""
    return Path(folder_paths.get_output_directory(), LATENTS)


def workflow_of(node: type[io.ComfyNode]) -> dict[str, object]:
    """What the host would write into a file that this node saves: `prompt`, `workflow` and the like."""
    if args.disable_metadata:
        return {}
    prompt = {} if node.hidden.prompt is None else {"prompt": node.hidden.prompt}
    return dict(node.hidden.extra_pnginfo or {}) | prompt
