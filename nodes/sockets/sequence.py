"""SDPOSE_SEQUENCE: poses over time, with track ids and a frame rate, on a wire; and VIDEO."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from comfy_api.latest import io

from ...sdpose_core.errors import InputError
from ...sdpose_core.poses import PoseSequence
from .poses import PoseClip, PoseFrames, PoseKeypoint, is_sequence, keypoints_to_socket, poses_from_socket

FINEST = 1001
"""Denominator of the NTSC rates: 29.97 travels as a float and is 30000/1001."""


def clip_input(name: str = "sequence", **settings: Any) -> io.MultiType.Input:
    """A sequence, or frames of poses that become one."""
    tooltip = "From Track Poses, Annotate Video, Load Pose Sequence; or frames of poses, which are tracked first."
    return io.MultiType.Input(name, types=[PoseClip, PoseFrames, PoseKeypoint], **{"tooltip": tooltip, **settings})


def frame_rate_input(**settings: Any) -> io.Float.Input:
    tooltip = "Frames per second of the source; 29.97 and the like are taken as 30000/1001. 0: not known."
    return io.Float.Input(
        "frame_rate", **{"default": 0.0, "min": 0.0, "max": 1000.0, "step": 0.001, "tooltip": tooltip, **settings}
    )


def clip_outputs() -> list[io.Output]:
    return [
        PoseClip.Output("sequence", tooltip="Poses with ids over time, for our other nodes."),
        PoseKeypoint.Output("keypoints", tooltip="For core's, controlnet_aux's and editors' nodes; with person_id."),
        io.String.Output("info", tooltip="Frames, people and their ids, and what was done."),
    ]


def rate_from_socket(frame_rate: float) -> Fraction | None:
    """Frames per second as a fraction; None for 0.

    A rate that is meant as n x 1000/1001 (23.976, 29.97, 59.94) becomes that. Raises `InputError` for a negative one.
    """
    if frame_rate < 0:
        raise InputError(f"frame_rate: expected frames per second, got {frame_rate}")
    if frame_rate == 0:
        return None
    ntsc = Fraction(round(frame_rate * 1.001) * 1000, FINEST)
    if frame_rate != round(frame_rate) and abs(float(ntsc) - frame_rate) < 0.005:
        return ntsc
    return Fraction(frame_rate).limit_denominator(FINEST)


def sequence_from_socket(value: Any, frame_rate: float = 0.0) -> tuple[PoseSequence, list[str]]:
    """A sequence as it is; frames of poses, or POSE_KEYPOINT, tracked. Notes say what was done.

    Raises `InputError` for something else.
    """
    if is_sequence(value):
        return value, []
    from ...sdpose_core.tracking.frames import track_frames

    poses, notes = poses_from_socket(value)
    return track_frames(poses, rate_from_socket(frame_rate)), [*notes, "people were tracked without pictures"]


def describe(sequence: PoseSequence, notes: list[str]) -> str:
    """Frames, rate, who is there for how long; then the notes, one a line."""
    ids = sorted({int(track) for track in sequence.track_ids.ravel() if track >= 0})
    rate = f" at {float(sequence.frame_rate):.6g} per second" if sequence.frame_rate else ""
    frames = [f"id {track}: {int((sequence.track_ids == track).any(axis=1).sum())} frames" for track in ids[:12]]
    more = [f"and {len(ids) - 12} more"] if len(ids) > 12 else []
    people = ", ".join([*frames, *more]) or "nobody"
    return "\n".join([f"{len(sequence)} frames{rate}, {len(ids)} people", people, *notes])


def clip_values(node: Any, sequence: PoseSequence, threshold: float, notes: list[str]) -> io.NodeOutput:
    """What `clip_outputs` declares."""
    from ..host.info import show_text

    info = describe(sequence, notes)
    show_text(node, info)
    return io.NodeOutput(sequence, keypoints_to_socket(sequence.frames(), threshold), info)
