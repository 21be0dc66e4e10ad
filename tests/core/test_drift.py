"""What the comparison of a long video with its start sees, on videos that are known."""

import pytest
import torch

from sora_core import evaluation
from sora_core.evaluation import drift
from sora_core.evaluation.setting import Setting
from sora_core.grid import Grid
from sora_core.worlds.render import render
from sora_core.worlds.scene import Scene, Thing

GRID = Grid(81, 64, 64, 8.0)
BORDERS = list(range(5, 21, 2))  # windows of 5 latent frames, then 2 more each: frames 17, 25, 33, ... begin one


def ball(colour):
    rgb = {"red": (1.0, 0.0, 0.0), "blue": (0.0, 0.0, 1.0)}[colour]
    thing = Thing("ball", colour, rgb, 0.4, "still", x=0.5, y=0.5)
    return Scene((thing,), "plain", ("white",), ((1.0, 1.0, 1.0),))


@pytest.fixture(scope="module")
def still():
    return render([ball("red")], 1, 64, 64).expand(-1, -1, 81, -1, -1).clone()


def test_a_video_that_stays_has_no_drift(still):
    (film,) = drift.watch(still.split(4, dim=2), GRID, BORDERS)
    assert film.colour == pytest.approx([0] * 3, abs=1e-3) and film.contrast == pytest.approx([0] * 3, abs=1e-3)
    assert film.same == [True] * 3
    assert film.border is None, "nothing moves"
    assert film.shown.shape == (3, 4, 64, 64)


def test_drift_of_colour_contrast_and_things_is_seen(still):
    fading = 1 - torch.linspace(0, 0.8, 81).view(1, 1, -1, 1, 1)
    blue = render([ball("blue")], 1, 64, 64)
    changed = still.clone()
    changed[:, :, 60:] = blue
    flat, other = drift.watch([torch.cat([still * fading, changed])], GRID, BORDERS)
    assert flat.contrast == sorted(flat.contrast) and flat.contrast[-1] > 40
    assert flat.colour == sorted(flat.colour) and flat.colour[-1] > 10
    assert other.same == [True, True, False]
    assert other.colour[0] == pytest.approx(0, abs=1e-3) and other.colour[-1] > 1


def test_a_restart_at_the_borders_is_seen():
    brightness = torch.arange(81) * 0.005
    smooth, restarting = torch.zeros(2, 3, 81, 16, 16) + brightness.view(1, 1, -1, 1, 1)
    for border in range(17, 81, 8):
        restarting[:, border:] -= 0.04
    grid = Grid(81, 16, 16, 8.0)
    films = drift.watch([torch.stack([smooth, restarting])], grid, BORDERS)
    assert films[0].border == pytest.approx(1, abs=0.01) and films[1].border == pytest.approx(7, abs=0.1)


@pytest.mark.parametrize(
    "name, frames, borders", [("long", 24, ([5], [5])), ("extended", 5 + 10 * 4, (list(range(2, 12)),) * 2)]
)
def test_the_sections(name, frames, borders, tmp_path, tiny_checkpoint, monkeypatch):
    setting = Setting(tmp_path, str(tiny_checkpoint), count=20, batch=2)
    seen = []
    watch = drift.watch

    def watched(chunks, grid, borders):
        seen.append((grid.frames, borders))
        return watch(chunks, grid, borders)

    monkeypatch.setattr(drift, "watch", watched)
    result = drift.long_videos(setting, seconds=3.0) if name == "long" else drift.extended(setting)
    assert seen == [(frames, borders[0]), (frames, borders[1])]
    assert list(result.tables) == ["with control", "without"]
    assert {figure.of for table in result.tables.values() for figure in table if "colour" in figure.name} == {2}
    assert all(path.exists() for path in result.sheets.values())
    assert name in evaluation.SECTIONS
