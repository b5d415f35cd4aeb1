"""Random placement of training crops: flip, half body, then shift, scale and rotation, as in the released pipeline.

The crop itself is that of `sdpose_core.codec.crops`. Tested against the official code (`tests/golden/h_augment*`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sdpose_core.codec.crops import PADDING, box_to_center_scale, fix_aspect, udp_warp_matrix
from sdpose_core.skeletons import KeypointSet
from sdpose_training.recipe.recipe import AugmentationRecipe, CropAugmentation

_LOW, _HIGH = 0.15865525393145707, 0.8413447460685429  # standard normal distribution function at -1 and +1


@dataclass(frozen=True, eq=False)
class Placement:
    """A person and the crop around it.

    Attributes:
        keypoints: (K, 2) pixels of the (possibly mirrored) picture.
        visibility: (K,) 0 or 1.
        center, scale: (2,) of the box, in pixels, before its aspect is adapted to the input.
        rotation_deg: of the crop around its center.
        mirrored: whether to mirror the picture first.
    """

    keypoints: np.ndarray
    visibility: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    rotation_deg: float = 0.0
    mirrored: bool = False

    def warp_matrix(self, input_size: tuple[int, int]) -> np.ndarray:
        """(2, 3) float64, from pixels of the picture to pixels of an input of size (w, h)."""
        return udp_warp_matrix(self.center, fix_aspect(self.scale, input_size), self.rotation_deg, input_size)


def place(keypoints: np.ndarray, visibility: np.ndarray, box_xyxy: np.ndarray) -> Placement:
    """The padded crop of a box, as at inference."""
    center, scale = box_to_center_scale(box_xyxy, PADDING)
    return Placement(np.asarray(keypoints, np.float64), np.asarray(visibility, np.float32), center, scale)


def augment(
    rng: np.random.Generator, placement: Placement, picture_width: int, keypoint_set: KeypointSet,
    chances: AugmentationRecipe,
) -> Placement:  # fmt: skip
    """Random flip, half body and jitter."""
    if rng.random() < chances.flip:
        placement = mirror(placement, picture_width, keypoint_set)
    placement = half_body(rng, placement, keypoint_set, chances)
    return jitter(rng, placement, chances)


def mirror(placement: Placement, picture_width: int, keypoint_set: KeypointSet) -> Placement:
    """The same crop of the mirrored picture, where x' = width - 1 - x; left and right points are swapped."""
    indices = keypoint_set.flip_indices
    keypoints = placement.keypoints[indices].copy()
    keypoints[:, 0] = picture_width - 1 - keypoints[:, 0]
    center = np.array([picture_width - 1 - placement.center[0], placement.center[1]])
    visibility, mirrored = placement.visibility[indices], not placement.mirrored
    return replace(placement, keypoints=keypoints, visibility=visibility, center=center, mirrored=mirrored)


def half_body(
    rng: np.random.Generator, placement: Placement, keypoint_set: KeypointSet, chances: AugmentationRecipe
) -> Placement:
    """With its probability, the crop around only the visible points of the upper or lower body, if there are enough."""
    if rng.random() >= chances.half_body or (placement.visibility > 0).sum() < chances.half_body_min_points:
        return placement
    prefer_upper = bool(rng.random() < chances.half_body_upper)
    min_points = (chances.half_body_min_upper, chances.half_body_min_lower)
    chosen = half_body_points(placement.visibility, keypoint_set, prefer_upper, min_points)
    if not len(chosen):
        return placement
    center, scale = half_body_box(placement.keypoints[chosen], chances.half_body_padding)
    return replace(placement, center=center, scale=scale)


def half_body_points(
    visibility: np.ndarray, keypoint_set: KeypointSet, prefer_upper: bool, min_points: tuple[int, int] = (2, 3)
) -> np.ndarray:
    """Indices of visible points of one half of the body; none if both have fewer than `min_points` (upper, lower)."""
    upper, lower = (
        np.asarray([i for i in half if visibility[i] > 0], int)
        for half in (keypoint_set.upper_body, keypoint_set.lower_body)
    )
    enough_upper, enough_lower = len(upper) >= min_points[0], len(lower) >= min_points[1]
    if not enough_upper and not enough_lower:
        return np.zeros(0, int)
    return upper if enough_upper and (prefer_upper or not enough_lower) else lower


def half_body_box(keypoints: np.ndarray, padding: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (N, 2) -> center (2,) their mean, scale (2,) their padded extent, in pixels."""
    return keypoints.mean(axis=0), (keypoints.max(axis=0) - keypoints.min(axis=0)) * padding


def jitter(rng: np.random.Generator, placement: Placement, chances: CropAugmentation) -> Placement:
    """The box shifted, scaled and rotated, each with its probability."""
    offset, scale, rotation = draw_jitter(rng, chances)
    center = placement.center + offset * placement.scale
    return replace(placement, center=center, scale=placement.scale * scale, rotation_deg=rotation)


def draw_jitter(rng: np.random.Generator, chances: CropAugmentation) -> tuple[np.ndarray, float, float]:
    """Offset (2,) relative to the box, scale factor, rotation in degrees; from truncated normal distributions."""
    normals = truncated_normal(rng, 4)
    shifted, scaled, rotated = rng.random(3) < (chances.shift, chances.scale, chances.rotation)
    low, high = chances.scale_range
    offset = normals[:2] * chances.shift_range * shifted
    scale = float(normals[2] * (high - low) / 2 + (low + high) / 2) if scaled else 1.0
    return offset, scale, float(normals[3] * chances.rotation_range_deg * rotated)


def truncated_normal(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count,) samples of a standard normal distribution truncated to -1..1."""
    from scipy.special import ndtri

    return ndtri(rng.uniform(_LOW, _HIGH, count))


def visible_inside(keypoints_input: np.ndarray, visibility: np.ndarray, input_size: tuple[int, int]) -> int:
    """How many labeled points (K, 2), in input pixels, are inside an input of size (w, h)."""
    inside = ((keypoints_input >= 0) & (keypoints_input <= np.asarray(input_size) - 1)).all(axis=-1)
    return int((inside & (np.asarray(visibility) > 0)).sum())
