"""A headless ComfyUI with this pack, in folders of its own: what the tests, the demo and the actors of a cluster start.

with Server(find_hosts()[0], python) as server:
    result = server.run(api_workflow)
    server.save(result.files("mp4")[0], "out.mp4")

It starts processes (with lists of arguments, never through a shell), which the archive of the pack must not do: this
file and `cluster`, which needs it, are left out there (.comfyignore) and come with a clone. What `pip install` without
`-e` leaves among the packages holds no nodes, and starts no host.
"""

from __future__ import annotations

import configparser
import os
import re
import shutil
import socket
import subprocess  # nosec B404
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ..errors import UserError
from .client import Client, HostGone

PACK = Path(__file__).resolve().parents[2]
ANSI = re.compile(r"\x1b\[[0-9;]*m")

# What the host's process runs first: it ends, and takes its folder with it, when whoever started it is gone, however
# that came about. A pipe tells it, which needs no signal and works on every system.
LAUNCH = """
import os, runpy, subprocess, sys, threading
def watch(folder):
    # until the other side is closed, that is, its process has ended; sys.stdin would be in use when this one ends, and
    # Python's complaint about that would be the last line of its log
    while os.read(0, 4096):
        pass
    remove = "import shutil, sys; shutil.rmtree(sys.argv[1], ignore_errors=True)"
    subprocess.Popen([sys.executable, "-c", remove, folder])  # not here: this process would write into it meanwhile
    os._exit(1)
folder, *sys.argv = sys.argv[1:]
threading.Thread(target=watch, args=(folder,), daemon=True).start()
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class HostError(UserError):
    """A host cannot be had or started; `log` is what it wrote last."""

    def __init__(self, message: str, log: str = ""):
        super().__init__(message)
        self.log = log


@dataclass(frozen=True)
class Host:
    """A folder with a ComfyUI in it."""

    path: Path

    @property
    def version(self) -> str:
        """The host's own version number, for the reader of a test report; never used to decide anything."""
        text = (self.path / "comfyui_version.py").read_text() if (self.path / "comfyui_version.py").exists() else ""
        return text.rsplit('"', 2)[-2] if text.count('"') >= 2 else "unknown"

    @property
    def python(self) -> Path | None:
        """The interpreter of a virtual environment that the host brings along, if it has one that works."""
        for own in (self.path / ".venv", self.path / "venv"):
            python = interpreter(own)
            if python.exists() and works(python):
                return python
        return None


def find_hosts() -> list[Host]:
    """`COMFYUI_PATH` (several, separated as in PATH), else the workspace that comfy-cli was told of or used last,
    `~/comfy/ComfyUI`, where it installs, and the `ComfyUI-*` beside that, else the host this pack is installed in.

    Raises:
        HostError: COMFYUI_PATH names a folder where there is none.
    """
    given = os.environ.get("COMFYUI_PATH")
    if given is not None:
        folders = [Path(part).expanduser() for part in given.split(os.pathsep) if part]
        missing = [str(folder) for folder in folders if not is_host(folder)]
        if missing:
            raise HostError(f"COMFYUI_PATH names {', '.join(missing)}, where there is no ComfyUI (main.py and comfy/).")
        return [Host(folder.resolve()) for folder in folders]
    usual = Path.home() / "comfy"
    folders = [*_workspaces(), usual / "ComfyUI", *sorted(usual.glob("ComfyUI-*"))]
    found = [Host(folder) for folder in dict.fromkeys(folder.resolve() for folder in folders if is_host(folder))]
    if not found:
        pack = Path(os.path.abspath(__file__)).parents[2]  # <host>/custom_nodes/<pack>, where PACK follows links
        above = pack.parent.parent
        found = [Host(above)] if is_host(above) else []
    return found


def _workspaces() -> list[Path]:
    """The ComfyUI folders that comfy-cli has noted: the one set as default, and the one of its last command."""
    home = Path.home()
    places = {"win32": home / "AppData" / "Local", "darwin": home / "Library" / "Application Support"}
    noted = configparser.ConfigParser(interpolation=None)
    try:
        noted.read(places.get(sys.platform, home / ".config") / "comfy-cli" / "config.ini", encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError):  # a file of another program, which is no reason to fail
        return []
    names = ("default_workspace", "recent_workspace")
    return [Path(folder) for name in names if (folder := noted.defaults().get(name))]


def own_python(host: Host) -> Path:
    """The interpreter for a host on a machine that was set up by hand: `COMFYUI_PYTHON`, else the one that the host
    brings along, else the one that runs this.

    Raises:
        HostError: that one lacks what ComfyUI needs.
    """
    given = os.environ.get("COMFYUI_PYTHON")
    python = Path(given).expanduser() if given else host.python or Path(sys.executable)
    if not works(python):
        raise HostError(f"{python} has no torch and aiohttp for {host.path}: set COMFYUI_PYTHON to a Python that has.")
    return python


