"""What the nodes say before a graph runs."""

from __future__ import annotations

import inspect
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from paths import DATA

WIRE = None
"""What ComfyUI gives for an input that comes by wire."""


@pytest.fixture
def check(nodes: dict[str, type], base: Path) -> Iterator[Any]:
    """`check("Video", path="")` -> the node's answer. There is `clip.mp4` and `poses.json` in the input folder."""
    (base / "input").mkdir(exist_ok=True)
    shutil.copy(DATA / "dancer.mp4", base / "input" / "clip.mp4")
    (base / "input" / "poses.json").write_text("{}")
    (base / "input" / "some.pose.npz").touch()
    yield lambda name, **inputs: nodes[f"SDPoseAnnotator{name}"].validate_inputs(**inputs)


@pytest.mark.parametrize(
    ("node", "inputs", "said"),
    [
        ("Video", {"path": ""}, "no video: connect a video"),
        ("Video", {"path": " ", "width": 0}, "no video"),
        ("Video", {"path": "clip.mp4", "video": WIRE}, "two videos"),
        ("Video", {"path": "missing.mp4"}, "missing.mp4 does not exist in ComfyUI's input folder"),
        ("Video", {"path": "../clip.mp4"}, "lies outside"),
        ("Video", {"path": "clip.mp4", "width": 64, "height": 0}, "both width and height"),
        ("Video", {"path": "clip.mp4", "width": 64, "height": 99999}, "height: expected 0 to 16384, got 99999"),
        ("Video", {"path": "", "video": WIRE, "width": -1, "height": 64}, "width: expected"),
        ("AnimateAnyone", {"frame_rate": 0.0}, "connect either image or video"),
        ("AnimateAnyone", {"frame_rate": 0.0, "image": WIRE, "video": WIRE}, "connect either image or video"),
        ("AnimateAnyone", {"frame_rate": -1.0, "image": WIRE}, "frame_rate: expected 0 to 1000, got -1"),
        ("Export", {"width": 0, "height": 64}, "both width and height"),
        ("Draw", {"colour": "green"}, "six hexadecimal digits"),
        ("Draw", {"colour": "#00ff0"}, "six hexadecimal digits"),
        ("Load", {"file": "gone.json [output]"}, "no such file or folder in ComfyUI's output folder"),
        ("Load", {"file": "../x.json"}, "lies outside"),
        ("Load", {"file": "(no pose file found)"}, "there is no pose file"),
        ("LoadSequence", {"file": "gone.pose.npz [input]"}, "no such file or folder"),
        ("LoadSequence", {"file": "(no .pose.npz found)"}, "there is no .pose.npz"),
    ],
)
def test_what_cannot_work_is_said_before_anything_runs(check: Any, node: str, inputs: dict, said: str) -> None:
    answer = check(node, **inputs)
    assert answer is not True and said in answer and "\n" not in answer


@pytest.mark.parametrize(
    ("node", "inputs"),
    [
        ("Video", {"path": "clip.mp4"}),
        ("Video", {"path": "", "video": WIRE}),
        ("Video", {"path": WIRE}),
        ("Video", {"path": WIRE, "video": WIRE, "width": WIRE, "height": 64}),
        ("Video", {"path": " 'clip.mp4' ", "width": 64, "height": 64}),
        ("AnimateAnyone", {"frame_rate": WIRE, "video": WIRE}),
        ("AnimateAnyone", {"frame_rate": 25.0, "image": WIRE}),
        ("Export", {"width": WIRE, "height": 64}),
        ("Export", {"width": 0, "height": 0}),
        ("Draw", {"colour": "#00FF0080"}),
        ("Draw", {"colour": WIRE}),
        ("Load", {"file": "poses.json [input]"}),
        ("Load", {"file": WIRE}),
        ("LoadSequence", {"file": "some.pose.npz [input]"}),
    ],
)
def test_what_may_work_is_let_through(check: Any, node: str, inputs: dict) -> None:
    assert check(node, **inputs) is True


def test_checks_name_inputs_and_leave_the_others_to_comfyui(nodes: dict[str, type]) -> None:
    """With `**kwargs` every input would lose ComfyUI's own checks, and the answer would be shown at each."""
    checked = {name: node for name, node in nodes.items() if hasattr(node, "validate_inputs")}
    assert len(checked) == 6
    for name, node in checked.items():
        declared = {entry.id: entry.optional for entry in node.define_schema().inputs}
        for parameter in inspect.signature(node.validate_inputs).parameters.values():
            assert parameter.kind is parameter.POSITIONAL_OR_KEYWORD, name
            assert declared[parameter.name] == (parameter.default is not parameter.empty), (name, parameter.name)
