"""Peak memory of decoding a clip and one ten times as long, as a stream.

    python benchmarks/vae_memory.py [--checkpoint bundled|random|FILE] [--size 256x256] [--frames 17] [--times 10]

Every length is decoded in a process of its own: random latents arrive one by one, frames leave as they are ready and
are dropped, as when they go into a file. The figure is the growth of the process's peak resident memory
(getrusage, ru_maxrss) from the short clip to the long one, against the short one's. Bar: under 5 %. The same growth
against what decoding holds beyond the loaded program and weights is printed too; that is the stricter figure.
glibc is told to give large blocks back (MALLOC_MMAP_THRESHOLD_): by default it learns to keep them, which adds 15 to 30
MiB by chance to the longer clip. Another process decodes the long clip whole, to show what streaming saves; two more
encode both clips as streams.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

GIVE_BACK = {"MALLOC_MMAP_THRESHOLD_": str(128 * 1024)}  # environment in which glibc gives large blocks back


def measure(job: str, checkpoint: str, size: tuple[int, int], frames: int) -> int:
    """Peak resident memory in bytes of this process after one job."""
    import torch

    from sora_core.checkpoint import load
    from sora_core.grid import Grid
    from sora_core.vae import VAE, VAEConfig

    torch.set_num_threads(1)
    vae = VAE(VAEConfig()) if checkpoint == "random" else load(checkpoint, only=("vae",)).vae
    vae.eval()
    width, height = size
    channels, length, h, w = Grid(frames, height, width, 24.0).latent_shape
    with torch.inference_mode():
        if job == "load":
            count = frames
        elif job == "stream":
            latents = (torch.randn(1, channels, 1, h, w) for _ in range(length))
            count = sum(chunk.shape[2] for chunk in vae.decode_stream(latents, frames, height, width))
        elif job == "whole":
            count = vae.decode(torch.randn(1, channels, length, h, w), frames, height, width).shape[2]
        else:
            chunks = (torch.rand(1, 3, 1, height, width) * 2 - 1 for _ in range(frames))
            count = sum(1 for _ in vae.encode_stream(chunks))
            frames = length
    if count != frames:
        raise SystemExit(f"{job}: {count} frames instead of {frames}")
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--checkpoint", default="bundled")
    asked.add_argument("--size", default="256x256")
    asked.add_argument("--frames", type=int, default=17)
    asked.add_argument("--times", type=int, default=10)
    asked.add_argument("--job", choices=("load", "stream", "whole", "encode"), help=argparse.SUPPRESS)
    asked = asked.parse_args()
    width, height = map(int, asked.size.split("x"))
    if asked.job:
        print(measure(asked.job, asked.checkpoint, (width, height), asked.frames))
        return

    def peak(job: str, frames: int) -> int:
        command = [sys.executable, __file__, "--job", job, "--checkpoint", asked.checkpoint, "--size", asked.size]
        command += ["--frames", str(frames)]
        done = subprocess.run(command, capture_output=True, text=True, env=os.environ | GIVE_BACK)
        if done.returncode:
            raise SystemExit(done.stderr)
        return int(done.stdout)

    longer = 1 + (asked.frames - 1) * asked.times
    jobs = {
        "load": ("load", 1),
        "short": ("stream", asked.frames),
        "long": ("stream", longer),
        "whole": ("whole", longer),
    }
    jobs["encode_short"], jobs["encode_long"] = ("encode", asked.frames), ("encode", longer)
    peaks = {}
    for name, (job, frames) in jobs.items():
        peaks[name] = peak(job, frames)
        print(f"{name:13} {frames:5} frames, {job:7} {peaks[name] / 2**20:8.1f} MiB")
    growth = {
        "growth_percent": 100 * (peaks["long"] / peaks["short"] - 1),
        "growth_of_work_percent": 100 * (peaks["long"] - peaks["short"]) / max(1, peaks["short"] - peaks["load"]),
        "encode_growth_percent": 100 * (peaks["encode_long"] / peaks["encode_short"] - 1),
    }
    print(f"{asked.times} times the frames, decoding: {growth['growth_percent']:+.1f} % (bar: under 5 %)")
    print(f"beyond what is loaded: {growth['growth_of_work_percent']:+.1f} %")
    print(f"encoding: {growth['encode_growth_percent']:+.1f} %")
    print(json.dumps(growth | peaks))


if __name__ == "__main__":
    main()
