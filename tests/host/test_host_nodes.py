"""The host's own nodes work with our MODEL, CLIP and VAE."""

import json

import av
import numpy as np
import torch
from safetensors.torch import save_file

from sora_core import canvas as canvases
from sora_core import checkpoint
from sora_core.grid import Grid
from tests.host.conftest import SMALLEST, TINY, networks
from tests.host.graph import Clip

ROUNDING = 1  # of 255: the host cuts colours to 8 bits when it saves an image


def test_vae_decode_and_its_tiled_form_are_the_engines_codec(server, engine, latents, pictures):
    g = Clip(TINY, width=144, height=80, frames=9)
    latent = g.sample()
    kept, whole = g.keep(latent), g.show(g.images(latent))
    tiled = g.images(latent, "VAEDecodeTiled", tile_size=64, overlap=0, temporal_size=8, temporal_overlap=4)
    tiled = g.show(tiled)
    result = server.run(g.api)
    frames, tiles = pictures(result, whole), pictures(result, tiled)
    ours = torch.cat(list(engine.frames(latents(result, kept), Grid(9, 80, 144, 8.0, engine.geometry))), dim=2)
    ours = ((ours[0].movedim(0, -1) + 1) * 127.5).numpy()
    assert frames.shape == (9, 80, 144, 3)
    assert np.abs(frames - ours).max() <= ROUNDING
    assert np.abs(tiles.astype(int) - frames).max() <= ROUNDING


def test_vae_encode_takes_any_size_and_is_the_engines_codec(server, engine, latents, picture_in):
    odd = (np.random.default_rng(0).random((45, 61, 3)) * 255).astype(np.uint8)
    g = Clip(TINY)
    image = g("LoadImage", image=picture_in(odd))[0]
    plain = g.keep(g("VAEEncode", pixels=image, vae=g.vae)[0])
    tiled = {"tile_size": 64, "overlap": 0, "temporal_size": 64, "temporal_overlap": 8}
    tiled = g.keep(g("VAEEncodeTiled", pixels=image, vae=g.vae, **tiled)[0])
    result = server.run(g.api)
    ours = engine.encode((torch.from_numpy(odd).movedim(-1, 0) / 127.5 - 1)[None, :, None])
    assert ours.shape == (1, 8, 1, 6, 8)
    assert (latents(result, plain) - ours).abs().max() <= 1e-4
    assert (latents(result, tiled) - ours).abs().max() <= 1e-4


def test_save_video_has_every_frame_the_rate_and_the_workflow(server, tmp_path):
    g = Clip(TINY, fps=12.0, frames=13)
    video = g("CreateVideo", images=g.images(g.sample()), fps=g.fps)[0]
    g("SaveVideo", video=video, filename_prefix="clip", format="mp4", codec="h264")
    result = server.run(g.api, extra={"workflow": {"nodes": [], "made_by": "a test"}})
    path = server.save(result.files("mp4")[0], tmp_path / "clip.mp4")
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        assert (stream.width, stream.height, stream.average_rate) == (64, 48, 12)
        assert sum(1 for _ in file.decode(stream)) == 13
        assert json.loads(file.metadata["workflow"])["made_by"] == "a test"
        assert "SoraSampler" in file.metadata["prompt"]


def test_a_lora_is_added_to_the_weights_that_it_names(server, engine, latents):
    """LoraLoader gives what the engine gives with W + strength * up @ down, in the transformer and the text encoder."""
    random = torch.Generator().manual_seed(1)
    names = {
        "diffusion_model.blocks.0.up": engine.dit.blocks[0].up,
        "diffusion_model.blocks.1.attention.qkv": engine.dit.blocks[1].attention.qkv,
        "text_encoders.layers.0.up": engine.text.layers[0].up,
    }
    lora, added = {}, []
    for name, layer in names.items():
        out, into = layer.weight.shape
        up, down = torch.randn(out, 2, generator=random) / 4, torch.randn(2, into, generator=random) / 4
        lora |= {f"{name}.lora_up.weight": up, f"{name}.lora_down.weight": down}
        added.append((layer, up @ down))
    save_file(lora, server.folder / "models" / "loras" / "test.safetensors")

    g = Clip(TINY)
    plain = g.keep(g.sample())
    off = g("LoraLoader", model=g.model, clip=g.clip, lora_name="test.safetensors", strength_model=0, strength_clip=0)
    off = g.keep(g.sample(model=off[0]))
    on = g("LoraLoader", model=g.model, clip=g.clip, lora_name="test.safetensors", strength_model=1, strength_clip=1)
    g.positive = g("CLIPTextEncode", clip=on[1], text="a red ball")[0]
    g.negative = g("CLIPTextEncode", clip=on[1], text="blue")[0]
    patched = g.keep(g.sample(model=on[0]))
    result = server.run(g.api)
    plain, off, patched = (latents(result, node) for node in (plain, off, patched))
    assert torch.equal(plain, off)
    assert (plain - patched).abs().max() > 0.01

    with torch.no_grad():
        for layer, delta in added:
            layer.weight += delta
    settings = {"seed": 3, "steps": 3, "cfg": 3.0, "solver": "euler", "negative": "blue"}
    try:
        grid = Grid(9, 48, 64, 8.0, engine.geometry)
        ours = engine.fill(canvases.empty(grid), "a red ball", **settings)
    finally:
        with torch.no_grad():
            for layer, delta in added:
                layer.weight -= delta
    assert (patched - ours).abs().max() <= 1e-4


