"""Texts and JSON that a person hands in, in any Unicode encoding that editors and shells write."""

from __future__ import annotations

import codecs
import json
from pathlib import Path
from typing import Any

from .errors import InputError, one_line

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
    """The text of a file, see `decode_text`. Raises `InputError` if it cannot be read."""
    try:
        content = Path(path).read_bytes()
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    return decode_text(content, str(path), errors=errors)


def parse_json(text: str, name: str, expected: str = "JSON") -> Any:
    """Parsed JSON. Raises `InputError`, which says what was `expected`, for text that is no JSON or too deep."""
    try:
        return json.loads(text)
    except RecursionError:
        raise InputError(f"{name}: lists or objects are nested too deep: expected {expected}") from None
    except ValueError as error:
        reason = one_line(error) if text.strip() else "it is empty"
        raise InputError(f"{name} is not JSON ({reason}): expected {expected}") from None


def read_json(path: str | Path, expected: str = "JSON") -> Any:
    """The content of a JSON file. Raises `InputError` as `read_text` and `parse_json`."""
    return parse_json(read_text(path), str(path), expected)
