"""The commands that fill a canvas, as a person meets them: lengths, originals, sound, and one sentence when wrong."""

import dataclasses
import json
import os
import wave
import weakref

import av
import numpy as np
import pytest
import torch
from PIL import Image

from sora_core.audio import Sound, has_sound
from sora_core.canvas import EDIT_STRENGTH, REFINE_STRENGTH
from sora_core.cli import main, read
from sora_core.cli.make import part_prompt
from sora_core.clip import Clip, read_mask, read_tags
from sora_core.errors import UserError
from sora_core.grid import Geometry, Grid
from sora_core.join import Part
from sora_core.pipeline import Pipeline
from sora_core.strength import mask_to_cells
from sora_core.timeline import Timeline
from sora_core.video import VideoWriter, probe, read_frames, read_image


@pytest.fixture
def sora(tiny_checkpoint, capsys):
    """Run a command in this process with the tiny checkpoint: (exit code, standard output, standard error)."""

    def run(*arguments, steps=1):
        line = [*map(str, arguments), "--checkpoint", str(tiny_checkpoint), "--device", "cpu", "--steps", str(steps)]
        code = main(line)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def made(monkeypatch):
    """The frames that are handed to the writer of a video: (3, T, H, W), before any codec of files."""
    seen = []
    write = VideoWriter.write

    def watched(self, video):
        seen.append(video[0] if video.ndim == 5 else video)
        write(self, video)

    monkeypatch.setattr(VideoWriter, "write", watched)
    return lambda: torch.cat(seen, dim=1)


