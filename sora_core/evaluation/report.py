"""The report: report.json for programs, report.md with pictures for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from ..files import replacing
from .measures import Figure, Result
from .sheets import bars


def write(out: Path, about: Mapping[str, object], results: Mapping[str, Result]) -> dict:
    """Write report.json, report.md and bars.png into `out`; returns what report.json holds."""
    held = [
        (result.title, figure) for result in results.values() for figure in result.figures if figure.bar is not None
    ]
    report = {
        **about,
        "bars": {"met": sum(figure.met is True for _, figure in held), "of": len(held)},
        "sections": {name: result.to_dict() for name, result in results.items()},
    }
    groups = {
        f"{result.title}: {name}": [
            figure for figure in table if figure.unit == "%" and None not in (figure.value, figure.low)
        ]
        for result in results.values()
        for name, table in result.tables.items()
    }
    picture = bars({name: table for name, table in groups.items() if table}, out / "bars.png")
    _write(out / "report.json", json.dumps(report, indent=1) + "\n")
    _write(out / "report.md", _markdown(about, results, held, picture))
    return report


def _markdown(about, results, held: list[tuple[str, Figure]], picture: Path) -> str:
    lines = ["# Evaluation", ""]
    lines += [f"- {name}: {json.dumps(value) if isinstance(value, dict) else value}" for name, value in about.items()]
    lines += ["", "Shares carry 95 % Wilson intervals; a bar counts as met when the value itself reaches it.", ""]
    if held:
        lines += ["## Bars", "", "| section | figure | value | bar | |", "|---|---|---|---|---|"]
        for title, figure in held:
            verdict = {True: "met", False: "**not met**", None: "not measured"}[figure.met]
            lines.append(f"| {title} | {figure.name} | {_value(figure)} | {_bar(figure)} | {verdict} |")
        lines.append("")
    lines += [f"![Shares]({picture.name})", ""]
    for result in results.values():
        lines += [f"## {result.title}", "", result.text, ""]
        for name, table in result.tables.items():
            lines += [f"### {name}", "", "| figure | value | 95 % interval | cases | bar |", "|---|---|---|---|---|"]
            for figure in table:
                bar = "" if figure.bar is None else _bar(figure)
                lines.append(f"| {figure.name} | {_value(figure)} | {_interval(figure)} | {figure.of} | {bar} |")
            lines.append("")
        for caption, path in result.sheets.items():
            lines += [f"{caption}:", "", f"![{caption}]({path.name})", ""]
    return "\n".join(lines)


def _digits(figure: Figure) -> str:
    return {"%": ".1f", "dB": ".2f"}.get(figure.unit, ".4f")


def _value(figure: Figure) -> str:
    return "not measured" if figure.value is None else f"{figure.value:{_digits(figure)}} {figure.unit}".rstrip()


def _bar(figure: Figure) -> str:
    return f"{'≤' if figure.most else '≥'} {figure.bar:g} {figure.unit}".rstrip()


def _interval(figure: Figure) -> str:
    if figure.low is None or figure.high is None:
        return ""
    return f"{figure.low:{_digits(figure)}} to {figure.high:{_digits(figure)}}"


def _write(path: Path, text: str) -> None:
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8")
