"""Prompt and canvas in, video out, with untrained networks: sizes, seeds, batches, what is kept and what is refused."""

from dataclasses import replace

import pytest
import torch

from sora_core import canvas as canvases
from sora_core.checkpoint import load
from sora_core.errors import UserError
from sora_core.flow import shift_for_tokens
from sora_core.grid import Geometry, Grid
from sora_core.pipeline import Pipeline, Settings, Size, describe, same_area
from sora_core.timeline import Timeline


@pytest.fixture(scope="module")
def pipeline(tiny_checkpoint):
    return Pipeline.load(tiny_checkpoint, "cpu")


def test_the_card_gives_the_defaults(pipeline):
    assert (pipeline.settings.steps, pipeline.settings.cfg) == (3, 2.0)
    assert pipeline.settings.solver == Settings().solver
    assert pipeline.size == Size(32, 32, 5, 8.0)
    grid = pipeline.grid()
    assert (grid.width, grid.height, grid.frames, grid.fps) == (32, 32, 5, 8.0)
    assert grid.geometry == pipeline.geometry


def test_a_canvas_that_goes_on_from_a_video_has_settings_of_its_own(tiny_checkpoint):
    models = load(tiny_checkpoint)
    pipeline = Pipeline(replace(models, card=models.card | {"continuing": {"cfg": 1.0}}))
    assert pipeline.continuing == replace(pipeline.settings, cfg=1.0), "all others are those of the card"
    latent = torch.randn(1, *pipeline.grid(frames=5).latent_shape)
    given = canvases.extend(canvases.keep(latent, pipeline.grid(frames=5)), forward=1)
    half = replace(given, level=torch.where(torch.arange(4) < 2, given.level, torch.ones(())))  # its left half
    edited = canvases.edit(canvases.keep(latent, pipeline.grid(frames=5)), 0.5)
    assert pipeline.settings_for(given) == pipeline.continuing
    image = pipeline.image_canvas(torch.zeros(3, 32, 32), pipeline.grid())
    for canvas in (canvases.empty(pipeline.grid()), half, edited, image):
        assert pipeline.settings_for(canvas) == pipeline.settings
    assert torch.equal(pipeline.fill(given, "a ball"), pipeline.fill(given, "a ball", cfg=1.0))
    assert not torch.equal(pipeline.fill(given, "a ball"), pipeline.fill(given, "a ball", cfg=2.0))


@pytest.mark.parametrize("frames, height, width", [(1, 16, 16), (5, 32, 32), (6, 37, 51), (3, 9, 16)])
def test_exactly_the_size_asked_for(pipeline, frames, height, width):
    video = pipeline.generate("a ball", pipeline.grid(width, height, frames))
    assert video.shape == (1, 3, frames, height, width)
    assert video.min() >= -1 and video.max() <= 1 and video.std() > 0


def test_seconds_and_frames(pipeline):
    assert pipeline.grid(seconds=2).frames == 16
    assert pipeline.grid(seconds=2, fps=10).frames == 20
    with pytest.raises(UserError, match="not both"):
        pipeline.grid(frames=5, seconds=1)


