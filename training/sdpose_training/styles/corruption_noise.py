"""Noise: Gaussian, shot, impulse. Pictures are float32 (H, W, 3), 0..1; the channels have noise of their own."""

from __future__ import annotations

import numpy as np


def gaussian_noise(picture: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    """Adds normal noise of that standard deviation: a sensor in low light."""
    return picture + deviation * rng.standard_normal(picture.shape, np.float32)


def shot_noise(picture: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Counts photons: a Poisson draw, in which white is `photons` on average."""
    return (rng.poisson(picture * photons) / photons).astype(np.float32)


def impulse_noise(picture: np.ndarray, amount: float, rng: np.random.Generator) -> np.ndarray:
    """Sets that share of all values to 0 or 1, each with probability 1/2: bit errors, salt and pepper in color."""
    hit = rng.random(picture.shape, np.float32) <= amount
    salt = rng.random(picture.shape, np.float32) <= 0.5
    return np.where(hit, salt, picture).astype(np.float32)
