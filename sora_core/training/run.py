"""From a TOML file to a running training: `sora train vae|dit --config FILE`."""

import dataclasses
import sys
from pathlib import Path

from ..errors import UserError
from .loop import Loop, LoopConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


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


def main(
    kind: str, config: str | Path, *, out: str | Path, resume: bool = False, minutes: float | None = None, device="cpu"
) -> Path:
    """Train network `kind` ("vae" or "dit") as the TOML file says, in folder `out`; returns the folder.

    `resume` continues the run in `out`; `minutes` ends this sitting early, to be resumed later.
    """
    table = read_config(config)
    loop_config = build(LoopConfig, table.get("loop", {}), f"[loop] in {config}")
    if kind == "vae":
        from ..vae import VAEConfig
        from .vae import VAETask, VAETaskConfig

        task = VAETask(
            build(VAEConfig, table.get("model", {}), f"[model] in {config}"),
            build(VAETaskConfig, table.get("data", {}), f"[data] in {config}"),
            device=device,
            seed=loop_config.seed,
        )
    elif kind == "dit":
        from ..dit import DiTConfig
        from .dit import DiTTask, DiTTaskConfig, TextSettings

        task = DiTTask(
            build(DiTConfig, table.get("model", {}), f"[model] in {config}"),
            build(TextSettings, table.get("text", {}), f"[text] in {config}"),
            build(DiTTaskConfig, table.get("data", {}), f"[data] in {config}"),
            device=device,
            seed=loop_config.seed,
            steps=loop_config.steps,
        )
        if loop_config.compile:
            task.compile()
    else:
        raise UserError(f"There is nothing to train called {kind!r}; choose vae or dit.")
    loop = Loop(task, loop_config, Path(out), device=device)
    if resume:
        loop.resume()
    elif loop.state_path.exists():
        raise UserError(f"{out} already holds a run: add --resume to continue it, or choose another --out.")
    loop.run(minutes)
    return Path(out)
