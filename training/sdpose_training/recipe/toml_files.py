"""Reading and writing TOML."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdpose_core.errors import InputError, one_line
from sdpose_core.texts import read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_DEPTH = 8
"""Tables and lists within each other; recipes have up to 4."""


def read_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file as nested plain values; `InputError` if it is missing or invalid."""
    text = read_text(path)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: not TOML, or a number of thousands of digits
        escape = any(word in str(error) for word in ("hex value", "Unescaped"))
        advice = ": write paths with / or in 'single quotes'" if escape else ""
        raise InputError(f"{path} is not valid TOML: {one_line(error)}{advice}") from None
    _check_depth(values, path)
    return values


def _check_depth(values: dict[str, Any], path: str | Path) -> None:
    """Raise `InputError` if tables or lists are nested deeper than `MAX_DEPTH`."""
    level: list[Any] = [values]
    for _ in range(MAX_DEPTH):
        level = [each for v in level for each in (v.values() if isinstance(v, dict) else v)]
        level = [each for each in level if isinstance(each, (dict, list))]
        if not level:
            return
    raise InputError(
        f"{path}: tables or lists are nested deeper than {MAX_DEPTH} levels: expected the keys of a recipe"
    )


def to_toml(value: Any) -> str:
    """A dataclass tree as TOML; `read_toml` and `build` restore it."""
    import tomli_w

    return tomli_w.dumps(asdict(value))
