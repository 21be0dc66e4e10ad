"""Timelines: what a person may write, what every moment is told, and what a sentence refuses."""

import time

import pytest

from sora_core.errors import UserError
from sora_core.grid import Geometry, Grid
from sora_core.timeline import Span, Timeline, plan


@pytest.mark.parametrize(
    "text",
    [
        "0-2s: a red ball; 2-4s: a blue ball",
        " 0 - 2 : a red ball ;2.0-4 s: a blue ball ;",
        "0-2S: a red ball\n2\u20134s: a blue ball\n",
    ],
)
def test_forms(text):
    timeline = Timeline.parse(text)
    assert timeline == Timeline((Span(0, 2, "a red ball"), Span(2, 4, "a blue ball")))
    assert timeline.seconds == 4 and timeline.prompts == ["a red ball", "a blue ball"]


def test_a_prompt_may_hold_anything_but_a_span():
    text = "0-.5s: at 10:30; a ball, 3-4 of them: red;; 0.5-1.25s: "
    assert Timeline.parse(text).prompts == ["at 10:30; a ball, 3-4 of them: red", ""]


@pytest.mark.parametrize(
    "text, says",
    [
        ("", "is empty"),
        (" \n", "is empty"),
        ("a red ball", "is not a timeline"),
        ("a red ball; 0-2s: a blue ball", "is not a timeline"),
        ("0-2s a red ball", "colon must follow the time in '0-2s a red ball'"),
        ("0-2s: a red ball; 2-4s a blue ball", "colon must follow the time in '2-4s a blue ball'"),
        ("0-2s: a red ball\n2-45 a blue ball; 45-50s: a star", "colon must follow the time in '2-45 a blue ball"),
        ("0-2s: a; 2-4 seconds: b", "colon must follow the time in '2-4 seconds: b'"),
        ("-1-2s: a", "is not a timeline"),
        ("nan-2s: a", "is not a timeline"),
        ("0-1e400s: a", "colon must follow the time"),
        ("1-2s: a", "must start at 0"),
        ("0-2s: a; 3-4s: b", "0-2s and 3-4s leave a gap"),
        ("0-2s: a; 1.5-4s: b", "0-2s and 1.5-4s overlap"),
        ("2-4s: b; 0-2s: a", "starts at 2 s"),
        ("0-2s: a; 2-2s: b", "2-2s is no span"),
        ("0-2s: a; 2-1s: b", "2-1s is no span"),
    ],
)
def test_nonsense_is_refused_in_a_sentence(text, says):
    with pytest.raises(UserError, match=says) as error:
        Timeline.parse(text)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_every_moment_hears_the_prompt_at_its_middle():
    timeline = Timeline.parse("0-1s: a; 1-2s: b")
    # At 8 frames a second the latent frames stand for frames 0, 1-4, 5-8, 9-12, 13-16: the third's middle is 0.875 s.
    assert timeline.told(Grid(17, 16, 16, 8.0)) == [0, 0, 0, 1, 1]
    assert timeline.told(Grid(16, 16, 16, 8.0, cyclic=True)) == [0, 0, 1, 1]
    assert timeline.told(Grid(48, 16, 16, 24.0)) == [0] * 7 + [1] * 6
    pairs = Geometry(patch=(2, 1, 1))
    assert timeline.told(Grid(17, 16, 16, 8.0, pairs)) == [0, 1, 1]


@pytest.mark.parametrize(
    "frames, says",
    [(24, "ends at 2 s and the video at 3 s"), (5, r"1-2s would never be read: the video lasts 0\.625 s")],
)
def test_a_video_of_another_length(frames, says):
    with pytest.raises(UserError, match=says):
        Timeline.parse("0-1s: a; 1-2s: b").told(Grid(frames, 16, 16, 8.0))


def test_a_prompt_too_short_to_be_read():
    with pytest.raises(UserError, match=r"1-1\.1s would never be read.*hold for 0\.5 s"):
        Timeline.parse("0-1s: a; 1-1.1s: b; 1.1-2s: c").told(Grid(17, 16, 16, 8.0))


def test_plan_of_a_batch():
    grid = Grid(17, 16, 16, 8.0)
    two = Timeline.parse("0-1s: a; 1-2s: b")
    assert plan(["x", Timeline.parse("0-2s: y")], grid) == (["x", "y"], None)
    assert plan(["x", two], grid) == (["x", "a", "b"], [[0] * 5, [1, 1, 1, 2, 2]])
    with pytest.raises(UserError, match="ends at 1 s"):
        plan([Timeline.parse("0-1s: y")], grid)


def test_a_timeline_of_megabytes_is_refused_at_once():
    with pytest.raises(UserError, match="more than 2000 prompts"):
        Timeline.parse("1-2s:;" * 1_700_000)


@pytest.mark.parametrize(
    "text", ["\n" * 3_000_000 + "a", "1" + " " * 3_000_000, "0-1" + "\n " * 3_000_000, "1" * 3_000_000]
)
def test_megabytes_of_anything_are_read_at_once(text):
    start = time.process_time()
    with pytest.raises(UserError):
        Timeline.parse(text)
    assert time.process_time() - start < 5
