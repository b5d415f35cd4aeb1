"""Backgrounds of synthetic pictures (plain to cluttered, or given pictures) and objects around the people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sdpose_core.images import read_image
from sdpose_training.synthetic.looks import random_color

KINDS = {"plain": 0.08, "gradient": 0.10, "noise": 0.12, "blobs": 0.20, "tiles": 0.15, "room": 0.15, "clutter": 0.20}


def sample_background(rng: np.random.Generator, size: tuple[int, int], pictures: Sequence[Path] = ()) -> np.ndarray:
    """(h, w, 3) float32 RGB 0..255 of `size` (w, h). With `pictures`, half of the backgrounds are cut from them."""
    import cv2

    if pictures and rng.random() < 0.5:
        image = from_picture(rng, size, pictures)
    else:
        kind = str(rng.choice(list(KINDS), p=np.array(list(KINDS.values())) / sum(KINDS.values())))
        image = _drawn(rng, size, kind)
        if kind == "clutter" or rng.random() < 0.25:
            for _ in range(rng.integers(2, 14)):
                mask = random_object(rng, size, (0.05, 0.5))
                image[mask] = random_color(rng)
        if kind != "plain" and rng.random() < 0.5:
            image += rng.uniform(2, 22) * _noise(rng, size, rng.uniform(0.5, 2.5))
    if rng.random() < 0.35:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.6, 4))
    return np.clip(image, 0, 255).astype(np.float32)


def _drawn(rng: np.random.Generator, size: tuple[int, int], kind: str) -> np.ndarray:
    w, h = size
    image = np.empty((h, w, 3), np.float32)
    image[:] = random_color(rng)
    if kind in ("gradient", "clutter"):
        image = _gradient(rng, size)
    elif kind == "noise":
        image += rng.uniform(10, 60) * _noise(rng, size, rng.uniform(0.4, 6))
    elif kind == "blobs":
        image = 0.4 * _gradient(rng, size) + 0.6 * _blobs(rng, size)
    elif kind == "tiles":
        image = _tiles(rng, size)
    elif kind == "room":
        horizon = int(h * rng.uniform(0.35, 0.9))
        image[:] = _gradient(rng, size)
        image[horizon:] = (_tiles(rng, size) if rng.random() < 0.4 else _gradient(rng, size))[horizon:]
    return image


def _gradient(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    w, h = size
    ramp = rng.uniform(-1, 1) * np.linspace(0, 1, h)[:, None] + rng.uniform(-1, 1) * np.linspace(0, 1, w)
    ramp = (ramp - ramp.min()) / (np.ptp(ramp) + 1e-6)
    first, second = random_color(rng), random_color(rng)
    return (first + (second - first) * ramp[..., None]).astype(np.float32)


def _noise(rng: np.random.Generator, size: tuple[int, int], sigma: float) -> np.ndarray:
    """(h, w, 3) smooth noise with a standard deviation of about 1, gray or in color."""
    import cv2

    noise = rng.standard_normal((size[1], size[0], int(rng.choice([1, 1, 3]))), np.float32)
    noise = cv2.GaussianBlur(noise, (0, 0), sigma).reshape(size[1], size[0], -1)
    return np.broadcast_to(noise / (noise.std() + 1e-6), (size[1], size[0], 3))


def _blobs(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    import cv2

    cells = rng.uniform(0, 255, (*rng.integers(3, 30, 2), 3)).astype(np.float32)
    interpolation = (cv2.INTER_CUBIC, cv2.INTER_NEAREST, cv2.INTER_LINEAR)[rng.integers(3)]
    return cv2.resize(cells, size, interpolation=interpolation)


def _tiles(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Bricks, stripes or a chessboard at a random angle."""
    angle = rng.choice([0.0, rng.uniform(0, np.pi)])
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32)
    u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
    width, height = rng.uniform(8, 70, 2)
    row = np.floor(v / height)
    column = np.floor(u / width + 0.5 * (row % 2) * (rng.random() < 0.5))
    kind = rng.choice(["bricks", "stripes", "chess"])
    if kind == "bricks":
        mask = ((v / height) % 1 < 0.12) | ((u / width + 0.5 * (row % 2)) % 1 < 0.08)
    else:
        mask = (row % 2 == 0) if kind == "stripes" else ((row + column) % 2 == 0)
    return np.where(mask[..., None], random_color(rng), random_color(rng)).astype(np.float32)


def from_picture(rng: np.random.Generator, size: tuple[int, int], pictures: Sequence[Path]) -> np.ndarray:
    """A random crop (h, w, 3) of one of the pictures, randomly mirrored, brighter or darker."""
    import cv2

    picture = read_image(pictures[rng.integers(len(pictures))])
    h, w = picture.shape[:2]
    scale = min(w / size[0], h / size[1]) * rng.uniform(0.4, 1.0)
    cut_w, cut_h = max(int(size[0] * scale), 1), max(int(size[1] * scale), 1)
    x, y = rng.integers(0, w - cut_w + 1), rng.integers(0, h - cut_h + 1)
    cut = cv2.resize(picture[y : y + cut_h, x : x + cut_w], size, interpolation=cv2.INTER_AREA).astype(np.float32)
    if rng.random() < 0.5:
        cut = cut[:, ::-1]
    return np.ascontiguousarray(cut) * rng.uniform(0.6, 1.3) + rng.uniform(-30, 30)


def random_object(rng: np.random.Generator, size: tuple[int, int], extent: tuple[float, float]) -> np.ndarray:
    """(h, w) bool: a box, ellipse, pole or polygon whose `extent` is relative to the picture."""
    import cv2

    w, h = size
    mask = np.zeros((h, w), np.uint8)
    x, y = rng.uniform(-0.1, 1.1, 2) * size
    half = rng.uniform(*extent, 2) * size / 2
    kind = rng.choice(["box", "ellipse", "pole", "polygon"])
    if kind == "ellipse":
        cv2.ellipse(mask, (int(x), int(y)), (int(half[0]) + 1, int(half[1]) + 1), rng.uniform(0, 180), 0, 360, 1, -1)
        return mask.astype(bool)
    if kind == "pole":
        half = np.array([rng.uniform(0.008, 0.05) * w, 2 * h])
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        turn = np.deg2rad(rng.choice([0.0, 90.0]) + rng.normal(0, 10))
    elif kind == "box":
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half
        turn = rng.choice([0.0, rng.normal(0, 0.4)])
    else:
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(3, 8)))
        corners, turn = np.stack([np.cos(angles), np.sin(angles)], 1) * half, 0.0
    spin = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    cv2.fillPoly(mask, [np.round(corners @ spin.T + [x, y]).astype(np.int32)], 1)
    return mask.astype(bool)
