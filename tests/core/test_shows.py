"""Clips that only a prompt with a video asks for: edits, dissolves and loops, and the scenes behind them."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch

from sora_core.dit import DiTConfig
from sora_core.errors import UserError
from sora_core.grid import Geometry
from sora_core.sampler import euler
from sora_core.training.dit import DiTTask, DiTTaskConfig, TextSettings
from sora_core.training.levels import training_levels
from sora_core.training.shows import CLOCKWISE, LARGE, LESSONS, TURNS, Part, Show, content, draw, pixels, places, teach
from sora_core.worlds.editing import colours_for, edited, looped, recoloured, restyled, styles_for
from sora_core.worlds.placing import COUNTER
from sora_core.worlds.presence import PRESENCE, presence
from sora_core.worlds.render import paths, render, render_morph
from sora_core.worlds.scene import is_held_out, sample_scene
from sora_core.worlds.vocabulary import MOTIONS

GEOMETRY = Geometry(4, 8, 16, (1, 1, 1))
PART = Part(24, 17, 32, 32)


def levels_of(part, seed=0):
    grid = (GEOMETRY.latent_frames(part.frames), part.height // 8, part.width // 8)
    return partial(training_levels, grid, torch.Generator().manual_seed(seed))


def drawn(edits, dissolves, part=PART, seed=0, pairs=0.0, loops=0.0):
    rng = np.random.default_rng(seed)
    return draw(part, rng, levels_of(part, seed), GEOMETRY, 8.0, pairs, edits, dissolves, loops)


def test_an_edit_changes_one_thing_and_is_never_held_out():
    rng = np.random.default_rng(1)
    kinds = set()
    for _ in range(300):
        scene = sample_scene(rng)
        other = edited(scene, rng)
        if scene.style != "flat":
            assert other is None
        elif other is not None:
            assert not is_held_out(other) and len(other.things) == len(scene.things)
            for a, b in zip(scene.things, other.things, strict=True):  # where and how all of it moves stays
                assert replace(b, shape=a.shape, colour=a.colour, rgb=a.rgb) == a
            changed = [other.style != scene.style]
            changed += [a.colour != b.colour for a, b in zip(scene.things, other.things, strict=True)]
            changed += [a.shape != b.shape for a, b in zip(scene.things, other.things, strict=True)]
            changed += [other.style == scene.style and other.background != scene.background]
            assert sum(changed) == 1
            kinds.add("style" if changed[0] else "colour" if any(changed[1:-1]) else "background")
    assert kinds == {"style", "colour", "background"}


def test_pairs_are_drawn_until_two_things_move_each_in_its_own_way():
    def own_ways(shows):
        return [len({thing.motion for thing in show.scene.things}) == 2 for show in shows]

    assert all(own_ways(drawn(0, 0, pairs=1.0))) and 1 < sum(own_ways(drawn(0, 0))) < 20
    assert not any(own_ways(drawn(0, 0, Part(24, 1, 32, 32), pairs=1.0)))  # in an image all stand still


@pytest.mark.parametrize("motion", TURNS)
def test_what_is_hard_to_learn_is_drawn_more_often(motion):
    def share(scenes):
        scenes = list(scenes)
        return sum(any(thing.motion == motion for thing in scene.things) for scene in scenes) / len(scenes)

    rng = np.random.default_rng(2)
    usual = share(sample_scene(rng) for _ in range(1000))
    more = share(show.scene for seed in range(40) for show in drawn(0, 0, seed=seed))
    assert abs(more - (TURNS[motion] + (1 - TURNS[motion]) * usual)) < 0.05 < TURNS[motion]


def test_most_of_what_spins_does_so_clockwise():
    shows = [show for seed in range(60) for show in drawn(0, 0, seed=seed)]
    ways = {motion: [t.way for s in shows for t in s.scene.things if t.motion == motion] for motion in TURNS}
    share = {motion: of.count(-1) / len(of) for motion, of in ways.items()}
    kept = (1 - CLOCKWISE) * COUNTER  # of those that the world has, beside all that go clockwise
    assert abs(share["spin"] - kept / (kept + 1 - COUNTER)) < 0.04 and abs(share["orbit"] - COUNTER) < 0.06


def test_edits_by_name():
    rng = np.random.default_rng(2)
    scene = next(s for s in iter(lambda: sample_scene(rng), None) if s.style == "flat" and len(s.things) == 2)
    assert restyled(scene, "charcoal").style == "charcoal" and restyled(scene, "charcoal").background == "plain"
    colour = colours_for(scene)[0]
    assert recoloured(scene, colour, 1).things[1].colour == colour
    assert recoloured(scene, colour, 1).things[0] == scene.things[0]
    gray = replace(scene, things=(replace(scene.things[0], colour="gray"),))
    assert "neon" not in styles_for(gray) and "charcoal" in styles_for(gray)


@pytest.mark.parametrize("strength", [0.6, 0.9])
def test_an_edit_is_shown_as_sampling_meets_it(strength):
    """Euler from a source at level m, with a network that says "target" all the way, passes through just that."""
    target, source, noise = torch.randn(3, 1, 4, 1, 2, 2, dtype=torch.float64)
    x = (1 - strength) * source + strength * noise
    schedule = torch.linspace(1, 0, 6, dtype=torch.float64)
    path = []
    mask = torch.full_like(x[:, :1], strength)
    euler(lambda x, level: target, x, schedule, mask, callback=lambda i, n, x, x0: path.append(x))
    for s, x in zip(schedule[1:-1].tolist(), path, strict=False):
        show = Show(None, torch.full((1, 2, 2), strength * s), source=object(), strength=strength)

        def encode(video):
            return source

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("sora_core.training.shows.pixels", lambda *_: None)
            held = content([show], target, PART, 0, 8.0, encode)
        level = strength * s
        torch.testing.assert_close((1 - level) * held + level * noise, x)


def test_shares_of_edits_and_dissolves():
    plain = drawn(0, 0)
    assert all(show.source is None and show.end is None for show in plain)
    some = [show for seed in range(24) for show in drawn(0.4, 0.4, seed=seed)]
    sources, ends = ([show for show in some if getattr(show, name)] for name in ("source", "end"))
    assert 0.2 < len(sources) / len(some) < 0.45 and 0.3 < len(ends) / len(some) < 0.5
    assert not any(show.end for show in drawn(0, 1, Part(24, 1, 32, 32)))  # an image leads nowhere
    for show in sources:
        assert len(show.level.unique()) == 1 and float(show.level.max()) < show.strength < 1
    early = [show for show in sources if float(show.level.max()) > 0.8 * show.strength]
    assert 0.5 < len(early) / len(sources) < 0.9  # where the source decides
    given = [show for show in ends if not show.level[0].any() and not show.level[-1].any()]
    assert 0.75 < len(given) / len(ends) < 0.97


def test_a_dissolve_keeps_its_ends_and_eases_from_one_to_the_other():
    given = (s for seed in range(9) for s in drawn(0, 1, seed=seed) if not s.level[0].any() and not s.level[-1].any())
    show = next(s for s in given if not s.share[1])  # of a motion it is told where to, so from frame 0 to frame 1
    a, b = render([show.scene, show.end], 17, 32, 32, 8.0)
    (video,) = pixels([show], PART, 0, 8.0, "cpu")
    first, last = (int(n) for n in (show.level.flatten(1).amax(1) > 0).nonzero().flatten()[[0, -1]])
    begin, end = 4 * (first - 1), 4 * last + 1  # the last frame given of one, the first of the other
    torch.testing.assert_close(video[:, : begin + 1], a[:, : begin + 1])
    torch.testing.assert_close(video[:, end:], b[:, end:])
    share = show.share[begin : end + 1]
    steps = share.diff()
    assert share[0] == 0 and share[-1] == 1 and (steps > 0).all()
    assert steps[0] < 0.8 * steps.max() and steps[-1] < 0.8 * steps.max()  # it gains speed, and loses it
    torch.testing.assert_close(share, 1 - share.flip(0))
    time = 1 / (end - begin)  # in the first and the last tenth it is slower, between them at full speed
    first_step = time**2 / (2 * 0.1 * 0.9) if time < 0.1 else (time - 0.05) / 0.9
    middle = (end - begin) // 2
    torch.testing.assert_close(share[1], torch.tensor(first_step))
    torch.testing.assert_close(share[middle], torch.tensor((middle * time - 0.05) / 0.9))
    torch.testing.assert_close(video, render_morph([show.scene], [show.end], show.share[None], 17, 32, 32)[0])
    facts = places([show], PART, 0, GEOMETRY, "cpu").unflatten(0, (5, 4, 4))
    assert facts.shape == (5, 4, 4, len(PRESENCE))
    first_scene, last_scene = (presence([s], 17, 32, 32, 4, 8)[0] for s in (show.scene, show.end))
    torch.testing.assert_close(facts[0], first_scene[0])
    torch.testing.assert_close(facts[-1], last_scene[-1])


def test_on_its_way_to_another_scene_a_thing_goes_to_the_others_place_and_takes_on_its_looks():
    rng, seen = np.random.default_rng(4), 0
    while seen < 6:
        scenes = [sample_scene(rng) for _ in range(2)]
        if any(s.style != "flat" or s.background != "plain" or len(s.things) > 1 or s.wall for s in scenes):
            continue
        seen += 1
        a, b = scenes
        share = torch.linspace(0, 1, 17)[None]
        (morph,) = render_morph([a], [b], share, 17, 64, 64)
        first, last = render([a], 17, 64, 64)[0], render([b], 17, 64, 64)[0]
        torch.testing.assert_close(morph[:, 0], first[:, 0])
        torch.testing.assert_close(morph[:, -1], last[:, -1])
        backdrop = (first[:, 8, 0, 0] + last[:, 8, 0, 0]) / 2  # a corner, which no thing reaches
        torch.testing.assert_close(morph[:, 8, 0, 0], backdrop)
        away = (morph[:, 4] - morph[:, 4, :1, :1]).abs().amax(0) > 0.2
        y, x = away.nonzero().float().mean(0).add(0.5).div(64).tolist()
        along = paths([a], 17, 64, 64).toward(paths([b], 17, 64, 64), share)
        assert abs(x - float(along.x[0, 0, 4])) < 0.06 and abs(y - float(along.y[0, 0, 4])) < 0.06


def test_a_dissolve_is_told_in_order():
    show = next(s for seed in range(9) for s in drawn(0, 1, seed=seed) if s.end)
    whole, text, values, mask = show.told(np.random.default_rng(0), False, True)
    assert whole.startswith(f"{text}, then ") and len(values) == len(mask)
    plain = Show(show.scene, show.level)
    assert plain.told(np.random.default_rng(0), False, True)[0] == text


def test_a_loop_ends_as_it_begins_and_turns_back_gently():
    rng, met = np.random.default_rng(2), set()
    while met != set(MOTIONS):
        scene = sample_scene(rng, seconds=17 / 8)
        loop = looped(scene, float(rng.random()))
        if scene.style == "flat" and scene.background == "sea":  # its waves go on
            assert loop is None
            continue
        (clip,) = render([loop], 17, 32, 32)
        torch.testing.assert_close(clip[:, 0], clip[:, -1], atol=1e-3, rtol=0)
        steps = (clip[:, 1:] - clip[:, :-1]).abs().mean((0, 2, 3))
        motions = {thing.motion for thing in scene.things}
        if motions != {"still"} or scene.camera != "still":
            assert 0 < steps.max() < 4 * steps.mean()
        met |= motions
        assert not is_held_out(loop)


def test_a_loop_is_seen_cut_open_or_with_its_ends_given():
    shows = [show for seed in range(9) for show in drawn(0, 0, seed=seed, loops=1)]
    loops = [show for show in shows if show.scene.loop is not None]
    assert len(loops) > 0.8 * len(shows)  # no sea
    circles = [show for show in loops if show.circle]
    assert 0.45 < len(circles) / len(loops) < 0.75
    assert all(len(show.level.unique()) == 1 and show.level.min() > 0 for show in circles)
    others = [show for show in loops if not show.circle]
    assert all(not show.level[0].any() and not show.level[-1].any() and show.level.any() for show in others)
    facts = places(circles[:2], PART, 0, GEOMETRY, "cpu").unflatten(0, (2, 5, 4, 4))
    torch.testing.assert_close(facts[:, 0], facts[:, -1])
    assert all(show.scene.loop is None for show in drawn(0, 0, replace(PART, frames=1), loops=1))  # a picture has none
    assert all(show.scene.loop is None for show in drawn(0, 0, replace(PART, of=33), loops=1))  # nor has a stretch


def test_a_circle_cut_open_begins_with_its_last_latent_frame(tiny_checkpoint):
    packs = [{"parts": [[6, 17, 32, 32]], "captions": 1}]
    data = DiTTaskConfig(packs=packs, vae=str(tiny_checkpoint), edits=0, dissolves=0, loops=1)
    model = DiTConfig(width=32, depth=2, heads=2, text_width=16, channels=4, patch=(1, 1, 1))
    task = DiTTask(model, TextSettings(merges=20, width=16, depth=1, heads=2), data)
    (group,) = task.batch(0, 0, 1).groups
    others = [row for row in range(6) if row not in group.circles]
    assert group.circles and others
    torch.testing.assert_close(group.latent[group.circles, :, 0], group.latent[group.circles, :, -1])
    assert not torch.allclose(group.latent[others, :, 0], group.latent[others, :, -1])
    seen = []
    predictions = task.module.dit.predictions
    task.module.dit.predictions = lambda segments, first: seen.extend(segments) or predictions(segments, first=first)
    task.loss(task.module, task.batch(0, 0, 1))
    torch.testing.assert_close(seen[0].x[group.circles, :, 0], seen[0].x[group.circles, :, -1])


@pytest.mark.parametrize("lesson, frames", [("order", 1), ("order", 17), ("way", 17), ("spin", 17)])
def test_in_a_lesson_all_that_differs_hangs_on_one_word(lesson, frames):
    part = replace(PART, frames=frames)
    shows = teach(lesson, part, np.random.default_rng(0), levels_of(part), GEOMETRY, 8.0)
    scenes = [show.scene for show in shows]
    assert len(shows) == part.clips
    if lesson == "order":
        assert {(scene.background, scene.direction) for scene in scenes} == {("gradient", "vertical")}
    else:
        motion, ways = ("spin", [1] * 24) if lesson == "spin" else ("orbit", [-1] * 12 + [1] * 12)
        assert {(len(s.things), s.things[0].motion, s.camera) for s in scenes} == {(1, motion, "still")}
        assert sorted(s.things[0].way for s in scenes) == ways
        assert lesson != "spin" or min(s.things[0].size for s in scenes) >= LARGE
    low, high = LESSONS[lesson]
    for show in shows:
        (level,) = show.level.unique().tolist()
        assert low <= level <= high and show.level.shape == levels_of(part)(mode="whole").shape
    assert len({float(show.level.max()) for show in shows}) == part.clips


def test_a_lesson_shows_what_orbits_beside_something_else():
    shows = teach("orbit", PART, np.random.default_rng(0), levels_of(PART), GEOMETRY, 8.0)
    low, high = LESSONS["orbit"]
    assert len(shows) == PART.clips
    for show in shows:
        (level,) = show.level.unique().tolist()
        turning = [(thing.motion, thing.way) for thing in show.scene.things if thing.way]
        assert low <= level <= high and len(show.scene.things) == 2
        assert turning == [("orbit", 1)] and show.scene.camera == "still"


@pytest.mark.parametrize("frames, first, new", [(37, {2, 3, 4}, 4), (9, {1}, 1)])
def test_a_lesson_shows_how_one_clip_leads_to_the_next(frames, first, new):
    part = replace(PART, frames=frames)
    shows = teach("bridge", part, np.random.default_rng(0), levels_of(part), GEOMETRY, 8.0)
    begins = set()
    assert len(shows) == part.clips
    for show in shows:
        unknown = show.level.flatten(1).amax(1).nonzero().flatten().tolist()
        begins.add(unknown[0])
        assert unknown == list(range(unknown[0], unknown[0] + new))
        assert show.level[unknown].unique().numel() == 1
        assert [len(scene.things) for scene in (show.scene, show.end)] == [1, 1]
        given = [at for at in range(part.frames) if GEOMETRY.latent_frames(at + 1) - 1 not in unknown]
        assert set(show.share[given].tolist()) == {0.0, 1.0}
        assert 0 < show.share[GEOMETRY.frames(unknown[0]) + 1] < 1
    assert begins == first


def test_a_bridge_has_two_ends_and_something_between(tiny_checkpoint):
    model = DiTConfig(width=32, depth=2, heads=2, text_width=16, channels=4, patch=(1, 1, 1))
    text = TextSettings(merges=20, width=16, depth=1, heads=2)
    data = DiTTaskConfig(packs=[{"parts": [[1, 5, 32, 32]], "lesson": "bridge"}], vae=str(tiny_checkpoint))
    with pytest.raises(UserError, match=r"\[\[data.packs\]\] lesson bridge needs clips of more than 5 frames, not 5"):
        DiTTask(model, text, data)
    data = DiTTaskConfig(packs=[{"parts": [[3, 9, 32, 32]], "lesson": "bridge"}], vae=str(tiny_checkpoint))
    (group,) = DiTTask(model, text, data).batch(0, 0, 1).groups
    assert not group.level[:, :, [0, 2]].any() and group.level[:, :, 1].all()


def test_a_pack_says_what_it_teaches_and_how_much_its_facts_weigh(tiny_checkpoint):
    def learnt(**pack):
        pack = {"parts": [[3, 1, 32, 32]], "captions": 1} | pack
        model = DiTConfig(width=32, depth=2, heads=2, text_width=16, channels=4, patch=(1, 1, 1))
        data = DiTTaskConfig(packs=[pack], vae=str(tiny_checkpoint))
        torch.manual_seed(0)
        task = DiTTask(model, TextSettings(merges=20, width=16, depth=1, heads=2), data)
        batch = task.batch(0, 0, 1)
        torch.manual_seed(0)
        return batch, *task.loss(task.module, batch)

    lesson, *_ = learnt(lesson="order")
    assert lesson.groups[0].level.min() >= LESSONS["order"][0]
    (_, light, metrics), (_, heavy, _) = learnt(facts=1.0), learnt(facts=11.0)
    assert metrics["facts"] > 0.01
    torch.testing.assert_close(heavy - light, torch.tensor(10 * metrics["facts"]), rtol=1e-4, atol=1e-4)
