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

MAX_SIDE = 16384
"""Of images that are drawn, and of canvases."""


def poses_output() -> io.Output:
    return PoseFrames.Output(
        "poses",
        display_name="poses (this pack)",
        tooltip="All keypoints with scores, for the other nodes of this pack.",
    )


def sequence_output(
    tooltip: str = "Poses over time with IDs, for the other nodes of this pack.",
) -> io.Output:
    return PoseClip.Output("sequence", display_name="sequence (this pack)", tooltip=tooltip)


def keypoints_output(tooltip: str = "For built-in nodes, controlnet_aux and pose editors.") -> io.Output:
    return PoseKeypoint.Output("keypoints", display_name="POSE_KEYPOINT (other nodes)", tooltip=tooltip)


def swap_hands_input(
    tooltip: str = "Swap the left and right hands of a POSE_KEYPOINT. ComfyUI's built-in SDPose node and the community "
    "pack write them swapped.",
) -> io.Boolean.Input:
    return io.Boolean.Input("swap_hands", default=False, tooltip=tooltip, advanced=True)


def canvas_inputs(of: str) -> list[io.Int.Input]:
    """Width and height of the canvas, for poses that do not state it; 0 means none, see `canvas_of`."""
    return [
        io.Int.Input(
            f"canvas_{side}",
            optional=True,
            default=0,
            min=0,
            max=MAX_SIDE,
            tooltip=f"Image {side} in pixels, for {of} that does not state it, such as OpenPose's own.",
            advanced=True,
        )
        for side in ("width", "height")
    ]


def canvas_of(width: int, height: int) -> tuple[int, int] | None:
    """(w, h), or None unless both are set."""
    return (width, height) if width and height else None


def is_sequence(value: Any) -> bool:
    """Whether this is an SDPOSE_SEQUENCE. (With `sdpose_core` also installed by pip, its class may not be ours.)"""
    return hasattr(value, "frames") and hasattr(value, "track_ids")


ASK_CANVAS = "load it with Load Poses, and set canvas_width and canvas_height there"


def poses_from_socket(
    value: Any, *, swap_hands: bool = False, size: tuple[int, int] | None = None, ask: str = ASK_CANVAS
) -> tuple[list[Poses], list[str]]:
    """SDPOSE_POSES, SDPOSE_SEQUENCE or POSE_KEYPOINT from any node -> the poses of each frame, and the reader's notes.

    Args:
        size: (w, h) of the canvas, for POSE_KEYPOINT that does not state it.
        ask: what the error says to do if it is missing.

    Raises `InputError` for anything else, and for an empty list.
    """
    if is_sequence(value):
        return value.frames(), []
    if isinstance(value, (list, tuple)) and value and all(hasattr(frame, "keypoint_set") for frame in value):
        return list(value), []
    from ...sdpose_core.openpose.reader import read_pose_keypoint

    return poses_from_frames(read_pose_keypoint(value, swap_hands=swap_hands, size=size, ask=ask))


def poses_from_frames(frames: Sequence[PoseKeypointFrame]) -> tuple[list[Poses], list[str]]:
    """Frames from the tolerant reader -> poses of one keypoint set, and the reader's notes, each once."""
    from ...sdpose_core.openpose.writer import clip_poses

    if not frames:
        raise InputError("poses: expected at least one frame, got an empty list")
    return clip_poses(frames), few(note for frame in frames for note in frame.notes)


def keypoints_to_socket(poses: Sequence[Poses], threshold: float) -> Any:
    """Poses of each frame -> POSE_KEYPOINT, in the form that built-in nodes and controlnet_aux read.

    OpenPose has no points for a custom keypoint set: instead, something that stops the nodes connected to this output,
    with a message, and no others.
    """
    from ...sdpose_core.openpose.order import DRAWABLE
    from ...sdpose_core.openpose.writer import to_pose_keypoint

    if others := [frame.keypoint_set for frame in poses if frame.keypoint_set not in DRAWABLE]:
        from comfy_execution.graph_utils import ExecutionBlocker

        what = f"POSE_KEYPOINT has OpenPose's points, which {others[0]!r} does not have"
        return ExecutionBlocker(f"{what}: connect poses or sequence to the nodes of this pack instead")
    return to_pose_keypoint(poses, threshold)
