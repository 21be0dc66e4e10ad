"""`nox -s demo`: a sentence becomes a video inside a real ComfyUI, or by the command line where none can be had.

Leaves out/demo.mp4 and a contact sheet, out/demo.png, and prints where they are.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

from tqdm import tqdm

from sora_core.batch.host import PACK, Host, HostError, Server, find_hosts, interpreter, is_host
from sora_core.video import contact_sheet, read_frames
from tests.host.hosts import CACHE, environment

WORKFLOW = PACK / "workflows" / "text_to_video.json"
NETWORK_SECONDS = 15  # what an unreachable network may cost in all


def main() -> None:
    parser = argparse.ArgumentParser(prog="nox -s demo --", description=__doc__)
    parser.add_argument("--prompt", default=own_prompt(), help="default: the one in the workflow")
    parser.add_argument("--out", type=Path, default=PACK / "out" / "demo.mp4")
    parser.add_argument("--no-host", action="store_true", help="use the command line even where a ComfyUI is found")
    asked = parser.parse_args()
    video, sheet = asked.out.resolve(), asked.out.resolve().with_suffix(".png")
    try:
        if asked.no_host:
            raise HostError("No host was wanted")
        in_host(asked.prompt, video)
    except HostError as reason:
        print(f"{str(reason).rstrip('.')}; the command line does it.", flush=True)
        line = [sys.executable, "-m", "sora_core", "generate", asked.prompt, "-o", str(video), "--seed", "0"]
        if code := subprocess.run(line, cwd=PACK).returncode:
            sys.exit(code)  # which has said why
    contact_sheet(read_frames(video), sheet)
    print(f"{asked.prompt}\n  video          {shown(video)}\n  contact sheet  {shown(sheet)}")


def own_prompt() -> str:
    """The prompt that the shipped workflow carries."""
    nodes = json.loads(WORKFLOW.read_text(encoding="utf-8"))["nodes"]
    return next(node["widgets_values"][0] for node in nodes if node["type"] == "CLIPTextEncode")


def shown(path: Path) -> str:
    return os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)


def in_host(prompt: str, video: Path) -> None:
    """Queue the shipped workflow in a headless host and fetch what it saves.

    Raises:
        HostError: no host can be found, got or started.
    """
    hosts = find_hosts()
    host = hosts[0] if hosts else obtain()
    print(f"ComfyUI {host.version} in {host.path}", flush=True)
    options = ("--timeout", str(NETWORK_SECONDS), "--retries", "1")
    python = environment(host, pip_options=options, before=reach_packages)
    with Server(host, python) as server:
        workflow = server.load(WORKFLOW, {"Prompt.text": prompt})
        with Progress(workflow) as progress:
            result = server.run(workflow, on_event=progress.event)
        videos = result.files("mp4", "webm")
        if not videos:
            raise RuntimeError(f"The workflow {WORKFLOW.name} ended without a video; it left {result.outputs}.")
        server.save(videos[0], video)


def obtain() -> Host:
    """Get a ComfyUI with comfy-cli into a folder of ours; its environment is made like that of any host."""
    workspace = CACHE.parent / "comfy" / "ComfyUI"
    if is_host(workspace):
        return Host(workspace)
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "stdin": subprocess.DEVNULL}
    problem = "GitHub cannot be reached"
    try:
        subprocess.run(
            ["git", "ls-remote", "https://github.com/comfyanonymous/ComfyUI", "HEAD"],
            env=os.environ | {"GIT_TERMINAL_PROMPT": "0"},
            timeout=NETWORK_SECONDS,
            check=True,
            **quiet,
        )
        places = "COMFYUI_PATH, comfy-cli's workspace, ~/comfy/ComfyUI"
        print(f"No ComfyUI found ({places}): getting one into {shown(workspace)}.", flush=True)
        problem = "comfy-cli could not install it"
        tool = CACHE.parent / "comfy-cli"
        venv.create(tool, with_pip=True, clear=True)
        pip = [str(interpreter(tool)), "-m", "pip", "install", "--quiet", "comfy-cli"]
        subprocess.run(pip, check=True, timeout=600, **quiet)
        comfy = interpreter(tool).with_name("comfy" + interpreter(tool).suffix)
        options = ["--skip-prompt", "--no-enable-telemetry", f"--workspace={workspace}"]
        # Torch and the requirements come later, by `environment`, which reuses what the interpreter has.
        install = ["install", "--cpu", "--skip-manager", "--skip-torch-or-directml", "--skip-requirement"]
        subprocess.run([str(comfy), *options, *install], check=True, timeout=1200, **quiet)
    except (OSError, subprocess.SubprocessError):
        raise HostError(f"No ComfyUI found, and {problem}") from None
    if not is_host(workspace):
        raise HostError("No ComfyUI found, and comfy-cli did not install it")
    return Host(workspace)


def reach_packages() -> None:
    """Let pip, as it is set up here, fetch one package, before it tries dozens.

    Raises:
        HostError: it cannot.
    """
    with tempfile.TemporaryDirectory() as folder:
        line = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--retries",
            "0",
            "-d",
            folder,
            "einops",
        ]
        try:
            subprocess.run(line, cwd=folder, capture_output=True, timeout=NETWORK_SECONDS, check=True)
        except subprocess.SubprocessError:
            raise HostError("The packages that ComfyUI requires cannot be reached") from None


class Progress:
    """A bar that follows the host's messages, under the titles of the workflow's nodes."""

    def __init__(self, workflow: dict):
        self.titles = {number: node["_meta"]["title"] for number, node in workflow.items()}

    def __enter__(self) -> Progress:
        self.bar = tqdm(total=1, desc="waiting", leave=True, file=sys.stderr)
        return self

    def __exit__(self, *_) -> None:
        self.bar.close()

    def event(self, kind: str, data: dict) -> None:
        if kind == "executing" and data.get("node") is not None:
            self.bar.set_description(self.titles.get(data["node"], data["node"]))
        if kind == "progress":
            self.bar.total, self.bar.n = data["max"], data["value"]
            self.bar.refresh()


if __name__ == "__main__":
    main()
