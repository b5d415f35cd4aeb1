"""Masks of people made of their poses, for tools that replace a person (Wan-Animate, VACE).

Limbs are capsules, trunk and head are hulls; widths are shares of the trunk's length. The masks are to cover the
person, with clothes and hair, not to follow the outline.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ..boxes import clip
from ..dependencies import opencv
from ..errors import InputError
from ..poses import PoseSequence
from ..retarget.body import MID_HIP, NECK, USUAL, body_nodes, limb_lengths, quantile
from ..skeletons import COCO_17, COCO_WHOLEBODY_133

SHAPES = ("body", "box")

LONG = 0.7
"""Quantile over the limbs that gives the size of the body: limbs that point at the camera look short."""

_ANGLES = np.linspace(0, 2 * np.pi, 24, endpoint=False)
_CIRCLE = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
"""(24, 2) points on a circle of radius 1."""

_CAPSULES: tuple[tuple[int, int, float, float], ...] = (
    (5, 7, 0.17, 0.15), (7, 9, 0.15, 0.11), (6, 8, 0.17, 0.15), (8, 10, 0.15, 0.11),  # arms
    (11, 13, 0.25, 0.19), (13, 15, 0.19, 0.14), (12, 14, 0.25, 0.19), (14, 16, 0.19, 0.14),  # legs
)  # fmt: skip
"""Two nodes and the radii at them, in trunk lengths."""

_SHOULDER, _HIP, _NECK_RADIUS, _HEAD, _ABOVE_EARS = 0.19, 0.23, 0.16, 0.3, 0.1
_FOOT, _TOES, _HAND, _FINGERS, _FACE = 0.14, 0.11, 0.17, 0.07, 0.08
_FEET = {15: (17, 18, 19), 16: (20, 21, 22)}
_HANDS = {9: range(91, 112), 10: range(112, 133)}
_ELBOWS = {9: 7, 10: 8}
_REACH_OF_HAND = 0.2
"""From the wrist to the middle of a hand of which no points are known."""


def person_masks(
    sequence: PoseSequence,
    ids: Sequence[int] | None = None,
    *,
    shape: str = "body",
    margin: float = 0.0,
    blur: float = 0.0,
    threshold: float = 0.3,
) -> Iterator[np.ndarray]:
    """For each frame (h, w) float32: 1 on these people, 0 elsewhere.

    Args:
        ids: track ids; None: everybody.
        shape: of `SHAPES`: made of the pose, or the person's box.
        margin: how far the mask grows, in trunk lengths (about half a meter).
        blur: standard deviation of a Gaussian at its edge, in trunk lengths.
        threshold: points with a lower score are absent. A person without points has the box instead of the body.

    Raises `InputError` for an unknown shape, negative lengths, and keypoint sets other than coco_17 and
    coco_wholebody_133.
    """
    if shape not in SHAPES:
        raise InputError(f"shape: expected one of {', '.join(SHAPES)}, got {shape!r}")
    if not (margin >= 0 and blur >= 0):  # NaN is refused too
        raise InputError(f"margin and blur: expected at least 0, got {margin:g} and {blur:g}")
    if sequence.keypoint_set not in (COCO_17.name, COCO_WHOLEBODY_133.name):
        raise InputError(f"masks: expected coco_17 or coco_wholebody_133, got {sequence.keypoint_set!r}")
    return (_frame(sequence, t, ids, shape, margin, blur, threshold) for t in range(len(sequence)))


def _frame(
    sequence: PoseSequence, t: int, ids: Sequence[int] | None, shape: str, margin: float, blur: float, threshold: float
) -> np.ndarray:
    """(h, w) float32 of frame `t`: the largest value of the people's masks."""
    poses = sequence.frame(t)
    mask = np.zeros(poses.size[::-1], np.float32)
    for number, track in enumerate(poses.track_ids.tolist()):
        if ids is None or track in ids:
            seen = np.isfinite(poses.keypoints[number]).all(-1) & (poses.scores[number] > 0)
            seen &= poses.scores[number] >= threshold
            points = np.where(seen[:, None], poses.keypoints[number], np.nan).astype(np.float64)
            one = _person(points, poses.boxes[number, :4], poses.size, shape, margin, blur)
            mask = np.maximum(mask, one)
    return mask


def _person(
    points: np.ndarray, box: np.ndarray, size: tuple[int, int], shape: str, margin: float, blur: float
) -> np.ndarray:
    """(h, w) float32 of one person: points (K, 2), NaN absent."""
    nodes = body_nodes(points[None], np.isfinite(points[None]).all(-1))[0]
    unit = float(quantile((limb_lengths(nodes[None])[0] / USUAL)[:, None], LONG)[0])
    mask = np.zeros(size[::-1], np.uint8)
    if shape == "box" or not np.isfinite(unit):
        unit = unit if np.isfinite(unit) else float(np.max(box[2:] - box[:2])) / 3
        x1, y1, x2, y2 = np.round(clip(np.nan_to_num(box), size)).astype(int)
        mask[y1:y2, x1:x2] = 1
    else:
        _draw_body(mask, points, nodes, unit)
    return _softened(_grown(mask, margin * unit), blur * unit)


