"""A workflow is something that a stranger sends: whatever its inputs hold, nothing is written outside output and temp,
nothing is fetched, no key leaks, the host stays up and says in a sentence what is wrong.

The cases are made from what the host has registered, so a new node is covered without being named here.
"""

import json
import math
import os
import shutil
import socket
import threading
import time
from collections import Counter

import av
import pytest
import requests
import torch
from PIL import Image
from safetensors.torch import save_file

from sora_core.batch.host import Server, find_hosts
from tests.core import fuzzer
from tests.host.conftest import TINY
from tests.host.graph import Graph
from tests.host.hosts import environment
from tests.shipped import ROOT, shipped

SECRET = "s3cr3t-0f-the-machine"
WRITTEN = {"output", "temp", "user", "host.log"}  # where the host and its nodes may write
GRID = {"size": "custom", "width": 32, "height": 32, "length": 9, "unit": "frames", "fps": 8.0, "batch_size": 1}
PLAIN = {  # where the default does not suit a clip of 9 frames, 32 x 32
    "SoraLoadModel": {"checkpoint": TINY},
    "SoraPatchGrid": GRID,
    "SoraSampler": {"steps": 1},
    "SoraLoopVideo": {"mode": "cyclic"},
    "SoraConnectVideos": {"mode": "morph"},
    "SoraPromptTimeline": {"timeline": "0-2s: a red ball"},
    "SoraLoadLatent": {"latent": "kept.latent"},
}
LATENTS = "output/sora_latents"
FOLDERS = {".safetensors": "models/checkpoints", ".mp4": "input", ".png": "input", ".latent": LATENTS}
UNUSED = {("SoraLoopVideo", "length"), ("SoraConnectVideos", "length")}  # in the modes above
CONNECTED = {("SoraPlaceFrames", "clip")}  # optional sockets without which there is nothing to do
HOSTS_OWN = {"LoadImage"}  # decodes pictures itself, and says what is wrong with one in its own words
NUMBERS = (2**63, -(2**63), 10**30, 1e308, math.inf, -math.inf, math.nan)
OTHER_TYPES = (None, {}, [], [1, 2, 3], "x", {"__value__": [1, 2]})


class Stranger(Server):
    """A host in whose environment lie keys, whose only way out is a listener that counts who calls."""

    def __init__(self, host, pack, outside):
        super().__init__(host, environment(host), pack=pack)
        self.outside = outside  # a folder that paths in workflows point to
        self.calls = 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self._count, daemon=True).start()

    def _count(self):
        while True:
            try:
                self.listener.accept()[0].close()
            except OSError:
                return
            self.calls += 1

    def send(self, api: dict, patience: float = 60.0) -> str:
        """Run a workflow of any shape (NaN too); returns what the host refuses it with, or "".

        What runs longer than `patience` is interrupted, and has to stop.
        """
        body = json.dumps({"prompt": api, "client_id": self.id})
        answer = requests.post(
            f"{self.url}/prompt", data=body, headers={"Content-Type": "application/json"}, timeout=60
        )
        if answer.status_code == 400:
            return str(self._refusal(answer, "POST /prompt"))
        assert answer.status_code == 200, answer.text[:300]
        number, start, stopped = answer.json()["prompt_id"], time.monotonic(), False
        while True:
            entry = requests.get(f"{self.url}/history/{number}", timeout=60).json().get(number)
            if entry is not None:
                return self._said(entry)
            waited = time.monotonic() - start
            if waited > patience and not stopped:
                stopped = True
                self.interrupt()
            assert waited < patience + 30, "the job can neither end nor be interrupted"
            time.sleep(0.02)

    def _said(self, entry: dict) -> str:
        for kind, data in entry["status"]["messages"]:
            if kind == "execution_error":
                said = data["exception_message"].strip()
                if data["node_type"] in HOSTS_OWN:
                    return said or data["exception_type"]
                assert data["exception_type"].endswith("UserError"), (data["node_type"], data["exception_type"], said)
                assert "\n" not in said and 10 < len(said) < 600, said
                return said
            if kind == "execution_interrupted":
                return "interrupted"
        return ""

    def tree(self) -> dict[str, tuple]:
        """Every file that a workflow must leave as it is."""
        found = {}
        for top in (self.folder, self.pack, self.outside):
            for folder, folders, files in os.walk(top):
                if folder == str(self.folder):
                    folders[:] = [name for name in folders if name not in WRITTEN]
                    files = [name for name in files if name not in WRITTEN]
                folders[:] = [name for name in folders if name != "__pycache__"]
                for name in files:
                    stat = os.lstat(os.path.join(folder, name))
                    found[os.path.join(folder, name)] = (stat.st_size, stat.st_mtime_ns)
        return found

    def peak(self) -> int:
        """Bytes of memory that the process has had at most, or 0 where the system does not say."""
        try:
            with open(f"/proc/{self.process.pid}/status") as status:
                return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM"))
        except OSError:
            return 0


