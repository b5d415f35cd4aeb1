"""The chunks of a clip put together, and the frames between those that were estimated."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .clip_stream import ChunkResult
from .errors import InputError
from .poses import PoseSequence
from .tracks import Track, iter_tracks, join_tracks


def join_chunks(chunks: Iterable[ChunkResult]) -> PoseSequence:
    """The sequence of all chunks, frames that were not estimated interpolated (see `interpolate`).

    `meta["clip"]` holds how many frames were estimated and detected, scene cuts, and what was out of the ordinary.
    Raises `InputError` where there is no frame.
    """
    chunks = list(chunks)
    if not chunks:
        raise InputError("a clip without frames: nothing to put together")
    parts = [chunk.sequence for chunk in chunks]
    raw = PoseSequence(
        keypoints=_stacked([part.keypoints for part in parts], np.nan),
        scores=_stacked([part.scores for part in parts], 0),
        boxes=_stacked([part.boxes for part in parts], 0),
        track_ids=_stacked([part.track_ids for part in parts], -1),
        frame_index=np.concatenate([part.frame_index for part in parts]),
        pts=np.concatenate([part.pts for part in parts]),
        size=parts[0].size,
        frame_rate=parts[0].frame_rate,
        keypoint_set=parts[0].keypoint_set,
        meta=_joined_meta([part.meta for part in parts]),
    )
    return interpolate(raw, np.concatenate([chunk.estimated for chunk in chunks]))


def _stacked(parts: Sequence[np.ndarray], empty: float) -> np.ndarray:
    """Arrays (T_i, P_i, ...) one after another -> (sum T_i, max P_i, ...), filled up with `empty`."""
    inner = [max(sizes) for sizes in zip(*(part.shape[1:] for part in parts), strict=True)]
    result = np.full((sum(map(len, parts)), *inner), empty, parts[0].dtype)
    start = 0
    for part in parts:
        if part.size:
            result[(slice(start, start + len(part)), *(slice(length) for length in part.shape[1:]))] = part
        start += len(part)
    result.setflags(write=False)
    return result


def _joined_meta(metas: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What the last estimated chunk says, with counts, cuts and notes of all."""
    full = [meta for meta in metas if meta["clip"]["counts"]] or list(metas)
    counts: Counter[str] = Counter()
    for meta in metas:
        counts.update(meta["clip"]["counts"])
    cuts = [index for meta in metas for index in meta["clip"]["scene_cuts"]]
    clip: dict[str, Any] = {"counts": dict(counts), "scene_cuts": cuts}
    sizes = [meta.get("settings", {}).get("batch_size") for meta in full]
    changes = [size for number, size in enumerate(sizes) if number == 0 or size != sizes[number - 1]]
    if len(changes) > 1:
        clip["batch_sizes"] = changes
    return {**full[-1], "clip": clip}


def interpolate(sequence: PoseSequence, estimated: np.ndarray) -> PoseSequence:
    """Frames that were not estimated get the people whom both estimated neighbours show.

    Keypoints, boxes and scores lie on the straight line between those of the neighbours, by frame number. A point that
    either neighbour lacks is absent. `meta["interpolated"]` says how many frames it were.

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
    last = len(track) - 1  # a track ends at an estimated frame, but the neighbour beyond may be another's
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
