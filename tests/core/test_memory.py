"""Free memory as the system reports it."""

import sys

import pytest
import torch

from sora_core import memory


def test_this_machine_has_some_memory():
    assert 2**20 < memory.available_memory() < 2**50


@pytest.mark.skipif(sys.platform != "linux", reason="reads what Linux keeps under /proc and /sys")
def test_linux_and_container_limits(tmp_path, monkeypatch):
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal:       8000 kB\nMemFree:   100 kB\nMemAvailable:   6000 kB\n")
    monkeypatch.setattr(memory, "_MEMINFO", meminfo)
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.available_memory() == 6000 * 1024  # no container

    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("1000000\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 200000\n")
    assert memory.available_memory() == 6000 * 1024  # a container without a limit
    (tmp_path / "memory.max").write_text("3000000\n")
    assert memory.available_memory() == 3_000_000 - 1_000_000 + 200_000

    meminfo.unlink()
    (tmp_path / "memory.max").unlink()
    assert memory.available_memory() > 2**20  # neither file: the physical memory


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_counts_what_this_process_could_reuse():
    free = memory.available_memory("cuda")
    block = torch.empty(2**26, device="cuda")
    assert memory.available_memory("cuda") < free
    del block
    assert abs(memory.available_memory("cuda") - free) < 2**25
