"""Every workflow file of the pack runs as it is stored, but for size and steps, and gives what its name says."""

import json
from pathlib import Path

import av
import pytest

from sora_core.batch.host import PACK
from sora_core.pipeline import Pipeline
from tests.host.conftest import to_array

FILES = sorted((PACK / "workflows").glob("*.json"))
SHOWN = {  # width, height, frames
    "text_to_image": (96, 96, 1),
    "text_to_video": (96, 96, 17),
    "image_to_video": (96, 96, 17),
    "place_frames": (96, 96, 17),
    "extend_video": (96, 96, 33),
    "loop_video": (96, 96, 32),
    "loop_from_text": (96, 96, 16),
    "connect_videos": (96, 96, 49),
    "morph_videos": (96, 96, 17),
    "join_videos": (96, 96, 33),
    "edit_video": (96, 96, 17),
    "reframe": (168, 96, 17),
    "refine": (192, 192, 17),
    "long_video": (96, 96, 49),
    "prompt_timeline": (96, 96, 33),
    "compose": (144, 144, 40),
    "wan_extend_video": (64, 48, 41),  # of `small_wan`
    "wan_connect_videos": (64, 48, 49),
    "wan_edit_video": (64, 48, 9),
}


@pytest.mark.parametrize(
    "path", [path for path in FILES if not path.stem.startswith("wan")], ids=lambda path: path.stem
)
def test_a_template_guides_as_the_checkpoint_does(server, path):
    pipeline, api = Pipeline.load("bundled"), server.load(path)
    samplers = [node["inputs"] for node in api.values() if node["class_type"] == "SoraSampler"]
    assert samplers
    for inputs in samplers:
        card = pipeline.continuing if goes_on(api, inputs["latent"][0]) else pipeline.settings
        assert (inputs["cfg"], inputs["cfg_from"], inputs["cfg_to"]) == (card.cfg, *card.interval)


def goes_on(api: dict, of: str) -> bool:
    """Whether the latent of a node keeps a video, from which the model goes on: `Pipeline.settings_for` in a graph."""
    made_by, inputs = api[of]["class_type"], api[of]["inputs"]
    if made_by == "SoraEditVideo" or inputs.get("mode") == "cyclic":
        return False
    if made_by in ("SoraExtendVideo", "SoraLoopVideo"):
        return api[inputs["latent"][0]]["class_type"] != "SoraEditVideo"
    return made_by == "SoraConnectVideos" and inputs["mode"] == "bridge"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_workflow_runs(server, path, picture_in, photo, tmp_path, request):
    picture_in(photo, "example.png")
    api = server.load(path)
    for node in api.values():
        if node["class_type"] == "SoraSampler":
            node["inputs"]["steps"] = 2
    if path.stem.startswith("wan"):
        request.getfixturevalue("host_models")
        small_wan(api)
    result = server.run(api, extra={"workflow": json.loads(path.read_text())})
    width, height, frames = SHOWN[path.stem]
    saved = [item for item in result.files() if item["type"] == "output"]
    assert len(saved) == 1
    if frames == 1:
        assert to_array(server.fetch(saved[0])).shape == (height, width, 3)
        return
    with av.open(str(server.save(saved[0], tmp_path / saved[0]["filename"]))) as file:
        stream = file.streams.video[0]
        fps = 16 if path.stem.startswith("wan") else 8
        assert (stream.width, stream.height, float(stream.average_rate)) == (width, height, fps)
        assert sum(1 for _ in file.decode(stream)) == frames
        assert json.loads(file.metadata["workflow"])["nodes"]


def small_wan(api: dict) -> None:
    """A workflow for Wan 2.1, with the tiny model of tiny_models.py, at a small size. The text encoder of billions of
    parameters has no tiny form: random features stand for its prompts."""
    for number, node in list(api.items()):
        inputs, kind = node["inputs"], node["class_type"]
        if kind == "CLIPTextEncode":
            api[number] = {"class_type": "TinyText", "inputs": {"width": 4096, "seed": int(number), "mask": False}}
        elif kind == "CLIPLoader":
            del api[number]
        elif kind == "UNETLoader":
            inputs["unet_name"] = "wan_t2v.safetensors"
        elif kind == "VAELoader":
            inputs["vae_name"] = "wan.safetensors"
        elif kind == "SoraPatchGrid":
            inputs |= {"size": "custom", "width": 64, "height": 48, "length": 9}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_model_that_has_to_be_fetched_says_where_from(path):
    """As the host's own templates do, so that the front end offers what is missing."""
    for node in json.loads(path.read_text())["nodes"]:
        if node["type"] in ("UNETLoader", "CLIPLoader", "VAELoader"):
            (model,) = node["properties"]["models"]
            assert model["name"] == node["widgets_values"][0]
            assert model["url"].startswith("https://") and f"{model['directory']}/{model['name']}" in model["url"]


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
