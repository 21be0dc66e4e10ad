"""Where results and their records go: a folder or any location that fsspec knows (s3://, gs://, ...).

A record is a file of its own, `manifest/00001.json`: it appears whole or not at all everywhere, which a line in a
growing file does not on an object store, and many machines write records without hindering each other.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import BinaryIO

import fsspec
from fsspec.implementations.local import LocalFileSystem

from ..errors import UserError
from ..files import check_writable, explain, replacing

NAMED = re.compile(r"(^|/)\d+\.json$")
QUEUED, DONE, FAILED = "queued", "done", "failed"


@dataclass
class Record:
    """What became of a row; one file of the manifest."""

    row: int
    digest: str  # of the job, see `table.Row`
    settings: dict
    state: str = QUEUED  # also where the program stopped meanwhile: then the host is asked for `prompt_id`
    host: str | None = None
    prompt_id: str | None = None
    seed: int | list[int] | None = None
    files: list[dict] = field(default_factory=list)  # {"file", "sha256", "bytes"}
    time: str | None = None  # when it was queued last, ISO 8601 in UTC
    seconds: float | None = None  # from then until its results were here
    error: str | None = None
    refused: bool = False  # failed, and the same job would fail again


class Store:
    """The output folder of one run.

    Args:
        location: a folder, or a URL of fsspec.

    Raises:
        UserError: from every method, when the place cannot be read or written.
    """

    def __init__(self, location: str):
        self.location = location
        with self._explained("used"):  # an unknown protocol, or one whose package or credentials are missing
            self.fs, self.root = fsspec.core.url_to_fs(location)
        self.local = isinstance(self.fs, LocalFileSystem)

    def check(self) -> None:
        """Make sure, before long work, that something can be written. A local folder is made with the first file in it:
        what is refused before that leaves nothing."""
        if self.local:
            path = Path(self._path(_name(0)))
            while not os.path.lexists(path.parent) and path != path.parent:
                path = path.parent  # the first that has to be made
            check_writable(path)
        else:
            with self._explained():
                self.fs.makedirs(f"{self.root}/manifest", exist_ok=True)

    def records(self) -> dict[int, Record]:
        """Row -> its record, of every row that has one."""
        with self._explained():
            self.fs.invalidate_cache()
            try:  # not `exists`, which takes every error for a no
                names = self.fs.ls(self._path("manifest"), detail=False)
            except FileNotFoundError:
                names = []
            names = [name for name in names if NAMED.search(name)]  # a kill leaves parts of files as well
            texts = self.fs.cat_ranges(names, None, None, on_error="raise")  # side by side where there is a network
        records = [_record(name, text) for name, text in zip(names, texts, strict=True)]
        return {record.row: record for record in records}

    def record(self, row: int) -> Record | None:
        """The record of a row, if it has one."""
        path = self._path(_name(row))
        with self._explained():
            try:
                text = self.fs.cat_file(path)
            except FileNotFoundError:
                return None
        return _record(path, text)

    def keep(self, record: Record) -> None:
        text = json.dumps(asdict(record), ensure_ascii=False, indent=1, default=str)
        with self.writing(_name(record.row)) as file:
            file.write(text.encode())

    def finished(self, record: Record | None, digest: str) -> bool:
        """Whether this is the record of a job of this digest that is done, and its files are still there."""
        done = record is not None and record.state == DONE and record.digest == digest
        return done and all(self.exists(file["file"]) for file in record.files)

    def exists(self, name: str) -> bool:
        with self._explained():
            try:
                self.fs.info(self._path(name))
            except FileNotFoundError:
                return False
        return True

    @contextmanager
    def writing(self, name: str) -> Iterator[BinaryIO]:
        """A file that appears under `name` when the block succeeds, and not at all otherwise."""
        if self.local:
            with replacing(self._path(name)) as part, part.open("wb") as file:
                yield file
            return
        with tempfile.TemporaryDirectory() as folder:
            part = Path(folder) / "part"
            try:
                with part.open("wb") as file:
                    yield file
            except OSError as error:
                raise explain(error, part) from error
            with self._explained():
                self.fs.makedirs(self.fs._parent(self._path(name)), exist_ok=True)
                self.fs.put_file(str(part), self._path(name))  # object stores show a file when it is complete

    def _path(self, name: str) -> str:
        return str(Path(self.root) / name) if self.local else f"{self.root}/{name}"

    @contextmanager
    def _explained(self, verb: str = "reached") -> Iterator[None]:
        try:
            yield
        except Exception as error:  # not OSErrors only: without credentials, say, each file system raises its own kind
            said = next(iter(str(error).splitlines()), "").rstrip(".") or type(error).__name__
            raise UserError(f"{self.location} cannot be {verb}: {said}.") from error


def _name(row: int) -> str:
    return f"manifest/{row:05d}.json"


def _record(path: str, text: bytes) -> Record:
    try:
        return Record(**json.loads(text))
    except (ValueError, TypeError) as error:
        raise UserError(f"{path} is not a record of a row: move it away.") from error
