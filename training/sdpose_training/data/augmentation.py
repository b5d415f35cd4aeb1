"""Where a training crop is cut: mirrored, about half a body, moved, scaled and turned at random.

The order is that of the released pipeline: flip, half body, jitter of the box; the crop itself is `sdpose_core.crops`'.
Figures are held against the official code's samplers (`tests/golden/h_augment*`).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from sdpose_core.codec.crops import PADDING, box_to_center_scale, fix_aspect, udp_warp_matrix
from sdpose_core.skeletons import KeypointSet
from sdpose_training.recipe.recipe import AugmentationRecipe

_LOW, _HIGH = 0.15865525393145707, 0.8413447460685429  # a normal variable's share below -1 and below +1


@dataclass(frozen=True, eq=False)
class Placement:
    """A person, and the part of the picture that is cut out around it.

    Attributes:
        keypoints: (K, 2) pixels of the picture (mirrored, where `mirrored`).
        visibility: (K,) 0 or 1.
        center, scale: (2,) of the box, in pixels; the aspect is not yet that of the input.
        rotation_deg: of the crop about its center.
        mirrored: whether the picture is to be mirrored first.
    """

    keypoints: np.ndarray
    visibility: np.ndarray
    center: np.ndarray
    scale: np.ndarray
    rotation_deg: float = 0.0
    mirrored: bool = False

    def warp_matrix(self, input_size: tuple[int, int]) -> np.ndarray:
        """(2, 3) float64, pixels of the picture to pixels of an input of (w, h)."""
        return udp_warp_matrix(self.center, fix_aspect(self.scale, input_size), self.rotation_deg, input_size)


def place(keypoints: np.ndarray, visibility: np.ndarray, box_xyxy: np.ndarray) -> Placement:
    """The crop of a box as it is cut at inference: padded, not changed at random."""
    center, scale = box_to_center_scale(box_xyxy, PADDING)
    return Placement(np.asarray(keypoints, np.float64), np.asarray(visibility, np.float32), center, scale)


def augment(
    rng: np.random.Generator,
    placement: Placement,
    picture_width: int,
    keypoint_set: KeypointSet,
    chances: AugmentationRecipe,
) -> Placement:
    """A placement changed at random: flip, half body, jitter."""
    if rng.random() < chances.flip:
        placement = mirror(placement, picture_width, keypoint_set)
    placement = half_body(rng, placement, keypoint_set, chances)
    return jitter(rng, placement, chances)


def mirror(placement: Placement, picture_width: int, keypoint_set: KeypointSet) -> Placement:
    """The same in the mirrored picture, where x' = width - 1 - x; left and right points change names."""
    indices = keypoint_set.flip_indices
    keypoints = placement.keypoints[indices].copy()
    keypoints[:, 0] = picture_width - 1 - keypoints[:, 0]
    center = np.array([picture_width - 1 - placement.center[0], placement.center[1]])
    return replace(
        placement,
        keypoints=keypoints,
        visibility=placement.visibility[indices],
        center=center,
        mirrored=not placement.mirrored,
    )


def half_body(
    rng: np.random.Generator, placement: Placement, keypoint_set: KeypointSet, chances: AugmentationRecipe
) -> Placement:
    """At its chance, the crop about the visible points of the upper or lower body alone, if there are enough."""
    if rng.random() >= chances.half_body or (placement.visibility > 0).sum() < chances.half_body_min_points:
        return placement
    chosen = half_body_points(
        placement.visibility,
        keypoint_set,
        prefer_upper=bool(rng.random() < chances.half_body_upper),
        least=(chances.half_body_min_upper, chances.half_body_min_lower),
    )
    if not len(chosen):
        return placement
    center, scale = half_body_box(placement.keypoints[chosen], chances.half_body_padding)
    return replace(placement, center=center, scale=scale)


def half_body_points(
    visibility: np.ndarray, keypoint_set: KeypointSet, prefer_upper: bool, least: tuple[int, int] = (2, 3)
) -> np.ndarray:
    """Indices of the visible points of the preferred half, of the other where it has too few, or none.

    Args:
        visibility: (K,).
        prefer_upper: which half, where both have enough.
        least: points that the upper and the lower half need.
    """
    upper, lower = (
        np.asarray([i for i in half if visibility[i] > 0], int)
        for half in (keypoint_set.upper_body, keypoint_set.lower_body)
    )
    enough_upper, enough_lower = len(upper) >= least[0], len(lower) >= least[1]
    if not enough_upper and not enough_lower:
        return np.zeros(0, int)
    return upper if enough_upper and (prefer_upper or not enough_lower) else lower


def half_body_box(keypoints: np.ndarray, padding: float = 1.5) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (N, 2) -> center (2,) their mean, scale (2,) their padded extent, in pixels."""
    return keypoints.mean(axis=0), (keypoints.max(axis=0) - keypoints.min(axis=0)) * padding


def jitter(rng: np.random.Generator, placement: Placement, chances: AugmentationRecipe) -> Placement:
    """The box moved by a share of its size, scaled and turned, each at its chance."""
    offset, scale, rotation = draw_jitter(rng, chances)
    center = placement.center + offset * placement.scale
    return replace(placement, center=center, scale=placement.scale * scale, rotation_deg=rotation)


def draw_jitter(rng: np.random.Generator, chances: AugmentationRecipe) -> tuple[np.ndarray, float, float]:
    """Offset (2,) in shares of the box, factor of its size, degrees of rotation: normals cut off at one deviation."""
    normals = truncated_normal(rng, 4)
    wanted = rng.random(3) < (chances.shift, chances.scale, chances.rotation)
    low, high = chances.scale_range
    offset = normals[:2] * chances.shift_range * wanted[0]
    scale = float(normals[2] * (high - low) / 2 + (low + high) / 2) if wanted[1] else 1.0
    return offset, scale, float(normals[3] * chances.rotation_range_deg * wanted[2])


def truncated_normal(rng: np.random.Generator, count: int) -> np.ndarray:
    """(count,) of a standard normal distribution cut off at -1 and +1."""
    from scipy.special import ndtri

    return ndtri(rng.uniform(_LOW, _HIGH, count))


def visible_inside(keypoints_input: np.ndarray, visibility: np.ndarray, input_size: tuple[int, int]) -> int:
    """How many labelled points (K, 2), in input pixels, lie in an input of (w, h)."""
    inside = ((keypoints_input >= 0) & (keypoints_input <= np.asarray(input_size) - 1)).all(axis=-1)
    return int((inside & (np.asarray(visibility) > 0)).sum())
