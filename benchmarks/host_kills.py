"""A host is killed (SIGKILL) at random moments while it samples, decodes and saves; what is left is counted.

    python benchmarks/host_kills.py --count 100 --minutes 15

Every round starts the host again in the same folders, which has to work, queues the same job and kills the host, from
the start of sampling on, at a random share of the time that all of it took when nobody disturbed it. Then every file in
the output folder that has a final name must be whole: a film with all its frames, a folder of pictures with all of
them, a latent that loads. What was being written is hidden, and the next start that writes there removes it: at the end
nothing of it may be left.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from sora_core.batch.client import HostGone

FRAMES, WIDTH, HEIGHT = 33, 96, 64


def job(checkpoint: str, seed: int) -> tuple[dict, dict[str, str]]:
    """A workflow that samples, writes an mp4 and a folder of PNG files; and what each of its nodes does."""
    from tests.host.graph import Clip

    g = Clip(checkpoint, width=WIDTH, height=HEIGHT, frames=FRAMES)
    latent = g.sample(seed=seed, steps=4)
    settings = {"crf": -1, "pixel_format": "auto", "fps": 0.0, "save_to": "output", "latent": latent, "vae": g.vae}
    film = g("SoraDecodeToVideo", filename_prefix="film", format="mp4 H.264", **settings)
    folder = g("SoraDecodeToVideo", filename_prefix="frames", format="png sequence", **settings)
    return g.api, {latent[0]: "sampling", film.name: "film", folder.name: "pictures"}


def check(output: Path) -> tuple[int, list[str]]:
    """(number of whole results, sentences about files that have a final name and are not whole)."""
    import av
    from PIL import Image
    from safetensors import safe_open

    whole, broken = 0, []
    for path in sorted(output.rglob("*")):
        if any(part.startswith(".") for part in path.relative_to(output).parts) or path.parent.name.startswith(
            "frames"
        ):
            continue  # a part that was being written, or a picture, looked at with its folder
        try:
            if path.suffix == ".mp4":
                with av.open(str(path)) as file:
                    count = sum(1 for _ in file.decode(video=0))
                if count != FRAMES:
                    raise ValueError(f"{count} frames")
            elif path.is_dir() and path.name.startswith("frames"):
                pictures = sorted(path.iterdir())
                if len(pictures) != FRAMES:
                    raise ValueError(f"{len(pictures)} pictures")
                for picture in pictures:
                    with Image.open(picture) as image:
                        image.load()
            elif path.suffix == ".latent":
                with safe_open(path, framework="pt") as file:
                    file.get_tensor("latent_tensor")
            else:
                continue
            whole += 1
        except Exception as error:  # whatever it is, the file is not whole
            broken.append(f"{path.relative_to(output)}: {type(error).__name__}: {error}")
    return whole, broken


def hidden(output: Path) -> list[Path]:
    """What processes were writing, or left."""
    return list(output.rglob(".*"))


def kill_again_and_again(server, checkpoint: str, count: int, seconds: float, seed: int = 0, say=print) -> Counter:
    """Kill a running host `count` times, or as often as fits into `seconds`.

    Returns:
        how often it happened during what ("sampling", "film", "pictures", "between"), after how many kills
        there were hidden "parts", how many of those are "left" in the end, and "broken" files.
    """
    rng, tally, end = random.Random(seed), Counter(), time.monotonic() + seconds
    api, _ = job(checkpoint, seed=10**6)
    server.run(api)
    begin = time.monotonic()
    server.run(job(checkpoint, seed=10**6 + 1)[0])
    usual = time.monotonic() - begin
    for number in range(count):
        if time.monotonic() > end:
            break
        api, doing = job(checkpoint, seed=number)  # another seed: nothing is taken from the host's cache
        watch = Watch(server, next(node for node, name in doing.items() if name == "sampling"))
        server.queue(api)
        watch.begun.wait(600)
        time.sleep(rng.random() * usual)
        server.process.kill()
        server.process.wait()
        watch.join()
        what = doing.get(watch.node, "between")
        _, broken = check(server.folder / "output")
        tally.update([what, "kills"])
        tally["parts"] += bool(hidden(server.folder / "output"))
        tally["broken"] += len(broken)
        for sentence in broken:
            say(sentence)
        server.start()  # in the same folders
        if number % 10 == 9:
            say(dict(tally))
    server.run(job(checkpoint, seed=10**6 + 2)[0])  # and still all of it works
    whole, broken = check(server.folder / "output")
    tally["left"] = len(hidden(server.folder / "output"))
    say(f"at the end {whole} whole results, {len(broken)} broken; the undisturbed job took {usual:.2f} s")
    return tally


class Watch(threading.Thread):
    """Follows a host until it is gone; `node` is what it executes at the moment, `begun` whether that was `first`."""

    def __init__(self, server, first: str):
        super().__init__(daemon=True)
        self.server, self.first, self.node = server, first, None
        self.ready, self.begun = threading.Event(), threading.Event()
        self.start()
        self.ready.wait(60)

    def run(self) -> None:
        with suppress(HostGone):
            for kind, data in self.server.events():
                self.ready.set()  # from now on no message is missed
                if kind == "executing":
                    self.node = data.get("node")
                    if self.node == self.first:
                        self.begun.set()


def main() -> None:
    from sora_core import checkpoint
    from sora_core.batch.host import Server, find_hosts
    from tests.host.conftest import TINY, networks
    from tests.host.hosts import environment

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    host = find_hosts()[0]
    server = Server(host, environment(host))
    models = server.folder / "models" / "checkpoints"
    models.mkdir(parents=True)
    checkpoint.save(models / TINY, networks())
    with server:
        tally = kill_again_and_again(
            server, TINY, asked.count, 60 * asked.minutes, asked.seed, partial(print, flush=True)
        )
    print(json.dumps({"host": host.version, "seed": asked.seed} | tally))


if __name__ == "__main__":
    main()