@pytest.fixture
def film(tmp_path, smooth_clip):
    """A function that writes a short video; with `sound`, a tone over all of it."""

    def make(name="in.mp4", frames=11, width=32, height=24, fps=8, seed=0, sound=False, tags=None, tone=440):
        sounds = []
        if sound:
            wave_form = 0.5 * np.sin(2 * np.pi * tone * np.arange(round(16000 * frames / fps)) / 16000)
            with wave.open(str(tmp_path / "tone.wav"), "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(16000)
                file.writeframes((wave_form * 32767).astype("<i2").tobytes())
            sounds = [Sound(tmp_path / "tone.wav", 0, 0, frames / fps)]
        with VideoWriter(tmp_path / name, width, height, fps, tags, sounds) as writer:
            writer.write(smooth_clip(frames, height, width, seed))
        return tmp_path / name

    return make


def pixels(path) -> torch.Tensor:
    return torch.stack(list(read_frames(path)), dim=1)


def one_sentence(err: str) -> str:
    last = err.replace("\r", "\n").strip().splitlines()[-1]
    assert last.startswith("sora: ") and "Traceback" not in err, err
    return last


# -------------------------------------------------------------------------------------------------------------- extend


@pytest.mark.parametrize("direction, before, after", [("forward", 0, 6), ("backward", 6, 0), ("both", 6, 6)])
def test_extend(sora, film, made, tmp_path, direction, before, after):
    video = film()
    original = pixels(video)
    code, said, _ = sora(
        "extend", video, "it goes on", "-o", tmp_path / "a.mp4", "--direction", direction, "--frames", 6, "--json"
    )
    assert code == 0
    result = json.loads(said.splitlines()[-1])
    assert (result["frames"], result["width"], result["height"]) == (11 + before + after, 32, 24)
    assert probe(tmp_path / "a.mp4").frames == 11 + before + after
    shown = made()[:, 11:]  # the fixture's film came first
    assert torch.equal(shown[:, before : before + 11], original), "original frames are as they were"
    assert shown.isfinite().all()


def test_an_image_is_extended(sora, film, tmp_path):
    image = film("in.png", 1)
    assert sora("extend", image, "it moves", "-o", tmp_path / "a.mp4", "--seconds", 1)[0] == 0
    assert probe(tmp_path / "a.mp4").frames == 9 and probe(tmp_path / "a.mp4").fps == 8


def test_a_transparent_image_lies_on_white(sora, made, tmp_path):
    Image.fromarray(np.zeros((24, 32, 4), np.uint8)).save(tmp_path / "in.png")
    assert sora("extend", tmp_path / "in.png", "it moves", "-o", tmp_path / "a.mp4", "--frames", 4)[0] == 0
    assert (made()[:, 0] == 1).all()


@pytest.mark.parametrize("command", [["extend", "--seconds", 30], ["edit"], ["reframe", "--size", "1920x1080"]])
def test_more_than_the_memory_is_refused_before_frames_are_read(sora, film, tmp_path, monkeypatch, command):
    monkeypatch.setattr("sora_core.pipeline.available_memory", lambda device: 2**20)
    monkeypatch.setattr("sora_core.clip.read_frames", None)
    video = film(width=320, height=240)
    code, _, err = sora(command[0], video, "x", *command[1:], "-o", tmp_path / "a.mp4")
    assert code == 2 and "of memory and" in one_sentence(err) and not (tmp_path / "a.mp4").exists()


def test_another_size_and_rate_are_made_and_said(sora, film, tmp_path):
    video = film(frames=24, fps=24, width=51, height=37)
    code, _, err = sora("extend", video, "x", "-o", tmp_path / "a.mp4", "--frames", 4, "--fps", 8, "--size", "32x24")
    info = probe(tmp_path / "a.mp4")
    assert code == 0 and (info.width, info.height, info.frames, info.fps) == (32, 24, 12, 8)
    assert "from 24 to 8 fps" in err and "from 51x37 to 32x24" in err


def test_an_odd_size_is_kept(sora, film, tmp_path):
    video = film(frames=3, width=51, height=37, fps=12)
    assert sora("extend", video, "x", "-o", tmp_path / "a.mp4", "--seconds", 0.5)[0] == 0
    info = probe(tmp_path / "a.mp4")
    assert (info.width, info.height, info.frames, info.fps) == (51, 37, 9, 12)


def test_sound_is_kept_and_moves_with_its_frames(sora, film, tmp_path):
    from tests.core.test_audio import tones_of

    video = film(frames=16, sound=True)
    assert sora("extend", video, "x", "-o", tmp_path / "a.mp4", "--frames", 8, "--direction", "backward")[0] == 0
    assert tones_of(tmp_path / "a.mp4")[:6] == [0, 0, 440, 440, 440, 440]
    code, _, err = sora("extend", video, "x", "-o", tmp_path / "b.gif", "--frames", 8)
    assert code == 0 and "b.gif is silent" in err
    assert not has_sound(tmp_path / "b.gif")


# ----------------------------------------------------------------------------------------------------- loop and connect


def test_a_video_becomes_a_loop(sora, film, made, tmp_path):
    video = film(frames=9)
    assert sora("loop", video, "back", "-o", tmp_path / "a.mp4", "--frames", 8)[0] == 0
    assert torch.equal(made()[:, 9:18], pixels(video)) and made().shape[1] == 9 + 17


def test_a_loop_from_words(sora, tmp_path):
    code, said, _ = sora("loop", "a ball", "-o", tmp_path / "a.mp4", "--frames", 8, "--json")
    assert code == 0 and json.loads(said.splitlines()[-1])["frames"] == 8 and probe(tmp_path / "a.mp4").frames == 8
    assert sora("loop", "a ball", "-o", tmp_path / "b.mp4")[0] == 0
    assert probe(tmp_path / "b.mp4").frames == 4, "the checkpoint's length in whole latent frames"


def test_images_are_connected(sora, film, tmp_path):
    a, b = film("a.png", 1), film("b.png", 1, seed=1)
    assert sora("connect", a, b, "x", "-o", tmp_path / "c.mp4", "--frames", 7)[0] == 0
    assert probe(tmp_path / "c.mp4").frames == 9


@pytest.mark.parametrize("count", [6, 8])
def test_connect(sora, film, made, tmp_path, count):
    a, b = film("a.mp4", 9, sound=True), film("b.mp4", 7, seed=1)
    assert sora("connect", a, b, "on the way", "-o", tmp_path / "c.mp4", "--frames", count)[0] == 0
    shown = made()[:, 16:]
    assert shown.shape[1] == 9 + count + 7
    assert torch.equal(shown[:, :9], pixels(a)) and torch.equal(shown[:, 9 + count :], pixels(b))
    assert has_sound(tmp_path / "c.mp4")


def test_morph(sora, film, made, tmp_path):
    a, b = film("a.mp4", 14, tags={"prompt": "a ball"}), film("b.mp4", 12, seed=1, tags={"prompt": "a star"})
    code, said, _ = sora("connect", a, b, "-o", tmp_path / "c.mp4", "--mode", "morph", "--frames", 10, "--json")
    assert code == 0
    shown = made()[:, 26:]
    assert shown.shape[1] == 14 + 12 - 10
    assert torch.equal(shown[:, :5], pixels(a)[:, :5]), "up to the first frame of the morph"
    assert torch.equal(shown[:, -3:], pixels(b)[:, -3:]), "from the last latent frame of the morph on"
    assert json.loads(said.splitlines()[-1])["prompt"] == "0-0.5s: a ball; 0.5-1s: a star"


@pytest.mark.parametrize(
    "a, b, told",
    [
        ("0-1s: a ball; 1-2s: a star", "0-1s: a ring; 1-2s: a square", ["a star", "a ring"]),
        ("0-1s: a ball", "a ring", ["a ball", "a ring"]),
        ("a ball; a star;\n1-2 rings", "3-4s a ring", ["a ball, a star,,1-2 rings", "3-4s a ring"]),
    ],
)
def test_files_made_with_a_timeline_are_connected(sora, film, tmp_path, a, b, told):
    files = film("a.mp4", 9, tags={"prompt": a}), film("b.mp4", 9, seed=1, tags={"prompt": b})
    assert sora("connect", *files, "-o", tmp_path / "c.mp4", "--frames", 8)[0] == 0
    assert Timeline.parse(read_tags(tmp_path / "c.mp4")["prompt"]).prompts == told


def test_files_of_two_sizes_are_made_alike(sora, film, tmp_path):
    a, b = film("a.mp4", 5), film("b.mp4", 10, width=48, height=48, fps=16)
    code, _, err = sora("connect", a, b, "x", "-o", tmp_path / "c.mp4", "--frames", 4)
    assert code == 0 and probe(tmp_path / "c.mp4").frames == 5 + 4 + 5
    assert "b.mp4 is scaled, and cut at the edges, from 48x48 to 32x24." in err and "from 16 to 8 fps" in err


# ------------------------------------------------------------------------------------------------------------- animate


def test_animate_at(sora, film, tmp_path):
    image, clip = film("a.png", 1), film("b.mp4", 5)
    options = ["--at", f"0:{image}", "--at", f"1s:{clip}:0.3", "--at", f"end:{image}", "--size", "32x24"]
    code, _, err = sora("animate", "it moves", *options, "-o", tmp_path / "a.mp4", "--frames", 17)
    assert code == 0 and probe(tmp_path / "a.mp4").frames == 17
    assert "b.mp4 starts at 1.125 s" in err and "first 0.5 s" in err
    assert sora("animate", image, "-o", tmp_path / "b.mp4", "it moves", "--frames", 5)[0] == 0, "words around options"


def test_of_clips_that_overlap_the_one_on_top_is_heard(sora, film, tmp_path):
    from tests.core.test_audio import tones_of

    under, top = film("a.mp4", 32, sound=True), film("b.mp4", 9, seed=1, sound=True, tone=880)
    options = ["--at", f"0:{under}", "--at", f"1:{top}", "--size", "32x24", "--frames", 32]
    assert sora("animate", "it moves", *options, "-o", tmp_path / "c.mp4")[0] == 0
    heard = tones_of(tmp_path / "c.mp4")
    assert heard[:2] == [440] * 2 and heard[2:4] == [880] * 2 and heard[5:7] == [440] * 2, heard
    with av.open(str(tmp_path / "c.mp4")) as container:
        assert json.loads(container.metadata["inputs"]) == ["a.mp4", "b.mp4"]


@pytest.mark.parametrize("command", ["connect", "animate"])
def test_long_clips_are_never_held_whole(sora, film, tmp_path, monkeypatch, command):
    files, alive, most = [film("a.mp4", 80), film("b.mp4", 80, seed=1)], set(), 0

    def watched(*where):
        nonlocal most
        for frame in read_frames(*where):
            array, token = frame.numpy().copy(), object()  # the array lives as long as a tensor that looks at it
            alive.add(token)
            weakref.finalize(array, alive.discard, token)
            most = max(most, len(alive))
            yield torch.from_numpy(array)
            del array

    monkeypatch.setattr("sora_core.clip.read_frames", watched)
    options = ["--mode", "morph", *files] if command == "connect" else [files[0], "--at", f"4:{files[1]}"]
    options += ["--size", "32x24", "--frames", 72]  # its own, so that frames are not copied to another
    code, _, err = sora(command, *options, "it goes on", "-o", tmp_path / "c.mp4")
    assert code == 0, err
    assert 0 < most < 12


def test_each_part_of_a_film_has_the_settings_of_its_own_canvas(sora, film, tmp_path, monkeypatch):
    """Of a short clip the part before is given one latent frame, an image, and the part behind two, a video."""
    cfg, fill, init = [], Pipeline.fill, Pipeline.__init__

    def noted(self, canvas, *rest, **settings):
        cfg.append(settings["cfg"])
        return fill(self, canvas, *rest, **settings)

    def with_card(self, *rest, **more):
        init(self, *rest, **more)
        self.continuing = dataclasses.replace(self.settings, cfg=1.5)

    monkeypatch.setattr(Pipeline, "fill", noted)
    monkeypatch.setattr(Pipeline, "__init__", with_card)
    options = ["--direction", "both", "--frames", 4, "-o", tmp_path / "a.mp4"]
    assert sora("extend", film(frames=3), "a star", *options)[0] == 0
    assert cfg[0] != cfg[1] == 1.5


# ------------------------------------------------------------------------------------------------ edit, reframe, refine


def test_edit_at_strength_0_returns_the_video(sora, film, made, tmp_path):
    video = film(frames=6)
    assert sora("edit", video, "a star", "--strength", 0, "-o", tmp_path / "a.mp4")[0] == 0
    assert torch.equal(made()[:, 6:], pixels(video))


def test_the_command_is_as_strong_as_the_engine_where_nothing_is_said():
    for command, strength in (("edit", EDIT_STRENGTH), ("refine", REFINE_STRENGTH)):
        assert read([command, "a.mp4", "a star", "-o", "b.mp4"]).strength == strength


def test_edit_a_region_with_sound(sora, film, tmp_path):
    video = film(frames=6, sound=True)
    Image.fromarray(np.pad(np.full((100, 40), 255, np.uint8), ((0, 0), (0, 120)))).save(tmp_path / "mask.png")
    code, _, _ = sora("edit", video, "a star", "--mask", tmp_path / "mask.png", "-o", tmp_path / "a.mp4")
    assert code == 0 and has_sound(tmp_path / "a.mp4") and probe(tmp_path / "a.mp4").frames == 6
    assert sora("edit", video, "a star", "--curve", "0:0.2,1:0.8", "-o", tmp_path / "b.webm")[0] == 0


def test_masks_from_files(film, tmp_path):
    clip = Clip(film(width=32, height=24))
    rgba = np.zeros((48, 64, 4), np.uint8)
    rgba[:, :32] = 255
    Image.fromarray(rgba).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png", clip, Grid(11, 24, 32, 8.0, Geometry(patch=(1, 2, 2))))
    assert mask.shape == (1, 4, 4), "a value per cell, so that a long one is never held as pixels"
    assert (mask[..., :2] > 0.9).all() and (mask[..., 3:] < 0.1).all(), "transparent is left alone"
    video = film("mask.mp4", 11, 32, 22)
    grid = Grid(11, 22, 32, 8.0, Geometry(patch=(1, 2, 2)))
    whole = torch.stack([(frame.mean(0) + 1) / 2 for frame in read_frames(video)])
    moving = read_mask(video, Clip(video), grid)
    assert moving.shape == (11, 4, 4)
    assert torch.equal(mask_to_cells(moving, grid), mask_to_cells(whole, grid))


def test_what_is_transparent_in_a_mask_s_video_is_left_alone(film, tmp_path):
    clip, grid = Clip(film(frames=1, width=32, height=24)), Grid(1, 24, 32, 8.0, Geometry(patch=(1, 2, 2)))
    frame = Image.new("P", (32, 24), 0)
    frame.putpalette([255, 255, 255, 250, 250, 250])
    frame.paste(1, (0, 0, 16, 24))
    frame.save(tmp_path / "mask.gif", transparency=0)
    mask = read_mask(tmp_path / "mask.gif", clip, grid)
    assert (mask[..., :2] > 0.95).all() and (mask[..., 2:] == 0).all()


def test_deep_masks_keep_their_greys(film, tmp_path):
    clip, grid = Clip(film(width=32, height=24)), Grid(11, 24, 32, 8.0, Geometry(patch=(1, 2, 2)))
    ramp = np.full((24, 32), 300, np.uint16)
    ramp[:, 16:] = 65535
    Image.fromarray(ramp).save(tmp_path / "mask.png")
    mask = read_mask(tmp_path / "mask.png", clip, grid)
    assert mask[0, 0].tolist() == pytest.approx([300 / 65535, 300 / 65535, 1, 1])
    Image.fromarray(ramp.astype(np.float32) / 65535).save(tmp_path / "mask.tiff")
    (tmp_path / "mask.tiff").rename(tmp_path / "float.png")
    assert read_mask(tmp_path / "float.png", clip, grid)[0, 0].tolist() == pytest.approx(
        [300 / 65535, 300 / 65535, 1, 1]
    )


@pytest.mark.parametrize(
    "words, said",
    [
        (["--mask", "none.png"], "none.png is not there"),
        (["--mask", "bad.png"], "bad.png is no image"),
        (["--mask", "short.mp4"], "The mask has 4 frames and the video 11"),
        (["--mask", "black.png"], "black.png has nothing white, so nothing would be edited"),
        (["--strength", "2"], "Every strength"),
    ],
)
def test_a_mask_that_cannot_be_used_is_refused_before_the_codec_works(sora, film, tmp_path, monkeypatch, words, said):
    video = film()
    film("short.mp4", 4)
    (tmp_path / "bad.png").write_text("no image")
    Image.new("L", (32, 24)).save(tmp_path / "black.png")
    worked = []
    monkeypatch.setattr(Clip, "encode", lambda *_: worked.append(1))
    monkeypatch.chdir(tmp_path)
    code, _, told = sora("edit", video, "a star", *words, "-o", tmp_path / "a.mp4")
    assert code == 2 and said in told and not worked


@pytest.mark.parametrize("words", [["extend", "in.mp4", "a"], ["animate", "a", "--at", "0:in.mp4"]])
@pytest.mark.parametrize("name", ["in.mp4", "link.mp4"])
def test_an_input_is_not_overwritten_by_what_is_made_of_it(sora, film, tmp_path, monkeypatch, words, name):
    before = film().read_bytes()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "in.mp4")
    monkeypatch.chdir(tmp_path)
    code, _, told = sora(*words, "--frames", 5, "-o", name)
    assert code == 2 and "in.mp4 would be overwritten by what is made of it: name another file with -o" in told
    assert (tmp_path / "in.mp4").read_bytes() == before


