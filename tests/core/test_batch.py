"""What `sora batch` does without a host: workflow files, tables, names, the place of the results, and bad input."""

import json
import os
import struct
import subprocess
import sys
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from types import SimpleNamespace

import fsspec
import pyarrow
import pyarrow.parquet
import pytest
import requests

from sora_core.batch import run, table, workflow
from sora_core.batch.client import Client, HostGone, Result, WorkflowError, read_binary
from sora_core.batch.host import free_port
from sora_core.batch.store import DONE, FAILED, QUEUED, Record, Store
from sora_core.cli import main
from sora_core.cli.batch import what_now
from sora_core.errors import UserError

ROOT = Path(__file__).parents[2]
INFO = {  # as a host declares its nodes
    "Load": {"input": {"required": {"file": [["a", "b"], {}]}}},
    "Round": {"input": {"required": {"to": ["COMBO", {"options": [8, 16]}], "by": [[0.5, "half"], {}]}}},
    "Sample": {
        "input": {
            "required": {
                "model": ["MODEL", {}],
                "seed": ["INT", {"control_after_generate": True}],
                "cfg": ["FLOAT", {}],
                "soft": ["BOOLEAN", {}],
            },
            "optional": {"note": ["STRING", {}], "strength": ["FLOAT", {"forceInput": True}]},
        }
    },
    "Save": {
        "input": {
            "required": {
                "images": ["IMAGE", {}],
                "format": [
                    "COMFY_DYNAMICCOMBO_V3",
                    {
                        "options": [
                            {"key": "png", "inputs": {"required": {"level": ["INT", {}]}}},
                            {"key": "jpg", "inputs": {"required": {"quality": ["INT", {}], "sub": ["COMBO", {}]}}},
                        ]
                    },
                ],
                "prefix": ["STRING", {}],
            }
        }
    },
    "Filter": {"input": {"required": {"model": ["MODEL", {}], "image": ["IMAGE", {}]}}},
}


def node(id, type, inputs=(), outputs=(), values=(), **more) -> dict:
    """A node of a saved file; inputs are (name, type, link), outputs types."""
    sockets = [{"name": name, "type": kind, "link": link} for name, kind, link in inputs]
    return {
        "id": id,
        "type": type,
        "inputs": sockets,
        "outputs": [{"type": kind} for kind in outputs],
        "widgets_values": list(values),
    } | more


def saved(nodes, links, subgraphs=()) -> dict:
    return {"nodes": nodes, "links": links, "definitions": {"subgraphs": list(subgraphs)}}


SAMPLE = [7, "randomize", 2.5, True, "hello"]


# ---------------------------------------------------------------------------------------------------------- workflows


def test_widget_values_go_to_their_inputs_and_links_win():
    api = workflow.to_api(
        saved(
            [
                node(1, "Load", outputs=["MODEL"], values=["b"], title="The model"),
                node(2, "Sample", [("model", "MODEL", 1), ("cfg", "FLOAT", 2)], ["IMAGE"], SAMPLE),
                node(3, "PrimitiveNode", outputs=["FLOAT"], values=[4.5, "fixed"]),
                node(4, "MarkdownNote", values=["read me"]),
            ],
            [[1, 1, 0, 2, 0, "MODEL"], [2, 3, 0, 2, 1, "FLOAT"]],
        ),
        INFO,
    )
    assert api["1"] == {"class_type": "Load", "inputs": {"file": "b"}, "_meta": {"title": "The model"}}
    assert api["2"]["inputs"] == {"model": ["1", 0], "seed": 7, "cfg": 4.5, "soft": True, "note": "hello"}
    assert set(api) == {"1", "2"}


def test_a_choice_brings_inputs_of_its_own():
    values = workflow.widget_values(node(1, "Save", values=["jpg", 80, "4:2:0", "out"]), INFO["Save"])
    assert values == {"format": "jpg", "format.quality": 80, "format.sub": "4:2:0", "prefix": "out"}
    values = workflow.widget_values(node(1, "Save", values=["png", 4, "out"]), INFO["Save"])
    assert values == {"format": "png", "format.level": 4, "prefix": "out"}


def test_an_input_that_is_newer_than_the_file_has_its_default():
    newer = {"Load": {"input": {"required": {"file": [["a", "b"], {}], "bits": ["INT", {"default": 8}]}}}}
    newer["Load"]["input"]["optional"] = {"mode": ["COMBO", {"options": ["x", "y"]}], "image": ["IMAGE", {}]}
    assert workflow.widget_values(node(1, "Load", values=["b"]), newer["Load"]) == {"file": "b", "bits": 8, "mode": "x"}


