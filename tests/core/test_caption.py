"""Captions: true, varied, complete where they must be, and with targets that say what they state."""

import random
import re
from dataclasses import replace

import numpy as np
import pytest

from sora_core.worlds.attributes import ATTRIBUTES, GROUPS, attributes
from sora_core.worlds.caption import caption, caption_with_targets
from sora_core.worlds.scene import COLOURS, MOTIONS, SHAPES, sample_scene
from sora_core.worlds.sentences import HELD_OUT, TRAINED
from sora_core.worlds.wording import BACKGROUND_PHRASES, COLOUR_WORDS, MOTION_PHRASES, SHAPE_WORDS

# Words of colour or shape that say something else: a style, scenery, or a round path (also as a verb).
ELSEWHERE = re.compile("black and white|green lawn|green meadow|blue sky|in a circle|around in a circle|in circles")
CIRCLES = re.compile(rf"\b({'|'.join(word for words in SHAPE_WORDS.values() for word in words)}) circle\b(?! around)")


def scenes(count, seed=0, **options):
    rng = np.random.default_rng(seed)
    return [sample_scene(rng, **options) for _ in range(count)]


def words_of(text, table):
    """The names of a table whose words a text contains."""
    text = CIRCLES.sub(r"\1", ELSEWHERE.sub("", text.lower()))
    found = set()
    for name, words in table.items():
        for word in words:
            if re.search(rf"\b{word}\b(?! around)", text):
                found.add(name)
    return found


def test_the_same_dice_give_the_same_words():
    scene = scenes(1)[0]
    assert caption(scene, random.Random(3)) == caption(scene, random.Random(3))
    assert caption(scene, np.random.default_rng(3)) == caption(scene, np.random.default_rng(3))


@pytest.mark.parametrize("kind", ["any", "plain", "short", "long", "partial", "held_out"])
def test_never_a_false_colour_or_shape(kind):
    rng = random.Random(1)
    for scene in scenes(400, seed=1):
        text = caption(scene, rng, kind)
        colours = {t.colour for t in scene.things if scene.shows_colour} | set(scene.background_colours)
        said = words_of(text, COLOUR_WORDS)
        assert said <= colours, (text, colours)
        assert words_of(text, SHAPE_WORDS) <= {t.shape for t in scene.things}, text
        assert "{" not in text and "  " not in text and ".." not in text and " ." not in text, text
        assert not re.search(r"\b[Aa] (?=[aeio])|\b[Aa]n (?![aeiou])", text.replace("a one", "")), text


@pytest.mark.parametrize("kind", ["plain", "long", "held_out"])
def test_full_captions_state_everything_that_is_scored(kind):
    rng = random.Random(2)
    for scene in scenes(400, seed=2):
        text = caption(scene, rng, kind)
        assert words_of(text, SHAPE_WORDS) == {t.shape for t in scene.things}
        if scene.shows_colour:
            wanted = {t.colour for t in scene.things} | set(scene.background_colours)
            assert wanted <= words_of(text, COLOUR_WORDS), text
        if scene.camera != "still":
            assert re.search("camera|pan|zoom", text.lower()), text
        if scene.style != "flat":
            assert re.search("charcoal|neon|blueprint|technical drawing", text.lower()), text
        for thing in scene.things:
            groups, kept = MOTION_PHRASES[thing.motion]
            forms = [form for phrase in [*kept, *(p for group in groups for p in group)] for form in phrase]
            assert any(form in text.lower() for form in forms), (thing.motion, text)


def test_pictures_are_described_without_motion():
    rng = random.Random(3)
    verbs = re.compile("mov|drift|slid|bounc|spin|stand|rest|still|camera")
    for scene in scenes(300, seed=3, image=True):
        text = caption(scene, rng, image=True)
        assert not verbs.search(text.lower().replace("nothing else", "")), text


@pytest.mark.parametrize("kind", ["plain", "short", "long", "partial", "held_out"])
def test_which_way_a_thing_turns_is_said_unless_it_is_clockwise(kind):
    rng, told = random.Random(9), {True: 0, False: 0}
    for scene in (s for s in scenes(3000, seed=13) if any(thing.way for thing in s.things)):
        text, _, mask = caption_with_targets(scene, rng, kind)
        ways = [thing.way > 0 for thing in scene.things if thing.way]
        against = re.findall("counter-?clockwise|anticlockwise", text.lower())
        with_it = re.findall(r"(?<![a-z-])clockwise", text.lower())
        alike = len({thing.motion for thing in scene.things}) == 1  # "both spin counter-clockwise" says it once
        both = ways == [False, False] and alike
        if mask[ATTRIBUTES.index("motion: spin")]:
            assert len(against) == ways.count(False) or (both and len(against) == 1), text
        else:
            assert not against, text
        assert len(with_it) <= ways.count(True), text
        told[True] += bool(with_it)
        told[False] += bool(against)
    assert told[True] > 10 and told[False] > 10


