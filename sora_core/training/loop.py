"""The training loop: one for every network.

A step is a pure function of (weights, optimiser state, seed, step): data and randomness are drawn from generators seeded
with the step's number. So a run that was killed and resumed gives the weights that the undisturbed run gives.
The whole state is one safetensors file, written beside its name and moved into place.
"""

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from ..errors import UserError
from .curves import draw_curves
from .optim import build_optimizer


@dataclass(frozen=True)
class LoopConfig:
    steps: int  # the whole run
    lr: float  # peak learning rate
    warmup: int = 200  # steps of linear rise
    decay: int = 0  # steps of linear fall to zero at the end; 0 when the averaged weights are what is shipped
    optimizer: str = "adamw"  # or "muon"
    weight_decay: float = 0.0
    clip: float = 1.0  # largest gradient norm
    ema: float = 0.999  # decay of the averaged weights, which are the ones that are used
    precision: str = "bf16"  # matrix products: "bf16" or "fp32"; weights and optimiser are always float32
    compile: bool = False
    seed: int = 0
    save_every: int = 500
    sheet_every: int = 500
    log_every: int = 20
    tensorboard: bool = False


class Task(Protocol):
    """What is trained, on what, and how it is judged."""

    module: nn.Module  # every trainable network

    def batch(self, step: int, rank: int, world: int) -> Any: ...
    def loss(self, module: nn.Module, batch: Any) -> tuple[Tensor, dict[str, float]]: ...
    def sheet(self, module: nn.Module, path: Path) -> None: ...
    def export(self, module: nn.Module, folder: Path, step: int) -> None: ...


