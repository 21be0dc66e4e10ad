"""A headless ComfyUI with this pack, in folders of its own: start it, queue workflows, follow them, fetch results.

    with Server(host, environment(host)) as server:
        result = server.run(api_workflow, on_event=print)
        server.save(result.files("video")[0], "out.mp4")

HTTP is the standard library's; the websocket is the package `websocket-client` (pure Python).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import struct
import subprocess
import tempfile
import time
import urllib.error
import urllib.parse
import urllib.request
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import websocket

from tests.host.hosts import PACK, Host, HostError

ANSI = re.compile(r"\x1b\[[0-9;]*m")


class WorkflowError(RuntimeError):
    """The host refused a workflow, or a node of it failed; `details` is what the host said."""

    def __init__(self, message: str, details: dict | None = None):
        super().__init__(message)
        self.details = details or {}


@dataclass
class Result:
    """What one run left: the outputs of every node and all that was said on the websocket meanwhile."""

    outputs: dict[str, dict]
    events: list[tuple[str, dict]] = field(default_factory=list)
    previews: list[bytes] = field(default_factory=list)  # the image bytes of each preview, in order

    def files(self, *kinds: str) -> list[dict]:
        """The files that nodes reported ({filename, subfolder, type}); kinds filter by the ending, e.g. "mp4"."""
        items = [
            item
            for output in self.outputs.values()
            for entry in output.values()
            if isinstance(entry, list)
            for item in entry
            if isinstance(item, dict) and "filename" in item
        ]
        return [item for item in items if not kinds or item["filename"].rsplit(".", 1)[-1] in kinds]


class Server:
    """One host process on a free port of the loopback interface, stopped when the `with` block ends."""

    def __init__(
        self, host: Host, python: Path, *, cpu: bool = True, arguments: tuple[str, ...] = (), pack: Path = PACK
    ):
        self.host, self.python, self.pack = host, python, pack
        self.arguments = ("--cpu", *arguments) if cpu else arguments
        self.folder = Path(tempfile.mkdtemp(prefix="sora-host-"))
        self.client = uuid.uuid4().hex
        self.process: subprocess.Popen | None = None
        self.port = 0

    # -- life ---------------------------------------------------------------------------------------------------

    def __enter__(self) -> Server:
        try:
            return self.start()
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_) -> None:
        self.stop()

    def start(self, timeout: float = 240) -> Server:
        for name in ("custom_nodes", "input", "output", "temp", "user", "models/checkpoints", "models/loras"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "custom_nodes" / "sora").symlink_to(self.pack, target_is_directory=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        line = [str(self.python), str(self.host.path / "main.py"), "--listen", "127.0.0.1", "--port", str(self.port)]
        line += [
            "--base-directory",
            str(self.folder),
            "--database-url",
            f"sqlite:///{self.folder / 'user' / 'comfyui.db'}",
        ]
        line += ["--output-directory", str(self.folder / "output"), "--input-directory", str(self.folder / "input")]
        line += ["--temp-directory", str(self.folder), "--user-directory", str(self.folder / "user")]
        line += ["--disable-auto-launch", "--disable-api-nodes", *self.arguments]
        self._log = (self.folder / "host.log").open("wb")
        # The host must not see this process's Python path: its own top-level modules are called nodes, server, ...
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        self.process = subprocess.Popen(
            line,
            cwd=self.host.path,
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env=environment,
        )
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise HostError(f"ComfyUI at {self.host.path} stopped while starting; its last words:\n{self.tail()}")
            try:
                self.get("/system_stats")
                return self
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                time.sleep(0.2)
        raise HostError(f"ComfyUI at {self.host.path} did not answer within {timeout:.0f} s:\n{self.tail()}")

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(15)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        if self.process is not None:
            self._log.close()
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Everything the host has written so far, without colours."""
        return ANSI.sub("", (self.folder / "host.log").read_text(errors="replace"))

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self.log().splitlines()[-lines:])

    # -- HTTP ---------------------------------------------------------------------------------------------------

    def get(self, path: str):
        return json.loads(self._request(path))

    def post(self, path: str, body: dict) -> dict:
        answer = self._request(path, json.dumps(body).encode(), {"Content-Type": "application/json"})
        return json.loads(answer) if answer else {}

    def fetch(self, item: dict) -> bytes:
        """The bytes of a file that a node reported."""
        query = {name: item.get(name, "") for name in ("filename", "subfolder", "type")}
        return self._request("/view?" + urllib.parse.urlencode(query))

    def save(self, item: dict, path: str | Path) -> Path:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(self.fetch(item))
        return path

    def upload(self, path: str | Path) -> str:
        """Puts a file into the host's input folder, as the front end does; returns the name for LoadImage."""
        path, boundary = Path(path), uuid.uuid4().hex
        head = f'Content-Disposition: form-data; name="image"; filename="{path.name}"\r\n'
        body = f"--{boundary}\r\n{head}Content-Type: application/octet-stream\r\n\r\n".encode() + path.read_bytes()
        again = 'Content-Disposition: form-data; name="overwrite"'
        body += f"\r\n--{boundary}\r\n{again}\r\n\r\ntrue\r\n--{boundary}--\r\n".encode()
        answer = self._request("/upload/image", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
        return json.loads(answer)["name"]

    def object_info(self) -> dict:
        """Every registered node's inputs and outputs, as the front end gets them."""
        return self.get("/object_info")

    def interrupt(self) -> None:
        self._request("/interrupt", b"")

    def _request(self, path: str, body: bytes | None = None, headers: dict | None = None) -> bytes:
        request = urllib.request.Request(f"http://127.0.0.1:{self.port}{path}", body, headers or {})
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # never a proxy for the loopback
        with opener.open(request, timeout=60) as answer:
            return answer.read()

    # -- workflows ----------------------------------------------------------------------------------------------

    def run(
        self,
        workflow: dict,
        *,
        on_event: Callable[[str, dict], None] | None = None,
        timeout: float = 600,
        extra: dict | None = None,
    ) -> Result:
        """Queues a workflow in API format and follows it to its end.

        `on_event(kind, data)` gets every message ("progress" has value, max, node; "executing" has node; "preview"
        has the image's bytes). `extra` is stored as extra_pnginfo: {"workflow": ...} keeps the graph in saved files.
        Raises WorkflowError when the host refuses the workflow, when a node fails, or when it was interrupted.
        """
        channel = websocket.create_connection(
            f"ws://127.0.0.1:{self.port}/ws?clientId={self.client}", timeout=timeout, http_no_proxy=["127.0.0.1"]
        )
        try:
            return self._follow(channel, self._queue(workflow, extra), on_event, time.monotonic() + timeout)
        finally:
            channel.close()

    def _queue(self, workflow: dict, extra: dict | None) -> str:
        body = {"prompt": workflow, "client_id": self.client}
        if extra:
            body["extra_data"] = {"extra_pnginfo": extra}
        try:
            return self.post("/prompt", body)["prompt_id"]
        except urllib.error.HTTPError as refusal:
            details = json.loads(refusal.read() or b"{}")
            said = [
                f"{node.get('class_type', name)}: {error.get('message')}: {error.get('details')}"
                for name, node in (details.get("node_errors") or {}).items()
                for error in node.get("errors", [])
            ]
            head = details.get("error")
            head = head.get("message") if isinstance(head, dict) else head
            raise WorkflowError("; ".join(said) or str(head or refusal), details) from None

    def _follow(self, channel, prompt: str, on_event, end: float) -> Result:
        result = Result({})
        while time.monotonic() < end:
            message = channel.recv()
            if isinstance(message, bytes):
                kind, data = "preview", {"image": image_of(message)}
                result.previews.append(data["image"])
            else:
                message = json.loads(message)
                kind, data = message["type"], message.get("data") or {}
                if data.get("prompt_id", prompt) != prompt:
                    continue
                result.events.append((kind, data))
            if on_event is not None:
                on_event(kind, data)
            if kind == "execution_error":
                raise WorkflowError(f"{data.get('node_type')}: {data.get('exception_message', '').strip()}", data)
            if kind == "execution_interrupted":
                raise WorkflowError("interrupted", data)
            if kind == "executed":
                result.outputs[data["node"]] = data.get("output") or {}
            if kind == "execution_success":
                history = self.get(f"/history/{prompt}").get(prompt, {})
                result.outputs = history.get("outputs") or result.outputs  # cached nodes say nothing on the websocket
                return result
        raise WorkflowError(f"no end within the time given; the host's last words:\n{self.tail()}")


def image_of(message: bytes) -> bytes:
    """The image in a binary preview message: an event number, then either a format number or a JSON header."""
    (event,) = struct.unpack(">I", message[:4])
    if event == 4:  # preview with metadata
        (length,) = struct.unpack(">I", message[4:8])
        return message[8 + length :]
    return message[8:]
