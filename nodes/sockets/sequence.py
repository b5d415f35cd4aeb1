"""SDPOSE_SEQUENCE: poses over time, with track IDs and a frame rate, on a wire."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from comfy_api.latest import io

from ...sdpose_core.errors import InputError, counted
from ...sdpose_core.poses import PoseSequence
from ..host.info import node_ui
from .poses import (
    PoseClip,
    PoseFrames,
    PoseKeypoint,
    is_sequence,
    keypoints_output,
    keypoints_to_socket,
    poses_from_socket,
    sequence_output,
)

FINEST = 1001
"""Denominator of the NTSC rates: the float 29.97 means 30000/1001."""


def clip_input(name: str = "sequence", **settings: Any) -> io.MultiType.Input:
    """Input for a pose sequence, or for frames of poses that become one."""
    tooltip = "From Track Poses, Annotate Video or Load Pose Sequence. Frames of poses are tracked first."
    return io.MultiType.Input(name, types=[PoseClip, PoseFrames, PoseKeypoint], **{"tooltip": tooltip, **settings})


FRAME_RATES = (0.0, 1000.0)


def frame_rate_input(**settings: Any) -> io.Float.Input:
    tooltip = "Frames per second of the source; 29.97 means 30000/1001. 0 means unknown."
    low, high = FRAME_RATES
    usual = {"default": 0.0, "min": low, "max": high, "step": 0.001, "tooltip": tooltip}
    return io.Float.Input("frame_rate", **{**usual, **settings})


def clip_outputs() -> list[io.Output]:
    return [
        sequence_output(),
        keypoints_output(tooltip="For built-in nodes, controlnet_aux and editors; with person_id."),
        io.String.Output("info", tooltip="Number of frames, people and their IDs, and notes."),
    ]


def rate_from_socket(frame_rate: float) -> Fraction | None:
    """Frames per second as a fraction; None for 0.

    A rate close to n x 1000/1001 (23.976, 29.97, 59.94) becomes exactly that. Raises `InputError` if it is negative.
    """
    if frame_rate < 0:
        raise InputError(f"frame_rate: expected frames per second, got {frame_rate}")
    if frame_rate == 0:
        return None
    ntsc = Fraction(round(frame_rate * 1.001) * 1000, FINEST)
    if frame_rate != round(frame_rate) and abs(float(ntsc) - frame_rate) < 0.005:
        return ntsc
    return Fraction(frame_rate).limit_denominator(FINEST)


def sequence_from_socket(value: Any, frame_rate: float = 0.0, **settings: Any) -> tuple[PoseSequence, list[str]]:
    """A sequence as it is; frames of poses or POSE_KEYPOINT are tracked, with a note. `settings`: `poses_from_socket`.

    Raises `InputError` for anything else.
    """
    if is_sequence(value):
        return value, []
    from ...sdpose_core.tracking.frames import track_frames

    poses, notes = poses_from_socket(value, **settings)
    return track_frames(poses, rate_from_socket(frame_rate)), [*notes, "people were tracked without images"]


def people_in(sequence: PoseSequence) -> int:
    """The number of people who are in any frame."""
    return len(ids_in(sequence))


def ids_in(sequence: PoseSequence) -> list[int]:
    """The IDs of the people who are in any frame, in order."""
    return sorted({int(track) for track in sequence.track_ids.ravel() if track >= 0})


def describe(sequence: PoseSequence, notes: Sequence[str], first: Sequence[str] = ()) -> str:
    """The first lines; frames, frame rate, how long each person is there; the notes, one per line."""
    ids = ids_in(sequence)
    rate = f" at {float(sequence.frame_rate):.6g} fps" if sequence.frame_rate else ""
    frames = [f"ID {track}: {counted(_frames_with(sequence, track), 'frame')}" for track in ids[:12]]
    more = [f"and {len(ids) - 12} more"] if len(ids) > 12 else []
    people = ", ".join([*frames, *more]) or "nobody"
    total = f"{counted(len(sequence), 'frame')}{rate}, {counted(len(ids), 'person', 'people')}"
    return "\n".join([*first, total, people, *notes])


def _frames_with(sequence: PoseSequence, track: int) -> int:
    return int((sequence.track_ids == track).any(axis=1).sum())


def clip_values(node: Any, sequence: PoseSequence, threshold: float, notes: list[str]) -> io.NodeOutput:
    """What `clip_outputs` declares."""
    info = describe(sequence, notes)
    return io.NodeOutput(sequence, keypoints_to_socket(sequence.frames(), threshold), info, ui=node_ui(info))
