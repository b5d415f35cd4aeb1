"""BOUNDING_BOX, in every shape that common nodes produce, to boxes per frame, and back."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ...sdpose_core.annotate.images import FramePeople
from ...sdpose_core.coco.categories import OBJECTS
from ...sdpose_core.coco.values import read_id
from ...sdpose_core.errors import InputError, counted

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class FrameBoxes:
    """Boxes of each frame, in the form the library uses.

    Attributes:
        people: per frame the (N, 5) boxes and the N track IDs, or None if a box has none.
        notes: warnings for the info text.
    """

    people: list[FramePeople]
    notes: list[str] = field(default_factory=list)


def boxes_from_socket(value: Any, frames: int) -> FrameBoxes:
    """BOUNDING_BOX in any of the shapes that nodes produce -> boxes of each of `frames` frames.

    One dict, or a flat list of dicts, applies to every frame; so does a list of a single list, with a note. An empty
    list means nobody. Boxes labeled as one of COCO's objects are ignored, with a note.

    Raises `InputError` if the number of lists is not the number of frames, or if a box is not valid.
    """
    lists, notes = _per_frame(value, frames)
    people: list[FramePeople] = []
    dropped: dict[str, int] = {}
    without_ids = 0
    for number, entries in enumerate(lists):
        kept = []
        for entry in entries:
            label = str(entry.get("label", "")).strip().casefold() if isinstance(entry, Mapping) else ""
            if label in OBJECTS:
                dropped[label] = dropped.get(label, 0) + 1
            else:
                kept.append(entry)
        rows = [_box_row(entry, number) for entry in kept]
        people.append(FramePeople(np.asarray(rows, np.float32).reshape(-1, 5), _track_ids(kept)))
        without_ids += people[-1].track_ids is None and any(entry.get("track_id") is not None for entry in kept)
    if without_ids:
        where = counted(without_ids, "frame")
        notes.append(f"track IDs ignored in {where}: expected a different number for each box")
    if dropped:
        left_out = ", ".join(f"{count} x {label}" for label, count in sorted(dropped.items()))
        notes.append(f"ignored boxes that are not people: {left_out}")
    for note in notes:
        log.info("%s", note)
    return FrameBoxes(people, notes)


def _per_frame(value: Any, frames: int) -> tuple[list[list[Any]], list[str]]:
    if isinstance(value, Mapping):
        return [[value]] * frames, []
    if not isinstance(value, (list, tuple)):
        raise InputError(f"boxes: expected a BOUNDING_BOX (a dict, or lists of dicts), got {type(value).__name__}")
    if not value:
        return [[]] * frames, []
    if all(isinstance(entry, Mapping) for entry in value):
        return [list(value)] * frames, []
    if not all(isinstance(entry, (list, tuple)) for entry in value):
        raise InputError("boxes: expected a list of boxes, or one list of boxes per frame, got a mixture of both")
    if len(value) == frames:
        return [list(entry) for entry in value], []
    if len(value) == 1:
        return [list(value[0])] * frames, [f"got one list of boxes: used for all {frames} frames"]
    raise InputError(
        f"boxes has {counted(len(value), 'frame')}, image has {counted(frames, 'frame')}: connect boxes of the same "
        "frames"
    )


def _box_row(entry: Any, frame: int) -> list[float]:
    """One BOUNDING_BOX entry -> x1, y1, x2, y2, score."""
    try:
        x, y, w, h = (float(entry[key]) for key in ("x", "y", "width", "height"))
        score = entry.get("score")
        return [x, y, x + w, y + h, 1.0 if score is None else float(score)]
    except (KeyError, TypeError, ValueError, AttributeError):
        raise InputError(
            f"boxes, frame {frame}: expected numbers x, y, width, height, got {entry!r:.80}; "
            "for other kinds of boxes use the node 'Boxes From ...'"
        ) from None


def _track_ids(entries: Sequence[Mapping[str, Any]]) -> list[int] | None:
    """The track IDs, if every box has a different one. -1, a name or a duplicate does not count."""
    ids = [_track_id(entry.get("track_id")) for entry in entries]
    known = [track for track in ids if track is not None]
    return known if ids and len(set(known)) == len(ids) else None


def _track_id(value: Any) -> int | None:
    """A track ID as number, float or text of digits; None for anything else."""
    try:
        track = read_id(value)
    except ValueError:
        return None
    return track if isinstance(track, int) and 0 <= track < 2**31 else None


def boxes_to_socket(
    boxes: Sequence[np.ndarray], track_ids: Sequence[Sequence[int] | None] | None = None
) -> list[list[dict[str, Any]]]:
    """Per frame (N, 5) x1, y1, x2, y2, score -> BOUNDING_BOX like ComfyUI's detector, plus `track_id` if known."""
    ids = track_ids or [None] * len(boxes)
    return [_entries(rows, own) for rows, own in zip(boxes, ids, strict=True)]


def _entries(rows: np.ndarray, ids: Sequence[int] | None) -> list[dict[str, Any]]:
    entries = []
    for index, (x1, y1, x2, y2, score) in enumerate(np.asarray(rows, np.float64).tolist()):
        entry = {"x": x1, "y": y1, "width": x2 - x1, "height": y2 - y1, "label": "person", "score": score}
        entries.append(entry if ids is None else entry | {"track_id": int(ids[index])})
    return entries
