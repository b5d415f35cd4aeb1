"""Entries of a sequence's meta, which anybody may have written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def mapping_in(meta: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An entry; empty if it is missing or no mapping."""
    found = meta.get(name)
    return found if isinstance(found, Mapping) else {}


def list_in(meta: Mapping[str, Any], name: str, kind: type = object) -> list[Any]:
    """The items of a `kind` of an entry; empty if it is missing or no list."""
    found = meta.get(name)
    return [item for item in found if isinstance(item, kind)] if isinstance(found, list) else []
