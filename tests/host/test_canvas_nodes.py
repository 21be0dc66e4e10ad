"""The canvas nodes give the engine's canvases, compose, and keep what they keep; whatever is wrong is one sentence."""

import numpy as np
import pytest
import torch

from sora_core import canvas as canvases
from sora_core.batch.client import WorkflowError
from sora_core.grid import Grid
from sora_core.timeline import Timeline
from sora_core.video import VideoWriter
from tests.host.conftest import TINY, to_array
from tests.host.graph import Clip

SAME = 1e-4  # of latents whose standard deviation is 1: the host may use other kernels than the engine
SETTINGS = {"seed": 3, "steps": 3, "cfg": 3.0, "solver": "euler", "negative": "blue"}


class Canvas(Clip):
    """A graph with the canvas nodes by name; `video` is a sampled clip."""

    def __init__(self, **size):
        super().__init__(TINY, **size)
        self.video = self.sample()

    def extend(self, latent, direction="forward", length=8, unit="frames"):
        return self("SoraExtendVideo", latent=latent, direction=direction, length=length, unit=unit)

    def loop(self, latent, mode="bridge", length=8, unit="frames", context=3):
        return self("SoraLoopVideo", latent=latent, mode=mode, length=length, unit=unit, context=context)

    def connect(self, a, b, mode="bridge", length=8, strength=0.9):
        length = {"length": length, "unit": "frames"}
        return self("SoraConnectVideos", latent_a=a, latent_b=b, mode=mode, strength=strength, **length)

    def edit(self, latent, strength=0.6, curve="", **mask):
        return self("SoraEditVideo", latent=latent, strength=strength, curve=curve, **mask)

    def reframe(self, latent, width=96, height=64, place="center"):
        return self("SoraReframe", latent=latent, width=width, height=height, place=place)

    def refine(self, latent, width=128, height=96, strength=0.6, **vae):
        return self("SoraRefine", latent=latent, width=width, height=height, strength=strength, **vae)

    def place(self, latent, frame=0, strength=0.0, **what):
        return self("SoraPlaceFrames", latent=latent, frame=frame, strength=strength, **what)

    def timeline(self, text, latent):
        return self("SoraPromptTimeline", clip=self.clip, timeline=text, latent=latent)[0]

    def number(self, value) -> str:
        """Shows a number; returns the node's name, for `shown`."""
        return self("PreviewAny", source=value).name


def shown(result, node: str) -> int:
    (text,) = result.outputs[node]["text"]
    return int(text)


@pytest.fixture
def held(engine):
    """A latent (1, C, t, h, w) of 64x48 at 8 fps -> the engine's canvas that keeps it."""

    def hold(latent, frames=9):
        return canvases.keep(latent, Grid(frames, 48, 64, 8.0, engine.geometry))

    return hold


def refusal(server, graph) -> str:
    with pytest.raises(WorkflowError) as told:
        server.run(graph.api)
    said = str(told.value)
    assert "\n" not in said and 20 < len(said) < 400, said
    return said


# ---------------------------------------------------------------------------------------------------- in time


@pytest.mark.parametrize(("direction", "total", "start"), [("forward", 17, 0), ("backward", 17, 2), ("both", 25, 2)])
def test_extended_videos_have_the_frames_asked_for_and_keep_theirs(
    server, engine, latents, held, direction, total, start
):
    g = Canvas()
    longer, frames = g.extend(g.video, direction).outputs(2)
    nodes = [g.keep(one) for one in (g.video, g.sample(latent=longer), g.ksample(latent=longer))]
    count = g.number(frames)
    result = server.run(g.api)
    video, ours, hosts = (latents(result, node) for node in nodes)
    assert shown(result, count) == total
    assert ours.shape[2] == hosts.shape[2] == engine.geometry.latent_frames(total)
    kept = slice(0, 3) if start == 0 else slice(1, 3)  # behind something new, the first latent frame is invented too
    for filled in (ours, hosts):
        assert torch.equal(filled[:, :, start + kept.start : start + 3], video[:, :, kept])
    forward, backward = 2 * (direction != "backward"), 2 * (direction != "forward")
    same = engine.fill(canvases.extend(held(video), forward, backward), "a red ball", **SETTINGS)
    assert (ours - same).abs().max() <= SAME


