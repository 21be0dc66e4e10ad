"""Node ids, inputs in their order and outputs are a contract: workflow files store widget values by position.

`nodes.json` is the contract. To add to it, append there by hand; nothing in it may be changed or removed.
"""

import json
from pathlib import Path

import pytest

CONTRACT = json.loads((Path(__file__).parent / "nodes.json").read_text())
EARLIER = sorted(
    path for path in (Path(__file__).parent / "earlier").glob("*/*.json") if not path.name.endswith(".api.json")
)


def test_no_node_is_missing_and_none_is_undeclared(server):
    here = {name for name, node in server.object_info().items() if node["python_module"] == "custom_nodes.sora"}
    assert here == set(CONTRACT)


def test_inputs_and_outputs_keep_their_order_and_types(server):
    info = server.object_info()
    for name, declared in CONTRACT.items():
        node = info[name]
        inputs = {}
        for group in ("required", "optional"):
            for key in node["input_order"].get(group, []):
                kind = node["input"][group][key][0]
                inputs[key] = [group, "COMBO" if isinstance(kind, list) else kind]
        assert list(inputs.items()) == list(declared["inputs"].items()), name
        assert list(zip(node["output_name"], node["output"], strict=True)) == [*map(tuple, declared["outputs"])], name
        assert not node.get("deprecated") and node["description"], name


def test_the_menus_of_solvers_and_sizes_only_grow(server):
    info = server.object_info()
    for node, name, options in (
        ("SoraSampler", "solver", ["euler", "heun", "dpmpp_2m", "ab2"]),
        ("SoraPatchGrid", "unit", ["frames", "seconds"]),
        ("SoraPatchGrid", "size", ["1080p 16:9", "720p 16:9", "480p 9:16", "preview 1:1", "bundled 1:1", "custom"]),
        ("SoraLoadModel", "checkpoint", ["bundled", "tiny.safetensors"]),
    ):
        kind, settings = info[node]["input"]["required"][name]
        assert set(options) <= set(kind if isinstance(kind, list) else settings["options"])


@pytest.mark.parametrize("path", EARLIER, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_a_workflow_of_an_earlier_version_means_what_it_meant(server, path, picture_in, photo):
    """Beside each file as the front end saved it lies what it meant then, in API format, which is run too."""
    picture_in(photo, "example.png")
    then = json.loads(path.with_suffix(".api.json").read_text(encoding="utf-8"))
    now = server.load(path)
    for number, node in then.items():
        assert now[number]["class_type"] == node["class_type"]
        assert now[number]["inputs"].items() >= node["inputs"].items(), node["class_type"]
    next(node for node in then.values() if node["class_type"] == "SoraSampler")["inputs"]["steps"] = 1
    assert len([item for item in server.run(then).files() if item["type"] == "output"]) == 1
