"""Figures: shares with their uncertainty, means, and the bars that they are held against."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

ALL_FOUR = ("background", "colour", "shape", "motion")
SHOWN = (*ALL_FOUR, "all four", "count", "style", "camera")  # in the order of the report

Verdict = Mapping[str, bool | None]  # attribute -> right, wrong, or None where the question does not arise


def wilson(right: int, of: int) -> tuple[float, float]:
    """The 95 % interval of a share (Wilson 1927), which behaves near 0 and 1 and for few cases."""
    if of == 0:
        return 0.0, 1.0
    share, z = right / of, 1.96
    middle = share + z * z / (2 * of)
    spread = z * math.sqrt(share * (1 - share) / of + z * z / (4 * of * of))
    scale = 1 + z * z / of
    return max(0.0, (middle - spread) / scale), min(1.0, (middle + spread) / scale)


@dataclass(frozen=True)
class Figure:
    """One number of the report.

    Args:
        value: None where nothing could be measured.
        unit: "%", "dB" or "".
        low, high: 95 % interval, where there is one.
        of: number of cases behind it.
        bar: what it should reach; None is only reported.
        most: the bar is the most that it may be, not the least.
    """

    name: str
    value: float | None
    unit: str = ""
    low: float | None = None
    high: float | None = None
    of: int = 0
    bar: float | None = None
    most: bool = False

    @property
    def met(self) -> bool | None:
        """Whether the value, not its interval, reaches the bar; None where there is no bar or no value."""
        if self.bar is None or self.value is None:
            return None
        return self.value <= self.bar if self.most else self.value >= self.bar

    def to_dict(self) -> dict:
        return {**vars(self), "met": self.met}


def share(name: str, results: Iterable[bool | None], bar: float | None = None) -> Figure:
    """The share of True among what is not None, in per cent."""
    results = [bool(result) for result in results if result is not None]
    right, of = sum(results), len(results)
    low, high = wilson(right, of)
    value = 100 * right / of if of else None
    return Figure(name, value, "%", 100 * low, 100 * high, of, bar)


def mean(name: str, values: Iterable[float], unit: str = "", bar: float | None = None, most: bool = False) -> Figure:
    """A mean with the 95 % interval of its standard error; in dB, 100 stands for the infinite of identical pictures."""
    values = [min(float(value), 100.0 if unit == "dB" else math.inf) for value in values]
    if not values:
        return Figure(name, None, unit, bar=bar, most=most)
    n, average = len(values), math.fsum(values) / len(values)
    spread = 1.96 * math.sqrt(math.fsum((v - average) ** 2 for v in values) / (n - 1) / n) if n > 1 else None
    low, high = (None, None) if spread is None else (average - spread, average + spread)
    return Figure(name, average, unit, low, high, n, bar, most)


def with_all_four(verdict: Verdict) -> dict[str, bool | None]:
    """Adds "all four": everything that a prompt says is right. None where one of the four does not arise."""
    four = [verdict[name] for name in ALL_FOUR]
    return {**verdict, "all four": None if None in four else all(four)}


def shares(verdicts: Iterable[Verdict], bars: Mapping[str, float] | None = None) -> list[Figure]:
    """A figure for every attribute that was asked about at least once."""
    verdicts = [with_all_four(verdict) for verdict in verdicts]
    figures = [share(name, (v.get(name) for v in verdicts), (bars or {}).get(name)) for name in SHOWN]
    return [figure for figure in figures if figure.of]


@dataclass
class Result:
    """What one section of the evaluation found.

    Args:
        title: of the section.
        text: how it was measured, in a sentence or two.
        tables: name -> figures.
        sheets: caption -> picture in the report's folder.
    """

    title: str
    text: str
    tables: dict[str, list[Figure]]
    sheets: dict[str, Path] = field(default_factory=dict)

    @property
    def figures(self) -> list[Figure]:
        return [figure for table in self.tables.values() for figure in table]

    def to_dict(self) -> dict:
        return {
            "title": self.title,
            "text": self.text,
            "tables": {name: [figure.to_dict() for figure in table] for name, table in self.tables.items()},
            "sheets": {caption: path.name for caption, path in self.sheets.items()},
        }