def test_any_number_of_frames_can_follow(server, engine, latents):
    g = Canvas(frames=10)
    longer, frames = g.extend(g.video, length=0.5, unit="seconds").outputs(2)
    node, count = g.keep(g.sample(latent=longer)), g.number(frames)
    result = server.run(g.api)
    assert shown(result, count) == 14
    assert latents(result, node).shape[2] == engine.geometry.latent_frames(14)


def test_a_closed_clip_is_one_lap_that_ends_before_its_copy(server, engine, latents, held):
    g = Canvas()
    closed, frames = g.loop(g.video, length=7, context=2).outputs(2)
    filled = g.sample(latent=closed)
    again = g.extend(filled)[0]  # what was filled is a video like any other
    nodes, count = [g.keep(one) for one in (g.video, closed, filled, again)], g.number(frames)
    result = server.run(g.api)
    video, canvas, lap, again = (latents(result, node) for node in nodes)
    assert canvas.shape[2] == 3 + 1 + 2 and lap.shape[2] == 3 + 1 + 1
    assert shown(result, count) == 9 + 7
    assert torch.equal(lap[:, :, :3], video) and again.shape[2] == 7
    same = engine.fill(canvases.loop(held(video), 1, 2), "a red ball", **SETTINGS)
    assert (lap - same[:, :, :5]).abs().max() <= SAME


def test_a_cyclic_loop_is_the_engines_also_when_it_is_decoded(server, engine, latents, pictures):
    g = Clip(TINY)
    circle, frames = Canvas.loop(g, g.latent, "cyclic").outputs(2)
    sampled = g.sample(latent=circle)
    node, count = g.keep(sampled), Canvas.number(g, frames)
    files = {"filename_prefix": "loop", "format": "png sequence", "crf": -1, "pixel_format": "auto", "fps": 0.0}
    film = g("SoraDecodeToVideo", latent=sampled, vae=g.vae, save_to="temp", **files).name
    result = server.run(g.api)
    assert shown(result, count) == 8
    grid = Grid(8, 48, 64, 8.0, engine.geometry, cyclic=True)
    loop = latents(result, node)
    assert (loop - engine.fill(canvases.empty(grid), "a red ball", **SETTINGS)).abs().max() <= SAME
    same = torch.cat(list(engine.frames(loop, grid)), dim=2)[0].movedim(0, -1)
    assert np.abs(pictures(result, film) - ((same + 1) * 127.5).numpy()).max() <= 1


def test_a_loop_that_the_hosts_sampler_filled_is_decoded_as_one_lap(server, pictures):
    g = Canvas()
    closed, frames = g.loop(g.video, length=7, context=2).outputs(2)
    files = {"filename_prefix": "lap", "format": "png sequence", "crf": -1, "pixel_format": "auto", "fps": 0.0}
    film = g("SoraDecodeToVideo", latent=g.ksample(latent=closed), vae=g.vae, save_to="temp", **files).name
    count = g.number(frames)
    result = server.run(g.api)
    assert len(pictures(result, film)) == shown(result, count) == 9 + 7


def test_an_image_at_the_end_of_an_encoded_video_stays_when_it_is_extended(server, latents):
    """The end of a clip of 7 frames is filled up with stills, which are invented anew, but for what lies on them."""
    g = Canvas()
    images = g("EmptyImage", width=64, height=48, batch_size=7, color=0x0000FF)[0]
    video = g("CreateVideo", images=images, fps=8.0)[0]
    whole = {"start_frame": 0, "frames": 0, "fps": 0.0, "width": 0, "height": 0, "fit": "cover"}
    clip = g("SoraEncodeVideo", video=video, vae=g.vae, **whole)[0]
    image = g("EmptyImage", width=64, height=48, batch_size=1, color=0xFF0000)[0]
    placed = g.place(clip, frame=-1, images=image, vae=g.vae)[0]
    nodes = [g.keep(one) for one in (clip, placed, *(g.sample(latent=g.extend(one)[0]) for one in (clip, placed)))]
    clip, placed, plain, kept = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    assert not torch.equal(plain[:, :, 2], clip[:, :, 2]) and torch.equal(kept[:, :, :3], placed)


