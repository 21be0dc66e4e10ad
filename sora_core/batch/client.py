"""A running ComfyUI over HTTP and websocket: queue workflows, follow them, fetch what they made.

    comfy = Client("http://127.0.0.1:8188")
    result = comfy.run(comfy.load("workflows/text_to_image.json", {"Prompt.text": "a red ball"}))
    comfy.save(result.files()[0], "ball.png")

HTTP is `requests`, the websocket is `websockets`. The routes and messages are the host's own (server.py,
comfy_execution), which its front end uses too.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import struct
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

import requests
from websockets.exceptions import WebSocketException
from websockets.sync.client import connect

from ..errors import UserError
from ..files import replacing
from . import workflow as workflows

CONNECT, READ = 10, 120  # seconds: to reach a host, and that it may be silent within an answer
BLOCK = 1 << 20
GATEWAY = (502, 503, 504)  # what a proxy answers while it does not reach the host behind it
TEXT, PREVIEW_WITH_HEADER = 3, 4  # kinds of binary messages, by the host's protocol.py


class HostGone(UserError):
    """No ComfyUI answers at the address: not there, not yet there, or not any more."""


class WorkflowError(RuntimeError):
    """The host refused a workflow, or a node of it failed; `details` is what the host said."""

    def __init__(self, message: str, details: dict | None = None):
        super().__init__(message)
        self.details = details or {}


class Refused(WorkflowError):
    """The host does not accept the workflow, or nothing can come of it: the same again would end alike."""


class Interrupted(WorkflowError):
    """A person stopped the job at the host."""


@dataclass
class Result:
    """What one run left: the outputs of every node and all that was said on the websocket meanwhile."""

    outputs: dict[str, dict]
    events: list[tuple[str, dict]] = field(default_factory=list)
    previews: list[bytes] = field(default_factory=list)  # the image bytes of each preview, in order

    def files(self, *kinds: str) -> list[dict]:
        """The files that nodes reported ({filename, subfolder, type}), saved ones before previews (type "temp"); kinds
        filter by the ending, e.g. "mp4"."""
        return files_of(self.outputs, *kinds)


class Client:
    """One host, by its address.

    Args:
        url: such as http://127.0.0.1:8188.

    Raises:
        UserError: the address is none.
        HostGone: from every method, when nobody answers.
    """

    def __init__(self, url: str):
        parts = urlsplit(url if "://" in url else f"http://{url}")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"{url!r} is not the address of a host: give one such as http://127.0.0.1:8188.")
        self.url = parts.geturl().rstrip("/")
        self.answered = 0.0  # when it did so last, by time.monotonic()
        self.id = uuid.uuid4().hex  # the host sends the messages of a job to the client that queued it
        self._http = requests.Session()
        self._direct = is_loopback(parts.hostname)
        self._http.trust_env = not self._direct  # never a proxy for this machine itself

    def revive(self) -> None:
        """Bring a host that fell over back to life. Only the owner of the process can: see `host.Server`."""

    # -- HTTP ---------------------------------------------------------------------------------------------------

    def get(self, path: str):
        answer = self._request("GET", path)
        try:
            return answer.json()
        except requests.JSONDecodeError as error:
            raise UserError(f"What answers at {self.url} is not a ComfyUI: name the address of one.") from error

    def post(self, path: str, body: dict) -> dict:
        answer = self._request("POST", path, json=body)
        return answer.json() if answer.content else {}

    def object_info(self) -> dict:
        """Every registered node's inputs and outputs, as the front end gets them."""
        return self.get("/object_info")

    def interrupt(self) -> None:
        """Stop the job that runs."""
        self._request("POST", "/interrupt", json={})

    def withdraw(self, prompt_id: str) -> None:
        """Take a job that still waits out of the queue."""
        self._request("POST", "/queue", json={"delete": [prompt_id]})

    def fetch(self, item: dict) -> bytes:
        """The bytes of a file that a node reported."""
        return self._view(item).content

    def download(self, item: dict, file: BinaryIO) -> tuple[str, int]:
        """Copy a file that a node reported into `file`; returns its SHA-256 and its number of bytes.

        Raises:
            WorkflowError: it breaks off, although the host is there.
        """
        digest, size = hashlib.sha256(), 0
        try:
            with self._view(item, stream=True) as answer:
                promised = int(answer.headers.get("Content-Length", -1))
                for block in answer.iter_content(BLOCK):
                    file.write(block)
                    digest.update(block)
                    size += len(block)
            broken = promised not in (-1, size)
        except requests.RequestException:
            broken = True
        if broken:
            self.get("/queue")  # or nobody is there
            raise WorkflowError(f"The host at {self.url} broke off while it sent {item['filename']}.")
        return digest.hexdigest(), size

    def save(self, item: dict, path: str | Path) -> Path:
        """Write a file that a node reported to `path`, whole or not at all."""
        with replacing(path) as part, part.open("wb") as file:
            self.download(item, file)
        return Path(path)

    def upload(self, file: str | Path | BinaryIO, name: str | None = None) -> str:
        """Put a file into the host's input folder, as the front end does; returns the name for LoadImage.

        What the host has got already is not written again, since a job may be reading it; another file of that name
        stays, and this one is numbered.
        """
        if not hasattr(file, "read"):
            with open(file, "rb") as opened:
                return self.upload(opened, name or Path(file).name)
        sent = {"image": (name or Path(file.name).name, file, "application/octet-stream")}
        return self._request("POST", "/upload/image", files=sent).json()["name"]

    def _view(self, item: dict, stream: bool = False) -> requests.Response:
        query = {name: item.get(name, "") for name in ("filename", "subfolder", "type")}
        return self._request("GET", "/view", params=query, stream=stream)

    def _request(self, method: str, path: str, **options) -> requests.Response:
        try:
            answer = self._http.request(method, self.url + path, timeout=(CONNECT, READ), **options)
        except requests.exceptions.InvalidJSONError as error:
            raise UserError(
                "The workflow holds a number that is not finite (NaN or infinity): give one that is."
            ) from error
        except requests.RequestException as error:
            raise self._gone() from error
        if answer.status_code in GATEWAY:
            raise self._gone()
        self.answered = time.monotonic()
        if answer.status_code >= 400:
            raise self._refusal(answer, f"{method} {path}")
        return answer

    def _gone(self) -> HostGone:
        return HostGone(f"No ComfyUI answers at {self.url}: start it there, or name another address.")

    def _refusal(self, answer: requests.Response, asked: str) -> WorkflowError:
        try:
            details = answer.json()
        except requests.JSONDecodeError:
            details = {}
        if not isinstance(details, dict) or "error" not in details:
            return WorkflowError(f"The host at {self.url} answered {asked} with {answer.status_code} {answer.reason}.")
        said = [
            f"{node.get('class_type', name)}: {error.get('message')}: {error.get('details')}"
            for name, node in (details.get("node_errors") or {}).items()
            for error in node.get("errors", [])
        ]
        head = details["error"]
        head = head.get("message") if isinstance(head, dict) else head
        return Refused("; ".join(said) or str(head or answer.reason), details)

    # -- workflows ----------------------------------------------------------------------------------------------

    def load(self, path: str | Path, settings: dict | None = None) -> dict:
        """Read a workflow file, of the front end or in API format, and set inputs: {"node.input": value}."""
        info = self.object_info()
        api = workflows.to_api(workflows.read(path), info)
        for name, value in (settings or {}).items():
            workflows.set_input(api, info, name, value)
        return api

    def queue(self, api: dict, prompt_id: str | None = None, extra: dict | None = None) -> str:
        """Queue a workflow in API format; returns the job's id.

        Args:
            prompt_id: a UUID of the caller's, so that the job can be asked after even if this answer is lost.
            extra: stored as extra_pnginfo: {"workflow": ...} keeps the graph in the files that are saved.

        Raises:
            Refused: the host does not accept it.
        """
        prompt_id = prompt_id or str(uuid.uuid4())
        body = {"prompt": api, "client_id": self.id, "prompt_id": prompt_id}
        if extra:
            body["extra_data"] = {"extra_pnginfo": extra}
        return self.post("/prompt", body)["prompt_id"]

    def outcome(self, prompt_id: str) -> dict[str, dict] | None:
        """The outputs of a job that has ended, by node; None if it has not.

        Raises:
            WorkflowError: a node failed.
            Interrupted: a person stopped it.
        """
        entry = self.get(f"/history/{prompt_id}").get(prompt_id)
        if entry is None:
            return None
        status = entry.get("status") or {}
        for kind, data in status.get("messages") or ():
            if kind == "execution_error":
                said = " ".join(str(data.get("exception_message") or data.get("exception_type")).split())
                raise WorkflowError(f"{data.get('node_type')}: {said}", data)
            if kind == "execution_interrupted":
                raise Interrupted("interrupted at the host", data)
        if status.get("status_str") == "error":
            raise WorkflowError("The job failed, and the host does not say why.", status)
        return entry.get("outputs") or {}

    def waits(self, prompt_id: str) -> bool:
        """Whether a job is running or in the queue."""
        queue = self.get("/queue")
        return any(job[1] == prompt_id for name in ("queue_running", "queue_pending") for job in queue[name])

    def knows(self, prompt_id: str) -> bool:
        """Whether the host has ever got this job (and was not restarted since)."""
        # In this order: between two questions a job can move from the queue to the history, never back.
        return self.waits(prompt_id) or prompt_id in self.get(f"/history/{prompt_id}")

    def events(self, patience: float = READ) -> Iterator[tuple[str, dict]]:
        """Everything that the host tells this client from now on: (kind, data); a preview's data holds the image.

        The first is always ("status", ...): once it came, no message of a job that is queued afterwards is missed.

        Raises:
            HostGone: the connection broke, or nothing came for `patience` seconds.
        """
        address = f"ws{self.url[4:]}/ws?clientId={self.id}"
        options = {"proxy": None} if self._direct else {}
        try:
            with connect(address, max_size=None, open_timeout=CONNECT, **options) as channel:
                while True:
                    message = channel.recv(timeout=patience)
                    if isinstance(message, bytes):
                        yield read_binary(message)
                    else:
                        message = json.loads(message)
                        yield message["type"], message.get("data") or {}
        except (OSError, WebSocketException) as error:  # a TimeoutError is an OSError
            raise self._gone() from error

    def run(
        self,
        api: dict,
        *,
        on_event: Callable[[str, dict], None] | None = None,
        timeout: float = 600,
        extra: dict | None = None,
    ) -> Result:
        """Queue a workflow in API format and follow it to its end.

        `on_event(kind, data)` gets every message ("progress" has value, max, node; "executing" has node; "preview"
        has the image's bytes, "progress_text" node and text). `extra` is as in `queue`.

        Raises:
            WorkflowError: the host refuses the workflow, a node fails, or it was interrupted.
        """
        result, prompt_id, end = Result({}), None, time.monotonic() + timeout
        for kind, data in self.events(timeout):
            if prompt_id is None:
                prompt_id = self.queue(api, extra=extra)
            if data.get("prompt_id", prompt_id) != prompt_id:
                continue
            if kind == "preview":
                result.previews.append(data["image"])
            else:
                result.events.append((kind, data))
            if on_event is not None:
                on_event(kind, data)
            if ended(kind, data):
                result.outputs = self.outcome(prompt_id) or {}
                return result
            if time.monotonic() > end:
                break
        raise WorkflowError(f"The job did not end within {timeout:.0f} seconds.")


