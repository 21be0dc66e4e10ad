"""SoraSampler gives the engine's result, the host's own samplers work and mean the same by a noise mask."""

import re
import time
from dataclasses import replace

import numpy as np
import pytest
import torch

from sora_core import canvas as canvases
from sora_core import sampler
from sora_core.batch.client import WorkflowError
from sora_core.grid import Grid
from tests.host.conftest import TINY, to_array
from tests.host.graph import Clip

SAME = 1e-4  # of latents whose standard deviation is 1: the host may use other kernels than the engine


def engine_latent(engine, grid, prompt="a red ball", canvas=None, **settings):
    usual = {"seed": 3, "steps": 3, "cfg": 3.0, "solver": "euler", "negative": "blue"}
    return engine.fill(canvas or canvases.empty(grid), prompt, **(usual | settings))


@pytest.mark.parametrize("solver", ["euler", "heun", "ab2", "dpmpp_2m"])
def test_every_solver_gives_the_engines_latent(server, engine, latents, solver):
    g = Clip(TINY)
    node = g.keep(g.sample(solver=solver, seed=2**40 + 1))
    ours = engine_latent(engine, Grid(9, 48, 64, 8.0, engine.geometry), solver=solver, seed=2**40 + 1)
    assert (latents(server.run(g.api), node) - ours).abs().max() <= SAME


def test_guidance_in_an_interval_rescaled_and_shifted_is_the_engines(server, engine, latents):
    g = Clip(TINY)
    node = g.keep(g.sample(steps=4, cfg=6.0, cfg_from=0.3, cfg_to=0.9, cfg_rescale=0.7, shift=1.5))
    settings = {"steps": 4, "cfg": 6.0, "interval": (0.3, 0.9), "rescale": 0.7, "shift": 1.5}
    ours = engine_latent(engine, Grid(9, 48, 64, 8.0, engine.geometry), **settings)
    assert (latents(server.run(g.api), node) - ours).abs().max() <= SAME


def test_an_image_at_another_frame_rate_and_a_batch_are_the_engines(server, engine, latents):
    g = Clip(TINY, width=40, height=72, frames=1)
    one = g.keep(g.sample())
    fast, *_ = g.grid(64, 48, 9, fps=24.0, batch=2).outputs(5)
    two = g.keep(g.sample(latent=fast))
    result = server.run(g.api)
    ours = engine_latent(engine, Grid(1, 72, 40, 8.0, engine.geometry))
    assert (latents(result, one) - ours).abs().max() <= SAME
    grid = Grid(9, 48, 64, 24.0, engine.geometry)
    ours = engine_latent(engine, grid, ["a red ball"] * 2, canvases.empty(grid, 2))
    assert (latents(result, two) - ours).abs().max() <= SAME


def test_a_larger_video_shares_the_noise_of_its_prototype(server, engine, latents):
    g = Clip(TINY)
    node = g.keep(g.sample(latent=g.grid(64, 48, 9, times=2)[0]))
    grid = Grid(9, 48, 64, 8.0, engine.geometry)
    ours = engine_latent(engine, grid, canvas=replace(canvases.empty(grid), scale=2))
    assert (latents(server.run(g.api), node) - ours).abs().max() <= SAME
    assert (engine_latent(engine, grid) - ours).abs().max() > 0.1


@pytest.mark.parametrize("prompt", ["", "naïve 红色的球 🙂 " * 40])
def test_empty_long_and_foreign_prompts(server, engine, latents, prompt):
    g = Clip(TINY, prompt)
    node = g.keep(g.sample())
    ours = engine_latent(engine, Grid(9, 48, 64, 8.0, engine.geometry), prompt)
    assert (latents(server.run(g.api), node) - ours).abs().max() <= SAME


