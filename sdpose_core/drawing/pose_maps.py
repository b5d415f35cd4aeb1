"""Pose maps of pictures, and pictures to look at: overlays and comparisons.

Everything is drawn at the requested size, with widths for that size: nothing is blurred by resizing.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..dependencies import opencv
from ..errors import InputError
from ..images import check_pixels
from ..openpose.order import DRAWABLE, OpenPosePerson, people, seen_points
from ..poses import Poses
from ..skeletons import PARTS
from .canvas import place
from .coloring import OPENPOSE, Coloring, coloring_of
from .renderer import DrawnPerson, Renderer
from .styles import MAX_LINE_WIDTH, Canvas, Color, Style, check_style, check_style_of

COMPARED_SIDE = 1280
"""Pixels: the longest side of a panel of a comparison. Three of them are to fit on a screen and into a decoder."""


def draw_poses(
    poses: Poses,
    *,
    style: str = "controlnet",
    size: tuple[int, int] | None = None,
    parts: Collection[str] | None = None,
    threshold: float = 0.3,
    background: Color | np.ndarray | None = None,
    line_width: float | None = None,
) -> np.ndarray:
    """The pose map of one picture: RGB uint8 (h, w, 3).

    Args:
        poses: in pixels of the source picture; those of a custom keypoint set are drawn by `coloring_of`.
        style: a name of `STYLES`; of a custom set only the default.
        size: (w, h) of the pose map; keypoints are scaled to it. None: the source picture's.
        parts: of `PARTS`; None draws everything that the style has, an empty collection nothing. A custom set is all
            "body".
        threshold: points with a lower score are absent.
        background: None for black, a color (r, g, b), or a uint8 picture (h, w, 3) of the pose map's size.
        line_width: half width of a limb in pixels of the pose map; joints, hands and face follow in proportion. None:
            by the style: most have 4 at a short side of 512, and grow with the pose map (see `styles.py`).

    Raises `InputError` for a style that is unknown or does not fit, an unknown part, a background of the wrong shape,
    or a line width that is not positive.
    """
    look, known = _Look.of(style, parts, line_width), poses.keypoint_set in DRAWABLE
    check_style_of(style, poses.keypoint_set)
    if known:
        drawn = [person.parts() for person in people(poses, threshold)]
    else:
        drawn = [{"body": points} for points in seen_points(poses, threshold)]
    coloring = OPENPOSE if known else coloring_of(poses.skeleton)
    return _draw(drawn, poses.size, size, background, look, poses.keypoint_set == "coco_17", coloring)


def draw_people(
    people: Sequence[OpenPosePerson],
    canvas_size: tuple[int, int],
    *,
    style: str = "controlnet",
    parts: Collection[str] | None = None,
    background: Color | np.ndarray | None = None,
    size: tuple[int, int] | None = None,
    line_width: float | None = None,
) -> np.ndarray:
    """As `draw_poses`, for people in OpenPose's order, in pixels of a canvas of `canvas_size` (w, h)."""
    body_only = all(person.has_only_body() for person in people)
    drawn = [person.parts() for person in people]
    return _draw(drawn, canvas_size, size, background, _Look.of(style, parts, line_width), body_only)


def overlay(
    image: np.ndarray,
    poses: Poses,
    *,
    style: str = "controlnet",
    parts: Collection[str] | None = None,
    threshold: float = 0.3,
    opacity: float = 0.75,
    line_width: float | None = None,
) -> np.ndarray:
    """The pose map blended over its picture: RGB uint8 (h, w, 3); black pixels of the map are transparent.

    Args:
        image: RGB uint8 (h, w, 3) of the size of `poses`.
        opacity: of the limbs, 0 to 1.

    Raises `InputError` for a picture of another size, and as `draw_poses`.
    """
    if not 0 <= opacity <= 1:
        raise InputError(f"opacity: expected 0 to 1, got {opacity}")
    _check_picture(image, poses.size, "picture")
    return _blended(
        image, draw_poses(poses, style=style, parts=parts, threshold=threshold, line_width=line_width), opacity
    )


def _blended(image: np.ndarray, pose_map: np.ndarray, opacity: float = 0.75) -> np.ndarray:
    result, drawn = image.copy(), pose_map.any(axis=2)
    result[drawn] = np.rint(image[drawn] * (1 - opacity) + pose_map[drawn] * opacity)
    return result


def compared_size(size: tuple[int, int]) -> tuple[int, int]:
    """(w, h) of a panel of `comparison` for a picture of `size` (w, h): smaller if a side exceeds `COMPARED_SIDE`."""
    scale = min(COMPARED_SIDE / max(size), 1.0)
    return max(round(size[0] * scale), 1), max(round(size[1] * scale), 1)


