"""The command line as a person meets it: files that are right, exit codes, one JSON line, one sentence when wrong."""

import json
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import av
import numpy as np
import pytest
import torch
from PIL import Image

from sora_core import sampler
from sora_core.audio import Sound
from sora_core.cli import main
from sora_core.cli.options import SOLVERS
from sora_core.video import VideoWriter, probe, read_frames, read_image

ROOT = Path(__file__).parents[2]


@pytest.fixture
def sora(tiny_checkpoint, capsys):
    """Run a command in this process with the tiny checkpoint: (exit code, standard output, standard error)."""

    def run(*arguments, checkpoint=tiny_checkpoint):
        line = [str(a) for a in arguments]
        if line and line[0] in ("generate", "animate", "reconstruct"):
            for option, value in (("--checkpoint", str(checkpoint)), ("--device", "cpu")):
                line += [] if option in line else [option, value]
        code = main(line)
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def process(*arguments, **options):
    """The same in a process of its own."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"} | options.pop("env", {})
    line = [sys.executable, "-m", "sora_core", *map(str, arguments)]
    return subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=environment, **options)


def one_sentence(err: str) -> str:
    """The error's only line; progress bars may stand before it."""
    last = err.replace("\r", "\n").strip().splitlines()[-1]
    assert last.startswith("sora: ") and "Traceback" not in err, err
    return last


# ------------------------------------------------------------------------------------------------------------ generate


@pytest.mark.parametrize("ending, width, height", [("mp4", 32, 24), ("mp4", 33, 25), ("webm", 32, 24), ("gif", 33, 25)])
def test_generate(sora, tmp_path, ending, width, height):
    out = tmp_path / f"a.{ending}"
    code, said, _ = sora("generate", "a red ball", "-o", out, "--size", f"{width}x{height}", "--frames", 6, "--json")
    assert code == 0
    result = json.loads(said.splitlines()[-1])
    info = probe(out)
    assert (info.width, info.height, info.frames) == (width, height, 6)
    assert result["output"] == str(out)
    assert [result[k] for k in ("width", "height", "frames", "fps", "seconds")] == [width, height, 6, 8.0, 0.75]
    assert isinstance(result["seed"], int)


@pytest.mark.parametrize("ending", ["png", "jpg", "webp"])
def test_an_images_ending_makes_an_image(sora, tmp_path, ending):
    out = tmp_path / f"a.{ending}"
    code, said, _ = sora("generate", "a red ball", "-o", out, "--size", "24x16", "--json")
    assert code == 0 and json.loads(said.splitlines()[-1])["frames"] == 1
    assert said.startswith(f"{out}  24x16, seed ")
    assert read_image(out).shape == (3, 16, 24)


def test_presets_seconds_and_folders(sora, tmp_path):
    out = tmp_path / "new" / "folder" / "a.mp4"
    code, _, _ = sora(
        "generate", "a ball", "-o", out, "--size", "preview 9:16", "--seconds", "0.5", "--fps", "10", "--json"
    )
    assert code == 0
    info = probe(out)
    assert (info.width, info.height, info.frames, info.fps) == (72, 128, 5, 10)


def test_times_shares_the_noise_of_a_prototype(sora, tmp_path):
    def run(name, *options):
        asked = ("generate", "a ball", "-o", tmp_path / name, "--size", "32x16", "--seed", 3, *options)
        code, said, _ = sora(*asked, "--json")
        assert code == 0
        return json.loads(said.splitlines()[-1])["settings"], torch.stack(list(read_frames(tmp_path / name)))

    plain_settings, plain = run("a.png")
    settings, large = run("b.png", "--times", 2)
    assert settings == plain_settings | {"times": 2} and not torch.equal(large, plain)
    code, _, err = sora("generate", "a ball", "-o", tmp_path / "c.png", "--times", 257)
    assert code == 2 and "at most 256" in one_sentence(err) and not (tmp_path / "c.png").exists()


