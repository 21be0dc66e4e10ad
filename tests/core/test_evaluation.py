"""The evaluation: statistics, held-out cases, what each section measures, and the report."""

import json
import math
import sys

import pytest
import torch
from PIL import Image

from sora_core import evaluation
from sora_core.checkpoint import load, save
from sora_core.errors import UserError
from sora_core.evaluation import measures, report
from sora_core.evaluation.prompts import cases
from sora_core.evaluation.setting import Setting, held_out, judge, truth
from sora_core.grid import Grid
from sora_core.quality import psnr
from sora_core.worlds.scene import is_held_out


@pytest.mark.parametrize(
    "right, of, low, high", [(0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (81, 263, 0.2553, 0.3662), (0, 0, 0.0, 1.0)]
)
def test_wilson_interval(right, of, low, high):
    """Against published values (Newcombe 1998, table I, for 81 of 263)."""
    assert measures.wilson(right, of) == pytest.approx((low, high), abs=1e-4)


def test_shares_leave_out_what_does_not_arise():
    figure = measures.share("shape", [True, False, None, True, None], bar=60)
    assert (figure.value, figure.of, figure.met) == (pytest.approx(200 / 3), 3, True)
    assert measures.share("shape", [None, None], bar=60).met is None, "nothing measured is neither met nor missed"
    assert measures.share("shape", [True, False], bar=50.1).met is False


def test_all_four_needs_all_four():
    right = dict.fromkeys(("background", "colour", "shape", "motion", "count"), True)
    four = [{}, {"motion": False}, {"colour": None}, {"count": False}]
    assert [measures.with_all_four(right | change)["all four"] for change in four] == [True, False, None, True]


def test_means():
    figure = measures.mean("PSNR", [30.0, 34.0, math.inf], "dB", bar=50)
    assert (figure.value, figure.of, figure.met) == (pytest.approx(164 / 3), 3, True), "infinity counts as 100 dB"
    assert figure.low < figure.value < figure.high
    assert measures.mean("PSNR", []).value is None
    assert measures.mean("contrast", [250.0, 50.0], "% changed").value == 150


def test_cases_are_held_out_and_fewer_are_the_first_of_many():
    many = cases(30, 7)
    assert many[:5] == cases(5, 7)
    assert many != cases(30, 8)
    assert all(is_held_out(case.scene) for case in many)
    assert [case.seed for case in many] == list(range(7, 37)), "a batch counts its seeds on"
    assert len({case.prompt for case in many}) == 30
    assert {len(case.scene.things) for case in many} == {1, 2}
    flat = sum(case.scene.style == "flat" for case in many)
    assert 15 < flat < 30
    assert all(thing.motion == "still" for case in cases(10, 7, image=True) for thing in case.scene.things)


def test_the_truth_is_judged_right_and_another_clip_is_not():
    grid = Grid(17, 64, 64, 8.0)
    made = cases(8, 7)
    clips = truth(made, grid)
    figures = {figure.name: figure.value for figure in measures.shares(judge(made, clips))}
    assert figures["all four"] == 100 and figures["count"] == 100
    shuffled = {figure.name: figure.value for figure in measures.shares(judge(made, clips.roll(1, dims=0)))}
    assert shuffled["all four"] < 50 and shuffled["shape"] < 80


def setting(tmp_path, checkpoint, **more):
    return Setting(tmp_path, str(checkpoint), **more)


def test_batches_are_their_single_videos(tmp_path, tiny_checkpoint):
    runs = []
    for batch in (1, 3):
        one = setting(tmp_path, tiny_checkpoint, batch=batch, seed=5)
        grid = one.pipeline.grid()
        made = held_out(one, 4, grid)
        groups = list(one.generate(made, grid, "test"))
        assert [len(group) for group, _ in groups] == ([1] * 4 if batch == 1 else [3, 1])
        runs.append(torch.cat([clips for _, clips in groups]))
    assert runs[0].shape == (4, 3, 5, 32, 32)
    assert torch.allclose(*runs, atol=1e-4)


def test_animate_measures_the_codec_on_frame_0(tmp_path, tiny_checkpoint):
    """The first frame is kept, so what is lost there is what the codec loses on the picture alone."""
    one = setting(tmp_path, tiny_checkpoint, count=8, seed=5)
    result = evaluation.SECTIONS["animate"](one)
    grid = one.pipeline.grid()
    given = truth(held_out(one, 2, grid), grid)[:, :, :1]
    copy = torch.cat([copy for _, copy in one.codec.reconstruct([given])], dim=2)
    figure = result.tables["first frame"][0]
    assert figure.value == pytest.approx(float(psnr(given, copy).mean()), abs=1e-3)
    assert (figure.of, figure.bar) == (2, 30)


def test_the_whole_report(tmp_path, tiny_checkpoint):
    out = tmp_path / "new" / "folder"
    told = evaluation.run(out, tiny_checkpoint, count=4, batch=3, steps=1)
    assert json.loads((out / "report.json").read_text()) == json.loads(json.dumps(told))
    assert list(told["sections"]) == list(evaluation.SECTIONS)
    assert told["settings"]["steps"] == 1 and told["settings"]["cfg"] == 2.0, "the change, and the card's default"
    figures = {f["name"]: f for f in told["sections"]["text"]["tables"]["scorer"]}
    assert figures["shape"]["of"] == 4 and figures["shape"]["bar"] == 85
    assert figures["shape"]["low"] <= figures["shape"]["value"] <= figures["shape"]["high"]
    truths = {f["name"]: f["value"] for f in told["sections"]["clips"]["tables"]["scorer on originals"]}
    assert truths["shape"] == 100
    assert len(told["sections"]["sizes"]["tables"]) == 10
    text = (out / "report.md").read_text()
    assert "not met" in text, "an untrained network misses bars, and the report says so"
    pictures = ["bars.png", *(name for s in told["sections"].values() for name in s["sheets"].values())]
    for name in pictures:
        assert f"({name})" in text
        with Image.open(out / name) as image:
            assert min(image.size) > 20 and len(image.getcolors(1 << 24)) > 4
    assert not [path for path in out.iterdir() if "part" in path.name]


def test_a_share_of_nothing_is_reported_as_not_measured(tmp_path):
    figures = [measures.share("things", [None], bar=80), measures.share("others", [True, False])]
    written = report.write(tmp_path, {}, {"long": measures.Result("Long", "No thing was seen.", {"films": figures})})
    assert [row["value"] for row in written["sections"]["long"]["tables"]["films"]] == [None, 50]
    assert "not measured" in (tmp_path / "report.md").read_text()


def test_a_codec_alone_can_be_evaluated(tmp_path, tiny_checkpoint):
    alone = tmp_path / "vae.safetensors"
    save(alone, {"vae": load(tiny_checkpoint).vae})
    report = evaluation.run(tmp_path / "out", alone, count=2, only=["clips"])
    assert list(report["sections"]) == ["clips"] and "settings" not in report
    with pytest.raises(UserError, match="holds a codec only"):
        evaluation.run(tmp_path / "out", alone, count=2, only=["text"])


def test_photographs_need_scikit_image(tmp_path, tiny_checkpoint, monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    report = evaluation.run(tmp_path, tiny_checkpoint, only=["photographs"])
    figure = report["sections"]["photographs"]["tables"]["quality"][0]
    assert figure["value"] is None and figure["met"] is None
    assert "not measured" in (tmp_path / "report.md").read_text()


def test_photographs(tmp_path, tiny_checkpoint):
    pytest.importorskip("skimage")
    result = evaluation.SECTIONS["photographs"](setting(tmp_path, tiny_checkpoint, codec_only=True))
    each = result.tables["each"]
    assert len(each) >= 4
    assert result.tables["quality"][0].value == pytest.approx(sum(f.value for f in each) / len(each))


def test_what_cannot_be_evaluated(tmp_path, tiny_checkpoint):
    with pytest.raises(UserError, match=r"no section 'colours'.*clips, photographs, text"):
        evaluation.run(tmp_path, tiny_checkpoint, only=["colours"])
    with pytest.raises(UserError, match="at least 1"):
        evaluation.run(tmp_path, tiny_checkpoint, count=0)
    with pytest.raises(UserError, match="fp32 or bf16, not 'int8'"):
        evaluation.run(tmp_path, tiny_checkpoint, precision="int8")
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError):
        evaluation.run(tmp_path / "file" / "below", tiny_checkpoint, count=1)


def test_sections_that_a_checkpoint_is_not_enough_for(tiny_checkpoint, tmp_path, monkeypatch):
    """They are left out, and refused where they are asked for."""
    models = load(tiny_checkpoint)
    save(tmp_path / "codec.safetensors", {"vae": models.vae}, card={})
    card = {"size": {"width": 32, "height": 32, "frames": 1, "fps": 8.0}}
    save(tmp_path / "images.safetensors", {"vae": models.vae, "dit": models.dit, "text": models.text}, card=card)
    ran = []
    for name in evaluation.SECTIONS:
        empty = measures.Result(name, "", {}, {})
        monkeypatch.setitem(evaluation.SECTIONS, name, lambda setting, empty=empty: ran.append(empty.title) or empty)
    for name, holds, sections in (
        ("codec", "holds a codec only", {"clips", "photographs"}),
        ("images", "makes images", {"clips", "photographs", "image"}),
    ):
        ran.clear()
        path = tmp_path / f"{name}.safetensors"
        evaluation.run(tmp_path / "out", path, count=1)
        assert set(ran) == sections
        with pytest.raises(UserError, match=f"{holds}, too little for the section extend: choose from clips, "):
            evaluation.run(tmp_path / "out", path, count=1, only=["clips", "extend"])
