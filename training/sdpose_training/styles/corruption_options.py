"""Options of the scripts that choose corruptions."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from sdpose_core.errors import InputError
from sdpose_training.options import whole_number
from sdpose_training.styles.corruptions import FAMILIES, KINDS, SEVERITIES, parse_kinds, parse_severities


def add_corruptions(group: Any) -> None:
    """Add `--corruptions`, `--severities` and `--corruption-seed` to a parser or an argument group."""
    add = group.add_argument
    add("--corruptions", type=_typed(parse_kinds), default=tuple(KINDS), metavar="NAMES", help="families "
        f"({', '.join(FAMILIES)}) and kinds ({', '.join(KINDS)}), separated by commas (default: all)")  # fmt: skip
    add("--severities", type=_typed(parse_severities), default=SEVERITIES, metavar="LIST", help="such as 1,3,5 "
        "(default: all, 1 to 5)")  # fmt: skip
    add("--corruption-seed", type=whole_number(0), default=0, metavar="N", help="other noise, other snow (default: 0)")


def _typed(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """An option type from a function that raises `InputError`."""

    def value(text: str) -> Any:
        try:
            return parse(text)
        except InputError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return value
