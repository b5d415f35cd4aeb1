"""OpenPose's point orders, and people in them.

The official SDPose scripts do not follow OpenPose: the body model's 17 COCO points are written unchanged, without a
neck; the whole-body model's 133 are split as if a neck had been inserted, so every part is shifted by one point, and
the hands are swapped. Here the order is OpenPose's, and left is the person's left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ..errors import InputError
from ..poses import Poses

PointSource = int | tuple[int, int]
"""An index, or two indices: the midpoint of those points."""

OPENPOSE_18_FROM_COCO_17: Mapping[str, PointSource] = MappingProxyType(
    {
        "nose": 0, "neck": (5, 6),
        "right_shoulder": 6, "right_elbow": 8, "right_wrist": 10,
        "left_shoulder": 5, "left_elbow": 7, "left_wrist": 9,
        "right_hip": 12, "right_knee": 14, "right_ankle": 16,
        "left_hip": 11, "left_knee": 13, "left_ankle": 15,
        "right_eye": 2, "left_eye": 1, "right_ear": 4, "left_ear": 3,
    }
)  # fmt: skip
"""OpenPose's 18 body points, in its order, from COCO's 17 (the first 17 of COCO-WholeBody)."""

FEET_FROM_COCO_WHOLEBODY_133: Mapping[str, PointSource] = MappingProxyType(
    {
        "left_big_toe": 17, "left_small_toe": 18, "left_heel": 19,
        "right_big_toe": 20, "right_small_toe": 21, "right_heel": 22,
    }
)  # fmt: skip

_HEAD_AND_ARMS = ("nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder", "left_elbow",
                  "left_wrist")  # fmt: skip
_LEGS_AND_FACE = ("right_hip", "right_knee", "right_ankle", "left_hip", "left_knee", "left_ankle", "right_eye",
                  "left_eye", "right_ear", "left_ear")  # fmt: skip

BODY_25_FROM_COCO_WHOLEBODY_133: Mapping[str, PointSource] = MappingProxyType(
    {
        **{name: OPENPOSE_18_FROM_COCO_17[name] for name in _HEAD_AND_ARMS},
        "mid_hip": (11, 12),
        **{name: OPENPOSE_18_FROM_COCO_17[name] for name in _LEGS_AND_FACE},
        **FEET_FROM_COCO_WHOLEBODY_133,
    }
)
"""OpenPose's BODY_25, in its order, from COCO-WholeBody's 133."""

FACE_70_FROM_COCO_WHOLEBODY_133: Mapping[str, PointSource] = MappingProxyType(
    {**{f"face-{i}": 23 + i for i in range(68)}, "right_eye": 2, "left_eye": 1}
)
"""68 face points, then the body's right and left eye in place of the pupils."""

LEFT_HAND_FROM_COCO_WHOLEBODY_133: tuple[int, ...] = tuple(range(91, 112))
RIGHT_HAND_FROM_COCO_WHOLEBODY_133: tuple[int, ...] = tuple(range(112, 133))
"""21 points each: the root, then thumb to little finger, four each from root to tip. Left is the person's left."""

COCO_WHOLEBODY_133_FROM_HALPE: Mapping[int, int] = MappingProxyType(
    {
        **{i: i for i in range(17)},
        17: 20, 18: 22, 19: 24, 20: 21, 21: 23, 22: 25,  # feet: Halpe alternates left and right
        **{23 + i: 26 + i for i in range(110)},  # face, left hand, right hand
    }
)  # fmt: skip
"""COCO-WholeBody's 133 points from Halpe's 136, or the first 23 of them from Halpe's 26, without top of the head, neck
and mid-hip."""

OPENPOSE_18_NAMES: tuple[str, ...] = tuple(OPENPOSE_18_FROM_COCO_17)
BODY_25_NAMES: tuple[str, ...] = tuple(BODY_25_FROM_COCO_WHOLEBODY_133)
FOOT_NAMES: tuple[str, ...] = tuple(FEET_FROM_COCO_WHOLEBODY_133)

PART_SIZES: Mapping[str, int] = MappingProxyType({"body": 18, "feet": 6, "face": 70, "left_hand": 21, "right_hand": 21})

PART_KEYS: Mapping[str, str] = MappingProxyType(
    {
        "body": "pose_keypoints_2d", "face": "face_keypoints_2d", "left_hand": "hand_left_keypoints_2d",
        "right_hand": "hand_right_keypoints_2d", "feet": "foot_keypoints_2d",
    }
)  # fmt: skip
"""Keys of the parts in POSE_KEYPOINT and OpenPose JSON."""

DRAWABLE = ("coco_17", "coco_wholebody_133")
"""Keypoint sets that can be converted to OpenPose."""


