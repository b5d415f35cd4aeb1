"""Steady square face crops of a video, for Wan-Animate's face video.

The margin is Wan-Animate's (Wan-Video/Wan2.2, wan/modules/animate/preprocess/utils.py): the box of the 68 face points
grows to 1.3 times its area, with three quarters of the added height above. That tool stretches the box to 512x512; here
it is made square, so that faces keep their proportions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import numpy as np

from ..dependencies import opencv
from ..errors import InputError
from ..poses import PoseSequence
from ..sequences.tracks import split_tracks
from ..times import Clock, clock_of

AREA_GROWTH = 1.3
"""Factor from the area of the face points' box to the area of the crop."""

MIN_FACE_POINTS = 17
"""A quarter of the 68 points; with fewer the face counts as unseen."""

_FACE = slice(23, 91)
_NOSE, _EYES, _EARS = 0, (1, 2), (3, 4)


def face_boxes(
    sequence: PoseSequence, track_id: int, *, threshold: float = 0.3, smooth_seconds: float = 0.2
) -> np.ndarray:
    """Square boxes around one person's face: (T, 4) float64 x1, y1, x2, y2 in pixels of the source.

    From the 68 face points or, where they are absent, estimated from nose, eyes and ears. Boxes are averaged over time
    and moved into the picture if they fit. While the face is unseen the last box is kept; NaN before it is first seen.

    Args:
        threshold: points with a lower score are absent.
        smooth_seconds: half width of the averaging window, at least two frames; 0: off.

    Raises `InputError` for a keypoint set other than coco_17 and coco_wholebody_133.
    """
    if sequence.keypoint_set not in ("coco_17", "coco_wholebody_133"):
        raise InputError(f"faces: expected coco_17 or coco_wholebody_133, got {sequence.keypoint_set!r}")
    squares = np.full((len(sequence), 3), np.nan)
    for track in split_tracks(sequence):
        if track.id == track_id:
            seen = np.isfinite(track.keypoints).all(-1) & (track.scores >= threshold) & (track.scores > 0)
            rows = [_square(points, shown) for points, shown in zip(track.keypoints, seen, strict=True)]
            squares[track.start : track.start + len(track)] = rows
    if smooth_seconds > 0:
        clock = clock_of(sequence)
        squares = _smooth(squares, max(round(smooth_seconds * float(clock.rate)), 2), clock)
    return _into_picture(_held(squares), sequence.size)


def face_crops(frames: Iterable[np.ndarray], boxes: Iterable[np.ndarray], size: int = 512) -> Iterator[np.ndarray]:
    """The content of each box: RGB uint8 (size, size, 3), black outside of the frame.

    Args:
        frames: RGB uint8 (H, W, 3).
        boxes: (4,) x1, y1, x2, y2 of each frame; NaN gives a black picture.
    """
    for frame, box in zip(frames, boxes, strict=True):
        yield _crop(frame, np.asarray(box, np.float64), size)


def _square(points: np.ndarray, seen: np.ndarray) -> tuple[float, float, float]:
    """(x, y, side) of the square around the face with margin, NaN if it is not seen. Points (17 or 133, 2)."""
    face = _from_face(points, seen)
    return face if not math.isnan(face[0]) else _from_head(points, seen)


def _from_face(points: np.ndarray, seen: np.ndarray) -> tuple[float, float, float]:
    """(x, y, side) of the square around the face points with margin; NaN if too few are seen."""
    face = points[_FACE][seen[_FACE]]
    if len(face) < MIN_FACE_POINTS:
        return math.nan, math.nan, math.nan
    low, high = face.min(axis=0), face.max(axis=0)
    return _with_margin((low + high) / 2, *(high - low))


def _with_margin(center: np.ndarray, w: float, h: float) -> tuple[float, float, float]:
    growth = math.sqrt(AREA_GROWTH)
    upwards = h * (growth - 1) / 4
    return float(center[0]), float(center[1] - upwards), max(w, h) * growth


