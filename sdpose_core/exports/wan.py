"""Wan-Animate: the folder that its generator reads, and the pose metas of its preprocessing as JSON.

Rules of Wan-Video/Wan2.2: wan/animate.py reads src_pose.mp4, src_face.mp4 (512 by 512, as many frames) and src_ref.png
from one folder; a black face means none. Its preprocessing draws on the canvas of the reference picture at 1280x720
pixels or a little less, multiples of 16; clips have 4n+1 frames (77). A meta (pose2d_utils.py, and
kijai/ComfyUI-WanAnimatePreprocess in POSEDATA) has width, height and x, y as fractions of them with a third value:
keypoints_body (20: OpenPose-18, then the midpoints of the left and right toes), keypoints_left_hand and
keypoints_right_hand (21), keypoints_face (69: the right heel, then 68).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import atomic_write
from ..images import read_image, write_png
from ..openpose import order
from ..origins import MARK
from ..poses import Poses
from ..video.opening import open_video
from .faces import face_boxes, face_crops
from .profile import ExportJob, ExportProfile
from .streams import write_frames, write_list, write_pose_video

FACE_SIZE = 512

BODY_20_FROM_COCO_WHOLEBODY_133: dict[str, order.PointSource] = (
    dict(order.OPENPOSE_18_FROM_COCO_17) | {"left_toe": (17, 18), "right_toe": (20, 21)}
)  # fmt: skip
"""Wan-Animate's body: OpenPose's 18 and the midpoint of each foot's two toes."""

FACE_69 = (22, *range(23, 91))


def write(job: ExportJob) -> None:
    if job.video is not None and "retarget" in job.faces.meta:
        raise InputError(
            "the poses were fitted to a character: leave out the video, or give its own poses as face poses"
        )
    folder = job.out / f"{job.name}_wan"
    job.add(folder / "src_pose.mp4", lambda path: write_pose_video(path, job))
    job.add(folder / "src_face.mp4", lambda path: write_face_video(path, job))
    job.add(folder / "pose_metas.json", lambda path: write_metas(path, job))
    if (picture := job.reference_picture) is not None:
        job.add(folder / "src_ref.png", lambda path: write_png(path, read_image(picture), {MARK: job.mark()}))


def write_face_video(path: Path, job: ExportJob) -> None:
    """Face crops of the person from the source video; black without a face or a video."""
    size = (FACE_SIZE, FACE_SIZE)
    if job.video is None:
        job.result.note("no video was given: the face video is black, so the face is not animated")
        black = np.zeros((FACE_SIZE, FACE_SIZE, 3), np.uint8)
        write_frames(path, (black for _ in job.numbers()), size, job, "h264")
        return
    nearest = job.timeline.nearest
    boxes = _boxes(job)[nearest]
    if not np.isfinite(boxes).any():
        job.result.note("no face was found: the face video is black")
    frames = source_frames(job.video, job.faces.frame_index[nearest], job.faces.size)
    faces = face_crops(frames, (boxes[number] for number in job.numbers()), FACE_SIZE)
    write_frames(path, faces, size, job, "h264")


def _boxes(job: ExportJob) -> np.ndarray:
    """(T, 4) around the face of the person; the last box is kept while there is nobody."""
    shown, min_score = job.sequence.track_ids.max(axis=1, initial=-1).tolist(), job.min_score(job.faces)
    boxes, last = np.full((len(shown), 4), np.nan), np.full(4, np.nan)
    of_each = {key: face_boxes(job.faces, key, threshold=min_score) for key in set(shown) if key >= 0}
    for t, key in enumerate(shown):
        last = boxes[t] = of_each[key][t] if key >= 0 else last
    return boxes


def source_frames(video: Path, indices: np.ndarray, size: tuple[int, int]) -> Iterator[np.ndarray]:
    """The frames with these nondecreasing numbers, decoded once and one at a time.

    Raises `InputError` if the video differs in size (w, h) from the poses, or ends too early.
    """
    with open_video(video) as source:
        if tuple(source.info.size) != tuple(size):
            raise InputError(
                "{} is {} x {}, the poses are from {} x {}: give the video that they are from, or the video's own "
                "poses as face poses".format(video, *source.info.size, *size)
            )
        frames, current = source.frames(int(indices[0])), None
        for index in indices.tolist():
            while current is None or current.index < index:
                current = next(frames, None)
                if current is None:
                    raise InputError(f"{video} ends before frame {index} of the poses: is it another video?")
            yield current.image


def write_metas(path: Path, job: ExportJob) -> None:
    """`pose_metas`, one per frame, and `refer_pose_meta`, null without reference poses."""
    character = job.reference_poses() if job.reference is not None else None
    refer = pose_meta(character, job.min_score(character)) if character is not None else None
    with atomic_write(path, "w") as handle:
        handle.write(f'{{"refer_pose_meta": {json.dumps(refer)}, "pose_metas": ')
        write_list(handle, (pose_meta(poses, job.min_score(poses)) for poses in job.poses()))
        handle.write("}\n")


def pose_meta(poses: Poses, threshold: float) -> dict[str, Any]:
    """The first person of a frame as a meta; third values are 1 or 0 by the threshold, missing points 0, 0, 0."""
    w, h = poses.size
    points = np.zeros((133, 3))
    if len(poses):
        keypoints, scores = poses.keypoints[0], poses.scores[0]
        points[: len(scores), :2] = np.nan_to_num(keypoints / [w, h])
        points[: len(scores), 2] = np.isfinite(keypoints).all(-1) & (scores >= threshold) & (scores > 0)
    return {
        "width": w,
        "height": h,
        "keypoints_body": _rounded([_point(points, source) for source in BODY_20_FROM_COCO_WHOLEBODY_133.values()]),
        "keypoints_left_hand": _rounded(points[list(order.LEFT_HAND_FROM_COCO_WHOLEBODY_133)]),
        "keypoints_right_hand": _rounded(points[list(order.RIGHT_HAND_FROM_COCO_WHOLEBODY_133)]),
        "keypoints_face": _rounded(points[list(FACE_69)]),
    }


def _point(points: np.ndarray, source: order.PointSource) -> np.ndarray:
    """A point, or the midpoint of two, which counts only if both do."""
    if isinstance(source, int):
        return points[source]
    first, second = points[source[0]], points[source[1]]
    return np.array([*(first[:2] + second[:2]) / 2, min(first[2], second[2])])


def _rounded(rows: Any) -> list[list[float]]:
    return np.asarray(rows).round(9).tolist()


PROFILE = ExportProfile(
    tool="Wan-Animate", write=write, style="wan_animate", one_person=True, area=1280 * 720, multiple=16, fit="pad",
    files="NAME_wan/ src_pose.mp4, src_face.mp4, pose_metas.json; with a picture as --reference src_ref.png",
    frames="4n+1", frame_rate=Fraction(16), reference="picture",
)  # fmt: skip
