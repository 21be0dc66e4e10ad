"""The jobs of a table on one running host: queued, followed, tried again, fetched, recorded, and resumed.

Nothing is done twice because a job's id is chosen here and recorded before the host hears of it: after a crash, a lost
answer or a lost connection the host is asked whether it has got that job.
"""

from __future__ import annotations

import copy
import math
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from contextlib import suppress
from datetime import datetime, timezone
from pathlib import PurePosixPath

from ..errors import UserError
from . import workflow as workflows
from .client import Client, HostGone, Interrupted, Refused, WorkflowError, ended, files_of
from .store import DONE, FAILED, QUEUED, Record, Store
from .table import UNSAFE, Row, content_name, folded, opened, owners_of

LOOK = 10.0  # seconds after which the host is asked about a job of which nothing was heard
LONGEST_PAUSE = 30.0  # seconds between two attempts, at most


class HostLost(HostGone):
    """The host went away while the run was under way, and did not come back in time."""


class Stopped(Exception):
    """The run was told to end."""


class Worker:
    """Does rows on one host; several threads may share one.

    Args:
        workflow: in either format.
        retries: how often a job that failed is tried again.
        patience: seconds for which a host that does not answer is waited for, each time anew.
    """

    def __init__(self, client: Client, store: Store, workflow: dict, *, retries: int = 2, patience: float = 60.0):
        self.client, self.store, self.retries, self.patience = client, store, retries, patience
        try:
            self.info = client.object_info()
        except WorkflowError as error:  # no such page
            raise UserError(f"What answers at {client.url} is not a ComfyUI: name the address of one.") from error
        self.api = workflows.to_api(workflow, self.info)
        self.extra = {"workflow": workflow} if workflows.is_saved(workflow) else None
        self.stop = threading.Event()
        self.watchers: list[Callable[[str, dict], None]] = []
        self._ends: dict[str, threading.Event] = {}
        self._hears = threading.Event()
        threading.Thread(target=self._listen, daemon=True).start()
        self._hears.wait(LOOK)  # else the ends of the first jobs might be missed

    def check(self, rows: list[Row]) -> None:
        """Whether every row can be set.

        Raises:
            UserError: an unknown node or input, a value of another kind, a file to upload that is not there.
        """
        for row in rows:
            try:
                self._set(row, row.uploads)
            except UserError as error:
                raise UserError(f"Row {row.number}: {error}") from error
            for file in row.uploads.values():
                opened(file, row.number).close()

    def run(self, row: Row, record: Record | None = None) -> Record:
        """Do a row, or take up where its `record` says that an earlier run stopped.

        Returns its new record, which is in the manifest; a job that fails for good is recorded as failed.

        Raises:
            HostLost: the host did not come back.
            UserError: the results cannot be written.
            Stopped: the run was told to end.
        """
        if record is None or record.state != QUEUED:
            record = Record(row.number, row.digest, row.settings | row.uploads)
        failures, silent_since, pause, uploaded = 0, -math.inf, 1.0, {}
        while True:
            try:
                return self._attempt(row, record, uploaded)
            except HostGone as error:
                if self.client.answered > silent_since:  # it was there meanwhile: a silence of its own
                    silent_since, pause = time.monotonic(), 1.0
                if time.monotonic() - silent_since > self.patience:
                    raise HostLost(str(error)) from error
                self._sleep(min(pause, self.patience))
                self.client.revive()
            except WorkflowError as error:
                self._ends.pop(record.prompt_id, None)
                failures, record.prompt_id = failures + 1, None
                if isinstance(error, Refused | Interrupted) or failures > self.retries:
                    record.state, record.refused = FAILED, isinstance(error, Refused)
                    record.error = with_sources(str(error), row, uploaded)
                    self.store.keep(record)
                    return record
                self._sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def _attempt(self, row: Row, record: Record, uploaded: dict[str, str]) -> Record:
        """Once; `uploaded` gets the host's name of every file that is sent, by input."""
        sent = record.prompt_id in self._ends  # by this run: a host that has lost it may have died of it
        if not sent and (record.prompt_id is None or not self.client.knows(record.prompt_id)):
            uploaded.update(self._upload(row))
            api = self._set(row, uploaded)
            record.prompt_id, record.host = str(uuid.uuid4()), self.client.url
            record.seed, record.time = seed_of(api), datetime.now(timezone.utc).isoformat(timespec="milliseconds")
            self._ends[record.prompt_id] = threading.Event()
            self.store.keep(record)
            self.client.queue(api, record.prompt_id, self.extra)
        else:
            self._ends.setdefault(record.prompt_id, threading.Event())
        record.files = list(self._fetch(row, self._outputs(record.prompt_id)))
        queued = datetime.fromisoformat(record.time)
        record.seconds = round((datetime.now(timezone.utc) - queued).total_seconds(), 3)
        record.state, record.error = DONE, None
        self.store.keep(record)
        del self._ends[record.prompt_id]
        return record

    def _outputs(self, prompt_id: str) -> dict[str, dict]:
        """Wait for the end of a job: the websocket says when to look, the host's history says what came out."""
        end = self._ends[prompt_id]
        while True:
            outputs = self.client.outcome(prompt_id)
            if outputs is not None:
                return outputs
            if not self.client.knows(prompt_id):
                raise WorkflowError("The host has lost the job: it was restarted, or its queue was cleared.")
            for _ in range(round(LOOK * 4)):
                if end.wait(0.25) or self.stop.is_set():
                    break
            if self.stop.is_set():
                with suppress(HostGone, WorkflowError):
                    self.client.withdraw(prompt_id)  # what runs already is found by the next run
                raise Stopped
            end.clear()

    def _fetch(self, row: Row, outputs: dict) -> Iterator[dict]:
        items = [item for item in files_of(outputs) if item.get("type", "output") == "output"]
        if not items:
            raise Refused("The workflow saves no file: give it a node such as SaveVideo or SaveImage.")
        for number, item in enumerate(items, 1):
            ending = UNSAFE.sub("", PurePosixPath(item["filename"]).suffix)
            place = f"-{number:0{len(str(len(items)))}d}" if len(items) > 1 else ""  # so that names sort as files do
            name = f"{row.name}{place}{ending}"
            with self.store.writing(name) as file:
                digest, size = self.client.download(item, file)
            yield {"file": name, "sha256": digest, "bytes": size}

    def _set(self, row: Row, uploaded: dict[str, str]) -> dict:
        api = copy.deepcopy(self.api)
        for name, value in (row.settings | uploaded).items():
            workflows.set_input(api, self.info, name, value)
        return api

    def _upload(self, row: Row) -> dict[str, str]:
        names = {}
        for key, path in row.uploads.items():
            with opened(path, row.number) as file:
                name = content_name(file, path, row.number)
                file.seek(0)
                names[key] = self.client.upload(file, name)
        return names

    def _listen(self) -> None:
        """Pass on what the host says, for as long as there is one; without it jobs are found by asking."""
        pause = 1.0
        while not self.stop.is_set():
            try:
                for kind, data in self.client.events():
                    pause = 1.0
                    self._hears.set()
                    end = self._ends.get(data["prompt_id"]) if ended(kind, data) else None
                    if end is not None:
                        end.set()
                    for watcher in self.watchers:
                        watcher(kind, data)
                    if self.stop.is_set():
                        return
            except HostGone:
                self.stop.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE)

    def _sleep(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Stopped


def remaining(rows: list[Row], store: Store) -> list[tuple[Row, Record | None]]:
    """The rows that have no result yet, with what is known about them. Failed ones, perhaps mended, are among them.

    Raises:
        UserError: the folder holds the results of other jobs, or a row would overwrite those of another one.
    """
    records, left = store.records(), []
    for row in rows:
        record = records.get(row.number)
        if record is not None and record.state != FAILED and record.digest != row.digest:
            raise UserError(
                f"Row {row.number} in {store.location} was made from another workflow, table, --set or uploaded file: "
                f"name another folder with --out, or remove its manifest/{row.number:05d}.json."
            )
        if not store.finished(record, row.digest):
            left.append((row, record))
    # A name is no part of the job, so that rows that are done keep theirs when --name or a cell in it has changed.
    again = {row.number for row, _ in left}
    kept = [record for record in records.values() if record.state == DONE and record.row not in again]
    owners = {name: record.row for record in kept for file in record.files for name in owners_of(file["file"])}
    for row, _ in left:
        if owner := owners.get(folded(row.name)):
            raise UserError(
                f"Row {row.number} would be called {row.name!r}, and row {owner} in {store.location} has a result of "
                "that name: put {row} into --name, or name another folder with --out."
            )
    return left


def on_host(
    worker: Worker, left: list[tuple[Row, Record | None]], waiting: int, tell: Callable[[Record], None]
) -> None:
    """Do rows on one host, at most `waiting` of them in its queue at a time; `tell` gets each record.

    Raises:
        HostLost: the host went away for good.
        UserError: the results cannot be written; all that was queued and not started is withdrawn.
        KeyboardInterrupt: likewise.
    """
    pool = ThreadPoolExecutor(waiting)
    pending = {pool.submit(worker.run, row, record) for row, record in left}
    try:
        while pending:
            done, pending = wait(pending, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in sorted(done, key=lambda future: future.exception() is not None):  # what was done counts
                tell(future.result())
    finally:
        worker.stop.set()
        pool.shutdown(wait=True, cancel_futures=True)


def with_sources(said: str, row: Row, uploaded: dict[str, str]) -> str:
    """What a host said, with a person's names of the uploaded files that it speaks of: its own are made of digits."""
    files = dict.fromkeys(row.uploads[key] for key, name in uploaded.items() if name in said)
    return f"{said.rstrip('.')} (uploaded from {', '.join(files)})" if files else said


def seed_of(api: dict) -> int | list[int] | None:
    """What a workflow in API format draws its random numbers from."""
    values = [
        value
        for node in api.values()
        for name, value in node["inputs"].items()
        if name in ("seed", "noise_seed") and isinstance(value, int)
    ]
    return values[0] if len(values) == 1 else values or None
