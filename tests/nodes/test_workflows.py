"""Example graphs, help pages and translations against the nodes' schemas (which `test_nodes.py` keeps true)."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from help_pages import DOCS, LANGUAGES, SCHEMAS, lists_of, page_of
from paths import ROOT
from PIL import Image

WORKFLOWS = ROOT / "workflows"
GRAPHS = sorted(WORKFLOWS.glob("*.json"))
SUBGRAPHS = sorted((ROOT / "subgraphs").glob("*.json"))
NOTES = {"MarkdownNote"}
MUTED = 2
EXTRA_WIDGETS = {("KSampler", "seed"), ("[AnimateAnyone] Animate Anyone Sampler", "seed")}
"""Widgets behind which the web page keeps a second value: what happens to it after a run."""
OTHER_PACKS = {"[AnimateAnyone]"}
"""Their nodes and files are in a graph of their own."""
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


def levels(path: Path) -> list[dict[str, Any]]:
    """The graph and its subgraphs."""
    graph = read(path)
    return [graph, *graph.get("definitions", {}).get("subgraphs", [])]


def nodes_of(path: Path) -> list[dict[str, Any]]:
    return [node for level in levels(path) for node in level["nodes"]]


@pytest.mark.parametrize("path", [*GRAPHS, *SUBGRAPHS], ids=lambda path: path.stem)
def test_our_nodes_in_a_graph_agree_with_their_schemas(path: Path) -> None:
    nodes = [node for node in nodes_of(path) if node["type"].startswith("SDPoseAnnotator")]
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


LINK = ("id", "origin_id", "origin_slot", "target_id", "target_slot", "type")


@pytest.mark.parametrize("path", [*GRAPHS, *SUBGRAPHS], ids=lambda path: path.stem)
def test_links_join_matching_types(path: Path) -> None:
    for level in levels(path):
        nodes = {node["id"]: node for node in level["nodes"]}
        nodes[-10], nodes[-20] = {"outputs": level.get("inputs")}, {"inputs": level.get("outputs")}
        for link in level["links"]:
            number, source, slot, target, place, kind = map(link.get, LINK) if isinstance(link, dict) else link
            output, entry = nodes[source]["outputs"][slot], nodes[target]["inputs"][place]
            assert output["type"] == kind
            assert kind in entry["type"].split(",") or entry["type"] == "*"
            assert number in output.get("links", output.get("linkIds"))
            assert number in entry["linkIds"] if "linkIds" in entry else number == entry["link"]


@pytest.mark.parametrize("path", SUBGRAPHS, ids=lambda path: path.stem)
def test_a_subgraph_is_one_node_with_the_sockets_of_its_definition(path: Path) -> None:
    graph, inside = levels(path)
    (node,) = graph["nodes"]
    assert node["type"] == inside["id"] and inside["name"] == node["title"] == path.stem
    assert inside["description"] and inside["category"] == "SDPose Annotator"
    for side in ("inputs", "outputs"):
        assert [(each["name"], each["type"]) for each in node[side]] == [
            (each["name"], each["type"]) for each in inside[side]
        ]
    assert len({read(path)["definitions"]["subgraphs"][0]["id"] for path in SUBGRAPHS}) == len(SUBGRAPHS)


def test_cards_of_the_template_browser_are_in_order() -> None:
    """They are sorted by name."""
    assert [int(path.stem.partition(" ")[0]) for path in GRAPHS] == list(range(1, len(GRAPHS) + 1))
    assert all(path.stem[:2].isdigit() for path in GRAPHS)


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_all_thumbnails_have_one_size_and_show_something(path: Path) -> None:
    with Image.open(path.with_suffix(".jpg")) as image:
        assert image.format == "JPEG" and image.size == (480, 480)
        assert image.convert("L").getextrema()[1] > 200


def test_the_inputs_of_the_graphs_come_with_the_pack() -> None:
    options = SCHEMAS["SDPoseAnnotatorExample"]["inputs"]["example"]["options"]
    assert sorted(options) == sorted(path.name for path in (WORKFLOWS / "inputs").iterdir())
    loading = {node["type"] for path in GRAPHS for node in nodes_of(path)} & {"LoadImage", "LoadVideo"}
    assert not loading, "these files are not on a fresh install"


def files_in(node: dict[str, Any]) -> list[str]:
    return [str(value) for value in node["widgets_values"] if str(value).endswith((".safetensors", ".pth"))]


@pytest.mark.parametrize("path", [*GRAPHS, *SUBGRAPHS], ids=lambda path: path.stem)
def test_a_node_that_needs_a_file_is_muted_and_says_where_the_file_is(path: Path) -> None:
    """The page offers the download once the node is not muted any more."""
    nodes = nodes_of(path)
    theirs = any(node["type"].startswith(tuple(OTHER_PACKS)) for node in nodes)
    for node in nodes:
        offered = {model["name"]: model for model in node["properties"].get("models", [])}
        for model in offered.values():
            assert set(model) == {"name", "url", "directory"}
            assert re.fullmatch(r"https://huggingface\.co/[^/]+/[^/]+/resolve/main/.+\.safetensors", model["url"])
        assert node["mode"] == MUTED or not files_in(node), node["type"]
        assert theirs or set(files_in(node)) <= set(offered), node["type"]
        assert node["type"] != "SDPoseAnnotatorLoadModel" or offered


def test_nodes_of_other_packs_are_muted_in_a_graph_whose_name_says_so() -> None:
    for path in GRAPHS:
        theirs = [node for node in nodes_of(path) if node["type"].startswith(tuple(OTHER_PACKS))]
        assert bool(theirs) == ("needs that pack" in path.stem)
        assert all(node["mode"] == MUTED for node in theirs)


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SCHEMAS)
def test_help_page_describes_every_input_and_output_as_the_node_does(name: str, language: str) -> None:
    """`python tests/support/help_pages.py` writes the lists."""
    texts = read(ROOT / "locales" / language / "nodeDefs.json")[name]
    page = page_of(name, language).read_text(encoding="utf-8")
    assert page.startswith(f"# {texts['display_name']}\n")
    assert page.endswith(f"\n\n{lists_of(name, language)}")


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("name", SCHEMAS)
def test_a_help_page_has_no_tables(name: str, language: str) -> None:
    """ComfyUI's panel is 285 pixels wide."""
    assert "\n|" not in page_of(name, language).read_text(encoding="utf-8")


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
