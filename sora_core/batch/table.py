"""Tables of jobs: a row of a CSV, JSON Lines or Parquet file becomes settings, uploads and a name."""

from __future__ import annotations

import csv
import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import BinaryIO

import fsspec

from ..errors import UserError

UNSAFE = re.compile(r'[\x00-\x1f\x7f/\\:*?"<>|]+')  # in a file name of one of the usual systems
NUMBERED = re.compile(r"(.+)-[0-9]+")  # so are several files of a row called
LOCAL = ("file", "local")  # protocols of fsspec whose files are read here, at no cost worth speaking of
BLOCK = 1 << 20
LONGEST = 80  # bytes of a name that may come out of one cell


@dataclass(frozen=True)
class Row:
    """One job.

    Attributes:
        number: of the row in the table, from 1.
        name: of its results, below the output folder and without ending.
        settings: "node.input" -> value.
        uploads: "node.input" -> file that is sent to the host first.
        digest: of everything that decides about the result: the workflow, the settings, the content of uploads that
            are local files (of others the address). Tells whether a result on disk is of this very job.
    """

    number: int
    name: str
    settings: dict[str, object]
    uploads: dict[str, str]
    digest: str


def read(path: str | Path) -> list[dict]:
    """The rows of a .csv, .jsonl or .parquet file, each {column: cell}; a cell that is not there is left out.

    Raises:
        UserError: no such file, another format, or a line that cannot be read.
    """
    path = Path(path)
    readers = {".csv": _csv, ".jsonl": _jsonl, ".parquet": _parquet}
    if path.suffix.lower() not in readers:
        raise UserError(f"{path} is no table: its name must end in {', '.join(readers)}.")
    try:
        rows = readers[path.suffix.lower()](path)
    except OSError as error:
        raise UserError(f"The table {path} cannot be read: {(error.strerror or str(error)).lower()}.") from error
    except UnicodeDecodeError as error:
        raise UserError(f"The table {path} is not text in UTF-8: save it so.") from error
    if not rows:
        raise UserError(f"The table {path} has no rows.")
    return rows


def _csv(path: Path) -> list[dict]:
    with path.open(newline="", encoding="utf-8-sig") as file:
        table = csv.DictReader(file, strict=True)
        try:
            rows = list(table)
        except csv.Error as error:
            raise UserError(f"Line {table.line_num} of {path} cannot be read: {error}.") from error
    for number, row in enumerate(rows, 1):
        if None in row:
            raise UserError(f"Row {number} of {path} has more cells than there are columns: quote cells with commas.")
    # a column without a name numbers the rows, as pandas does, or is an empty one of a spreadsheet
    return [{name: cell for name, cell in row.items() if name and cell is not None} for row in rows]


