"""A small bidirectional transformer over windows of a text, trained jointly with the diffusion transformer.

A text of any length is read in windows; the result is one summary vector followed by a vector per token of all windows.
What matters is which words stand close to each other ("a red ball that rises and a blue one that falls"), so places are
relative: with a learnt vector per place, which of two things moves how is learnt several times more slowly.
"""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..config import bounded
from ..layers import rope_table, rotate, sdpa
from .tokenizer import PAD, SUMMARY, Tokenizer

WINDOW = 64  # tokens that see each other, the summary token among them


@dataclass(frozen=True)
class TextConfig:
    merges: tuple[tuple[int, int], ...]  # of the tokenizer
    width: int = 192
    depth: int = 3
    heads: int = 4

    def __post_init__(self):
        object.__setattr__(self, "merges", tuple((int(a), int(b)) for a, b in self.merges))  # JSON gives lists
        bounded(self, 1, math.inf, "width", "depth", "heads")
        if self.width % self.heads:
            raise ValueError(f"width {self.width} must be a multiple of heads {self.heads}")
        if self.width // self.heads % 2:
            raise ValueError(f"width / heads = {self.width // self.heads} must be even, for rotary places")


class Layer(nn.Module):
    """Pre-norm self-attention and MLP."""

    def __init__(self, width: int, heads: int, attention, *, operations, device=None, dtype=None):
        super().__init__()
        weights = {"device": device, "dtype": dtype}
        self.heads, self.attention = heads, attention
        self.norm_attention = operations.LayerNorm(width, **weights)
        self.qkv = operations.Linear(width, 3 * width, **weights)
        self.out = operations.Linear(width, width, **weights)
        self.norm_mlp = operations.LayerNorm(width, **weights)
        self.up = operations.Linear(width, 4 * width, **weights)
        self.down = operations.Linear(4 * width, width, **weights)

    def forward(self, x: Tensor, mask: Tensor, rope: tuple[Tensor, Tensor]) -> Tensor:
        """x (W, L, width), mask (W, 1, 1, L), cosines and sines of the places (L, head width / 2)."""
        q, k, v = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.heads, -1)).unbind(2)
        q, k, v = (part.transpose(1, 2) for part in (rotate(q, *rope), rotate(k, *rope), v))
        y = self.attention(q, k, v, mask).transpose(1, 2).flatten(2)
        x = x + self.out(y)
        return x + self.down(F.gelu(self.up(self.norm_mlp(x)), approximate="tanh"))


class TextEncoder(nn.Module):
    """Text to (B, L, width). Layers come from `operations` (torch.nn or a host's), as `attention` (`layers.sdpa`)."""

    adamw_only = ("tokens",)

    def __init__(self, config: TextConfig, *, operations=nn, attention=sdpa, device=None, dtype=None):
        super().__init__()
        weights = {"device": device, "dtype": dtype}
        self.config = config
        self.tokenizer = Tokenizer(config.merges)
        self.tokens = operations.Embedding(self.tokenizer.size, config.width, **weights)
        self.layers = nn.ModuleList(
            Layer(config.width, config.heads, attention, operations=operations, **weights) for _ in range(config.depth)
        )
        self.norm = operations.LayerNorm(config.width, **weights)

    def initialize(self) -> "TextEncoder":
        """Start with unit gain in every product; the branches' outputs are small enough to add up to unit variance."""
        nn.init.normal_(self.tokens.weight, std=0.1)
        for layer in self.layers:
            for linear in (layer.qkv, layer.out, layer.up, layer.down):
                gain = (2 * len(self.layers)) ** -0.5 if linear in (layer.out, layer.down) else 1.0
                nn.init.normal_(linear.weight, std=gain * linear.in_features**-0.5)
                nn.init.zeros_(linear.bias)
        return self

    def windows(self, text: str) -> list[list[int]]:
        """Ids of a text in windows of at most `WINDOW`, each led by the summary token; the empty text has one."""
        ids = self.tokenizer.encode(text)
        step = WINDOW - 1
        return [[SUMMARY, *ids[start : start + step]] for start in range(0, max(len(ids), 1), step)]

    def forward(self, ids: Tensor) -> Tensor:
        """Windows of ids (W, L), L <= WINDOW, padded with PAD, to (W, L, width)."""
        mask = (ids != PAD)[:, None, None, :]
        x = self.tokens(ids)
        places = torch.arange(ids.shape[1], device=ids.device)[:, None]
        rope = rope_table(places, (self.config.width // self.config.heads,))
        for layer in self.layers:
            x = layer(x, mask, rope)
        return self.norm(x)

    def encode_windows(self, windows: list[list[int]]) -> Tensor:
        """One text's windows to (1, 1 + tokens, width): the mean of the summaries, then every token."""
        return self._joined(self._sorted(windows), [len(w) for w in windows])[None]

    def encode_texts(self, texts: list[str], multiple: int = 1) -> tuple[Tensor, Tensor]:
        """Texts to (B, L, width) and the mask (B, L) of what is text; L is padded to a multiple of `multiple`."""
        parts = [self.windows(text) for text in texts]
        encoded = self._sorted([window for part in parts for window in part])
        vectors, start = [], 0
        for part in parts:
            vectors.append(self._joined(encoded[start : start + len(part)], [len(w) for w in part]))
            start += len(part)
        longest = max(len(v) for v in vectors)
        longest += -longest % multiple
        text = torch.stack([F.pad(v, (0, 0, 0, longest - len(v))) for v in vectors])
        lengths = torch.tensor([len(v) for v in vectors], device=text.device)
        return text, torch.arange(longest, device=text.device) < lengths[:, None]

    def _sorted(self, windows: list[list[int]], rows: int = 64) -> list[Tensor]:
        """Every window encoded (L, width), in batches of like lengths, so that little of the work goes to padding."""
        order = sorted(range(len(windows)), key=lambda i: len(windows[i]))
        encoded: list[Tensor] = [None] * len(windows)
        for start in range(0, len(order), rows):
            batch = order[start : start + rows]
            for i, row in zip(batch, self.forward(self._padded([windows[i] for i in batch])), strict=True):
                encoded[i] = row
        return encoded

    def _padded(self, windows: list[list[int]]) -> Tensor:
        longest = max(map(len, windows))
        rows = [window + [PAD] * (longest - len(window)) for window in windows]
        return torch.tensor(rows, device=self.norm.weight.device)

    @staticmethod
    def _joined(encoded: list[Tensor], lengths: list[int]) -> Tensor:
        tokens = [row[1:length] for row, length in zip(encoded, lengths, strict=True)]
        return torch.cat([torch.stack([row[0] for row in encoded]).mean(0, keepdim=True), *tokens])
