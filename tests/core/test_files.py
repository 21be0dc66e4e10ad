"""Files appear whole or not at all."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sora_core.errors import UserError
from sora_core.files import MACHINE, allow_as_usual, check_writable, replacing, sweep

ROOT = Path(__file__).parents[2]


def test_the_file_appears_only_at_the_end(tmp_path):
    target = tmp_path / "a.txt"
    with replacing(target) as part:
        part.write_text("new")
        assert not target.exists()
        assert part.name == "a.txt" and part.parent.parent == tmp_path
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
    for below in ("file/a.mp4", "file/b/a.mp4"):
        with pytest.raises(UserError, match=r"file is not a folder\. Choose another place\.$"):
            check_writable(tmp_path / below)
    with pytest.raises(UserError, match=r"could not be written: .*\. Choose another place\.$"):
        check_writable("/proc/none/a.mp4")
    with pytest.raises(UserError, match="is a folder"):
        check_writable(tmp_path)


def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, files_of_at_most):
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
        preexec_fn=files_of_at_most(10_000),
    )
    assert "the disk is full" in done.stdout, done.stderr
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS, errno.EIO])
def test_what_the_system_says_of_the_write_is_explained(tmp_path, number):
    with pytest.raises(UserError, match=r"a\.txt could not be written: "), replacing(tmp_path / "a.txt"):
        raise OSError(number, os.strerror(number))
    with pytest.raises(UserError, match=r"a\.txt could not be written: "), replacing(tmp_path / "a.txt") as part:
        raise OSError(number, os.strerror(number), str(part))
    with pytest.raises(UserError, match=r"a\.txt could not be written: no such file"), replacing(tmp_path / "a.txt"):
        pass  # nothing was written
    assert os.listdir(tmp_path) == []


def test_an_error_of_another_file_is_not_laid_at_its_door(tmp_path):
    for missing in (tmp_path / "input.mp4", tmp_path / ".a.0123abcd.sora-part" / "a.txt"):
        with pytest.raises(FileNotFoundError) as caught, replacing(tmp_path / "a.txt"):
            missing.read_bytes()
        assert caught.value.filename == str(missing)
    with pytest.raises(PermissionError), replacing(tmp_path / "a.txt"):
        raise PermissionError(errno.EACCES, "Permission denied", "/elsewhere/input.mp4")
    with pytest.raises(ConnectionError), replacing(tmp_path / "a.txt"):
        raise ConnectionError(errno.ECONNREFUSED, "Connection refused")
    assert os.listdir(tmp_path) == []


# ------------------------------------------------------------------------------------------- what killed processes left

WRITE = """
import sys
from pathlib import Path
from sora_core.files import replacing
top = Path(sys.argv[1])
with replacing(top / "film.mp4") as file, replacing(top / "frames", folder=True) as folder:
    file.write_bytes(b"half")
    (folder / "frames00000.png").write_bytes(b"half")
    print("writing", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def writer(tmp_path):
    """A process in the middle of writing a file and a folder."""
    line = [sys.executable, "-c", WRITE, str(tmp_path)]
    with subprocess.Popen(line, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "writing\n"
        yield process
        process.kill()


def test_what_a_killed_process_left_is_removed_by_the_next_that_writes_there(tmp_path, writer):
    writer.kill()
    writer.wait()
    assert len(os.listdir(tmp_path)) == 2 and all(name.startswith(".") for name in os.listdir(tmp_path))
    with replacing(tmp_path / "next.txt") as part:
        assert os.listdir(tmp_path) == [part.parent.name]
        part.write_text("whole")
    assert os.listdir(tmp_path) == ["next.txt"]


def test_what_another_process_is_writing_stays(tmp_path, writer):
    with replacing(tmp_path / "next.txt") as part:
        part.write_text("whole")
    writer.communicate("")  # it goes on, and ends
    assert sorted(os.listdir(tmp_path)) == ["film.mp4", "frames", "next.txt"]
    assert (tmp_path / "film.mp4").read_bytes() == (tmp_path / "frames" / "frames00000.png").read_bytes() == b"half"


def test_a_name_that_no_file_can_have_is_refused(tmp_path):
    with pytest.raises(UserError, match="could not be written: file name too long"):
        check_writable(tmp_path / ("a" * 300 + ".mp4"))


def test_only_our_own_leftovers_are_removed(tmp_path):
    mark = f"{MACHINE}0123abcd.sora-part"
    ours, link = tmp_path / f".film.{mark}", tmp_path / f".link.{mark}"
    others = "00000000" if MACHINE != "00000000" else "11111111"  # of another machine that writes here too
    names = (
        ".film.part",
        f"film.{mark}",
        f".film.{MACHINE}0123abcg.sora-part",
        f".film.{others}0123abcd.sora-part",
        "a",
    )
    foreign = [tmp_path / name for name in names]
    for folder in (ours, *foreign):
        folder.mkdir()
        (folder / "film.mp4").write_text("half")
    link.symlink_to(tmp_path / "a")
    (tmp_path / f".file.{mark}").write_text("")  # ours are folders
    before = set(os.listdir(tmp_path))
    sweep(tmp_path)
    assert before - set(os.listdir(tmp_path)) == {ours.name}
    assert all((folder / "film.mp4").exists() for folder in foreign)


def test_two_may_write_the_same_name_at_once_and_rights_are_the_usual(tmp_path):
    (tmp_path / "plain").write_text("")
    with replacing(tmp_path / "a.txt") as first, replacing(tmp_path / "a.txt") as second:
        assert first != second
        first.write_text("1")
        second.write_text("2")
    assert sorted(os.listdir(tmp_path)) == ["a.txt", "plain"]
    assert (tmp_path / "a.txt").stat().st_mode == (tmp_path / "plain").stat().st_mode


def test_rights_that_a_library_narrowed_are_made_the_usual(tmp_path):
    for umask in (0o022, 0o027):
        before = os.umask(umask)
        try:
            with replacing(tmp_path / "a.txt") as part:
                part.touch(mode=0o600)
                allow_as_usual(part)
                assert os.listdir(part.parent) == ["a.txt"]
        finally:
            os.umask(before)
        assert (tmp_path / "a.txt").stat().st_mode & 0o777 == 0o666 & ~umask


def test_the_longest_name_that_the_file_system_takes_can_be_written(tmp_path):
    path = tmp_path / ("x" * 251 + ".txt")
    with replacing(path) as part:
        part.write_text("x")
    assert path.read_text() == "x"


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    with pytest.raises(KeyboardInterrupt), replacing(tmp_path / "frames", folder=True) as part:
        (part / "0.png").write_bytes(b"x")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == []
    with replacing(tmp_path / "frames", folder=True) as part:
        (part / "0.png").write_bytes(b"x")
    assert os.listdir(tmp_path / "frames") == ["0.png"] and os.listdir(tmp_path) == ["frames"]
