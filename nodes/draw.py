"""Draw Poses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from comfy_api.latest import io

from ..sdpose_core.drawing.canvas import FITS, place
from ..sdpose_core.drawing.pose_maps import draw_poses
from ..sdpose_core.errors import InputError
from ..sdpose_core.poses import Poses
from ..sdpose_core.sequences.cleaning import drawing_threshold
from . import widgets
from .host.info import preview, show_text, tally
from .host.progress import each_frame
from .select import poses_input
from .sockets.images import images_from_tensor, tensor_from_images
from .sockets.poses import poses_from_socket

if TYPE_CHECKING:
    import torch

BACKGROUNDS = ("black", "picture", "colour")
MAX_SIDE = 16384


def draw(poses: Sequence[Poses], backgrounds: Sequence[Any], *, threshold: float, **settings: Any) -> list[np.ndarray]:
    """A pose map of each frame over its background (see `draw_poses`); with a progress bar, may be cancelled.

    In poses that were cleaned along time what is to be seen is decided already: `threshold` is for others.
    """
    pairs = list(zip(poses, backgrounds, strict=True))
    return [
        draw_poses(frame, background=below, threshold=drawing_threshold(frame.meta, threshold), **settings)
        for frame, below in each_frame(pairs)
    ]


def canvas_size(poses: Poses, width: int, height: int) -> tuple[int, int]:
    """(w, h) of the pose map: what is asked for; 0 keeps the source's side, or its proportions if one is given.

    Raises `InputError` for a source that makes it larger than anyone can want: its size is a mistake.
    """
    w, h = poses.size
    if width or height:
        scale = width / w if width else height / h
        w, h = width or max(round(w * scale), 1), height or max(round(h * scale), 1)
    if max(w, h) > MAX_SIDE:
        raise InputError(f"a pose map of {w} x {h} is too large (at most {MAX_SIDE}): set both width and height")
    return w, h


def _pictures(image: torch.Tensor | None, frames: int) -> list[np.ndarray]:
    """The pictures to draw on; one picture serves for all frames. Raises `InputError` for another number."""
    if image is None:
        raise InputError(
            "background 'picture' needs the frames: connect the input 'image', or choose another background"
        )
    pictures = images_from_tensor(image)
    if len(pictures) not in (1, frames):
        raise InputError(f"there are {frames} frames of poses and {len(pictures)} pictures: connect the same frames")
    return pictures * frames if len(pictures) == 1 else pictures


class DrawPoses(io.ComfyNode):
    """Draw Poses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorDraw",
            display_name="Draw Poses",
            category=widgets.CATEGORY,
            description="The pose map that a ControlNet or animation model reads, drawn at the size it is wanted, in "
            "the style it was trained with. Takes POSE_KEYPOINT of any node.",
            search_aliases=[*widgets.ALIASES, "draw openpose", "skeleton", "pose map", "controlnet", "xinsir"],
            inputs=[
                poses_input(),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="For the background 'picture': one per frame of poses, or one for all. Its size is used.",
                ),
                widgets.style(),
                *widgets.part_switches(),
                widgets.threshold(),
                io.Int.Input(
                    "width",
                    default=0,
                    min=0,
                    max=MAX_SIDE,
                    tooltip="Of the pose map in pixels; 0 is that of the source.",
                ),
                io.Int.Input(
                    "height",
                    default=0,
                    min=0,
                    max=MAX_SIDE,
                    tooltip="Of the pose map in pixels; 0 is that of the source.",
                ),
                io.Combo.Input(
                    "fit",
                    options=list(FITS),
                    default="pad",
                    tooltip="For another size. pad: everything visible, in proportion; crop: canvas filled, in "
                    "proportion; stretch: neither.",
                ),
                io.Combo.Input(
                    "background", options=list(BACKGROUNDS), default="black", tooltip="What the pose is drawn on."
                ),
                io.Color.Input("colour", default="#000000", tooltip="For the background 'colour'."),
                io.Boolean.Input(
                    "swap_hands",
                    default=False,
                    tooltip="Exchange left and right hand of a POSE_KEYPOINT: for core's SDPose node and the community "
                    "pack, which exchange them.",
                    advanced=True,
                ),
            ],
            outputs=[
                io.Image.Output("pose_map", tooltip="One picture per frame."),
                io.String.Output("info", tooltip="People and frames, and what the reader had to mend."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def execute(
        cls,
        poses: Any,
        style: str,
        threshold: float,
        width: int,
        height: int,
        fit: str,
        background: str,
        colour: str,
        swap_hands: bool,
        image: torch.Tensor | None = None,
        **switches: bool,
    ) -> io.NodeOutput:
        frames, notes = poses_from_socket(poses, swap_hands=swap_hands)
        below: list[Any] = [widgets.rgb_of(colour) if background == "colour" else None] * len(frames)
        if background == "picture":
            below = _pictures(image, len(frames))
            size = (below[0].shape[1], below[0].shape[0])
        else:
            size = canvas_size(frames[0], width, height)
        frames = [frame if frame.size == size else place(frame, size, fit) for frame in frames]
        maps = draw(frames, below, style=style, parts=widgets.chosen_parts(switches), threshold=threshold)
        result = tensor_from_images(maps)
        info = "\n".join([f"{tally(sum(map(len, frames)), len(frames))}, {size[0]} x {size[1]}", *notes])
        show_text(cls, info)
        return io.NodeOutput(result, info, ui=preview(cls, result))
