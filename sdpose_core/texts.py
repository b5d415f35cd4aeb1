"""Texts, JSON and TOML that a person hands in, in any Unicode encoding that editors and shells write."""

from __future__ import annotations

import codecs
import json
import logging
import os
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import InputError, one_line, reading
from .files import is_from_shell, open_regular

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

log = logging.getLogger(__name__)

MAX_BYTES = 2_000_000_000
"""Of a text or JSON file: the largest annotation files of the field have about half of that."""

MAX_DIGITS = 300
"""Of a whole number in JSON: what a float holds."""

MAX_DEPTH = 8
"""Tables and lists within each other in TOML; recipes have up to 4."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark begins the same way
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
"""Byte-order marks and the codecs that skip them."""


def decode_text(content: bytes, name: str, *, errors: str = "strict") -> str:
    """Bytes as text with `\\n` line ends: UTF-8, or UTF-16 or UTF-32 with or without a byte-order mark.

    Args:
        name: of the file, for the error.
        errors: for UTF-8, as in `bytes.decode`; "surrogateescape" keeps file names that are not UTF-8.

    Raises `InputError` for bytes that are none of these.
    """
    encoding = next((codec for mark, codec in _MARKS if content.startswith(mark)), None) or _without_mark(content)
    try:
        text = content.decode(encoding, errors if encoding.startswith("utf-8") else "strict")
    except UnicodeDecodeError as error:
        byte = f"byte {error.start} is {content[error.start]:#04x}"
        raise InputError(f"{name} is not text in UTF-8 or UTF-16 ({byte}): save it as UTF-8") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _without_mark(content: bytes) -> str:
    """The codec of a text without a byte-order mark: every other byte of UTF-16 is zero in most texts."""
    head = content[:512]
    if len(head) >= 4 and len(content) % 2 == 0:
        low, high = head[::2].count(0), head[1::2].count(0)
        pairs = len(head) // 2
        if high > pairs // 2 and not low:
            return "utf-16-le"
        if low > pairs // 2 and not high:
            return "utf-16-be"
    return "utf-8"


def read_text(path: str | Path, *, errors: str = "strict") -> str:
    """The text of a file, see `decode_text`. Raises `InputError` if it cannot be read, or has more than `MAX_BYTES`."""
    with reading(path), open(path, "rb") if is_from_shell(path) else open_regular(path) as file:
        size = os.fstat(file.fileno()).st_size
        content = b"" if size > MAX_BYTES else file.read(MAX_BYTES + 1)
    if max(size, len(content)) > MAX_BYTES:
        raise InputError(f"{path} has more than {MAX_BYTES:,} bytes, the limit for texts and JSON: split it")
    return decode_text(content, str(path), errors=errors)


def parse_json(text: str, name: str, expected: str = "JSON", kind: type = object) -> Any:
    """Parsed JSON. Raises `InputError`, which says what was `expected`, for text that is not JSON, is nested too
    deep, has a key twice in one object or numbers of hundreds of digits, and for a value of another `kind`."""
    try:
        whole = _whole_number if _may_have_huge_number(text) else None
        found = json.loads(text, object_pairs_hook=_each_key_once, parse_int=whole)
    except RecursionError:
        raise InputError(f"{name}: lists or objects are nested too deep: expected {expected}") from None
    except ValueError as error:
        reason = one_line(error) if text.strip() else "it is empty"
        raise InputError(f"{name} is not JSON ({reason}): expected {expected}") from None
    if not isinstance(found, kind):
        raise InputError(f"{name}: expected {expected}, found {found!r:.60}")
    return found


def _each_key_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        [(twice, _)] = Counter(key for key, _ in pairs).most_common(1)
        raise ValueError(f"the key {twice!r:.60} is there twice in one object")
    return found


def _may_have_huge_number(text: str) -> bool:
    """Whether there are more than `MAX_DIGITS` digits in a row: they fill a block. (A hook for each number is slow.)"""
    block = MAX_DIGITS // 2
    return any(text[start : start + block].isdecimal() for start in range(0, len(text), block))


def _whole_number(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def read_json(path: str | Path, expected: str = "JSON", kind: type = object) -> Any:
    """The content of a JSON file. Raises `InputError` as `read_text` and `parse_json`."""
    return parse_json(read_text(path), str(path), expected, kind)


def read_toml(path: str | Path, expected: str) -> dict[str, Any]:
    """A TOML file as nested plain values. Raises `InputError`, which says what was `expected`, for text that is not
    TOML or is nested deeper than `MAX_DEPTH`, and as `read_text`."""
    text = read_text(path)
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # ValueError: not TOML, or a number of thousands of digits
        escape = any(word in str(error) for word in ("hex value", "Unescaped"))
        advice = ": write paths with / or in 'single quotes'" if escape else ""
        raise InputError(f"{path} is not valid TOML: {one_line(error)}{advice}") from None
    if _is_deep(values):
        raise InputError(f"{path}: tables or lists are nested deeper than {MAX_DEPTH} levels: expected {expected}")
    return values


def _is_deep(values: dict[str, Any]) -> bool:
    """Whether tables or lists are nested deeper than `MAX_DEPTH`."""
    level: list[Any] = [values]
    for _ in range(MAX_DEPTH):
        level = [each for v in level for each in (v.values() if isinstance(v, dict) else v)]
        level = [each for each in level if isinstance(each, (dict, list))]
    return bool(level)


def read_json_lines(path: str | Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file with one on each line, with the numbers of their lines, from 1.

    A line that is damaged, as the last one after a kill, is left out with a warning. Raises `InputError` if the file
    cannot be read, or for JSON that is not an object.
    """
    with reading(path), open_regular(path) as file:
        lines = file.read().split(b"\n")
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found = parse_json(decode_text(line, f"line {number}"), f"line {number}", "an object")
        except InputError:
            log.warning("%s: line %d is damaged: it is left out", path, number)
            continue
        if not isinstance(found, dict):
            raise InputError(f"{path} has a line of another kind ({found!r:.40}): expected an object: remove the line")
        yield number, found