def test_easycache_skips_steps(server, latents):
    g = Clip(TINY)
    cache = {"reuse_threshold": 1.0, "start_percent": 0.0, "end_percent": 1.0, "verbose": False}
    cached = g("EasyCache", model=g.model, **cache)[0]
    ours, hosts = g.keep(g.sample(model=cached, steps=12)), g.keep(g.ksample(model=cached, steps=12))
    before = server.log().count("EasyCache - skipped")
    result = server.run(g.api)
    said = [line for line in server.log().splitlines() if "EasyCache - skipped" in line][before:]
    assert len(said) == 2 and not any("skipped 0/" in line for line in said), said
    assert all(torch.isfinite(latents(result, node)).all() for node in (ours, hosts))


def test_torch_compile_changes_nothing(server, latents):
    g = Clip(SMALLEST, width=16, height=16, frames=1)
    compiled = g("TorchCompileModel", model=g.model, backend="inductor")[0]
    once = {"steps": 1, "cfg": 1.0}  # one shape: every further one costs another compilation
    plain, fast = g.keep(g.sample(**once)), g.keep(g.sample(model=compiled, **once))
    result = server.run(g.api, timeout=900)
    assert (latents(result, plain) - latents(result, fast)).abs().max() <= 1e-4


def test_context_windows_cut_masks_as_they_cut_the_clip(server, latents, picture_in, photo):
    g = Clip(TINY, frames=33)
    image = g("LoadImage", image=picture_in(photo))[0]
    canvas = g("SoraAnimateImage", latent=g.latent, image=image, vae=g.vae, strength=0.0, frame=0)[0]
    declared = server.object_info()["ContextWindowsManual"]["input"]["required"]
    usual = {name: rest[0].get("default") for name, (_, *rest) in declared.items() if rest}
    windows = usual | {"model": g.model, "context_length": 4, "context_overlap": 2, "dim": 2}
    windows |= {"context_schedule": "standard_static", "fuse_method": "pyramid"}
    known, sampled = g.keep(canvas), g.keep(g.ksample(model=g("ContextWindowsManual", **windows)[0], latent=canvas))
    result = server.run(g.api)
    known, sampled = latents(result, known), latents(result, sampled)
    assert sampled.shape == (1, 8, 9, 6, 8) and torch.isfinite(sampled).all()
    assert torch.equal(sampled[:, :, 0], known[:, :, 0])


def test_the_hosts_schedule_shift_node_works(server, latents):
    g = Clip(TINY)
    shifted = g("ModelSamplingSD3", model=g.model, shift=6.0)[0]
    plain, moved = g.keep(g.ksample()), g.keep(g.ksample(model=shifted))
    result = server.run(g.api)
    assert torch.isfinite(latents(result, moved)).all()
    assert (latents(result, plain) - latents(result, moved)).abs().max() > 0.01


def test_the_hosts_frame_rate_node_tells_the_model(server, latents):
    g = Clip(TINY)
    plain = g.keep(g.ksample())
    rates = [g("LTXVConditioning", positive=g.positive, negative=g.negative, frame_rate=r).outputs(2) for r in (8, 1)]
    same, slow = (g.keep(g.ksample(positive=positive, negative=negative)) for positive, negative in rates)
    result = server.run(g.api)
    assert torch.equal(latents(result, plain), latents(result, same))
    assert (latents(result, plain) - latents(result, slow)).abs().max() > 1e-3


def test_a_checkpoint_that_was_written_again_is_loaded_again(server, latents):
    path = server.folder / "models" / "checkpoints" / "changing.safetensors"
    results = []
    for mix in (True, False, False):
        checkpoint.save(path, networks(local_mix=mix))
        g = Clip(path.name)
        node = g.keep(g.sample())
        results.append(latents(server.run(g.api), node))
    assert (results[0] - results[1]).abs().max() > 0.01
    assert torch.equal(results[1], results[2])


def test_ancestral_and_multistep_samplers_of_the_host_give_finite_results(server, latents):
    g = Clip(TINY)
    names = ["euler_ancestral", "dpmpp_2m", "uni_pc", "lcm", "res_multistep"]
    nodes = [g.keep(g.ksample(sampler_name=name, scheduler="normal")) for name in names]
    result = server.run(g.api)
    assert all(torch.isfinite(latents(result, node)).all() for node in nodes)
