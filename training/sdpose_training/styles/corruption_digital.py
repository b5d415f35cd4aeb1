"""Digital: contrast, elastic, pixelate, JPEG. Pictures are float32 (H, W, 3), 0..1."""

from __future__ import annotations

import cv2
import numpy as np

from sdpose_training.styles import corruption_steps as steps

_ELASTIC_NOISE = 0.005
_ELASTIC_BLUR = 0.01
"""Of the picture's sides: largest displacement before smoothing, standard deviation of the smoothing."""


def contrast(picture: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Scales the differences from the mean of each channel."""
    mean = picture.mean(axis=(0, 1), keepdims=True, dtype=np.float64).astype(np.float32)
    return (picture - mean) * factor + mean


def elastic_transform(picture: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Moves pixels by smoothed noise that grows with the picture, as the field's version for COCO does."""
    h, w = picture.shape[:2]
    limit, sigmas = _ELASTIC_NOISE * h, (_ELASTIC_BLUR * h, _ELASTIC_BLUR * w)
    noise = rng.uniform(-limit, limit, (2, h, w)).astype(np.float32)
    dx, dy = (strength * steps.gaussian_blur(field, sigmas, 3, cv2.BORDER_REFLECT) for field in noise)
    y, x = np.mgrid[0:h, 0:w]
    return steps.sample(picture, y + dy, x + dx)


def pixelate(picture: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Reduces the picture to that share of its sides (box filter) and enlarges it to equal squares."""
    values = picture * 255
    for axis in (1, 0):
        length = picture.shape[axis]
        small = max(int(length * factor), 1)
        edges = (np.arange(small + 1) * (length / small) + 0.5).astype(int)
        sums = np.add.reduceat(values, edges[:-1], axis=axis)
        counts = np.diff(edges).astype(np.float32).reshape((1, -1, 1) if axis == 1 else (-1, 1, 1))
        cells = np.floor(sums / counts + 0.5)
        values = cells.take(((np.arange(length) + 0.5) * (small / length)).astype(int), axis)
    return values / 255


def jpeg_compression(picture: np.ndarray, quality: int, rng: np.random.Generator) -> np.ndarray:
    """Through a JPEG of that quality, with half the resolution for color."""
    pixels = np.rint(picture[..., ::-1] * 255).astype(np.uint8)
    values = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_420]
    _, code = cv2.imencode(".jpg", pixels, values)
    return cv2.imdecode(code, cv2.IMREAD_COLOR)[..., ::-1].astype(np.float32) / 255
