"""Muted colors, as of clothes, rooms and streets. Colors are RGB, 0..255."""

from __future__ import annotations

import colorsys

import numpy as np

_FABRICS = np.array(
    [[28, 28, 32], [240, 238, 232], [122, 124, 128], [70, 72, 78], [32, 42, 72], [70, 96, 138], [146, 170, 200],
     [196, 178, 146], [112, 84, 60], [128, 38, 44], [184, 62, 58], [86, 100, 66], [52, 88, 74], [206, 160, 66],
     [214, 164, 168], [112, 90, 130], [226, 214, 196], [58, 116, 128]], float
)  # fmt: skip
"""Black, white, grays, navy, denim, light blue, beige, brown, reds, greens, mustard, pink, violet, cream, teal."""


def fabric_color(rng: np.random.Generator) -> np.ndarray:
    """(3,) a color of clothes; one in twelve is bright."""
    if rng.random() < 1 / 12:
        return from_hsv(rng.random(), rng.uniform(0.6, 0.95), rng.uniform(0.6, 1.0))
    return np.clip(_FABRICS[rng.integers(len(_FABRICS))] * rng.uniform(0.75, 1.2) + rng.normal(0, 7, 3), 4, 250)


def muted_color(rng: np.random.Generator, value: tuple[float, float] = (0.25, 0.9), most: float = 0.4) -> np.ndarray:
    """(3,) a color of brightness `value` (low, high) and of at most this saturation; warm hues are more frequent."""
    hue = rng.normal(0.09, 0.06) % 1 if rng.random() < 0.5 else rng.random()
    return from_hsv(hue, most * rng.random() ** 1.5, rng.uniform(*value))


def from_hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    return 255 * np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value))
