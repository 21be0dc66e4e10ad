"""The jobs of a table on a Ray cluster: a pool of actors, each with a headless ComfyUI of its own.

Where actors run, that they are started again when they or their machine die, and that a row whose actor died is done
again are Ray's work (https://docs.ray.io/en/latest/ray-core/fault_tolerance/actors.html). An actor looks into the
manifest before it does a row: what its predecessor finished is not done twice.
"""

from __future__ import annotations

import os
import platform
import socket
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import ray
from ray.exceptions import RayActorError, RayTaskError

from ..errors import UserError
from .client import Client
from .host import HostError, Server, find_hosts, own_python
from .run import Worker
from .store import FAILED, Record, Store
from .table import Row

CLOSE = 5.0  # seconds that actors may take to stop their hosts
REACH = 10.0  # seconds to reach the head of a cluster


class Actor:
    """One host and the rows that it is given, one after the other.

    Args:
        url: of a host that runs already; None starts one on the actor's machine and keeps it.
    """

    def __init__(self, workflow: dict, location: str, url: str | None, options: dict):
        self.workflow, self.store, self.url, self.options = workflow, Store(location), url, options
        self.server: Server | None = None
        self.worker: Worker | None = None

    def ready(self) -> str:
        """Start the host; returns the machine's name. Also called by a successor that Ray started, hence not at once:
        an error in the constructor could not be told to anybody."""
        if self.worker is None:
            client = Client(self.url) if self.url else self._start()
            self.worker = Worker(client, self.store, self.workflow, **self.options)
        return platform.node()

    def close(self) -> None:
        """Stop the host, so that its folder goes too. A killed actor takes the process along, but not the folder."""
        if self.server is not None:
            self.server.stop()

    def _start(self) -> Server:
        hosts = find_hosts()
        if not hosts:
            raise HostError(f"There is no ComfyUI on {platform.node()}: set COMFYUI_PATH there before Ray is started.")
        gpus = ray.get_runtime_context().get_accelerator_ids().get("GPU")
        self.server = Server(hosts[0], own_python(hosts[0]), cpu=not gpus)
        return self.server.start()

    def check(self, rows: list[Row]) -> None:
        self.ready()
        self.worker.check(rows)

    def run(self, row: Row) -> Record:
        record = self.store.record(row.number)
        if self.store.finished(record, row.digest):
            return record
        self.ready()
        return self.worker.run(row, record)


@contextmanager
def joined(address: str) -> Iterator[None]:
    """Connect to the Ray cluster that this machine has joined, by its address or "auto"; "local" starts one here.

    Raises:
        UserError: there is none.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        if address not in (
            "auto",
            "local",
        ):  # at an address where nobody is, Ray tries for minutes and ends the process
            place = urlsplit(address if "://" in address else f"ray://{address}")
            socket.create_connection((place.hostname, place.port), timeout=REACH).close()
        ray.init(address=address, logging_level="warning", include_dashboard=False if address == "local" else None)
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        raise UserError(
            f"No Ray cluster answers at {address!r}, or this machine has not joined it: use `ray start --head`, "
            "`ray start --address ADDRESS` or --ray local."
        ) from error
    try:
        yield
    finally:
        ray.shutdown()


def on_cluster(
    rows: list[Row],
    store: Store,
    workflow: dict,
    options: dict,
    tell: Callable[[Record], None],
    *,
    urls: list[str],
    actors: int | None,
) -> None:
    """Do rows on the cluster that was `joined`; `tell` gets each record.

    Args:
        options: of `Worker`.
        urls: hosts that run already, an actor for each; with none, an actor starts its own.
        actors: how many start a host; by default one per GPU of the cluster, or one per machine where there is none.

    Raises:
        UserError: a host cannot be started or reached, or the results cannot be written.
    """
    gpus = int(ray.cluster_resources().get("GPU", 0))
    count = actors or gpus or sum(node["Alive"] for node in ray.nodes())
    needs = {"num_cpus": 0} if urls else {"num_cpus": 1, "num_gpus": 1 if gpus else 0}
    made = ray.remote(Actor).options(
        **needs, scheduling_strategy="SPREAD", max_restarts=-1, max_task_retries=options["retries"]
    )
    location = store.root if store.local else store.location
    pool = [made.remote(workflow, location, url, options) for url in urls or [None] * min(count, len(rows))]
    try:
        _spread(pool, rows, tell, lambda row: _given_up(store, row, options["retries"]))
    finally:
        ray.wait([actor.close.remote() for actor in pool], num_returns=len(pool), timeout=CLOSE)


def _spread(pool: list, rows: list[Row], tell: Callable[[Record], None], give_up: Callable[[Row], Record]) -> None:
    """Give each actor a row whenever it has none; `give_up` makes the record of a row that killed too many."""
    busy = {actor.ready.remote(): (actor, None) for actor in pool}
    waiting, checked = deque(rows), False
    while waiting or any(row for _, row in busy.values()):  # an actor for which there is no room is never ready
        (answer,), _ = ray.wait(list(busy), num_returns=1)
        actor, row = busy.pop(answer)
        try:
            record = ray.get(answer)
            if not checked:
                ray.get(actor.check.remote(rows))
                checked = True
        except RayTaskError as error:
            raise error.cause if isinstance(error.cause, UserError) else error from None
        except RayActorError as error:  # more often than it is tried again
            if row is None:
                raise UserError(f"An actor could not be started: {str(error).splitlines()[0]}") from error
            record = give_up(row)
        if row is not None:
            tell(record)
        if waiting:
            row = waiting.popleft()
            busy[actor.run.remote(row)] = actor, row


def _given_up(store: Store, row: Row, retries: int) -> Record:
    record = store.record(row.number)
    if store.finished(record, row.digest):  # the last one died between its record and its answer
        return record
    said = f"Its actor died {retries + 1} times."
    record = Record(row.number, row.digest, row.settings | row.uploads, FAILED, error=said)
    store.keep(record)
    return record
