"""Paths over a few frames around each frame; a pause of the recording ends a path."""

from __future__ import annotations

import numpy as np


def shifted(values: np.ndarray, stretch: np.ndarray, by: int) -> np.ndarray:
    """(N, ...) -> (N, ...) float32: the values `by` frames later, NaN beyond the ends and across pauses."""
    result = np.full(values.shape, np.nan, np.float32)
    here = slice(0, len(values) - by) if by >= 0 else slice(-by, len(values))
    there = slice(by, len(values)) if by >= 0 else slice(0, len(values) + by)
    if abs(by) < len(values):
        same = stretch[here] == stretch[there]
        result[here][same] = values[there][same]
    return result


def middle_of_seven(values: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """(N, ...) -> (N, ...) float32: median of the known ones of each frame with three neighbors on either side.

    NaN where fewer than three are known. Steady motion is kept, however fast.
    """
    windows = np.stack([shifted(values, stretch, by) for by in range(-3, 4)], axis=-1)
    windows.sort(axis=-1)
    count = np.isfinite(windows).sum(axis=-1)
    low, high = np.maximum(count - 1, 0) // 2, np.minimum(count // 2, 6)
    both = [np.take_along_axis(windows, at[..., None], axis=-1)[..., 0] for at in (low, high)]
    return np.where(count >= 3, (both[0] + both[1]) / 2, np.nan)


def neighbors_mean(values: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """(N, ...) -> (N, ...) float32: mean of the frames before and after."""
    return (shifted(values, stretch, -1) + shifted(values, stretch, 1)) / 2


def speed_of(values: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """(N, ...) -> (N, ...) float32: change per frame, from the frame before to the frame after."""
    return (shifted(values, stretch, 1) - shifted(values, stretch, -1)) / 2