@pytest.mark.parametrize("place", ["center", "right", "bottom"])
@pytest.mark.parametrize("size", ["64x24", "32x48", "64x64", "53x24", "32x45"])
def test_reframe(sora, film, tmp_path, size, place):
    code, _, _ = sora("reframe", film(), "more of it", "--size", size, "--place", place, "-o", tmp_path / "a.mp4")
    info = probe(tmp_path / "a.mp4")
    assert code == 0 and f"{info.width}x{info.height}" == size and info.frames == 11


def test_the_inside_of_a_larger_frame_is_the_video(sora, film, tmp_path, monkeypatch):
    video, seen = film(frames=5, height=32), []
    write = VideoWriter.write
    monkeypatch.setattr(VideoWriter, "write", lambda self, chunk: (seen.append(chunk[0]), write(self, chunk)))
    assert sora("reframe", video, "more of it", "--size", "80x32", "-o", tmp_path / "a.mp4", "--place", "left")[0] == 0
    shown = torch.cat(seen, dim=1)
    assert shown.shape == (3, 5, 32, 80) and torch.equal(shown[..., :24], pixels(video)[..., :24])


def test_refine_takes_prompt_and_seed_of_the_file(sora, film, tmp_path):
    small = film(frames=5, tags={"prompt": "a ball", "seed": "7"})
    code, said, _ = sora("refine", small, "--size", "64x48", "-o", tmp_path / "a.mp4", "--json")
    result = json.loads(said.splitlines()[-1])
    assert code == 0 and (result["prompt"], result["seed"], result["width"], result["height"]) == ("a ball", 7, 64, 48)


