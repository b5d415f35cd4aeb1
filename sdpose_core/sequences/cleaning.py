"""Temporal cleanup of keypoints, per track id: jitter, blinking limbs, gaps, left/right swaps.

Every step takes a `PoseSequence` and returns one; `clean` runs them in order. Absent points become NaN; raw scores are
kept, except that swapped points take their scores along and filled points get the lower score of their two neighbors.
A cut ends all track ids, so nothing is smoothed across it. At a pause of the recording every step begins again.
Seconds are those of the times of the frames (see `times.Clock`), whatever rate is stated.
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
from .tracks import Track, as_given, each_point

DECIDED = "visibility_decided"
"""Key in a sequence's meta: absent points are already NaN, so scores need no threshold."""


@dataclass(frozen=True)
class CleanOptions:
    """Settings of `clean`.

    Attributes:
        repair_flips: longest left/right swap to correct, in frames; 0: off.
        hysteresis: points appear at `threshold` + this score and disappear below `threshold` - this; negative: off.
        threshold: score around which points appear and disappear.
        outliers: remove points that jump farther than this share of the body size and back; 0: off.
        fill_gaps: longest gap to fill, in frames; 0: off.
        smooth: minimum cutoff frequency of the body's one-euro filter in Hz (lower is smoother); 0: off.
        smooth_hands, smooth_face: the same for hands and face.
        speed: increase of the cutoff with speed, in Hz per (body size per second).
        two_way: smooth forward and backward, so that nothing lags; False is causal.
        hide_faces: remove nose, eyes and face while the head is turned away.
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
    """The sequence after all enabled steps; its meta records the options under "clean".

    Points placed or deleted by hand stay exactly as they are.
    """
    o, given = options or CleanOptions(), sequence
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
    if given.edited is not None:
        sequence = as_given(sequence, given, given.edited, ("keypoints",))
    return replace(sequence, meta={**sequence.meta, "clean": asdict(o)})


def drawing_threshold(meta: Mapping[str, Any], threshold: float) -> float:
    """The threshold for drawing: 0 if `decide_visibility` ran, otherwise `threshold`."""
    return 0.0 if meta.get(DECIDED) else threshold


def decide_visibility(sequence: PoseSequence, threshold: float = 0.3, hysteresis: float = 0.08) -> PoseSequence:
    """Points appear at `threshold` + `hysteresis` and disappear (NaN) below `threshold` - `hysteresis`.

    In between they keep their state, so a limb whose score hovers around the threshold does not blink. The first frame
    uses `threshold`. Scores are unchanged.
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

    An outlier is farther than `distance` (share of the body size) from the median of the five frames around it, and
    farther than three times the median deviation of these frames. Steady motion is kept, however fast.
    """

    def change(track: Track, _: slice) -> Track:
        if len(track) < 3:
            return track
        min_distance = distance * track.scale()
        # One point at a time: the windows of all points would fill the memory.
        out = [_outliers(points, min_distance) for points in track.keypoints.swapaxes(0, 1)]
        return replace(track, keypoints=np.where(np.stack(out, axis=1)[..., None], np.nan, track.keypoints))

    return each_point(sequence, change)


def _outliers(points: np.ndarray, min_distance: float) -> np.ndarray:
    """(N, 2) path of one point in pixels -> (N,) bool."""
    windows = _windows(points)
    middle = _nan_median(windows, axis=0)
    spread = _nan_median(np.linalg.norm(windows - middle, axis=-1), axis=0)
    away = np.linalg.norm(points - middle, axis=-1)
    return away > np.maximum(min_distance, 3 * spread)


def _windows(values: np.ndarray) -> np.ndarray:
    """(N, ...) -> (5, N, ...): each frame with two neighbors on either side, NaN beyond the ends."""
    padded = np.pad(values, ((2, 2), *((0, 0) for _ in values.shape[1:])), constant_values=np.nan)
    return np.stack([padded[i : i + len(values)] for i in range(5)])


def _nan_median(values: np.ndarray, axis: int) -> np.ndarray:
    """`np.nanmedian` without the warning for all-NaN slices."""
    empty = np.isnan(values).all(axis=axis, keepdims=True)
    return np.where(empty.squeeze(axis), np.nan, np.nanmedian(np.where(empty, 0, values), axis=axis))


def fill_gaps(sequence: PoseSequence, frames: int = 8) -> PoseSequence:
    """Interpolate points linearly across gaps of at most `frames` source frames, by the times of the frames.

    This also restores people whom the detector missed, with their boxes. A filled point without a score gets the lower
    score of its two neighbors.
    """

    def change(track: Track, _: slice) -> Track:
        keypoints = _interpolate(track.keypoints.reshape(len(track), -1), track, frames)
        keypoints = keypoints.reshape(track.keypoints.shape)
        filled = np.isfinite(keypoints).all(axis=-1) & ~np.isfinite(track.keypoints).all(axis=-1)
        scores = np.where(filled & (track.scores <= 0), _lower_neighbor_score(track), track.scores)
        return replace(track, keypoints=keypoints, present=track.present | filled.any(axis=1), scores=scores)

    def with_boxes(track: Track) -> Track:
        boxes = _interpolate(track.boxes.astype(np.float64), track, frames)
        return replace(track, boxes=np.where(track.present[:, None], boxes, np.nan))

    return each_point(sequence, change, with_boxes)


def _interpolate(values: np.ndarray, track: Track, max_gap: int) -> np.ndarray:
    """(N, C) with gaps of at most `max_gap` frames filled linearly, unless these last longer than twice that."""
    result, times, clock = values.copy(), track.times, track.clock
    for column in range(values.shape[1]):
        known = np.flatnonzero(np.isfinite(values[:, column]))
        if len(known) < 2 or len(known) == len(values):
            continue
        before, after = known[:-1], known[1:]
        missing = np.flatnonzero(~np.isfinite(values[:, column]))
        missing = missing[(missing > known[0]) & (missing < known[-1])]
        gap = np.searchsorted(after, missing)
        first, last = before[gap], after[gap]
        short = (times[last] - times[first] - 1 <= max_gap) & (clock[last] - clock[first] - 1 <= 2 * max_gap)
        filled = missing[short]
        result[filled, column] = np.interp(clock[filled], clock[known], values[known, column])
    return result


def _lower_neighbor_score(track: Track) -> np.ndarray:
    """(N, K) the lower score of the nearest frames before and after that show the point."""
    seen = np.isfinite(track.keypoints).all(axis=-1) & (track.scores > 0)
    rows = np.arange(len(track))[:, None]
    before = np.maximum.accumulate(np.where(seen, rows, -1), axis=0)
    after = np.minimum.accumulate(np.where(seen, rows, len(track))[::-1], axis=0)[::-1]
    padded = np.concatenate([track.scores, np.zeros((1, track.scores.shape[1]))])
    columns = np.arange(track.scores.shape[1])[None]
    return np.minimum(padded[before, columns], padded[after, columns])
