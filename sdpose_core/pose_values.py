"""What the values of poses may be: one check for arrays from files, other tools and callers in Python.

Nothing is rounded, cut or wrapped in silence: a value that does not fit is an `InputError` that names it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from .errors import InputError
from .skeletons import KEYPOINT_SETS

MAX_PEOPLE = 1000
"""In one picture."""
MAX_FRAMES = 10_000_000
"""Of a sequence: 92 hours at 30 frames per second."""
MAX_NUMBER = 1 << 40
"""Of a frame."""
MAX_SECONDS = 1_000_000_000
"""Of a frame's time: 31 years."""
MAX_SIDE = 1_000_000
"""Pixels of a picture's width or height."""
MAX_COORDINATE = 10_000_000
"""Pixels, of boxes and points of other tools: what is beyond is damage."""
MAX_NAME = 100
"""Characters of a keypoint set's name."""

_ENTRIES = {
    "settings": dict, "clip": dict, "clean": dict, "retarget": dict, "origin": dict, "origin.source": dict,
    "origin.settings": dict, "frame_names": list, "dropped_boxes": list,
}  # fmt: skip
"""Entries of meta that are read, and their types."""
_KIND_NAMES = {dict: "an object", list: "a list"}

_NUMBERS = "iuf"
"""Kinds of NumPy types that are numbers: integer, unsigned, float."""


