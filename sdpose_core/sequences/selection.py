"""Selecting people and points of one picture."""

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
    """(P,) indices of the people, first choice first; ties keep their order.

    Args:
        by: "id" (track id, ascending), "largest" (area of the box), "leftmost", "rightmost" (center of the box),
            "best score" (mean keypoint score) or "nearest point" (center of the box).
        point: (x, y) pixels, for "nearest point".

    Raises `InputError` for an unknown order.
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
    """The selected person, or nobody if there is none.

    Args:
        by, point: as in `people_order`.
        number: with "id" the track id, otherwise the position in the order, from 0.
    """
    if by == "id":
        return poses.select(np.asarray(poses.track_ids) == number)
    return poses.select(people_order(poses, by, point)[number : number + 1])


def keep_points(poses: Poses, parts: Collection[str] = PARTS, threshold: float = 0.0) -> Poses:
    """Keep only the points of `parts` with a score of at least `threshold`; others become NaN with score 0.

    Args:
        parts: of `skeletons.PARTS`; "body" without "head" has no nose, eyes and ears. A keypoint set without named
            parts is filtered by score only.

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
    """Part (of `PARTS`) -> its points; empty for a custom keypoint set."""
    if name not in KEYPOINT_SETS:
        return {}
    points = KEYPOINT_SETS[name]
    parts = {part: list(indices) for part, indices in points.parts.items()}
    head = [points.index(name) for name in HEAD]
    hands = parts.get("left_hand", []) + parts.get("right_hand", [])
    body = [index for index in parts["body"] if index not in head]
    return {"body": body, "head": head, "hands": hands, "face": parts.get("face", []), "feet": parts.get("feet", [])}


def keep_people(poses: Poses, *, min_score: float = 0.0, min_points: int = 0, max_people: int = 0) -> Poses:
    """The people with at least `min_points` seen points and a mean score of at least `min_score` over these.

    Of these, the `max_people` largest (0: all) in their original order.
    """
    seen = np.isfinite(poses.keypoints).all(axis=-1) & (poses.scores > 0)
    counts = seen.sum(axis=1)
    means = np.where(seen, poses.scores, 0).sum(axis=1) / np.maximum(counts, 1)
    kept = poses.select((counts >= min_points) & (means >= min_score))
    if max_people and len(kept) > max_people:
        kept = kept.select(np.sort(people_order(kept, "largest")[:max_people]))
    return kept
