"""A workflow file as the front end saves it -> the API format that the host executes; inputs set by name.

The host ships no such converter: in the browser it is part of the front end. What exists only there is resolved here as
the front end does it: notes and muted nodes are left out, bypassed nodes hand their inputs on, reroutes and primitives
vanish into the links, a subgraph's nodes take its place under the id "outer:inner".
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError

WIDGETS = {"INT", "FLOAT", "STRING", "BOOLEAN", "COMBO"}
BRANCHING = "COMFY_DYNAMICCOMBO_V3"  # a choice that brings inputs of its own, named "choice.input"
WRITES_ITS_OPTIONS = "CustomCombo"  # a node of the host whose widgets only the front end knows
NOTES = {"Note", "MarkdownNote"}
REROUTE, PRIMITIVE = "Reroute", "PrimitiveNode"
CONTROLS = {"fixed", "increment", "decrement", "randomize"}
MUTED, BYPASSED = 2, 4
MOST_NODES = 100_000
INSIDE, OUTSIDE = -10, -20  # the nodes that stand for a subgraph's own inputs and outputs


def read(path: str | Path) -> dict:
    """The workflow in a file, in the front end's format or in the API's.

    Raises:
        UserError: there is no such file, or it holds something else.
    """
    try:
        workflow = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_no_number)
    except OSError as error:
        raise UserError(f"The workflow {path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    except RecursionError as error:
        raise UserError(f"{path} is not a workflow: it is nested too deeply.") from error
    except ValueError as error:  # of JSON and of UTF-8
        raise UserError(f"{path} is not a workflow: it is not JSON ({str(error).splitlines()[0]}).") from error
    if not (is_saved(workflow) or is_api(workflow)):
        raise UserError(f"{path} is not a workflow: save one in ComfyUI with Save or Export (API).")
    return workflow


def _no_number(name: str):
    raise ValueError(f"it holds {name}")


def is_saved(workflow) -> bool:
    """Whether this is the front end's format."""
    return isinstance(workflow, dict) and isinstance(workflow.get("nodes"), list) and "links" in workflow


def is_api(workflow) -> bool:
    """Whether this is the format that the host executes."""
    return (
        isinstance(workflow, dict)
        and bool(workflow)
        and all(isinstance(node, dict) and "class_type" in node and "inputs" in node for node in workflow.values())
    )


def to_api(workflow: dict, object_info: dict) -> dict:
    """Either format -> {id: {"class_type", "inputs", "_meta": {"title"}}}, a copy.

    Args:
        object_info: the nodes of the host that is to execute it (`Client.object_info`).

    Raises:
        UserError: the host lacks a node, or the file contradicts itself.
    """
    try:
        return _converted_graph(workflow, object_info)
    except UserError:
        raise
    except RecursionError as error:
        raise UserError("This workflow is damaged: a link or a subgraph leads back to itself.") from error
    except (LookupError, TypeError, ValueError, AttributeError) as error:  # it is a stranger's file, of any shape
        said = " ".join(f"{type(error).__name__}: {error}".split())[:100]
        raise UserError(f"This workflow is damaged and cannot be read ({said}): save it again.") from error


def _converted_graph(workflow: dict, object_info: dict) -> dict:
    if not is_saved(workflow):
        api = json.loads(json.dumps(workflow))
        for node in api.values():
            _declared(node["class_type"], object_info)
        return api
    subgraphs = {graph["id"]: graph for graph in (workflow.get("definitions") or {}).get("subgraphs") or ()}
    api = {}
    for name, node in _Graph(workflow, subgraphs, object_info).nodes():
        api[name] = node
        if len(api) > MOST_NODES:  # subgraphs in subgraphs in subgraphs
            raise UserError(f"This workflow holds more than {MOST_NODES} nodes.")
    return api


# -------------------------------------------------------------------------------------------- the front end's format


@dataclass(frozen=True)
class Value:
    """What a primitive node puts in the place of a link."""

    value: object


