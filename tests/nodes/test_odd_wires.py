"""BOUNDING_BOX, BBOX and POSE_KEYPOINT with odd values: boxes that can be used, or one line."""

from __future__ import annotations

import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from odd_values import odd_versions

SIZE = (64, 48)
BOX = {"x": 1, "y": 2.5, "width": 30, "height": 40, "score": 0.9, "label": "person", "track_id": 3}
FRAME = {"people": [{"pose_keypoints_2d": [9.0, 8.0, 1.0] * 18, "person_id": [1]}],
         "canvas_width": 64, "canvas_height": 48}  # fmt: skip
SEGMENT = [[48, 64], [{"crop_region": [1, 2, 30, 40], "bbox": [1, 2, 30, 40], "confidence": 0.5, "label": "person",
                       "cropped_mask": None}]]  # fmt: skip
VALUES = {
    "boxes": [[BOX, {**BOX, "track_id": 4}]], "one box": BOX, "bbox": [[1, 2, 30, 40], [3, 4, 5, 6]],
    "bbox per frame": [[[1, 2, 30, 40, 0.5]]], "poses": [FRAME], "segments": SEGMENT,
    "3d": {"frames": [[{"bbox": [1, 2, 30, 40], "pred_keypoints_2d": [[1, 2], [3, 4]]}]]},
}  # fmt: skip


def segments(value: Any) -> Any:
    """SEGS, where the JSON has objects instead of named tuples."""
    try:
        return (tuple(value[0]), [SimpleNamespace(**segment) for segment in value[1]])
    except (TypeError, KeyError, IndexError):
        return value


@pytest.mark.parametrize("kind", VALUES)
def test_odd_values_of_boxes_are_one_line(inside: Any, input_error: type[Exception], kind: str) -> None:
    sources = inside("nodes.sockets.box_sources")
    for odd in odd_versions(VALUES[kind], 50):
        value = segments(odd) if kind == "segments" else odd
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                people, _ = sources.people_of(
                    value, 1, SIZE, bbox_format="x1, y1, x2, y2", mask_meaning=sources.MASK_MEANINGS[0]
                )
        except input_error as error:
            assert "\n" not in str(error) and len(str(error)) < 900
            continue
        for frame in people:
            assert frame.boxes.shape[1:] == (5,) and np.isfinite(frame.boxes[:, 4]).all(), odd
            assert not (np.abs(frame.boxes[np.isfinite(frame.boxes)]) > 1e7).any(), odd


def test_odd_poses_are_one_line(inside: Any, input_error: type[Exception]) -> None:
    poses = inside("nodes.sockets.poses")
    for odd in odd_versions([FRAME], 80):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found, _ = poses.poses_from_socket(odd, size=SIZE)
        except input_error as error:
            assert "\n" not in str(error) and len(str(error)) < 900
            continue
        assert all(np.isfinite(frame.scores).all() and np.isfinite(frame.boxes).all() for frame in found), odd
