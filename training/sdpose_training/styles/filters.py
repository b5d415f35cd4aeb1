"""Styles without weights: oil, sketch, posterise, edge, by plain image processing.

Each filter takes and returns RGB uint8 (H, W, 3), keeps the geometry and depends only on the picture. Strokes and lines
scale with the picture, so a style looks the same at every resolution. Needs only OpenCV's base modules.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import cv2
import numpy as np

_SECTORS = 8
_COLORS = 9
_UNIT = 512.0  # side of a square picture at scale 1


def oil(rgb: np.ndarray) -> np.ndarray:
    """Thick paint: flat dabs with sharp borders (generalized Kuwahara filter, Papari et al. 2007), a relief of strokes
    along the contours, stronger colors."""
    scale = _scale(rgb)
    dabs = _kuwahara(_padded(rgb, 2).astype(np.float32), radius=max(2, round(6 * scale)))[2:-2, 2:-2]
    strokes = _strokes(dabs, length=max(4, round(11 * scale)), width=0.9 * scale)
    gray = dabs.mean(axis=2, keepdims=True)
    vivid = gray + 1.35 * (dabs - gray)
    return _to_uint8(vivid + 14 * strokes[..., None])


def sketch(rgb: np.ndarray) -> np.ndarray:
    """Pencil on paper: contours by dodging, shadows by two layers of hatching."""
    scale = _scale(rgb)
    gray = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255
    smooth = cv2.GaussianBlur(gray, (0, 0), 0.6 * scale + 0.1)
    lines = np.clip(smooth / np.maximum(cv2.GaussianBlur(smooth, (0, 0), 6 * scale), 1e-3), 0, 1) ** 2.2
    tone = cv2.GaussianBlur(gray, (0, 0), 2 * scale)
    shade = 1 - 0.45 * _hatching(gray.shape, 45, scale) * _below(tone, 0.45)
    shade *= 1 - 0.45 * _hatching(gray.shape, -30, scale) * _below(tone, 0.25)
    paper = np.array([250, 247, 240], np.float32)
    return _to_uint8(paper * (0.12 + 0.88 * lines * shade)[..., None])


def posterise(rgb: np.ndarray) -> np.ndarray:
    """A screen print: nine flat colors from the picture, without small details."""
    size = 2 * round(1.5 * _scale(rgb)) + 1
    flat = cv2.bilateralFilter(cv2.medianBlur(rgb, max(3, size)), 9, 40, 7)
    lab = cv2.cvtColor(flat, cv2.COLOR_RGB2LAB).astype(np.float32)
    palette = _palette(lab)
    nearest = cv2.medianBlur(_nearest(lab, palette).astype(np.uint8), max(3, size))
    colors = cv2.cvtColor(_to_uint8(palette)[None], cv2.COLOR_LAB2RGB)[0]
    return colors[nearest]


def edge(rgb: np.ndarray) -> np.ndarray:
    """White contours of brightness and color on black."""
    scale = _scale(rgb)
    smooth = cv2.bilateralFilter(rgb, 7, 40, 5)
    lab = cv2.GaussianBlur(cv2.cvtColor(smooth, cv2.COLOR_RGB2LAB), (0, 0), max(0.8, 1.1 * scale))
    lines = np.max([cv2.Canny(np.ascontiguousarray(lab[..., c]), *limits) for c, limits in _CANNY.items()], axis=0)
    if scale > 1.5:
        lines = cv2.dilate(lines, cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (round(scale) + 1,) * 2))
    drawn = cv2.GaussianBlur(lines.astype(np.float32), (0, 0), 0.6) * 1.6
    return np.repeat(_to_uint8(drawn)[..., None], 3, axis=2)


_CANNY = {0: (40, 90), 1: (25, 50), 2: (25, 50)}  # thresholds for L, a, b

FILTERS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = MappingProxyType(
    {"oil": oil, "sketch": sketch, "posterise": posterise, "edge": edge}
)
"""By the name that `make_coco_ood.py --style` takes."""


def _scale(rgb: np.ndarray) -> float:
    return float(np.sqrt(rgb.shape[0] * rgb.shape[1])) / _UNIT


def _to_uint8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def _padded(rgb: np.ndarray, border: int) -> np.ndarray:
    return cv2.copyMakeBorder(rgb, border, border, border, border, cv2.BORDER_REPLICATE)


def _kuwahara(rgb: np.ndarray, radius: int) -> np.ndarray:
    """Mean of the sectors around each pixel, weighted by how uniform they are; float32 (H, W, 3) in and out."""
    total, weights = np.zeros_like(rgb), np.zeros(rgb.shape[:2], np.float32)
    for kernel in _sector_kernels(radius):
        mean = cv2.filter2D(rgb, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        square = cv2.filter2D(rgb * rgb, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        deviation = np.sqrt(np.maximum(square - mean * mean, 0).sum(axis=2))
        weight = 1 / (1 + deviation) ** 6
        total += mean * weight[..., None]
        weights += weight
    return total / weights[..., None]


def _sector_kernels(radius: int) -> list[np.ndarray]:
    """Gaussian discs cut into overlapping sectors, each summing to 1."""
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].astype(np.float32)
    disc = np.exp(-(x * x + y * y) / (0.5 * radius * radius)) * (x * x + y * y <= (radius + 0.5) ** 2)
    kernels = []
    for sector in range(_SECTORS):
        turn = np.arctan2(y, x) - 2 * np.pi * sector / _SECTORS
        away = np.abs(np.angle(np.exp(1j * turn))) / (2 * np.pi / _SECTORS)
        kernel = disc * np.maximum(1 - away, 0)
        kernel[radius, radius] = disc[radius, radius] / _SECTORS
        kernels.append((kernel / kernel.sum()).astype(np.float32))
    return kernels


def _strokes(rgb: np.ndarray, length: int, width: float) -> np.ndarray:
    """Relief of brush strokes, about -1..1, (H, W): noise smeared along the contours (line integral convolution)."""
    h, w = rgb.shape[:2]
    along = _contour_direction(rgb)
    noise = cv2.GaussianBlur(np.random.default_rng(0).standard_normal((h, w), np.float32), (0, 0), max(width, 0.3))
    total = noise.copy()
    for sign in (1, -1):
        y, x = np.mgrid[0:h, 0:w].astype(np.float32)
        for _ in range(length):
            step = cv2.remap(along, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
            x, y = x + sign * step[..., 0], y + sign * step[..., 1]
            total += cv2.remap(noise, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
    relief = cv2.Sobel(total, cv2.CV_32F, 1, 1) if min(h, w) > 2 else total
    spread = float(np.abs(relief).mean())
    return np.clip(relief / (2 * spread), -1, 1) if spread > 0 else np.zeros_like(relief)


def _contour_direction(rgb: np.ndarray) -> np.ndarray:
    """Unit vectors (x, y) along the contours, (H, W, 2): smaller eigenvector of the smoothed structure tensor."""
    gray = np.ascontiguousarray(rgb.mean(axis=2))
    gx, gy = cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)
    sigma = max(1.0, 5 * _scale(rgb))
    xx, yy, xy = (cv2.GaussianBlur(product, (0, 0), sigma) for product in (gx * gx, gy * gy, gx * gy))
    angle = 0.5 * np.arctan2(2 * xy, xx - yy) + np.pi / 2
    return np.dstack([np.cos(angle), np.sin(angle)]).astype(np.float32)


def _hatching(shape: tuple[int, int], degrees: float, scale: float) -> np.ndarray:
    """Parallel pencil strokes, 0..1, uneven as if by hand."""
    y, x = np.mgrid[0 : shape[0], 0 : shape[1]].astype(np.float32)
    across = x * np.sin(np.radians(degrees)) + y * np.cos(np.radians(degrees))
    noise = np.random.default_rng(0).standard_normal(shape, np.float32)
    wobble = cv2.GaussianBlur(noise, (0, 0), max(8 * scale, 0.3))
    wobble /= max(float(wobble.std()), 1e-6)
    grain = np.clip(1 + 0.25 * cv2.GaussianBlur(noise, (0, 0), 0.7), 0, 1)
    lines = 0.5 + 0.5 * np.sin(2 * np.pi * across / max(4 * scale, 3) + 0.6 * wobble)
    return (lines * grain).astype(np.float32)


def _below(tone: np.ndarray, level: float) -> np.ndarray:
    """1 well below the level, 0 above it, with a soft transition."""
    return np.clip((level - tone) / 0.15, 0, 1)


def _palette(lab: np.ndarray) -> np.ndarray:
    """The main colors, (K, 3) float32: k-means on a small copy. Starts with colors far apart, so that a small area of
    a distinct color gets one."""
    pixels = cv2.resize(lab, (64, 64), interpolation=cv2.INTER_AREA).reshape(-1, 3)
    palette = pixels.mean(axis=0, keepdims=True)
    for _ in range(_COLORS - 1):
        distance = np.min([np.square(pixels - color).sum(axis=1) for color in palette], axis=0)
        palette = np.vstack([palette, pixels[distance.argmax()]])
    for _ in range(12):
        nearest = _nearest(pixels, palette)
        for k in range(_COLORS):
            if (nearest == k).any():
                palette[k] = pixels[nearest == k].mean(axis=0)
    return palette


def _nearest(lab: np.ndarray, palette: np.ndarray) -> np.ndarray:
    """Index of the nearest color of the palette for each pixel (..., 3); hue counts more than brightness."""
    weights = np.array([0.6, 1, 1], np.float32)
    best = np.full(lab.shape[:-1], np.inf, np.float32)
    index = np.zeros(lab.shape[:-1], np.int64)
    for k, color in enumerate(palette):
        distance = np.square((lab - color) * weights).sum(axis=-1)
        closer = distance < best
        best[closer], index[closer] = distance[closer], k
    return index
