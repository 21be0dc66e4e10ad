"""The canvas on the host's own video models: tiny random weights, loaded by the host's loaders (see tiny_models.py)."""

from dataclasses import dataclass, replace

import pytest
import torch

from sora_core.batch.client import WorkflowError
from sora_core.video import probe
from tests.host.graph import Clip, Graph

pytestmark = pytest.mark.usefixtures("host_models")

SCALING = 1e-5  # relative: the host scales a latent for its model and back in float32


@dataclass(frozen=True)
class Case:
    """A model of the host, and the size at which it is tested: a clip of three latent frames."""

    name: str
    text_width: int
    frames: int
    width: int
    height: int
    latent: tuple[int, int, int, int]  # what the grid must come out as
    kind: str  # of its levels: patch, frame or one

    def load(self, g: Graph) -> tuple[list, list]:
        """(MODEL, VAE)."""
        if self.name == "ltx":
            model, _, vae = g("CheckpointLoaderSimple", ckpt_name="ltx.safetensors").outputs(3)
            return model, vae
        if self.name.startswith("cosmos"):  # KSampler needs no VAE
            return g("TinyCosmos", version=int(self.name[-1]))[0], []
        vae = "wan" if self.name in ("wan_t2v", "wan_i2v") else self.name
        model = g("UNETLoader", unet_name=f"{self.name}.safetensors", weight_dtype="default")[0]
        return model, g("VAELoader", vae_name=f"{vae}.safetensors")[0]


CASES = [
    Case("wan_t2v", 4096, 9, 64, 48, (16, 3, 6, 8), "one"),
    Case("wan_i2v", 4096, 9, 64, 48, (16, 3, 6, 8), "one"),
    Case("wan22", 4096, 9, 64, 48, (48, 3, 4, 4), "frame"),  # 48 pixels are three cells, and a patch takes two
    Case("hunyuan", 32, 9, 64, 48, (16, 3, 6, 8), "one"),
    Case("ltx", 64, 17, 128, 96, (128, 3, 3, 4), "patch"),
]
LEVELS = ["first", "ends", "region", "mixed", "edit", "batch"]
each_model = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


class Film(Graph):
    """A graph with a model of the host, its VAE, a grid for it and two prompts."""

    def __init__(self, case: Case, frames: int | None = None):
        super().__init__()
        self.model, self.vae = case.load(self)
        size = {"size": "custom", "width": case.width, "height": case.height, "length": frames or case.frames}
        size |= {"unit": "frames", "fps": 8.0, "batch_size": 1}
        self.latent = self("SoraPatchGrid", **size, model=self.model)[0]
        text = {"width": case.text_width, "mask": case.name == "ltx"}
        self.positive, self.negative = (self("TinyText", **text, seed=seed)[0] for seed in (1, 2))

    def canvas(self, kind: str, seed: int = 7) -> tuple[list, list]:
        """(LATENT, LATENT whose samples are its levels)."""
        return tuple(self("TinyCanvas", latent=self.latent, levels=kind, seed=seed).outputs(2))

    def sample(self, latent: list, **changes) -> list:
        settings = {"seed": 3, "steps": 3, "cfg": 2.0, "solver": "euler", "shift": 2.0}
        settings |= {"cfg_from": 0.0, "cfg_to": 1.0, "cfg_rescale": 0.0}
        inputs = {"model": self.model, "positive": self.positive, "negative": self.negative, "latent": latent}
        return self("SoraSampler", **(inputs | settings | changes))[0]

    def ksample(self, latent: list, **changes) -> list:
        settings = {"seed": 3, "steps": 3, "cfg": 2.0, "sampler_name": "euler", "scheduler": "simple", "denoise": 1.0}
        inputs = {"model": self.model, "positive": self.positive, "negative": self.negative, "latent_image": latent}
        return self("KSampler", **(inputs | settings | changes))[0]

    def keep(self, latent: list, name: str = "latent") -> str:
        return self("SaveLatent", samples=latent, filename_prefix=name).name


def vae_if_needed(g: Film, case: Case) -> dict:
    """Sora Sampler's input `vae`, for the one that reads kept frames on grey."""
    return {"vae": g.vae} if case.name == "wan_i2v" else {}


@each_model
def test_the_grid_reads_the_geometry_of_the_model(server, latents, case):
    g = Film(case)
    node = g.keep(g.latent)
    assert latents(server.run(g.api), node).shape == (1, *case.latent)