def test_a_batch_is_refused_where_one_clip_is_meant(server):
    g = Canvas(batch=2)
    files = {"filename_prefix": "two", "format": "png sequence", "crf": -1, "pixel_format": "auto", "fps": 0.0}
    g("SoraDecodeToVideo", latent=g.video, vae=g.vae, save_to="temp", **files)
    with pytest.raises(WorkflowError, match="holds 2 clips and a file holds one: use Latent From Batch"):
        server.run(g.api)


def test_a_batch_as_the_clip_to_be_placed(server):
    g = Canvas()
    two = g.sample(latent=g.grid(64, 48, 5, batch=3)[0])
    g.keep(g.place(g.video, clip=two)[0])
    with pytest.raises(WorkflowError, match="3"):
        server.run(g.api)


def test_an_image_is_extended_and_looped_as_a_clip_of_one_frame(server, latents):
    g = Canvas(frames=1)
    (longer, frames), (closed, lap) = (node.outputs(2) for node in (g.extend(g.video), g.loop(g.video)))
    first, after, loop = (g.keep(one) for one in (g.video, g.sample(latent=longer), g.sample(latent=closed)))
    counts = [g.number(frames), g.number(lap)]
    result = server.run(g.api)
    assert [shown(result, count) for count in counts] == [9, 9]
    assert all(torch.equal(latents(result, node)[:, :, :1], latents(result, first)) for node in (after, loop))


def test_a_cyclic_loop_that_the_hosts_sampler_filled_is_refused(server):
    g = Canvas()
    circle = g.loop(g.grid(64, 48, 16)[0], "cyclic")[0]
    files = {"filename_prefix": "lap", "format": "png sequence", "crf": -1, "pixel_format": "auto", "fps": 0.0}
    g("SoraDecodeToVideo", latent=g.ksample(latent=circle), vae=g.vae, save_to="temp", **files)
    with pytest.raises(WorkflowError, match="fill it with Sora Sampler"):
        server.run(g.api)


def test_images_lie_anywhere_in_a_cyclic_loop(server, latents):
    g = Canvas()
    circle = g.loop(g.grid(64, 48, 16)[0], "cyclic")[0]
    image = g("EmptyImage", width=64, height=48, batch_size=1, color=0xFF0000)[0]
    clip = g("EmptyImage", width=64, height=48, batch_size=4, color=0x00FF00)[0]
    last = g("SoraAnimateImage", latent=circle, image=image, vae=g.vae, strength=0.0, frame=-1)[0]
    both = g.place(last, frame=4, images=clip, vae=g.vae)[0]
    nodes = [g.keep(one) for one in (both, g.sample(latent=both))]
    canvas, filled = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    given = [bool(canvas[0, :, t].any()) for t in range(4)]
    assert given == [False, True, False, True]
    assert [torch.equal(filled[:, :, t], canvas[:, :, t]) for t in range(4)] == given


def test_an_image_laid_onto_a_finished_video_leaves_the_rest_of_it(server, latents):
    g = Canvas()
    image = g("EmptyImage", width=64, height=48, batch_size=1, color=0xFF0000)[0]
    canvas = g("SoraAnimateImage", latent=g.video, image=image, vae=g.vae, strength=0.0, frame=-1)[0]
    nodes = [g.keep(one) for one in (g.video, g.sample(latent=canvas, seed=9))]
    video, filled = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    assert torch.equal(filled[:, :, :2], video[:, :, :2]) and not torch.equal(filled[:, :, 2], video[:, :, 2])


def test_one_of_a_batch_that_the_hosts_sampler_filled_goes_on_as_it_is(server, latents, picture_in, photo):
    """The host's samplers leave the mask on; its nodes cut the batch, but not what is noted beside it."""
    g = Clip(TINY, batch=2)
    image = g("LoadImage", image=picture_in(photo))[0]
    canvas = g("SoraAnimateImage", latent=g.latent, image=image, vae=g.vae, strength=0.0, frame=0)[0]
    one = g("LatentFromBatch", samples=g.ksample(latent=canvas), batch_index=1, length=1)[0]
    longer = g.sample(latent=Canvas.extend(g, one)[0])
    nodes = [g.keep(latent) for latent in (one, longer)]
    one, longer = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    assert longer.shape[2] == 5 and torch.equal(longer[:, :, :3], one)


