"""Poses on ComfyUI's wires (SDPOSE_POSES, SDPOSE_SEQUENCE, POSE_KEYPOINT) to the library's types, and back.

Inputs are never modified.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ...sdpose_core.errors import InputError
from ...sdpose_core.poses import Poses
from ..host.info import few

if TYPE_CHECKING:
    from ...sdpose_core.openpose.reader import PoseKeypointFrame

PoseModel = io.Custom("SDPOSE_MODEL")
PoseFrames = io.Custom("SDPOSE_POSES")
PoseClip = io.Custom("SDPOSE_SEQUENCE")
PoseKeypoint = io.Custom("POSE_KEYPOINT")


def is_sequence(value: Any) -> bool:
    """Whether this is an SDPOSE_SEQUENCE. (With `sdpose_core` also installed by pip, its class may not be ours.)"""
    return hasattr(value, "frames") and hasattr(value, "track_ids")


def poses_from_socket(value: Any, *, swap_hands: bool = False) -> tuple[list[Poses], list[str]]:
    """SDPOSE_POSES, SDPOSE_SEQUENCE or POSE_KEYPOINT from any node -> the poses of each frame, and the reader's notes.

    Raises `InputError` for anything else, and for an empty list.
    """
    if is_sequence(value):
        return value.frames(), []
    if isinstance(value, (list, tuple)) and value and all(hasattr(frame, "keypoint_set") for frame in value):
        return list(value), []
    from ...sdpose_core.openpose.reader import read_pose_keypoint

    return poses_from_frames(read_pose_keypoint(value, swap_hands=swap_hands))


def poses_from_frames(frames: Sequence[PoseKeypointFrame]) -> tuple[list[Poses], list[str]]:
    """Frames from the tolerant reader -> poses of one keypoint set, and the reader's notes, each once."""
    from ...sdpose_core.openpose.writer import to_poses

    if not frames:
        raise InputError("poses: expected at least one frame, got an empty list")
    poses = [to_poses(frame) for frame in frames]
    if len({frame.keypoint_set for frame in poses}) > 1:
        poses = [to_poses(frame, "coco_wholebody_133") for frame in frames]
    return poses, few(note for frame in frames for note in frame.notes)


def keypoints_to_socket(poses: Sequence[Poses], threshold: float) -> list[dict[str, Any]]:
    """Poses of each frame -> POSE_KEYPOINT, in the form that built-in nodes and controlnet_aux read."""
    from ...sdpose_core.openpose.writer import to_pose_keypoint

    return to_pose_keypoint(poses, threshold)
