"""YOLO, RTMO and ECPose: the people of a picture land in the boxes that are asked for; options, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from dot_models import write_ecpose, write_rtmo, write_yolo_cells, write_yolo_people
from dots import COLORS, DOTS, picture_of_dots, points_of_dots
from onnx_files import node, write_model

from sdpose_core.errors import CheckpointError, InputError
from sdpose_training.peers.loading import load_peer
from sdpose_training.peers.whole_picture import Letterbox

INPUT = (160, 128)
LEFT = DOTS
RIGHT = [(x + 140, y + 15) for x, y in DOTS]
TWO = np.array([[75, 55, 140, 155], [215, 70, 280, 170]], np.float32)
NOBODY = np.array([[0, 200, 20, 240]], np.float32)

Writer = Callable[..., Path]
WRITERS: dict[str, tuple[str, Writer]] = {
    "cells": ("yolo", write_yolo_cells), "people": ("yolo", write_yolo_people), "rtmo": ("rtmo", write_rtmo),
    "ecpose": ("ecpose", write_ecpose),
}  # fmt: skip


def spec_of(folder: Path, which: str, options: str = "", **more: object) -> str:
    kind, write = WRITERS[which]
    return f"{kind}:{write(folder / f'{which}.onnx', COLORS, INPUT, **more)}{options}"


def two_people(size: tuple[int, int] = (330, 250)) -> np.ndarray:
    return picture_of_dots(size, LEFT, RIGHT, radius=5.0)


@pytest.mark.parametrize("which", WRITERS)
def test_people_of_a_picture_land_in_their_boxes(tmp_path: Path, which: str) -> None:
    """Letterbox or stretch, decoding, suppression, matching, back. An input pixel is two of the picture."""
    peer = load_peer(spec_of(tmp_path, which, ",iou=.1"))
    [poses] = peer.estimate([two_people()], [np.concatenate([TWO[::-1], NOBODY])])
    np.testing.assert_allclose(poses.keypoints[0], points_of_dots(RIGHT), atol=1.0)
    np.testing.assert_allclose(poses.keypoints[1], points_of_dots(LEFT), atol=1.0)
    assert np.isnan(poses.keypoints[2]).all() and (poses.scores[2] == 0).all()
    assert (poses.scores[:2] > 0.9).all()
    assert len(peer._people(two_people()).scores) == 2  # no double, no dog, no background


@pytest.mark.parametrize("which", ["cells", "people", "rtmo"])
@pytest.mark.parametrize("size", [(330, 250), (250, 330), (330, 600), (163, 121)])
def test_any_shape_of_picture(tmp_path: Path, which: str, size: tuple[int, int]) -> None:
    scale = min(size[0] / 330, size[1] / 250)
    people = [[(x * scale, y * scale) for x, y in dots] for dots in (LEFT, RIGHT)]
    pixel = size[0] / Letterbox.of(size, INPUT).size[0]
    image = picture_of_dots(size, *people, radius=2.4 * pixel)
    [poses] = load_peer(spec_of(tmp_path, which)).estimate([image], [TWO * scale])
    for keypoints, dots in zip(poses.keypoints, people, strict=True):
        np.testing.assert_allclose(keypoints, points_of_dots(dots), atol=0.7 * pixel)


@pytest.mark.parametrize("which", WRITERS)
def test_the_view_of_a_box(tmp_path: Path, which: str) -> None:
    """Only what is around the box is seen: the person in it is then in the right half of the view."""
    box = np.array([[20, 50, 145, 160]], np.float32)
    peer = load_peer(spec_of(tmp_path, which, ",view=box,padding=1.1,iou=0.05"))
    [poses] = peer.estimate([two_people()], [box])
    np.testing.assert_allclose(poses.keypoints[0], points_of_dots(LEFT), atol=1.0)
    assert peer.meta()["settings"]["box_padding"] == 1.1


def test_a_picture_is_seen_once_for_all_its_boxes(tmp_path: Path) -> None:
    peer = load_peer(spec_of(tmp_path, "cells"), batch=1)
    seen: list[tuple[int, ...]] = []
    people = peer._people
    peer._people = lambda image: (seen.append(image.shape), people(image))[1]
    image = two_people()
    peer.estimate([image, image[:, :200].copy()], [np.concatenate([TWO, TWO]), TWO[:1]])
    assert seen == [(250, 330, 3), (250, 200, 3)]
    image[:] = 0  # a video's buffer, used again
    [poses] = peer.estimate([image], [TWO])
    assert np.isnan(poses.keypoints).all()


def test_letterbox_and_its_inverse() -> None:
    box = Letterbox.of((330, 250), INPUT)
    assert (box.size, box.corner) == ((160, 121), (0, 3))
    filled = box.fill(np.zeros((250, 330, 3), np.uint8))
    assert (filled[:3] == 114).all() and (filled[3:124] == 0).all() and (filled[124:] == 114).all()
    np.testing.assert_allclose(box.to_image(np.array([0.0, 3.0])), [0, 0])
    np.testing.assert_allclose(box.to_image(np.array([160.0, 124.0])), [330, 250])
    assert Letterbox.of((1, 5000), INPUT).size == (1, 128)


def test_options_of_whole_pictures(tmp_path: Path) -> None:
    spec = spec_of(tmp_path, "cells")
    none, both = (load_peer(spec + option)._people(two_people()) for option in (",confidence=1", ",nms=.95"))
    assert len(none.scores) == 0 and len(both.scores) == 4
    strict = load_peer(spec + ",iou=.99").estimate([two_people()], [TWO])[0]
    assert np.isnan(strict.keypoints).all()
    settings = json.loads(json.dumps(load_peer(spec, batch=2).meta()))["settings"]
    assert settings == {
        "batch_size": 2, "flip_test": False, "view": "picture", "min_iou": 0.3, "confidence": 0.001,
        "suppression": 0.7, "input_size": [160, 128], "backend": settings["backend"],
    }  # fmt: skip
    with pytest.raises(InputError, match="yolo: view: expected one of picture, box, got 'crop'"):
        load_peer(spec + ",view=crop")
    with pytest.raises(InputError, match="iou: expected a number from 0 to 1, got '3'"):
        load_peer(spec + ",iou=3")
    with pytest.raises(InputError, match="has 17 keypoints, keypoints=wholebody has 133"):
        load_peer(spec + ",keypoints=wholebody")


ULTRALYTICS = {"task": "pose", "kpt_shape": "[17, 3]", "names": "{0: 'person'}"}


@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("metadata", [{}, ULTRALYTICS, {"kpt_shape": "odd(", "names": "{"}])
def test_yolo_with_and_without_metadata(tmp_path: Path, turned: bool, metadata: dict[str, str]) -> None:
    peer = load_peer(spec_of(tmp_path, "cells", turned=turned, metadata=metadata))
    [poses] = peer.estimate([two_people()], [TWO])
    np.testing.assert_allclose(poses.keypoints[0], points_of_dots(LEFT), atol=1.0)


def test_the_size_of_yolo_s_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="leaves the size of its input open: give it, such as input=640x640"):
        load_peer(spec_of(tmp_path, "cells", open_size=True))
    for options, metadata in ((",input=160x128", {}), ("", {"imgsz": "[128, 160]"})):
        peer = load_peer(spec_of(tmp_path, "cells", options, open_size=True, metadata=metadata))
        [poses] = peer.estimate([two_people()], [TWO])
        np.testing.assert_allclose(poses.keypoints[1], points_of_dots(RIGHT), atol=1.0)


def test_yolo_without_a_person_among_its_classes(tmp_path: Path) -> None:
    animals = {"kpt_shape": "[17, 3]", "names": "{0: 'dog', 1: 'cat'}"}
    with pytest.raises(CheckpointError, match="has the classes dog, cat: expected one named person"):
        load_peer(spec_of(tmp_path, "people", metadata=animals))


@pytest.mark.parametrize(("scores", "flat"), [(False, False), (False, True), (True, True)])
def test_other_exports_of_ecpose(tmp_path: Path, scores: bool, flat: bool) -> None:
    """Without scores of the points, and with the values of a person in one row."""
    spec = spec_of(tmp_path, "ecpose", ",iou=.1", scores=scores, flat=flat)
    [poses] = load_peer(spec).estimate([two_people()], [TWO])
    np.testing.assert_allclose(poses.keypoints[1], points_of_dots(RIGHT), atol=1.0)
    assert (poses.scores > 0.9).all()  # the person's, where the points have none


@pytest.mark.parametrize(
    ("kind", "which", "message"),
    [
        ("yolo", "rtmo", r"is not a keypoint model of the YOLO family: its outputs are \(1, 2, 5\), \(1, 2, 17, 3\)"),
        ("rtmo", "cells", r"is not an RTMO model: its outputs are \(1, 56, 420\)"),
        ("ecpose", "cells", r"is not an ECPose model: expected one input .* and orig_target_sizes"),
        ("yolo", "ecpose", r"is not a keypoint model of the YOLO family: expected one input"),
        ("rtmpose", "cells", r"is not an RTMPose, RTMW or DWPose model"),
        ("heatmap", "people", r"is not a top-down heatmap model: its outputs are \(1, 3, 57\)"),
    ],
)
def test_files_of_another_kind(tmp_path: Path, kind: str, which: str, message: str) -> None:
    file = spec_of(tmp_path, which).partition(":")[2]
    with pytest.raises(CheckpointError, match=message) as caught:
        load_peer(f"{kind}:{file}")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 1260, 56), "three boxes per cell, as YOLOv5 and YOLOv7"),
        ((1, 83, 420), r"has 26 keypoints: known are 17, 133.*keypoints=my_points.toml"),
        ((1, 5, 420), "is not a keypoint model of the YOLO family"),
        ((1, 300, 6), "is not a keypoint model of the YOLO family"),
    ],
)
def test_other_outputs_of_yolo(tmp_path: Path, shape: tuple[int, ...], message: str) -> None:
    nodes = [
        node("ReduceMax", ["picture"], "most", axes=[1, 2, 3], keepdims=0), node("Mul", ["most", "zero"], "nothing"),
        node("Add", ["nothing", "values"], "output"),
    ]  # fmt: skip
    constants = {"zero": np.zeros(1), "values": np.zeros(shape)}
    path = write_model(tmp_path / "m.onnx", nodes, {"picture": (1, 3, 128, 160)}, {"output": shape}, constants)
    with pytest.raises(CheckpointError, match=message):
        load_peer(f"yolo:{path}")
