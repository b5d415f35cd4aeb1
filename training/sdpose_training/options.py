"""What the command lines of the scripts share: kinds of values, device and dtype, the log, errors in one line."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable
from typing import Any

from sdpose_core.errors import InputError, SDPoseError

INTERRUPTED = 130


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Type of an option: a whole number between two bounds, both included."""
    expected = f"a number of at least {minimum}" if maximum is None else f"a number from {minimum} to {maximum}"

    def number(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = minimum - 1
        if value < minimum or (maximum is not None and value > maximum):
            raise argparse.ArgumentTypeError(f"expected {expected}, got {text!r}")
        return value

    return number


def size(minimum: int, maximum: int | None = None, multiple_of: int = 1) -> Callable[[str], tuple[int, int]]:
    """Type of an option: WIDTHxHEIGHT in pixels -> (w, h), both sides within bounds and multiples of a number."""
    bounds = f"at least {minimum}" if maximum is None else f"{minimum} to {maximum}"
    expected = f"{bounds} pixels" + (f", multiples of {multiple_of}" if multiple_of > 1 else "")

    def sides(text: str) -> tuple[int, int]:
        w, _, h = text.lower().partition("x")
        if not w.isdecimal() or not h.isdecimal():
            raise argparse.ArgumentTypeError(f"expected WIDTHxHEIGHT such as 768x1024, got {text!r}")
        if any(not minimum <= n <= (maximum or n) or n % multiple_of for n in (int(w), int(h))):
            raise argparse.ArgumentTypeError(f"expected sides of {expected}, got {text!r}")
        return int(w), int(h)

    return sides


def whole_numbers(text: str) -> tuple[int, ...]:
    """Type of an option: numbers with commas between them."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers such as 0,1,2, got {text!r}") from None


def check_seeds(seeds: Any, where: str) -> tuple[int, ...]:
    """Seeds as given; `InputError` for anything else, or for the same twice, whose results would share one place."""
    numbers = isinstance(seeds, list | tuple) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not numbers or not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"{where}: expected numbers from 0, each once, such as 0, 1, found {seeds!r:.60}")
    return tuple(seeds)


def add_device(parser: Any) -> None:
    """--device and --dtype, for a parser or a group of it."""
    parser.add_argument("--device", default="auto", metavar="auto|cuda|cuda:1|mps|cpu", help="default: the best here")
    parser.add_argument("--dtype", default="auto", choices=("auto", "fp32", "bf16", "fp16"), help="default: auto")


def start_log(*quiet: str) -> None:
    """Log to stderr; packages named here only warn."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s", stream=sys.stderr)
    for package in quiet:
        logging.getLogger(package).setLevel(logging.WARNING)


def exit_status(command: str, work: Callable[[], int | None], *, resumes: bool = False) -> int:
    """The exit status that `work` returns (None is 0), or 1 after an `SDPoseError`, which is printed in one line.

    Args:
        resumes: the command continues where it was stopped; Ctrl-C says so and gives 130.
    """
    try:
        return work() or 0
    except SDPoseError as error:
        print(f"{command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        if not resumes:
            raise
        print(f"{command}: stopped; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
