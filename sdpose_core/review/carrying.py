"""Edits of some poses, applied to other poses of the same frames, as another model or other settings give."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from .. import boxes
from ..errors import InputError
from ..poses import PoseSequence
from .canvas import Canvas, Change
from .operations import apply

SAME_PERSON = 0.5
"""Overlap (intersection over union) of two boxes from which they show the same person."""

SAME_PLACE = 1.0
"""Pixels: points that moved less, on average, were looked at already."""

NOT_THERE = "a person is not there"
NOT_NEEDED = "the new poses do not have this mistake"
LOOKED_AT = "others were found right, not these poses"


@dataclass(frozen=True)
class Carried:
    """Edits for the new poses, in order, and how many were left out for which reason."""

    edits: list[dict[str, Any]]
    left_out: Mapping[str, int]


def same_frames(before: PoseSequence, now: PoseSequence) -> bool:
    """Whether both are of the same frames of a source of the same size, with the same points."""
    same = (before.size, before.keypoint_set) == (now.size, now.keypoint_set)
    return same and np.array_equal(before.frame_index, now.frame_index)


def carry(edits: Sequence[Mapping[str, Any]], before: PoseSequence, now: PoseSequence) -> Carried:
    """The edits of `before` that suit `now`, for the ids that the people have there.

    What was placed by hand stays where it was placed. Exchanges are left out where the new poses are nearer to the
    corrected ones without them, and "found right" where the new poses are elsewhere.

    Raises `InputError` if the edits are not those of `before`, or the frames differ.
    """
    if not same_frames(before, now):
        raise InputError("the poses are of other frames: expected the same number, size and points")
    old, new = Canvas(before), Canvas(now)
    ids = matching_ids(before, now)
    kept, left_out = [], Counter[str]()
    for edit in edits:
        born = old.new_id(), new.new_id()
        done = apply(old, edit)
        renamed = {**edit, **_renamed(edit, ids)}
        if reason := _why_not(old, new, renamed, done, ids):
            left_out[reason] += 1
            continue
        kept.append(renamed)
        if edit["kind"] == "split" or (edit["kind"] == "put" and edit.get("id") is None):
            ids[born[0]] = born[1]
    return Carried(kept, left_out)


def _renamed(edit: Mapping[str, Any], ids: Mapping[int, int]) -> dict[str, Any]:
    """The fields of an edit that name people, with the new ids; -1 for those who are not there."""
    fields: dict[str, Any] = {}
    if edit.get("id") is not None:
        fields["id"] = ids.get(edit["id"], -1)
    if "ids" in edit:
        fields["ids"] = [ids.get(track_id, -1) for track_id in edit["ids"]]
    return fields


def _why_not(old: Canvas, new: Canvas, edit: Mapping[str, Any], done: Change, ids: Mapping[int, int]) -> str | None:
    """Apply the edit to the new poses, or tell why it does not suit them. `old` has it applied already."""
    concerned = {edit.get("id"), *edit.get("ids", ())}
    if -1 in concerned:
        return NOT_THERE
    people = {before: now for before, now in ids.items() if now in concerned}
    if edit["kind"] == "check" and _distance(old, new, people, done) >= SAME_PLACE:
        return LOOKED_AT
    is_exchange = edit["kind"].startswith("exchange")
    without = _distance(old, new, people, done) if is_exchange else 0.0
    try:
        change = apply(new, edit)
    except InputError as error:
        return str(error)
    if is_exchange and _distance(old, new, people, done) >= without:
        new.revert(change)
        return NOT_NEEDED
    return None


def _distance(old: Canvas, new: Canvas, people: Mapping[int, int], done: Change) -> float:
    """Pixels between the points of people (old id -> new id) in the frames of a change, on average; inf without any."""
    first, last = done.frames or (0, -1)
    found = [np.zeros(0)]
    for before, now in people.items():
        frames, slots = old.places(first, last, before)
        rows = dict(zip(*(found.tolist() for found in new.places(first, last, now)), strict=True))
        shared = [(t, slot, rows[t]) for t, slot in zip(frames.tolist(), slots.tolist(), strict=True) if t in rows]
        if shared:
            t, i, j = np.asarray(shared).T
            found.append(np.linalg.norm(old.keypoints[t, i] - new.keypoints[t, j], axis=-1).ravel())
    distances = np.concatenate(found)
    distances = distances[np.isfinite(distances)]
    return float(distances.mean()) if len(distances) else float("inf")


def matching_ids(before: PoseSequence, now: PoseSequence) -> dict[int, int]:
    """The id in `now` of each person of `before`: the one whose box is the same in most frames. Not all have one."""
    from scipy.optimize import linear_sum_assignment

    counts = Counter(pair for t in range(len(before)) for pair in _same_boxes(before, now, t))
    if not counts:
        return {}
    old, new = (sorted({pair[side] for pair in counts}) for side in (0, 1))
    table = np.asarray([[counts[a, b] for b in new] for a in old])
    rows, columns = linear_sum_assignment(table, maximize=True)
    return {old[i]: new[j] for i, j in zip(rows, columns, strict=True) if table[i, j]}


def _same_boxes(before: PoseSequence, now: PoseSequence, t: int) -> Iterator[tuple[int, int]]:
    """(old id, new id) of the people of frame `t` whose boxes overlap."""
    old, new = before.track_ids[t] >= 0, now.track_ids[t] >= 0
    overlaps = boxes.iou(before.boxes[t, old, :4], now.boxes[t, new, :4])
    for i, j in np.argwhere(overlaps >= SAME_PERSON).tolist():
        yield int(before.track_ids[t, old][i]), int(now.track_ids[t, new][j])
