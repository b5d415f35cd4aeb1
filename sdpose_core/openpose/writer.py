"""OpenPose's forms of poses: POSE_KEYPOINT and OpenPose JSON, written strictly.

Point orders are in `order.py`; what others wrote is read, tolerantly, in `reader.py`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import atomic_write
from ..poses import Poses
from .order import (
    BODY_25_FROM_COCO_WHOLEBODY_133,
    FACE_70_FROM_COCO_WHOLEBODY_133,
    FEET_FROM_COCO_WHOLEBODY_133,
    LEFT_HAND_FROM_COCO_WHOLEBODY_133,
    OPENPOSE_18_FROM_COCO_17,
    PART_KEYS,
    RIGHT_HAND_FROM_COCO_WHOLEBODY_133,
    OpenPosePerson,
    Source,
    gather,
    people,
    present_points,
)
from .reader import PoseKeypointFrame, read_pose_keypoint

JSON_VERSION = 1.3
"""Version of OpenPose's JSON format that our keys follow."""

BODIES = ("openpose_18", "body_25")


def to_pose_keypoint(
    frames: Poses | Sequence[Poses], threshold: float = 0.3, scores: bool = False, body: str = "openpose_18"
) -> list[dict[str, Any]]:
    """ComfyUI's POSE_KEYPOINT: one dict per frame, see `to_openpose`."""
    return [
        to_openpose(poses, threshold, scores, body) for poses in ([frames] if isinstance(frames, Poses) else frames)
    ]


def to_openpose(
    poses: Poses, threshold: float = 0.3, scores: bool = False, body: str = "openpose_18"
) -> dict[str, Any]:
    """One frame as OpenPose's dict of plain lists and floats: what POSE_KEYPOINT and OpenPose JSON hold.

    Coordinates are pixels of the source picture. Every part of every person is there, never None: pose 18 (or 25)
    points, face 70, hands 21 each, feet 6, each x, y and a third value of exactly 1.0, or 0, 0, 0.0 for an absent
    point. Beside OpenPose's keys a person has `sdpose`: the box (x1, y1, x2, y2, score), the threshold, and the real
    scores of all its points, also of those below the threshold.

    Args:
        threshold: points of a lower score are absent.
        scores: write real scores as the third values. (controlnet_aux then drops every point below 1.)
        body: "openpose_18", which the tools of ComfyUI expect, or "body_25".

    Raises:
        InputError: the keypoint set has no OpenPose form, or `body` is unknown.
    """
    if body not in BODIES:
        raise InputError(f"body: expected one of {', '.join(BODIES)}, got {body!r}")
    shown, complete = _part_arrays(poses, threshold, body), _part_arrays(poses, 0.0, body)
    w, h = poses.size
    return {
        "version": JSON_VERSION,
        "people": [
            _person(own, whole, person, threshold, scores)
            for own, whole, person in zip(shown, complete, people(poses, threshold), strict=True)
        ],
        "canvas_width": w,
        "canvas_height": h,
    }


def write_openpose_json(
    path: str | Path,
    poses: Poses,
    threshold: float = 0.3,
    json_scores: bool = False,
    body: str = "openpose_18",
) -> None:
    """Write one frame as an OpenPose JSON file, atomically. Arguments and errors as in `to_openpose`."""
    frame = to_openpose(poses, threshold, json_scores, body)
    with atomic_write(path, "w") as handle:
        json.dump(frame, handle, allow_nan=False)
        handle.write("\n")


def _part_arrays(poses: Poses, threshold: float, body: str) -> list[dict[str, np.ndarray]]:
    """Part name -> (N, 3) of each person, with the body in the order asked for."""
    parts = [person.parts() for person in people(poses, threshold)]
    if body == "body_25":
        for own, points in zip(parts, present_points(poses, threshold), strict=True):
            own["body"] = gather(points, BODY_25_FROM_COCO_WHOLEBODY_133)
    return parts


