"""Estimate Poses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from comfy_api.latest import io

from ..sdpose_core.annotate.images import estimate_people, fill_empty
from ..sdpose_core.errors import counted
from ..sdpose_core.estimation.options import EstimatorOptions
from ..sdpose_core.poses import Poses
from . import widgets
from .host.info import Stopwatch, no_boxes, node_ui
from .host.progress import Progress
from .sockets.boxes import FrameBoxes, boxes_from_socket
from .sockets.images import images_from_tensor, masks_from_tensor
from .sockets.poses import PoseModel, keypoints_output, keypoints_to_socket, poses_output

if TYPE_CHECKING:
    import torch


def estimate(
    estimator: Any,
    images: Sequence[np.ndarray],
    boxes: FrameBoxes,
    masks: Sequence[np.ndarray | None] | None = None,
) -> list[Poses]:
    """The poses in the boxes of each image, with the boxes' track IDs. Shows a progress bar and can be canceled."""
    people = boxes.people
    if masks is not None:
        people = [replace(own, masks=mask) for own, mask in zip(people, masks, strict=True)]
    return estimate_people(images, people, estimator, Progress(sum(len(own.boxes) for own in people)))


def fill_empty_frames(boxes: FrameBoxes, images: Sequence[np.ndarray], policy: str) -> FrameBoxes:
    """The boxes, with frames that have none filled as the policy (a value of the widget `if_nobody`) says."""
    people, filled = fill_empty(boxes.people, images, policy)
    count = len(filled)
    note = [f"no boxes in {counted(count, 'frame')}: used {policy} boxes"] if count else []
    return FrameBoxes(people, [*boxes.notes, *note])


class EstimatePoses(io.ComfyNode):
    """Estimate Poses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorEstimate",
            display_name="Estimate Poses",
            category=widgets.IMAGE_CATEGORY,
            description="Estimates the pose of the person in each box. People from many frames share a batch. A frame "
            "without boxes stays empty unless if_nobody says otherwise.",
            search_aliases=[
                *widgets.ESTIMATING,
                "estimate openpose",
                "estimate dwpose",
                "multi-person",
                "whole body",
                "hands",
                "face landmarks",
            ],
            inputs=[
                io.Image.Input("image", tooltip="One image or a batch of frames."),
                PoseModel.Input("model", tooltip="From Load SDPose Model."),
                widgets.boxes(
                    tooltip="Boxes around people, from Detect Persons, Boxes From ..., RT-DETR or any other node."
                ),
                io.Mask.Input(
                    "masks",
                    optional=True,
                    tooltip="One mask per box, frame by frame, from Boxes From ... Everything outside the mask is "
                    "blacked out, which keeps overlapping people apart.",
                ),
                widgets.threshold(),
                widgets.if_nobody(),
                widgets.crop(),
                widgets.flip_test(),
                widgets.batch_size(),
            ],
            outputs=[
                poses_output(),
                keypoints_output(),
                io.String.Output("info", tooltip="Model, device, number of people, speed, and warnings."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        model: Any,
        boxes: Any,
        threshold: float,
        if_nobody: str,
        crop: str,
        flip_test: bool,
        batch_size: int,
        masks: torch.Tensor | None = None,
    ) -> io.NodeOutput:
        images = images_from_tensor(image)
        given = boxes_from_socket(boxes, len(images), images[0].shape[1::-1])
        per_frame = masks_from_tensor(masks, [len(own.boxes) for own in given.people], images)
        given = fill_empty_frames(given, images, if_nobody)
        watch = Stopwatch()
        estimator = model.estimator(EstimatorOptions(batch_size=batch_size or None, flip_test=flip_test, crop=crop))
        poses = estimate(estimator, images, given, per_frame)
        nobody = no_boxes(sum(len(frame.boxes) for frame in given.people))
        info = watch.describe(poses, given.notes, nobody)
        return io.NodeOutput(poses, keypoints_to_socket(poses, threshold), info, ui=node_ui(info))