@pytest.mark.parametrize("frame", [0, -1])
def test_an_animated_image_stays_bit_for_bit_under_every_sampler(server, engine, latents, picture_in, photo, frame):
    g = Clip(TINY)
    image = g("LoadImage", image=picture_in(photo))[0]
    canvas = g("SoraAnimateImage", latent=g.latent, image=image, vae=g.vae, strength=0.0, frame=frame)[0]
    known, ours, hosts = g.keep(canvas), g.keep(g.sample(latent=canvas)), g.keep(g.ksample(latent=canvas))
    result = server.run(g.api)
    known, ours, hosts = (latents(result, node) for node in (known, ours, hosts))
    assert known[:, :, frame].abs().max() > 0.1
    assert torch.equal(ours[:, :, frame], known[:, :, frame])
    assert torch.equal(hosts[:, :, frame], known[:, :, frame])
    if frame == 0:
        pixels = torch.from_numpy(photo.copy()).movedim(-1, 0) / 127.5 - 1
        filled = engine.fill(
            engine.image_canvas(pixels, Grid(9, 48, 64, 8.0, engine.geometry)),
            "a red ball",
            seed=3,
            steps=3,
            cfg=3.0,
            solver="euler",
            negative="blue",
        )
        assert (ours - filled).abs().max() <= SAME


@pytest.mark.parametrize("strength", [0.0, 0.5])
def test_steps_in_two_stages_are_those_in_one(server, latents, picture_in, photo, strength):
    """The host hands on x as it is half-way, scaled; what is kept has to be itself there too."""
    g = Clip(TINY)
    image = g("LoadImage", image=picture_in(photo))[0]
    canvas = g("SoraAnimateImage", latent=g.latent, image=image, vae=g.vae, strength=strength, frame=0)[0]

    def stage(latent, start, end, first=True):
        more = {"positive": g.positive, "negative": g.negative, "latent_image": latent}
        more |= {"add_noise": "enable" if first else "disable", "return_with_leftover_noise": "enable"}
        more |= {"noise_seed": 3, "steps": 4, "cfg": 3.0, "sampler_name": "euler", "scheduler": "simple"}
        return g("KSamplerAdvanced", model=g.model, **more, start_at_step=start, end_at_step=end)[0]

    half = stage(canvas, 0, 2)
    nodes = [g.keep(one) for one in (canvas, half, stage(half, 2, 4, first=False), stage(canvas, 0, 4))]
    known, half, two, one = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    assert (two - one).abs().max() <= SAME and not torch.allclose(half, one, atol=0.1)
    if strength == 0:
        assert all(torch.equal(latent[:, :, 0], known[:, :, 0]) for latent in (half, two))


def test_one_of_a_batch_is_sampled_as_it_was_there(server, latents):
    g = Clip(TINY, batch=3)
    third = g("LatentFromBatch", samples=g.latent, batch_index=2, length=1)[0]
    finished = g.sample(latent=third)
    again = g("SoraEditVideo", latent=finished, strength=1.0, curve="")[0]
    nodes = [g.keep(one) for one in (g.sample(), finished, g.sample(latent=again))]
    three, one, again = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    assert (one[0] - three[2]).abs().max() <= SAME < (one[0] - three[0]).abs().max()
    assert (again - one).abs().max() <= SAME  # its number is still known


@pytest.mark.parametrize("strength", [0.0, 0.3, 0.7, 1.0])
def test_a_soft_mask_means_the_same_to_ksampler_and_to_the_engine(server, engine, latents, picture_in, photo, strength):
    g = Clip(TINY)
    image = g("LoadImage", image=picture_in(photo))[0]
    canvas = g("SoraAnimateImage", latent=g.latent, image=image, vae=g.vae, strength=strength, frame=0)[0]
    known, sampled = g.keep(canvas), g.keep(g.ksample(latent=canvas, steps=4))
    result = server.run(g.api)
    content, sampled = latents(result, known), latents(result, sampled)

    # The host's noise and its schedule "simple", through the engine's Euler with the engine's levels.
    noise = torch.randn(content.shape, generator=torch.manual_seed(3))
    times = torch.arange(1, 1001) / 1000
    a = float(sampler.flow.shift_for_tokens(engine.grid().tokens))
    times = (a * times / (1 + (a - 1) * times))[[-1 - int(i * 250) for i in range(4)]]
    level = torch.ones_like(content[:, :1])
    level[:, :, 0] = strength
    with torch.inference_mode():
        text, plain = engine.text.encode_texts(["a red ball"])[0], engine.text.encode_texts(["blue"])[0]
        denoise = sampler.guide(lambda x, s, told: engine.dit(x, s, told, fps=8.0), text, plain, 3.0)
        start = sampler.flow.interpolate(content, noise, level * times[0])
        ours = sampler.euler(denoise, start, torch.cat([times, torch.zeros(1)]).double(), level)
    assert (sampled - ours).abs().max() <= SAME


