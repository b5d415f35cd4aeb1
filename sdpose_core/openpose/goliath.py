"""The 308 points of Sapiens and Sapiens2 (Goliath's order), and the first 70 of them, which SAM 3D Body calls MHR70.

Source of the order: `keypoint_info` in facebookresearch/sapiens2, sapiens/pose/configs/_base_/keypoints308.py, and
`pose_info` in facebookresearch/sam-3d-body, sam_3d_body/metadata/mhr70.py. "Left" is the person's left.

Body, feet and hands are points of COCO-WholeBody. Of its 68 face points, Goliath has no jaw line, only the chin; the
points of brows, eyes and lips are the nearest on the same lines. The source numbers the points between two corners
without saying from which side, so `Line` sorts them by where they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from ..skeletons import COCO_WHOLEBODY_133

GOLIATH_COUNT, MHR_COUNT = 308, 70

_FIRST = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle", "right_ankle", "left_big_toe",
    "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip


def _hand(side: str, tip_of_thumb: int) -> dict[str, int]:
    """The 21 points of a hand: each finger from tip to root, thumb first, then the wrist."""
    fingers = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
    names = [f"{side}_{finger}{joint}" for finger in fingers for joint in (4, 3, 2, 1)]
    wrist = tip_of_thumb + len(names)
    places = {name: tip_of_thumb + number for number, name in enumerate(names)}
    return {**places, f"{side}_wrist": wrist, f"{side}_hand_root": wrist}


MHR_70: Mapping[str, int] = MappingProxyType(
    {**{name: number for number, name in enumerate(_FIRST)}, **_hand("right", 21), **_hand("left", 42)}
)
"""COCO-WholeBody's name -> index. Not used: 63-68, inner and outer points of elbows and shoulders, and 69, the neck."""

FACE_POINTS: Mapping[str, int] = MappingProxyType(
    {
        "face-8": 77,  # tip_of_chin
        "face-17": 80, "face-21": 78,  # end_of_r_eyebrow, upper_startpoint_of_r_eyebrow
        "face-22": 87, "face-26": 89,  # upper_startpoint_of_l_eyebrow, end_of_l_eyebrow
        "face-27": 71, "face-30": 178,  # center_of_nose_root, tip_of_nose
        "face-31": 180, "face-32": 182,  # r_outer_corner_of_nose, inner_corner_of_r_nostril
        "face-33": 179,  # bottom_center_of_nose
        "face-34": 185, "face-35": 181,  # inner_corner_of_l_nostril, l_outer_corner_of_nose
        "face-36": 121, "face-39": 120,  # r_outer_end_of_upper_lash_line, r_inner_end_of_upper_lash_line
        "face-42": 96, "face-45": 97,  # l_inner_end_of_upper_lash_line, l_outer_end_of_upper_lash_line
        "face-48": 188, "face-54": 189,  # r_outer_corner_of_mouth, l_outer_corner_of_mouth
        "face-51": 190, "face-57": 191,  # center_of_cupid_bow, center_of_lower_outer_lip
        "face-60": 204, "face-64": 205,  # r_inner_corner_of_mouth, l_inner_corner_of_mouth
        "face-62": 206, "face-66": 207,  # center_of_upper_inner_lip, center_of_lower_inner_lip
    }
)  # fmt: skip


@dataclass(frozen=True)
class Line:
    """Points between two corners of the face.

    Attributes:
        ends: indices of the corners, in the order of the result.
        between: indices of the points between them, in any order.
        take: which of them become face points: COCO-WholeBody's name -> place in the order from the first corner.
    """

    ends: tuple[int, int]
    between: tuple[int, ...]
    take: Mapping[str, int]

    def indices(self, points: np.ndarray) -> dict[str, int]:
        """Points (308, 3) -> COCO-WholeBody's name -> index, sorted along the line of the corners.

        Empty if any of the points is absent, as the places of the others are not known then.
        """
        if (points[[*self.ends, *self.between], 2] <= 0).any():
            return {}
        first, last = (points[end, :2].astype(np.float64) for end in self.ends)
        along = (points[list(self.between), :2] - first) @ (last - first)
        order = np.asarray(self.between)[np.argsort(along, kind="stable")]
        return {name: int(order[place]) for name, place in self.take.items()}


LINES: tuple[Line, ...] = (
    Line((80, 78), (81, 83, 84), {"face-18": 0, "face-19": 1, "face-20": 2}),  # upper edge of the right brow
    Line((87, 89), (90, 92, 93), {"face-23": 0, "face-24": 1, "face-25": 2}),  # of the left brow
    Line((71, 178), (73, 74, 75), {"face-28": 0, "face-29": 2}),  # bridge of the nose
    Line((121, 120), tuple(range(122, 129)), {"face-37": 2, "face-38": 4}),  # right eye, upper lash line
    Line((120, 121), tuple(range(163, 170)), {"face-40": 2, "face-41": 4}),  # lower lash line
    Line((96, 97), tuple(range(98, 105)), {"face-43": 2, "face-44": 4}),  # left eye, upper lash line
    Line((97, 96), tuple(range(146, 153)), {"face-46": 2, "face-47": 4}),  # lower lash line
    Line((188, 189), (192, 193, *range(196, 200)), {"face-49": 1, "face-50": 2, "face-52": 3, "face-53": 4}),
    Line((189, 188), (194, 195, *range(200, 204)), {"face-55": 1, "face-56": 2, "face-58": 3, "face-59": 4}),
    Line((204, 205), (208, 209, *range(212, 216)), {"face-61": 1, "face-63": 4}),  # inner lips, upper
    Line((205, 204), (210, 211, *range(216, 220)), {"face-65": 1, "face-67": 4}),  # lower
)


def whole_body_of_goliath(points: np.ndarray) -> np.ndarray:
    """(308, 3) or (70, 3) x, y, score, absent points 0 -> (133, 3) in COCO-WholeBody's order.

    Points that the source lacks are 0: the jaw line but for the chin, and the face of 70 points.
    """
    places: dict[str, int] = dict(MHR_70)
    if len(points) == GOLIATH_COUNT:
        places |= FACE_POINTS
        for line in LINES:
            places |= line.indices(points)
    result = np.zeros((len(COCO_WHOLEBODY_133), 3), np.float32)
    for name, place in places.items():
        result[COCO_WHOLEBODY_133.index(name)] = points[place]
    return result
