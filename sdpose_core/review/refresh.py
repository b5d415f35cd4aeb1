"""Distrust after an edit of people: where an exchange begins and ends, a jump may have gone, or a new one come."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..sequences.distrust import with_distrust
from .canvas import PLACED, Canvas, Change

NEAR = 12
"""Frames on either side of an end of an edit in which distrust is computed again."""
WINDOW = 60
"""Frames on either side from which is learned what is usual for the person."""


OF_PEOPLE = frozenset({"exchange_ids", "exchange_sides", "split", "join", "remove", "put"})
"""Kinds of edits after which it is."""


def refresh(canvas: Canvas, change: Change) -> None:
    """Compute the distrust again near the ends of an edit, except of points that were decided by hand."""
    for end in sorted(set(change.frames or ())):
        low, high = max(end - NEAR, 0), min(end + NEAR, len(canvas) - 1)
        ids = np.unique(canvas.track_ids[max(end - 1, 0) : end + 2])
        for track_id in ids[ids >= 0].tolist():
            _refresh_person(canvas, track_id, end, low, high)


def _refresh_person(canvas: Canvas, track_id: int, end: int, low: int, high: int) -> None:
    frames, slots = canvas.places(max(end - WINDOW, 0), min(end + WINDOW, len(canvas) - 1), track_id)
    opened = canvas.opened
    person = replace(
        opened, keypoints=canvas.keypoints[frames, slots][:, None], scores=canvas.scores[frames, slots][:, None],
        boxes=canvas.boxes[frames, slots][:, None], track_ids=canvas.track_ids[frames, slots][:, None],
        frame_index=opened.frame_index[frames], pts=opened.pts[frames], distrust=None, distrust_reasons=None,
        edited=None,
    )  # fmt: skip
    again = with_distrust(person)
    assert again.distrust is not None and again.distrust_reasons is not None
    near = (frames >= low) & (frames <= high) & ~canvas.checked[frames, slots]
    rows, points = np.nonzero(near[:, None] & (canvas.marks[frames, slots] < PLACED))
    index = (frames[rows], slots[rows], points)
    canvas.put("distrust", index, again.distrust[rows, 0, points])
    canvas.put("distrust_reasons", index, again.distrust_reasons[rows, 0, points])
