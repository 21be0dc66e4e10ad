"""The compression network: causal, exact in pieces and in tiles, any size in and out."""

import pytest
import torch

from sora_core.checkpoint import load
from sora_core.errors import UserError
from sora_core.vae import VAE, VAEConfig

EXACT = 1e-5  # float32: the convolution kernels that a size selects may add in another order


@pytest.fixture(scope="module", params=["random", "bundled"])
def vae(request):
    if request.param == "bundled":
        return load("bundled", only=("vae",)).vae
    torch.manual_seed(0)
    config = VAEConfig(
        channels=4, fine_width=8, middle_width=12, coarse_width=16, encoder_blocks=(1, 1, 1), decoder_blocks=(1, 1, 1)
    )
    model = VAE(config)
    model.latent_mean.normal_()
    model.latent_std.uniform_(0.5, 2)
    return model.eval().requires_grad_(False)


def assert_same(vae, got, expected):
    """Bit for bit at the sizes that are released; layers of a few channels are summed in an order that depends on the
    size of the picture."""
    torch.testing.assert_close(got, expected, rtol=0, atol=0 if vae.config == VAEConfig() else EXACT)


def clip(frames, height=40, width=56, batch=1):
    return torch.rand(batch, 3, frames, height, width, generator=torch.Generator().manual_seed(frames)) * 2 - 1


def test_the_network_is_not_blind(vae):
    """The other tests would pass on a constant: the output depends on its input everywhere."""
    z = vae.encode(clip(9))
    assert z.std() > 0.05 and (vae.encode(clip(9) * 0.5) - z).abs().amax((0, 1)).min() > 1e-4


@pytest.mark.parametrize("frames", [1, 5, 17, 29])
def test_prefixes_are_causal(vae, frames):
    whole, part = vae.encode(clip(29)), vae.encode(clip(29)[:, :, :frames])
    assert part.shape[2] == 1 + (frames - 1) // 4
    torch.testing.assert_close(part, whole[:, :, : part.shape[2]], rtol=0, atol=EXACT)
    decoded = vae.decode(part)
    assert decoded.shape[2] == frames
    torch.testing.assert_close(decoded, vae.decode(whole)[:, :, :frames], rtol=0, atol=EXACT)


@pytest.mark.parametrize("pieces", [1, 3, 4, 7, 100])
@pytest.mark.parametrize("frames", [1, 5, 14, 17])
def test_streaming_equals_whole(vae, frames, pieces):
    video = clip(frames)
    whole = vae.encode(video)
    latents = list(vae.encode_stream(video.split(pieces, dim=2)))
    assert_same(vae, torch.cat(latents, dim=2), whole)
    streamed = torch.cat(list(vae.decode_stream(whole.split(pieces, dim=2), frames)), dim=2)
    assert_same(vae, streamed, vae.decode(whole, frames))


@pytest.mark.parametrize("tile", [1, 5, 8, 1000])
def test_tiles_equal_whole(vae, tile):
    video = clip(9, 104, 136)
    whole = vae.encode(video)
    assert_same(vae, vae.encode(video, tile=tile), whole)
    assert_same(vae, vae.decode(whole, tile=tile), vae.decode(whole))


def test_tiles_and_streams_together(vae):
    video = clip(13, 104, 88)
    whole = vae.encode(video)
    latents = torch.cat(list(vae.encode_stream(video.split(2, dim=2), tile=4)), dim=2)
    assert_same(vae, latents, whole)
    frames = torch.cat(list(vae.decode_stream([whole], tile=4)), dim=2)
    assert_same(vae, frames, vae.decode(whole))


def test_a_tile_without_its_halo_would_show(vae, monkeypatch):
    """The halo is needed: with less of it the result differs, so the test above can fail."""
    video = clip(1, 104, 136)
    monkeypatch.setattr(VAEConfig, "encoder_halo", property(lambda self: 1))
    assert (vae.encode(video, tile=5) - vae.encode(video)).abs().max() > 1e-3


def test_a_warm_start_continues_the_clip(vae):
    video, state = clip(17), {}
    first = vae.encode(video[:, :, :9], state=state)
    rest = vae.encode(video[:, :, 9:], state=state)
    torch.testing.assert_close(torch.cat([first, rest], dim=2), vae.encode(video), rtol=0, atol=EXACT)


@pytest.mark.parametrize("frames, height, width", [(1, 1, 1), (2, 9, 17), (6, 33, 31), (8, 40, 7), (1, 100, 75)])
def test_any_size_comes_back(vae, frames, height, width):
    video = clip(frames, height, width, batch=2)
    latent = vae.encode(video)
    assert latent.shape == (2, vae.config.channels, 1 + -(-(frames - 1) // 4), -(-height // 8), -(-width // 8))
    assert vae.decode(latent, frames, height, width).shape == video.shape
    streamed = torch.cat(list(vae.decode_stream([latent], frames, height, width)), dim=2)
    assert streamed.shape == video.shape


def test_an_image_is_a_video_of_one_frame(vae):
    image = clip(1)
    still = image.expand(-1, -1, 9, -1, -1)
    torch.testing.assert_close(vae.encode(still)[:, :, :1], vae.encode(image), rtol=0, atol=EXACT)


def test_initialize_is_principal_component_analysis():
    torch.manual_seed(0)
    mix = torch.randn(2, 3 * 4 * 64) * 0.2
    latent = torch.randn(1, 3, 4, 4, 2)
    patches = (latent @ mix).view(1, 3, 4, 4, 3, 4, 8, 8)
    video = patches.permute(0, 4, 1, 5, 2, 6, 3, 7).reshape(1, 3, 12, 32, 32)[:, :, 3:]
    model = VAE(VAEConfig(channels=10, fine_width=4, middle_width=4, coarse_width=4)).initialize(video).eval()
    with torch.no_grad():
        for path in (model.encoder, model.decoder):
            path.head.conv.weight.zero_()  # what the convolutional paths add
        error = (model.decode(model.encode(video)) - video)[:, :, 1:]
    assert error.square().mean() < 1e-3 * video.square().mean()


@pytest.mark.parametrize("shape", [(3, 5, 16, 16), (1, 4, 5, 16, 16), (1, 3, 0, 16, 16)])
def test_a_wrong_video_is_refused(vae, shape):
    with pytest.raises(UserError, match="must have the shape"):
        vae.encode(torch.zeros(shape))


def test_a_latent_of_another_model_is_refused(vae):
    with pytest.raises(UserError, match="must have"):
        vae.decode(torch.zeros(1, 5, 2, 4, 4))
    with pytest.raises(UserError, match="tile"):
        vae.decode(torch.zeros(1, vae.config.channels, 2, 4, 4), tile=0)
