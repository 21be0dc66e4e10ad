"""Training the diffusion transformer and its text encoder together, on worlds or on files of one's own.

Flow matching on the latents of a frozen compression network, with the levels of every pattern of the canvas
(`levels.training_levels`). The loss is that of the velocity (`flow.loss_weight`), every level weighing alike
(`levels.EvenLevels`). Beside it, the words of each caption must tell the facts that it states (`facts`): binding
colours to shapes to motions is then learnt from every sentence, which is much cheaper than from pictures alone. And
half-way through its blocks every token of a world must tell what stands in its place (`worlds.presence`), so that the
blocks before it learn to place what the words name.
A first prediction, made after `exit` of the blocks, is learnt like the last: the model is guided by it (`DiT`).
"""

import json
import logging
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..canvas import empty
from ..checkpoint import geometry_of, load, read_header, resolve, save
from ..config import bounded, build
from ..dit import DiT, DiTConfig, Segment, deepened
from ..errors import UserError
from ..flow import interpolate, loss_weight, shift_for_tokens
from ..grid import MAX_FPS, MIN_FPS, Grid
from ..layers import matmul_attention, sdpa
from ..pipeline import Size
from ..sampler import guide, sample
from ..text import TextConfig, TextEncoder, Tokenizer
from ..video import contact_sheet
from ..worlds.caption import caption, caption_with_targets
from ..worlds.presence import PRESENCE
from ..worlds.render import render
from ..worlds.scene import sample_scene
from .data import Clips, Reader, area, padded
from .facts import FactsHead, shares_right
from .levels import EvenLevels, training_levels
from .packing import groups
from .parallel import Ranks, noise_like, total, world_size
from .shows import LESSONS, Part, content, draw, pixels, places, teach

log = logging.getLogger(__name__)

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
PIECE = 16  # frames that are encoded at a time, which bounds the memory and changes nothing
TEXT_MULTIPLE = 32  # captions are padded to this many tokens, so that few shapes need compiling


@dataclass(frozen=True)
class Mix:
    """A pack that is drawn with a weight, between two points of the run (as shares of its steps)."""

    parts: tuple[Part | list, ...]
    weight: float = 1.0
    start: float = 0.0
    end: float = 1.0
    captions: int = 3  # sentences per scene for the facts; the first is the clip's
    sentences: int = 0  # more sentences for the facts, each of a scene that is told and not shown
    facts: float = 0.5  # weight of the loss of what sentences state
    lesson: str = ""  # what its clips and images are all about (see `shows.LESSONS`)

    def __post_init__(self):
        object.__setattr__(self, "parts", tuple(p if isinstance(p, Part) else Part.read(p) for p in self.parts))
        bounded(self, 1, math.inf, "captions")
        bounded(self, 0, math.inf, "sentences", "facts")
        if not self.parts:
            raise ValueError("needs parts")
        if self.lesson not in ("", *LESSONS):
            raise ValueError(f"lesson must be {' or '.join(LESSONS)}, not {self.lesson!r:.40}")
        if self.lesson not in ("", "order") and any(part.image for part in self.parts):
            raise ValueError(f"lesson {self.lesson} needs clips: in an image nothing moves")
        if self.weight <= 0:
            raise ValueError(f"weight must be above 0, not {self.weight}")
        if not 0 <= self.start < self.end <= 1:
            raise ValueError(f"start and end must be points of the run from 0 to 1, not {self.start} and {self.end}")


