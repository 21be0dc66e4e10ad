"""The operations on a canvas: what is kept lies where it should, bit for bit, and they compose."""

import math

import pytest
import torch

from sora_core.canvas import (
    Canvas,
    connect,
    edit,
    empty,
    enlargement,
    extend,
    keep,
    lap,
    loop,
    morph,
    refine,
    reframe,
)
from sora_core.errors import UserError
from sora_core.grid import Geometry, Grid
from sora_core.noise import noise
from sora_core.sampler import field, sample
from sora_core.strength import curve_to_cells, mask_to_cells, parse_curve

GRID = Grid(17, 32, 48, 8.0, Geometry(channels=4))  # latent 4 x 5 x 4 x 6
PATCHED = Grid(17, 32, 48, 8.0, Geometry(channels=4, patch=(1, 2, 2)))


def clip(grid=GRID, batch=1, seed=0):
    return torch.randn(batch, *grid.latent_shape, generator=torch.Generator().manual_seed(seed))


def levels(canvas: Canvas) -> list[float]:
    """Over time, of one cell."""
    return [round(float(n), 6) for n in canvas.level[0, 0, :, 0, 0]]


def shrink(x, level):
    """A denoiser that touches everything it may."""
    return x * 0.5 + 1


def filled(canvas: Canvas, seed: int = 3) -> torch.Tensor:
    return sample(shrink, canvas, seed, steps=3)


# ------------------------------------------------------------------------------------------------------ keep and extend


def test_a_kept_clip_comes_back_exactly():
    assert torch.equal(filled(keep(clip(), GRID)), clip())
    assert not torch.equal(filled(keep(clip(), GRID, 0.01)), clip())


@pytest.mark.parametrize("forward, backward", [(3, 0), (0, 2), (3, 2)])
def test_extend(forward, backward):
    canvas = extend(keep(clip(), GRID), forward, backward)
    assert canvas.grid.frames == GRID.frames + 4 * (forward + backward)
    first = [1] if backward else [0]  # a first latent frame cannot stand in the middle
    assert levels(canvas) == [1] * backward + first + [0] * 4 + [1] * forward
    old = slice(backward + len(first) * bool(backward), backward + 5)
    assert torch.equal(filled(canvas)[:, :, old], clip()[:, :, old.start - backward :])
    assert not torch.equal(filled(canvas), filled(canvas, seed=4))


def test_old_patches_keep_their_noise_whichever_way_a_canvas_grows():
    for canvas, (t, y, x) in (
        (extend(empty(GRID), backward=2), (2, 0, 0)),
        (reframe(empty(GRID), 80, 48), (0, 1, 2)),
    ):
        before = noise(7, GRID.latent_shape)
        after = noise(7, canvas.grid.latent_shape, offset=canvas.origin)
        assert torch.equal(after[:, t : t + 5, y : y + 4, x : x + 6], before)


def test_an_image_is_a_still_and_stays_when_something_comes_before_it():
    image = Grid(1, 32, 48, 8.0, GRID.geometry)
    canvas = extend(keep(clip(image), image), backward=2)
    assert levels(canvas) == [1, 1, 0] and canvas.grid.frames == 9


def test_frames_that_were_cut_off_are_shown_when_something_follows():
    short = Grid(16, 32, 48, 8.0, GRID.geometry)
    assert extend(keep(clip(short), short), 1).grid.frames == 21


# ---------------------------------------------------------------------------------------------- connect, loop and morph


def test_connect():
    a, b = keep(clip(), GRID), keep(clip(seed=1), GRID)
    canvas = connect(a, b, 2)
    assert levels(canvas) == [0] * 5 + [1] * 3 + [0] * 4
    assert canvas.grid.frames == 17 + 4 * 2 + 4 * 5
    latent = filled(canvas)
    assert torch.equal(latent[:, :, :5], a.latent) and torch.equal(latent[:, :, 8:], b.latent[:, :, 1:])


def test_a_loop_is_the_clip_and_a_way_back_to_its_start():
    canvas = loop(keep(clip(), GRID), 2, context=3)
    assert levels(canvas) == [0] * 5 + [1] * 3 + [0] * 2
    latent = filled(canvas)
    assert torch.equal(latent[:, :, :5], clip()) and torch.equal(latent[:, :, 8:], clip()[:, :, 1:3])
    assert lap(keep(clip(), GRID), 2, 3) == 17 + 8 + 3  # the third of the last four shows the first frame again


