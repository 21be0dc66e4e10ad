"""Sizes: what a person asks for, what the codec and the transformer see, and what is refused."""

import math

import numpy as np
import pytest

from sora_core.errors import UserError
from sora_core.grid import PRESETS, Geometry, Grid, frames_for, parse_size, same_shape


def test_latent_frames_are_causal():
    g = Geometry()
    assert [g.latent_frames(n) for n in (1, 2, 5, 6, 9, 17, 33)] == [1, 2, 2, 3, 3, 5, 9]
    assert all(g.latent_frames(g.frames(n)) == n for n in range(1, 50))
    assert all(g.frames(g.latent_frames(n)) >= n for n in range(1, 200))
    assert Geometry(t_stride=1).latent_frames(16) == 16


def test_latent_shape_rounds_up_to_whole_patches():
    assert Grid(17, 64, 64).latent_shape == (16, 5, 8, 8)
    odd = Grid(16, 65, 70, 8.0, Geometry(patch=(1, 2, 2)))
    assert odd.latent_shape == (16, 5, 10, 10)
    assert odd.patches == (5, 5, 5) and odd.tokens == 125
    assert Grid(17, 64, 64, 8.0, Geometry(patch=(2, 1, 1))).latent_shape[1] == 6
    assert Grid(np.int64(1), 1080, 1920).latent_shape == (16, 1, 135, 240)


def test_two_seconds_at_eight_frames_are_sixteen_frames_that_last_two_seconds():
    assert frames_for(2, 8) == 16
    assert Grid(frames_for(2, 8), 64, 64, 8.0).seconds == 2.0
    assert frames_for(60, 24) == 1440 and frames_for(0.01, 8) == 1
    assert frames_for(2.5, 25) == 63  # a half rounds up


@pytest.mark.parametrize(
    "text, size",
    [
        ("1920x1080", (1920, 1080)),
        ("1920×1080", (1920, 1080)),
        ("  64 X 48 ", (64, 48)),
        ("720p 16:9", (1280, 720)),
        ("1080P 9:16", (1080, 1920)),
        ("preview  16:9", (128, 72)),
    ],
)
def test_sizes_that_people_write(text, size):
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "x", "0x64", "-64x64", "64", "64x", "nanxnan", "1e3x64", "99999x64", "64x64x64", "²x2"]
)
def test_nonsense_is_refused_in_one_sentence(text):
    with pytest.raises(UserError) as error:
        parse_size(text)
    assert "\n" not in str(error.value) and str(error.value).endswith(".") and len(str(error.value)) < 200


@pytest.mark.parametrize(
    "arguments",
    [
        (0, 64, 64),
        (-1, 64, 64),
        (17.5, 64, 64),
        (True, 64, 64),
        ("17", 64, 64),
        (17, 0, 64),
        (17, 64, 4),
        (17, 64, 10**30),
        (10**30, 64, 64),
        (17, 64, 64, 0),
        (1, 64, 64, 0.009),
        (17, 64, 64, math.nan),
        (17, 64, 64, math.inf),
        (17, 64, 64, None),
        (17, 2048, 2048),
        (482, 64, 64, 8.0),
    ],
)
def test_impossible_grids_are_refused(arguments):
    with pytest.raises(UserError) as error:
        Grid(*arguments)
    assert len(str(error.value)) < 200


def test_limits_are_inclusive():
    for size in ((480, 64, 64, 8.0), (481, 64, 64, 8.0), (1440, 1080, 1920, 24.0), (1, 2048, 2048), (1, 8, 8, 0.01)):
        Grid(*size)


def test_seconds_are_validated():
    for seconds, fps in ((0, 8), (-1, 8), (61, 8), (2, 0), (2, math.nan), ("two", 8)):
        with pytest.raises(UserError):
            frames_for(seconds, fps)