def test_the_seed_repeats_and_is_told(sora, tmp_path):
    def run(name, *seed):
        code, said, _ = sora("generate", "a ball", "-o", tmp_path / name, *seed, "--json")
        assert code == 0
        return json.loads(said.splitlines()[-1])["seed"], torch.stack(list(read_frames(tmp_path / name)))

    seed, first = run("a.png")
    again_seed, again = run("b.png", "--seed", seed)
    _, other = run("c.png", "--seed", seed + 1)
    assert again_seed == seed
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert run("d.png", "--seed", -5)[0] == -5


def test_every_solver_runs(sora, tmp_path):
    assert tuple(sampler.SOLVERS) == SOLVERS
    for solver in SOLVERS:
        assert sora("generate", "a ball", "-o", tmp_path / f"{solver}.png", "--solver", solver, "--steps", 2)[0] == 0


def test_the_mp4_says_how_it_was_made(sora, tmp_path):
    options = ["--seed", 3, "--steps", 2, "--cfg", 1.5, "--negative", "blur"]
    assert sora("generate", "Ein Ball \N{HOT BEVERAGE}", "-o", tmp_path / "a.mp4", *options)[0] == 0
    with av.open(str(tmp_path / "a.mp4")) as container:
        tags = dict(container.metadata)
    settings = json.loads(tags["settings"])
    assert (tags["prompt"], tags["seed"]) == ("Ein Ball \N{HOT BEVERAGE}", "3")
    assert (settings["steps"], settings["cfg"], settings["negative"]) == (2, 1.5, "blur")
    assert settings["solver"] and settings["width"] == 32


def test_an_empty_prompt_is_allowed(sora, tmp_path):
    assert sora("generate", "", "-o", tmp_path / "a.png")[0] == 0


def test_a_megabyte_of_prompt_from_standard_input(sora, tmp_path, monkeypatch):
    import io

    monkeypatch.setattr("sys.stdin", io.StringIO("ball " * 200_000))
    assert sora("generate", "-", "-o", tmp_path / "a.mp4", "--frames", 1, "--steps", 1, "--size", "16x16")[0] == 0
    assert probe(tmp_path / "a.mp4").frames == 1


# ---------------------------------------------------------------------------------------------- animate and reconstruct


def test_animate_takes_the_images_shape(sora, tmp_path, smooth_clip):
    with VideoWriter(tmp_path / "in.png", 120, 60) as writer:
        writer.write(smooth_clip(1, 60, 120))
    code, said, _ = sora("animate", tmp_path / "in.png", "it moves", "-o", tmp_path / "a.mp4", "--json")
    result = json.loads(said.splitlines()[-1])
    assert code == 0 and (result["width"], result["height"], result["frames"]) == (48, 24, 5)
    code, said, _ = sora("animate", tmp_path / "in.png", "it moves", "-o", tmp_path / "b.mp4", "--size", "40x40")
    assert code == 0 and probe(tmp_path / "b.mp4").width == 40


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "I;16", "P"])
def test_animate_takes_any_image(sora, tmp_path, mode):
    grey = Image.fromarray((np.arange(37 * 51) % 256).astype(np.uint8).reshape(37, 51))
    image = Image.fromarray(np.asarray(grey, np.uint16) * 257) if mode == "I;16" else grey.convert(mode)
    image.save(tmp_path / "in.png")
    assert sora("animate", tmp_path / "in.png", "it moves", "-o", tmp_path / "a.mp4")[0] == 0


def test_reconstruct_a_video(sora, tmp_path, smooth_clip):
    with VideoWriter(tmp_path / "in.mp4", 51, 37, 12) as writer:
        writer.write(smooth_clip(7, 37, 51))
    code, said, _ = sora("reconstruct", tmp_path / "in.mp4", "-o", tmp_path / "a.mp4", "--json")
    assert code == 0 and "PSNR" in said and "SSIM" in said
    result = json.loads(said.splitlines()[-1])
    info = probe(tmp_path / "a.mp4")
    assert (info.width, info.height, info.frames, info.fps) == (51, 37, 7, 12)
    assert (result["width"], result["height"], result["frames"]) == (51, 37, 7)
    assert 0 < result["psnr"] < 100 and -1 <= result["ssim"] <= 1


