"""Poses of SAM 3D Body, as ComfyUI's own nodes hand them over (MHR_POSE_DATA).

Its people have `pred_keypoints_2d` (70, 2), and in newer hosts `pred_face_keypoints_2d` (238, 2): together the 308
points of `openpose.goliath`. All are predicted, also where they are hidden, and have no scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import InputError
from ..images import as_array, as_numbers
from ..openpose.goliath import GOLIATH_COUNT, MHR_COUNT, whole_body_of_goliath
from ..pose_values import check_people, check_size
from ..poses import Poses, PoseSequence
from ..skeletons import COCO_WHOLEBODY_133
from ..tracking.frames import track_frames

SCORE = 1.0
"""Score of every point, as the source has none."""


def is_mhr(value: Any) -> bool:
    """Whether this is MHR_POSE_DATA: frames of people, and the size of the image."""
    return isinstance(value, Mapping) and "image_size" in value and isinstance(value.get("frames"), (list, tuple))


def poses_of_mhr(value: Mapping[str, Any]) -> list[Poses]:
    """The people of each frame as coco_wholebody_133, in pixels of the image.

    A person is known by the place in the list, which for tracks of SAM 3 is the number of the object; an object that is
    out of sight (its `mask` is empty) is nobody. Points that a person lacks are NaN.

    Raises `InputError` for people without `pred_keypoints_2d`, and for other numbers of points.
    """
    sides = as_numbers(value["image_size"], "image_size").reshape(-1)
    if len(sides) != 2 or not np.isfinite(sides).all():
        raise InputError(f"image_size: expected height and width, got {value['image_size']!r:.80}")
    size = check_size(sides[::-1].astype(np.int64))
    return [_frame(() if frame is None else frame, number, size) for number, frame in enumerate(value["frames"])]


def sequence_of_mhr(value: Mapping[str, Any], frame_rate: Fraction | None = None) -> PoseSequence:
    """The same as a sequence. People are tracked if the number of people differs between frames."""
    poses = poses_of_mhr(value)
    if not poses:
        raise InputError("SAM 3D Body: it has no frames: expected at least one")
    if len({len(frame or ()) for frame in value["frames"]}) == 1:
        return PoseSequence.from_poses(poses, frame_rate=frame_rate)
    return track_frames(poses, frame_rate)


def _frame(people: Any, number: int, size: tuple[int, int]) -> Poses:
    if not isinstance(people, (list, tuple)):
        raise InputError(f"frame {number}: expected a list of people, got {type(people).__name__}")
    check_people(len(people), f"frame {number}")
    found = {
        place: _points(person, f"frame {number}, person {place}")
        for place, person in enumerate(people)
        if not _out_of_sight(person)
    }
    if not found:
        return Poses.empty(size, COCO_WHOLEBODY_133.name)
    points = np.stack(list(found.values()))
    boxes = np.stack([_box(people[place], row) for place, row in zip(found, points, strict=True)])
    return Poses(points[..., :2], points[..., 2], boxes, size, COCO_WHOLEBODY_133.name, np.asarray(list(found)))


def _out_of_sight(person: Any) -> bool:
    mask = person.get("mask") if isinstance(person, Mapping) else None
    return mask is not None and not as_array(mask).any()


def _points(person: Any, place: str) -> np.ndarray:
    """(133, 3) x, y, score; NaN and 0 for absent points."""
    if not isinstance(person, Mapping) or person.get("pred_keypoints_2d") is None:
        found = f"keys {', '.join(map(str, person))}" if isinstance(person, Mapping) else type(person).__name__
        raise InputError(f"{place}: expected pred_keypoints_2d, got {found:.80}: connect the output of SAM 3D Body")
    body = as_numbers(person["pred_keypoints_2d"], f"{place}, pred_keypoints_2d")
    face = person.get("pred_face_keypoints_2d")
    parts = [(body, MHR_COUNT, "pred_keypoints_2d")]
    if face is not None:
        face = as_numbers(face, f"{place}, pred_face_keypoints_2d")
        parts.append((face, GOLIATH_COUNT - MHR_COUNT, "pred_face_keypoints_2d"))
    for array, count, name in parts:
        if array.ndim != 2 or array.shape[0] != count or array.shape[1] < 2:
            raise InputError(f"{place}, {name}: expected {count} points x, y, got shape {array.shape}")
    flat = np.concatenate([array[:, :2] for array, _, _ in parts])
    scores = np.where(np.isfinite(flat).all(axis=1), SCORE, 0)[:, None]
    points = whole_body_of_goliath(np.concatenate([flat, scores], axis=1))
    points[points[:, 2] <= 0] = (np.nan, np.nan, 0)
    return points


def _box(person: Mapping[str, Any], points: np.ndarray) -> np.ndarray:
    """(5,) x1, y1, x2, y2, score: the person's box, or that of the points."""
    if person.get("bbox") is not None:
        return np.asarray([*as_numbers(person["bbox"], "bbox").reshape(-1)[:4], SCORE])
    seen = points[points[:, 2] > 0, :2]
    return np.asarray([*seen.min(axis=0), *seen.max(axis=0), SCORE]) if len(seen) else np.zeros(5)