def test_reroutes_bypassed_and_muted_nodes():
    nodes = [
        node(1, "Load", outputs=["MODEL"], values=["b"]),
        node(2, "Reroute", [("", "*", 1)], ["MODEL"]),
        # Bypassed: a MODEL goes in second and comes out first, an IMAGE the other way round.
        node(3, "Filter", [("image", "IMAGE", None), ("model", "MODEL", 2)], ["MODEL", "IMAGE"], mode=4),
        node(4, "Sample", [("model", "MODEL", 3), ("cfg", "FLOAT", 5)], ["IMAGE"], SAMPLE),
        node(5, "Sample", outputs=["FLOAT"], values=SAMPLE, mode=2),
        node(6, "Save", [("images", "IMAGE", 6)], values=["png", 4, "x"]),
    ]
    links = [
        [1, 1, 0, 2, 0, "MODEL"],
        [2, 2, 0, 3, 1, "MODEL"],
        [3, 3, 0, 4, 0, "MODEL"],
        [5, 5, 0, 4, 1, "FLOAT"],
        [6, 3, 1, 6, 0, "IMAGE"],
    ]
    api = workflow.to_api(saved(nodes, links), INFO)
    assert set(api) == {"1", "4", "6"}
    assert api["4"]["inputs"]["model"] == ["1", 0]  # through the reroute and the bypassed node
    assert api["4"]["inputs"]["cfg"] == 2.5  # nothing comes from a muted node: the widget's value stays
    assert "images" not in api["6"]["inputs"]  # nothing comes through either


@pytest.mark.parametrize(
    ("links", "lost"),
    [([], "link 3"), ([[3, 9, 0, 2, 0, "MODEL"]], "node 9 behind link 3"), ([[1, 1, 0, 2, 0, "MODEL"]], "link 3")],
)
@pytest.mark.parametrize("over", [{}, {"type": "Reroute"}])
def test_a_link_that_is_missing_is_named(links, lost, over):
    nodes = [
        node(1, "Load", outputs=["MODEL"], values=["b"]),
        node(2, "Sample", [("model", "MODEL", 3)], ["MODEL"], SAMPLE) | over,
        node(4, "Sample", [("model", "MODEL", 5)], ["IMAGE"], SAMPLE),
    ]
    kind = over.get("type", "Sample")
    said = rf"^The input 'model' of the node 2 \({kind}\) needs {lost}, which the workflow lacks: connect it again"
    with pytest.raises(UserError, match=said):
        workflow.to_api(saved(nodes, [*links, [5, 2, 0, 4, 0, "MODEL"]]), INFO)


def test_a_subgraph_inside_a_subgraph_is_laid_open():
    inner = {
        "id": "inner",
        "nodes": [node(8, "Sample", [("model", "MODEL", 1)], ["IMAGE"], SAMPLE)],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 8, "target_slot": 0, "type": "MODEL"},
            {"id": 2, "origin_id": 8, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "IMAGE"},
        ],
    }
    outer = {
        "id": "outer",
        "nodes": [
            node(5, "inner", [("model", "MODEL", 1)], ["IMAGE"]),
            node(6, "inner", [("model", "MODEL", 3)], ["IMAGE"]),
        ],
        "links": [
            {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 5, "target_slot": 0, "type": "MODEL"},
            {"id": 3, "origin_id": -10, "origin_slot": 0, "target_id": 6, "target_slot": 0, "type": "MODEL"},
            {"id": 2, "origin_id": 6, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "IMAGE"},
        ],
    }
    nodes = [
        node(1, "Load", outputs=["MODEL"], values=["a"]),
        node(2, "outer", [("model", "MODEL", 1)], ["IMAGE"]),
        node(3, "Save", [("images", "IMAGE", 2)], values=["png", 4, "x"]),
    ]
    links = [[1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 3, 0, "IMAGE"]]
    api = workflow.to_api(saved(nodes, links, [outer, inner]), INFO)
    assert set(api) == {"1", "2:5:8", "2:6:8", "3"}
    assert api["2:5:8"]["inputs"]["model"] == api["2:6:8"]["inputs"]["model"] == ["1", 0]
    assert api["3"]["inputs"]["images"] == ["2:6:8", 0]


@pytest.fixture
def api():
    sampler = node(1, "Sample", values=SAMPLE, title="First. One")
    return workflow.to_api(saved([sampler, node(2, "Save", values=["jpg", 80, "4:2:0", "x"])], []), INFO)


