"""The crop of MMPose without UDP: the padded box is scaled by sizes, not from pixel center to pixel center."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdpose_core.codec.crops import PADDING, box_to_center_scale, fix_aspect, warp


@dataclass(frozen=True)
class PlainCrop:
    """A crop: the padded box, scaled to the input by its size.

    Attributes:
        center, scale: (2,) center and (w, h) of the padded box in picture pixels.
        input_size: (w, h).
    """

    center: np.ndarray
    scale: np.ndarray
    input_size: tuple[int, int]

    @classmethod
    def of_box(cls, box_xyxy: np.ndarray, input_size: tuple[int, int], padding: float = PADDING) -> PlainCrop:
        """The crop of a box (4,): `padding` times as large, then grown to the input's aspect."""
        center, scale = box_to_center_scale(box_xyxy, padding)
        return cls(center, fix_aspect(scale, input_size), input_size)

    @property
    def matrix(self) -> np.ndarray:
        """(2, 3): picture pixels -> input pixels."""
        factor = np.asarray(self.input_size) / self.scale
        offset = np.asarray(self.input_size) / 2 - factor * self.center
        return np.concatenate([np.diag(factor), offset[:, None]], axis=1)

    def cut(self, image_rgb: np.ndarray) -> np.ndarray:
        """The crop (h, w, 3), bilinear, black outside the picture."""
        return warp(image_rgb, self.matrix, self.input_size)

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) in input pixels -> picture pixels."""
        return points / np.asarray(self.input_size) * self.scale + self.center - self.scale / 2