def test_every_preset_makes_a_grid_of_the_shape_it_names():
    for name, (width, height) in PRESETS.items():
        shape = name.split()[1]
        a, b = map(int, shape.split(":"))
        Grid(1 if name.startswith("image") else 17, height, width)
        assert abs(math.log(width / height * b / a)) < 0.07, name
    assert {name.split()[1] for name in PRESETS} == {"16:9", "9:16", "1:1", "4:3", "21:9"}
    assert max(map(max, PRESETS.values())) == 2048


def test_same_shape_keeps_the_shape_and_the_budget():
    for width, height in ((1920, 1080), (300, 900), (64, 64)):
        w, h = same_shape(width, height, 100_000)
        assert w * h <= 100_000 and w % 8 == h % 8 == 0 and abs(math.log(w / h * height / width)) < 0.06
    assert same_shape(64, 64, 64 * 64) == (64, 64)
    assert same_shape(2000, 8, 1000) is None


def test_memory_grows_with_everything_that_costs():
    base = Grid(17, 128, 128)
    assert Grid(33, 128, 128).memory_bytes() > base.memory_bytes()
    assert base.memory_bytes(width=768) > base.memory_bytes()
    assert base.memory_bytes(bytes_per_element=2) < base.memory_bytes()
    assert base.memory_bytes(batch=2) > base.memory_bytes()
    assert base.memory_bytes(window=2) < base.memory_bytes() == base.memory_bytes(window=5)


def test_what_does_not_fit_is_refused_with_the_largest_size_that_does():
    grid = Grid(33, 1080, 1920, 24.0)
    grid.check_memory(None)
    grid.check_memory(grid.memory_bytes())
    budget = 2 * 2**30
    with pytest.raises(UserError) as error:
        grid.check_memory(budget)
    width, height = parse_size(str(error.value).rsplit(" ", 1)[1].rstrip("."))
    assert Grid(33, height, width, 24.0).memory_bytes() <= budget
    w, h = same_shape(1920, 1080, int(width * height * 1.1))
    assert Grid(33, h, w, 24.0).memory_bytes() > budget
    with pytest.raises(UserError, match=r"needs about 65 MiB of memory and 2 MiB are free: .* fits is 336x184\.$"):
        grid.check_memory(2**21, lambda grid: grid.frames * grid.pixels)


def test_when_no_size_fits_the_duration_is_named_and_then_the_machine():
    narrow = Grid(480, 8, 2048, 8.0)
    with pytest.raises(UserError, match=r"at most [0-9]+ frames fit"):
        narrow.check_memory(narrow.memory_bytes() // 2)
    with pytest.raises(UserError, match="not even one frame"):
        narrow.check_memory(10)
    loop = Grid(480, 8, 2048, 8.0, cyclic=True)
    with pytest.raises(UserError, match=r"at most [0-9]+ frames fit") as error:
        loop.check_memory(loop.memory_bytes() // 2)
    assert int(str(error.value).split("at most ")[1].split()[0]) % 4 == 0
    with pytest.raises(UserError, match="not even one frame"):
        loop.check_memory(10)


def test_a_window_has_whole_patches():
    grid = Grid(13, 80, 64, 8.0, Geometry(patch=(2, 2, 2)))  # 4 latent frames of 5 x 4 patches
    assert [grid.tokens_within(window) for window in (1, 2, 3, 4, 9)] == [20, 20, 40, 40, 40] and grid.tokens == 40


def test_a_loop_has_no_first_frame():
    """Every latent frame of a loop stands for four frames, so 2 s at 8 frames a second are 4 of them, not 5."""
    loop = Grid(16, 64, 64, 8.0, cyclic=True)
    assert loop.latent_shape == (16, 4, 8, 8) and loop.seconds == 2
    assert [loop.moment(t) for t in range(4)] == [0.25, 0.75, 1.25, 1.75]
    clip = Grid(17, 64, 64, 8.0)
    assert [clip.moment(t) for t in range(3)] == [0.0625, 0.375, 0.875]  # of frame 0, frames 1-4, frames 5-8
    for frames, says in ((15, "12 or 16"), (1, "it 4 frames")):
        with pytest.raises(UserError, match=says):
            Grid(frames, 64, 64, 8.0, cyclic=True)
