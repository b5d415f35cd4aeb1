"""Left and right swapped for a few frames: found and swapped back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..poses import PoseSequence
from ..skeletons import KEYPOINT_SETS
from .tracks import Track, each_track

FLIP_COST = 0.05
"""Way that exchanging sides must save in a frame, in sizes of the person: what is smaller is noise."""


def repair_flips(sequence: PoseSequence, frames: int = 8) -> PoseSequence:
    """Left and right put back where the estimator exchanged them for at most `frames` frames.

    Arms (with hands), legs (with feet) and head are judged apart: of all ways to exchange sides frame by frame the one
    with the least motion is found (Viterbi's algorithm), where an exchange must save more than `FLIP_COST` (a share of
    the person's size) per frame. Longer runs are taken for turns of the person. Scores go with their points. Keypoint
    sets without left and right stay as they are.
    """
    known = KEYPOINT_SETS.get(sequence.keypoint_set)
    groups = _flip_groups(sequence.keypoint_set) if known else []

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

    return each_track(sequence, change) if groups else sequence


def _flip_groups(keypoint_set: str) -> list[np.ndarray]:
    """Pairs (left, right) that change sides together: arms, legs, head."""
    points = KEYPOINT_SETS[keypoint_set]
    words = {"arms": ("shoulder", "elbow", "wrist", "hand", "thumb", "finger"), "head": ("eye", "ear", "face")}
    groups: dict[str, list[tuple[int, int]]] = {"arms": [], "legs": [], "head": []}
    for pair in points.flip_pairs:
        name = points.names[pair[0]]
        part = next((part for part, parts in words.items() if any(word in name for word in parts)), "legs")
        groups[part].append(pair)
    return [np.asarray(pairs) for pairs in groups.values() if pairs]


def _flipped(left: np.ndarray, right: np.ndarray, scale: float, longest: int) -> np.ndarray:
    """(N, G, 2) points of either side -> (N,) whether they are exchanged."""
    straight = _motion(left, left) + _motion(right, right)
    crossed = _motion(left, right) + _motion(right, left)
    best = np.asarray([0.0, FLIP_COST * scale])
    choice = np.zeros((len(left), 2), np.int64)
    for n, (same, swap) in enumerate(zip(straight, crossed, strict=True), start=1):
        ways = best[:, None] + np.asarray([[same, swap], [swap, same]])
        choice[n], best = ways.argmin(axis=0), ways.min(axis=0) + [0.0, FLIP_COST * scale]
    state = np.zeros(len(left), bool)
    at = int(best.argmin())
    for n in range(len(left) - 1, -1, -1):
        state[n] = bool(at)
        at = choice[n, at]
    return _without_long_runs(state, longest)


def _motion(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(N, G, 2) twice -> (N - 1,) mean way in pixels from a frame to the next, 0 where no point is shared."""
    way = np.linalg.norm(after[1:] - before[:-1], axis=-1)
    seen = np.isfinite(way)
    return np.where(seen, way, 0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)


def _without_long_runs(state: np.ndarray, longest: int) -> np.ndarray:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], state.astype(np.int8), [0]])))
    kept = state.copy()
    for begin, end in edges.reshape(-1, 2):
        if end - begin > longest:
            kept[begin:end] = False
    return kept