@pytest.fixture(scope="module", params=find_hosts(), ids=lambda host: f"ComfyUI-{host.version}")
def stranger(request, tiny, tmp_path_factory):
    """The pack as it is shipped in a host of its own; afterwards nothing outside output and temp may have changed."""
    pack, outside = tmp_path_factory.mktemp("pack"), tmp_path_factory.mktemp("outside")
    for name in shipped():
        (pack / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, pack / name)
    server = Stranger(request.param, pack, outside)
    with pytest.MonkeyPatch.context() as patch:
        for name in ("SORA_API_KEY", "HF_TOKEN", "OPENAI_API_KEY"):
            patch.setenv(name, SECRET)
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "HF_ENDPOINT"):
            patch.setenv(name, server.address)
        patch.setenv("NO_PROXY", "")
        (server.folder / "models" / "checkpoints").mkdir(parents=True)
        shutil.copy(tiny, server.folder / "models" / "checkpoints" / TINY)
        kept = server.folder / LATENTS
        kept.mkdir(parents=True)
        tensors = {"latent_tensor": torch.zeros(1, 8, 3, 4, 4), "latent_format_version_0": torch.tensor([])}
        save_file(tensors, kept / "kept.latent")
        (server.folder / "output" / "way_out").symlink_to(outside, target_is_directory=True)
        server.start()
    try:
        server.info = {name: one for name, one in server.object_info().items() if name.startswith("Sora")}
        for name in server.info:
            server.send(Case(server, name).api)  # what is imported or allocated once
        server.before, server.rest, server.first_calls = server.tree(), server.peak(), server.calls
        yield server
    finally:
        server.stop()
        server.listener.close()


@pytest.fixture(autouse=True)
def nothing_outside(stranger):
    """After every test."""
    yield
    assert stranger.alive, stranger.tail()
    assert stranger.tree() == stranger.before
    assert stranger.calls == stranger.first_calls, "the host was made to call an address"
    assert stranger.peak() - stranger.rest < 2 * 2**30


class Case(Graph):
    """A workflow around one of our nodes that runs as it is; `node` is its entry, to be spoilt."""

    def __init__(self, server, kind: str):
        super().__init__()
        self.server, self.made = server, {}
        declared = server.info[kind]["input"]
        inputs = {name: self.value(kind, name, *spec) for name, spec in declared.get("required", {}).items()}
        for name, spec in declared.get("optional", {}).items():
            if is_widget(spec[0]) or (kind, name) in CONNECTED:
                inputs[name] = self.value(kind, name, *spec)
        self.name = self(kind, **inputs).name
        self.node = self.api[self.name]
        outputs = server.info[kind]["output"]
        if outputs:
            if outputs[0] == "LATENT":
                self("SaveLatent", samples=[self.name, 0], filename_prefix="latent")
            else:
                self("PreviewAny", source=[self.name, 0])

    def value(self, kind, name, type_, options=None):
        """Of an input: what `PLAIN` says, its default, or a link to something of its type."""
        if name in PLAIN.get(kind, {}):
            return PLAIN[kind][name]
        if is_widget(type_):
            choices = type_ if isinstance(type_, list) else (options or {}).get("options") or [None]
            return (options or {}).get("default", choices[0])
        return self.source(type_)

    def source(self, type_: str) -> list:
        if type_ not in self.made:
            self.made[type_] = self.make(type_)
        return self.made[type_]

    def make(self, type_: str) -> list:
        if type_ in ("MODEL", "CLIP", "VAE"):
            loaded = self("SoraLoadModel", checkpoint=TINY)
            self.made |= {"MODEL": loaded[0], "CLIP": loaded[1], "VAE": loaded[2]}
            return self.made[type_]
        if type_ == "LATENT":
            return self("SoraPatchGrid", **GRID, model=self.source("MODEL"))[0]
        if type_ == "CONDITIONING":
            return self("CLIPTextEncode", clip=self.source("CLIP"), text="a red ball")[0]
        if type_ == "IMAGE":
            return self("EmptyImage", width=32, height=32, batch_size=1, color=255)[0]
        if type_ == "VIDEO":
            frames = self("EmptyImage", width=32, height=32, batch_size=9, color=255)[0]
            return self("CreateVideo", images=frames, fps=8.0)[0]
        raise AssertionError(f"tell this test where {type_} comes from")


