"""The checkpoint that is shipped, inside the host."""

import pytest

from sora_core import canvas as canvases
from sora_core.pipeline import Pipeline
from tests.host.graph import Clip


@pytest.fixture(scope="module")
def bundled() -> Pipeline:
    return Pipeline.load("bundled", device="cpu")


def test_the_host_gives_the_latent_of_the_command_line(server, latents, bundled):
    prompt = "a yellow star moves to the left in the night"
    g = Clip("bundled", prompt, width=64, height=64, frames=17, negative="")
    low, high = bundled.settings.interval  # of the checkpoint's card
    node = g.keep(g.sample(seed=11, steps=4, cfg=4.0, solver="ab2", cfg_from=low, cfg_to=high))
    canvas = canvases.empty(bundled.grid(64, 64, 17))
    ours = bundled.fill(canvas, prompt, seed=11, steps=4, cfg=4.0, solver="ab2")
    assert (latents(server.run(g.api), node) - ours).abs().max() <= 1e-4


@pytest.mark.parametrize("with_model", [True, False])
def test_the_grid_of_a_minute_asks_for_the_memory_of_a_window(server, latents, with_model):
    """720p: 3.5 GB window by window; all of it at once would be 27."""
    g = Clip("bundled", width=1280, height=720, frames=480)
    if not with_model:
        del next(node for node in g.api.values() if node["class_type"] == "SoraPatchGrid")["inputs"]["model"]
    node = g.keep(g.latent)
    assert tuple(latents(server.run(g.api), node).shape) == (1, 16, 121, 90, 160)


def test_a_grid_without_a_model_is_the_bundled_models(server, latents, bundled):
    g = Clip("bundled")
    del next(node for node in g.api.values() if node["class_type"] == "SoraPatchGrid")["inputs"]["model"]
    node = g.keep(g.latent)
    assert tuple(latents(server.run(g.api), node).shape[1:]) == bundled.grid(64, 48, 9).latent_shape
