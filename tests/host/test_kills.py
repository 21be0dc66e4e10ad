"""A host that is killed while it samples, decodes or saves leaves no half file under a final name and starts again.

A hundred times instead of three: `python benchmarks/host_kills.py`.
"""

import shutil
import sys
from pathlib import Path

import pytest

from sora_core.batch.host import PACK, Server, find_hosts
from tests.host.conftest import TINY
from tests.host.hosts import environment


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_kills_leave_whole_files_only(tiny, monkeypatch):
    monkeypatch.syspath_prepend(str(PACK / "benchmarks"))
    from host_kills import FRAMES, check, kill_again_and_again

    host = find_hosts()[0]
    server = Server(host, environment(host))
    models = server.folder / "models" / "checkpoints"
    models.mkdir(parents=True)
    shutil.copy(tiny, models / TINY)
    with server:
        tally = kill_again_and_again(server, TINY, count=3, seconds=600, seed=4)
        assert tally["kills"] == 3 and not tally["broken"] and not tally["left"]
        output = server.folder / "output"
        whole, broken = check(output)
        assert whole >= 6 and not broken  # of the three jobs that were not killed
        film = next(Path(output).glob("film*.mp4"))  # and the check sees what it looks for
        film.write_bytes(film.read_bytes()[:-500])
        pictures = next(path for path in output.iterdir() if path.name.startswith("frames"))
        (pictures / f"{pictures.name}{FRAMES - 1:05}.png").unlink()
        assert len(check(output)[1]) == 2
