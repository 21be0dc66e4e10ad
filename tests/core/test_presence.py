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


def test_an_image_has_no_motion():
    facts = presence(scenes(4), 1, 64, 48, 4, 8)
    motions = [i for i, name in enumerate(PRESENCE) if name.startswith("motion")]
    assert facts.shape[:4] == (4, 1, 8, 6) and facts[..., motions].sum() == 0
