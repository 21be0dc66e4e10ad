"""What `sora batch` makes of a saved file is what the real front end would send."""

import json

import pytest

from sora_core.batch import workflow
from sora_core.batch.host import PACK

TEMPLATES = sorted(path.stem for path in (PACK / "workflows").glob("*.json"))
CONVERT = "async saved => { await app.loadGraphData(saved); return (await app.graphToPrompt()).output }"
INNER = "6f1c1d5e-2f0c-4b5e-9a3e-0d6a3b8f7c11"


@pytest.fixture
def convert(page, server):
    """(saved workflow) -> ours and the front end's, without titles."""
    page.goto(server.url)
    page.wait_for_function("() => window.app?.graph && 'EmptyImage' in LiteGraph.registered_node_types")
    page.wait_for_timeout(1000)

    def both(saved: dict) -> tuple[dict, dict]:
        made = workflow.to_api(saved, server.object_info()), page.evaluate(CONVERT, saved)
        return tuple({id: (node["class_type"], node["inputs"]) for id, node in api.items()} for api in made)

    return both


@pytest.mark.parametrize("name", TEMPLATES)
def test_the_templates(convert, name):
    ours, theirs = convert(json.loads((PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8")))
    assert ours == theirs


def test_all_that_exists_in_the_front_end_only(convert):
    """Bypassed and muted nodes, a reroute, a primitive, a note, a choice with inputs, and a subgraph used twice."""
    ours, theirs = convert(everything())
    assert ours == theirs
    assert {kind for kind, _ in ours.values()} == {"EmptyImage", "ImageBlur", "ResizeImageMaskNode", "SaveImage"}
    assert len(ours) == 5 and ours["1"][1]["width"] == 24


def everything() -> dict:
    def node(id, type, inputs=(), outputs=(), values=(), mode=0):
        sockets = [
            {"name": name, "type": kind, "link": link} | ({"widget": {"name": name}} if kind != "IMAGE" else {})
            for name, kind, link in inputs
        ]
        leaving = [{"name": kind, "type": kind, "links": list(links)} for kind, links in outputs]
        more = {"pos": [300 * id, 0], "size": [200, 100], "flags": {}, "order": id, "properties": {}}
        return more | {
            "id": id,
            "type": type,
            "mode": mode,
            "inputs": sockets,
            "outputs": leaving,
            "widgets_values": list(values),
        }

    reroute = node(3, "Reroute", outputs=[("IMAGE", [3])])
    reroute["inputs"] = [{"name": "", "type": "*", "link": 2}]
    primitive = node(9, "PrimitiveNode", outputs=[("INT", [9])], values=[24, "fixed"])
    primitive["outputs"][0]["widget"] = {"name": "width"}
    nodes = [
        node(1, "EmptyImage", [("width", "INT", 9)], [("IMAGE", [1, 8])], [16, 8, 1, 255]),
        node(2, "ImageInvert", [("image", "IMAGE", 1)], [("IMAGE", [2])], mode=4),
        reroute,
        node(4, INNER, [("image", "IMAGE", 3)], [("IMAGE", [4])]),
        node(5, INNER, [("image", "IMAGE", 4)], [("IMAGE", [5])]),
        node(6, "ResizeImageMaskNode", [("input", "IMAGE", 5)], [("IMAGE", [6])], ["scale by multiplier", 0.5, "area"]),
        node(7, "SaveImage", [("images", "IMAGE", 6)], values=["kept"]),
        node(8, "SaveImage", [("images", "IMAGE", 8)], values=["muted"], mode=2),
        primitive,
        node(10, "Note", values=["read me"]),
    ]
    nodes[5]["inputs"][0]["type"] = "IMAGE,MASK"
    links = [
        [1, 1, 0, 2, 0, "IMAGE"],
        [2, 2, 0, 3, 0, "IMAGE"],
        [3, 3, 0, 4, 0, "IMAGE"],
        [4, 4, 0, 5, 0, "IMAGE"],
        [5, 5, 0, 6, 0, "IMAGE"],
        [6, 6, 0, 7, 0, "IMAGE"],
        [8, 1, 0, 8, 0, "IMAGE"],
        [9, 9, 0, 1, 0, "INT"],
    ]
    ends = [
        {"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 20, "target_slot": 0, "type": "IMAGE"},
        {"id": 2, "origin_id": 20, "origin_slot": 0, "target_id": -20, "target_slot": 0, "type": "IMAGE"},
    ]
    inner = {
        "id": INNER,
        "version": 1,
        "state": {"lastGroupId": 0, "lastNodeId": 20, "lastLinkId": 2, "lastRerouteId": 0},
        "revision": 0,
        "config": {},
        "name": "Blurred",
        "inputNode": {"id": -10, "bounding": [0, 0, 120, 60]},
        "outputNode": {"id": -20, "bounding": [600, 0, 120, 60]},
        "inputs": [{"id": INNER[:-1] + "2", "name": "image", "type": "IMAGE", "linkIds": [1], "pos": [0, 0]}],
        "outputs": [{"id": INNER[:-1] + "3", "name": "IMAGE", "type": "IMAGE", "linkIds": [2], "pos": [600, 0]}],
        "widgets": [],
        "nodes": [node(20, "ImageBlur", [("image", "IMAGE", 1)], [("IMAGE", [2])], [2, 1.5])],
        "groups": [],
        "links": ends,
        "extra": {},
    }
    top = {"id": INNER[:-1] + "0", "revision": 0, "last_node_id": 20, "last_link_id": 9, "version": 0.4}
    return top | {"nodes": nodes, "links": links, "groups": [], "definitions": {"subgraphs": [inner]}, "config": {}}
