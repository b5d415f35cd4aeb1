"""Frozen dataclasses from TOML and from the command line, and back: checked values, unknown keys named."""

from __future__ import annotations

import copy
import difflib
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from sdpose_core.errors import InputError

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

T = TypeVar("T")

_WORDS = {"on": True, "true": True, "yes": True, "off": False, "false": False, "no": False}


def read_toml(path: str | Path) -> dict[str, Any]:
    """A TOML file as nested plain values; `InputError` if it is missing or none."""
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from None


def build(cls: type[T], values: Mapping[str, Any], where: str = "") -> T:
    """An instance of a dataclass tree.

    Args:
        cls: a dataclass whose fields are bool, int, float, str, tuples of these, or dataclasses.
        values: nested; texts are read as the field's type wants them ("off", "192,256").
        where: dotted name of this part, for messages.

    Raises `InputError`: an unknown key, with the nearest known one; a value of another kind.
    """
    hints = get_type_hints(cls)
    for key in values:
        if key not in hints:
            raise InputError(_unknown(f"{where}{key}", [f"{where}{name}" for name in known_keys(cls)]))
    return cls(**{key: _value(hints[key], value, f"{where}{key}") for key, value in values.items()})


def with_overrides(values: Mapping[str, Any], arguments: Sequence[str], cls: type) -> dict[str, Any]:
    """`values` with "--key value" pairs put in; the types are read by `build` afterwards.

    Raises `InputError`: a key without value, a value without key, a key that does not exist (with the nearest).
    """
    result = copy.deepcopy(dict(values))
    for key, text in _pairs(arguments):
        _put(result, key, text, cls)
    return result


def known_keys(cls: type) -> list[str]:
    """Dotted names of all values of a dataclass tree; "N" stands for a place in a list of dataclasses."""
    names = []
    for name, hint in get_type_hints(cls).items():
        inner = get_args(hint)[0] if get_origin(hint) is tuple else hint
        if is_dataclass(inner):
            at = f"{name}.N." if get_origin(hint) is tuple else f"{name}."
            names += [at + each for each in known_keys(inner)]
        else:
            names.append(name)
    return names


def to_toml(value: Any) -> str:
    """A dataclass tree as TOML that `read_toml` and `build` turn into the same tree; None is left out."""
    return "\n".join(_toml_lines(asdict(value), ())) + "\n"


def differences(one: Any, other: Any) -> list[str]:
    """Dotted names of the values in which two trees of the same dataclass differ."""
    first, second = _flat(asdict(one)), _flat(asdict(other))
    return sorted(key for key in first.keys() | second.keys() if first.get(key) != second.get(key))


def _pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str]]:
    rest = list(arguments)
    while rest:
        key = rest.pop(0)
        if not key.startswith("--"):
            raise InputError(f"expected --key value, got {key!r}")
        key, equals, text = key[2:].partition("=")
        if not equals:
            if not rest:
                raise InputError(f"--{key} has no value: write --{key} VALUE")
            text = rest.pop(0)
        yield key.replace("-", "_"), text


def _put(values: dict[str, Any], key: str, text: str, cls: type) -> None:
    """Set one dotted key; the way there is made where the file does not have it."""
    *path, last = key.split(".")
    spelt = ".".join("N" if part.isdigit() else part for part in (*path, last))
    if spelt not in known_keys(cls):
        raise InputError(_unknown(key, known_keys(cls)))
    place: Any = values
    for part in path:
        if part.isdigit():
            if not isinstance(place, list) or int(part) >= len(place):
                raise InputError(f"--{key}: the recipe has no number {part} there (they count from 0)")
            place = place[int(part)]
        else:
            place = place.setdefault(part, {})
    place[last] = text


def _unknown(key: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f": did you mean {near[0]!r}?" if near else f": known are {', '.join(known)}"
    return f"unknown recipe key {key!r}{hint}"


def _value(hint: Any, value: Any, where: str) -> Any:
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise InputError(f"recipe key {where!r}: expected a table of values, got {value!r}")
        return build(hint, value, f"{where}.")
    if get_origin(hint) is tuple:
        return _tuple(get_args(hint), value, where)
    if hint is bool and isinstance(value, str):
        value = _WORDS.get(value.lower(), value)
    elif isinstance(value, str) and hint in (int, float):
        value = _number(hint, value)
    elif hint is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if type(value) is not hint:
        raise InputError(f"recipe key {where!r}: expected {hint.__name__}, got {value!r}")
    return value


def _tuple(hints: tuple[Any, ...], value: Any, where: str) -> tuple:
    if isinstance(value, str):
        value = [part.strip() for part in value.strip("[]() ").split(",") if part.strip()]
    if not isinstance(value, (list, tuple)):
        raise InputError(f"recipe key {where!r}: expected a list, got {value!r}")
    if hints[-1] is Ellipsis:
        hints = (hints[0],) * len(value)
    if len(hints) != len(value):
        raise InputError(f"recipe key {where!r}: expected {len(hints)} values, got {value!r}")
    return tuple(_value(hint, each, f"{where}.{i}") for i, (hint, each) in enumerate(zip(hints, value, strict=True)))


def _number(kind: type, text: str) -> Any:
    try:
        return kind(text)
    except ValueError:
        return text  # reported with its name by the caller


def _toml_lines(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """Plain values first, as TOML wants it, then tables."""
    for key, value in values.items():
        if value is not None and not _is_table(value):
            yield f"{key} = {_toml_value(value)}"
    for key, value in values.items():
        if not _is_table(value):
            continue
        name = ".".join((*path, key))
        for table in [value] if isinstance(value, Mapping) else value:
            yield f"\n[{name}]" if isinstance(value, Mapping) else f"\n[[{name}]]"
            yield from _toml_lines(table, (*path, key))


def _is_table(value: Any) -> bool:
    return isinstance(value, Mapping) or (isinstance(value, (list, tuple)) and any(isinstance(v, dict) for v in value))


def _toml_value(value: Any) -> str:
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml_value, value))}]"
    return json.dumps(value) if isinstance(value, (str, bool)) else repr(value)


def _flat(values: Any, at: str = "") -> dict[str, Any]:
    if isinstance(values, Mapping):
        items: Any = values.items()
    elif _is_table(values):
        items = enumerate(values)
    else:
        return {at: values}
    return {k: v for key, value in items for k, v in _flat(value, f"{at}.{key}" if at else str(key)).items()}
