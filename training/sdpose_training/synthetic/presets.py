"""The poses of `sdpose_core.presets`: named poses of the body model, as points in space.

Directions are those of `poses`: x to the person's left, y to the back, z up. Where only the left side is given, the
right one is its mirror image.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from sdpose_training.synthetic.body import KEYPOINT_NAMES, BodyModel
from sdpose_training.synthetic.poses import (
    ELBOW_AT_REST,
    FOREARM,
    KNUCKLES,
    UPPER_ARM,
    Pose,
    Rotation,
    euler,
    make_leg,
    on_side,
    rotation,
)

Direction = Sequence[float]
Bones = dict[str, Rotation]


def arm(upper: Direction, fore: Direction, roll: float = 0.0, curl: float = 12.0) -> Bones:
    """Left arm: directions of upper arm and forearm, the forearm's roll, the curl of the fingers (degrees)."""
    up, target = _unit(upper), _unit(fore)
    axis = np.cross(up, target)
    angle = float(np.rad2deg(np.arctan2(np.linalg.norm(axis), up @ target)))
    turn = _frame(up, axis) @ _frame(UPPER_ARM, np.cross(UPPER_ARM, FOREARM)).T
    raised = float(np.rad2deg(np.arccos(np.clip(-up[2], -1, 1))))
    clavicle = euler(y=-max(raised - 60, 0) * 0.25)
    bones = {
        "clavicle": clavicle,
        "upperarm01": clavicle.T @ turn,
        "lowerarm01": rotation(np.cross(UPPER_ARM, FOREARM), angle - ELBOW_AT_REST),
        "wrist": rotation(FOREARM, roll),
    }
    for finger in (2, 3, 4, 5):
        bones |= {f"finger{finger}-{i}": rotation(KNUCKLES, curl * part) for i, part in ((1, 0.8), (2, 1.0), (3, 0.7))}
    return bones


def _unit(direction: Direction) -> np.ndarray:
    vector = np.asarray(direction, np.float64)
    return vector / np.linalg.norm(vector)


def _frame(along: np.ndarray, hinge: np.ndarray) -> np.ndarray:
    """(3, 3) whose columns are the direction of an arm, the axis of its elbow, and the third direction."""
    first, second = _unit(along), _unit(hinge)
    return np.stack([first, second, np.cross(first, second)], axis=1)


def spine(lean: float = 0.0, side: float = 0.0, twist: float = 0.0) -> Bones:
    """Degrees forward, to the person's right and around, shared by the bones of the spine."""
    return {f"spine0{i}": euler(lean / 5, side / 5, twist / 5) for i in (5, 4, 3, 2, 1)}


def head(nod: float = 0.0, tilt: float = 0.0, turn: float = 0.0) -> Bones:
    return {name: euler(nod / 2, tilt / 2, turn / 2) for name in ("neck01", "head")}


def _pose(
    left_arm: Bones, left_leg: Bones, right_arm: Bones | None = None, right_leg: Bones | None = None, *trunk: Bones,
    root: Rotation | None = None,
) -> Pose:  # fmt: skip
    bones = on_side(left_arm, "L") | on_side(left_arm if right_arm is None else right_arm, "R")
    bones |= on_side(left_leg, "L") | on_side(left_leg if right_leg is None else right_leg, "R")
    for part in trunk:
        bones |= part
    return Pose("preset", bones, np.eye(3) if root is None else root)


HANGING = arm((0.2, 0.04, -1), (0.14, -0.12, -1))
STRAIGHT = make_leg(0, 3, 6, 2)