def test_a_loop_of_an_image_returns_to_it():
    image = Grid(1, 32, 48, 8.0, GRID.geometry)
    canvas = loop(keep(clip(image), image), 3)
    assert levels(canvas) == [0, 1, 1, 1, 0] and lap(keep(clip(image), image), 3) == 13


def test_morph_goes_from_one_to_the_other():
    a, b = keep(clip(), GRID), keep(clip(seed=1), GRID)
    canvas = morph(a, b, 0.8)
    assert levels(canvas) == pytest.approx([0, *(0.8 * math.sin(math.pi * u) for u in (0.25, 0.5, 0.75)), 0], abs=1e-6)
    latent = filled(canvas)
    assert torch.equal(latent[:, :, 0], a.latent[:, :, 0]) and torch.equal(latent[:, :, -1], b.latent[:, :, -1])
    assert torch.allclose(canvas.latent[:, :, 2], (a.latent + b.latent)[:, :, 2] / 2, atol=1e-5)


# ----------------------------------------------------------------------------------------------------------------- edit


def test_strength_0_returns_the_latent_exactly():
    canvas = edit(keep(clip(), GRID), 0.0)
    assert torch.equal(filled(canvas), clip())
    assert (edit(keep(clip(), GRID), 0.3).level == torch.tensor(0.3)).all()


def test_an_edit_never_keeps_what_is_to_be_invented():
    assert levels(edit(extend(keep(clip(), GRID), 2), 0.4)) == pytest.approx([0.4] * 5 + [1, 1])


def test_a_region_is_edited_and_the_rest_is_kept():
    mask = torch.zeros(320, 480)
    mask[:165, :81] = 1  # two cells and a bit by one cell and a bit
    canvas = edit(keep(clip(), GRID), 0.7, mask)
    touched = canvas.level[0, 0] > 0
    assert touched[:, :3, :2].all() and touched.sum() == 5 * 6
    latent = filled(canvas)
    assert torch.equal(latent[~touched.expand_as(latent)], clip()[~touched.expand_as(latent)])
    assert not torch.isclose(latent[touched.expand_as(latent)], clip()[touched.expand_as(latent)]).all()


def test_a_mask_over_time_and_soft():
    mask = torch.zeros(17, 32, 48)
    mask[6] = 0.5  # in the third latent frame: frames 5 to 8
    assert levels(edit(keep(clip(), GRID), 0.8, mask)) == pytest.approx([0, 0, 0.4, 0, 0])
    cyclic = Grid(16, 32, 48, 8.0, GRID.geometry, cyclic=True)
    assert mask_to_cells(mask[:16], cyclic)[0, 0, :, 0, 0].tolist() == [0, 0.5, 0, 0]  # frames 4 to 7
    short = Grid(6, 31, 47, 8.0, GRID.geometry)
    mask = torch.zeros(6, 31, 47)
    mask[5, -1, -1] = 1
    assert mask_to_cells(mask, short).nonzero().tolist() == [[0, 0, 2, 3, 5]]


def test_a_touched_patch_is_edited_whole():
    mask = torch.zeros(32, 48)
    mask[0, 0] = 1
    level = edit(keep(clip(PATCHED), PATCHED), 0.5, mask).level[0, 0, 0]
    assert level[:2, :2].tolist() == [[0.5, 0.5], [0.5, 0.5]] and level.count_nonzero() == 4


def test_a_curve_over_time():
    assert levels(edit(keep(clip(), GRID), curve=[(0, 0.2), (1, 0.8)])) == pytest.approx([0.2, 0.35, 0.5, 0.65, 0.8])
    assert levels(edit(keep(clip(), GRID), curve=[(0.5, 0.6)])) == pytest.approx([0.6] * 5)
    assert parse_curve("0:0.2, 1:0.8") == [(0, 0.2), (1, 0.8)]
    cyclic = Grid(16, 32, 48, 8.0, GRID.geometry, cyclic=True)
    assert curve_to_cells([(0, 0), (1, 1)], cyclic).flatten().tolist() == pytest.approx([3 / 15, 7 / 15, 11 / 15, 1])
    image = Grid(1, 32, 48)
    assert curve_to_cells([(0, 0.2), (1, 0.8)], image).flatten().tolist() == pytest.approx([0.2])


