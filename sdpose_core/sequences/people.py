"""Choosing people once for a whole clip, so that they do not change midway."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from .. import boxes as box_tools
from ..errors import InputError
from ..images import BLACK, read_image
from ..poses import PoseSequence
from ..skeletons import KEYPOINT_SETS
from .tracks import by_track

ORDERS = (
    "id", "largest", "best score", "leftmost", "rightmost", "nearest point", "mask", "best score per frame",
)  # fmt: skip
_ARRAYS = ("keypoints", "scores", "boxes", "track_ids")

_SHORT = {"best": "best score", "best per frame": "best score per frame", "point": "nearest point"}


def select_people(
    sequence: PoseSequence,
    by: str = "largest",
    number: int = 0,
    point: tuple[float, float] | None = None,
    mask: np.ndarray | str | Path | None = None,
    max_people: int | None = None,
) -> PoseSequence:
    """The selected people, one slot per track, first choice first; a slot is empty while its person is absent.

    Args:
        sequence: tracked; a person is a track id.
        by: the order:
            "id": ascending.
            "largest": median box area times the share of frames that show the person.
            "best score": mean body score over all frames (0 while absent): AnimateAnyone's rule, once for the clip.
            "best score per frame": the same rule frame by frame, as AnimateAnyone has it; one slot whose id changes.
            "leftmost", "rightmost": box center in the first frame with the most people (for others, their first frame).
            "nearest point": distance of `point` from the box, then from its center, in the same frame.
            "mask": share of the person's points (or box) in the mask, in the same frame or, with a mask per frame, over
            all frames; people outside the mask are dropped.
        number: with "id" the track id, otherwise the position in the order, from 0.
        point: (x, y) pixels of the source.
        mask: bool (h, w) of the source's size, or (T, h, w); or the path of a picture, white on the person.
        max_people: the number of people from that position on; None: one.

    The result has no slots if there is no such person. Raises `InputError` for an unknown order, and a point or mask
    that is missing or of the wrong size.
    """
    if by not in ORDERS:
        raise InputError(f"unknown order of people {by!r}: choose one of {', '.join(ORDERS)}")
    if max_people is not None and max_people < 1:
        raise InputError(f"max_people: expected at least 1, got {max_people}")
    if by == "best score per frame":
        return _best_of_each_frame(sequence)
    if by == "nearest point" and point is None:
        raise InputError("choosing by 'nearest point' needs the point: x, y in pixels")
    people = by_track(sequence)
    if by == "id":
        order = _by_id(people, number, max_people or 1)
    else:
        order = _order(people, by, point, mask)[number : number + (max_people or 1)]
    return _slots(people, (slice(None), order))


def _slots(sequence: PoseSequence, index: Any) -> PoseSequence:
    """Some of its slots: `index` of all arrays (T, P, ...)."""
    names = (*_ARRAYS, *sequence.of_points())
    return replace(sequence, **{name: getattr(sequence, name)[index] for name in names})


def _by_id(people: PoseSequence, number: int, count: int) -> np.ndarray:
    ids = people.track_ids.max(axis=0, initial=-1)
    return np.flatnonzero(ids >= number)[:count] if number in ids else np.zeros(0, np.int64)


def _order(
    people: PoseSequence, by: str, point: tuple[float, float] | None, mask: np.ndarray | str | Path | None
) -> np.ndarray:
    """(P',) slots, first choice first; ties by id."""
    if not people.track_ids.size:
        return np.zeros(0, np.int64)
    if by == "mask":
        covered = _in_mask(people, _read_mask(mask, people))
        order = np.argsort(-covered, kind="stable")
        return order[covered[order] > 0]
    keys: dict[str, Callable[[], Sequence[np.ndarray]]] = {
        "largest": lambda: [-_size(people)],
        "best score": lambda: [-_body_scores(people).mean(axis=0)],
        "leftmost": lambda: [_centers(people)[:, 0]],
        "rightmost": lambda: [-_centers(people)[:, 0]],
        "nearest point": lambda: _distances(people, np.asarray(point, np.float64)),
    }
    return np.lexsort(keys[by]()[::-1])


def _size(people: PoseSequence) -> np.ndarray:
    """(P,) median box area in square pixels times the share of frames that show the person."""
    present = people.track_ids >= 0
    areas = np.where(present, box_tools.area(people.boxes[..., :4]), np.nan)
    return np.nanmedian(areas, axis=0) * present.mean(axis=0)


def _body_scores(sequence: PoseSequence) -> np.ndarray:
    """(T, P) mean body score, 0 in empty slots."""
    known = KEYPOINT_SETS.get(sequence.keypoint_set)
    body = list(known.parts["body"]) if known else slice(None)
    return np.where(sequence.track_ids >= 0, sequence.scores[:, :, body].mean(axis=2), 0)


def _key_frames(people: PoseSequence) -> np.ndarray:
    """(P,) the first frame with the most people or, for people absent there, their first frame."""
    present = people.track_ids >= 0
    common = int(present.sum(axis=1).argmax())
    return np.where(present[common], common, present.argmax(axis=0))


def _key_boxes(people: PoseSequence) -> np.ndarray:
    """(P, 4) boxes in those frames."""
    return people.boxes[_key_frames(people), np.arange(people.boxes.shape[1]), :4].astype(np.float64)


def _centers(people: PoseSequence) -> np.ndarray:
    boxes = _key_boxes(people)
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _distances(people: PoseSequence, point: np.ndarray) -> list[np.ndarray]:
    """(P,) pixels from the point to the box (0 inside), and to its center."""
    boxes = _key_boxes(people)
    outside = np.maximum(np.maximum(boxes[:, :2] - point, point - boxes[:, 2:]), 0)
    return [np.linalg.norm(outside, axis=1), np.linalg.norm(_centers(people) - point, axis=1)]


def _read_mask(mask: np.ndarray | str | Path | None, people: PoseSequence) -> np.ndarray:
    """(1 or T, h, w) bool."""
    if mask is None:
        raise InputError("choosing by 'mask' needs the mask: a picture of the source's size, white on the person")
    if isinstance(mask, str | Path):
        mask = read_image(mask, background=BLACK).max(axis=2) > 127
    array = np.asarray(mask) > 0
    array = array[None] if array.ndim == 2 else array
    w, h = people.size
    if array.ndim != 3 or array.shape[1:] != (h, w) or len(array) not in (1, len(people)):
        frames = f"once or for each of {len(people)} frames"
        raise InputError(f"mask: expected the source's size, {w} x {h}, {frames}, got shape {array.shape}")
    return array


def _in_mask(people: PoseSequence, mask: np.ndarray) -> np.ndarray:
    """(P,) share of each person in the mask, 0 to 1."""
    if len(mask) == 1:
        return np.asarray([_covered(people, mask[0], t, slot) for slot, t in enumerate(_key_frames(people))])
    present = people.track_ids.T >= 0
    means = [np.mean([_covered(people, mask[t], t, i) for t in np.flatnonzero(row)]) for i, row in enumerate(present)]
    return np.asarray(means)


def _covered(people: PoseSequence, mask: np.ndarray, t: int | np.integer, slot: int) -> float:
    """Share of one person's points in one frame that lie in the mask; of the box, if no point is seen."""
    h, w = mask.shape
    points = people.keypoints[t, slot]
    points = points[np.isfinite(points).all(axis=1) & (people.scores[t, slot] > 0)]
    if len(points):
        x, y = np.floor(points).astype(np.int64).T
        inside = (x >= 0) & (x < w) & (y >= 0) & (y < h)
        return float(np.mean(inside & mask[np.clip(y, 0, h - 1), np.clip(x, 0, w - 1)]))
    x1, y1, x2, y2 = box_tools.clip(people.boxes[t, slot, :4], people.size).round().astype(np.int64)
    part = mask[y1:y2, x1:x2]
    return float(part.mean()) if part.size else 0.0


def _best_of_each_frame(sequence: PoseSequence) -> PoseSequence:
    """One slot: in each frame the person with the best mean body score."""
    if not sequence.track_ids.shape[1]:
        return sequence
    best = np.where(sequence.track_ids >= 0, _body_scores(sequence), -1).argmax(axis=1)[:, None]
    frames = np.arange(len(sequence))[:, None]
    return _slots(sequence, (frames, best))


def parse_person(text: str) -> dict[str, Any]:
    """The command line's --person as arguments of `select_people`.

    An id (`3` or `id:3`), `largest`, `best` (score over the clip), `best-per-frame`, `leftmost`, `rightmost`, each with
    an optional position (`largest:1` is the second largest), `point:X,Y` or `mask:FILE`. Raises `InputError` otherwise.
    """
    word, _, value = text.strip().partition(":")
    if word.lstrip("-").isdigit() and not value:
        word, value = "id", word
    by = word.replace("-", " ").replace("_", " ").lower()
    by = _SHORT.get(by, by)
    try:
        if by == "mask" and value:
            return {"by": by, "mask": value}
        if by == "nearest point":
            x, y = (float(number) for number in value.split(","))
            return {"by": by, "point": (x, y)}
        if by in ORDERS and by != "mask" and (value or by != "id"):
            return {"by": by, "number": int(value or 0)}
    except ValueError:
        pass
    raise InputError(
        f"person {text!r}: expected an id such as 3, largest, best, best-per-frame, leftmost or rightmost (with a "
        "position: largest:1 is the second largest), point:X,Y or mask:FILE"
    )
