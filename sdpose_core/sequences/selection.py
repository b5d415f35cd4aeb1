"""Which people and which points of a result to keep."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from .. import boxes as box_tools
from ..errors import InputError
from ..poses import Poses
from ..skeletons import HEAD, KEYPOINT_SETS, PARTS

ORDERS = ("id", "largest", "leftmost", "rightmost", "best score", "nearest point")


def people_order(poses: Poses, by: str, point: tuple[float, float] = (0.0, 0.0)) -> np.ndarray:
    """(P,) indices of the people, the first choice first; ties keep their order.

    Args:
        poses: of one picture.
        by: "id" (track id, ascending), "largest" (area of the box), "leftmost", "rightmost" (center of the box),
            "best score" (mean keypoint score) or "nearest point" (center of the box).
        point: (x, y) pixels, for "nearest point".

    Raises `InputError` for another order.
    """
    centers = (poses.boxes[:, :2] + poses.boxes[:, 2:4]) / 2
    keys = {
        "id": lambda: poses.track_ids,
        "largest": lambda: -box_tools.area(poses.boxes[:, :4]),
        "leftmost": lambda: centers[:, 0],
        "rightmost": lambda: -centers[:, 0],
        "best score": lambda: -poses.mean_scores(),
        "nearest point": lambda: np.linalg.norm(centers - np.asarray(point, np.float64), axis=1),
    }
    if by not in keys:
        raise InputError(f"unknown order of people {by!r}: choose one of {', '.join(ORDERS)}")
    return np.argsort(keys[by](), kind="stable")


def select_person(poses: Poses, by: str, number: int = 0, point: tuple[float, float] = (0.0, 0.0)) -> Poses:
    """The one person asked for, or nobody if there is none.

    Args:
        poses, by, point: as in `people_order`.
        number: with "id" the track id, else the place in the order (0 is the first).
    """
    if by == "id":
        return poses.select(np.asarray(poses.track_ids) == number)
    return poses.select(people_order(poses, by, point)[number : number + 1])


def keep_points(poses: Poses, parts: Collection[str] = PARTS, threshold: float = 0.0) -> Poses:
    """The same people with only the points of `parts` whose score is at least `threshold`; others become NaN, score 0.

    Args:
        poses: of one picture.
        parts: of `skeletons.PARTS`, as for drawing: "body" without "head" is a body without nose, eyes and ears. Points
            of a keypoint set without named parts are judged by their score alone.
        threshold: points of a lower score are left out.

    Raises `InputError` for an unknown part.
    """
    unknown = sorted(set(parts) - set(PARTS))
    if unknown:
        raise InputError(f"unknown part {unknown[0]!r}: choose from {', '.join(PARTS)}")
    kept = poses.scores >= threshold
    for part, indices in _parts_of(poses.keypoint_set).items():
        if part not in parts:
            kept[:, indices] = False
    keypoints = np.where(kept[..., None], poses.keypoints, np.nan)
    return replace(poses, keypoints=keypoints, scores=np.where(kept, poses.scores, 0.0))


def _parts_of(name: str) -> dict[str, list[int]]:
    """Part, by the words of drawing -> its points; empty for a keypoint set of the user's own."""
    if name not in KEYPOINT_SETS:
        return {}
    points = KEYPOINT_SETS[name]
    own = {part: list(indices) for part, indices in points.parts.items()}
    head = [points.index(each) for each in HEAD]
    hands = own.get("left_hand", []) + own.get("right_hand", [])
    body = [index for index in own["body"] if index not in head]
    return {"body": body, "head": head, "hands": hands, "face": own.get("face", []), "feet": own.get("feet", [])}


def keep_people(poses: Poses, *, min_score: float = 0.0, min_points: int = 0, max_people: int = 0) -> Poses:
    """The people with a mean score of at least `min_score` over their seen points, and `min_points` seen points.

    Of these the `max_people` largest (0: all), in their old order.
    """
    seen = np.isfinite(poses.keypoints).all(axis=-1) & (poses.scores > 0)
    counts = seen.sum(axis=1)
    means = np.where(seen, poses.scores, 0).sum(axis=1) / np.maximum(counts, 1)
    kept = poses.select((counts >= min_points) & (means >= min_score))
    if max_people and len(kept) > max_people:
        kept = kept.select(np.sort(people_order(kept, "largest")[:max_people]))
    return kept
