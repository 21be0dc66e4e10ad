"""Whether `sora batch` loses nothing and does nothing twice, and whether a host stays as large as it was.

    python benchmarks/batch_jobs.py [--only host|actor|driver] [--jobs 500] [--cluster-jobs 200]

- host: 500 jobs of the smallest kind (a picture of 16 x 16 of one colour, a colour of its own for each row) on one real
  host. Bars: every row has its own colour, the host has run 500 jobs, and its memory after the last is at most 5 %
  above that after the 50th.
- actor: 200 jobs on a Ray cluster of this machine with two actors, each with a host of its own; one actor is killed
  (SIGKILL) halfway. Bar: 200 results of the right colour; what was done before the kill was not done again.
- driver: the same, but the program itself is killed halfway and started again.

Needs a ComfyUI (COMFYUI_PATH, ~/comfy/ComfyUI) and `pip install '.[cluster]'` in the clone; /proc, so Linux only.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))

from sora_core.batch import run, table
from sora_core.batch.host import PACK, Host, Server, find_hosts
from sora_core.batch.store import DONE, Store
from tests.host.hosts import environment

WORKFLOW = {
    "1": {"class_type": "EmptyImage", "inputs": {"width": 16, "height": 16, "batch_size": 1, "color": 0}},
    "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0], "filename_prefix": "job"}},
}
SETTINGS = {"EmptyImage.color": "{color}"}


def colour(row: int) -> int:
    """A colour of its own for each of 16 million rows."""
    return row * 7919 % (1 << 24)


def write_jobs(folder: Path, count: int) -> tuple[Path, Path]:
    """The workflow and a table for it."""
    (folder / "workflow.json").write_text(json.dumps(WORKFLOW))
    (folder / "rows.csv").write_text("color\n" + "".join(f"{colour(row)}\n" for row in range(1, count + 1)))
    return folder / "workflow.json", folder / "rows.csv"


def right(out: Path, count: int) -> int:
    """How many rows have exactly one result, of their own colour."""
    good = 0
    for row in range(1, count + 1):
        with Image.open(out / f"{row:05d}.png") as image:
            r, g, b = image.convert("RGB").getpixel((0, 0))
        good += (r << 16 | g << 8 | b) == colour(row)
    pictures = list(out.glob("[!.]*.png"))  # a kill leaves hidden parts of files
    assert len(pictures) == count, f"{len(pictures)} pictures for {count} rows"
    return good


def on_one_host(host: Host, folder: Path, count: int, early: int) -> dict:
    """`count` jobs; memory of the host in bytes after `early` of them and at the end."""
    _, rows = write_jobs(folder, count)
    jobs = table.jobs(table.read(rows), WORKFLOW, SETTINGS, {}, "{row:05d}")
    store, memory, told, start = Store(str(folder / "out")), {}, [], time.monotonic()
    with Server(host, environment(host)) as server:

        def tell(record) -> None:
            told.append(record)
            if len(told) in (early, count):
                memory[len(told)] = resident(server.process.pid)

        run.on_host(run.Worker(server, store, WORKFLOW), run.remaining(jobs, store), 4, tell)
        executed = len(server.get("/history"))
        saved = len(list((server.folder / "output").glob("job_*.png")))
    return {
        "jobs": count,
        "right": right(folder / "out", count),
        "executed": executed,
        "saved": saved,
        "ids": len({record.prompt_id for record in told}),
        "early_mb": memory[early] / 1e6,
        "late_mb": memory[count] / 1e6,
        "growth": memory[count] / memory[early] - 1,
        "seconds": time.monotonic() - start,
    }


def on_cluster(host: Host, folder: Path, count: int, kill: Callable[[subprocess.Popen], None]) -> dict:
    """`count` jobs on two actors; `kill` is called when half of them are done, and the program started again if it
    ended by that."""
    workflow, rows = write_jobs(folder, count)
    out, start = folder / "out", time.monotonic()
    line = [sys.executable, "-m", "sora_core", "batch", str(workflow), "--table", str(rows), "--out", str(out)]
    line += [text for key, value in SETTINGS.items() for text in ("--set", f"{key}={value}")]
    line += ["--ray", "local", "--actors", "2"]
    environ = os.environ | {"COMFYUI_PATH": str(host.path), "COMFYUI_PYTHON": str(environment(host))}
    log = (folder / "log.txt").open("wb")
    process = subprocess.Popen(line, cwd=PACK, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
    try:
        store = Store(str(out))
        while len(before := finished(store)) < count // 2:
            assert process.poll() is None, (folder / "log.txt").read_text()
            time.sleep(0.1)
        kill(process)
        code = process.wait(1200)
        if code:
            assert code == -signal.SIGKILL, (folder / "log.txt").read_text()
            process = subprocess.Popen(line, cwd=PACK, env=environ, stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            code = process.wait(1200)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait(60)
        log.close()
    after = finished(store)
    again = [row for row, prompt_id in before.items() if after.get(row) != prompt_id]
    return {
        "jobs": count,
        "exit": code,
        "right": right(out, count),
        "done": len(after),
        "ids": len(set(after.values())),
        "before_kill": len(before),
        "done_again": len(again),
        "hosts": len({record.host for record in store.records().values()}),
        "seconds": time.monotonic() - start,
    }


def finished(store: Store) -> dict[int, str]:
    """Row -> id of its job, of all that are done."""
    return {row: record.prompt_id for row, record in store.records().items() if record.state == DONE}


def kill_actor(driver: subprocess.Popen) -> None:
    actors = [pid for pid in descendants(driver.pid) if command_line(pid).startswith("ray::Actor")]
    assert len(actors) == 2, f"{len(actors)} actors where two were expected"
    os.kill(actors[0], signal.SIGKILL)


def kill_driver(driver: subprocess.Popen) -> None:
    driver.kill()


def descendants(pid: int) -> list[int]:
    parents = {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except OSError:  # it has just ended
            continue
    found, grown = {pid}, 0
    while len(found) > grown:
        grown = len(found)
        found |= {child for child, parent in parents.items() if parent in found}
    return sorted(found - {pid})


def command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
    except OSError:
        return ""


def resident(pid: int) -> int:
    """Bytes of memory that a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--only", choices=("host", "actor", "driver"))
    asked.add_argument("--jobs", type=int, default=500)
    asked.add_argument("--cluster-jobs", type=int, default=200)
    asked = asked.parse_args()
    hosts = find_hosts()
    if not hosts:
        sys.exit("No ComfyUI found: set COMFYUI_PATH.")
    results = {}
    with tempfile.TemporaryDirectory() as folder:
        folders = {name: Path(folder) / name for name in ("host", "actor", "driver")}
        for name, place in folders.items():
            place.mkdir()
            if asked.only not in (None, name):
                continue
            if name == "host":
                results[name] = on_one_host(hosts[0], place, asked.jobs, min(50, asked.jobs))
            else:
                kill = kill_actor if name == "actor" else kill_driver
                results[name] = on_cluster(hosts[0], place, asked.cluster_jobs, kill)
            print(name, json.dumps(results[name]), flush=True)


if __name__ == "__main__":
    main()
