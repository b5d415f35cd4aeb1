"""The journal of a review: every edit is on disk before the page hears that it is done.

A text file of one JSON object per line. The first line states which poses are edited; the others are `{"op": edit}`,
`{"undo": true}`, `{"redo": true}` and `{"saved": name}`. A line that a killed process did not finish is cut off.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import InputError, writing
from ..files import open_regular
from ..resumable import release_and_remove, take_lock

VERSION = 1


class Journal:
    """The journal at `path`, locked for this process until `close`.

    Attributes:
        entries: those that are in it when it is opened, without the first line.
        about: its first line: what is edited.

    Raises `InputError` for a damaged journal, and if another process has it open.
    """

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path = path
        self._lock = take_lock(path.with_name(f".{path.name}.lock"))
        try:
            self.about, self.entries = self._read(about)
        except BaseException:
            self.close()
            raise

    def _read(self, about: Mapping[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        stated = {"journal": VERSION, **about}
        if not os.path.lexists(self.path):
            return stated, []
        with open_regular(self.path) as file:
            content = file.read()
        whole = content[: content.rfind(b"\n") + 1]
        lines = [self._line(number, text) for number, text in enumerate(whole.splitlines(), 1)]
        if len(whole) < len(content):
            with writing(self.path):
                os.truncate(self.path, len(whole))
        if not lines:
            return stated, []
        if lines[0].get("journal") != VERSION:
            raise InputError(f"{self.path} is not a journal of this version of sdpose: move it away, or update sdpose")
        return lines[0], lines[1:]

    def _line(self, number: int, text: bytes) -> dict[str, Any]:
        try:
            entry = json.loads(text)
        except ValueError as error:
            raise InputError(f"{self.path}: line {number} is damaged ({error}): move it away to begin again") from None
        if not isinstance(entry, dict):
            raise InputError(f"{self.path}: line {number}: expected an object: move it away to begin again")
        return entry

    def add(self, **entry: Any) -> None:
        """Append an entry; it is on disk when this returns. Raises `InputError` if it cannot be written."""
        with writing(self.path), self.path.open("ab") as file:
            size = file.tell()
            lines = [entry] if size else [self.about, entry]
            text = "".join(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n" for line in lines)
            try:
                file.write(text.encode())
                file.flush()
                os.fsync(file.fileno())
            except OSError:  # such as a full disk: no half line may stay
                os.truncate(self.path, size)
                raise

    def set_aside(self, about: Mapping[str, Any]) -> Path:
        """Keep what is in it under another name, and begin again. Returns that name."""
        number = 1
        while (kept := self.path.with_name(f"{self.path.stem}-{number}{self.path.suffix}")).exists():
            number += 1
        with writing(kept):
            self.path.rename(kept)
        self.about, self.entries = {"journal": VERSION, **about}, []
        return kept

    def close(self) -> None:
        """Free the lock."""
        release_and_remove(self._lock)


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
