"""The styles of pose maps, as a table for the renderer.

A network works best with the style it was trained on: stick width, brightness, parts, even the order of the color
channels. The values come from the projects named in `Style.source`.

Widths are those at a short side of 512, and grow with the canvas: controlnet_aux, DWPose, Moore-AnimateAnyone and
UniAnimate draw at that size and enlarge the map, so their networks saw limbs of the same share of every picture. The
other projects draw at the final size by a rule of their own (`Style.own_rule`), which is kept.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from ..errors import InputError, did_you_mean
from ..skeletons import KEYPOINT_SETS


@dataclass(frozen=True)
class Canvas:
    """What widths depend on: the size in pixels, and whether only the 17 body points are drawn."""

    w: int
    h: int
    body_only: bool = False


TRAINED_SIDE = 512
"""Short side in pixels at which the widths of styles without a rule of their own are exact."""

USUAL_LIMB = 30
"""Pixels: the length of the limb that gets a given line width, where the width depends on the length."""

MAX_LINE_WIDTH = 1000
"""Pixels."""

Color = tuple[int, int, int]

Width = Callable[[Canvas, float], int]
"""(canvas, length of the limb or 0 for a dot) -> pixels."""


def _fixed(width: int) -> Width:
    return lambda canvas, length: width


def _xinsir(canvas: Canvas, length: float) -> int:
    side = max(canvas.w, canvas.h)
    return 4 * (1 if side < 500 else min(2 + side // 1000, 7))


def _gradio(reference: int, minimum: int) -> Width:
    """Grows with the picture for body models, 4 for whole-body models."""
    return lambda canvas, length: max(minimum, int((canvas.w + canvas.h) / 2 / reference)) if canvas.body_only else 4


def _wan(canvas: Canvas, length: float) -> int:
    return max(min(canvas.w, canvas.h) // 200 - 1, 1)


def _wan_hand(canvas: Canvas, length: float) -> int:
    return max(_wan(canvas, length) // 2, 1)


def _by_length(canvas: Canvas, length: float) -> int:
    """1 below 5 px, then one more at every doubling of the length, up to 8."""
    return 1 + sum(length >= 5 * 2**i for i in range(7))


@dataclass(frozen=True)
class Style:
    """How a pose map is drawn.

    Attributes:
        source: the project whose networks were trained on it.
        stick: half width of a body limb.
        joint: radius of a body joint.
        hand_line: thickness of a finger.
        hand_dot: radius of a finger joint.
        face: radius of a face point; None draws no face.
        feet: "none", "dots" (six points) or "toes" (a limb from each ankle to the midpoint of the toes).
        toe_colors: of the left and the right toe joint.
        dim: brightness of body limbs.
        by_layer: limbs of all people, then all joints, hands, faces; otherwise person by person.
        one_person: only the person with the highest mean body score.
        inside_only: skips joints outside of the canvas and limbs shorter than a pixel.
        cut_colors: truncates finger colors instead of rounding them.
        by_score: dims colors by score. (MimicMotion also draws hands and faces with low scores; here the threshold
            applies.)
        swap_red_blue: the project wrote its RGB colors as BGR.
        short_side: draw at this short side and downscale, as the project does; None: draw at the final size.
        own_rule: why the widths are taken as they are at every size; "": they grow with the canvas.
    """

    source: str
    stick: Width = _fixed(4)
    joint: Width = _fixed(4)
    hand_line: Width = _fixed(2)
    hand_dot: Width = _fixed(4)
    face: int | None = 3
    feet: str = "none"
    toe_colors: tuple[Color, Color] = ((0, 0, 0), (0, 0, 0))
    dim: float = 0.6
    by_layer: bool = False
    one_person: bool = False
    inside_only: bool = False
    cut_colors: bool = False
    by_score: bool = False
    swap_red_blue: bool = False
    short_side: int | None = None
    own_rule: str = ""

    def scale(self, canvas: Canvas, line_width: float | None = None) -> float:
        """The factor of all widths on a canvas; with `line_width`, the one that makes a limb's half width that many
        pixels."""
        if line_width is not None:
            return line_width / self.stick(canvas, USUAL_LIMB)
        return 1.0 if self.own_rule else min(canvas.w, canvas.h) / TRAINED_SIDE


_CONTROLNET = Style(source="ControlNet 1.1 (SD 1.5, SDXL), as controlnet_aux draws")
_DWPOSE = Style(source="DWPose; Moore-AnimateAnyone", by_layer=True)
_SWAPPED = replace(_DWPOSE, swap_red_blue=True)
_XINSIR_RULE = "grows in steps with the long side, by the model card"

STYLES: Mapping[str, Style] = MappingProxyType(
    {
        "controlnet": _CONTROLNET,
        "dwpose": _DWPOSE,
        "animate_anyone": _DWPOSE,
        "xinsir": replace(
            _CONTROLNET, source="xinsir SDXL ControlNets, model card", stick=_xinsir, joint=_xinsir,
            own_rule=_XINSIR_RULE,
        ),
        "xinsir_aux": replace(
            _CONTROLNET, source="xinsir scaling of controlnet_aux", stick=_xinsir, own_rule=_XINSIR_RULE
        ),
        "sdpose_native": replace(
            _CONTROLNET, source="SDPose nodes of ComfyUI", dim=1.0, feet="dots", inside_only=True, cut_colors=True,
            own_rule="the node draws fixed widths at the picture's size",
        ),
        "sdpose_gradio": replace(
            _CONTROLNET, source="gradio app of SDPose", stick=_gradio(256, 1), joint=_gradio(192, 2), dim=1.0,
            feet="dots", inside_only=True, own_rule="grows with the mean side for body models, fixed for whole bodies",
        ),
        "wan_animate": replace(
            _CONTROLNET, source="Wan-Animate", stick=_wan, joint=_wan, hand_line=_wan_hand, hand_dot=_wan_hand,
            face=None, feet="toes", toe_colors=((200, 200, 0), (100, 100, 0)), one_person=True,
            own_rule="grows in steps with the short side",
        ),
        "musepose": replace(
            _SWAPPED, source="MusePose", stick=_by_length, hand_line=_by_length, hand_dot=_fixed(3), face=None,
            one_person=True, own_rule="grows with the length of each limb",
        ),
        "mimicmotion": replace(
            _SWAPPED, source="MimicMotion", by_score=True, short_side=2160,
            own_rule="draws fixed widths at a short side of 2160 and downscales",
        ),
        "unianimate": replace(
            _SWAPPED, source="UniAnimate", face=None, feet="toes", toe_colors=((170, 255, 255), (255, 255, 0)),
            one_person=True,
        ),
        "open_animate_anyone": replace(
            _SWAPPED, source="Open-AnimateAnyone", own_rule="draws fixed widths at the video's size"
        ),
    }
)  # fmt: skip
"""Name -> style. `animate_anyone` is an alias of `dwpose`."""


DEFAULT_STYLE = "controlnet"


def check_style(name: str) -> Style:
    """The style called `name`. Raises `InputError` with the closest and all known names."""
    if name in STYLES:
        return STYLES[name]
    hint = did_you_mean(name, STYLES)
    raise InputError(f"style {name!r} is not known: {hint}{hint and ' '}known styles: {', '.join(STYLES)}")


def check_style_of(name: str, keypoint_set: str) -> Style:
    """The style called `name`, for this keypoint set. Raises `InputError` for a style that is not known, or one of
    another project with a custom set: these projects draw OpenPose's points."""
    style = check_style(name)
    if keypoint_set not in KEYPOINT_SETS and name != DEFAULT_STYLE:
        raise InputError(
            f"style {name!r} draws OpenPose's points, which {keypoint_set!r} does not have: leave it at "
            f"{DEFAULT_STYLE!r}, in which a custom keypoint set gets colors of its own"
        )
    return style