class Averaged:
    """Exponential moving average of a module's parameters, with a quick start: decay is at most (1 + n) / (10 + n)."""

    def __init__(self, module: nn.Module, decay: float):
        self.decay, self.tensors = decay, {k: v.detach().clone() for k, v in module.state_dict().items()}

    @torch.no_grad()
    def update(self, module: nn.Module, step: int):
        weight = 1 - min(self.decay, (1 + step) / (10 + step))
        now = module.state_dict()
        floats = [k for k, v in self.tensors.items() if v.is_floating_point()]
        torch._foreach_lerp_([self.tensors[k] for k in floats], [now[k].to(self.tensors[k]) for k in floats], weight)

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
    """Trains `task` as `config` says, in `folder`: state.safetensors, log.jsonl, curves.png, sheets/, and the exported checkpoint."""

    def __init__(self, task: Task, config: LoopConfig, folder: Path, *, device="cpu", rank: int = 0, world: int = 1):
        self.task, self.config, self.folder, self.device = task, config, Path(folder), torch.device(device)
        self.rank, self.world = rank, world
        self.module = task.module
        self.optimizer = build_optimizer(self.module, config.optimizer, config.lr, config.weight_decay)
        self.ema = Averaged(self.module, config.ema)
        self.step = 0

    # ------------------------------------------------------------------ state

    @property
    def state_path(self) -> Path:
        return self.folder / "state.safetensors"

    def save(self):
        tensors = {f"model.{k}": v for k, v in self.module.state_dict().items()}
        tensors |= {f"ema.{k}": v for k, v in self.ema.tensors.items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{index}.{k}": v for k, v in state.items()}
        tensors = {k: v.detach().contiguous().cpu().clone() for k, v in tensors.items()}
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary = self.state_path.with_suffix(".part")
        save_file(tensors, temporary, metadata={"step": str(self.step)})
        os.replace(temporary, self.state_path)

    def resume(self):
        """Continue from `state.safetensors`; a folder without one is an error."""
        if not self.state_path.exists():
            raise UserError(f"There is nothing to resume: {self.state_path} does not exist; start without --resume.")
        with safe_open(self.state_path, "pt", device=str(self.device)) as file:
            self.step = int(file.metadata()["step"])
            parts: dict[str, dict[str, Tensor]] = {"model": {}, "ema": {}, "optimizer": {}}
            for key in file.keys():
                part, name = key.split(".", 1)
                parts[part][name] = file.get_tensor(key)
        try:
            self.module.load_state_dict(parts["model"])
        except RuntimeError as error:
            raise UserError(
                f"{self.state_path} was written by another network: {str(error).splitlines()[-1]}"
            ) from None
        self.ema.tensors = {k: v.to(self.device) for k, v in parts["ema"].items()}
        states: dict[int, dict[str, Tensor]] = {}
        for key, value in parts["optimizer"].items():
            index, name = key.split(".")
            states.setdefault(int(index), {})[name] = value
        groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": states, "param_groups": groups})

    # ------------------------------------------------------------------ running

    def learning_rate(self, step: int) -> float:
        c = self.config
        rise = min(1.0, (step + 1) / max(c.warmup, 1))
        fall = min(1.0, (c.steps - step) / c.decay) if c.decay else 1.0
        return c.lr * rise * fall

    def one_step(self) -> dict[str, float]:
        c = self.config
        torch.manual_seed(hash((c.seed, self.step, self.rank)) % 2**63)
        for group in self.optimizer.param_groups:
            group["lr"] = self.learning_rate(self.step) * group["rate"]
        batch = self.task.batch(self.step, self.rank, self.world)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=c.precision == "bf16"):
            loss, metrics = self.task.loss(self.module, batch)
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = float(nn.utils.clip_grad_norm_(self.module.parameters(), c.clip))
        if not math.isfinite(norm):
            raise UserError(
                f"Training diverged at step {self.step} (the gradient is not finite): lower lr and use --resume."
            )
        self.optimizer.step()
        self.ema.update(self.module, self.step)
        self.step += 1
        return {"loss": float(loss), "grad": norm} | metrics

    def run(self, minutes: float | None = None):
        """Train to `config.steps`, or until `minutes` have passed; the state is saved either way."""
        c, start = self.config, time.monotonic()
        self.folder.mkdir(parents=True, exist_ok=True)
        writer = None
        if c.tensorboard and self.rank == 0:
            from torch.utils.tensorboard import SummaryWriter

            writer = SummaryWriter(self.folder / "tensorboard")
        sums: dict[str, list[float]] = {}
        bar = tqdm(total=c.steps, initial=self.step, unit="step", disable=self.rank > 0, smoothing=0.05)
        saved = self.step
        while self.step < c.steps and (minutes is None or time.monotonic() - start < minutes * 60):
            for name, value in self.one_step().items():
                sums.setdefault(name, []).append(value)
            bar.update()
            if self.rank:
                continue
            if self.step % c.log_every == 0:
                row = {name: sum(values) / len(values) for name, values in sums.items()}
                row |= {"step": self.step, "lr": self.learning_rate(self.step - 1), "seconds": time.monotonic() - start}
                with open(self.folder / "log.jsonl", "a") as file:
                    file.write(json.dumps({k: round(v, 6) for k, v in row.items()}) + "\n")
                for name in row if writer else ():
                    writer.add_scalar(name, row[name], self.step)
                bar.set_postfix_str(f"loss {row['loss']:.4f}")
                sums.clear()
            if self.step % c.save_every == 0:
                self.save()
                saved = self.step
            if self.step % c.sheet_every == 0:
                self.report()
        bar.close()
        if self.rank == 0 and saved != self.step:
            self.save()
        if self.rank == 0:
            self.report()

    def report(self):
        """Sample sheet and exported checkpoint of the averaged weights, and the curves."""
        self.module.eval()
        with self.ema.swapped(self.module), torch.no_grad():
            (self.folder / "sheets").mkdir(exist_ok=True)
            self.task.sheet(self.module, self.folder / "sheets" / f"{self.step:07d}.png")
            self.task.export(self.module, self.folder, self.step)
        self.module.train()
        draw_curves(self.folder / "log.jsonl", self.folder / "curves.png")
