"""Damaged files of every kind that the engine opens are read or refused in a sentence: no crash, hang or flood.

The long run is `python -m tests.core.fuzzer --count 1000`.
"""

import io
import random
import struct
import sys
import zlib

import pytest
from PIL import Image

from sora_core.batch.workflow import to_api
from sora_core.errors import UserError
from tests.core import fuzzer

LINUX = pytest.mark.skipif(sys.platform != "linux", reason="limits the memory of a process as Linux does")


@LINUX
def test_damaged_files_are_read_or_refused_in_a_sentence(tmp_path, tiny_checkpoint):
    found = fuzzer.outcomes(fuzzer.write_mutants(tmp_path, tiny_checkpoint, count=100, seed=7))
    assert len(found) == 100
    assert not [one for one in found if not one.fine]
    for ending in fuzzer.KINDS.values():
        assert any(one.what == "refused" for one in found if one.file.suffix == ending), "nothing was damaged"


def test_the_same_seed_makes_the_same_files(tmp_path, tiny_checkpoint):
    made = []
    for name in "ab":
        (tmp_path / name).mkdir()
        paths = fuzzer.write_mutants(tmp_path / name, tiny_checkpoint, 12, seed=3, kinds=("checkpoint", "workflow"))
        made.append([path.read_bytes() for path in paths])
    assert made[0] == made[1] and len(set(made[0])) > 10


@LINUX
def test_the_watch_sees_crashes_hangs_and_floods(tmp_path, monkeypatch):
    """What a finding looks like, with files that tell the reading process what to do."""
    (tmp_path / "sitecustomize.py").write_text(
        "import os, time\n"
        "def act(kind, path):\n"
        "    what = path.read_text()\n"
        "    if what == 'crash': os.abort()\n"
        "    if what == 'hang': time.sleep(60)\n"
        "    if what == 'flood': bytearray(3 * 2**30)\n"
        "    if what == 'escape': raise KeyError('x')\n"
        "from tests.core import fuzzer\n"
        "fuzzer.read = act\n"
    )
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{fuzzer.ROOT}")
    monkeypatch.setattr(fuzzer, "PATIENCE", 2.0)
    paths = [tmp_path / f"{what}.json" for what in ("fine", "crash", "hang", "flood", "escape")]
    for path in paths:
        path.write_text(path.stem)
    found = {one.file.stem: one.what for one in fuzzer.outcomes(paths)}
    assert found == {
        "fine": "read",
        "crash": "crashed",
        "hang": "hung",
        "flood": "too much memory",
        "escape": "escaped",
    }


@LINUX
def test_a_small_file_that_unpacks_to_a_huge_picture_is_refused(tmp_path):
    """13,000 x 13,000 pixels of one colour: 500 KB here, 2 GB as numbers."""
    side = 13_000
    rows = zlib.compress(b"\0" * (side * 3 + 1) * side, 9)
    with io.BytesIO() as small:
        Image.new("RGB", (1, 1)).save(small, "png")
        head = small.getvalue()[:8]

    def chunk(name: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    size = chunk(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0))
    path = tmp_path / "bomb.png"
    path.write_bytes(head + size + chunk(b"IDAT", rows) + chunk(b"IEND", b""))
    assert path.stat().st_size < 2**20
    (found,) = fuzzer.outcomes([path])
    assert found.what == "refused" and "too large" in found.said


def test_a_workflow_that_unfolds_without_end_is_refused():
    graph = fuzzer.workflow()
    (inner,) = graph["definitions"]["subgraphs"]
    inner["nodes"][0]["type"] = "inner"
    with pytest.raises(UserError, match="leads back to itself"):
        to_api(graph, fuzzer.NODES)
    levels = [
        {"id": f"level {i}", "links": [], "nodes": [{"id": n, "type": f"level {i + 1}"} for n in range(10)]}
        for i in range(8)
    ]
    levels.append({"id": "level 8", "links": [], "nodes": [{"id": 1, "type": "Load", "widgets_values": ["a"]}]})
    bomb = {"nodes": [{"id": 1, "type": "level 0"}], "links": [], "definitions": {"subgraphs": levels}}
    with pytest.raises(UserError, match="more than 100000 nodes"):
        to_api(bomb, fuzzer.NODES)


def test_hostile_values_reach_every_depth():
    rng = random.Random(0)
    made = [fuzzer.mutated_json(fuzzer.workflow(), rng) for _ in range(50)]
    changed = {
        key for one in made if isinstance(one, dict) for key in one if one.get(key) != fuzzer.workflow().get(key)
    }
    assert {"nodes", "links", "definitions"} <= changed
