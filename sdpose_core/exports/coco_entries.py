"""The parts of COCO files: categories, points and boxes.

Whole bodies follow COCO-WholeBody: the first 17 points are `keypoints`, the others `foot_kpts`, `face_kpts`,
`lefthand_kpts` and `righthand_kpts`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..poses import Poses
from ..skeletons import KeypointSet

_NAME_OF = {"feet": "foot", "face": "face", "left_hand": "lefthand", "right_hand": "righthand"}


def person_category(points: KeypointSet) -> dict[str, Any]:
    """The category of people, with the names of the 17 points of the body."""
    links = [[a + 1, b + 1] for a, b in points.links if a < 17 and b < 17]
    return {"id": 1, "name": "person", "keypoints": list(points.names[:17]), "skeleton": links}


def point_rows(poses: Poses) -> np.ndarray:
    """(P, K, 3) x, y, raw score; absent points are 0."""
    rows = np.concatenate([poses.keypoints, poses.scores[..., None]], axis=-1)
    return np.where(np.isfinite(poses.keypoints).all(-1, keepdims=True), rows, 0)


def part_fields(points: KeypointSet, rows: np.ndarray, valid: bool = False) -> dict[str, Any]:
    """`keypoints` and the other parts; with `valid` also whether a part has any point."""
    entry: dict[str, Any] = {"keypoints": _floats(rows[:17])}
    for part, name in _NAME_OF.items():
        if part in points.parts:
            entry[f"{name}_kpts"] = _floats(rows[list(points.parts[part])])
            if valid:
                entry[f"{name}_valid"] = bool((rows[list(points.parts[part]), 2] > 0).any())
    return entry


def _floats(rows: np.ndarray) -> list[float]:
    return [round(value, 3) for value in rows.ravel().tolist()]


def xywh(box: np.ndarray) -> list[float]:
    """x, y, width, height of a box x1, y1, x2, y2."""
    x1, y1, x2, y2 = np.nan_to_num(box[:4]).tolist()
    return [round(value, 3) for value in (x1, y1, x2 - x1, y2 - y1)]
