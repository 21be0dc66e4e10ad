"""What levels per patch, prompts over time and guidance add to a forward pass of the transformer.

    python benchmarks/conditions_overhead.py [--threads 1] [--rounds 30] [--config tiny]

The config's size at 96x96 and 17 frames with random weights, which do not change the time; all cases take turns in one
run, each is divided by the plain pass (one level for all patches, one prompt) of the same turn, and guidance by two of
them. Bar: under 1.10.

- kept frames: two latent frames are clean, the others noisy (extension).
- a level each: every patch has a level of its own, the most that there can be.
- timeline: each half of the time reads a prompt of its own; every moment its own prompt.
- anchor: one latent frame stands far away in time.
- guided: both passes of guidance, their combination over an interval of levels and the rescaling of the contrast.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
from dit_overhead import BUNDLED_GRID, TEXT_TOKENS, randomised
from timing import interleaved, milliseconds, ratio

sys.path.insert(0, str(Path(__file__).parents[1]))

from sora_core.dit import CONFIGS, DiT, DiTConfig
from sora_core.sampler import guide


def rivals(config: DiTConfig, grid: tuple[int, int, int] = BUNDLED_GRID) -> dict:
    """Name -> forward pass; "plain" is what the others are compared with."""
    network = randomised(DiT(config))
    moments = grid[0]
    x, text = torch.randn(1, config.channels, *grid), torch.randn(moments, TEXT_TOKENS, config.text_width)
    mask = torch.ones(moments, TEXT_TOKENS, dtype=torch.bool)
    one = torch.full((1, 1, *grid), 0.5)
    kept, each = one.clone(), torch.rand(1, 1, *grid).clamp(0.01, 0.99)
    kept[:, :, :2] = 0
    halves = (torch.arange(moments) * 2 // moments)[None]
    far = torch.arange(moments) + 50 * (torch.arange(moments) > 0)

    @torch.inference_mode()
    def passed(level, rows=1, told=None, times=None):
        return network(x, level, text[:rows], mask[:rows], 8.0, told, times)

    def predict(x, level, text):
        return network(x, level, text, mask[:1], 8.0)

    guided = guide(predict, text[:1], text[1:2], 4.0, (0.2, 0.9), 0.7)
    return {
        "plain": lambda: passed(one),
        "kept frames": lambda: passed(kept),
        "a level each": lambda: passed(each),
        "timeline of two": lambda: passed(one, 2, halves),
        "a prompt each": lambda: passed(one, moments, torch.arange(moments)[None]),
        "two, kept frames": lambda: passed(kept, 2, halves),
        "anchor": lambda: passed(kept, times=far),
        "guided": torch.inference_mode()(lambda: guided(x, one)),
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--threads", type=int, default=1)
    asked.add_argument("--rounds", type=int, default=30)
    asked.add_argument("--config", choices=CONFIGS, default="tiny")
    asked = asked.parse_args()
    torch.set_num_threads(asked.threads)
    seconds = interleaved(rivals(CONFIGS[asked.config]), asked.rounds)
    results = {name: ratio(seconds, name, "plain") / (2 if name == "guided" else 1) for name in seconds}
    for name, value in results.items():
        print(f"{name:18} {milliseconds(seconds[name]):8.2f} ms  x {value:5.3f}")
    print(json.dumps(results))


if __name__ == "__main__":
    main()