@pytest.mark.parametrize(
    ("name", "value", "where", "stored"),
    [
        ("1.seed", "12", ("1", "seed"), 12),
        ("First. One.seed", 12.0, ("1", "seed"), 12),
        ("Sample.cfg", "3", ("1", "cfg"), 3.0),
        ("Sample.soft", "False", ("1", "soft"), False),
        ("Sample.note", 5, ("1", "note"), "5"),
        ("Sample.strength", 0.5, ("1", "strength"), 0.5),
        ("Save.format.quality", "70", ("2", "format.quality"), 70),
    ],
)
def test_inputs_are_set_by_id_title_or_class_with_the_declared_type(api, name, value, where, stored):
    workflow.set_input(api, INFO, name, value)
    now = api[where[0]]["inputs"][where[1]]
    assert now == stored and type(now) is type(stored)


@pytest.mark.parametrize(
    ("name", "value", "stored"),
    [("to", "16", 16), ("to", 8, 8), ("to", "7", "7"), ("by", "0.5", 0.5), ("by", "half", "half")],
)
def test_a_menu_of_numbers_is_set_from_text(name, value, stored):
    api = {"1": {"class_type": "Round", "inputs": {}}}
    workflow.set_input(api, INFO, f"Round.{name}", value)
    now = api["1"]["inputs"][name]
    assert now == stored and type(now) is type(stored)


def test_dates_and_decimals_of_parquet_become_what_json_knows(api, tmp_path):
    rows = [{"day": date(2026, 1, 31), "cfg": Decimal("2.50")}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
    (cells,) = table.read(tmp_path / "t.parquet")
    for name, column in (("Sample.note", "day"), ("Save.format.sub", "day"), ("Sample.cfg", "cfg")):
        workflow.set_input(api, INFO, name, cells[column])
    with pytest.raises(UserError, match=r"Sample.seed takes a whole number, not '2.50'"):
        workflow.set_input(api, INFO, "Sample.seed", cells["cfg"])
    assert api["1"]["inputs"]["note"] == api["2"]["inputs"]["format.sub"] == "2026-01-31"
    assert json.loads(json.dumps(api)) == api and api["1"]["inputs"]["cfg"] == 2.5


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("Sampler.seed", 1, "The workflow has no node 'Sampler'; it has 1 (First. One), 2 (Save)."),
        ("seed", 1, "'seed' names no input: write NODE.INPUT"),
        ("1.steps", 1, "The node 1 (First. One) has no input 'steps'; it has model, seed, cfg, soft, note, strength."),
        ("Save.format.level", 1, "has no input 'format.level'"),
        ("1.seed", "many", "1.seed takes a whole number, not 'many'."),
        ("1.seed", 1.5, "1.seed takes a whole number, not '1.5'."),
        ("1.seed", True, "1.seed takes a whole number, not 'True'."),
        ("1.seed", "", "1.seed takes a whole number, not ''."),
        ("1.cfg", "nan", "1.cfg takes a number, not 'nan'."),
        ("1.cfg", float("inf"), "1.cfg takes a number, not 'inf'."),
        ("1.soft", "maybe", "1.soft takes true or false, not 'maybe'."),
        ("1.note", ["2", 0], "1.note takes text, not"),
        ("Save.format", {"a": 1}, "Save.format takes text, not"),
    ],
)
def test_what_cannot_be_set(api, name, value, said):
    before = json.dumps(api)
    with pytest.raises(UserError) as told:
        workflow.set_input(api, INFO, name, value)
    assert said in str(told.value) and json.dumps(api) == before


def test_a_title_that_two_nodes_have_is_refused():
    api = workflow.to_api(saved([node(1, "Sample", values=SAMPLE), node(4, "Sample", values=SAMPLE)], []), INFO)
    with pytest.raises(UserError, match=r"Several nodes are called 'Sample': name one by its id \(1, 4\)"):
        workflow.set_input(api, INFO, "Sample.seed", 1)


def test_a_node_that_the_host_lacks():
    for graph in (saved([node(1, "Fancy")], []), {"1": {"class_type": "Fancy", "inputs": {}}}):
        with pytest.raises(UserError, match="The host has no node Fancy"):
            workflow.to_api(graph, INFO)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "it is not JSON"),
        (b"\xff\xfe", "it is not JSON"),
        (b"[]", "save one in ComfyUI"),
        (b"{}", "save one in ComfyUI"),
        (b'{"1": {"inputs": {}}}', "save one in ComfyUI"),
        (b'{"1": {"class_type": "A", "inputs": {"x": NaN}}}', "it holds NaN"),
    ],
)
def test_files_that_are_no_workflow(tmp_path, content, said):
    path = tmp_path / "w.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=said):
        workflow.read(path)


# ------------------------------------------------------------------------------------------------------------- tables


