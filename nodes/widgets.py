"""Inputs that several nodes share, so that they read and behave the same."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any

from comfy_api.latest import io

from ..sdpose_core.drawing.canvas import FITS
from ..sdpose_core.drawing.styles import MAX_LINE_WIDTH, STYLES
from ..sdpose_core.errors import InputError
from .sockets.poses import MAX_SIDE

CATEGORY = "SDPose Annotator"
IMAGE_CATEGORY, VIDEO_CATEGORY, FILES_CATEGORY = (f"{CATEGORY}/{room}" for room in ("Image", "Video", "Files"))
ALIASES = ["keypoints"]
"""For all nodes. The page searches names too, so that SDPose and pose find every node without an alias."""
ESTIMATING = [*ALIASES, "pose estimation", "skeleton", "preprocessor"]
"""For the nodes that replace other estimators.

Of nodes with a word among their aliases the page lists short names first, except where other words stand before it:
`openpose` and `dwpose` alone belong to SDPose Annotator, which should come first.
"""
IF_NOBODY = ("empty", "full-image", "previous")
PARTS = {
    "all": ("body", "head", "hands", "face", "feet"),
    "body": ("body", "head", "feet"),
    "body and hands": ("body", "head", "hands", "feet"),
    "body and face": ("body", "head", "face", "feet"),
    "body and hands, no head": ("body", "hands", "feet"),
    "hands and face": ("hands", "face"),
    "hands": ("hands",),
    "face": ("face",),
}
"""Choices of `parts` -> the parts of the library that are drawn."""
_SWITCHES = {
    "body": "Keep the body: torso, arms and legs.",
    "head": "Keep nose, eyes and ears. Turn off for people seen from behind.",
    "hands": "Keep the hands.",
    "face": "Keep the 68 face keypoints.",
    "feet": "Keep the feet. Only some styles draw them.",
}


def style() -> io.Combo.Input:
    return io.Combo.Input(
        "style",
        options=list(STYLES),
        default="controlnet",
        tooltip="Drawing style of the pose map: choose the one your model was trained on. controlnet fits SD1.5, "
        "SDXL, Flux, VACE and most others; xinsir fits xinsir's SDXL ControlNets; animate_anyone, musepose and "
        "wan_animate fit the models of those names.",
    )


def threshold(**settings: Any) -> io.Float.Input:
    return io.Float.Input(
        "threshold",
        default=0.3,
        min=0.0,
        max=2.0,
        step=0.01,
        tooltip="Minimum keypoint score. Keypoints that score lower count as missing and are not drawn.",
        **settings,
    )


def line_width() -> io.Float.Input:
    return io.Float.Input(
        "line_width",
        optional=True,
        default=0.0,
        min=0.0,
        max=MAX_LINE_WIDTH,
        step=0.5,
        tooltip="Half width of a limb in pixels; joints, hands and face follow in proportion. 0: by the style; most "
        "draw 4 at a short side of 512 and grow with the pose map.",
        advanced=True,
    )


def canvas(**settings: Any) -> list[io.Input]:
    """Width, height and fit of a pose map."""
    sides = [
        io.Int.Input(
            side,
            default=0,
            min=0,
            max=MAX_SIDE,
            tooltip=f"{side.title()} of the pose map in pixels; 0 means that of the source.",
            **settings,
        )
        for side in ("width", "height")
    ]
    fit = io.Combo.Input(
        "fit",
        options=list(FITS),
        default="pad",
        tooltip="For a size other than the source's. pad: keep everything and the proportions; crop: fill "
        "the canvas and keep the proportions; stretch: change the proportions.",
        **{**settings, "advanced": True},
    )
    return [*sides, fit]


def both_sides(width: int, height: int) -> tuple[int, int] | None:
    """(w, h) of a canvas, None if both are 0. Raises `InputError` if only one is."""
    if bool(width) != bool(height):
        raise InputError(f"canvas: expected both width and height, or 0 for both, got {width} x {height}")
    return (width, height) if width else None


def parts() -> io.Combo.Input:
    return io.Combo.Input(
        "parts",
        options=list(PARTS),
        default="all",
        tooltip="What to draw. body includes nose, eyes, ears and, in styles that draw them, feet; no head is for "
        "people seen from behind. Draw Poses has a switch for each part.",
    )


def part_switches(folded: Collection[str] = ()) -> list[io.Boolean.Input]:
    """A switch for each part; those that are folded are advanced."""
    return [
        io.Boolean.Input(part, default=True, tooltip=tooltip, advanced=True if part in folded else None)
        for part, tooltip in _SWITCHES.items()
    ]


def chosen_parts(switches: Mapping[str, bool]) -> tuple[str, ...]:
    """The parts whose switch is on."""
    return tuple(part for part in _SWITCHES if switches[part])


def crop() -> io.Combo.Input:
    from ..sdpose_core.codec.crops import CROP_MODES

    return io.Combo.Input(
        "crop",
        options=list(CROP_MODES),
        default="affine",
        tooltip="How each person is cropped. affine: the box enlarged 1.25 times, at the model's aspect ratio, as in "
        "training (most accurate). stretch_native: the tight box, stretched, like ComfyUI's built-in SDPose node. "
        "stretch_demo: like the authors' demo.",
        advanced=True,
    )


def flip_test() -> io.Boolean.Input:
    return io.Boolean.Input(
        "flip_test",
        default=False,
        tooltip="Also run the mirrored image and average both results: slightly more accurate, twice as slow. The "
        "preview model ignores it.",
        advanced=True,
    )


def batch_size() -> io.Int.Input:
    return io.Int.Input(
        "batch_size",
        default=0,
        min=0,
        max=256,
        tooltip="People per forward pass; 0 chooses a value for the device. Halved automatically if memory runs out.",
        advanced=True,
    )


def if_nobody() -> io.Combo.Input:
    return io.Combo.Input(
        "if_nobody",
        options=list(IF_NOBODY),
        default="empty",
        tooltip="What to do with a frame that has no boxes. empty: no people, a black pose map. full-image: treat the "
        "whole image as one person. previous: reuse the boxes of the last frame that had any.",
        advanced=True,
    )


def boxes(**settings: Any) -> io.BoundingBox.Input:
    return io.BoundingBox.Input("boxes", force_input=True, **settings)


def rgb_of(color: str) -> tuple[int, int, int]:
    """ "#rrggbb" -> (r, g, b); of "#rrggbbaa", as ComfyUI's color picker may write it, the opacity is ignored.

    Raises `InputError`.
    """
    found = re.fullmatch(r"#?([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})([0-9a-f]{2})?", color.strip(), re.IGNORECASE)
    if found is None:
        raise InputError(f"colour: expected six hexadecimal digits like #00ff00, got {color[:80]!r}")
    red, green, blue = (int(digits, 16) for digits in found.groups()[:3])
    return red, green, blue
