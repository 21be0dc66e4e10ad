"""What a checkpoint or a named size of the transformer consists of: parameters, FLOPs, configs, model card."""

from __future__ import annotations

import math
import os
from dataclasses import asdict

import torch
from torch.utils.flop_counter import FlopCounterMode

from .checkpoint import config_classes, config_of, read_header, resolve

TEXT_TOKENS = 64  # of the prompt in a counted pass


def sizes() -> dict:
    """Name -> config of the transformer's named sizes."""
    from .dit import CONFIGS

    return CONFIGS


def describe_checkpoint(name: str | os.PathLike) -> dict[str, object]:
    """Files, networks, parameters, storage, FLOPs, configs and card, read from the headers alone."""
    table: dict[str, object] = {}
    for header in map(read_header, resolve(name)):
        table[header.path.name] = f"{header.path.stat().st_size / 1e6:.1f} MB, {'+'.join(header.networks)}"
        for network in header.networks:
            shapes = {k: s for k, s in header.shapes.items() if k.startswith(network + ".")}
            config = config_of(header, network)
            table[f"{network} parameters"] = sum(map(math.prod, shapes.values()))
            table[f"{network} storage"] = "+".join(sorted({header.dtypes[k] for k in shapes}))
            table[f"{network} config"] = {k: _short(v) for k, v in asdict(config).items()}
            if network == "dit":
                table |= transformer_flops(config)
        table |= {f"card {key}": value for key, value in header.card.items()}
    return table


def _short(value):
    """A tokenizer's merges fill pages: their number will do."""
    return f"{len(value)} of them" if isinstance(value, tuple | list) and len(value) > 8 else value


def describe_size(name: str) -> dict[str, object]:
    """The same of a named size of the transformer, which is built without memory."""
    config = sizes()[name]
    with torch.device("meta"):
        count = sum(p.numel() for p in config_classes("dit")[1](config).parameters())
    return {"dit": name, "dit parameters": count, "dit config": asdict(config)} | transformer_flops(config)


def transformer_flops(config) -> dict[str, object]:
    """Floating point operations of one forward pass over a latent of 17 frames of 64 x 64 pixels.

    Counted by torch on tensors without memory: a multiplication and an addition are two.
    """
    pt, py, px = config.patch
    t, h, w = (math.ceil(n / p) * p for n, p in zip((5, 8, 8), (pt, py, px), strict=True))
    with torch.device("meta"):
        dit = config_classes("dit")[1](config)
        told = torch.empty(1, TEXT_TOKENS, config.text_width)
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            dit(torch.empty(1, config.channels, t, h, w), torch.empty(1), told)
    tokens = (t // pt) * (h // py) * (w // px)
    return {"dit flops": counter.get_total_flops(), "dit flops for": f"{tokens} patches and {TEXT_TOKENS} text tokens"}