def as_array(value: Any, dtype: type, shape: tuple[int | None, ...], what: str) -> np.ndarray:
    """`value` as a read-only array of `dtype` and `shape` (None: any length).

    Raises `InputError` for another shape, for what is not real numbers, and for numbers that `dtype` cannot hold.
    """
    try:
        array: np.ndarray = np.asarray(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise InputError(f"{what}: expected an array of numbers ({error})") from None
    if array.dtype.kind not in (_NUMBERS if dtype is not bool else "b"):
        wanted = "numbers" if dtype is not bool else "truth values"
        raise InputError(f"{what}: expected an array of {wanted}, got {_kind_of(array)}")
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        expected = ", ".join("any" if n is None else str(n) for n in shape)
        raise InputError(f"{what}: expected shape ({expected}), got shape {array.shape}")
    return _converted(value, array, np.dtype(dtype), what)


def _kind_of(array: np.ndarray) -> str:
    kinds = {"c": "complex numbers", "O": "objects", "U": "texts", "S": "bytes", "M": "dates", "m": "times"}
    return kinds.get(array.dtype.kind, f"the type {array.dtype}")


def _converted(value: Any, array: np.ndarray, dtype: np.dtype, what: str) -> np.ndarray:
    """A read-only array of another type with the same numbers; not a copy if `value` can never change."""
    if array.dtype != dtype and dtype.kind in "iu" and array.size:
        _check_whole(array, dtype, what)
    frozen = isinstance(value, np.ndarray) and not value.flags.writeable and value.base is None
    with np.errstate(over="ignore", invalid="ignore"):
        # a long clip is large: copy it only if it could change
        array = array.astype(dtype, copy=not frozen and (array is value or array.base is not None))
    array.setflags(write=False)
    return array


def _check_whole(array: np.ndarray, dtype: np.dtype, what: str) -> None:
    """Raise `InputError` for numbers that are not whole, or do not fit into an integer type."""
    if array.dtype.kind == "f" and (odd := ~(np.isfinite(array) & (np.floor(array) == array))).any():
        raise InputError(f"{what}: expected whole numbers, got {array[odd].flat[0]:g}")
    low, high, limits = array.min(), array.max(), np.iinfo(dtype)
    if low < limits.min or high > limits.max:
        wrong = low if low < limits.min else high
        raise InputError(f"{what}: expected whole numbers of {8 * dtype.itemsize} bits, got {wrong}")


def check_finite(array: np.ndarray, rows: np.ndarray | None, what: str, *, absent: bool = False) -> None:
    """Raise `InputError` for NaN or infinity.

    Args:
        rows: mask of the leading axes: where somebody is; None: everywhere.
        absent: NaN is allowed.
    """
    if np.isfinite(array).all():
        return
    odd = np.isinf(array) if absent else ~np.isfinite(array)
    if rows is not None:
        odd &= rows.reshape(rows.shape + (1,) * (array.ndim - rows.ndim))
    if odd.any():
        at = ", ".join(map(str, np.argwhere(odd)[0]))
        expected = "finite numbers, or NaN where no point was found" if absent else "finite numbers"
        raise InputError(f"{what}[{at}] is {array[odd].flat[0]}: expected {expected}")


def check_share(array: np.ndarray, rows: np.ndarray, what: str) -> None:
    """Raise `InputError` for values outside of 0 to 1 in the `rows` (mask of the leading axes) where somebody is."""
    odd = ((array < 0) | (array > 1)) & rows.reshape(rows.shape + (1,) * (array.ndim - rows.ndim))
    if odd.any():
        at = ", ".join(map(str, np.argwhere(odd)[0]))
        raise InputError(f"{what}[{at}] is {array[odd].flat[0]:g}: expected a probability from 0 to 1, or NaN")


def check_track_ids(track_ids: np.ndarray) -> None:
    """Raise `InputError` for ids below -1, the same id twice in a frame, and too many people: (T, P) int32."""
    if not track_ids.size:
        return
    if (lowest := track_ids.min()) < -1:
        raise InputError(f"track_ids: expected ids from 0, and -1 for an empty slot, got {lowest}")
    ordered = np.sort(track_ids, axis=1)
    twice = (ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)
    if twice.any():
        frame, slot = np.argwhere(twice)[0]
        raise InputError(f"track_ids: frame {frame} has the id {ordered[frame, slot]} twice: expected one for each")
    check_people(int((track_ids >= 0).sum(axis=1).max()), "the pose sequence")


def check_people(count: int, where: str) -> None:
    """Raise `InputError` for more people in a picture than `MAX_PEOPLE`."""
    if count > MAX_PEOPLE:
        raise InputError(f"{where}: {count:,} people in one picture, the limit is {MAX_PEOPLE:,}: leave some out")


def check_frames(frame_index: np.ndarray, pts: np.ndarray) -> None:
    """Raise `InputError` for too many frames, frame numbers that do not rise, and times that fall or are not finite."""
    if len(pts) > MAX_FRAMES:
        raise InputError(f"the pose sequence has {len(pts):,} frames, the limit is {MAX_FRAMES:,}: split it")
    check_finite(pts, None, "pts")
    check_rising("frame_index", frame_index)
    check_rising("pts", pts, equal=True)
    if len(pts) and not 0 <= frame_index[0] <= frame_index[-1] < MAX_NUMBER:
        wrong = frame_index[0] if frame_index[0] < 0 else frame_index[-1]
        raise InputError(f"frame_index: expected numbers from 0 and below {MAX_NUMBER:,}, got {wrong}")
    if len(pts) and np.abs(pts[[0, -1]]).max() > MAX_SECONDS:
        raise InputError(f"pts: expected seconds up to {MAX_SECONDS:,}, got {pts[0]:g} to {pts[-1]:g}")


def check_rising(name: str, values: np.ndarray, *, equal: bool = False) -> None:
    """Raise `InputError` for (T,) values that do not rise, or, if they may be `equal`, that fall."""
    steps = np.diff(values)
    wrong = np.flatnonzero(~((steps > 0) | (equal & (steps == 0))) | ~np.isfinite(values[1:]))
    if len(wrong) or not np.isfinite(values[:1]).all():
        at = int(wrong[0]) if len(wrong) else 0
        raise InputError(
            f"{name} of the pose sequence: expected values that rise from frame to frame, got {values[at]:g}, then "
            f"{values[at + 1]:g} (rows {at} and {at + 1}): correct the file, or estimate the clip again"
        )


def check_size(size: Sequence[int] | np.ndarray) -> tuple[int, int]:
    """(w, h) as ints. Raises `InputError` for what is not the size of a picture."""
    sides = as_array(size, np.int64, (2,), "size").tolist()
    if min(sides) < 1:
        raise InputError(f"size: expected (width, height) of at least 1 pixel, got {tuple(sides)}")
    if max(sides) > MAX_SIDE:
        raise InputError(f"size: expected a width and height of at most {MAX_SIDE:,} pixels, got {tuple(sides)}")
    return sides[0], sides[1]


def check_rate(rate: Fraction | None) -> None:
    """Raise `InputError` for what is not a frame rate, or has parts beyond 32 bits, which no video file can hold."""
    if rate is not None and (not isinstance(rate, Fraction) or rate <= 0):
        raise InputError(f"frame_rate: expected a positive Fraction or None, got {rate!r}")
    if rate is not None and max(rate.numerator, rate.denominator) >= 1 << 31:
        raise InputError(f"frame_rate: expected a fraction of numbers below 2,147,483,648, got {rate!s:.60}")


def check_keypoint_set(name: Any, count: int) -> None:
    """Raise `InputError` for what is not the name of a keypoint set, or a known one with another number of points."""
    if not isinstance(name, str) or len(name) > MAX_NAME:
        raise InputError(f"keypoint_set: expected a name of at most {MAX_NAME} characters, got {name!r:.60}")
    known = KEYPOINT_SETS.get(name)
    if known is not None and len(known) != count:
        raise InputError(f"keypoints: {name!r} has {len(known)} points, the array has {count}")


def check_entries(meta: Mapping[str, Any]) -> None:
    """Raise `InputError` for entries of meta that are read, and are not what this library writes."""
    origin = meta.get("origin")
    entries = (
        {**meta, **{f"origin.{name}": value for name, value in origin.items()}} if isinstance(origin, dict) else meta
    )
    for name, kind in _ENTRIES.items():
        if name in entries and not isinstance(entries[name], kind):
            raise InputError(f"meta: expected {name} to be {_KIND_NAMES[kind]}, got {entries[name]!r:.60}")
    if not all(isinstance(name, str) for name in meta.get("frame_names", ())):
        raise InputError("meta: expected frame_names to be a list of texts")
