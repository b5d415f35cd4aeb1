"""The example graphs and subgraphs in a real ComfyUI as it is after its installation: no weights, its own input folder.

`COMFYUI_PATH=/path/to/ComfyUI pytest -m comfy tests/nodes/test_comfy_graphs.py`; how it is started, and with which
front end: `tests/support/comfy_host.py`. Tests with the page need Chromium and Playwright.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from comfy_host import COMFYUI_PATH, Server, make_base, running
from comfy_page import ComfyPage, write_settings
from paths import ROOT
from PIL import Image

from sdpose_core.video.opening import frame_count, open_video

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(not COMFYUI_PATH, reason="COMFYUI_PATH is not set: no real ComfyUI to test against"),
]
GRAPHS = sorted((ROOT / "workflows").glob("*.json"))
SUBGRAPHS = sorted((ROOT / "subgraphs").glob("*.json"))
TWINS = ROOT / "tests" / "workflows_api"
FRAMES = 45
"""Of the videos that come with the pack."""
EXAMPLES = {"image": "two_people.jpg", "character": "character.jpg", "video": "dancer.mp4"}
"""What goes into a subgraph's input of this name."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = make_base(tmp_path_factory.mktemp("comfy"), (Path(str(COMFYUI_PATH)) / "input").glob("*.png"))
    write_settings(base)
    with running(base) as server:
        yield server


@pytest.fixture(scope="module", params=[False, True], ids=["classic", "nodes 2.0"])
def page(request: pytest.FixtureRequest, server: Server, browser: Any) -> Iterator[ComfyPage]:
    page = ComfyPage(browser, server, nodes2=request.param)
    page.page.set_viewport_size({"width": 1700, "height": 1000})
    yield page
    page.page.close()


def results(server: Server, prompt_id: str) -> list[list[Path]]:
    """The files that each node of a prompt, which succeeds, saved or showed."""
    entry = server.wait(prompt_id)
    assert entry["status"]["status_str"] == "success", entry["status"]["messages"]
    found = [output["images"] for output in entry["outputs"].values() if output.get("images")]
    return [[server.base / file["type"] / file["subfolder"] / file["filename"] for file in files] for files in found]


def brightest(file: Path) -> list[int]:
    """Of a picture, or of every third frame of a video, which has as many frames as its source."""
    if file.suffix != ".mp4":
        with Image.open(file) as image:
            return [image.convert("L").getextrema()[1]]
    assert frame_count(file) == FRAMES, file
    with open_video(file) as video:
        return [int(frame.image.max()) for frame in itertools.islice(video.frames(), 0, None, 3)]


