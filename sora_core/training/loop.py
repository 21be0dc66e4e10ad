"""The training loop: one for every network.

A step is a pure function of (weights, optimiser state, seed, step): data and randomness are drawn from generators
seeded with the step's number. So a run that was killed and resumed gives the weights that the undisturbed run gives.
The whole state is one safetensors file, written beside its name and moved into place. It holds whole tensors: a run may
be resumed by another number of processes, under DDP, FSDP2 or neither.
"""

import copy
import json
import math
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn
from tqdm import tqdm

from ..checkpoint import write_tensors
from ..config import bounded
from ..errors import UserError
from ..files import explain, replacing
from .curves import draw_curves
from .optim import build_optimizer
from .parallel import Ranks, Step, full, gathered, local, parallelize, shared_like, total

STATE = "state.safetensors"
CHOICES = {"optimizer": ("adamw", "muon"), "precision": ("bf16", "fp32"), "parallel": ("ddp", "fsdp")}


@dataclass(frozen=True)
class LoopConfig:
    steps: int  # the whole run
    lr: float  # peak learning rate
    warmup: int = 200  # steps of linear rise
    decay: int = 0  # steps of linear fall to zero at the end; 0 when the averaged weights are what is shipped
    optimizer: str = "adamw"  # or "muon"
    weight_decay: float = 0.0
    clip: float = 1.0  # largest gradient norm; 0 leaves gradients as they are
    ema: float = 0.999  # decay of the averaged weights, which are the ones that are used
    precision: str = "bf16"  # matrix products: "bf16" or "fp32"; weights and optimiser are always float32
    compile: bool = False
    seed: int = 0
    save_every: int = 500
    sheet_every: int = 500
    log_every: int = 20
    tensorboard: bool = False
    init: str = ""  # a checkpoint to start from: its path, or "bundled"
    parallel: str = "ddp"  # or "fsdp"; how the processes of torchrun share the work

    def __post_init__(self):
        bounded(self, 1, math.inf, "steps", "save_every", "sheet_every", "log_every")
        bounded(self, 0, math.inf, "lr", "warmup", "decay", "weight_decay", "clip")
        bounded(self, 0, 1, "ema")
        bounded(self, 0, 2**63 - 1, "seed")
        for name, choices in CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be {' or '.join(choices)}, not {getattr(self, name)!r}")


class Task(Protocol):
    """What is trained, on what, and how it is judged."""

    module: nn.Module  # every trainable network
    unit: str  # of throughput: the metric of this name counts what a step learnt from
    blocks: Iterable[nn.Module]  # of `module`, that are called once a step: FSDP2 gathers them one at a time
    shared: bool  # whether the processes share one batch; else each brings its own

    def settings(self) -> dict[str, str]:
        """What the weights mean besides the config, kept with them."""

    def restore(self, settings: dict[str, str]) -> None:
        """Take up what `settings` gave, before the loop is made: networks may come to have another shape."""

    def batch(self, step: int, rank: int, world: int) -> Any: ...
    def loss(self, module: nn.Module, batch: Any) -> tuple[Tensor, dict[str, float]]: ...
    def sheet(self, module: nn.Module, path: Path) -> None: ...
    def export(self, module: nn.Module, folder: Path, step: int) -> None: ...


def saved_settings(folder: Path) -> dict[str, str]:
    """What `Task.settings` gave when the state in `folder` was written."""
    with _state(folder / STATE) as file:
        return {name: value for name, value in file.metadata().items() if name != "step"}


@contextmanager
def _state(path: Path):
    """A state, open for reading.

    Raises:
        UserError: it is none, or damaged.
    """
    try:
        with safe_open(path, "pt") as file:
            if "step" not in (file.metadata() or {}):
                raise UserError(f"{path} is no state of a training: choose another --out.")
            yield file
    except SafetensorError as error:
        raise UserError(
            f"{path} is damaged ({error}): begin anew in another folder, with the run's checkpoint as init in [loop]."
        ) from None


class Averaged:
    """Exponential moving average of a module's parameters, with a quick start: decay is at most (1 + n) / (10 + n)."""

    def __init__(self, module: nn.Module, decay: float):
        self.decay, self.tensors = decay, {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int):
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        now = {k: local(v) for k, v in module.state_dict().items()}
        floats = {k: local(v) for k, v in self.tensors.items() if v.is_floating_point()}
        torch._foreach_lerp_(list(floats.values()), [now[k].to(v) for k, v in floats.items()], weight)

    def swapped(self, module: nn.Module):
        """Context in which `module` carries the averaged weights."""
        return _Swapped(module, self.tensors)


