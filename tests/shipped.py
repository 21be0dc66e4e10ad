"""What the registry would hand out: every file that git tracks, less what .comfyignore names, as comfy-cli packs it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def shipped() -> list[Path]:
    """Relative to the root; skips the test where this is no git checkout."""
    if not (ROOT / ".git").exists():
        pytest.skip("An archive is built from a git checkout, and this is none.")
    names = _listed() - _listed("--cached", "--ignored", "--exclude-from=.comfyignore")
    return [Path(name) for name in sorted(names) if (ROOT / name).exists()]


def _listed(*options: str) -> set[str]:
    """Files that git tracks."""
    done = subprocess.run(["git", "ls-files", "-z", *options], cwd=ROOT, capture_output=True, check=True)
    return set(filter(None, done.stdout.decode().split("\0")))