# --------------------------------------------------------------------------------------------------- reframe and refine


@pytest.mark.parametrize("x, y, top, left", [(0.5, 0.5, 1, 2), (0, 0, 0, 0), (1, 1, 2, 4)])
def test_reframe_keeps_the_inside(x, y, top, left):
    canvas = reframe(keep(clip(), GRID), 80, 48, x, y)
    inside = (..., slice(top, top + 4), slice(left, left + 6))
    assert canvas.grid.latent_shape == (4, 5, 6, 10) and canvas.kept[inside].all() and canvas.kept.sum() == 5 * 4 * 6
    assert torch.equal(filled(canvas)[inside], clip())


def test_reframe_moves_in_whole_patches_and_invents_a_patch_that_the_picture_does_not_fill():
    canvas = reframe(keep(clip(PATCHED), PATCHED), 80, 48)
    assert canvas.kept[0, 0, 0].any(0).nonzero().flatten().tolist() == [2, 3, 4, 5, 6, 7]
    odd = Grid(17, 30, 48, 8.0, GRID.geometry)
    canvas = reframe(keep(clip(odd), odd), 48, 40, y=0)
    assert canvas.kept[0, 0, 0].all(1).tolist() == [True] * 3 + [False] * 2


@pytest.mark.parametrize("width, left", [(53, 2), (55, 2), (56, 3), (80, 6)])
def test_a_picture_at_the_right_is_inside_a_frame_of_no_whole_patches(width, left):
    small = Grid(17, 32, 32, 8.0, GRID.geometry)
    canvas = reframe(keep(clip(small), small), width, 32, x=1)
    assert canvas.kept[0, 0, 0, 0].nonzero().flatten().tolist() == list(range(left, left + 4))
    assert left * GRID.geometry.s_stride + small.width <= width


def test_refine_shares_the_composition():
    canvas = refine(keep(clip(), GRID), 96, 64, 0.5)
    assert canvas.scale == 2 and canvas.grid.latent_shape == (4, 5, 8, 12) and (canvas.level == 0.5).all()
    small, large = noise(3, GRID.latent_shape), noise(3, canvas.grid.latent_shape, scale=2)
    means = torch.nn.functional.avg_pool3d(large[None], (1, 2, 2))[0]
    assert torch.allclose(means, small / 2, atol=1e-5)
    ramp = torch.linspace(-1, 1, 6).expand(1, *GRID.latent_shape)
    halved = torch.nn.functional.avg_pool3d(refine(keep(ramp, GRID), 96, 64).latent, (1, 2, 2))
    assert torch.allclose(halved[..., 1:-1], ramp[..., 1:-1], atol=1e-5)
    assert refine(keep(clip(), GRID), 72, 48).scale == 1  # one and a half: no whole multiple


@pytest.mark.parametrize(("old", "new"), [((100, 60), (200, 120)), ((97, 36), (194, 72)), ((33, 27), (66, 54))])
def test_twice_the_size_is_so_in_pixels_whatever_the_cells_are(old, new):
    small, large = (Grid(1, height, width, 8, GRID.geometry) for width, height in (old, new))
    assert enlargement(small, large) == 2


def test_one_of_a_batch_keeps_its_noise_through_every_operation():
    three = keep(clip(batch=3), GRID)
    second = three.alone(1)
    longer, wider = extend(second, backward=1), reframe(second, 64, 64)
    assert three.numbers == (0, 1, 2) and second.numbers == longer.numbers == wider.numbers == (1,)
    assert torch.equal(second.latent[0], three.latent[1]) and torch.equal(field(second, 7)[0], field(three, 7)[1])
    assert torch.equal(field(longer, 7)[0, :, 1:], field(second, 7)[0])
    assert torch.equal(field(wider, 7)[0], noise(8, (4, 5, 8, 8), offset=wider.origin))


# ----------------------------------------------------------------------------------------------------------- together


