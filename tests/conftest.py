"""Shared by all tests: few threads, so that tests beside a training run stay quick and repeatable."""

import pytest
import torch

torch.set_num_threads(min(2, torch.get_num_threads()))


@pytest.fixture
def smooth_clip():
    """A function (frames, height, width, seed=0) -> a smooth coloured clip (3, T, H, W) in [-1, 1]."""

    def make(frames: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
        corners = torch.rand(1, 3, 2, 3, 3, generator=torch.Generator().manual_seed(seed)) * 2 - 1
        return torch.nn.functional.interpolate(corners, (frames, height, width), mode="trilinear", align_corners=True)[
            0
        ]

    return make


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory):
    """A complete checkpoint of untrained two-layer networks: (1, 2, 2) patches, 4 channels, defaults in its card."""
    from sora_core.checkpoint import save
    from sora_core.dit import DiT, DiTConfig
    from sora_core.text import TextConfig, TextEncoder
    from sora_core.vae import VAE, VAEConfig

    torch.manual_seed(0)
    codec = VAEConfig(
        channels=4, fine_width=8, middle_width=8, coarse_width=8, encoder_blocks=(1, 0, 1), decoder_blocks=(1, 0, 1)
    )
    modules = {
        "vae": VAE(codec),
        "dit": DiT(DiTConfig(width=32, depth=2, heads=2, text_width=16, channels=4, patch=(1, 2, 2))),
        "text": TextEncoder(TextConfig(merges=((100, 110), (258, 101)), width=16, depth=1, heads=2)),
    }
    path = tmp_path_factory.mktemp("checkpoint") / "tiny.safetensors"
    card = {"settings": {"steps": 3, "cfg": 2.0}, "size": {"width": 32, "height": 32, "frames": 5, "fps": 8.0}}
    save(path, modules, card=card)
    return path


@pytest.fixture
def files_of_at_most():
    """A function (bytes) -> what a child process runs first, so that for it a disk is full there."""
    resource = pytest.importorskip("resource", reason="only POSIX systems limit the size of files")
    return lambda size: lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
