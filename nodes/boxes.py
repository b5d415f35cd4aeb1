"""Boxes From ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from .host.info import show_text, tally
from .sockets.box_sources import BBOX_FORMATS, MASK_MEANINGS, SOURCE_TYPES, filled_masks, people_of
from .sockets.boxes import boxes_to_socket
from .sockets.images import tensor_from_masks
from .widgets import ALIASES, CATEGORY

if TYPE_CHECKING:
    import torch


class BoxesFrom(io.ComfyNode):
    """Boxes From ..."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorBoxesFrom",
            display_name="Boxes From ...",
            category=CATEGORY,
            description="People's boxes out of what other nodes give: BBOX, SEGS, masks, SAM 3 tracks, poses, SAM 3D "
            "Body. One list per frame, in the order of the source; objects of a track keep their id.",
            search_aliases=[*ALIASES, "bbox", "segs", "mask to bbox", "sam3 track", "bounding box", "multi-person"],
            inputs=[
                io.MultiType.Input(
                    "source",
                    types=list(SOURCE_TYPES),
                    tooltip="BOUNDING_BOX, BBOX, SEGS, MASK, SAM3_TRACK_DATA, POSE_KEYPOINT, SDPOSE_POSES or "
                    "MHR_POSE_DATA.",
                ),
                io.Image.Input("image", tooltip="The frames that the boxes are for: their number and size count."),
                io.Combo.Input(
                    "bbox_format",
                    options=list(BBOX_FORMATS),
                    default=BBOX_FORMATS[0],
                    tooltip="Only for BBOX, whose four numbers mean different things: KJNodes gives x, y, width, "
                    "height; WanAnimatePreprocess gives x1, y1, x2, y2.",
                ),
                io.Combo.Input(
                    "mask_meaning",
                    options=list(MASK_MEANINGS),
                    default=MASK_MEANINGS[0],
                    tooltip="Only for MASK. each mask is a person: one per frame, or for a single picture all of them. "
                    "each connected part is a person: a mask per frame, its parts from left to right.",
                ),
                io.Boolean.Input(
                    "with_masks",
                    default=False,
                    tooltip="Also give a mask per box, for Estimate Poses to black out what is not the person. Boxes "
                    "without a mask are filled. A full-size mask per person and frame: mind the memory.",
                ),
            ],
            outputs=[
                io.BoundingBox.Output(
                    "boxes", tooltip="Per frame a list of x, y, width, height, label, score, track_id."
                ),
                io.Mask.Output(
                    "masks", tooltip="One mask per box, frame after frame; nothing unless with_masks is on."
                ),
                io.String.Output("info", tooltip="How many people in how many frames, and what was unusual."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, source: Any, image: torch.Tensor, bbox_format: str, mask_meaning: str, with_masks: bool
    ) -> io.NodeOutput:
        frames, size = image.shape[0], (image.shape[2], image.shape[1])
        people, notes = people_of(source, frames, size, bbox_format=bbox_format, mask_meaning=mask_meaning)
        boxes = boxes_to_socket([frame.boxes for frame in people], [frame.track_ids for frame in people])
        masks = tensor_from_masks([filled_masks(frame, size) for frame in people]) if with_masks else None
        info = "\n".join([tally(sum(map(len, boxes)), frames), *notes])
        show_text(cls, info)
        return io.NodeOutput(boxes, masks, info)
