"""Square crops of pictures, for the embedded models."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..dependencies import opencv


def square_around(box: np.ndarray, padding: float) -> tuple[tuple[float, float], float]:
    """Center (x, y) and side of the square around a box (x1, y1, x2, y2, ...): `padding` times its longer side."""
    x1, y1, x2, y2 = (float(v) for v in box[:4])
    return ((x1 + x2) / 2, (y1 + y2) / 2), max(x2 - x1, y2 - y1) * padding


def square_crop(
    image: np.ndarray, center: tuple[float, float], side: float, pixels: int, outside: int = 0
) -> np.ndarray:
    """The square of `side` pixels around `center` (x, y) of a picture -> RGB uint8 (pixels, pixels, 3).

    Where it reaches beyond the picture, it has the gray value `outside`.
    """
    cv2 = opencv()

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


@dataclass(frozen=True)
class Square:
    """A square of a picture, which may be turned.

    Attributes:
        center: x, y in picture pixels.
        side: in picture pixels.
        turn: radians, clockwise as seen: the square's own "up" is (sin, -cos) of it in the picture.
    """

    center: tuple[float, float]
    side: float
    turn: float = 0.0

    @classmethod
    def around(cls, points: np.ndarray, padding: float, turn: float = 0.0) -> Square:
        """The square with this turn around points (N, 2); its side is `padding` times their extent in it."""
        axes = _axes(turn)
        turned = points @ axes.T
        low, high = turned.min(axis=0), turned.max(axis=0)
        center = (low + high) / 2 @ axes
        return cls((float(center[0]), float(center[1])), max(float((high - low).max()) * padding, 1.0), turn)

    def crop(self, image: np.ndarray, pixels: int) -> np.ndarray:
        """The square with its own "up" upward -> RGB uint8 (pixels, pixels, 3), black outside the picture."""
        if self.turn == 0:
            return square_crop(image, self.center, self.side, pixels)
        cv2 = opencv()

        wider = abs(math.cos(self.turn)) + abs(math.sin(self.turn))  # the upright square around the turned one
        around = math.ceil(pixels * wider)
        upright = square_crop(image, self.center, self.side * around / pixels, around)
        matrix = np.empty((2, 3))
        matrix[:, :2] = _axes(self.turn).T
        matrix[:, 2] = (around - 1) / 2 - matrix[:, :2].sum(axis=1) * (pixels - 1) / 2
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return cv2.warpAffine(upright, matrix, (pixels, pixels), flags=flags)

    def to_picture(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) in 0..1 of the square -> picture pixels."""
        return np.asarray(self.center) + (points - 0.5) * self.side @ _axes(self.turn)


def turn_of(upward: np.ndarray) -> float:
    """The `turn` of the square in which the direction `upward` (x, y) of the picture points up."""
    return math.atan2(float(upward[0]), -float(upward[1]))


def _axes(turn: float) -> np.ndarray:
    """Rows: the directions to the right and down in a turned square, in the picture."""
    cos, sin = math.cos(turn), math.sin(turn)
    return np.array([[cos, sin], [-sin, cos]])
