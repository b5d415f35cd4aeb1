"""Single values of COCO files, in all the ways that tools write them."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from numbers import Integral
from typing import Any

from ..pose_values import MAX_COORDINATE

Id = int | str

_WHOLE = re.compile(r"(-?(?:0|[1-9][0-9]*))(?:\.0+)?")
_TRUE, _FALSE = frozenset({"1", "1.0", "true", "yes"}), frozenset({"", "0", "0.0", "false", "no", "none", "null"})


def read_id(value: Any) -> Id:
    """One form for an id: 785, 785.0 and "785" are the number 785, other texts stay texts.

    Raises `ValueError` for what is neither a whole number of 64 bits nor a text.
    """
    if type(value) is int and -(1 << 63) < value < 1 << 63:
        return value  # most ids: files have hundreds of thousands
    found: Id | None = None
    if isinstance(value, str):
        match = _WHOLE.fullmatch(value.strip())
        found = int(match[1]) if match else value.strip()
    elif isinstance(value, float) and value.is_integer():
        found = int(value)
    elif isinstance(value, Integral) and not isinstance(value, bool):
        found = int(value)
    if found is None or found == "":
        raise ValueError(f"{value!r:.60}, expected a number or a text")
    if isinstance(found, int) and abs(found) >= 1 << 63:
        raise ValueError(f"{value!r:.60}, which does not fit into 64 bits: expected a smaller number or a text")
    return found


def as_written(value: Any) -> Any:
    """An id as the file has it; a whole number without a decimal point."""
    return int(value) if isinstance(value, float) else value


class IdTable:
    """The ids of a file, found by ids as another file writes them: with or without leading zeros, as text or number."""

    def __init__(self, ids: Iterable[Any]) -> None:
        self._exact: dict[Id, Any] = {}
        self._numbers: dict[int, list[Any]] = {}
        for value in ids:
            known = read_id(value)
            self._exact[known] = as_written(value)
            if (number := _number_of(known)) is not None:
                self._numbers.setdefault(number, []).append(as_written(value))

    def find(self, value: Any) -> Any | None:
        """The id as this file has it; None if it has none, or several that differ only in leading zeros.

        Raises `ValueError` as `read_id`.
        """
        wanted = read_id(value)
        if wanted in self._exact:
            return self._exact[wanted]
        number = _number_of(wanted)
        found = [] if number is None else self._numbers.get(number, [])
        return found[0] if len(found) == 1 else None


def _number_of(known: Id) -> int | None:
    if isinstance(known, int):
        return known
    return int(known) if known.isascii() and known.isdecimal() else None


def is_coordinate(value: Any) -> bool:
    """Whether it is a number, not a text, that may be a coordinate in pixels: finite, and up to `MAX_COORDINATE`."""
    return is_number(value) and abs(value) <= MAX_COORDINATE


def read_flag(value: Any) -> bool:
    """A flag as bool, number or text; None and NaN are False. Raises `ValueError` for anything else."""
    if isinstance(value, str) and value.strip().casefold() in _TRUE | _FALSE:
        return value.strip().casefold() in _TRUE
    if value is None or isinstance(value, bool | int | float):
        return bool(value) and value == value
    raise ValueError(f"{value!r:.60}, expected 0 or 1")


def read_number(value: Any) -> float:
    """A finite number, also as text. Raises `ValueError` for anything else."""
    try:
        found = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        found = math.nan
    if not math.isfinite(found):
        raise ValueError(f"{value!r:.60}, expected a finite number")
    return found


def is_number(value: Any) -> bool:
    """Whether it is a number, not a text; NaN is one."""
    return isinstance(value, int | float) and not isinstance(value, bool)
