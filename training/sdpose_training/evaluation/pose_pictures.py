"""Poses of any keypoint set drawn over a picture."""

from __future__ import annotations

import numpy as np

from sdpose_core.drawing.pose_maps import overlay
from sdpose_core.poses import Poses
from sdpose_core.skeletons import KeypointSet, described


def draw_points(
    picture: np.ndarray, keypoints: np.ndarray, scores: np.ndarray, keypoint_set: KeypointSet, threshold: float
) -> np.ndarray:
    """One person over a picture, RGB uint8 (H, W, 3).

    Args:
        keypoints, scores: (K, 2) pixels of the picture, (K,).
        threshold: minimum score of a drawn point.
    """
    h, w = picture.shape[:2]
    meta = described(keypoint_set)
    poses = Poses(keypoints[None], scores[None], [[0, 0, w, h, 1]], (w, h), keypoint_set.name, meta=meta)
    return overlay(picture, poses, threshold=threshold)
