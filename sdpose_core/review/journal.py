"""The journal of a review: every edit is on disk before the page hears that it is done.

A text file of one JSON object per line. The first line states which poses are edited; the others are `{"op": edit}`,
`{"undo": true}`, `{"redo": true}` and `{"saved": name}`. A line that a killed process did not finish is cut off.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, reading, writing
from ..files import open_regular
from ..resumable import InUse, release_and_remove, take_lock

if TYPE_CHECKING:
    from filelock import BaseFileLock

VERSION = 1


class Journal:
    """The journal at `path`, locked for this process until `close`.

    Attributes:
        entries: those that are in it, without the first line.
        about: its first line: what is edited.

    Raises `InputError` for a damaged journal, and if another process has it open.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self._lock = _locked(path)
        try:
            self.about, self.entries = self._read(about)
        except BaseException:
            self.close()
            raise

    def _read(self, about: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        stated = {"journal": VERSION, **about}
        if not os.path.lexists(self.path):
            return stated, []
        with reading(self.path), open_regular(self.path) as file:
            content = file.read()
        lines = _lines_in(self._whole(content), self.path)
        if lines and lines[0].get("journal") != VERSION:
            raise InputError(f"{self.path} is not a journal of this version of sdpose: move it away, or update sdpose")
        if len(lines) < 2:  # nothing was edited yet: it may become the journal of other poses
            with writing(self.path):
                os.truncate(self.path, 0)
            return stated, []
        return lines[0], lines[1:]

    def _whole(self, content: bytes) -> bytes:
        """The lines that are complete, on disk too; an editor may have left out the last line end."""
        whole, tail = content[: content.rfind(b"\n") + 1], content[content.rfind(b"\n") + 1 :]
        if not tail:
            return whole
        try:
            _line(0, tail, self.path)
        except InputError:
            with writing(self.path):
                os.truncate(self.path, len(whole))
            return whole
        with writing(self.path):
            _append(self.path, b"\n")
        return content

    def add(self, **entry: Any) -> None:
        """Append an entry; it is on disk when this returns. Raises `InputError` if it cannot be written."""
        with writing(self.path):
            begun = self.path.exists() and self.path.stat().st_size > 0
            lines = [entry] if begun else [self.about, *self.entries, entry]  # somebody may have removed it
            text = "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)
            _append(self.path, text.encode())
        self.entries.append(entry)

    def set_aside(self, about: Mapping[str, Any]) -> Path:
        """Keep what is in it under another name, and begin again. Returns that name."""
        number = 1
        while (kept := self.path.with_name(f"{self.path.stem}-{number}{self.path.suffix}")).exists():
            number += 1
        with writing(kept):
            self.path.rename(kept)
        self.about, self.entries = {"journal": VERSION, **about}, []
        return kept

    def take_up(self, sha256: str) -> bool:
        """Go on with what was set aside for the poses with this digest, if there is anything."""
        name = re.compile(rf"{re.escape(self.path.stem)}-[0-9]+{re.escape(self.path.suffix)}")
        for kept in self.path.parent.iterdir():
            if name.fullmatch(kept.name) and _poses_of(kept) == sha256:
                with writing(self.path):
                    os.replace(kept, self.path)
                self.about, self.entries = self._read({})
                return True
        return False

    def close(self) -> None:
        """Free the lock."""
        release_and_remove(self._lock)


def _locked(path: Path) -> BaseFileLock:
    try:
        return take_lock(path.with_name(f".{path.name}.lock"))
    except InUse:
        raise InUse(f"another process has {path} open: correct these poses on its page, or stop it first") from None
    except InputError as error:
        advice = "corrections are kept there: copy the poses to a folder that can be written to"
        raise InputError(f"{error}: {advice}") from None


def read_journal(path: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The first line of a journal and its entries; empty if there is none.

    It needs no lock: a last line that another process is writing is left out. Raises `InputError` for a damaged one.
    """
    content = path.read_bytes() if path.exists() else b""
    lines = _lines_in(content[: content.rfind(b"\n") + 1], path)
    return (lines[0], lines[1:]) if lines else ({}, [])


def _lines_in(content: bytes, path: Path) -> list[dict[str, Any]]:
    return [_line(number, text, path) for number, text in enumerate(content.splitlines(), 1) if text.strip()]


def _line(number: int, text: bytes, path: Path) -> dict[str, Any]:
    try:
        entry = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: line {number} is damaged ({error}): move it away to begin again") from None
    if not isinstance(entry, dict):
        raise InputError(f"{path}: line {number}: expected an object: move it away to begin again")
    return entry


def _poses_of(path: Path) -> str | None:
    """The digest of the poses that a journal is of; None for any other file."""
    try:
        with open_regular(path) as file:
            about = json.loads(file.readline())
    except (OSError, ValueError, RecursionError):
        return None
    return about.get("sha256") if isinstance(about, dict) else None


def _append(path: Path, content: bytes) -> None:
    """Append to a file, all or nothing. Raises `OSError`, such as for a full disk."""
    with path.open("ab", buffering=0) as file:  # what a buffer holds would be written by its end, after the truncation
        size = file.tell()
        try:
            while content:
                content = content[file.write(content) :]
            os.fsync(file.fileno())
        except OSError:
            os.truncate(path, size)
            raise


def active_edits(entries: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """The edits that are in force, in order, and those that were undone and can be redone (the next one last)."""
    done: list[dict[str, Any]] = []
    undone: list[dict[str, Any]] = []
    for entry in entries:
        if "op" in entry:
            done.append(entry["op"])
            undone.clear()
        elif "undo" in entry and done:
            undone.append(done.pop())
        elif "redo" in entry and undone:
            done.append(undone.pop())
    return done, undone
