"""What the saving nodes wrote in this process, so that a result whose files are gone is made again.

ComfyUI keeps results, also of earlier runs, as long as nothing changed that it knows of. The files of a result may be
gone all the same, or another run may have written others under their names: the number in `fingerprint_inputs` then
changes. It does not say which inputs came by wire, so results of other wires with the same values are made again too;
Annotate Video then uses its `intact` files and estimates nothing.
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

Files = dict[Path, Stamp | None]
"""The files of one result; None: users may change it in place."""

ROUNDING = 2.0
"""Seconds by which a file system may round the time of a file after it was written."""

REMEMBERED = 20
"""Results of a node with the same values, over different wires."""


class WrittenFiles:
    """The files of the last results of each node with each set of values."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], Run] = {}
        self._results: dict[Run, list[Files]] = {}
        self._running: dict[Run, Files] = {}
        self._changes: dict[Run, int] = {}

    def changes(self, kind: str, node: Any, values: Mapping[str, Any]) -> int:
        """How many times files of this node, with these values, were found to be gone or replaced.

        Asked by ComfyUI before each run (see `fingerprint_inputs`); `values` are those that do not come by wire.
        """
        run = (kind, str(node), repr(sorted(values.items())))
        self._asked[run[:2]] = run
        self._running.pop(run, None)
        results = self._results.get(run, [])
        there = [files for files in results if all(_is_there(path, stamp) for path, stamp in files.items())]
        if len(there) < len(results):
            self._results[run] = there
            self._changes[run] = self._changes.get(run, 0) + 1
        return self._changes.get(run, 0)

    def intact(self, kind: str, node: Any) -> set[Path]:
        """The files of all results of the node with the values that ComfyUI asked about last."""
        run = self._asked.get((kind, str(node)))
        return set() if run is None else {path for files in self._results.get(run, []) for path in files}

    def remember(self, kind: str, node: Any, files: Iterable[Path], *, edited: bool) -> None:
        """Note what a node wrote in the run that ComfyUI asked about last, once for each of a list of inputs.

        `edited`: whether users may change the files in place: they are still the node's.
        """
        if run := self._asked.get((kind, str(node))):
            written = self._running.setdefault(run, {})
            written.update((path, None if edited else _stamp(path)) for path in files)
            others = [each for each in self._results.get(run, []) if each is not written and not each.keys() & written]
            self._results[run] = [*others, written][-REMEMBERED:]


def _stamp(path: Path) -> Stamp:
    found = path.stat()
    return found.st_mtime, found.st_size


def _is_there(path: Path, stamp: Stamp | None) -> bool:
    if not os.path.exists(path):
        return False
    time, size = _stamp(path)
    return stamp is None or (abs(time - stamp[0]) <= ROUNDING and size == stamp[1])


WRITTEN = WrittenFiles()