def test_reconstruct_says_that_a_rate_was_made_constant(sora, tmp_path):
    pictures = [Image.new("RGB", (16, 16), (40 * i, 0, 0)) for i in range(4)]
    pictures[0].save(tmp_path / "in.gif", save_all=True, append_images=pictures[1:], duration=[100, 400, 100, 100])
    code, said, err = sora("reconstruct", tmp_path / "in.gif", "-o", tmp_path / "a.mp4", "--json")
    row = json.loads(said.splitlines()[-1])
    assert code == 0 and row["frames"] == 7
    assert row["notes"] and all("in.gif has no constant frame rate" in note and note in err for note in row["notes"])


def test_reconstruct_keeps_the_sound(sora, tmp_path, smooth_clip):
    from tests.core.test_audio import tones_of, write_tones

    sounds = [Sound(write_tones(tmp_path / "a.wav", [400, 800], 16000, 1), 0, 0, 1.0)]
    with VideoWriter(tmp_path / "in.mp4", 32, 24, 8, sounds=sounds) as writer:
        writer.write(smooth_clip(8, 24, 32))
    assert sora("reconstruct", tmp_path / "in.mp4", "-o", tmp_path / "a.mp4")[0] == 0
    assert tones_of(tmp_path / "a.mp4")[:2] == [400, 800]
    code, _, err = sora("reconstruct", tmp_path / "in.mp4", "-o", tmp_path / "a.gif")
    assert code == 0 and "a.gif is silent" in err


def test_reconstruct_a_recording_that_changes_its_size(sora, tmp_path, smooth_clip, monkeypatch):
    with VideoWriter(tmp_path / "in.mp4", 64, 48, 8) as writer:
        writer.write(smooth_clip(6, 48, 64))
    sizes = [(48, 64)] * 3 + [(24, 32)] * 3
    monkeypatch.setattr("sora_core.clip.read_frames", lambda path: (torch.zeros(3, *size) for size in sizes))
    assert sora("reconstruct", tmp_path / "in.mp4", "-o", tmp_path / "a.mp4")[0] == 0
    info = probe(tmp_path / "a.mp4")
    assert (info.width, info.height, info.frames) == (64, 48, 6)


def test_reconstruct_an_image(sora, tmp_path, smooth_clip):
    with VideoWriter(tmp_path / "in.png", 51, 37) as writer:
        writer.write(smooth_clip(1, 37, 51))
    assert sora("reconstruct", tmp_path / "in.png", "-o", tmp_path / "a.png")[0] == 0
    assert read_image(tmp_path / "a.png").shape == (3, 37, 51)
    code, _, err = sora("reconstruct", tmp_path / "in.png", "-o", tmp_path / "in.png")
    assert code == 2 and "in.png would be overwritten" in err


# ------------------------------------------------------------------------------------------------------ info and worlds


def test_info(sora, tiny_checkpoint):
    code, said, _ = sora("info", tiny_checkpoint, "--json")
    table = json.loads(said.splitlines()[-1])
    assert code == 0
    assert table["vae parameters"] > 0 and table["dit parameters"] > 0 and table["dit flops"] > 0
    assert table["dit config"]["width"] == 32
    assert all(key in table for key in ("output", "width", "height", "frames", "fps", "seed", "seconds"))


def test_info_of_a_size_that_no_machine_here_could_hold(sora):
    code, said, _ = sora("info", "8b", "--json")
    table = json.loads(said.splitlines()[-1])
    assert code == 0 and table["dit parameters"] > 5e9 and table["dit flops"] > 2 * table["dit parameters"]


