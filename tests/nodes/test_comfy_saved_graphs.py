"""A graph that was saved by an earlier version, opened in ComfyUI's page.

`pytest -m comfy tests/nodes/test_comfy_saved_graphs.py`; how ComfyUI is started: `tests/support/comfy_host.py`.
Chromium and Playwright are needed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from comfy_host import COMFYUI_PATH, SCHEMAS, Server, make_base, running
from comfy_page import ComfyPage, chromium, write_settings
from paths import DATA

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.browser,
    pytest.mark.skipif(not COMFYUI_PATH, reason="COMFYUI_PATH is not set: no real ComfyUI to test against"),
]
GRAPH = json.loads((DATA / "graph_of_first_version.json").read_text(encoding="utf-8"))
CHANGED = {
    "SDPoseAnnotator": {"parts": "hands and face"},
    "SDPoseAnnotatorVideo": {"parts": "body and hands"},
}
"""What stands in place of the switches of the first version."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = make_base(tmp_path_factory.mktemp("comfy"), [DATA / "astronaut.png", DATA / "dancer.mp4"])
    write_settings(base)
    with running(base) as server:
        yield server


@pytest.mark.parametrize("nodes2", [False, True], ids=["classic", "nodes 2.0"])
def test_every_value_is_at_the_input_of_its_name(server: Server, nodes2: bool) -> None:
    with chromium() as browser:
        page = ComfyPage(browser, server, nodes2=nodes2)
        page.page.evaluate("graph => app.loadGraphData(graph)", GRAPH)
        page.page.wait_for_function("app.graph.nodes.length === 3")
        prompt = page.page.evaluate("async () => (await app.graphToPrompt()).output")
        sockets = page.page.evaluate(
            "() => Object.fromEntries(app.graph.nodes.map((node) => [node.type, node.inputs.map(({ name }) => name)]))"
        )
    for saved in GRAPH["nodes"]:
        kind = saved["type"]
        if kind not in CHANGED:
            continue
        names = [entry["name"] for entry in saved["inputs"] if "widget" in entry]
        before = dict(zip(names, saved["widgets_values"], strict=True))
        now = prompt[str(saved["id"])]["inputs"]
        kept = {name: value for name, value in before.items() if name in SCHEMAS[kind]["inputs"]}
        assert {name: now[name] for name in kept} == kept and len(kept) >= 15
        assert {name: now[name] for name in CHANGED[kind]} == CHANGED[kind]
        assert set(sockets[kind]) == set(SCHEMAS[kind]["inputs"])
    assert prompt["1"]["inputs"]["image"] == ["3", 0]
