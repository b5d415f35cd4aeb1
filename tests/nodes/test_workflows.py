"""Example graphs, help pages and translations against the nodes' schemas (which `test_nodes.py` keeps true)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from help_tables import DOCS, LANGUAGES, SCHEMAS, page_of, tables_of
from paths import ROOT
from PIL import Image

GRAPHS = sorted((ROOT / "workflows").glob("*.json"))
NOTES = {"MarkdownNote"}
MUTED = 2
EXTRA_WIDGETS = {("KSampler", "seed"), ("LoadImage", "image")}
"""Widgets behind which the web page keeps a second value (what happens after a run, the upload button)."""
CHOSEN_ON_THE_MACHINE = {"model", "file", "detector", "weights"}
"""Menus of files: their options are not in the schemas written down."""


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def to_api(graph: dict[str, Any]) -> dict[str, Any]:
    """What the web page sends when the graph is queued."""
    source_of = {link[0]: [str(link[1]), link[2]] for link in graph["links"]}
    prompt = {}
    for node in graph["nodes"]:
        if node["type"] in NOTES or node["mode"] == MUTED:
            continue
        values, inputs = iter(node["widgets_values"]), {}
        for entry in node["inputs"]:
            if "widget" in entry:
                inputs[entry["name"]] = next(values)
                if (node["type"], entry["name"]) in EXTRA_WIDGETS:
                    next(values)
            if entry["link"] is not None:
                inputs[entry["name"]] = source_of[entry["link"]]
        assert next(values, None) is None, f"{node['type']} has more values than widgets"
        prompt[str(node["id"])] = {"class_type": node["type"], "inputs": inputs}
    return prompt


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_graph_and_its_twin_for_the_api_say_the_same(path: Path) -> None:
    assert to_api(read(path)) == read(ROOT / "tests" / "workflows_api" / path.name)


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_our_nodes_in_a_graph_agree_with_their_schemas(path: Path) -> None:
    nodes = [node for node in read(path)["nodes"] if node["type"].startswith("SDPoseAnnotator")]
    assert nodes
    for node in nodes:
        schema = SCHEMAS[node["type"]]
        assert [(entry["name"], entry["type"]) for entry in node["inputs"]] == _in_order(schema["inputs"])
        outputs = list(zip(schema["output_names"], schema["outputs"].values(), strict=True))
        assert [(entry["name"], entry["type"]) for entry in node["outputs"]] == outputs
        widgets = [entry["name"] for entry in node["inputs"] if "widget" in entry]
        for name, value in zip(widgets, node["widgets_values"], strict=True):
            entry = schema["inputs"][name]
            if "options" in entry and name not in CHOSEN_ON_THE_MACHINE:
                assert value in entry["options"], (node["type"], name)
            if "min" in entry:
                assert entry["min"] <= value <= entry["max"], (node["type"], name)


def _in_order(inputs: dict[str, Any]) -> list[tuple[str, str]]:
    """Name and type of each input as the server sends them: the required ones first."""
    ordered = sorted(inputs.items(), key=lambda item: item[1]["optional"])
    return [(name, entry["type"]) for name, entry in ordered]


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_links_join_matching_types(path: Path) -> None:
    graph = read(path)
    nodes = {node["id"]: node for node in graph["nodes"]}
    for number, source, slot, target, place, kind in graph["links"]:
        output, entry = nodes[source]["outputs"][slot], nodes[target]["inputs"][place]
        assert output["type"] == kind
        assert kind in entry["type"].split(",") or entry["type"] == "*"
        assert number in output["links"] and entry["link"] == number


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_graph_has_a_thumbnail(path: Path) -> None:
    with Image.open(path.with_suffix(".jpg")) as image:
        assert image.format == "JPEG" and min(image.size) >= 200


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SCHEMAS)
def test_help_page_describes_every_input_and_output_as_the_node_does(name: str, language: str) -> None:
    """`python tests/support/help_tables.py` writes the tables."""
    texts = read(ROOT / "locales" / language / "nodeDefs.json")[name]
    page = page_of(name, language).read_text(encoding="utf-8")
    assert page.startswith(f"# {texts['display_name']}\n")
    assert page.endswith(f"\n\n{tables_of(name, language)}")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SCHEMAS)
def test_tables_fit_the_narrow_panel(name: str, language: str) -> None:
    for line in page_of(name, language).read_text(encoding="utf-8").splitlines():
        assert not line.startswith("|") or line.count("|") == 3, line


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SCHEMAS)
def test_links_and_pictures_of_a_help_page_lead_somewhere(name: str, language: str) -> None:
    """The web page resolves them against the folder `docs`, in every language."""
    targets = re.findall(r"\]\(([^)#]+)", page_of(name, language).read_text(encoding="utf-8"))
    assert [target for target in targets if "://" not in target and not (DOCS / target).is_file()] == []


def test_every_picture_of_the_help_pages_is_shown() -> None:
    pages = "".join(page_of(name, language).read_text(encoding="utf-8") for name in SCHEMAS for language in LANGUAGES)
    assert {path.name for path in (DOCS / "images").iterdir()} == set(re.findall(r"\(images/(.+?)\)", pages))


def test_there_is_no_help_page_of_an_unknown_node() -> None:
    expected = {page_of(name, language) for name in SCHEMAS for language in LANGUAGES}
    assert set(DOCS.rglob("*.md")) == expected


CHINESE_TEXTS = [ROOT / "locales" / "zh" / "nodeDefs.json", *sorted(DOCS.glob("*/zh.md"))]


@pytest.mark.parametrize("path", CHINESE_TEXTS, ids=lambda path: path.parent.name)
def test_chinese_texts_have_chinese_punctuation(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.findall(r"[\u4e00-\u9fff][,;:(].{9}|.{9}[,;:)][\u4e00-\u9fff]", text)


@pytest.mark.parametrize("language", ["en", "zh"])
def test_translation_is_complete(language: str) -> None:
    texts = read(ROOT / "locales" / language / "nodeDefs.json")
    assert sorted(texts) == sorted(SCHEMAS)
    for name, schema in SCHEMAS.items():
        assert texts[name]["display_name"] and texts[name]["description"]
        assert list(texts[name]["inputs"]) == list(schema["inputs"]), name
        assert all(entry["name"] and entry["tooltip"] for entry in texts[name]["inputs"].values())
        assert list(texts[name]["outputs"]) == [str(slot) for slot in range(len(schema["outputs"]))], name
        assert all(entry["name"] and entry["tooltip"] for entry in texts[name]["outputs"].values())
