"""The edits of a review: each is a JSON object with a `kind` and its fields, and changes a `Canvas`.

They are kept in the journal as they are and can be applied again in the same order, with the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..errors import InputError, did_you_mean
from ..sequences.cleaning import drawing_threshold
from ..sequences.distrust import REASONS
from ..sequences.flips import sides_of
from ..skeletons import KeypointSet
from .canvas import CHANGED, FOLLOWS, PLACED, POINT_ARRAYS, SEEN, Canvas, Change
from .fields import Fields
from .following import frames_with_the_error

MAX_SPREAD = 10_000
"""Frames on either side that follow a correction."""


def apply(canvas: Canvas, op: Mapping[str, Any]) -> Change:
    """Change the canvas by one edit. Raises `InputError`, with nothing changed, for one that is not possible."""
    fields = Fields(op, len(canvas), canvas.point_count)
    kind = fields.text("kind")
    if kind not in KINDS:
        hint = did_you_mean(kind, KINDS) or f"known are {', '.join(KINDS)}"
        raise InputError(f"edit {kind!r} is not known: {hint}")
    change = canvas.begin()
    try:
        KINDS[kind](canvas, fields)
    except BaseException:
        canvas.revert(change)
        raise
    if change.frames is None:
        raise InputError(f"{kind}: nothing to change: the person is not in these frames")
    return change


# --- points ---------------------------------------------------------------------------------------------------------


def _move(canvas: Canvas, fields: Fields) -> None:
    """Place points of one frame; frames within `spread` follow, up to the next keyframe of the same point."""
    t, track_id, points = fields.frame("t"), fields.whole("id"), fields.points()
    target, spread = fields.coordinates("to", len(points)), fields.whole("spread", 0, MAX_SPREAD, otherwise=0)
    slot = canvas.slot(t, track_id)
    before = np.array(canvas.keypoints[t, slot, points])
    if spread:
        for direction in (-1, 1):
            _follow(canvas, t, slot, points, target - before, target, direction, spread)
    _place(canvas, np.asarray([t]), np.asarray([slot]), points, target)


def _place(canvas: Canvas, frames: np.ndarray, slots: np.ndarray, points: np.ndarray, target: np.ndarray) -> None:
    """Place points at the same pixels (N, 2) in frames."""
    index = (frames[:, None], slots[:, None], points)
    canvas.put("keypoints", index, target)
    _settle(canvas, index, PLACED)
    _fit_boxes(canvas, frames, slots)


def _fit_boxes(canvas: Canvas, frames: np.ndarray, slots: np.ndarray) -> None:
    """Let the boxes hold what they held at first and the points that are placed by hand, and no more."""
    first, now = canvas.first_boxes[frames, slots], canvas.boxes[frames, slots]
    placed = (canvas.marks[frames, slots] == PLACED)[..., None]
    points = np.where(placed, canvas.keypoints[frames, slots], np.nan)
    low = np.fmin(first[:, :2], np.fmin.reduce(points, axis=1))
    high = np.fmax(first[:, 2:4], np.fmax.reduce(points, axis=1))
    boxes = np.concatenate([low, high, first[:, 4:]], axis=1)
    rows = (first[:, 2] > first[:, 0]) & (boxes != now).any(axis=1)
    canvas.put("boxes", (frames[rows], slots[rows]), boxes[rows])


def _settle(canvas: Canvas, index: Any, mark: int) -> None:
    """A person has decided: the points are marked and no longer distrusted."""
    canvas.put("marks", index, mark)
    canvas.put("distrust", index, 0)
    canvas.put("distrust_reasons", index, 0)


def _follow(
    canvas: Canvas, t: int, slot: int, points: np.ndarray, delta: np.ndarray, target: np.ndarray, direction: int,
    spread: int,
) -> None:  # fmt: skip
    """Let the frames on one side that share the error follow a correction (N, 2).

    The share fades to 0 like half a cosine wave.
    """
    track_id = canvas.track_ids[t, slot]
    last = min(t + spread, len(canvas) - 1) if direction > 0 else max(t - spread, 0)
    frames, slots = canvas.places(min(t + direction, last), max(t + direction, last), track_id)
    if direction * (last - t) <= 0 or not len(frames):
        return
    order = np.argsort(direction * frames)
    frames, slots = frames[order], slots[order]
    wrong = frames_with_the_error(canvas, t, slot, points, delta, frames, slots)
    for number, point in enumerate(points.tolist()):
        stops = np.flatnonzero(canvas.marks[frames, slots, point] >= PLACED)
        end = abs(int(frames[stops[0]]) - t) if len(stops) else spread + 1
        count = int(stops[0]) if len(stops) else len(frames)
        rows, columns = frames[:count], slots[:count]
        share = 0.5 + 0.5 * np.cos(np.pi * np.abs(rows - t) / end)
        if np.isfinite(delta[number]).all():
            rows, columns, share = rows[:wrong], columns[:wrong], share[:wrong]
            moved = canvas.keypoints[rows, columns, point] + share[:, None] * delta[number]
            _put_followers(canvas, rows, columns, point, moved, share)
        elif len(stops):
            goal = canvas.keypoints[frames[count], slots[count], point]
            moved = share[:, None] * target[number] + (1 - share[:, None]) * goal
            _put_followers(canvas, rows, columns, point, moved, share)
        else:
            moved = target[number] + _motion(canvas, t, slot, rows, columns)
            _put_followers(canvas, rows, columns, point, moved, np.ones(count))


def _motion(canvas: Canvas, t: int, slot: int, frames: np.ndarray, slots: np.ndarray) -> np.ndarray:
    """(N, 2) how far the person has moved since frame `t`: the median of the points seen in both."""
    moved = canvas.keypoints[frames, slots] - canvas.keypoints[t, slot]
    known = np.isfinite(moved).all(axis=-1)
    rows = [np.median(m[k], axis=0) if k.any() else np.zeros(2) for m, k in zip(moved, known, strict=True)]
    return np.asarray(rows).reshape(-1, 2)


def _put_followers(
    canvas: Canvas, frames: np.ndarray, slots: np.ndarray, point: int, moved: np.ndarray, share: np.ndarray
) -> None:
    known = np.isfinite(moved).all(axis=-1)
    index = (frames[known], slots[known], point)
    canvas.put("keypoints", index, moved[known])
    canvas.put("marks", index, FOLLOWS)
    canvas.put("distrust", index, canvas.distrust[index] * (1 - share[known]))


def _delete(canvas: Canvas, fields: Fields) -> None:
    frames, slots = canvas.places(*fields.range(), fields.whole("id"))
    index = (frames[:, None], slots[:, None], fields.points())
    canvas.put("keypoints", index, np.nan)
    _settle(canvas, index, CHANGED)
    _fit_boxes(canvas, frames, slots)


def _restore(canvas: Canvas, fields: Fields) -> None:
    """Put back what was estimated, with its distrust."""
    frames, slots = canvas.places(*fields.range(), fields.whole("id"))
    index = (frames[:, None], slots[:, None], fields.points())
    for name in POINT_ARRAYS:
        canvas.put(name, index, getattr(canvas, f"first_{name}")[index])
    _fit_boxes(canvas, frames, slots)


def _copy(canvas: Canvas, fields: Fields) -> None:
    """Give points the places that they have in frame `t`."""
    t, track_id, points = fields.frame("t"), fields.whole("id"), fields.points()
    target = np.array(canvas.keypoints[t, canvas.slot(t, track_id), points])
    if not np.isfinite(target).all():
        raise InputError(f"frame {t} does not show all of these points: copy from another frame")
    frames, slots = canvas.places(*fields.range(), track_id)
    _place(canvas, frames[frames != t], slots[frames != t], points, target)


def _exchange_sides(canvas: Canvas, fields: Fields) -> None:
    """Left becomes right. Points that were seen count as edited; what was distrusted for another reason stays so."""
    frames, slots = canvas.places(*fields.range(), fields.whole("id"))
    pairs = pairs_of(canvas.opened.skeleton, fields.text("part", otherwise="all"))
    left, right = pairs.T
    both, other = np.concatenate([left, right]), np.concatenate([right, left])
    index, crossed = (frames[:, None], slots[:, None], both), (frames[:, None], slots[:, None], other)
    for name in POINT_ARRAYS:
        canvas.put(name, index, np.array(getattr(canvas, name)[crossed]))
    threshold = drawing_threshold(canvas.opened.meta, SEEN)
    seen = np.isfinite(canvas.keypoints[index]).all(axis=-1) & (canvas.scores[index] >= threshold)
    canvas.put("marks", index, np.where(seen & (canvas.marks[index] != PLACED), CHANGED, canvas.marks[index]))
    mended = (canvas.distrust_reasons[index] >> REASONS.index("left_right") & 1).astype(bool)
    canvas.put("distrust", index, np.where(mended, 0, canvas.distrust[index]))
    canvas.put("distrust_reasons", index, np.where(mended, 0, canvas.distrust_reasons[index]))


def pairs_of(points: KeypointSet, part: str) -> np.ndarray:
    """(G, 2) points (left, right) of "all", "arms" (with hands), "legs" (with feet), "head", "hands" or "feet".

    Raises `InputError` for another part, and for a keypoint set without left and right.
    """
    if not points.flip_pairs:
        raise InputError(f"{points.name!r} has no pairs of left and right points: nothing to swap")
    parts = sides_of(points)
    if part not in parts or not len(parts[part]):
        raise InputError(
            f"part {part!r}: expected one of {', '.join(name for name, found in parts.items() if len(found))}"
        )
    return parts[part]


# --- people ---------------------------------------------------------------------------------------------------------


def _exchange_ids(canvas: Canvas, fields: Fields) -> None:
    start, end = fields.range()
    first, second = fields.two("ids")
    places = [canvas.places(start, end, track_id) for track_id in (first, second)]
    for (frames, slots), track_id in zip(places, (second, first), strict=True):
        if len(frames):
            canvas.put("track_ids", (frames, slots), track_id)


def _split(canvas: Canvas, fields: Fields) -> None:
    t, track_id = fields.frame("t"), fields.whole("id")
    canvas.slot(t, track_id)
    if not len(canvas.places(0, t - 1, track_id)[0]):
        raise InputError(f"person {track_id} begins at frame {t}: choose a later frame to split them")
    canvas.put("track_ids", canvas.places(t, len(canvas) - 1, track_id), canvas.new_id())


def _join(canvas: Canvas, fields: Fields) -> None:
    first, second = fields.two("ids")
    last = len(canvas) - 1
    places = canvas.places(0, last, second)
    both = np.intersect1d(canvas.places(0, last, first)[0], places[0])
    if len(both):
        raise InputError(
            f"persons {first} and {second} are both in frame {both[0]}, and {len(both) - 1} more: two people cannot be "
            "joined; remove one of them there first"
        )
    if len(places[0]):
        canvas.put("track_ids", places, first)


def _remove(canvas: Canvas, fields: Fields) -> None:
    places = canvas.places(*fields.range(), fields.whole("id"))
    if len(places[0]):
        canvas.put("track_ids", places, -1)


def _check(canvas: Canvas, fields: Fields) -> None:
    places = canvas.places(*fields.range(), fields.whole("id"))
    if len(places[0]):
        canvas.put("checked", places, fields.truth("checked", otherwise=True))


def _put(canvas: Canvas, fields: Fields) -> None:
    """What an estimator found in a box: a new person (`id` None), or some points of a person."""
    t, box = fields.frame("t"), fields.numbers("box", 5)
    points = fields.points(otherwise=range(canvas.point_count))
    keypoints = fields.coordinates("to", len(points), absent=True)
    scores = fields.numbers("scores", len(points))
    track_id = fields.whole("id", otherwise=None)
    slot = None if track_id is None else canvas.find(t, track_id)
    if slot is None:
        slot = canvas.free_slot(t)
        blank = (t, slot, np.arange(canvas.point_count))
        _put_estimate(canvas, blank, np.full((canvas.point_count, 2), np.nan), 0)
        canvas.put("track_ids", (t, slot), canvas.new_id() if track_id is None else track_id)
        canvas.put("boxes", (t, slot), box)
        canvas.put("first_boxes", (t, slot), box)
        canvas.put("checked", (t, slot), False)
    _put_estimate(canvas, (t, slot, points), keypoints, scores)


def _put_estimate(canvas: Canvas, index: Any, keypoints: np.ndarray, scores: Any) -> None:
    """What is known of points that were just estimated, which is also what `restore` restores from now on."""
    known = {"keypoints": keypoints, "scores": scores, "marks": 0, "distrust": np.nan, "distrust_reasons": 0}
    for name in POINT_ARRAYS:
        canvas.put(name, index, known[name])
        canvas.put(f"first_{name}", index, known[name])


KINDS: Mapping[str, Callable[[Canvas, Fields], None]] = {
    "move": _move,
    "delete": _delete,
    "restore": _restore,
    "copy": _copy,
    "exchange_sides": _exchange_sides,
    "exchange_ids": _exchange_ids,
    "split": _split,
    "join": _join,
    "remove": _remove,
    "check": _check,
    "put": _put,
}
"""What an edit of each kind does."""
