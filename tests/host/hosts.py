"""Gives a ComfyUI host a Python environment with its own requirements, for the tests and the demo."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from sora_core.batch.host import PACK, Host, HostError, interpreter, works

CACHE = PACK / ".cache" / "host-envs"
OURS_TO_KEEP = ("torch", "torchvision", "torchaudio")  # gigabytes: what the interpreter has is never fetched again


def environment(
    host: Host,
    *,
    pip_options: tuple[str, ...] = (),
    log: Path | None = None,
    before: Callable[[], None] = lambda: None,
) -> Path:
    """The interpreter for a host: its own `.venv` or `venv` if it has one that works, else one made here.

    What is made sees the packages of the interpreter that has torch (nothing of torch is installed again), adds the
    host's requirements and this pack's, and is kept in `.cache/host-envs` under a hash of all of that. `before` is
    called only where one has to be made, first.
    """
    if host.python:
        return host.python
    base, extra_site = base_interpreter()
    versions = installed_versions(base, extra_site)
    requirements = [host.path / "requirements.txt", PACK / "requirements.txt"]
    key = json.dumps([str(base), sorted(versions.items()), [file.read_text() for file in requirements]])
    folder = CACHE / hashlib.sha256(key.encode()).hexdigest()[:16]
    python = interpreter(folder)
    if (folder / "ready").exists() and works(python):
        return python

    before()
    shutil.rmtree(folder, ignore_errors=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    command([str(base), "-m", "venv", "--system-site-packages", str(folder)], log)
    if extra_site:
        (Path(site_packages(python)) / "interpreter.pth").write_text(extra_site + "\n")
    keep = folder / "keep.txt"
    keep.write_text("".join(f"{name}=={version}\n" for name, version in versions.items()))
    install = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--constraint", str(keep)]
    for file in requirements:
        install += ["--requirement", str(file)]
    command([*install, *pip_options], log)
    if not works(python):
        raise HostError(f"The environment made for {host.path} cannot import torch and aiohttp; delete {folder}.")
    check_fit(python)
    (folder / "ready").write_text(host.version)
    return python


def base_interpreter() -> tuple[Path, str]:
    """The interpreter to build on, and a further site-packages folder it must see (or "").

    A virtual environment's `--system-site-packages` are those of the interpreter below it; if torch is only in the
    virtual environment that runs this, that one's folder is handed on as well.
    """
    below = Path(getattr(sys, "_base_executable", None) or sys.executable)
    if has_torch(below):
        return below, ""
    # It may have torch from a third one, whose folder it was lent (noxfile): a folder that is handed on lends nothing.
    found = importlib.util.find_spec("torch")
    return below, str(Path(found.origin).parents[1]) if found and found.origin else ""


def check_fit(python: Path) -> None:
    """Without a torchvision ComfyUI says so itself; one of another build than torch fails when it is imported.

    Raises:
        HostError: it does.
    """
    probe = "import importlib.util\nif importlib.util.find_spec('torchvision'): import torchvision"
    done = subprocess.run([str(python), "-c", probe], capture_output=True, text=True, errors="replace")
    if done.returncode:
        why = done.stderr.strip().splitlines()[-1:] or [f"exit {done.returncode}"]
        raise HostError(
            f"ComfyUI needs a torchvision that fits the torch of this machine, and pip found another ({why[0]}): "
            "install torch, torchvision and torchaudio together, from the same index"
        )


def has_torch(python: Path) -> bool:
    probe = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)"
    return subprocess.run([str(python), "-c", probe], capture_output=True).returncode == 0


def installed_versions(python: Path, extra_site: str) -> dict[str, str]:
    """Distribution versions of the torch family (the distribution's, which may lack the `+cpu` of `__version__`)."""
    probe = (
        "import importlib.metadata as m, json, sys\n"
        f"sys.path.append({extra_site!r})\n"
        f"have = {{d.metadata['Name'].lower(): d.version for d in m.distributions() if d.metadata['Name']}}\n"
        f"print(json.dumps({{n: have[n] for n in {OURS_TO_KEEP!r} if n in have}}))\n"
    )
    done = subprocess.run([str(python), "-c", probe], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def site_packages(python: Path) -> str:
    probe = "import sysconfig; print(sysconfig.get_path('purelib'))"
    return subprocess.run([str(python), "-c", probe], capture_output=True, text=True, check=True).stdout.strip()


def command(line: list[str], log: Path | None) -> None:
    """Runs a set-up step quietly; what it says goes to the log or into the error."""
    done = subprocess.run(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    if log is not None:
        with log.open("a") as file:
            file.write(done.stdout)
    if done.returncode:
        last = [text for text in done.stdout.splitlines() if text.strip()][-1:] or ["no output"]
        raise HostError(f"`{' '.join(line[1:5])} ...` failed while preparing ComfyUI: {last[0].strip()}")
