"""Configs: dataclasses out of files, which may hold anything. Types are checked here; a class checks its own ranges."""

from __future__ import annotations

import dataclasses
import math
import types
import typing

from .errors import UserError


def build(cls: type, table: object, where: str):
    """A dataclass from a TOML table.

    Raises:
        UserError: a setting that the class does not know, one that it lacks, or a value it refuses; named.
    """
    if not isinstance(table, dict):
        raise UserError(f"{where} must be a table, not {table!r:.40}.")
    known = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(set(table) - set(known))
    if unknown:
        raise UserError(f"{where} has no setting {unknown[0]!r}; it knows {', '.join(sorted(known))}.")
    hints = typing.get_type_hints(cls)
    for name, field in known.items():
        if name not in table:
            if field.default is field.default_factory is dataclasses.MISSING:
                raise UserError(f"{where} lacks the setting {name!r}.")
        elif not fits(table[name], hints[name]):
            raise UserError(f"{where} {name} must be {_said(hints[name])}, not {table[name]!r:.40}.")
    try:
        return cls(**table)
    except UserError:  # of a table in this one
        raise
    except ValueError as error:
        raise UserError(f"{where} {error}.") from None


def fits(value: object, hint: object) -> bool:
    """Whether a value out of a file, where tuples are lists, is of the type that a config declares, and finite."""
    if isinstance(hint, types.UnionType):
        return any(fits(value, one) for one in typing.get_args(hint))
    if typing.get_origin(hint) is tuple:
        of = typing.get_args(hint)
        if not isinstance(value, list | tuple) or (of[-1] is not ... and len(value) != len(of)):
            return False
        return all(fits(v, of[0] if of[-1] is ... else of[i]) for i, v in enumerate(value))
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e30  # neither NaN
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    return isinstance(value, hint)


def bounded(config: object, least: float, most: float, *names: str) -> None:
    """Refuse the fields of these names that are not from `least` to `most`."""
    for name in names:
        value = getattr(config, name)
        if not least <= value <= most:
            limits = f"at least {least}" if most == math.inf else f"from {least} to {most}"
            raise ValueError(f"{name} must be {limits}, not {value}")


def _said(hint: object) -> str:
    if of := typing.get_args(hint):
        return "a list" if of[-1] is ... else f"a list of {len(of)} numbers"
    return {int: "a whole number", float: "a number", bool: "true or false", str: "text in quotes"}[hint]
