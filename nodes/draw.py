"""Draw Poses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from comfy_api.latest import io

from ..sdpose_core.drawing.canvas import place, same_shape
from ..sdpose_core.drawing.pose_maps import draw_poses
from ..sdpose_core.errors import InputError
from ..sdpose_core.poses import Poses
from ..sdpose_core.sequences.cleaning import drawing_threshold
from . import widgets
from .checks import answer
from .host.info import clip_preview, node_ui, preview, tally
from .host.progress import each_frame
from .select import poses_input
from .sockets.images import count_and_size, images_from_tensor, tensor_from_images
from .sockets.poses import MAX_SIDE, canvas_of, is_sequence, poses_from_socket, swap_hands_input

if TYPE_CHECKING:
    import torch

BACKGROUNDS = ("black", "picture", "colour")


def draw(poses: Sequence[Poses], backgrounds: Sequence[Any], *, threshold: float, **settings: Any) -> list[np.ndarray]:
    """The pose map of each frame over its background (see `draw_poses`). Shows a progress bar and can be canceled.

    Smoothing has already decided which keypoints are visible: `threshold` applies to poses that are not smoothed.
    """
    pairs = list(zip(poses, backgrounds, strict=True))
    return [
        draw_poses(frame, background=below, threshold=drawing_threshold(frame.meta, threshold), **settings)
        for frame, below in each_frame(pairs)
    ]


def canvas_size(poses: Poses, width: int, height: int) -> tuple[int, int]:
    """(w, h) of the pose map. Both 0: the size of the source; one of them 0: the source's aspect ratio.

    Raises `InputError` for a side above `MAX_SIDE`: such a source states a wrong size.
    """
    w, h = poses.size
    if width or height:
        scale = width / w if width else height / h
        w, h = width or max(round(w * scale), 1), height or max(round(h * scale), 1)
    if max(w, h) > MAX_SIDE:
        raise InputError(f"a pose map of {w} x {h} is too large (maximum {MAX_SIDE}): set both width and height")
    return w, h


def _images_below(image: torch.Tensor | None, frames: int) -> list[np.ndarray]:
    """The images to draw on; a single image is used for all frames. Raises `InputError` for any other number."""
    if image is None:
        raise InputError(
            "background 'picture' needs the frames: connect the input 'image' or choose another background"
        )
    images = images_from_tensor(image)
    if len(images) not in (1, frames):
        raise InputError(f"frames: {frames} in poses, {len(images)} in image: connect the same frames")
    return images * frames if len(images) == 1 else images


class DrawPoses(io.ComfyNode):
    """Draw Poses."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="SDPoseAnnotatorDraw",
            display_name="Draw Poses",
            category=widgets.IMAGE_CATEGORY,
            description="Draws the pose map for a ControlNet or an animation model, at the size you need and in the "
            "style the model was trained on. Accepts POSE_KEYPOINT from any node.",
            search_aliases=[*widgets.ALIASES, "draw openpose", "skeleton", "pose map", "controlnet", "xinsir"],
            inputs=[
                poses_input(),
                io.Image.Input(
                    "image",
                    optional=True,
                    tooltip="For background 'picture': one image per frame, or one for all. It sets the size.",
                ),
                widgets.style(),
                *widgets.part_switches(folded=("head", "feet")),
                widgets.threshold(advanced=True),
                *widgets.canvas(),
                io.Combo.Input(
                    "background",
                    options=list(BACKGROUNDS),
                    default="black",
                    tooltip="What the poses are drawn on: black, the input image, or the color set in colour.",
                ),
                io.Color.Input(
                    "colour",
                    default="#000000",
                    tooltip="For background 'colour'. Its opacity is ignored.",
                    advanced=True,
                ),
                swap_hands_input(),
                widgets.line_width(),
            ],
            outputs=[
                io.Image.Output("pose_map", tooltip="One pose map per frame."),
                io.String.Output("info", tooltip="Number of people and frames, and what was corrected in the input."),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, colour: str | None) -> bool | str:
        """Refuse what is no color before anything runs."""
        return answer(lambda: colour is None or widgets.rgb_of(colour))

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
        line_width: float = 0.0,
        **switches: bool,
    ) -> io.NodeOutput:
        beside = None if image is None else count_and_size(image)[1]
        frames, notes = poses_from_socket(
            poses, swap_hands=swap_hands, size=beside or canvas_of(width, height),
            ask="set both width and height, or connect the image",
        )  # fmt: skip
        below: list[Any] = [widgets.rgb_of(colour) if background == "colour" else None] * len(frames)
        if background == "picture":
            below = _images_below(image, len(frames))
            size = (below[0].shape[1], below[0].shape[0])
            if not same_shape(size, frames[0].size):
                (w, h), (width, height) = size, frames[0].size
                shapes = f"image is {w} x {h}, the poses are from {width} x {height}"
                notes = [*notes, f"{shapes}: their shapes differ, so fit ({fit}) applies"]
        else:
            size = canvas_size(frames[0], width, height)
        frames = [frame if frame.size == size else place(frame, size, fit) for frame in frames]
        parts = widgets.chosen_parts(switches)
        maps = draw(frames, below, style=style, parts=parts, threshold=threshold, line_width=line_width or None)
        result = tensor_from_images(maps)
        info = "\n".join([f"{tally(sum(map(len, frames)), len(frames))}, {size[0]} x {size[1]}", *notes])
        shown = clip_preview(cls, maps, poses.frame_rate) if is_sequence(poses) else preview(cls, result)
        return io.NodeOutput(result, info, ui=node_ui(info, shown))
