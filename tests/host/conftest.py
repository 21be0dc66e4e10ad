"""One ComfyUI process for each host found, shared by all tests, and a two-layer checkpoint of random weights."""

from __future__ import annotations

import io
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load as load_tensors

from sora_core import checkpoint
from sora_core.batch.host import Server, find_hosts
from sora_core.dit import DiT, DiTConfig
from sora_core.pipeline import Pipeline
from sora_core.text import TextConfig, TextEncoder
from sora_core.vae import VAE, VAEConfig
from tests.host.hosts import environment

TINY = "tiny.safetensors"
SMALLEST = "smallest.safetensors"  # one block, for torch.compile, whose time goes with the number of operations


def networks(depth: int = 2, local_mix: bool = True) -> dict[str, torch.nn.Module]:
    """Two layers each, random everywhere, so that every part of a network shows in its output."""
    torch.manual_seed(0)
    codec = {"channels": 8, "fine_width": 8, "middle_width": 8, "coarse_width": 16}
    made = {
        "vae": VAE(VAEConfig(**codec, encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1))),
        "dit": DiT(DiTConfig(32, depth, heads=2, text_width=32, channels=8, patch=(1, 1, 1), local_mix=local_mix)),
        "text": TextEncoder(TextConfig(merges=(), width=32, depth=1, heads=2)),
    }
    for network in made.values():
        for p in network.parameters():
            torch.nn.init.normal_(p, std=p[0].numel() ** -0.5 if p.ndim > 1 else 0.1)
    return made


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Path of the tiny checkpoint."""
    path = tmp_path_factory.mktemp("checkpoints") / TINY
    checkpoint.save(path, networks(), card={"title": "two random layers"})
    return path


@pytest.fixture(scope="session")
def engine(tiny) -> Pipeline:
    """The tiny checkpoint without a host."""
    return Pipeline.load(tiny, device="cpu")


@pytest.fixture(scope="session", params=find_hosts(), ids=lambda host: f"ComfyUI-{host.version}")
def server(request, tiny):
    """A host with this pack and the tiny checkpoint in its models/checkpoints."""
    host = request.param
    running = Server(host, environment(host), arguments=("--preview-method", "latent2rgb"))
    (running.folder / "custom_nodes").mkdir()
    (running.folder / "custom_nodes" / "tiny_models.py").symlink_to(Path(__file__).parent / "tiny_models.py")
    with running:
        shutil.copy(tiny, running.folder / "models" / "checkpoints" / TINY)
        checkpoint.save(running.folder / "models" / "checkpoints" / SMALLEST, networks(depth=1, local_mix=False))
        yield running


@pytest.fixture(scope="session")
def host_models(server):
    """Tiny random weights of the host's own video models, in the host's folders."""
    server.run({"1": {"class_type": "TinyModels", "inputs": {}}})


@pytest.fixture
def latents(server):
    """(result, node that SaveLatent is) -> tensor (B, C, t, h, w)."""

    def read(result, node: str) -> torch.Tensor:
        (item,) = result.outputs[node]["latents"]
        return load_tensors(server.fetch(item))["latent_tensor"]

    return read


@pytest.fixture
def pictures(server):
    """(result, node that SaveImage is) -> uint8 array (frames, H, W, 3)."""

    def read(result, node: str) -> np.ndarray:
        return np.stack([to_array(server.fetch(item)) for item in result.outputs[node]["images"]])

    return read


@pytest.fixture
def picture_in(server, tmp_path):
    """(array or PIL image, name) -> the name under which LoadImage finds it."""

    def put(image, name: str = "picture.png") -> str:
        path = tmp_path / name
        (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(path)
        return server.upload(path)

    return put


@pytest.fixture(scope="session")
def photo() -> np.ndarray:
    """A smooth random picture, uint8 (H, W, 3)."""
    corners = torch.rand(1, 3, 4, 5, generator=torch.Generator().manual_seed(5))
    smooth = torch.nn.functional.interpolate(corners, (48, 64), mode="bicubic", align_corners=True).clamp(0, 1)
    return (smooth[0].movedim(0, -1) * 255).round().byte().numpy()


def to_array(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
