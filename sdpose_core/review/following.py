"""Which frames around a correction share its error, and so follow it."""

from __future__ import annotations

import numpy as np

from .canvas import Canvas

NEAR = 12
"""Frames on either side from which is learned what steps the points usually make."""
UNUSUAL = 3.0
"""Times the usual step: larger ones are not the person's own motion."""


def frames_with_the_error(
    canvas: Canvas, t: int, slot: int, points: np.ndarray, delta: np.ndarray, frames: np.ndarray, slots: np.ndarray
) -> int:
    """How many of `frames`, outward from the corrected frame `t`, still have its error.

    Where the points by themselves make an unusual step of at least half the correction and in its direction, the
    estimate is back where it should be: that frame and those behind it were right. A jump of a single frame thus leaves
    its neighbors as they are, and an error of many frames is corrected in all of them.

    Args:
        points: (N,) that are corrected, by `delta` (N, 2) pixels, NaN for points that were absent.
        frames, slots: (M,) frames that show the person, outward from `t`.
    """
    mean = _median(delta)
    if not np.isfinite(mean).all() or not len(frames):
        return len(frames)
    path = canvas.keypoints[np.r_[t, frames], np.r_[slot, slots]][:, points]
    steps = _steps(path)
    near = canvas.places(max(t - NEAR, 0), t + NEAR, int(canvas.track_ids[t, slot]))
    usual = _steps(canvas.keypoints[near][:, points])
    lengths = np.linalg.norm(usual[np.isfinite(usual).all(axis=-1)], axis=-1)
    large = np.linalg.norm(steps, axis=-1) > UNUSUAL * (np.median(lengths) if len(lengths) else 0)
    back = np.flatnonzero(large & (steps @ mean >= 0.5 * mean @ mean))
    return int(back[0]) if len(back) else len(frames)


def _steps(path: np.ndarray) -> np.ndarray:
    """(M + 1, N, 2) -> (M, 2) the median step of the points from frame to frame, NaN where no point is in both."""
    return np.asarray([_median(step) for step in np.diff(path, axis=0)]).reshape(-1, 2)


def _median(values: np.ndarray) -> np.ndarray:
    """(N, 2) -> (2,) median of the rows that are finite; NaN if there is none."""
    known = values[np.isfinite(values).all(axis=-1)]
    return np.median(known, axis=0) if len(known) else np.full(2, np.nan)
