"""The scorer: right on the renderer's own clips, right after damage, at chance on other scenes' clips."""

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from sora_core.worlds.render import render
from sora_core.worlds.scene import sample_scene
from sora_core.worlds.score import ATTRIBUTES, compare, score


def draw(count, seed, frames=17, height=64, width=64, **options):
    rng = np.random.default_rng(seed)
    seconds = max(frames - 1, 16) / 8
    scenes = [sample_scene(rng, aspect=width / height, seconds=seconds, **options) for _ in range(count)]
    return scenes, render(scenes, frames, height, width)


def accuracy(readings, scenes):
    right = defaultdict(list)
    for reading, scene in zip(readings, scenes, strict=True):
        for name, value in compare(reading, scene).items():
            if value is not None:
                right[name].append(value)
    return {name: float(np.mean(values)) for name, values in right.items()}


@pytest.fixture(scope="module")
def world():
    scenes, clips = draw(300, seed=3)
    return scenes, [score(clip) for clip in clips]


def test_own_clips_are_read_right(world):
    scenes, readings = world
    found = accuracy(readings, scenes)
    assert set(found) == set(ATTRIBUTES)
    assert min(found.values()) >= 0.98, found


@pytest.mark.parametrize("motion, field", [("spin", "spin"), ("orbit", "cycles")])
def test_what_turns_the_other_way_is_not_as_told(motion, field):
    scenes, clips = draw(200, seed=4)
    turning = [
        (scene, clip)
        for scene, clip in zip(scenes, clips, strict=True)
        if [thing.motion for thing in scene.things] == [motion] and scene.camera == "still"
    ]
    assert len(turning) >= 5
    for scene, clip in turning:
        (thing,) = scene.things
        other = replace(scene, things=(replace(thing, **{field: -getattr(thing, field)}),))
        assert compare(score(clip), scene)["motion"] is True and compare(score(clip), other)["motion"] is False


def test_orbits_that_come_round_are_no_way_to_the_side():
    """In 33 frames 1.8 turns: from its first frames to its last a thing may have gone nearly across the circle."""
    rng = np.random.default_rng(6)
    scenes = [sample_scene(rng, seconds=33 / 8) for _ in range(400)]
    orbits = [scene for scene in scenes if [thing.motion for thing in scene.things] == ["orbit"]]
    assert len(orbits) >= 8
    for scene, clip in zip(orbits, render(orbits, 33, 64, 64), strict=True):
        assert compare(score(clip), scene)["motion"] is True


def test_other_clips_are_at_chance(world):
    scenes, readings = world
    found = accuracy(readings[7:] + readings[:7], scenes)
    # Always answering with the most frequent value would be right this often for one thing; two things are harder. That
    # is 0.65 for the count, 0.75 for the style and 0.94 for the camera, which two scenes share in 0.56, 0.60 and 0.87.
    limits = {"background": 0.2, "colour": 0.12, "shape": 0.25, "motion": 0.15}
    limits |= {"count": 0.64, "style": 0.7, "camera": 0.92}
    assert set(limits) == set(ATTRIBUTES) and all(found[name] <= limit for name, limit in limits.items()), found


def test_what_is_seen_in_few_frames_is_not_there(world):
    scene = next(s for s in world[0] if len(s.things) == 1 and s.background == "plain" and s.things[0].motion == "left")
    clip = render([scene], 17, 64, 64)[0]
    clip[:, 3:] = clip[:, :1, :1, :1]
    reading = score(clip)
    assert reading.count == 0 and not reading.things and reading.background == "plain"


def test_there_and_back_to_the_side_is_no_orbit(world):
    sideways = [s for s in world[0] if len(s.things) == 1 and s.things[0].motion == "left" and s.style == "flat"]
    clips = render([replace(scene, loop=0.0) for scene in sideways], 17, 64, 64)
    assert [thing.motion for clip in clips for thing in score(clip).things] == [None] * len(sideways)


def noisy(clips):
    return clips + 2 * 0.03 * torch.randn(clips.shape, generator=torch.Generator().manual_seed(0))


def blurred(clips):
    frames = clips.transpose(1, 2).flatten(0, 1)
    half = F.interpolate(frames, scale_factor=0.5, mode="area")
    return F.interpolate(half, size=frames.shape[-2:], mode="bilinear").unflatten(0, (len(clips), -1)).transpose(1, 2)


@pytest.mark.parametrize("damage", [noisy, blurred])
def test_damaged_clips_are_still_read(damage):
    scenes, clips = draw(60, seed=2)
    found = accuracy([score(clip) for clip in damage(clips)], scenes)
    assert min(found.values()) >= 0.93, found


@pytest.mark.parametrize(
    "frames,height,width", [(17, 64, 128), (17, 96, 48), (33, 64, 64), (17, 128, 128), (9, 72, 100)]
)
def test_other_sizes_and_durations(frames, height, width):
    scenes, clips = draw(25, 3, frames, height, width)
    found = accuracy([score(clip) for clip in clips], scenes)
    assert min(found.values()) >= 0.95, found


def test_pictures():
    scenes, clips = draw(80, seed=4, frames=1, image=True)
    readings = [score(clip) for clip in clips]
    found = accuracy(readings, scenes)
    assert "motion" not in found and "camera" not in found
    assert min(found.values()) >= 0.98, found


def test_an_attribute_is_right_only_if_it_is_for_every_thing(world):
    scenes, readings = world
    reading, scene = next(
        (r, s) for r, s in zip(readings, scenes, strict=True) if len(s.things) == 2 and all(compare(r, s).values())
    )
    first, second = scene.things
    assert compare(reading, replace(scene, things=(second, first))) == compare(reading, scene)
    other = replace(second, motion="grow" if second.motion != "grow" else "still")
    told = compare(reading, replace(scene, things=(first, other)))
    assert told["motion"] is False and told["colour"] is True and told["shape"] is True
    alone = compare(reading, replace(scene, things=(first,)))
    assert [alone[name] for name in ("count", "colour", "shape", "motion")] == [False] * 4


def test_questions_that_do_not_arise(world):
    scenes, readings = world
    for scene, reading in zip(scenes, readings, strict=True):
        told = compare(reading, scene)
        assert (told["colour"] is None) == (scene.style in ("charcoal", "blueprint"))
        assert (told["background"] is None) == (scene.style != "flat")
        assert (told["motion"] is None) == (scene.camera != "still")


def test_nothing_is_seen_in_an_empty_clip():
    scenes, clips = draw(30, seed=5)
    for scene, clip in zip(scenes, clips, strict=True):
        if scene.background == "plain" and scene.style == "flat":
            empty = clip[:, :, :1, :1].expand_as(clip)
            reading = score(empty)
            assert reading.count == 0 and reading.things == ()
            assert compare(reading, scene)["shape"] is False


def test_any_pixels_are_read_without_failing():
    generator = torch.Generator().manual_seed(0)
    for shape in ((3, 17, 64, 64), (3, 1, 16, 16), (3, 2, 40, 9), (3, 5, 300, 20)):
        for clip in (torch.randn(shape, generator=generator), torch.zeros(shape), torch.ones(shape)):
            assert score(clip) == score(clip)


def test_a_batch_is_refused():
    with pytest.raises(ValueError, match="a clip is"):
        score(torch.zeros(1, 3, 2, 8, 8))
