"""Each template opens in the real front end as a person would want to find it."""

import pytest

from sora_core.batch.host import PACK

TEMPLATES = sorted(path.stem for path in (PACK / "workflows").glob("*.json"))
NOTES = {"Note", "MarkdownNote"}
TITLE = 30  # pixels above a node's position
GRAPH = """() => ({
  nodes: app.graph.nodes.map(node => ({
    id: node.id, type: node.type, pos: [...node.pos], size: [...node.size], needs: [...node.computeSize()],
    known: node.type in LiteGraph.registered_node_types, wrong: Boolean(node.has_errors),
    inputs: (node.inputs ?? []).map(socket => [socket.name, socket.link]),
  })),
  groups: app.graph.groups.map(group => ({title: group.title, pos: [...group.pos], size: [...group.size]})),
  links: [...app.graph.links.values()].map(
    link => [link.id, link.origin_id, link.origin_slot, link.target_id, link.target_slot]),
})"""


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_opens(page, open_template, shot, name):
    stored = open_template(name)
    graph = page.evaluate(GRAPH)
    shot(name)
    # A loader may lack its file where the workflow says where to get it: the front end offers it then.
    offered = {node["id"] for node in stored["nodes"] if node["properties"].get("models")}
    wrong = [node for node in graph["nodes"] if node["wrong"] and node["id"] not in offered]
    assert not [node["type"] for node in graph["nodes"] if not node["known"] or node in wrong]

    # Every link of the file is there and goes to the same input; none is left over. The front end may number the
    # inputs anew, for those of a host's node that the file does not list.
    sockets = {node["id"]: [socket["name"] for socket in node["inputs"]] for node in stored["nodes"]}
    shown = {node["id"]: [name for name, _ in node["inputs"]] for node in graph["nodes"]}
    wanted = sorted([*link[:4], sockets[link[3]][link[4]]] for link in stored["links"])
    assert sorted([*link[:4], shown[link[3]][link[4]]] for link in graph["links"]) == wanted
    known = {link[0] for link in graph["links"]}
    assert {link for node in graph["nodes"] for _, link in node["inputs"] if link is not None} == known

    # It can be read: nothing lies over another thing, nothing is cut off, all is grouped, a note explains it.
    boxes = {node["id"]: box(node["pos"], node["size"], TITLE) for node in graph["nodes"]}
    for a in graph["nodes"]:
        assert a["type"] in NOTES or all(
            have + 2 >= needed for have, needed in zip(a["size"], a["needs"], strict=True)
        ), f"{a['type']} is smaller than its contents: {a['size']} < {a['needs']}"
        for b in graph["nodes"]:
            over = a["id"] < b["id"] and overlap(boxes[a["id"]], boxes[b["id"]])
            assert not over, f"{a['type']} {a['id']} lies over {b['type']} {b['id']}"
        around = [g["title"] for g in graph["groups"] if inside(boxes[a["id"]], box(g["pos"], g["size"]))]
        assert len(around) == 1, f"{a['type']} {a['id']} lies in the groups {around}"
    assert any(node["type"] in NOTES for node in graph["nodes"])


def test_the_templates_are_offered_with_their_thumbnails(page, server, open_template):
    open_template(TEMPLATES[0])
    assert sorted(server.get("/workflow_templates")["sora"]) == TEMPLATES
    for name in TEMPLATES:
        size = page.evaluate(
            "async url => { const image = new Image(); image.src = url; await image.decode(); return image.width; }",
            f"/api/workflow_templates/sora/{name}.jpg",
        )
        assert size >= 256


def box(pos, size, above: int = 0) -> tuple[float, float, float, float]:
    return pos[0], pos[1] - above, pos[0] + size[0], pos[1] + size[1]


def overlap(a, b) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def inside(a, b) -> bool:
    return a[0] >= b[0] and a[1] >= b[1] and a[2] <= b[2] and a[3] <= b[3]