def test_the_three_kinds_of_table_hold_the_same(tmp_path):
    rows = [{"text": 'a "red", ball', "seed": 1}, {"text": "ein grüner Stern", "seed": 2}]
    (tmp_path / "t.csv").write_text('text,seed\n"a ""red"", ball",1\nein grüner Stern,2\n', encoding="utf-8-sig")
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
    assert table.read(tmp_path / "t.csv") == [row | {"seed": str(row["seed"])} for row in rows]
    assert table.read(tmp_path / "t.jsonl") == table.read(tmp_path / "t.parquet") == rows


def test_columns_without_a_name_are_left_out(tmp_path):
    (tmp_path / "t.csv").write_text(",text,\n0,a ball,\n1,a star,\n")  # by pandas, and by a spreadsheet
    assert table.read(tmp_path / "t.csv") == [{"text": "a ball"}, {"text": "a star"}]


def test_names_are_short_in_any_alphabet():
    assert table.safe_name("星" * 80) == "星" * 26 and table.safe_name("a" * 100) == "a" * 80


def test_json_lines_end_where_json_says(tmp_path):
    """Unicode knows more line ends than JSON, which allows these inside a string."""
    rows = [{"text": "a red\u2028ball\u2029by\u0085night"}, {"text": "a blue star"}]
    lines = [json.dumps(row, ensure_ascii=False) for row in rows]
    (tmp_path / "t.jsonl").write_bytes("\r\n".join(lines).encode())
    assert table.read(tmp_path / "t.jsonl") == rows


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.xlsx", b"", r"its name must end in \.csv, \.jsonl, \.parquet"),
        ("missing.csv", None, "no such file or directory"),
        ("t.csv", b"", "has no rows"),
        ("t.csv", b"a,b\n", "has no rows"),
        ("t.csv", b"a,b\n1,2,3\n", "Row 1 of .* has more cells"),
        ("t.csv", b'a,b\n"1,2\n', "cannot be read"),
        ("t.csv", b"a\n\xff\xff\n", "UTF-8"),
        ("t.jsonl", b'{"a": 1}\n{"a": \n', "Line 2 of .* is not JSON"),
        ("t.jsonl", b'{"a": 1}\n{"a": "ball \\ud83d"}\n', r"Line 2 of .* has a lone surrogate, '\\ud83d'"),
        ("t.jsonl", b"[1, 2]\n", "Line 1 of .* is not a JSON object"),
        ("t.parquet", b"PAR1 but not really", "is not a Parquet file"),
    ],
)
def test_tables_that_cannot_be_read(tmp_path, name, content, said):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        table.read(tmp_path / name)


def test_parquet_without_its_package_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "t.parquet").touch()
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"needs pyarrow: pip install '\.\[batch\]' in a clone"):
        table.read(tmp_path / "t.parquet")


def test_templates_keep_a_single_cells_type_and_fill_in_text():
    cells = [{"seed": 5, "text": "a {red} ball"}]
    (row,) = table.jobs(cells, {}, {"a.b": "{seed}", "a.c": "{{x}} {text}, {seed:03d}, {row}"}, {}, "{row:05d}")
    assert row.settings == {"a.b": 5, "a.c": "{x} a {red} ball, 005, 1"}
    assert row.name == "00001"


@pytest.mark.parametrize(
    ("template", "name", "said"),
    [
        ("{sed}", "{row}", "Row 2 has no value for 'sed'; it has row, seed."),
        ("{text}", "{row}", "Row 2 has no value for 'text'"),
        ("{seed:05.2d}", "{row}", "Row 1: 5 cannot be written as"),
        ("x", "same", "Rows 1 and 2 would both be called 'same'"),
        ("x", "../{row}", "Row 1 would be called '../1', which is no file name"),
        ("x", "/etc/{row}", "which is no file name"),
    ],
)
def test_rows_that_make_no_job(template, name, said):
    cells = [{"seed": 5, "sed": 1, "text": "x"}, {"seed": 6}]
    with pytest.raises(UserError) as told:
        table.jobs(cells, {}, {"a.b": template}, {}, name)
    assert said in str(told.value)


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "a-1"], "Rows 1 and 2 could both make a file called 'a-1'"),
        (["a-12", "b", "a"], "Rows 3 and 1 could both make a file called 'a-12'"),
        (["Ball", "ball"], "Rows 1 and 2 would both be called 'ball'"),
        (["a", "a-01"], "Rows 1 and 2 could both make a file called 'a-01'"),
        (["a", "a-b", "b-1", "a1"], None),
    ],
)
def test_no_two_rows_can_make_the_same_file(names, said):
    """The files of a row that makes several are called NAME-1 or NAME-01, ...; some systems do not tell A from a."""
    cells = [{"text": name} for name in names]
    if said is None:
        assert [row.name for row in table.jobs(cells, {}, {}, {}, "{text}")] == names
        return
    with pytest.raises(UserError) as told:
        table.jobs(cells, {}, {}, {}, "{text}")
    assert said in str(told.value) and "--name" in str(told.value)


