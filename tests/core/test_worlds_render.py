"""Scenes and their renderer: what is drawn is what the scene says, at any size."""

import json
import random
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sora_core.worlds import render as renderer
from sora_core.worlds.contrast import MIN_CONTRAST, contrast
from sora_core.worlds.placing import SPIN
from sora_core.worlds.render import render
from sora_core.worlds.scene import (
    BACKGROUNDS,
    CAMERAS,
    COLOURS,
    DIRECTIONS,
    EXTENT,
    MOTIONS,
    SHAPES,
    STYLES,
    Scene,
    Thing,
    is_held_out,
    sample_scene,
)


def _scenes(count, seed=0, **options):
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, **options) for _ in range(count)]


def _one(background="plain", style="flat", **thing):
    """A scene of one thing in the middle, before white if plain."""
    given = {
        "shape": "ball",
        "colour": "red",
        "rgb": (1.0, 0.0, 0.0),
        "size": 0.4,
        "motion": "still",
        "x": 0.5,
        "y": 0.5,
    }
    plain = (("white",), ((1.0, 1.0, 1.0),)) if background == "plain" and style == "flat" else ((), ())
    return Scene((Thing(**{**given, **thing}),), background, *plain, style=style, seed=5)


@pytest.fixture(scope="module")
def many():
    return _scenes(3000)


# What a scene is


def test_the_same_state_gives_the_same_scenes_from_either_generator():
    assert _scenes(30, seed=4) == _scenes(30, seed=4) != _scenes(30, seed=5)
    one, two = random.Random(1), random.Random(1)
    assert [sample_scene(one) for _ in range(30)] == [sample_scene(two) for _ in range(30)]


def test_a_scene_survives_json(many):
    for scene in many[:300]:
        assert Scene.from_dict(json.loads(json.dumps(scene.to_dict()))) == scene


def test_the_whole_vocabulary_is_reached(many):
    things = [thing for scene in many for thing in scene.things]
    assert {thing.shape for thing in things} == set(SHAPES)
    assert {thing.colour for thing in things} == set(COLOURS)
    assert {thing.motion for thing in things} == set(MOTIONS)
    assert {scene.background for scene in many} == set(BACKGROUNDS)
    assert {scene.camera for scene in many} == set(CAMERAS)
    assert {scene.style for scene in many} == set(STYLES)
    assert {scene.direction for scene in many} == {*DIRECTIONS, ""}
    assert {len(scene.things) for scene in many} == {1, 2}
    assert {name for scene in many for name in scene.background_colours} == set(COLOURS)


def test_attributes_that_cannot_be_seen_are_never_drawn(many):
    for scene in many:
        assert not any(thing.motion == "spin" and thing.shape in ("ball", "ring") for thing in scene.things)
        assert (scene.wall is not None) == (scene.things[0].motion == "behind_wall")
        assert scene.wall is None or len(scene.things) == 1
        if scene.style != "flat":
            assert scene.background == "plain" and scene.background_colours == () and scene.camera == "still"
        if scene.camera != "still":
            assert scene.background in ("sky", "sea", "grass", "night")
            assert all(thing.motion == "still" for thing in scene.things)
        if len(scene.things) == 2:
            one, two = scene.things
            assert one.colour != two.colour
            assert scene.shows_colour or one.shape != two.shape


def test_motions_are_large_enough_to_be_seen(many):
    for thing in (thing for scene in many for thing in scene.things):
        if thing.motion in ("left", "right", "up", "down"):
            assert abs(thing.dx + thing.dy) >= 0.3
        elif thing.motion in ("grow", "shrink"):
            assert max(thing.scale, 1 / thing.scale) >= 1.59
        elif thing.motion == "spin":
            # Far more than the 75 degrees that are read as a spin; in half a second less than half of a star's fifth.
            assert 1.4 * 75 < abs(thing.spin) < 4 * 72 / 2
        assert all(0.199 <= size <= 0.501 for size in (thing.size, thing.size * thing.scale))


def test_what_spins_has_one_speed_and_a_usual_way(many):
    spins = [thing.spin for scene in many for thing in scene.things if thing.motion == "spin"]
    assert set(spins) == {SPIN, -SPIN} and 0.15 < sum(spin < 0 for spin in spins) / len(spins) < 0.35
    longer = [thing.spin for scene in _scenes(300, seconds=33 / 8) for thing in scene.things if thing.motion == "spin"]
    assert set(longer) == {SPIN * 33 / 16, -SPIN * 33 / 16}


def test_what_turns_begins_upright_or_at_the_top_of_its_circle(many):
    """So a sentence settles how it lies at each moment, and which way it goes."""
    things = [thing for scene in many for thing in scene.things]
    assert max(abs(thing.angle) for thing in things if thing.motion == "spin") <= 3
    assert 10 < max(abs(thing.angle) for thing in things if thing.motion != "spin") <= 15
    phases = [thing.phase + 90 for thing in things if thing.motion == "orbit"]
    assert -15 <= min(phases) < 0 < max(phases) <= 15


def test_images_stand_still():
    for scene in _scenes(200, image=True):
        assert scene.camera == "still" and all(thing.motion == "still" for thing in scene.things)