def test_world_sample(sora, tmp_path):
    line = ("world", "sample", "--count", 3, "--frames", 2, "--size", "32x24", "--out", tmp_path, "--json")
    code, said, err = sora(*line)
    assert code == 0 and json.loads(said.splitlines()[-1])["frames"] == 2
    assert "3/3" in err, "a progress bar on standard error"
    assert sorted(p.suffix for p in tmp_path.iterdir() if p.stem == "0000") == [".json", ".mp4", ".txt"]
    assert len(list(tmp_path.glob("*.mp4"))) == 3


def test_evaluate(sora, tmp_path):
    """In bfloat16 the figures are near those in float32, and not the same."""
    loud = {}
    for precision in ("fp32", "bf16"):
        line = ("evaluate", "--only", "clips", "--count", 2, "--precision", precision, "--out", tmp_path / precision)
        code, said, _ = sora(*line, "--json")
        report = json.loads(said.splitlines()[-1])["report"]
        assert code == 0 and report["precision"] == precision
        assert report == json.loads((tmp_path / precision / "report.json").read_text())
        loud[precision] = report["sections"]["clips"]["tables"]["quality"][0]["value"]
    assert 0 < abs(loud["fp32"] - loud["bf16"]) < 1


TRAINING = """
[model]
channels = 4
fine_width = 8
middle_width = 8
coarse_width = 8
encoder_blocks = [1, 0, 1]
decoder_blocks = [1, 0, 1]
[data]
world_clips = 1
world_images = 1
natural_clips = 0
natural_images = 0
frames = 5
size = 32
[loop]
steps = 2
lr = 1e-3
precision = "fp32"
"""


def test_train_then_use(sora, tmp_path, smooth_clip):
    (tmp_path / "small.toml").write_text(TRAINING)
    line = ["train", "vae", "--config", tmp_path / "small.toml", "--out", tmp_path / "run", "--device", "cpu"]
    code, said, err = sora(*line, "--json")
    assert code == 0, err
    assert json.loads(said.splitlines()[-1])["output"] == str(tmp_path / "run")
    with VideoWriter(tmp_path / "in.png", 51, 37) as writer:
        writer.write(smooth_clip(1, 37, 51))
    trained = tmp_path / "run" / "vae.safetensors"
    assert sora("reconstruct", tmp_path / "in.png", "-o", tmp_path / "out.png", checkpoint=trained)[0] == 0
    code, _, err = sora(*line)
    assert code == 2 and "--resume" in one_sentence(err)
    assert sora(*line, "--resume")[0] == 0


# -------------------------------------------------------------------------------------------------------- what is wrong


