"""Every workflow file of the pack runs as it is stored, but for size and steps, and gives what its name says."""

import json
from pathlib import Path

import av
import pytest

from sora_core.batch.host import PACK
from tests.host.conftest import to_array

FILES = sorted((PACK / "workflows").glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_runs(server, path, picture_in, photo, tmp_path):
    picture_in(photo, "example.png")
    api = server.load(path, {"SoraLoadModel.checkpoint": "bundled", "SoraSampler.steps": 2})
    result = server.run(api, extra={"workflow": json.loads(path.read_text())})
    grid = next(node["inputs"] for node in api.values() if node["class_type"] == "SoraPatchGrid")
    saved = [item for item in result.files() if item["type"] == "output"]
    assert len(saved) == 1
    if grid["length"] == 1:
        assert to_array(server.fetch(saved[0])).shape == (64, 64, 3)
        return
    with av.open(str(server.save(saved[0], tmp_path / saved[0]["filename"]))) as file:
        stream = file.streams.video[0]
        assert (stream.width, stream.height, float(stream.average_rate)) == (64, 64, grid["fps"])
        assert sum(1 for _ in file.decode(stream)) == grid["length"]
        assert json.loads(file.metadata["workflow"])["nodes"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_file_is_whole(server, path):
    """Links, sockets and widget values agree with each other and with the nodes that the host has."""
    workflow, info = json.loads(path.read_text()), server.object_info()
    nodes = {node["id"]: node for node in workflow["nodes"]}
    for link, source, out, target, into, kind in workflow["links"]:
        assert link in nodes[source]["outputs"][out]["links"]
        assert nodes[target]["inputs"][into]["link"] == link
        assert nodes[source]["outputs"][out]["type"] == nodes[target]["inputs"][into]["type"] == kind
        declared = info[nodes[source]["type"]]
        assert declared["output"][out] == kind
    for node in workflow["nodes"]:
        for socket in node["inputs"]:
            if socket["link"] is not None:
                groups = info[node["type"]]["input"].values()
                assert any(socket["name"] in group for group in groups), (node["type"], socket["name"])
    used = {node["type"] for node in workflow["nodes"]}
    assert used & {"SaveVideo", "SaveImage"} and Path(path).suffix == ".json"
