"""Writes POSE_KEYPOINT and OpenPose JSON, and converts frames that were read to `Poses`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import atomic_write
from ..origins import with_mark
from ..poses import Poses
from . import order
from .order import OpenPosePerson, PointSource, gather, people_of_points, present_points
from .reader import PoseKeypointFrame

JSON_VERSION = 1.3
"""Version of OpenPose's JSON format."""

BODIES = ("openpose_18", "body_25")


def to_pose_keypoint(
    frames: Poses | Sequence[Poses], threshold: float = 0.3, scores: bool = False, body: str = "openpose_18"
) -> list[dict[str, Any]]:
    """ComfyUI's POSE_KEYPOINT: one dict per frame, see `to_openpose`."""
    frames = [frames] if isinstance(frames, Poses) else frames
    return [to_openpose(poses, threshold, scores, body) for poses in frames]


def to_openpose(
    poses: Poses, threshold: float = 0.3, scores: bool = False, body: str = "openpose_18"
) -> dict[str, Any]:
    """One frame as OpenPose's dict of plain lists and floats: the content of POSE_KEYPOINT and OpenPose JSON.

    Coordinates are pixels of the source picture. Every part is always present: pose 18 (or 25) points, face 70, hands
    21 each, feet 6, each x, y, 1.0, or 0, 0, 0.0 for an absent point. In addition a person has `sdpose`: the box (x1,
    y1, x2, y2, score), the threshold, and the scores of all points, including those below the threshold.

    Args:
        threshold: points with a lower score are absent.
        scores: write scores instead of 1.0. (controlnet_aux then drops every point below 1.)
        body: "openpose_18", which ComfyUI's tools expect, or "body_25".

    Raises:
        InputError: the keypoint set has no OpenPose form, or `body` is unknown.
    """
    if body not in BODIES:
        raise InputError(f"body: expected one of {', '.join(BODIES)}, got {body!r}")
    points = present_points(poses, 0.0)
    everybody = zip(people_of_points(poses, points), points, strict=True)
    w, h = poses.size
    return {
        "version": JSON_VERSION,
        "people": [_person(person, _parts(person, row, body), threshold, scores) for person, row in everybody],
        "canvas_width": w,
        "canvas_height": h,
    }


def write_openpose_json(
    path: str | Path,
    poses: Poses,
    threshold: float = 0.3,
    json_scores: bool = False,
    body: str = "openpose_18",
    *,
    mark: str = "",
) -> None:
    """Write one frame as an OpenPose JSON file, atomically; `mark` (see `origins.mark_text`) under a key of its own.

    The other arguments, and the errors, are those of `to_openpose`.
    """
    frame = to_openpose(poses, threshold, json_scores, body)
    frame = with_mark(frame, mark) if mark else frame
    with atomic_write(path, "w") as handle:
        json.dump(frame, handle, allow_nan=False)
        handle.write("\n")


def _parts(person: OpenPosePerson, points: np.ndarray, body: str) -> dict[str, np.ndarray]:
    """Part name -> (N, 3), with the body in the requested order; `points` (133, 3) in COCO-WholeBody's."""
    parts = person.parts()
    return parts if body == "openpose_18" else {**parts, "body": gather(points, order.BODY_25_FROM_COCO_WHOLEBODY_133)}


def _person(person: OpenPosePerson, parts: Mapping[str, np.ndarray], threshold: float, scores: bool) -> dict[str, Any]:
    entry: dict[str, Any] = {"person_id": [-1 if person.person_id is None else person.person_id]}
    for part, key in order.PART_KEYS.items():
        points = np.where(parts[part][:, 2:] >= threshold, parts[part], 0)
        if part == "face" and not points[:68, 2].any():  # eyes alone are not a face
            points[:] = 0
        if not scores:
            points[:, 2] = points[:, 2] > 0
        entry[key] = _floats(points)
    box = np.zeros(5) if person.box is None else np.nan_to_num(person.box)
    real = {order.PART_KEYS[part]: _floats(points[:, 2]) for part, points in parts.items()}
    entry["sdpose"] = {"box": _floats(box), "threshold": float(threshold), "scores": real}
    return entry


def _floats(array: np.ndarray) -> list[float]:
    """Floats with the fewest digits that round-trip to the same float32."""
    return [float(str(value)) for value in np.asarray(array, np.float32).ravel()]


def to_poses(frame: PoseKeypointFrame, keypoint_set: str | None = None) -> Poses:
    """A frame that was read as `Poses`, without the neck and without the eyes among the face points.

    Args:
        keypoint_set: "coco_17" or "coco_wholebody_133"; None: the whole body if any point beyond the body is present.

    Boxes come from the `sdpose` object, otherwise from the points (score 1). Track ids come from the file if every
    person has a unique one, otherwise they are 0, 1, ...
    """
    body_only = all(person.has_only_body() for person in frame.people)
    keypoint_set = keypoint_set or ("coco_17" if body_only else "coco_wholebody_133")
    if keypoint_set not in order.DRAWABLE:
        raise InputError(f"keypoint set: expected coco_17 or coco_wholebody_133, got {keypoint_set!r}")
    meta = {"source": "POSE_KEYPOINT", "notes": list(frame.notes)}
    if not frame.people:
        return Poses.empty(frame.size, keypoint_set, meta)
    count = 17 if keypoint_set == "coco_17" else 133
    points = np.stack([_coco_points(person)[:count] for person in frame.people])
    keypoints, scores = points[..., :2], points[..., 2]
    boxes = np.stack([_box(person, row) for person, row in zip(frame.people, keypoints, strict=True)])
    ids = [person.person_id for person in frame.people]
    track_ids = np.arange(len(ids)) if None in ids or len(set(ids)) < len(ids) else np.array(ids)
    return Poses(keypoints, scores, boxes, frame.size, keypoint_set, track_ids, meta)


def clip_poses(frames: Sequence[PoseKeypointFrame]) -> list[Poses]:
    """Frames that were read as `Poses` of one keypoint set: the whole body if any frame has more than the body."""
    poses = [to_poses(frame) for frame in frames]
    if len({frame.keypoint_set for frame in poses}) > 1:
        poses = [to_poses(frame, "coco_wholebody_133") for frame in frames]
    return poses


def _coco_points(person: OpenPosePerson) -> np.ndarray:
    """(133, 3) COCO-WholeBody x, y, score; x and y of absent points NaN."""
    points = np.zeros((133, 3), np.float32)
    tables: dict[str, list[PointSource]] = {
        "body": list(order.OPENPOSE_18_FROM_COCO_17.values()),
        "feet": list(order.FEET_FROM_COCO_WHOLEBODY_133.values()),
        "face": list(order.FACE_70_FROM_COCO_WHOLEBODY_133.values())[:68],
        "left_hand": list(order.LEFT_HAND_FROM_COCO_WHOLEBODY_133),
        "right_hand": list(order.RIGHT_HAND_FROM_COCO_WHOLEBODY_133),
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
