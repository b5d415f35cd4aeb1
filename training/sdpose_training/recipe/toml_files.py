"""Reading and writing the TOML of recipes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from sdpose_core import texts


def read_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file as nested plain values; `InputError` if it is missing or invalid."""
    return texts.read_toml(path, "the keys of a recipe")


def to_toml(value: Any) -> str:
    """A dataclass tree as TOML; `read_toml` and `build` restore it."""
    import tomli_w

    return tomli_w.dumps(asdict(value))
