"""SDPose Annotator: image in, pose map out, in one node."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..sdpose_core.annotate.images import FramePeople
from ..sdpose_core.detection.people import MIN_PERSON_SCORE
from ..sdpose_core.drawing.canvas import place, place_picture
from ..sdpose_core.drawing.styles import check_style_of
from ..sdpose_core.estimation.options import EstimatorOptions
from . import detect, widgets
from .draw import canvas_size, draw
from .estimate import estimate, fill_empty_frames
from .host.info import Stopwatch, no_boxes, nobody_found, node_ui, not_sdpose, preview
from .host.model import PreviewModel
from .sockets.boxes import FrameBoxes, boxes_from_socket, boxes_to_socket
from .sockets.images import images_from_tensor, tensor_from_images
from .sockets.poses import PoseModel, keypoints_output, keypoints_to_socket, poses_output

if TYPE_CHECKING:
    import torch


class Annotate(io.ComfyNode):
    """SDPose Annotator."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotator",
            display_name="SDPose Annotator",
            category=widgets.IMAGE_CATEGORY,
            description="Image in, pose map out: finds the people, estimates their poses and draws them for "
            "ControlNet. With Load SDPose Model it runs SDPose; without a model, the small preview model of this pack.",
            search_aliases=[
                *widgets.ESTIMATING,
                "openpose",
                "dwpose",
                "multi-person",
                "controlnet pose",
                "pose map",
                "anime pose",
            ],
            inputs=[
                io.Image.Input("image", tooltip="One image or a batch of frames."),
                PoseModel.Input(
                    "model", optional=True, tooltip="From Load SDPose Model. Not connected: the preview model."
                ),
                widgets.boxes(
                    optional=True,
                    tooltip="Boxes around people, from another node. Not connected: the detector below finds them.",
                ),
                widgets.style(),
                widgets.parts(),
                widgets.threshold(),
                io.Combo.Input(
                    "background",
                    options=["black", "picture"],
                    default="black",
                    tooltip="black for ControlNet; picture to check the poses on top of the image.",
                ),
                detect.detector_input(),
                detect.threshold_input("detect_threshold"),
                detect.max_people_input(),
                widgets.if_nobody(),
                widgets.crop(),
                widgets.flip_test(),
                widgets.batch_size(),
                *widgets.canvas(optional=True, advanced=True),
                widgets.line_width(),
                detect.min_person_score_input(),
            ],
            outputs=[
                io.Image.Output(
                    "pose_map",
                    tooltip="For ControlNet: one image per frame, the size of the input unless you set another.",
                ),
                keypoints_output(),
                io.BoundingBox.Output("boxes", tooltip="A box for each person, per frame."),
                io.String.Output("info", tooltip="Model, device, number of people, and speed."),
                poses_output(),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def fingerprint_inputs(cls, detector: str, **_others: Any) -> tuple[float, int] | None:
        """Run again after the detector's file is replaced."""
        return detect.detector_stamp(detector)

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        style: str,
        parts: str,
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
        width: int = 0,
        height: int = 0,
        fit: str = "pad",
        line_width: float = 0.0,
        min_person_score: float = MIN_PERSON_SCORE,
    ) -> io.NodeOutput:
        watch = Stopwatch()
        images = images_from_tensor(image)
        if boxes is None:
            limits = detect.detector_options(detect_threshold, max_people, min_person_score=min_person_score)
            found = detect.find_people(detect.load(detector, limits), images)
            given = FrameBoxes([FramePeople(image.boxes) for image in found], detect.how_found(found))
        else:
            given = boxes_from_socket(boxes, len(images), images[0].shape[1::-1])
        given = fill_empty_frames(given, images, if_nobody)
        options = EstimatorOptions(batch_size=batch_size or None, flip_test=flip_test, crop=crop)
        estimator = (model or PreviewModel()).estimator(options)
        check_style_of(style, estimator.keypoint_set)
        poses = estimate(estimator, images, given)
        size = canvas_size(poses[0], width, height)
        shown = [place_picture(i, size, fit) for i in images] if background == "picture" else [None] * len(images)
        placed = [frame if frame.size == size else place(frame, size, fit) for frame in poses]
        maps = draw(
            placed, shown, style=style, parts=widgets.PARTS[parts], threshold=threshold, line_width=line_width or None
        )
        people = sum(len(frame.boxes) for frame in given.people)
        nobody = nobody_found(people) if boxes is None else no_boxes(people)
        info = watch.describe(poses, given.notes, [*nobody, *not_sdpose(model)])
        result = tensor_from_images(maps)
        ids = [None if own.track_ids is None else p.track_ids for own, p in zip(given.people, poses, strict=True)]
        keypoints, rows = keypoints_to_socket(poses, threshold), boxes_to_socket([p.boxes for p in poses], ids)
        return io.NodeOutput(result, keypoints, rows, info, poses, ui=node_ui(info, preview(cls, result)))
