"""Diffusion transformer over spacetime patches.

Sora report: "given input noisy patches (and conditioning information like text prompts), it's trained to predict the
original 'clean' patches". Every patch has a noise level of its own: 1 is noise, 0 is clean (design, section 5).
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from einops import rearrange
from torch import Tensor, nn

from ..errors import UserError
from ..flow import double
from ..layers import RMSNorm, rope_table, rotate, sdpa
from .config import DiTConfig
from .layers import LocalMix, gelu, modulate, row_of, sinusoids


@dataclass
class Segment:
    """Clips of one size, and what they are told. A pack is a list of these: attention stays within a clip."""

    x: Tensor  # (b, C, t, h, w) noisy latent
    level: Tensor  # (b,) or (b, 1, t, h, w), constant within a patch
    text: Tensor  # (b, L, text_width); token 0 summarises the text
    text_mask: Tensor | None = None  # (b, L), True where there is text
    fps: float = 8.0
    told: Tensor | None = None  # (b, t in patches): the row of `text`, of any number of rows, that each moment reads
    times: Tensor | None = None  # (t in patches,): where each moment stands, in patches; None is 0, 1, 2, ...


@dataclass
class _Layout:
    """A segment inside the flat sequence."""

    start: int
    clips: int
    grid: tuple[int, int, int]
    rope: tuple[Tensor, Tensor]
    text: slice  # rows of the flat text (texts * L, text_width)
    texts: int
    text_mask: Tensor | None  # (texts, 1, 1, L)
    runs: list[tuple[int, int]] | None  # (text, tokens) in the order of the tokens; None: every clip reads its own
    gaps: list[int]  # moments after which the next is not the next in time

    @property
    def tokens(self) -> int:
        return self.grid[0] * self.grid[1] * self.grid[2]

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + self.clips * self.tokens)

    def split(self, x: Tensor) -> Tensor:
        """The clips (b, n, ...) of this segment out of the flat sequence (N, ...)."""
        return x[self.rows].unflatten(0, (self.clips, -1))


def precondition(level: Tensor, std: Tensor | float = 1.0) -> tuple[Tensor, Tensor, Tensor]:
    """(scale_in, skip, out): with scale_in x as input and F as output, of unit variance both at every level,
    x0 = skip x + out F (Karras et al. 2022, table 1, for x = (1 - s) x0 + s e and data of deviation `std`). At level 0
    a patch passes unchanged; at 1 the network gives all."""
    signal = ((1 - level) * std) ** 2
    power = signal + level**2
    return power.rsqrt(), (1 - level) * std**2 / power, level * std / power.sqrt()


# ------------------------------------------------------------------ one block


class SelfAttention(nn.Module):
    def __init__(self, config: DiTConfig, attention, *, operations, device=None, dtype=None):
        super().__init__()
        weights = {"device": device, "dtype": dtype}
        self.heads, self.attention = config.heads, attention
        self.qkv = operations.Linear(config.width, 3 * config.width, bias=False, **weights)
        self.q_norm = RMSNorm(config.head_width, **weights)
        self.k_norm = RMSNorm(config.head_width, **weights)
        self.out = operations.Linear(config.width, config.width, **weights)

    def forward(self, x: Tensor, layouts: list[_Layout]) -> Tensor:
        """x (N, width); every clip attends to itself alone."""
        q, k, v = self.qkv(x).unflatten(-1, (3, self.heads, -1)).unbind(1)
        # Copied, for they are read many times: that pays. From here on nothing is held longer than it is needed.
        values = [layout.split(v).transpose(1, 2).contiguous() for layout in layouts]
        q, k, v = self.q_norm(q), self.k_norm(k), None
        queries = [rotate(layout.split(q), *layout.rope).transpose(1, 2) for layout in layouts]
        keys = [rotate(layout.split(k), *layout.rope).transpose(1, 2) for layout in layouts]
        q = k = None
        parts = [self.attention(*heads) for heads in zip(queries, keys, values, strict=True)]
        queries = keys = values = None
        parts = [rearrange(y, "b h n d -> (b n) (h d)") for y in parts]
        return self.out(parts[0] if len(parts) == 1 else torch.cat(parts))


class CrossAttention(nn.Module):
    """Patches read the text. Text tokens carry no order here, so repeating or permuting them changes nothing."""

    def __init__(self, config: DiTConfig, attention, *, operations, device=None, dtype=None):
        super().__init__()
        weights = {"device": device, "dtype": dtype}
        self.heads, self.attention = config.heads, attention
        self.q = operations.Linear(config.width, config.width, bias=False, **weights)
        self.kv = operations.Linear(config.text_width, 2 * config.width, bias=False, **weights)
        self.q_norm = RMSNorm(config.head_width, **weights)
        self.k_norm = RMSNorm(config.head_width, **weights)
        self.out = operations.Linear(config.width, config.width, **weights)

    def forward(self, x: Tensor, text: Tensor, layouts: list[_Layout]) -> Tensor:
        q = self.q_norm(self.q(x).unflatten(-1, (self.heads, -1)))
        k, v = self.kv(text).unflatten(-1, (2, self.heads, -1)).unbind(1)
        k = self.k_norm(k)
        parts = []
        for layout in layouts:
            qs = rearrange(q[layout.rows], "(b n) h d -> b h n d", b=layout.clips if layout.runs is None else 1)
            ks, vs = (rearrange(part[layout.text], "(b n) h d -> b h n d", b=layout.texts) for part in (k, v))
            y = self._read(qs, ks, vs, layout)
            parts.append(rearrange(y, "b h n d -> (b n) (h d)"))
        return self.out(parts[0] if len(parts) == 1 else torch.cat(parts))

    def _read(self, q: Tensor, k: Tensor, v: Tensor, layout: _Layout) -> Tensor:
        """Every clip reads its own text, or every run of tokens the text of its time."""
        if layout.runs is None:
            return self.attention(q, k, v, layout.text_mask)
        read = []
        for (text, _), part in zip(layout.runs, q.split([n for _, n in layout.runs], dim=2), strict=True):
            mask = None if layout.text_mask is None else layout.text_mask[text, None]
            read.append(self.attention(part, k[text, None], v[text, None], mask))
        return torch.cat(read, dim=2)


class Block(nn.Module):
    """Attention among patches, attention to the text, MLP. The first and last are modulated by the noise level
    (adaLN, one shared MLP with offsets per block, as PixArt-alpha)."""

    def __init__(self, config: DiTConfig, attention, *, operations, device=None, dtype=None):
        super().__init__()
        weights = {"device": device, "dtype": dtype}
        kwargs = {"operations": operations} | weights
        self.offset = nn.Parameter(torch.zeros(6, config.width, **weights))
        self.mix = LocalMix(config.width, **weights) if config.local_mix else None
        self.attention = SelfAttention(config, attention, **kwargs)
        self.norm_text = RMSNorm(config.width, **weights)
        self.cross = CrossAttention(config, attention, **kwargs)
        self.up = operations.Linear(config.width, config.mlp_ratio * config.width, **weights)
        self.down = operations.Linear(config.mlp_ratio * config.width, config.width, **weights)

    def forward(
        self, x: Tensor, modulation: Tensor, index: Tensor | None, text: Tensor, layouts: list[_Layout]
    ) -> Tensor:
        """x (G, n, width): the tokens in groups. modulation (6, G, n or 1, width): a row per token, or per group;
        with an index (n,), (6, 1, U, width): row `index[i]` is token i's."""
        shift, scale, gate, shift_mlp, scale_mlp, gate_mlp = self.offset.to(modulation)

        def row(which: int, offset: Tensor) -> Tensor:
            return row_of(modulation[which] + offset, index)

        size = x.shape
        y = modulate(x, row(0, shift), row(1, 1 + scale)).flatten(0, 1)
        if self.mix is not None:
            parts = [
                self.mix(y[item.rows].view(item.clips, *item.grid, -1), item.gaps).flatten(0, 3) for item in layouts
            ]
            y = parts[0] if len(parts) == 1 else torch.cat(parts)
        y = self.attention(y, layouts).view(size)
        x = torch.addcmul(x, row(2, gate), y)
        x = x + self.cross(self.norm_text(x).flatten(0, 1), text, layouts).view(size)
        y = self.down(gelu(self.up(modulate(x, row(3, shift_mlp), row(4, 1 + scale_mlp)))))
        return torch.addcmul(x, row(5, gate_mlp), y)


