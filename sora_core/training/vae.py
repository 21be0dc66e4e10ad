"""Training the compression network on worlds and on imagery with natural statistics, or on files of one's own.

Loss per pixel: |e| + mse e^2, plus `kl` times the mean KL divergence of the latent from N(0, 1). With a Laplace
likelihood of scale b this is the evidence lower bound for kl = b / (pixels per latent value = 768 / channels).
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoint import geometry_of, load, save
from ..config import bounded
from ..errors import UserError
from ..grid import MAX_FPS, MAX_SIDE, MIN_FPS, MIN_SIDE
from ..vae import VAE, VAEConfig
from ..vae.layers import Block
from ..video import contact_sheet
from ..worlds.natural import natural_batch
from ..worlds.render import render
from ..worlds.scene import sample_scene
from .data import Clips, Reader, area, cut, padded
from .packing import groups
from .parallel import Ranks, noise_like, total, world_size


@dataclass(frozen=True)
class VAETaskConfig:
    source: str = "worlds"  # or "folder:PATH", "shards:GLOB" (see `data.Clips`)
    tokens: int = 4096  # latent cells per step and process, of files; what follows is of worlds
    world_clips: int = 6  # per step
    world_images: int = 12
    natural_clips: int = 2
    natural_images: int = 12
    frames: int = 17
    fps: float = 8.0
    size: int = 64  # pixels, of clips; images are this large too
    kl: float = 2.5e-4
    mse: float = 5.0
    freeze_encoder: bool = False  # improve the decoder without touching the latents that a transformer was trained on

    def __post_init__(self):
        counts = ("world_clips", "world_images", "natural_clips", "natural_images")
        bounded(self, 0, math.inf, *counts, "kl", "mse")
        bounded(self, 1, math.inf, "tokens", "frames")
        bounded(self, MIN_FPS, MAX_FPS, "fps")
        bounded(self, MIN_SIDE, MAX_SIDE, "size")
        if self.source == "worlds" and not any(getattr(self, name) for name in counts):
            raise ValueError(f"needs one of {', '.join(counts)}")


@dataclass
class Part:
    """Clips of one size, of the batch that the processes share."""

    video: Tensor  # (b, 3, T, H, W); b = 0 where none fell to this process
    name: str
    count: int  # clips of this part in all processes that share it
    start: int = 0  # of this process's


class VAETask:
    unit = "clips"
    blocks = ()  # a block runs once for every size in a batch, and processes may differ in that

    def __init__(self, model: VAEConfig, data: VAETaskConfig, *, device="cpu", seed: int = 0):
        self.data, self.device, self.seed = data, device, seed
        self.module = VAE(model, device=device)
        self.geometry = geometry_of(self.module, None)
        self.shared = data.source == "worlds"
        self.clips = None if self.shared else Clips(data.source)
        self.reader = None if self.shared else Reader(self.clips, data.tokens, self.geometry, seed)
        # whatever it will learn from: the components of moving pictures
        first = self._worlds(0, Ranks()) if self.shared else self._worlds(0, Ranks(), VAETaskConfig())
        videos = [part.video for part in first if part.video.shape[2] > 1]
        if videos:
            self.module.initialize(padded(torch.cat(videos), self.geometry))
        self.kept: list[list[float]] | None = None  # how the latents that stay as they are are centred and scaled
        if data.freeze_encoder:
            self.module.encoder.requires_grad_(False)

    def start_from(self, checkpoint: str) -> None:
        """Take the weights of a checkpoint of the same shape."""
        vae = load(checkpoint, device=self.device, only=("vae",)).vae
        if vae is None or vae.config != self.module.config:
            raise UserError(f"{checkpoint} holds no compression network of the shape that [model] says.")
        self.module.load_state_dict(vae.state_dict())
        if self.data.freeze_encoder:
            self.kept = [vae.latent_mean.tolist(), vae.latent_std.tolist()]
        self._standardize(self.module)

    def settings(self) -> dict[str, str]:
        return {"latents": json.dumps(self.kept)} if self.kept else {}

    def restore(self, settings: dict[str, str]) -> None:
        if "latents" in settings:
            self.kept = json.loads(settings["latents"])

    def compile(self):
        for block in self.module.modules():
            if isinstance(block, Block):
                block.compile(dynamic=False)

    # ------------------------------------------------------------------ data

    def batch(self, step: int, rank: int, world: int) -> list[Part]:
        """World clips and images, natural clips and images, those of zero size left out; or a pack of files."""
        if self.shared:
            return self._worlds(step, Ranks(rank, world))
        clips = self.reader.pack(step * world + rank, (step + 1) * world + rank)
        return self._grouped([video for _, video in clips])

    def _worlds(self, step: int, ranks: Ranks, data: VAETaskConfig | None = None) -> list[Part]:
        d = data or self.data
        rng = np.random.default_rng([self.seed, step, 0])
        parts, names = [], (f"psnr_{number}" for number in range(4))
        for count, frames in ((d.world_clips, d.frames), (d.world_images, 1)):
            if count:
                name = next(names)
                scenes = [sample_scene(rng, seconds=frames / d.fps, image=frames == 1) for _ in range(count)]
                ours = ranks.share(count)
                video = torch.empty(0, 3, frames, d.size, d.size, device=self.device)
                if scenes[ours]:
                    video = render(scenes[ours], frames, d.size, d.size, d.fps, device=self.device)
                parts.append(Part(video, name, count, ours.start))
        for count, frames in ((d.natural_clips, d.frames), (d.natural_images, 1)):
            if count:
                seed, ours, name = int(rng.integers(2**31)), ranks.share(count), next(names)
                video = natural_batch(seed, count, frames, d.size, d.size, device=self.device)[ours]
                parts.append(Part(video, name, count, ours.start))
        ranks.check([part.video for part in parts])
        return parts

    def _grouped(self, videos: list[Tensor]) -> list[Part]:
        parts = []
        for same in groups([video.shape for video in videos]):
            video = torch.stack([videos[i] for i in same]).to(self.device)
            parts.append(Part(video, "psnr_video" if video.shape[2] > 1 else "psnr_image", len(same)))
        return parts

    # ------------------------------------------------------------------ loss

    def loss(self, module: nn.Module, batch: list[Part]) -> tuple[Tensor, dict[str, float]]:
        d = self.data
        absolute, squared, kl = [], [], []
        for part in batch:
            if not len(part.video):  # but the others draw its noise, so it is drawn here too
                cells = area(part.video, self.geometry).shape
                noise_like(part.video.new_empty(0, module.config.channels, *cells), part.count, part.start)
                continue
            mean, logvar = module.posterior(padded(part.video, self.geometry))
            mean, logvar = mean.float(), logvar.float()
            latent = mean + noise_like(mean, part.count, part.start) * (0.5 * logvar).exp()
            error = cut(module.decode(latent).float(), part.video) - part.video
            absolute.append(error.abs().flatten(1).mean(1))
            squared.append(error.square().flatten(1).mean(1))
            kl.append(0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1).mean(1))
        ours = [part for part in batch if len(part.video)]
        psnr: dict[str, list[float]] = {}
        for part, values in zip(ours, squared, strict=True):
            decibels = 10 * torch.log10(4 / values.detach().clamp_min(1e-9))
            psnr.setdefault(part.name, []).append(float(decibels.mean()))
        here = sum(len(part.video) for part in batch)
        clips = total(torch.tensor(float(here), device=self.device)) / world_size()
        absolute, squared, kl = (torch.cat(values).sum() / clips for values in (absolute, squared, kl))
        loss = absolute + d.mse * squared + d.kl * kl
        means = {name: sum(values) / len(values) for name, values in psnr.items()}
        return loss, {"kl": float(kl.detach()), "clips": here} | means

    # ------------------------------------------------------------------ what it makes

    def sheet(self, module: VAE, path: Path) -> None:
        """Originals above their reconstructions, of a fixed step; of files, of the first clip."""
        if self.shared:
            videos = [part.video for part in self._worlds(10**9, Ranks())]
        else:
            videos = [part.video for part in self._some()[:1]]
        sheet = []
        for video in videos:
            for both in (video, module.decode(module.encode(video), *video.shape[2:])):
                frames = both[0, :, ::4] if video.shape[2] > 1 else both[:5, :, 0].transpose(0, 1)
                sheet += frames[:, :5].clamp(-1, 1).cpu().unbind(1)
        contact_sheet(sheet, path, count=len(sheet), columns=min(5, len(sheet) // 2) if len(videos) == 1 else 5)

    def export(self, module: VAE, folder: Path, step: int) -> None:
        """vae.safetensors with the latent's statistics, measured on 256 fresh world clips and images, or on files; with
        those of the checkpoint where its encoder was kept."""
        if self.kept:
            mean, std = torch.tensor(self.kept, device=self.device)
            module.latent_mean.copy_(mean)
            module.latent_std.copy_(std)
        else:
            means, variances = [], []
            for video in self._measured():
                mean, logvar = module.posterior(padded(video, self.geometry))
                means.append(mean.transpose(0, 1).flatten(1))
                variances.append(logvar.exp().transpose(0, 1).flatten(1))
            self._standardize(module, torch.cat(means, dim=1), torch.cat(variances, dim=1))
        save(folder / "vae.safetensors", {"vae": module}, card={"title": "Sora worlds VAE", "steps": str(step)})
        self._standardize(module)

    def _measured(self):
        if not self.shared:
            some = self._some()
            if not some:
                raise UserError(f"{self.data.source}: none of the clips can be read; they are damaged.")
            yield from (part.video for part in some)
            return
        rng = np.random.default_rng([self.seed, 7])
        d = self.data
        for index in range(8):
            image = index % 2 == 1
            scenes = [sample_scene(rng, seconds=d.frames / d.fps, image=image) for _ in range(32)]
            yield render(scenes, 1 if image else d.frames, d.size, d.size, d.fps, device=self.device)

    def _some(self) -> list[Part]:
        """Up to 32 files, evenly chosen, each by itself."""
        clips = self.reader.clips
        chosen = clips[:: -(-len(clips) // 32)]
        videos = (self.clips.read(clip) for clip in chosen)
        return [part for video in videos if video is not None for part in self._grouped([video])]

    @staticmethod
    def _standardize(module: VAE, means: Tensor | None = None, variances: Tensor | None = None) -> None:
        """Write into the network how its latents are centred and scaled, from posterior means and variances (C, n);
        without them, as it trains: not at all.

        A channel is measured in its posterior's deviation, so that an error of 1 costs about the same picture in each:
        those that carry the picture become large and those that carry its finest grain small, and a diffusion model
        spends its effort accordingly. One factor for all makes the mean variance 1.
        """
        if means is None:
            module.latent_mean.zero_()
            module.latent_std.fill_(1)
            return
        deviation = variances.mean(1).sqrt()
        ratio = means.var(1) / variances.mean(1)
        module.latent_mean.copy_(means.mean(1))
        module.latent_std.copy_(deviation * ratio.mean().sqrt())
