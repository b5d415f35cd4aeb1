"""One annotated person: keypoints, box, area."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..pose_values import MAX_COORDINATE
from ..skeletons import COCO_WHOLEBODY_133, KeypointSet
from .values import read_flag, read_number

WHOLEBODY_FIELDS = ("keypoints", "foot_kpts", "face_kpts", "lefthand_kpts", "righthand_kpts")
"""Keys of the points of a whole body, in their order."""


@dataclass(frozen=True, eq=False)
class AnnotatedPerson:
    """One annotation.

    Attributes:
        points: (K, 3) float64, finite: x, y in pixels of the picture, visibility.
        bbox_xywh: (4,) float64, finite, pixels; zeros if the annotation has no box.
        area: square pixels; of the box if the annotation has none.
    """

    points: np.ndarray
    bbox_xywh: np.ndarray
    area: float


def has_points(annotation: Mapping[str, Any]) -> bool:
    """Whether the annotation has keypoints at all; objects and people without points have none."""
    return annotation.get("keypoints") not in (None, [], (), "")


def read_person(annotation: Mapping[str, Any], keypoint_set: KeypointSet) -> AnnotatedPerson:
    """One entry of "annotations"; `ValueError` for damaged values, another number of keypoints, or shares of a picture
    instead of pixels."""
    points = read_points(annotation, keypoint_set)
    box = _read_box(annotation)
    area = read_amount(annotation, "area", 0) or box[2] * box[3]
    labeled = points[points[:, 2] > 0, :2]
    if len(labeled) > 1 and are_shares(labeled) or (any(box) and max(box) < 2 and are_shares(np.asarray(box))):
        raise ValueError("coordinates from 0 to 1: expected pixels (multiply by width and height)")
    return AnnotatedPerson(points, np.asarray(box), area)


def are_shares(coordinates: np.ndarray) -> bool:
    """Whether coordinates are shares of a picture, from 0 to 1 or a little beyond: in pixels nobody is that small."""
    return bool(coordinates.size and coordinates.max() <= 1.25 and coordinates.min() >= -0.25)


def _read_box(annotation: Mapping[str, Any]) -> list[float]:
    """The numbers of "bbox", zeros without one; `ValueError` if they are not four finite numbers."""
    values = annotation.get("bbox")
    try:
        if values is None or len(values) == 4 and not isinstance(values, str | Mapping):
            box = [read_number(value) for value in values or (0, 0, 0, 0)]
            if max(map(abs, box)) <= MAX_COORDINATE:
                return box
    except (TypeError, ValueError):
        pass
    raise ValueError(f"bbox is {values!r:.60}, expected the numbers x, y, width, height, up to {MAX_COORDINATE:,}")


def read_amount(annotation: Mapping[str, Any], key: str, absent: float) -> float:
    """A number of at least 0, `absent` by default; `ValueError` for any other value."""
    value = annotation.get(key)
    try:
        found = float(absent if value is None else read_number(value))
    except ValueError:
        found = -1.0
    if not 0 <= found <= MAX_COORDINATE**2:
        raise ValueError(f"{key} is {value!r:.60}, expected a number of at least 0")
    return found


def read_points(annotation: Mapping[str, Any], keypoint_set: KeypointSet) -> np.ndarray:
    """(K, 3) x, y, visibility 0..2, finite; COCO-WholeBody keeps its parts in separate fields.

    Points are numbers in a row or lists of x, y, visibility; without visibilities, points other than 0, 0 are labeled.
    Raises `ValueError` for another number of points, and for a labeled point without numbers.
    """
    count = 3 * len(keypoint_set)
    values = _triples(annotation, "keypoints", count)
    if keypoint_set.name == COCO_WHOLEBODY_133.name and len(values) != count:
        values = [value for name in WHOLEBODY_FIELDS for value in _triples(annotation, name)]
    if len(values) != count:
        advice = f"choose annotations of the keypoint set {keypoint_set.name!r}"
        raise ValueError(f"{len(values)} keypoint values instead of {count}: {advice}")
    try:
        points = np.asarray(values, np.float64).reshape(-1, 3)
    except (TypeError, ValueError, OverflowError):
        points = np.asarray(np.nan)
    if not math.isfinite(points.sum()):
        try:
            points = np.asarray([_point(*values[i : i + 3]) for i in range(0, count, 3)])
        except ValueError:
            raise ValueError("keypoints that are not numbers") from None
    if (farthest := np.abs(points[:, :2]).max()) > MAX_COORDINATE:
        raise ValueError(f"keypoints at {farthest:g} pixels, expected at most {MAX_COORDINATE:,}")
    if (highest := points[:, 2].max()) > 2:
        raise ValueError(f"visibility {highest:g}, expected 0 (not labeled), 1 (hidden) or 2 (visible)")
    return points


def without_visibility(annotation: Mapping[str, Any], keypoint_set: KeypointSet) -> bool:
    """Whether the keypoints are pairs of x, y."""
    values = annotation.get("keypoints")
    if not isinstance(values, list | tuple) or not values:
        return False
    return len(values[0]) == 2 if isinstance(values[0], list | tuple) else len(values) == 2 * len(keypoint_set)


def _triples(annotation: Mapping[str, Any], key: str, count: int = 0) -> list[Any]:
    """x, y, visibility of all points in a row, from any of the forms; `count`: how many values are expected."""
    if key not in annotation:
        raise ValueError(f"missing {key!r}")
    values = annotation[key]
    if not isinstance(values, list | tuple):
        raise ValueError(f"{key} is {values!r:.60}, expected a list of numbers")
    if count and 3 * len(values) == 2 * count and not isinstance(values[0], list | tuple):
        values = [values[i : i + 2] for i in range(0, len(values), 2)]
    if not values or not isinstance(values[0], list | tuple):
        return list(values)
    if not all(isinstance(row, list | tuple) and len(row) in (2, 3) for row in values):
        raise ValueError(f"{key}: expected x, y, visibility of each point")
    return [value for row in values for value in (row if len(row) == 3 else [*row, _is_there(*row)])]


def _is_there(x: Any, y: Any) -> int:
    """Visibility of a point that has none: 0 at 0, 0 or without numbers, else 2."""
    try:
        return 2 if read_number(x) or read_number(y) else 0
    except ValueError:
        return 0


def _point(x: Any, y: Any, visibility: Any) -> tuple[float, float, float]:
    """A point with values that are no plain numbers, which unlabeled points need not have; else `ValueError`."""
    try:
        shown = 0.0 if visibility is None else read_number(visibility)
    except ValueError:
        shown = 2.0 * (isinstance(visibility, bool | str) and read_flag(visibility))
        if not isinstance(visibility, bool | str):
            raise
    if shown > 0:
        return read_number(x), read_number(y), shown
    return 0.0, 0.0, shown
