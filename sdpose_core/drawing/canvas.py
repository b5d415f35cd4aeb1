"""Placing poses and pictures on a canvas of another size."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..dependencies import opencv
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


def place_picture(image: np.ndarray, size: tuple[int, int], fit: str = "pad") -> np.ndarray:
    """The picture on a canvas of `size` (w, h), mapped as `place` maps the poses."""
    cv2 = opencv()

    h, w = image.shape[:2]
    if (w, h) == size:
        return image
    corners = np.asarray([[[0, 0], [w, h]]], np.float32)
    frame = Poses(corners, np.ones((1, 2)), np.zeros((1, 5)), (w, h), "corners")
    (left, top), (right, bottom) = place(frame, size, fit).keypoints[0].astype(float)
    across, down = (right - left) / w, (bottom - top) / h
    matrix = np.asarray([[across, 0, left + 0.5 * across - 0.5], [0, down, top + 0.5 * down - 0.5]])
    return cv2.warpAffine(image, matrix, size, flags=cv2.INTER_LINEAR)


def same_shape(first: tuple[int, int], second: tuple[int, int]) -> bool:
    """Whether two sizes (w, h) have the same aspect ratio, to within 1%."""
    return abs(first[0] * second[1] / (first[1] * second[0]) - 1) <= 0.01
