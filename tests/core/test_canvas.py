"""The canvas: what is kept and what is invented, and what is refused."""

import dataclasses

import pytest
import torch

from sora_core.canvas import Canvas, animate, empty, place
from sora_core.errors import UserError
from sora_core.grid import Geometry, Grid

GRID = Grid(17, 32, 48)  # latent 16 x 5 x 4 x 6
PATCHED = Grid(17, 40, 56, 8.0, Geometry(patch=(1, 2, 2)))  # cells 5 x 7, rounded up to 6 x 8


def _clip(length=2, grid=GRID, batch=1):
    c, _, h, w = grid.latent_shape
    return torch.randn(batch, c, length, h, w, generator=torch.Generator().manual_seed(0))


def test_empty_invents_everything():
    canvas = empty(GRID, batch=3)
    assert canvas.latent.shape == (3, 16, 5, 4, 6) and canvas.level.shape == (3, 1, 5, 4, 6)
    assert (canvas.level == 1).all() and not canvas.kept.any()


@pytest.mark.parametrize("at, start", [(0, 0), (3, 3), (-2, 3), (-5, 0)])
def test_a_placed_clip_is_kept_where_it_lies(at, start):
    clip, canvas = _clip(), empty(GRID, batch=2)
    placed = place(canvas, clip, at)
    inside = slice(start, start + 2)
    assert torch.equal(placed.latent[:, :, inside], clip.expand(2, -1, -1, -1, -1))
    assert placed.kept[:, :, inside].all() and placed.kept.sum() == 2 * 2 * 4 * 6
    assert not canvas.kept.any() and canvas.latent.abs().max() == 0  # the old canvas is as it was


def test_operations_compose_and_the_later_one_wins():
    clip = _clip()
    canvas = place(place(empty(GRID), clip, 0), clip, -2, strength=0.4)
    assert canvas.level[0, 0, :, 0, 0].tolist() == pytest.approx([0, 0, 1, 0.4, 0.4])
    again = place(canvas, _clip(1), 1, strength=1.0)
    assert again.level[0, 0, :, 0, 0].tolist() == pytest.approx([0, 1, 1, 0.4, 0.4])


def test_strength_may_vary_over_time_and_space():
    curve = torch.tensor([0.2, 0.8]).view(1, 1, 2, 1, 1)
    assert place(empty(GRID), _clip(), 0, curve).level[0, 0, :2, 1, 1].tolist() == pytest.approx([0.2, 0.8])
    region = torch.zeros(4, 6)
    region[:2] = 1
    level = place(empty(GRID), _clip(), 0, region).level
    assert (level[0, 0, 0] == region).all() and (level[0, 0, 2:] == 1).all()


def test_the_level_is_constant_within_a_patch():
    _, _, h, w = PATCHED.latent_shape
    touched = torch.zeros(h, w)
    touched[3, 4] = 0.7
    level = place(empty(PATCHED), _clip(5, PATCHED), 0, touched).level[0, 0, 0]
    assert (level[2:4, 4:6] == 0.7).all() and level.count_nonzero() == 4
    with pytest.raises(UserError, match="same for all latent cells of a patch"):
        Canvas(_clip(5, PATCHED), touched.expand(1, 1, 5, h, w), PATCHED)


def test_a_codec_latent_that_ends_inside_a_patch_is_completed_with_its_edge():
    image = torch.randn(1, 16, 1, 5, 7)
    canvas = animate(PATCHED, image)
    assert torch.equal(canvas.latent[:, :, :1, :5, :7], image)
    assert torch.equal(canvas.latent[:, :, :1, 5, :7], image[..., 4, :]) and canvas.kept[:, :, 0].all()


@pytest.mark.parametrize("at", [0, 2, -1])
def test_animate_keeps_one_frame_anywhere(at):
    image = _clip(1, batch=2)
    canvas = animate(GRID, image, at)
    assert canvas.kept[:, :, at].all() and canvas.kept.sum() == 2 * 4 * 6
    assert torch.equal(canvas.latent[:, :, at], image[:, :, 0])


def test_a_latent_of_another_model_is_refused_with_both_sizes():
    with pytest.raises(UserError) as error:
        place(empty(GRID), torch.zeros(1, 4, 2, 8, 8))
    message = str(error.value)
    assert "1x4x2x8x8" in message and "16xanyx4x6" in message and "16 channels" in message and "48x32" in message


@pytest.mark.parametrize(
    "make",
    [
        lambda: place(empty(GRID), torch.zeros(16, 2, 4, 6)),
        lambda: place(empty(GRID), _clip(6)),
        lambda: place(empty(GRID), _clip(), 4),
        lambda: place(empty(GRID), _clip(), -6),
        lambda: place(empty(GRID), _clip(), 0, 1.1),
        lambda: place(empty(GRID), _clip(), 0, -0.1),
        lambda: place(empty(GRID), _clip(), 0, float("nan")),
        lambda: place(empty(GRID), _clip(), 0, torch.zeros(3, 3)),
        lambda: place(empty(GRID, batch=3), _clip(batch=2)),
        lambda: place(empty(GRID), _clip() * float("nan")),
        lambda: animate(GRID, _clip(2)),
        lambda: Canvas(_clip(5), torch.ones(1, 1, 5, 4, 5), GRID),
        lambda: Canvas(_clip(4), torch.ones(1, 1, 4, 4, 6), GRID),
        lambda: dataclasses.replace(empty(GRID), level=torch.full((1, 1, 5, 4, 6), 2.0)),
    ],
)
def test_what_does_not_fit_is_refused_in_one_sentence(make):
    with pytest.raises(UserError) as error:
        make()
    assert "\n" not in str(error.value) and str(error.value).endswith(".")


def test_content_is_held_in_float32():
    half = place(empty(GRID), _clip().half(), 0)
    assert half.latent.dtype == torch.float32 and half.level.dtype == torch.float32
    assert half.to("cpu").grid == GRID
