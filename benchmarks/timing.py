"""How the benchmarks measure time: rivals take turns in one process, so that both see the same machine."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch


def interleaved(rivals: dict[str, Callable[[], object]], rounds: int, warmup: int = 3) -> dict[str, list[float]]:
    """Seconds of every call of every rival, in turns: A B C, A B C, ...

    Args:
        rivals: name -> what is timed.
        rounds: turns that count.
        warmup: turns before them that do not.
    """
    seconds: dict[str, list[float]] = {name: [] for name in rivals}
    for turn in range(warmup + rounds):
        for name, call in rivals.items():
            start = now()
            call()
            end = now()
            if turn >= warmup:
                seconds[name].append(end - start)
    return seconds


def now() -> float:
    """Seconds. One thread on a CPU is measured in processor time, which other programs do not lengthen."""
    if torch.cuda.is_initialized():  # something runs there
        torch.cuda.synchronize()  # until it has done what it was given
        return time.perf_counter()
    return time.process_time() if torch.get_num_threads() == 1 else time.perf_counter()


def ratio(seconds: dict[str, list[float]], of: str, over: str) -> float:
    """Median of the ratio within each turn: a disturbance that lasts for a turn or longer hits both alike."""
    return statistics.median(a / b for a, b in zip(seconds[of], seconds[over], strict=True))


def milliseconds(seconds: list[float]) -> float:
    """Median, in milliseconds."""
    return 1000 * statistics.median(seconds)
