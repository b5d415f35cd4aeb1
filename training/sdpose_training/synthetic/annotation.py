"""COCO annotations of the people of a view."""

from __future__ import annotations

import numpy as np

from sdpose_training.synthetic.body import BodyModel
from sdpose_training.synthetic.view import SceneSettings, View, keypoint_visibility

_PARTS = {"foot": slice(17, 23), "lefthand": slice(23, 44), "righthand": slice(44, 65)}


def annotate(body: BodyModel, view: View, number: int, settings: SceneSettings) -> dict | None:
    """COCO annotation of person `number`, or None if the person is not visible.

    With fewer than two of the 17 points visible, there is a box but no keypoints, as usual in COCO.
    """
    samples = view.covered[view.owner == number]
    if not len(samples):
        return None
    points, visibility = keypoint_visibility(body, view, number, settings.hidden_face)
    inside = (points >= 0).all(1) & (points <= np.array(settings.size) - 1).all(1)
    visibility = np.where(inside, visibility, 0)
    if (visibility[:17] == 2).sum() < 2:
        visibility[:] = 0
    values = np.column_stack([np.round(points, 2), visibility]) * (visibility > 0)[:, None]
    return {
        "keypoints": _numbers(values[:17]),
        "num_keypoints": int((visibility[:17] > 0).sum()),
        **_whole_body_fields(values),
        "bbox": _bbox_xywh(samples, view, points[visibility == 2]),
        "area": len(samples) / view.supersample**2,
        "iscrowd": 0,
        "pose_family": view.people[number].family,
        "yaw_degrees": round(view.people[number].yaw_degrees, 1),
    }


def _bbox_xywh(samples: np.ndarray, view: View, visible: np.ndarray) -> list[float]:
    """Bounding box in whole pixels of a person's samples (N,) and visible keypoints (M, 2)."""
    rows, columns = np.divmod(samples, view.surfaces.shape[1])
    low = np.array([[columns.min(), rows.min()]]) // view.supersample
    high = np.array([[columns.max(), rows.max()]]) // view.supersample + 1
    low, high = np.vstack([low, np.floor(visible)]).min(0), np.vstack([high, np.ceil(visible)]).max(0)
    return _numbers(np.concatenate([low, high - low]))


def _whole_body_fields(values: np.ndarray) -> dict:
    """COCO-WholeBody's fields from (65, 3). A part is valid if at least half of its points are in the picture."""
    fields: dict = {"face_kpts": [0.0] * (68 * 3), "face_valid": False, "face_box": [0.0] * 4}
    for part, where in _PARTS.items():
        points = values[where]
        labeled = points[points[:, 2] > 0, :2]
        valid = 2 * len(labeled) >= len(points)
        fields[f"{part}_kpts"], fields[f"{part}_valid"] = _numbers(points), valid
        if part != "foot":
            extent = np.concatenate([labeled.min(0), np.ptp(labeled, axis=0)]) if valid else np.zeros(4)
            fields[f"{part}_box"] = _numbers(np.round(extent, 2))
    return fields


def _numbers(values: np.ndarray) -> list[float]:
    return [float(x) for x in values.ravel()]