@each_model
@pytest.mark.parametrize("kind", LEVELS)
def test_what_is_kept_stays_bit_for_bit_and_the_rest_is_new(server, latents, case, kind):
    g = Film(case)
    canvas, levels = g.canvas(kind)
    nodes = [g.keep(latent) for latent in (canvas, levels, g.sample(canvas, **vae_if_needed(g, case)))]
    content, level, filled = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    kept = (level == 0).expand_as(content)
    assert torch.equal(filled[kept], content[kept])
    assert torch.isfinite(filled).all() and (filled - content)[~kept].abs().min() > 0


@each_model
def test_ksampler_takes_the_canvas_and_keeps_it_to_the_precision_of_its_scaling(server, latents, case):
    g = Film(case)
    canvas, levels = g.canvas("ends")
    nodes = [g.keep(latent) for latent in (canvas, levels, g.ksample(canvas))]
    content, level, filled = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    kept = (level == 0).expand_as(content)
    assert (filled - content)[kept].abs().max() <= SCALING * content.abs().max()
    assert torch.isfinite(filled).all() and (filled - content)[~kept].abs().max() > 0.1


@each_model
@pytest.mark.parametrize("kind", LEVELS)
def test_the_model_is_told_the_true_level_of_all_that_it_sees(server, latents, case, kind):
    """A model that knows the content sees exactly (1 - level) content + level noise at every step."""
    seed = 1000 + 10 * CASES.index(case) + LEVELS.index(kind)
    g = Film(case)
    canvas, _ = g.canvas(kind, seed)
    model = g("TinyOracle", model=g.model, canvas=canvas, seed=seed)[0]
    filled = g.sample(canvas, model=model, seed=seed, steps=5, solver="ab2", **vae_if_needed(g, case))
    nodes = g.keep(canvas), g.keep(filled), g.keep(g("TinyVerdict", latent=filled, seed=seed)[0])
    content, filled, error = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    assert error.item() <= 1e-4
    assert (filled - content).abs().max() <= 1e-4 * content.abs().max()


@pytest.mark.parametrize(
    "case",
    [Case("cosmos1", 64, 17, 64, 48, (16, 3, 6, 8), "one"), Case("cosmos2", 64, 9, 64, 48, (16, 3, 6, 8), "frame")],
    ids=lambda case: case.name,
)
def test_cosmos_takes_the_canvas_under_ksampler_and_sora_sampler_says_so(server, latents, case):
    """Its noise grows without bound, where rectified flow mixes: that is another canvas than the engine's."""
    g = Film(case)
    canvas, levels = g.canvas("ends")
    nodes = [g.keep(latent) for latent in (g.latent, canvas, levels, g.ksample(canvas))]
    empty, content, level, filled = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    assert empty.shape == (1, *case.latent)
    kept = (level == 0).expand_as(content)
    assert (filled - content)[kept].abs().max() <= SCALING * content.abs().max()
    assert torch.isfinite(filled).all() and (filled - content)[~kept].abs().max() > 0.1
    g = Film(case)
    g.keep(g.sample(g.latent))
    with pytest.raises(WorkflowError, match="is not a rectified flow, which Sora Sampler solves: use KSampler"):
        server.run(g.api)


def test_a_model_that_makes_sound_too_is_refused(server):
    g = Film(CASES[-1])
    g.keep(g.sample(g.latent, model=g("TinySound", model=g.model)[0]))
    with pytest.raises(WorkflowError, match="makes sound with its pictures, which Sora Sampler cannot"):
        server.run(g.api)