@pytest.mark.parametrize("window", [0, 3])
def test_two_timelines_combined_are_both_read(server, latents, window):
    """As the host combines prompts: an average, in which neither comes first; also window by window."""
    g = Canvas(frames=17)
    a, b = (g.timeline(f"0-1s: a red {one}; 1-3s: a blue {one}", g.latent) for one in ("ball", "star"))
    ways = [
        a,
        g("ConditioningCombine", conditioning_1=a, conditioning_2=b)[0],
        g("ConditioningCombine", conditioning_1=b, conditioning_2=a)[0],
    ]
    nodes = []
    for g.positive in ways:
        nodes.append(g.keep(g.sample(window=window)))
    one, both, turned = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    assert (both - turned).abs().max() <= SAME and (both - one).abs().max() > 0.01


def test_timelines_may_say_what_is_wanted_and_what_is_not(server, latents):
    g = Canvas()
    g.positive = g.timeline("0-0.5s: a red ball; 0.5-2s: a red star", g.latent)
    wanted = g.sample()
    g.negative = g.timeline("0-0.5s: a blue ball; 0.5-2s: a blue star", g.latent)
    nodes = [g.keep(wanted), g.keep(g.sample())]
    one, other = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    assert torch.isfinite(other).all() and (one - other).abs().max() > 0


def test_two_videos_are_bridged(server, engine, latents, held):
    g = Canvas()
    other = g.sample(seed=9, latent=g.grid(64, 48, 8)[0])
    bridge, frames = g.connect(g.video, other, length=7).outputs(2)
    nodes, count = [g.keep(one) for one in (g.video, other, g.sample(latent=bridge))], g.number(frames)
    result = server.run(g.api)
    a, b, joined = (latents(result, node) for node in nodes)
    assert shown(result, count) == 9 + 7 + 8
    assert torch.equal(joined[:, :, :3], a) and torch.equal(joined[:, :, 5:], b[:, :, 1:])
    same = engine.fill(canvases.connect(held(a), held(b), 1), "a red ball", **SETTINGS)
    assert (joined - same).abs().max() <= SAME


def test_one_video_turns_into_another(server, engine, latents, held):
    g = Canvas()
    other = g.sample(seed=9)
    morphed = g.sample(latent=g.connect(g.video, other, "morph", strength=0.8)[0])
    nodes = [g.keep(one) for one in (g.video, other, morphed)]
    result = server.run(g.api)
    a, b, joined = (latents(result, node) for node in nodes)
    assert torch.equal(joined[:, :, 0], a[:, :, 0]) and torch.equal(joined[:, :, -1], b[:, :, -1])
    same = engine.fill(canvases.morph(held(a), held(b), 0.8), "a red ball", **SETTINGS)
    assert (joined - same).abs().max() <= SAME


@pytest.fixture
def encoded(server, tmp_path, smooth_clip):
    """(graph, frames) -> the LATENT of an encoded file of that length."""

    def encode(g, frames):
        path = tmp_path / f"{frames}.mp4"
        with VideoWriter(path, 64, 48, 8.0) as writer:
            writer.write(smooth_clip(frames, 48, 64))
        settings = {"start_frame": 0, "frames": 0, "fps": 0.0, "width": 0, "height": 0, "fit": "cover"}
        video = g("LoadVideo", file=server.upload(path))[0]
        return g("SoraEncodeVideo", video=video, vae=g.vae, **settings)[0]

    return encode