@dataclass(frozen=True)
class DiTTaskConfig:
    packs: tuple[Mix | dict, ...] = ()  # of worlds
    source: str = "worlds"  # or "folder:PATH", "shards:GLOB" (see `data.Clips`)
    tokens: int = 2048  # of a pack of files; every process has one a step
    vae: str = "bundled"  # the checkpoint whose latents are learnt
    fps: float = 8.0
    empty_caption: float = 0.1  # share of clips without words, for guidance
    places: float = 0.1  # weight of the loss of what stands where
    first: float = 0.25  # weight of the loss of a first prediction, where [model] has an exit
    pairs: float = 0.6  # share of the clips of worlds that are drawn until two things move, each in its own way
    edits: float = 0.2  # share of the clips and images of worlds that are made out of another (see `shows`)
    dissolves: float = 0.1  # share of the clips of worlds that lead from one scene to another
    loops: float = 0.05  # share of the clips of worlds that end as they begin
    s_min: float = 0.1  # level below which the weight of the loss stops growing

    def __post_init__(self):
        packs = (p if isinstance(p, Mix) else build(Mix, p, "[[data.packs]]") for p in self.packs)
        object.__setattr__(self, "packs", tuple(packs))
        bounded(self, 1, math.inf, "tokens")
        bounded(self, MIN_FPS, MAX_FPS, "fps")
        bounded(self, 0, 1, "empty_caption", "pairs", "edits", "dissolves", "loops", "s_min")
        bounded(self, 0, math.inf, "places", "first")
        if self.source == "worlds" and not self.packs:
            raise ValueError("worlds need at least one pack, [[data.packs]]")


@dataclass(frozen=True)
class TextSettings:
    merges: int = 1500
    width: int = 192
    depth: int = 3
    heads: int = 4

    def __post_init__(self):
        bounded(self, 0, math.inf, "merges")
        TextConfig((), self.width, self.depth, self.heads)  # refuses what cannot be