OPERATIONS = {  # (node, settings, frames that come out): n is the number of frames that go in, s the stride in time
    "place": ("SoraPlaceFrames", lambda n, s: {"frame": s, "strength": 0.0}, lambda n, s: n),
    "forward": ("SoraExtendVideo", lambda n, s: {"direction": "forward", "length": 2 * s}, lambda n, s: n + 2 * s),
    "odd": ("SoraExtendVideo", lambda n, s: {"direction": "forward", "length": s + 1}, lambda n, s: n + s + 1),
    "backward": ("SoraExtendVideo", lambda n, s: {"direction": "backward", "length": s}, lambda n, s: n + s),
    "both": ("SoraExtendVideo", lambda n, s: {"direction": "both", "length": s}, lambda n, s: n + 2 * s),
    "loop": ("SoraLoopVideo", lambda n, s: {"mode": "bridge", "length": 2 * s, "context": 2}, None),
    "cyclic": ("SoraLoopVideo", lambda n, s: {"mode": "cyclic", "length": 1, "context": 1}, lambda n, s: 3 * s),
    "bridge": ("SoraConnectVideos", lambda n, s: {"mode": "bridge", "length": 2 * s, "strength": 0.9}, None),
    "morph": ("SoraConnectVideos", lambda n, s: {"mode": "morph", "length": 1, "strength": 0.9}, lambda n, s: n),
    "edit": ("SoraEditVideo", lambda n, s: {"strength": 0.6, "curve": "0:0.0, 1:0.8"}, lambda n, s: n),
    "reframe": ("SoraReframe", lambda n, s: {"width": 192, "height": 128, "place": "center"}, lambda n, s: n),
    "refine": ("SoraRefine", lambda n, s: {"width": 192, "height": 144, "strength": 0.5}, lambda n, s: n),
}


@each_model
@pytest.mark.parametrize("operation", OPERATIONS)
def test_every_operation_keeps_what_it_keeps_and_has_the_frames_it_says(server, latents, case, operation):
    node, settings, expected = OPERATIONS[operation]
    stride = (case.frames - 1) // 2
    g = Film(case, 3 * stride if operation == "cyclic" else None)
    settings = settings(case.frames, stride)
    if "length" in settings:
        settings["unit"] = "frames"
    videos = [g.canvas("video", seed)[0] for seed in (1, 2)]
    if node == "SoraConnectVideos":
        made = g(node, latent_a=videos[0], latent_b=videos[1], **settings)
    elif operation == "place":
        still = Film(case, 1)  # one frame of the same size
        g.api |= {f"still{name}": moved(node, "still") for name, node in still.api.items()}
        clip = g("TinyCanvas", latent=[f"still{still.latent[0]}", 0], levels="video", seed=3)[0]
        made = g(node, latent=g.latent, clip=clip, **settings)
    else:
        made = g(node, latent=g.latent if operation == "cyclic" else videos[0], **settings)
    filled = g.sample(made[0], steps=2, **vae_if_needed(g, case))
    if (case.name, operation) == ("wan_i2v", "cyclic"):
        g.keep(filled)
        with pytest.raises(WorkflowError, match="starts from a first frame, and a cyclic loop has none"):
            server.run(g.api)
        return
    nodes = [g.keep(made[0]), g.keep(g("TinyLevels", latent=made[0])[0]), g.keep(filled)]
    nodes.append(g.keep(g("TinyFilm", latent=filled, vae=g.vae)[0]))
    said = g("PreviewAny", source=made[1]).name if node in ("SoraLoopVideo", "SoraConnectVideos") else None
    result = server.run(g.api)
    content, level, filled, film = (latents(result, node) for node in nodes)
    content, level = content[:, :, : filled.shape[2]], level[:, :, : filled.shape[2]]  # a loop comes back as one lap
    kept = (level == 0).expand_as(content)
    assert torch.isfinite(filled).all() and torch.equal(filled[kept], content[kept])
    assert kept.any() != (operation in ("cyclic", "refine"))
    frames = expected(case.frames, stride) if expected else int(result.outputs[said]["text"][0])
    assert len(film) == frames
    width, height = (settings.get(name, own) for name, own in (("width", case.width), ("height", case.height)))
    assert film.shape[1:] == (height, width, 3)


@each_model
@pytest.mark.parametrize("sampler", ["sample", "ksample"])
def test_with_a_timeline_every_moment_is_told_its_own_prompt(server, latents, case, sampler):
    """In one step, what a moment becomes is what it becomes where its prompt is the only one."""
    g = Film(case)
    clip = g("TinyClip", width=case.text_width, mask=case.name == "ltx")[0]
    half, end = case.frames / 16, case.frames / 8
    text = f"0-{half}s: rain; {half}-{end}s: snow"
    prompts = [g("SoraPromptTimeline", clip=clip, timeline=text, latent=g.latent)[0]]
    prompts += [g("CLIPTextEncode", clip=clip, text=text)[0] for text in ("rain", "snow")]
    nodes = [g.keep(getattr(g, sampler)(g.latent, positive=prompt, steps=1, cfg=1.0)) for prompt in prompts]
    both, rain, snow = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    assert (rain - snow).abs().mean() > 1e-3
    torch.testing.assert_close(both[:, :, :2], rain[:, :, :2], rtol=0, atol=1e-5)
    torch.testing.assert_close(both[:, :, 2:], snow[:, :, 2:], rtol=0, atol=1e-5)


