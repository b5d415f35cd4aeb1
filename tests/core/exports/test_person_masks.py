"""Masks of people made of their poses. `pytest -s -k real_people` prints how well they cover people of COCO."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import pytest
from paths import SHARED

from sdpose_core.errors import InputError
from sdpose_core.exports.person_masks import person_masks
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.presets import PRESETS, preset

COCO = SHARED / "data" / "coco_samples"
SIZE = (256, 384)


def mask_of(poses: Poses, **settings: Any) -> np.ndarray:
    [mask] = person_masks(PoseSequence.from_poses([poses]), **settings)
    return mask


def people_of_coco(whole_body: bool) -> list[tuple[Poses, np.ndarray]]:
    """The people with at least 5 points of the body: annotated points, annotated mask (h, w) bool."""
    content = json.loads((COCO / "test_coco_wholebody.json").read_text())
    images = {image["id"]: image for image in content["images"]}
    found = []
    for entry in content["annotations"]:
        if entry["iscrowd"] or entry["num_keypoints"] < 5:
            continue
        w, h = images[entry["image_id"]]["width"], images[entry["image_id"]]["height"]
        mask = np.zeros((h, w), np.uint8)
        for polygon in entry["segmentation"]:
            cv2.fillPoly(mask, [np.round(np.reshape(polygon, (-1, 2))).astype(np.int32)], 1)
        parts = ("keypoints", *(("foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts") if whole_body else ()))
        points = np.concatenate([np.reshape(entry[part], (-1, 3)) for part in parts])
        seen, (x, y, width, height) = points[:, 2] > 0, entry["bbox"]
        keypoints = np.where(seen[:, None], points[:, :2], np.nan)
        kind = "coco_wholebody_133" if whole_body else "coco_17"
        box = [[x, y, x + width, y + height, 1]]
        found.append((Poses(keypoints[None], seen[None].astype(float), box, (w, h), kind), mask > 0))
    return found


@pytest.mark.skipif(not COCO.exists(), reason="needs ../shared/data/coco_samples")
@pytest.mark.parametrize(
    ("whole_body", "margin", "iou", "recall"), [(False, 0, 0.69, 0.92), (True, 0, 0.7, 0.95), (True, 0.05, 0.63, 0.98)]
)
def test_it_covers_real_people(whole_body: bool, margin: float, iou: float, recall: float) -> None:
    rows = []
    for poses, truth in people_of_coco(whole_body):
        mask = mask_of(poses, margin=margin) > 0.5
        rows.append([(mask & truth).sum() / (mask | truth).sum(), (mask & truth).sum() / truth.sum()])
    mean = np.mean(rows, axis=0)
    found = f"IoU {mean[0]:.3f}, recall {mean[1]:.3f}"
    print(f"{len(rows)} people, {'whole body' if whole_body else 'body'}, margin {margin}: {found}")
    assert mean[0] > iou and mean[1] > recall


@pytest.mark.parametrize("name", PRESETS)
def test_all_points_are_inside(name: str) -> None:
    poses = preset(name, SIZE)
    mask = mask_of(poses)
    points = poses.keypoints[0, poses.scores[0] > 0]
    x, y = np.floor(points).astype(int).T
    inside = mask[np.clip(y, 0, SIZE[1] - 1), np.clip(x, 0, SIZE[0] - 1)]
    assert inside.all() and mask.dtype == np.float32 and mask.shape == SIZE[::-1]
    assert mask.mean() < 0.35, "not everything"


def test_margin_grows_by_trunk_lengths_and_blur_softens() -> None:
    poses = preset("standing", SIZE)
    plain, grown, soft = mask_of(poses), mask_of(poses, margin=0.2), mask_of(poses, blur=0.05)
    trunk = np.linalg.norm(poses.keypoints[0, 5:7].mean(axis=0) - poses.keypoints[0, 11:13].mean(axis=0))
    away = cv2.distanceTransform((plain == 0).astype(np.uint8), cv2.DIST_L2, 5)
    assert away[grown > 0].max() == pytest.approx(0.2 * trunk, rel=0.1)
    assert set(np.unique(plain)) == {0, 1} and ((soft > 0.1) & (soft < 0.9)).any() and soft.max() <= 1


def test_the_box_and_a_person_without_points() -> None:
    poses = Poses(np.full((1, 17, 2), np.nan), np.zeros((1, 17)), [[20, 30, 120, 200, 1]], SIZE, "coco_17")
    expected = np.zeros(SIZE[::-1])
    expected[30:200, 20:120] = 1
    np.testing.assert_array_equal(mask_of(poses), expected)
    standing = preset("standing", SIZE)
    x1, y1, x2, y2 = np.round(standing.boxes[0, :4]).astype(int)
    box = mask_of(standing, shape="box")
    assert box.sum() == (x2 - x1) * (y2 - y1) and box[y1:y2, x1:x2].all()


def test_people_by_their_ids_over_time() -> None:
    one, other = preset("standing", SIZE), preset("waving", SIZE)
    moved = Poses(
        other.keypoints + (60, 0), other.scores, other.boxes + (60, 0, 60, 0, 0), SIZE, other.keypoint_set, [7]
    )
    both = Poses(
        np.concatenate([one.keypoints, moved.keypoints]), np.concatenate([one.scores, moved.scores]),
        np.concatenate([one.boxes, moved.boxes]), SIZE, one.keypoint_set, [2, 7],
    )  # fmt: skip
    sequence = PoseSequence.from_poses([both, moved])
    everybody, seven, two, none = (list(person_masks(sequence, ids)) for ids in (None, [7], [2], []))
    np.testing.assert_array_equal(everybody[0], np.maximum(seven[0], two[0]))
    np.testing.assert_array_equal(seven[0], seven[1])
    assert two[0].any() and not two[1].any() and not none[0].any()


def test_hips_below_the_picture_and_points_far_away() -> None:
    points = np.full((1, 17, 2), np.nan)
    points[0, [0, 1, 2, 5, 6]] = [(128, 150), (138, 140), (118, 140), (190, 260), (66, 260)]
    seen = np.isfinite(points[..., 0]).astype(float)
    mask = mask_of(Poses(points, seen, [[60, 80, 200, 384, 1]], SIZE, "coco_17"))
    assert mask[380, 128] == 1, "the trunk goes on to the edge of the picture"
    points[0, 9] = (1e7, -1e7)
    assert mask_of(Poses(points, np.isfinite(points[..., 0]) * 1.0, [[0, 0, 9, 9, 1]], SIZE, "coco_17")).any()


@pytest.mark.parametrize("change", [{"shape": "oval"}, {"margin": -1}, {"margin": float("nan")}, {"blur": -0.1}])
def test_other_settings_are_refused(change: dict) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        mask_of(preset("standing", SIZE), **change)