class Trainee(nn.Module):
    """Everything that learns."""

    def __init__(self, dit: DiT, text: TextEncoder):
        super().__init__()
        self.dit, self.text = dit, text
        self.facts = FactsHead(text.config.width)  # this and the next two stay behind when training ends
        self.places = nn.Linear(dit.config.width, len(PRESENCE))
        nn.init.zeros_(self.places.weight)  # nothing to drive a transformer that has learnt already away from
        nn.init.constant_(self.places.bias, -3.0)  # few of the facts hold
        self.even = EvenLevels()
        self.half_way: Tensor | None = None  # tokens (N, width) after the first half of the blocks, of the last call
        dit.blocks[(len(dit.blocks) - 1) // 2].register_forward_hook(self._keep)
        self.adamw_only = (
            *(f"dit.{name}" for name in dit.adamw_only),
            *(f"text.{name}" for name in text.adamw_only),
            "facts",
            "places",
        )

    def _keep(self, block, inputs, x: Tensor) -> None:
        self.half_way = x.flatten(0, 1)


@dataclass
class Group:
    """Clips of one size in a pack."""

    latent: Tensor  # (b, C, t, h, w), clean; b = 0 where none of those that are shared fell to this process
    content: Tensor  # likewise: what the noisy latent holds beside its noise
    level: Tensor  # (b, 1, t, h, w)
    captions: list[str]
    fps: float
    area: Tensor  # (t, h, w), 1 where a cell holds a pixel of the clip and not only padding
    count: int  # clips of this group in all processes that share it
    start: int = 0  # of this process's
    places: Tensor | None = None  # (tokens of all clips, PRESENCE), of worlds
    circles: list[int] = field(default_factory=list)  # clips whose first latent frame is the last one again


@dataclass
class Pack:
    groups: list[Group] = field(default_factory=list)
    sentences: list[str] = field(default_factory=list)  # for the facts
    facts: Tensor | None = None  # (sentences, ATTRIBUTES)
    stated: Tensor | None = None  # likewise: which facts a sentence settles
    weight: float = 0.0  # of the loss of the facts
    packed: float | None = None  # useful tokens / budget


class DiTTask:
    unit = "tokens"

    def __init__(
        self, model: DiTConfig, text: TextSettings, data: DiTTaskConfig, *, device="cpu", seed: int = 0, steps: int = 1
    ):
        self.data, self.device, self.seed, self.steps = data, device, seed, steps
        self.vae = load(data.vae, device=device, only=("vae",)).vae
        if self.vae is None:
            raise UserError(f"[data] vae: {data.vae} holds no compression network.")
        headers = [read_header(path) for path in resolve(data.vae, ("vae",))]
        own = (h.metadata["modelspec.hash_sha256"] for h in headers if "vae" in h.networks)
        self.vae_hash = next(own, headers[0].card.get("vae_hash"))  # of a transformer's file: what it names
        self.asked = {"[model]": asdict(model), "[text]": asdict(text)}
        del self.asked["[model]"]["exit_guidance"]  # which is not learnt
        self.geometry = replace(geometry_of(self.vae, None), patch=model.patch)
        bridges = [part.frames for mix in data.packs if mix.lesson == "bridge" for part in mix.parts]
        if bridges and min(bridges) <= (two := self.geometry.frames(2)):
            raise UserError(f"[[data.packs]] lesson bridge needs clips of more than {two} frames, not {min(bridges)}.")
        for name, own, what, other in (
            ("channels", model.channels, "of [data] vae", self.vae.config.channels),
            ("text_width", model.text_width, "the width in [text]", text.width),
        ):
            if own != other:
                raise UserError(f"[model] {name} must be {other}, {what}, not {own}.")
        model = replace(model, channel_std=self._channel_std())
        self.shared = data.source == "worlds"
        self.reader = None if self.shared else Reader(Clips(data.source), data.tokens, self.geometry, seed)
        rng = np.random.default_rng([0, 11])  # whatever the seed: a run may be resumed, or begun from, with another
        corpus = [caption(sample_scene(rng), rng) for _ in range(5000)]
        if self.reader:
            corpus += [text for clip in self.reader.clips for text in clip.captions]
        tokenizer = Tokenizer.train(corpus, text.merges)
        self.attention = matmul_attention if torch.device(device).type == "cpu" else sdpa
        dit = DiT(model, attention=self.attention, device=device).initialize()
        encoder = self._encoder(TextConfig(tokenizer.merges, text.width, text.depth, text.heads))
        self.module = Trainee(dit, encoder).to(device)
        for head in (self.module.facts, self.module.places):
            head.requires_grad_(self.shared)  # files come without facts
        self.blocks = self.module.dit.blocks

    @torch.no_grad()
    def _channel_std(self) -> tuple[float, ...]:
        """Deviation of each channel of the latents, over images of the worlds."""
        rng = np.random.default_rng([0, 13])  # whatever the seed, as the words
        video = render([sample_scene(rng, image=True) for _ in range(256)], 1, 64, 64, device=self.device)
        return tuple(round(float(v), 4) for v in self.vae.encode(video).std(dim=(0, 2, 3, 4)))

    def start_from(self, checkpoint: str) -> None:
        """Take the weights, and the words, of a checkpoint of the same shape, or of one with fewer blocks."""
        models = load(checkpoint, device=self.device, only=("dit", "text"))
        dit, text = self.module.dit, self.module.text
        ours = {name: getattr(dit.config, name) for name in ("channel_std", "shift", "depth", "exit", "exit_guidance")}
        fits = models.dit and models.text and replace(models.dit.config, **ours) == dit.config
        if not fits or models.dit.config.depth > dit.config.depth:
            raise UserError(f"{checkpoint} holds no transformer of the shape that [model] says, or of fewer blocks.")
        if models.text.config != replace(text.config, merges=models.text.config.merges):
            raise UserError(f"{checkpoint} holds no text encoder of the shape that [text] says.")
        if models.card.get("vae_hash", self.vae_hash) != self.vae_hash:
            log.warning(
                "%s has learnt the latents of another codec than [data] vae, and has to learn these.", checkpoint
            )
        self._speak(models.text.config.merges)
        weights = deepened(models.dit.state_dict(), models.dit.config.depth, dit.config.depth)
        self.module.dit.load_state_dict(weights, strict=False)  # an exit may be learnt anew
        self.module.text.load_state_dict(models.text.state_dict())

    def settings(self) -> dict[str, str]:
        merges = json.dumps(self.module.text.config.merges)
        return {"merges": merges, "codec": self.vae_hash, "networks": json.dumps(self.asked)}

    def restore(self, settings: dict[str, str]) -> None:
        """The tokens keep the meaning that they had when the weights were learnt, whatever captions read like now. The
        latents and the networks have to be those of then."""
        if "codec" not in settings:
            return  # the state of a codec's training, which the loop refuses
        if settings["codec"] != self.vae_hash:
            raise UserError(
                "[data] vae is another codec than the one whose latents this run has learnt: have it as it was, or "
                "give the run's dit.safetensors as init in [loop], in a new folder."
            )
        before, now = json.loads(settings["networks"]), json.loads(json.dumps(self.asked))
        for table, values in now.items():
            for name, value in values.items():
                if value != before[table][name]:
                    raise UserError(
                        f"{table} {name} was {json.dumps(before[table][name])} in this run and is {json.dumps(value)} "
                        "now: have it as it was, or choose another --out."
                    )
        self._speak(json.loads(settings["merges"]))

    def _speak(self, merges) -> None:
        config = replace(self.module.text.config, merges=merges)
        if config != self.module.text.config:
            self.module.text = self._encoder(config)

    def _encoder(self, config: TextConfig) -> TextEncoder:
        return TextEncoder(config, attention=self.attention, device=self.device).initialize()

    def compile(self):
        """Compile the blocks one by one: they share their code, so that it is compiled once per shape of pack."""
        torch._dynamo.config.cache_size_limit = 64
        for block in self.module.dit.blocks:
            block.compile(dynamic=False)

    # ------------------------------------------------------------------ data

    def batch(self, step: int, rank: int, world: int) -> Pack:
        if self.shared:
            return self._worlds(step, Ranks(rank, world))
        return self._files(step * world + rank, (step + 1) * world + rank)

    def _worlds(self, step: int, ranks: Ranks) -> Pack:
        """All processes draw the whole pack, and render and encode their share of its clips."""
        d = self.data
        rng = np.random.default_rng([self.seed, step, 0])
        open_packs = self._open(step)
        weights = np.array([mix.weight for mix in open_packs])
        mix = open_packs[rng.choice(len(open_packs), p=weights / weights.sum())]
        pack = Pack(weight=mix.facts)
        facts, stated = [], []
        for part in mix.parts:
            size = (self.geometry.latent_frames(part.frames), part.height, part.width)
            levels = self._levels(size, int(rng.integers(2**62)))
            if mix.lesson:
                shows = teach(mix.lesson, part, rng, levels, self.geometry, d.fps)
            else:
                shows = draw(part, rng, levels, self.geometry, d.fps, d.pairs, d.edits, d.dissolves, d.loops)
            start = int(rng.integers(part.whole - part.frames + 1)) if part.of else 0
            ours = ranks.share(part.clips)
            captions = []
            for number, show in enumerate(shows):
                for index in range(mix.captions):
                    whole, text, values, mask = show.told(rng, part.image, start == 0)
                    if ours.start <= number < ours.stop:
                        pack.sentences.append(text)
                        facts.append(values)
                        stated.append(mask)
                    if index == 0:
                        captions.append("" if rng.random() < d.empty_caption else whole)
            shows = shows[ours]
            video = pixels(shows, part, start, d.fps, self.device)
            group = self._group(video, [show.level for show in shows], captions[ours], d.fps, part.clips, ours.start)
            if shows:
                group.circles = [row for row, show in enumerate(shows) if show.circle]
                group.latent[group.circles, :, 0] = group.latent[group.circles, :, -1]
                group.content = content(shows, group.latent, part, start, d.fps, self._latent)
                group.places = places(shows, part, start, self.geometry, self.device)
            pack.groups.append(group)
        told = ranks.share(mix.sentences)
        for number in range(mix.sentences):
            image = bool(rng.random() < 0.3)
            text, values, mask = caption_with_targets(sample_scene(rng, image=image), rng, image=image)
            if told.start <= number < told.stop:
                pack.sentences.append(text)
                facts.append(values)
                stated.append(mask)
        ranks.check([group.captions for group in pack.groups])
        pack.facts = torch.tensor(facts, device=self.device)
        pack.stated = torch.tensor(stated, device=self.device)
        return pack

    def _open(self, step: int) -> list[Mix]:
        """The packs that a step draws from."""
        at = step / self.steps
        return [mix for mix in self.data.packs if mix.start <= at < mix.end] or [self.data.packs[-1]]

    def _files(self, index: int, following: int) -> Pack:
        """The files of a pack; those of equal size and frame rate make a group."""
        rng = np.random.default_rng([self.seed, index, 31])
        read = self.reader.pack(index, following)
        pack = Pack(packed=sum(clip.tokens(self.geometry) for clip, _ in read) / self.data.tokens)
        for same in groups([(tuple(video.shape), clip.fps if clip.frames > 1 else 0) for clip, video in read]):
            clips, videos = zip(*(read[i] for i in same), strict=True)
            video = torch.stack(videos).to(self.device)
            captions = [
                str(rng.choice(clip.captions)) if clip.captions and rng.random() >= self.data.empty_caption else ""
                for clip in clips
            ]
            size = (self.geometry.latent_frames(video.shape[2]), *video.shape[3:])
            draw_level = self._levels(size, int(rng.integers(2**62)))
            levels = [draw_level() for _ in clips]
            pack.groups.append(self._group(video, levels, captions, clips[0].fps, len(clips)))
        return pack

    def _levels(self, size: tuple[int, int, int], seed: int) -> Callable[..., Tensor]:
        """Draws levels (t, h, w) in patches for clips of `size` (latent frames, height and width in pixels)."""
        patch, stride = self.geometry.patch, self.geometry.s_stride
        grid = tuple(-(-n // (k * p)) for n, k, p in zip(size, (1, stride, stride), patch, strict=True))
        a = shift_for_tokens(grid[0] * grid[1] * grid[2], self.module.dit.config.shift)
        return partial(training_levels, grid, torch.Generator().manual_seed(seed), a=a)

    def _group(
        self, video: Tensor, levels: list[Tensor], captions: list[str], fps: float, count: int, start: int = 0
    ) -> Group:
        inside = area(video, self.geometry)
        latent = self._latent(video) if len(video) else video.new_empty(0, self.geometry.channels, *inside.shape)
        level = torch.stack(levels)[:, None] if levels else torch.empty(0, 1, *inside.shape)
        for axis, cells in enumerate(self.geometry.patch if levels else (), start=2):
            level = level.repeat_interleave(cells, dim=axis)
        return Group(latent, latent, level.to(self.device), captions, fps, inside, count, start)

    def _latent(self, video: Tensor) -> Tensor:
        with torch.no_grad(), torch.autocast(torch.device(self.device).type, torch.bfloat16):
            return self._encode(padded(video, self.geometry)).float()

    def _encode(self, video: Tensor) -> Tensor:
        if video.shape[2] <= PIECE + 1:
            return self.vae.encode(video)
        state: dict = {}
        pieces = video.split([1, *[PIECE] * (video.shape[2] // PIECE), (video.shape[2] - 1) % PIECE], dim=2)
        return torch.cat([self.vae.encode(piece, state=state) for piece in pieces if piece.shape[2]], dim=2)

    # ------------------------------------------------------------------ loss

    def loss(self, module: Trainee, batch: Pack) -> tuple[Tensor, dict[str, float]]:
        counts = [len(group.captions) for group in batch.groups]
        texts = [text for group in batch.groups for text in group.captions]
        text, mask = module.text.encode_texts(texts, multiple=TEXT_MULTIPLE)
        segments = []
        for group, part, part_mask in zip(batch.groups, text.split(counts), mask.split(counts), strict=True):
            noise = noise_like(group.latent, group.count, group.start)  # drawn even where the others have all clips
            noise[group.circles, :, 0] = noise[group.circles, :, -1]
            if group.captions:
                x = interpolate(group.content, noise, group.level)
                segments.append(Segment(x, group.level, part, part_mask, group.fps))
        ours = [group for group in batch.groups if group.captions]
        last, first = module.dit.predictions(segments, first=module.dit.config.exit > 0)
        errors = [self._error(clean, group) for clean, group in zip(last, ours, strict=True)]
        learnt = [(group.level > 0) * group.area for group in ours]
        kinds, tokens = {}, sum(group.level.numel() for group in ours) // math.prod(self.geometry.patch)
        for group, error, part in zip(ours, errors, learnt, strict=True):
            kind = kinds.setdefault("video" if group.latent.shape[2] > 1 else "image", [])
            kind.append((float(error.detach().sum()), float(part.sum())))
        scale = world_size() / total(sum(part.sum() for part in learnt))
        levels = [group.level for group in ours]
        module.even.observe(levels, [error.detach() for error in errors], learnt)
        weights = [module.even(level) for level in levels]

        def weighed(errors: list[Tensor]) -> Tensor:
            return scale * sum((weight * error).sum() for weight, error in zip(weights, errors, strict=True))

        metrics = {name: sum(e for e, _ in of) / sum(n for _, n in of) for name, of in kinds.items()}
        metrics |= {"flow": float(scale * sum(error.detach().sum() for error in errors)), "tokens": tokens}
        if batch.packed is not None:
            metrics["packed"] = batch.packed
        loss = weighed(errors)
        if first:
            early = weighed([self._error(clean, group) for clean, group in zip(first, ours, strict=True)])
            loss, metrics["first"] = loss + self.data.first * early, float(early.detach())
        if not self.shared:
            return loss, metrics
        true = torch.cat([group.places for group in ours])
        entropy = F.binary_cross_entropy_with_logits(module.places(module.half_way).float(), true, reduction="none")
        stands = entropy.sum() / total(torch.tensor(float(len(true)), device=true.device)) * world_size()
        logits = module.facts(*module.text.encode_texts(batch.sentences))
        entropy = F.binary_cross_entropy_with_logits(logits, batch.facts, reduction="none")
        facts = (entropy * batch.stated).sum() / total(batch.stated.sum()) * world_size()
        metrics["sentences_right"], metrics["hardest_right"] = shares_right(logits, batch.facts, batch.stated)
        metrics |= {"facts": float(facts.detach()), "places": float(stands.detach())}
        return loss + batch.weight * facts + self.data.places * stands, metrics

    def _error(self, clean: Tensor, group: Group) -> Tensor:
        """The error of the velocity (b, 1, t, h, w): see `flow.loss_weight`."""
        weight = loss_weight(group.level, self.data.s_min) * group.area
        return weight * (clean.float() - group.latent).square().mean(1, keepdim=True)

    # ------------------------------------------------------------------ what it makes

    def sheet(self, module: Trainee, path: Path) -> None:
        """The same prompts and seeds every time: five frames of each clip. Of files, captions of the first."""
        prompts, size = SHEET_PROMPTS, self._size(self.steps - 1)
        frames, height, width, fps = size.frames, size.height, size.width, size.fps
        grid = Grid(frames, height, width, fps, self.geometry)
        if self.reader:
            most = max(1, self.data.tokens // grid.tokens)  # no more than a step of training holds
            prompts = tuple(clip.captions[0] if clip.captions else "" for clip in self.reader.clips[: min(8, most)])
        text, mask = module.text.encode_texts([*prompts, ""])
        count = len(prompts)

        def predict(x, level, condition):
            return module.dit(x, level, *condition, fps=fps)

        told = (text[:count], mask[:count])
        untold = (text[count:].expand(count, -1, -1), mask[count:].expand(count, -1))
        canvas = empty(grid, batch=count, device=self.device)
        shift = shift_for_tokens(grid.tokens, module.dit.config.shift)
        latent = sample(guide(predict, told, untold, cfg=3.0), canvas, seed=0, steps=16, shift=shift)
        video = self.vae.decode(latent, frames, height, width)
        video = video[:, :, :: max(1, -(-frames // 5))].clamp(-1, 1).cpu()
        contact_sheet(
            [frame for clip in video for frame in clip.unbind(1)], path, count=count * video.shape[2], columns=10
        )

    def _size(self, step: int) -> Size:
        """The size of the longest clips of a step's usual pack, or that which most tokens of the files have: of a
        sheet, and of what the checkpoint makes by default."""
        if self.reader:
            tokens: Counter[Size] = Counter()
            for clip, count in zip(self.reader.clips, self.reader.tokens, strict=True):
                tokens[Size(clip.width, clip.height, clip.frames, clip.fps)] += count
            return tokens.most_common(1)[0][0]
        part = max(max(self._open(step), key=lambda mix: mix.weight).parts, key=lambda part: part.frames)
        return Size(part.width, part.height, part.frames, self.data.fps)

    def export(self, module: Trainee, folder: Path, step: int) -> None:
        """dit.safetensors: the transformer and the text encoder, with the codec unless it is the bundled one."""
        networks = {"dit": module.dit, "text": module.text}
        size = asdict(self._size(max(0, step - 1)))
        card = {"title": "Sora worlds", "steps": str(step), "vae_hash": self.vae_hash, "size": size}
        if self.reader:
            card["title"] = f"Trained on {len(self.reader.clips)} clips"
        if self.data.vae != "bundled":
            networks["vae"] = self.vae
        save(folder / "dit.safetensors", networks, card=card, dtype=torch.float16)