@each_model
def test_a_canvas_can_be_looked_at(server, pictures, case):
    g = Film(case)
    image = g("SoraInspectCanvas", latent=g.canvas("mixed")[0], vae=g.vae)[0]
    shown = g("SaveImage", images=image, filename_prefix="canvas").name
    assert pictures(server.run(g.api), shown).std() > 10


@each_model
def test_steps_taken_again_keep_what_is_kept_and_change_the_rest(server, latents, case):
    g = Film(case)
    canvas, levels = g.canvas("first")
    settings = vae_if_needed(g, case)
    filled = g.sample(canvas, **settings), g.sample(canvas, resample=2, **settings)
    nodes = [g.keep(latent) for latent in (canvas, levels, *filled)]
    content, level, plain, again = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    kept = (level == 0).expand_as(content)
    assert torch.equal(again[kept], content[kept])
    assert torch.isfinite(again).all() and (again - plain)[~kept].abs().max() > 0.1


@each_model
def test_a_latent_of_another_model_is_refused_with_both_geometries(server, case):
    g = Film(case)
    other = Film(next(other for other in CASES[::-1] if other.latent[0] != case.latent[0]))
    g.api |= {f"other{name}": moved(node, "other") for name, node in other.api.items()}
    g.keep(g.sample([f"other{other.latent[0]}", 0]))
    with pytest.raises(WorkflowError) as told:
        server.run(g.api)
    said = str(told.value)
    assert said.count("pixels a cell") == 2 and f"{case.latent[0]} channels" in said and "\n" not in said


@pytest.mark.parametrize(
    "reader, maker, by",
    [
        *(
            (*pair, by)
            for pair in (("sora", "wan"), ("wan", "sora"), ("wan", "hunyuan"))
            for by in ("sampler", "decoder")
        ),
        ("hunyuan", "wan", "sampler"),  # a TAEHV, which is the test's VAE for it, does not say whose latents it reads
    ],
)
def test_latents_of_the_same_sizes_that_mean_something_else_are_refused(server, reader, maker, by):
    """Those of Wan 2.1, HunyuanVideo and the bundled codec all have 16 channels and 4 frames x 8 x 8 pixels a cell."""

    def of(kind: str):
        return Clip("bundled") if kind == "sora" else Film(CASES[0] if kind == "wan" else CASES[3])

    g, other = of(reader), of(maker)
    g.api |= {f"other{name}": moved(node, "other") for name, node in other.api.items()}
    foreign = [f"other{other.latent[0]}", 0]
    if by == "sampler":
        g.keep(g.sample(foreign) if reader != "sora" else g.sample(latent=foreign))
    else:
        files = {"filename_prefix": "x", "format": "png sequence", "crf": -1, "pixel_format": "auto", "fps": 0.0}
        g("SoraDecodeToVideo", latent=foreign, vae=g.vae, save_to="temp", **files)
    with pytest.raises(WorkflowError, match="made for another model"):
        server.run(g.api)


def moved(node: dict, prefix: str) -> dict:
    """A node of a graph under names of its own."""
    inputs = node["inputs"].items()
    inputs = {key: [prefix + value[0], value[1]] if isinstance(value, list) else value for key, value in inputs}
    return node | {"inputs": inputs}


def test_an_image_to_video_model_reads_kept_frames_on_grey(server, latents):
    """Without its VAE the node says so; with it the kept frames change what is made of the rest."""
    case = CASES[1]
    g = Film(case)
    g.keep(g.sample(g.canvas("first")[0]))
    with pytest.raises(WorkflowError, match="connect its VAE to the input vae of Sora Sampler"):
        server.run(g.api)

    g = Film(case)
    canvas, _ = g.canvas("first")
    # The host's own way: what the person gave it is left as it is.
    start = g("EmptyImage", width=64, height=48, batch_size=1, color=0xFF0000)[0]
    size = {"width": 64, "height": 48, "length": 9, "batch_size": 1}
    given = g("WanImageToVideo", positive=g.positive, negative=g.negative, vae=g.vae, start_image=start, **size)
    by_canvas = g.keep(g.sample(canvas, vae=g.vae))
    by_hand = g.keep(g.sample(canvas, positive=given[0], negative=given[1]))
    result = server.run(g.api)
    assert (latents(result, by_canvas) - latents(result, by_hand)).abs().max() > 1e-3


