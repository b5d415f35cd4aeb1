"""What the saving nodes wrote in this process, so that a result whose files are gone is made again.

ComfyUI keeps results of a run as long as nothing changed that it knows of. The files of a result may be gone all the
same, or another run may have written others under their names: the number in `fingerprint_inputs` then changes.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

Run = tuple[str, str, str]
"""Kind of node, its id in the graph, and the values of its widgets."""

Stamp = tuple[float, int]
"""Time in seconds, and size of a file."""

ROUNDING = 2.0
"""Seconds by which a file system may round the time of a file after it was written."""


class WrittenFiles:
    """The files of the last run of each node with each set of values."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], Run] = {}
        self._files: dict[Run, dict[Path, Stamp | None]] = {}
        self._running: dict[Run, dict[Path, Stamp | None]] = {}
        self._changes: dict[Run, int] = {}

    def changes(self, kind: str, node: Any, values: Mapping[str, Any]) -> int:
        """How many times files of this node, with these values, were found to be gone or replaced.

        Asked by ComfyUI before each run (see `fingerprint_inputs`); `values` are those that do not come by wire.
        """
        run = (kind, str(node), repr(sorted(values.items())))
        self._asked[run[:2]] = run
        self._running.pop(run, None)
        if any(not _is_there(path, stamp) for path, stamp in self._files.get(run, {}).items()):
            del self._files[run]
            self._changes[run] = self._changes.get(run, 0) + 1
        return self._changes.get(run, 0)

    def remember(self, kind: str, node: Any, files: Iterable[Path], *, edited: bool) -> None:
        """Note what a node wrote in the run that ComfyUI asked about last, once for each of a list of inputs.

        `edited`: whether users may change the files in place: they are still the node's.
        """
        if run := self._asked.get((kind, str(node))):
            written = self._running.setdefault(run, {})
            written.update((path, None if edited else _stamp(path)) for path in files)
            self._files[run] = written


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_mtime, found.st_size


def _is_there(path: Path, stamp: Stamp | None) -> bool:
    if not os.path.exists(path):
        return False
    time, size = _stamp(path)
    return stamp is None or (abs(time - stamp[0]) <= ROUNDING and size == stamp[1])


WRITTEN = WrittenFiles()
