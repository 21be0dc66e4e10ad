"""Several processes train one network: DDP and FSDP2, applied from outside; the networks know nothing of it.

`torchrun` says who is who in the environment. A loss is a sum over this process's samples divided by a sum over all
processes' (`total`) and multiplied by their number, so that the mean gradient, which DDP and FSDP2 form, is that of the
whole batch: N processes follow the curve of one.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from ..errors import UserError


@dataclass(frozen=True)
class Ranks:
    """Who this process is among those that train together."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"

    def share(self, count: int) -> slice:
        """This process's part of `count` samples, which may be none."""
        return slice(self.rank * count // self.world, (self.rank + 1) * count // self.world)

    def check(self, parts: list) -> None:
        """Refuse a batch of which nothing fell to this process."""
        if not any(map(len, parts)):
            raise UserError(f"A step of [data] has too few clips for {self.world} processes: one part needs as many.")


@contextmanager
def processes(device: str) -> Iterator[Ranks]:
    """Join the group that `torchrun` started, for as long as the block lasts; without it, one process alone."""
    if "RANK" not in os.environ or "WORLD_SIZE" not in os.environ:
        yield Ranks(device=device)
        return
    cuda = torch.device(device).type == "cuda"
    if cuda:
        device = f"cuda:{os.environ.get('LOCAL_RANK', 0)}"
        torch.cuda.set_device(device)
    ours = not dist.is_initialized()
    if ours:
        dist.init_process_group("nccl" if cuda else "gloo")
    try:
        yield Ranks(dist.get_rank(), dist.get_world_size(), device)
    finally:
        if ours:
            dist.destroy_process_group()


class Step(nn.Module):
    """The loss as a module's forward pass, which is what DDP and FSDP2 hook into."""

    def __init__(self, task, module: nn.Module):
        super().__init__()
        self.task, self.module = task, module

    def forward(self, batch):
        return self.task.loss(self.module, batch)


def parallelize(step: Step, kind: str, ranks: Ranks, blocks: Iterable[nn.Module]) -> nn.Module:
    """`kind` "ddp": every process holds all weights. "fsdp": each holds a share of them (FSDP2), gathered for a step
    or, those of `blocks`, for the time of the block: these must be called equally often in all processes."""
    if ranks.world == 1:
        return step
    if kind == "ddp":
        return nn.parallel.DistributedDataParallel(step)
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(torch.device(ranks.device).type, (ranks.world,))
    for block in blocks:
        fully_shard(block, mesh=mesh)
    return fully_shard(step, mesh=mesh)


# ------------------------------------------------------------------ tensors in shares


def full(tensor: Tensor) -> Tensor:
    """The whole of a tensor of which each process may hold a share. All processes must call this together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def local(tensor: Tensor) -> Tensor:
    """This process's share, sharing memory with `tensor`."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def shared_like(tensor: Tensor, like: Tensor) -> Tensor:
    """A whole tensor on the device of `like`, and in shares as its are."""
    if not isinstance(like, DTensor):
        return tensor.to(like.device)
    return distribute_tensor(tensor.to(like.device), like.device_mesh, like.placements)


# ------------------------------------------------------------------ numbers from all processes


def total(value: Tensor) -> Tensor:
    """Sum of a number over all processes, without gradient."""
    value = value.detach()
    if dist.is_initialized():
        value = value.clone()
        dist.all_reduce(value)
    return value


def world_size() -> int:
    return dist.get_world_size() if dist.is_initialized() else 1


def gathered(value) -> list:
    """The (small, picklable) values of all processes."""
    if not dist.is_initialized():
        return [value]
    values = [None] * dist.get_world_size()
    dist.all_gather_object(values, value)
    return values


def noise_like(tensor: Tensor, count: int, start: int) -> Tensor:
    """Noise for the samples (b, C, ...) that begin at `start` among `count`: drawn for all of them and cut to these, so
    that a sample has the same noise whichever process it falls to. Channels vary fastest, as in the codec's memory."""
    whole = torch.empty(count, *tensor.shape[2:], tensor.shape[1], dtype=tensor.dtype, device=tensor.device)
    return whole.movedim(-1, 1).normal_()[start : start + tensor.shape[0]]