def test_cells_cannot_lead_a_name_out_of_the_folder():
    cells = [{"text": text} for text in ("../../etc/passwd", "/root/x", "a\\b:c*?", "..", "x\0\n" + "y" * 500, "")]
    names = [row.name for row in table.jobs(cells, {}, {}, {}, "{row} {text}")]
    assert names[:4] == ["1 .._.._etc_passwd".replace(" ..", " "), "2 _root_x", "3 a_b_c_", "4 _"]
    assert all("/" not in name and len(name) < 100 for name in names) and names[5] == "6 _"


@pytest.mark.parametrize("text", ["Prompt.text", "seed={seed}", "a.b={", "a.b=}", "=x"])
def test_settings_that_set_nothing(text):
    with pytest.raises(UserError):
        table.assignments([text])


def test_an_input_set_twice():
    with pytest.raises(UserError, match=r"a\.b is set twice"):
        table.assignments(["a.b=1", "a.b=2"])


def test_whatever_decides_about_a_result_changes_the_digest():
    def digest(cell=1, graph="g", template="{c}", upload="f"):
        (row,) = table.jobs([{"c": cell}], {"g": graph}, {"a.b": template}, {"a.u": f"memory://{upload}"}, "{row}")
        return row.digest

    changed = [digest(), digest(cell=2), digest(graph="h"), digest(template="{c}!"), digest(upload="e")]
    assert len(set(changed)) == len(changed) and digest() == changed[0]


def test_a_photo_that_was_edited_under_its_name_is_another_job(tmp_path):
    def job(path) -> table.Row:
        (row,) = table.jobs([{"photo": str(path)}], {}, {}, {"a.image": "{photo}"}, "{row}")
        return row

    photo, copy, store = tmp_path / "photo.png", tmp_path / "copy.png", Store(str(tmp_path / "out"))
    photo.write_bytes(b"before")
    copy.write_bytes(b"before")
    made = job(photo)
    assert job(photo) == made and job(copy).digest == made.digest
    with store.writing("1.png") as file:
        file.write(b"")
    store.keep(Record(1, made.digest, {}, DONE, files=[{"file": "1.png"}]))
    assert run.remaining([made], store) == []
    photo.write_bytes(b"edited")
    with pytest.raises(UserError, match=r"Row 1 in .* was made from another .* or uploaded file"):
        run.remaining([job(photo)], store)
    photo.unlink()
    with pytest.raises(UserError, match=r"Row 1: .*photo\.png cannot be read, so it cannot be uploaded\.$"):
        job(photo)
    assert job("memory://nowhere.png").digest != made.digest  # what lies elsewhere is not fetched for this


# ------------------------------------------------------------------------------------------------ results and records


@pytest.fixture(params=["folder", "memory"])
def store(request, tmp_path):
    """A folder of the name that globbing would misread, and an object store."""
    return Store(str(tmp_path / "a [b] *") if request.param == "folder" else f"memory://{tmp_path}")


def test_records_come_back_as_they_were(store):
    store.check()
    assert store.records() == {} and store.record(3) is None
    record = Record(3, "d", {"a.b": "ü"}, DONE, files=[{"file": "3.png"}], prompt_id="p", seed=[1, 2])
    store.keep(record)
    assert store.records() == {3: record} and store.record(3) == record


def test_a_file_appears_whole_or_not_at_all(store):
    store.check()
    with pytest.raises(KeyboardInterrupt), store.writing("below/x.bin") as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert not store.exists("below/x.bin")
    with store.writing("below/x.bin") as file:
        file.write(b"whole")
    assert store.exists("below/x.bin") and store.fs.cat_file(store._path("below/x.bin")) == b"whole"


def test_parts_of_killed_writers_are_not_records_but_strange_ones_are_refused(tmp_path):
    store = Store(str(tmp_path))
    (tmp_path / "manifest" / ".00001.0123abcd.sora-part").mkdir(parents=True)
    (tmp_path / "manifest" / ".00001.0123abcd.sora-part" / "00001.json").write_text('{"ro')
    assert store.records() == {}
    (tmp_path / "manifest" / "00001.json").write_text("{}")
    with pytest.raises(UserError, match="is not a record of a row"):
        store.records()


def test_rows_with_a_result_are_left_alone_and_others_are_not(tmp_path):
    store = Store(str(tmp_path / "out"))
    rows = table.jobs([{}] * 4, {}, {}, {}, "{row}")
    for row, state in ((rows[0], DONE), (rows[1], "failed"), (rows[2], DONE)):
        store.keep(Record(row.number, row.digest, {}, state, files=[{"file": f"{row.name}.png"}]))
    (tmp_path / "out" / "1.png").write_bytes(b"")  # the file of row 3 was deleted
    assert [row.number for row, _ in run.remaining(rows, store)] == [2, 3, 4]
    other = table.jobs([{}] * 4, {"another": "workflow"}, {}, {}, "{row}")
    with pytest.raises(UserError, match=r"Row 1 in .* was made from another workflow"):
        run.remaining(other, store)


