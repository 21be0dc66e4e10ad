"""A workflow file as the front end saves it -> the API format that the host executes (the host ships no converter)."""

from __future__ import annotations

import json
from pathlib import Path

WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
NOTES = {"Note", "MarkdownNote"}  # live in the front end only
CONTROLS = {"fixed", "increment", "decrement", "randomize"}
MUTED, BYPASSED = 2, 4


def load(path: str | Path, object_info: dict, **changes: dict) -> dict:
    """Reads a workflow file and converts it; `changes` are as in `change`."""
    return change(to_api(json.loads(Path(path).read_text(encoding="utf-8")), object_info), **changes)


def change(api: dict, **changes: dict) -> dict:
    """Sets inputs by node class: `change(api, SoraSampler={"steps": 2}, CLIPTextEncode={"text": "..."})`.

    Where a class occurs more than once, the first in the file is changed: ours have the positive prompt first.
    """
    for kind, inputs in changes.items():
        node = next((node for node in api.values() if node["class_type"] == kind), None)
        if node is None:
            raise KeyError(f"The workflow has no node {kind}.")
        unknown = set(inputs) - set(node["inputs"])
        if unknown:
            raise KeyError(f"{kind} has no input {', '.join(sorted(unknown))}; it has {', '.join(node['inputs'])}.")
        node["inputs"].update(inputs)
    return api


def to_api(workflow: dict, object_info: dict) -> dict:
    """{"nodes": [...], "links": [[id, from, slot, to, slot, type], ...]} -> {id: {"class_type", "inputs"}}."""
    source = {link[0]: (link[1], link[2]) for link in workflow["links"]}
    api = {}
    for node in workflow["nodes"]:
        if node["type"] in NOTES or node.get("mode", 0) == MUTED:
            continue
        if node.get("mode", 0) == BYPASSED:
            raise ValueError(f"Node {node['id']} ({node['type']}) is bypassed, which this converter does not follow.")
        if node["type"] not in object_info:
            raise KeyError(f"The host has no node {node['type']}.")
        inputs = widget_values(node, object_info[node["type"]])
        for socket in node.get("inputs") or []:
            if socket.get("link") is not None:
                origin, slot = source[socket["link"]]
                inputs[socket["name"]] = [str(origin), slot]
        api[str(node["id"])] = {
            "class_type": node["type"],
            "inputs": inputs,
            "_meta": {"title": node.get("title") or node["type"]},
        }
    return api


def widget_values(node: dict, info: dict) -> dict:
    """Matches the stored values with the node's widgets, by position, in the order the host declares them."""
    values = node.get("widgets_values") or []
    if isinstance(values, dict):
        return dict(values)
    values, result = list(values), {}
    for name, options in widgets(info):
        if not values:
            break
        result[name] = values.pop(0)
        # A seed is followed by what the front end does with it after each run.
        follows = options.get("control_after_generate") or name in ("seed", "noise_seed")
        if follows and values and values[0] in CONTROLS:
            values.pop(0)
    return result


def widgets(info: dict) -> list[tuple[str, dict]]:
    """(name, options) of every input that has a widget, in order."""
    found = []
    for group in ("required", "optional"):
        declared = info["input"].get(group) or {}
        for name in (info.get("input_order") or {}).get(group) or declared:
            kind, *rest = declared[name]
            options = rest[0] if rest and isinstance(rest[0], dict) else {}
            is_widget = isinstance(kind, list) or kind in WIDGETS
            if is_widget and not options.get("forceInput"):
                found.append((name, options))
    return found