@pytest.mark.parametrize(
    "arguments, says",
    [
        ([], "required: COMMAND"),
        (["paint"], "invalid choice"),
        (["generate"], "required"),
        (["generate", "x"], "-o"),
        (["generate", "x", "-o", "a.avi"], "must end in one of"),
        (["generate", "x", "-o", "a.png", "--frames", "5"], "holds one frame, not 5"),
        (["generate", "x", "-o", "a.png", "--seconds", "1"], "holds one frame, not 8"),
        (["generate", "x", "-o", "a.mp4", "--size", "0x64"], "width"),
        (["generate", "x", "-o", "a.mp4", "--size=-64x64"], "width"),
        (["generate", "x", "-o", "a.mp4", "--size", "99999x64"], "width"),
        (["generate", "x", "-o", "a.mp4", "--size", "big"], "not a size"),
        (["generate", "x", "-o", "a.mp4", "--size", "2048x2048"], "too large"),
        (["generate", "x", "-o", "a.mp4", "--frames", "0"], "at least 1"),
        (["generate", "x", "-o", "a.mp4", "--frames", "-3"], "at least 1"),
        (["generate", "x", "-o", "a.mp4", "--frames", "many"], "not a whole number"),
        (["generate", "x", "-o", "a.mp4", "--frames", "9" * 5000], "whole number"),
        (["generate", "x", "-o", "a.mp4", "--frames", "99999"], "at most"),
        (["generate", "x", "-o", "a.mp4", "--seconds", "0"], "above 0"),
        (["generate", "x", "-o", "a.mp4", "--seconds", "nan"], "finite"),
        (["generate", "x", "-o", "a.mp4", "--frames", "5", "--seconds", "1"], "not allowed with"),
        (["generate", "x", "-o", "a.mp4", "--fps", "-1"], "from 0.01 to 120"),
        (["generate", "x", "-o", "a.mp4", "--fps", "0.0001", "--frames", "1"], "from 0.01 to 120, not 0.0001"),
        (["generate", "x", "-o", "a.mp4", "--steps", "0"], "at least 1"),
        (["generate", "x", "-o", "a.mp4", "--steps", "10000000"], "number of steps"),
        (["generate", "x", "-o", "a.mp4", "--cfg", "inf"], "finite"),
        (["generate", "x", "-o", "a.mp4", "--solver", "magic"], "invalid choice: 'magic'"),
        (["generate", "a", "red", "ball", "-o", "a.mp4"], 'put the prompt in quotes, for instance "a red ball"'),
        (["generate", "x", "-o", "a.mp4", "--timeline", "0-2s: a"], "either PROMPT or --timeline, not both"),
        (["generate", "-o", "a.mp4", "--timeline", ""], "The timeline is empty"),
        (["generate", "-o", "a.mp4", "--timeline", "0-2s: a; 2-4s b"], "colon must follow the time in '2-4s b'"),
        (["generate", "-o", "a.mp4", "--timeline", "0-2s: a; 2-4s: b", "--seconds", "2"], "write --seconds 4"),
        (["generate", "-o", "a.mp4", "--timeline", "0-90s: a"], "at most 60"),
        (["generate", "-o", "a.png", "--timeline", "0-2s: a; 2-4s: b"], "holds one frame, not 32"),
        (["generate", "x", "-o", "a.mp4", "--seed", "red"], "not a whole number"),
        (["generate", "x", "-o", "a.mp4", "--device", "gpu"], "no device"),
        (["generate", "x", "-o", "a.mp4", "--device", "cuda:99"], "no CUDA device"),
        (["generate", "x", "-o", "a.mp4", "--checkpoint", "none.safetensors"], "not there"),
        (["generate", "x", "-o", "a.mp4", "--checkpoint", "README.md"], "README.md"),
        (["animate", "none.png", "x", "-o", "a.mp4"], "not there"),
        (["animate", "README.md", "x", "-o", "a.mp4"], "no video"),
        (["reconstruct", "none.mp4", "-o", "a.mp4"], "not there"),
        (["reconstruct", "README.md", "-o", "a.mp4"], "no video"),
        (["info", "none.safetensors"], "not there"),
        (["info", "README.md"], "README.md"),
        (["train", "gan", "--config", "a.toml"], "invalid choice"),
        (["train", "vae", "--config", "none.toml"], "none.toml"),
        (["batch", "a.json", "--table", "a.csv", "--out", "README.md"], "README.md is a file, not a folder"),
        (["evaluate", "--out", "README.md"], "README.md is a file, not a folder"),
        (["train", "vae", "--config", "a.toml", "--out", "README.md"], "README.md is a file, not a folder"),
        (["train", "vae", "--config", "configs/vae.toml", "--out", "README.md/run"], "README.md is not a folder"),
        (["train", "vae", "--config", "configs/vae.toml", "--out", "/proc/x/run"], "could not be written: no such"),
        (["train", "vae", "--config", "configs/vae.toml", "--out", "a" * 300], "be written: file name too long"),
        (["train", "vae", "--config", "configs/dit.toml", "--out", "x"], "for vae has no table [text]"),
        (["world", "sample", "--out", "README.md"], "README.md is a file, not a folder"),
        (["world", "sample", "--out", "x", "--count", "0"], "at least 1"),
        (["world", "sample", "--out", "x", "--size", "2x2"], "width"),
    ],
)
def test_a_mistake_is_one_sentence(sora, monkeypatch, tmp_path, arguments, says):
    for index, argument in enumerate(arguments):
        if argument in ("a.mp4", "a.png", "a.avi", "x") and index and arguments[index - 1] in ("-o", "--out"):
            arguments = [*arguments[:index], str(tmp_path / argument), *arguments[index + 1 :]]
    monkeypatch.chdir(ROOT)
    code, said, err = sora(*arguments)
    assert code == 2 and said == ""
    assert says in one_sentence(err)
    assert len(one_sentence(err)) < 400
    assert os.listdir(tmp_path) == [], "nothing may be left"


