"""Named poses that come with the library: points in space, seen from any side.

They are written by `training/make_pose_presets.py`. Body, feet and hands of COCO-WholeBody; of the face only nose, eyes
and ears.
"""

from __future__ import annotations

import functools
import math
from pathlib import Path

import numpy as np

from .errors import InputError, did_you_mean
from .npz_files import read_npz
from .poses import Poses
from .skeletons import COCO_WHOLEBODY_133

PRESETS_FILE = Path(__file__).parent / "assets" / "pose_presets.npz"

PRESETS = (
    "standing", "T-pose", "A-pose", "hands on hips", "arms crossed", "waving", "pointing", "arms up", "walking",
    "running", "jumping", "dancing", "sitting", "kneeling", "squatting", "lying",
)  # fmt: skip
"""Their names; the file is read when one is used."""

STANDING = 1.72
"""Meters: the height of the body, from the ground to the top of the hair."""

_HAIR, _SIDES = 0.14, 0.05
"""Meters between the outermost points and the outline: above the eyes, and elsewhere."""
_CAMERA = 5.0
"""Meters from the camera to the person. It is at the height of the person's middle."""
_NOSE, _EYES, _EARS = 0, (1, 2), (3, 4)


def preset(name: str, size: tuple[int, int], *, turn: float = 0.0, mirror: bool = False, share: float = 0.8) -> Poses:
    """One of `PRESETS` on a canvas of `size` (w, h), as coco_wholebody_133 with score 1.

    Args:
        turn: degrees by which the person turns to the left; at 0 they face the camera, at 90 the right edge.
        mirror: swap left and right.
        share: height of a standing person, in heights of the canvas. All presets have the same scale and ground, unless
            they would not fit then.

    Face points on the far side of the head are absent. Raises `InputError` for an unknown name, and a share that is not
    above 0 and at most 1.
    """
    if name not in PRESETS:
        hint = did_you_mean(name, PRESETS)
        raise InputError(f"unknown pose {name!r}: known are {', '.join(PRESETS)}{hint and '; '}{hint}")
    if not 0 < share <= 1:
        raise InputError(f"share: expected more than 0 and at most 1, got {share:g}")
    points = _seen_from(_load()[PRESETS.index(name)], turn)
    hidden = _hidden(points)
    flat, score = _on_canvas(points, size, share), np.where(hidden, 0.0, 1.0)
    flat[hidden] = np.nan
    if mirror:
        flat[:, 0] = size[0] - flat[:, 0]
        flips = COCO_WHOLEBODY_133.flip_indices
        flat, score = flat[flips], score[flips]
    low, high = np.nanmin(flat, axis=0), np.nanmax(flat, axis=0)
    box = np.asarray([[*low, *high, 1.0]])
    return Poses(flat[None], score[None], box, size, COCO_WHOLEBODY_133.name, meta={"model": f"preset {name}"})


@functools.cache
def _load() -> np.ndarray:
    """(N, 133, 3) meters in the order of `PRESETS`: x to the person's left, y to the back, z up; NaN absent."""
    arrays = read_npz(PRESETS_FILE, str(PRESETS_FILE))
    names, keypoints = arrays["names"].tolist(), arrays["keypoints"].tolist()
    points = np.full((len(PRESETS), len(COCO_WHOLEBODY_133), 3), np.nan)
    rows = [names.index(name) for name in PRESETS]
    points[:, [COCO_WHOLEBODY_133.index(name) for name in keypoints]] = arrays["points"][rows]
    points.setflags(write=False)
    return points


def _seen_from(points: np.ndarray, turn: float) -> np.ndarray:
    """The points (133, 3), turned about the vertical axis through their middle."""
    middle = (np.nanmin(points, axis=0) + np.nanmax(points, axis=0)) / 2 * (1, 1, 0)
    c, s = math.cos(math.radians(turn)), math.sin(math.radians(turn))
    return (points - middle) @ np.asarray([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def _hidden(points: np.ndarray) -> np.ndarray:
    """(133,) bool: absent points, and those of the head whose side is turned away from the camera (at -y)."""
    hidden = np.isnan(points[:, 0])
    middle = points[list(_EARS)].mean(axis=0)
    for point, least in ((_NOSE, -0.3), *((eye, 0.0) for eye in _EYES), *((ear, -0.45) for ear in _EARS)):
        outward = points[point] - middle
        hidden[point] |= -outward[1] / np.linalg.norm(outward) < least
    return hidden


def _on_canvas(points: np.ndarray, size: tuple[int, int], share: float) -> np.ndarray:
    """(133, 3) meters -> (133, 2) pixels: feet on the ground line, the middle of the body in the middle."""
    w, h = size
    low, high = np.nanmin(points, axis=0), np.nanmax(points, axis=0)
    center = (high[2] + low[2]) / 2
    distance = _CAMERA / (_CAMERA + points[:, 1])
    flat = np.stack([points[:, 0] * distance, (center - points[:, 2]) * distance], axis=1)
    top, ground = np.nanmin(flat[:, 1]) - _HAIR, np.nanmax(flat[:, 1])
    half = np.nanmax(np.abs(flat[:, 0])) + _SIDES
    scale = min(share * h / STANDING, w / 2 / half, h / (ground - top + _SIDES))
    line = min((1 + share) / 2 * h, h - _SIDES * scale)
    line = max(line, (ground - top) * scale)
    return np.stack([w / 2 + flat[:, 0] * scale, line + (flat[:, 1] - ground) * scale], axis=1)
