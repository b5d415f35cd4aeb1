"""A pose sequence split into tracks, one per person, and joined again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..poses import OF_POINTS, PoseSequence
from ..times import Clock, clock_of

_ARRAYS = ("keypoints", "scores", "boxes")
_OF_FRAMES = ("times", "clock", "stretch", "present")


@dataclass(frozen=True)
class Track:
    """One person from their first to their last frame: N consecutive frames of the sequence.

    Attributes:
        id: track id.
        start: position of the first frame in the sequence.
        times: (N,) source frame numbers.
        clock, stretch: (N,) time in frames, and the part of the recording between two pauses, see `times.Clock`.
        present: (N,) bool, whether the person was found.
        keypoints: (N, K, 2) source pixels, NaN unseen.
        scores: (N, K) scores, 0 where not present; raw, but at least 1 for points that were placed by hand.
        boxes: (N, 5) x1, y1, x2, y2, score; NaN where not present.
    """

    id: int
    start: int
    times: np.ndarray
    clock: np.ndarray
    stretch: np.ndarray
    present: np.ndarray
    keypoints: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray

    def __len__(self) -> int:
        return len(self.times)

    def sizes(self) -> np.ndarray:
        """(N,) longer side of the box in pixels, at least 1; while absent, of the last box."""
        sides = np.nan_to_num((self.boxes[:, 2:4] - self.boxes[:, :2]).max(axis=1))
        last = np.maximum.accumulate(np.where(self.present, np.arange(len(self)), 0))
        return np.maximum(sides[last], 1)

    def of_points(self, points: slice) -> Track:
        """A slice of its points, as float64."""
        part = replace(self, keypoints=self.keypoints[:, points], scores=self.scores[:, points])
        return part.astype(np.float64)

    def stretches(self) -> list[Track]:
        """Its parts between pauses of the recording, as views; usually one."""
        ends = [*(np.flatnonzero(np.diff(self.stretch)) + 1).tolist(), len(self)]
        return [self._rows(slice(first, end)) for first, end in zip([0, *ends], ends, strict=False)]

    def _rows(self, rows: slice) -> Track:
        arrays = {name: getattr(self, name)[rows] for name in (*_OF_FRAMES, *_ARRAYS)}
        return replace(self, start=self.start + rows.start, **arrays)

    def astype(self, dtype: type) -> Track:
        return replace(self, **{name: getattr(self, name).astype(dtype, copy=False) for name in _ARRAYS})

    def scale(self) -> float:
        """Body size in pixels: median of the longer side of the box, at least 1."""
        sides = (self.boxes[self.present, 2:4] - self.boxes[self.present, :2]).max(axis=1)
        return max(float(np.median(sides)), 1.0) if len(sides) else 1.0


def split_tracks(sequence: PoseSequence) -> list[Track]:
    """The tracks of a sequence sorted by id. Keypoints, scores and boxes are float64 copies."""
    return list(iter_tracks(sequence))


def iter_tracks(sequence: PoseSequence, dtype: type = np.float64) -> Iterator[Track]:
    """The same one at a time, as copies of `dtype`."""
    ids = np.unique(sequence.track_ids)
    clock = clock_of(sequence)
    yield from (_track(sequence, int(track_id), clock, dtype) for track_id in ids[ids >= 0])


def _track(sequence: PoseSequence, track_id: int, clock: Clock, dtype: type) -> Track:
    frames, slots = np.nonzero(sequence.track_ids == track_id)
    start, count = int(frames[0]), int(frames[-1] - frames[0] + 1)
    points = sequence.keypoints.shape[2]
    present = np.zeros(count, bool)
    keypoints: np.ndarray = np.full((count, points, 2), np.nan, dtype)
    scores: np.ndarray = np.zeros((count, points), dtype)
    boxes: np.ndarray = np.full((count, 5), np.nan, dtype)
    rows = frames - start
    present[rows] = True
    keypoints[rows], boxes[rows] = sequence.keypoints[frames, slots], sequence.boxes[frames, slots]
    scores[rows] = sequence.shown_scores((frames, slots))
    span = slice(start, start + count)
    times = sequence.frame_index[span].astype(np.float64)
    return Track(
        track_id, start, times, clock.frames[span], clock.stretch[span], present, keypoints, scores, boxes
    )  # fmt: skip


def join_tracks(sequence: PoseSequence, tracks: Sequence[Track], meta: Mapping[str, Any] | None = None) -> PoseSequence:
    """The sequence with its tracks replaced; in every frame people are in the order of `tracks`.

    Args:
        sequence: provides everything else.
        tracks: of that sequence, possibly changed.
        meta: entries to add.
    """
    counts = np.zeros(len(sequence), np.int64)
    for track in tracks:
        counts[track.start : track.start + len(track)] += track.present
    arrays = _empty_slots(sequence, int(counts.max(initial=0)))
    free = np.zeros(len(sequence), np.int64)
    for track in tracks:
        frames = track.start + np.flatnonzero(track.present)
        for name in _ARRAYS:
            arrays[name][frames, free[frames]] = getattr(track, name)[track.present]
        arrays["track_ids"][frames, free[frames]] = track.id
        free[frames] += 1
    arrays |= _carried(sequence, arrays["track_ids"], arrays["scores"])
    for array in arrays.values():
        array.setflags(write=False)
    return replace(sequence, **arrays, meta={**sequence.meta, **(meta or {})})


def _carried(sequence: PoseSequence, track_ids: np.ndarray, scores: np.ndarray) -> dict[str, Any]:
    """Its optional arrays, for the same people in other slots: (T, P') track ids -> arrays (T, P', K), by name.

    People who are new in a frame have none of it. `scores` (T, P', K) of points placed by hand become raw again.
    """
    if not sequence.of_points():
        return {}
    frames, slots = np.nonzero(track_ids >= 0)
    rows, old = np.nonzero(sequence.track_ids[frames] == track_ids[frames, slots][:, None])
    frames, slots = frames[rows], slots[rows]
    empty = {"distrust": np.nan}
    result = {}
    for name, values in sequence.of_points().items():
        result[name] = np.full((*track_ids.shape, values.shape[2]), empty.get(name, 0), OF_POINTS[name])
        result[name][frames, slots] = values[frames, old]
    if (edited := sequence.edited) is not None:
        by_hand = edited[frames, old]
        scores[frames, slots] = np.where(by_hand, sequence.scores[frames, old], scores[frames, slots])
    return result


def as_given(sequence: PoseSequence, given: PoseSequence, mask: np.ndarray, names: Sequence[str]) -> PoseSequence:
    """The sequence with some points as they are in `given`, in which the same people may have other slots.

    Args:
        mask: (T, P, K) bool: the points in `given`.
        names: arrays (T, P, K, ...) to take from there.
    """
    frames, slots = np.nonzero(mask.any(axis=-1) & (given.track_ids >= 0))
    rows, now = np.nonzero(sequence.track_ids[frames] == given.track_ids[frames, slots][:, None])
    frames, slots = frames[rows], slots[rows]
    places, points = np.nonzero(mask[frames, slots])
    arrays: dict[str, Any] = {name: np.array(getattr(sequence, name)) for name in names}
    for name, values in arrays.items():
        values[frames[places], now[places], points] = getattr(given, name)[frames[places], slots[places], points]
    return replace(sequence, **arrays)


def _empty_slots(sequence: PoseSequence, slots: int) -> dict[str, Any]:
    shape, points = (len(sequence), slots), sequence.keypoints.shape[2]
    return {
        "keypoints": np.full((*shape, points, 2), np.nan, np.float32),
        "scores": np.zeros((*shape, points), np.float32),
        "boxes": np.zeros((*shape, 5), np.float32),
        "track_ids": np.full(shape, -1, np.int32),
    }


def by_track(sequence: PoseSequence) -> PoseSequence:
    """The same people with one slot per id, sorted by id; a slot is empty while its person is absent."""
    ids = np.unique(sequence.track_ids)
    ids = ids[ids >= 0]
    frames, slots = np.nonzero(sequence.track_ids >= 0)
    target = np.searchsorted(ids, sequence.track_ids[frames, slots])
    arrays = _empty_slots(sequence, len(ids))
    for name, values in arrays.items():
        values[frames, target] = getattr(sequence, name)[frames, slots]
    return replace(sequence, **arrays, **_carried(sequence, arrays["track_ids"], arrays["scores"]))


POINTS_AT_ONCE = 24
"""Chunk size of `each_point`."""


def each_track(sequence: PoseSequence, change: Callable[[Track], Track]) -> PoseSequence:
    """Change every track, one at a time to save memory; between pauses of the recording, each part for itself."""

    def whole(track: Track) -> Track:
        return _joined(track, [change(part) for part in track.stretches()]).astype(np.float32)

    return join_tracks(sequence, [whole(track) for track in iter_tracks(sequence, np.float32)])


def _joined(track: Track, parts: Sequence[Track]) -> Track:
    """The track with its `stretches` changed."""
    if len(parts) == 1:
        return parts[0]
    arrays: dict[str, Any] = {
        name: np.concatenate([getattr(part, name) for part in parts]) for name in ("present", *_ARRAYS)
    }
    return replace(track, **arrays)


def each_point(
    sequence: PoseSequence,
    change: Callable[[Track, slice], Track],
    finish: Callable[[Track], Track] = lambda track: track,
    meta: Mapping[str, Any] | None = None,
) -> PoseSequence:
    """Change every track by a function that treats points independently, in chunks of points to save memory.

    Between pauses of the recording, each part is changed for itself. `finish` gets all points of the changed part as
    float32; `meta` is added to the sequence's.
    """

    def whole(track: Track) -> Track:
        keypoints, scores, present = track.keypoints.copy(), track.scores.copy(), track.present.copy()
        for start in range(0, track.scores.shape[1], POINTS_AT_ONCE):
            points = slice(start, start + POINTS_AT_ONCE)
            part = _joined(track, [change(part, points) for part in track.of_points(points).stretches()])
            keypoints[:, points], scores[:, points] = part.keypoints, part.scores
            present |= part.present
        changed = replace(track, keypoints=keypoints, scores=scores, present=present)
        return _joined(track, [finish(part) for part in changed.stretches()]).astype(np.float32)

    return join_tracks(sequence, [whole(track) for track in iter_tracks(sequence, np.float32)], meta)
