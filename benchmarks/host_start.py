"""What this pack adds to the start of a ComfyUI: the host with it and without it, in turns, in processor time.

    python benchmarks/host_start.py --rounds 5

The host is started as a person would, with byte code on the disk, and ends by itself when everything is loaded (its own
--quick-test-for-ci). The difference of whole starts is uncertain by the noise of both, so the pack is also timed by
itself inside the host: importing it and listing its nodes. The bar is 0.15 s. Processor time, because the time of the
clock is that of everything else on the machine as well.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
BAR = 0.15  # seconds

# Lists what is imported when the host has loaded everything, from inside it.
PROBE = """
import atexit, json, os, sys
def tell():
    with open(os.environ["SORA_PROBE"], "w") as file:
        json.dump(sorted(sys.modules), file)
atexit.register(tell)
NODE_CLASS_MAPPINGS = {}
"""

# The pack inside a module that looks at the clock.
TIMED = """
import importlib.util, os, sys, time
start = time.process_time()
root = os.environ["SORA_PACK"]
spec = importlib.util.spec_from_file_location(
    __name__ + ".pack", os.path.join(root, "__init__.py"), submodule_search_locations=[root])
sys.modules[spec.name] = pack = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pack)
async def comfy_entrypoint():
    extension = await pack.comfy_entrypoint()
    for node in await extension.get_node_list():
        node.GET_SCHEMA()
    with open(os.environ["SORA_TIME"], "w") as file:
        file.write(str(time.process_time() - start))
    return extension
"""


def start(python: Path, host: Path, pack: Path | None) -> dict:
    """Start a host once, with or without the pack.

    Returns:
        seconds of processor time, those of the pack alone as `imported` (or None), and the names of all `modules` that
        are loaded in the end.
    """
    folder = Path(tempfile.mkdtemp(prefix="sora-start-"))
    try:
        (folder / "custom_nodes").mkdir()
        (folder / "custom_nodes" / "probe.py").write_text(PROBE)
        if pack is not None:
            (folder / "custom_nodes" / "sora").mkdir()
            (folder / "custom_nodes" / "sora" / "__init__.py").write_text(TIMED)
        line = [str(python), "main.py", "--cpu", "--quick-test-for-ci", "--base-directory", str(folder)]
        line += ["--disable-api-nodes", "--database-url", f"sqlite:///{folder / 'comfy.db'}"]
        unset = ("PYTHONPATH", "PYTHONHOME", "PYTHONDONTWRITEBYTECODE")
        environ = {name: value for name, value in os.environ.items() if name not in unset}
        probe, timed = folder / "modules.json", folder / "seconds"
        environ |= {"SORA_PROBE": str(probe), "SORA_TIME": str(timed), "SORA_PACK": str(pack)}
        before = os.times()
        subprocess.run(line, cwd=host, env=environ, capture_output=True, check=True)
        after = os.times()
        return {
            "seconds": sum(after[2:4]) - sum(before[2:4]),
            "imported": float(timed.read_text()) if pack is not None else None,
            "modules": set(json.loads(probe.read_text())),
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
        verdict = "met" if imported <= BAR else "MISSED"
        print(
            f"ComfyUI {host.version}: start {statistics.median(without):.2f} s of processor time without the pack, "
            f"{statistics.median(having):.2f} s with it (ratio {ratio:.3f}, spread of the start without "
            f"{min(without):.2f} to {max(without):.2f} s); the pack alone {imported:.3f} s, "
            f"{imported / statistics.median(without):.1%} of the host's start: bar {verdict}"
        )


if __name__ == "__main__":
    main()