@pytest.mark.parametrize(
    ("file", "name", "owner"),
    [
        ("cat.mp4", "Cat", 1),
        ("cat-1.png", "cat", 1),
        ("cat-1.png", "cat-1", 1),
        ("a/cat.mp4", "a//cat", 1),
        ("v1.5.mp4", "v1.5", 1),
        ("cat.mp4", "cat-1", None),
        ("cat.mp4", "a/cat", None),
    ],
)
def test_a_row_never_overwrites_the_result_of_another(store, file, name, owner):
    """Rows 1 and 2 have exchanged their names since row 1 was done; names are no part of a job."""
    store.check()
    with store.writing(file) as out:
        out.write(b"")
    rows = table.jobs([{"c": "dog"}, {"c": "x"}], {}, {}, {}, "{c}")
    rows[1] = table.Row(2, name, {}, {}, "d")
    store.keep(Record(1, rows[0].digest, {}, DONE, files=[{"file": file}]))
    if owner is None:
        assert [row.number for row, _ in run.remaining(rows, store)] == [2]
        return
    with pytest.raises(UserError, match=f"^Row 2 would be called '{name}', and row 1 in .* put {{row}} into --name"):
        run.remaining(rows, store)
    store.fs.rm(store._path(file))  # nothing is left to lose, and row 1 is made again under its new name
    assert [row.number for row, _ in run.remaining(rows, store)] == [1, 2]


def test_a_row_is_finished_while_its_job_is_the_same_and_its_files_are_there(store):
    store.check()
    with store.writing("1.png") as file:
        file.write(b"")
    record = Record(1, "d", {}, DONE, files=[{"file": "1.png"}])
    assert store.finished(record, "d") and not store.finished(record, "e") and not store.finished(None, "d")
    assert not store.finished(Record(1, "d", {}, QUEUED), "d")
    store.fs.rm(store._path("1.png"))
    assert not store.finished(record, "d")


def test_an_actor_makes_a_row_again_whose_file_is_gone(tmp_path):
    pytest.importorskip("ray")
    from sora_core.batch import cluster

    (row,), place = table.jobs([{}], {}, {}, {}, "{row}"), str(tmp_path / "out")
    actor = cluster.Actor({}, place, None, {})
    actor.worker = SimpleNamespace(run=lambda row, record: "made")
    done = Record(1, row.digest, {}, DONE, files=[{"file": "1.png"}])
    actor.store.keep(done)
    assert actor.run(row) == "made"
    (tmp_path / "out" / "1.png").touch()
    assert actor.run(row) == done


def test_a_row_that_is_given_up_has_a_record_of_its_own(tmp_path):
    pytest.importorskip("ray")
    from sora_core.batch import cluster

    (row,), store = table.jobs([{"c": 1}], {}, {"a.b": "{c}"}, {}, "{row}"), Store(str(tmp_path))
    store.keep(Record(1, "another", {"a.b": 0}, FAILED, error="refused", refused=True))
    given_up = Record(1, row.digest, {"a.b": 1}, FAILED, error="Its actor died 3 times.")
    assert cluster._given_up(store, row, 2) == given_up == store.record(1)
    done = Record(1, row.digest, {"a.b": 1}, DONE)  # the actor died between this and its answer
    store.keep(done)
    assert cluster._given_up(store, row, 2) == done == store.record(1)


def test_a_row_that_failed_may_be_mended(tmp_path):
    store = Store(str(tmp_path / "out"))
    rows, mended = (table.jobs([{"c": cell}], {}, {"a.b": "{c}"}, {}, "{row}") for cell in (1, 2))
    store.keep(Record(1, rows[0].digest, {}, "failed", refused=True))
    assert [row.settings for row, _ in run.remaining(mended, store)] == [{"a.b": 2}]


def test_uploaded_files_are_called_by_the_names_that_a_person_gave_them():
    files = {"a.image": "one.png", "b.image": "s3://x/two.png", "c.image": "one.png"}
    row, names = table.Row(1, "1", {}, files, "d"), {"a.image": "1f.png", "b.image": "2e.png", "c.image": "1f.png"}
    for said, told in (
        ("LoadImage: cannot read '/in/1f.png'.", "LoadImage: cannot read '/in/1f.png' (uploaded from one.png)"),
        ("1f.png and 2e.png differ", "1f.png and 2e.png differ (uploaded from one.png, s3://x/two.png)"),
        ("Out of memory.", "Out of memory."),
    ):
        assert run.with_sources(said, row, names) == told
    assert run.with_sources("1f.png", row, {}) == "1f.png"  # none was sent