def _jsonl(path: Path) -> list[dict]:
    rows = []
    lines = path.read_text(encoding="utf-8-sig").split("\n")  # splitlines would cut at U+2028 too, inside a string
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
            json.dumps(row, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            said = f"Line {number} of {path} has a lone surrogate, {error.object[error.start]!a}"
            raise UserError(f"{said}: write both halves of that character, or neither.") from error
        except ValueError as error:
            raise UserError(f"Line {number} of {path} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise UserError(f'Line {number} of {path} is not a JSON object: write {{"column": value, ...}}.')
        rows.append({name: cell for name, cell in row.items() if cell is not None})
    return rows


def _parquet(path: Path) -> list[dict]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise UserError("A .parquet table needs pyarrow: pip install '.[batch]' in a clone of the pack.") from error

    try:
        rows = pyarrow.parquet.read_table(path).to_pylist()
    except pyarrow.ArrowException as error:
        raise UserError(f"{path} is not a Parquet file: {str(error).splitlines()[0]}") from error
    return [{name: cell for name, cell in row.items() if cell is not None} for row in rows]


def jobs(table: list[dict], workflow: dict, settings: dict[str, str], uploads: dict[str, str], name: str) -> list[Row]:
    """The jobs of a table.

    Args:
        settings, uploads: "node.input" -> template; {column} in a template is the row's cell, {row} its number, {{ a
            brace. A template that is one column and nothing else keeps the cell's type.
        name: template of the results' names; "/" makes folders, but never one in a cell.

    Raises:
        UserError: a row lacks a column, results of two rows could get the same name, or a local file to upload cannot
            be read.
    """
    rows, owners, contents = [], {}, {}
    for number, cells in enumerate(table, 1):
        cells = {"row": number} | cells
        filled = [
            {key: fill(template, cells, f"Row {number}") for key, template in group.items()}
            for group in (settings, uploads)
        ]
        safe = {key: safe_name(cell) if isinstance(cell, str) else cell for key, cell in cells.items()}
        called = str(fill(name, safe, f"Row {number}"))
        if not called.strip("/") or ".." in called.split("/") or called.startswith("/"):
            raise UserError(f"Row {number} would be called {called!r}, which is no file name below the output folder.")
        if folded(called) in owners:
            both = f"Rows {owners[folded(called)]} and {number} would both be called {called!r}"
            raise UserError(f"{both}: put {{row}} into --name.")
        owners[folded(called)] = number
        sent = {key: str(file) for key, file in filled[1].items()}
        for file in sent.values():
            if fsspec.utils.get_protocol(file) in LOCAL and file not in contents:
                with opened(file, number) as data:
                    contents[file] = content_name(data, file, number)
        decisive = [workflow, filled[0], {key: contents.get(file, file) for key, file in sent.items()}]
        digest = hashlib.sha256(json.dumps(decisive, sort_keys=True, default=str).encode()).hexdigest()
        rows.append(Row(number, called, filled[0], sent, digest))
    for key, number in owners.items():
        numbered = NUMBERED.fullmatch(key)
        if numbered and numbered[1] in owners:
            both = f"Rows {owners[numbered[1]]} and {number} could both make a file called {rows[number - 1].name!r}"
            raise UserError(f"{both}, as several files of a row are numbered: let --name begin with {{row}}.")
    return rows


def opened(path: str, row: int) -> BinaryIO:
    """A file to upload with a row, anywhere that fsspec knows.

    Raises:
        UserError: it cannot be read.
    """
    with _explained(path, row):
        return fsspec.open(path, "rb").open()


def content_name(file: BinaryIO, path: str, row: int) -> str:
    """The name under which a file is uploaded, from what is in it: two files never overwrite each other.

    Raises:
        UserError: it cannot be read.
    """
    digest = hashlib.sha256()
    with _explained(path, row):
        while block := file.read(BLOCK):
            digest.update(block)
    return f"{digest.hexdigest()[:24]}{UNSAFE.sub('', PurePosixPath(path).suffix)}"


@contextmanager
def _explained(path: str, row: int) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # a file system without credentials, for one, raises an error of its own kind
        raise UserError(f"Row {row}: {path} cannot be read, so it cannot be uploaded.") from error


def assignments(texts: Iterable[str]) -> dict[str, str]:
    """["node.input=template", ...] -> {"node.input": template}.

    Raises:
        UserError: one has another form, or an input is set twice.
    """
    result = {}
    for text in texts:
        key, sign, template = text.partition("=")
        if not sign or "." not in key:
            raise UserError(f"{text!r} sets nothing: write NODE.INPUT=VALUE, such as 'Prompt.text={{prompt}}'.")
        if key in result:
            raise UserError(f"{key} is set twice.")
        fields(template)
        result[key] = template
    return result


def fields(template: str) -> list[tuple[str, str | None, str | None]]:
    """(text before, column, format) of each part of a template.

    Raises:
        UserError: a lone brace.
    """
    try:
        return [(before, column, form) for before, column, form, _ in Formatter().parse(template)]
    except ValueError as error:
        raise UserError(f"{template!r} has a brace without its partner: write {{{{ for a brace itself.") from error


def fill(template: str, cells: dict, where: str):
    """A template with a row's cells in it; `where` names the row in errors."""
    parts, text = fields(template), ""
    for before, column, form in parts:
        text += before
        if column is None:
            continue
        if column not in cells:
            raise UserError(f"{where} has no value for {column!r}; it has {', '.join(map(str, cells))}.")
        if template == f"{{{column}}}":
            return cells[column]
        try:
            text += format(cells[column], form)
        except (ValueError, TypeError) as error:
            raise UserError(f"{where}: {cells[column]!r} cannot be written as {{{column}:{form}}}.") from error
    return text


def folded(name: str) -> str:
    """A name of results as all systems tell it from others: some make one file of A and a."""
    return posixpath.normpath(name).casefold()


def owners_of(file: str) -> list[str]:
    """The `folded` form of every name by which a row could have made a file."""
    stem = folded(posixpath.splitext(file)[0])
    numbered = NUMBERED.fullmatch(stem)
    return [stem, numbered[1]] if numbered else [stem]


def safe_name(text: str) -> str:
    """A cell as a part of a file name."""
    return UNSAFE.sub("_", text).encode()[:LONGEST].decode(errors="ignore").strip(" .") or "_"
