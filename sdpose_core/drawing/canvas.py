"""Placing poses on a canvas of another size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..errors import InputError
from ..poses import Poses

FITS = ("pad", "crop", "stretch")


def place(poses: Poses, size: tuple[int, int], fit: str = "pad") -> Poses:
    """The poses in pixels of a canvas of `size` (w, h).

    Args:
        fit: "pad" keeps the aspect ratio and shows everything, "crop" keeps it and fills the canvas, "stretch" fills
            the canvas without keeping it.

    Raises `InputError` for an unknown fit.
    """
    if fit not in FITS:
        raise InputError(f"fit: expected one of {', '.join(FITS)}, got {fit!r}")
    old, new = np.asarray(poses.size, np.float64), np.asarray(size, np.float64)
    ratios = new / old
    scale = ratios if fit == "stretch" else np.full(2, ratios.min() if fit == "pad" else ratios.max())
    shift = (new - old * scale) / 2
    boxes = np.array(poses.boxes, np.float64)
    boxes[:, :4] = boxes[:, :4] * np.tile(scale, 2) + np.tile(shift, 2)
    return replace(poses, keypoints=poses.keypoints * scale + shift, boxes=boxes, size=size)


def same_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether two sizes (w, h) have the same aspect ratio, to within 1%."""
    return abs(first[0] * second[1] / (first[1] * second[0]) - 1) <= 0.01
