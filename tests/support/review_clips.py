"""Small pose sequences for tests of the review."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np

from sdpose_core.poses import PoseSequence
from sdpose_core.sequences.distrust import REASONS

FIRST, SECOND = 4, 9
"""Ids of `two_people`."""


def two_people(frames: int = 40, points: int = 17, keypoint_set: str = "coco_17") -> PoseSequence:
    """Two people who walk; ids 4 and 9, whose slots are exchanged every third frame; point 3 of id 9 is never seen."""
    rng = np.random.default_rng(5)
    shape = rng.uniform(0, 60, (2, points, 2)) + [[[20, 30]], [[150, 40]]]
    steps = np.arange(frames)[:, None, None, None] * np.array([1.0, 0.5])
    keypoints = shape[None] + steps
    keypoints[:, 1, 3] = np.nan
    ids = np.tile([4, 9], (frames, 1))
    scores = rng.uniform(0.4, 0.9, (frames, 2, points))
    swapped = np.arange(frames) % 3 == 1
    for values in (keypoints, scores, ids):
        values[swapped] = values[swapped, ::-1]
    low, high = np.nanmin(keypoints, axis=2), np.nanmax(keypoints, axis=2)
    boxes = np.concatenate([low - 5, high + 5, np.full((frames, 2, 1), 0.8)], axis=-1)
    return PoseSequence(
        keypoints, scores, boxes, ids, np.arange(frames), np.arange(frames) / 25, (320, 240), Fraction(25),
        keypoint_set, {"source": "clip.mp4", "model": "a test"},
    )  # fmt: skip


def of_person(sequence: PoseSequence, track_id: int, name: str = "keypoints") -> np.ndarray:
    """(T, ...) values of one person; NaN (or 0) where absent."""
    values = getattr(sequence, name)
    frames, slots = np.nonzero(sequence.track_ids == track_id)
    result = np.full((len(sequence), *values.shape[2:]), np.nan if values.dtype.kind == "f" else 0, values.dtype)
    result[frames] = values[frames, slots]
    return result


def without_optional(sequence: PoseSequence) -> PoseSequence:
    """The sequence without distrust and edits."""
    return replace(sequence, distrust=None, distrust_reasons=None, edited=None)


def doubted(sequence: PoseSequence, doubts: dict[tuple[int, int], float], points: Any, reason: str) -> PoseSequence:
    """The sequence with {(frame, id): distrust} in `points`, and little elsewhere."""
    distrust, reasons = np.full(sequence.scores.shape, 0.05), np.zeros(sequence.scores.shape, np.uint16)
    for (t, track_id), value in doubts.items():
        slot = sequence.track_ids[t].tolist().index(track_id)
        distrust[t, slot, points], reasons[t, slot, points] = value, 1 << REASONS.index(reason)
    return replace(sequence, distrust=distrust, distrust_reasons=reasons)


def crowd(count: int) -> PoseSequence:
    """`two_people` with more of them."""
    two = two_people()
    copies = (count + 1) // 2
    shifted = [two.keypoints + np.array([7.0 * i, 5.0 * i]) for i in range(copies)]
    return replace(
        two, keypoints=np.concatenate(shifted, 1)[:, :count], scores=np.tile(two.scores, (1, copies, 1))[:, :count],
        boxes=np.tile(two.boxes, (1, copies, 1))[:, :count], track_ids=np.tile(np.arange(count), (len(two), 1)),
    )  # fmt: skip