PRESETS: dict[str, Pose] = {
    "standing": _pose(HANGING, STRAIGHT),
    "T-pose": _pose(arm((1, 0, 0), (1, -0.02, 0), curl=0), make_leg(0, 3, 4, 0)),
    "A-pose": _pose(arm((0.72, 0, -0.7), (0.7, -0.05, -0.7), curl=0), make_leg(0, 8, 6, 0)),
    "hands on hips": _pose(arm((0.75, 0.25, -0.75), (-0.75, -0.3, -0.62), curl=25), make_leg(0, 9, 10, 2)),
    "arms crossed": _pose(
        arm((0.22, -0.3, -1), (-0.95, -0.3, 0.16), curl=20),
        STRAIGHT,
        arm((0.22, -0.28, -1), (-0.95, -0.45, 0.06), curl=20),
    ),
    "waving": _pose(
        HANGING,
        STRAIGHT,
        arm((0.85, -0.15, 0.35), (0.35, -0.2, 1), curl=0),
        make_leg(0, 5, 8, 2),
        spine(side=-3),
    ),
    "pointing": _pose(
        HANGING, STRAIGHT, arm((0.95, -0.35, 0.1), (1, -0.35, 0.12), curl=5), make_leg(0, 6, 10, 3), head(turn=-28)
    ),
    "arms up": _pose(arm((0.5, -0.05, 1), (0.25, -0.1, 1), curl=5), make_leg(0, 8, 6, 3)),
    "walking": _pose(
        arm((0.16, 0.42, -1), (0.12, 0.22, -1)),
        make_leg(24, 0, 4, 6, -8),
        arm((0.16, -0.35, -1), (0.05, -0.75, -0.85)),
        make_leg(-17, 0, 4, 22, 14),
        spine(lean=4, twist=-5),
    ),
    "running": _pose(
        arm((0.3, 0.85, -0.75), (0.1, -0.75, -0.75), curl=45),
        make_leg(58, 0, 4, 72, -5),
        arm((0.3, -0.45, -1), (-0.25, -0.9, 0.55), curl=45),
        make_leg(-22, 0, 4, 62, 25),
        spine(lean=14, twist=-8),
        head(nod=-8),
    ),
    "jumping": _pose(
        arm((0.75, -0.2, 0.75), (0.45, -0.2, 1), curl=5),
        make_leg(35, 18, 10, 85, 30),
        None,
        make_leg(-5, 10, 8, 55, 35),
        spine(lean=-6),
        head(nod=-8),
    ),
    "dancing": _pose(
        arm((0.8, -0.2, 0.7), (0.1, -0.25, 1), curl=10),
        make_leg(42, 26, 28, 78, 20),
        arm((0.95, -0.15, -0.15), (0.9, -0.45, -0.2), curl=8),
        make_leg(4, 6, 12, 10),
        spine(side=9),
        head(tilt=-10),
    ),
    "sitting": _pose(
        arm((0.16, -0.3, -1), (-0.02, -0.9, -0.42), curl=15),
        make_leg(86, 9, 4, 86, 0),
        None,
        None,
        spine(lean=2),
    ),
    "kneeling": _pose(
        arm((0.22, -0.2, -1), (0.0, -0.8, -0.65), curl=15),
        make_leg(88, 8, 6, 90, 0),
        HANGING,
        make_leg(-4, 3, 2, 90, 40),
        spine(lean=3),
    ),
    "squatting": _pose(
        arm((0.12, -0.95, -0.15), (0.02, -1, -0.05), curl=5),
        make_leg(104, 20, 22, 122, -24),
        None,
        None,
        spine(lean=26),
        head(nod=-18),
    ),
    "lying": _pose(
        HANGING, make_leg(2, 6, 10, 4, 20), None, make_leg(18, 8, 10, 30, 20), root=euler(z=90) @ euler(x=-90)
    ),
}


def write_presets(path: Path) -> None:
    """Write the points of all presets: `names` (N,), `points` (N, 65, 3) meters, `keypoints` their 65 names."""
    points = preset_points(BodyModel())
    np.savez_compressed(path, names=list(PRESETS), points=points.astype(np.float32), keypoints=list(KEYPOINT_NAMES))


def preset_points(body: BodyModel) -> np.ndarray:
    """(N, 65, 3) meters; people face -y and stand on z = 0."""
    poses = list(PRESETS.values())
    return np.round(body.pose(poses, [{}] * len(poses))[1], 4)
