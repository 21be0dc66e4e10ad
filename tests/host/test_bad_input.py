"""Whatever is wrong, the host shows one clear sentence, nothing is lost and the next run works."""

import pickle

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from sora_core.batch.client import WorkflowError
from tests.host.conftest import TINY, to_array
from tests.host.graph import Clip, Graph


def refusal(server, graph) -> str:
    """What the host says when it refuses a workflow; always a single short line."""
    with pytest.raises(WorkflowError) as told:
        server.run(graph.api)
    said = str(told.value)
    assert "\n" not in said and 20 < len(said) < 400, said
    return said


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"width": 0}, "smaller than min"),
        ({"height": -64}, "smaller than min"),
        ({"width": 100_000}, "bigger than max"),
        ({"width": "wide"}, "width"),
        ({"size": "9000p"}, "9000p"),
        ({"fps": 0}, "smaller than min"),
        ({"length": 0}, "number of frames must be at least 1, not 0"),
        ({"length": 2.5}, "whole number, not 2.5"),
        ({"length": 500}, "longer than 60 seconds"),
        ({"length": 7000, "unit": "seconds"}, "duration in seconds must be above 0 and at most 60"),
        ({"width": 2048, "height": 2048, "length": 17}, "too large: the largest of this shape is"),
        ({"width": 1920, "height": 1080, "length": 480, "batch_size": 64}, "the largest size of this shape that fits"),
    ],
)
def test_sizes_that_cannot_be(server, change, expected):
    g = Clip(TINY)
    grid = next(node for node in g.api.values() if node["class_type"] == "SoraPatchGrid")
    grid["inputs"].update(change)
    g.keep(g.latent)
    assert expected in refusal(server, g)


def test_sizes_from_another_node_are_checked_as_well(server):
    g = Clip(TINY)
    grid = next(node for node in g.api.values() if node["class_type"] == "SoraPatchGrid")
    grid["inputs"]["width"] = g("PrimitiveInt", value=-5)[0]
    g.keep(g.latent)
    assert "width must be" in refusal(server, g)


@pytest.fixture
def broken(server, tiny):
    """(name, write(path)) -> the name in the menu of SoraLoadModel."""
    made = []

    def put(name: str, write) -> str:
        path = server.folder / "models" / "checkpoints" / name
        write(path)
        made.append(path)
        return name

    yield put
    for path in made:
        path.unlink(missing_ok=True)


def damaged(tiny, kind: str):
    """A function that writes a checkpoint with one fault."""

    def write(path):
        data = tiny.read_bytes()
        if kind == "truncated":
            path.write_bytes(data[: len(data) // 2])
        elif kind == "cut in the header":
            path.write_bytes(data[:100])
        elif kind == "empty":
            path.write_bytes(b"")
        elif kind == "pickle":
            path.write_bytes(pickle.dumps({"dit.weight": [1.0]}))
        elif kind == "torch zip":
            torch.save({"dit.weight": torch.ones(2)}, path)
        elif kind == "foreign":
            save_file({"model.diffusion_model.input_blocks.0.0.weight": torch.ones(3)}, path)
        elif kind == "wrong config":
            path.write_bytes(data.replace(rb"\"depth\": 2", rb"\"depth\": 3", 1))
        elif kind == "nan":
            from safetensors import safe_open

            with safe_open(tiny, framework="pt") as file:
                metadata = file.metadata()
            tensors = load_file(tiny)
            tensors["dit.patch_in.weight"][0, 0] = float("nan")
            save_file(tensors, path, metadata=metadata)
        elif kind == "codec only":
            from sora_core import checkpoint
            from tests.host.conftest import networks

            checkpoint.save(path, {"vae": networks()["vae"]})

    return write


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("truncated", "truncated"),
        ("cut in the header", "truncated"),
        ("empty", "safetensors"),
        ("pickle", "pickle"),
        ("torch zip", "pickle"),
        ("foreign", "not a checkpoint of this project"),
        ("wrong config", "lacks the tensor 'dit.blocks.2"),
        ("nan", "dit.patch_in.weight"),
        ("codec only", "no transformer"),
    ],
)
def test_checkpoints_that_cannot_be_loaded(server, broken, tiny, kind, expected):
    name = broken(f"{kind.replace(' ', '-')}.safetensors", damaged(tiny, kind))
    g = Clip(name)
    g.keep(g.latent)
    said = refusal(server, g)
    assert expected in said and "Traceback" not in said


def test_a_checkpoint_that_is_not_in_the_menu(server):
    g = Clip("../../etc/passwd")
    g.keep(g.latent)
    assert "not in list" in refusal(server, g)


