"""Set-up and the main jobs: `nox -s demo`, `nox -s test`, `nox -s lint`. Needs Python >= 3.10, pip and git only.

Every session has an environment of its own under .nox/. Where the interpreter that runs nox has torch, the sessions
see that one and nothing of it is fetched again; only a bare interpreter gets one.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import json
import sys
import sysconfig
from pathlib import Path

import nox

ROOT = Path(__file__).parent
TORCH = ("torch==2.11.0", "torchvision==0.26.0", "torchaudio==2.11.0")  # a trio that belongs together
TORCH_FAMILY = ("torch", "torchvision", "torchaudio")
DEMO = ("numpy", "pillow", "tqdm", "requests", "websockets>=15")
TEST = (
    *DEMO,
    "pyarrow>=14",
    "ray>=2.40",
    "pytest>=8",
    "hypothesis",
    "scikit-image>=0.22",
    "tensorboard>=2.14",
    "tomli; python_version < '3.11'",
)
BROWSER = (*TEST, "playwright>=1.40")
LINT = ("ruff==0.17.6", "bandit[toml]>=1.8", "pip-audit>=2.7")
UNREACHABLE = ("ConnectionError", "ConnectTimeout", "ReadTimeout", "Max retries", "Connection refused", "resolution")

nox.options.sessions = ["lint", "test"]
nox.options.reuse_existing_virtualenvs = True
nox.options.error_on_external_run = True


def engine(name: str):
    """Register a session that runs the engine: a venv that can see the interpreter's torch."""
    return nox.session(name=name, venv_backend="venv", venv_params=["--system-site-packages"])


@engine("demo")
def demo(session: nox.Session) -> None:
    """A sentence becomes a video: out/demo.mp4 and the contact sheet out/demo.png."""
    set_up(session, DEMO)
    session.run("python", "-m", "tests.host.demo", *session.posargs)


@engine("test")
def test(session: nox.Session) -> None:
    """The engine's tests, then those inside every ComfyUI that is found. Arguments after -- go to pytest."""
    set_up(session, TEST)
    if session.posargs:
        session.run("python", "-m", "pytest", *session.posargs)
        return
    session.run("python", "-m", "pytest", "tests/core")
    find = "from sora_core.batch.host import find_hosts; print(*(host.path for host in find_hosts()), sep='\\n')"
    # stderr=None: warnings go to the terminal; nox would put them into the output.
    hosts = session.run("python", "-c", find, silent=True, log=False, stderr=None).split()
    if not hosts:
        places = "COMFYUI_PATH, comfy-cli's workspace, ~/comfy/ComfyUI"
        print(f"No ComfyUI found ({places}): the tests inside a host are skipped.")
        return
    session.run("python", "-m", "pytest", "tests/host")


@engine("browser")
def browser(session: nox.Session) -> None:
    """The front end of every ComfyUI that is found, in a headless Chromium; arguments after -- go to pytest."""
    set_up(session, BROWSER)
    session.run("python", "-m", "pytest", "tests/browser", *session.posargs)


@engine("host-execution")
def host_execution(session: nox.Session) -> None:
    """The hosts' own tests of their execution, with this pack installed; arguments after -- go to pytest."""
    set_up(session, TEST)
    session.run("python", "-m", "tests.host.execution", *session.posargs)


@nox.session(venv_backend="venv")
def lint(session: nox.Session) -> None:
    """Rules and format, suspicious code, and known holes in what the pack requires."""
    install(session, LINT)
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")
    session.run(
        "bandit", "--quiet", "--configfile", "pyproject.toml", "--recursive", "__init__.py", "nodes", "sora_core"
    )
    audit(session)


def audit(session: nox.Session) -> None:
    """Look up the newest versions of the requirements, and the tools above, among the known vulnerabilities."""
    session.install("--quiet", "--no-deps", "--upgrade", "--requirement", "requirements.txt")
    report = Path(session.create_tmp()) / "audit.json"
    report.unlink(missing_ok=True)
    line = ("pip-audit", "--local", "--format", "json", "--output", str(report))
    said = session.run(*line, success_codes=[0, 1], silent=True) or ""
    if report.exists():
        found = [one for one in json.loads(report.read_text())["dependencies"] if one.get("vulns")]
        if found:
            session.error("; ".join(f"{one['name']} {one['version']}: {one['vulns'][0]['id']}" for one in found))
    elif any(word in said for word in UNREACHABLE):
        print("The service of pip-audit cannot be reached: the requirements are not looked up.")
    else:
        session.error(f"pip-audit: {said.strip()[-300:]}")


# ------------------------------------------------------------------------------------------------------------- set-up


def set_up(session: nox.Session, extra: tuple[str, ...]) -> None:
    """Torch where there is none, then what the engine requires, then `extra`."""
    borrowed = lend_site_packages(session)
    torch = () if borrowed or importlib.util.find_spec("torch") else TORCH
    have = {name: version(name) for name in TORCH_FAMILY} if not torch else {}
    keep = [f"{name}=={number}" for name, number in have.items() if number]  # nothing may replace what is there
    if torch:
        install(session, torch)
    requirements = (ROOT / "requirements.txt").read_text().split("\n")
    install(session, (*filter(None, requirements), *extra), constraints=keep)


def lend_site_packages(session: nox.Session) -> bool:
    """If nox itself runs in a virtual environment that has torch, let the session see it; --system-site-packages
    reaches past that environment to the interpreter below."""
    if sys.prefix == sys.base_prefix or not importlib.util.find_spec("torch"):
        return False
    ask = "import sysconfig; print(sysconfig.get_path('purelib'))"
    purelib = session.run("python", "-c", ask, silent=True, stderr=None)  # as in `test`
    (Path(purelib.strip()) / "interpreter.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return True


def version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def install(session: nox.Session, packages, constraints=()) -> None:
    """pip install, left out when the same was installed into this environment before."""
    home = Path(session.virtualenv.location)
    wanted = "\n".join([sys.version, sys.prefix, *packages, *constraints])
    stamp = home / f"installed-{hashlib.sha256(wanted.encode()).hexdigest()[:16]}"
    if stamp.exists():
        return
    options: tuple[str, ...] = ()
    if constraints:
        file = home / "constraints.txt"
        file.write_text("\n".join(constraints) + "\n")
        options = ("--constraint", str(file))
    session.install("--quiet", *options, *packages)
    stamp.touch()
