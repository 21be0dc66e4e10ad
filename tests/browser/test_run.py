"""A template is queued through the page: progress, time left, a preview that plays, the video; and an interrupt."""

import re

import numpy as np
import pytest

# What the page hears from the host, by the front end's own channel.
LISTEN = """async () => {
  const { api } = await import("/scripts/api.js");
  window.heard = { progress: [], previews: 0, end: null };
  api.addEventListener("progress", ({ detail }) => heard.progress.push(detail.value));
  api.addEventListener("b_preview", () => heard.previews++);
  for (const end of ["execution_success", "execution_error", "execution_interrupted"])
    api.addEventListener(end, () => (heard.end ??= end));
}"""
SAMPLER = "app.graph.nodes.find(node => node.type === 'SoraSampler')"
# Which pictures a node shows in the course of each step: {step: [digest, ...]}.
WATCH = """kind => {
  const node = app.graph.nodes.find(node => node.type === kind);
  const paper = new OffscreenCanvas(32, 32).getContext("2d", { willReadFrequently: true });
  window.seen = {};
  const look = () => {
    const image = node.imgs?.[0], step = heard.progress.at(-1);
    if (image?.complete && image.naturalWidth && step) {
      paper.drawImage(image, 0, 0, 32, 32);
      const digest = paper.getImageData(0, 0, 32, 32).data.join();
      const pictures = seen[step] ??= [];
      if (pictures.at(-1) !== digest) pictures.push(digest);
    }
    if (!heard.end) requestAnimationFrame(look);
  };
  look();
}"""
LOOK_AT = "kind => app.canvas.centerOnNode(app.graph.nodes.find(n => n.type === kind))"
TEXT = "kind => app.graph.nodes.find(n => n.type === kind).widgets.find(w => w.name === '$$node-text-preview')?.value"
SET = f"([name, value]) => {{ {SAMPLER}.widgets.find(widget => widget.name === name).value = value; }}"
TWO_STEPS = """() => {
  for (const node of app.graph.nodes.filter(node => node.type === "SoraSampler"))
    node.widgets.find(widget => widget.name === "steps").value = 2;
}"""
# Steps that take seconds, of a clip of nine latent frames.
SLOW = """() => {
  const set = (kind, values) => {
    for (const widget of app.graph.nodes.find(node => node.type === kind).widgets)
      if (widget.name in values) widget.value = values[widget.name];
  };
  set("SoraPatchGrid", { size: "custom", width: 160, height: 96, unit: "frames", length: 33, fps: 24 });
  set("SoraSampler", { steps: 4, window: 9 });
}"""
# The host's KSampler in the place of Sora Sampler.
REPLACE = """() => {
  const ours = app.graph.nodes.find(node => node.type === "SoraSampler"), node = LiteGraph.createNode("KSampler");
  app.graph.add(node);
  node.pos = [...ours.pos];
  for (const { name, link } of ours.inputs)
    if (link != null) {
      const from = app.graph.links.get(link);
      app.graph.getNodeById(from.origin_id).connect(from.origin_slot, node, name === "latent" ? "latent_image" : name);
    }
  for (const link of [...ours.outputs[0].links]) {
    const to = app.graph.links.get(link);
    node.connect(0, app.graph.getNodeById(to.target_id), to.target_slot);
  }
  app.graph.remove(ours);
  for (const widget of node.widgets) if (widget.name === "steps") widget.value = 4;
}"""
STEPS = 40  # long enough for a page that is drawn seldom beside other work
VIDEO = "document.querySelector('video')"


def test_a_template_runs_through_the_page(page, open_template, shot):
    open_template("text_to_video")
    page.evaluate(LISTEN)
    page.evaluate(SET, ["steps", STEPS])
    page.get_by_test_id("queue-button").click()

    page.wait_for_function(f"() => {SAMPLER}.imgs?.[0]?.naturalWidth > 0")
    width, height = page.evaluate(f"() => [{SAMPLER}.imgs[0].naturalWidth, {SAMPLER}.imgs[0].naturalHeight]")
    assert width == height  # a frame of the clip
    page.wait_for_function(f"() => / left$/.test(({TEXT})('SoraSampler'))")
    shot("running")

    page.wait_for_function("() => heard.end")
    heard = page.evaluate("() => heard")
    assert heard["end"] == "execution_success"
    assert [step for step in heard["progress"] if step <= STEPS][:STEPS] == list(range(1, STEPS + 1))
    assert heard["previews"] >= STEPS
    assert re.fullmatch(rf"{STEPS} steps in \d+:\d\d", page.evaluate(TEXT, "SoraSampler"))
    page.wait_for_function(f"() => {VIDEO}?.readyState >= 2")
    width, height, seconds = page.evaluate(f"() => [{VIDEO}.videoWidth, {VIDEO}.videoHeight, {VIDEO}.duration]")
    assert (width, height) == (96, 96) and np.isclose(seconds, 17 / 8, atol=0.01)
    page.wait_for_timeout(500)
    shot("finished")


@pytest.mark.parametrize("kind", ["SoraSampler", "KSampler"])
def test_the_preview_plays_while_a_step_is_computed(page, open_template, shot, kind):
    """Sora Sampler's and the host's own: the page shows more than one frame of the clip in the course of a step."""
    open_template("text_to_video")
    page.evaluate(LISTEN)
    page.evaluate(SLOW)
    if kind == "KSampler":
        page.evaluate(REPLACE)
    page.evaluate(WATCH, kind)
    page.get_by_test_id("queue-button").click()
    for moment in "ab":
        page.wait_for_function("() => heard.progress.length > 1")
        page.wait_for_timeout(700)
        shot(f"playing-{kind}-{moment}")
    page.wait_for_function("() => heard.end")
    assert page.evaluate("() => heard.end") == "execution_success"
    seen = page.evaluate("() => Object.fromEntries(Object.entries(seen).map(([step, list]) => [step, list.length]))")
    assert max(seen.values()) >= 3, seen
    assert re.fullmatch(r"4 steps in \d+:\d\d", page.evaluate(TEXT, kind))


@pytest.mark.parametrize(
    ("template", "kind"),
    [("loop_from_text", "SoraLoopSeam"), ("long_video", "SoraDriftCurve"), ("edit_video", "SoraCompareVideos")],
)
def test_a_finished_video_is_shown_as_a_picture(page, open_template, shot, template, kind):
    open_template(template)
    page.evaluate(LISTEN)
    page.evaluate(TWO_STEPS)
    page.get_by_test_id("queue-button").click()
    page.wait_for_function("() => heard.end")
    assert page.evaluate("() => heard.end") == "execution_success"
    page.evaluate(LOOK_AT, kind)  # a node out of sight loads no picture
    page.wait_for_function(f"() => app.graph.nodes.find(n => n.type === '{kind}').imgs?.[0]?.naturalWidth === 800")
    page.wait_for_timeout(2000)
    shot(kind)


def test_an_interrupt_acts_within_a_step(page, server, open_template):
    open_template("text_to_video")
    page.evaluate(LISTEN)
    page.evaluate(SET, ["steps", 1000])
    page.get_by_test_id("queue-button").click()
    page.wait_for_function("() => heard.progress.length > 2")
    # The front end's own button does just this; its place on the page differs from version to version.
    before = page.evaluate(
        """async () => {
          const { api } = await import("/scripts/api.js");
          await api.interrupt();
          return heard.progress.at(-1);
        }"""
    )
    page.wait_for_function("() => heard.end")
    heard = page.evaluate("() => heard")
    assert heard["end"] == "execution_interrupted" and heard["progress"][-1] <= before + 1