def test_a_latent_with_nan_is_refused_before_sampling_and_before_decoding(server):
    latent = torch.zeros(1, 8, 3, 6, 8)
    latent[0, 0, 1, 2, 3] = float("nan")
    version = {"latent_format_version_0": torch.tensor([])}
    save_file({"latent_tensor": latent} | version, server.folder / "input" / "nan.latent")
    for use in ("sample", "decode"):
        g = Clip(TINY)
        loaded = g("LoadLatent", latent="nan.latent")[0]
        if use == "sample":
            g.keep(g.sample(latent=loaded))
        else:
            g.show(g.images(loaded))
        assert "not " in (said := refusal(server, g)) and "NaN" in said


def test_latents_of_another_model_or_an_image_model(server):
    g = Clip(TINY)
    g.keep(g.sample(latent=g("EmptyHunyuanLatentVideo", width=64, height=48, length=9, batch_size=1)[0]))
    assert "16x3x6x8" in refusal(server, g)
    g = Clip(TINY)
    g.keep(g.sample(latent=g("EmptyLatentImage", width=64, height=48, batch_size=1)[0]))
    assert "Sora Patch Grid" in refusal(server, g)


def test_a_frame_that_the_video_does_not_have(server, picture_in, photo):
    g = Clip(TINY)
    image = g("LoadImage", image=picture_in(photo))[0]
    g.keep(g("SoraAnimateImage", latent=g.latent, image=image, vae=g.vae, strength=0.0, frame=9)[0])
    assert "Frame 9 is not in a video of 9 frames" in refusal(server, g)


def test_two_images_on_a_batch_of_one(server, picture_in, photo):
    g = Clip(TINY)
    image = g("LoadImage", image=picture_in(photo))[0]
    two = g("RepeatImageBatch", image=image, amount=2)[0]
    g.keep(g("SoraAnimateImage", latent=g.latent, image=two, vae=g.vae, strength=0.0, frame=0)[0])
    assert "onto a batch of 1: give one image; the frames of a clip go to Sora Place Frames" in refusal(server, g)


def test_a_vae_of_another_kind(server, picture_in, photo):
    g = Clip(TINY)
    image = g("LoadImage", image=picture_in(photo))[0]
    other = g("VAELoader", vae_name="pixel_space")[0]
    g.keep(g("SoraAnimateImage", latent=g.latent, image=image, vae=other, strength=0.0, frame=0)[0])
    assert "VAE of Load Sora Model" in refusal(server, g)


@pytest.mark.parametrize("mode", ["RGBA", "L", "LA", "I;16", "1", "P"])
def test_pictures_of_every_kind_and_odd_size_can_be_animated(server, latents, picture_in, mode):
    values = np.random.default_rng(0).integers(0, 255, (37, 91), dtype=np.uint8)
    if mode == "I;16":
        image = Image.fromarray(values.astype(np.uint16) * 257)
    else:
        image = Image.fromarray(values).convert(mode)
    g = Clip(TINY)
    loaded = g("LoadImage", image=picture_in(image, f"picture-{mode.replace(';', '')}.png"))[0]
    node = g.keep(g("SoraAnimateImage", latent=g.latent, image=loaded, vae=g.vae, strength=0.0, frame=0)[0])
    known = latents(server.run(g.api), node)
    assert known.shape == (1, 8, 3, 6, 8) and torch.isfinite(known).all() and known[:, :, 0].abs().max() > 0.1


def test_a_corrupt_and_an_empty_picture(server):
    for name, data in (("corrupt.png", b"\x89PNG\r\n\x1a\n" + b"0" * 40), ("empty.png", b"")):
        (server.folder / "input" / name).write_bytes(data)
        g = Clip(TINY)
        loaded = g("LoadImage", image=name)[0]
        g.keep(g("SoraAnimateImage", latent=g.latent, image=loaded, vae=g.vae, strength=0.0, frame=0)[0])
        assert "image" in refusal(server, g).lower()


def test_a_prompt_of_a_megabyte(server, latents):
    g = Clip(TINY, "a red ball " * 100_000, width=16, height=16, frames=1)
    node = g.keep(g.sample(steps=1))
    assert torch.isfinite(latents(server.run(g.api), node)).all()


def test_the_grid_shows_a_picture_of_itself(server):
    g = Graph()
    model = g("SoraLoadModel", checkpoint=TINY)[0]
    size = {"size": "1080p 16:9", "width": 8, "height": 8, "length": 1, "unit": "seconds", "fps": 24.0}
    grid = g("SoraPatchGrid", **size, batch_size=1, model=model)
    g("SaveLatent", samples=grid[0], filename_prefix="grid")
    result = server.run(g.api)
    (picture,) = result.outputs[grid.name]["images"]
    assert to_array(server.fetch(picture)).shape == (384, 512, 3)
