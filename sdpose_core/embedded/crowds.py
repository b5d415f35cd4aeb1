"""Two boxes in which MoveNet sees one person: whose pose it is, and looking for the other one behind them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np

from .. import boxes as box_tools
from ..dependencies import opencv
from ..oks import oks
from ..skeletons import COCO_17

SEEN = 0.2
"""Points with a lower score say nothing about where a person is."""
SAME = 0.5
"""Poses of a higher OKS are the same person's."""
FEWEST_SHARED = 3
LIMB_WIDTH = 0.06
"""Width of an erased limb, as a share of the longer side of the person's box."""

Pose = tuple[np.ndarray, np.ndarray]
"""Keypoints (K, 2) in picture pixels, scores (K,); the first 17 are the body's."""


def same_pose(first: Pose, second: Pose) -> bool | None:
    """Whether two poses are one person's, by the body points that both have; None if they share too few."""
    one, two = (_seen(pose) for pose in (first, second))
    if np.isfinite(one + two).all(axis=1).sum() < FEWEST_SHARED:
        return None
    area = max(float(box_tools.area(_extent(points))) for points in (one, two))
    return bool(oks(one[None], two[None], np.asarray([area]), np.asarray(COCO_17.sigmas))[0, 0] > SAME)


def doubles(poses: Sequence[Pose], boxes: Sequence[np.ndarray]) -> Iterator[tuple[int, int]]:
    """Pairs (owner, other) of people of one picture that have the same pose.

    The owner is the one whose box (4,) fits it better.
    """
    for a, b in combinations(range(len(poses)), 2):
        if same_pose(poses[a], poses[b]):
            yield (a, b) if _fit(poses[a], boxes[a]) >= _fit(poses[b], boxes[b]) else (b, a)


def without(image: np.ndarray, pose: Pose, box: np.ndarray) -> np.ndarray:
    """The RGB picture with the head, torso and limbs of a person in a box (4,) painted black."""
    cv2 = opencv()

    result = image.copy()
    points = _seen(pose).clip(-(2**15), 2**15)
    width = max(1, round(LIMB_WIDTH * float((box[2:4] - box[:2]).max())))
    shapes = [points[list(link)] for link in COCO_17.links] + [points[[5, 6, 12, 11]]]
    for shape in shapes:
        if np.isfinite(shape).all():
            corners = np.rint(shape).astype(np.int32)
            cv2.fillPoly(result, [corners], (0, 0, 0))
            cv2.polylines(result, [corners], True, (0, 0, 0), width)
    return result


def _seen(pose: Pose) -> np.ndarray:
    """(17, 2) the body points that were seen, NaN for the others."""
    count = len(COCO_17)
    return np.where(pose[1][:count, None] >= SEEN, pose[0][:count], np.nan)


def _extent(points: np.ndarray) -> np.ndarray:
    """(4,) the box around points (N, 2), NaN left out."""
    return np.concatenate([np.nanmin(points, axis=0), np.nanmax(points, axis=0)])


def _fit(pose: Pose, box: np.ndarray) -> float:
    """Overlap (IoU) of a box (4,) with the extent of a pose that has points."""
    return float(box_tools.iou(np.asarray(box)[None, :4], _extent(_seen(pose))[None])[0, 0])
