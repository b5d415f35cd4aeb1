"""Preset Pose, Interpolate Poses: poses that no picture shows."""

from __future__ import annotations

from typing import Any

from comfy_api.latest import io

from ..sdpose_core.presets import PRESETS
from ..sdpose_core.retarget.inbetween import EASINGS, MATCHES, WAYS
from . import widgets
from .host.info import preview
from .select import pose_outputs, pose_values, poses_input
from .sockets.images import tensor_from_images
from .sockets.poses import MAX_SIDE, poses_from_socket
from .sockets.sequence import clip_outputs, clip_values, frame_rate_input, rate_from_socket


class PosePreset(io.ComfyNode):
    """Preset Pose."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorPreset",
            display_name="Preset Pose",
            category=widgets.IMAGE_CATEGORY,
            description="A ready-made pose, seen from any side: for an image without a source picture, or as the start "
            "and end of Interpolate Poses. Body, feet and hands; of the face nose, eyes and ears.",
            search_aliases=[*widgets.ALIASES, "pose library", "T-pose", "A-pose", "standing", "sitting", "walking"],
            inputs=[
                io.Combo.Input("pose", options=list(PRESETS), default=PRESETS[0], tooltip="Which pose."),
                *(
                    io.Int.Input(
                        side,
                        default=default,
                        min=64,
                        max=MAX_SIDE,
                        step=8,
                        tooltip=f"{side.title()} of the canvas in pixels.",
                    )
                    for side, default in (("width", 512), ("height", 768))
                ),
                io.Int.Input(
                    "turn",
                    default=0,
                    min=-180,
                    max=180,
                    tooltip="Degrees the person turns. 0 faces you, 90 the right edge, -90 the left edge, 180 is seen "
                    "from behind.",
                ),
                io.Boolean.Input("mirror", default=False, tooltip="Swap left and right."),
                io.Float.Input(
                    "size",
                    default=0.8,
                    min=0.1,
                    max=1.0,
                    step=0.01,
                    tooltip="Height of a standing person as a share of the canvas. All poses have the same scale, "
                    "unless they would not fit.",
                ),
            ],
            outputs=pose_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(cls, pose: str, width: int, height: int, turn: int, mirror: bool, size: float) -> io.NodeOutput:
        from ..sdpose_core.drawing.pose_maps import draw_poses
        from ..sdpose_core.presets import preset

        made = preset(pose, (width, height), turn=turn, mirror=mirror, share=size)
        shown = preview(cls, tensor_from_images([draw_poses(made)]))
        return pose_values(cls, [made], 0.3, [f"{pose}, {width} x {height}"], media=shown)


class InterpolatePoses(io.ComfyNode):
    """Interpolate Poses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorInterpolate",
            display_name="Interpolate Poses",
            category=widgets.VIDEO_CATEGORY,
            description="The poses between two poses, as a pose sequence that begins with the first and ends with the "
            "last. A person who is in only one of them is shown in the half of the frames next to it.",
            search_aliases=[*widgets.ALIASES, "in-between", "tween", "keyframes", "pose animation", "blend poses"],
            inputs=[
                poses_input("first", tooltip="The pose to start from; of several frames, the last one."),
                poses_input("last", tooltip="The pose to end with; of several frames, the first one."),
                io.Int.Input("frames", default=17, min=2, max=10000, tooltip="Number of frames, both poses included."),
                io.Combo.Input(
                    "easing",
                    options=list(EASINGS),
                    default="smooth",
                    tooltip="linear: at an even speed. smooth: slow at both ends. slow start, slow end: slow at one.",
                ),
                io.Combo.Input(
                    "way",
                    options=list(WAYS),
                    default=WAYS[0],
                    tooltip="arcs: limbs turn about their joints and keep their lengths. straight lines: each keypoint "
                    "takes the shortest way, and limbs shrink while they turn.",
                ),
                io.Combo.Input(
                    "match",
                    options=list(MATCHES),
                    default=MATCHES[0],
                    tooltip="How people in the two poses are matched. position: the nearest. ID: the same ID.",
                ),
                frame_rate_input(tooltip="Frames per second of the result; 0 means unknown.", advanced=True),
            ],
            outputs=clip_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, first: Any, last: Any, frames: int, easing: str, way: str, match: str, frame_rate: float
    ) -> io.NodeOutput:
        from ..sdpose_core.drawing.canvas import place
        from ..sdpose_core.poses import PoseSequence
        from ..sdpose_core.retarget.inbetween import in_betweens

        (starts, notes), (ends, more) = poses_from_socket(first), poses_from_socket(last)
        start, end = starts[-1], ends[0]
        if end.size != start.size:
            notes = [*notes, "last is {} x {}: fitted into {} x {}".format(*end.size, *start.size)]
            end = place(end, start.size)
        poses = in_betweens(start, end, frames, easing=easing, way=way, match=match)
        clip = PoseSequence.from_poses(poses, frame_rate=rate_from_socket(frame_rate))
        return clip_values(cls, clip, 0.3, [*notes, *more])
