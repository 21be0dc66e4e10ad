"""What the nodes say, in every language: `python -m tests.host.languages` brings the generated parts up to date.

English comes from the nodes themselves: `locales/en/nodeDefs.json` is written from what a host reports of them. The
other languages are written by hand in the same form. A help page, `web/docs/NODE.md` or `web/docs/NODE/LANGUAGE.md`,
begins with text written by hand; everything below `MARK` is made here from the locale, so that it cannot fall behind.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from sora_core.batch.host import PACK, Server, find_hosts
from tests.host.hosts import environment

LOCALES, PAGES = PACK / "locales", PACK / "web" / "docs"
MARK = "<!-- Below this line: made by python -m tests.host.languages -->"
HEADINGS = {  # inputs, values, default, meaning, optional, outputs
    "en": ("Inputs", "values", "default", "meaning", "optional", "Outputs"),
    "ko": ("입력", "값", "기본값", "뜻", "선택", "출력"),
    "ja": ("入力", "値", "既定値", "意味", "省略可", "出力"),
    "zh": ("输入", "取值", "默认值", "含义", "可选", "输出"),
}
FILES = (".safetensors", ".latent")
SHOWN = 12  # options listed on a help page


def ours(info: dict) -> dict:
    """The nodes of this pack in a host's object_info."""
    return {name: node for name, node in info.items() if node["python_module"] == "custom_nodes.sora"}


def inputs_of(node: dict):
    """(name, type or list of options, settings, group) of every input, in order."""
    for group in ("required", "optional"):
        for name in node["input_order"].get(group, []):
            kind, *rest = node["input"][group][name]
            settings = rest[0] if rest else {}
            if kind == "COMBO":
                kind = settings["options"]
            yield name, kind, settings, group


def options_of(kind) -> list[str]:
    """The options of a menu that are words of ours; file names differ from machine to machine."""
    return [option for option in kind if not option.endswith(FILES)] if isinstance(kind, list) else []


def described(node: dict) -> dict:
    """What a node says of itself, in the form of nodeDefs.json."""
    inputs = {}
    for name, kind, settings, _ in inputs_of(node):
        inputs[name] = {"name": settings.get("display_name") or name, "tooltip": settings.get("tooltip") or ""}
        if options_of(kind):
            inputs[name]["options"] = {option: option for option in options_of(kind)}
    tooltips = node.get("output_tooltips") or [None] * len(node["output"])
    outputs = {
        str(i): {"name": name} | ({"tooltip": tooltip} if tooltip else {})
        for i, (name, tooltip) in enumerate(zip(node["output_name"], tooltips, strict=True))
    }
    said = {"display_name": node["display_name"], "description": node["description"], "inputs": inputs}
    return said | ({"outputs": outputs} if outputs else {})


def read_locale(language: str) -> dict:
    path = LOCALES / language / "nodeDefs.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def page(name: str, language: str) -> Path:
    """Where the front end looks for a help page: first the language's, then the one without, which is in English."""
    return PAGES / f"{name}.md" if language == "en" else PAGES / name / f"{language}.md"


def tables(node: dict, said: dict, language: str) -> str:
    """The generated end of a help page."""
    heading, values, default, meaning, optional, outputs = HEADINGS[language]
    lines = [MARK, "", f"## {heading}", "", f"| | {values} | {default} | {meaning} |", "|---|---|---|---|"]
    for name, kind, settings, group in inputs_of(node):
        words = said["inputs"][name]
        label = words["name"] + (f" ({optional})" if group == "optional" else "")
        chosen = cell(options_label(settings.get("default", ""), words))
        lines.append(f"| {label} | {values_of(kind, settings, words)} | {chosen} | {cell(words['tooltip'])} |")
    if node["output"]:
        lines += ["", f"## {outputs}", "", f"| | {values} | {meaning} |", "|---|---|---|"]
        for i, kind in enumerate(node["output"]):
            words = said["outputs"][str(i)]
            lines.append(f"| {words['name']} | {kind} | {words.get('tooltip', '')} |")
    return "\n".join(lines) + "\n"


def cell(text: str) -> str:
    """A text inside a row of a table."""
    return text.replace("|", "\\|").replace("\n", "<br>")


def values_of(kind, settings: dict, words: dict) -> str:
    """The type of a socket, the range of a number, the options of a menu."""
    if isinstance(kind, list):
        shown = [options_label(option, words) for option in options_of(kind)]
        return ", ".join(shown if len(shown) <= SHOWN else [*shown[: SHOWN // 2], "...", shown[-1]])
    if "min" in settings and "max" in settings:
        return f"{settings['min']} ... {settings['max']}"
    return kind


def options_label(value, words: dict) -> str:
    return words.get("options", {}).get(value, str(value)) if isinstance(value, str) else f"{value}"


def main() -> None:
    hosts = find_hosts()
    if not hosts:
        sys.exit("No ComfyUI found: set COMFYUI_PATH.")
    with Server(hosts[0], environment(hosts[0])) as server:
        nodes = ours(server.object_info())
    english = {name: described(node) for name, node in nodes.items()}
    text = json.dumps(english, indent=2, ensure_ascii=False) + "\n"
    (LOCALES / "en" / "nodeDefs.json").write_text(text, encoding="utf-8")
    for language in HEADINGS:
        said = read_locale(language)
        for name, node in nodes.items():
            path = page(name, language)
            if path.exists() and name in said:
                written = path.read_text(encoding="utf-8").split(MARK)[0].rstrip()
                path.write_text(f"{written}\n\n{tables(node, said[name], language)}", encoding="utf-8")
            else:
                print(f"{language}: {name} has no help page or is not in nodeDefs.json")


if __name__ == "__main__":
    main()