def test_refine_reads_a_timeline_of_the_file(sora, film, tmp_path):
    small = film(frames=17, tags={"prompt": "0-1s: a ball; 1-2s: a star", "seed": "²"})
    code, said, _ = sora("refine", small, "--size", "64x48", "-o", tmp_path / "a.mp4", "--json")
    assert code == 0 and json.loads(said.splitlines()[-1])["prompt"] == "0-1s: a ball; 1-2s: a star"
    longer = film(frames=33, tags={"prompt": "0-1s: a ball; 1-2s: a star"})  # of the frames that were added
    code, said, _ = sora("refine", longer, "--size", "64x48", "-o", tmp_path / "b.mp4", "--json")
    assert code == 0 and json.loads(said.splitlines()[-1])["prompt"] == "a ball, then a star"


def test_refine_joins_the_prompts_of_a_timeline_that_ends_well_before_the_film(sora, film, tmp_path):
    small = film(frames=22, tags={"prompt": "0-1s: a ball; 1-2s: a star"})
    code, said, _ = sora("refine", small, "--size", "64x48", "-o", tmp_path / "a.mp4", "--json")
    assert code == 0 and json.loads(said.splitlines()[-1])["prompt"] == "a ball, then a star"


@pytest.mark.parametrize("tag, times", [('{"times": 3}', 6), ('{"times": 900}', 2), ("none", 2)])
def test_refine_shares_the_noise_of_what_its_file_shares_it_with(sora, film, tmp_path, monkeypatch, tag, times):
    seen, filled = [], Pipeline.fill
    monkeypatch.setattr(
        Pipeline, "fill", lambda self, canvas, *a, **k: seen.append(canvas) or filled(self, canvas, *a, **k)
    )
    small = film(frames=5, height=32, tags={"prompt": "a ball", "settings": tag})
    code, said, _ = sora("refine", small, "--size", "64x64", "-o", tmp_path / "a.mp4", "--json")
    assert code == 0 and seen[0].scale == times == json.loads(said.splitlines()[-1])["settings"]["times"]


