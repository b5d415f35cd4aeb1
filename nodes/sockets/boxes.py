"""BOUNDING_BOX, in every shape that common nodes produce, to boxes per frame, and back."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ...sdpose_core.annotate.images import FramePeople
from ...sdpose_core.coco.categories import OBJECTS
from ...sdpose_core.coco.people import are_shares
from ...sdpose_core.coco.values import read_id
from ...sdpose_core.errors import InputError, counted
from ...sdpose_core.pose_values import MAX_COORDINATE, check_people

log = logging.getLogger(__name__)

OTHER_KINDS = "; for other kinds of boxes use the node 'Boxes From ...'"


@dataclass(frozen=True)
class FrameBoxes:
    """Boxes of each frame, in the form the library uses.

    Attributes:
        people: per frame the (N, 5) boxes and the N track IDs, or None if a box has none.
        notes: warnings for the info text.
    """

    people: list[FramePeople]
    notes: list[str] = field(default_factory=list)


def boxes_from_socket(value: Any, frames: int, size: tuple[int, int], hint: str = OTHER_KINDS) -> FrameBoxes:
    """BOUNDING_BOX in any of the shapes that nodes produce -> boxes of each of `frames` frames.

    One dict, or a flat list of dicts, applies to every frame; so does a list of a single list, with a note. An empty
    list means nobody. Boxes labeled as one of COCO's objects are ignored, with a note. Boxes that are all from 0 to 1
    are scaled to the images, of `size` (w, h), with a note.

    Raises `InputError` if the number of lists is not the number of frames, or if a box is not valid.
    """
    lists, notes = _per_frame(value, frames)
    people: list[FramePeople] = []
    labels: Counter[str] = Counter()
    without_ids = 0
    for number, entries in enumerate(lists):
        found = [object_label(entry.get("label")) if isinstance(entry, Mapping) else None for entry in entries]
        labels.update(filter(None, found))
        kept = [entry for entry, label in zip(entries, found, strict=True) if label is None]
        rows = [_box_row(entry, number, hint) for entry in kept]
        people.append(FramePeople(box_array(rows, f"boxes, frame {number}"), _track_ids(kept)))
        without_ids += people[-1].track_ids is None and any(entry.get("track_id") is not None for entry in kept)
    if without_ids:
        where = counted(without_ids, "frame")
        notes.append(f"track IDs ignored in {where}: expected a different number for each box")
    people, scaled = in_pixels(people, size)
    notes += objects_ignored(labels) + scaled
    for note in notes:
        log.info("%s", note)
    return FrameBoxes(people, notes)


def object_label(label: Any) -> str | None:
    """The label of a box if it is one of COCO's objects, which detectors return too; None for anything else."""
    plain = str(label).strip().casefold()
    return plain if plain in OBJECTS else None


def objects_ignored(labels: Counter[str]) -> list[str]:
    """A note on the boxes with these labels of objects, if there are any."""
    ignored = ", ".join(f"{count} x {label}" for label, count in sorted(labels.items()))
    return [f"ignored boxes that are not people: {ignored}"] if ignored else []


def box_array(rows: Sequence[Any], what: str) -> np.ndarray:
    """Rows of x1, y1, x2, y2, score -> (N, 5) float32.

    Coordinates beyond `MAX_COORDINATE` become infinite: such boxes are left out later, with a note. Raises
    `InputError`, which begins with `what`, for other rows, scores that are not finite, and more than `MAX_PEOPLE`.
    """
    check_people(len(rows), what)
    try:
        boxes = np.array(rows, np.float64).reshape(len(rows), 5)
    except (TypeError, ValueError, OverflowError):
        raise InputError(f"{what}: expected boxes of four numbers (and a score), got {rows!r:.80}") from None
    if (odd := ~(np.abs(boxes[:, 4]) <= MAX_COORDINATE)).any():
        raise InputError(f"{what}: expected a finite number as score, got {boxes[odd, 4][0]:g}")
    return np.where(np.abs(boxes) > MAX_COORDINATE, np.inf, boxes).astype(np.float32)


def in_pixels(people: list[FramePeople], size: tuple[int, int]) -> tuple[list[FramePeople], list[str]]:
    """Boxes that are all from 0 to 1, scaled to images of `size` (w, h), with a note; others as they are."""
    if not are_shares(np.concatenate([frame.boxes[:, :4] for frame in people])):
        return people, []
    scale = np.asarray([*size, *size, 1], np.float32)
    scaled = [replace(frame, boxes=frame.boxes * scale) for frame in people]
    return scaled, ["boxes from 0 to 1: taken as shares of the width and height of the image"]


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


def _box_row(entry: Any, frame: int, hint: str) -> list[float]:
    """One BOUNDING_BOX entry -> x1, y1, x2, y2, score."""
    try:
        x, y, w, h = (float(entry[key]) for key in ("x", "y", "width", "height"))
        score = entry.get("score")
        return [x, y, x + w, y + h, 1.0 if score is None else float(score)]
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise InputError(
            f"boxes, frame {frame}: expected numbers x, y, width, height, got {entry!r:.80}{hint}"
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
