"""Pose maps for the downstream check: drawn alike from keypoints of any origin, or taken as the pictures they are."""

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
"""Of the box in which a person is looked for again, on each side."""


@dataclass(frozen=True, eq=False)
class Condition:
    """What a picture is made from.

    Attributes:
        pose_map: RGB uint8 (h, w, 3).
        poses: the keypoints in pixels of their own canvas; None where there is only a map.
        origin: where it came from, in words.
        drawn: by us, at this size; else a picture of a map.
    """

    pose_map: np.ndarray
    poses: Poses | None
    origin: str
    drawn: bool


@dataclass(frozen=True)
class PoseFiles:
    """What an estimator's folder has of a picture: keypoints, a pose map, or both."""

    keypoints: Path | None
    pose_map: Path | None


def find_pose_files(folder: Path, picture: Path, *, as_given: bool = False) -> PoseFiles:
    """The files of a picture's poses; `sdpose image` keeps its extension in their names where stems collide.

    Args:
        as_given: a map is needed.

    Raises `InputError` if there is none, or none of the needed kind.
    """

    def first(endings: Sequence[str]) -> Path | None:
        names = (f"{name}{ending}" for ending in endings for name in (picture.name, picture.stem))
        paths = (folder / name for name in names)
        return next((path for path in paths if path.is_file() and path.resolve() != picture.resolve()), None)

    files = PoseFiles(first(KEYPOINT_ENDINGS), first(MAP_ENDINGS))
    if files.pose_map is None and (as_given or files.keypoints is None):
        endings = MAP_ENDINGS if as_given else (*KEYPOINT_ENDINGS, *MAP_ENDINGS)
        tried = ", ".join(f"{picture.stem}{ending}" for ending in endings)
        raise InputError(f"no {'pose map' if as_given else 'poses'} of {picture.name} in {folder}: looked for {tried}")
    return files


def read_condition(
    files: PoseFiles,
    picture_size: tuple[int, int],
    size: tuple[int, int],
    *,
    style: str,
    threshold: float,
    as_given: bool = False,
) -> Condition:
    """The pose map of `size` (w, h), drawn from `.pose.npz` or OpenPose JSON of any origin, or a picture of a map.

    Args:
        picture_size: (w, h) of the source picture, for JSON that does not say its canvas.
        style, threshold: see `draw_poses`; of no use to a map.
        as_given: take the map, though there are keypoints.

    Raises `InputError`: damaged, of another kind, or of several frames.
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
    """The people without points of a lower score, as `draw_poses` leaves them out: estimators are drawn alike."""
    return [
        replace(one, **{name: np.where(points[:, 2:] >= threshold, points, 0) for name, points in one.parts().items()})
        for one in people
    ]


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
