"""Training the diffusion transformer and its text encoder together, on worlds.

Flow matching on the latents of a frozen compression network, with the levels of every pattern of the canvas
(`levels.training_levels`). The loss is that of the velocity (`flow.loss_weight`). Beside it, the summary of each
caption must tell the facts that the caption states: binding colours to shapes to motions is then learnt from every
sentence, which is much cheaper than from pictures alone.
"""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..canvas import empty
from ..checkpoint import geometry_of, load, save
from ..dit import DiT, DiTConfig, Segment
from ..flow import interpolate, loss_weight, shift_for_tokens
from ..grid import Grid
from ..sampler import guide, sample
from ..text import TextConfig, TextEncoder, Tokenizer
from ..video import contact_sheet
from ..worlds.attributes import ATTRIBUTES
from ..worlds.caption import caption, caption_with_targets
from ..worlds.render import render
from ..worlds.scene import sample_scene
from .levels import training_levels

SHEET_PROMPTS = (
    "a red ball moves to the right on a plain white background",
    "a big yellow star spins in the night",
    "a blue square bounces on the grass",
    "a green triangle rises above the sea",
    "a purple ring grows, in front of a gradient from orange to pink",
    "neon drawing of an orange star moving left",
    "a white ball passes behind a wall under a blue sky",
    "a pink square moves down and a black triangle moves up on a plain cyan background",
)
TEXT_MULTIPLE = 32  # captions are padded to this many tokens, so that few shapes need compiling


@dataclass(frozen=True)
class Part:
    """Clips of one size in a pack."""

    clips: int
    frames: int
    width: int
    height: int


@dataclass(frozen=True)
class Mix:
    """A pack that is drawn with a weight, between two points of the run (as shares of its steps)."""

    parts: tuple[Part, ...]
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(p if isinstance(p, Part) else Part(*p) for p in self.parts))


@dataclass(frozen=True)
class DiTTaskConfig:
    packs: tuple[Mix, ...]
    vae: str = "bundled"  # the checkpoint whose latents are learnt
    fps: float = 8.0
    empty_caption: float = 0.1  # share of clips without words, for guidance
    captions: int = 3  # sentences per scene for the facts; the first is the clip's
    facts: float = 0.5  # weight of their loss
    s_min: float = 0.1  # level below which the weight of the loss stops growing

    def __post_init__(self):
        object.__setattr__(self, "packs", tuple(p if isinstance(p, Mix) else Mix(**p) for p in self.packs))


@dataclass(frozen=True)
class TextSettings:
    merges: int = 1500
    width: int = 192
    depth: int = 3
    heads: int = 4


class Trainee(nn.Module):
    """Everything that learns."""

    def __init__(self, dit: DiT, text: TextEncoder):
        super().__init__()
        self.dit, self.text = dit, text
        self.facts = nn.Linear(text.config.width, len(ATTRIBUTES))  # stays behind when training ends
        self.adamw_only = (
            *(f"dit.{name}" for name in dit.adamw_only),
            *(f"text.{name}" for name in text.adamw_only),
            "facts",
        )


@dataclass
class Pack:
    latents: list[Tensor]  # clean
    levels: list[Tensor]  # (b, 1, t, h, w)
    captions: list[list[str]]  # of each part's clips
    sentences: list[str] = field(default_factory=list)  # for the facts
    facts: Tensor | None = None  # (sentences, ATTRIBUTES)
    stated: Tensor | None = None  # likewise: which facts a sentence settles