class _Graph:
    """The workflow, or one use of a subgraph inside `parent` as its node `outer`."""

    def __init__(
        self, graph: dict, subgraphs: dict, info: dict, parent: _Graph | None = None, outer: dict | None = None
    ):
        self.subgraphs, self.info, self.parent, self.outer = subgraphs, info, parent, outer
        self.prefix = f"{parent.prefix}{outer['id']}:" if parent else ""
        self.by_id = {node["id"]: node for node in graph["nodes"]}
        self.links = dict(_link(link) for link in graph["links"])
        self.ends = {}  # output of the subgraph -> (node, slot) that feeds it
        for link in graph["links"]:
            if isinstance(link, dict) and link["target_id"] == OUTSIDE:
                self.ends[link["target_slot"]] = (link["origin_id"], link["origin_slot"])

    def nodes(self) -> Iterator[tuple[str, dict]]:
        for node in self.by_id.values():
            kind, mode = node["type"], node.get("mode", 0)
            if kind in NOTES or kind in (REROUTE, PRIMITIVE) or mode in (MUTED, BYPASSED):
                continue
            if kind in self.subgraphs:
                yield from self.inside(node).nodes()
                continue
            inputs = widget_values(node, _declared(kind, self.info))
            for socket in node.get("inputs") or ():
                source = self.feeding(node, socket)
                if isinstance(source, Value):
                    inputs[socket["name"]] = source.value
                elif source is not None:
                    inputs[socket["name"]] = source
                # None: no link, or nothing comes through it, and the widget's own value, if there is one, stays
            title = {"title": node.get("title") or kind}
            yield f"{self.prefix}{node['id']}", {"class_type": kind, "inputs": inputs, "_meta": title}

    def inside(self, node: dict) -> _Graph:
        return _Graph(self.subgraphs[node["type"]], self.subgraphs, self.info, self, node)

    def source(self, origin: int, slot: int) -> list | Value | None:
        """What really feeds a link that leaves `origin` at `slot`: [id, slot] in API format, a value, or nothing."""
        if origin == INSIDE:
            return self.parent.arriving(self.outer, slot) or self.shown_outside(slot)
        node = self.by_id[origin]
        kind, mode = node["type"], node.get("mode", 0)
        if mode == MUTED:
            return None
        if kind == PRIMITIVE:
            return Value(node["widgets_values"][0])
        if kind == REROUTE:
            return self.arriving(node, 0)
        if mode == BYPASSED:
            through = _through(node, slot)
            return None if through is None else self.arriving(node, through)
        if kind in self.subgraphs:
            inside = self.inside(node)
            return inside.source(*inside.ends[slot]) if slot in inside.ends else None
        return [f"{self.prefix}{origin}", slot]

    def shown_outside(self, slot: int) -> Value | None:
        """The value of a subgraph's input to which nothing is linked: that of the widget inside which it shows."""
        for node in self.by_id.values():
            for socket in node.get("inputs") or ():
                if self.links.get(socket.get("link")) == (INSIDE, slot) and node["type"] in self.info:
                    values = widget_values(node, self.info[node["type"]])
                    if socket["name"] in values:
                        return Value(values[socket["name"]])
        return None

    def arriving(self, node: dict, slot: int) -> list | Value | None:
        return self.feeding(node, node["inputs"][slot])

    def feeding(self, node: dict, socket: dict) -> list | Value | None:
        """What `source` says of the link at an input of a node."""
        link = socket.get("link")
        if link is None:
            return None
        origin, slot = self.links.get(link, (None, None))
        if origin != INSIDE and origin not in self.by_id:
            lost = f"link {link}" if link not in self.links else f"node {self.prefix}{origin} behind link {link}"
            at = f"The input {socket.get('name')!r} of the node {self.prefix}{node['id']} ({node['type']})"
            raise UserError(f"{at} needs {lost}, which the workflow lacks: connect it again in ComfyUI and save.")
        return self.source(origin, slot)


def _link(link: list | dict) -> tuple[int, tuple[int, int]]:
    """id -> (origin, slot); the workflow has lists, subgraphs have objects."""
    if isinstance(link, dict):
        return link["id"], (link["origin_id"], link["origin_slot"])
    return link[0], (link[1], link[2])


def _through(node: dict, slot: int) -> int | None:
    """The input that a bypassed node hands on at an output: the one beside it if its type fits, else the first that
    fits."""
    kind, inputs = node["outputs"][slot]["type"], node.get("inputs") or []
    order = [slot, *range(len(inputs))] if slot < len(inputs) else range(len(inputs))
    return next((i for i in order if kind == "*" or inputs[i]["type"] in (kind, "*")), None)


def _declared(kind: str, object_info: dict) -> dict:
    if kind not in object_info:
        raise UserError(f"The host has no node {kind}: install the pack that it belongs to.")
    return object_info[kind]


def widget_values(node: dict, info: dict) -> dict:
    """Matches the stored values with the node's widgets, by position, in the order the host declares them. Inputs that
    the host has got since the file was saved have their defaults."""
    values = node.get("widgets_values") or []
    if isinstance(values, dict):
        return dict(values)
    if node["type"] == WRITES_ITS_OPTIONS:
        return {"choice": values[0], "index": values[1]} | {f"option{i}": v for i, v in enumerate(values[2:], 1)}
    values, result = list(values), {}
    shown = {socket["widget"]["name"] for socket in node.get("inputs") or () if socket.get("widget")}
    waiting = list(widgets(info, shown=shown))
    while waiting:
        name, kind, options = waiting.pop(0)
        if not values and not has_default(kind, options):
            continue
        result[name] = values.pop(0) if values else default(kind, options)
        if kind == BRANCHING:
            waiting = _branch(name, options, result[name]) + waiting
        # A seed is followed by what the front end does with it after each run.
        follows = options.get("control_after_generate") or name in ("seed", "noise_seed")
        if follows and values and values[0] in CONTROLS:
            values.pop(0)
    return result


def has_default(kind: str | list, options: dict) -> bool:
    return "default" in options or bool(_choices(kind, options))


def default(kind: str | list, options: dict):
    """What the front end puts into a new widget that has a default."""
    return options["default"] if "default" in options else _choices(kind, options)[0]