def test_held_out_combinations_are_disjoint_from_training(many):
    combinations = {True: set(), False: set()}
    for held_out, scenes in ((False, many), (True, _scenes(500, seed=2, held_out=True))):
        for scene in scenes:
            assert is_held_out(scene) == held_out
            keys = {(t.shape, t.colour, t.motion, scene.background) for t in scene.things}
            if len(keys) == 1:
                combinations[held_out] |= keys
    assert not combinations[True] & combinations[False]
    assert len(combinations[True]) > 150


def test_colours_of_one_scene_can_be_told_apart(many):
    for scene in many[:500]:
        if scene.style == "flat" and scene.background == "plain":
            for thing in scene.things:
                assert contrast(thing.rgb, [scene.background_rgb[0]]) > MIN_CONTRAST - 12  # both vary a little


@pytest.mark.parametrize("aspect", [1.0, 2.0, 0.5, 1.78])
@pytest.mark.parametrize("seconds", [2.0, 5.0])
def test_things_stay_in_the_frame_and_apart(aspect, seconds):
    scenes = _scenes(300, seed=3, aspect=aspect, seconds=seconds)
    height, width = (100, round(100 * aspect)) if aspect >= 1 else (round(100 / aspect), 100)
    along = renderer.paths(scenes, 65, height, width)
    x, y, size = along.x, along.y, along.size
    reach = size * torch.tensor([[EXTENT[t.shape] for t in (s.things * 2)[:2]] for s in scenes]).unsqueeze(-1)
    x, y = x * width / 100, y * height / 100  # in shorter sides
    wide, high = width / 100, height / 100
    assert torch.all((x - reach > 0) & (x + reach < wide) & (y - reach > 0) & (y + reach < high))
    away = torch.hypot(x[:, 0] - x[:, 1], y[:, 0] - y[:, 1]) - reach.sum(1)
    assert torch.all(away[torch.tensor([len(scene.things) == 2 for scene in scenes])] > 0.02)


def test_a_thing_is_in_full_view_on_both_sides_of_its_wall_and_hidden_between():
    scenes = [scene for scene in _scenes(2000, seed=6) if scene.wall]
    assert len(scenes) > 40
    along = renderer.paths(scenes, 33, 64, 64)
    x, size = along.x, along.size
    reach = size[:, 0] * torch.tensor([EXTENT[scene.things[0].shape] for scene in scenes])[:, None]
    half = torch.tensor([scene.wall.width / 2 for scene in scenes])[:, None]
    beside = (x[:, 0] - 0.5).abs() - reach > half
    assert beside[:, 0].all() and beside[:, -1].all()
    assert torch.all(torch.sign(x[:, 0, 0] - 0.5) != torch.sign(x[:, 0, -1] - 0.5))
    assert torch.all(((x[:, 0] - 0.5).abs() + reach < half + 0.02).any(1))


# What is rendered


@pytest.mark.parametrize(
    "frames, height, width", [(1, 64, 64), (17, 64, 64), (5, 48, 96), (3, 37, 61), (2, 8, 8), (2, 200, 33)]
)
def test_any_size_renders_in_range(frames, height, width):
    video = render(_scenes(40, seed=7), frames, height, width)
    assert video.shape == (40, 3, frames, height, width) and video.dtype == torch.float32
    assert video.isfinite().all() and video.min() >= -1 and video.max() <= 1
    assert video.std((1, 2, 3, 4)).min() > 0.01


def test_every_tensor_is_made_on_the_device_asked_for():
    assert render(_scenes(120, seed=7), 3, 32, 32, device="meta").device.type == "meta"


def test_a_scene_looks_the_same_whatever_the_batch():
    scenes = _scenes(24, seed=8)
    whole = render(scenes, 5, 64, 64)
    alone = torch.cat([render([scene], 5, 64, 64) for scene in scenes])
    assert (whole - alone).abs().max() < 2e-5  # kernels round differently with the shape
    assert torch.equal(whole, render(scenes, 5, 64, 64))


def test_a_scene_looks_the_same_at_any_size():
    scenes = _scenes(80, seed=9)
    small = render(scenes, 3, 64, 64)
    large = F.avg_pool3d(render(scenes, 3, 256, 256), (1, 4, 4))
    error = (small - large).square().mean((1, 2, 3, 4))
    assert 10 * torch.log10(4 / error).mean() > 30
    assert 10 * torch.log10(4 / error.max()) > 22


def test_the_first_frame_of_a_clip_is_its_image():
    scenes = _scenes(40, seed=10)
    assert (render(scenes, 1, 64, 64) - render(scenes, 9, 64, 64)[:, :, :1]).abs().max() < 2e-5


def test_frames_in_between_agree_at_another_duration():
    scenes = [scene for scene in _scenes(60, seed=11) if scene.background != "sea"]  # waves go by the clock
    assert (render(scenes, 5, 48, 48) - render(scenes, 9, 48, 48)[:, :, ::2]).abs().max() < 2e-4


