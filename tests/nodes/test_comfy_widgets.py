"""Our nodes in ComfyUI's page: which widgets are seen, and how the nodes are found.

`pytest -m comfy tests/nodes/test_comfy_widgets.py`; how ComfyUI is started: `tests/support/comfy_host.py`. Chromium and
Playwright are needed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from comfy_host import COMFYUI_PATH, SCHEMAS, Server, make_base, running
from comfy_page import ComfyPage, chromium, write_settings

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.browser,
    pytest.mark.skipif(not COMFYUI_PATH, reason="COMFYUI_PATH is not set: no real ComfyUI to test against"),
]
MOST = 8
"""Widgets that are seen on a node, its button included."""
BUTTON = "more settings"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = make_base(tmp_path_factory.mktemp("comfy"))
    write_settings(base)
    with running(base) as server:
        yield server


@pytest.fixture(params=[False, True], ids=["classic", "nodes 2.0"])
def page(server: Server, request: pytest.FixtureRequest) -> Iterator[Any]:
    """The page with one node of each of our classes."""
    with chromium() as browser:
        page = ComfyPage(browser, server, nodes2=request.param)
        fill(page, list(SCHEMAS))
        yield page


def fill(page: ComfyPage, kinds: list[str]) -> None:
    """Nothing on the canvas but nodes of these classes, beside each other; the first ones are in the window."""
    page.page.evaluate(
        """kinds => {
            app.graph.clear();
            kinds.forEach((kind, index) => {
                const node = LiteGraph.createNode(kind);
                node.pos = [150 + 400 * index, 150];
                app.graph.add(node);
            });
            app.canvas.ds.offset = [0, 0];
            app.canvas.ds.scale = 0.6;
            app.canvas.setDirty(true, true);
        }""",
        kinds,
    )
    page.page.wait_for_timeout(500)


def widgets(page: ComfyPage) -> dict[str, dict[str, Any]]:
    """Of each node: names of the widgets that are seen in classic rendering, the button's label, and heights."""
    return page.page.evaluate("""() => Object.fromEntries(app.graph.nodes.map((node) => [node.type, {
        seen: (node.widgets ?? []).filter((widget) => node.isWidgetVisible(widget)).map((widget) => widget.name),
        label: node.widgets?.find((widget) => widget.name === "more settings")?.label,
        height: node.size[1], needed: node.computeSize()[1],
    }]))""")


def of_node(page: ComfyPage, kind: str, what: str) -> Any:
    """What an expression says of the node of this class, with `widget(NAME)` for its widgets."""
    return page.page.evaluate(f"""kind => {{
        const node = app.graph.nodes.find((node) => node.type === kind);
        const widget = (name) => node.widgets.find((widget) => widget.name === name);
        return {what};
    }}""", kind)  # fmt: skip


def prompt_of(page: ComfyPage) -> dict[str, dict[str, Any]]:
    """What the page would send, by class."""
    output = page.page.evaluate("async () => (await app.graphToPrompt()).output")
    return {node["class_type"]: node["inputs"] for node in output.values()}


def advanced(kind: str) -> list[str]:
    return [name for name, entry in SCHEMAS[kind]["inputs"].items() if entry.get("advanced")]


def press(page: ComfyPage, kind: str) -> None:
    """Press the button of a node: ours, or that of Nodes 2.0."""
    if page.nodes2:
        page.page.get_by_text("advanced inputs").first.click()
    else:
        place = "[node.pos[0] + 60, node.pos[1] + widget('more settings').last_y + 8]"
        page.page.mouse.click(*of_node(page, kind, f"app.canvas.ds.convertOffsetToCanvas({place})"))
    page.page.wait_for_timeout(500)


def test_few_widgets_are_seen_and_the_button_shows_the_others(page: ComfyPage) -> None:
    for kind, found in widgets(page).items():
        folds = len(advanced(kind)) > 1
        assert len(found["seen"]) <= MOST, kind
        assert (BUTTON in found["seen"]) == folds, kind
        assert not folds or not set(advanced(kind)) & set(found["seen"]), kind
        assert page.nodes2 or found["height"] == found["needed"], kind
    fill(page, ["SDPoseAnnotator"])
    folded, before = widgets(page)["SDPoseAnnotator"], prompt_of(page)
    press(page, "SDPoseAnnotator")
    unfolded = widgets(page)["SDPoseAnnotator"]
    assert set(unfolded["seen"]) == {*folded["seen"], *advanced("SDPoseAnnotator")}
    assert page.nodes2 or unfolded["label"] == "Fewer settings"
    assert page.nodes2 or unfolded["height"] > folded["height"]
    press(page, "SDPoseAnnotator")
    again = widgets(page)["SDPoseAnnotator"]
    assert again["seen"] == folded["seen"] and (page.nodes2 or again == folded)
    assert prompt_of(page) == before


