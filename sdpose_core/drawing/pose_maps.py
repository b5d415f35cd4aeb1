"""Pose maps of pictures.

Everything is drawn at the requested size: a pose map resized afterward has sticks of the wrong width.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from ..errors import InputError
from ..images import check_pixels
from ..openpose.order import OpenPosePerson, people
from ..poses import Poses
from ..skeletons import PARTS
from .renderer import DrawnPerson, Renderer
from .styles import Canvas, Color, check_style


def draw_poses(
    poses: Poses,
    *,
    style: str = "controlnet",
    size: tuple[int, int] | None = None,
    parts: Collection[str] | None = None,
    threshold: float = 0.3,
    background: Color | np.ndarray | None = None,
) -> np.ndarray:
    """The pose map of one picture: RGB uint8 (h, w, 3).

    Args:
        poses: coco_17 or coco_wholebody_133, in pixels of the source picture.
        style: a name of `STYLES`.
        size: (w, h) of the pose map; keypoints are scaled to it. None: the source picture's.
        parts: of `PARTS`; None draws everything that the style has, an empty collection nothing.
        threshold: points with a lower score are absent.
        background: None for black, a color (r, g, b), or a uint8 picture (h, w, 3) of the pose map's size.

    Raises `InputError` for an unknown style, part or keypoint set, or a background of the wrong shape.
    """
    return _draw(people(poses, threshold), poses.size, style, parts, background, size, poses.keypoint_set == "coco_17")


def draw_people(
    people: Sequence[OpenPosePerson],
    canvas_size: tuple[int, int],
    *,
    style: str = "controlnet",
    parts: Collection[str] | None = None,
    background: Color | np.ndarray | None = None,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """As `draw_poses`, for people in OpenPose's order, in pixels of a canvas of `canvas_size` (w, h)."""
    body_only = all(person.has_only_body() for person in people)
    return _draw(people, canvas_size, style, parts, background, size, body_only)


def overlay(
    image: np.ndarray,
    poses: Poses,
    *,
    style: str = "controlnet",
    parts: Collection[str] | None = None,
    threshold: float = 0.3,
    opacity: float = 0.75,
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
    pose_map = draw_poses(poses, style=style, parts=parts, threshold=threshold)
    blended = np.rint(image * (1 - opacity) + pose_map * opacity).astype(np.uint8)
    return np.where(pose_map.any(axis=2, keepdims=True), blended, image)


def _draw(
    people: Sequence[OpenPosePerson],
    canvas_size: tuple[int, int],
    style: str,
    parts: Collection[str] | None,
    background: Color | np.ndarray | None,
    size: tuple[int, int] | None,
    body_only: bool,
) -> np.ndarray:
    import cv2

    figures, wanted = check_style(style), _check_parts(parts)
    w, h = size = _check_size(size or canvas_size)
    pixels = _background(background, size)
    enlarged = max((figures.short_side or 0) / min(size), 1)
    canvas = Canvas(int(w * enlarged), int(h * enlarged), body_only)
    check_pixels((canvas.w, canvas.h), "the pose map")
    scale = (canvas.w / canvas_size[0], canvas.h / canvas_size[1])
    if figures.one_person and people:
        people = [max(people, key=lambda person: person.body[:, 2].mean())]
    drawn = [DrawnPerson.of(person, scale) for person in people]
    if enlarged == 1:
        Renderer(pixels, canvas, figures, wanted).draw(drawn)
        return pixels
    large = np.zeros((canvas.h, canvas.w, 3), np.uint8)
    Renderer(large, canvas, figures, wanted).draw(drawn)
    pose_map = cv2.resize(large, size)
    return np.where(pose_map.any(axis=2, keepdims=True), pose_map, pixels)


def _check_parts(parts: Collection[str] | None) -> frozenset[str]:
    wanted = frozenset(PARTS if parts is None else [parts] if isinstance(parts, str) else parts)
    if unknown := ", ".join(map(repr, sorted(wanted.difference(PARTS)))):
        raise InputError(f"parts: {unknown} not known; expected any of {', '.join(PARTS)}")
    return wanted


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
