"""One-euro smoothing (Casiez et al. 2012), causal and two-way.

Written by hand because published packages filter one causal value at a time, without gaps or the two-way pass.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..poses import PoseSequence
from ..skeletons import KEYPOINT_SETS
from ..times import clock_of
from .tracks import Track, each_point


def smooth(
    sequence: PoseSequence, cutoffs: Mapping[str, float] | None = None, *, speed: float = 2.0, two_way: bool = True
) -> PoseSequence:
    """One-euro filter of every point: smooths slow motion strongly and fast motion little.

    Args:
        sequence: 25 frames per second are assumed if it has no times.
        cutoffs: minimum cutoff frequency in Hz of "body" (with feet), "hands" and "face"; 0 leaves a part unchanged.
        speed: increase of the cutoff, in Hz per (body size per second).
        two_way: average a forward and a backward pass, so that nothing lags; False is causal.

    Points are weighted by score, clipped to 0.05..1. Absent points stay absent and restart the filter. Raises
    `InputError` for unknown parts or negative cutoffs. Source: Casiez et al., "1 Euro Filter", CHI 2012.
    """
    cutoffs = {"body": 1.2, "hands": 0.8, "face": 1.0} if cutoffs is None else cutoffs
    rate = float(clock_of(sequence).rate)
    min_cutoff = _cutoff_of_points(sequence, cutoffs)

    def change(track: Track, points: slice) -> Track:
        weights = np.clip(track.scores, 0.05, 1)[..., None]
        seconds, betas, cutoff = track.clock / rate, speed / track.sizes(), min_cutoff[points, None]
        smoothed = one_euro(track.keypoints, weights, seconds, cutoff, betas)
        if two_way:
            back = one_euro(track.keypoints[::-1], weights[::-1], -seconds[::-1], cutoff, betas[::-1])
            smoothed = (smoothed + back[::-1]) / 2
        return replace(track, keypoints=np.where(cutoff <= 0, track.keypoints, smoothed))

    return each_point(sequence, change)


def _cutoff_of_points(sequence: PoseSequence, cutoffs: Mapping[str, float]) -> np.ndarray:
    """(K,) Hz."""
    unknown = set(cutoffs) - {"body", "hands", "face"}
    if unknown or any(value < 0 for value in cutoffs.values()):
        raise InputError(f"cutoffs: expected body, hands and face in Hz, each at least 0, got {dict(cutoffs)}")
    values = np.full(sequence.keypoints.shape[2], float(cutoffs.get("body", 0)))
    points = KEYPOINT_SETS.get(sequence.keypoint_set)
    for part, indices in (points.parts if points else {}).items():
        word = {"left_hand": "hands", "right_hand": "hands", "face": "face"}.get(part)
        if word:
            values[list(indices)] = cutoffs.get(word, 0)
    return values


def one_euro(
    values: np.ndarray, weights: np.ndarray, seconds: np.ndarray, cutoff: np.ndarray, betas: np.ndarray
) -> np.ndarray:
    """The one-euro filter along the first axis.

    Args:
        values: (N, K, 2), NaN absent.
        weights: (N, K, 1) in 0..1.
        seconds: (N,) strictly increasing.
        cutoff: (K, 1) minimum cutoff in Hz.
        betas: (N,) increase of the cutoff in Hz per unit of speed (`values` per second, filtered at 1 Hz).
    """
    result = np.full_like(values, np.nan)
    state, slope = values[0].copy(), np.zeros_like(values[0])
    result[0] = state
    for n in range(1, len(values)):
        step = seconds[n] - seconds[n - 1]
        new = values[n]
        fresh = ~(np.isfinite(state) & np.isfinite(new))
        raw_slope = np.where(fresh, 0, (new - state) / step)
        slope = np.where(fresh, 0, slope + _gain(1.0, step) * (raw_slope - slope))
        fast = np.linalg.norm(slope, axis=-1, keepdims=True)
        gain = _gain(cutoff + betas[n] * fast, step) * weights[n]
        state = np.where(fresh, new, state + gain * (new - state))
        result[n] = state
    return result


def _gain(cutoff: np.ndarray | float, step: float) -> np.ndarray | float:
    """Weight of a new value in a first-order low-pass filter."""
    angle = 2 * np.pi * cutoff * step
    return angle / (angle + 1)
