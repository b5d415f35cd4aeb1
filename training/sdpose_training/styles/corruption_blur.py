"""Blur: defocus, frosted glass, motion, zoom. Pictures are float32 (H, W, 3), 0..1; lengths are in pixels."""

from __future__ import annotations

import cv2
import numpy as np

from sdpose_training.styles import corruption_steps as steps

_SMALLEST_DISC = 8
"""Radius of the kernel of smaller discs; larger ones are also smoothed over 5 x 5 pixels instead of 3 x 3."""


def defocus_blur(picture: np.ndarray, values: tuple[int, float], rng: np.random.Generator) -> np.ndarray:
    """A lens out of focus: the mean over a disc. As in the field's code, large discs are 1% brighter than the picture.

    Args:
        picture: float32 (H, W, 3).
        values: radius of the disc; standard deviation by which its rim is smoothed.
        rng: not used.
    """
    radius, smooth = values
    reach = max(radius, _SMALLEST_DISC)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    disc = (x * x + y * y <= radius * radius).astype(np.float32)
    side = 3 if radius <= _SMALLEST_DISC else 5
    return cv2.filter2D(picture, -1, cv2.GaussianBlur(disc / disc.sum(), (side, side), smooth))


def glass_blur(picture: np.ndarray, values: tuple[float, int, int], rng: np.random.Generator) -> np.ndarray:
    """Frosted glass: blurred, then pixels are replaced by near ones, then blurred again.

    Args:
        picture: float32 (H, W, 3).
        values: standard deviation of both blurs, largest distance of a replacement, number of rounds.
        rng: draws the replacements.
    """
    sigma, reach, rounds = values
    blurred = steps.gaussian_blur(picture, (sigma, sigma), 4, cv2.BORDER_REPLICATE)
    pixels = steps.to_uint8(blurred).reshape(-1, 3)
    for _ in range(rounds):
        pixels = pixels[_replacements(picture.shape[:2], reach, rng)]
    shuffled = pixels.reshape(picture.shape).astype(np.float32) / 255
    return steps.gaussian_blur(shuffled, (sigma, sigma), 4, cv2.BORDER_REPLICATE)


def _replacements(shape: tuple[int, int], reach: int, rng: np.random.Generator) -> np.ndarray:
    """Flat indices (H * W,) of the pixels that replace each pixel in one round.

    The pixels are visited from the last to the first, without a border of about `reach`. Each takes the current value
    of a random one, -reach to reach - 1 pixels away in y and x. The field's code means to exchange the two, but copies;
    its pictures were made so.
    """
    h, w = shape
    inner = np.zeros(shape, bool)
    inner[reach + 1 : h - reach + 1, reach + 1 : w - reach + 1] = True
    visited = np.flatnonzero(inner)
    move = rng.integers(-reach, reach, (2, len(visited)))
    chosen = np.arange(h * w)
    chosen[visited] = visited + move[0] * w + move[1]
    place, source = visited.copy(), chosen[visited]
    is_inner = inner.ravel()
    open_ends = np.arange(len(visited))
    while len(open_ends):  # a source that was visited before has the value of its own source by now
        follows = is_inner[source[open_ends]] & (source[open_ends] > place[open_ends])
        open_ends = open_ends[follows]
        place[open_ends] = source[open_ends]
        source[open_ends] = chosen[source[open_ends]]
    result = np.arange(h * w)
    result[visited] = source
    return result


def motion_blur(picture: np.ndarray, values: tuple[int, float], rng: np.random.Generator) -> np.ndarray:
    """A camera that moves, in a direction of -45 to 45 degrees, see `corruption_steps.motion_blur`.

    Args:
        picture: float32 (H, W, 3).
        values: radius and standard deviation.
        rng: draws the direction.
    """
    return steps.motion_blur(picture, *values, rng.uniform(-45, 45))


def zoom_blur(picture: np.ndarray, values: tuple[int, float], rng: np.random.Generator) -> np.ndarray:
    """A camera that moves forward: the mean of the picture and of enlarged ones.

    Args:
        picture: float32 (H, W, 3).
        values: number of enlarged pictures, the first by 1; growth of the factor from one to the next.
        rng: not used.
    """
    count, step = values
    total = picture.copy()
    for number in range(count):
        total += steps.center_zoom(picture, 1 + number * step)
    return total / (count + 1)
