"""Kinds of input: what a command takes, and what it leaves to another one."""

from __future__ import annotations

import os
import shlex
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from .errors import counted
from .images import IMAGE_SUFFIXES, UNREADABLE


@dataclass(frozen=True)
class Elsewhere:
    """Inputs that another command takes.

    Attributes:
        word: their name.
        suffixes: of such files in a folder (lower case).
        accepts: whether a file that is named is one of them.
        one, several: the commands that take one, and several.
    """

    word: str
    suffixes: Collection[str]
    accepts: Callable[[Path], bool]
    one: str
    several: str

    def where(self, text: str, out: Path) -> str:
        """What to do about a file that is one of them."""
        return f"it is a {self.word}; run: {self.one} {shlex.quote(text)} -o {shlex.quote(str(out))}"

    def left_out(self, texts: Mapping[str, int], out: Path) -> str:
        """What to do about as many of them as lie in the folders that were named; "" if there are none."""
        count = sum(texts.values())
        names = " ".join(shlex.quote(text) for text in texts)
        command = f"{self.several} {names} -o {shlex.quote(str(out))}"
        return f"{counted(count, self.word)}; for {'it' if count == 1 else 'them'}, run: {command}" if count else ""


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        word: its name.
        suffixes: of its files in a folder (lower case).
        accepts: whether a file in a folder, or one that matches a pattern, is of this kind.
        from_folders: a folder in a list is an input itself, not the files in it.
        unreadable: suffixes of such files in formats that are not read (lower case).
        elsewhere: what another command takes.
    """

    word: str
    suffixes: Collection[str]
    accepts: Callable[[Path], bool]
    from_folders: bool = False
    unreadable: Collection[str] = ()
    elsewhere: Elsewhere | None = None

    def none(self, what: str) -> str:
        """The error of a folder or pattern without such files."""
        return f"{what} ({', '.join(sorted(self.suffixes))})"


PICTURES = Kind(
    "picture", IMAGE_SUFFIXES, lambda path: path.suffix.lower() in IMAGE_SUFFIXES and os.path.isfile(path),
    unreadable=UNREADABLE,
)  # fmt: skip
