"""A template is queued through the page: progress, preview, the finished video; and an interrupt."""

import numpy as np

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
SET = f"([name, value]) => {{ {SAMPLER}.widgets.find(widget => widget.name === name).value = value; }}"
VIDEO = "document.querySelector('video')"


def test_a_template_runs_through_the_page(page, open_template, shot):
    open_template("text_to_video")
    page.evaluate(LISTEN)
    page.evaluate(SET, ["steps", 12])
    page.get_by_test_id("queue-button").click()

    page.wait_for_function(f"() => {SAMPLER}.imgs?.[0]?.naturalWidth > 0")
    width, height = page.evaluate(f"() => [{SAMPLER}.imgs[0].naturalWidth, {SAMPLER}.imgs[0].naturalHeight]")
    assert np.isclose(width / height, 5, rtol=0.01)  # the five latent frames of the clip side by side
    shot("running")

    page.wait_for_function("() => heard.end")
    heard = page.evaluate("() => heard")
    assert heard["end"] == "execution_success"
    assert [step for step in heard["progress"] if step <= 12][:12] == list(range(1, 13))
    assert heard["previews"] >= 12
    page.wait_for_function(f"() => {VIDEO}?.readyState >= 2")
    width, height, seconds = page.evaluate(f"() => [{VIDEO}.videoWidth, {VIDEO}.videoHeight, {VIDEO}.duration]")
    assert (width, height) == (64, 64) and np.isclose(seconds, 17 / 8, atol=0.01)
    page.wait_for_timeout(500)
    shot("finished")


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
