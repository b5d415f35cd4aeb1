"""Poses between two poses.

Points on straight lines make limbs shrink on the way when they turn. Here every bone turns about its parent by the
shorter way while its length changes evenly, so an arm that is raised describes an arc. Trunk and head turn that way up
to a quarter; beyond that they turn toward or away from the camera, where straight lines are right.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from ..errors import InputError
from ..poses import Poses
from ..skeletons import COCO_17, COCO_WHOLEBODY_133
from .body import BONES, MID_HIP, NECK

Easing = Callable[[np.ndarray], np.ndarray]

EASINGS: Mapping[str, Easing] = MappingProxyType(
    {
        "linear": lambda t: t,
        "smooth": lambda t: t * t * (3 - 2 * t),
        "slow start": lambda t: t * t,
        "slow end": lambda t: t * (2 - t),
    }
)
"""Share of the time, 0 to 1 -> share of the way."""

WAYS = ("arcs", "straight lines")
MATCHES = ("position", "ID")

QUARTER, HALF = 90.0, 180.0
EITHER_WAY = 150.0
"""Degrees. Limbs that turn by more could go either way: they go outward, away from the middle of the body."""

_WHOLE = COCO_WHOLEBODY_133
_LIMBS = ("arm", "forearm", "thigh", "shank")


def _parents() -> dict[int, tuple[int, float]]:
    """Point -> its parent, and by how many degrees the bone may turn. Neck and mid-hip are 133 and 134."""
    moved = {NECK: len(_WHOLE), MID_HIP: len(_WHOLE) + 1}
    tree = {
        moved.get(child, child): (
            moved.get(parent, parent),
            HALF if name == "trunk" or name.endswith(_LIMBS) else QUARTER,
        )
        for parent, child, name in BONES
    }
    ankles = {"left": 15, "right": 16}
    tree |= {point: (ankles[_WHOLE.names[point].split("_")[0]], HALF) for point in _WHOLE.parts["feet"]}
    tree |= dict.fromkeys(_WHOLE.parts["face"], (0, QUARTER))
    for side, wrist in (("left", 9), ("right", 10)):
        root, *fingers = _WHOLE.parts[f"{side}_hand"]
        tree[root] = (wrist, HALF)
        tree |= {point: (root if number % 4 == 0 else point - 1, HALF) for number, point in enumerate(fingers)}
    return tree


PARENTS: Mapping[int, tuple[int, float]] = MappingProxyType(_parents())
NECK_POINT, ROOT = len(_WHOLE), len(_WHOLE) + 1


def in_betweens(
    first: Poses, last: Poses, frames: int, *, easing: str = "smooth", way: str = "arcs", match: str = "position"
) -> list[Poses]:
    """`frames` poses from `first` to `last`, both included, as coco_wholebody_133 unless both are coco_17.

    Args:
        first, last: in pixels of pictures of one size.
        easing: of `EASINGS`.
        way: of `WAYS`.
        match: who is who: "position" minimizes the distances between the people, "ID" goes by track ids.

    The people keep the ids of `first`; who is only in `last` gets new ones. A person or point in only one of the poses
    is there for the half of the time that is next to it.

    Raises `InputError` for fewer than 2 frames, unknown words, other keypoint sets, and pictures of two sizes.
    """
    _check(first, last, frames, {"easing": (easing, EASINGS), "way": (way, WAYS), "match": (match, MATCHES)})
    shares = EASINGS[easing](np.linspace(0, 1, frames))
    pairs = _by_id(first, last) if match == "ID" else _by_position(first, last)
    ids = _ids(first, last, pairs)
    start, end = _extended(first), _extended(last)
    both_body = first.keypoint_set == last.keypoint_set == COCO_17.name
    kept = COCO_17 if both_body else _WHOLE
    people = []
    for a, b in pairs:
        one = start[a] if a is not None else np.full_like(end[0], np.nan)
        other = end[b] if b is not None else np.full_like(start[0], np.nan)
        people.append(_moved(one, other, shares, way))
    return [_frame(first, kept.name, [person[t, : len(kept)] for person in people], ids) for t in range(frames)]


def _check(first: Poses, last: Poses, frames: int, words: Mapping[str, tuple[str, Sequence[str] | Mapping]]) -> None:
    if frames < 2:
        raise InputError(f"frames: expected at least 2, the two poses themselves, got {frames}")
    for name, (word, known) in words.items():
        if word not in known:
            raise InputError(f"{name}: expected one of {', '.join(known)}, got {word!r}")
    for poses in (first, last):
        if poses.keypoint_set not in (COCO_17.name, _WHOLE.name):
            raise InputError(f"poses: expected coco_17 or coco_wholebody_133, got {poses.keypoint_set!r}")
    if first.size != last.size:
        raise InputError(f"poses: expected pictures of one size, got {first.size} and {last.size}")


# --- who is who ------------------------------------------------------------------------------------------------------

Pairs = list[tuple[int | None, int | None]]


def _by_id(first: Poses, last: Poses) -> Pairs:
    there, then = first.track_ids.tolist(), last.track_ids.tolist()
    pairs: Pairs = [(a, then.index(track) if track in then else None) for a, track in enumerate(there)]
    return pairs + [(None, b) for b, track in enumerate(then) if track not in there]


def _by_position(first: Poses, last: Poses) -> Pairs:
    """Pairs with the least sum of distances between the centers of the boxes."""
    from scipy.optimize import linear_sum_assignment

    centers = [(poses.boxes[:, :2] + poses.boxes[:, 2:4]) / 2 for poses in (first, last)]
    distance = np.linalg.norm(centers[0][:, None] - centers[1][None], axis=-1)
    rows, columns = (index.tolist() for index in linear_sum_assignment(distance))
    pairs: Pairs = list(zip(rows, columns, strict=True))
    pairs += [(a, None) for a in range(len(first)) if a not in rows]
    return pairs + [(None, b) for b in range(len(last)) if b not in columns]


def _ids(first: Poses, last: Poses, pairs: Pairs) -> np.ndarray:
    """(P,) ids: those of `first`; of `last` where they are free, otherwise new ones."""
    ids = [int(first.track_ids[a]) if a is not None else -1 for a, _ in pairs]
    for place, (a, b) in enumerate(pairs):
        if a is None and b is not None:
            wanted = int(last.track_ids[b])
            ids[place] = wanted if wanted not in ids else max(ids) + 1
    return np.asarray(ids, np.int32)


# --- one person ------------------------------------------------------------------------------------------------------


def _extended(poses: Poses) -> np.ndarray:
    """(P, 135, 3) x, y, score: COCO-WholeBody's points, neck and mid-hip; NaN and 0 where there is no point."""
    points = np.full((len(poses), len(_WHOLE) + 2, 3), np.nan)
    count = poses.keypoints.shape[1]
    seen = np.isfinite(poses.keypoints).all(-1) & (poses.scores > 0)
    points[:, :count] = np.concatenate([poses.keypoints, poses.scores[..., None]], axis=-1)
    points[:, :count][~seen] = np.nan
    for place, (left, right) in {NECK_POINT: (5, 6), ROOT: (11, 12)}.items():
        points[:, place] = (points[:, left] + points[:, right]) / 2
    return points


