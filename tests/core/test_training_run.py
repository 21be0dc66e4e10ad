"""Whole trainings of tiny networks: exact resume after a kill, several processes, files, a start from a checkpoint."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from sora_core.checkpoint import load
from sora_core.dit import DiTConfig
from sora_core.errors import UserError
from sora_core.training import dit, shows
from sora_core.training.loop import Loop
from sora_core.training.run import main, plan, read_config
from sora_core.video import VideoWriter
from sora_core.worlds.presence import presence
from sora_core.worlds.render import render
from sora_core.worlds.scene import sample_scene

ROOT = Path(__file__).parents[2]
STEPS = 5
LOOP = f"""
[loop]
steps = {STEPS}
lr = 1e-3
warmup = 2
log_every = 1
save_every = 2
sheet_every = 1000
"""
VAE = """
[model]
channels = 4
fine_width = 8
middle_width = 8
coarse_width = 8
encoder_blocks = [1, 0, 1]
decoder_blocks = [1, 0, 1]
"""
DIT = """
[model]
width = 32
depth = 2
heads = 2
text_width = 16
channels = 4
patch = [1, 2, 2]
local_mix = true
[text]
merges = 20
width = 16
depth = 1
heads = 2
"""
WORLDS = {
    "vae": "[data]\nworld_clips = 2\nworld_images = 3\nnatural_clips = 1\nnatural_images = 2\nframes = 5\nsize = 32",
    "dit": "[data]\nvae = '{vae}'\n"
    "packs = [{{parts = [[1, 5, 32, 32], [3, 1, 32, 48]], sentences = 3}}, {{parts = [[2, 5, 48, 32, 13]]}}]",
}
FILES = {
    "vae": "[data]\nsource = 'folder:{folder}'\ntokens = 40",
    "dit": "[data]\nsource = 'folder:{folder}'\ntokens = 24\nvae = '{vae}'",
}


@pytest.fixture(autouse=True)
def one_thread():
    """As the child processes have it: sums then have one order."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.fixture
def config(tmp_path, tiny_checkpoint):
    """Writes a config, returns its path."""

    def write(kind, data=WORLDS, loop="", **names):
        text = (VAE if kind == "vae" else DIT) + data[kind].format(vae=tiny_checkpoint, **names) + LOOP + loop
        path = tmp_path / f"{kind}-{len(list(tmp_path.iterdir()))}.toml"
        path.write_text(text)
        return path

    return write


def child(code, *arguments, **environment):
    """A Python process that runs `code` with one thread."""
    code = "import sys, torch; torch.set_num_threads(1)\nfrom sora_core.training.run import main\n" + code
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def rows(folder):
    path = folder / "log.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines() if line.endswith("}")] if path.exists() else []


def same_state(a, b):
    a, b = (load_file(folder / "state.safetensors") for folder in (a, b))
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("kind", ["vae", "dit"])
def test_killed_and_resumed_equals_undisturbed(kind, config, tmp_path):
    path = config(kind, loop="optimizer = 'muon'")
    main(kind, path, out=tmp_path / "straight")
    process = child("main(sys.argv[1], sys.argv[2], out=sys.argv[3])", kind, path, tmp_path / "killed")
    moment = random.randrange(1, STEPS)
    while len(rows(tmp_path / "killed")) < moment and process.poll() is None:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    error = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL, error
    with safe_open(tmp_path / "killed" / "state.safetensors", "pt") as state:
        saved = int(state.metadata()["step"])
    assert int(load(tmp_path / "killed" / f"{kind}.safetensors").card["steps"]) >= saved  # long before the first sheet
    main(kind, path, out=tmp_path / "killed", resume=True)
    assert same_state(tmp_path / "straight", tmp_path / "killed")
    assert [row["step"] for row in rows(tmp_path / "killed")] == list(range(1, STEPS + 1))
    losses = [[row["loss"] for row in rows(tmp_path / name)] for name in ("straight", "killed")]
    assert losses[0] == losses[1]
    assert load(tmp_path / "killed" / f"{kind}.safetensors").card["steps"] == str(STEPS)