def comparison(
    image: np.ndarray,
    poses: Poses,
    *,
    style: str = "controlnet",
    parts: Collection[str] | None = None,
    threshold: float = 0.3,
    line_width: float | None = None,
) -> np.ndarray:
    """Picture, overlay and pose map side by side: RGB uint8 (h, 3 w, 3), (w, h) by `compared_size`.

    Args:
        image: RGB uint8 (h, w, 3) of the size of `poses`.

    Raises `InputError` as `overlay`.
    """
    cv2 = opencv()

    _check_picture(image, poses.size, "picture")
    if (size := compared_size(poses.size)) != poses.size:
        image, poses = cv2.resize(image, size, interpolation=cv2.INTER_AREA), place(poses, size, "stretch")
    pose_map = draw_poses(poses, style=style, parts=parts, threshold=threshold, line_width=line_width)
    return np.concatenate([image, _blended(image, pose_map), pose_map], axis=1)


@dataclass(frozen=True)
class _Look:
    style: Style
    parts: frozenset[str]
    line_width: float | None

    @classmethod
    def of(cls, style: str, parts: Collection[str] | None, line_width: float | None) -> _Look:
        return cls(check_style(style), _check_parts(parts), check_line_width(line_width))


def _draw(
    people: Sequence[Mapping[str, np.ndarray]],
    canvas_size: tuple[int, int],
    size: tuple[int, int] | None,
    background: Color | np.ndarray | None,
    look: _Look,
    body_only: bool,
    coloring: Coloring = OPENPOSE,
) -> np.ndarray:
    cv2 = opencv()

    figures = look.style
    w, h = size = _check_size(size or canvas_size)
    pixels = _background(background, size)
    enlarged = max((figures.short_side or 0) / min(size), 1)
    canvas = Canvas(int(w * enlarged), int(h * enlarged), body_only)
    check_pixels((canvas.w, canvas.h), "the pose map")
    scale = (canvas.w / canvas_size[0], canvas.h / canvas_size[1])
    if figures.one_person and people:
        people = [max(people, key=lambda person: person["body"][:, 2].mean())]
    drawn = [DrawnPerson.of(person, scale) for person in people]
    widths = figures.scale(canvas, look.line_width and look.line_width * enlarged)
    if enlarged == 1:
        Renderer(pixels, canvas, figures, look.parts, widths, coloring).draw(drawn)
        return pixels
    large = np.zeros((canvas.h, canvas.w, 3), np.uint8)
    Renderer(large, canvas, figures, look.parts, widths, coloring).draw(drawn)
    pose_map = cv2.resize(large, size)
    return np.where(pose_map.any(axis=2, keepdims=True), pose_map, pixels)


def _check_parts(parts: Collection[str] | None) -> frozenset[str]:
    wanted = frozenset(PARTS if parts is None else [parts] if isinstance(parts, str) else parts)
    if unknown := ", ".join(map(repr, sorted(wanted.difference(PARTS)))):
        raise InputError(f"parts: {unknown} not known; expected any of {', '.join(PARTS)}")
    return wanted


def check_line_width(width: float | None) -> float | None:
    """The half width of a limb in pixels, None for the style's own. Raises `InputError` unless it is positive."""
    if width is not None and not (math.isfinite(width) and 0 < width <= MAX_LINE_WIDTH):
        raise InputError(f"line width: expected pixels above 0, at most {MAX_LINE_WIDTH}, got {width}")
    return width


def _check_size(size: Sequence[int]) -> tuple[int, int]:
    if len(size) != 2 or min(size) < 1:
        raise InputError(f"size of a pose map: expected (w, h) of at least 1 pixel, got {tuple(size)}")
    whole = int(size[0]), int(size[1])
    check_pixels(whole, "the pose map")
    return whole


def _check_picture(image: np.ndarray, size: tuple[int, int], what: str) -> None:
    w, h = size
    if image.shape != (h, w, 3) or image.dtype != np.uint8:
        raise InputError(f"{what}: expected uint8 of shape {(h, w, 3)}, got {image.dtype} of shape {image.shape}")


def _background(background: Color | np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """A new (h, w, 3) uint8 array to draw on."""
    w, h = size
    if isinstance(background, np.ndarray) and background.ndim == 3:
        _check_picture(background, size, "background")
        return np.array(background, order="C")
    color = np.zeros(3) if background is None else np.asarray(background)
    if color.shape != (3,) or not ((color >= 0) & (color <= 255)).all():
        raise InputError(f"background: expected None, a color of three numbers 0-255 or a picture, got {background!r}")
    return np.full((h, w, 3), color, np.uint8)
