"""Cleaning up keypoints along time, person by person: no jitter, no vanishing limbs, no exchanged sides.

Every step takes a `PoseSequence` and returns one; `clean` runs them in order. Raw scores stay what the estimator said
(where left and right are exchanged they go with their points; a point that was not there at all gets the lesser score
of those it lies between). Whether a point is shown is told by its coordinates alone: NaN is absent. A sequence whose
visibility was decided here is drawn with the threshold that `drawing_threshold` gives.

People are told apart by their track ids; a cut ends all ids, so nothing is smoothed across it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from ..poses import PoseSequence
from .facing import drop_hidden_faces
from .flips import repair_flips
from .one_euro import smooth
from .tracks import Track, each_point

DECIDED = "visibility_decided"
"""Entry of a sequence's meta: absent points are NaN already, scores need not be asked."""


@dataclass(frozen=True)
class CleanOptions:
    """What `clean` does; every step can be switched off by its first setting.

    Attributes:
        repair_flips: longest run, in frames, for which left and right may have been exchanged; 0: off.
        hysteresis: points appear at `threshold` + this and vanish below `threshold` - this (score); negative: off.
        threshold: score about which points appear and vanish.
        outliers: a point that jumps further than this and back is removed (shares of the person's size); 0: off.
        fill_gaps: longest gap, in frames, that is filled; 0: off.
        smooth: one-euro smoothing of the body, minimum cut-off frequency in Hz (lower is smoother); 0: off.
        smooth_hands, smooth_face: the same of hands and face.
        speed: how much the cut-off rises with the speed, in Hz per (person's size per second).
        two_way: smooth forwards and backwards, so that nothing lags; False is causal.
        hide_faces: remove nose, eyes and face where the head is turned away.
    """

    repair_flips: int = 8
    hysteresis: float = 0.08
    threshold: float = 0.3
    outliers: float = 0.12
    fill_gaps: int = 8
    smooth: float = 1.2
    smooth_hands: float = 0.8
    smooth_face: float = 1.0
    speed: float = 2.0
    two_way: bool = True
    hide_faces: bool = True


def clean(sequence: PoseSequence, options: CleanOptions | None = None) -> PoseSequence:
    """The sequence after every step that the options ask for; they are recorded in its meta under "clean"."""
    o = options or CleanOptions()
    if o.repair_flips:
        sequence = repair_flips(sequence, o.repair_flips)
    if o.hide_faces:
        sequence = drop_hidden_faces(sequence)
    if o.hysteresis >= 0:
        sequence = decide_visibility(sequence, o.threshold, o.hysteresis)
    if o.outliers:
        sequence = reject_outliers(sequence, o.outliers)
    if o.fill_gaps:
        sequence = fill_gaps(sequence, o.fill_gaps)
    if max(o.smooth, o.smooth_hands, o.smooth_face) > 0:
        cutoffs = {"body": o.smooth, "hands": o.smooth_hands, "face": o.smooth_face}
        sequence = smooth(sequence, cutoffs, speed=o.speed, two_way=o.two_way)
    return replace(sequence, meta={**sequence.meta, "clean": asdict(o)})


def drawing_threshold(meta: Mapping[str, Any], threshold: float) -> float:
    """The threshold to draw with: 0 where the visibility was decided along time, else the one asked for."""
    return 0.0 if meta.get(DECIDED) else threshold


def decide_visibility(sequence: PoseSequence, threshold: float = 0.3, hysteresis: float = 0.08) -> PoseSequence:
    """Points that appear above `threshold` + `hysteresis` and vanish below `threshold` - `hysteresis`.

    Between the two a point stays what it was, so that a limb whose score hovers about the threshold does not blink; at
    the beginning `threshold` decides. Absent points become NaN; scores stay.
    """

    def change(track: Track, _: slice) -> Track:
        shown = _hysteresis(track.scores, threshold, hysteresis)
        return replace(track, keypoints=np.where(shown[..., None], track.keypoints, np.nan))

    return each_point(sequence, change, meta={DECIDED: True})


def _hysteresis(scores: np.ndarray, threshold: float, margin: float) -> np.ndarray:
    """(N, K) scores -> (N, K) bool."""
    shown = np.zeros(scores.shape, bool)
    state = scores[0] >= threshold
    for n, row in enumerate(scores):
        state = np.where(row >= threshold + margin, True, np.where(row < threshold - margin, False, state))
        shown[n] = state
    return shown


