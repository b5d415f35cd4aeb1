"""Square crops of pictures, for the embedded models."""

from __future__ import annotations

import math

import numpy as np


def square_crop(
    image: np.ndarray, center: tuple[float, float], side: float, pixels: int, outside: int = 0
) -> np.ndarray:
    """The square of `side` pixels around `center` (x, y) of a picture -> RGB uint8 (pixels, pixels, 3).

    Where it reaches beyond the picture, it has the gray value `outside`.
    """
    import cv2

    left, top = center[0] - side / 2, center[1] - side / 2
    x0, y0 = max(0, math.floor(left) - 1), max(0, math.floor(top) - 1)
    part = image[y0 : max(y0, math.ceil(top + side) + 1), x0 : max(x0, math.ceil(left + side) + 1)]
    if 0 in part.shape:
        return np.full((pixels, pixels, 3), outside, np.uint8)
    h, w = part.shape[:2]
    shrink = max(1.0, side / (2 * pixels))  # bilinear sampling alone would skip pixels of large pictures
    if shrink > 1:
        part = cv2.resize(part, (max(1, round(w / shrink)), max(1, round(h / shrink))), interpolation=cv2.INTER_AREA)
    matrix = np.empty((2, 3))
    for row, (start, offset, old, new) in enumerate(((left, x0, w, part.shape[1]), (top, y0, h, part.shape[0]))):
        scale = pixels / side * old / new
        matrix[row] = 0, 0, (offset - start) * pixels / side + 0.5 * scale - 0.5  # pixel centers are at .5
        matrix[row, row] = scale
    color = (outside, outside, outside)
    return cv2.warpAffine(part, matrix, (pixels, pixels), flags=cv2.INTER_LINEAR, borderValue=color)