class _Swapped:
    def __init__(self, module, tensors):
        self.module, self.tensors = module, tensors

    def __enter__(self):
        self.kept = {k: v.detach().clone() for k, v in self.module.state_dict().items()}
        self.module.load_state_dict(self.tensors)
        return self.module

    def __exit__(self, *_):
        self.module.load_state_dict(self.kept)


class Loop:
    """Trains `task` as `config` says, in `folder`: state and checkpoint, log.jsonl, curves.png, sheets/.

    Methods that are said to be called together hold a collective operation where several processes train.
    """

    def __init__(self, task: Task, config: LoopConfig, folder: Path, *, ranks: Ranks | None = None):
        self.task, self.config, self.folder, self.ranks = task, config, Path(folder), ranks or Ranks()
        self.device, self.chief = torch.device(self.ranks.device), self.ranks.rank == 0
        self.module, self.whole = task.module, None
        if config.parallel == "fsdp" and self.ranks.world > 1 and self.chief:
            self.whole = copy.deepcopy(self.module).cpu()  # takes the averaged weights for sheets and checkpoints
        if config.compile:
            task.compile()
        self.loss = parallelize(Step(task, self.module), config.parallel, self.ranks, task.blocks)
        self.optimizer = build_optimizer(self.module, config.optimizer, config.lr, config.weight_decay)
        self.ema = Averaged(self.module, config.ema)
        self.step = 0

    # ------------------------------------------------------------------ state

    @property
    def state_path(self) -> Path:
        return self.folder / STATE

    def save(self):
        """Write the checkpoint and the state. All processes call this together; the first writes.

        In this order: no state stands whose steps the checkpoint lacks, wherever a kill falls.
        """
        self._with_averaged(lambda module: self.task.export(module, self.folder, self.step))
        tensors = {f"model.{k}": v for k, v in self.module.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.tensors.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
        kept = {}
        for name, tensor in tensors.items():
            tensor = full(tensor.detach())
            if self.chief:
                kept[name] = tensor.contiguous().cpu().clone()
        if not self.chief:
            return
        write_tensors(self.state_path, kept, {"step": str(self.step)} | self.task.settings())

    def resume(self):
        """Continue from `state.safetensors`."""
        with _state(self.state_path) as file:
            self.step = int(file.metadata()["step"])
            parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
            for key in file.keys():  # noqa: SIM118 (a safetensors handle, no dict)
                part, name = key.split(".", 1)
                parts[part][name] = file.get_tensor(key)
        own = self.module.state_dict()
        for part in ("model", "ema"):
            parts[part] = {k: shared_like(v, own[k]) if k in own else v for k, v in parts[part].items()}
        try:
            self.module.load_state_dict(parts["model"])
        except RuntimeError:
            raise UserError(
                f"{self.state_path} was written by another network than the config describes: have its tables as they "
                "were, or choose another --out."
            ) from None
        self.ema.tensors = parts["ema"]
        params = [p for group in self.optimizer.param_groups for p in group["params"]]
        states: dict[int, dict[str, Tensor]] = {}
        for key, value in parts["optimizer"].items():
            index, name = key.split(".")
            if int(index) >= len(params) or (value.ndim and value.shape != params[int(index)].shape):
                raise UserError(
                    f"{self.state_path} was written by a run that trained other weights, or with another optimizer: "
                    f"give its checkpoint as init in [loop], in a new folder, to go on from there."
                )
            states.setdefault(int(index), {})[name] = shared_like(value, params[int(index)]) if value.ndim else value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})
        if self.chief:
            self._forget_log()

    def _forget_log(self):
        """Drop the rows of steps after the saved one, which will be run again, and a row that a kill cut short."""
        log = self.folder / "log.jsonl"
        kept = []
        for line in log.read_text().splitlines() if log.exists() else ():
            try:
                if json.loads(line)["step"] <= self.step:
                    kept.append(line)
            except ValueError:
                break
        with replacing(log) as part:
            part.write_text("".join(f"{line}\n" for line in kept))

    # ------------------------------------------------------------------ running

    def learning_rate(self, step: int) -> float:
        c = self.config
        rise = min(1.0, (step + 1) / max(c.warmup, 1))
        fall = min(1.0, (c.steps - step) / c.decay) if c.decay else 1.0
        return c.lr * rise * fall

    def one_step(self) -> dict[str, float]:
        c, ranks = self.config, self.ranks
        # who share a batch draw the same numbers and take their part of them (`parallel.noise_like`)
        torch.manual_seed(hash((c.seed, self.step, 0 if self.task.shared else ranks.rank)) % 2**63)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step) * group["rate"]
        batch = self.task.batch(self.step, ranks.rank, ranks.world)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=c.precision == "bf16"):
            loss, metrics = self.loss(batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(full(nn.utils.clip_grad_norm_(self.module.parameters(), c.clip or math.inf)))
        if not math.isfinite(norm):
            raise UserError(
                f"Training diverged at step {self.step} (the gradient is not finite): lower lr and use --resume; if it "
                "diverges there again, what was saved last had diverged too, and only a new run helps."
            )
        self.optimizer.step()
        self.ema.update(self.module, self.step)
        self.step += 1
        return {"loss": float(loss.detach()), "grad": norm} | metrics

    def run(self, minutes: float | None = None):
        """Train to `config.steps`, or until `minutes` have passed; the state is saved either way."""
        c, start = self.config, time.monotonic()
        writer = self._tensorboard() if c.tensorboard and self.chief else None
        if self.step == 0:
            self.save()  # from now on the run can be killed at any moment
        rows: list[dict[str, float]] = []
        saved, logged = self.step, start
        with tqdm(total=c.steps, initial=self.step, unit="step", disable=not self.chief, smoothing=0.05) as bar:
            over = self._over(minutes, start)
            while not over:
                rows.append(self.one_step())
                bar.update()
                over = self._over(minutes, start)
                if self.step % c.log_every == 0 or over:
                    now = time.monotonic()
                    row, speed = self._row(rows, now - logged)
                    row |= {"step": self.step, "lr": self.learning_rate(self.step - 1), "seconds": now - start}
                    rows, logged = [], now
                    bar.set_postfix_str(f"loss {row['loss']:.4f}, {speed}")
                    if self.chief:
                        self._append(json.dumps({k: round(v, 6) for k, v in row.items()}) + "\n")
                    for name in row if writer else ():
                        writer.add_scalar(name, row[name], self.step)
                if self.step % c.save_every == 0:
                    self.save()
                    saved = self.step
                if self.step % c.sheet_every == 0:
                    self.report()
        if saved != self.step:
            self.save()
        self.report()
        if writer:
            writer.close()

    def _over(self, minutes: float | None, start: float) -> bool:
        """Whether this sitting ends here. All processes call this together."""
        return self.step >= self.config.steps or (
            minutes is not None and self._any(time.monotonic() - start >= minutes * 60)
        )

    def _any(self, here: bool) -> bool:
        """Whether it holds in any process: all must stop at the same step."""
        return bool(total(torch.tensor(float(here), device=self.device)))

    def _row(self, rows: list[dict[str, float]], seconds: float) -> tuple[dict[str, float], str]:
        """Means over steps and processes, what all processes counted in a step, and the throughput in words."""
        unit = self.task.unit
        rows = [row for part in gathered(rows) for row in part]
        names = dict.fromkeys(name for row in rows for name in row)
        values = {name: [row[name] for row in rows if name in row] for name in names}
        speed = sum(values[unit]) / seconds
        means = {name: sum(v) / len(v) * (self.ranks.world if name == unit else 1) for name, v in values.items()}
        return means | {
            f"{unit}_per_second": speed
        }, f"{speed:.3g} {unit}/s" if speed < 1e3 else f"{speed:,.0f} {unit}/s"

    def _append(self, line: str):
        log = self.folder / "log.jsonl"
        try:
            with open(log, "a") as file:
                file.write(line)
        except OSError as error:
            raise explain(error, log) from error

    def _tensorboard(self):
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise UserError("tensorboard = true needs the package tensorboard: pip install tensorboard.") from None
        return SummaryWriter(self.folder / "tensorboard", purge_step=self.step)

    def report(self):
        """Sample sheet of the averaged weights, and the curves. All processes call this together."""
        self._with_averaged(self._show)

    def _with_averaged(self, use: Callable[[nn.Module], None]):
        """In the first process, call `use` with the module that carries the averaged weights."""
        if self.config.parallel == "fsdp" and self.ranks.world > 1:
            averaged = {name: full(tensor) for name, tensor in self.ema.tensors.items()}
            if self.chief:
                self.whole.load_state_dict(averaged)
                with torch.no_grad():
                    use(self.whole.to(self.device).eval())
                self.whole.cpu()
        elif self.chief:
            self.module.eval()
            with torch.no_grad(), self.ema.swapped(self.module):
                use(self.module)
            self.module.train()

    def _show(self, module: nn.Module):
        self.task.sheet(module, self.folder / "sheets" / f"{self.step:07d}.png")
        draw_curves(self.folder / "log.jsonl", self.folder / "curves.png")
