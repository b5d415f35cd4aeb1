"""Keypoints of frames that were not estimated, from their neighbors."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..poses import PoseSequence
from .tracks import Track, iter_tracks, join_tracks


def interpolate(sequence: PoseSequence, estimated: np.ndarray) -> PoseSequence:
    """Frames that were not estimated get the people whom both estimated neighbors show.

    Keypoints, boxes and scores lie on the straight line between those of the neighbors, by frame number. A point that
    either neighbor lacks is absent. `meta["interpolated"]` says how many frames they are.

    Args:
        estimated: (T,) bool; the first frame is.
    """
    if estimated.all():
        return sequence
    rows = np.arange(len(sequence))
    before = np.maximum.accumulate(np.where(estimated, rows, 0))
    after = np.minimum.accumulate(np.where(estimated, rows, len(sequence) - 1)[::-1])[::-1]
    tracks = [_between(track, before, after).compact() for track in iter_tracks(sequence)]
    note = f"{int((~estimated).sum())} of {len(sequence)} frames: keypoints, boxes and scores on straight lines"
    return replace(join_tracks(sequence, tracks), meta={**sequence.meta, "interpolated": note})


def _between(track: Track, before: np.ndarray, after: np.ndarray) -> Track:
    own = slice(track.start, track.start + len(track))
    last = len(track) - 1  # a track ends at an estimated frame, but the neighbor beyond may be another's
    low, high = before[own] - track.start, after[own] - track.start
    inside = (low >= 0) & (high <= last)
    low, high = np.clip(low, 0, last), np.clip(high, 0, last)
    way = track.times[high] - track.times[low]
    share = np.where(way > 0, (track.times - track.times[low]) / np.maximum(way, 1), 0)

    def line(values: np.ndarray) -> np.ndarray:
        part = share.reshape(-1, *[1] * (values.ndim - 1))
        return np.where(part > 0, values[low] + (values[high] - values[low]) * part, values[low])

    present = inside & track.present[low] & track.present[high]
    scores = np.where(present[:, None], line(track.scores), 0)
    return replace(track, present=present, keypoints=line(track.keypoints), scores=scores, boxes=line(track.boxes))