@pytest.mark.parametrize("shape", SHAPES)
def test_coverage_is_the_shape_s_area(shape):
    video = render([_one(shape=shape, rgb=(0.0, 0.0, 0.0), colour="black", size=0.5, angle=11.0)], 1, 128, 128)
    area = float((1 - video[0, 1, 0]).sum() / 2) / 64**2  # in diameters
    star = 5 * 0.56**2 * renderer.STAR_WAIST * np.sin(np.pi / 5)
    triangle = 0.75 * np.sqrt(3) * 0.58**2
    ring = np.pi / 4 * (1 - renderer.RING_HOLE**2)
    expected = {"ball": np.pi / 4, "square": 0.84**2, "triangle": triangle, "star": star, "ring": ring}[shape]
    # The light spot on a ball takes some black away.
    assert area == pytest.approx(expected, rel=0.06 if shape == "ball" else 0.015)


def test_a_triangle_and_a_star_point_upwards_and_turn_clockwise():
    video = render(
        [_one(shape="triangle", rgb=(0.0, 0.0, 0.0)), _one(shape="triangle", rgb=(0.0, 0.0, 0.0), angle=90.0)],
        1,
        65,
        65,
    )
    dark = video[:, 1, 0] < 0
    assert dark[0, :32].sum() < dark[0, 33:].sum()  # the tip is above: less of it there
    assert dark[1, :, 33:].sum() < dark[1, :, :32].sum()  # turned by 90 degrees, the tip is on the right
    star = render([_one(shape="star", rgb=(0.0, 0.0, 0.0))], 1, 65, 65)[0, 1, 0] < 0
    assert int(star[:, 32].nonzero()[0]) < 65 - 1 - int(star[:, 32].nonzero()[-1])


@pytest.mark.parametrize("motion, fields, x, y", [
    ("right", {"dx": 0.4, "x": 0.3}, 0.7, 0.5),
    ("up", {"dy": -0.4, "y": 0.7}, 0.5, 0.3),
    ("bounce", {"dy": -0.3, "y": 0.7, "cycles": 2.5}, 0.5, 0.4),
    ("orbit", {"radius": 0.2, "phase": 0.0, "cycles": 0.5, "x": 0.7}, 0.3, 0.5),
])  # fmt: skip
def test_things_end_where_their_motion_takes_them(motion, fields, x, y):
    video = render([_one(motion=motion, size=0.3, **fields)], 9, 64, 64)
    ink = (1 - video[0, 1, -1]).clamp(min=0)
    grid = (torch.arange(64) + 0.5) / 64
    assert float((ink.sum(0) * grid).sum() / ink.sum()) == pytest.approx(x, abs=0.01)
    assert float((ink.sum(1) * grid).sum() / ink.sum()) == pytest.approx(y, abs=0.01)


def test_a_thing_shows_its_own_colour():
    for name, rgb in COLOURS.items():
        unit = tuple(value / 255 for value in rgb)
        scene = replace(_one(shape="square", colour=name, rgb=unit), background_rgb=((0.3, 0.4, 0.3),))
        middle = (render([scene], 1, 64, 64)[0, :, 0, 32, 32] + 1) / 2
        assert torch.allclose(middle, torch.tensor(unit), atol=1e-3)


def test_styles_draw_as_they_should():
    charcoal, neon, blueprint = render([_one(style=style) for style in STYLES[1:]], 1, 64, 64)[:, :, 0]
    assert torch.allclose(charcoal[0], charcoal[1]) and torch.allclose(charcoal[0], charcoal[2])  # no chroma
    assert charcoal.std() > 0.2
    assert neon.median() < -0.9 and neon[0].max() > 0.8 and neon[0].mean() > neon[1].mean() + 0.05
    assert blueprint[2].mean() > blueprint[1].mean() > blueprint[0].mean() and blueprint.max() > 0.8


@pytest.mark.parametrize("camera, amount", [("pan_left", 0.2), ("pan_right", 0.2), ("zoom_in", 1.4), ("zoom_out", 1.4)])
def test_the_camera_moves_background_and_things_together(camera, amount):
    scene = replace(_one(background="sky", size=0.3), camera=camera, camera_amount=amount)
    first, last = render([scene], 2, 80, 80)[0].unbind(1)
    zoom = {"zoom_in": amount, "zoom_out": 1 / amount}.get(camera, 1.0)
    shift = {"pan_left": amount, "pan_right": -amount}.get(camera, 0.0)
    theta = torch.tensor([[[1 / zoom, 0, -2 * shift / zoom], [0, 1 / zoom, 0]]])
    grid = F.affine_grid(theta, (1, 3, 80, 80), align_corners=False)
    moved = F.grid_sample(first[None], grid, align_corners=False)[0]
    seen = (grid.abs() < 0.97).all(-1)[0]  # what was within the frame before
    assert (moved - last).abs().mean(0)[seen].mean() < 0.02
    assert (first - last).abs().mean(0)[seen].mean() > 0.04


def test_waves_move_and_other_places_do_not():
    for background in BACKGROUNDS[2:]:
        video = render([_one(background=background)], 9, 64, 64)[0]
        assert ((video[:, 0] - video[:, -1]).abs().max() > 0.01) == (background == "sea")