def test_two_processes_follow_the_curve_of_one(config, tmp_path):
    runs = [("vae", "ddp"), ("dit", "ddp"), ("dit", "fsdp")]
    runs = [(kind, how, config(kind, loop=f"parallel = '{how}'\nprecision = 'fp32'")) for kind, how in runs]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    code = """
import torch.distributed as dist
dist.init_process_group("gloo")
for argument in sys.argv[1:]:
    kind, config, out = argument.split("|")
    main(kind, config, out=out)
dist.destroy_process_group()  # else its threads may outlive the interpreter, which aborts
"""
    asked = [f"{kind}|{path}|{tmp_path / (kind + how)}" for kind, how, path in runs]
    here = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    processes = [child(code, *asked, RANK=str(rank), LOCAL_RANK=str(rank), **here) for rank in range(2)]
    for kind in ("vae", "dit"):
        main(kind, config(kind, loop="precision = 'fp32'"), out=tmp_path / kind)
    errors = [process.communicate(timeout=120)[1] for process in processes]
    codes = [process.returncode for process in processes]
    assert codes == [0, 0], "\n\n".join(error[-3000:] for error in errors)  # one that fails takes the other with it
    for kind, how, _ in runs:
        for one, two in zip(rows(tmp_path / kind), rows(tmp_path / (kind + how)), strict=True):
            assert abs(one["loss"] - two["loss"]) <= 1e-4
            assert one[{"vae": "clips", "dit": "tokens"}[kind]] == two[{"vae": "clips", "dit": "tokens"}[kind]]
        exported = load(tmp_path / (kind + how) / f"{kind}.safetensors")
        assert (exported.vae if kind == "vae" else exported.dit) is not None
    # what two have saved, one can continue
    longer = tmp_path / "longer.toml"
    longer.write_text(runs[-1][2].read_text().replace(f"steps = {STEPS}", f"steps = {STEPS + 1}"))
    main("dit", longer, out=tmp_path / "ditfsdp", resume=True)
    assert rows(tmp_path / "ditfsdp")[-1]["step"] == STEPS + 1


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("own")
    sizes = {
        "a.mp4": (5, 24, 32),
        "b.png": (1, 40, 17),
        "c.mp4": (5, 24, 32),
        "d.webp": (1, 8, 64),
        "e.gif": (3, 16, 16),
    }
    for number, (name, (frames, height, width)) in enumerate(sizes.items()):
        with VideoWriter(root / name, width, height, 8.0) as writer:
            generator = torch.Generator().manual_seed(number)
            writer.write(torch.rand(3, frames, height, width, generator=generator) * 2 - 1)
        (root / name).with_suffix(".txt").write_text(f"clip number {number}")
    (root / "broken.mp4").write_bytes(b"broken")
    return root


@pytest.mark.parametrize("kind", ["vae", "dit"])
def test_files_of_ones_own(kind, config, folder, tmp_path, caplog):
    path = config(kind, FILES, folder=folder)
    main(kind, path, out=tmp_path / "straight")
    main(kind, config(kind, FILES, folder=folder, loop="tensorboard = false"), out=tmp_path / "again", minutes=1e-4)
    main(kind, path, out=tmp_path / "again", resume=True)
    assert same_state(tmp_path / "straight", tmp_path / "again")
    assert (tmp_path / "straight" / "skipped.txt").read_text().startswith("broken.mp4\t")
    assert "5 clips, 5 of them with captions; 1 skipped" in caplog.text
    for picture in (Path("sheets") / f"{STEPS:07d}.png", "curves.png"):
        assert min(Image.open(tmp_path / "straight" / picture).size) > 50
    if kind == "dit":
        assert all(row["packed"] >= 0.95 for row in rows(tmp_path / "straight"))
        models = load(tmp_path / "straight" / "dit.safetensors")  # complete: its codec is not the bundled one
        assert models.vae is not None and models.card["size"]["frames"] == 5


def test_the_curves_are_in_tensorboards_logs_too(config, tmp_path):
    main("vae", config("vae", loop="tensorboard = true"), out=tmp_path / "out")
    events = EventAccumulator(str(tmp_path / "out" / "tensorboard"))
    events.Reload()
    read, logged = events.Scalars("loss"), rows(tmp_path / "out")
    assert logged and [event.step for event in read] == [row["step"] for row in logged]
    assert [event.value for event in read] == pytest.approx([row["loss"] for row in logged], abs=1e-5)