def reject_outliers(sequence: PoseSequence, distance: float = 0.12) -> PoseSequence:
    """Points that jump away and come back become NaN.

    A point is an outlier if it lies further than `distance` (shares of the person's size) from the median of the five
    frames about it, and three times as far as these lie from their median. Steady motion, however fast, has its
    medians on the way and loses nothing.
    """

    def change(track: Track, _: slice) -> Track:
        if len(track) < 3:
            return track
        min_distance = distance * track.scale()
        out = [
            _outliers(points, min_distance) for points in track.keypoints.swapaxes(0, 1)
        ]  # at once they fill the memory
        return replace(track, keypoints=np.where(np.stack(out, axis=1)[..., None], np.nan, track.keypoints))

    return each_point(sequence, change)


def _outliers(points: np.ndarray, min_distance: float) -> np.ndarray:
    """(N, 2) the way of one point, pixels -> (N,) where it is an outlier, at least `min_distance` pixels away."""
    windows = _windows(points)
    middle = _nan_median(windows, axis=0)
    spread = _nan_median(np.linalg.norm(windows - middle, axis=-1), axis=0)
    away = np.linalg.norm(points - middle, axis=-1)
    return away > np.maximum(min_distance, 3 * spread)


def _windows(values: np.ndarray) -> np.ndarray:
    """(N, ...) -> (5, N, ...) each frame's neighbors from two before to two after, NaN beyond the ends."""
    padded = np.pad(values, ((2, 2), *((0, 0) for _ in values.shape[1:])), constant_values=np.nan)
    return np.stack([padded[i : i + len(values)] for i in range(5)])


def _nan_median(values: np.ndarray, axis: int) -> np.ndarray:
    """`np.nanmedian` that is silent where everything is NaN."""
    empty = np.isnan(values).all(axis=axis, keepdims=True)
    return np.where(empty.squeeze(axis), np.nan, np.nanmedian(np.where(empty, 0, values), axis=axis))


def fill_gaps(sequence: PoseSequence, frames: int = 8) -> PoseSequence:
    """Points absent for at most `frames` source frames lie on the straight line between those before and after.

    Also of people whom the detector missed: they and their boxes are there again. A point that had no raw score gets
    the lesser of the two it lies between, so that it can be drawn.
    """

    def change(track: Track, _: slice) -> Track:
        keypoints = _interpolate(track.keypoints.reshape(len(track), -1), track.times, frames)
        keypoints = keypoints.reshape(track.keypoints.shape)
        filled = np.isfinite(keypoints).all(axis=-1) & ~np.isfinite(track.keypoints).all(axis=-1)
        scores = np.where(filled & (track.scores <= 0), _lesser_neighbor(track), track.scores)
        return replace(track, keypoints=keypoints, present=track.present | filled.any(axis=1), scores=scores)

    def with_boxes(track: Track) -> Track:
        boxes = _interpolate(track.boxes.astype(np.float64), track.times, frames)
        return replace(track, boxes=np.where(track.present[:, None], boxes, np.nan))

    return each_point(sequence, change, with_boxes)


def _interpolate(values: np.ndarray, times: np.ndarray, longest: int) -> np.ndarray:
    """(N, C) with gaps of at most `longest` frames filled linearly; longer ones stay NaN."""
    result = values.copy()
    for column in range(values.shape[1]):
        known = np.flatnonzero(np.isfinite(values[:, column]))
        if len(known) < 2 or len(known) == len(values):
            continue
        before, after = known[:-1], known[1:]
        missing = np.flatnonzero(~np.isfinite(values[:, column]))
        line = np.interp(times[missing], times[known], values[known, column])
        place = np.searchsorted(after, missing)
        inside = (missing > known[0]) & (missing < known[-1])
        place = np.minimum(place, len(after) - 1)
        short = times[after[place]] - times[before[place]] - 1 <= longest
        use = inside & short
        result[missing[use], column] = line[use]
    return result


def _lesser_neighbor(track: Track) -> np.ndarray:
    """(N, K) the lesser score of the nearest frames before and after in which the point was there."""
    seen = np.isfinite(track.keypoints).all(axis=-1) & (track.scores > 0)
    rows = np.arange(len(track))[:, None]
    before = np.maximum.accumulate(np.where(seen, rows, -1), axis=0)
    after = np.minimum.accumulate(np.where(seen, rows, len(track))[::-1], axis=0)[::-1]
    padded = np.concatenate([track.scores, np.zeros((1, track.scores.shape[1]))])
    columns = np.arange(track.scores.shape[1])[None]
    return np.minimum(padded[before, columns], padded[after, columns])
