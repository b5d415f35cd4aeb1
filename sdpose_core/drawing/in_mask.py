"""Pose maps inside a mask, the frames outside: the control video with which VACE replaces a person and keeps the rest.

Sources, all in ali-vilab/VACE: `src_video` and `src_mask` (white is generated) and the gray of 127 for what is missing
in UserGuide.md; where a control such as a pose is combined with a region, vace/annotators/composition.py puts the
control, a skeleton on black, into the region.
"""

from __future__ import annotations

from collections.abc import Collection
from types import MappingProxyType

import numpy as np

from ..errors import InputError
from ..poses import Poses
from .pose_maps import draw_poses

FILLS = MappingProxyType({"black": (0, 0, 0), "gray": (127, 127, 127)})


def draw_in_mask(
    frame: np.ndarray,
    mask: np.ndarray,
    poses: Poses,
    *,
    fill: str = "black",
    style: str = "controlnet",
    parts: Collection[str] | None = None,
    threshold: float = 0.3,
) -> np.ndarray:
    """The frame with the pose map in the masked region: RGB uint8 (h, w, 3).

    Args:
        frame: RGB uint8 (h, w, 3).
        mask: (h, w) bool, true where the frame is replaced.
        poses: in pixels of the frame.
        fill: of `FILLS`, the background of the pose map.
        style, parts, threshold: as in `draw_poses`.

    Raises `InputError` for an unknown fill, and a mask or poses of another size.
    """
    if fill not in FILLS:
        raise InputError(f"fill: expected one of {', '.join(FILLS)}, got {fill!r}")
    h, w = frame.shape[:2]
    if mask.shape != (h, w) or poses.size != (w, h):
        found = f"the mask {mask.shape[1]} x {mask.shape[0]} and the poses {poses.size[0]} x {poses.size[1]}"
        raise InputError(f"the frame has {w} x {h} pixels, {found}: expected one size")
    drawn = draw_poses(poses, style=style, parts=parts, threshold=threshold, background=FILLS[fill])
    return np.where(mask[..., None], drawn, frame)
