"""Two boxes with one pose: whose it is, and the person behind."""

from __future__ import annotations

import json

import numpy as np
import pytest
from paths import SHARED

from sdpose_core.embedded.crowds import doubles, same_pose, without
from sdpose_core.estimation.preview import PreviewEstimator
from sdpose_core.images import read_image
from sdpose_core.skeletons import COCO_17

COCO = SHARED / "data" / "coco_samples"


def figure(x: float, y: float = 50, height: float = 100, score: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """A pose (17, 2) from (x, y) on, half as wide as high."""
    spread = np.stack([np.linspace(0, 1, 17) * 7 % 1 * 0.5, np.linspace(0, 1, 17)], axis=1)
    return np.asarray([x, y]) + spread * height, np.full(17, score)


@pytest.mark.parametrize(("shift", "same"), [(0, True), (2, True), (40, False), (300, False)])
def test_poses_are_compared_by_the_points_that_both_have(shift: float, same: bool) -> None:
    assert same_pose(figure(10), figure(10 + shift)) is same


def test_too_few_shared_points_say_nothing() -> None:
    keypoints, scores = figure(10)
    assert same_pose((keypoints, np.where(np.arange(17) < 2, scores, 0.1)), (keypoints, scores)) is None


def test_the_owner_is_whose_box_fits() -> None:
    mine, beside = np.array([8, 45, 62, 155]), np.array([50, 40, 130, 160])
    assert list(doubles([figure(10), figure(11)], [mine, beside])) == [(0, 1)]
    assert list(doubles([figure(10), figure(11)], [beside, mine])) == [(1, 0)]
    assert list(doubles([figure(10), figure(90)], [mine, beside])) == []


def test_erasing_paints_the_figure_and_nothing_far_from_it() -> None:
    image = np.full((200, 300, 3), 200, np.uint8)
    pose, box = figure(20), np.array([15, 45, 75, 155])
    hidden = without(image, pose, box)
    assert (image == 200).all()
    for a, b in COCO_17.links:
        x, y = np.rint((pose[0][a] + pose[0][b]) / 2).astype(int)
        assert (hidden[y, x] == 0).all()
    assert (hidden[:, 100:] == 200).all()
    unseen = without(image, (pose[0], np.full(17, 0.05)), box)
    assert (unseen == 200).all()


@pytest.mark.skipif(not COCO.is_dir(), reason=f"the four COCO photos are not here ({COCO})")
def test_somebody_behind_another_gets_a_pose_of_their_own() -> None:
    coco = json.loads((COCO / "test_coco.json").read_text())
    entry = next(entry for entry in coco["images"] if entry["file_name"] == "000000197388.jpg")
    people = [a for a in coco["annotations"] if a["image_id"] == entry["id"] and a["num_keypoints"]]
    boxes = np.asarray([a["bbox"] for a in people])
    boxes[:, 2:] += boxes[:, :2]
    [poses] = PreviewEstimator(body_only=True).estimate([read_image(COCO / entry["file_name"])], [boxes])
    for person, keypoints in zip(people, poses.keypoints, strict=True):
        labels = np.asarray(person["keypoints"], float).reshape(-1, 3)
        off = np.linalg.norm(keypoints - labels[:, :2], axis=1)[labels[:, 2] > 0]
        assert np.median(off) < 0.2 * np.sqrt(person["area"]), person["bbox"]
