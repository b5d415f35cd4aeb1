"""Which way people face, and the faces that are drawn on the backs of heads: those are removed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..poses import PoseSequence
from ..skeletons import KEYPOINT_SETS

AWAY, TOWARDS = -0.3, -0.05
"""A head turns away below the first figure of `facing` and comes back above the second."""

_SIDES = (("shoulder", 1.0), ("hip", 0.7), ("ear", 1.0))
_FRONT = ("nose", "left_eye", "right_eye")


def facing(keypoints: np.ndarray, scores: np.ndarray, keypoint_set: str) -> np.ndarray:
    """How much people face the camera: 1 towards it, 0 sideways or unknown, -1 away.

    Args:
        keypoints: (..., K, 2) pixels, NaN unseen.
        scores: (..., K) raw scores.
        keypoint_set: COCO's; for others the answer is 0.

    The person's left is on the right of the picture when they face it: the order of shoulders, hips and ears says
    which way they turn, and the scores of nose and eyes beside those of the ears and shoulders say whether the face is
    to be seen.
    """
    points = KEYPOINT_SETS.get(keypoint_set)
    if points is None:
        return np.zeros(keypoints.shape[:-2])
    sure = np.where(np.isfinite(keypoints).all(axis=-1), np.clip(scores, 0, 1), 0)
    total, weights = np.zeros(keypoints.shape[:-2]), np.full(keypoints.shape[:-2], 0.2)
    length = _torso_length(keypoints, keypoint_set)
    for name, weight in _SIDES:
        left, right = points.index(f"left_{name}"), points.index(f"right_{name}")
        width = np.nan_to_num(keypoints[..., left, 0] - keypoints[..., right, 0])
        certain = weight * np.minimum(sure[..., left], sure[..., right])
        total += certain * np.tanh(width / (0.15 * length) / (0.4 if name == "ear" else 1))
        weights += certain
    front = sure[..., [points.index(name) for name in _FRONT]].mean(axis=-1)
    others = ("left_ear", "right_ear", "left_shoulder", "right_shoulder")
    rest = sure[..., [points.index(name) for name in others]].mean(axis=-1)
    seen = np.clip(front / np.maximum(rest, 1e-6), 0, 1)
    return total / weights - 0.5 * (1 - seen) * (rest > 0.2)


def _torso_length(keypoints: np.ndarray, keypoint_set: str) -> np.ndarray:
    """(...,) pixels from the shoulders to the hips, or the extent of all points where these are not seen."""
    points = KEYPOINT_SETS[keypoint_set]
    ends = [(points.index(f"left_{name}"), points.index(f"right_{name}")) for name in ("shoulder", "hip")]
    top, bottom = (keypoints[..., list(pair), :].mean(axis=-2) for pair in ends)
    length = np.linalg.norm(top - bottom, axis=-1)
    y = keypoints[..., 1]
    seen = np.isfinite(y)
    extent = np.where(seen, y, -np.inf).max(axis=-1) - np.where(seen, y, np.inf).min(axis=-1)
    extent = np.where(np.isfinite(extent), extent / 3, 1)
    return np.maximum(np.where(np.isfinite(length), length, extent), 1)


def is_away(values: np.ndarray) -> np.ndarray:
    """(N,) values of `facing` in order of time -> (N,) bool, without flicker: means of three, and two thresholds."""
    values = np.asarray(values, np.float64)
    padded = np.pad(values, 1, mode="edge")
    steady = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    away = np.zeros(len(values), bool)
    state = len(values) > 0 and bool(steady[0] < AWAY)
    for n, value in enumerate(steady):
        state = bool(value < (TOWARDS if state else AWAY))
        away[n] = state
    return away


def _face_points(keypoint_set: str) -> list[int]:
    points = KEYPOINT_SETS[keypoint_set]
    return [points.index(name) for name in _FRONT] + list(points.parts.get("face", ()))


def drop_hidden_faces(sequence: PoseSequence) -> PoseSequence:
    """Nose, eyes and face of whoever is turned away become NaN, without flicker (see `is_away`); scores stay."""
    if sequence.keypoint_set not in KEYPOINT_SETS:
        return sequence
    keypoints = np.array(sequence.keypoints)
    values = facing(sequence.keypoints, sequence.scores, sequence.keypoint_set)
    hidden = np.asarray(_face_points(sequence.keypoint_set))
    for track_id in np.unique(sequence.track_ids[sequence.track_ids >= 0]):
        frames, slots = np.nonzero(sequence.track_ids == track_id)
        away = is_away(values[frames, slots])
        keypoints[frames[away, None], slots[away, None], hidden] = np.nan
    return replace(sequence, keypoints=keypoints)
