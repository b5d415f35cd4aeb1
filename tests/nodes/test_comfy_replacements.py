"""Graphs of other packs, in a real ComfyUI without them: `pytest -m comfy tests/nodes/test_comfy_replacements.py`.

How it is started: `tests/support/comfy_host.py`. The test in the page needs Chromium and Playwright.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
from comfy_host import COMFYUI_PATH, Server, make_base, node, running
from comfy_page import ComfyPage, chromium, write_settings
from paths import DATA

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(not COMFYUI_PATH, reason="COMFYUI_PATH is not set: no real ComfyUI to test against"),
]
PICTURE = "astronaut.png"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = make_base(tmp_path_factory.mktemp("comfy"), [DATA / PICTURE])
    write_settings(base)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SDPOSE_REPLACE_DWPOSE", "1")
        with running(base) as server:
            yield server


def pose_map(server: Server, preprocessor: dict[str, Any], **more: dict[str, Any]) -> Any:
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": PICTURE}},
        "2": preprocessor,
        "3": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
        "4": node("SDPoseAnnotatorSave", poses=["2", 1], filename_prefix="replaced"),
        **more,
    }
    return server.picture(server.run(prompt), "3")


def test_a_prompt_with_dwpose_runs_with_our_node(server: Server) -> None:
    old = {"image": ["1", 0], "detect_hand": "enable", "detect_body": "enable", "detect_face": "disable",
           "resolution": 512, "bbox_detector": "yolox_l.onnx", "pose_estimator": "dw-ll_ucoco_384.onnx",
           "scale_stick_for_xinsr_cn": "disable"}  # fmt: skip
    drawn = pose_map(server, {"class_type": "DWPreprocessor", "inputs": old, "_meta": {"title": "DWPose Estimator"}})
    assert drawn.any() and list((server.base / "output").glob("replaced_*.npz"))


def test_a_prompt_of_the_community_pack_runs_with_our_node(server: Server) -> None:
    """Its loader needs a choice of the user's; here our own stands before its processor."""
    old = {"sdpose_model": ["5", 0], "images": ["1", 0], "score_threshold": 0.3, "overlay_alpha": 1.0, "batch_size": 1,
           "prompt": "person .", "gd_threshold": 0.3, "save_for_editor": False, "filename_prefix_edit": "x",
           "keep_face": False, "keep_hands": False, "keep_feet": False}  # fmt: skip
    processor = {"class_type": "SDPoseOODProcessor", "inputs": old, "_meta": {"title": "Run SDPose Estimation"}}
    drawn = pose_map(server, processor, **{"5": node("SDPoseAnnotatorLoadModel", model="preview (embedded)")})
    strict = {**processor, "inputs": {**old, "score_threshold": 2.0}}
    empty = pose_map(server, strict, **{"5": node("SDPoseAnnotatorLoadModel", model="preview (embedded)")})
    assert drawn.any() and not empty.any(), "score_threshold was not passed on"


def saved_graph(processor: str = "SDPoseOODProcessor", loader: str = "SDPoseOODLoader") -> dict[str, Any]:
    """A workflow as the page saves it: picture and loader -> processor -> preview."""

    def entry(number: int, kind: str, inputs: list, outputs: list, values: list) -> dict[str, Any]:
        return {
            "id": number, "type": kind, "pos": [300 * number, 100], "size": [270, 200], "flags": {}, "order": number,
            "mode": 0, "inputs": inputs, "outputs": outputs, "properties": {"Node name for S&R": kind},
            "widgets_values": values,
        }  # fmt: skip

    def wire(name: str, kind: str, link: int) -> dict[str, Any]:
        return {"name": name, "type": kind, "link": link}

    def out(name: str, kind: str, *links: int) -> dict[str, Any]:
        return {"name": name, "type": kind, "links": list(links)}

    values = [0.45, 1.0, 1, "person .", 0.3, False, "poses/pose_edit", False, True, False]
    return {
        "last_node_id": 4, "last_link_id": 3, "version": 0.4, "groups": [], "config": {}, "extra": {},
        "nodes": [
            entry(1, "LoadImage", [], [out("IMAGE", "IMAGE", 1), out("MASK", "MASK")], [PICTURE, "image"]),
            entry(2, loader, [], [out("SDPOSE_MODEL", "SDPOSE_MODEL", 2)], ["WholeBody", "bf16", "cuda", False]),
            entry(3, processor, [wire("sdpose_model", "SDPOSE_MODEL", 2), wire("images", "IMAGE", 1)],
                  [out("images", "IMAGE", 3), out("pose_keypoint", "POSE_KEYPOINT")], values),
            entry(4, "PreviewImage", [wire("images", "IMAGE", 3)], [], []),
        ],
        "links": [[1, 1, 0, 3, 1, "IMAGE"], [2, 2, 0, 3, 0, "SDPOSE_MODEL"], [3, 3, 0, 4, 0, "IMAGE"]],
    }  # fmt: skip


@pytest.mark.browser
def test_the_page_offers_the_replacement_and_keeps_wires_and_values(server: Server) -> None:
    with chromium() as browser:
        page = ComfyPage(browser, server).page
        page.evaluate("graph => app.loadGraphData(graph)", saved_graph())
        page.get_by_role("button", name=re.compile("Show swap nodes|View details")).click()  # 0.26 | 0.33
        page.get_by_role("button", name="Replace All", exact=True).click()
        page.wait_for_function("app.graph.nodes.some((node) => node.comfyClass === 'SDPoseAnnotator')")
        nodes = page.evaluate("""() => Object.fromEntries(app.graph.nodes.map((node) => [node.comfyClass, {
            values: Object.fromEntries((node.widgets ?? []).map((widget) => [widget.name, widget.value])),
            inputs: Object.fromEntries((node.inputs ?? []).map((input) => [input.name, input.link])),
        }]))""")
        prompt = page.evaluate("async () => (await app.graphToPrompt()).output")
    assert set(nodes) == {"LoadImage", "SDPoseAnnotatorLoadModel", "SDPoseAnnotator", "PreviewImage"}
    assert nodes["SDPoseAnnotatorLoadModel"]["values"]["dtype"] == "bf16"
    values, inputs = (nodes["SDPoseAnnotator"][kind] for kind in ("values", "inputs"))
    assert (values["threshold"], values["parts"]) == (0.45, "all")
    assert inputs["image"] is not None and inputs["model"] is not None
    assert nodes["PreviewImage"]["inputs"]["images"] is not None
    assert server.picture(server.run(prompt), "4").any()