def test_a_video_of_any_length_goes_on_without_standing_still(server, latents, encoded):
    """Ten frames leave three stills in the last latent frame: it is invented anew where something follows, only there,
    and the frames are as many as were asked for."""
    g = Canvas()
    odd, even = encoded(g, 10), encoded(g, 9)
    made = {
        "forward": (g.extend(odd, length=7), 17, [0, 0, 0, 1, 1]),
        "less": (g.extend(odd, length=2), 12, [0, 0, 0, 1]),
        "backward": (g.extend(odd, "backward", 4), 14, [1, 1, 0, 0, 0]),
        "whole": (g.extend(even, length=4), 13, [0, 0, 0, 1]),
        "again": (g.extend(g.sample(latent=g.extend(odd, length=6)[0]), length=5), 21, [0, 0, 0, 0, 0, 1]),
        "bridge": (g.connect(odd, even, length=6), 25, [0, 0, 0, 1, 1, 0, 0]),
        "before": (g.connect(even, odd, length=7), 26, [0, 0, 0, 1, 1, 0, 0, 0]),
        "loop": (g.loop(odd, length=10, context=2), 20, [0, 0, 0, 1, 1, 1, 0]),
    }
    nodes = {name: g.keep(g("TinyLevels", latent=node[0])[0]) for name, (node, _, _) in made.items()}
    counts = {name: g.number(node[1]) for name, (node, _, _) in made.items()}
    result = server.run(g.api)
    for name, (_, frames, levels) in made.items():
        assert latents(result, nodes[name])[0, 0, :, 0, 0].tolist() == levels, name
        assert shown(result, counts[name]) == frames, name


def test_a_clip_of_any_length_is_placed_without_standing_still(server, latents, encoded):
    g = Canvas(frames=17)
    odd = encoded(g, 6)
    nodes = [g.keep(g("TinyLevels", latent=g.place(g.latent, at, clip=odd)[0])[0]) for at in (0, 12)]
    result = server.run(g.api)
    levels = [latents(result, node)[0, 0, :, 0, 0].tolist() for node in nodes]
    assert levels == [[0, 0, 1, 1, 1], [1, 1, 1, 1, 0]]


# --------------------------------------------------------------------------------------------------- what is there


def test_an_edit_of_strength_0_is_the_video_itself(server, latents):
    g = Canvas()
    nodes = [g.keep(one) for one in (g.video, g.sample(latent=g.edit(g.video, 0.0)[0]))]
    result = server.run(g.api)
    assert torch.equal(latents(result, nodes[0]), latents(result, nodes[1]))


def test_edits_by_region_and_over_time_are_the_engines(server, engine, latents, held):
    g = Canvas()
    white = g("SolidMask", value=1.0, width=40, height=30)[0]
    black = g("SolidMask", value=0.0, width=80, height=60)[0]
    settings = {"x": 0, "y": 0, "operation": "add"}
    mask = g("MaskComposite", destination=black, source=white, **settings)[0]  # of another size than the video
    edited = g.sample(latent=g.edit(g.video, 0.1, "0:0.2,1:0.9", mask=mask)[0])
    nodes = [g.keep(one) for one in (g.video, edited)]
    result = server.run(g.api)
    video, edited = (latents(result, node) for node in nodes)
    region = torch.zeros(60, 80)
    region[:30, :40] = 1
    canvas = canvases.edit(held(video), mask=region, curve=[(0, 0.2), (1, 0.9)])
    assert (edited - engine.fill(canvas, "a red ball", **SETTINGS)).abs().max() <= SAME
    assert torch.equal(edited[..., 4:, :], video[..., 4:, :]) and not torch.equal(edited, video)


@pytest.mark.parametrize(("place", "top", "left"), [("center", 1, 2), ("left", 1, 0), ("bottom", 2, 2)])
def test_the_inside_of_a_larger_frame_is_kept(server, engine, latents, held, place, top, left):
    g = Canvas()
    nodes = [g.keep(one) for one in (g.video, g.sample(latent=g.reframe(g.video, place=place)[0]))]
    result = server.run(g.api)
    video, wide = (latents(result, node) for node in nodes)
    assert wide.shape[3:] == (8, 12)
    assert torch.equal(wide[..., top : top + 6, left : left + 8], video)
    x, y = {"center": (0.5, 0.5), "left": (0, 0.5), "bottom": (0.5, 1)}[place]
    same = engine.fill(canvases.reframe(held(video), 96, 64, x, y), "a red ball", **SETTINGS)
    assert (wide - same).abs().max() <= SAME