def _grown(mask: np.ndarray, radius: float) -> np.ndarray:
    """(h, w) uint8, 0 or 1, grown by `radius` pixels."""
    cv2 = opencv()

    if round(radius) < 1:
        return mask
    away = cv2.distanceTransform(1 - mask, cv2.DIST_L2, 5)
    return ((away <= radius) & bool(mask.any())).astype(np.uint8)


def _softened(mask: np.ndarray, sigma: float) -> np.ndarray:
    """(h, w) float32 with edges blurred by a Gaussian of `sigma` pixels."""
    cv2 = opencv()

    soft = mask.astype(np.float32)
    if sigma < 0.3:
        return soft
    return np.minimum(cv2.GaussianBlur(soft, (0, 0), sigma, borderType=cv2.BORDER_REPLICATE), 1)


# --- the body --------------------------------------------------------------------------------------------------------


def _draw_body(mask: np.ndarray, points: np.ndarray, nodes: np.ndarray, unit: float) -> None:
    """Draw a person into (h, w) uint8: points (K, 2), their 19 nodes, the trunk's length in pixels."""
    for a, b, *radii in _CAPSULES:
        _hull(mask, nodes[[a, b]], np.asarray(radii) * unit)
    _hull(mask, *_trunk(nodes, unit))
    _draw_head(mask, points, nodes, unit)
    for wrist, elbow in _ELBOWS.items():
        _draw_hand(mask, points, nodes, wrist, elbow, unit)
    for ankle, foot in _FEET.items():
        toes = points[list(foot)] if len(points) > max(foot) else np.full((3, 2), np.nan)
        _hull(mask, np.concatenate([nodes[[ankle]], toes]), np.asarray([_FOOT, _TOES, _TOES, _TOES]) * unit)


def _trunk(nodes: np.ndarray, unit: float) -> tuple[np.ndarray, np.ndarray]:
    """Centers (4, 2) and radii (4,) of the hull of shoulders and hips; hips that are not seen hang from shoulders."""
    shoulders, hips = nodes[[5, 6]], nodes[[11, 12]].copy()
    if np.isnan(nodes[MID_HIP]).any():
        hips = np.where(np.isnan(hips), shoulders + (0, unit), hips)
    return np.concatenate([shoulders, hips]), np.asarray([_SHOULDER, _SHOULDER, _HIP, _HIP]) * unit


def _draw_head(mask: np.ndarray, points: np.ndarray, nodes: np.ndarray, unit: float) -> None:
    """Head with hair: a circle above the ears, the face, and the neck."""
    seen = nodes[:5][np.isfinite(nodes[:5, 0])]
    if not len(seen):
        return
    ears = nodes[3:5][np.isfinite(nodes[3:5, 0])]
    center = (ears if len(ears) == 2 else seen).mean(axis=0)
    up = center - nodes[NECK] if np.isfinite(nodes[NECK]).all() else np.asarray([0.0, -1.0])
    up = up / max(float(np.linalg.norm(up)), 1e-6)
    _hull(mask, np.stack([center + up * _ABOVE_EARS * unit, center]), np.asarray([_HEAD, _HEAD]) * unit)
    _hull(mask, np.stack([center, nodes[NECK]]), np.asarray([_NECK_RADIUS, _NECK_RADIUS]) * unit)
    if len(points) == len(COCO_WHOLEBODY_133):
        face = points[list(COCO_WHOLEBODY_133.parts["face"])]
        _hull(mask, face, np.full(len(face), _FACE * unit))


def _draw_hand(mask: np.ndarray, points: np.ndarray, nodes: np.ndarray, wrist: int, elbow: int, unit: float) -> None:
    """The hull of the hand's points; without any, a circle beyond the wrist."""
    if len(points) == len(COCO_WHOLEBODY_133):
        hand = points[list(_HANDS[wrist])]
        if np.isfinite(hand[:, 0]).sum() > 2:
            _hull(mask, hand, np.full(len(hand), _FINGERS * unit))
            return
    reach = nodes[wrist] - nodes[elbow]
    reach = reach / max(float(np.linalg.norm(reach)), 1e-6) * _REACH_OF_HAND * unit
    _hull(mask, np.stack([nodes[wrist], nodes[wrist] + np.nan_to_num(reach)]), np.full(2, _HAND * unit))


def _hull(mask: np.ndarray, centers: np.ndarray, radii: np.ndarray) -> None:
    """Fill the convex hull of circles (N, 2), (N,); those at NaN are left out."""
    cv2 = opencv()

    seen = np.isfinite(centers).all(axis=1)
    if not seen.any():
        return
    rim = (centers[seen, None] + _CIRCLE * radii[seen, None, None]).reshape(-1, 2)
    hull = cv2.convexHull(rim.clip(-(2**14), 2**14).astype(np.float32))
    cv2.fillConvexPoly(mask, np.round(hull * 16).astype(np.int32), 1, shift=4)
