"""Building blocks of several corruptions: blurs, zooming about the center, sampling between pixels.

Pictures are float32 (H, W, C) or (H, W), of any range.
"""

from __future__ import annotations

import math

import cv2
import numpy as np

_ROUNDING = 1e-3
"""Added before values are cut to whole numbers, so that rounding errors of float32 do not cost a gray level."""


def to_uint8(values: np.ndarray) -> np.ndarray:
    """0..1 -> uint8, cut to whole numbers like the pictures of the field's benchmark."""
    return (np.clip(values, 0, 1) * 255 + _ROUNDING).astype(np.uint8)


def gaussian_blur(values: np.ndarray, sigmas: tuple[float, float], truncate: float, border: int) -> np.ndarray:
    """Gaussian blur with a kernel of given extent.

    Args:
        values: float32 (H, W) or (H, W, C).
        sigmas: along y and x, in pixels; 0 leaves that axis alone.
        truncate: radius of the kernel in sigmas.
        border: OpenCV's code of the border.
    """
    vertical, horizontal = (_gaussian_kernel(sigma, truncate) for sigma in sigmas)
    return cv2.sepFilter2D(values, -1, horizontal, vertical, borderType=border)


def _gaussian_kernel(sigma: float, truncate: float) -> np.ndarray:
    radius = int(truncate * sigma + 0.5)
    if radius == 0:
        return np.ones(1, np.float32)
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return (kernel / kernel.sum()).astype(np.float32)


def motion_blur(values: np.ndarray, radius: int, sigma: float, degrees: float) -> np.ndarray:
    """Blur along a line that begins at the pixel: weights of half a Gaussian on 2 x radius + 1 steps of one pixel.

    As the line has one end at the pixel, the picture also moves, by `motion_offset`. Pixels beyond the border repeat.
    """
    y, x = motion_steps(radius, degrees)
    reach = 2 * radius + 1
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1), np.float32)
    np.add.at(kernel, (reach + y, reach + x), _motion_weights(radius, sigma).astype(np.float32))
    return cv2.filter2D(values, -1, kernel, borderType=cv2.BORDER_REPLICATE)


def motion_steps(radius: int, degrees: float) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (y, x) of the pixels that `motion_blur` averages, each (2 radius + 1,) int."""
    steps = np.arange(2 * radius + 1)
    angle = math.radians(degrees)
    y, x = (np.ceil(steps * along - 0.5).astype(int) for along in (math.sin(angle), math.cos(angle)))
    return y, x


def motion_offset(radius: int, sigma: float) -> float:
    """Mean distance in pixels by which `motion_blur` moves what is in the picture."""
    return float(_motion_weights(radius, sigma) @ np.arange(2 * radius + 1))


def _motion_weights(radius: int, sigma: float) -> np.ndarray:
    weights = np.exp(-0.5 * (np.arange(2 * radius + 1) / sigma) ** 2)
    return weights / weights.sum()


def zoomed_size(side: int, factor: float) -> tuple[int, int]:
    """Sides before and after zooming into the center of `side` pixels; the second is `side` or a little more."""
    part = math.ceil(side / factor)
    return part, max(round(part * factor), side)


def zoom_into(values: np.ndarray, sides: tuple[int, int]) -> np.ndarray:
    """(h, w, ...) -> (H, W, ...), linearly; the corner pixels of both coincide."""
    for axis, side in enumerate(sides):
        length = values.shape[axis]
        place = np.arange(side) * ((length - 1) / max(side - 1, 1))
        first = np.minimum(place.astype(int), max(length - 2, 0))
        share = (place - first).astype(np.float32).reshape(-1, *[1] * (values.ndim - 1 - axis))
        low, high = (values.take(np.minimum(first + step, length - 1), axis) for step in (0, 1))
        values = low + share * (high - low)
    return values


def center_zoom(values: np.ndarray, factor: float) -> np.ndarray:
    """The middle 1 / factor of a picture (H, W, ...), enlarged to (H, W, ...).

    The enlarged part may be a pixel or two larger: it is cut at the right and bottom, as in the field's benchmark.
    """
    h, w = values.shape[:2]
    sides = [zoomed_size(side, factor) for side in (h, w)]
    top, left = ((side - part) // 2 for side, (part, _) in zip((h, w), sides, strict=True))
    middle = values[top : top + sides[0][0], left : left + sides[1][0]]
    return zoom_into(middle, (sides[0][1], sides[1][1]))[:h, :w]


def sample(values: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Bilinear samples (h, w, C) of (H, W, C) at places (h, w) in pixels; beyond its border the picture is mirrored."""
    top, left = np.floor(y), np.floor(x)
    down, right = ((place - low).astype(np.float32)[..., None] for place, low in ((y, top), (x, left)))
    rows = [_mirrored(top.astype(int) + step, values.shape[0]) for step in (0, 1)]
    columns = [_mirrored(left.astype(int) + step, values.shape[1]) for step in (0, 1)]
    upper, lower = ((1 - right) * values[row, columns[0]] + right * values[row, columns[1]] for row in rows)
    return (1 - down) * upper + down * lower


def _mirrored(index: np.ndarray, length: int) -> np.ndarray:
    """Indices of a picture that continues mirrored, its border pixels twice: ... 1 0 | 0 1 ... n-1 | n-1 n-2 ..."""
    index = index % (2 * length)
    return np.minimum(index, 2 * length - 1 - index)
