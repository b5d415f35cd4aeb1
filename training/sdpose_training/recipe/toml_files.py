"""Reading and writing TOML."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdpose_core.errors import InputError
from sdpose_core.texts import read_text

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


def read_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file as nested plain values; `InputError` if it is missing or invalid."""
    try:
        return tomllib.loads(read_text(path))
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        escape = any(word in str(error) for word in ("hex value", "Unescaped"))
        advice = ": write paths with / or in 'single quotes'" if escape else ""
        raise InputError(f"{path} is not valid TOML: {error}{advice}") from None


def to_toml(value: Any) -> str:
    """A dataclass tree as TOML; `read_toml` and `build` restore it."""
    import tomli_w

    return tomli_w.dumps(asdict(value))
