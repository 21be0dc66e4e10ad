"""The host's own tests of its execution, with this pack installed: `python -m tests.host.execution`.

They run in a copy of the host, so that nothing is left in it. What they need to run (pytest, websocket-client) is kept
apart in `.cache`, beside the host's environment and not inside it. Arguments go to pytest.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from sora_core.batch.host import PACK, Host, find_hosts
from sora_core.files import replacing
from tests.host.hosts import CACHE, environment

TOOLS = ("pytest>=7.8", "pytest-aiohttp", "pytest-asyncio", "websocket-client")
LEFT_OUT = {".git", ".venv", "venv", "models", "custom_nodes", "output", "temp", "user"}  # of a host's folder


def run(host: Host, arguments: list[str]) -> int:
    """Exit status of pytest in a copy of the host."""
    python = environment(host)
    tools = CACHE.parent / "host-tests"
    if not tools.exists():
        with replacing(tools, folder=True) as part:
            line = [str(python), "-m", "pip", "install", "--quiet", "--target", str(part), *TOOLS]
            subprocess.run(line, check=True)
    with tempfile.TemporaryDirectory(prefix="sora-execution-") as folder:
        copy = Path(folder, "ComfyUI")
        shutil.copytree(
            host.path, copy, ignore=lambda at, names: LEFT_OUT & set(names) if Path(at) == host.path else ()
        )
        (copy / "models" / "checkpoints").mkdir(parents=True)
        (copy / "custom_nodes").mkdir()
        (copy / "custom_nodes" / "sora").symlink_to(PACK, target_is_directory=True)
        plugin = shutil.copy(Path(__file__).with_name("patient_start.py"), folder)
        # The tests start `python main.py`: the first python of PATH has to be the host's.
        path = os.pathsep.join([str(python.parent), os.environ.get("PATH", "")])
        own = os.environ | {"PATH": path, "PYTHONPATH": os.pathsep.join([str(tools), folder])}
        line = [str(python), "-m", "pytest", "tests/execution", "-q", "--skip-timing-checks"]
        line += ["-p", Path(plugin).stem, *arguments]
        return subprocess.run(line, cwd=copy, env=own).returncode


def main() -> int:
    status = 0
    for host in find_hosts():
        if not (host.path / "tests" / "execution").is_dir():
            print(f"ComfyUI {host.version} at {host.path} has no tests/execution.")
            continue
        print(f"ComfyUI {host.version}:", flush=True)
        status = run(host, sys.argv[1:]) or status
    return status


if __name__ == "__main__":
    sys.exit(main())