def test_a_prototype_is_refined_from_its_patches_or_from_its_pixels(server, engine, latents, held):
    g = Canvas()
    patches = g.sample(latent=g.refine(g.video)[0])
    pixels = g.refine(g.video, strength=0.0, vae=g.vae)[0]
    nodes = [g.keep(one) for one in (g.video, patches, pixels)]
    result = server.run(g.api)
    video, patches, pixels = (latents(result, node) for node in nodes)
    same = engine.fill(canvases.refine(held(video), 128, 96), "a red ball", **SETTINGS)
    assert (patches - same).abs().max() <= SAME
    shown = torch.cat(list(engine.frames(video, Grid(9, 48, 64, 8.0, engine.geometry))), dim=2)[0].movedim(1, 0)
    large = torch.nn.functional.interpolate(shown, (96, 128), mode="bicubic", antialias=True).clamp(-1, 1)
    assert (pixels - engine.encode(large.movedim(0, 1)[None])).abs().max() <= 1e-3


# ------------------------------------------------------------------------------------------------- images and clips


def test_images_and_clips_are_laid_anywhere(server, engine, latents, picture_in, photo):
    g = Clip(TINY, frames=17)
    clip = g.sample(latent=g.grid(64, 48, 9)[0], seed=8)
    image = g("LoadImage", image=picture_in(photo))[0]
    frames = g("ImageFromBatch", image=g.images(clip), batch_index=0, length=5)[0]
    start = Canvas.place(g, g.latent, images=image, vae=g.vae)[0]
    both = Canvas.place(g, start, frame=8, clip=clip)[0]
    film = Canvas.place(g, g.latent, frame=-9, images=frames, vae=g.vae, strength=0.3)[0]
    nodes = [g.keep(one) for one in (clip, both, g.sample(latent=both), film)]
    result = server.run(g.api)
    clip, both, filled, film = (latents(result, node) for node in nodes)
    assert torch.equal(both[:, :, 3:], clip[:, :, 1:])  # its first latent frame, at 2, is invented anew
    assert torch.equal(filled[:, :, [0, 3, 4]], both[:, :, [0, 3, 4]])
    still = (torch.from_numpy(photo.copy()).movedim(-1, 0) / 127.5 - 1)[None, :, None]
    assert (both[:, :, :1] - engine.encode(still)).abs().max() <= 1e-4
    assert film[:, :, 3].abs().max() > 0 and not film[:, :, [0, 1, 2, 4]].any()  # a latent frame begins at 9, not at 8


# ------------------------------------------------------------------------------------------------------ long, told


def test_a_timeline_is_the_engines_and_works_under_ksampler(server, engine, latents):
    g = Clip(TINY, frames=17)
    text = "0-1s: a red ball\n1-3s: a long tale of a blue star at night"
    told = Canvas.timeline(g, text, g.latent)
    plain = g.keep(g.sample())
    ours, hosts = g.keep(g.sample(positive=told)), g.keep(g.ksample(positive=told))
    twice = Canvas.timeline(g, "0-1s: a red ball\n1-3s: a red ball", g.latent)
    hosts_plain, hosts_twice = g.keep(g.ksample()), g.keep(g.ksample(positive=twice))
    one = g.keep(g.sample(positive=Canvas.timeline(g, "0-3s: a red ball", g.latent)))
    result = server.run(g.api)
    grid = Grid(17, 48, 64, 8.0, engine.geometry)
    same = engine.fill(canvases.empty(grid), Timeline.parse(text), **SETTINGS)
    assert (latents(result, ours) - same).abs().max() <= SAME
    assert (latents(result, one) - latents(result, plain)).abs().max() <= SAME
    assert (same - engine.fill(canvases.empty(grid), "a red ball", **SETTINGS)).abs().max() > 0.01
    # The host's own samplers run the model once for each prompt and take what belongs to its time.
    plain, same, other = (latents(result, node) for node in (hosts_plain, hosts_twice, hosts))
    assert (same - plain).abs().max() <= SAME < (other - plain).abs().max()


