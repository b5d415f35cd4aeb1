"""Pose maps for the downstream check: drawn from keypoints of any origin in one style, or used as given."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sdpose_core.drawing.pose_maps import draw_people, draw_poses
from sdpose_core.errors import InputError
from sdpose_core.images import read_image
from sdpose_core.oks import BODY_POINTS, body_sigmas, oks
from sdpose_core.openpose.order import OpenPosePerson
from sdpose_core.openpose.reader import read_openpose_json
from sdpose_core.openpose.writer import to_poses
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.sequences.cleaning import drawing_threshold
from sdpose_core.video.opening import open_video

KEYPOINT_ENDINGS = (".pose.npz", "_keypoints.json", ".json")
MAP_ENDINGS = ("_pose.png", ".png", ".jpg", ".webp")

_BOX_MARGIN = 0.1
"""Added on each side to the box in which a person is searched for."""


@dataclass(frozen=True, eq=False)
class Condition:
    """The pose map RGB uint8 (h, w, 3) for a picture; its poses in pixels of their canvas, or None.

    `drawn`: from keypoints at this size, not given as a picture. `origin`: where it came from, in words.
    """

    pose_map: np.ndarray
    poses: Poses | None
    origin: str
    drawn: bool


@dataclass(frozen=True)
class PoseFiles:
    """An estimator's files for a picture: keypoints, a pose map, or both."""

    keypoints: Path | None
    pose_map: Path | None


def find_pose_files(folder: Path, picture: Path, *, as_given: bool = False) -> PoseFiles:
    """The files of a picture's poses, by its stem or its full name, as `sdpose image` names them.

    Raises `InputError` if there are none; with `as_given`, if there is no map.
    """

    def first(endings: Sequence[str]) -> Path | None:
        paths = (folder / f"{name}{ending}" for ending in endings for name in (picture.name, picture.stem))
        return next((path for path in paths if path.is_file() and path.resolve() != picture.resolve()), None)

    files = PoseFiles(first(KEYPOINT_ENDINGS), first(MAP_ENDINGS))
    if files.pose_map is None and (as_given or files.keypoints is None):
        endings = MAP_ENDINGS if as_given else (*KEYPOINT_ENDINGS, *MAP_ENDINGS)
        tried = ", ".join(f"{picture.stem}{ending}" for ending in endings)
        raise InputError(
            f"no {'pose map' if as_given else 'poses'} of {picture.name} in {folder}: expected one of {tried}"
        )
    return files


def read_condition(
    files: PoseFiles, picture_size: tuple[int, int], size: tuple[int, int], *, style: str, threshold: float,
    as_given: bool = False,
) -> Condition:  # fmt: skip
    """The pose map of `size` (w, h), drawn from `.pose.npz` or OpenPose JSON, or given as a picture.

    Args:
        picture_size: (w, h) of the source picture, for JSON without a canvas size.
        style, threshold: for drawing, see `draw_poses`.
        as_given: use the given map even if there are keypoints.

    Raises `InputError` for files that are damaged, of another kind, or have several frames.
    """
    drawn, poses = None, None
    if files.keypoints is not None and files.keypoints.name.endswith(".pose.npz"):
        sequence = PoseSequence.load(files.keypoints)
        _one_frame(files.keypoints, len(sequence))
        poses = sequence.frame(0)
        drawn = draw_poses(poses, style=style, size=size, threshold=threshold)
    elif files.keypoints is not None:
        frames = read_openpose_json(files.keypoints, size=picture_size)
        _one_frame(files.keypoints, len(frames))
        poses = to_poses(frames[0])
        drawn = draw_people(_above(frames[0].people, threshold), frames[0].size, style=style, size=size)
    if files.pose_map is not None and (drawn is None or as_given):
        return Condition(resized(read_image(files.pose_map), size), poses, f"as given: {files.pose_map.name}", False)
    return Condition(drawn, poses, f"drawn: {files.keypoints.name}", True)


