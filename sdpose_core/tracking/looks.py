"""Coarse colors of people's clothes, to recognize people who come back into the picture."""

from __future__ import annotations

import numpy as np

from ..poses import Poses
from ..skeletons import KEYPOINT_SETS

LEVELS = 6
"""Bins per color channel."""
SAMPLES = 8
MIN_SAMPLES = 16
"""A region with fewer samples inside the picture counts as unseen."""

_TORSO = ("left_shoulder", "right_shoulder", "left_hip", "right_hip")
_THIGHS = (("left_hip", "left_knee"), ("right_hip", "right_knee"))


def looks(image: np.ndarray, poses: Poses) -> np.ndarray:
    """(P, 2, 3 * LEVELS) color histograms of torso and thighs, NaN for an unseen region.

    Args:
        image: RGB uint8 (H, W, 3).
        poses: in pixels of the image. Keypoint sets other than COCO's have one region: the middle of the box.

    Pixels inside the box of somebody nearer (whose box ends lower) are ignored.
    """
    return np.stack([_look(image, poses, index) for index in range(len(poses))]) if len(poses) else no_looks(0)


def likeness(first: np.ndarray, second: np.ndarray) -> float:
    """Two looks (2, 3 * LEVELS) -> Bhattacharyya coefficient, 0..1, over the common regions; NaN if none."""
    shared = np.sqrt(first * second).reshape(2, 3, LEVELS).sum(axis=-1).prod(axis=-1)
    seen = np.isfinite(shared)
    return float(shared[seen].mean()) if seen.any() else float("nan")


def no_looks(count: int) -> np.ndarray:
    """Looks of `count` unseen people: all NaN."""
    return np.full((count, 2, 3 * LEVELS), np.nan)


def _look(image: np.ndarray, poses: Poses, index: int) -> np.ndarray:
    regions = _regions(poses.keypoints[index].astype(np.float64), poses.boxes[index, :4], poses.keypoint_set)
    nearer = poses.boxes[poses.boxes[:, 3] > poses.boxes[index, 3], :4]
    return np.stack([_colors(image, _outside(points, nearer)) for points in regions])


def _outside(points: np.ndarray, boxes: np.ndarray) -> np.ndarray:
    """The points (N, 2) outside all boxes (M, 4)."""
    within = (points[:, None] >= boxes[:, :2]) & (points[:, None] <= boxes[:, 2:])
    return points[~np.any(np.all(within, axis=-1), axis=1)]


def _regions(keypoints: np.ndarray, box: np.ndarray, keypoint_set: str) -> list[np.ndarray]:
    """Points (N, 2) on the torso and on the thighs."""
    across = np.linspace(0.15, 0.85, SAMPLES)
    if keypoint_set not in KEYPOINT_SETS:
        x, y = np.meshgrid(across, across)
        middle = np.stack([box[0] + x * (box[2] - box[0]), box[1] + y * (box[3] - box[1])], axis=-1)
        return [middle.reshape(-1, 2), np.zeros((0, 2))]
    named = KEYPOINT_SETS[keypoint_set]
    left, right, left_hip, right_hip = (keypoints[named.index(name)] for name in _TORSO)
    u, v = across[:, None, None], across[None, :, None]
    torso = (1 - u) * ((1 - v) * left + v * right) + u * ((1 - v) * left_hip + v * right_hip)
    along = np.linspace(0.2, 0.9, 2 * SAMPLES)[:, None]
    ends = [(keypoints[named.index(a)], keypoints[named.index(b)]) for a, b in _THIGHS]
    thighs = np.concatenate([(1 - along) * start + along * end for start, end in ends])
    return [torso.reshape(-1, 2), thighs]


def _colors(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(3 * LEVELS,) soft histogram per channel; NaN if too few points are inside the picture."""
    h, w = image.shape[:2]
    points = points[np.isfinite(points).all(axis=1)]
    x, y = np.floor(points).astype(np.int64).T if len(points) else np.zeros((2, 0), np.int64)
    inside = (x >= 0) & (y >= 0) & (x < w) & (y < h)
    if inside.sum() < MIN_SAMPLES:
        return np.full(3 * LEVELS, np.nan)
    position = image[y[inside], x[inside]] / 255 * (LEVELS - 1)
    nearness = np.maximum(1 - np.abs(position[..., None] - np.arange(LEVELS)), 0)
    return nearness.mean(axis=0).ravel()
