"""SDPose Annotator: picture in, pose map out, in one node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..sdpose_core.annotate.images import FramePeople
from ..sdpose_core.estimation.options import EstimatorOptions
from . import detect, widgets
from .draw import draw
from .estimate import estimate, fill_empty_frames
from .host.info import Stopwatch, preview, show_text
from .host.model import PreviewModel
from .sockets.boxes import FrameBoxes, boxes_from_socket, boxes_to_socket
from .sockets.images import images_from_tensor, tensor_from_images
from .sockets.poses import PoseFrames, PoseKeypoint, PoseModel, keypoints_to_socket

if TYPE_CHECKING:
    import torch

NO_MODEL = "no model is connected: this is the 17-point preview, not SDPose; connect Load SDPose Model for the real one"


class Annotate(io.ComfyNode):
    """SDPose Annotator."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotator",
            display_name="SDPose Annotator",
            category=widgets.CATEGORY,
            description="Picture in, pose map out: finds the people, estimates their poses, draws them for ControlNet. "
            "Without a model it runs the small preview that comes with the pack; with Load SDPose Model it is SDPose.",
            search_aliases=[*widgets.ESTIMATING, "multi-person", "controlnet", "pose map", "anime pose"],
            essentials_category="Image Tools",
            inputs=[
                io.Image.Input("image", tooltip="One picture or a batch of frames."),
                PoseModel.Input(
                    "model", optional=True, tooltip="From Load SDPose Model. Not connected: the 17-point preview."
                ),
                widgets.boxes(
                    optional=True,
                    tooltip="People's boxes of another node. Not connected: the detector below finds the people.",
                ),
                widgets.style(),
                *widgets.part_switches(),
                widgets.threshold(),
                io.Combo.Input(
                    "background",
                    options=["black", "picture"],
                    default="black",
                    tooltip="black for ControlNet; picture to check the pose by eye.",
                ),
                detect.detector_input(),
                detect.threshold_input("detect_threshold"),
                detect.max_people_input(),
                widgets.if_nobody(),
                widgets.crop(),
                widgets.flip_test(),
                widgets.batch_size(),
            ],
            outputs=[
                io.Image.Output("pose_map", tooltip="For a ControlNet: one picture per frame, of the source's size."),
                PoseKeypoint.Output("keypoints", tooltip="For core's, controlnet_aux's and editors' nodes."),
                io.BoundingBox.Output("boxes", tooltip="Of the people, per frame."),
                io.String.Output("info", tooltip="Which model ran, where, how many people, how fast."),
                PoseFrames.Output("poses", tooltip="All points with their scores, for our other nodes."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, detector: str, **_others: Any) -> tuple[float, int] | None:
        """Run again when the detector's file was replaced."""
        return detect.detector_stamp(detector)

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        style: str,
        threshold: float,
        background: str,
        detector: str,
        detect_threshold: float,
        max_people: int,
        if_nobody: str,
        crop: str,
        flip_test: bool,
        batch_size: int,
        model: Any = None,
        boxes: Any = None,
        **switches: bool,
    ) -> io.NodeOutput:
        watch = Stopwatch()
        images = images_from_tensor(image)
        if boxes is None:
            finder = detect.load(detector, detect.detector_options(detect_threshold, max_people))
            given = FrameBoxes([FramePeople(rows) for rows in detect.find_people(finder, images)])
        else:
            given = boxes_from_socket(boxes, len(images))
        given = fill_empty_frames(given, images, if_nobody)
        options = EstimatorOptions(batch_size=batch_size or None, flip_test=flip_test, crop=crop)
        estimator = (model or PreviewModel()).estimator(options)
        poses = estimate(estimator, images, given)
        below = images if background == "picture" else [None] * len(images)
        maps = draw(poses, below, style=style, parts=widgets.chosen_parts(switches), threshold=threshold)
        info = watch.describe(poses, [*given.notes, *([NO_MODEL] if model is None else [])])
        show_text(cls, info)
        result = tensor_from_images(maps)
        ids = [None if own.track_ids is None else p.track_ids for own, p in zip(given.people, poses, strict=True)]
        keypoints, found = keypoints_to_socket(poses, threshold), boxes_to_socket([p.boxes for p in poses], ids)
        return io.NodeOutput(result, keypoints, found, info, poses, ui=preview(cls, result))
