"""Keypoints of skipped frames, interpolated between estimated ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..poses import PoseSequence
from .tracks import Track, iter_tracks, join_tracks


def interpolate(sequence: PoseSequence, estimated: np.ndarray) -> PoseSequence:
    """Fill skipped frames with the people that both estimated neighbors show.

    Keypoints, boxes and scores are interpolated linearly by the times of the frames; a point that either neighbor lacks
    is absent. `estimated` is (T,) bool and begins with True; `meta["interpolated"]` gives the number of filled frames.
    """
    if estimated.all():
        return sequence
    rows = np.arange(len(sequence))
    before = np.maximum.accumulate(np.where(estimated, rows, 0))
    after = np.minimum.accumulate(np.where(estimated, rows, len(sequence) - 1)[::-1])[::-1]
    tracks = [_between(track, before, after).astype(np.float32) for track in iter_tracks(sequence)]
    note = f"{int((~estimated).sum())} of {len(sequence)} frames: keypoints, boxes and scores interpolated"
    return replace(join_tracks(sequence, tracks), meta={**sequence.meta, "interpolated": note})


def _between(track: Track, before: np.ndarray, after: np.ndarray) -> Track:
    rows = slice(track.start, track.start + len(track))
    last = len(track) - 1  # the estimated frames around a row may lie outside the track
    low, high = before[rows] - track.start, after[rows] - track.start
    inside = (low >= 0) & (high <= last)
    low, high = np.clip(low, 0, last), np.clip(high, 0, last)
    gap = track.clock[high] - track.clock[low]
    weight = np.where(gap > 0, (track.clock - track.clock[low]) / np.where(gap > 0, gap, 1), 0)

    def line(values: np.ndarray) -> np.ndarray:
        part = weight.reshape(-1, *[1] * (values.ndim - 1))
        return np.where(part > 0, values[low] + (values[high] - values[low]) * part, values[low])

    present = inside & track.present[low] & track.present[high]
    scores = np.where(present[:, None], line(track.scores), 0)
    return replace(track, present=present, keypoints=line(track.keypoints), scores=scores, boxes=line(track.boxes))
