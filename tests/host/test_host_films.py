"""Long videos with the host's own video models: window by window, each from what is finished before it."""

import pytest
import torch

from tests.host.test_canvas_nodes import refusal
from tests.host.test_host_models import CASES, Film, vae_if_needed

pytestmark = pytest.mark.usefixtures("host_models")


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_long_canvas_is_filled_window_by_window_and_keeps_what_it_keeps(server, latents, case):
    stride = (case.frames - 1) // 2
    g = Film(case)
    video = g.canvas("video")[0]
    longer = g("SoraExtendVideo", latent=video, direction="both", length=4 * stride, unit="frames")[0]
    settings = {"steps": 2, **vae_if_needed(g, case)}
    filled = [g.sample(longer, window=window, **settings) for window in (4, 20)]
    nodes = [g.keep(latent) for latent in (video, *filled)]
    video, windowed, whole = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    assert windowed.shape == whole.shape and windowed.shape[2] == 3 + 4 + 4
    assert torch.isfinite(windowed).all()
    assert torch.equal(windowed[:, :, 5:7], video[:, :, 1:]) and torch.equal(whole[:, :, 5:7], video[:, :, 1:])
    new = [t for t in range(11) if t not in (5, 6)]
    assert (windowed - whole)[:, :, new].abs().amax((0, 1, 3, 4)).min() > 1e-3  # every new moment was made in a window


def test_guidance_is_rescaled_in_a_circle_too(server, latents):
    case = CASES[0]
    g = Film(case, 16)
    circle = g("SoraLoopVideo", latent=g.latent, mode="cyclic", length=1, unit="frames", context=1)[0]
    settings = [{"cfg_rescale": rescale, "window": window} for rescale in (0.0, 0.7) for window in (0, 4)]
    nodes = [g.keep(g.sample(circle, steps=2, **one)) for one in settings]
    plain, plain_cut, whole, cut = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    for rescaled, other in ((whole, plain), (cut, plain_cut)):
        assert rescaled.shape == other.shape and torch.isfinite(rescaled).all()
        assert (rescaled - other).abs().amax((0, 1, 3, 4)).min() > 1e-4  # at every moment


@pytest.mark.parametrize("node", ["SoraDecodeToVideo", "SoraExtendVideo"])
def test_a_usual_frame_rate_is_not_taken_for_the_latents_own(server, node):
    g = Film(CASES[0])
    empty = g("EmptyHunyuanLatentVideo", width=64, height=48, length=9, batch_size=1)[0]
    edited = g("SoraEditVideo", latent=g.sample(empty, steps=1), strength=0.5, curve="", model=g.model)[0]
    if node == "SoraDecodeToVideo":
        files = {"filename_prefix": "film", "format": "mp4 H.264", "crf": -1, "pixel_format": "auto", "fps": 0.0}
        g(node, latent=g.sample(edited, steps=1), vae=g.vae, save_to="temp", **files)
        assert "does not say its frame rate: set fps" in refusal(server, g)
    else:
        g.keep(g(node, latent=edited, direction="forward", length=1, unit="seconds")[0])
        assert "give the length in frames" in refusal(server, g)


def test_a_latent_without_a_rate_is_as_long_as_at_the_rate_of_its_model(server, latents):
    g = Film(CASES[0])
    half_a_minute, a_minute = (
        g("EmptyHunyuanLatentVideo", width=64, height=48, length=frames, batch_size=1)[0] for frames in (493, 961)
    )
    longer = {"direction": "forward", "length": 4, "unit": "frames", "model": g.model}
    node = g.keep(g("SoraExtendVideo", latent=half_a_minute, **longer)[0])
    assert latents(server.run(g.api), node).shape[2] == 1 + 496 // 4
    g.keep(g("SoraExtendVideo", latent=a_minute, **longer)[0])
    assert "965 frames at 16 frames per second are longer than 60 seconds" in refusal(server, g)


def test_a_latent_without_a_rate_connects_with_one_of_any_rate(server, latents):
    case = CASES[0]
    g = Film(case)
    size = {"width": case.width, "height": case.height, "batch_size": 1}
    pair = g.sample(g.latent, steps=1), g.sample(g("EmptyHunyuanLatentVideo", length=case.frames, **size)[0], steps=1)
    how = {"mode": "bridge", "length": 4, "unit": "frames", "strength": 0.9, "model": g.model}
    both = pair, pair[::-1]
    nodes = [g.keep(g("SoraConnectVideos", latent_a=a, latent_b=b, **how)[0]) for a, b in both]
    result = server.run(g.api)
    joined = 1 + (2 * case.frames + 4 - 1) // 4  # the bridge is rounded to whole latent frames
    assert [latents(result, node).shape[2] for node in nodes] == [joined] * 2


def test_a_window_without_room_is_refused(server):
    g = Film(CASES[0])
    g.keep(g.sample(g.latent, window=2))
    assert "no room to fill" in refusal(server, g)