def _above(people: Sequence[OpenPosePerson], threshold: float) -> list[OpenPosePerson]:
    """The people without points below the threshold, which `draw_poses` leaves out too."""
    return [
        replace(
            each, **{part: np.where(points[:, 2:] >= threshold, points, 0) for part, points in each.parts().items()}
        )
        for each in people
    ]


def _one_frame(file: Path, count: int) -> None:
    if count != 1:
        raise InputError(f"{file} has {count} frames, expected the poses of one picture")


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (H, W, 3) resized to `size` (w, h), averaged if it shrinks."""
    import cv2

    if (image.shape[1], image.shape[0]) == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def pose_frames(path: Path, size: tuple[int, int], *, style: str, threshold: float) -> Iterator[np.ndarray]:
    """Frame by frame the pose maps of a `.pose.npz`, OpenPose JSON (a file or folder), or a pose video or folder.

    Frames of the source that a `.pose.npz` lacks are black. Maps drawn from keypoints have `size` (w, h).
    """
    if path.name.endswith(".pose.npz"):
        sequence = PoseSequence.load(path)
        threshold = drawing_threshold(sequence.meta, threshold)
        place = {int(index): t for t, index in enumerate(sequence.frame_index)}
        empty = Poses.empty(sequence.size, sequence.keypoint_set)
        for index in range(max(place, default=-1) + 1):
            poses = sequence.frame(place[index]) if index in place else empty
            yield draw_poses(poses, style=style, size=size, threshold=threshold)
    elif is_json(path):
        for frame in read_openpose_json(path, size=size):
            yield draw_people(_above(frame.people, threshold), frame.size, style=style, size=size)
    else:
        with open_video(path) as source:
            yield from (frame.image for frame in source.frames())


def is_json(path: Path) -> bool:
    """Whether this is an OpenPose JSON file or a folder with some."""
    return path.suffix.lower() == ".json" or (path.is_dir() and any(path.glob("*.json")))


def faithfulness(image: np.ndarray, poses: Poses, estimator, threshold: float) -> float | None:
    """How well a generated picture follows its poses: mean OKS of the people, 0..1, by the 17 body points.

    Each person is estimated in the box around their points, whose area is also that of the OKS. A point that is not
    found counts as missed.

    Args:
        image: RGB uint8 (h, w, 3), generated from `poses`.
        poses: coco_17 or coco_wholebody_133, on a canvas of any size.
        estimator: from `sdpose_core.load_estimator`.

    Returns None if nobody has two body points.
    """
    people = _body_points(poses, threshold) * np.divide(image.shape[1::-1], poses.size)
    people = people[np.isfinite(people).all(axis=2).sum(axis=1) >= 2]
    if not len(people):
        return None
    low, high = np.nanmin(people, axis=1), np.nanmax(people, axis=1)
    extent = np.maximum(high - low, 1)
    boxes = np.concatenate([low - _BOX_MARGIN * extent, high + _BOX_MARGIN * extent], axis=1)
    scores = []
    for person, box, area in zip(people, boxes, extent.prod(axis=1), strict=True):
        found = estimator.estimate([image], [box[None].astype(np.float32)])[0]
        points = _body_points(found, 0.0)[0] if len(found) else np.full_like(person, np.nan)
        missed = np.isfinite(person).all(axis=1) & ~np.isfinite(points).all(axis=1)
        points[missed] = 1e6
        scores.append(oks(person[None], points[None], area[None], body_sigmas("coco_17", BODY_POINTS))[0, 0])
    return float(np.mean(scores))


def _body_points(poses: Poses, threshold: float) -> np.ndarray:
    """(P, 17, 2) pixels of the canvas, NaN below the threshold."""
    if poses.keypoint_set not in ("coco_17", "coco_wholebody_133"):
        raise InputError(f"expected coco_17 or coco_wholebody_133 poses, got {poses.keypoint_set!r}")
    present = poses.scores[:, :BODY_POINTS, None] >= threshold
    return np.where(present, poses.keypoints[:, :BODY_POINTS], np.nan).astype(np.float64)
