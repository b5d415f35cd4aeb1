"""Face Crops for Wan-Animate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from . import widgets
from .host.info import clip_preview, node_ui
from .host.progress import each_frame
from .select import EACH, ONE, chosen_people
from .sockets.boxes import boxes_to_socket
from .sockets.images import images_from_tensor, tensor_from_images
from .sockets.sequence import clip_input, sequence_from_socket

if TYPE_CHECKING:
    import numpy as np
    import torch

    from ..sdpose_core.poses import PoseSequence


class FaceCrops(io.ComfyNode):
    """Face Crops for Wan-Animate."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorFaceCrops",
            display_name="Face Crops for Wan-Animate",
            category=widgets.VIDEO_CATEGORY,
            description="Crops faces from every frame, as a steady square: the face video for Wan-Animate. "
            "While the face is turned away, the crop stays in place; before the face first appears, it is black.",
            search_aliases=[*widgets.ALIASES, "face video", "face bbox", "Wan Animate", "crop face"],
            inputs=[
                io.Image.Input("image", tooltip="The frames of the driving video."),
                clip_input(tooltip="The pose sequence of the same frames."),
                io.Int.Input(
                    "person", default=-1, min=-1, max=2**31 - 1, tooltip="The person's ID; -1 picks the best score."
                ),
                io.Int.Input(
                    "size", default=512, min=64, max=2048, step=64, tooltip="Pixels per side. Wan-Animate uses 512."
                ),
                io.Float.Input(
                    "smooth",
                    default=0.2,
                    min=0.0,
                    max=5.0,
                    step=0.05,
                    tooltip="The position is averaged over this many seconds before and after each frame.",
                    advanced=True,
                ),
                widgets.threshold(),
                io.Combo.Input(
                    "people",
                    optional=True,
                    options=[ONE, EACH],
                    default=ONE,
                    tooltip="one person: the one set in person. each person: a list with the faces of every person in "
                    "turn, by ID; the nodes after this one run once per person.",
                ),
            ],
            outputs=[
                io.Image.Output(
                    "faces", is_output_list=True, tooltip="One square image per frame; for each person, a list of them."
                ),
                io.BoundingBox.Output(
                    "boxes",
                    is_output_list=True,
                    tooltip="Where the face is, per frame; empty before it first appears.",
                ),
                io.String.Output("info", tooltip="For each person the ID and the number of frames with a face."),
                io.Int.Output(
                    "ids",
                    is_output_list=True,
                    tooltip="The ID of each person, for number in Select Person and person in Person Masks.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        image: torch.Tensor,
        sequence: Any,
        person: int,
        size: int,
        smooth: float,
        threshold: float,
        people: str = ONE,
    ) -> io.NodeOutput:
        from ..sdpose_core.errors import InputError, counted

        images = images_from_tensor(image)
        clip, notes = sequence_from_socket(sequence, size=images[0].shape[1::-1])
        if len(images) != len(clip):
            raise InputError(f"frames: {len(clip)} in sequence, {len(images)} in image: connect the same frames")
        wanted = chosen_people(clip, person, people == EACH)
        results = [_face_of(images, clip, track, size, smooth, threshold) for track in wanted.values()]
        faces, boxes, seen = (list(values) for values in zip(*results, strict=True))
        frames = counted(len(clip), "frame")
        lines = [f"{who}: a face in {number} of {frames}" for who, number in zip(wanted, seen, strict=True)]
        info = "\n".join([*lines, *notes])
        shown = clip_preview(cls, [picture for batch in faces for picture in batch], clip.frame_rate)
        batches = [tensor_from_images(batch) for batch in faces]
        return io.NodeOutput(batches, boxes, info, list(wanted.values()), ui=node_ui(info, shown))


def _face_of(
    images: list[np.ndarray], clip: PoseSequence, track: int, size: int, smooth: float, threshold: float
) -> tuple[list[np.ndarray], list[Any], int]:
    """The crops of one person (-1: nobody), the box of each frame, and in how many frames there is a face."""
    import numpy as np

    from ..sdpose_core.exports.faces import face_boxes, face_crops

    boxes = face_boxes(clip, track, threshold=threshold, smooth_seconds=smooth)
    faces = list(face_crops(each_frame(images), boxes, size))
    found = np.isfinite(boxes).all(axis=1)
    rows = [np.append(box, 1.0)[None] if there else np.zeros((0, 5)) for box, there in zip(boxes, found, strict=True)]
    return faces, boxes_to_socket(rows), int(found.sum())
