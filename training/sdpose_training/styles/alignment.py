"""How far a stylized picture is from its photo: shift and scale, measured on their contours.

Annotations of the photo are right for the stylized picture only if nothing moved. Colors and brightness differ, so
contours are compared: gradient magnitudes, normalized by those around them. Phase correlation at each of a range of
scales finds the rough place; then blocks are matched, and RANSAC finds the similarity that most of them agree on, so
that borders and redrawn parts do not count. `benchmarks/alignment_check.py` measures its error.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sdpose_core.errors import InputError

WORKING_SIDE = 384
"""Pixels: longer side of the pictures that are compared; larger ones are reduced."""

SCALES = np.geomspace(1 / 1.22, 1.22, 21)
"""Scales that are tried, 2% apart: the finer search spans the steps between."""

MIN_CONFIDENCE = 0.2
"""Correlation of the contours after alignment, below which a measured shift says nothing. Unrelated pictures reach
.16 (`benchmarks/alignment_check.py`)."""

_LARGEST_SHIFT = 0.25
"""Of the sides: larger shifts are not looked for."""

_SMALLEST_SIDE = 32

_BLOCK, _REACHES, _FEWEST_BLOCKS = 64, (10, 6, 10), 6
"""Pixels of the compared pictures: side of a block, and how far it is looked for in each round (in the last as far as
in the first, to see what was redrawn elsewhere); blocks for a fit."""

_LEAST_TEXTURE, _LEAST_MATCH = 0.35, 0.4
"""Deviation of the contours in a block, and correlation, below which a block is not used."""


@dataclass(frozen=True)
class Alignment:
    """The map from the photo to its stylized picture, in pixels of the photo.

    Attributes:
        shift: (x, y) of the middle of the picture.
        scale: of lengths; 1.1 if the stylized picture shows everything 10% larger.
        offset: largest distance between a point of the photo and the same point of the stylized picture, anywhere in
            the picture: what an annotation is off by in the worst place.
        bend: what single blocks of the picture are off by beside that, as their 90th percentile: parts were redrawn in
            other places.
        confidence: correlation of the contours after alignment, 0 to 1.
    """

    shift: tuple[float, float]
    scale: float
    offset: float
    bend: float
    confidence: float


def measure(photo: np.ndarray, stylized: np.ndarray) -> Alignment:
    """The alignment of two pictures of one size, RGB uint8 (H, W, 3).

    Raises `InputError` for different sizes.
    """
    if photo.shape != stylized.shape:
        sizes = " and ".join(f"{image.shape[1]} x {image.shape[0]}" for image in (photo, stylized))
        raise InputError(f"alignment: expected two pictures of one size, got {sizes}")
    h, w = photo.shape[:2]
    if min(h, w) < _SMALLEST_SIDE:
        return Alignment((0.0, 0.0), 1.0, 0.0, 0.0, 0.0)
    factor = min(WORKING_SIDE / max(h, w), 1.0)
    first, second = (contours(_reduced(image, factor)) for image in (photo, stylized))
    matrix, bend = _refined(first, second, _coarse(first, second))
    confidence = _correlation(first, second, matrix)
    return in_pixels(matrix, first.shape, factor, bend, confidence)


def contours(rgb: np.ndarray) -> np.ndarray:
    """Strength of the contours, float32 (H, W), about 1 on average wherever there is texture."""
    smooth = cv2.GaussianBlur(rgb.astype(np.float32), (0, 0), 1.0)
    dx, dy = cv2.Sobel(smooth, cv2.CV_32F, 1, 0), cv2.Sobel(smooth, cv2.CV_32F, 0, 1)
    strength = cv2.GaussianBlur(np.sqrt((dx * dx + dy * dy).sum(axis=2)), (0, 0), 1.0)
    around = cv2.GaussianBlur(strength, (0, 0), max(rgb.shape[:2]) / 16)
    return strength / (around + 0.05 * float(strength.mean()) + 1e-3)


def _reduced(rgb: np.ndarray, factor: float) -> np.ndarray:
    if factor == 1.0:
        return rgb
    size = tuple(max(round(side * factor), 1) for side in rgb.shape[1::-1])
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)


def about_middle(scale: float, shift: tuple[float, float], shape: tuple[int, int]) -> np.ndarray:
    """The map x -> scale (x - middle) + middle + shift, (2, 3) float32."""
    middle = (np.array(shape[::-1]) - 1) / 2
    offset = middle - scale * middle + shift
    return np.array([[scale, 0, offset[0]], [0, scale, offset[1]]], np.float32)


def _coarse(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The best of all scales, each with its best shift: (2, 3), from the first picture to the second."""
    window = cv2.createHanningWindow(first.shape[::-1], cv2.CV_32F)
    spectrum = np.fft.rfft2(_centered(first, window))
    h, w = first.shape
    near = np.zeros(first.shape, bool)
    rows, columns = (np.abs(np.fft.fftfreq(n, 1 / n)) <= _LARGEST_SHIFT * n for n in (h, w))
    near[np.ix_(rows, columns)] = True
    best, found = -np.inf, about_middle(1.0, (0.0, 0.0), first.shape)
    for scale in SCALES:
        matrix = about_middle(float(scale), (0.0, 0.0), first.shape)
        back = cv2.warpAffine(second, matrix, (w, h), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        product = np.fft.rfft2(_centered(back, window)) * spectrum.conj()
        surface = np.where(near, np.fft.irfft2(product / np.sqrt(np.abs(product) + 1e-6), s=(h, w)), -np.inf)
        peak = np.unravel_index(int(surface.argmax()), surface.shape)
        value = float(surface[peak]) / (float(np.sqrt(np.mean(surface[near] ** 2))) + 1e-9)
        if value > best:
            best = value
            y, x = (place - n if place > n / 2 else place for place, n in zip(peak, (h, w), strict=True))
            found = about_middle(float(scale), (float(scale * x), float(scale * y)), first.shape)
    return found


def _centered(values: np.ndarray, window: np.ndarray) -> np.ndarray:
    return (values - values.mean()) * window


def _refined(first: np.ndarray, second: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, float]:
    """The similarity that most blocks agree on, and the 90th percentile of what the blocks are off by, in pixels.

    The given matrix and 0 if too few blocks can be found again.
    """
    bend = 0.0
    for reach in _REACHES:
        back = cv2.warpAffine(second, matrix, first.shape[::-1], flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
        places, moved = _blocks(first, back, reach)
        if len(places) < _FEWEST_BLOCKS:
            break
        step, inside = cv2.estimateAffinePartial2D(places, moved, method=cv2.RANSAC, ransacReprojThreshold=1.5)
        if step is None or inside.sum() < _FEWEST_BLOCKS:
            break
        bend = float(np.percentile(np.linalg.norm(places @ step[:, :2].T + step[:, 2] - moved, axis=1), 90))
        matrix = (np.vstack([matrix, [0, 0, 1]]) @ np.vstack([step, [0, 0, 1]]))[:2].astype(np.float32)
    return matrix, bend


def _blocks(first: np.ndarray, back: np.ndarray, reach: int) -> tuple[np.ndarray, np.ndarray]:
    """Middles of the first picture's blocks that are found in the other, and where: (N, 2), (N, 2) pixels (x, y)."""
    h, w = first.shape
    side = min(_BLOCK, min(h, w) // 4)
    found = []
    for y in range(reach, h - side - reach + 1, side // 2):
        for x in range(reach, w - side - reach + 1, side // 2):
            block = first[y : y + side, x : x + side]
            around = back[y - reach : y + side + reach, x - reach : x + side + reach]
            if block.std() < _LEAST_TEXTURE or around.std() < _LEAST_TEXTURE:
                continue
            match = cv2.matchTemplate(around, block, cv2.TM_CCOEFF_NORMED)
            row, column = np.unravel_index(int(match.argmax()), match.shape)
            if match[row, column] < _LEAST_MATCH or not (0 < row < 2 * reach and 0 < column < 2 * reach):
                continue
            dx, dy = _top(match[row, column - 1 : column + 2]), _top(match[row - 1 : row + 2, column])
            middle = (x + (side - 1) / 2, y + (side - 1) / 2)
            found.append((*middle, middle[0] + column - reach + dx, middle[1] + row - reach + dy))
    pairs = np.asarray(found, np.float32).reshape(-1, 2, 2)
    return np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1])


def _top(three: np.ndarray) -> float:
    """Place of the top of the parabola through three values around a maximum, -.5 to .5 from the one in the middle."""
    left, middle, right = (float(value) for value in three)
    curve = left - 2 * middle + right
    return 0.5 * (left - right) / curve if curve < 0 else 0.0


def _correlation(first: np.ndarray, second: np.ndarray, matrix: np.ndarray) -> float:
    """Correlation of the contours where both pictures are, with the second mapped onto the first; 0 or more."""
    size = first.shape[::-1]
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    back = cv2.warpAffine(second, matrix, size, flags=flags)
    inside = cv2.warpAffine(np.ones_like(second), matrix, size, flags=flags) > 0.99
    if inside.mean() < 0.3:
        return 0.0
    a, b = (cv2.GaussianBlur(image, (0, 0), 1.0)[inside] for image in (first, back))
    a, b = a - a.mean(), b - b.mean()
    spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return max(float((a * b).sum()) / spread, 0.0) if spread > 0 else 0.0


def in_pixels(
    matrix: np.ndarray, shape: tuple[int, int], factor: float = 1.0, bend: float = 0.0, confidence: float = 1.0
) -> Alignment:
    """The alignment of a map (2, 3) between pictures of `shape` (h, w), the photo's times `factor`."""
    h, w = shape
    places = np.array([[0, 0], [w - 1, 0], [0, h - 1], [w - 1, h - 1], [(w - 1) / 2, (h - 1) / 2]])
    moved = (places @ matrix[:, :2].T + matrix[:, 2] - places) / factor
    scale = float(np.sqrt(abs(np.linalg.det(matrix[:, :2]))))
    x, y = moved[-1].tolist()
    return Alignment((x, y), scale, float(np.linalg.norm(moved, axis=1).max()), bend / factor, confidence)
