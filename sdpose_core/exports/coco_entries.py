"""The parts of COCO files: categories, points and boxes.

Whole bodies follow COCO-WholeBody: the first 17 points are `keypoints`, the others `foot_kpts`, `face_kpts`,
`lefthand_kpts` and `righthand_kpts`. All points of a custom set are `keypoints`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from ..poses import Poses
from ..skeletons import KEYPOINT_SETS, KeypointSet

_NAME_OF = {"feet": "foot", "face": "face", "left_hand": "lefthand", "right_hand": "righthand"}


def _main(points: KeypointSet) -> int:
    """Number of `keypoints`: the body of a known set, everything of a custom one."""
    return len(points.parts.get("body", points.names))


def category(points: KeypointSet) -> dict[str, Any]:
    """The category of people, with the names of the 17 points of the body; that of a custom set is called as the set,
    without the number of points at its end, and has all that training reads from it."""
    count = _main(points)
    links = [[a + 1, b + 1] for a, b in points.links if a < count and b < count]
    entry = {"id": 1, "name": "person", "keypoints": list(points.names[:count]), "skeleton": links}
    if points.name in KEYPOINT_SETS:
        return entry
    own = {"flip_pairs": [list(pair) for pair in points.flip_pairs], "sigmas": list(points.sigmas)}
    return {**entry, "name": points.name.removesuffix(f"_{len(points)}"), **own}


def labeled_people(poses: Poses, min_score: float) -> Iterator[dict[str, Any]]:
    """Each person without ids: points from `min_score` up are visible (2), others not labeled (0)."""
    for rows, box, track in zip(point_rows(poses), poses.boxes, poses.track_ids.tolist(), strict=True):
        rows = np.where(rows[:, 2:] >= min_score, rows, 0)
        rows[:, 2] = np.where(rows[:, 2] > 0, 2, 0)
        yield labeled_person(poses.skeleton, rows, xywh(box), track)


def labeled_person(points: KeypointSet, rows: np.ndarray, bbox_xywh: list[float], track: int) -> dict[str, Any]:
    """A person without ids, of points (K, 3) with x, y, visibility."""
    x, y, w, h = bbox_xywh
    return {
        "category_id": 1, "iscrowd": 0, "bbox": [x, y, w, h], "area": round(w * h, 3), "track_id": track,
        "num_keypoints": int((rows[: _main(points), 2] > 0).sum()), **part_fields(points, rows, valid=True),
    }  # fmt: skip


def point_rows(poses: Poses) -> np.ndarray:
    """(P, K, 3) x, y, raw score; absent points are 0."""
    rows = np.concatenate([poses.keypoints, poses.scores[..., None]], axis=-1)
    return np.where(np.isfinite(poses.keypoints).all(-1, keepdims=True), rows, 0)


def part_fields(points: KeypointSet, rows: np.ndarray, valid: bool = False) -> dict[str, Any]:
    """`keypoints` and the other parts; with `valid` also whether a part has any point."""
    entry: dict[str, Any] = {"keypoints": _floats(rows[: _main(points)])}
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
