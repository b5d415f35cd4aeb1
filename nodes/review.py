"""Review Poses: what was corrected by hand on the review page, applied to the poses on the wire."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from . import widgets
from .host.corrections import CHOICES, Corrections
from .host.info import node_ui
from .host.reviews import REVIEWS
from .sockets.images import count_and_size
from .sockets.poses import PoseModel, keypoints_to_socket
from .sockets.sequence import clip_input, clip_outputs, describe, sequence_from_socket

if TYPE_CHECKING:
    import torch


class ReviewPoses(io.ComfyNode):
    """Review Poses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorReview",
            display_name="Review Poses",
            category=widgets.VIDEO_CATEGORY,
            description="Opens the poses in an editor that shows the most doubtful frames first: move, delete and "
            "swap points by hand. Corrections are kept and applied again in every run.",
            search_aliases=[*widgets.ALIASES, "pose editor", "edit pose", "correct keypoints", "fix pose"],
            inputs=[
                clip_input(),
                io.Combo.Input(
                    "when_source_changed",
                    options=list(CHOICES),
                    default=CHOICES[0],
                    tooltip="What to do when other poses arrive than those you corrected. apply the corrections again: "
                    "if the number and size of the frames are the same. start over: with no corrections. stop: with "
                    "a message. Earlier corrections are kept and return with their poses.",
                ),
                io.String.Input(
                    "corrections",
                    default="",
                    tooltip="Name under which ComfyUI keeps the corrections. Filled in by itself; nodes with the same "
                    "name share corrections of the same poses.",
                    advanced=True,
                ),
                io.Image.Input(
                    "image", optional=True, tooltip="The frames, to show behind the poses. Use this or video."
                ),
                io.Video.Input(
                    "video", optional=True, tooltip="The video, to show behind the poses. Use this or image."
                ),
                PoseModel.Input(
                    "model",
                    optional=True,
                    tooltip="From Load SDPose Model, to estimate a person again while reviewing. Without it, the "
                    "preview model does that.",
                ),
            ],
            outputs=clip_outputs(),
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, corrections: str | None, **_others: Any) -> str | None:
        """Run again after something was corrected."""
        return None if corrections is None else Corrections(corrections).stamp()  # None: it comes by wire

    @classmethod
    def execute(
        cls,
        sequence: Any,
        when_source_changed: str,
        corrections: str,
        image: torch.Tensor | None = None,
        video: Any = None,
        model: Any = None,
    ) -> io.NodeOutput:
        from ..sdpose_core.sequences.distrust import with_distrust

        size = None if image is None else count_and_size(image)[1]
        clip, notes = sequence_from_socket(sequence, size=size, ask="connect the image")
        clip = clip if clip.distrust is not None else with_distrust(clip)
        kept, node = Corrections(corrections), str(cls.hidden.unique_id)
        corrected = kept.corrected(clip, node, when_source_changed)
        wires = {"image": image, "video": video, "model": model}
        REVIEWS.remember(kept, node, clip, **wires, notes=corrected.changes)
        info = "\n".join([*corrected.describe(), describe(corrected.sequence, notes)])
        keypoints = keypoints_to_socket(corrected.sequence.frames(), 0.3)
        return io.NodeOutput(corrected.sequence, keypoints, info, ui=node_ui(info))
