"""How much memory is free, without any package beyond torch: for refusing a grid before anything is allocated."""

from __future__ import annotations

import ctypes
import os
import sys
from pathlib import Path

import torch

_MEMINFO = Path("/proc/meminfo")
_CGROUP = Path("/sys/fs/cgroup")


def available_memory(device: torch.device | str = "cpu") -> int | None:
    """Bytes that this process could still take on a device, or None where the system does not say."""
    device = torch.device(device)
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    if device.type == "mps":
        return torch.mps.recommended_max_memory() - torch.mps.current_allocated_memory()
    if sys.platform == "win32":
        return _windows()
    known = [n for n in (_linux(), _container()) if n is not None]
    return min(known) if known else _posix()


def _linux() -> int | None:
    """What the kernel says new programs can have without swapping; caches count as free."""
    try:
        fields = dict(line.split(":", 1) for line in _MEMINFO.read_text().splitlines())
        return int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _container() -> int | None:
    """What is left below the limit of a container (cgroup v2), file caches not counted as used."""
    try:
        limit = int((_CGROUP / "memory.max").read_text())  # "max" where there is none
        used = int((_CGROUP / "memory.current").read_text())
        stat = dict(line.split() for line in (_CGROUP / "memory.stat").read_text().splitlines())
        return max(0, limit - used + int(stat.get("inactive_file", 0)))
    except (OSError, ValueError):
        return None


def _posix() -> int | None:
    """All physical memory: macOS and others do not tell what is free."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):
        return None


def _windows() -> int | None:
    """ullAvailPhys of GlobalMemoryStatusEx."""

    class Status(ctypes.Structure):
        _fields_ = [("length", ctypes.c_uint32), ("load", ctypes.c_uint32)] + [
            (name, ctypes.c_uint64) for name in ("total", "free", "page_total", "page_free", "all", "all_free", "more")
        ]

    status = Status(length=ctypes.sizeof(Status))
    return status.free if ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)) else None
