"""Signals that a point of a pose sequence is wrong: what `distrust` combines into a probability.

Distances are counted in radii: the errors from which on a point counts as wrong, see `layout.radii`. All signals are 0
where nothing is suspicious or nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .scene import Scene
from .windows import distance, length, middle_of_seven, neighbors_mean, speed_of

SIGNALS: dict[str, str] = {
    "score": "low_score", "score_drop": "low_score", "part_score": "low_score", "person_score": "low_score",
    "relative": "low_score", "small": "low_score",
    "jump": "jump", "jitter": "jump", "speed": "jump",
    "long_bone": "bone_length", "short_bone": "bone_length", "apart": "bone_length",
    "swapped": "left_right", "facing": "left_right", "collapsed": "left_right",
    "beyond": "outside", "border": "outside",
    "box_jump": "identity", "brief": "identity",
    "rare": "unusual",
    "shared": "other_person", "covered": "other_person",
    "moved": "jump", "filled": "filled", "raw_jump": "jump", "raw_swapped": "left_right",
}  # fmt: skip
"""Name of each signal -> the reason that it gives, see `distrust.REASONS`. The last four need the raw sequence."""

MIN_FRAMES = 5
"""A usual score, length or place needs this many frames."""


def signals_of(scene: Scene, points: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """(S, N, k) float32, 0 or more: the signals `names` of the k points with indices `points`."""
    shape = (len(scene.track), len(points))
    result = np.zeros((len(names), *shape), np.float32)
    for function, made in _FUNCTIONS.items():
        if any(name in names for name in made):
            for name, values in zip(made, function(scene, points), strict=True):
                if name in names:
                    result[names.index(name)] = values
    return np.maximum(np.nan_to_num(result, copy=False, nan=0.0), 0)


def _log(radii: np.ndarray) -> np.ndarray:
    """log(1 + radii), at most 4: the difference of 1 and 2 counts more than that of 11 and 12."""
    return np.minimum(np.log1p(np.maximum(radii, 0)), 4)


def _unsure(scores: np.ndarray) -> np.ndarray:
    """0 for a score of 1 or more, 4.6 for .01 or less."""
    return -np.log(np.clip(scores, 0.01, 1))


def usual(values: np.ndarray, percentile: float) -> np.ndarray:
    """(N, k) -> (k,) percentile of the values that are not NaN; NaN where there are fewer than `MIN_FRAMES`."""
    ordered = np.sort(values, axis=0)
    count = np.isfinite(ordered).sum(axis=0)
    at = np.round(np.maximum(count - 1, 0) * percentile / 100).astype(np.int64)
    return np.where(count >= MIN_FRAMES, ordered[at, np.arange(values.shape[1])], np.nan)


def _scores(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """Scores, also against the usual one of the point (in a picture: of the body); few pixels in a radius.

    No estimator is sure of a tiny hand.
    """
    track, layout = scene.track, scene.layout
    scores, seen = track.scores[:, points], np.isfinite(track.keypoints[:, points, 0])
    if scene.alone:
        own, drop = np.median(track.scores[:, layout.body], axis=1)[:, None], np.zeros(1, np.float32)
    else:
        own = usual(np.where(seen, scores, np.nan), 50)
        drop = 4 * (own - scores)
    relative = np.minimum(np.log(np.maximum(own, 0.01) / np.maximum(scores, 0.01)), 4)
    part = scene.part_scores[:, layout.group[points]]
    person = track.scores[:, layout.body].mean(axis=1, keepdims=True)
    small = np.maximum(np.log(8 / scene.radius[:, points]), 0)
    return _unsure(scores), drop, _unsure(part), _unsure(person), relative, small


def _motion(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    path, stretch, radius = scene.track.keypoints[:, points], scene.track.stretch, scene.radius[:, points]
    jump = distance(path, middle_of_seven(path, stretch))
    jitter = distance(path, neighbors_mean(path, stretch))
    fast = length(speed_of(path, stretch) - scene.motion[:, None])
    return _log(jump / radius), _log(jitter / radius), _log(fast / radius)


def _bones(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean over the bones of a point of how far their length is from the person's own; distance from its body point."""
    shape = (len(scene.track), len(points))
    long, short, apart = (np.zeros(shape, np.float32) for _ in range(3))
    for column, point in enumerate(points.tolist()):
        bones = scene.layout.bones_of(point)
        for bone in bones:
            more, less = _bone(scene, bone)
            long[:, column] += more / len(bones)
            short[:, column] += less / len(bones)
        if (home := scene.layout.homes.get(point)) is not None:
            there, body = home
            away = distance(scene.track.keypoints[:, there], scene.track.keypoints[:, body])
            apart[:, column] = away / scene.radius[:, body]
    return long, short, _log(apart)


