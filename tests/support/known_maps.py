"""Heatmaps with known points: those of `golden/c_decode.npz`."""

from __future__ import annotations

import numpy as np
from paths import GOLDEN

DECODE = np.load(GOLDEN / "c_decode.npz")
CODECS = {"small": ((192, 256), (48, 64), 2.0), "full": ((768, 1024), (192, 256), 6.0)}
NAMES = DECODE["names"].tolist()
NO_PEAK = ("flat_zero", "flat_const_.5", "flat_negative")
"""The official code returns NaN, the corner, and garbage from a neighboring map; ours returns no point."""
WITH_PEAK = [name for name in NAMES if name not in NO_PEAK]


def gaussian(w: int, h: int, x: float, y: float, sigma: float, height: float = 1.0) -> np.ndarray:
    rows, columns = np.mgrid[0:h, 0:w].astype(np.float64)
    return (height * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))).astype(np.float32)


def full_size_maps() -> dict[str, np.ndarray]:
    """The maps with a peak of the `full_s6` numbers, 192 x 256, sigma 6."""
    w, h, s = 192, 256, 6
    at = {
        "center_integer": (w // 2, h // 2), "center_subpixel": (w * 0.4 + 0.37, h * 0.6 + 0.81),
        "half_pixel": (w // 3 + 0.5, h // 3 + 0.5), "corner_0_0": (0, 0), "corner_W1_H1": (w - 1, h - 1),
        "edge_left_.3": (0.3, h / 2), "edge_right": (w - 1.4, h / 2.5), "edge_bottom": (w / 2.2, h - 1.2),
        "outside_left": (-2.5, h / 2),
    }  # fmt: skip
    maps = {name: gaussian(w, h, x, y, s) for name, (x, y) in at.items()}
    for name, height in {"low_amp_0.05": 0.05, "amp_1.3": 1.3, "amp_60_clips_at_50": 60.0}.items():
        maps[name] = gaussian(w, h, w * 0.7 + 0.2, h * 0.3 + 0.4, s, height)
    random = np.random.RandomState(4242)  # its stream never changes
    clean = gaussian(w, h, w * 0.55 + 0.1, h * 0.45 + 0.6, s)
    for name, amount in {"noise_small": 0.02, "noise_large": 0.3}.items():
        maps[name] = (clean + amount * (random.rand(h, w) - 0.5)).astype(np.float32)
    maps["pure_noise"] = random.rand(h, w).astype(np.float32)
    maps["mostly_negative_with_peak"] = gaussian(w, h, w * 0.3, h * 0.7, s) - np.float32(0.4)
    left, right = gaussian(w, h, w // 4, h // 4, s), gaussian(w, h, 3 * w // 4, 3 * h // 4, s)
    maps["two_equal_peaks"] = np.maximum(left, right)
    near = gaussian(w, h, w // 2 + 2 * s, h // 2, s, 0.95)
    maps["two_close_peaks"] = np.maximum(gaussian(w, h, w // 2, h // 2, s), near)
    maps["single_pixel_delta"] = np.zeros((h, w), np.float32)
    maps["single_pixel_delta"][h // 2, w // 2] = 1
    maps["tiny_amp_below_clip"] = gaussian(w, h, w * 0.5, h * 0.5, s, 5e-4)
    return maps
