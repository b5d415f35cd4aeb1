"""Colors, blur and holes: the changes of a training crop that leave the keypoints where they are.

Everything works on RGB uint8 (H, W, 3), in numpy and OpenCV; each step is clipped to 0..255 and cut to whole numbers,
as the released pipeline does. Steps on single channels are look-up tables: the same numbers, a tenth of the time.
Written by hand: augmentation libraries order, round and draw these steps in other ways than that pipeline.
"""

from __future__ import annotations

import numpy as np

from sdpose_training.recipe.recipe import AugmentationRecipe

BRIGHTNESS = 32.0
CONTRAST = SATURATION = (0.5, 1.5)
HUE = 18  # on OpenCV's scale of 0..179
BLUR_SIZES = (3, 5, 7)


def distort(rng: np.random.Generator, image: np.ndarray, as_released: bool) -> np.ndarray:
    """Brightness, contrast, saturation, hue and the order of the channels at random.

    Args:
        rng: where the chances come from.
        image: RGB uint8 (H, W, 3); not modified.
        as_released: contrast with the released code's slip: with a chance of .25 the same factor both before and after
            saturation and hue, else not at all. Otherwise once, with a chance of .5, before or after.
    """
    if rng.random() < 0.5:
        image = _scaled(image, 1.0, rng.uniform(-BRIGHTNESS, BRIGHTNESS))
    before, after, factor = _contrast(rng, as_released)
    if before:
        image = _scaled(image, factor, 0.0)
    image = _saturation_and_hue(rng, image)
    if after:
        image = _scaled(image, factor, 0.0)
    return image[..., rng.permutation(3)] if rng.random() < 0.5 else image


def occlude(rng: np.random.Generator, image: np.ndarray, chances: AugmentationRecipe) -> np.ndarray:
    """Blur, median blur and one black hole, each at its chance; (H, W, 3) uint8, may be modified in place."""
    import cv2

    image = np.ascontiguousarray(image)
    if rng.random() < chances.blur:
        size = int(rng.choice(BLUR_SIZES))
        image = cv2.blur(image, (size, size))
    if rng.random() < chances.median_blur:
        image = cv2.medianBlur(image, int(rng.choice(BLUR_SIZES)))
    if rng.random() < chances.dropout:
        x1, y1, x2, y2 = hole(rng, (image.shape[1], image.shape[0]), chances.dropout_range)
        image[y1:y2, x1:x2] = 0
    return image


def hole(
    rng: np.random.Generator, size: tuple[int, int], share: tuple[float, float] = (0.2, 0.4)
) -> tuple[int, int, int, int]:
    """x1, y1, x2, y2 of a box within a picture of `size` (w, h), each side `share` of the picture's."""
    w, h = (int(side * rng.uniform(*share)) for side in size)
    x, y = int(rng.integers(0, size[0] - w + 1)), int(rng.integers(0, size[1] - h + 1))
    return x, y, x + w, y + h


def _contrast(rng: np.random.Generator, as_released: bool) -> tuple[bool, bool, float]:
    """Whether before, whether after, and the factor."""
    first, wanted, factor = rng.random() < 0.5, rng.random() < 0.5, rng.uniform(*CONTRAST)
    if as_released:
        return bool(first and wanted), bool(first and wanted), factor
    return bool(first and wanted), bool(wanted and not first), factor


def _saturation_and_hue(rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
    """Each with a chance of .5, on one way through HSV."""
    import cv2

    change_saturation, change_hue = rng.random(2) < 0.5
    if not (change_saturation or change_hue):
        return image
    identity = np.arange(256)
    saturation = identity * rng.uniform(*SATURATION) if change_saturation else identity
    hue = identity + rng.integers(-HUE, HUE) if change_hue else identity  # not wrapped: as released
    table = np.stack([hue, saturation, identity], axis=-1).clip(0, 255).astype(np.uint8)[None]
    hsv = cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2HSV)
    return cv2.cvtColor(cv2.LUT(hsv, table), cv2.COLOR_HSV2RGB)


def _scaled(image: np.ndarray, factor: float, offset: float) -> np.ndarray:
    import cv2

    table = (np.arange(256, dtype=np.float32) * np.float32(factor) + np.float32(offset)).clip(0, 255).astype(np.uint8)
    return cv2.LUT(np.ascontiguousarray(image), table)