def is_host(folder: Path) -> bool:
    return (folder / "main.py").is_file() and (folder / "comfy").is_dir() and (folder / "requirements.txt").is_file()


def interpreter(folder: Path) -> Path:
    """The Python of a virtual environment."""
    return folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def works(python: Path) -> bool:
    """Whether this Python has what every ComfyUI needs first."""
    probe = (
        "import importlib.util, sys; sys.exit(any(importlib.util.find_spec(n) is None for n in ('torch', 'aiohttp')))"
    )
    try:
        done = subprocess.run([str(python), "-c", probe], capture_output=True)  # nosec
        return done.returncode == 0
    except OSError:
        return False


class Server(Client):
    """One host process on a free port of the loopback interface, stopped when the `with` block ends.

    Args:
        python: the interpreter that has the host's requirements and this pack's.
        cpu: leave the accelerators alone.
        arguments: for ComfyUI's main.py.
        pack: the folder that holds this pack.
    """

    def __init__(
        self, host: Host, python: Path, *, cpu: bool = True, arguments: tuple[str, ...] = (), pack: Path = PACK
    ):
        super().__init__(f"http://127.0.0.1:{free_port()}")
        self.host, self.python, self.pack = host, python, pack
        self.arguments = ("--cpu", *arguments) if cpu else arguments
        self.folder = Path(tempfile.mkdtemp(prefix="sora-host-"))
        self.process: subprocess.Popen | None = None

    def __enter__(self) -> Server:
        return self.start()

    def __exit__(self, *_) -> None:
        self.stop()

    def start(self, timeout: float = 600) -> Server:
        """Start the process and wait until it answers.

        Raises:
            HostError: it stopped, or did not answer in `timeout` seconds; nothing of it is left.
        """
        try:
            self._launch()
            self._wait(timeout)
        except BaseException:
            self.stop()
            raise
        return self

    def _launch(self) -> None:
        if not (self.pack / "nodes").is_dir():
            raise HostError(f"{self.pack} is no clone of the pack, which holds its nodes: pip install -e . in one.")
        for name in ("custom_nodes", "input", "output", "temp", "user", "models/checkpoints", "models/loras"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        pack = self.folder / "custom_nodes" / "sora"
        if not pack.is_symlink():
            try:
                pack.symlink_to(self.pack, target_is_directory=True)
            except OSError as error:
                said = f"The pack cannot be linked into {pack.parent} ({error.strerror or error})"
                raise HostError(f"{said}: Windows allows it in its Developer Mode.") from error
        # The host must not see this process's Python path: its own top-level modules are called nodes, server, ...
        environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
        with (self.folder / "host.log").open("ab") as log:
            self.process = subprocess.Popen(  # nosec B603
                [str(self.python), "-c", LAUNCH, str(self.folder), *self._line()],
                cwd=self.host.path,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
            )

    def _wait(self, timeout: float) -> None:
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise HostError(f"ComfyUI at {self.host.path} stopped while starting: {self.tail(1)}", self.tail())
            try:
                self.get("/system_stats")
                return
            except HostGone:
                time.sleep(0.2)
        said = f"ComfyUI at {self.host.path} did not answer within {timeout:.0f} seconds"
        raise HostError(f"{said}; its last words: {self.tail(1)}", self.tail())

    def _line(self) -> list[str]:
        folders = {
            "--base-directory": self.folder,
            "--output-directory": self.folder / "output",
            "--input-directory": self.folder / "input",
            "--temp-directory": self.folder,
            "--user-directory": self.folder / "user",
            "--database-url": f"sqlite:///{self.folder / 'user' / 'comfyui.db'}",
        }
        line = [str(self.host.path / "main.py"), "--listen", "127.0.0.1", "--port", self.url.rsplit(":", 1)[1]]
        for name, folder in folders.items():
            line += [name, str(folder)]
        return [*line, "--disable-auto-launch", "--disable-api-nodes", *self.arguments]

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def revive(self) -> None:
        """Start the process again if it fell over; its queue and history are lost, its files are not."""
        if not self.alive:
            print(f"ComfyUI at {self.host.path} fell over and is started again:\n{self.tail()}", file=sys.stderr)
            self.start()

    def stop(self) -> None:
        if self.process is not None:
            if self.alive:
                self.process.terminate()
                try:
                    self.process.wait(15)
                except subprocess.TimeoutExpired:
                    self.process.kill()
                    self.process.wait()
            self.process.stdin.close()
            self.process = None
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        """Everything the host has written so far, without colours."""
        return ANSI.sub("", (self.folder / "host.log").read_text(errors="replace"))

    def tail(self, lines: int = 25) -> str:
        return "\n".join(self.log().splitlines()[-lines:])


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
