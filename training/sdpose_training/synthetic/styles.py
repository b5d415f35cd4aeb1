"""Styles of synthetic pictures, from photograph to drawing and painting: people and background become one picture."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from sdpose_training.styles.filters import FILTERS
from sdpose_training.synthetic.looks import random_color

STYLES = {"shaded": 0.6, "flat": 0.1, "sketch": 0.1, "contrast": 0.1, "painted": 0.1}
"""Share of each style in `mixed`, plain looks."""
FILTERED = {f"filter_{name}": name for name in FILTERS}
"""Styles that are a filter over the whole shaded picture."""
DRESSED_STYLES = {
    "shaded": 0.4, "flat": 0.18, "sketch": 0.14, "contrast": 0.05, "painted": 0.07,
    "filter_oil": 0.05, "filter_sketch": 0.04, "filter_posterise": 0.05, "filter_edge": 0.02,
}  # fmt: skip
"""Share of each style in `mixed`, dressed looks."""


@dataclass(frozen=True, eq=False)
class Layers:
    """A picture before its style, all float32.

    Attributes:
        color: (h, w, 3) unlit people and objects, RGB 0..255, times `cover`.
        light: (h, w) light on them, about 0.3..1.2, times `cover`.
        cover: (h, w) the share of a pixel that they cover, 0..1.
        lines: (h, w) their outlines, 0..1.
        background: (h, w, 3) RGB 0..255.
        rim: (h, w, 3) light from behind along their outlines, RGB.
    """

    color: np.ndarray
    light: np.ndarray
    cover: np.ndarray
    lines: np.ndarray
    background: np.ndarray
    rim: np.ndarray | None = None


def sample_style(rng: np.random.Generator, wanted: str, shares: Mapping[str, float]) -> str:
    """The style that is wanted; for `mixed`, one of `shares`."""
    weights = np.array(list(shares.values()))
    return str(rng.choice(list(shares), p=weights / weights.sum())) if wanted == "mixed" else wanted


def finish(rng: np.random.Generator, style: str, layers: Layers) -> np.ndarray:
    """Layers -> RGB uint8 (h, w, 3)."""
    picture = np.clip(_FINISH.get(style, _shaded)(rng, layers), 0, 255).astype(np.uint8)
    return FILTERS[FILTERED[style]](picture) if style in FILTERED else picture


def _over(front: np.ndarray, layers: Layers, background: np.ndarray) -> np.ndarray:
    return front + background * (1 - layers.cover[..., None])


def _lit(layers: Layers) -> np.ndarray:
    """Color x light; both are averages over a pixel's surfaces."""
    lit = layers.color * (layers.light / np.maximum(layers.cover, 1e-3))[..., None]
    return lit if layers.rim is None else lit + layers.rim


def _shaded(rng: np.random.Generator, layers: Layers) -> np.ndarray:
    """Like a photograph: shading, a tint, exposure, blur, noise."""
    import cv2

    image = _over(_lit(layers), layers, layers.background) * (1 + rng.normal(0, 0.07, 3)) * rng.uniform(0.6, 1.25)
    image = image.astype(np.float32)
    if rng.random() < 0.25:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.2))
    return image + rng.standard_normal(image.shape, np.float32) * rng.uniform(0, 9)


def _flat(rng: np.random.Generator, layers: Layers) -> np.ndarray:
    """Like a print or a cartoon: flat colors, few shades, mostly with dark outlines."""
    steps = rng.integers(2, 4)
    tone = np.round(layers.light / np.maximum(layers.cover, 1e-3) * steps) / steps
    front = layers.color * (tone if rng.random() < 0.5 else np.ones_like(tone))[..., None]
    image = _over(front, layers, _posterized(layers.background, int(rng.integers(2, 6))))
    return _inked(image, layers.lines * rng.choice([0.0, 0.7, 1.0], p=[0.2, 0.3, 0.5]), random_color(rng) * 0.25)


