"""A pose sequence taken apart into the `Scene` of each person."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ...poses import PoseSequence
from ...times import clock_of, has_times
from ..tracks import Track, iter_tracks
from .layout import layout_of, radii
from .scene import Others, Scene


def is_pictures(sequence: PoseSequence) -> bool:
    """Whether the frames have nothing to do with one another: pictures, or a single frame."""
    return len(sequence) == 1 or not has_times(sequence)


def scenes(sequence: PoseSequence, raw: PoseSequence | None = None) -> Iterator[tuple[Scene, np.ndarray, np.ndarray]]:
    """What the signals of each person read, and the frames (M,) and slots (M,) of `scene.rows`, one at a time."""
    if is_pictures(sequence):
        yield from _pictures(sequence)
        return
    layout = layout_of(sequence.keypoint_set, sequence.scores.shape[2])
    clock = clock_of(sequence)
    raw_tracks = iter_tracks(raw, np.float32) if raw is not None else iter(())
    before = next(raw_tracks, None)
    for track in iter_tracks(sequence, np.float32):
        while before is not None and before.id < track.id:
            before = next(raw_tracks, None)
        same = before is not None and before.id == track.id
        rows = np.flatnonzero(track.present)
        frames = track.start + rows
        slots = (sequence.track_ids[frames] == track.id).argmax(axis=1)
        last, (start, end) = track.start + len(track) - 1, _ends(sequence, track)
        scene = Scene(
            track, None if raw is None else _aligned(before if same else None, track),
            _others(sequence, track), sequence.size,
            (clock.frames[track.start : last + 1] - clock.frames[track.start]) / float(clock.rate),
            track.start > start, last < end, radii(track, layout), layout, rows,
        )  # fmt: skip
        yield scene, frames, slots


def _ends(sequence: PoseSequence, track: Track) -> tuple[int, int]:
    """Positions of the first and last frame of the scene that a track begins in; cuts end all tracks."""
    cuts = np.searchsorted(sequence.frame_index, sequence.meta.get("clip", {}).get("scene_cuts", []))
    start = max([0, *cuts[cuts <= track.start].tolist()])
    end = min([len(sequence), *cuts[cuts > track.start].tolist()]) - 1
    return start, end


def _aligned(raw: Track | None, track: Track) -> Track:
    """The raw track at the frames of `track`, absent where it has none."""
    if raw is None:
        return _absent(track)
    at = np.arange(track.start, track.start + len(track)) - raw.start
    inside = (at >= 0) & (at < len(raw))
    result = _absent(track)
    for name in ("keypoints", "scores", "boxes", "present"):
        getattr(result, name)[inside] = getattr(raw, name)[at[inside]]
    return result


def _absent(track: Track) -> Track:
    """A track of the same frames without the person."""
    return replace(
        track, keypoints=np.full_like(track.keypoints, np.nan), scores=np.zeros_like(track.scores),
        boxes=np.full_like(track.boxes, np.nan), present=np.zeros_like(track.present),
    )  # fmt: skip


def _others(sequence: PoseSequence, track: Track) -> Others:
    frames = np.arange(track.start, track.start + len(track))
    ids = sequence.track_ids[frames]
    return Others(sequence, frames, (ids >= 0) & (ids != track.id))


def _pictures(sequence: PoseSequence) -> Iterator[tuple[Scene, np.ndarray, np.ndarray]]:
    """The same of pictures: everybody in a row, as if each were alone in time."""
    layout = layout_of(sequence.keypoint_set, sequence.scores.shape[2])
    frames, slots = np.nonzero(sequence.track_ids >= 0)
    if not len(frames):
        return
    rows = np.arange(len(frames))
    track = Track(
        0, 0, rows.astype(float), rows.astype(float), rows, np.ones(len(rows), bool),
        sequence.keypoints[frames, slots], sequence.scores[frames, slots], sequence.boxes[frames, slots],
    )  # fmt: skip
    other = (sequence.track_ids[frames] >= 0) & (np.arange(sequence.track_ids.shape[1]) != slots[:, None])
    scene = Scene(
        track, None, Others(sequence, frames, other), sequence.size, np.zeros(len(rows)), False, False,
        radii(track, layout, alone=True), layout, rows, alone=True,
    )  # fmt: skip
    yield scene, frames, slots