def test_an_existing_file_survives_a_mistake(sora, tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"precious")
    assert sora("generate", "x", "-o", tmp_path / "a.mp4", "--steps", 10_000_000)[0] == 2
    assert (tmp_path / "a.mp4").read_bytes() == b"precious"
    assert os.listdir(tmp_path) == ["a.mp4"]


def test_a_folder_that_cannot_be_written(sora, tmp_path):
    (tmp_path / "file").write_text("")
    code, _, err = sora("generate", "x", "-o", tmp_path / "file" / "a.mp4")
    assert code == 2 and "could not be written" in one_sentence(err)


def test_corrupt_and_empty_input(sora, tmp_path):
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "corrupt.mp4").write_bytes(bytes(5000))
    code, _, err = sora("animate", tmp_path / "empty.png", "x", "-o", tmp_path / "a.mp4")
    assert code == 2 and "is empty" in one_sentence(err)
    code, _, err = sora("reconstruct", tmp_path / "corrupt.mp4", "-o", tmp_path / "a.mp4")
    assert code == 2 and "corrupt.mp4" in one_sentence(err)
    assert sorted(os.listdir(tmp_path)) == ["corrupt.mp4", "empty.png"]


def test_more_memory_than_there_is(sora, tmp_path, monkeypatch):
    monkeypatch.setattr("sora_core.pipeline.available_memory", lambda device: 2**27)
    code, _, err = sora("generate", "x", "-o", tmp_path / "a.mp4", "--size", "1920x1080", "--seconds", 30)
    assert code == 2 and "the largest size of this shape that fits is" in one_sentence(err)
    assert os.listdir(tmp_path) == []


def test_worlds_larger_than_the_memory(sora, tmp_path, monkeypatch):
    monkeypatch.setattr("sora_core.worlds.gallery.available_memory", lambda: 2**27)
    code, _, err = sora("world", "sample", "--out", tmp_path, "--size", "1920x1080", "--frames", 17)
    assert code == 2 and "the largest size of this shape that fits is" in one_sentence(err)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "says, full",
    [
        ("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried 9 bytes", True),
        ("CUDA out of memory. Tried to allocate 9 GiB", True),
        ("CUDA error: an illegal memory access was encountered", False),
    ],
)
def test_only_a_lack_of_memory_is_called_so(sora, tmp_path, monkeypatch, says, full):
    def fail(*_, **__):
        raise RuntimeError(says)

    monkeypatch.setattr("sora_core.pipeline.sample", fail)
    words = ("generate", "x", "-o", tmp_path / "a.mp4", "--size", "32x32", "--frames", 1)
    if full:
        code, _, err = sora(*words)
        assert code == 2 and "more than the memory holds" in one_sentence(err)
    else:
        with pytest.raises(RuntimeError, match="illegal memory access"):
            sora(*words)


# ---------------------------------------------------------------------------------------------- in a process of its own


