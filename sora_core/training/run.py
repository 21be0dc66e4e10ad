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
from .data import Reader, check_outside
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
    if kind == "vae":
        from ..vae import VAEConfig
        from .vae import VAETask, VAETaskConfig

        task, classes = VAETask, {"model": VAEConfig, "data": VAETaskConfig}
    elif kind == "dit":
        from ..dit import DiTConfig
        from .dit import DiTTask, DiTTaskConfig, TextSettings

        task, classes = DiTTask, {"model": DiTConfig, "text": TextSettings, "data": DiTTaskConfig}
    else:
        raise UserError(f"There is nothing to train called {kind!r}; choose vae or dit.")
    if unknown := sorted(set(table) - {*classes, "loop"}):
        known = ", ".join(f"[{name}]" for name in (*classes, "loop"))
        raise UserError(f"A config for {kind} has no table [{unknown[0]}]; it knows {known}.")
    loop = build(LoopConfig, table.get("loop", {}), "[loop]")
    parts = [build(cls, table.get(name, {}), f"[{name}]") for name, cls in classes.items()]
    if kind == "vae" and parts[1].freeze_encoder and not loop.init:
        raise UserError(
            "[data] freeze_encoder keeps an encoder that has learnt: give its checkpoint as init in [loop]."
        )
    more = {"steps": loop.steps} if kind == "dit" else {}
    return partial(task, *parts, seed=loop.seed, **more), loop


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
    table = read_config(config)
    make, settings = plan(kind, table)
    check_outside(table.get("data", {}).get("source", ""), out)
    _check(out, kind, resume)  # before the task, which may read many files, is made
    new = not os.path.exists(out)
    check_writable(out / STATE)
    torch.manual_seed(settings.seed)  # the weights before the first step
    try:
        task = make(device=ranks.device)
        if resume:
            task.restore(saved_settings(out))
        elif settings.init:
            task.start_from(settings.init)
    except (UserError, KeyboardInterrupt):
        if new:
            with suppress(OSError):  # another process of the run may have been first
                out.rmdir()
        raise
    loop = Loop(task, settings, out, ranks=ranks)
    if resume:
        loop.resume()
    if resume and loop.step >= settings.steps:
        log.warning("%s has taken %d steps: raise steps in [loop] to go on.", out, loop.step)
    listed = task.reader if ranks.rank == 0 else None
    if listed:
        log.warning("%s", listed)
        _list_skipped(listed, out)
    try:
        loop.run(minutes)
    except KeyboardInterrupt:
        raise KeyboardInterrupt(f"interrupted; the run is kept in {out}, and --resume continues it.") from None
    finally:
        if listed:
            _list_skipped(listed, out)  # files may have turned out to be damaged


def _check(out: Path, kind: str, resume: bool) -> None:
    """Refuse to begin in the folder of another run, and to go on where there is none."""
    started = os.path.exists(out / STATE)
    if started and not resume:
        raise UserError(f"{out} already holds a run: add --resume to continue it, or choose another --out.")
    if resume and not started:
        raise UserError(f"There is nothing to resume: {out / STATE} does not exist; start without --resume.")
    weights = out / f"{kind}.safetensors"
    if not started and os.path.exists(weights):
        raise UserError(
            f"{out} holds the weights of a run, {weights.name}, without the state that --resume needs: choose another "
            "--out (init in [loop] begins with these weights)."
        )


def _list_skipped(reader: Reader, out: Path) -> None:
    """Name what was left out of a source, and why, in skipped.txt."""
    rows = (f"{name}\t{reason}\n" for name, reason in reader.source.skipped.items())
    with replacing(out / "skipped.txt") as part:
        part.write_text("".join(rows), encoding="utf-8")
