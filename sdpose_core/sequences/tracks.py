"""A pose sequence split into tracks, one per person, and joined again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ..poses import PoseSequence

_ARRAYS = ("keypoints", "scores", "boxes")


@dataclass(frozen=True)
class Track:
    """One person from their first to their last frame: N consecutive frames of the sequence.

    Attributes:
        id: track id.
        start: position of the first frame in the sequence.
        times: (N,) source frame numbers.
        present: (N,) bool, whether the person was found.
        keypoints: (N, K, 2) source pixels, NaN unseen.
        scores: (N, K) raw scores, 0 where not present.
        boxes: (N, 5) x1, y1, x2, y2, score; NaN where not present.
    """

    id: int
    start: int
    times: np.ndarray
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
    yield from (_track(sequence, int(track_id), dtype) for track_id in ids[ids >= 0])


def _track(sequence: PoseSequence, track_id: int, dtype: type) -> Track:
    frames, slots = np.nonzero(sequence.track_ids == track_id)
    start, count = int(frames[0]), int(frames[-1] - frames[0] + 1)
    points = sequence.keypoints.shape[2]
    present = np.zeros(count, bool)
    keypoints: np.ndarray = np.full((count, points, 2), np.nan, dtype)
    scores: np.ndarray = np.zeros((count, points), dtype)
    boxes: np.ndarray = np.full((count, 5), np.nan, dtype)
    rows = frames - start
    present[rows] = True
    keypoints[rows], scores[rows], boxes[rows] = (
        values[frames, slots] for values in (sequence.keypoints, sequence.scores, sequence.boxes)
    )
    times = sequence.frame_index[start : start + count].astype(np.float64)
    return Track(track_id, start, times, present, keypoints, scores, boxes)


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
    for array in arrays.values():
        array.setflags(write=False)
    return replace(sequence, **arrays, meta={**sequence.meta, **(meta or {})})


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
    return replace(sequence, **arrays)


POINTS_AT_ONCE = 24
"""Chunk size of `each_point`."""


def each_track(sequence: PoseSequence, change: Callable[[Track], Track]) -> PoseSequence:
    """Change every track, one at a time to save memory."""
    return join_tracks(sequence, [change(track).astype(np.float32) for track in iter_tracks(sequence, np.float32)])


def each_point(
    sequence: PoseSequence,
    change: Callable[[Track, slice], Track],
    finish: Callable[[Track], Track] = lambda track: track,
    meta: Mapping[str, Any] | None = None,
) -> PoseSequence:
    """Change every track by a function that treats points independently, in chunks of points to save memory.

    `finish` gets the complete changed track as float32; `meta` is added to the sequence's.
    """

    def whole(track: Track) -> Track:
        keypoints, scores, present = track.keypoints.copy(), track.scores.copy(), track.present.copy()
        for start in range(0, track.scores.shape[1], POINTS_AT_ONCE):
            points = slice(start, start + POINTS_AT_ONCE)
            part = change(track.of_points(points), points)
            keypoints[:, points], scores[:, points] = part.keypoints, part.scores
            present |= part.present
        return finish(replace(track, keypoints=keypoints, scores=scores, present=present)).astype(np.float32)

    return join_tracks(sequence, [whole(track) for track in iter_tracks(sequence, np.float32)], meta)