# ------------------------------------------------------------------ the model


class DiT(nn.Module):
    """Predicts clean patches. `operations` (torch.nn or a host's), `attention` (as `sdpa`), device and dtype are handed
    in, so that a host can offload, cast and override them."""

    def __init__(self, config: DiTConfig, *, operations=nn, attention=sdpa, device=None, dtype=None):
        super().__init__()
        weights = {"device": device, "dtype": dtype}
        self.config = config
        self.compute_dtype: torch.dtype | None = None  # of activations, where it differs from the weights'
        features = config.channels * config.patch[0] * config.patch[1] * config.patch[2]
        self.patch_in = operations.Linear(features, config.width, **weights)
        self.time_in = operations.Linear(256, config.width, **weights)
        self.time_out = operations.Linear(config.width, config.width, **weights)
        self.summary = operations.Linear(config.text_width, config.width, **weights)
        self.modulation = operations.Linear(config.width, 6 * config.width, **weights)
        self.blocks = nn.ModuleList(
            Block(config, attention, operations=operations, **weights) for _ in range(config.depth)
        )
        self.offset_out = nn.Parameter(torch.zeros(2, config.width, **weights))
        self.patch_out = operations.Linear(config.width, features, **weights)
        if config.exit:
            self.offset_exit = nn.Parameter(torch.zeros(2, config.width, **weights))
            self.patch_exit = operations.Linear(config.width, features, **weights)

    @property
    def adamw_only(self) -> tuple[str, ...]:
        """First and last layers, conditioning, and rows of vectors that look like a matrix (see training.optim)."""
        rows = (f"blocks.{i}.{name}" for i in range(self.config.depth) for name in ("offset", "mix"))
        ends = ("patch_in", "patch_out", "patch_exit", "offset_out", "offset_exit")
        return (*ends, "time", "summary", "modulation", *rows)

    def initialize(self) -> "DiT":
        """Start with blocks as the identity: gates at zero (adaLN-Zero, Peebles and Xie 2023), output at zero."""
        for name, p in self.named_parameters():
            if p.ndim == 2 and name.endswith("weight"):
                nn.init.normal_(p, std=min(0.02 * (1024 / p.shape[1]) ** 0.5, 0.06))
            elif name.endswith("bias"):
                nn.init.zeros_(p)
        ends = [self.patch_out, self.patch_exit] if self.config.exit else [self.patch_out]
        for layer in [self.modulation, *ends, *(block.cross.out for block in self.blocks)]:
            nn.init.zeros_(layer.weight)
        return self

    def forward(self, x, level, text, text_mask=None, fps: float = 8.0, told=None, times=None) -> Tensor:
        """Latent x (B, C, t, h, w), level (B,) or (B, 1, t, h, w), text (B, L, D), its mask (B, L) -> clean latent.

        With `told` (B, t in patches) every moment reads the row of text (P, L, D) that it names, and `times` (t in
        patches,) places the moments in time where they are not 0, 1, 2, ...
        """
        return self.forward_pack([Segment(x, level, text, text_mask, fps, told, times)])[0]

    def forward_pack(self, segments: list[Segment]) -> list[Tensor]:
        """Clean latents of every segment of a pack. Clips of any sizes share one sequence; none sees another.

        With `exit_guidance` the model is guided by its own first prediction, which errs as the last one does, only
        more: D = D_last + weight (D_last - D_first). Autoguidance (Karras et al., "Guiding a diffusion model with a bad
        version of itself", 2024) whose bad version costs nothing ("Guiding a diffusion transformer with the internal
        dynamics of itself", 2025).
        """
        weight, low, high = self.config.exit_guidance
        last, first = self.predictions(segments, first=weight > 0)
        for i, segment in enumerate(segments if first else ()):
            level = segment.level if segment.level.ndim == 5 else segment.level.view(-1, 1, 1, 1, 1)
            inside = (level >= low) & (level <= high)
            last[i] = torch.where(inside, last[i] + weight * (last[i] - first[i]), last[i])
        return last

    def predictions(self, segments: list[Segment], first: bool) -> tuple[list[Tensor], list[Tensor]]:
        """The last prediction of the clean latents of every segment, and with `first` the one after `exit` blocks."""
        dtype = self.compute_dtype or self.patch_in.weight.dtype
        tokens, conditions, index, layouts, texts, outputs = [], [], [], [], [], []
        start = rows = text_start = 0
        for segment in segments:
            b, c, *size = segment.x.shape
            p = self.config.patch
            if c != self.config.channels or any(n % q for n, q in zip(size, p, strict=True)):
                raise UserError(
                    f"This transformer takes latents of {self.config.channels} channels in patches of {p}, "
                    f"not a latent of shape {tuple(segment.x.shape)}."
                )
            grid = tuple(n // q for n, q in zip(size, p, strict=True))
            level = segment.level.float()
            distinct, row, place = _distinct(level, grid, p, segment.told)
            conditions.append(self._condition(distinct, row, segment.text[:, 0].to(dtype)))
            index.append(rows + place)
            times, gaps = torch.arange(grid[0], device=segment.x.device), []
            if segment.times is not None:
                times, gaps = segment.times.to(times), (segment.times.diff() != 1).nonzero().flatten().tolist()
            rope = rope_table(self._positions(grid, times, segment.fps), self.config.rope_split)
            prompts, length = segment.text.shape[:2]
            runs = None if segment.told is None else _runs(segment.told, grid[1] * grid[2])
            mask = None if segment.text_mask is None else segment.text_mask.bool()[:, None, None, :]
            words = slice(text_start, text_start + prompts * length)
            layouts.append(_Layout(start, b, grid, rope, words, prompts, mask, runs, gaps))
            level = level if level.ndim == 5 else level.view(-1, 1, 1, 1, 1)
            scale_in, skip, scale_out = precondition(level, self._channel_std(level))
            tokens.append(self._patchify(segment.x * scale_in).to(dtype))
            texts.append(segment.text.flatten(0, 1).to(dtype))
            outputs.append((skip * segment.x, scale_out))
            start += tokens[-1].shape[0]
            rows += distinct.numel()
            text_start = words.stop

        def clean(out: Tensor) -> list[Tensor]:
            return [
                kept + scale * self._unpatchify(out[layout.rows], layout).float()
                for layout, (kept, scale) in zip(layouts, outputs, strict=True)
            ]

        pack = (torch.cat(tokens), torch.cat(conditions), torch.cat(index), torch.cat(texts))
        last, early = self._run(*pack, layouts, first)
        return clean(last), [] if early is None else clean(early)

    def _channel_std(self, like: Tensor) -> Tensor | float:
        """(C, 1, 1, 1), or 1 where every channel has unit variance."""
        std = self.config.channel_std
        return torch.tensor(std, device=like.device, dtype=like.dtype).view(-1, 1, 1, 1) if std else 1.0

    def _condition(self, level: Tensor, row: Tensor, summary: Tensor) -> Tensor:
        """(U,) levels, and of each the row in the summaries of texts (P, D), to conditions (U, width)."""
        wave = sinusoids(level, 256).to(summary)
        return self.time_out(F.silu(self.time_in(wave))) + self.summary(summary)[row]

    def _run(
        self, x: Tensor, condition: Tensor, index: Tensor, text: Tensor, layouts: list[_Layout], first: bool
    ) -> tuple[Tensor, Tensor | None]:
        """(N, patch features) and what they are told to (N, patch features), at the end and with `first` at the exit;
        row `index` of (U, width) is a token's."""
        modulation = self.modulation(F.silu(condition)).unflatten(-1, (6, -1)).transpose(0, 1)
        in_blocks = index
        if len(layouts) == 1 and layouts[0].runs is None and len(condition) == layouts[0].clips:
            # one level and one text a clip: its tokens share a row
            x, in_blocks, index = x.unflatten(0, (layouts[0].clips, -1)), None, None
            modulation, condition = modulation[:, :, None], condition[:, None]
        else:
            x, modulation, condition = x[None], modulation[:, None], condition[None]
            if torch.is_grad_enabled() or 2 * condition.shape[1] > x.shape[1]:
                # Gathered for all blocks at once where many levels differ, and where gradients are needed: one scatter
                # backward, and shapes for compiled blocks that do not depend on the number of levels.
                modulation, in_blocks = modulation.index_select(2, index), None
        x = self.patch_in(x)
        modulation = modulation.to(x.dtype)

        def end(offsets: Tensor, layer: nn.Module) -> Tensor:
            shift, scale = offsets.to(condition)
            rows = (row_of(condition + offset, index).to(x) for offset in (shift, 1 + scale))
            return layer(modulate(x, *rows)).flatten(0, 1)

        early = None
        for done, block in enumerate(self.blocks, start=1):
            x = block(x, modulation, in_blocks, text, layouts)
            if first and done == self.config.exit:
                early = end(self.offset_exit, self.patch_exit)
        return end(self.offset_out, self.patch_out), early

    def _patchify(self, x: Tensor) -> Tensor:
        p, q, r = self.config.patch
        return rearrange(x, "b c (t p) (h q) (w r) -> (b t h w) (c p q r)", p=p, q=q, r=r)

    def _unpatchify(self, x: Tensor, layout: _Layout) -> Tensor:
        (t, h, w), (p, q, r) = layout.grid, self.config.patch
        return rearrange(x, "(b t h w) (c p q r) -> b c (t p) (h q) (w r)", t=t, h=h, w=w, p=p, q=q, r=r)

    def _positions(self, grid: tuple[int, int, int], times: Tensor, fps: float) -> Tensor:
        """(tokens, 3): time in half seconds; y and x from the centre, in eighths of the picture's mean side: a training
        clip spans a few units.

        So frame rate and size may change: a token's place is in seconds and relative to the picture.
        """
        _, h, w = grid
        unit = 8 / (h * w) ** 0.5
        times = times * (2 * self.config.patch[0] * self.config.t_stride / fps)
        ys = (torch.arange(h, device=times.device) - (h - 1) / 2) * unit
        xs = (torch.arange(w, device=times.device) - (w - 1) / 2) * unit
        return torch.stack(torch.meshgrid(times, ys, xs, indexing="ij"), dim=-1).flatten(0, 2)


def _distinct(
    level: Tensor, grid: tuple[int, int, int], patch: tuple[int, int, int], told: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """The distinct levels (U,) of every text, the text (U,) of each, and for every token (N,) the index of its own.

    Levels differ from patch to patch but few are distinct, so the modulation is computed once for each.
    """
    b, tokens = level.shape[0], grid[0] * grid[1] * grid[2]
    clip = torch.arange(b, device=level.device)
    if level.ndim == 1:
        if told is None:
            return level, clip, clip.repeat_interleave(tokens)
        level = level.view(-1, 1, 1, 1, 1)
    p, q, r = patch
    row = clip[:, None] if told is None else told.to(level.device)
    per_token = level[:, 0, ::p, ::q, ::r].expand(b, *grid)
    per_token = double(per_token)  # levels lie in [0, 1]: no two texts share a key
    keys = (per_token + 4 * row.to(per_token.device)[:, :, None, None]).flatten()
    keys, index = torch.unique(keys, return_inverse=True)
    row = keys.div(4, rounding_mode="floor")
    return tuple(found.to(level.device) for found in ((keys - 4 * row).float(), row.long(), index))


def _runs(told: Tensor, tokens: int) -> list[tuple[int, int]]:
    """Texts (b, t) of all moments of `tokens` tokens as (text, tokens) of the longest runs that share one."""
    texts, lengths = torch.unique_consecutive(told.flatten(), return_counts=True)
    return [(text, moments * tokens) for text, moments in zip(texts.tolist(), lengths.tolist(), strict=True)]


def deepened(weights: dict[str, Tensor], depth: int, to: int) -> dict[str, Tensor]:
    """Weights of a transformer of `depth` blocks for one of `to` blocks, `to` >= `depth`, that predicts the same: the
    new blocks, evenly among the old, are copies of the one before that add nothing yet ("LLaMA Pro", Wu et al. 2024).
    """
    made = {name: weight for name, weight in weights.items() if not name.startswith("blocks.")}
    for new in range(to):
        before, old = ((i * depth + depth // 2) // to for i in (new - 1, new))
        prefix = f"blocks.{old}."
        for name in (name.removeprefix(prefix) for name in weights if name.startswith(prefix)):
            silent = old == before and name.startswith(("attention.out.", "cross.out.", "down."))
            weight = weights[prefix + name]
            made[f"blocks.{new}.{name}"] = torch.zeros_like(weight) if silent else weight.clone()
    return made
