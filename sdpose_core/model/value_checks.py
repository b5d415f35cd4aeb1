"""Checks of single values of a model's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ..errors import InputError, did_you_mean

MAX_CHANNELS = 8192
"""Largest width of a level, of the text and of the latents; Stable Diffusion 2's is 1280."""


def known_values(cls: type, values: Any, what: str) -> dict[str, Any]:
    """`values` as tuples; `InputError` for what is not a table, and for an unknown key, with the nearest known."""
    if not isinstance(values, Mapping):
        raise InputError(f"{what}: expected a table of values, found {values!r:.60}")
    names = [f.name for f in fields(cls)]
    for key in values:
        if key not in names:
            hint = did_you_mean(key, names) or f"known are {', '.join(names)}"
            raise InputError(f"unknown {what} key {key!r:.60}: {hint}")
    return {k: _tuples(v) for k, v in values.items()}


def _tuples(value: Any) -> Any:
    """Lists and lists of lists, as in JSON and TOML, to tuples."""
    if not isinstance(value, (list, tuple)):
        return value
    return tuple(tuple(v) if isinstance(v, list) else v for v in value)


def check_whole(what: str, value: Any, low: int, high: int, multiple_of: int = 1) -> None:
    """Raise `InputError` unless `value` is a whole number from `low` to `high`."""
    if type(value) is not int or not low <= value <= high or value % multiple_of:
        multiple = f", a multiple of {multiple_of}" if multiple_of > 1 else ""
        raise InputError(f"{what}: expected a whole number from {low} to {high}{multiple}, found {value!r:.60}")


def check_number(what: str, value: Any, high: float) -> None:
    """Raise `InputError` unless `value` is a number above 0, up to `high`; NaN is none."""
    if type(value) not in (int, float) or not 0 < value <= high:
        raise InputError(f"{what}: expected a number above 0, up to {high:g}, found {value!r:.60}")


def check_levels(what: str, values: Any) -> None:
    """Raise `InputError` unless there are four values, one per level."""
    if not isinstance(values, tuple) or len(values) != 4:
        raise InputError(f"{what}: expected four levels, found {values!r:.60}")


def check_widths(what: str, widths: Any, groups: Any) -> None:
    """Raise `InputError` unless there are four widths that `groups` norm groups divide."""
    check_levels(f"{what} block_out_channels", widths)
    check_whole(f"{what} norm_num_groups", groups, 1, MAX_CHANNELS)
    for width in widths:
        check_whole(f"{what} block_out_channels", width, 1, MAX_CHANNELS, groups)
