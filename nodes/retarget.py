"""Retarget Poses: the motion of a pose sequence on another body."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from . import widgets
from .sockets.poses import PoseClip, PoseFrames, PoseKeypoint, canvas_inputs, canvas_of, poses_from_socket
from .sockets.sequence import clip_input, clip_outputs, clip_values, sequence_from_socket

METHODS = ("limbs", "affine", "none")
ASK = "set canvas_width and canvas_height to the size of the image"


class RetargetPoses(io.ComfyNode):
    """Retarget Poses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorRetarget",
            display_name="Retarget Poses",
            category=widgets.VIDEO_CATEGORY,
            description="Fits a pose sequence to the character in a reference: its position, its size and the length "
            "of its limbs. The result has the size of the reference image.",
            search_aliases=[*widgets.ALIASES, "align pose", "fit character", "bone length", "proportion", "reference"],
            inputs=[
                clip_input(),
                io.MultiType.Input(
                    "reference",
                    types=[PoseFrames, PoseClip, PoseKeypoint],
                    tooltip="The pose in the image of the character, from SDPose Annotator, Estimate Poses or a pose "
                    "editor. If it has several frames, the first one is used.",
                ),
                io.Combo.Input(
                    "method",
                    options=list(METHODS),
                    default="limbs",
                    tooltip="limbs: each limb gets the length of the reference's limb and keeps its motion. affine: "
                    "the whole body is moved and stretched. none: only the canvas changes.",
                ),
                io.Int.Input(
                    "person",
                    default=-1,
                    min=-1,
                    max=2**31 - 1,
                    tooltip="ID of the person to fit; -1 fits everybody to the reference.",
                ),
                io.Boolean.Input(
                    "feet_on_ground",
                    default=True,
                    tooltip="Put the feet where the reference's feet stand. Jumps are kept.",
                ),
                io.Boolean.Input(
                    "extend_canvas",
                    optional=True,
                    default=False,
                    tooltip="Extend the canvas beyond the reference image where the motion would leave it. The info "
                    "says where the reference image lies on it.",
                    advanced=True,
                ),
                *canvas_inputs("POSE_KEYPOINT"),
            ],
            outputs=clip_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        sequence: Any,
        reference: Any,
        method: str,
        person: int,
        feet_on_ground: bool,
        extend_canvas: bool = False,
        canvas_width: int = 0,
        canvas_height: int = 0,
    ) -> io.NodeOutput:
        from ..sdpose_core.retarget.fitting import AUTO, describe_canvas, retarget

        size = canvas_of(canvas_width, canvas_height)
        clip, notes = sequence_from_socket(sequence, size=size, ask=ASK)
        character, more = poses_from_socket(reference, size=size, ask=ASK)
        fitted = retarget(
            clip, character[0], method=method, person=None if person < 0 else person, feet=feet_on_ground,
            canvas=AUTO if extend_canvas else None,
        )  # fmt: skip
        canvas = describe_canvas(fitted)
        return clip_values(cls, fitted, 0.3, list(dict.fromkeys([*notes, *more, *([canvas] if canvas else [])])))
