"""The pack is light: importing it loads nothing that the host has not loaded, and leaves the host's modules alone."""

import json
import subprocess
import sys

import pytest

from sora_core.batch.host import PACK, Server, find_hosts
from tests.host.conftest import TINY
from tests.host.graph import Clip
from tests.host.hosts import environment

HOSTS = pytest.mark.parametrize("host", find_hosts(), ids=lambda host: f"ComfyUI-{host.version}")


@HOSTS
def test_importing_the_pack_loads_no_library(host, monkeypatch):
    monkeypatch.syspath_prepend(str(PACK / "benchmarks"))
    from host_start import start

    python = environment(host)
    without, having = (start(python, host.path, pack) for pack in (None, PACK))
    assert having["imported"] is not None and without["imported"] is None
    new = {name for name in having["modules"] - without["modules"] if "custom_nodes" not in name}
    libraries = {name.partition(".")[0] for name in new} - set(sys.stdlib_module_names)
    assert any("sora" in name for name in having["modules"] - without["modules"])
    assert libraries <= {"sora"}, "a library that only this pack loads at the start"
    assert not new & {"torch._dynamo", "torch._inductor"}


@HOSTS
def test_no_part_of_the_host_is_replaced(host, tiny):
    """Neither by importing the pack, nor by importing it twice, nor by making a video."""
    line = [str(environment(host)), str(PACK / "tests" / "host" / "untouched.py"), str(host.path), str(tiny)]
    done = subprocess.run(line, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told["names"] > 10_000 and told["patched"] == ["latent_preview.get_previewer"]
    assert told["imported"] == told["imported again"] == told["used"] == []


@HOSTS
@pytest.mark.parametrize("way", ["--fp8_e4m3fn-unet", "--bf16-unet"])
def test_the_host_may_hold_the_transformer_in_fewer_bits(way, host, tiny):
    server = Server(host, environment(host), arguments=(way,))
    models = server.folder / "models" / "checkpoints"
    models.mkdir(parents=True)
    (models / TINY).write_bytes(tiny.read_bytes())
    with server:
        for sample in ("sample", "ksample"):
            g = Clip(TINY)
            node = g.keep(getattr(g, sample)(), sample)
            (item,) = server.run(g.api).outputs[node]["latents"]
            assert len(server.fetch(item)) > 1000
        wanted = {"--fp8_e4m3fn-unet": "torch.float8_e4m3fn", "--bf16-unet": "torch.bfloat16"}[way]
        assert f"model weight dtype {wanted}" in server.log()