def test_a_checkpoint_of_worlds_is_at_home_at_the_size_of_its_last_packs(config, tmp_path):
    packs = (
        "{{end = 0.5, weight = 9, parts = [[2, 5, 48, 48]]}}",
        "{{start = 0.5, weight = 0.5, parts = [[3, 1, 32, 48]]}}",
        "{{start = 0.5, parts = [[3, 1, 32, 48], [1, 9, 32, 40]]}}",
    )
    path = config("dit", {"dit": f"[data]\nvae = '{{vae}}'\npacks = [{', '.join(packs)}]"})

    def size():
        return load(tmp_path / "out" / "dit.safetensors").card["size"]

    main("dit", path, out=tmp_path / "out", minutes=1e-9)
    assert size() == {"width": 48, "height": 48, "frames": 5, "fps": 8.0}
    main("dit", path, out=tmp_path / "out", resume=True)
    assert size() == {"width": 32, "height": 40, "frames": 9, "fps": 8.0}


@pytest.mark.parametrize("kind", ["vae", "dit"])
def test_worlds_of_any_length_are_learnt(kind, config, tmp_path):
    data = {
        "vae": "[data]\nworld_clips = 2\nnatural_clips = 1\nframes = 7\nsize = 30",
        "dit": "[data]\nvae = '{vae}'\ndissolves = 0.5\npacks = [{{parts = [[3, 7, 30, 34], [1, 3, 32, 32, 6]]}}]",
    }
    main(kind, config(kind, data), out=tmp_path / "out")
    assert len(rows(tmp_path / "out")) == STEPS


def test_a_run_is_resumed_where_captions_have_come_to_hold_other_words(config, folder, tmp_path):
    def path():
        written = config("dit", FILES, folder=folder)
        written.write_text(written.read_text().replace("merges = 20", "merges = 5000"))  # more than there are
        return written

    main("dit", path(), out=tmp_path / "run", minutes=1e-9)
    before = load(tmp_path / "run" / "dit.safetensors").text.config
    words = "a quokka beside a quokka, the quokkas' axolotl, an axolotl"
    next(folder.glob("*.txt")).write_text(words)
    main("dit", path(), out=tmp_path / "anew", minutes=1e-9)
    assert len(load(tmp_path / "anew" / "dit.safetensors").text.config.merges) > len(before.merges)
    main("dit", path(), out=tmp_path / "run", resume=True)
    assert load(tmp_path / "run" / "dit.safetensors").text.config == before


@pytest.mark.parametrize("kind", ["vae", "dit"])
def test_start_from_a_checkpoint(kind, config, folder, tmp_path):
    main(kind, config(kind), out=tmp_path / "first")
    made = tmp_path / "first" / f"{kind}.safetensors"
    path = config(kind, FILES, folder=folder, loop=f"init = '{made}'")
    main(kind, path, out=tmp_path / "second", minutes=1e-9)  # no step: what it began with is exported
    first, second = (load_file(tmp_path / name / f"{kind}.safetensors") for name in ("first", "second"))
    learnt = [name for name in first if not name.startswith("vae.latent_")]
    assert all(torch.equal(first[name], second[name]) for name in learnt)
    wrong = path.with_name("wrong.toml")
    wrong.write_text(
        path.read_text().replace("coarse_width = 8", "coarse_width = 16").replace("depth = 2", "depth = 1")
    )
    with pytest.raises(UserError, match="of the shape that"):
        main(kind, wrong, out=tmp_path / "third")