def ended(kind: str, data: dict) -> bool:
    """Whether a message says that its job is over and in the history: the host's last word on it."""
    return kind == "executing" and data.get("node") is None and "prompt_id" in data


def files_of(outputs: dict[str, dict], *kinds: str) -> list[dict]:
    """The files among a job's outputs, as `Result.files` gives them."""
    items = [
        item
        for output in outputs.values()
        for entry in output.values()
        if isinstance(entry, list)
        for item in entry
        if isinstance(item, dict) and "filename" in item
    ]
    items.sort(key=lambda item: item.get("type", "output") != "output")
    return [item for item in items if not kinds or item["filename"].rsplit(".", 1)[-1] in kinds]


def read_binary(message: bytes) -> tuple[str, dict]:
    """A binary message: ("progress_text", node and text) or ("preview", image).

    It begins with the number of its kind; then comes a text, behind the length and the name of its node, or an image,
    behind the number of its format or a header in JSON and its length.
    """
    kind, number = struct.unpack(">II", message[:8])
    if kind == TEXT:
        return "progress_text", {"node": message[8 : 8 + number].decode(), "text": message[8 + number :].decode()}
    return "preview", {"image": message[8 + number if kind == PREVIEW_WITH_HEADER else 8 :]}


def is_loopback(name: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return name == "localhost"
