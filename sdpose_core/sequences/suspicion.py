"""Signals that a point of a pose sequence is wrong: what `distrust` combines into a probability.

Distances are counted in radii: a tenth of the torso, of the hand or of the face, the error from which on a point counts
as wrong. All signals are 0 where nothing is suspicious or nothing is known.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .body_layout import Layout
from .tracks import Track
from .windows import middle_of_seven, neighbors_mean, speed_of

SIGNALS: dict[str, str] = {
    "score": "low_score",
    "score_drop": "low_score",
    "part_score": "low_score",
    "person_score": "low_score",
    "jump": "jump",
    "jitter": "jump",
    "speed": "jump",
    "long_bone": "bone_length",
    "short_bone": "bone_length",
    "apart": "bone_length",
    "swapped": "left_right",
    "facing": "left_right",
    "collapsed": "left_right",
    "beyond": "outside",
    "border": "outside",
    "box_jump": "identity",
    "brief": "identity",
    "rare": "unusual",
    "shared": "other_person",
    "covered": "other_person",
    "moved": "jump",
    "filled": "filled",
    "raw_jump": "jump",
    "raw_swapped": "left_right",
}
"""Name of each signal -> the reason that it gives, see `distrust.REASONS`. The last four need the raw sequence."""

LEAST_FRAMES = 5
"""A usual score, length or place needs this many frames."""


@dataclass(frozen=True, eq=False)
class Scene:
    """What the signals of one track read.

    Attributes:
        track: N frames, float32.
        raw: the same person and frames before cleaning, if known.
        others: (M, N, K, 2) points and (M, N, 4) boxes of the other people, NaN where absent.
        size: (w, h) of the picture.
        seconds: (N,) since the first frame.
        sharp_start, sharp_end: whether the person appears or disappears within the recording.
        radius: (N, K) pixels.
        layout: of the keypoint set.
        rows: (M,) the frames in which the person is present.
        alone: whether the frames have nothing to do with one another, as people in pictures.
    """

    track: Track
    raw: Track | None
    others: tuple[np.ndarray, np.ndarray]
    size: tuple[int, int]
    seconds: np.ndarray
    sharp_start: bool
    sharp_end: bool
    radius: np.ndarray
    layout: Layout
    rows: np.ndarray
    alone: bool = False


def signals_of(scene: Scene, points: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """(S, N, k) float32, 0 or more: the signals `names` of the k points with indices `points`."""
    shape = (len(scene.track), len(points))
    result = np.zeros((len(names), *shape), np.float32)
    for function, made in _FUNCTIONS.items():
        wanted = [name for name in made if name in names]
        if wanted:
            values = dict(zip(made, function(scene, points), strict=True))
            for name in wanted:
                result[names.index(name)] = np.nan_to_num(np.broadcast_to(values[name], shape), nan=0.0)
    return np.maximum(result, 0)


def _in_radii(distance: np.ndarray, scene: Scene, points: np.ndarray) -> np.ndarray:
    """Pixels (N, k) -> log(1 + radii), at most 4: the difference of 1 and 2 counts more than that of 11 and 12."""
    return np.minimum(np.log1p(np.maximum(distance, 0) / scene.radius[:, points]), 4)


def _scores(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    track, layout = scene.track, scene.layout
    scores = track.scores[:, points]
    drop = np.zeros_like(scores)
    if not scene.alone and track.present.sum() >= LEAST_FRAMES:
        drop = 4 * (_usual(scores, np.isfinite(track.keypoints[:, points, 0]), 50) - scores)
    parts = np.stack([track.scores[:, layout.group == g].mean(axis=1) for g in range(layout.groups)], axis=1)
    person = track.scores[:, layout.body].mean(axis=1, keepdims=True)
    return _unsure(scores), drop, _unsure(parts[:, layout.group[points]]), _unsure(person)


def _unsure(scores: np.ndarray) -> np.ndarray:
    """0 for a score of 1 or more, 4.6 for .01 or less."""
    return -np.log(np.clip(scores, 0.01, 1))


def _usual(values: np.ndarray, known: np.ndarray, percentile: float) -> np.ndarray:
    """(N, k) -> (k,) percentile over the known frames, NaN where there are few."""
    values = np.sort(np.where(known, values, np.nan), axis=0)
    count = np.isfinite(values).sum(axis=0)
    at = np.round(np.maximum(count - 1, 0) * percentile / 100).astype(np.int64)
    return np.where(count >= LEAST_FRAMES, values[at, np.arange(values.shape[1])], np.nan)


def _motion(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    path, stretch = scene.track.keypoints[:, points], scene.track.stretch
    body = scene.track.keypoints[:, scene.layout.body]
    jump = np.linalg.norm(path - middle_of_seven(path, stretch), axis=-1)
    jitter = np.linalg.norm(path - neighbors_mean(path, stretch), axis=-1)
    relative = speed_of(path, stretch) - _median_of_points(speed_of(body, stretch))[:, None]
    fast = np.linalg.norm(relative, axis=-1)
    return tuple(_in_radii(distance, scene, points) for distance in (jump, jitter, fast))


def _median_of_points(values: np.ndarray) -> np.ndarray:
    """(N, B, C) -> (N, C) median of the known points, NaN without any."""
    ordered = np.sort(values, axis=1)
    count = np.isfinite(ordered).sum(axis=1)
    middle = np.take_along_axis(ordered, np.maximum(count - 1, 0)[:, None] // 2, axis=1)
    return middle[:, 0]


def _bones(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """Mean over the bones of a point of how far their length is from the person's own."""
    shape = (len(scene.track), len(points))
    long, short, count = (np.zeros(shape, np.float32) for _ in range(3))
    for column, point in enumerate(points.tolist()):
        for bone in scene.layout.bones_of(point):
            more, less = _length(scene, bone)
            long[:, column] += more
            short[:, column] += less
            count[:, column] += 1
    apart = np.zeros(shape, np.float32)
    for column, point in enumerate(points.tolist()):
        if (home := scene.layout.homes.get(point)) is not None:
            apart[:, column] = np.nan_to_num(_distance(scene.track, *home) / scene.radius[:, home[1]])
    many = np.maximum(count, 1)
    return long / many, short / many, np.minimum(np.log1p(apart), 4)


