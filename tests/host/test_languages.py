"""Every node, input and option is explained in every language, and every node has a help page."""

import json
import re

import pytest
import requests

from tests.host.languages import HEADINGS, LOCALES, MARK, PAGES, described, options_of, ours, page, read_locale, tables
from tests.host.languages import inputs_of as inputs

OTHERS = [language for language in HEADINGS if language != "en"]


@pytest.fixture(scope="module")
def nodes(server) -> dict:
    """Those of this pack, as a host reports them."""
    found = ours(server.object_info())
    assert found, f"the host has none of our nodes:\n{server.tail()}"
    return found


def leaves(tree: dict, path=()) -> dict:
    """{path: text} of every text in a nested dictionary."""
    found = {}
    for key, value in tree.items():
        found |= leaves(value, (*path, key)) if isinstance(value, dict) else {(*path, key): value}
    return found


def test_every_input_has_a_tooltip_and_every_node_search_words(nodes):
    for name, node in nodes.items():
        without = [key for key, _, settings, _ in inputs(node) if not settings.get("tooltip")]
        assert not without, f"{name}: no tooltip for {', '.join(without)}"
        assert node["category"] == "sora" or node["category"].startswith("sora/")
        if "search_aliases" in node:
            assert len(node["search_aliases"] or []) >= 2, f"{name}: give two search_aliases or more"


def test_english_is_what_the_nodes_say(nodes):
    stored = read_locale("en")
    for name, node in nodes.items():
        wanted, have = leaves(described(node)), leaves(stored.get(name, {}))
        changed = [" > ".join(path) for path in wanted.keys() | have.keys() if wanted.get(path) != have.get(path)]
        assert not changed, f"{name} changed: run python -m tests.host.languages ({'; '.join(sorted(changed))})"


@pytest.mark.parametrize("language", OTHERS)
def test_nothing_is_missing_in_a_translation(nodes, language):
    stored = read_locale(language)
    for name, node in nodes.items():
        wanted, have = leaves(described(node)), leaves(stored.get(name, {}))
        missing = [" > ".join(path) for path in wanted if not have.get(path)]
        assert not missing, f"locales/{language}/nodeDefs.json, {name}: translate {'; '.join(missing)}"
        stale = [" > ".join(path) for path in have if path not in wanted]
        assert not stale, f"locales/{language}/nodeDefs.json, {name}: no longer in the node: {'; '.join(stale)}"
        for path, text in have.items():
            if path[-1] in ("description", "tooltip"):
                assert text != wanted[path], f"{language}, {name}: {' > '.join(path)} is still in English"


@pytest.mark.parametrize("language", HEADINGS)
def test_the_front_end_can_read_the_files(language):
    """Its formatter gives { } @ | $ a meaning of their own; a text with one of them would not be shown."""
    files = {file.name: json.loads(file.read_text(encoding="utf-8")) for file in (LOCALES / language).glob("*.json")}
    assert set(files) == {"main.json", "nodeDefs.json"}
    for path, text in leaves(files).items():
        assert not re.search(r"[{}@|$]", text), path
    assert files["main.json"]["nodeCategories"]["sora"]


def test_the_host_hands_out_locales_and_pages(server, nodes):
    told, pages = server.get("/i18n"), requests.Session()
    pages.trust_env = False  # never a proxy for the loopback interface
    for language in HEADINGS:
        assert set(nodes) <= set(told[language]["nodeDefs"])
        for name in nodes:
            path = page(name, language).relative_to(PAGES)
            answer = pages.get(f"{server.url}/extensions/sora/docs/{path.as_posix()}", timeout=60)
            assert answer.ok and answer.content.decode() == page(name, language).read_text(encoding="utf-8")


@pytest.mark.parametrize("language", HEADINGS)
def test_every_node_has_a_help_page(nodes, language):
    said = read_locale(language)
    for name, node in nodes.items():
        path = page(name, language)
        assert path.exists(), f"write {path.name} for {name} in {language}"
        written, generated = path.read_text(encoding="utf-8").split(MARK)
        assert len(written.split("\n\n")) >= 3 and written.startswith(f"# {said[name]['display_name']}\n"), path
        assert MARK + generated == tables(node, said[name], language), "run python -m tests.host.languages"
        for picture in re.findall(r"!\[[^]]*\]\(([^)]+)\)", written):
            assert (PAGES / picture).is_file(), f"{path}: {picture} is missing"
        assert re.search(r"!\[[^]]+\]\(", written), f"{path}: has no picture"


def test_no_text_is_left_of_a_node_that_is_gone(server):
    here = set(ours(server.object_info()))
    for language in HEADINGS:
        assert set(read_locale(language)) <= here
    assert {path.stem for path in PAGES.glob("*.md")} <= here


def test_options_of_menus_are_words_not_files():
    assert options_of(["bundled", "tiny.safetensors", "mp4 H.264"]) == ["bundled", "mp4 H.264"]
    assert options_of("INT") == []