def test_sampler_custom_advanced_is_ksampler(server, latents):
    g = Clip(TINY)
    plain = g.keep(g.ksample())
    guider = g("CFGGuider", model=g.model, positive=g.positive, negative=g.negative, cfg=3.0)[0]
    parts = {
        "noise": g("RandomNoise", noise_seed=3)[0],
        "guider": guider,
        "sampler": g("KSamplerSelect", sampler_name="euler")[0],
        "sigmas": g("BasicScheduler", model=g.model, scheduler="simple", steps=3, denoise=1.0)[0],
        "latent_image": g.latent,
    }
    advanced = g.keep(g("SamplerCustomAdvanced", **parts)[0])
    result = server.run(g.api)
    assert torch.equal(latents(result, plain), latents(result, advanced))


def test_progress_counts_every_step_and_tells_the_time_left(server):
    for ours in (True, False):
        g = Clip(TINY)
        node = (g.sample if ours else g.ksample)(steps=4, seed=77)
        g.keep(node)
        events = server.run(g.api).events
        assert [data["value"] for kind, data in events if kind == "progress"] == [1, 2, 3, 4]
        said = [data for kind, data in events if kind == "progress_text"]
        assert {one["node"] for one in said} == {node[0]}
        texts = [one["text"] for one in said]
        assert all(re.fullmatch(rf"step {n} of 4, \d+:\d\d left", text) for n, text in zip((2, 3), texts, strict=False))
        assert re.fullmatch(r"4 steps in \d+:\d\d", texts[-1]) and len(texts) == 3


@pytest.mark.parametrize("ours", [True, False], ids=["SoraSampler", "KSampler"])
def test_the_clip_plays_between_the_steps(server, ours):
    """At the clip's pace: 15 latent frames in a second at 60 fps, whatever a step takes."""
    g = Clip(TINY, width=256, height=160, frames=33, fps=60.0)
    if ours:
        node = g.sample(steps=8, seed=77, window=9)
    else:
        timed = g("LTXVConditioning", positive=g.positive, negative=g.negative, frame_rate=60.0)
        node = g.ksample(steps=8, seed=77, positive=timed[0], negative=timed[1])
    g.keep(node)
    heard = []
    server.run(g.api, on_event=lambda kind, data: heard.append((time.monotonic(), kind, data)))
    steps = [i for i, (_, kind, data) in enumerate(heard) if kind == "progress" and data["node"] == node[0]]
    assert len(steps) == 8
    between = [(at, to_array(data["image"])) for at, kind, data in heard[steps[0] : steps[-1]] if kind == "preview"]
    height, width, _ = between[0][1].shape
    assert abs(width / height - 256 / 160) < 0.05  # a frame at a time
    assert len(between) >= 9, "a step has to take longer than a few frames"
    due = 15 * (heard[steps[-1]][0] - heard[steps[0]][0]) + 7  # by the clock, and one with every step
    assert abs(len(between) - due) < 2 + 0.25 * due
    different = {image.tobytes() for _, image in between}
    assert len(different) >= 8  # of the nine latent frames, each after a step or two


def test_an_image_has_one_preview_a_step(server):
    g = Clip(TINY, frames=1)
    g.keep(g.sample(steps=3))
    pictures = [to_array(image) for image in server.run(g.api).previews]
    assert len(pictures) == 3 and np.abs(pictures[0].astype(int) - pictures[-1]).mean() > 5


def test_interrupt_stops_within_a_step_and_the_host_goes_on(server, latents):
    g = Clip(TINY)
    node = g.keep(g.sample(steps=1000, seed=5))
    seen, said = [], []

    def stop(kind, data):
        if kind == "progress_text":
            said.append(data["text"])
        if kind == "progress":
            seen.append(data["value"])
            if len(seen) == 1:
                server.interrupt()

    with pytest.raises(WorkflowError, match="interrupted"):
        server.run(g.api, on_event=stop)
    assert len(seen) < 500
    assert said[-1].startswith("stopped at step ")
    g = Clip(TINY)
    node = g.keep(g.sample(steps=1))
    assert torch.isfinite(latents(server.run(g.api), node)).all()
