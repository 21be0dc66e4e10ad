"""Runs a benchmark inside the first ComfyUI found: in its environment, with the pack imported as the host does it."""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

PACK = Path(__file__).parents[1]


def run_inside(parser: argparse.ArgumentParser, report: Callable[[argparse.Namespace], None], script: str) -> None:
    """Start `script` again, with the same arguments, by the host's interpreter; there it calls `report`."""
    parser.add_argument("--inside", metavar="COMFYUI", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        report(asked)
        return
    sys.path.insert(0, str(PACK))
    from sora_core.batch.host import find_hosts
    from tests.host.hosts import environment

    hosts = find_hosts()
    if not hosts:
        sys.exit("No ComfyUI found: set COMFYUI_PATH.")
    line = [str(environment(hosts[0])), script, "--inside", str(hosts[0].path), *sys.argv[1:]]
    sys.exit(subprocess.run(line).returncode)


def inside(comfyui: str):
    """The pack's modules, imported as the host does: (nodes.host, nodes.host.sampling, checkpoint, grid)."""
    sys.path.insert(0, comfyui)
    sys.argv = ["main.py", "--cpu", "--preview-method", "latent2rgb"]
    import comfy.options

    comfy.options.enable_args_parsing()
    spec = importlib.util.spec_from_file_location(
        "sora_pack", PACK / "__init__.py", submodule_search_locations=[str(PACK)]
    )
    sys.modules["sora_pack"] = importlib.util.module_from_spec(spec)
    names = ("nodes.host", "nodes.host.sampling", "sora_core.checkpoint", "sora_core.grid")
    return tuple(importlib.import_module(f"sora_pack.{name}") for name in names)
