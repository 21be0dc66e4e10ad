"""Sample clips of the worlds on disk."""

import json

import pytest
import torch
from PIL import Image

from sora_core.errors import UserError
from sora_core.grid import Grid
from sora_core.video import read_frames
from sora_core.worlds import gallery
from sora_core.worlds.gallery import write_samples
from sora_core.worlds.render import render
from sora_core.worlds.scene import Scene


def test_samples_hold_the_clip_the_caption_and_the_scene(tmp_path):
    paths = list(write_samples(tmp_path / "new" / "folder", 18, Grid(5, 32, 48), seed=3))
    assert [path.name for path in paths] == [f"{number:04d}.mp4" for number in range(18)]
    scene = Scene.from_dict(json.loads(paths[17].with_suffix(".json").read_text(encoding="utf-8")))
    clip = torch.stack(list(read_frames(paths[17])), 1)
    assert clip.shape == (3, 5, 32, 48)
    assert (clip - render([scene], 5, 32, 48)[0]).abs().mean() < 0.05
    assert len(paths[17].with_suffix(".txt").read_text(encoding="utf-8").split()) >= 1
    with Image.open(tmp_path / "new" / "folder" / "sheet.png") as sheet:
        assert sheet.size == (8 * 160, 3 * 107)


def test_single_frames_become_pictures_and_the_seed_fixes_them(tmp_path):
    one, again, other = (
        list(write_samples(tmp_path / name, 3, Grid(1, 32, 32), seed)) for name, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert [path.suffix for path in one] == [".png"] * 3
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in again]
    assert [path.read_bytes() for path in one] != [path.read_bytes() for path in other]
    texts = [path.with_suffix(".txt").read_text(encoding="utf-8") for path in one]
    assert texts == [path.with_suffix(".txt").read_text(encoding="utf-8") for path in again]


def test_a_folder_that_cannot_be_written_is_told_in_a_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match="could not be written"):
        list(write_samples(tmp_path / "file", 1, Grid(1, 32, 32), seed=0))


def test_few_are_rendered_at_a_time_where_they_are_large_and_are_the_same(tmp_path, monkeypatch):
    counts = []
    monkeypatch.setattr(gallery, "render", lambda some, *size: counts.append(len(some)) or render(some, *size))
    together = list(write_samples(tmp_path / "a", 18, Grid(1, 32, 32), seed=3))
    monkeypatch.setattr(gallery, "_ROOM", 5 * gallery._rendering(Grid(1, 32, 32)))
    apart = list(write_samples(tmp_path / "b", 18, Grid(1, 32, 32), seed=3))
    assert counts == [16, 2, 5, 5, 5, 1, 2]
    for ending in (".png", ".txt", ".json"):
        a, b = ([path.with_suffix(ending).read_bytes() for path in paths] for paths in (together, apart))
        assert a == b
