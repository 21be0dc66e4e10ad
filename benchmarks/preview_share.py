"""What the live preview of Sora Sampler costs, as a share of the sampling time. Bar: 2 %.

    python benchmarks/preview_share.py [--size WIDTHxHEIGHT] [--frames 17] [--steps 20] [--rounds 5]

Runs the node's own sampling inside the first ComfyUI found (in its environment, on the CPU, one thread), with the
bundled model and guidance, and takes the time that the preview takes on both threads: the frames at every step, the
progress message, the playing between the steps, and each JPEG as the host encodes it. Times are of the processor,
medians over rounds.
"""

from __future__ import annotations

import argparse
import io
import json
import statistics
import time

from in_host import inside, run_inside


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="96x96")
    parser.add_argument("--frames", type=int, default=17)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    run_inside(parser, report, __file__)


def report(asked) -> None:
    """In the host's environment: runs, prints one line of JSON."""
    host, sampling, checkpoint, grids = inside(asked.inside)
    import comfy.utils
    import server
    import torch
    from comfy_execution.utils import CurrentNodeContext
    from PIL import ImageOps

    torch.set_num_threads(1)
    model, clip, _ = host.load(checkpoint.load("bundled"))
    width, height = map(int, asked.size.split("x"))
    grid = grids.Grid(asked.frames, height, width, 8.0, host.size_of(model).geometry)
    latent = {"samples": torch.zeros(1, *grid.latent_shape), "sora_grid": host.grid_to_latent(grid)}
    positive, negative = (
        clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in ("a red ball bounces over the grass", "")
    )
    spent, pictures = [], []

    def encode(preview):  # what the host's server does with a preview
        kind, image, largest = preview
        ImageOps.contain(image, (largest, largest)).save(io.BytesIO(), format=kind, quality=95, compress_level=1)
        pictures.append(kind)

    class Desk:
        """Takes what goes to the page of a client that knows no newer kind of message."""

        client_id, sockets_metadata = None, {}

        def send_sync(self, event, preview, client):
            encode(preview)

        def send_progress_text(self, text, node, client):
            pass

    class Timed(sampling.Live):
        def __call__(self, *step):
            start = time.thread_time()
            super().__call__(*step)
            spent.append(time.thread_time() - start)

        def _play(self):
            start = time.thread_time()
            super()._play()
            spent.append(time.thread_time() - start)

    server.PromptServer.instance, sampling.Live = Desk(), Timed
    comfy.utils.set_progress_bar_global_hook(lambda done, total, preview, **_: encode(preview))
    shares, steps, previews, counts = [], [], [], []
    for turn in range(asked.rounds + 1):
        spent.clear()
        pictures.clear()
        start = time.process_time()
        canvas = host.canvas_of(latent, grid.geometry)
        with CurrentNodeContext("benchmark", "1"):
            host.fill(model, positive, negative, canvas, seed=turn, steps=asked.steps, solver="ab2", cfg=4.0)
        whole = time.process_time() - start
        if turn:  # the first warms up
            shares.append(sum(spent) / (whole - sum(spent)))
            steps.append(whole / asked.steps)
            previews.append(sum(spent) / asked.steps)
            counts.append(len(pictures))
    share = statistics.median(shares)
    print(
        json.dumps(
            {
                "size": asked.size,
                "frames": asked.frames,
                "step_ms": round(1000 * statistics.median(steps), 1),
                "preview_ms": round(1000 * statistics.median(previews), 2),
                "pictures": statistics.median(counts),
                "share": round(share, 4),
                "bar": 0.02,
                "met": share < 0.02,
            }
        )
    )


if __name__ == "__main__":
    main()