def test_a_long_video_is_the_engines_also_with_a_timeline_and_what_is_kept(server, engine, latents, held):
    g = Canvas()
    longer = g.extend(g.video, "both", 24)[0]
    told = g.timeline("0-3s: a red ball\n3-8s: a blue star", longer)
    nodes = [g.keep(one) for one in (g.video, g.sample(latent=longer), g.sample(latent=longer, positive=told))]
    result = server.run(g.api)
    video, plain, travelling = (latents(result, node) for node in nodes)
    canvas = canvases.extend(held(video), 6, 6)
    assert torch.equal(plain[:, :, 7:9], video[:, :, 1:])
    assert (plain - engine.fill(canvas, "a red ball", **SETTINGS)).abs().max() <= SAME
    timeline = Timeline.parse("0-3s: a red ball; 3-8s: a blue star")
    assert (travelling - engine.fill(canvas, timeline, **SETTINGS)).abs().max() <= SAME


def test_a_window_shorter_than_the_models_own_context_goes_on_from_less(server, latents):
    g = Canvas()
    nodes = [g.keep(one) for one in (g.video, g.sample(latent=g.extend(g.video, length=16)[0], window=3))]
    video, longer = (latents(result, node) for result in [server.run(g.api)] for node in nodes)
    assert longer.shape[2] == 7 and torch.equal(longer[:, :, :3], video) and torch.isfinite(longer).all()


# ------------------------------------------------------------------------------------------------------ together


def test_three_operations_are_one_canvas_and_one_sampling(server, engine, latents, held):
    g = Canvas()
    canvas = g.edit(g.reframe(g.extend(g.video, length=4)[0])[0], 0.3)[0]
    nodes = [g.keep(one) for one in (g.video, g.sample(latent=canvas))]
    result = server.run(g.api)
    video, filled = (latents(result, node) for node in nodes)
    same = canvases.edit(canvases.reframe(canvases.extend(held(video), 1), 96, 64), 0.3)
    assert (filled - engine.fill(same, "a red ball", **SETTINGS)).abs().max() <= SAME


def test_operations_follow_the_hosts_sampler_which_leaves_its_mask_on(server, latents):
    g = Canvas()
    first = g.ksample(latent=g.extend(g.video, length=4)[0])
    nodes = [g.keep(one) for one in (first, g.ksample(latent=g.extend(first, length=4)[0]))]
    result = server.run(g.api)
    first, second = (latents(result, node) for node in nodes)
    assert torch.equal(second[:, :, :4], first) and second.shape[2] == 5


def test_a_canvas_can_be_looked_at(server):
    g = Canvas()
    canvas = g.edit(g.extend(g.video, length=8)[0], 0.4)[0]
    node = g("SoraInspectCanvas", latent=canvas, vae=g.vae)
    result = server.run(g.api)
    (item,) = result.outputs[node.name]["images"]
    picture = to_array(server.fetch(item))
    assert picture.shape[1] >= 560 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50


# ------------------------------------------------------------------------------------------------------- bad input


