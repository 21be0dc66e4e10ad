"""Makes the pictures of the help pages, web/docs/NODE.jpg: `python -m tests.browser.pictures [TEMPLATE ...]`.

Opens each template (or those named) in the front end of the first host, runs it with the bundled model and photographs
every node of this pack with what it shows. A node that occurs in several templates is taken from the last, and one that
has no picture yet as it comes from the menu.
"""

from __future__ import annotations

import io
import sys
import tempfile
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

from sora_core.batch.host import PACK, Server, find_hosts
from tests.browser.conftest import LAUNCH, SECONDS, chromium
from tests.host.hosts import environment

PAGES = PACK / "web" / "docs"
TEMPLATES = ("text_to_image", "image_to_video", "text_to_video")
RUN = """async () => {
  const { api } = await import("/scripts/api.js");
  const ended = new Promise(resolve => {
    for (const end of ["execution_success", "execution_error"])
      api.addEventListener(end, ({ detail }) => resolve(detail.exception_message ?? ""));
  });
  await app.queuePrompt(0);
  return await ended;
}"""
KINDS = "() => Object.keys(LiteGraph.registered_node_types).filter(kind => kind.startsWith('Sora'))"
ADD = """kind => {
  const node = LiteGraph.createNode(kind);
  app.graph.clear();
  app.graph.add(node);
  node.setSize([Math.max(300, node.size[0]), node.size[1]]);
  return node.id;
}"""
# Every node of ours that has a picture to show, not a video, has drawn it.
DRAWN = """() => app.graph.nodes.every(node => {
  const made = app.nodeOutputs[node.id];
  return !node.type.startsWith("Sora") || !made?.images || made.animated?.[0] || node.imgs?.[0]?.naturalWidth;
})"""
# Brings a node to the same place at its own size; returns its box on the page.
SHOW = """id => {
  const node = app.graph.getNodeById(id), { ds } = app.canvas, frame = app.canvas.canvas.getBoundingClientRect();
  ds.scale = 1;
  ds.offset = [400 - frame.left - node.pos[0], 200 - frame.top - node.pos[1]];
  app.canvas.deselectAll?.();
  app.canvas.setDirty(true, true);
  return { x: 400 - 8, y: 200 - 38, width: node.size[0] + 16, height: node.size[1] + 46 };
}"""


# The page has been drawn a few times, which takes long beside other work.
FRAMES = """() => new Promise(resolve => {
  let left = 5;
  const next = () => (app.canvas.setDirty(true, true), left-- ? requestAnimationFrame(next) : resolve());
  next();
})"""


def main() -> None:
    hosts = find_hosts()
    if not hosts or chromium() is None:
        sys.exit("A ComfyUI and a Chromium are needed: set COMFYUI_PATH and CHROMIUM.")
    wanted = sys.argv[1:] or TEMPLATES
    previews = ("--preview-method", "latent2rgb")
    with (
        Server(hosts[0], environment(hosts[0]), arguments=previews) as server,
        sync_playwright() as playwright,
        tempfile.TemporaryDirectory() as folder,
    ):
        browser = playwright.chromium.launch(executable_path=chromium(), args=LAUNCH)
        example = Path(folder) / "example.png"
        Image.open(PACK / "workflows" / "text_to_image.jpg").resize((64, 64)).save(example)
        server.upload(example)
        for name in wanted:
            with opened(browser, server, name) as page:
                photograph_template(page, name)
        with opened(browser, server, wanted[-1]) as page:
            for kind in page.evaluate(KINDS):
                if not (PAGES / f"{kind}.jpg").exists():
                    photograph(page, page.evaluate(ADD, kind), kind)
        browser.close()


@contextmanager
def opened(browser, server: Server, template: str):
    """A page with a template, for as long as the block lasts; another one in it would open with this graph first."""
    page = browser.new_page(viewport={"width": 1600, "height": 1100})
    page.set_default_timeout(1000 * SECONDS)
    page.goto(f"{server.url}/?template={template}&source=sora")
    page.wait_for_function("() => window.app?.graph?.nodes?.some(node => node.type.startsWith('Sora'))")
    yield page
    page.close()


def photograph_template(page, template: str) -> None:
    """Runs a template and writes a picture of each of our nodes in it."""
    failure = page.evaluate(RUN)
    if failure:
        sys.exit(f"{template}: {failure}")
    page.wait_for_function(DRAWN)
    ours = "() => app.graph.nodes.filter(n => n.type.startsWith('Sora')).map(n => [n.id, n.type])"
    for number, kind in page.evaluate(ours):
        photograph(page, number, kind)


def photograph(page, number: int, kind: str) -> None:
    """Writes the picture of one node of the graph."""
    box = page.evaluate(SHOW, number)
    page.wait_for_timeout(1000)
    page.evaluate(FRAMES)
    image = Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB")
    image.save(PAGES / f"{kind}.jpg", quality=85)
    print(f"web/docs/{kind}.jpg")


if __name__ == "__main__":
    main()
