"""Peak memory of filling canvases: long videos against short ones, operations against text to video.

    python benchmarks/canvas_memory.py [--checkpoint bundled|FILE] [--size 96x96] [--only long|operations] [--repeats 3]

- long: a minute at 8 and at 24 frames a second, made window by window and decoded as it comes, against ten seconds of
  the same. Bar: at most 1.2 times its peak. The same beyond what loading the program and the weights takes is printed
  too; that is the stricter figure.
- operations: every operation on a canvas, with its input encoded from pixels, against text to video of the resulting
  grid. Bar: at most one clip (float32 pixels) above it. At 256x256 by default, so that a clip is more than noise.

Every job runs in a process of its own, on one thread, and is measured by the peak of its resident memory (getrusage,
ru_maxrss); the median of the repeats counts. For operations it is counted from where loading ends, which differs by up
to 6 MiB from run to run, and glibc is told to give large blocks back (MALLOC_MMAP_THRESHOLD_): by default it learns to
keep them, which at 256x256 adds 20 to 65 MiB by chance and would hide what an operation needs. The number of steps of
the solver (--steps) does not change the peak; one suffices.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
from pathlib import Path

from vae_memory import GIVE_BACK

sys.path.insert(0, str(Path(__file__).parents[1]))

LONG = {f"{seconds} s at {fps} fps": (seconds, fps) for fps in (8, 24) for seconds in (10, 60)}
FRAMES = 17  # of the clips that operations make
OPERATIONS = ("text to video", "animate", "extend forward", "extend backward", "loop", "connect", "morph", "edit")
OPERATIONS += ("reframe", "refine", "cyclic loop")


def _given(pipeline, width: int, height: int, frames: int):
    """A clip of noise, encoded and kept."""
    import torch

    from sora_core import canvas as canvases

    grid = pipeline.grid(width, height, frames)
    return canvases.keep(pipeline.encode(torch.rand(1, 3, frames, height, width) * 2 - 1), grid)


def _operations(pipeline, width: int, height: int) -> dict:
    """Name -> how its canvas is made; all have five latent frames of width x height in the end, a loop has four."""
    import torch

    from sora_core import canvas as canvases

    def given(*size):
        return _given(pipeline, *size)

    return {
        "text to video": lambda: canvases.empty(pipeline.grid(width, height, FRAMES)),
        "animate": lambda: pipeline.image_canvas(torch.rand(3, height, width), pipeline.grid(width, height, FRAMES)),
        "extend forward": lambda: canvases.extend(given(width, height, 9), forward=2),
        "extend backward": lambda: canvases.extend(given(width, height, 9), backward=2),
        "loop": lambda: canvases.loop(given(width, height, 9), 1, 1),
        "connect": lambda: canvases.connect(given(width, height, 5), given(width, height, 5), 1),
        "morph": lambda: canvases.morph(given(width, height, FRAMES), given(width, height, FRAMES)),
        "edit": lambda: canvases.edit(given(width, height, FRAMES), 0.5),
        "reframe": lambda: canvases.reframe(given(width // 2, height, FRAMES), width, height),
        "refine": lambda: canvases.refine(given(width // 2, height // 2, FRAMES), width, height),
        "cyclic loop": lambda: canvases.empty(pipeline.grid(width, height, FRAMES - 1, cyclic=True)),
    }


def _peak() -> int:
    """Of the resident memory of this process up to now, bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(job: str, checkpoint: str, size: tuple[int, int], steps: int) -> tuple[int, int]:
    """Peak resident memory in bytes of this process after one job, and how much of it came after loading."""
    import torch

    from sora_core import canvas as canvases
    from sora_core.pipeline import Pipeline

    torch.set_num_threads(1)
    pipeline = Pipeline.load(checkpoint, "cpu")
    loaded = _peak()
    width, height = size
    if job != "load":
        if job in LONG:
            seconds, fps = LONG[job]
            canvas = canvases.empty(pipeline.grid(width, height, fps=fps, seconds=seconds))
        else:
            canvas = _operations(pipeline, width, height)[job]()
        grid = canvas.grid
        latents = pipeline.stream(canvas, "a red ball on the grass", steps=steps)
        frames = sum(chunk.shape[2] for chunk in pipeline.frames(latents, grid))
        if frames != grid.frames:
            raise SystemExit(f"{job}: {frames} frames instead of {grid.frames}")
    return _peak(), _peak() - loaded


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--checkpoint", default="bundled")
    asked.add_argument("--size")
    asked.add_argument("--steps", type=int, default=1)
    asked.add_argument("--repeats", type=int, default=3)
    asked.add_argument("--only", choices=("long", "operations"))
    asked.add_argument("--job", help=argparse.SUPPRESS)
    asked = asked.parse_args()
    if asked.job:
        print(*measure(asked.job, asked.checkpoint, tuple(map(int, asked.size.split("x"))), asked.steps))
        return

    def peak(job: str, size: str, after_loading: bool = False) -> int:
        command = [sys.executable, __file__, "--job", job, "--checkpoint", asked.checkpoint, "--size", size]
        kept = GIVE_BACK if after_loading else {}
        seen = []
        for _ in range(asked.repeats):
            command_line = [*command, "--steps", str(asked.steps)]
            done = subprocess.run(command_line, capture_output=True, text=True, env=os.environ | kept)
            if done.returncode:
                raise SystemExit(done.stderr)
            seen.append(int(done.stdout.split()[after_loading]))
        bytes_ = int(statistics.median(seen))
        print(f"{job:16} {size:8} {bytes_ / 2**20:8.1f} MiB", flush=True)
        return bytes_

    results: dict[str, float] = {}
    if asked.only in (None, "long"):
        size = asked.size or "96x96"
        load = peak("load", size)
        for fps in (8, 24):
            short, long = (peak(f"{seconds} s at {fps} fps", size) for seconds in (10, 60))
            results[f"minute over ten seconds at {fps} fps"] = long / short
            results[f"the same beyond loading at {fps} fps"] = (long - load) / (short - load)
    if asked.only in (None, "operations"):
        size = asked.size or "256x256"
        width, height = map(int, size.split("x"))
        clip = FRAMES * width * height * 3 * 4
        plain = peak("text to video", size, after_loading=True)
        for job in OPERATIONS[1:]:
            above = peak(job, size, after_loading=True) - plain
            results[f"{job}, clips above text to video"] = above / clip
    for name, value in results.items():
        print(f"{name:50} {value:6.2f}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
