"""The codec at work: any size and length comes back exactly as large, streams and tiles change nothing."""

import dataclasses

import pytest
import torch

from sora_core import codec as codecs
from sora_core.checkpoint import save
from sora_core.codec import Codec, pick_device
from sora_core.errors import UserError
from sora_core.grid import Grid
from sora_core.vae import VAE, VAEConfig

CONFIG = VAEConfig(
    channels=4, fine_width=8, middle_width=8, coarse_width=8, encoder_blocks=(1, 0, 1), decoder_blocks=(1, 0, 1)
)


@pytest.fixture(scope="module")
def codec(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("codec") / "vae.safetensors"
    save(path, {"vae": VAE(CONFIG)})
    return Codec.load(path, "cpu")


@pytest.mark.parametrize("frames, height, width", [(1, 37, 51), (2, 8, 8), (5, 16, 24), (16, 33, 17), (18, 9, 40)])
def test_any_size_comes_back(codec, smooth_clip, frames, height, width):
    video = smooth_clip(frames, height, width)[None]
    pairs = list(codec.reconstruct(video.split(3, dim=2)))
    original, copy = (torch.cat(parts, dim=2) for parts in zip(*pairs, strict=True))
    assert torch.equal(original, video)
    assert copy.shape == video.shape
    whole = codec.vae.decode(codec.encode(video), frames, height, width).clamp(-1, 1)
    assert torch.allclose(copy, whole, atol=1e-5)
    grid = Grid(frames, height, width, 8.0, codec.geometry)
    streamed = torch.cat(list(codec.frames(codec.encode(video), grid)), dim=2)
    assert torch.allclose(streamed, whole, atol=1e-5)


def test_large_frames_go_in_tiles_without_a_seam(codec, smooth_clip, monkeypatch):
    video = smooth_clip(5, 64, 56)[None]
    whole = [x for _, x in codec.reconstruct([video])]
    monkeypatch.setattr(codecs, "TILE", 3)
    assert codec.tile(64, 56) == 3 and codec.tile(24, 24) is None
    tiled = [x for _, x in codec.reconstruct([video])]
    assert torch.allclose(torch.cat(tiled, dim=2), torch.cat(whole, dim=2), atol=1e-5)


@pytest.mark.parametrize("blocks", [(1, 0, 1), (2, 1, 3), (0, 2, 0)])
def test_the_decoder_looks_back_so_far_and_no_further(blocks):
    torch.manual_seed(0)
    config = dataclasses.replace(CONFIG, decoder_blocks=blocks)
    vae = VAE(config).eval().requires_grad_(False)
    back = config.decoder_memory
    latent = torch.randn(1, 4, back + 3, 2, 2)

    def last(start):
        return list(vae.decode_stream([latent[:, :, start:]]))[-1]

    assert torch.equal(last(0), last(2)), "so many latent frames before a frame decide what it is"
    assert not torch.equal(last(0), last(back + 1)), "and fewer do not"


def test_nothing_in_gives_nothing_out(codec):
    assert list(codec.reconstruct([])) == []


def test_values_that_are_not_finite_are_said(codec):
    latent = torch.full((1, 4, 1, 2, 2), float("nan"))
    with pytest.raises(UserError, match="not finite"):
        list(codec.frames(latent, Grid(1, 16, 16, 8.0, codec.geometry)))


def test_devices(monkeypatch):
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    for name in ("gpu", "meta", ""):
        with pytest.raises(UserError, match="There is no device"):
            pick_device(name)
    with pytest.raises(UserError, match="no CUDA device 'cuda:99' on this machine"):
        pick_device("cuda:99")
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="use --device cpu"):
            pick_device("cuda")
    monkeypatch.setattr("torch.mps.device_count", lambda: 0)
    with pytest.raises(UserError, match="no MPS device 'mps' on this machine: use --device cpu"):
        pick_device("mps")
