"""Peak memory of decoding a film into a file, as a stream, and of the host's nodes that hold it whole.

    python benchmarks/film_memory.py [--size 1920x1080] [--frames 240,1440] [--whole 9,17] [--host PATH]

Every figure is of a process of its own: the growth of its peak resident memory (getrusage, ru_maxrss) over that of the
loaded model. "streamed" is what Sora Decode To Video does: latent frames go one by one through the bundled decoder into
an mp4 (H.264). Its latent frames are random and made one by one, so the latent is not in the figures; the last column
says how large it is, which a host that holds it adds. "VAEDecode" and "VAEDecodeTiled" are the host's own nodes with
the same VAE (--host: the folder of a ComfyUI, run by the Python that runs this).

Bars: streamed stays below 2 GB, and the longest film at most 5 % above the shortest. Before that, frames of a clip that
can be decoded whole are compared: whole and stream must be equal bit for bit.
"""

from __future__ import annotations

import argparse
import json
import math
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
BAR_BYTES, BAR_GROWTH = 2_000_000_000, 5.0


def peak() -> int:
    """Bytes of resident memory that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def random_latents(shape: tuple[int, ...]):
    """Latent frames (1, C, 1, h, w), one at a time."""
    import torch

    channels, count, height, width = shape
    random = torch.Generator().manual_seed(0)
    for _ in range(count):
        yield torch.randn(1, channels, 1, height, width, generator=random)


def streamed(grid, path: Path, report) -> int:
    """Decode into a file as the node does; how many frames it has."""
    import torch

    from sora_core.codec import Codec
    from sora_core.video import VideoWriter

    codec = Codec.load("bundled", "cpu")
    report(peak())
    done, start = 0, time.time()
    tile = codec.tile(grid.height, grid.width)
    with torch.inference_mode(), VideoWriter(path, grid.width, grid.height, grid.fps) as writer:
        latents = random_latents(grid.latent_shape)
        for part in codec.vae.decode_stream(latents, grid.frames, grid.height, grid.width, tile=tile):
            writer.write(part)
            done += part.shape[2]
            if done % 40 < 4:
                print(f"{done} frames, {time.time() - start:.0f} s, {peak() / 1e6:.0f} MB", file=sys.stderr, flush=True)
    return writer.frames


def whole(grid, node: str, host: str, report) -> int:
    """Decode by a node of the host; how many frames it gives."""
    import importlib.util

    sys.path.remove(str(ROOT))  # its folder `nodes` has the name of a module of the host
    sys.path.insert(0, host)
    sys.argv = [sys.argv[0], "--cpu"]
    import comfy.options

    comfy.options.enable_args_parsing()  # so that the host sees --cpu
    import torch

    import nodes

    spec = importlib.util.spec_from_file_location("sora", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)])
    sys.modules["sora"] = pack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(pack)
    from sora.nodes import host as ours
    from sora.sora_core.checkpoint import load

    with torch.inference_mode():
        vae = ours.load(load("bundled"))[2]
        latent = {"samples": torch.cat(list(random_latents(grid.latent_shape)), dim=2)}
        report(peak())
        decode = getattr(nodes, node)()
        settings = {} if node == "VAEDecode" else {"tile_size": 512, "overlap": 64}
        return len(decode.decode(vae, latent, **settings)[0])


def job(asked) -> None:
    """One measurement, in this process: prints {"loaded", "peak", "frames", "seconds"}."""
    from sora_core.grid import Grid

    if asked.job == "check":
        check((320, 184))
        return

    width, height = map(int, asked.size.split("x"))
    grid, told, start = Grid(int(asked.frames), height, width, 24.0), [], time.time()
    with tempfile.TemporaryDirectory() as folder:
        if asked.job == "streamed":
            frames = streamed(grid, Path(folder) / "film.mp4", told.append)
        else:
            frames = whole(grid, asked.job, asked.host, told.append)
    if frames != grid.frames:
        raise SystemExit(f"{frames} frames instead of {grid.frames}")
    print(json.dumps({"loaded": told[0], "peak": peak(), "frames": frames, "seconds": time.time() - start}))


def check(size: tuple[int, int], frames: int = 13) -> None:
    """The stream equals the whole decode bit for bit, in tiles as well."""
    import torch

    from sora_core.codec import Codec
    from sora_core.grid import Grid

    codec = Codec.load("bundled", "cpu")
    grid = Grid(frames, size[1], size[0], 24.0)
    latents = list(random_latents(grid.latent_shape))
    with torch.inference_mode():
        together = codec.vae.decode(torch.cat(latents, dim=2), grid.frames, grid.height, grid.width)
        pieces = torch.cat(list(codec.vae.decode_stream(latents, grid.frames, grid.height, grid.width, tile=16)), dim=2)
    same = torch.equal(together, pieces)
    verdict = "equals" if same else "DIFFERS FROM"
    print(f"{frames} frames of {size[0]}x{size[1]}: the stream in tiles {verdict} the whole decode")
    if not same:
        raise SystemExit(1)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--size", default="1920x1080")
    asked.add_argument("--frames", default="240,1440")
    asked.add_argument("--whole", default="9,17", help="frames for the host's own nodes")
    asked.add_argument("--host", help="folder of a ComfyUI; without one its nodes are left out")
    asked.add_argument("--job", help=argparse.SUPPRESS)
    asked = asked.parse_args()
    if asked.job:
        job(asked)
        return
    # in a process of its own as well: a child's figure starts from what its parent holds
    subprocess.run([sys.executable, __file__, "--job", "check"], check=True)
    rows: dict[tuple[str, int], dict | None] = {}
    jobs = [("streamed", int(n)) for n in asked.frames.split(",")]
    if asked.host:
        jobs += [(node, int(n)) for n in asked.whole.split(",") for node in ("VAEDecode", "VAEDecodeTiled")]
    print(f"| {asked.size} | frames | above the model, MB | seconds | latent, MB |\n|---|---|---|---|---|")
    for name, frames in jobs:
        command = [sys.executable, __file__, "--job", name, "--size", asked.size, "--frames", str(frames)]
        command += ["--host", asked.host] if asked.host else []
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
        rows[name, frames] = row = json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else None
        width, height = map(int, asked.size.split("x"))
        latent = 64 * (1 + math.ceil((frames - 1) / 4)) * math.ceil(height / 8) * math.ceil(width / 8) / 1e6
        figures = f"{(row['peak'] - row['loaded']) / 1e6:.0f} | {row['seconds']:.0f}" if row else "died | -"
        print(f"| {name} | {frames} | {figures} | {latent:.0f} |", flush=True)
    short, long = (rows[job] for job in (jobs[0], jobs[len(asked.frames.split(",")) - 1]))
    if short and long:
        above = [row["peak"] - row["loaded"] for row in (short, long)]
        growth = 100 * (above[1] / above[0] - 1)
        met = above[1] <= BAR_BYTES and growth <= BAR_GROWTH
        print(f"above the model {above[1] / 1e6:.0f} MB, growth {growth:+.1f} %: bars {'met' if met else 'MISSED'}")


if __name__ == "__main__":
    main()
