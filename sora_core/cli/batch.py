"""`sora batch`: the rows of a table through a workflow, on a running ComfyUI or on a Ray cluster."""

from __future__ import annotations

import argparse
import sys
import time
from collections import deque
from pathlib import Path

from ..errors import UserError
from .options import Commands, folder, integer, positive, result, whole

HOST = "http://127.0.0.1:8188"


def register(commands: Commands) -> None:
    batch = commands.add("batch", run_batch, "the rows of a table through a workflow, on running ComfyUI hosts")
    batch.add_argument("workflow", type=Path, help="JSON as ComfyUI saves it, or in API format")
    batch.add_argument("--table", type=Path, required=True, metavar="FILE", help="csv, jsonl or parquet; a job per row")
    batch.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="NODE.INPUT=VALUE",
        help="NODE is an id, a title or a class; {column} in VALUE is the row's cell, {row} its number",
    )
    batch.add_argument(
        "--upload", action="append", default=[], metavar="NODE.INPUT=FILE", help="send a file to the host and set it"
    )
    batch.add_argument(
        "--out", type=place, required=True, metavar="DIR|URL", help="folder, or s3://..., gs://... (fsspec)"
    )
    batch.add_argument("--name", default="{row:05d}", metavar="PATTERN", help="of the results (default {row:05d})")
    batch.add_argument(
        "--host", action="append", default=[], metavar="URL", help=f"default {HOST}; several only with --ray"
    )
    batch.add_argument(
        "--waiting",
        type=whole,
        default=4,
        metavar="N",
        help="jobs in the queue at a time (default 4); with --ray always one a host",
    )
    batch.add_argument("--retries", type=count, default=2, metavar="N", help="of a job that failed (default 2)")
    batch.add_argument(
        "--patience",
        type=positive,
        default=60.0,
        metavar="S",
        help="seconds to wait for a host that went away (default 60)",
    )
    batch.add_argument(
        "--ray", metavar="ADDRESS", help="the Ray cluster this machine joined (auto, or its address), or local"
    )
    batch.add_argument("--actors", type=whole, metavar="N", help="with --ray: hosts to start (default one per GPU)")


def place(text: str) -> str:
    return text if "://" in text else str(folder(text))


def count(text: str) -> int:
    value = integer(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, not {text[:40]}")
    return value


def run_batch(asked) -> dict:
    try:
        from ..batch import run, table, workflow
        from ..batch.store import DONE, FAILED, Store
    except ImportError as error:
        raise UserError(f"sora batch needs {error.name}: pip install '.[batch]' in a clone of the pack.") from error
    from tqdm import tqdm

    start = time.monotonic()
    if not asked.ray and (len(asked.host) > 1 or asked.actors):
        raise UserError("Several hosts, or --actors, need a Ray cluster: add --ray local, auto or its address.")
    if asked.host and asked.actors:
        raise UserError("--actors starts hosts, --host names some that run: give one of the two.")
    graph = workflow.read(asked.workflow)
    rows = table.jobs(
        table.read(asked.table), graph, table.assignments(asked.set), table.assignments(asked.upload), asked.name
    )
    store = Store(asked.out)
    store.check()
    left = run.remaining(rows, store)
    if len(rows) > 1 and len({row.digest for row in rows}) == 1:
        print(
            f"note: the jobs of all {len(rows)} rows are alike: no --set or --upload tells them apart.", file=sys.stderr
        )
    failed, done = [], len(rows) - len(left)
    order, ended = deque(row.number for row, _ in left), {}

    with tqdm(total=len(rows), initial=done, desc="batch", unit="row", file=sys.stderr) as bar:

        def tell(record) -> None:
            nonlocal done
            bar.update()
            done += record.state == DONE
            ended[record.row] = record
            while order and order[0] in ended:  # failures are told in the order of the table
                record = ended.pop(order.popleft())
                if record.state == FAILED:
                    failed.append(record)
                    bar.write(f"row {record.row}: {record.error}", file=sys.stderr)

        try:
            if left:
                (on_cluster if asked.ray else on_host)(asked, graph, store, left, bar, tell)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(f"interrupted; {goes_on(done, rows)}") from None
        except run.HostLost as error:
            raise UserError(f"{str(error).rstrip('.')}; {goes_on(done, rows)}") from error
    print(f"{len(rows) - len(failed)} of {len(rows)} rows in {asked.out}")
    if failed:
        one = f"{len(failed)} of {len(rows)} rows failed" if len(failed) > 1 else f"1 of {len(rows)} rows failed"
        said = failed[0].error.rstrip(".")
        raise UserError(f"{one} (row {failed[0].row}: {said}); {what_now(failed)}")
    return result(asked.out, None, None, None, None, None, start) | {"rows": len(rows), "new": len(left)}


def goes_on(done: int, rows: list) -> str:
    """What a person is told whose run stopped in the middle."""
    return f"{done} of {len(rows)} rows are done, the same command goes on."


def what_now(failed: list) -> str:
    """What a person does about rows that failed."""
    refused = sum(record.refused for record in failed)
    mend = "mend the setting, its cell in the table or the workflow"
    if refused == len(failed):
        return f"{mend}: the same would be refused again."
    again = "the same command tries them again"
    return f"{again}, but {refused} would be refused again: {mend}." if refused else f"{again}."


def on_host(asked, graph, store, left, bar, tell) -> None:
    from ..batch import run
    from ..batch.client import Client

    client = Client(asked.host[0] if asked.host else HOST)
    worker = run.Worker(client, store, graph, retries=asked.retries, patience=asked.patience)
    worker.check([row for row, _ in left])

    def show(kind: str, data: dict) -> None:
        if kind == "progress":
            bar.set_postfix_str(f"step {data['value']}/{data['max']}")

    worker.watchers.append(show)
    run.on_host(worker, left, asked.waiting, tell)


def on_cluster(asked, graph, store, left, bar, tell) -> None:
    try:
        from ..batch import cluster
    except ImportError as error:
        raise UserError("--ray needs Ray: pip install -e '.[cluster]' in a clone of the pack.") from error
    options = {"retries": asked.retries, "patience": asked.patience}
    with cluster.joined(asked.ray):
        rows = [row for row, _ in left]
        cluster.on_cluster(rows, store, graph, options, tell, urls=asked.host, actors=asked.actors)