def _from_head(points: np.ndarray, seen: np.ndarray) -> tuple[float, float, float]:
    """The same from nose, eyes and ears, by ratios measured on faces of COCO-WholeBody, frontal to profile."""
    eyes, ears = [points[i] for i in _EYES if seen[i]], [points[i] for i in _EARS if seen[i]]
    if not seen[_NOSE] or not eyes:
        return math.nan, math.nan, math.nan
    nose = points[_NOSE]
    sides = [3.2 * np.hypot(*(np.mean(eyes, axis=0) - nose))]
    sides += [2.0 * np.hypot(*(eyes[0] - eyes[1]))] if len(eyes) == 2 else []
    sides += [0.92 * np.hypot(*(ears[0] - ears[1]))] if len(ears) == 2 else []
    sides += [1.1 * np.hypot(*(ear - nose)) for ear in ears]
    side = max(sides)
    toward_ears = 0.3 * (np.mean(ears, axis=0)[0] - nose[0]) if ears else 0.0
    return _with_margin(nose + np.array([toward_ears, 0.05 * side]), side, side)


def _smooth(squares: np.ndarray, radius: int, clock: Clock) -> np.ndarray:
    """Average under a Hann window of `radius` frames of time on either side, over the frames with a box."""
    kernel = np.hanning(2 * radius + 3)[1:-1]
    seen = np.isfinite(squares[:, 0])
    low, high = (np.searchsorted(clock.frames, clock.frames + reach) for reach in (-radius - 1, radius + 1))

    def convolved(values: np.ndarray) -> np.ndarray:
        if (np.diff(clock.frames) == 1).all():
            return np.convolve(np.pad(values, len(kernel) // 2), kernel, mode="valid")
        away = [np.abs(clock.frames[a:b] - now) for a, b, now in zip(low, high, clock.frames, strict=True)]
        windows = [0.5 + 0.5 * np.cos(np.pi * np.minimum(off / (radius + 1), 1)) for off in away]
        return np.asarray([w @ values[a:b] for w, a, b in zip(windows, low, high, strict=True)])

    weights = convolved(seen.astype(np.float64))
    sums = [convolved(np.where(seen, column, 0)) for column in squares.T]
    means = np.stack(sums, axis=1) / np.where(weights > 0, weights, 1)[:, None]
    return np.where(seen[:, None], means, np.nan)


def _held(squares: np.ndarray) -> np.ndarray:
    """Rows without a box take the last one before."""
    seen = np.isfinite(squares[:, 0])
    last = np.maximum.accumulate(np.where(seen, np.arange(len(squares)), -1))
    return np.where(last[:, None] >= 0, squares[np.maximum(last, 0)], np.nan)


def _into_picture(squares: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Squares (x, y, side) as boxes x1, y1, x2, y2, moved inside the picture; larger ones are centered."""
    center, side = squares[:, :2], squares[:, 2:]
    room = np.asarray(size, np.float64) - side
    corner = np.where(room >= 0, np.clip(center - side / 2, 0, np.maximum(room, 0)), room / 2)
    return np.concatenate([corner, corner + side], axis=1)


def _crop(frame: np.ndarray, box: np.ndarray, size: int) -> np.ndarray:
    cv2 = opencv()

    if not np.isfinite(box).all():
        return np.zeros((size, size, 3), np.uint8)
    scale = size / (box[2] - box[0])
    if scale < 1:  # an affine warp aliases when it shrinks
        return cv2.resize(_window(frame, np.rint(box).astype(int)), (size, size), interpolation=cv2.INTER_AREA)
    offset = (scale - 1) / 2 - box[:2] * scale
    matrix = np.array([[scale, 0, offset[0]], [0, scale, offset[1]]])
    return cv2.warpAffine(frame, matrix, (size, size), flags=cv2.INTER_LINEAR)


def _window(frame: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The pixels x1, y1, x2, y2 of a frame, black outside."""
    x1, y1, x2, y2 = box
    h, w = frame.shape[:2]
    window = np.zeros((y2 - y1, x2 - x1, 3), np.uint8)
    left, top, right, bottom = max(x1, 0), max(y1, 0), min(x2, w), min(y2, h)
    if left < right and top < bottom:
        window[top - y1 : bottom - y1, left - x1 : right - x1] = frame[top:bottom, left:right]
    return window
