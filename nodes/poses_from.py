"""Convert Poses."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import widgets
from .host.info import node_ui
from .sockets.poses import (
    PoseKeypoint,
    canvas_inputs,
    canvas_of,
    keypoints_output,
    keypoints_to_socket,
    poses_from_socket,
    poses_output,
    sequence_output,
    swap_hands_input,
)
from .sockets.sequence import describe, frame_rate_input, rate_from_socket, sequence_from_socket


class PosesFrom(io.ComfyNode):
    """Convert Poses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorPosesFrom",
            display_name="Convert Poses",
            category=widgets.IMAGE_CATEGORY,
            description="Turns the poses of other nodes into poses of this pack: POSE_KEYPOINT, SAM 3D Body, the 308 "
            "points of Sapiens, and JSON text. Body, feet, hands and face, as far as the source has them.",
            search_aliases=[*widgets.ALIASES, "SAM 3D Body", "MHR", "Sapiens", "308 keypoints", "convert pose"],
            inputs=[
                io.MultiType.Input(
                    "source",
                    types=[PoseKeypoint, io.Custom("MHR_POSE_DATA"), io.String],
                    tooltip="POSE_KEYPOINT of any node, MHR_POSE_DATA, or the JSON of a pose tool as text.",
                ),
                frame_rate_input(),
                swap_hands_input(),
                *canvas_inputs("a source"),
            ],
            outputs=[
                poses_output(),
                sequence_output(),
                keypoints_output(),
                io.String.Output("info", tooltip="Number of frames, people and their IDs, and notes."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, source: Any, frame_rate: float, swap_hands: bool, canvas_width: int = 0, canvas_height: int = 0
    ) -> io.NodeOutput:
        from ..sdpose_core.imports.mhr import is_mhr, sequence_of_mhr
        from ..sdpose_core.texts import parse_json

        if is_mhr(source):
            clip, notes = sequence_of_mhr(source, rate_from_socket(frame_rate)), []
            poses = clip.frames()
        else:
            content = parse_json(source, "source", "the JSON of a pose tool") if isinstance(source, str) else source
            poses, found = poses_from_socket(
                content, swap_hands=swap_hands, size=canvas_of(canvas_width, canvas_height),
                ask="set canvas_width and canvas_height",
            )  # fmt: skip
            clip, notes = sequence_from_socket(poses, frame_rate)
            notes = [*found, *notes]
        info = describe(clip, notes)
        return io.NodeOutput(poses, clip, keypoints_to_socket(poses, 0.3), info, ui=node_ui(info))
