"""Frozen dataclasses of options, from keyword arguments or from the command line."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any, TypeVar

from .errors import InputError, did_you_mean

Options = TypeVar("Options")


def with_settings(options: Options, settings: Mapping[str, Any], what: str) -> Options:
    """`options` (a frozen dataclass) with some of its fields replaced.

    Raises `InputError` for a name that is not a field, and suggests the nearest one; `what` names the options there.
    """
    names = [field.name for field in fields(options)]  # type: ignore[arg-type]
    for name in settings:
        if name not in names:
            hint = did_you_mean(name, names) or f"choose from {', '.join(names)}"
            raise InputError(f"unknown {what} option {name!r}: {hint}")
    return replace(options, **settings)  # type: ignore[type-var]


def options_among(options: type[Options], values: Mapping[str, Any]) -> Options:
    """Options made from those `values` whose names are fields of the dataclass, such as a command's arguments."""
    names = {field.name for field in fields(options)}  # type: ignore[arg-type]
    return options(**{name: value for name, value in values.items() if name in names})