@pytest.mark.parametrize("words", [["refine", "A", "--size", "64x48"], ["connect", "A", "B", "--frames", "4"]])
def test_that_no_file_says_what_it_shows_is_said(sora, film, tmp_path, words):
    files = {"A": film("a.mp4", 5), "B": film("b.mp4", 5, seed=1, tags={"prompt": "a ball"})}
    code, _, err = sora(*(files.get(word, word) for word in words), "-o", tmp_path / "c.mp4")
    assert code == 0 and "the model is free" in err


@pytest.mark.parametrize("words", [["edit", "x"], ["reframe", "x", "--size", "64x24"], ["refine", "--size", "64x48"]])
def test_more_than_a_minute_is_to_be_cut(sora, film, tmp_path, words):
    code, _, err = sora(words[0], film(frames=62, fps=1), *words[1:], "-o", tmp_path / "a.mp4")
    assert code == 2 and "in.mp4 has 62 frames at 1 fps, and at most 61 (a minute)" in one_sentence(err)


def test_a_kind_of_file_that_cannot_be_is_refused_before_the_codec_works(sora, film, tmp_path, monkeypatch):
    monkeypatch.setattr("sora_core.clip.read_frames", None)
    code, _, err = sora("edit", film(fps=60), "a star", "-o", tmp_path / "a.gif")
    assert code == 2 and "at most 50 frames per second" in one_sentence(err)


