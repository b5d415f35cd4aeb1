"""Correction of short left/right swaps."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..poses import PoseSequence
from ..skeletons import KEYPOINT_SETS, KeypointSet
from .tracks import Track, as_given, each_track

FLIP_COST = 0.05
"""Motion that a swap must save per frame, as a share of the body size."""


def repair_flips(sequence: PoseSequence, frames: int = 8) -> PoseSequence:
    """Correct swaps of left and right that last at most `frames` frames.

    Separately for arms (with hands), legs (with feet) and head, the Viterbi algorithm finds the sequence of swaps with
    the least motion, at a cost of `FLIP_COST` per swapped frame. Longer runs are taken as turns of the person; a pause
    of the recording ends a run. Scores move with their points. Limbs with a point that was edited by hand stay as they
    are in that frame. Keypoint sets without left and right are returned unchanged.
    """
    known = KEYPOINT_SETS.get(sequence.keypoint_set)
    groups = flip_groups(sequence.keypoint_set) if known else []

    def change(track: Track) -> Track:
        keypoints, scores = track.keypoints, track.scores  # copies already
        for pairs in groups:
            left, right = pairs.T
            first, second = (keypoints[:, side].astype(np.float64) for side in (left, right))
            flipped = _flipped(first, second, track.scale(), frames)
            at = np.flatnonzero(flipped)[:, None]
            keypoints[at, left], keypoints[at, right] = keypoints[at, right], keypoints[at, left]
            scores[at, left], scores[at, right] = scores[at, right], scores[at, left]
        return replace(track, keypoints=keypoints, scores=scores)

    if not groups:
        return sequence
    result = each_track(sequence, change)
    if (edited := sequence.edited) is None:
        return result
    decided = np.zeros_like(edited)
    for points in (pairs.ravel() for pairs in groups):
        decided[..., points] = edited[..., points].any(axis=-1, keepdims=True)
    return as_given(result, sequence, decided, ("keypoints", "scores"))


_WORDS = {
    "head": ("eye", "ear", "face"),
    "hands": ("hand", "thumb", "finger"),
    "arms": ("shoulder", "elbow", "wrist", "hand", "thumb", "finger"),
    "feet": ("toe", "heel"),
    "legs": ("hip", "knee", "ankle", "toe", "heel"),
}
"""Parts of the body that have two sides, and words in the names of their points."""


def sides_of(points: KeypointSet) -> dict[str, np.ndarray]:
    """(G, 2) pairs (left, right) of "all" and of each part; hands belong to the arms too, feet to the legs."""
    parts = {"all": list(points.flip_pairs)}
    for part, words in _WORDS.items():
        parts[part] = [pair for pair in points.flip_pairs if any(word in points.names[pair[0]] for word in words)]
    return {part: np.asarray(pairs, np.int64).reshape(-1, 2) for part, pairs in parts.items()}


def flip_groups(keypoint_set: str) -> list[np.ndarray]:
    """(G, 2) pairs (left, right) that are swapped together: arms, legs, head."""
    parts = sides_of(KEYPOINT_SETS[keypoint_set])
    return [parts[part] for part in ("arms", "legs", "head") if len(parts[part])]


def _flipped(left: np.ndarray, right: np.ndarray, scale: float, max_frames: int) -> np.ndarray:
    """(N, G, 2) points of either side -> (N,) bool: swapped."""
    straight = _motion(left, left) + _motion(right, right)
    crossed = _motion(left, right) + _motion(right, left)
    best = np.asarray([0.0, FLIP_COST * scale])
    choice = np.zeros((len(left), 2), np.int64)
    for n, (same, swap) in enumerate(zip(straight, crossed, strict=True), start=1):
        costs = best[:, None] + np.asarray([[same, swap], [swap, same]])
        choice[n], best = costs.argmin(axis=0), costs.min(axis=0) + [0.0, FLIP_COST * scale]
    state = np.zeros(len(left), bool)
    at = int(best.argmin())
    for n in range(len(left) - 1, -1, -1):
        state[n] = bool(at)
        at = choice[n, at]
    return _without_long_runs(state, max_frames)


def _motion(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(N, G, 2) twice -> (N - 1,) mean distance in pixels from frame to frame, 0 without common points."""
    distance = np.linalg.norm(after[1:] - before[:-1], axis=-1)
    seen = np.isfinite(distance)
    return np.where(seen, distance, 0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)


def _without_long_runs(state: np.ndarray, max_frames: int) -> np.ndarray:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], state.astype(np.int8), [0]])))
    kept = state.copy()
    for begin, end in edges.reshape(-1, 2):
        if end - begin > max_frames:
            kept[begin:end] = False
    return kept
