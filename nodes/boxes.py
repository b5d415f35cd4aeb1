"""Boxes From ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from .host.info import BOXES, node_ui, tally
from .sockets.box_sources import BBOX_FORMATS, MASK_MEANINGS, SOURCE_TYPES, filled_masks, people_of
from .sockets.boxes import boxes_to_socket
from .sockets.images import count_and_size, tensor_from_masks
from .widgets import ALIASES, IMAGE_CATEGORY

if TYPE_CHECKING:
    import torch


class BoxesFrom(io.ComfyNode):
    """Boxes From ..."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorBoxesFrom",
            display_name="Boxes From ...",
            category=IMAGE_CATEGORY,
            description="Turns the output of other nodes into boxes around people: BBOX, SEGS, masks, SAM 3 tracks, "
            "poses, SAM 3D Body. One list per frame, in the order of the source; tracked objects keep their ID.",
            search_aliases=[*ALIASES, "bbox", "segs", "mask to bbox", "sam3 track", "bounding box", "multi-person"],
            inputs=[
                io.MultiType.Input(
                    "source",
                    types=list(SOURCE_TYPES),
                    tooltip="BOUNDING_BOX, BBOX, SEGS, MASK, SAM3_TRACK_DATA, POSE_KEYPOINT, SDPOSE_POSES or "
                    "MHR_POSE_DATA.",
                ),
                io.Image.Input("image", tooltip="The frames the boxes belong to. Only their number and size matter."),
                io.Combo.Input(
                    "bbox_format",
                    options=list(BBOX_FORMATS),
                    default=BBOX_FORMATS[0],
                    tooltip="Only for BBOX: what its four numbers mean. KJNodes writes x, y, width, height; "
                    "WanAnimatePreprocess writes x1, y1, x2, y2.",
                ),
                io.Combo.Input(
                    "mask_meaning",
                    options=list(MASK_MEANINGS),
                    default=MASK_MEANINGS[0],
                    tooltip="Only for MASK. each mask is a person: one mask per frame, or, for a single image, one "
                    "mask per person. each connected part is a person: one mask per frame, parts from left to right.",
                ),
                io.Boolean.Input(
                    "with_masks",
                    default=False,
                    tooltip="Also output one mask per box, so that Estimate Poses can black out everything else. A box "
                    "without a mask becomes a filled rectangle. Masks are full size and take a lot of memory.",
                ),
            ],
            outputs=[
                io.BoundingBox.Output(
                    "boxes", tooltip="Per frame, a list of x, y, width, height, label, score, track_id."
                ),
                io.Mask.Output("masks", tooltip="One mask per box, frame by frame; no output unless with_masks is on."),
                io.String.Output("info", tooltip="Number of people and frames, and warnings."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, source: Any, image: torch.Tensor, bbox_format: str, mask_meaning: str, with_masks: bool
    ) -> io.NodeOutput:
        frames, size = count_and_size(image)
        people, notes = people_of(source, frames, size, bbox_format=bbox_format, mask_meaning=mask_meaning)
        boxes = boxes_to_socket([frame.boxes for frame in people], [frame.track_ids for frame in people])
        masks = tensor_from_masks([filled_masks(frame, size) for frame in people]) if with_masks else None
        info = "\n".join([tally(sum(map(len, boxes)), frames, BOXES), *notes])
        return io.NodeOutput(boxes, masks, info, ui=node_ui(info))