@pytest.mark.parametrize("ending", ["mp4", "png"])
def test_a_graph_of_nodes_is_no_prompt(film, ending):
    graph = json.dumps({"1": {"class_type": "SaveVideo", "inputs": {}}})
    assert read_tags(film(f"a.{ending}", 1, tags={"prompt": graph, "seed": "7"})) == {"seed": "7"}
    assert read_tags(film(f"b.{ending}", 1, tags={"prompt": "[" * 100_000})) == {"prompt": "[" * 100_000}


def test_names_with_colons_are_files_and_no_protocols(sora, film, tmp_path, monkeypatch):
    film("2024-05-01T12:30:00.mp4", 5, sound=True)
    monkeypatch.chdir(tmp_path)
    code, _, err = sora("extend", "2024-05-01T12:30:00.mp4", "on", "--frames", 4, "-o", "on:1.mp4")
    assert code == 0, err
    assert probe("on:1.mp4").frames == 9


def test_half_a_surrogate_pair_in_a_prompt_is_written_as_a_question_mark(sora, tmp_path):
    for name in ("a.mp4", "a.png"):
        code, _, err = sora("generate", "a \udcff ball", "-o", tmp_path / name, "--size", "32x32", "--frames", 1)
        assert code == 0, err
        assert read_tags(tmp_path / name)["prompt"] == "a ? ball"


