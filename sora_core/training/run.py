"""From a TOML file to a running training: `sora train vae|dit --config FILE`."""

import dataclasses
import logging
import sys
from pathlib import Path

import torch

from ..errors import UserError
from .data import Reader
from .loop import STATE, Loop, LoopConfig, saved_settings
from .parallel import Ranks, processes

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

log = logging.getLogger(__name__)


def build(cls, table: dict, where: str):
    """A dataclass from a TOML table; an unknown or missing key is an error that names it."""
    names = {f.name for f in dataclasses.fields(cls)}
    unknown = sorted(set(table) - names)
    if unknown:
        raise UserError(f"{where} has no setting {unknown[0]!r}; it knows {', '.join(sorted(names))}.")
    try:
        return cls(**table)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}.") from None


def read_config(path: str | Path) -> dict:
    try:
        return tomllib.loads(Path(path).read_text())
    except OSError as error:
        raise UserError(f"The config {path} cannot be read: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"The config {path} is not valid TOML: {error}.") from None


def make_task(kind: str, table: dict, loop: LoopConfig, device: str, where: str | Path):
    """The task that the tables [model], [text] and [data] describe."""
    if kind == "vae":
        from ..vae import VAEConfig
        from .vae import VAETask, VAETaskConfig

        return VAETask(
            build(VAEConfig, table.get("model", {}), f"[model] in {where}"),
            build(VAETaskConfig, table.get("data", {}), f"[data] in {where}"),
            device=device,
            seed=loop.seed,
        )
    if kind == "dit":
        from ..dit import DiTConfig
        from .dit import DiTTask, DiTTaskConfig, TextSettings

        return DiTTask(
            build(DiTConfig, table.get("model", {}), f"[model] in {where}"),
            build(TextSettings, table.get("text", {}), f"[text] in {where}"),
            build(DiTTaskConfig, table.get("data", {}), f"[data] in {where}"),
            device=device,
            seed=loop.seed,
            steps=loop.steps,
        )
    raise UserError(f"There is nothing to train called {kind!r}; choose vae or dit.")


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
    settings = build(LoopConfig, table.get("loop", {}), f"[loop] in {config}")
    started = (out / STATE).exists()  # asked before the task, which may read many files, is made
    if started and not resume:
        raise UserError(f"{out} already holds a run: add --resume to continue it, or choose another --out.")
    if resume and not started:
        raise UserError(f"There is nothing to resume: {out / STATE} does not exist; start without --resume.")
    torch.manual_seed(settings.seed)  # the weights before the first step
    task = make_task(kind, table, settings, ranks.device, config)
    if resume:
        task.restore(saved_settings(out))
    elif settings.init:
        task.start_from(settings.init)
    loop = Loop(task, settings, out, ranks=ranks)
    if resume:
        loop.resume()
    if task.reader and ranks.rank == 0:
        _tell(task.reader, out)
    loop.run(minutes)


def _tell(reader: Reader, out: Path) -> None:
    """Name what was left out of a source, in words and in skipped.txt."""
    log.warning("%s; %d tokens a pack, %.1f %% useful", reader.source, reader.budget, 100 * reader.fill)
    out.mkdir(parents=True, exist_ok=True)
    rows = (f"{name}\t{reason}\n" for name, reason in reader.source.skipped.items())
    (out / "skipped.txt").write_text("".join(rows), encoding="utf-8")