def _sketch(rng: np.random.Generator, layers: Layers) -> np.ndarray:
    """Like a pencil drawing: lines and some hatching on paper; the background is lines, too."""
    import cv2

    paper = np.full(layers.background.shape, 255.0, np.float32) * (1 - rng.uniform(0, 0.18, 3))
    gray = cv2.GaussianBlur(layers.background.mean(2), (0, 0), 1.5)
    slope = np.hypot(cv2.Sobel(gray, cv2.CV_32F, 1, 0), cv2.Sobel(gray, cv2.CV_32F, 0, 1)) / 60
    behind = np.clip(slope, 0, 1) * (1 - layers.cover) * rng.uniform(0, 0.6)
    y, x = np.mgrid[: gray.shape[0], : gray.shape[1]]
    hatch = np.sin((x + y * rng.uniform(-1, 1)) * rng.uniform(0.8, 2.0)) > 0.2
    hatch = hatch * np.clip(0.75 * layers.cover - layers.light, 0, 1)
    ink = np.clip(layers.lines * rng.uniform(0.7, 1.0) + behind + hatch * rng.uniform(0, 1.2), 0, 1)
    wash = layers.color / np.maximum(layers.cover, 1e-3)[..., None] * layers.cover[..., None]
    tint = rng.choice([0.0, rng.uniform(0.1, 0.5)])
    image = paper * (1 - tint * layers.cover[..., None]) + wash * tint
    image = _inked(image, ink, random_color(rng) * 0.3)
    return image + rng.standard_normal(gray.shape, np.float32)[..., None] * rng.uniform(0, 8)


def _contrast(rng: np.random.Generator, layers: Layers) -> np.ndarray:
    """High contrast: gray values pushed to black and white or to two colors; sometimes a negative."""
    gray = _over(_lit(layers), layers, layers.background).mean(2) / 255
    gain, middle = rng.uniform(6, 25), np.clip(gray.mean() + rng.normal(0, 0.08), 0.15, 0.85)
    share = 1 / (1 + np.exp(-gain * (gray - middle)))
    dark, bright = np.zeros(3), np.full(3, 255.0)
    if rng.random() < 0.5:
        dark, bright = random_color(rng) * 0.3, 255 - random_color(rng) * 0.3
    if rng.random() < 0.15:
        dark, bright = bright, dark
    return dark + (bright - dark) * share[..., None]


def _painted(rng: np.random.Generator, layers: Layers) -> np.ndarray:
    """Like oil or watercolor: wavy edges, dabs of a few colors, canvas."""
    import cv2

    image = np.clip(_over(_lit(layers), layers, layers.background), 0, 255).astype(np.uint8)
    h, w = image.shape[:2]
    waver = cv2.GaussianBlur(rng.standard_normal((h, w, 2), np.float32), (0, 0), 2.0)
    waver *= rng.uniform(0.4, 1.3) / waver.std()
    y, x = np.mgrid[:h, :w].astype(np.float32)
    image = cv2.remap(image, x + waver[..., 0], y + waver[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    image = cv2.medianBlur(image, int(rng.choice([3, 5, 7]))).astype(np.float32)
    mean = image.mean(2, keepdims=True)
    image = mean + (image - mean) * rng.uniform(0.8, 1.7)
    dabs = cv2.GaussianBlur(rng.standard_normal((h, w, 3), np.float32), (0, 0), rng.uniform(1, 3))
    return image + dabs / dabs.std() * rng.uniform(5, 22)


def _posterized(image: np.ndarray, levels: int) -> np.ndarray:
    return np.round(image / 255 * levels) / levels * 255


def _inked(image: np.ndarray, ink: np.ndarray, color: np.ndarray) -> np.ndarray:
    return image * (1 - ink[..., None]) + color * ink[..., None]


_FINISH = {"shaded": _shaded, "flat": _flat, "sketch": _sketch, "contrast": _contrast, "painted": _painted}