def circle(g):
    """A cyclic loop, filled."""
    return g.sample(latent=g.loop(g.grid(64, 48, 16)[0], "cyclic")[0])


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda g: g.extend(g.video, length=0), "At least one new frame"),
        (lambda g: g.extend(g.video, "backward", 6), "ask for 4 or 8 frames instead of 6"),
        (lambda g: g.extend(g.video, length=2.5), "whole number, not 2.5"),
        (lambda g: g.extend(g.video, length=480), "longer than 60 seconds"),
        (lambda g: g.extend(g.loop(g.video)[0]), "still to be filled"),
        (lambda g: g.loop(g.sample(latent=g.loop(g.grid(64, 48, 16)[0], "cyclic")[0])), "closed already"),
        (lambda g: g.extend(g.sample(latent=g.loop(g.latent, "cyclic")[0])), "neither start nor end"),
        (lambda g: g.connect(g.video, circle(g)), "cannot be connected"),
        (lambda g: g.connect(circle(g), g.video, "morph"), "cannot be connected"),
        (lambda g: g.place(g.latent, clip=circle(g)), "cannot be laid onto this canvas"),
        (lambda g: g.loop(g.video, length=0), "At least one new frame must be asked for, not 0"),
        (lambda g: g.connect(g.video, g.video, length=0), "At least one new frame must be asked for, not 0"),
        (lambda g: g.loop(g.latent), "no video to close"),
        (lambda g: g.loop(g.video, "cyclic"), "made from nothing"),
        (lambda g: g.connect(g.video, g.sample(latent=g.grid(96, 48, 9)[0])), "differ in size, 64x48 and 96x48"),
        (lambda g: g.connect(g.video, g.sample(latent=g.grid(64, 48, 9, 24.0)[0])), "frame rate, 8 fps and 24 fps"),
        (lambda g: g.connect(g.video, g.sample(latent=g.grid(64, 48, 9, 8.0, 2)[0])), "differ in batch, 1 and 2"),
        (lambda g: g.connect(g.video, g.sample(latent=g.grid(64, 48, 17)[0]), "morph"), "same length"),
        (lambda g: g.edit(g.video, curve="nonsense"), "no point of a curve"),
        (lambda g: g.edit(g.video, curve="0:nan"), "from 0 (keep) to 1 (invent)"),
        (lambda g: g.edit(g.video, curve="0:0.1,1:1.5"), "from 0 (keep) to 1 (invent)"),
        (lambda g: g.edit(g.video, strength=1.5), "bigger than max"),
        (lambda g: g.edit(g.video, strength=-0.1), "smaller than min"),
        (
            lambda g: g.edit(g.video, mask=g("ImageToMask", image=g.two_images(), channel="red")[0]),
            "mask has 2 frames and the video 9",
        ),
        (lambda g: g.reframe(g.video, 48, 48), "does not fit inside"),
        (lambda g: g.refine(g.video, 32, 24), "takes a larger size"),
        (lambda g: g.refine(g.video, 128, 128), "another shape"),
        (lambda g: g.place(g.latent), "connect one of them"),
        (lambda g: g.place(g.latent, clip=g.video, images=g.two_images(), vae=g.vae), "connect one of them"),
        (lambda g: g.place(g.latent, images=g.two_images()), "need a VAE"),
        (lambda g: g.place(g.latent, frame=9, clip=g.video), "Frame 9 is not in a video of 9 frames"),
        (lambda g: g.place(g.latent, clip=g.sample(latent=g.grid(96, 48, 9)[0])), "clip is 96x48 and the canvas 64x48"),
        (
            lambda g: g.extend(g("EmptyHunyuanLatentVideo", width=64, height=48, length=9, batch_size=1)[0]),
            "which model",
        ),
    ],
)
def test_what_cannot_be_is_one_sentence(server, picture_in, photo, make, expected):
    g = Canvas()
    image = picture_in(photo)
    g.two_images = lambda: g("RepeatImageBatch", image=g("LoadImage", image=image)[0], amount=2)[0]
    g.keep(make(g)[0])
    assert expected in refusal(server, g)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("0-0.5s: a; 0.75-2s: b", "leave a gap"),
        ("0-0.75s: a; 0.5-2s: b", "overlap"),
        ("a red ball", "is not a timeline"),
        ("0-0.5s: a", "ends at 0.5 s and the video"),
        ("0-2s: a; 2-9s: b", "would never be read"),
    ],
)
def test_timelines_that_cannot_be(server, text, expected):
    g = Clip(TINY)
    g.keep(g.sample(positive=Canvas.timeline(g, text, g.latent)))
    assert expected in refusal(server, g)


def test_a_timeline_for_another_canvas(server):
    g = Canvas()
    g.keep(g.sample(latent=g.extend(g.video)[0], positive=g.timeline("0-0.6s: a; 0.6-2s: b", g.latent)))
    assert "connect the same latent" in refusal(server, g)


def test_a_latent_of_another_model_is_refused_with_both_geometries(server):
    g = Canvas()
    foreign = g("EmptyHunyuanLatentVideo", width=64, height=48, length=9, batch_size=1)[0]
    g.keep(g("SoraExtendVideo", latent=foreign, direction="forward", length=8, unit="frames", model=g.model)[0])
    said = refusal(server, g)
    assert "1x16x3x6x8" in said and "8xanyx6x8" in said and "8 channels" in said
