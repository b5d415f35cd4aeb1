"""The poses under review: the arrays that edits change, and what an edit changed, so that it can be undone.

Frames are positions in the sequence, people are track ids, points are indices of the keypoint set, coordinates are
pixels of the source picture.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..errors import InputError
from ..poses import PoseSequence

ESTIMATED, FOLLOWS, PLACED, CHANGED = 0, 1, 2, 3
"""Marks of a point: as estimated; moved along with a correction nearby; placed by hand; changed otherwise by hand."""

POINT_ARRAYS = ("keypoints", "scores", "marks", "distrust", "distrust_reasons")
"""Arrays (T, P, K, ...) of the canvas."""
_FRAME_ARRAYS = ("boxes", "track_ids", "checked")


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
        first_keypoints: (T, P, K, 2) what `restore` restores: as opened, or as estimated since.
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
            self._mark_earlier_keyframes(sequence)
        self.first_keypoints = np.array(sequence.keypoints)
        self._change: Change | None = None

    def _mark_earlier_keyframes(self, sequence: PoseSequence) -> None:
        review = sequence.meta.get("review")
        for entry in review.get("placed", ()) if isinstance(review, dict) else ():
            slot = self.find(entry["frame"], entry["id"])
            if slot is not None:
                self.marks[entry["frame"], slot, entry["points"]] = PLACED

    def learn(self, sequence: PoseSequence) -> None:
        """Take over the distrust of the sequence as it was opened, except of points that were edited since."""
        self.opened = sequence
        assert sequence.distrust is not None and sequence.distrust_reasons is not None
        known = slice(0, sequence.scores.shape[1])
        untouched = self.marks[:, known] <= FOLLOWS
        np.copyto(self.distrust[:, known], sequence.distrust, where=untouched)
        np.copyto(self.distrust_reasons[:, known], sequence.distrust_reasons, where=untouched)

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
        return int(max(self.track_ids.max(initial=-1), self.opened.track_ids.max(initial=-1))) + 1

    def free_slot(self, t: int) -> int:
        """An empty slot of a frame; all frames get one more if there is none."""
        empty = np.flatnonzero(self.track_ids[t] < 0)
        if not len(empty):
            self._widen()
            return self.track_ids.shape[1] - 1
        return int(empty[0])

    def _widen(self) -> None:
        fills = {"keypoints": np.nan, "distrust": np.nan, "track_ids": -1, "first_keypoints": np.nan}
        for name in (*POINT_ARRAYS, *_FRAME_ARRAYS, "first_keypoints"):
            values = getattr(self, name)
            column = np.full_like(values[:, :1], fills.get(name, 0)) if values.shape[1] else _column(self, name, fills)
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


def _column(canvas: Canvas, name: str, fills: dict[str, Any]) -> np.ndarray:
    """An empty slot for all frames of a sequence that has none."""
    values = getattr(canvas, name)
    return np.full((len(values), 1, *values.shape[2:]), fills.get(name, 0), values.dtype)