def test_a_frozen_encoder_gives_the_latents_of_before(config, tmp_path):
    """Centred and scaled as they were, whatever would be measured now, after a resume too."""
    main("vae", config("vae"), out=tmp_path / "first")
    first = tmp_path / "first/vae.safetensors"
    with safe_open(first, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(first)
    tensors["vae.latent_mean"] += 0.5
    save_file(tensors, first, metadata)
    data = {"vae": WORLDS["vae"] + "\nfreeze_encoder = true"}
    path = config("vae", data, loop=f"init = '{first}'")
    main("vae", path, out=tmp_path / "then", minutes=1e-9)
    main("vae", path, out=tmp_path / "then", resume=True)
    before, after = (load(file, only=("vae",)).vae for file in (first, tmp_path / "then/vae.safetensors"))
    video = torch.rand(1, 3, 5, 16, 16)
    torch.testing.assert_close(after.encode(video), before.encode(video), rtol=0, atol=0)
    assert not torch.equal(after.decode(before.encode(video)), before.decode(before.encode(video)))


def test_start_from_a_checkpoint_with_fewer_blocks(config, tmp_path):
    main("dit", config("dit"), out=tmp_path / "first")
    path = config("dit", loop=f"init = '{tmp_path / 'first' / 'dit.safetensors'}'\nseed = 1")
    path.write_text(path.read_text().replace("depth = 2", "depth = 3", 1))
    main("dit", path, out=tmp_path / "second", minutes=1e-9)
    first, second = (load(tmp_path / name / "dit.safetensors") for name in ("first", "second"))
    assert len(second.dit.blocks) == 3 and second.text.config.merges == first.text.config.merges
    x, level, text = torch.randn(1, 4, 2, 4, 4), torch.full((1,), 0.5), torch.randn(1, 3, 16)
    assert torch.equal(first.dit(x, level, text), second.dit(x, level, text))


def test_a_run_is_resumed_with_another_seed(config, tmp_path):
    """Its words and the scale of its latents are those of the seed before; what it is shown is not."""
    main("dit", config("dit"), out=tmp_path / "straight")
    main("dit", config("dit"), out=tmp_path / "run", minutes=1e-9)
    main("dit", config("dit", loop="seed = 1"), out=tmp_path / "run", resume=True)
    one, two = (load(tmp_path / name / "dit.safetensors") for name in ("straight", "run"))
    assert one.text.config == two.text.config and one.dit.config == two.dit.config
    assert rows(tmp_path / "run")[-1]["loss"] != rows(tmp_path / "straight")[-1]["loss"]


def test_a_first_prediction_is_learnt_beside_a_checkpoint_without_one(config, tmp_path):
    main("dit", config("dit"), out=tmp_path / "first")
    path = config("dit", loop=f"init = '{tmp_path / 'first' / 'dit.safetensors'}'")
    path.write_text(path.read_text().replace("depth = 2", "depth = 2\nexit = 1\nexit_guidance = [0.5, 0.1, 0.7]"))
    main("dit", path, out=tmp_path / "second")
    assert all(0 < row["first"] < 10 for row in rows(tmp_path / "second"))
    made = load(tmp_path / "second" / "dit.safetensors").dit
    assert made.config.exit_guidance == (0.5, 0.1, 0.7) and made.patch_exit.weight.abs().max() > 0


def test_latents_are_scaled_by_their_precision(config, tmp_path):
    """An error of 1 means the posterior's deviation in every channel, times one factor that makes the mean power 1."""
    main("vae", config("vae"), out=tmp_path / "vae")
    vae = load(tmp_path / "vae" / "vae.safetensors", only=("vae",)).vae
    clips = render([sample_scene(np.random.default_rng(i), seconds=5 / 8) for i in range(64)], 5, 32, 32, 8.0)
    _, logvar = vae.posterior(clips)
    factor = vae.latent_std / logvar.exp().mean(dim=(0, 2, 3, 4)).sqrt()
    torch.testing.assert_close(factor, factor.mean().expand(4), rtol=0.05, atol=0)
    assert vae.encode(clips).var(dim=(0, 2, 3, 4)).mean() == pytest.approx(1, rel=0.3)


def test_a_stretch_of_a_scene_is_what_is_seen_of_it(tiny_checkpoint, monkeypatch):
    scenes, starts = [], set()
    monkeypatch.setattr(
        shows, "render", lambda drawn, *size, **where: scenes.extend(drawn) or render(drawn, *size, **where)
    )
    data = dit.DiTTaskConfig(packs=[{"parts": [[2, 5, 32, 32, 13]]}], vae=str(tiny_checkpoint), edits=0, dissolves=0)
    model = DiTConfig(width=32, depth=2, heads=2, text_width=16, channels=4, patch=(1, 1, 1))
    task = dit.DiTTask(model, dit.TextSettings(merges=20, width=16, depth=1, heads=2), data)
    for step in range(12):
        scenes.clear()
        (group,) = task.batch(step, 0, 1).groups
        whole = render(scenes, 13, 32, 32)
        off = [float((task.vae.encode(whole[:, :, at : at + 5]) - group.latent).abs().mean()) for at in range(9)]
        start = min(range(9), key=off.__getitem__)
        starts.add(start)
        assert off[start] < 0.02  # bfloat16
        facts = presence(scenes, 13, 32, 32, 4, 8, seen=slice(start, start + 5)).flatten(0, 3)
        assert torch.allclose(group.places, facts, atol=1e-6)
    assert len(starts) > 4
    with pytest.raises(ValueError, match="no stretch of a scene of 4"):
        shows.Part(1, 5, 32, 32, 4)


def test_mistakes_are_one_sentence(config, tmp_path):
    path = config("vae")
    with pytest.raises(UserError, match="nothing to resume"):
        main("vae", config("vae", FILES, folder=tmp_path / "nowhere"), out=tmp_path / "none", resume=True)
    main("vae", path, out=tmp_path / "run", minutes=1e-9)
    with pytest.raises(UserError, match="already holds a run"):
        main("vae", path, out=tmp_path / "run")
    with pytest.raises(UserError, match="already holds a run"):  # said before files are looked for
        main("vae", config("vae", FILES, folder=tmp_path / "nowhere"), out=tmp_path / "run")
    with pytest.raises(UserError, match="ddp or fsdp"):
        main("vae", config("vae", loop="parallel = 'both'"), out=tmp_path / "other")
    with pytest.raises(UserError, match="written by another network"):
        main("dit", config("dit"), out=tmp_path / "run", resume=True)
    main("vae", path, out=tmp_path / "whole")
    frozen = {"vae": WORLDS["vae"] + "\nfreeze_encoder = true"}
    with pytest.raises(UserError, match=r"freeze_encoder keeps .*: give its checkpoint as init"):
        main("vae", config("vae", frozen), out=tmp_path / "frozen")
    frozen = config("vae", frozen, loop=f"init = '{tmp_path / 'whole/vae.safetensors'}'")
    with pytest.raises(UserError, match=r"trained other weights.*init in"):
        main("vae", frozen, out=tmp_path / "whole", resume=True)
    with pytest.raises(UserError, match="nothing to train"):
        main("gan", path, out=tmp_path / "gan")


NONE = dict.fromkeys(("world_clips", "world_images", "natural_clips", "natural_images"), 0)
PARTS = [[1, 5, 32, 32]]


@pytest.mark.parametrize(
    "kind, table, settings, says",
    [
        ("vae", "loop", {"steps": "many"}, "[loop] steps must be a whole number, not 'many'."),
        ("vae", "loop", {"steps": -3}, "[loop] steps must be at least 1, not -3."),
        ("vae", "loop", {"steps": None}, "[loop] lacks the setting 'steps'."),
        ("vae", "loop", {"lr": "big"}, "[loop] lr must be a number, not 'big'."),
        ("vae", "loop", {"lr": float("nan")}, "[loop] lr must be a number, not nan."),
        ("vae", "loop", {"ema": 2.0}, "[loop] ema must be from 0 to 1, not 2.0."),
        ("vae", "loop", {"save_every": 0}, "[loop] save_every must be at least 1, not 0."),
        ("vae", "loop", {"compile": 1}, "[loop] compile must be true or false, not 1."),
        ("vae", "loop", {"init": 1}, "[loop] init must be text in quotes, not 1."),
        ("vae", "loop", {"precision": "fp16"}, "[loop] precision must be bf16 or fp32, not 'fp16'."),
        ("vae", "loop", {"optimizer": "sgd"}, "[loop] optimizer must be adamw or muon, not 'sgd'."),
        ("vae", "loop", {"stops": 1}, "[loop] has no setting 'stops'; it knows clip, compile, "),
        ("vae", "loop", 3, "[loop] must be a table, not 3."),
        ("vae", "model", {"channels": 0}, "[model] channels must be at least 1, not 0."),
        ("vae", "model", {"encoder_blocks": [1]}, "[model] encoder_blocks must be a list of 3 numbers, not [1]."),
        ("vae", "data", {"frames": "x"}, "[data] frames must be a whole number, not 'x'."),
        ("vae", "data", {"frames": 0}, "[data] frames must be at least 1, not 0."),
        ("vae", "data", {"size": 0}, "[data] size must be from 8 to 2048, not 0."),
        ("vae", "data", {"fps": 0}, "[data] fps must be from 0.01 to 120.0, not 0."),
        ("vae", "data", {"world_clips": -1}, "[data] world_clips must be at least 0, not -1."),
        ("vae", "data", NONE, "[data] needs one of world_clips, world_images, natural_clips, natural_images."),
        ("vae", "modle", {}, "A config for vae has no table [modle]; it knows [model], [data], [loop]."),
        ("vae", "lop", {}, "A config for vae has no table [lop]; it knows [model], [data], [loop]."),
        ("dit", "model", {"heads": 0}, "[model] heads must be at least 1, not 0."),
        ("dit", "text", {"heads": 3}, "[text] width 16 must be a multiple of heads 3."),
        ("dit", "data", {"packs": 3}, "[data] packs must be a list, not 3."),
        ("dit", "data", {"packs": []}, "[data] worlds need at least one pack, [[data.packs]]."),
        ("dit", "data", {"packs": [{}]}, "[[data.packs]] lacks the setting 'parts'."),
        ("dit", "data", {"packs": [{"parts": []}]}, "[[data.packs]] needs parts."),
        ("dit", "data", {"packs": [{"parts": [[1, 5, 32]]}]}, "[[data.packs]] parts must be lists of clips, frames, "),
        ("dit", "data", {"packs": [{"parts": [[1, 5, 32, "x"]]}]}, "[[data.packs]] parts must be lists of clips, "),
        ("dit", "data", {"packs": [{"parts": [[0, 5, 32, 32]]}]}, "[[data.packs]] clips must be at least 1, not 0."),
        ("dit", "data", {"packs": [{"parts": PARTS, "weight": 0}]}, "[[data.packs]] weight must be above 0"),
        ("dit", "data", {"packs": [{"parts": PARTS, "start": 1.0}]}, "[[data.packs]] start and end must be "),
        ("dit", "data", {"packs": [{"parts": PARTS, "facts": -1}]}, "[[data.packs]] facts must be at least 0, not -1."),
        ("dit", "data", {"packs": [{"parts": PARTS, "lesson": "x"}]}, "[[data.packs]] lesson must be order or way or "),
        ("dit", "data", {"packs": [{"parts": [[1, 1, 32, 32]], "lesson": "way"}]}, "[[data.packs]] lesson way needs "),
        (
            "dit",
            "data",
            {"packs": [{"parts": [[1, 1, 32, 32]], "lesson": "spin"}]},
            "[[data.packs]] lesson spin needs ",
        ),
    ],
)
def test_a_setting_that_cannot_be_is_named(kind, table, settings, says, config):
    tables = read_config(config(kind))
    if isinstance(settings, dict):
        changed = tables.get(table, {}) | settings
        settings = {name: value for name, value in changed.items() if value is not None}
    with pytest.raises(UserError) as error:
        plan(kind, tables | {table: settings})
    assert str(error.value).startswith(says)


@pytest.mark.parametrize("name, own", [("channels", "channels = 4"), ("text_width", "text_width = 16")])
def test_a_transformer_that_does_not_suit_the_other_networks(name, own, config, tmp_path):
    path = config("dit")
    path.write_text(path.read_text().replace(own, f"{name} = 8"))
    with pytest.raises(UserError, match=rf"\[model\] {name} must be {own.split()[-1]}, .* not 8"):
        main("dit", path, out=tmp_path / "run")


@pytest.mark.parametrize("path", sorted((ROOT / "configs").glob("*.toml")), ids=lambda path: path.stem)
def test_the_configs_that_come_along_can_be_read(path):
    assert plan(path.stem, read_config(path))[1].steps > 1000


def test_a_config_that_does_not_suit_leaves_no_folder(config, tmp_path):
    path = config("dit")
    path.write_text(path.read_text().replace("channels = 4", "channels = 8"))
    with pytest.raises(UserError, match="must be 4"):
        main("dit", path, out=tmp_path / "run")
    (tmp_path / "mine").mkdir()
    with pytest.raises(UserError, match="must be 4"):
        main("dit", path, out=tmp_path / "mine")
    assert not (tmp_path / "run").exists() and (tmp_path / "mine").exists()


@pytest.mark.parametrize(
    ("table", "before", "after"),
    [("[model] patch", "patch = [1, 2, 2]", "patch = [4, 1, 1]"), ("[text] merges", "merges = 20", "merges = 10")],
)
def test_a_run_is_not_resumed_as_another(table, before, after, config, tmp_path):
    """Where every tensor would fit, too."""
    path = config("dit")
    main("dit", path, out=tmp_path / "run", minutes=1e-9)
    made = (tmp_path / "run" / "dit.safetensors").read_bytes()
    path.write_text(path.read_text().replace(before, after))
    with pytest.raises(UserError, match=rf"^{re.escape(table)} was .* in this run and is .* now: "):
        main("dit", path, out=tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "dit.safetensors").read_bytes() == made


def test_a_run_is_not_resumed_on_the_latents_of_another_codec(config, tmp_path, caplog):
    main("dit", config("dit"), out=tmp_path / "run", minutes=1e-9)
    main("vae", config("vae"), out=tmp_path / "codec", minutes=1e-9)
    other = {"dit": WORLDS["dit"].replace("'{vae}'", f"'{tmp_path / 'codec/vae.safetensors'}'")}
    with pytest.raises(UserError, match="another codec than the one whose latents this run has learnt"):
        main("dit", config("dit", other), out=tmp_path / "run", resume=True)
    assert not caplog.records
    begun = config("dit", other, loop=f"init = '{tmp_path / 'run/dit.safetensors'}'")
    main("dit", begun, out=tmp_path / "anew", minutes=1e-9)  # to begin with its weights is another thing, but said
    assert "has learnt the latents of another codec" in caplog.text


def test_the_weights_of_a_run_are_not_written_over(config, tmp_path):
    path = config("vae")
    main("vae", path, out=tmp_path / "run", minutes=1e-9)
    (tmp_path / "run" / "state.safetensors").unlink()
    made = (tmp_path / "run" / "vae.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"holds the weights of a run, vae\.safetensors, without the state"):
        main("vae", path, out=tmp_path / "run")
    assert (tmp_path / "run" / "vae.safetensors").read_bytes() == made


@pytest.mark.parametrize("damage", [lambda data: b"", lambda data: data[:-9], lambda data: data[: len(data) // 2]])
def test_a_damaged_state_is_one_sentence(damage, config, tmp_path):
    path, state = config("vae"), tmp_path / "run" / "state.safetensors"
    main("vae", path, out=tmp_path / "run", minutes=1e-9)
    state.write_bytes(damage(state.read_bytes()))
    with pytest.raises(UserError, match=r"state\.safetensors is damaged \("):
        main("vae", path, out=tmp_path / "run", resume=True)
    state.write_bytes((tmp_path / "run" / "vae.safetensors").read_bytes())
    with pytest.raises(UserError, match=r"state\.safetensors is no state of a training"):
        main("vae", path, out=tmp_path / "run", resume=True)


def test_clips_that_turn_out_to_be_damaged(config, folder, tmp_path):
    """Their header reads well; the rest is noticed as they are learnt from, and named in skipped.txt."""
    (tmp_path / "clips").mkdir()
    whole = (folder / "a.mp4").read_bytes()
    (tmp_path / "clips" / "bad.mp4").write_bytes(whole[: len(whole) * 2 // 3].ljust(len(whole), b"\0"))
    with pytest.raises(UserError, match="none of the clips can be read; they are damaged"):
        main("vae", config("vae", FILES, folder=tmp_path / "clips"), out=tmp_path / "none")
    (tmp_path / "clips" / "fine.mp4").write_bytes(whole)
    main("vae", config("vae", FILES, folder=tmp_path / "clips"), out=tmp_path / "run")
    assert (tmp_path / "run" / "skipped.txt").read_text().startswith("bad.mp4\t")


def test_results_are_not_written_among_what_is_learnt_from(config, folder, tmp_path):
    for out in (folder, folder / "runs" / "a"):
        with pytest.raises(UserError, match="which is learnt from: choose another --out"):
            main("vae", config("vae", FILES, folder=folder), out=out)
    assert not (folder / "runs").exists() and not (folder / "vae.safetensors").exists()


def test_a_checkpoint_of_files_is_at_home_at_the_size_that_most_of_them_have(config, folder, tmp_path):
    (tmp_path / "clips").mkdir()
    for number in range(8):  # first by name, and of fewer tokens than the clips
        (tmp_path / "clips" / f"a{number}.webp").write_bytes((folder / "d.webp").read_bytes())
    for name in ("v.mp4", "w.mp4", "x.mp4", "y.mp4", "z.mp4"):
        (tmp_path / "clips" / name).write_bytes((folder / "a.mp4").read_bytes())
    main("dit", config("dit", FILES, folder=tmp_path / "clips"), out=tmp_path / "run", minutes=1e-9)
    size = load(tmp_path / "run" / "dit.safetensors").card["size"]
    assert (size["frames"], size["height"], size["width"]) == (5, 24, 32)


def test_gradients_that_are_not_clipped_are_learnt_from(config, tmp_path):
    path = config("vae", loop="clip = 0")
    main("vae", path, out=tmp_path / "run", minutes=1e-9)
    before = load_file(tmp_path / "run" / "state.safetensors")
    main("vae", path, out=tmp_path / "run", resume=True)
    after = load_file(tmp_path / "run" / "state.safetensors")
    assert any(not torch.equal(after[name], value) for name, value in before.items() if name.startswith("model."))


def test_a_finished_run_says_that_nothing_is_left_to_do(config, tmp_path, caplog):
    main("vae", config("vae"), out=tmp_path / "run")
    assert not caplog.records
    main("vae", config("vae"), out=tmp_path / "run", resume=True)
    assert f"has taken {STEPS} steps: raise steps in [loop] to go on" in caplog.text


def test_the_last_step_of_a_sitting_is_in_the_log(config, tmp_path, monkeypatch):
    path = config("vae")
    path.write_text(path.read_text().replace("log_every = 1", "log_every = 100"))
    monkeypatch.setattr(Loop, "_any", lambda self, here: self.step >= 3)  # the minutes are over
    main("vae", path, out=tmp_path / "run", minutes=1)
    assert [row["step"] for row in rows(tmp_path / "run")] == [3]


def test_the_last_step_is_in_the_log(config, tmp_path):
    path = config("vae")
    path.write_text(path.read_text().replace("log_every = 1", "log_every = 4"))
    main("vae", path, out=tmp_path / "run")
    assert [row["step"] for row in rows(tmp_path / "run")] == [*range(4, STEPS, 4), STEPS]
    assert (tmp_path / "run" / "curves.png").exists()


def test_an_interrupted_training_says_that_it_can_go_on(config, tmp_path):
    code = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    code += "import sora_core.cli as cli; sys.exit(cli.main(sys.argv[1:]))"
    path = config("vae")
    path.write_text(path.read_text().replace(f"steps = {STEPS}", "steps = 100000"))
    running = child(code, "train", "vae", "--config", path, "--out", tmp_path / "run")
    while not rows(tmp_path / "run") and running.poll() is None:
        time.sleep(0.005)
    running.send_signal(signal.SIGINT)
    error = running.communicate(timeout=60)[1]
    assert running.returncode == 130, error
    says = f"sora: interrupted; the run is kept in {tmp_path / 'run'}, and --resume continues it."
    assert error.splitlines()[-1] == says
    assert (tmp_path / "run" / "state.safetensors").exists()


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has it")
def test_a_log_on_a_full_disk_is_one_sentence(config, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "log.jsonl").symlink_to("/dev/full")
    with pytest.raises(UserError, match=r"log\.jsonl could not be written: the disk is full"):
        main("vae", config("vae"), out=tmp_path / "run")
