"""Photometric augmentation of training crops: styles, colors, blur and holes.

Everything works on RGB uint8 (H, W, 3), in numpy and OpenCV. Each step clips to 0..255 and truncates to integers, as in
the released pipeline. Lookup tables replace its arithmetic: the same numbers in a tenth of the time.
Written by hand because augmentation libraries order, round and draw these steps differently.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from sdpose_training.recipe.recipe import CropAugmentation

Filter = Callable[[np.ndarray], np.ndarray]
"""RGB uint8 (H, W, 3) in and out."""

BRIGHTNESS = 32.0
CONTRAST = SATURATION = (0.5, 1.5)
HUE = 18  # on OpenCV's scale of 0..179
BLUR_SIZES = (3, 5, 7)


def repaint(rng: np.random.Generator, image: np.ndarray, filters: Sequence[Filter], share: float) -> np.ndarray:
    """With the probability `share`, RGB uint8 (H, W, 3) through one of the style filters.

    They get the crop, not the picture, so the time does not depend on the size of photographs. Without filters, no
    random number is drawn.
    """
    if not filters or not share or rng.random() >= share:
        return image
    return filters[rng.integers(len(filters))](image)


def distort(rng: np.random.Generator, image: np.ndarray, as_released: bool) -> np.ndarray:
    """Random brightness, contrast, saturation, hue and channel order of RGB uint8 (H, W, 3), which is not modified.

    Args:
        as_released: keep two bugs of the released code. Contrast: with probability .25, the same factor is applied both
            before and after saturation and hue; otherwise it is applied once with probability .5, before or after.
            Hue: see `shifted_hues`.
    """
    if rng.random() < 0.5:
        image = _scaled(image, 1.0, rng.uniform(-BRIGHTNESS, BRIGHTNESS))
    before, after, factor = _contrast(rng, as_released)
    if before:
        image = _scaled(image, factor, 0.0)
    image = _saturation_and_hue(rng, image, as_released)
    if after:
        image = _scaled(image, factor, 0.0)
    return image[..., rng.permutation(3)] if rng.random() < 0.5 else image


def occlude(rng: np.random.Generator, image: np.ndarray, chances: CropAugmentation) -> np.ndarray:
    """Blur, median blur and one black hole, each with its probability; (H, W, 3) uint8, may be modified in place.

    The released blur is a box blur. OpenCV derives the sigma of the Gaussian one from its size (.8, 1.1 or 1.4 pixels).
    """
    import cv2

    image = np.ascontiguousarray(image)
    if rng.random() < chances.blur:
        size = int(rng.choice(BLUR_SIZES))
        gaussian = chances.blur_kind == "gaussian"
        image = cv2.GaussianBlur(image, (size, size), 0) if gaussian else cv2.blur(image, (size, size))
    if rng.random() < chances.median_blur:
        image = cv2.medianBlur(image, int(rng.choice(BLUR_SIZES)))
    if rng.random() < chances.dropout:
        x1, y1, x2, y2 = hole(rng, (image.shape[1], image.shape[0]), chances.dropout_range)
        image[y1:y2, x1:x2] = 0
    return image


def hole(
    rng: np.random.Generator, size: tuple[int, int], share: tuple[float, float] = (0.2, 0.4)
) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 of a random box in a picture of `size` (w, h); its sides are a `share` of the picture's."""
    w, h = (int(side * rng.uniform(*share)) for side in size)
    x, y = int(rng.integers(0, size[0] - w + 1)), int(rng.integers(0, size[1] - h + 1))
    return x, y, x + w, y + h


def shifted_hues(shift: int, as_released: bool) -> np.ndarray:
    """(256,) uint8: every hue on OpenCV's scale of 0..179, plus `shift`.

    As released, the sum wraps around at 256, where it is stored as uint8. OpenCV reads hues above 179 modulo 180, so
    sums below 0 end 76 too high: red (0) - 10 is read as 66, a green. Otherwise the sum wraps around at 180, a full
    turn of the color circle.
    """
    return ((np.arange(256) + shift) % (256 if as_released else 180)).astype(np.uint8)


def _contrast(rng: np.random.Generator, as_released: bool) -> tuple[bool, bool, float]:
    """Whether to apply contrast before and after saturation and hue, and the factor."""
    first, applied, factor = rng.random() < 0.5, rng.random() < 0.5, rng.uniform(*CONTRAST)
    before = bool(first and applied)
    return before, before if as_released else bool(applied and not first), factor


def _saturation_and_hue(rng: np.random.Generator, image: np.ndarray, as_released: bool) -> np.ndarray:
    """Each with probability .5, in one conversion to HSV and back."""
    import cv2

    change_saturation, change_hue = rng.random(2) < 0.5
    if not (change_saturation or change_hue):
        return image
    identity = np.arange(256)
    saturation = (identity * rng.uniform(*SATURATION)).clip(0, 255) if change_saturation else identity
    hue = shifted_hues(int(rng.integers(-HUE, HUE)), as_released) if change_hue else identity
    table = np.stack([hue, saturation, identity], axis=-1).astype(np.uint8)[None]
    hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2RGB)


def _scaled(image: np.ndarray, factor: float, offset: float) -> np.ndarray:
    import cv2

    table = (np.arange(256, dtype=np.float32) * np.float32(factor) + np.float32(offset)).clip(0, 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(image), table)
