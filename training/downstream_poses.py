"""Pose maps for the downstream check: drawn alike from keypoints of any origin, or taken as the pictures they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from sdpose_core.drawing import draw_people, draw_poses
from sdpose_core.errors import InputError
from sdpose_core.images import read_image
from sdpose_core.oks import BODY_POINTS, body_sigmas, oks
from sdpose_core.openpose import read_openpose_json, to_poses
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.smoothing import drawing_threshold

KEYPOINT_ENDINGS = (".pose.npz", "_keypoints.json", ".json")
MAP_ENDINGS = ("_pose.png", ".png", ".jpg", ".webp")

_BOX_MARGIN = 0.1
"""Of the box in which a person is looked for again, on each side."""


@dataclass(frozen=True, eq=False)
class Condition:
    """What a picture is made from.

    Attributes:
        pose_map: RGB uint8 (h, w, 3).
        poses: the keypoints in pixels of their own canvas; None where only a map was given.
        file: where it came from.
    """

    pose_map: np.ndarray
    poses: Poses | None
    file: Path


def pose_file(folder: Path, picture: Path) -> Path:
    """The file of a picture's poses: keypoints before maps. `sdpose image` keeps the extension where stems collide.

    Raises `InputError` if there is none.
    """
    for ending in (*KEYPOINT_ENDINGS, *MAP_ENDINGS):
        for name in (picture.name, picture.stem):
            path = folder / f"{name}{ending}"
            if path.is_file() and path.resolve() != picture.resolve():
                return path
    stem = picture.stem
    tried = ", ".join(f"{stem}{ending}" for ending in (*KEYPOINT_ENDINGS, *MAP_ENDINGS))
    raise InputError(f"no poses of {picture.name} in {folder}: looked for {tried}")


def read_condition(
    file: Path, picture_size: tuple[int, int], size: tuple[int, int], *, style: str, threshold: float
) -> Condition:
    """The pose map of `size` (w, h) from a `.pose.npz`, OpenPose JSON of any origin, or a pose map as a picture.

    Args:
        picture_size: (w, h) of the source picture, for JSON that does not say its canvas.
        style, threshold: see `draw_poses`; of no use to a map.

    Raises `InputError`: damaged, of another kind, or of several frames.
    """
    if file.name.endswith(".pose.npz"):
        sequence = PoseSequence.load(file)
        _one_frame(file, len(sequence))
        poses = sequence.frame(0)
        return Condition(draw_poses(poses, style=style, size=size, threshold=threshold), poses, file)
    if file.suffix.lower() == ".json":
        frames = read_openpose_json(file, size=picture_size)
        _one_frame(file, len(frames))
        drawn = draw_people(frames[0].people, frames[0].size, style=style, size=size)
        return Condition(drawn, to_poses(frames[0]), file)
    return Condition(resized(read_image(file), size), None, file)


def _one_frame(file: Path, count: int) -> None:
    if count != 1:
        raise InputError(f"{file} has {count} frames, expected the poses of one picture")


def resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A picture (H, W, 3) at `size` (w, h), averaged where it shrinks."""
    import cv2

    if (image.shape[1], image.shape[0]) == size:
        return image
    shrinks = size[0] * size[1] < image.shape[0] * image.shape[1]
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC)


def pose_frames(path: Path, size: tuple[int, int], *, style: str, threshold: float) -> Iterator[np.ndarray]:
    """Frame by frame the pose maps of a `.pose.npz`, of OpenPose JSON (a file or folder), or of a pose video or folder.

    A `.pose.npz` gives black where the source has a frame and it has none. Maps that are drawn have `size` (w, h).
    """
    from sdpose_core.video import open_video

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
            yield draw_people(frame.people, frame.size, style=style, size=size)
    else:
        with open_video(path) as source:
            yield from (frame.image for frame in source.frames())


def is_json(path: Path) -> bool:
    """Whether these are OpenPose's files: one, or a folder of them."""
    return path.suffix.lower() == ".json" or (path.is_dir() and any(path.glob("*.json")))


def faithfulness(image: np.ndarray, poses: Poses, estimator, threshold: float) -> float | None:
    """How well a generated picture follows its poses: mean OKS, 0..1, of the 17 body points over the people.

    Each person is looked for in the box of their own points; a point that is not found counts as missed. The area is
    that of this box.

    Args:
        image: RGB uint8 (h, w, 3), the picture made from `poses`.
        poses: coco_17 or coco_wholebody_133, on a canvas of any size.
        estimator: as `sdpose_core.load_estimator` gives.

    Returns None if nobody has at least two points of the body.
    """
    wanted = _body_points(poses, threshold) * np.divide(image.shape[1::-1], poses.size)
    wanted = wanted[np.isfinite(wanted).all(axis=2).sum(axis=1) >= 2]
    if not len(wanted):
        return None
    low, high = np.nanmin(wanted, axis=1), np.nanmax(wanted, axis=1)
    extent = np.maximum(high - low, 1)
    boxes = np.concatenate([low - _BOX_MARGIN * extent, high + _BOX_MARGIN * extent], axis=1)
    scores = []
    for person, box, area in zip(wanted, boxes, extent.prod(axis=1), strict=True):
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
