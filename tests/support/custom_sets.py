"""Keypoint sets that are neither COCO's nor OpenPose's, and poses of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sdpose_core.poses import Poses
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133, KeypointSet, described

PEN = KeypointSet("pen_4", ("left_end", "right_end", "tip", "cap"), ((2, 3), (0, 2), (1, 2)), ((0, 1),), (0.05,) * 4)
KNIGHT = replace(
    COCO_17, name="knight", names=tuple(f"{name}_armor" for name in COCO_17.names), parts={}, sigmas=()
)  # fmt: skip
HAND = KeypointSet(
    "hand_21", COCO_WHOLEBODY_133.names[91:112],
    tuple((a - 91, b - 91) for a, b in COCO_WHOLEBODY_133.links if 91 <= min(a, b) and max(a, b) < 112),
)  # fmt: skip
SETS = (PEN, KNIGHT, HAND)


def custom_poses(points: KeypointSet, places: Sequence[Sequence[float]], size: tuple[int, int] = (96, 64)) -> Poses:
    """One person with points at these places, of score 1, in a picture of `size` (w, h)."""
    whole = [[0, 0, *size, 1]]
    return Poses(np.array([places]), np.ones((1, len(points))), whole, size, points.name, meta=described(points))