def _distance(track: Track, a: int, b: int) -> np.ndarray:
    return np.linalg.norm(track.keypoints[:, a] - track.keypoints[:, b], axis=-1)


def _length(scene: Scene, bone: int) -> tuple[np.ndarray, np.ndarray]:
    """(N,) twice: how much longer than usual a bone is, and how much shorter, as logarithms up to 3."""
    a, b = scene.layout.bones[bone]
    length = _distance(scene.track, a, b) / (10 * scene.radius[:, a])
    known = np.isfinite(length)[:, None]
    high, low = (float(_usual(length[:, None], known, percentile)[0]) for percentile in (80, 50))
    if scene.alone or not np.isfinite(high):
        high = low = scene.layout.usual_length(bone)
    if not high > 0:
        return np.zeros(len(length), np.float32), np.zeros(len(length), np.float32)
    with np.errstate(divide="ignore"):
        more, less = np.log(length / high), np.log(max(low, 1e-3) / np.maximum(length, 1e-3))
    return np.clip(np.nan_to_num(more), 0, 3), np.clip(np.nan_to_num(less), 0, 3)


def _sides(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    track, layout = scene.track, scene.layout
    partners = layout.partner[points]
    here, there = track.keypoints[:, points], track.keypoints[:, np.maximum(partners, 0)]
    apart = np.linalg.norm(here - there, axis=-1) / scene.radius[:, points]
    collapsed = np.where(partners >= 0, np.maximum(1 - apart / 2, 0), 0)
    return _swapped(scene, track, points), _facing(scene), collapsed


def _swapped(scene: Scene, track: Track, points: np.ndarray) -> np.ndarray:
    """What an exchange with the other side would save, against the middle of the frames around."""
    swapped = np.zeros((len(track), len(points)), np.float32)
    for pairs in scene.layout.sides:
        columns = np.flatnonzero(np.isin(points, pairs))
        if not len(columns):
            continue
        left, right = (track.keypoints[:, side].astype(np.float32) for side in pairs.T)
        usual_left, usual_right = middle_of_seven(left, track.stretch), middle_of_seven(right, track.stretch)
        straight = _away(left, usual_left) + _away(right, usual_right)
        crossed = _away(left, usual_right) + _away(right, usual_left)
        saved = (straight - crossed) / scene.radius[:, pairs[0, 0]][:, None]
        known = np.isfinite(saved)
        mean = np.where(known, saved, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        swapped[:, columns] = np.minimum(np.log1p(np.maximum(mean, 0)), 4)[:, None]
    return swapped


def _away(points: np.ndarray, usual: np.ndarray) -> np.ndarray:
    return np.linalg.norm(points - usual, axis=-1)


def _facing(scene: Scene) -> np.ndarray:
    """(N, 1) in 0..1: shoulders and hips, or shoulders and eyes, are in opposite orders from left to right."""
    track, worst = scene.track, np.zeros(len(scene.track), np.float32)
    wide = [
        (track.keypoints[:, a, 0] - track.keypoints[:, b, 0]) / (5 * scene.radius[:, a]) for a, b in scene.layout.widths
    ]
    for other in wide[1:]:
        worst = np.fmax(worst, -np.clip(wide[0], -1, 1) * np.clip(other, -1, 1))
    return worst[:, None]


def _places(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    where, boxes = scene.track.keypoints[:, points], scene.track.boxes
    end = np.asarray(scene.size, np.float32) - 1
    beyond_picture = np.maximum(np.maximum(-where, where - end), 0).max(axis=-1)
    size = np.maximum(boxes[:, 2:4] - boxes[:, :2], 1)
    low, high = boxes[:, :2] - 0.05 * size, boxes[:, 2:4] + 0.05 * size
    beyond_box = np.maximum(np.maximum(low[:, None] - where, where - high[:, None]), 0).max(axis=-1)
    beyond_box = np.where((boxes[:, 2] > boxes[:, 0])[:, None], beyond_box, 0)
    margin = np.minimum(where, end - where).min(axis=-1) / scene.radius[:, points]
    beyond = _in_radii(np.fmax(beyond_picture, beyond_box), scene, points)
    return beyond, np.clip(1 - margin / 2, 0, 1)


def _identity(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """Jumps of the box, and nearness in time to where the person appears or disappears within the recording."""
    track, seconds = scene.track, scene.seconds
    corners = track.boxes[:, :4].reshape(-1, 2, 2)
    away = np.linalg.norm(corners - middle_of_seven(corners, track.stretch), axis=-1).max(axis=1)
    radius = scene.radius[:, scene.layout.body].min(axis=1)
    jump = np.minimum(np.log1p(np.nan_to_num(away) / radius), 4)
    nearest = np.full(len(track), np.inf)
    if scene.sharp_start:
        nearest = np.minimum(nearest, seconds - seconds[0])
    if scene.sharp_end:
        nearest = np.minimum(nearest, seconds[-1] - seconds)
    brief = np.clip(1 - nearest / 0.5, 0, 1)
    if scene.sharp_start or scene.sharp_end:
        brief = brief + np.clip(1 - (seconds[-1] - seconds[0]), 0, 1)
    return jump[:, None], brief[:, None]


def _rarity(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """How far a point is from its usual places on this person, in usual deviations."""
    track, layout = scene.track, scene.layout
    if scene.alone or track.present.sum() < LEAST_FRAMES:
        return (np.zeros(1, np.float32),)
    middle = _median_of_points(track.keypoints[:, layout.body])
    place = (track.keypoints[:, points] - middle[:, None]) / (10 * scene.radius[:, layout.body].min(axis=1))[
        :, None, None
    ]
    known = np.isfinite(place[..., 0])
    usual = np.stack([_usual(place[..., i], known, 50) for i in (0, 1)], axis=-1)
    away = np.linalg.norm(place - usual, axis=-1)
    spread = np.maximum(_usual(away, known, 50), 0.1)
    return (np.clip(np.log1p(away / spread) - np.log(2), 0, 3),)


def _people(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """Another person's same joint at the same place; a place within another person's box."""
    keypoints, boxes = scene.others
    where, shape = scene.track.keypoints[:, points], (len(scene.track), len(points))
    shared, covered = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for theirs, box in zip(keypoints, boxes, strict=True):
        near = np.linalg.norm(where - theirs[:, points], axis=-1) / scene.radius[:, points]
        shared = np.fmax(shared, np.maximum(1 - near / 3, 0))
        inside = ((where > box[:, None, :2]) & (where < box[:, None, 2:4])).all(axis=-1)
        covered = np.maximum(covered, inside)
    return shared, covered


def _cleaning(scene: Scene, points: np.ndarray) -> tuple[np.ndarray, ...]:
    """How far cleaning moved a point, whether it filled it in, and the suspicions of the raw points."""
    raw, now = scene.raw, scene.track.keypoints[:, points]
    if raw is None:
        return tuple(np.zeros(1, np.float32) for _ in range(4))
    before = raw.keypoints[:, points]
    moved = np.linalg.norm(now - before, axis=-1)
    filled = np.isfinite(now[..., 0]) & ~np.isfinite(before[..., 0])
    jump = np.linalg.norm(before - middle_of_seven(before, raw.stretch), axis=-1)
    moved, jump = (_in_radii(distance, scene, points) for distance in (moved, jump))
    return moved, filled, jump, _swapped(scene, raw, points)


_FUNCTIONS: dict[Callable[[Scene, np.ndarray], tuple[np.ndarray, ...]], tuple[str, ...]] = {
    _scores: ("score", "score_drop", "part_score", "person_score"),
    _motion: ("jump", "jitter", "speed"),
    _bones: ("long_bone", "short_bone", "apart"),
    _sides: ("swapped", "facing", "collapsed"),
    _places: ("beyond", "border"),
    _identity: ("box_jump", "brief"),
    _rarity: ("rare",),
    _people: ("shared", "covered"),
    _cleaning: ("moved", "filled", "raw_jump", "raw_swapped"),
}
