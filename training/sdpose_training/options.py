"""Shared by the command lines of the scripts: value types, device and dtype, logging, one-line errors."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from sdpose_core.errors import InputError, SDPoseError
from sdpose_core.streams import lasting_streams, log_to_stderr

INTERRUPTED = 130

RESUMES = "run the same command again to resume"


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Option type: a whole number between two bounds, both included."""
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
    """Option type: WIDTHxHEIGHT in pixels -> (w, h), both within the bounds and multiples of `multiple_of`."""
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
    """Option type: whole numbers separated by commas."""
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"expected whole numbers such as 0,1,2, got {text!r}") from None


def split_name(value: str) -> tuple[str, str]:
    """ "NAME=SOURCE" -> both; a source without a name -> "" and the source.

    A name has no colon, as `KIND:FILE,key=value` is a source alone; so is what exists as a file or folder.
    """
    name, equals, source = value.partition("=")
    return (name, source) if equals and ":" not in name and not Path(value).exists() else ("", value)


def named_paths(option: str, values: Sequence[str]) -> dict[str, Path]:
    """Values NAME=PATH of an option -> name -> path. `InputError` for another form, or a name that occurs twice."""
    pairs: dict[str, Path] = {}
    for value in values:
        name, _, path = value.partition("=")
        if not name or not path or name in pairs:
            raise InputError(f"{option} {value!r}: expected NAME=PATH, each name once")
        pairs[name] = Path(path)
    return pairs


def check_seeds(seeds: Any, where: str) -> tuple[int, ...]:
    """The seeds as a tuple; `InputError` if they are not whole numbers from 0, or if one occurs twice."""
    numbers = isinstance(seeds, list | tuple) and all(type(seed) is int and seed >= 0 for seed in seeds)
    if not numbers or not seeds or len(set(seeds)) < len(seeds):
        raise InputError(f"{where}: expected numbers from 0, each once, such as 0, 1, found {seeds!r:.60}")
    return tuple(seeds)


def add_device(parser: Any) -> None:
    """Add --device and --dtype to a parser or an argument group."""
    parser.add_argument("--device", default="auto", metavar="auto|cuda|cuda:1|mps|cpu", help="default: best available")
    parser.add_argument("--dtype", default="auto", choices=("auto", "fp32", "bf16", "fp16"), help="default: auto")


def start_log(*quiet: str) -> None:
    """Log to stderr; the `quiet` packages log warnings only."""
    log_to_stderr(logging.INFO)
    for package in quiet:
        logging.getLogger(package).setLevel(logging.WARNING)


def exit_status(command: str, work: Callable[[], int | None], *, resumes: str = "run the same command again") -> int:
    """The exit status that `work` returns (None is 0), or 1 after printing an `SDPoseError` in one line.

    Ctrl-C prints how to go on (`resumes`) and gives 130. Output that cannot be encoded, or that nobody reads any
    more, does not end the work, see `lasting_streams`.
    """
    with lasting_streams() as streams:
        try:
            return streams.status(work() or 0)
        except SDPoseError as error:
            print(f"{command}: {error}", file=sys.stderr)
            return 1
        except KeyboardInterrupt:
            print(f"{command}: stopped; {resumes}", file=sys.stderr)
            return INTERRUPTED
