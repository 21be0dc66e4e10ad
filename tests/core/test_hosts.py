"""Which ComfyUI is found on a machine, why none is started, and what is made from what it says."""

import os
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path

import pytest
import requests
import websockets

from sora_core.batch import host
from sora_core.batch.host import PACK, Host, HostError, Server, find_hosts
from tests.host import demo, hosts
from tests.host.languages import tables

ROOT = Path(__file__).parents[2]


def comfy(folder: Path) -> Path:
    """What looks like a ComfyUI."""
    (folder / "comfy").mkdir(parents=True)
    for name in ("main.py", "requirements.txt"):
        (folder / name).touch()
    return folder


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.delenv("COMFYUI_PATH", raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    return tmp_path


def note(home: Path, text: str) -> None:
    (home / ".config" / "comfy-cli").mkdir(parents=True)
    (home / ".config" / "comfy-cli" / "config.ini").write_text(text)


def test_the_workspaces_of_comfy_cli_come_before_the_usual_place(home):
    usual, beside = comfy(home / "comfy" / "ComfyUI"), comfy(home / "comfy" / "ComfyUI-old")
    assert [host.path for host in find_hosts()] == [usual, beside]
    chosen, recent = comfy(home / "100% mine"), comfy(home / "last")
    note(home, f"[DEFAULT]\ndefault_workspace = {chosen}\nrecent_workspace = {recent}\n")
    assert [host.path for host in find_hosts()] == [chosen, recent, usual, beside]


def test_a_demo_without_a_network_soon_says_that_no_host_can_be_had(home, monkeypatch):
    for name, value in {"PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_CONFIG_FILE": os.devnull}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    comfy(home / "comfy" / "ComfyUI")
    began = time.monotonic()
    with pytest.raises(HostError, match="packages that ComfyUI requires cannot be reached"):
        demo.in_host("a red ball", home / "demo.mp4")
    assert time.monotonic() - began < demo.NETWORK_SECONDS + 15  # the second 15: looking at interpreters, busy machines


@pytest.mark.parametrize("text", ["nonsense", "[DEFAULT]\nrecent_workspace = /nowhere\n", ""])
def test_a_config_that_says_nothing_is_passed_over(home, text):
    note(home, text)
    usual = comfy(home / "comfy" / "ComfyUI")
    assert [host.path for host in find_hosts()] == [usual]


def test_a_named_host_must_be_there(home, monkeypatch):
    comfy(home / "comfy" / "ComfyUI")
    monkeypatch.setenv("COMFYUI_PATH", str(comfy(home / "mine")))
    assert [host.path for host in find_hosts()] == [home / "mine"]
    monkeypatch.setenv("COMFYUI_PATH", str(home / "gone"))
    with pytest.raises(HostError, match="gone, where there is no ComfyUI"):
        find_hosts()


def test_a_clone_just_below_the_root_lies_in_no_host(home, monkeypatch):
    monkeypatch.setattr(host, "__file__", "/sora/sora_core/batch/host.py")
    assert find_hosts() == []


@pytest.mark.parametrize("system", ["a copy among the packages", "links are refused"])
def test_a_pack_that_no_host_can_load(tmp_path, monkeypatch, system):
    def refuse(*_, **__):
        raise OSError(22, "A required privilege is not held by the client")

    if system == "links are refused":
        monkeypatch.setattr(Path, "symlink_to", refuse)
        pack, said = (
            PACK,
            r"cannot be linked into .* \(A required privilege .*\): Windows allows it in its Developer Mode",
        )
    else:
        pack, said = tmp_path, r"is no clone of the pack, .*: pip install -e \. in one"
    server = Server(Host(comfy(tmp_path / "ComfyUI")), Path(sys.executable), pack=pack)
    with pytest.raises(HostError, match=said):
        server.start()
    assert not server.folder.exists()


def test_why_a_host_does_not_start_is_said(tmp_path):
    folder = comfy(tmp_path / "ComfyUI")
    (folder / "main.py").write_text("raise RuntimeError('no room for the model')")
    server = Server(Host(folder), Path(sys.executable))
    with pytest.raises(HostError, match=r"stopped while starting: RuntimeError: no room for the model$"):
        server.start()
    assert not server.folder.exists()


def test_a_torchvision_of_another_build_than_torch_is_said(tmp_path, monkeypatch):
    hosts.check_fit(Path(sys.executable))
    (tmp_path / "torchvision").mkdir()
    (tmp_path / "torchvision" / "__init__.py").write_text("raise RuntimeError('operator nms does not exist')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(HostError, match=r"operator nms does not exist.*: install torch, torchvision and torchaudio"):
        hosts.check_fit(Path(sys.executable))


def test_a_default_of_several_lines_is_one_row_of_a_help_page():
    node = {
        "input_order": {"required": ["text"]},
        "input": {"required": {"text": ["STRING", {"default": "a | b\nc"}]}},
        "output": [],
    }
    page = tables(node, {"inputs": {"text": {"name": "text", "tooltip": "Words."}}}, "en")
    assert page.splitlines()[-1] == r"| text | STRING | a \| b<br>c | Words. |"


def test_torch_that_was_lent_is_found_where_it_is(tmp_path):
    """nox runs in a virtual environment that has torch, and lends its folder to the environment of a session."""
    folders = {}
    for name in ("lender", "session"):
        venv.create(tmp_path / name)
        python = tmp_path / name / ("Scripts" if sys.platform == "win32" else "bin") / Path(sys.executable).name
        folders[name] = Path(sysconfig.get_path("purelib", vars={"base": str(tmp_path / name)}))
    (folders["lender"] / "torch").mkdir()
    (folders["lender"] / "torch" / "__init__.py").touch()
    needed = (Path(package.__file__).parents[1] for package in (requests, websockets))  # what the session has itself
    lines = [folders["lender"], *needed]
    (folders["session"] / "interpreter.pth").write_text("".join(f"{folder}\n" for folder in lines))
    ask = "from tests.host import hosts; hosts.has_torch = lambda python: False; print(hosts.base_interpreter()[1])"
    done = subprocess.run([str(python), "-c", ask], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.strip() == str(folders["lender"]), done.stderr
