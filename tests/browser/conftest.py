"""The real front end of every host found, in a headless Chromium; skipped in one line where there is none.

`CHROMIUM` names the browser, else a `chromium`, `chromium-browser` or `google-chrome` of the PATH is taken.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from sora_core.batch.host import PACK, Server, find_hosts
from tests.host.hosts import environment

LAUNCH = ["--no-proxy-server"]  # the host is on the loopback interface
NAMES = ("chromium", "chromium-browser", "google-chrome")
SHOTS = PACK / "out" / "browser"
SECONDS = 120  # the front end loads its hundreds of files slowly beside other work
HOSTS_OWN = re.compile(  # what the front end itself asks for in vain or complains of, on a fresh installation
    r"/user\.css|/userdata|/favicon\.ico|graph accessed before initialization|Comfy\.InstalledVersion|/missingModel"
    r"|https://huggingface\.co/|fetching file size"  # it asks for the sizes of models that it offers
    r"|cleanup event listeners for graph that was never set up"  # of 0.8.2, which loads the page anew for a language
)
SHOWN = """wanted => {
    const shown = (window.app?.graph?.nodes ?? []).map(node => `${node.id} ${node.type}`).sort()
    return shown.length === wanted.length && shown.every((node, i) => node === wanted[i])
}"""
AT_REST = """() => new Promise(done => {  // it fits the graph into the window: two seconds without a move
    let last = "", still = 0
    const look = () => {
        const now = `${app.canvas.ds.scale} ${app.canvas.ds.offset}`
        still = now === last ? still + 1 : 0
        last = now
        still >= 8 ? done() : setTimeout(look, 250)
    }
    look()
})"""


def chromium() -> str | None:
    """The browser's path."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="session")
def browser():
    """A headless Chromium."""
    api = pytest.importorskip("playwright.sync_api", reason="The browser tests need the package playwright.")
    if chromium() is None:
        pytest.skip("The browser tests need a Chromium: install one or set CHROMIUM to its path.")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=LAUNCH)
        yield browser
        browser.close()


@pytest.fixture(scope="session", params=find_hosts(), ids=lambda host: f"ComfyUI-{host.version}")
def server(request, browser):
    """A host with this pack, an image for the templates that load one, and previews."""
    host = request.param
    with Server(host, environment(host), arguments=("--preview-method", "latent2rgb")) as running:
        Image.linear_gradient("L").convert("RGB").save(running.folder / "input" / "example.png")
        yield running


@pytest.fixture
def page(browser, server, request) -> Iterator:
    """The front end's page. The test fails if anything in it complains, the host's own noise aside."""
    language = getattr(request, "param", "en")
    server.post("/settings", {"Comfy.Locale": language, "Comfy.TutorialCompleted": True})
    context = browser.new_context(viewport={"width": 1920, "height": 1080}, locale=language)
    page, complaints = context.new_page(), []
    page.set_default_timeout(1000 * SECONDS)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda said: complaints.append(complaint(said)) if said.type == "error" else None)
    yield page
    context.close()
    assert [text for text in complaints if not HOSTS_OWN.search(text)] == []


def complaint(said) -> str:
    return f"{said.text} ({said.location.get('url', '')})"


@pytest.fixture
def open_template(page, server):
    """(name) -> the workflow file, opened from the pack's templates and drawn."""

    def open_it(name: str) -> dict:
        workflow = json.loads((PACK / "workflows" / f"{name}.json").read_text(encoding="utf-8"))
        page.goto(f"{server.url}/?template={name}&source=sora")
        # not only as many nodes: a page begins with the host's own example, until the template is there
        nodes = sorted(f"{node['id']} {node['type']}" for node in workflow["nodes"])
        page.wait_for_function(SHOWN, arg=nodes)
        page.evaluate(AT_REST)
        return workflow

    return open_it


@pytest.fixture
def shot(page, server):
    """(name) -> a picture of the page in out/browser/, to be looked at."""

    def take(name: str) -> Path:
        path = SHOTS / server.host.version / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        page.screenshot(path=path)
        return path

    return take