@pytest.mark.parametrize("ending", ["mp4", "webm", "png", "jpg", "webp"])
def test_a_file_says_how_it_was_made(film, ending):
    path = film(f"a.{ending}", 1, tags={"prompt": "a ball", "seed": "7", "settings": {"steps": 2}})
    assert read_tags(path) == {"prompt": "a ball", "seed": "7", "settings": '{"steps": 2}'}
    assert read_tags(film(f"b.{ending}", 1)) == {} == read_tags(film("c.gif", 1, tags={"prompt": "a ball"}))


# ------------------------------------------------------------------------------------------------ timeline and inspect


def test_a_timeline_in_place_of_a_prompt(sora, film, tmp_path):
    line = "0-1s: a ball; 1-2s: a star"
    code, said, _ = sora("generate", "--timeline", line, "-o", tmp_path / "a.mp4", "--frames", 16, "--json")
    assert code == 0 and json.loads(said.splitlines()[-1])["prompt"] == line
    assert sora("extend", film(), "--timeline", line, "-o", tmp_path / "b.mp4", "--frames", 16)[0] == 0


@pytest.mark.parametrize("command, before", [("generate", 0), ("loop", 0), ("extend", 11), ("connect", 22)])
def test_a_timeline_says_how_long_what_is_new_is(sora, film, tmp_path, command, before):
    files = [film(), film("b.mp4")][: before // 11]
    line = "0-1s: a ball; 1-1.5s: a star"
    assert sora(command, *files, "--timeline", line, "-o", tmp_path / "c.mp4")[0] == 0
    assert probe(tmp_path / "c.mp4").frames == before + 12
    if command != "loop":  # which has whole latent frames
        uneven = "0-1s: a ball; 1-1.7s: a star"  # 13.6 frames at 8 a second
        assert sora(command, *files, "--timeline", uneven, "-o", tmp_path / "d.mp4")[0] == 0
        assert probe(tmp_path / "d.mp4").frames == before + 14


def test_a_timeline_counts_from_the_first_new_frame():
    from sora_core.canvas import empty
    from sora_core.grid import Grid

    part = Part(empty(Grid(25, 32, 32, 8.0)), first=9, count=16)
    told = part_prompt(Timeline.parse("0-1s: a; 1-2s: b"), part)
    assert [(span.start, span.end) for span in told.spans] == [(0, 9 / 8 + 1), (9 / 8 + 1, 25 / 8)]
    with pytest.raises(UserError, match="ends at 1 s and the new frames at 2 s"):
        part_prompt(Timeline.parse("0-1s: a"), part)


@pytest.mark.parametrize("command", ["extend", "loop", "edit", "animate"])
def test_inspect(sora, film, tmp_path, command):
    code, said, _ = sora("inspect", command, film(), "x", "-o", tmp_path / "a.png", "--json")
    assert code == 0 and not said.startswith("{") and json.loads(said.splitlines()[-1])["frames"] == 1
    picture = read_image(tmp_path / "a.png")
    assert picture.shape[1] > 100 and picture.std() > 0.1


# ----------------------------------------------------------------------------------------------------- what is refused


@pytest.mark.parametrize(
    "arguments, says",
    [
        (["extend", "VIDEO"], "takes VIDEO PROMPT"),
        (["extend", "VIDEO", "a", "b"], "takes VIDEO PROMPT: put the prompt in quotes"),
        (["extend", "none.mp4", "a"], "none.mp4 is not there"),
        (["extend", "VIDEO", "a", "--timeline", "0-2s: a"], "either PROMPT or --timeline, not both"),
        (["extend", "VIDEO", "--timeline", "0-1s: a; 1-2s: b", "--seconds", "1"], "write --seconds 2"),
        (["extend", "VIDEO", "--timeline", "0-1s: a; 1-2s: b", "--frames", "24"], "at 3 s: write 1-3s for the last"),
        (["extend", "VIDEO", "--timeline", "nonsense"], "is not a timeline"),
        (["extend", "VIDEO", "--timeline", "0-1s: a; 2-3s: b"], "leave a gap"),
        (["extend", "VIDEO", "--timeline", "0-2s: a; 1-3s: b"], "overlap"),
        (["extend", "VIDEO", "--timeline", "0-9s: a", "--direction", "both"], "one direction"),
        (["extend", "VIDEO", "a", "--direction", "up"], "invalid choice"),
        (["extend", "VIDEO", "a", "--seconds", "100"], "60"),
        (["extend", "VIDEO", "a", "--seconds", "nan"], "finite"),
        (["extend", "VIDEO", "a", "--context", "0"], "at least 1"),
        (["extend", "VIDEO", "a", "--seconds", "60"], "at most 472, and extend again"),
        (["extend", "VIDEO", "a", "--context", "500"], "choose a smaller one"),
        (["loop", "VIDEO", "a", "--seconds", "60"], "at most 457, and extend again"),
        (["loop", "a ball", "--context", "2"], "nothing to go on from"),
        (["connect", "VIDEO", "VIDEO", "a", "--strength", "0.5"], "write --mode morph"),
        (["connect", "VIDEO", "VIDEO", "a", "--mode", "morph", "--context", "2"], "write --mode bridge"),
        (["loop", "VIDEO"], "looks like a file"),
        (["loop", "none.mkv"], "none.mkv looks like a file"),
        (["loop", __file__], "looks like a file"),
        (["animate", "photo.jpg", "--at", "end:VIDEO"], "photo.jpg looks like a file"),
        (["extend", "VIDEO", "VIDEO"], "looks like a file"),
        (["refine", "VIDEO", "VIDEO", "--size", "64x48"], "looks like a file"),
        (["connect", "VIDEO", "VIDEO", "c.AVI"], "c.AVI looks like a file"),
        (["loop", "a ball", "--frames", "6"], "multiple of 4"),
        (["connect", "VIDEO"], "takes A B [PROMPT]"),
        (["connect", "VIDEO", "VIDEO", "x", "--mode", "morph", "--frames", "40"], "at most 11"),
        (["connect", "VIDEO", "VIDEO", "x", "--mode", "morph", "--frames", "4"], "clips of at least 6 frames, not "),
        (["connect", "VIDEO", "VIDEO", "x", "--mode", "morph", "--strength", "2"], "Every strength"),
        (["edit", "VIDEO", "a", "--strength", "1.5"], "Every strength"),
        (["edit", "VIDEO", "a", "--strength", "nan"], "finite"),
        (["edit", "VIDEO", "a", "--curve", "0-1"], "no point of a curve"),
        (["edit", "VIDEO", "a", "--curve", "0:1", "--strength", "0.5"], "not allowed with"),
        (["edit", "VIDEO", "a", "--mask", "none.png"], "none.png is not there"),
        (["edit", "VIDEO", "a", "--mask", "VIDEO", "--fps", "4", "--seconds", "1"], "Unrecognized"),
        (["reframe", "VIDEO", "a"], "needs the new size"),
        (
            ["reframe", "VIDEO", "a", "--size", "64x48"],
            "is fitted into 64x48 and fills it, so nothing is to be invented",
        ),
        (["refine", "VIDEO"], "needs the new size"),
        (["refine", "VIDEO", "--size", "16x12"], "larger size"),
        (["refine", "VIDEO", "--size", "64x64"], "another shape"),
        (["animate", "a"], "needs an IMAGE"),
        (["animate", "a", "--at", "photo.png"], "TIME:FILE"),
        (["animate", "a", "--at", "soon:VIDEO"], "not a number"),
        (["animate", "a", "--at", "9:VIDEO"], "lasts"),
        (["animate", "a", "--at", "0:VIDEO:2"], "Every strength"),
        (["animate", "a", "--at", "0:VIDEO:nan"], "Every strength"),
        (["animate", "a", "--at", "0:none.png"], "none.png is not there"),
        (["animate", "VIDEO", "a", "--at", "0:VIDEO"], "covers all of"),
        (["animate", "a", "--at", "0.1:VIDEO:0.5", "--at", "0.1:VIDEO"], "lay it at another time"),
        (["animate", "a", "--at", "0:" + "a" * 300], "is not there"),  # longer than a name can be
        (["inspect", "fly", "a"], "invalid choice"),
        (["inspect", "generate", "a"], "must end in .png"),
    ],
)
def test_a_mistake_is_one_sentence(sora, film, tmp_path, arguments, says):
    video = film()
    (tmp_path / "out").mkdir()
    line = [str(argument).replace("VIDEO", str(video)) for argument in arguments]
    code, said, err = sora(*line, "-o", tmp_path / "out" / "a.mp4")
    assert code == 2 and said == ""
    assert says in one_sentence(err) and len(one_sentence(err)) < 400
    assert os.listdir(tmp_path / "out") == []