def test_three_operations_are_one_canvas():
    """Extended both ways, then reframed, then edited in a region: one sampling, and the rest is bit for bit kept."""
    canvas = reframe(extend(keep(clip(batch=2), GRID), 2, 1), 80, 48)
    mask = torch.zeros(48, 80)
    mask[:, 32:40] = 1
    canvas = edit(canvas, 0.5, mask)
    assert canvas.grid == Grid(29, 48, 80, 8.0, GRID.geometry) and canvas.origin == (-1, -1, -2)
    level = canvas.level[0, 0]
    assert set(level.unique().tolist()) == {0, 0.5, 1}
    inside = level[2:6, 1:5, 2:8]
    assert (inside[:, :, 2] == 0.5).all() and (inside == 0.5).sum() == 16 and (inside == 0).sum() == 80
    latent = filled(canvas)
    known = canvas.kept.expand_as(latent)
    there = torch.zeros_like(latent)
    there[:, :, 1:6, 1:5, 2:8] = clip(batch=2)
    assert torch.equal(latent[known], there[known]) and known.sum() == 2 * 4 * 80


# ---------------------------------------------------------------------------------------------------- what is refused

A = keep(clip(), GRID)
OTHER_SIZE, OTHER_RATE = Grid(17, 32, 32, 8.0, GRID.geometry), Grid(17, 32, 48, 24.0, GRID.geometry)
LOOP = Grid(16, 32, 48, 8.0, GRID.geometry, cyclic=True)
LONGER = Grid(21, 32, 48, 8.0, GRID.geometry)
SHORT = Grid(5, 32, 48, 8.0, GRID.geometry)


@pytest.mark.parametrize(
    "make, says",
    [
        (lambda: keep(clip(), GRID, float("nan")), "Every strength"),
        (lambda: keep(clip(), OTHER_SIZE), "4x4"),
        (lambda: extend(A), "at least one latent frame"),
        (lambda: extend(A, -1, 2), "at least one latent frame"),
        (lambda: extend(A, 10**4), "60 seconds"),
        (lambda: connect(A, keep(clip(OTHER_SIZE), OTHER_SIZE), 1), "differ in size, 48x32 and 32x32: make them alike"),
        (lambda: connect(A, keep(clip(OTHER_RATE), OTHER_RATE), 1), "differ in frame rate, 8 fps and 24 fps"),
        (lambda: connect(A, keep(clip(batch=2), GRID), 1), "differ in batch, 1 and 2: both must hold as many"),
        (lambda: connect(A, A, -1), "at least 0"),
        (lambda: extend(empty(LOOP), 1), "neither start nor end"),
        (lambda: loop(A, 1, 0), "at least 1"),
        (lambda: morph(A, keep(clip(LONGER), LONGER)), "same length"),
        (lambda: morph(keep(clip(SHORT), SHORT), keep(clip(SHORT), SHORT)), "at least 6 frames, not 5: take longer"),
        (lambda: morph(A, A, 1.5), "Every strength"),
        (lambda: edit(A, float("nan")), "Every strength"),
        (lambda: edit(A, -0.1), "Every strength"),
        (lambda: edit(A, 0.5, torch.full((8, 8), 2.0)), "mask must be from 0"),
        (lambda: edit(A, 0.5, torch.full((8, 8), float("nan"))), "mask must be from 0"),
        (lambda: edit(A, 0.5, torch.zeros(5, 8, 8)), "5 frames and the video 17"),
        (lambda: edit(A, 0.5, torch.zeros(2, 3, 8, 8)), "2x3x8x8"),
        (lambda: edit(A, curve=[]), "at least one point"),
        (lambda: edit(A, curve=[(0, 0.1), (0, 0.2)]), "must rise"),
        (lambda: edit(A, curve=[(0, 0.1), (2, 0.2)]), "must rise"),
        (lambda: edit(A, curve=[(0, 1.2)]), "Every strength"),
        (lambda: parse_curve("0-0.2"), "no point of a curve"),
        (lambda: parse_curve("0:0.2,,1:0.8"), "no point of a curve"),
        (lambda: parse_curve("0:0.2:1"), "no point of a curve"),
        (lambda: reframe(A, 40, 64), "does not fit inside 40x64"),
        (lambda: reframe(A, 64, 64, x=float("nan")), "from 0 to 1"),
        (lambda: refine(A, 24, 16), "larger size"),
        (lambda: refine(A, 96, 96), "another shape"),
        (lambda: refine(A, 96, 64, 1.1), "Every strength"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(make, says):
    with pytest.raises(UserError) as error:
        make()
    assert says in str(error.value) and "\n" not in str(error.value) and str(error.value).endswith(".")
