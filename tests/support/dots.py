"""Pictures of red, green and blue dots, whose places the stand-ins for keypoint models find."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from sdpose_core.skeletons import COCO_17

Places = Sequence[tuple[float, float]]

DOTS: Places = [(101.3, 70.8), (120.6, 140.2), (95.4, 120.9)]

COLORS = [k % 3 for k in range(17)]
"""Which dot each of COCO's points is; the same for left and right, as the stand-ins do not know one from the other."""
for _left, _right in COCO_17.flip_pairs:
    COLORS[_right] = COLORS[_left]


def picture_of_dots(size: tuple[int, int], *people: Places, radius: float = 4.0) -> np.ndarray:
    """RGB picture of `size` (w, h) with a soft red, green and blue dot for each person, black otherwise."""
    y, x = np.mgrid[: size[1], : size[0]]
    image = np.zeros((size[1], size[0], 3))
    for dots in people:
        light = [np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / (2 * radius**2)) for cx, cy in dots]
        image = np.maximum(image, np.stack(light, axis=-1))
    return np.round(image * 255).astype(np.uint8)


def points_of_dots(dots: Places) -> np.ndarray:
    """(17, 2): where COCO's points are."""
    return np.array([dots[color] for color in COLORS])