def _moved(first: np.ndarray, last: np.ndarray, shares: np.ndarray, way: str) -> np.ndarray:
    """One person from (135, 3) to (135, 3) -> (T, 135, 3) at the `shares` (T,) of the way; NaN absent."""
    result = np.full((len(shares), *first.shape), np.nan)
    place = _paths(first[:, :2], last[:, :2], shares, way)
    for point in range(len(first)):
        here, there = np.isfinite(first[point, 0]), np.isfinite(last[point, 0])
        shown = (here & (shares < 0.5)) | (there & (shares >= 0.5)) | (here & there)
        score = np.where(here, first[point, 2], last[point, 2]) + 0 * shares
        if here and there:
            score = first[point, 2] + (last[point, 2] - first[point, 2]) * shares
        result[shown, point] = np.concatenate([place(point), score[:, None]], axis=1)[shown]
    return result


def _paths(first: np.ndarray, last: np.ndarray, shares: np.ndarray, way: str) -> Callable[[int], np.ndarray]:
    """A function of the number of a point -> its path (T, 2). `first` and `last` are (135, 2), NaN absent."""
    known: dict[int, np.ndarray] = {}

    def path(point: int) -> np.ndarray:
        if point not in known:
            known[point] = found(point)
        return known[point]

    def found(point: int) -> np.ndarray:
        start, end = first[point], last[point]
        parent, most = PARENTS.get(point, (None, 0.0))
        if parent is None or np.isnan([first[parent], last[parent]]).any() or way != WAYS[0]:
            return _line(start, end, shares)
        away = first[point] - first[NECK_POINT if point in range(5, 11) else ROOT]
        return path(parent) + _turn(start - first[parent], end - last[parent], shares, most, away)

    return path


def _line(start: np.ndarray, end: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """(T, 2) from (2,) to (2,); if one of them is absent, the other."""
    start, end = (end, end) if np.isnan(start).any() else (start, start) if np.isnan(end).any() else (start, end)
    return start + (end - start) * shares[:, None]


def _turn(start: np.ndarray, end: np.ndarray, shares: np.ndarray, most: float, away: np.ndarray) -> np.ndarray:
    """(T, 2): a bone (2,) that turns and changes its length evenly; straight if it would turn by more than `most`.

    `away` (2,) points outward, for bones that could turn either way.
    """
    lengths = np.linalg.norm([start, end], axis=1)
    if np.isnan(lengths).any() or lengths.min() < 1e-6:
        return _line(start, end, shares)
    angle = float(np.arctan2(start[0] * end[1] - start[1] * end[0], start @ end))
    if abs(angle) > np.deg2rad(most):
        return _line(start, end, shares)
    if abs(angle) > np.deg2rad(EITHER_WAY) and _rotated(start, angle / 2) @ away < 0:
        angle -= np.copysign(2 * np.pi, angle)
    scale = (lengths[0] + (lengths[1] - lengths[0]) * shares) / lengths[0]
    return np.stack([_rotated(start, angle * share) for share in shares]) * scale[:, None]


def _rotated(vector: np.ndarray, angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.asarray([c * vector[0] - s * vector[1], s * vector[0] + c * vector[1]])


def _frame(like: Poses, keypoint_set: str, people: Sequence[np.ndarray], ids: np.ndarray) -> Poses:
    """The people (K, 3) who have points, with boxes around these."""
    there = [number for number, person in enumerate(people) if np.isfinite(person[:, 0]).any()]
    if not there:
        return Poses.empty(like.size, keypoint_set)
    points = np.stack([people[number] for number in there])
    low, high = np.nanmin(points[..., :2], axis=1), np.nanmax(points[..., :2], axis=1)
    scores = np.nan_to_num(points[..., 2])
    boxes = np.concatenate([low, high, np.ones((len(there), 1))], axis=1)
    frame = Poses(points[..., :2], scores, boxes, like.size, keypoint_set, ids[there])
    return replace(frame, meta={"model": "in-betweens"})
