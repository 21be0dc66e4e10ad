"""What Sora Sampler costs beside the host's KSampler: a step on the same model, canvas and solver. Bar: 1.05.

    python benchmarks/sampler_overhead.py [--model bundled|wan] [--steps 20] [--rounds 7]

Runs both nodes in turns inside the first ComfyUI found (in its environment, on the CPU, one thread): Euler, guidance, a
canvas of 17 frames whose first is kept. `wan` is a Wan 2.1 of random weights, width 384 with six blocks: a model of the
host that takes one noise level. Times are of the processor; the ratio is the median over turns.
"""

from __future__ import annotations

import argparse
import json

from in_host import inside, run_inside
from timing import interleaved, milliseconds, ratio


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("bundled", "wan"), default="bundled")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=7)
    run_inside(parser, report, __file__)


def report(asked) -> None:
    """In the host's environment: runs, prints one line of JSON."""
    host, _, checkpoint, grids = inside(asked.inside)
    import importlib

    import comfy.utils
    import torch

    nodes = importlib.import_module("nodes")  # the host's
    torch.set_num_threads(1)
    comfy.utils.PROGRESS_BAR_ENABLED = False
    with torch.inference_mode():
        if asked.model == "bundled":
            model, clip, _ = host.load(checkpoint.load("bundled"))
            prompts = ("a red ball bounces over the grass", "")
            positive, negative = (clip.encode_from_tokens_scheduled(clip.tokenize(text)) for text in prompts)
            size = 96
        else:
            model, size = wan(), 128
            positive, negative = ([[torch.randn(1, 32, 4096), {}]] for _ in range(2))
        grid = grids.Grid(17, size, size, 8.0, host.size_of(model).geometry)
        samples = torch.randn(1, *grid.latent_shape, generator=torch.Generator().manual_seed(0))
        level = torch.ones_like(samples[:, :1])
        level[:, :, 0] = 0
        latent = {"samples": samples, "noise_mask": level, "sora_grid": host.grid_to_latent(grid)}
        ours = importlib.import_module("sora_pack.nodes.sample").SoraSampler
        settings = {"seed": 1, "steps": asked.steps, "cfg": 4.0}
        window = {"cfg_from": 0.0, "cfg_to": 1.0, "cfg_rescale": 0.0}
        inputs = {"model": model, "positive": positive, "negative": negative}
        rivals = {
            "sora": lambda: ours.execute(**inputs, latent=latent, solver="euler", shift=0.0, **settings, **window),
            "host": lambda: nodes.KSampler().sample(
                **inputs, latent_image=latent, sampler_name="euler", scheduler="simple", **settings
            ),
        }
        seconds = interleaved(rivals, asked.rounds, warmup=1)
    found = ratio(seconds, "sora", "host")
    steps = {f"{name}_step_ms": round(milliseconds(times) / asked.steps, 2) for name, times in seconds.items()}
    tokens = {"model": asked.model, "tokens": grid.tokens, "steps": asked.steps}
    print(json.dumps(tokens | steps | {"ratio": round(found, 3), "bar": 1.05, "met": found <= 1.05}))


def wan():
    """A MODEL with random weights, loaded as the host loads one."""
    import comfy.ldm.wan.model
    import comfy.ops
    import comfy.sd
    import torch

    network = comfy.ldm.wan.model.WanModel(
        "t2v",
        in_dim=16,
        out_dim=16,
        dim=384,
        ffn_dim=1536,
        num_heads=3,
        num_layers=6,
        operations=comfy.ops.disable_weight_init,
        dtype=torch.float32,
        device="cpu",
    )
    state = {name: torch.randn(value.shape) * 0.02 for name, value in network.state_dict().items()}
    return comfy.sd.load_diffusion_model_state_dict(state)


if __name__ == "__main__":
    main()
