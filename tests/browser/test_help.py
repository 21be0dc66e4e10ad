"""Names, options and help pages appear in the language of the page."""

import pytest

from tests.host.languages import HEADINGS, read_locale
from tests.host.languages import page as help_page

OURS = "app.graph.nodes.filter(node => node.type.startsWith('Sora'))"
GRAPH = (
    f"() => Object.fromEntries({OURS}.map("
    + """node => [node.type, {
  title: node.title,
  inputs: Object.fromEntries([...node.inputs, ...node.widgets].map(one => [one.name, one.localized_name ?? one.label])),
  options: Object.fromEntries(node.widgets.filter(widget => widget.options?.getOptionLabel).map(
    widget => [widget.name, widget.options.values.map(value => widget.options.getOptionLabel(value))])),
}]))"""
)

# A place on the page within the title of the grid node.
TITLE = """() => {
  const [x, y] = app.graph.nodes.find(node => node.type === "SoraPatchGrid").pos;
  const { scale, offset } = app.canvas.ds, frame = app.canvas.canvas.getBoundingClientRect();
  return [frame.left + (x + 60 + offset[0]) * scale, frame.top + (y - 15 + offset[1]) * scale];
}"""


@pytest.mark.parametrize("page", [language for language in HEADINGS if language != "en"], indirect=True)
def test_a_graph_and_its_help_in_another_language(page, open_template, shot, request):
    language = request.node.callspec.params["page"]
    open_template("image_to_video")
    said = read_locale(language)
    for name, node in page.evaluate(GRAPH).items():
        words = said[name]
        assert node["title"] == words["display_name"]
        for key, label in node["inputs"].items():
            if key in words["inputs"]:
                assert label == words["inputs"][key]["name"], (name, key)
        for key, labels in node["options"].items():
            wanted = words["inputs"][key]["options"]
            assert labels[: len(wanted)] == list(wanted.values()), (name, key)
        assert set(node["options"]) == {
            key for key, text in words["inputs"].items() if any(k != v for k, v in text.get("options", {}).items())
        }
    page.mouse.click(*page.evaluate(TITLE))
    page.get_by_test_id("info-button").first.click()
    title = help_page("SoraPatchGrid", language).read_text(encoding="utf-8").split("\n")[0].removeprefix("# ")
    page.get_by_role("heading", name=title).first.wait_for()
    page.wait_for_function(
        "() => [...document.querySelectorAll('img')].some(i => i.src.endsWith('SoraPatchGrid.jpg') && i.naturalWidth)"
    )
    shot(f"help-{language}")
