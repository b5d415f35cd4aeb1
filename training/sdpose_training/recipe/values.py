"""Recipe values from TOML and the command line: parsing, checks, errors for unknown keys."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from itertools import pairwise
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from pydantic import TypeAdapter, ValidationError

from sdpose_core.errors import InputError, did_you_mean
from sdpose_core.tensor_files import some

T = TypeVar("T")

MAX_PROBLEMS = 5
"""Wrong values that an error names."""

_WORDS = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}
_EXPECTED = {
    "bool_type": "on or off",
    "int_type": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": "a text",
    "tuple_type": "a list",
    "dataclass_type": "a table of values",
    "literal_error": "{expected}",
    "greater_than": "a number above {gt:g}",
    "greater_than_equal": "{ge:g} or more",
    "less_than": "less than {lt:g}",
    "less_than_equal": "{le:g} or less",
    "multiple_of": "a multiple of {multiple_of:g}",
    "too_long": "{max_length} values",
}
"""What was expected, by the type of pydantic's error."""


def build(cls: type[T], values: Mapping[str, Any]) -> T:
    """A tree of pydantic dataclasses from nested values.

    Args:
        cls: its fields are bool, int, float, str, tuples of these, or dataclasses.
        values: strings are parsed by the type of the field ("off", "192,256").

    Raises `InputError` for all unknown keys (names the nearest known ones) and all wrong values.
    """
    try:
        # Strict pydantic takes lists for tuples and tables for dataclasses only from JSON.
        return TypeAdapter(cls).validate_json(json.dumps(_read(cls, values), default=str))
    except ValidationError as error:
        raise InputError(some(_problems(error, cls), MAX_PROBLEMS, "; ")) from None


def with_overrides(values: Mapping[str, Any], arguments: Sequence[str], cls: type) -> dict[str, Any]:
    """`values` with "--key value" pairs applied, as strings for `build` to parse.

    Raises `InputError`: a key without value, a value without key, an unknown key (names the nearest known one).
    """
    result = copy.deepcopy(dict(values))
    for key, text in _pairs(arguments):
        _put(result, key, text, cls)
    return result


def known_keys(cls: type) -> list[str]:
    """Dotted names of all values of a dataclass tree, with "N" for an index into a list of dataclasses."""
    names = []
    for name, hint in get_type_hints(cls).items():
        inner = get_args(hint)[0] if get_origin(hint) is tuple else hint
        if is_dataclass(inner):
            at = f"{name}.N." if get_origin(hint) is tuple else f"{name}."
            names += [at + each for each in known_keys(inner)]
        else:
            names.append(name)
    return names


def differences(one: Any, other: Any) -> list[str]:
    """Dotted names of the values that differ between two trees of the same dataclass."""
    first, second = _flat(asdict(one)), _flat(asdict(other))
    return sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    rest = list(arguments)
    while rest:
        key = rest.pop(0)
        if not key.startswith("--"):
            raise InputError(f"expected --key value, got {key!r:.60}")
        key, equals, text = key[2:].partition("=")
        if not equals:
            if not rest:
                raise InputError(f"--{key:.60} has no value: write --{key:.60} VALUE")
            text = rest.pop(0)
        yield key.replace("-", "_"), text


def _put(values: dict[str, Any], key: str, text: str, cls: type) -> None:
    """Set one dotted key; missing tables on its path are created, also one after the last of a list."""
    *path, last = key.split(".")
    if ".".join("N" if _is_index(part) else part for part in (*path, last)) not in known_keys(cls):
        raise InputError(_unknown(key, known_keys(cls)))
    place: Any = values
    for part, following in pairwise((*path, last)):
        if _is_index(part):
            place = _element(place, int(part), key)
        else:
            place = _table(place, key).setdefault(part, [] if _is_index(following) else {})
    _table(place, key)[last] = text


def _element(place: Any, number: int, key: str) -> Any:
    if isinstance(place, list) and number == len(place):
        place.append({})
    if not isinstance(place, list) or number >= len(place):
        raise InputError(f"--{key}: the recipe has no number {number} (they count from 0)")
    return place[number]


def _table(place: Any, key: str) -> dict[str, Any]:
    if not isinstance(place, dict):
        raise InputError(f"--{key}: expected a table of values in the recipe, found {place!r:.60}")
    return place


def _is_index(part: str) -> bool:
    return re.fullmatch("[0-9]{1,4}", part) is not None


def _unknown(key: str, known: Sequence[str]) -> str:
    """Names the nearest key, or what is known beside it."""
    table, _, _ = key.rpartition(".")
    beside = [name.removeprefix(f"{table}.") for name in known if not table or name.startswith(f"{table}.")] or known
    names = dict.fromkeys(name.partition(".")[0] for name in beside)
    hint = did_you_mean(key[:100], known, cutoff=0.5) or f"known are {', '.join(names)}"
    return f"unknown recipe key {key!r:.60}: {hint}"


def _problems(error: ValidationError, cls: type) -> list[str]:
    """One message per value."""
    found: dict[str, str] = {}
    for each in error.errors(include_url=False):
        path, kind, value = each["loc"], each["type"], each["input"]
        whole = kind in ("value_error", "dataclass_type", "unexpected_keyword_argument")
        if not whole and path and isinstance(path[-1], int):
            path = path[:-1]  # for a number in a list, name the list
        key = ".".join(map(str, path)) or "recipe"
        shown = "" if kind == "value_error" and isinstance(value, Mapping) else f", found {value!r:.60}"
        if kind == "unexpected_keyword_argument":
            found[key] = _unknown(key, known_keys(cls))
        elif kind == "value_error":
            found[key] = f"{key}: {each['ctx']['error']}{shown}"
        elif kind == "missing":  # only in lists, as every field has a default; the last of these errors has the length
            found[key] = f"{key}: expected {each['loc'][-1] + 1} values{shown}"
        else:
            found[key] = f"{key}: expected {_EXPECTED.get(kind, each['msg']).format(**each.get('ctx', {}))}{shown}"
    return list(found.values())


def _read(hint: Any, value: Any) -> Any:
    """Parse strings by the type of the field; what cannot be parsed stays a string, and pydantic reports it."""
    if is_dataclass(hint) and isinstance(value, Mapping):
        hints = get_type_hints(hint)
        return {key: _read(hints.get(key), each) for key, each in value.items()}
    if get_origin(hint) is tuple:
        if isinstance(value, str):
            value = [part.strip() for part in value.strip("[]() ").split(",") if part.strip()]
        inner = get_args(hint)[0]
        return [_read(inner, each) for each in value] if isinstance(value, (list, tuple)) else value
    if hint is bool and isinstance(value, str):
        return _WORDS.get(value.lower(), value)
    if hint in (int, float) and isinstance(value, str):
        try:
            return hint(value)
        except ValueError:
            return value
    return value


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, (list, tuple)) and any(isinstance(v, dict) for v in value))


def _flat(values: Any, at: str = "") -> dict[str, Any]:
    if isinstance(values, Mapping):
        items: Any = values.items()
    elif _is_table(values):
        items = enumerate(values)
    else:
        return {at: values}
    return {k: v for key, value in items for k, v in _flat(value, f"{at}.{key}" if at else str(key)).items()}