@pytest.mark.parametrize("frames", [1, 5, 9, 13, 21])
@pytest.mark.parametrize("version", ["2.1", "2.2"])
def test_a_wan_vae_is_streamed_exactly(server, latents, version, frames):
    g = Graph()
    vae, channels, cell = g("VAELoader", vae_name="wan.safetensors")[0], 16, 8
    if version == "2.2":
        vae, channels, cell = g("TinyWan22VAE", wan=vae)[0], 48, 16
    parts = g("TinyStream", vae=vae, frames=frames, width=3 * cell, height=2 * cell, encode=True).outputs(4)
    nodes = [g("SaveLatent", samples=part, filename_prefix="stream").name for part in parts]
    result = server.run(g.api)
    latent, streamed, whole, film = (latents(result, node) for node in nodes)
    assert latent.shape == (1, channels, 1 + (frames - 1) // 4, 2, 3)
    assert whole.shape == (frames, 2 * cell, 3 * cell, 3)
    assert torch.equal(latent, streamed) and torch.equal(whole, film)


@pytest.mark.parametrize("name", ["wan22", "hunyuan", "ltx"])
def test_other_vaes_are_streamed_in_windows_near_the_whole(server, latents, name):
    case = next(case for case in CASES if case.name == name)
    g = Graph()
    _, vae = case.load(g)
    stride = (case.frames - 1) // 2
    for frames in (1 + 11 * stride, 1 + 14 * stride):  # one window, two windows
        side = 2 * case.width // case.latent[3]
        parts = g("TinyStream", vae=vae, frames=frames, width=side, height=side, encode=False).outputs(4)
        nodes = [g("SaveLatent", samples=part, filename_prefix="stream").name for part in parts[2:]]
        result = server.run(g.api)
        whole, film = (latents(result, node) for node in nodes)
        assert film.shape == whole.shape == (frames, side, side, 3)
        if frames == 1 + 11 * stride:
            assert torch.equal(film, whole)
        else:
            assert (film - whole).abs().mean() < 0.5 * whole.std()


# The small VAE that stands for Wan2.2's cannot encode in ComfyUI 0.8.2.
@pytest.mark.parametrize("case", [case for case in CASES if case.name != "wan22"], ids=lambda case: case.name)
def test_a_picture_of_no_whole_cells_is_animated(server, latents, case):
    """VAEs of the host cut off what is no whole cell, and the canvas rounds up."""
    odd = replace(case, width=case.width - 8, height=case.height - 8)
    g = Film(odd)
    image = g("EmptyImage", width=odd.width, height=odd.height, batch_size=1, color=0xFF0000)[0]
    canvas = g("SoraAnimateImage", latent=g.latent, image=image, vae=g.vae, strength=0.0, frame=0)[0]
    canvas, filled = g.keep(canvas), g.keep(g.sample(canvas, **vae_if_needed(g, odd)))
    result = server.run(g.api)
    canvas, filled = latents(result, canvas), latents(result, filled)
    assert canvas.shape[1:] == case.latent and torch.equal(filled[:, :, 0], canvas[:, :, 0])


def test_a_latent_of_no_whole_patches_keeps_its_size_in_pixels(server, latents, tmp_path):
    """The host's VAE knows nothing of the patches of its model: 5 x 7 cells here, of which the model takes 6 x 8."""
    g = Film(replace(CASES[0], width=56, height=40))
    images = g("EmptyImage", width=56, height=40, batch_size=9, color=0x3366FF)[0]
    encoded = g("VAEEncode", pixels=images, vae=g.vae)[0]
    sampled = g.sample(encoded)
    whole = g.keep(sampled)
    settings = {"filename_prefix": "odd", "format": "mp4 H.264", "crf": -1, "pixel_format": "auto", "fps": 8.0}
    g("SoraDecodeToVideo", latent=sampled, vae=g.vae, save_to="temp", **settings)
    result = server.run(g.api)
    assert latents(result, whole).shape == (1, 16, 3, 6, 8)
    (saved,) = result.files("mp4")
    info = probe(server.save(saved, tmp_path / "odd.mp4"))
    assert (info.width, info.height, info.frames) == (56, 40, 9)
