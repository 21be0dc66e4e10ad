"""What the diffusion transformer costs beyond its matrix products, and how it compares with diffusers' Wan.

    python benchmarks/dit_overhead.py [--threads 1] [--rounds 30] [--only bundled|base|wan] [--profile]

- bundled: the forward pass of the bundled model at 96x96, 17 frames (720 tokens), at a level at which its first
  prediction guides it, divided by the time of the same pass's matrix products alone: every linear layer and both
  products of every attention, in the same shapes, taking turns in one run. Bar: 1.6. Also with two clips in one batch
  (both passes of guidance) and sixteen.
- base: the same for the config `base` at 2,000 tokens. Bar: 1.3.
- wan: `base` against diffusers' WanTransformer3DModel of equal width, depth, heads, MLP, text and tokens
  (`pip install diffusers`). Bar: faster, that is, a ratio below 1.

The products of attention are timed twice: as two batched products, and as torch's fused attention, which on many tokens
is faster than the two products although it computes the softmax too. The ratio is against the faster of the two.
Weights are random: they do not change the time. Ratios are medians over turns; the milliseconds are of this machine.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import torch
import torch.nn.functional as F
from timing import interleaved, milliseconds, ratio
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1]))

from sora_core.checkpoint import load
from sora_core.dit import CONFIGS, DiT, DiTConfig
from sora_core.layers import sdpa

TEXT_TOKENS = 24  # of a caption of some fifteen words
BUNDLED_GRID = (5, 12, 12)  # latent cells, and tokens as well: 96x96 pixels, 17 frames
BASE_GRID = (5, 40, 40)  # latent cells: 400 patches of 2 x 2 in each of 5 latent frames, 2,000 tokens


def randomised(network: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


class Recorded:
    """A transformer and one input; `forward` runs it, `products` only what it multiplies.

    Args:
        grid: (t, h, w) of the latent.
        batch: clips.
    """

    def __init__(self, config: DiTConfig, grid: tuple[int, int, int], batch: int):
        self.attentions: list[tuple[torch.Tensor, ...]] = []
        self.recording = False

        def attention(q, k, v, mask=None):
            if self.recording:
                self.attentions.append(tuple(torch.randn(x.shape).flatten(0, 1) for x in (q, k, v)))
            return sdpa(q, k, v, mask)

        self.network = randomised(DiT(config, attention=attention))
        self.inputs = (
            torch.randn(batch, config.channels, *grid),
            torch.full((batch, 1, *grid), 0.3),
            torch.randn(batch, TEXT_TOKENS, config.text_width),
            torch.ones(batch, TEXT_TOKENS, dtype=torch.bool),
        )
        self.linears: list[tuple[torch.Tensor, nn.Linear]] = []
        layers = [module for module in self.network.modules() if isinstance(module, nn.Linear)]
        hooks = [
            layer.register_forward_hook(
                lambda layer, given, _: self.linears.append((torch.randn(given[0].shape), layer))
            )
            for layer in layers
        ]
        self.recording = True
        self.forward()
        self.recording = False
        for hook in hooks:
            hook.remove()

    @torch.inference_mode()
    def forward(self) -> torch.Tensor:
        return self.network(*self.inputs)

    @torch.inference_mode()
    def products(self, fused: bool = False) -> None:
        for x, layer in self.linears:
            F.linear(x, layer.weight, layer.bias)
        for q, k, v in self.attentions:
            if fused:
                F.scaled_dot_product_attention(q[None], k[None], v[None])
            else:
                torch.bmm(torch.bmm(q, k.transpose(1, 2)), v)


def overhead(config: DiTConfig, grid, batch: int, rounds: int) -> dict[str, float]:
    """Milliseconds of a forward pass and of its products, and the ratio to the faster way of computing these."""
    subject = Recorded(config, grid, batch)
    rivals = {"forward": subject.forward, "products": subject.products, "fused": lambda: subject.products(fused=True)}
    seconds = interleaved(rivals, rounds, warmup=1)
    return {f"{name}_ms": milliseconds(seconds[name]) for name in rivals} | {
        "ratio": max(ratio(seconds, "forward", name) for name in ("products", "fused"))
    }


def against_wan(config: DiTConfig, grid, rounds: int) -> dict[str, float]:
    """The same input size through our transformer and diffusers' Wan of the same dimensions."""
    from diffusers import WanTransformer3DModel

    wan = randomised(
        WanTransformer3DModel(
            patch_size=config.patch,
            num_attention_heads=config.heads,
            attention_head_dim=config.head_width,
            in_channels=config.channels,
            out_channels=config.channels,
            text_dim=config.text_width,
            freq_dim=256,
            ffn_dim=config.mlp_ratio * config.width,
            num_layers=config.depth,
        )
    )
    ours = Recorded(config, grid, batch=1)
    x, _, text, _ = ours.inputs
    timestep = torch.tensor([500])

    @torch.inference_mode()
    def theirs():
        return wan(hidden_states=x, timestep=timestep, encoder_hidden_states=text, return_dict=False)

    seconds = interleaved({"ours": ours.forward, "wan": theirs}, rounds, warmup=1)
    return {
        "ours_ms": milliseconds(seconds["ours"]),
        "wan_ms": milliseconds(seconds["wan"]),
        "ratio": ratio(seconds, "ours", "wan"),
    }


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--threads", type=int, default=1)
    asked.add_argument("--rounds", type=int, default=30)
    asked.add_argument("--only", choices=("bundled", "base", "wan"))
    asked.add_argument("--profile", action="store_true", help="where the bundled model's forward pass spends its time")
    asked = asked.parse_args()
    torch.set_num_threads(asked.threads)
    bundled, base = load("bundled", only=("dit",)).dit.config, CONFIGS["base"]
    if asked.profile:
        subject = Recorded(bundled, BUNDLED_GRID, batch=1)
        with torch.profiler.profile() as profile:
            for _ in range(asked.rounds):
                subject.forward()
        print(profile.key_averages().table(sort_by="self_cpu_time_total", row_limit=25, max_name_column_width=40))
        return
    results = {}
    if asked.only in (None, "bundled"):
        for batch in (1, 2, 16):
            results[f"bundled, batch {batch}"] = overhead(bundled, BUNDLED_GRID, batch, asked.rounds)
    if asked.only in (None, "base"):
        results["base, 2000 tokens"] = overhead(base, BASE_GRID, 1, max(3, asked.rounds // 4))
    if asked.only in (None, "wan"):
        results["base against Wan, 2000 tokens"] = against_wan(base, BASE_GRID, max(3, asked.rounds // 4))
    for name, row in results.items():
        print(f"{name:32}" + "  ".join(f"{key} {value:9.2f}" for key, value in row.items()))
    print(json.dumps(results))


if __name__ == "__main__":
    main()
