"""What is where in a scene: against the pixels that the renderer paints."""

import dataclasses

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from sora_core.worlds.presence import PRESENCE, presence
from sora_core.worlds.render import coverage, render
from sora_core.worlds.scene import sample_scene


def scenes(count, seconds=17 / 8):
    rng = np.random.default_rng(3)
    drawn = [sample_scene(rng, seconds=seconds) for _ in range(20 * count)]
    return [s for s in drawn if s.background == "plain" and s.style == "flat" and not s.wall and s.camera == "still"][
        :count
    ]


@pytest.mark.parametrize("height, width", [(64, 64), (40, 72)])
def test_things_are_painted_where_they_are_said_to_be(height, width):
    chosen = scenes(12)
    video = render(chosen, 5, height, width)
    bare = render(
        [dataclasses.replace(s, things=(dataclasses.replace(s.things[0], x=9.0),)) for s in chosen], 5, height, width
    )
    painted = F.avg_pool2d((video - bare).abs().amax(1).gt(0.02).float(), 8)
    said = coverage(chosen, 5, height, width, 8).sum(1).clamp(max=1)
    assert said.shape == painted.shape
    assert torch.corrcoef(torch.stack([said.flatten(), painted.flatten()]))[0, 1] > 0.85
    assert (painted[said == 0] > 0.3).float().mean() < 0.02


def test_facts_stand_where_their_thing_is():
    chosen = [s for s in scenes(24) if len(s.things) == 1]
    facts = presence(chosen, 17, 64, 64, 4, 8)
    assert facts.shape == (len(chosen), 5, 8, 8, len(PRESENCE)) and facts.min() >= 0 and facts.max() <= 1
    cover = coverage(chosen, 17, 64, 64, 8)[:, 0]
    for row, scene in enumerate(chosen):
        (thing,) = scene.things
        for name in (f"shape: {thing.shape}", f"colour: {thing.colour}", f"motion: {thing.motion}"):
            own = facts[row, ..., PRESENCE.index(name)]
            assert torch.equal(own[0], cover[row, 0])
            torch.testing.assert_close(own[1:], cover[row, 1:].unflatten(0, (4, 4)).mean(1))
        behind = facts[row, ..., PRESENCE.index("background: plain")]
        torch.testing.assert_close(behind, 1 - facts[row, ..., PRESENCE.index(f"shape: {thing.shape}")])
        others = [f"shape: {s}" for s in ("ball", "square", "triangle", "star", "ring") if s != thing.shape]
        assert facts[row][..., [PRESENCE.index(name) for name in others]].sum() == 0


@pytest.mark.parametrize("height, width", [(64, 64), (40, 72)])
def test_colours_of_a_gradient_are_where_they_are_painted(height, width):
    rng = np.random.default_rng(8)
    drawn = [sample_scene(rng, aspect=width / height, image=True) for _ in range(600)]
    chosen = [s for s in drawn if s.background == "gradient" and s.style == "flat" and not s.wall]
    assert {s.direction for s in chosen} == {"vertical", "horizontal", "diagonal"}
    facts = presence(chosen, 1, height, width, 4, 8)[:, 0]
    free = F.max_pool2d(coverage(chosen, 1, height, width, 8).sum((1, 2)), 3, 1, 1) == 0  # corners reach over discs
    painted = F.avg_pool2d((render(chosen, 1, height, width)[:, :, 0] + 1) / 2, 8)
    for row, scene in enumerate(chosen):
        first, second = (facts[row, ..., PRESENCE.index(f"background colour: {n}")] for n in scene.background_colours)
        torch.testing.assert_close((first + second)[free[row]], torch.ones_like(first[free[row]]))
        rgb = torch.tensor(scene.background_rgb)
        told = first[..., None] * rgb[0] + second[..., None] * rgb[1]
        torch.testing.assert_close(told[free[row]], painted[row].movedim(0, -1)[free[row]], atol=0.02, rtol=0)


def test_an_image_has_no_motion():
    facts = presence(scenes(4), 1, 64, 48, 4, 8)
    motions = [i for i, name in enumerate(PRESENCE) if name.startswith("motion")]
    assert facts.shape[:4] == (4, 1, 8, 6) and facts[..., motions].sum() == 0


def test_what_a_thing_does_now_and_how_it_lies():
    rng = np.random.default_rng(5)
    told = {"left": "left", "right": "right", "up": "up", "down": "down", "grow": "grows", "shrink": "shrinks"}
    met = set()
    while met != {*told.values(), "clockwise", "counter-clockwise"}:
        scene = sample_scene(rng, seconds=17 / 8)
        thing = scene.things[0]
        if len(scene.things) > 1 or scene.camera != "still" or thing.motion not in (*told, "spin"):
            continue
        does = told.get(thing.motion, "clockwise" if thing.spin > 0 else "counter-clockwise")
        met.add(does)
        (facts,) = presence([scene], 17, 64, 64, 4, 8)
        (still,) = presence([scene], 1, 64, 64, 4, 8)
        cover = facts[..., PRESENCE.index(f"shape: {thing.shape}")]
        for i, name in enumerate(PRESENCE):
            if name.startswith("now: "):
                torch.testing.assert_close(facts[..., i], cover if name == f"now: {does}" else 0 * cover)
                assert still[..., i].sum() == 0
        first, inside = still[0], still[0, ..., PRESENCE.index(f"shape: {thing.shape}")] == 1
        if not inside.any():
            continue
        corners = {"square": 4, "triangle": 3, "star": 5}.get(thing.shape, 0)
        across, along, size, cosine, sine = first[inside][:, -5:].unbind(-1)
        torch.testing.assert_close(size, torch.full_like(size, thing.size))
        torch.testing.assert_close(cosine, torch.full_like(size, 0.5 + np.cos(np.radians(corners * thing.angle)) / 2))
        torch.testing.assert_close(sine, torch.full_like(size, 0.5 + np.sin(np.radians(corners * thing.angle)) / 2))
        rows, columns = inside.nonzero(as_tuple=True)
        x = ((across - 0.5) * thing.size * 64 + (columns + 0.5) * 8) / 64
        y = ((along - 0.5) * thing.size * 64 + (rows + 0.5) * 8) / 64
        torch.testing.assert_close(x, torch.full_like(x, thing.x))
        torch.testing.assert_close(y, torch.full_like(y, thing.y))