class DiTTask:
    def __init__(
        self, model: DiTConfig, text: TextSettings, data: DiTTaskConfig, *, device="cpu", seed: int = 0, steps: int = 1
    ):
        self.data, self.device, self.seed, self.steps = data, device, seed, steps
        self.vae = load(data.vae, device=device, only=("vae",)).vae
        rng = np.random.default_rng([seed, 11])
        corpus = (caption(sample_scene(rng), rng) for _ in range(5000))
        tokenizer = Tokenizer.train(corpus, text.merges)
        encoder = TextEncoder(TextConfig(tokenizer.merges, text.width, text.depth, text.heads), device=device)
        self.module = Trainee(DiT(model, device=device).initialize(), encoder.initialize()).to(device)

    def compile(self):
        """Compile the blocks one by one: they share their code, so that it is compiled once per shape of pack."""
        torch._dynamo.config.cache_size_limit = 64
        for block in self.module.dit.blocks:
            block.compile(dynamic=False)

    # ------------------------------------------------------------------ data

    def batch(self, step: int, rank: int, world: int) -> Pack:
        d = self.data
        rng = np.random.default_rng([self.seed, step, rank])
        at = step / self.steps
        open_packs = [mix for mix in d.packs if mix.start <= at < mix.end] or [d.packs[-1]]
        weights = np.array([mix.weight for mix in open_packs])
        mix = open_packs[rng.choice(len(open_packs), p=weights / weights.sum())]
        pack = Pack([], [], [])
        facts, stated = [], []
        for part in mix.parts:
            image = part.frames == 1
            scenes = [
                sample_scene(rng, aspect=part.width / part.height, seconds=part.frames / d.fps, image=image)
                for _ in range(part.clips)
            ]
            video = render(scenes, part.frames, part.height, part.width, d.fps, device=self.device)
            with torch.no_grad(), torch.autocast(torch.device(self.device).type, torch.bfloat16):
                latent = self.vae.encode(video).float()
            pack.latents.append(latent)
            size = tuple(n // p for n, p in zip(latent.shape[2:], self.module.dit.config.patch, strict=True))
            a = shift_for_tokens(size[0] * size[1] * size[2])
            generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
            levels = torch.stack([training_levels(size, generator, a=a) for _ in scenes])[:, None]
            for axis, cells in enumerate(self.module.dit.config.patch, start=2):
                levels = levels.repeat_interleave(cells, dim=axis)
            pack.levels.append(levels.to(self.device))
            captions = []
            for scene in scenes:
                for index in range(d.captions):
                    text, values, mask = caption_with_targets(scene, rng, image=image)
                    pack.sentences.append(text)
                    facts.append(values)
                    stated.append(mask)
                    if index == 0:
                        captions.append("" if rng.random() < d.empty_caption else text)
            pack.captions.append(captions)
        pack.facts = torch.tensor(facts, device=self.device)
        pack.stated = torch.tensor(stated, device=self.device)
        return pack

    # ------------------------------------------------------------------ loss

    def loss(self, module: Trainee, batch: Pack) -> tuple[Tensor, dict[str, float]]:
        counts = [len(captions) for captions in batch.captions]
        texts = [text for captions in batch.captions for text in captions]
        text, mask = module.text.encode_texts(texts, multiple=TEXT_MULTIPLE)
        segments = []
        for latent, level, part, part_mask in zip(
            batch.latents, batch.levels, text.split(counts), mask.split(counts), strict=True
        ):
            x = interpolate(latent, torch.randn_like(latent), level)
            segments.append(Segment(x, level, part, part_mask, self.data.fps))
        total, weights, metrics = 0.0, 0.0, {}
        for clean, latent, level in zip(module.dit.forward_pack(segments), batch.latents, batch.levels, strict=True):
            weight = loss_weight(level, self.data.s_min)
            error = (weight * (clean.float() - latent).square().mean(1, keepdim=True)).sum()
            learnt = (level > 0).sum()
            total, weights = total + error, weights + learnt
            name = "video" if latent.shape[2] > 1 else "image"
            metrics[name] = float(error.detach() / learnt)
        flow = total / weights
        summaries, _ = module.text.encode_texts(batch.sentences)
        logits = module.facts(summaries[:, 0]).float()
        entropy = F.binary_cross_entropy_with_logits(logits, batch.facts, reduction="none")
        facts = (entropy * batch.stated).sum() / batch.stated.sum()
        right = ((logits > 0) == (batch.facts > 0)) | (batch.stated == 0)
        metrics |= {"flow": float(flow), "facts": float(facts), "sentences_right": float(right.all(1).float().mean())}
        return flow + self.data.facts * facts, metrics

    # ------------------------------------------------------------------ what it makes

    def sheet(self, module: Trainee, path: Path) -> None:
        """The same prompts and seeds every time: five frames of each clip."""
        grid = Grid(17, 64, 64, self.data.fps, geometry_of(self.vae, module.dit))
        text, mask = module.text.encode_texts([*SHEET_PROMPTS, ""])
        count = len(SHEET_PROMPTS)

        def predict(x, level, condition):
            return module.dit(x, level, *condition, fps=self.data.fps)

        told = (text[:count], mask[:count])
        untold = (text[count:].expand(count, -1, -1), mask[count:].expand(count, -1))
        latent = sample(guide(predict, told, untold, cfg=3.0), empty(grid, batch=count), seed=0, steps=16)
        frames = self.vae.decode(latent)[:, :, ::4].clamp(-1, 1)
        contact_sheet(
            [frame for clip in frames for frame in clip.unbind(1)], path, count=count * frames.shape[2], columns=10
        )

    def export(self, module: Trainee, folder: Path, step: int) -> None:
        """dit.safetensors: the transformer and the text encoder."""
        networks = {"dit": module.dit, "text": module.text}
        save(folder / "dit.safetensors", networks, card={"title": "Sora worlds", "steps": str(step)}, dtype=torch.float16)