def check_is_seen(files: list[Path]) -> None:
    """Nothing is black, but for face crops of the first half before the face is seen."""
    seen = [value > 60 for file in files for value in brightest(file)]
    assert all(seen[len(seen) // 2 :]) and all(seen[seen.index(True) :]), files


@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_graph_runs_on_a_fresh_install_to_pose_maps_that_are_not_black(server: Server, path: Path) -> None:
    prompt = json.loads((TWINS / path.name).read_text(encoding="utf-8"))
    shown = results(server, server.queue(prompt))
    assert shown
    for files in shown:
        check_is_seen(files)


# --- in the page ------------------------------------------------------------------------------------------------------


class Box(NamedTuple):
    """Where a node is, in units of the graph."""

    name: str
    left: float
    top: float
    width: float
    height: float

    def overlaps(self, other: Box) -> bool:
        return (
            min(self.left + self.width, other.left + other.width) - max(self.left, other.left) > 1
            and min(self.top + self.height, other.top + other.height) - max(self.top, other.top) > 1
        )


BOXES = """() => app.graph.nodes.map((node) => {
    const drawn = LiteGraph.vueNodesMode && document.querySelector(`[data-node-id="${node.id}"]`);
    const title = LiteGraph.NODE_TITLE_HEIGHT;
    if (!drawn) return [node.title, node.pos[0], node.pos[1] - title, node.size[0], node.size[1] + title];
    const { x, y, width, height } = drawn.getBoundingClientRect(), scale = app.canvas.ds.scale;
    return [node.title, x / scale, y / scale, width / scale, height / scale];
})"""


def check_nothing_overlaps(page: ComfyPage) -> None:
    page.page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.FitView')")
    page.page.wait_for_timeout(800)
    boxes = [Box(*box) for box in page.page.evaluate(BOXES)]
    assert len({box.left for box in boxes}) > 1
    assert [(a.name, b.name) for a, b in itertools.combinations(boxes, 2) if a.overlaps(b)] == []


def open_graph(page: ComfyPage, graph: dict[str, Any], name: str) -> None:
    """As the template browser does; what is missing on this ComfyUI is said in the page."""
    page.page.evaluate(
        "([graph, name]) => app.loadGraphData(graph, true, true, name, {openSource: 'template'})", [graph, name]
    )
    page.page.wait_for_function("count => app.graph.nodes.length === count", arg=len(graph["nodes"]))
    page.page.wait_for_timeout(500)


def missing_nodes(page: ComfyPage) -> list[str]:
    return page.page.evaluate("""() => {
        const known = (node) => node.isVirtualNode || node.isSubgraphNode?.() || node.comfyClass;
        return app.graph.nodes.filter((node) => !known(node) || node.has_errors).map((node) => node.title);
    }""")


def complaints(page: ComfyPage) -> list[str]:
    """What the page says about nodes, models and inputs that are missing."""
    said = page.page.evaluate("document.body.innerText")
    return [line for line in said.splitlines() if "missing" in line.lower()]


@pytest.mark.browser
@pytest.mark.parametrize("path", GRAPHS, ids=lambda path: path.stem)
def test_a_graph_opens_whole_and_nothing_overlaps_before_and_after_a_run(
    page: ComfyPage, server: Server, path: Path
) -> None:
    open_graph(page, json.loads(path.read_text(encoding="utf-8")), path.stem)
    if "needs that pack" not in path.stem:
        assert missing_nodes(page) == []
        assert complaints(page) == []
    check_nothing_overlaps(page)
    page.queue()
    latest = server.call("/history?max_items=1")
    assert [entry["status"]["status_str"] for entry in latest.values()] == ["success"]
    page.page.wait_for_timeout(2000)
    check_nothing_overlaps(page)


@pytest.mark.browser
def test_an_unmuted_group_offers_its_download(page: ComfyPage) -> None:
    path = GRAPHS[0]
    graph = json.loads(path.read_text(encoding="utf-8"))
    open_graph(page, graph, path.stem)
    (model,) = (node for node in graph["nodes"] if node["type"] == "SDPoseAnnotatorLoadModel" and node["mode"])
    page.page.evaluate("id => app.canvas.selectItems([app.graph.getNodeById(id)])", model["id"])
    page.page.evaluate("app.extensionManager.command.execute('Comfy.Canvas.ToggleSelectedNodes.Mute')")
    page.page.get_by_text("missing", exact=False).first.wait_for(timeout=10_000)
    assert any("model" in line.lower() for line in complaints(page)), complaints(page)


@pytest.mark.browser
@pytest.mark.parametrize("path", SUBGRAPHS, ids=lambda path: path.stem)
def test_a_subgraph_runs_in_the_page(page: ComfyPage, server: Server, path: Path) -> None:
    """With examples at its inputs; what needs a checkpoint stays unconnected. Each picture that comes out is shown."""
    open_graph(page, json.loads(path.read_text(encoding="utf-8")), path.stem)
    assert missing_nodes(page) == complaints(page) == []
    shown = page.page.evaluate(
        """(examples) => {
            const subgraph = app.graph.nodes[0];
            const add = (kind) => { const node = LiteGraph.createNode(kind); app.graph.add(node); return node; };
            for (const [name, file] of Object.entries(examples)) {
                if (!subgraph.inputs.some((input) => input.name === name)) continue;
                const source = add("SDPoseAnnotatorExample");
                source.widgets.find((widget) => widget.name === "example").value = file;
                source.connect(name === "video" ? 1 : 0, subgraph, subgraph.findInputSlot(name));
            }
            const pictures = subgraph.outputs.filter((output) => output.type === "IMAGE");
            const names = pictures.map((output) => output.name);
            for (const name of names) subgraph.connect(subgraph.findOutputSlot(name), add("PreviewImage"), 0);
            return names;
        }""",
        EXAMPLES,
    )
    assert shown
    page.queue()
    ((prompt_id, entry),) = server.call("/history?max_items=1").items()
    kinds = {number: node["class_type"] for number, node in entry["prompt"][2].items()}
    assert sum(kind == "PreviewImage" for kind in kinds.values()) == len(shown)
    for files in results(server, prompt_id):
        check_is_seen(files)


def test_the_host_hands_out_the_subgraphs(server: Server) -> None:
    found = {entry["name"]: key for key, entry in server.call("/global_subgraphs").items()}
    for path in SUBGRAPHS:
        entry = server.call(f"/global_subgraphs/{found[path.stem]}")
        assert json.loads(entry["data"]) == json.loads(path.read_text(encoding="utf-8"))