CUT = """() => [...document.querySelectorAll("[data-node-id]")].flatMap((element) => {
    const kind = app.graph.getNodeById(element.dataset.nodeId).type;
    const cut = (leaf) => !leaf.children.length && leaf.textContent.trim() && leaf.scrollWidth > leaf.clientWidth + 1
        && getComputedStyle(leaf).overflow !== "visible";
    return [...element.querySelectorAll("*")].filter(cut).map((leaf) => `${kind}: ${leaf.textContent.trim()}`);
})"""
LONG_CHOICE = "SDPoseAnnotatorReview: apply the corrections again"
"""Cut until it is opened."""


def test_no_text_is_cut_in_nodes_2(server: Server, browser: Any) -> None:
    page = ComfyPage(browser, server, nodes2=True)
    fill(page, list(SCHEMAS))
    page.page.evaluate("app.canvas.ds.scale = 0.1; app.canvas.setDirty(true, true)")
    page.page.wait_for_function(f"document.querySelectorAll('[data-node-id]').length >= {len(SCHEMAS)}")
    page.page.wait_for_timeout(2000)
    assert page.page.evaluate(CUT) == [LONG_CHOICE]
    page.page.close()


def test_folded_widgets_are_in_prompts_and_in_saved_graphs(page: ComfyPage) -> None:
    sent = prompt_of(page)
    for kind, schema in SCHEMAS.items():
        own = [name for name, entry in schema["inputs"].items() if "default" in entry or "options" in entry]
        required_first = sorted(own, key=lambda name: schema["inputs"][name]["optional"])
        assert set(sent[kind]) == set(own), kind
        values = of_node(page, kind, "node.serialize().widgets_values") or []
        assert values == [sent[kind][name] for name in required_first] or kind == "SDPoseAnnotatorReview"


def test_nothing_that_was_changed_is_hidden(page: ComfyPage) -> None:
    fill(page, ["SDPoseAnnotator"])
    page.page.evaluate("""() => {
        const node = app.graph.nodes[0];
        node.widgets.find((widget) => widget.name === "crop").value = "stretch_native";
        node.widgets.find((widget) => widget.name === "width").value = 640;
    }""")
    assert widgets(page)["SDPoseAnnotator"]["label"] == "More settings (2 changed)"
    page.page.evaluate("async () => app.loadGraphData(app.graph.serialize())")
    page.page.wait_for_timeout(500)
    assert of_node(page, "SDPoseAnnotator", "[node.showAdvanced, widget('crop').value, widget('width').value]") == [
        True, "stretch_native", 640,
    ]  # fmt: skip
    press(page, "SDPoseAnnotator")
    page.page.evaluate("async () => app.loadGraphData(app.graph.serialize())")
    page.page.wait_for_timeout(500)
    assert of_node(page, "SDPoseAnnotator", "node.showAdvanced") is False, "who folded it sees the label"
    assert widgets(page)["SDPoseAnnotator"]["label"] == "More settings (2 changed)"


def test_a_connected_widget_is_seen(page: ComfyPage) -> None:
    fill(page, ["PrimitiveInt", "SDPoseAnnotator"])
    page.page.evaluate("""() => {
        const [source, node] = app.graph.nodes;
        source.connect(0, node, node.inputs.findIndex((input) => input.name === "batch_size"));
    }""")
    page.page.wait_for_timeout(300)
    found = widgets(page)["SDPoseAnnotator"]
    assert set(found["seen"]) & set(advanced("SDPoseAnnotator")) <= {"batch_size"}
    assert found["label"] == "More settings"
    assert prompt_of(page)["SDPoseAnnotator"]["batch_size"][1] == 0


@pytest.mark.parametrize("words", ["openpose", "dwpose", "pose"])
def test_the_annotator_is_found_first(page: ComfyPage, words: str) -> None:
    """Of the nodes: two of ComfyUI's blueprints, whose names begin with Pose, come before it."""
    fill(page, [])
    found: list[str] = []
    for _ in range(5):  # the page is still loading its search box
        page.page.keyboard.press("Escape")
        page.page.mouse.dblclick(500, 500)
        page.page.wait_for_timeout(1000)
        page.page.keyboard.type(words, delay=30)
        page.page.wait_for_timeout(1500)
        found = page.page.evaluate("""() => [...document.querySelectorAll("[role=option], [data-testid=result-item]")]
            .map((entry) => entry.innerText).filter((text) => text && !text.includes("Blueprint"))""")
        if found:
            break
    assert found[0].startswith("SDPose Annotator")