def test_the_module_runs_and_ends_with_json(tmp_path, tiny_checkpoint):
    done = process("generate", "a ball", "-o", tmp_path / "a.mp4", "--checkpoint", tiny_checkpoint, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["frames"] == 5
    assert "sampling" in done.stderr, "a progress bar on standard error"


def test_a_mistake_ends_with_2(tmp_path):
    done = process("generate", "a ball", "-o", tmp_path / "a.avi")
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1


def test_help_is_quick_and_needs_nothing_heavy():
    script = (
        "import sys; from sora_core.cli import main\n"
        "try: main(['generate', '--help'])\n"
        "except SystemExit: print('torch' in sys.modules, 'av' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "False False", done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_leaves_no_half_file(tmp_path, tiny_checkpoint, number):
    line = [sys.executable, "-m", "sora_core", "generate", "a ball", "-o", str(tmp_path / "a.mp4")]
    line += ["--checkpoint", str(tiny_checkpoint), "--steps", "1000", "--size", "256x256", "--frames", "33"]
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)  # a shell starts background jobs deaf to it
    running = subprocess.Popen(line, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, preexec_fn=heed)
    seen = b""
    while b"1000 [" not in seen and running.poll() is None:  # the bar is there, so sampling has begun
        seen += running.stderr.read(1)
    running.send_signal(number)
    said, err = running.communicate(timeout=60)
    assert running.returncode == 130, err
    assert "interrupted" in one_sentence(err.decode()) and said == b""
    assert os.listdir(tmp_path) == []


def test_a_missing_library_is_one_sentence(tmp_path):
    """Without site-packages the interpreter has none of them, as beside a bare clone."""
    line = [sys.executable, "-S", "-m", "sora_core", "generate", "a ball", "-o", str(tmp_path / "a.mp4")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and done.stdout == ""
    assert "python -m pip install -r requirements.txt numpy pillow tqdm" in one_sentence(done.stderr)
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("module, says", [("torch", "Sora needs PyTorch"), ("sora_core.pipeline", None)])
def test_only_libraries_are_said_to_be_missing(sora, monkeypatch, tmp_path, module, says):
    monkeypatch.setitem(sys.modules, module, None)  # its import fails, as where it is not there
    line = ["inspect", "generate", "a ball", "-o", tmp_path / "a.png"]
    if says is None:
        with pytest.raises(ModuleNotFoundError):
            sora(*line)
    else:
        code, _, err = sora(*line)
        assert code == 2 and says in one_sentence(err)


def test_python_3_10_without_tomli_is_one_sentence(sora, monkeypatch):
    from sora_core.training import run  # all that it needs is there, but not what reads TOML

    monkeypatch.setattr(sys, "version_info", (3, 10, 0, "final", 0))
    monkeypatch.setitem(sys.modules, "tomli", None)
    monkeypatch.delitem(sys.modules, run.__name__)
    monkeypatch.delattr(sys.modules["sora_core.training"], "run")
    code, _, err = sora("train", "vae", "--config", "configs/vae.toml", "--device", "cpu")
    assert code == 2 and "pip install tomli" in one_sentence(err)


@pytest.mark.parametrize(
    "arguments, says",
    [(["--size", "big"], "not a size"), (["--fps", "500"], "frame rate"), (["--seconds", "90"], "at most 60")],
)
def test_sizes_are_refused_before_a_model_is_loaded(sora, tmp_path, arguments, says):
    code, _, err = sora("generate", "x", "-o", tmp_path / "a.mp4", *arguments, "--checkpoint", "none.safetensors")
    assert code == 2 and says in one_sentence(err)


def test_a_full_disk_is_one_sentence(tmp_path, tiny_checkpoint, files_of_at_most):
    done = process(
        *("generate", "a ball", "-o", tmp_path / "a.mp4", "--checkpoint", tiny_checkpoint, "--size", "128x128"),
        preexec_fn=files_of_at_most(500),
    )
    assert done.returncode == 2
    assert "the disk is full" in one_sentence(done.stderr)
    assert os.listdir(tmp_path) == []
