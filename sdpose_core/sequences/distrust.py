"""Distrust: the probability that a point of a pose sequence is wrong, with reasons.

Signals of every point and frame (`suspicion.signals`) are combined by a table fitted on rendered clips with known
points (`suspicion.calibration`). Nothing is looked at but the sequence itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..poses import PoseSequence
from ..times import clock_of, has_times
from .suspicion.calibration import Calibration, calibration
from .suspicion.layout import GROUPS, layout_of, radii
from .suspicion.scene import Scene
from .suspicion.signals import SIGNALS, signals_of
from .tracks import POINTS_AT_ONCE, Track, iter_tracks

REASONS: tuple[str, ...] = tuple(dict.fromkeys(SIGNALS.values()))
"""Reason number i is bit `1 << i` of `PoseSequence.distrust_reasons`."""

HIGH = 0.3
"""Points with this distrust or more have reasons."""
_WEIGHTY = 0.5
"""A reason adds this much or more to the log-odds, or more than every other reason."""


def with_distrust(sequence: PoseSequence, raw: PoseSequence | None = None) -> PoseSequence:
    """The sequence with `distrust` (T, P, K) and `distrust_reasons` (T, P, K).

    Args:
        sequence: as estimated, or cleaned (its meta says which).
        raw: the same frames before cleaning, if they are known: the figures are better with them.

    Distrust is NaN for absent points, and 0 for points placed by hand. `meta["distrust"]` names the calibration,
    and the groups of points for which the estimator has none of its own.
    Raises `InputError` if `raw` is of other frames or points.
    """
    raw = raw if raw is not None and "clean" in sequence.meta else None
    _check_raw(sequence, raw)
    used = choose_calibration(sequence, raw)
    distrust = np.full(sequence.scores.shape, np.nan, np.float32)
    reasons = np.zeros(sequence.scores.shape, np.uint16)
    for scene, frames, slots in scenes(sequence, raw):
        for first in range(0, sequence.scores.shape[2], POINTS_AT_ONCE):
            points = np.arange(first, min(first + POINTS_AT_ONCE, sequence.scores.shape[2]))
            rows = scene.rows
            probability, why = judge(scene, points, used)
            distrust[frames[:, None], slots[:, None], points] = probability[rows]
            reasons[frames[:, None], slots[:, None], points] = why[rows]
    if sequence.edited is not None:
        by_hand = sequence.edited & np.isfinite(distrust)
        distrust[by_hand], reasons[by_hand] = 0, 0
    note = {"calibration": used.name, "reasons": list(REASONS)}
    borrowed = [group for group in used.borrowed if (_groups(sequence) == GROUPS.index(group)).any()]
    if borrowed:
        note["not_calibrated"] = borrowed
    return replace(sequence, distrust=distrust, distrust_reasons=reasons, meta={**sequence.meta, "distrust": note})


def _groups(sequence: PoseSequence) -> np.ndarray:
    return layout_of(sequence.keypoint_set, sequence.scores.shape[2]).group


def choose_calibration(sequence: PoseSequence, raw: PoseSequence | None) -> Calibration:
    """By the estimator and by what was done to the sequence since."""
    estimator = "preview" if sequence.meta.get("preview") else "heatmaps" if "weights" in sequence.meta else "any"
    if is_pictures(sequence):
        return calibration(estimator, "picture")
    if "clean" not in sequence.meta:
        return calibration(estimator, "raw")
    return calibration(estimator, "cleaned" if raw is None else "cleaned_raw")


def is_pictures(sequence: PoseSequence) -> bool:
    """Whether the frames have nothing to do with one another: pictures, or a single frame."""
    return len(sequence) == 1 or not has_times(sequence)


def _check_raw(sequence: PoseSequence, raw: PoseSequence | None) -> None:
    if raw is None:
        return
    if raw.keypoint_set != sequence.keypoint_set or not np.array_equal(raw.frame_index, sequence.frame_index):
        raise InputError(
            f"raw: {len(raw)} frames of {raw.keypoint_set!r}, expected the same {len(sequence)} frames of "
            f"{sequence.keypoint_set!r}: give the sequence from which this one was cleaned"
        )


def judge(scene: Scene, points: np.ndarray, used: Calibration) -> tuple[np.ndarray, np.ndarray]:
    """P(wrong) (N, k) of the points with indices `points`, NaN where absent; and their reasons (N, k)."""
    values = signals_of(scene, points, used.signals)
    shape = values.shape[1:]
    probability, reasons = np.full(shape, np.nan, np.float32), np.zeros(shape, np.uint16)
    group = scene.layout.group[points]
    of_signal = np.array([REASONS.index(SIGNALS[name]) for name in used.signals])
    for number in np.unique(group).tolist():
        columns = np.flatnonzero(group == number)
        shares, bias = used.shares(values[:, :, columns], GROUPS[number])
        found = 1 / (1 + np.exp(-np.clip(bias + shares.sum(axis=0), -30, 30)))
        shares -= used.groups[GROUPS[number]].usual[:, None, None].astype(np.float32)
        probability[:, columns] = found
        reasons[:, columns] = np.where(found >= HIGH, _reasons(shares, of_signal), 0)
    known = np.isfinite(scene.track.keypoints[:, points]).all(axis=-1)
    return np.where(known, probability, np.nan), np.where(known, reasons, 0).astype(np.uint16)


def _reasons(shares: np.ndarray, of_signal: np.ndarray) -> np.ndarray:
    """Shares (S, N, k) of the signals in the log-odds -> bit masks (N, k) of the reasons that weigh most."""
    added = np.stack([shares[of_signal == number].sum(axis=0) if (of_signal == number).any() else
                      np.full(shares.shape[1:], -np.inf, np.float32) for number in range(len(REASONS))])  # fmt: skip
    given = (added >= _WEIGHTY) | (added == added.max(axis=0))
    bits = (1 << np.arange(len(REASONS))).astype(np.uint16)
    return (given * bits[:, None, None]).sum(axis=0)


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


def _others(sequence: PoseSequence, track: Track) -> tuple[np.ndarray, np.ndarray]:
    """(M, N, K, 2) points and (M, N, 4) boxes of the other slots while the person is there, NaN where empty."""
    span = slice(track.start, track.start + len(track))
    ids = sequence.track_ids[span]
    other = (ids >= 0) & (ids != track.id)
    slots = np.flatnonzero(other.any(axis=0))
    keypoints = np.where(other[:, slots, None, None], sequence.keypoints[span][:, slots], np.nan)
    boxes = np.where(other[:, slots, None], sequence.boxes[span][:, slots, :4], np.nan)
    return keypoints.swapaxes(0, 1), boxes.swapaxes(0, 1)


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
    here = np.arange(sequence.track_ids.shape[1])
    other = (sequence.track_ids[frames] >= 0) & (here != slots[:, None])
    used = np.flatnonzero(other.any(axis=0))
    keypoints = np.where(other[:, used, None, None], sequence.keypoints[frames][:, used], np.nan).swapaxes(0, 1)
    boxes = np.where(other[:, used, None], sequence.boxes[frames][:, used, :4], np.nan).swapaxes(0, 1)
    scene = Scene(
        track, None, (keypoints, boxes), sequence.size, np.zeros(len(rows)), False, False,
        radii(track, layout, alone=True), layout, rows, alone=True,
    )  # fmt: skip
    yield scene, frames, slots
