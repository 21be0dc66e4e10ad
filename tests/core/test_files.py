"""Files appear whole or not at all."""

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from sora_core.errors import UserError
from sora_core.files import check_writable, replacing

ROOT = Path(__file__).parents[2]


def test_the_file_appears_only_at_the_end(tmp_path):
    target = tmp_path / "a.txt"
    with replacing(target) as part:
        part.write_text("new")
        assert not target.exists()
        assert part.suffix == ".txt" and part.parent == tmp_path
    assert target.read_text() == "new"
    assert os.listdir(tmp_path) == ["a.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, SystemExit])
def test_an_interrupt_keeps_what_was_there_and_leaves_nothing_else(tmp_path, error):
    target = tmp_path / "a.txt"
    target.write_text("old")
    with pytest.raises(error), replacing(target) as part:
        part.write_text("half")
        raise error
    assert target.read_text() == "old"
    assert os.listdir(tmp_path) == ["a.txt"]


def test_missing_folders_are_made(tmp_path):
    with replacing(tmp_path / "a" / "b" / "c.txt") as part:
        part.write_text("x")
    assert (tmp_path / "a" / "b" / "c.txt").read_text() == "x"


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "a.mp4", Path("/proc/none/a.mp4")):
        with pytest.raises(UserError, match=r"could not be written: .*\. Choose another place\.$"):
            check_writable(path)
    with pytest.raises(UserError, match="is a folder"):
        check_writable(tmp_path)


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path):
    script = (
        "import sys; from sora_core.files import replacing; from sora_core.errors import UserError\n"
        "try:\n"
        "    with replacing(sys.argv[1]) as part: part.write_bytes(bytes(100_000))\n"
        "except UserError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a.bin")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000)),
    )
    assert "the disk is full" in done.stdout, done.stderr
    assert os.listdir(tmp_path) == []
