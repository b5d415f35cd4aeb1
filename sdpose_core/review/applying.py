"""Edits applied to poses, with the distrust after them, and the poses that come of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import restated
from ..poses import PoseSequence
from ..sequences.distrust import with_distrust
from ..stated import list_in, mapping_in
from ..version import __version__
from .canvas import Canvas, Change
from .operations import apply
from .refresh import OF_PEOPLE, refresh

UNDO_BYTES = 256 << 20
"""Of what edits changed, kept for a quick undo; older edits are undone by applying all others again."""


def apply_edit(canvas: Canvas, op: Mapping[str, Any], *, judge: bool) -> Change:
    """Apply an edit, or change nothing; `judge`: with the distrust after it."""
    change = apply(canvas, op)
    try:
        if judge and op["kind"] in OF_PEOPLE:
            refresh(canvas, change)
    except BaseException:
        canvas.revert(change)
        raise
    return change


class History:
    """What the last edits changed, for a quick undo; the oldest are forgotten if they are large."""

    def __init__(self) -> None:
        self._changes: deque[Change] = deque()
        self._bytes = 0

    def add(self, change: Change) -> None:
        """Keep what an edit changed."""
        self._changes.append(change)
        self._bytes += change.bytes
        while len(self._changes) > 1 and self._bytes > UNDO_BYTES:
            self._bytes -= self._changes.popleft().bytes

    def pop(self) -> Change | None:
        """What the last edit changed, which is then forgotten; None if it is not kept any more."""
        if not self._changes:
            return None
        change = self._changes.pop()
        self._bytes -= change.bytes
        return change


def apply_all(opened: PoseSequence, edits: Sequence[Mapping[str, Any]], *, judge: bool) -> tuple[Canvas, History]:
    """The poses as they were opened with edits, and what these changed; `judge`: with the distrust after them.

    Raises `InputError` that names an edit that cannot be applied.
    """
    canvas, history = Canvas(opened), History()
    for number, op in enumerate(edits, 1):
        with restated(f"correction {number} of {len(edits)} cannot be applied again"):
            history.add(apply_edit(canvas, op, judge=judge))
    return canvas, history


def corrected(sequence: PoseSequence, edits: Sequence[Mapping[str, Any]]) -> Canvas:
    """The poses with edits and the distrust after them; distrust that they lack is computed first.

    Raises `InputError` that names an edit that cannot be applied.
    """
    known = sequence if sequence.distrust is not None else with_distrust(sequence)
    return apply_all(known, edits, judge=True)[0]


def result_of(canvas: Canvas, edits: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> PoseSequence:
    """The poses as they are now; `meta["review"]` lists the edits, and what was placed by hand or checked.

    Args:
        edits: those that were made to the canvas; those of earlier reviews are listed before them.
        about: the first line of their journal.
    """
    sequence = canvas.result()
    earlier = list_in(mapping_in(sequence.meta, "review"), "edits")
    review = {
        "of": {key: value for key, value in about.items() if key != "journal"},
        "edits": [*earlier, *edits],
        "placed": canvas.placed(),
        "checked": checked_in(canvas),
        "library_version": __version__,
    }
    return replace(sequence, meta={**sequence.meta, "review": review})


def checked_in(canvas: Canvas) -> list[list[int]]:
    """[frame, id] of what was looked at and found right."""
    frames, slots = np.nonzero(canvas.checked & (canvas.track_ids >= 0))
    return [[int(t), int(canvas.track_ids[t, slot])] for t, slot in zip(frames, slots, strict=True)]
