"""Poses of any keypoint set drawn over a picture."""

from __future__ import annotations

import numpy as np

from sdpose_core.drawing.pose_maps import overlay
from sdpose_core.poses import Poses
from sdpose_core.skeletons import KEYPOINT_SETS, KeypointSet


def draw_points(
    picture: np.ndarray, keypoints: np.ndarray, scores: np.ndarray, keypoint_set: KeypointSet, threshold: float
) -> np.ndarray:
    """One person over a picture, RGB uint8 (H, W, 3); a custom keypoint set is drawn as dots.

    Args:
        keypoints, scores: (K, 2) pixels of the picture, (K,).
        threshold: minimum score of a drawn point.
    """
    import cv2

    h, w = picture.shape[:2]
    if keypoint_set.name in KEYPOINT_SETS:
        poses = Poses(keypoints[None], scores[None], [[0, 0, w, h, 1]], (w, h), keypoint_set.name)
        return overlay(picture, poses, threshold=threshold)
    drawn = picture.copy()
    for x, y in keypoints[(scores >= threshold) & np.isfinite(keypoints).all(axis=1)]:
        cv2.circle(drawn, (round(float(x)), round(float(y))), max(2, h // 128), (255, 80, 0), -1)
    return drawn
