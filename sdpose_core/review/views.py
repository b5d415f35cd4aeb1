"""What the page shows of a review, as JSON: frames, the timeline, what to check next."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..errors import InputError
from ..sequences.cleaning import drawing_threshold
from ..sequences.distrust import REASONS
from ..sequences.doubts import Doubt, person_distrust, worst_people
from .canvas import PLACED, SEEN, Canvas

MAX_FRAMES = 256
"""In one answer."""
MAX_BINS = 32_768
MAX_CELLS = 1 << 20
"""Bins of all people together; fewer for crowds."""


def clip_view(session: Any) -> dict[str, Any]:
    """What the page has to know before it shows anything."""
    canvas, opened = session.canvas, session.canvas.opened
    points = opened.skeleton
    return {
        "name": session.name,
        "source": str(opened.meta.get("source") or ""),
        "model": str(opened.meta.get("model") or ""),
        "size": list(opened.size),
        "sizes": None if session.sizes is None else [list(size) for size in session.sizes],
        "frames": len(canvas),
        "frame_rate": None if opened.frame_rate is None else float(opened.frame_rate),
        "frame_numbers": [int(opened.frame_index[0]), int(opened.frame_index[-1])],
        "names": opened.meta.get("frame_names"),
        "pictures": session.pictures is not None,
        "points": {
            "names": list(points.names),
            "links": [list(link) for link in points.links],
            "flip_pairs": [list(pair) for pair in points.flip_pairs],
            "parts": {part: list(indices) for part, indices in points.parts.items()},
        },
        "reasons": list(REASONS),
        "threshold": drawing_threshold(opened.meta, SEEN),
        "can_estimate": session.estimate is not None and session.pictures is not None,
        "can_save": session.store is not None,
        "in_comfy": session.store is None,
        "save_name": "" if session.store is None else session.store.default_name,
        "notes": list(session.notes),
        **session.state(),
    }


def people_of(canvas: Canvas) -> list[dict[str, Any]]:
    """[{id, first, last, frames}] of everybody, by id."""
    frames, slots = np.nonzero(canvas.track_ids >= 0)
    ids = canvas.track_ids[frames, slots]
    order = np.lexsort((frames, ids))
    found, starts, counts = np.unique(ids[order], return_index=True, return_counts=True)
    ordered = frames[order]
    return [
        {"id": int(i), "first": int(ordered[start]), "last": int(ordered[start + count - 1]), "frames": int(count)}
        for i, start, count in zip(found, starts, counts, strict=True)
    ]


def frames_view(canvas: Canvas, start: int, end: int) -> list[dict[str, Any]]:
    """The frames from `start` to before `end`, at most `MAX_FRAMES`. Raises `InputError` for others."""
    if not 0 <= start < end <= len(canvas) or end - start > MAX_FRAMES:
        raise InputError(f"frames {start} to {end}: expected at most {MAX_FRAMES} of 0 to {len(canvas)}")
    return [_frame(canvas, t) for t in range(start, end)]


def _frame(canvas: Canvas, t: int) -> dict[str, Any]:
    people = []
    for slot in np.flatnonzero(canvas.track_ids[t] >= 0).tolist():
        people.append(
            {
                "id": int(canvas.track_ids[t, slot]),
                "box": canvas.boxes[t, slot, :4].round(1).tolist(),
                "checked": bool(canvas.checked[t, slot]),
                "points": _points(canvas, t, slot),
            }
        )
    return {"t": t, "people": sorted(people, key=lambda person: person["id"])}


def _points(canvas: Canvas, t: int, slot: int) -> list[Any]:
    """[x, y, score, distrust, reasons, mark] of each point; None where it is absent."""
    places = canvas.keypoints[t, slot].astype(np.float64).round(3).tolist()
    values = zip(
        places, canvas.scores[t, slot].astype(np.float64).round(3).tolist(),
        canvas.distrust[t, slot].astype(np.float64).round(3).tolist(), canvas.distrust_reasons[t, slot].tolist(),
        canvas.marks[t, slot].tolist(), strict=True,
    )  # fmt: skip
    return [
        None if x != x or y != y else [x, y, score, None if distrust != distrust else distrust, reasons, mark]
        for (x, y), score, distrust, reasons, mark in values
    ]


def timeline_view(canvas: Canvas, bins: int) -> list[dict[str, Any]]:
    """For each person, the largest distrust, the strongest mark and whether all is checked, in `bins` parts of it.

    Raises `InputError` for another number of bins.
    """
    if not 1 <= bins <= MAX_BINS:
        raise InputError(f"bins: expected 1 to {MAX_BINS}, got {bins}")
    frames, slots = np.nonzero(canvas.track_ids >= 0)
    ids = canvas.track_ids[frames, slots]
    found, rows = np.unique(ids, return_inverse=True)
    bins = min(bins, len(canvas), max(MAX_CELLS // max(len(found), 1), 1024))
    columns = frames * bins // len(canvas)
    distrust = np.full((len(found), bins), -1.0, np.float32)
    edited, checked = np.zeros((len(found), bins), np.uint8), np.ones((len(found), bins), bool)
    present = np.zeros((len(found), bins), bool)
    values = person_distrust(canvas.distrust[frames, slots], canvas.opened.keypoint_set)
    marks = canvas.marks[frames, slots].max(axis=-1, initial=0)
    np.maximum.at(distrust, (rows, columns), np.nan_to_num(values, nan=0))
    np.maximum.at(edited, (rows, columns), np.where(marks == PLACED, 2, marks > 0).astype(np.uint8))
    np.logical_and.at(checked, (rows, columns), canvas.checked[frames, slots])
    present[rows, columns] = True
    return [
        {
            "id": int(track_id),
            "distrust": [None if value < 0 else value for value in distrust[row].astype(float).round(2).tolist()],
            "edited": edited[row].tolist(),
            "checked": (checked[row] & present[row]).astype(int).tolist(),
        }
        for row, track_id in enumerate(found)
    ]


def worst_view(canvas: Canvas, count: int) -> dict[str, Any]:
    """What to check next: doubtful people in frames not checked, worst first, one per person and second.

    The worst of a second stands for the others: once it was found right, they are not suggested either.
    """
    opened = canvas.opened
    found = worst_people(
        canvas.distrust, canvas.distrust_reasons, canvas.track_ids, opened.keypoint_set, opened.frame_rate,
        canvas.checked,
    )  # fmt: skip
    return {"total": len(found), "items": [_item(doubt) for doubt in found[: max(count, 0)]]}


def _item(doubt: Doubt) -> dict[str, Any]:
    return {
        "t": doubt.t,
        "id": doubt.id,
        "distrust": round(doubt.distrust, 3),
        "points": list(doubt.points[:20]),
        "reasons": list(doubt.reasons),
    }
