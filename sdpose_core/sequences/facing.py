"""Which way people face, and removal of face points predicted on the backs of heads."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..poses import PoseSequence
from ..skeletons import KEYPOINT_SETS
from ..times import clock_of

AWAY, TOWARD = -0.3, -0.05
"""Hysteresis on `facing`: below the first a head counts as turned away, until it rises above the second."""

_SIDES = (("shoulder", 1.0), ("hip", 0.7), ("ear", 1.0))
_FRONT = ("nose", "left_eye", "right_eye")


def facing(keypoints: np.ndarray, scores: np.ndarray, keypoint_set: str) -> np.ndarray:
    """How much people face the camera, (...,): 1 toward it, 0 sideways or unknown, -1 away.

    Args:
        keypoints: (..., K, 2) pixels, NaN unseen.
        scores: (..., K) raw scores.
        keypoint_set: one of COCO's; others give 0.

    Combines the left-right order of shoulders, hips and ears in the picture with the scores of nose and eyes relative
    to those of ears and shoulders.
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
    """(...,) pixels from shoulders to hips, or a third of the height of all points if these are unseen."""
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
    """(N,) values of `facing` over time -> (N,) bool, by the mean of three frames and two thresholds."""
    values = np.asarray(values, np.float64)
    padded = np.pad(values, 1, mode="edge")
    steady = (padded[:-2] + padded[1:-1] + padded[2:]) / 3
    away = np.zeros(len(values), bool)
    state = len(values) > 0 and bool(steady[0] < AWAY)
    for n, value in enumerate(steady):
        state = bool(value < (TOWARD if state else AWAY))
        away[n] = state
    return away


def drop_hidden_faces(sequence: PoseSequence) -> PoseSequence:
    """Nose, eyes and face of people turned away (see `is_away`) become NaN; scores are unchanged."""
    points = KEYPOINT_SETS.get(sequence.keypoint_set)
    if points is None:
        return sequence
    keypoints = np.array(sequence.keypoints)
    values = facing(sequence.keypoints, sequence.scores, sequence.keypoint_set)
    hidden = np.asarray([*(points.index(name) for name in _FRONT), *points.parts.get("face", ())])
    stretch = clock_of(sequence).stretch
    for track_id in np.unique(sequence.track_ids[sequence.track_ids >= 0]):
        frames, slots = np.nonzero(sequence.track_ids == track_id)
        between = np.flatnonzero(np.diff(stretch[frames])) + 1  # pauses of the recording
        away = np.concatenate([is_away(part) for part in np.split(values[frames, slots], between)])
        keypoints[frames[away, None], slots[away, None], hidden] = np.nan
    return replace(sequence, keypoints=keypoints)
