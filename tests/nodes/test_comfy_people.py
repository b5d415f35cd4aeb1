"""Several people, presets and masks in a real ComfyUI: `COMFYUI_PATH=/path/to/ComfyUI pytest -m comfy` with it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import cv2
import numpy as np
import pytest
from comfy_host import COMFYUI_PATH, Server, make_base, node, running
from paths import ROOT

from sdpose_core.openpose.writer import to_openpose
from sdpose_core.presets import preset

pytestmark = [
    pytest.mark.comfy,
    pytest.mark.skipif(not COMFYUI_PATH, reason="COMFYUI_PATH is not set: no real ComfyUI to test against"),
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    base = make_base(tmp_path_factory.mktemp("comfy"), [ROOT / "tests" / "data" / "astronaut.png"])
    with running(base) as server:
        yield server


def test_nodes_after_a_list_run_once_per_person(server: Server) -> None:
    """Faces, masks and pose maps of two people, by the ids that come with the faces."""
    prompt = {
        "1": {"class_type": "LoadImage", "inputs": {"image": "astronaut.png"}},
        "3": node("SDPoseAnnotatorPosesFrom", source=_text_of_two()),
        "4": node("SDPoseAnnotatorFaceCrops", image=["1", 0], sequence=["3", 1], size=64, people="each person"),
        "5": node("SDPoseAnnotatorPersonMasks", sequence=["3", 1], people="one person", person=["4", 3]),
        "6": node("SDPoseAnnotatorSelectPerson", poses=["3", 1], by="id", number=["4", 3]),
        "7": node("SDPoseAnnotatorDrawInMask", image=["1", 0], mask=["5", 0], poses=["6", 0]),
        "8": node("SaveImage", images=["7", 0], filename_prefix="control"),
        "9": node("SaveImage", images=["4", 0], filename_prefix="face"),
    }
    outputs = server.run(prompt)
    assert [len(outputs[name]["images"]) for name in ("8", "9")] == [2, 2]
    control = [_read(server, image["filename"]) for image in outputs["8"]["images"]]
    assert control[0].shape == (512, 512, 3)
    changed = [np.argwhere((picture != _astronaut()).any(axis=2))[:, 1].mean() for picture in control]
    assert changed[0] < 200 < 300 < changed[1], "each at a place of their own"


def test_presets_and_in_betweens_are_drawn(server: Server) -> None:
    prompt = {
        "1": node("SDPoseAnnotatorPreset", pose="standing", width=128, height=192),
        "2": node("SDPoseAnnotatorPreset", pose="arms up", width=128, height=192, turn=30),
        "3": node("SDPoseAnnotatorInterpolate", first=["1", 0], last=["2", 1], frames=4),
        "4": node("SDPoseAnnotatorDraw", poses=["3", 0]),
        "5": node("SaveImage", images=["4", 0], filename_prefix="between"),
    }
    outputs = server.run(prompt)
    assert len(outputs["5"]["images"]) == 4 and len(outputs["1"]["images"]) == 1
    pictures = [_read(server, image["filename"]) for image in outputs["5"]["images"]]
    assert all(picture.shape == (192, 128, 3) and picture.any() for picture in pictures)


def _text_of_two() -> str:
    """OpenPose JSON of two standing people, as text."""
    people = []
    for shift in (-130, 130):
        frame = to_openpose(preset("standing", (512, 512), share=0.6))
        [person] = frame["people"]
        for part, values in person.items():
            if part.endswith("_2d"):
                person[part] = [v + shift if i % 3 == 0 and values[i + 2] else v for i, v in enumerate(values)]
        del person["sdpose"]
        people.append(person)
    return json.dumps({"people": people, "canvas_width": 512, "canvas_height": 512})


def _astronaut() -> np.ndarray:
    return cv2.imread(str(ROOT / "tests" / "data" / "astronaut.png"))


def _read(server: Server, name: str) -> np.ndarray:
    return cv2.imread(str(server.base / "output" / name))