@dataclass(frozen=True, eq=False)
class OpenPosePerson:
    """One person in OpenPose's order. Rows are (x, y, score) in pixels of the canvas; absent points are 0, 0, 0.

    Attributes:
        body: (18, 3) float32, order `OPENPOSE_18_NAMES`.
        feet: (6, 3) float32, order `FOOT_NAMES`.
        face: (70, 3) float32: 68 points, right eye, left eye.
        left_hand, right_hand: (21, 3) float32; left is the person's left.
        person_id: track id, or None if unknown.
        box: (5,) float32 x1, y1, x2, y2, score, or None.

    Raises `InputError` for an array of another shape.
    """

    body: np.ndarray
    feet: np.ndarray
    face: np.ndarray
    left_hand: np.ndarray
    right_hand: np.ndarray
    person_id: int | None = None
    box: np.ndarray | None = None

    def __post_init__(self) -> None:
        shapes = {name: (count, 3) for name, count in PART_SIZES.items()}
        for name, shape in ({**shapes, "box": (5,)} if self.box is not None else shapes).items():
            array = np.array(getattr(self, name), np.float32)
            if array.shape != shape:
                raise InputError(f"OpenPose person, {name}: expected shape {shape}, got {array.shape}")
            array.setflags(write=False)
            object.__setattr__(self, name, array)

    def parts(self) -> dict[str, np.ndarray]:
        """Part name -> its (N, 3) array, in the order of `PART_SIZES`."""
        return {name: getattr(self, name) for name in PART_SIZES}

    def has_only_body(self) -> bool:
        return not any(points[:, 2].any() for part, points in self.parts().items() if part != "body")


def people(poses: Poses, threshold: float) -> list[OpenPosePerson]:
    """The people of `poses` in OpenPose's order.

    A point is present if it is finite and its score is above 0 and at least `threshold`. The neck is the midpoint of
    the shoulders, present only if both are, with the lower of their scores. Parts that the keypoint set lacks are
    absent; without any of the 68 face points the whole face is absent (the eyes stay in the body).

    Raises `InputError` for a keypoint set other than coco_17 and coco_wholebody_133.
    """
    return people_of_points(poses, present_points(poses, threshold))


def people_of_points(poses: Poses, points: np.ndarray) -> list[OpenPosePerson]:
    """The people of `poses` from their `present_points` (P, 133, 3)."""
    ids = np.asarray(poses.track_ids).tolist()
    return [
        OpenPosePerson(**parts_of_whole_body(person), person_id=track_id, box=box)
        for person, track_id, box in zip(points, ids, poses.boxes, strict=True)
    ]


def present_points(poses: Poses, threshold: float) -> np.ndarray:
    """(P, 133, 3) float32 x, y, score in COCO-WholeBody's order; absent points, such as a body model's face, are 0."""
    if poses.keypoint_set not in DRAWABLE:
        raise InputError(
            f"keypoint set {poses.keypoint_set!r} has no OpenPose form: expected coco_17 or coco_wholebody_133; "
            "save these poses as .pose.npz instead"
        )
    points = np.zeros((len(poses), 133, 3), np.float32)
    points[:, : poses.keypoints.shape[1]] = seen_points(poses, threshold)
    return points


def seen_points(poses: Poses, threshold: float) -> np.ndarray:
    """(P, K, 3) float32 x, y, score of any keypoint set; absent points (not finite, below the threshold) are 0."""
    points = np.concatenate([poses.keypoints, poses.scores[..., None]], axis=-1)
    seen = np.isfinite(poses.keypoints).all(axis=-1) & (poses.scores > 0) & (poses.scores >= threshold)
    return np.where(seen[..., None], points, 0)


def parts_of_whole_body(points: np.ndarray) -> dict[str, np.ndarray]:
    """(133, 3) x, y, score in COCO-WholeBody's order, absent points 0 -> part name -> (N, 3), as in `PART_SIZES`."""
    face = gather(points, FACE_70_FROM_COCO_WHOLEBODY_133)
    if not face[:68, 2].any():
        face[:] = 0
    return {
        "body": gather(points, OPENPOSE_18_FROM_COCO_17),
        "feet": gather(points, FEET_FROM_COCO_WHOLEBODY_133),
        "face": face,
        "left_hand": points[list(LEFT_HAND_FROM_COCO_WHOLEBODY_133)],
        "right_hand": points[list(RIGHT_HAND_FROM_COCO_WHOLEBODY_133)],
    }


def gather(points: np.ndarray, table: Mapping[str, PointSource]) -> np.ndarray:
    """(K, 3) x, y, score -> (len(table), 3) float32 by an order table; a midpoint needs both points."""
    return np.stack([_midpoint(points, s) if isinstance(s, tuple) else points[s] for s in table.values()])


def _midpoint(points: np.ndarray, pair: tuple[int, int]) -> np.ndarray:
    first, second = points[pair[0]], points[pair[1]]
    score = min(first[2], second[2])
    if score <= 0:
        return np.zeros(3, np.float32)
    return np.asarray([*(first[:2] + second[:2]) / 2, score], np.float32)
