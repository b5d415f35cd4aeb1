"""The fields of an edit, checked: what comes from a page or a file is never trusted."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import InputError, counted
from ..pose_values import MAX_COORDINATE

_NEEDED = object()


class Fields:
    """The fields of one edit of a clip of `frames` frames and `points` points.

    Every method raises `InputError` for a field that is missing, without `otherwise`, or not what it should be.
    """

    def __init__(self, op: Mapping[str, Any], frames: int, points: int) -> None:
        if not isinstance(op, Mapping):
            raise InputError(f"edit: expected an object with its kind and fields, got {op!r:.60}")
        self._op, self._frames, self._points = op, frames, points

    def _get(self, name: str, otherwise: Any) -> Any:
        value = self._op.get(name, otherwise)
        if value is _NEEDED:
            raise InputError(f"{self._op.get('kind', 'edit')!s:.60}: {name} is missing")
        return value

    def _refuse(self, name: str, expected: str) -> InputError:
        return InputError(
            f"{self._op.get('kind', 'edit')!s:.60}: {name}: expected {expected}, got {self._op.get(name)!r:.60}"
        )

    def text(self, name: str, otherwise: Any = _NEEDED) -> str:
        value = self._get(name, otherwise)
        if not isinstance(value, str):
            raise self._refuse(name, "a text")
        return value

    def truth(self, name: str, otherwise: Any = _NEEDED) -> bool:
        value = self._get(name, otherwise)
        if not isinstance(value, bool):
            raise self._refuse(name, "true or false")
        return value

    def whole(self, name: str, low: int = 0, high: int = 2**31 - 1, otherwise: Any = _NEEDED) -> Any:
        """A whole number; None only if `otherwise` is."""
        value = self._get(name, otherwise)
        if value is None and otherwise is None:
            return None
        if type(value) is not int or not low <= value <= high:
            raise self._refuse(name, f"a whole number from {low} to {high}")
        return value

    def frame(self, name: str) -> int:
        """The position of a frame."""
        return self.whole(name, 0, self._frames - 1)

    def range(self) -> tuple[int, int]:
        """The first and the last frame, both included."""
        first, last = self.frame("from"), self.frame("to")
        if first > last:
            raise InputError(f"frames {first} to {last}: expected the first before the last")
        return first, last

    def points(self, otherwise: Any = _NEEDED) -> np.ndarray:
        """(N,) indices of points, each once."""
        value = self._get("points", otherwise)
        value = list(value) if isinstance(value, range) else value
        whole = isinstance(value, list) and bool(value) and all(type(point) is int for point in value)
        if not whole or min(value) < 0 or max(value) >= self._points or len(set(value)) != len(value):
            raise self._refuse("points", f"different numbers of points from 0 to {self._points - 1}")
        return np.asarray(value)

    def two(self, name: str) -> tuple[int, int]:
        """Two different ids."""
        value = self._get(name, _NEEDED)
        if not isinstance(value, list) or len(value) != 2 or any(type(i) is not int or i < 0 for i in value):
            raise self._refuse(name, "two ids")
        if value[0] == value[1]:
            raise self._refuse(name, "two different ids")
        return value[0], value[1]

    def numbers(self, name: str, count: int) -> np.ndarray:
        """(count,) finite numbers."""
        value = self._get(name, _NEEDED)
        if not isinstance(value, list) or len(value) != count or not all(map(_is_number, value)):
            raise self._refuse(name, f"{count} numbers")
        return np.asarray(value, np.float32)

    def coordinates(self, name: str, count: int, *, absent: bool = False) -> np.ndarray:
        """(count, 2) pixels; with `absent`, NaN for None."""
        value = self._get(name, _NEEDED)
        if not isinstance(value, list) or len(value) != count:
            raise self._refuse(name, f"[x, y] of {counted(count, 'point')}")
        return np.asarray([self._pair(name, pair, absent) for pair in value], np.float32).reshape(count, 2)

    def _pair(self, name: str, pair: Any, absent: bool) -> Iterable[float]:
        if pair is None and absent:
            return (math.nan, math.nan)
        if not isinstance(pair, list) or len(pair) != 2 or not all(map(_is_number, pair)):
            raise self._refuse(name, "[x, y] in pixels for each point")
        return pair


def _is_number(value: Any) -> bool:
    """Whether a value is a number that may be a coordinate."""
    return type(value) in (int, float) and abs(value) <= MAX_COORDINATE  # neither NaN, nor beyond what floats hold