def _bone(scene: Scene, bone: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) twice, logarithms up to 3: how much longer than usual a bone is, and how much shorter."""
    a, b = scene.layout.bones[bone]
    torsos = distance(scene.track.keypoints[:, a], scene.track.keypoints[:, b]) / (10 * scene.radius[:, a])
    high, low = (float(usual(torsos[:, None], percentile)[0]) for percentile in (80, 50))
    if scene.alone or not np.isfinite(high):
        high = low = scene.layout.usual_lengths[bone]
    if not high > 0:
        return np.zeros_like(torsos), np.zeros_like(torsos)
    torsos = np.maximum(torsos, 1e-3)
    more, less = np.log(torsos / high), np.log(max(low, 1e-3) / torsos)
    return tuple(np.clip(np.nan_to_num(values), 0, 3) for values in (more, less))  # type: ignore[return-value]


def _sides(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    layout, keypoints = scene.layout, scene.track.keypoints
    partner = layout.partner[points]
    apart = distance(keypoints[:, points], keypoints[:, np.maximum(partner, 0)]) / scene.radius[:, points]
    collapsed = np.where(partner >= 0, np.maximum(1 - apart / 2, 0), 0)
    return _of_side(scene, scene.swapped, points), scene.facing[:, None], collapsed


def _of_side(scene: Scene, gain: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(N, sides) -> (N, k): of the side that each point is on, 0 for the others."""
    side = scene.layout.side[points]
    return np.where(side >= 0, _log(gain)[:, np.maximum(side, 0)], 0)


def _places(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """How far a point is outside of the picture or the box; how near it is to the border of the picture."""
    where, boxes, radius = scene.track.keypoints[:, points], scene.track.boxes, scene.radius[:, points]
    end = np.asarray(scene.size, np.float32) - 1
    margin = np.minimum(where, end - where).min(axis=-1)
    around = 0.05 * np.maximum(boxes[:, 2:4] - boxes[:, :2], 1)
    low, high = boxes[:, :2] - around, boxes[:, 2:4] + around
    beyond_box = -np.minimum(where - low[:, None], high[:, None] - where).min(axis=-1)
    beyond_box = np.where((boxes[:, 2] > boxes[:, 0])[:, None], beyond_box, 0)
    return _log(np.fmax(-margin, beyond_box) / radius), np.clip(1 - margin / radius / 2, 0, 1)


def _identity(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    return _log(scene.box_jump)[:, None], scene.brief[:, None]


def _rarity(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """How far a point is from its usual places on this person, in usual deviations."""
    if scene.alone:
        return (np.zeros(1, np.float32),)
    place = scene.track.keypoints[:, points] - scene.middle[:, None]
    place /= 10 * scene.person_radius[:, None, None]
    center = np.stack([usual(place[..., axis], 50) for axis in (0, 1)], axis=-1)
    away = distance(place, center)
    spread = np.maximum(usual(away, 50), 0.1)
    return (np.clip(np.log1p(away / spread) - np.log(2), 0, 3),)


def _people(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """The same joint of somebody else at the same place; a place within somebody else's box."""
    where, radius = scene.track.keypoints[:, points], scene.radius[:, points]
    shared, covered = np.zeros(radius.shape, np.float32), np.zeros(radius.shape, bool)
    for rows, theirs, boxes in scene.others.each(points):
        here = where[rows]
        shared[rows] = np.fmax(shared[rows], 1 - distance(here, theirs) / radius[rows] / 3)
        covered[rows] |= ((here > boxes[:, None, :2]) & (here < boxes[:, None, 2:4])).all(axis=-1)
    return shared, covered


def _cleaning(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """How far cleaning moved a point, whether it filled it in, and the suspicions of the raw points."""
    if scene.raw is None:
        return tuple(np.zeros(1, np.float32) for _ in range(4))
    before, now, radius = scene.raw.keypoints[:, points], scene.track.keypoints[:, points], scene.radius[:, points]
    filled = np.isfinite(now[..., 0]) & ~np.isfinite(before[..., 0])
    jump = distance(before, middle_of_seven(before, scene.raw.stretch))
    swapped = _of_side(scene, scene.raw_swapped, points)
    return _log(distance(now, before) / radius), filled, _log(jump / radius), swapped


_FUNCTIONS: dict[Callable[[Scene, np.ndarray], tuple[np.ndarray, ...]], tuple[str, ...]] = {
    _scores: ("score", "score_drop", "part_score", "person_score", "relative", "small"),
    _motion: ("jump", "jitter", "speed"),
    _bones: ("long_bone", "short_bone", "apart"),
    _sides: ("swapped", "facing", "collapsed"),
    _places: ("beyond", "border"),
    _identity: ("box_jump", "brief"),
    _rarity: ("rare",),
    _people: ("shared", "covered"),
    _cleaning: ("moved", "filled", "raw_jump", "raw_swapped"),
}
