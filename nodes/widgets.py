"""Inputs that several nodes share, so that they read and behave alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from comfy_api.latest import io

from ..sdpose_core.drawing.styles import STYLES
from ..sdpose_core.errors import InputError

CATEGORY = "SDPose Annotator"
ALIASES = ["SDPose", "pose", "keypoints"]
ESTIMATING = [*ALIASES, "pose estimation", "openpose", "dwpose", "skeleton", "preprocessor"]
"""Of the nodes that take the place of other estimators: who types dwpose wants these, not their helpers."""
IF_NOBODY = ("empty", "full-image", "previous")
_PARTS = {
    "body": "Keep the body: trunk, arms and legs.",
    "head": "Keep nose, eyes and ears. Off for people seen from behind.",
    "hands": "Keep the hands.",
    "face": "Keep the 68 points of the face.",
    "feet": "Keep the feet. They are drawn only by styles that have them.",
}


def style() -> io.Combo.Input:
    return io.Combo.Input(
        "style",
        options=list(STYLES),
        default="controlnet",
        tooltip="How the pose map is drawn: as the model that reads it was trained. controlnet suits SD1.5, SDXL, "
        "Flux, VACE and most others; xinsir its own SDXL ControlNets; animate_anyone, musepose, wan_animate those "
        "models.",
    )


def threshold() -> io.Float.Input:
    return io.Float.Input(
        "threshold",
        default=0.3,
        min=0.0,
        max=2.0,
        step=0.01,
        tooltip="Points with a lower score are neither drawn nor written as present.",
    )


def part_switches() -> list[io.Boolean.Input]:
    """A switch for each part."""
    return [io.Boolean.Input(part, default=True, tooltip=tooltip) for part, tooltip in _PARTS.items()]


def chosen_parts(switches: Mapping[str, bool]) -> tuple[str, ...]:
    """The parts whose switch is on."""
    return tuple(part for part in _PARTS if switches[part])


def crop() -> io.Combo.Input:
    from ..sdpose_core.codec.crops import CROP_MODES

    return io.Combo.Input(
        "crop",
        options=list(CROP_MODES),
        default="affine",
        tooltip="How a person is cut out. affine: 1.25 x the box in the model's proportions, as in training (best). "
        "stretch_native: the tight box stretched, as ComfyUI's own node does. stretch_demo: as the authors' demo does.",
        advanced=True,
    )


def flip_test() -> io.Boolean.Input:
    return io.Boolean.Input(
        "flip_test",
        default=False,
        tooltip="Average with the mirrored picture: a little more accurate, twice the time. Not for the preview.",
        advanced=True,
    )


def batch_size() -> io.Int.Input:
    return io.Int.Input(
        "batch_size",
        default=0,
        min=0,
        max=256,
        tooltip="People per pass through the model; 0 chooses by device. Halved by itself when memory runs out.",
        advanced=True,
    )


def if_nobody() -> io.Combo.Input:
    return io.Combo.Input(
        "if_nobody",
        options=list(IF_NOBODY),
        default="empty",
        tooltip="For a frame without boxes. empty: nobody, a black pose map. full-image: take the whole picture for "
        "one person. previous: use the boxes of the last frame that had some.",
        advanced=True,
    )


def boxes(**settings: Any) -> io.BoundingBox.Input:
    return io.BoundingBox.Input("boxes", force_input=True, **settings)


def rgb_of(colour: str) -> tuple[int, int, int]:
    """ "#rrggbb" -> (r, g, b). Raises `InputError`."""
    digits = colour.strip().removeprefix("#")
    try:
        red, green, blue = bytes.fromhex(digits)
    except ValueError:
        raise InputError(f"colour: expected six hexadecimal digits like #00ff00, got {colour!r}") from None
    return red, green, blue
