"""Distrust after an edit of people: where an exchange begins and ends, a jump may have gone, or a new one come."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..poses import OF_POINTS, PoseSequence
from ..sequences.distrust import with_distrust
from .canvas import PLACED, Canvas, Change

NEAR = 12
"""Frames on either side of an end of an edit in which distrust is computed again."""
WINDOW = 60
"""Frames on either side from which is learned what is usual for the person."""


OF_PEOPLE = frozenset({"exchange_ids", "exchange_sides", "split", "join", "remove", "put"})
"""Kinds of edits after which it is."""


def refresh(canvas: Canvas, change: Change) -> None:
    """Compute the distrust again near the ends of an edit, except of points that were placed by hand."""
    for end in sorted(set(change.frames or ())):
        start, near = max(end - WINDOW, 0), slice(max(end - NEAR, 0), end + NEAR + 1)
        again = _judged(canvas, slice(start, end + WINDOW + 1))
        ids = np.unique(canvas.track_ids[max(end - 1, 0) : end + 2])
        wanted = np.isin(canvas.track_ids[near], ids[ids >= 0]) & ~canvas.checked[near]
        frames, slots, points = np.nonzero(wanted[..., None] & (canvas.marks[near] != PLACED))
        frames += near.start
        for name in ("distrust", "distrust_reasons"):
            canvas.put(name, (frames, slots, points), getattr(again, name)[frames - start, slots, points])


def _judged(canvas: Canvas, frames: slice) -> PoseSequence:
    """Everybody in some frames, with distrust."""
    arrays = {name: getattr(canvas, name)[frames] for name in ("keypoints", "scores", "boxes", "track_ids")}
    times = {name: getattr(canvas.opened, name)[frames] for name in ("frame_index", "pts")}
    none: dict[str, Any] = dict.fromkeys(OF_POINTS)
    return with_distrust(replace(canvas.opened, **arrays, **times, **none))