def is_widget(type_) -> bool:
    return isinstance(type_, list) or type_ in ("INT", "FLOAT", "STRING", "BOOLEAN", "COMBO")


def places(server, *types: str):
    """(node, input) of every widget of ours that has one of the types."""
    for kind, info in server.info.items():
        for group in ("required", "optional"):
            for name, spec in info["input"].get(group, {}).items():
                if ("COMBO" if isinstance(spec[0], list) else spec[0]) in types:
                    yield kind, name, spec


def texts(server) -> list[str]:
    """What a stranger may write where a name is expected."""
    outside, up = str(server.outside), "../" * 12
    return [
        *(
            f"{outside}/x",
            f"{up}{outside.lstrip('/')}/x",
            "../x",
            "a/../../x",
            "..\\..\\x",
            "way_out/x",
            "./way_out/../way_out/x",
        ),
        *("~/x", "C:\\x", "\\\\host\\share\\x", f"file://{outside}/x", "/dev/null", "/etc/passwd", "con", "a" * 5000),
        *(f"{server.address}/x.safetensors", "hf:org/name@main", "hf:org/name:sora.safetensors@main", "s3://bucket/x"),
        *(
            "\x00",
            "a\x00b",
            "a\nb\r\x1b[31m\x7f",
            "\u202egnp.x",
            "0-2s: a \ud800 ball",
            "\ud800",
            "",
            " ",
            ".",
            "..",
            "%date:yyyy%/%year%",
            "{0.__class__}",
        ),
    ]


def test_every_node_runs_with_plain_inputs(stranger):
    """What is refused below is therefore refused because of the one input that was changed."""
    assert {kind: said for kind in stranger.info if (said := stranger.send(Case(stranger, kind).api))} == {}


def test_text_of_any_kind_leads_nowhere(stranger):
    found = list(places(stranger, "STRING"))
    assert ("SoraDecodeToVideo", "filename_prefix") in [(kind, name) for kind, name, _ in found]
    for kind, name, _ in found:
        for text in texts(stranger):
            case = Case(stranger, kind)
            case.node["inputs"][name] = text
            said = stranger.send(case.api)
            if name == "filename_prefix" and (".." in text.replace("\\", "/").split("/") or "way_out" in text):
                assert "filename_prefix" in said, (text, said)


def test_a_choice_is_one_of_the_list_or_refused(stranger):
    found = list(places(stranger, "COMBO"))
    assert ("SoraLoadModel", "checkpoint") in [(kind, name) for kind, name, _ in found]
    for kind, name, _ in found:
        for text in [*texts(stranger), *NUMBERS, None, {}, []]:
            case = Case(stranger, kind)
            case.node["inputs"][name] = text
            assert len(stranger.send(case.api)) > 10, (kind, name, text)


def test_a_choice_that_comes_through_a_link_is_checked_too(stranger):
    for kind, name, _ in places(stranger, "COMBO", "STRING"):
        for text in texts(stranger)[:6]:
            case = Case(stranger, kind)
            case.node["inputs"][name] = case("PrimitiveString", value=text)[0]
            said = stranger.send(case.api)
            assert said or name not in ("checkpoint", "latent"), (kind, name, text)


def test_numbers_that_no_one_means_and_other_types(stranger):
    accepted = []
    for kind, name, (type_, options) in places(stranger, "INT", "FLOAT", "BOOLEAN"):
        for value in (*NUMBERS, *OTHER_TYPES):
            if value in NUMBERS and options.get("min", 0) <= value <= options.get("max", 0):
                continue
            case = Case(stranger, kind)
            case.node["inputs"][name] = value
            if not stranger.send(case.api) and type_ != "BOOLEAN" and (kind, name) not in UNUSED:
                accepted.append((kind, name, value))
    assert not accepted


def test_the_largest_and_smallest_numbers_that_are_allowed_end_or_can_be_stopped(stranger):
    for bound in ("max", "min"):
        for kind, info in stranger.info.items():
            case = Case(stranger, kind)
            for group in ("required", "optional"):
                for name, spec in info["input"].get(group, {}).items():
                    if spec[0] in ("INT", "FLOAT") and bound in spec[1]:
                        case.node["inputs"][name] = spec[1][bound]
            stranger.send(case.api, patience=4)


def test_a_billion_frames(stranger):
    for length, unit in ((10**9, "frames"), (10**9, "seconds"), (7200, "frames"), (60, "seconds")):
        for kind, name, spec in places(stranger, "FLOAT"):
            if name == "length":
                case = Case(stranger, kind)
                case.node["inputs"] |= {name: length, "unit": unit}
                said = stranger.send(case.api, patience=4)
                assert said or length <= spec[1]["max"], (kind, length, unit)


