"""Paths over a few frames around each frame; a pause of the recording ends a path."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np


def distance(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """(..., 2) twice -> (...)."""
    return length(a - b)


def length(vectors: np.ndarray) -> np.ndarray:
    """(..., 2) -> (...)."""
    return np.hypot(vectors[..., 0], vectors[..., 1])


def middle_of_seven(values: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """(N, ...) -> (N, ...): median of the known ones of each frame with three neighbors on either side.

    If their number is even, one of the two in the middle; NaN without any. Steady motion is kept, however fast; beyond
    the ends the path goes on as its mirror image through the end.
    """
    return _in_stretches(_middle_of_seven, values, stretch)


def neighbors_mean(values: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """(N, ...) -> (N, ...): mean of the frames before and after, NaN at both ends."""
    return _in_stretches(lambda part: (_shifted(part, -1) + _shifted(part, 1)) / 2, values, stretch)


def speed_of(values: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """(N, ...) -> (N, ...): change per frame, from the frame before to the frame after, NaN at both ends."""
    return _in_stretches(lambda part: (_shifted(part, 1) - _shifted(part, -1)) / 2, values, stretch)


def _in_stretches(change: Callable[[np.ndarray], np.ndarray], values: np.ndarray, stretch: np.ndarray) -> np.ndarray:
    """Each part of the path between two pauses, changed for itself."""
    ends = np.flatnonzero(np.diff(stretch)) + 1
    if not len(ends):
        return change(values)
    return np.concatenate([change(part) for part in np.split(values, ends)])


def _shifted(values: np.ndarray, by: int) -> np.ndarray:
    """The values `by` frames later, NaN beyond the ends."""
    result = np.full_like(values, np.nan)
    if by > 0:
        result[:-by] = values[by:]
    else:
        result[-by:] = values[:by]
    return result


def _middle_of_seven(values: np.ndarray) -> np.ndarray:
    """Unknown values count as infinite, high and low in turns, which leaves the middle of the others in the middle."""
    padded = np.concatenate([_beyond(values)[::-1], values, _beyond(values[::-1])])
    unknown = np.isnan(padded)
    if unknown.any():
        turn = np.cumsum(unknown, axis=0, dtype=np.int32) % 2 == 0
        padded[unknown] = np.where(turn[unknown], np.inf, -np.inf)
    windows = [padded[i : i + len(values)] for i in range(7)]
    # The least and the greatest of five of seven values are not the median: leave them out, take one more, and so on.
    kept = _without_extremes(windows[:5])
    kept = _without_extremes([*kept, windows[5]])
    [middle] = _without_extremes([*kept, windows[6]])
    return np.where(np.isinf(middle), np.nan, middle)


def _beyond(values: np.ndarray) -> np.ndarray:
    """(3, ...) what comes before the first of the values, the nearest first; NaN where unknown."""
    result = np.full((3, *values.shape[1:]), np.nan, values.dtype)
    known = values[1:4]
    result[: len(known)] = 2 * values[:1] - known
    return result


def _without_extremes(values: list[np.ndarray]) -> list[np.ndarray]:
    """All but the least and the greatest, element by element."""
    least, rest = values[0], []
    for value in values[1:]:
        rest.append(np.maximum(least, value))
        least = np.minimum(least, value)
    greatest, kept = rest[0], []
    for value in rest[1:]:
        kept.append(np.minimum(greatest, value))
        greatest = np.maximum(greatest, value)
    return kept
