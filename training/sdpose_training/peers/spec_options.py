"""Options of a peer in its spec: `heatmap:FILE.onnx,input=192x256,decode=dark`."""

from __future__ import annotations

import argparse
import math
import os
import re
from collections.abc import Callable, Mapping
from typing import Any

from sdpose_core.errors import InputError, did_you_mean

Reader = Callable[[str], Any]

_OPTION = re.compile(r",([a-z_-]+)=([^,]*)$")


def split_options(text: str) -> tuple[str, dict[str, str]]:
    """ "FILE,key=value,key=value" -> the file, and its options as texts.

    A file whose whole name looks like this is that file. Raises `InputError` for an option that is given twice.
    """
    options: dict[str, str] = {}
    source = text
    while not os.path.exists(source) and (found := _OPTION.search(source)):
        key, value = found.groups()
        if key in options:
            raise InputError(f"{text}: the option {key!r} is given twice")
        options[key] = value
        source = source[: found.start()]
    return source, options


def read_options(given: Mapping[str, str], readers: Mapping[str, Reader], kind: str) -> dict[str, Any]:
    """Key -> value, of the given options. Raises `InputError` for an unknown key or a value that cannot be read."""
    values = {}
    for key, text in given.items():
        if key not in readers:
            hint = did_you_mean(key, readers) or f"known are {', '.join(readers)}"
            raise InputError(f"{kind}: unknown option {key!r}: {hint}")
        try:
            values[key] = readers[key](text)
        except (argparse.ArgumentTypeError, InputError) as error:
            raise InputError(f"{kind}: {key}: {error}") from None
    return values


def number(low: float, high: float = math.inf, *, above: bool = False) -> Reader:
    """Reader of a number from `low` to `high`, both included; `above`: `low` itself is not."""
    bounds = f"{'above' if above else 'of at least'} {low:g}" if high == math.inf else f"from {low:g} to {high:g}"

    def read(text: str) -> float:
        value = _float(text)
        if value is None or not low <= value <= high or (above and value == low):
            raise InputError(f"expected a number {bounds}, got {text!r}")
        return value

    return read


def channels(*, positive: bool = False) -> Reader:
    """Reader of a number for each of red, green and blue, as `123.675/116.28/103.53`, or one for all."""

    def read(text: str) -> tuple[float, float, float]:
        values = [_float(part) for part in text.split("/")]
        if len(values) not in (1, 3) or any(value is None or (positive and value <= 0) for value in values):
            kind = "positive number" if positive else "number"
            raise InputError(f"expected one {kind}, or three for red/green/blue such as 58.4/57.1/57.4, got {text!r}")
        red, green, blue = values if len(values) == 3 else values * 3
        return float(red or 0), float(green or 0), float(blue or 0)

    return read


def one_of(*choices: str) -> Reader:
    """Reader of one of these words."""

    def read(text: str) -> str:
        if text not in choices:
            raise InputError(f"expected one of {', '.join(choices)}, got {text!r}")
        return text

    return read


def switch(text: str) -> bool:
    """Reader of "on" or "off"."""
    return one_of("on", "off")(text) == "on"


def _float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None
