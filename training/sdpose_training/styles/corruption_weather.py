"""Weather: snow, frost, fog, brightness. Pictures are float32 (H, W, 3), 0..1."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from sdpose_training.styles import corruption_steps as steps
from sdpose_training.styles.corruption_frost import frost_texture


@dataclass(frozen=True)
class Snow:
    """One severity of snow.

    Attributes:
        mean, deviation: of the noise that becomes flakes.
        zoom: enlargement of the noise.
        threshold: darker noise is no flake.
        radius, sigma: of the motion blur of falling flakes, in pixels.
        kept: share of the picture that is not whitened.
    """

    mean: float
    deviation: float
    zoom: float
    threshold: float
    radius: int
    sigma: float
    kept: float


def snow(picture: np.ndarray, values: Snow, rng: np.random.Generator) -> np.ndarray:
    """Whitens the picture and adds flakes that fall at -135 to -45 degrees, and the same flakes turned by 180."""
    h, w = picture.shape[:2]
    (part_h, full_h), (part_w, full_w) = (steps.zoomed_size(side, values.zoom) for side in (h, w))
    noise = values.mean + values.deviation * rng.standard_normal((part_h, part_w), np.float32)
    flakes = steps.zoom_into(noise, (full_h, full_w))
    flakes = np.clip(np.where(flakes < values.threshold, 0, flakes), 0, 1).astype(np.float32)
    falling = steps.motion_blur(flakes, values.radius, values.sigma, rng.uniform(-135, -45))
    layer = (np.rint(falling * 255) / 255).astype(np.float32)[:h, :w, None]
    bright = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).reshape(h, w, 1) * 1.5 + 0.5
    whitened = values.kept * picture + (1 - values.kept) * np.maximum(picture, bright)
    return whitened + layer + layer[::-1, ::-1]


def frost(picture: np.ndarray, values: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """A weighted sum of the picture and of frost on glass; weights of both."""
    of_picture, of_frost = values
    return of_picture * picture + of_frost * frost_texture(picture.shape[:2], rng)


def fog(picture: np.ndarray, values: tuple[float, float], rng: np.random.Generator) -> np.ndarray:
    """Adds clouds, then scales the picture back to its largest value.

    Args:
        picture: float32 (H, W, 3).
        values: thickness; how much smoother each finer level of the clouds is.
        rng: draws the clouds.
    """
    thickness, decay = values
    h, w = picture.shape[:2]
    brightest = float(picture.max())
    clouds = plasma(1 << (max(h, w, 3) - 1).bit_length(), decay, rng)[:h, :w, None]
    return (picture + thickness * clouds) * (brightest / (brightest + thickness))


def plasma(side: int, decay: float, rng: np.random.Generator) -> np.ndarray:
    """A fractal height map (side, side) from 0 to 1 by the diamond-square method, which wraps around.

    Args:
        side: a power of two, at least 2.
        decay: each finer level has noise with the square of 1 / decay of the range (so in the field's code).
        rng: draws the noise.
    """
    heights = np.zeros((side, side), np.float32)
    step, spread = side, 100.0

    def mean_and_noise(total: np.ndarray) -> np.ndarray:
        return total / 4 + rng.uniform(-(spread**2), spread**2, total.shape).astype(np.float32)

    while step > 1:
        half = step // 2
        corners = heights[::step, ::step]
        pairs = corners + np.roll(corners, -1, 0)
        centers = mean_and_noise(pairs + np.roll(pairs, -1, 1))
        heights[half::step, half::step] = centers
        across = centers + np.roll(centers, 1, 0) + corners + np.roll(corners, -1, 1)
        heights[::step, half::step] = mean_and_noise(across)
        down = centers + np.roll(centers, 1, 1) + corners + np.roll(corners, -1, 0)
        heights[half::step, ::step] = mean_and_noise(down)
        step, spread = half, spread / decay
    heights -= heights.min()
    return heights / heights.max()


def brightness(picture: np.ndarray, added: float, rng: np.random.Generator) -> np.ndarray:
    """Adds to the value of HSV, so that hue and saturation stay."""
    value = picture.max(axis=2, keepdims=True)
    brighter = np.minimum(value + added, 1)
    return np.where(value > 0, picture * (brighter / np.maximum(value, 1e-6)), brighter)