def test_what_to_do_about_rows_that_failed():
    refused, failed = Record(1, "d", {}, "failed", refused=True), Record(2, "d", {}, "failed")
    mend = "mend the setting, its cell in the table or the workflow"
    assert what_now([failed]) == "the same command tries them again."
    assert what_now([refused]) == f"{mend}: the same would be refused again."
    assert what_now([refused, failed]).endswith(f"again, but 1 would be refused again: {mend}.")


class Locked(fsspec.AbstractFileSystem):
    """Refuses as s3fs does where there are no credentials: with an error that is no OSError, here without a text."""

    protocol, cachable = "locked", False
    error = type("NoCredentialsError", (Exception,), {})

    def _refuse(self, *_, **__):
        raise self.error

    ls = info = cat_file = makedirs = put_file = _open = _refuse


def test_an_object_store_without_credentials_is_one_sentence(monkeypatch):
    fsspec.register_implementation("locked", Locked, clobber=True)
    place, said = Store("locked://bucket/x"), r"^locked://bucket/x cannot be reached: NoCredentialsError\.$"
    for asked in (
        place.check,
        place.records,
        lambda: place.record(1),
        lambda: place.keep(Record(1, "d", {})),
        lambda: place.exists("x"),
    ):
        with pytest.raises(UserError, match=said):
            asked()
    monkeypatch.setattr(Locked, "__init__", Locked._refuse)
    with pytest.raises(UserError, match=r"^locked://other/x cannot be used: NoCredentialsError\.$"):
        Store("locked://other/x")
    with pytest.raises(UserError, match=r"^Row 3: locked://other/a\.png cannot be read"):
        table.opened("locked://other/a.png", 3)


@pytest.mark.parametrize("location", ["nosuch://bucket/x", "/dev/null/x", "/proc/x/y"])
def test_places_that_cannot_be_used(location):
    with pytest.raises(UserError):
        Store(location).check()


def test_a_check_leaves_nothing(tmp_path):
    for folder in (tmp_path, tmp_path / "out", tmp_path / "a" / "b"):
        Store(str(folder)).check()
        assert not list(tmp_path.iterdir())
    (tmp_path / "nowhere").symlink_to(tmp_path / "gone")
    (tmp_path / "file").touch()
    for name in ("nowhere", "file"):
        with pytest.raises(UserError, match=f"{name}.* could not be written: .*{name} is not a folder"):
            Store(str(tmp_path / name)).check()


# ------------------------------------------------------------------------------------------------------- the command


@pytest.fixture
def files(tmp_path):
    """(workflow, table) that would work."""
    graph = {"1": {"class_type": "EmptyImage", "inputs": {"color": 0}}}
    (tmp_path / "w.json").write_text(json.dumps(graph))
    (tmp_path / "t.csv").write_text("color\n1\n2\n")
    return str(tmp_path / "w.json"), str(tmp_path / "t.csv")


def test_nobody_at_the_address(files, tmp_path, capsys):
    asked = ["batch", files[0], "--table", files[1], "--out", str(tmp_path / "out")]
    assert main([*asked, "--host", f"http://127.0.0.1:{free_port()}"]) == 2
    assert "No ComfyUI answers at http://127.0.0.1:" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    for url in ("ftp://x", "http://"):
        assert main([*asked, "--host", url]) == 2
        assert "is not the address of a host" in capsys.readouterr().err


def answering(monkeypatch, client: Client, status: int, text: str = "{}") -> list[dict]:
    """Let this answer all that the client asks; returns what it will have sent."""
    answer, sent = requests.Response(), []
    answer.status_code, answer.reason, answer._content = status, "As Told", text.encode()
    monkeypatch.setattr(client._http, "request", lambda *_, **options: sent.append(options) or answer)
    return sent


@pytest.mark.parametrize("status", [502, 503, 504, 500])
def test_a_proxy_without_its_host_is_a_host_that_is_gone(monkeypatch, status):
    client = Client("http://127.0.0.1:1")
    answering(monkeypatch, client, status)
    with pytest.raises(WorkflowError if status == 500 else HostGone):
        client.queue({})
    assert (client.answered > 0) is (status == 500)  # patience goes on running out


def test_a_number_that_is_not_finite_is_said_of_the_workflow():
    with pytest.raises(UserError, match="holds a number that is not finite") as told:
        Client("http://127.0.0.1:1").queue({"1": {"class_type": "KSampler", "inputs": {"cfg": float("nan")}}})
    assert not isinstance(told.value, HostGone)


