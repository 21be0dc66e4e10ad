"""What the registry would hand out installs into a fresh host and runs."""

import shutil
from pathlib import Path

import pytest

from sora_core.batch.host import PACK, Server, find_hosts
from tests.host.hosts import environment
from tests.shipped import shipped

LARGEST = 100 * 2**20  # bytes that the registry takes


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    """Built as comfy-cli does."""
    folder = tmp_path_factory.mktemp("archive")
    for name in shipped():
        (folder / "files" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(PACK / name, folder / "files" / name)
    return shutil.make_archive(str(folder / "node"), "zip", folder / "files")


def test_an_archive_installs_and_runs_the_first_template(archive, tmp_path):
    shutil.unpack_archive(archive, tmp_path / "sora")
    top = {path.name for path in (tmp_path / "sora").iterdir()}
    assert {"__init__.py", "nodes", "sora_core", "workflows", "web", "locales", "requirements.txt", "LICENSE"} <= top
    assert not top & {"tests", "benchmarks", "noxfile.py", ".ci", ".git"}
    host = find_hosts()[0]
    with Server(host, environment(host), pack=tmp_path / "sora") as server:
        assert "text_to_video" in server.get("/workflow_templates")["sora"]
        workflow = tmp_path / "sora" / "workflows" / "text_to_video.json"
        result = server.run(server.load(workflow, {"SoraSampler.steps": 1}))
    assert [item["filename"] for item in result.files("mp4")] == ["video_00001_.mp4"]


def test_an_archive_is_small_enough(archive):
    assert Path(archive).stat().st_size < LARGEST
