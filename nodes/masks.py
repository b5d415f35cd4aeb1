"""Person Masks, Draw Poses in a Mask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comfy_api.latest import io

from ..sdpose_core.drawing.canvas import place, same_shape
from ..sdpose_core.drawing.in_mask import FILLS, draw_in_mask
from ..sdpose_core.errors import InputError, counted
from ..sdpose_core.exports.person_masks import SHAPES
from . import widgets
from .host.info import clip_preview, node_ui, tally
from .host.progress import each_frame
from .select import EACH, ONE, chosen_people, poses_input
from .sockets.images import images_from_tensor, masks_of, resized_masks, tensor_from_images, tensor_from_masks
from .sockets.poses import is_sequence, poses_from_socket
from .sockets.sequence import clip_input, sequence_from_socket

if TYPE_CHECKING:
    import torch

EVERYBODY = "everybody"
PEOPLE = (EVERYBODY, ONE, EACH)


class PersonMasks(io.ComfyNode):
    """Person Masks."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorPersonMasks",
            display_name="Person Masks",
            category=widgets.VIDEO_CATEGORY,
            description="Masks that cover people, made of their poses: for nodes that replace a person, such as "
            "Wan-Animate and VACE. They have the size of the source and follow the body loosely; use a segmentation "
            "model where you need exact outlines.",
            search_aliases=[
                *widgets.ALIASES,
                "pose to mask",
                "character mask",
                "Wan Animate",
                "VACE",
                "inpaint person",
            ],
            inputs=[
                clip_input(),
                io.Combo.Input(
                    "people",
                    options=list(PEOPLE),
                    default=EVERYBODY,
                    tooltip="everybody: all people in one mask. one person: the one set in person. each person: a list "
                    "with the masks of every person in turn, by ID; the nodes after this one run once per person.",
                ),
                io.Int.Input(
                    "person",
                    default=-1,
                    min=-1,
                    max=2**31 - 1,
                    tooltip="For one person: the person's ID; -1 picks the best score.",
                ),
                io.Combo.Input(
                    "shape",
                    options=list(SHAPES),
                    default=SHAPES[0],
                    tooltip="body: trunk, limbs, head, hands and feet, wide enough for clothes. box: the rectangle "
                    "around the person.",
                ),
                io.Float.Input(
                    "margin",
                    default=0.05,
                    min=0.0,
                    max=2.0,
                    step=0.01,
                    tooltip="How far the mask grows; 1 is the length of the trunk, from the hips to the neck.",
                ),
                io.Float.Input(
                    "blur",
                    default=0.0,
                    min=0.0,
                    max=1.0,
                    step=0.01,
                    tooltip="Softness of the edge, in the same unit. 0: a hard edge.",
                    advanced=True,
                ),
                widgets.threshold(advanced=True),
            ],
            outputs=[
                io.Mask.Output(
                    "masks", is_output_list=True, tooltip="One mask per frame; for each person, a list of them."
                ),
                io.Int.Output(
                    "ids",
                    is_output_list=True,
                    tooltip="The ID of each person, for number in Select Person; -1 for everybody.",
                ),
                io.String.Output("info", tooltip="Whose masks they are, and in how many frames they cover something."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, sequence: Any, people: str, person: int, shape: str, margin: float, blur: float, threshold: float
    ) -> io.NodeOutput:
        import torch

        from ..sdpose_core.exports.person_masks import person_masks

        clip, notes = sequence_from_socket(sequence)
        everybody = people == EVERYBODY
        wanted = {EVERYBODY: -1} if everybody else chosen_people(clip, person, people == EACH)
        stacks, lines = [], []
        for who, track in wanted.items():
            ids = None if everybody else [track]
            made = person_masks(clip, ids, shape=shape, margin=margin, blur=blur, threshold=threshold)
            stack = torch.stack([torch.from_numpy(mask) for mask in each_frame(made, len(clip))])
            stacks.append(stack)
            covered = int(stack.flatten(1).any(dim=1).sum())
            lines.append(f"{who}: a mask in {covered} of {counted(len(clip), 'frame')}")
        info = "\n".join([*lines, *notes])
        return io.NodeOutput(stacks, list(wanted.values()), info, ui=node_ui(info))


class DrawInMask(io.ComfyNode):
    """Draw Poses in a Mask."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorDrawInMask",
            display_name="Draw Poses in a Mask",
            category=widgets.VIDEO_CATEGORY,
            description="Draws the pose map inside the mask and keeps the image outside: the control video with which "
            "VACE replaces a person and leaves the rest as it is.",
            search_aliases=[*widgets.ALIASES, "VACE", "control video", "masked pose", "replace person", "inpaint"],
            inputs=[
                io.Image.Input("image", tooltip="The frames of the video."),
                io.Mask.Input("mask", tooltip="White where the video is replaced: one per frame, or one for all."),
                poses_input(),
                io.Combo.Input(
                    "fill",
                    options=list(FILLS),
                    default="black",
                    tooltip="The background of the skeleton. black: as VACE's own tools combine pose and mask. gray: "
                    "VACE's gray for missing parts.",
                ),
                widgets.style(),
                widgets.parts(),
                widgets.threshold(advanced=True),
            ],
            outputs=[
                io.Image.Output("control_video", tooltip="For control_video of WanVaceToVideo."),
                io.Mask.Output("mask", tooltip="The same mask, one per frame: for control_masks of WanVaceToVideo."),
                io.String.Output("info", tooltip="Number of people and frames, and warnings."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls, image: torch.Tensor, mask: torch.Tensor, poses: Any, fill: str, style: str, parts: str, threshold: float
    ) -> io.NodeOutput:
        from ..sdpose_core.sequences.cleaning import drawing_threshold

        images = images_from_tensor(image)
        size = (images[0].shape[1], images[0].shape[0])
        frames, notes = poses_from_socket(poses, size=size)
        masks = masks_of(mask)
        if not same_shape(masks.shape[:0:-1], size):
            (w, h), (width, height) = masks.shape[:0:-1], size
            notes = [*notes, f"mask is {w} x {h}, image is {width} x {height}: the mask is stretched"]
        masks = resized_masks(masks, size)
        if len(frames) != len(images) or len(masks) not in (1, len(images)):
            found = f"{len(images)} in image, {len(masks)} in mask, {len(frames)} in poses"
            raise InputError(f"frames: {found}: connect the same frames")
        inside = list(masks) * len(images) if len(masks) == 1 else list(masks)
        placed = [frame if frame.size == size else place(frame, size, "pad") for frame in frames]
        drawn = [
            draw_in_mask(
                *layers, fill=fill, style=style, parts=widgets.PARTS[parts],
                threshold=drawing_threshold(layers[2].meta, threshold),
            )
            for layers in each_frame(list(zip(images, inside, placed, strict=True)))
        ]  # fmt: skip
        info = "\n".join([tally(sum(map(len, placed)), len(placed)), *notes])
        shown = clip_preview(cls, drawn, poses.frame_rate if is_sequence(poses) else None)
        passed = tensor_from_masks([one[None] for one in inside])
        return io.NodeOutput(tensor_from_images(drawn), passed, info, ui=node_ui(info, shown))
