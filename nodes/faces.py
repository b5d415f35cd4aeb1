"""Face Crops for Wan-Animate."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from . import widgets
from .host.info import preview, show_text
from .host.progress import each_frame
from .sockets.boxes import boxes_to_socket
from .sockets.images import images_from_tensor, tensor_from_images
from .sockets.sequence import clip_input, sequence_from_socket

if TYPE_CHECKING:
    import torch


class FaceCrops(io.ComfyNode):
    """Face Crops for Wan-Animate."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorFaceCrops",
            display_name="Face Crops for Wan-Animate",
            category=widgets.VIDEO_CATEGORY,
            description="Crops one person's face from every frame, as a steady square: the face video for Wan-Animate. "
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
            ],
            outputs=[
                io.Image.Output("faces", tooltip="One square image per frame."),
                io.BoundingBox.Output("boxes", tooltip="Where the face is, per frame; empty before it first appears."),
                io.String.Output("info", tooltip="The person's ID, and the number of frames with a face."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, sequence: Any, person: int, size: int, smooth: float, threshold: float
    ) -> io.NodeOutput:
        import numpy as np

        from ..sdpose_core.errors import InputError, counted
        from ..sdpose_core.exports.faces import face_boxes, face_crops
        from ..sdpose_core.sequences.people import select_people

        images = images_from_tensor(image)
        clip, notes = sequence_from_socket(sequence, size=images[0].shape[1::-1])
        if len(images) != len(clip):
            raise InputError(f"frames: {len(clip)} in sequence, {len(images)} in image: connect the same frames")
        chosen = {"by": "best score"} if person < 0 else {"by": "id", "number": person}
        one = select_people(clip, **chosen, max_people=1)
        ids = one.track_ids[one.track_ids >= 0]
        track_id = int(ids[0]) if ids.size else -1
        boxes = face_boxes(clip, track_id, threshold=threshold, smooth_seconds=smooth)
        faces = tensor_from_images(list(face_crops(each_frame(images), boxes, size)))
        found = np.isfinite(boxes).all(axis=1)
        rows = [
            np.append(box, 1.0)[None] if there else np.zeros((0, 5)) for box, there in zip(boxes, found, strict=True)
        ]
        who = f"ID {track_id}" if ids.size else "nobody"
        info = "\n".join([f"{who}: a face in {int(found.sum())} of {counted(len(clip), 'frame')}", *notes])
        show_text(cls, info)
        return io.NodeOutput(faces, boxes_to_socket(rows), info, ui=preview(cls, faces))
