"""Leaving out tracks that are too short to be people: things that the detector took for somebody in a few frames."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np

from ..poses import PoseSequence
from ..times import clock_of
from .tracks import iter_tracks, join_tracks

MIN_SECONDS = 0.3
"""Default minimum length: people are longer in sight, and most of what a detector takes for people is not."""

LEFT_OUT = "short tracks left out"
"""Name of the count in `meta["clip"]["counts"]`."""


def drop_short_tracks(sequence: PoseSequence, seconds: float = MIN_SECONDS) -> PoseSequence:
    """The sequence without the people who are in it for less than `seconds` in all.

    In a scene of less than twice that length, half of the scene is enough; and half of what is asked is enough for a
    person whom the beginning or the end of the scene cuts off. `meta["clip"]["counts"]` says how many were left out.
    """
    ids = np.unique(sequence.track_ids[sequence.track_ids >= 0]).tolist()
    short = [track_id for track_id in ids if _is_short(sequence, track_id, seconds)] if seconds > 0 else []
    if not short:
        return sequence
    kept = [track for track in iter_tracks(sequence, np.float32) if track.id not in short]
    clip = sequence.meta.get("clip", {})
    counts = Counter({**clip.get("counts", {})})
    counts[LEFT_OUT] += len(short)
    return replace(join_tracks(sequence, kept), meta={**sequence.meta, "clip": {**clip, "counts": dict(counts)}})


def _is_short(sequence: PoseSequence, track_id: int, seconds: float) -> bool:
    present = (sequence.track_ids == track_id).any(axis=1)
    frames = np.flatnonzero(present)
    lasts = _durations(sequence)
    cuts = np.searchsorted(sequence.frame_index, sequence.meta.get("clip", {}).get("scene_cuts", []))
    start = max([0, *cuts[cuts <= frames[0]].tolist()])
    end = min([len(sequence), *cuts[cuts > frames[-1]].tolist()])
    needed = min(seconds, lasts[start:end].sum() / 2)
    if frames[0] == start or frames[-1] == end - 1:
        needed /= 2
    return bool(lasts[present].sum() < needed - 1e-6)


def _durations(sequence: PoseSequence) -> np.ndarray:
    """(T,) seconds that each frame lasts; before a pause of the recording, as long as others do."""
    clock = clock_of(sequence)
    steps = np.diff(clock.frames)
    usual = float(np.median(steps)) if len(steps) else 1.0
    steps = np.where(np.diff(clock.stretch) > 0, usual, steps)
    return np.append(steps, usual) / float(clock.rate)