def test_size_words_are_true():
    rng = random.Random(4)
    small = [caption(s, rng, "long") for s in scenes(500, seed=4) if all(x.size > 0.3 for x in s.things)]
    assert small and not any(re.search(r"\b(small|little|tiny)\b", t.lower()) for t in small)
    large = [caption(s, rng, "long") for s in scenes(500, seed=5) if all(x.size < 0.35 for x in s.things)]
    assert large and not any(re.search(r"\b(large|big|huge) (?!and)", t.lower()) for t in large)


def test_variety():
    assert sum(len(set(shapes)) for shapes in TRAINED.values()) > 150
    scene = next(s for s in scenes(50, seed=6) if len(s.things) == 1 and s.background == "plain" and s.shows_background)
    rng = random.Random(5)
    assert len({caption(scene, rng) for _ in range(1000)}) > 950


def test_held_out_wording_is_disjoint_and_made_of_known_words():
    for key, shapes in HELD_OUT.items():
        assert not set(shapes) & set(TRAINED[key])
    for groups, kept in MOTION_PHRASES.values():
        known = {p for group in groups for p in group}
        assert kept and not known & set(kept)
        words = {w for p in known for form in p for w in form.split()}
        assert {w for p in kept for form in p for w in form.split()} <= words
    for phrases in BACKGROUND_PHRASES.values():
        assert all(not set(known) & set(kept) for known, kept in phrases.values())
        assert any(kept for _, kept in phrases.values())

    rng = random.Random(7)
    trained = {w for s in scenes(3000, seed=7) for w in re.findall(r"[a-z-]+", caption(s, rng).lower())}
    held_out = [re.findall(r"[a-z-]+", caption(s, rng, "held_out").lower()) for s in scenes(500, seed=8)]
    assert sum(w in trained for text in held_out for w in text) / sum(map(len, held_out)) > 0.97


def test_targets_are_true_and_masked_by_what_is_said():
    rng = random.Random(8)
    seen = np.zeros(len(ATTRIBUTES))
    for scene in scenes(300, seed=9):
        text, values, mask = caption_with_targets(scene, rng)
        truth = attributes(scene)
        assert list(truth) == list(ATTRIBUTES) and len(values) == len(mask) == len(ATTRIBUTES)
        assert all(v <= m for v, m in zip(values, mask, strict=True))
        assert all(v == truth[name] for name, v, m in zip(ATTRIBUTES, values, mask, strict=True) if m), text
        stated = {name.split(":")[0] for name, m in zip(ATTRIBUTES, mask, strict=True) if m}
        said = words_of(text, SHAPE_WORDS)
        assert ("shape" in stated) == (said == {t.shape for t in scene.things}), text
        if "shape motion" in stated:
            assert {"shape", "motion"} <= stated
        seen += values
    assert (seen > 0).mean() > 0.7


def test_targets_bind_attributes_to_things():
    scene = next(s for s in scenes(400, seed=10) if len(s.things) == 2 and s.things[0].shape != s.things[1].shape)
    first, second = scene.things
    swapped = replace(scene, things=(replace(first, shape=second.shape), replace(second, shape=first.shape)))
    one, two = attributes(scene), attributes(swapped)
    differing = {name.split(":")[0] for name in ATTRIBUTES if one[name] != two[name]}
    assert "colour shape" in differing and not differing & {"shape", "colour", "count"}
    assert one[f"colour shape: {first.colour} {first.shape}"] == 1.0


def test_groups_have_the_promised_sizes():
    assert len(GROUPS["colour shape"]) == len(COLOURS) * len(SHAPES) == 60
    assert len(GROUPS["shape motion"]) == len(SHAPES) * (len(MOTIONS) + 1) == 60
    assert len(set(ATTRIBUTES)) == len(ATTRIBUTES)


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="kind must be one of"):
        caption(scenes(1)[0], random.Random(0), "poem")