def test_ten_megabytes_of_text(stranger):
    for text in ("x" * 10_000_000, "0-2s: " + "a red ball " * 900_000, "0:0.5," * 1_700_000, "1-2s:;" * 1_700_000):
        for kind, name, spec in places(stranger, "STRING", "COMBO"):
            if spec[0] != "STRING" and name not in ("checkpoint", "latent"):
                continue  # the host itself looks these up in a fixed list
            case = Case(stranger, kind)
            case.node["inputs"][name] = text
            begin = time.monotonic()
            stranger.send(case.api, patience=20)
            assert time.monotonic() - begin < 45, (kind, name, text[:10])


def test_links_to_nowhere_and_to_oneself(stranger):
    for kind in stranger.info:
        for link in (["99", 0], [None, None], [{}, []], ["1", 10**9], ["1", -1]):
            case = Case(stranger, kind)
            for name in list(case.node["inputs"]):
                case.node["inputs"][name] = link
            body = json.dumps({"prompt": case.api})
            answer = requests.post(f"{stranger.url}/prompt", data=body, timeout=60)
            assert answer.status_code in (200, 400, 500)  # the host's own answer to a link that is none
    assert stranger.send(Case(stranger, "SoraPatchGrid").api) == ""


def test_damaged_files_in_the_hosts_folders(stranger, tmp_path, tiny):
    """A checkpoint, a kept latent, a video and a picture of a stranger's, through the nodes that read them: each is
    refused in a sentence or gives a result, and the host goes on."""
    paths = fuzzer.write_mutants(tmp_path, tiny, 60, seed=5, kinds=("checkpoint", "film", "picture"))
    good, rng, kept = (stranger.folder / LATENTS / "kept.latent").read_bytes(), fuzzer.random.Random(5), []
    for number in range(20):
        kept.append(tmp_path / f"{number}.latent")
        kept[-1].write_bytes(fuzzer.mutated_bytes(good, rng))
    found = Counter()
    for path in [*paths, *kept]:
        kind = path.suffix
        target = stranger.folder / FOLDERS[kind] / f"damaged{path.name}"
        shutil.copy(path, target)
        try:
            said = stranger.send(reading(stranger, kind, target.name))
        finally:
            target.unlink()
        assert said != "interrupted", f"{path.name} takes more than a minute"
        found[kind, "refused" if said else "read"] += 1
    assert {kind: found[kind, "read"] + found[kind, "refused"] for kind in FOLDERS} == dict.fromkeys(FOLDERS, 20)
    assert all(found[kind, "refused"] for kind in FOLDERS), found  # or nothing was damaged
    assert stranger.send(Case(stranger, "SoraAnimateImage").api) == ""


def reading(stranger, kind: str, name: str) -> dict:
    """A workflow that reads a file of the host's folders, by its ending, to the end."""
    if kind == ".mp4":
        case = Case(stranger, "SoraEncodeVideo")
        case.node["inputs"] |= {"video": case("LoadVideo", file=name)[0], "frames": 9, "width": 32, "height": 32}
    elif kind == ".png":
        case = Case(stranger, "SoraAnimateImage")
        case.node["inputs"]["image"] = case("LoadImage", image=name)[0]
    else:
        case = Case(stranger, "SoraLoadLatent" if kind == ".latent" else "SoraLoadModel")
        case.node["inputs"]["latent" if kind == ".latent" else "checkpoint"] = name
    return case.api


def test_what_is_saved_holds_the_workflow_and_no_key_of_the_machine(stranger):
    case = Case(stranger, "SoraDecodeToVideo")
    case("SaveImage", images=case.source("IMAGE"), filename_prefix="picture")
    result = stranger.run(case.api, extra={"workflow": {"nodes": [], "made_by": "a test"}})
    (film,) = [item for item in result.files("mp4") if item["type"] == "output"]
    with av.open(str(stranger.folder / "output" / film["subfolder"] / film["filename"])) as file:
        assert json.loads(file.metadata["workflow"])["made_by"] == "a test"
        saved = json.loads(file.metadata["prompt"])
        assert {name: node["inputs"] for name, node in saved.items()} == {
            n: node["inputs"] for n, node in case.api.items()
        }
        assert str(stranger.folder) not in str(file.metadata), "where the files of this machine lie"
    searched = 0
    for folder, _, files in os.walk(stranger.folder):
        for path in (os.path.join(folder, name) for name in files if not name.endswith(".safetensors")):
            with open(path, "rb") as file:
                assert SECRET.encode() not in file.read(), path
            if path.endswith(".png"):
                with Image.open(path) as picture:
                    assert SECRET not in str(picture.info)
            searched += 1
    assert searched > 10