def test_an_upload_never_overwrites_what_a_job_may_be_reading(monkeypatch, tmp_path):
    client = Client("http://127.0.0.1:1")
    sent = answering(monkeypatch, client, 200, '{"name": "a (1).png"}')
    (tmp_path / "a.png").touch()
    assert client.upload(tmp_path / "a.png") == "a (1).png"
    assert "overwrite" not in sent[0].get("data", {})


@pytest.mark.parametrize(("value", "notes"), [("{color}", 0), ("7", 1)])
def test_rows_that_nothing_tells_apart_are_noted(files, tmp_path, capsys, value, notes):
    asked = [
        "batch",
        files[0],
        "--table",
        files[1],
        "--out",
        str(tmp_path / "out"),
        "--set",
        f"EmptyImage.color={value}",
    ]
    assert main([*asked, "--host", f"http://127.0.0.1:{free_port()}"]) == 2
    assert capsys.readouterr().err.count("note: the jobs of all 2 rows are alike") == notes


def test_somebody_else_at_the_address(files, tmp_path, capsys):
    port = free_port()
    line = [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1", "--directory", str(tmp_path)]
    server = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        client = Client(f"127.0.0.1:{port}")
        end = time.monotonic() + 30
        while time.monotonic() < end:
            try:
                client._request("GET", "/")
                break
            except HostGone:
                time.sleep(0.1)
        asked = ["batch", files[0], "--table", files[1], "--out", str(tmp_path / "out"), "--host", client.url]
        assert main(asked) == 2
        assert "is not a ComfyUI" in capsys.readouterr().err
    finally:
        server.terminate()
        server.wait()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--set", "EmptyImage"], "sets nothing: write NODE.INPUT=VALUE"),
        (["--set", "EmptyImage.color={colour}"], "Row 1 has no value for 'colour'; it has row, color."),
        (["--name", "x"], "Rows 1 and 2 would both be called 'x'"),
        (["--host", "http://a", "--host", "http://b"], "Several hosts"),
        (["--actors", "2"], "need a Ray cluster"),
        (["--ray", "local", "--host", "http://a", "--actors", "2"], "give one of the two"),
        (["--waiting", "0"], "at least 1"),
        (["--retries", "-1"], "--retries: must be at least 0, not -1"),
        (["--retries", "few"], "'few' is not a whole number"),
        (["--patience", "0"], "above 0"),
    ],
)
def test_what_is_asked_wrongly_is_told_before_anything_is_queued(files, tmp_path, capsys, more, said):
    assert main(["batch", files[0], "--table", files[1], "--out", str(tmp_path / "out"), *more]) == 2
    told = capsys.readouterr().err
    assert said in told and told.count("\n") == 1


def test_help_needs_none_of_the_extra_packages():
    probe = "import sys; sys.modules.update(dict.fromkeys(('requests', 'websockets', 'pyarrow', 'fsspec', 'ray')))\n"
    probe += "from sora_core.cli import main; main(['batch', '--help'])"
    done = subprocess.run([sys.executable, "-c", probe], cwd=ROOT, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0 and "--table" in done.stdout


def test_a_missing_package_is_named(files, tmp_path):
    probe = "import sys; sys.modules['requests'] = None\n"
    probe += "from sora_core.cli import main; sys.exit(main(sys.argv[1:]))"
    asked = ["batch", files[0], "--table", files[1], "--out", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", probe, *asked], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2 and "pip install '.[batch]' in a clone" in done.stderr


def test_what_was_saved_comes_before_previews():
    """A host tells of nodes in the order of their ends: a preview of the grid is there long before the film."""
    kinds = {"a.png": "temp", "b.png": "output", "c.mp4": "temp", "d.mp4": "output", "e.png": "output"}
    outputs = {
        name: {"images": [{"filename": name, "subfolder": "", "type": kind}], "animated": [True]}
        for name, kind in kinds.items()
    }
    found = Result(outputs)
    assert [item["filename"] for item in found.files()] == ["b.png", "d.mp4", "e.png", "a.png", "c.mp4"]
    assert [item["filename"] for item in found.files("mp4")] == ["d.mp4", "c.mp4"]


def test_binary_messages_are_told_apart():
    header = b'{"image_type": "image/jpeg"}'
    for message, wanted in (
        (struct.pack(">II", 1, 2) + b"PNG", ("preview", {"image": b"PNG"})),
        (struct.pack(">II", 4, len(header)) + header + b"JPG", ("preview", {"image": b"JPG"})),
        (
            struct.pack(">II", 3, 3) + b"5:1" + b"0:12 left",
            ("progress_text", {"node": "5:1", "text": "0:12 left"}),
        ),
    ):
        assert read_binary(message) == wanted
