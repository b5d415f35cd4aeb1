"""The poses under review: the arrays that edits change, and what an edit changed, so that it can be undone.

Frames are positions in the sequence, people are track ids, points are indices of the keypoint set, coordinates are
pixels of the source picture.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..pose_values import check_people
from ..poses import PoseSequence
from ..stated import list_in, mapping_in

ESTIMATED, FOLLOWS, PLACED, CHANGED = 0, 1, 2, 3
"""Marks of a point: as estimated; moved along with a correction nearby; placed by hand; changed otherwise by hand."""

SEEN = 0.3
"""Score from which a point is shown, unless the cleaning has decided."""

POINT_ARRAYS = ("keypoints", "scores", "marks", "distrust", "distrust_reasons")
"""Arrays (T, P, K, ...) of the canvas."""
FIRST_ARRAYS = (*(f"first_{name}" for name in POINT_ARRAYS), "first_boxes")
_FRAME_ARRAYS = ("boxes", "track_ids", "checked")
_FILLS = {"keypoints": np.nan, "distrust": np.nan, "track_ids": -1}
"""What an empty slot holds, if not 0."""


@dataclass
class Change:
    """What one edit changed.

    Attributes:
        pieces: (array, index, values before).
        frames: the first and the last frame that it touched; None: none yet.
    """

    pieces: list[tuple[str, Any, np.ndarray]] = field(default_factory=list)
    frames: tuple[int, int] | None = None

    @property
    def bytes(self) -> int:
        """Memory of the values."""
        return sum(values.nbytes for _, _, values in self.pieces)


class Canvas:
    """A sequence whose poses can be changed.

    Attributes:
        opened: the sequence as it was opened.
        keypoints, scores, distrust, distrust_reasons, boxes, track_ids: as in `PoseSequence`.
        marks: (T, P, K) uint8, see `PLACED`.
        checked: (T, P) bool, looked at and found right.
        first_keypoints and so on: of each of `POINT_ARRAYS`, what `restore` restores: as opened, or as estimated since.
        first_boxes: the same of the boxes, which grow by the points that are placed outside.
    """

    def __init__(self, sequence: PoseSequence) -> None:
        self.opened = sequence
        shape = sequence.scores.shape
        self.keypoints = np.array(sequence.keypoints)
        self.scores = np.array(sequence.scores)
        self.boxes = np.array(sequence.boxes)
        self.track_ids = np.array(sequence.track_ids)
        self.marks = np.zeros(shape, np.uint8)
        self.checked = np.zeros(shape[:2], bool)
        self.distrust = _copy(sequence.distrust, shape, np.nan, np.float32)
        self.distrust_reasons = _copy(sequence.distrust_reasons, shape, 0, np.uint16)
        if sequence.edited is not None:
            self.marks[sequence.edited] = CHANGED
            self._take_over(mapping_in(sequence.meta, "review"), sequence.edited)
        for name in POINT_ARRAYS:
            first = np.array(self.marks) if name == "marks" else getattr(sequence, name)
            if first is None:
                first = np.broadcast_to(np.asarray(_FILLS.get(name, 0), getattr(self, name).dtype), shape)
            first.setflags(write=False)
            setattr(self, f"first_{name}", first)
        self.first_boxes = sequence.boxes
        self._change: Change | None = None

    def _take_over(self, review: Mapping[str, Any], edited: np.ndarray) -> None:
        """What an earlier review placed and checked; entries that do not fit these poses are passed over."""
        for entry in list_in(review, "placed", Mapping):
            slot, points = self._known(entry.get("frame"), entry.get("id")), entry.get("points")
            if slot is not None and isinstance(points, list):
                known = [point for point in points if type(point) is int and 0 <= point < self.point_count]
                at = (entry["frame"], slot, known)
                self.marks[at] = np.where(edited[at], PLACED, self.marks[at])
        for pair in list_in(review, "checked", list):
            if len(pair) == 2 and (slot := self._known(*pair)) is not None:
                self.checked[pair[0], slot] = True

    def _known(self, t: Any, track_id: Any) -> int | None:
        """The slot of a person, if they are there, whatever is given."""
        whole = type(t) is int and type(track_id) is int and track_id >= 0
        return self.find(t, track_id) if whole and 0 <= t < len(self) else None

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def point_count(self) -> int:
        """K."""
        return self.keypoints.shape[2]

    # --- people -----------------------------------------------------------------------------------------------------

    def find(self, t: int, track_id: int) -> int | None:
        """The slot of a person in a frame; None if they are not in it."""
        slots = np.flatnonzero(self.track_ids[t] == track_id)
        return int(slots[0]) if len(slots) else None

    def slot(self, t: int, track_id: int) -> int:
        """The same. Raises `InputError` if they are not in the frame."""
        found = self.find(t, track_id)
        if found is None:
            there = ", ".join(map(str, sorted(self.track_ids[t][self.track_ids[t] >= 0].tolist())))
            raise InputError(f"person {track_id} is not in frame {t}: it has {there or 'nobody'}")
        return found

    def places(self, start: int, end: int, track_id: int) -> tuple[np.ndarray, np.ndarray]:
        """(N,) frames from `start` to `end`, both included, that show a person, and their (N,) slots."""
        frames, slots = np.nonzero(self.track_ids[start : end + 1] == track_id)
        return frames + start, slots

    def new_id(self) -> int:
        """An id that nobody has had."""
        highest = int(max(self.track_ids.max(initial=-1), self.opened.track_ids.max(initial=-1)))
        if highest == np.iinfo(np.int32).max:
            raise InputError(f"there is no id above {highest}: join two people first")
        return highest + 1

    def free_slot(self, t: int) -> int:
        """An empty slot of a frame; all frames get one more if there is none."""
        empty = np.flatnonzero(self.track_ids[t] < 0)
        check_people(self.track_ids.shape[1] - len(empty) + 1, f"frame {t}")
        if not len(empty):
            self._widen()
            return self.track_ids.shape[1] - 1
        return int(empty[0])

    def _widen(self) -> None:
        for name in (*POINT_ARRAYS, *_FRAME_ARRAYS, *FIRST_ARRAYS):
            values = getattr(self, name)
            fill = _FILLS.get(name.removeprefix("first_"), 0)
            column = np.full((len(values), 1, *values.shape[2:]), fill, values.dtype)
            setattr(self, name, np.concatenate([values, column], axis=1))

    # --- changes ----------------------------------------------------------------------------------------------------

    def begin(self) -> Change:
        """Record what `put` changes from here on."""
        self._change = Change()
        return self._change

    def put(self, name: str, index: Any, values: Any) -> None:
        """Set `getattr(self, name)[index]`; the first entry of the index is one or several frames."""
        assert self._change is not None
        array = getattr(self, name)
        if not array.flags.writeable:  # shared with the sequence that was opened
            array = np.array(array)
            setattr(self, name, array)
        self._change.pieces.append((name, index, np.array(array[index])))
        array[index] = values
        frames = np.atleast_1d(np.asarray(index[0]))
        if frames.size:
            low, high = self._change.frames or (len(self), -1)
            self._change.frames = (min(low, int(frames.min())), max(high, int(frames.max())))

    def revert(self, change: Change) -> None:
        """Put back what a change changed."""
        for name, index, values in reversed(change.pieces):
            getattr(self, name)[index] = values

    def result(self) -> PoseSequence:
        """The poses as they are now, empty slots blank, with what was edited."""
        empty = self.track_ids < 0
        used = ~empty.all(axis=0)
        blank = {"keypoints": np.nan, "distrust": np.nan}
        arrays: dict[str, Any] = {"track_ids": self.track_ids[:, used]}
        for name in ("keypoints", "scores", "distrust", "distrust_reasons", "boxes"):
            values = getattr(self, name)[:, used]
            values[empty[:, used]] = blank.get(name, 0)
            arrays[name] = values
        edited = (self.marks[:, used] > 0) & ~empty[:, used, None]
        if np.isnan(arrays["distrust"]).all():
            arrays["distrust"] = arrays["distrust_reasons"] = None
        return replace(self.opened, **arrays, edited=edited)

    def placed(self) -> list[dict[str, Any]]:
        """What was placed by hand: [{"frame", "id", "points"}]."""
        frames, slots = np.nonzero((self.marks == PLACED).any(axis=-1) & (self.track_ids >= 0))
        return [
            {
                "frame": int(t),
                "id": int(self.track_ids[t, slot]),
                "points": np.flatnonzero(self.marks[t, slot] == PLACED).tolist(),
            }
            for t, slot in zip(frames, slots, strict=True)
        ]


def _copy(values: np.ndarray | None, shape: tuple[int, ...], empty: float, dtype: type) -> np.ndarray:
    return np.full(shape, empty, dtype) if values is None else np.array(values)
