"""Files and refusals in a real ComfyUI: `COMFYUI_PATH=/path/to/ComfyUI pytest -m comfy` with this file.

How it is started: `tests/support/comfy_host.py`.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from comfy_host import COMFYUI_PATH, Server, make_base, node, running
from paths import ROOT

from sdpose_core.video.opening import open_video

CLIP, PICTURE = "dancer.mp4", "astronaut.png"

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(not COMFYUI_PATH, reason="COMFYUI_PATH is not set: no real ComfyUI to test against"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A ComfyUI whose network leads nowhere."""
    data = ROOT / "tests" / "data"
    base = make_base(tmp_path_factory.mktemp("comfy"), [data / CLIP, data / PICTURE])
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
        patch.delenv("SDPOSE_COMFYUI_FOLDERS", raising=False)
        with running(base) as server:
            yield server


def refusals(server: Server, **nodes: Any) -> dict[str, list[str]]:
    """What ComfyUI says of a prompt that it does not run: sentences by node."""
    answer = server.call("/prompt", {"prompt": nodes})
    assert "prompt_id" not in answer, "it was accepted"
    return {name: [error["details"] for error in entry["errors"]] for name, entry in answer["node_errors"].items()}


def files(folder: Path) -> dict[str, int]:
    return {
        path.relative_to(folder).as_posix(): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()
    }


def test_results_that_are_gone_are_made_again_and_others_are_not(server: Server) -> None:
    prompt = {
        "1": {"class_type": "LoadVideo", "inputs": {"file": CLIP}},
        "2": {"class_type": "Video Slice", "inputs": {
            "video": ["1", 0], "start_time": 0.0, "duration": 0.25, "strict_duration": False}},
        "3": node("SDPoseAnnotatorVideo", video=["2", 0], folder="gone", smooth=False),
        "4": node("SDPoseAnnotatorSave", poses=["3", 1], filename_prefix="gone/saved"),
        "5": node("SDPoseAnnotatorExport", sequence=["3", 1], target="openpose", filename_prefix="gone/export"),
    }  # fmt: skip
    out = server.base / "output" / "gone"
    server.run(prompt)
    first = files(out)
    assert "saved_00001_.pose.npz" in first and len([name for name in first if name.endswith("_kps.mp4")]) == 1
    server.run(prompt)
    assert files(out) == first, "nothing has changed, yet a node ran"
    (out / "saved_00001_.pose.npz").unlink()
    server.run(prompt)
    saved = files(out)
    assert set(saved) - set(first) == {"saved_00002_.pose.npz"}
    shutil.rmtree(out)
    server.run(prompt)
    again = files(out)
    assert "saved_00003_.pose.npz" in again and any(name.startswith("export_00002/") for name in again)
    assert sum(name.endswith("_kps.mp4") for name in again) == 1
    server.run(prompt)
    assert files(out) == again


def test_a_result_of_another_tab_is_not_shown_for_one_that_is_gone(server: Server) -> None:
    """Two graphs whose nodes have the same id and the same values, over different videos."""

    def prompt(start: float) -> dict[str, Any]:
        cut = {"video": ["1", 0], "start_time": start, "duration": 0.25, "strict_duration": False}
        return {
            "1": {"class_type": "LoadVideo", "inputs": {"file": CLIP}},
            "2": {"class_type": "Video Slice", "inputs": cut},
            "3": node("SDPoseAnnotatorVideo", video=["2", 0], folder="tabs", smooth=False),
            "4": node("SaveVideo", video=["3", 0], filename_prefix="tabs_of", format="auto", codec="auto"),
        }

    out = server.base / "output" / "tabs"
    server.run(prompt(0.0))
    first = files(out)
    server.run(prompt(0.5))
    second = {name: time for name, time in files(out).items() if name not in first}
    for name in first:
        (out / name).unlink()
    server.run(prompt(0.0))
    again = files(out)
    assert second.items() < again.items() and len(again) == len(first) + len(second)
    server.run(prompt(0.5))
    assert files(out) == again, "its own files were there"


def test_what_cannot_work_is_refused_before_anything_runs(server: Server) -> None:
    missing, there = ("/etc/nobody-has-this.mp4", "/etc/hostname")
    said = refusals(
        server,
        v1=node("SDPoseAnnotatorVideo"),
        v2=node("SDPoseAnnotatorVideo", path="gone.mp4"),
        v3=node("SDPoseAnnotatorVideo", path=CLIP, width=64),
        v4=node("SDPoseAnnotatorVideo", path=missing),
        v5=node("SDPoseAnnotatorVideo", path=there),
        v6=node("SDPoseAnnotatorVideo", path=CLIP, folder=["l", 0]),
        a=node("SDPoseAnnotatorAnimateAnyone"),
        p=node("PreviewAny", source=["a", 4]),
        l=node("SDPoseAnnotatorLoad", file="gone.json [output]"),
        q=node("PreviewAny", source=["d", 1]),
        d=node("SDPoseAnnotatorDraw", poses=["l", 0], colour="green"),
    )
    for name, words in {
        "v1": "no video: connect a video or enter a file in path",
        "v2": "gone.mp4 does not exist in ComfyUI's input folder",
        "v3": "both width and height",
        "v4": "lies outside ComfyUI's input, output, temp folders",
        "v5": "lies outside ComfyUI's input, output, temp folders",
        "a": "connect either image or video",
        "l": "no such file or folder in ComfyUI's output folder",
        "d": "six hexadecimal digits",
    }.items():
        assert any(words in text for text in said[name]), (name, said[name])
    assert [text.replace(missing, "PATH") for text in said["v4"]] == [
        text.replace(there, "PATH") for text in said["v5"]
    ]


def test_values_by_wire_and_colors_with_opacity_are_let_through(server: Server) -> None:
    quick = {"folder": "wire", "smooth": False, "every": 15}
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": PICTURE}},
        "2": {"class_type": "PrimitiveString", "inputs": {"value": CLIP}},
        "3": {"class_type": "PrimitiveInt", "inputs": {"value": 64}},
        "4": node("SDPoseAnnotatorVideo", path=["2", 0], width=["3", 0], height=96, **quick),
        "5": node("SDPoseAnnotator", image=["1", 0]),
        "6": node("SDPoseAnnotatorDraw", poses=["5", 1], background="colour", colour="#00ff0080"),
        "7": node("SaveImage", images=["6", 0], filename_prefix="color"),
    }
    outputs = server.run(prompt)
    assert (server.picture(outputs, "7")[0, 0] == (0, 255, 0)).all()
    [shown] = outputs["4"]["images"]
    with open_video(server.base / "output" / shown["subfolder"] / shown["filename"]) as video:
        assert video.info.size == (64, 96)


def test_the_download_node_in_a_graph_needs_no_network_while_it_is_off(server: Server) -> None:
    prompt = {
        "1": node("SDPoseAnnotatorDownload", weights="wholebody-comfy"),
        "2": {"class_type": "PreviewAny", "inputs": {"source": ["1", 0]}},
    }
    [text] = server.run(prompt)["2"]["text"]
    assert "not downloaded" in text and "Comfy-Org/SDPose" in text
    prompt["1"]["inputs"]["download"] = True
    assert "Comfy-Org/SDPose could not be fetched" in server.error(prompt)