def test_the_seed_decides(pipeline):
    grid = pipeline.grid(16, 16, 1)
    first, again, other = (pipeline.generate("a ball", grid, seed=s) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_model_says_the_shift_of_its_schedule(pipeline, monkeypatch):
    grid = pipeline.grid(16, 16, 5)
    by_hand = pipeline.generate("a ball", grid, shift=3 * shift_for_tokens(grid.tokens))
    usual = pipeline.generate("a ball", grid)
    monkeypatch.setattr(pipeline.dit, "config", replace(pipeline.dit.config, shift=3.0))
    assert torch.equal(pipeline.generate("a ball", grid), by_hand) and not torch.equal(by_hand, usual)


def test_a_batch_is_its_single_videos(pipeline):
    grid = pipeline.grid(16, 16, 5)
    both = pipeline.generate(["a red ball", "a blue star that spins"], grid, seed=5)
    for b, prompt in enumerate(["a red ball", "a blue star that spins"]):
        assert torch.allclose(both[b], pipeline.generate(prompt, grid, seed=5 + b)[0], atol=1e-4)


def test_the_stream_is_the_whole(pipeline):
    grid = pipeline.grid(24, 16, 9)
    latent = pipeline.fill(canvases.empty(grid), "a ball", seed=3)
    parts = list(pipeline.frames(latent, grid))
    assert [p.shape[2] for p in parts] == [1, 4, 4]
    assert torch.equal(torch.cat(parts, dim=2), pipeline.generate("a ball", grid, seed=3))


def test_prompts_are_heard(pipeline):
    """The untrained transformer's last layer is not zero, so another text must give another video."""
    grid = pipeline.grid(16, 16, 1)
    assert not torch.equal(pipeline.generate("a ball", grid), pipeline.generate("a star", grid))
    plain = pipeline.generate("a ball", grid, cfg=1)
    assert torch.equal(plain, pipeline.generate("a ball", grid, cfg=1, negative="a star")), "unused without guidance"
    assert not torch.equal(pipeline.generate("a ball", grid), pipeline.generate("a ball", grid, negative="a star")), (
        "used with guidance"
    )


@pytest.mark.parametrize("prompt", ["", " \n", "\N{HOT BEVERAGE} \u4e2d\u6587 \x00 \ud7ff", "ball " * 2000])
def test_any_prompt(pipeline, prompt):
    assert pipeline.generate(prompt, pipeline.grid(16, 16, 1)).isfinite().all()


def test_a_megabyte_of_prompt(pipeline):
    words = "the red ball moves slowly over green grass "
    prompt = words * (1_000_000 // len(words) + 1)
    assert pipeline.generate(prompt, pipeline.grid(16, 16, 1), steps=1).isfinite().all()


def test_animate_keeps_the_image(pipeline, smooth_clip):
    image = smooth_clip(1, 32, 48)[:, 0]
    grid = pipeline.grid(48, 32, 5)
    canvas = pipeline.image_canvas(image, grid)
    assert canvas.kept[:, :, 0].all() and not canvas.kept[:, :, 1:].any()
    latent = pipeline.fill(canvas, "it moves")
    assert torch.equal(latent[:, :, 0], canvas.latent[:, :, 0])
    video = pipeline.animate(image, "it moves", grid)
    assert video.shape == (1, 3, 5, 32, 48)
    through = pipeline.vae.decode(pipeline.encode(image[None, :, None])).clamp(-1, 1)
    assert torch.allclose(video[:, :, :1], through, atol=1e-5)


def test_one_image_for_several_prompts(pipeline, smooth_clip):
    grid = pipeline.grid(32, 32, 5)
    video = pipeline.animate(smooth_clip(1, 32, 32)[:, 0], ["left", "right"], grid)
    assert video.shape[0] == 2
    assert torch.allclose(video[0, :, 0], video[1, :, 0], atol=1e-5)


def test_an_image_keeps_its_shape():
    for width, height in [(64, 64), (640, 480), (1080, 1920), (3000, 10)]:
        w, h = same_area(torch.zeros(3, height, width), Size())
        assert w % 8 == 0 and h % 8 == 0
        if height > 10:
            assert w * h == pytest.approx(64 * 64, rel=0.15) and w / h == pytest.approx(width / height, rel=0.15)
        assert min(w, h) >= 8


# ------------------------------------------------------------------------------------------------- over time


def test_a_timeline_of_one_prompt_is_the_prompt(pipeline):
    grid = pipeline.grid(16, 16, 17)
    plain = pipeline.fill(canvases.empty(grid), "a red ball", seed=3)
    assert torch.equal(pipeline.fill(canvases.empty(grid), Timeline.parse("0-3s: a red ball"), seed=3), plain)


def test_prompts_change_over_time(pipeline):
    grid = pipeline.grid(16, 16, 17)

    def fill(prompt):
        return pipeline.fill(canvases.empty(grid), prompt, seed=3, steps=1)

    red, blue = fill("a red ball"), fill("a blue star that spins")
    same = fill(Timeline.parse("0-1s: a red ball; 1-2s: a red ball"))
    torch.testing.assert_close(same, red, rtol=0, atol=1e-5)
    both = fill(Timeline.parse("0-1s: a red ball; 1-2s: a blue star that spins"))
    nearer_red = (both - red).square().sum((0, 1, 3, 4)) < (both - blue).square().sum((0, 1, 3, 4))
    assert nearer_red.tolist() == [True, True, True, False, False]


def test_a_batch_of_timelines_and_prompts(pipeline):
    grid = pipeline.grid(16, 16, 29)
    prompts = [
        Timeline.parse("0-2s: a red ball; 2-4s: a blue star that spins"),
        "a ball",
        Timeline.parse("0-1s: a; 1-4s: b"),
    ]
    for count in (2, 3):  # the second is told otherwise than the first, the third at other times
        together = pipeline.fill(canvases.empty(grid, count), prompts[:count], seed=5)
        for b, prompt in enumerate(prompts[:count]):
            alone = pipeline.fill(canvases.empty(grid), prompt, seed=5 + b)
            torch.testing.assert_close(together[b], alone[0], rtol=0, atol=1e-4)
    with pytest.raises(UserError, match=r"timeline ends at 2 s and the video at 3\.625 s"):
        pipeline.fill(canvases.empty(grid), Timeline.parse("0-2s: a ball"))


def test_a_video_longer_than_the_window(pipeline):
    grid = pipeline.grid(16, 24, 50)
    latent = pipeline.fill(canvases.empty(grid), "a ball", seed=3)
    frames = list(pipeline.frames(pipeline.stream(canvases.empty(grid), "a ball", seed=3), grid))
    assert sum(chunk.shape[2] for chunk in frames) == 50
    assert torch.equal(torch.cat(frames, dim=2), torch.cat(list(pipeline.frames(latent, grid)), dim=2))
    begin = pipeline.fill(canvases.empty(pipeline.grid(16, 24, 17)), "a ball", seed=3)
    assert torch.equal(latent[:, :, :5], begin), "the first window is the short video of the same seed"


def test_a_window_that_holds_everything_changes_nothing(pipeline):
    canvas = canvases.empty(pipeline.grid(16, 16, 29))
    whole = pipeline.fill(canvas, "a ball", window=8)
    assert torch.equal(whole, pipeline.fill(canvas, "a ball", window=99, context=1, anchor=True, match=1.0))
    assert not torch.equal(whole, pipeline.fill(canvas, "a ball", window=7))


def test_kept_frames_of_a_long_canvas_stay(pipeline):
    latent = torch.randn(1, 4, 3, 2, 2)
    canvas = canvases.place(canvases.place(canvases.empty(pipeline.grid(16, 16, 61)), latent, 4), latent[:, :, :1], -1)
    filled = pipeline.fill(canvas, "a ball", steps=1)
    assert torch.equal(filled[:, :, 4:7], latent) and torch.equal(filled[:, :, -1:], latent[:, :, :1])


def test_a_loop_repeats_exactly(pipeline):
    """Three laps decoded: each is the same, bit for bit; and it has exactly the frames that were asked for."""
    lap = pipeline.grid(24, 16, 24, cyclic=True)
    latent = pipeline.fill(canvases.empty(lap), "a ball", seed=2, steps=7)
    assert latent.shape[2] == 6
    one = torch.cat(list(pipeline.frames(latent, lap)), dim=2)
    three = torch.cat(
        list(pipeline.frames(latent.repeat(1, 1, 3, 1, 1), Grid(72, 16, 24, 8.0, lap.geometry, True))), dim=2
    )
    assert one.shape == (1, 3, 24, 16, 24)
    first, second, third = three.split(24, dim=2)
    assert torch.equal(second, third) and torch.equal(first, second) and torch.equal(first, one)
    cold = torch.cat(list(pipeline.vae.decode_stream([latent], 21, 16, 24)), dim=2).clamp(-1, 1)
    assert not torch.equal(cold[:, :, :4], one[:, :, 3:7]), "the first lap of a clip that starts cold is another"


def test_an_interrupt_passes_through(pipeline):
    seen = []

    def stop(step, steps, x, x0):
        seen.append((step, steps))
        if step == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.generate("a ball", pipeline.grid(16, 16, 1), callback=stop)
    assert seen == [(1, 3), (2, 3)]


# ----------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "settings, says",
    [
        ({"steps": 0}, "number of steps"),
        ({"steps": 10**9}, "number of steps"),
        ({"solver": "magic"}, "no solver 'magic'"),
        ({"cfg": float("nan")}, "finite"),
        ({"rescale": 2.0}, "rescale"),
        ({"window": 2}, "at least 3"),
        ({"context": 9}, "a context from 1 to 4"),
        ({"match": -1.0}, "matched by 0 to 1"),
    ],
)
def test_impossible_settings(pipeline, settings, says):
    with pytest.raises(UserError, match=says):
        pipeline.generate("a ball", pipeline.grid(16, 16, 1), **settings)


def test_as_many_prompts_as_samples(pipeline):
    with pytest.raises(UserError, match="2 prompts for a canvas of 1"):
        pipeline.fill(canvases.empty(pipeline.grid()), ["a", "b"])


def test_more_than_the_memory_is_refused_before_it_is_taken(pipeline, monkeypatch):
    monkeypatch.setattr("sora_core.pipeline.available_memory", lambda device: 2**27)
    with pytest.raises(UserError, match=r"the largest size of this shape that fits is \d+x\d+\.$"):
        pipeline.grid(1920, 1080, 480, 24)


def test_a_long_video_needs_the_memory_of_a_window(pipeline, monkeypatch):
    monkeypatch.setattr("sora_core.pipeline.available_memory", lambda device: 2**26)
    minute = pipeline.grid(192, 192, 1440, 24)
    with pytest.raises(UserError, match="192x192 with 1440 frames needs about"):
        minute.check_memory(2**26, width=32)


def test_moments_of_several_latent_frames_are_refused_where_they_cannot_be(pipeline):
    pairs = Geometry(channels=4, patch=(2, 2, 2))
    for grid in (Grid(33, 16, 16, 8.0, pairs), Grid(16, 16, 16, 8.0, pairs, cyclic=True)):
        with pytest.raises(UserError, match="need patches of one latent frame, and this model's are 2 long"):
            pipeline.fill(canvases.empty(grid), "a ball")


def test_networks_that_do_not_belong_together(pipeline, tiny_checkpoint):
    from sora_core.text import TextConfig, TextEncoder
    from sora_core.vae import VAE, VAEConfig

    models = load(tiny_checkpoint)
    models.vae = VAE(VAEConfig(channels=8, fine_width=8, middle_width=8, coarse_width=8))
    with pytest.raises(UserError, match="8 channels and the transformer's 4"):
        Pipeline(models)
    models = load(tiny_checkpoint)
    models.text = TextEncoder(TextConfig((), 32, 1, 2))
    with pytest.raises(UserError, match="32 wide, and the transformer reads 16"):
        Pipeline(models)
    models.text = None
    with pytest.raises(UserError, match="holds no text network"):
        Pipeline(models)


def test_weights_that_overflow_are_said(tiny_checkpoint):
    models = load(tiny_checkpoint)
    models.dit.patch_out.weight.fill_(1e38)
    broken = Pipeline(models)
    with pytest.raises(UserError, match="not numbers"):
        broken.generate("a ball", broken.grid(16, 16, 1))


def test_a_description_says_it_all():
    said = describe(Settings(seed=7, steps=9), "a ball", Grid(5, 16, 24, 8.0), "bundled")
    assert (said["prompt"], said["seed"]) == ("a ball", 7)
    assert said["settings"]["steps"] == 9 and said["settings"]["width"] == 24
    assert said["settings"]["checkpoint"] == "bundled" and "seed" not in said["settings"]
