"""From a TOML file to a running training: `sora train vae|dit --config FILE`."""

import logging
import os
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import torch

from ..config import build
from ..errors import UserError
from ..files import check_writable, replacing
from .data import Reader
from .loop import STATE, Loop, LoopConfig, saved_settings
from .parallel import Ranks, processes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

log = logging.getLogger(__name__)


def read_config(path: str | Path) -> dict:
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"The config {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"The config {path} is not valid TOML: {error}.") from None


def plan(kind: str, table: dict) -> tuple[partial, LoopConfig]:
    """What makes the task on a device, and how it is trained, as the tables of a config say."""
    loop = build(LoopConfig, table.get("loop", {}), "[loop]")
    if kind == "vae":
        from ..vae import VAEConfig
        from .vae import VAETask, VAETaskConfig

        task, classes = partial(VAETask, seed=loop.seed), {"model": VAEConfig, "data": VAETaskConfig}
    elif kind == "dit":
        from ..dit import DiTConfig
        from .dit import DiTTask, DiTTaskConfig, TextSettings

        task = partial(DiTTask, seed=loop.seed, steps=loop.steps)
        classes = {"model": DiTConfig, "text": TextSettings, "data": DiTTaskConfig}
    else:
        raise UserError(f"There is nothing to train called {kind!r}; choose vae or dit.")
    if unknown := sorted(set(table) - {*classes, "loop"}):
        known = ", ".join(f"[{name}]" for name in (*classes, "loop"))
        raise UserError(f"A config for {kind} has no table [{unknown[0]}]; it knows {known}.")
    return partial(task, *(build(cls, table.get(name, {}), f"[{name}]") for name, cls in classes.items())), loop


def main(
    kind: str, config: str | Path, *, out: str | Path, resume: bool = False, minutes: float | None = None, device="cpu"
) -> Path:
    """Train network `kind` ("vae" or "dit") as the TOML file says, in folder `out`; returns the folder.

    `resume` continues the run in `out`; `minutes` ends this sitting early, to be resumed later. Under `torchrun` the
    processes train together.
    """
    with processes(str(device)) as ranks:
        _train(kind, config, Path(out), resume, minutes, ranks)
    return Path(out)


def _train(kind: str, config: str | Path, out: Path, resume: bool, minutes: float | None, ranks: Ranks) -> None:
    make, settings = plan(kind, read_config(config))
    started = os.path.exists(out / STATE)  # asked before the task, which may read many files, is made
    if started and not resume:
        raise UserError(f"{out} already holds a run: add --resume to continue it, or choose another --out.")
    if resume and not started:
        raise UserError(f"There is nothing to resume: {out / STATE} does not exist; start without --resume.")
    new = not os.path.exists(out)
    check_writable(out / STATE)
    torch.manual_seed(settings.seed)  # the weights before the first step
    try:
        task = make(device=ranks.device)
    except UserError:
        if new:
            with suppress(OSError):  # another process of the run may have been first
                out.rmdir()
        raise
    if resume:
        task.restore(saved_settings(out))
    elif settings.init:
        task.start_from(settings.init)
    loop = Loop(task, settings, out, ranks=ranks)
    if resume:
        loop.resume()
    if task.reader and ranks.rank == 0:
        _tell(task.reader, out)
    try:
        loop.run(minutes)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; the run is kept in {out}, and --resume continues it.") from None


def _tell(reader: Reader, out: Path) -> None:
    """Name what was left out of a source, in words and in skipped.txt."""
    log.warning("%s; %d tokens a pack, %.1f %% useful", reader.source, reader.budget, 100 * reader.fill)
    rows = (f"{name}\t{reason}\n" for name, reason in reader.source.skipped.items())
    with replacing(out / "skipped.txt") as part:
        part.write_text("".join(rows), encoding="utf-8")
