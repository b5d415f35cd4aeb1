"""Cleaning up keypoints along time, person by person: no jitter, no vanishing limbs, no exchanged sides.

Every step takes a `PoseSequence` and returns one; `clean` runs them in order. Raw scores stay what the estimator said
(where left and right are exchanged they go with their points; a point that was not there at all gets the lesser score
of those it lies between). Whether a point is shown is told by its coordinates alone: NaN is absent. A sequence whose
visibility was decided here is drawn with the threshold that `drawing_threshold` gives.

People are told apart by their track ids; a cut ends all ids, so nothing is smoothed across it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from .errors import InputError
from .facing import drop_hidden_faces
from .poses import PoseSequence
from .skeletons import KEYPOINT_SETS
from .tracks import Track, iter_tracks, join_tracks

DECIDED = "visibility_decided"
"""Entry of a sequence's meta: absent points are NaN already, scores need not be asked."""

POINTS_AT_ONCE = 24
"""Points of one person that are cleaned together, where each is looked at alone."""

FLIP_COST = 0.05
"""Way that exchanging sides must save in a frame, in sizes of the person: what is smaller is noise."""


@dataclass(frozen=True)
class CleanOptions:
    """What `clean` does; every step can be switched off by its first setting.

    Attributes:
        repair_flips: longest run, in frames, for which left and right may have been exchanged; 0: off.
        hysteresis: points appear at `threshold` + this and vanish below `threshold` - this (score); negative: off.
        threshold: score about which points appear and vanish.
        outliers: a point that jumps further than this and back is removed (shares of the person's size); 0: off.
        fill_gaps: longest gap, in frames, that is filled; 0: off.
        smooth: one-euro smoothing of the body, least cut-off frequency in Hz (lower is smoother); 0: off.
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


def _each(sequence: PoseSequence, change: Callable[[Track], Track], **meta: Any) -> PoseSequence:
    """The sequence with every track changed; one at a time, so that a long clip takes little more than its arrays."""
    return join_tracks(sequence, [change(track).compact() for track in iter_tracks(sequence, np.float32)], meta)


def _each_point(
    sequence: PoseSequence,
    change: Callable[[Track, slice], Track],
    finish: Callable[[Track], Track] = lambda track: track,
    **meta: Any,
) -> PoseSequence:
    """The same for a change that looks at every point alone: it gets some points at a time, and takes little memory.

    `finish` gets the changed track whole, in single precision.
    """

    def whole(track: Track) -> Track:
        keypoints, scores, present = track.keypoints.copy(), track.scores.copy(), track.present.copy()
        for start in range(0, track.scores.shape[1], POINTS_AT_ONCE):
            points = slice(start, start + POINTS_AT_ONCE)
            part = change(track.of_points(points), points)
            keypoints[:, points], scores[:, points] = part.keypoints, part.scores
            present |= part.present
        return finish(replace(track, keypoints=keypoints, scores=scores, present=present)).compact()

    return join_tracks(sequence, [whole(track) for track in iter_tracks(sequence, np.float32)], meta)


# --- visibility ----------------------------------------------------------------------------------------------------


def decide_visibility(sequence: PoseSequence, threshold: float = 0.3, hysteresis: float = 0.08) -> PoseSequence:
    """Points that appear above `threshold` + `hysteresis` and vanish below `threshold` - `hysteresis`.

    Between the two a point stays what it was, so that a limb whose score hovers about the threshold does not blink; at
    the beginning `threshold` decides. Absent points become NaN; scores stay.
    """

    def change(track: Track, _: slice) -> Track:
        shown = _hysteresis(track.scores, threshold, hysteresis)
        return replace(track, keypoints=np.where(shown[..., None], track.keypoints, np.nan))

    return _each_point(sequence, change, **{DECIDED: True})


def _hysteresis(scores: np.ndarray, threshold: float, margin: float) -> np.ndarray:
    """(N, K) scores -> (N, K) bool."""
    shown = np.zeros(scores.shape, bool)
    state = scores[0] >= threshold
    for n, row in enumerate(scores):
        state = np.where(row >= threshold + margin, True, np.where(row < threshold - margin, False, state))
        shown[n] = state
    return shown


# --- outliers and gaps ---------------------------------------------------------------------------------------------


def reject_outliers(sequence: PoseSequence, distance: float = 0.12) -> PoseSequence:
    """Points that jump away and come back become NaN.

    A point is an outlier if it lies further than `distance` (shares of the person's size) from the median of the five
    frames about it, and three times as far as these lie from their median. Steady motion, however fast, has its
    medians on the way and loses nothing.
    """

    def change(track: Track, _: slice) -> Track:
        if len(track) < 3:
            return track
        least = distance * track.scale()
        out = [_outliers(points, least) for points in track.keypoints.swapaxes(0, 1)]  # at once they fill the memory
        return replace(track, keypoints=np.where(np.stack(out, axis=1)[..., None], np.nan, track.keypoints))

    return _each_point(sequence, change)


def _outliers(points: np.ndarray, least: float) -> np.ndarray:
    """(N, 2) the way of one point, pixels -> (N,) where it is an outlier, at least `least` pixels away."""
    windows = _windows(points)
    middle = _nan_median(windows, axis=0)
    spread = _nan_median(np.linalg.norm(windows - middle, axis=-1), axis=0)
    away = np.linalg.norm(points - middle, axis=-1)
    return away > np.maximum(least, 3 * spread)


def _windows(values: np.ndarray) -> np.ndarray:
    """(N, ...) -> (5, N, ...) each frame's neighbours from two before to two after, NaN beyond the ends."""
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
        scores = np.where(filled & (track.scores <= 0), _lesser_neighbour(track), track.scores)
        return replace(track, keypoints=keypoints, present=track.present | filled.any(axis=1), scores=scores)

    def with_boxes(track: Track) -> Track:
        boxes = _interpolate(track.boxes.astype(np.float64), track.times, frames)
        return replace(track, boxes=np.where(track.present[:, None], boxes, np.nan))

    return _each_point(sequence, change, with_boxes)


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


def _lesser_neighbour(track: Track) -> np.ndarray:
    """(N, K) the lesser score of the nearest frames before and after in which the point was there."""
    seen = np.isfinite(track.keypoints).all(axis=-1) & (track.scores > 0)
    rows = np.arange(len(track))[:, None]
    before = np.maximum.accumulate(np.where(seen, rows, -1), axis=0)
    after = np.minimum.accumulate(np.where(seen, rows, len(track))[::-1], axis=0)[::-1]
    padded = np.concatenate([track.scores, np.zeros((1, track.scores.shape[1]))])
    columns = np.arange(track.scores.shape[1])[None]
    return np.minimum(padded[before, columns], padded[after, columns])


# --- exchanged sides -----------------------------------------------------------------------------------------------


def repair_flips(sequence: PoseSequence, frames: int = 8) -> PoseSequence:
    """Left and right put back where the estimator exchanged them for at most `frames` frames.

    Arms (with hands), legs (with feet) and head are judged apart: of all ways to exchange sides frame by frame the one
    with the least motion is found (Viterbi's algorithm), where an exchange must save more than `FLIP_COST` (a share of
    the person's size) per frame. Longer runs are taken for turns of the person. Scores go with their points. Keypoint
    sets without left and right stay as they are.
    """
    known = KEYPOINT_SETS.get(sequence.keypoint_set)
    groups = _flip_groups(sequence.keypoint_set) if known else []

    def change(track: Track) -> Track:
        keypoints, scores = track.keypoints, track.scores  # copies already
        for pairs in groups:
            left, right = pairs.T
            sides = (keypoints[:, side].astype(np.float64) for side in (left, right))
            flipped = _flipped(*sides, track.scale(), frames)
            at = np.flatnonzero(flipped)[:, None]
            keypoints[at, left], keypoints[at, right] = keypoints[at, right], keypoints[at, left]
            scores[at, left], scores[at, right] = scores[at, right], scores[at, left]
        return replace(track, keypoints=keypoints, scores=scores)

    return _each(sequence, change) if groups else sequence


def _flip_groups(keypoint_set: str) -> list[np.ndarray]:
    """Pairs (left, right) that change sides together: arms, legs, head."""
    points = KEYPOINT_SETS[keypoint_set]
    words = {"arms": ("shoulder", "elbow", "wrist", "hand", "thumb", "finger"), "head": ("eye", "ear", "face")}
    groups: dict[str, list[tuple[int, int]]] = {"arms": [], "legs": [], "head": []}
    for pair in points.flip_pairs:
        name = points.names[pair[0]]
        part = next((part for part, parts in words.items() if any(word in name for word in parts)), "legs")
        groups[part].append(pair)
    return [np.asarray(pairs) for pairs in groups.values() if pairs]


def _flipped(left: np.ndarray, right: np.ndarray, scale: float, longest: int) -> np.ndarray:
    """(N, G, 2) points of either side -> (N,) whether they are exchanged."""
    straight = _motion(left, left) + _motion(right, right)
    crossed = _motion(left, right) + _motion(right, left)
    best = np.asarray([0.0, FLIP_COST * scale])
    choice = np.zeros((len(left), 2), np.int64)
    for n, (same, swap) in enumerate(zip(straight, crossed, strict=True), start=1):
        ways = best[:, None] + np.asarray([[same, swap], [swap, same]])
        choice[n], best = ways.argmin(axis=0), ways.min(axis=0) + [0.0, FLIP_COST * scale]
    state = np.zeros(len(left), bool)
    at = int(best.argmin())
    for n in range(len(left) - 1, -1, -1):
        state[n] = bool(at)
        at = choice[n, at]
    return _without_long_runs(state, longest)


def _motion(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """(N, G, 2) twice -> (N - 1,) mean way in pixels from a frame to the next, 0 where no point is shared."""
    way = np.linalg.norm(after[1:] - before[:-1], axis=-1)
    seen = np.isfinite(way)
    return np.where(seen, way, 0).sum(axis=1) / np.maximum(seen.sum(axis=1), 1)


def _without_long_runs(state: np.ndarray, longest: int) -> np.ndarray:
    edges = np.flatnonzero(np.diff(np.concatenate([[0], state.astype(np.int8), [0]])))
    kept = state.copy()
    for begin, end in edges.reshape(-1, 2):
        if end - begin > longest:
            kept[begin:end] = False
    return kept


# --- smoothing -----------------------------------------------------------------------------------------------------


def smooth(
    sequence: PoseSequence, cutoffs: Mapping[str, float] | None = None, *, speed: float = 2.0, two_way: bool = True
) -> PoseSequence:
    """One-euro filter of every point of every person: slow motion is smoothed much, fast motion little.

    Args:
        sequence: with a frame rate (without one 25 frames per second are assumed).
        cutoffs: least cut-off frequency in Hz of "body" (with feet), "hands" and "face"; 0 leaves a part as it is.
        speed: rise of the cut-off, in Hz per (person's size per second).
        two_way: mean of a pass forwards and one backwards, so that nothing lags; False looks back only.

    A point counts as much as its score (1 and above: fully). Absent points stay absent, and after an absence the filter
    starts anew. Source: Casiez et al., "1 Euro Filter", CHI 2012.
    """
    cutoffs = {"body": 1.2, "hands": 0.8, "face": 1.0} if cutoffs is None else cutoffs
    rate = float(sequence.frame_rate or 25)
    lowest = _cutoff_of_points(sequence, cutoffs)

    def change(track: Track, points: slice) -> Track:
        weights = np.clip(track.scores, 0.05, 1)[..., None]
        seconds, betas, least = track.times / rate, speed / track.sizes(), lowest[points, None]
        smoothed = one_euro(track.keypoints, weights, seconds, least, betas)
        if two_way:
            back = one_euro(track.keypoints[::-1], weights[::-1], -seconds[::-1], least, betas[::-1])
            smoothed = (smoothed + back[::-1]) / 2
        return replace(track, keypoints=np.where(least <= 0, track.keypoints, smoothed))

    return _each_point(sequence, change)


def _cutoff_of_points(sequence: PoseSequence, cutoffs: Mapping[str, float]) -> np.ndarray:
    """(K,) Hz."""
    unknown = set(cutoffs) - {"body", "hands", "face"}
    if unknown or any(value < 0 for value in cutoffs.values()):
        raise InputError(f"cut-offs: expected body, hands and face in Hz of at least 0, got {dict(cutoffs)}")
    values = np.full(sequence.keypoints.shape[2], float(cutoffs.get("body", 0)))
    points = KEYPOINT_SETS.get(sequence.keypoint_set)
    for part, indices in (points.parts if points else {}).items():
        word = {"left_hand": "hands", "right_hand": "hands", "face": "face"}.get(part)
        if word:
            values[list(indices)] = cutoffs.get(word, 0)
    return values


def one_euro(
    values: np.ndarray, weights: np.ndarray, seconds: np.ndarray, cutoff: np.ndarray, betas: np.ndarray
) -> np.ndarray:
    """The one-euro filter along the first axis.

    Args:
        values: (N, K, 2), NaN absent.
        weights: (N, K, 1) in 0..1: how much a value counts.
        seconds: (N,) rising.
        cutoff: (K, 1) least cut-off in Hz.
        betas: (N,) Hz per unit of speed (of `values` per second); the speed is filtered at 1 Hz.
    """
    result = np.full_like(values, np.nan)
    state, slope = values[0].copy(), np.zeros_like(values[0])
    result[0] = state
    for n in range(1, len(values)):
        step = seconds[n] - seconds[n - 1]
        new = values[n]
        fresh = ~(np.isfinite(state) & np.isfinite(new))
        raw_slope = np.where(fresh, 0, (new - state) / step)
        slope = np.where(fresh, 0, slope + _gain(1.0, step) * (raw_slope - slope))
        fast = np.linalg.norm(slope, axis=-1, keepdims=True)
        gain = _gain(cutoff + betas[n] * fast, step) * weights[n]
        state = np.where(fresh, new, state + gain * (new - state))
        result[n] = state
    return result


def _gain(cutoff: np.ndarray | float, step: float) -> np.ndarray | float:
    """Share of a new value in a low-pass filter of first order."""
    turn = 2 * np.pi * cutoff * step
    return turn / (turn + 1)