def _choices(kind: str | list, options: dict) -> list:
    if kind == BRANCHING:
        return [option["key"] for option in options["options"]]
    return kind if isinstance(kind, list) else options.get("options") or []


def widgets(info: dict, prefix: str = "", shown: Collection[str] = ()) -> Iterator[tuple[str, str | list, dict]]:
    """(name, type, options) of every input that has a widget, in order; `shown` are those that the file says have one,
    which may be of types (COLOR, CURVE, ...) that only a newer front end knows."""
    for name, kind, options in declared_inputs(info, prefix):
        usual = isinstance(kind, list) or kind in WIDGETS or kind == BRANCHING
        if name in shown or (usual and not options.get("forceInput")):
            yield name, kind, options


def declared_inputs(info: dict, prefix: str = "") -> Iterator[tuple[str, str | list, dict]]:
    """(name, type, options) of every input of a node, in order."""
    for group in ("required", "optional"):
        declared = info["input"].get(group) or {}
        for name in (info.get("input_order") or {}).get(group) or declared:
            kind, *rest = declared[name]
            yield prefix + name, kind, rest[0] if rest and isinstance(rest[0], dict) else {}


def _branch(name: str, options: dict, chosen) -> list[tuple[str, str | list, dict]]:
    """The widgets that a choice brings along."""
    branch = next((option for option in options["options"] if option["key"] == chosen), None)
    return list(widgets({"input": branch["inputs"]}, f"{name}.")) if branch else []


# ------------------------------------------------------------------------------------------------------- set inputs


def set_input(api: dict, object_info: dict, name: str, value) -> None:
    """Set an input, in place: `name` is "node.input", the node by its id, its title or its class.

    Text is converted to what the host declares for the input (INT, FLOAT, BOOLEAN, options that are numbers).

    Raises:
        UserError: no such node or input, several nodes of that name, or a value of another kind.
    """
    node_id, key = locate(api, name)
    node = api[node_id]
    known = _inputs_with_branches(object_info[node["class_type"]], node["inputs"])
    if key not in known:
        raise UserError(f"The node {_shown(api, node_id)} has no input {key!r}; it has {', '.join(known)}.")
    node["inputs"][key] = _converted(name, known[key], value)


def locate(api: dict, name: str) -> tuple[str, str]:
    """ "node.input" -> (id of the node, name of the input). Titles and inputs may contain dots themselves."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        wanted, key = ".".join(parts[:cut]), ".".join(parts[cut:])
        if wanted in api:
            return wanted, key
        for called in (lambda node: node.get("_meta", {}).get("title"), lambda node: node["class_type"]):
            found = [node_id for node_id, node in api.items() if called(node) == wanted]
            if len(found) > 1:
                raise UserError(f"Several nodes are called {wanted!r}: name one by its id ({', '.join(found)}).")
            if found:
                return found[0], key
    nodes = ", ".join(_shown(api, node_id) for node_id in api)
    if len(parts) < 2:
        raise UserError(f"{name!r} names no input: write NODE.INPUT, with a node out of {nodes}.")
    raise UserError(f"The workflow has no node {parts[0]!r}; it has {nodes}.")


def _shown(api: dict, node_id: str) -> str:
    return f"{node_id} ({api[node_id].get('_meta', {}).get('title') or api[node_id]['class_type']})"


def _inputs_with_branches(info: dict, given: dict) -> dict[str, str | list]:
    """name -> type, or list of options, of every input that the node has at the choices made so far."""
    known, waiting = {}, list(declared_inputs(info))
    while waiting:
        name, kind, options = waiting.pop(0)
        known[name] = (options.get("options") or kind) if kind == "COMBO" else kind
        if kind == BRANCHING:
            waiting += _branch(name, options, given.get(name))
    return known


def _converted(name: str, kind: str | list, value):
    """`value` as the type that the host declares; only text, and what JSON does not know, needs it."""
    wanted = {"INT": "a whole number", "FLOAT": "a number", "BOOLEAN": "true or false"}
    wanted = wanted.get(kind, "text") if isinstance(kind, str) else "one of its options"
    if not isinstance(value, str | int | float | list | dict | None):  # a date or a decimal, out of Parquet
        value = str(value)
    try:
        if isinstance(value, (list, dict)) or (isinstance(value, float) and not math.isfinite(value)):
            raise ValueError
        if kind == "INT":
            if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
                raise ValueError
            return int(value)
        if kind == "FLOAT":
            if isinstance(value, bool) or not math.isfinite(float(value)):
                raise ValueError
            return float(value)
        if kind == "BOOLEAN" and not isinstance(value, bool):
            return {"true": True, "1": True, "false": False, "0": False}[str(value).strip().lower()]
    except (ValueError, KeyError, TypeError):
        raise UserError(f"{name} takes {wanted}, not {str(value)[:40]!r}.") from None
    if isinstance(kind, list):
        return next((option for option in kind if str(option) == str(value)), value)
    return str(value) if kind == "STRING" else value
