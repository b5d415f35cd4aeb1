"""OpenPose JSON, the interchange format: order of points, reader and writer."""

from .reader import PoseKeypointFrame, read_openpose_json, read_pose_keypoint
from .writer import clip_poses, to_openpose, to_pose_keypoint, to_poses, write_openpose_json

__all__ = [
    "PoseKeypointFrame", "clip_poses", "read_openpose_json", "read_pose_keypoint", "to_openpose", "to_pose_keypoint",
    "to_poses", "write_openpose_json",
]  # fmt: skip
