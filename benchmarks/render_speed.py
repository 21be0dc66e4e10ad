"""How fast the worlds are drawn, described and scored: what training and evaluation wait for.

    python benchmarks/render_speed.py [--threads 1] [--clips 64] [--rounds 5]

Clips per second at 64x64 and 17 frames: drawing scenes at random, captions with their facts, rendering (in batches of
16), scoring one by one, and imagery with natural statistics for the codec. The machine's own figures, without a bar;
the last line compares rendering with the time of the bundled codec's size to encode the same clips (random weights).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import torch
from timing import interleaved, milliseconds, ratio

sys.path.insert(0, str(Path(__file__).parents[1]))

from sora_core.vae import VAE, VAEConfig
from sora_core.worlds.caption import caption_with_targets
from sora_core.worlds.natural import natural_batch
from sora_core.worlds.render import render
from sora_core.worlds.scene import sample_scene
from sora_core.worlds.score import score

FRAMES, SIDE, BATCH = 17, 64, 16


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--threads", type=int, default=1)
    asked.add_argument("--clips", type=int, default=64)
    asked.add_argument("--rounds", type=int, default=5)
    asked = asked.parse_args()
    torch.set_num_threads(asked.threads)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    scenes = [sample_scene(rng) for _ in range(asked.clips)]
    batches = [scenes[start : start + BATCH] for start in range(0, asked.clips, BATCH)]
    clips = torch.cat([render(batch, FRAMES, SIDE, SIDE) for batch in batches])
    vae = VAE(VAEConfig()).eval()

    @torch.inference_mode()
    def encode():
        for batch in clips.split(BATCH):
            vae.encode(batch)

    rivals = {
        "scenes": lambda: [sample_scene(rng) for _ in scenes],
        "captions": lambda: [caption_with_targets(scene, rng) for scene in scenes],
        "render": lambda: [render(batch, FRAMES, SIDE, SIDE) for batch in batches],
        "score": lambda: [score(clip) for clip in clips],
        "natural": lambda: [natural_batch(generator, len(batch), FRAMES, SIDE, SIDE) for batch in batches],
        "encode": encode,
    }
    seconds = interleaved(rivals, asked.rounds, warmup=1)
    results = {name: asked.clips / milliseconds(taken) * 1000 for name, taken in seconds.items()}
    for name, speed in results.items():
        print(f"{name:10} {speed:10.1f} clips/s")
    results["render_over_encode"] = ratio(seconds, "render", "encode")
    print(f"rendering takes {results['render_over_encode']:.2f} times as long as encoding")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