def _person(
    shown: dict[str, np.ndarray],
    complete: dict[str, np.ndarray],
    person: OpenPosePerson,
    threshold: float,
    scores: bool,
) -> dict[str, Any]:
    entry: dict[str, Any] = {"person_id": [-1 if person.person_id is None else person.person_id]}
    for part, key in PART_KEYS.items():
        points = np.array(shown[part])
        if not scores:
            points[:, 2] = points[:, 2] > 0
        entry[key] = _floats(points)
    box = np.zeros(5) if person.box is None else np.nan_to_num(person.box)
    real = {PART_KEYS[part]: _floats(points[:, 2]) for part, points in complete.items()}
    entry["sdpose"] = {"box": _floats(box), "threshold": float(threshold), "scores": real}
    return entry


def _floats(array: np.ndarray) -> list[float]:
    """Plain floats with the shortest digits that give back the same float32."""
    return [float(str(value)) for value in np.asarray(array, np.float32).ravel()]


def read_poses(
    obj: Any,
    *,
    swap_hands: bool = False,
    size: tuple[int, int] | None = None,
    keypoint_set: str | None = None,
) -> tuple[list[Poses], list[str]]:
    """POSE_KEYPOINT of any origin -> the poses of each frame, all of one keypoint set, and the reader's notes.

    Arguments and errors as in `read_pose_keypoint` and `to_poses`.
    """
    frames = read_pose_keypoint(obj, swap_hands=swap_hands, size=size)
    keypoint_set = keypoint_set or ("coco_wholebody_133" if any(map(_more_than_body, frames)) else "coco_17")
    return [to_poses(frame, keypoint_set) for frame in frames], [note for frame in frames for note in frame.notes]


def to_poses(frame: PoseKeypointFrame, keypoint_set: str | None = None) -> Poses:
    """A read frame as `Poses`; the neck, and the eyes among the face points, are left out.

    Args:
        keypoint_set: "coco_17" or "coco_wholebody_133"; None takes the whole body if any of its points is there.

    Boxes are those of our own files, else the smallest around the points (score 1). Track ids are those of the file if
    every person has one of its own, else 0, 1, ...
    """
    keypoint_set = keypoint_set or ("coco_wholebody_133" if _more_than_body(frame) else "coco_17")
    if keypoint_set not in ("coco_17", "coco_wholebody_133"):
        raise InputError(f"keypoint set: expected coco_17 or coco_wholebody_133, got {keypoint_set!r}")
    meta = {"source": "POSE_KEYPOINT", "notes": list(frame.notes)}
    if not frame.people:
        return Poses.empty(frame.size, keypoint_set, meta)
    count = 17 if keypoint_set == "coco_17" else 133
    points = np.stack([_coco_points(person)[:count] for person in frame.people])
    keypoints, scores = points[..., :2], points[..., 2]
    boxes = np.stack([_box(person, own) for person, own in zip(frame.people, keypoints, strict=True)])
    ids = [person.person_id for person in frame.people]
    own_ids = None not in ids and len(set(ids)) == len(ids)
    return Poses(keypoints, scores, boxes, frame.size, keypoint_set, np.array(ids) if own_ids else None, meta)


def _more_than_body(frame: PoseKeypointFrame) -> bool:
    parts = [points for person in frame.people for part, points in person.parts().items() if part != "body"]
    return any(points[:, 2].any() for points in parts)


def _coco_points(person: OpenPosePerson) -> np.ndarray:
    """(133, 3) COCO-WholeBody x, y, score; x and y of absent points NaN."""
    points = np.zeros((133, 3), np.float32)
    tables: dict[str, list[Source]] = {
        "body": list(OPENPOSE_18_FROM_COCO_17.values()),
        "feet": list(FEET_FROM_COCO_WHOLEBODY_133.values()),
        "face": list(FACE_70_FROM_COCO_WHOLEBODY_133.values())[:68],
        "left_hand": list(LEFT_HAND_FROM_COCO_WHOLEBODY_133),
        "right_hand": list(RIGHT_HAND_FROM_COCO_WHOLEBODY_133),
    }
    for part, sources in tables.items():
        for row, source in zip(person.parts()[part], sources, strict=False):
            if isinstance(source, int):
                points[source] = row
    points[points[:, 2] <= 0, :2] = np.nan
    return points


def _box(person: OpenPosePerson, keypoints: np.ndarray) -> np.ndarray:
    if person.box is not None:
        return person.box
    seen = keypoints[np.isfinite(keypoints).all(axis=1)]
    if not len(seen):
        return np.zeros(5, np.float32)
    return np.asarray([*seen.min(axis=0), *seen.max(axis=0), 1], np.float32)
