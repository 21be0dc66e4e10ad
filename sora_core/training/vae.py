"""Training the compression network on worlds and on imagery with natural statistics.

Loss per pixel: |e| + mse e^2, plus `kl` times the mean KL divergence of the latent from N(0, 1). With a Laplace
likelihood of scale b this is the evidence lower bound for kl = b / (pixels per latent value = 768 / channels).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ..checkpoint import save
from ..vae import VAE, VAEConfig
from ..video import contact_sheet
from ..worlds.natural import natural_batch
from ..worlds.render import render
from ..worlds.scene import sample_scene


@dataclass(frozen=True)
class VAETaskConfig:
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


class VAETask:
    def __init__(self, model: VAEConfig, data: VAETaskConfig, *, device="cpu", seed: int = 0):
        self.data, self.device, self.seed = data, device, seed
        self.module = VAE(model, device=device)
        clips = [video for video in self.batch(0, 0, 1) if video.shape[2] > 1]
        if clips:
            self.module.initialize(torch.cat(clips))
        if data.freeze_encoder:
            self.module.encoder.requires_grad_(False)

    def batch(self, step: int, rank: int, world: int) -> list[Tensor]:
        """Four tensors (B, 3, T, H, W): world clips and images, natural clips and images; those of zero size left out."""
        d = self.data
        rng = np.random.default_rng([self.seed, step, rank])
        parts = []
        for count, frames in ((d.world_clips, d.frames), (d.world_images, 1)):
            if count:
                scenes = [sample_scene(rng, seconds=frames / d.fps, image=frames == 1) for _ in range(count)]
                parts.append(render(scenes, frames, d.size, d.size, d.fps, device=self.device))
        for count, frames in ((d.natural_clips, d.frames), (d.natural_images, 1)):
            if count:
                seed = int(rng.integers(2**31))
                parts.append(natural_batch(seed, count, frames, d.size, d.size, device=self.device))
        return parts

    def loss(self, module: nn.Module, batch: list[Tensor]) -> tuple[Tensor, dict[str, float]]:
        d = self.data
        absolute, squared, kl = [], [], []
        for video in batch:
            mean, logvar = module.posterior(video)
            mean, logvar = mean.float(), logvar.float()
            latent = mean + torch.randn_like(mean) * (0.5 * logvar).exp()
            error = module.decode(latent).float() - video
            absolute.append(error.abs().flatten(1).mean(1))
            squared.append(error.square().flatten(1).mean(1))
            kl.append(0.5 * (mean.square() + logvar.exp() - 1 - logvar).flatten(1).mean(1))
        psnr = [float(10 * torch.log10(4 / part.detach().clamp_min(1e-9)).mean()) for part in squared]
        loss = torch.cat(absolute).mean() + d.mse * torch.cat(squared).mean() + d.kl * torch.cat(kl).mean()
        names = [f"psnr_{i}" for i in range(len(psnr))]
        return loss, {"kl": float(torch.cat(kl).detach().mean())} | dict(zip(names, psnr, strict=True))

    def sheet(self, module: VAE, path: Path) -> None:
        """Originals above their reconstructions, of a fixed step."""
        sheet = []
        for video in self.batch(10**9, 0, 1):
            decoded = module.decode(module.encode(video))
            for both in (video, decoded):
                frames = both[0, :, ::4] if video.shape[2] > 1 else both[:5, :, 0].transpose(0, 1)
                sheet += frames[:, :5].clamp(-1, 1).unbind(1)
        contact_sheet(sheet, path, count=len(sheet), columns=5)

    def export(self, module: VAE, folder: Path, step: int) -> None:
        """vae.safetensors with the statistics of the latent, measured on 256 fresh world clips and images."""
        rng = np.random.default_rng([self.seed, 7])
        latents = []
        for index in range(8):
            image = index % 2 == 1
            scenes = [sample_scene(rng, seconds=self.data.frames / self.data.fps, image=image) for _ in range(32)]
            frames = 1 if image else self.data.frames
            video = render(scenes, frames, self.data.size, self.data.size, self.data.fps, device=self.device)
            mean, _ = module.posterior(video)
            latents.append(mean.transpose(0, 1).flatten(1))
        values = torch.cat(latents, dim=1)
        module.latent_mean.copy_(values.mean(1))
        module.latent_std.copy_(values.std(1))
        save(folder / "vae.safetensors", {"vae": module}, card={"title": "Sora worlds VAE", "steps": str(step)})
        module.latent_mean.zero_()
        module.latent_std.fill_(1)
