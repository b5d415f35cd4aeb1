"""Frost on glass, drawn: the field's benchmark uses photographs of others, which cannot be passed on.

A texture is the sum of clouds, fern-like crystals and grain, brought to the mean color and contrast of one of five
looks. Mean and contrast of the looks are those measured on the field's five pictures, so that the severities mean
about the same; the patterns are ours.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class FrostLook:
    """Mean color (RGB, 0..255), standard deviation of the brightness (0..255), and the share of crystals in it."""

    color: tuple[int, int, int]
    contrast: float
    crystals: float


LOOKS = (
    FrostLook((78, 149, 166), 18, 0.3), FrostLook((201, 205, 214), 22, 0.8), FrostLook((201, 205, 214), 22, 0.8),
    FrostLook((138, 153, 165), 29, 0.5), FrostLook((112, 123, 135), 43, 0.9),
)  # fmt: skip
"""Each as likely as the others; white frost is there twice, as in the field's benchmark."""

_NATURAL_SIZE = (420, 600)
"""(h, w) up to which crystals have their natural size; larger pictures have enlarged ones, as if from a photograph."""
_ENLARGED = 1.1
_LENGTH = 36.0
"""Median length of a crystal in pixels."""
_CRYSTAL_AREA = 450.0
"""Square pixels per crystal."""
_BRANCHES = 14
_BRANCH_ANGLE = np.radians(58)
_FINE = 8
"""Fraction bits of the coordinates of lines."""


def frost_texture(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """A texture of frost, float32 (H, W, 3), 0..1, of any `shape` (H, W)."""
    look = LOOKS[rng.integers(len(LOOKS))]
    scale = _ENLARGED * max(1.0, shape[0] / _NATURAL_SIZE[0], shape[1] / _NATURAL_SIZE[1])
    crystals = _standardized(_crystals(shape, scale, rng))
    grain = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), 0.6 * scale)
    pattern = look.crystals * crystals + (1 - look.crystals) * _clouds(shape, scale, rng) + 0.3 * _standardized(grain)
    brightness = 1 + look.contrast / np.mean(look.color) * _standardized(pattern)
    return np.clip(np.asarray(look.color, np.float32) / 255 * brightness[..., None], 0, 1)


def _standardized(values: np.ndarray) -> np.ndarray:
    """With mean 0 and standard deviation 1, within 4 of it; zeros if all are equal."""
    spread = float(values.std())
    return np.clip((values - values.mean()) / spread, -4, 4) if spread > 1e-6 else np.zeros_like(values)


def _clouds(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> np.ndarray:
    """Smooth noise of several sizes, standardized: each half as large, with .7 of the range."""
    h, w = shape
    total, size, weight = np.zeros(shape, np.float32), 160 * scale, 1.0
    while size > 2:
        grid = rng.standard_normal((int(h / size) + 3, int(w / size) + 3), np.float32)
        y, x = (np.arange(side, dtype=np.float32) / np.float32(size) + 1 for side in (h, w))
        places = np.meshgrid(x, y)
        total += weight * cv2.remap(grid, *places, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
        size, weight = size / 2, weight * 0.7
    return _standardized(total)


def _crystals(shape: tuple[int, int], scale: float, rng: np.random.Generator) -> np.ndarray:
    """Fern-like crystals (H, W), 0..255: stems with branches on both sides; later ones cover earlier ones."""
    h, w = shape
    count = max(1, round(h * w / (_CRYSTAL_AREA * scale**2)))
    canvas = np.zeros(shape, np.uint8)
    starts = rng.uniform((0, 0), (w, h), (count, 2))
    lengths = scale * _LENGTH * np.exp(0.5 * rng.standard_normal(count))
    angles = _directions(starts, scale) + 0.5 * rng.standard_normal(count) + np.pi * rng.integers(0, 2, count)
    shades = rng.integers(110, 256, count)
    for start, length, angle, shade in zip(starts, lengths, angles, shades, strict=True):
        lines = _fern(start, length, angle, rng)
        cv2.polylines(canvas, lines, False, int(shade), max(1, round(scale)), cv2.LINE_AA, _FINE)
    return cv2.GaussianBlur(canvas.astype(np.float32), (0, 0), 0.5 * scale)


def _directions(places: np.ndarray, scale: float) -> np.ndarray:
    """Radians (N,) at places (N, 2): crystals that are near to each other grow in a similar direction."""
    x, y = places.T / (130 * scale)
    return 2.2 * np.sin(x + 1.3 * y) + 1.7 * np.cos(1.7 * x - y)


def _fern(start: np.ndarray, length: float, angle: float, rng: np.random.Generator) -> list[np.ndarray]:
    """Lines of a crystal in fixed-point pixels, each (2, 1, 2) int32: its stem and its branches, shorter at the tip."""
    along = np.linspace(0.06, 0.94, _BRANCHES)
    feet = start + along[:, None] * length * _unit(angle)
    reach = length * 0.38 * (1 - along) * rng.uniform(0.6, 1.2, (2, _BRANCHES))
    lines = [np.stack([start, start + length * _unit(angle)])]
    for side, reaches in zip((-1, 1), reach, strict=True):
        ends = feet + reaches[:, None] * _unit(angle + side * _BRANCH_ANGLE)
        lines.extend(np.stack([feet, ends], axis=1))
    return [np.rint(line * (1 << _FINE)).astype(np.int32)[:, None] for line in lines]


def _unit(angle: float) -> np.ndarray:
    return np.array([np.cos(angle), np.sin(angle)])
