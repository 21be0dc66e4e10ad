"""What this pack adds to the start of a ComfyUI: the host with it and without it, in turns, in processor time.

    python benchmarks/host_start.py --rounds 5

The host is started as a person would and ends by itself when everything is loaded (its own --quick-test-for-ci).
Beside the difference of whole starts, which is uncertain by the noise of both, stands what the host itself reports as
the import time of the pack.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

# Lists what is imported when the host has loaded everything, from inside it.
PROBE = """
import atexit, json, os, sys
def tell():
    with open(os.environ["SORA_PROBE"], "w") as file:
        json.dump(sorted(sys.modules), file)
atexit.register(tell)
NODE_CLASS_MAPPINGS = {}
"""


def start(python: Path, host: Path, pack: Path | None) -> dict:
    """Start a host once, with or without the pack.

    Returns:
        seconds of processor time, `imported` (seconds that the host reports for the pack, or None) and the names of
        all `modules` that are loaded in the end.
    """
    folder = Path(tempfile.mkdtemp(prefix="sora-start-"))
    try:
        (folder / "custom_nodes").mkdir()
        (folder / "custom_nodes" / "probe.py").write_text(PROBE)
        if pack is not None:
            (folder / "custom_nodes" / "sora").symlink_to(pack, target_is_directory=True)
        line = [str(python), "main.py", "--cpu", "--quick-test-for-ci", "--base-directory", str(folder)]
        line += ["--disable-api-nodes", "--database-url", f"sqlite:///{folder / 'comfy.db'}"]
        hidden = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        hidden["SORA_PROBE"] = str(folder / "modules.json")
        before = os.times()
        done = subprocess.run(line, cwd=host, env=hidden, capture_output=True, text=True, errors="replace", check=True)
        after = os.times()
        said = re.search(r"([\d.]+) seconds(?: \([^)]*\))?: .*custom_nodes/sora\b", done.stdout + done.stderr)
        return {
            "seconds": sum(after[2:4]) - sum(before[2:4]),
            "imported": float(said[1]) if said else None,
            "modules": set(json.loads((folder / "modules.json").read_text())),
        }
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    from sora_core.batch.host import PACK, find_hosts
    from tests.host.hosts import environment

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    asked = parser.parse_args()
    for host in find_hosts():
        python = environment(host)
        start(python, host.path, PACK)  # writes the byte code
        rounds = [[start(python, host.path, pack) for pack in (None, PACK)] for _ in range(asked.rounds)]
        without, having = ([pair[i]["seconds"] for pair in rounds] for i in (0, 1))
        ratio = statistics.median(b / a for a, b in zip(without, having, strict=True))
        imported = statistics.median(pair[1]["imported"] for pair in rounds)
        print(
            f"ComfyUI {host.version}: start {statistics.median(without):.2f} s of processor time without the pack, "
            f"{statistics.median(having):.2f} s with it (ratio {ratio:.3f}, spread of the start without "
            f"{min(without):.2f} to {max(without):.2f} s); the host reports {imported:.2f} s for its import, "
            f"{imported / statistics.median(without):.1%} of its start"
        )


if __name__ == "__main__":
    main()
