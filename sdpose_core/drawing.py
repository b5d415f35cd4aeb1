"""Pose maps: one renderer that follows the table of `drawing_styles.py`.

Limbs are filled ellipses in OpenPose's colours, fingers are lines of a rainbow, joints and face points are dots.
Everything is drawn at the asked size; a pose map that was resized afterwards has sticks of the wrong width.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from .drawing_styles import STYLES, Canvas, Colour, Style, check_style
from .errors import InputError
from .openpose_order import OPENPOSE_18_NAMES, OpenPosePerson, people
from .poses import Poses

__all__ = ["HEAD", "LIMBS", "PARTS", "STYLES", "Style", "check_style", "draw_people", "draw_poses", "overlay"]

PARTS: tuple[str, ...] = ("body", "hands", "face", "feet", "head")
"""What can be switched. The head is the nose, eyes and ears of the body with their limbs; the face, the 68 points."""

LIMBS: tuple[tuple[int, int], ...] = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""Limbs between points of `OPENPOSE_18_NAMES`, in the order they are drawn."""

HEAD: frozenset[int] = frozenset(i for i, name in enumerate(OPENPOSE_18_NAMES) if name.endswith(("nose", "eye", "ear")))

COLOURS: tuple[Colour, ...] = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255),
    (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip

FINGERS: tuple[tuple[int, int], ...] = tuple(
    (0 if joint == first else joint - 1, joint) for first in (1, 5, 9, 13, 17) for joint in range(first, first + 4)
)
FINGER_COLOURS: tuple[tuple[float, ...], ...] = tuple(
    tuple(255 * channel for channel in colorsys.hsv_to_rgb(i / len(FINGERS), 1, 1)) for i in range(len(FINGERS))
)
ANKLES = (OPENPOSE_18_NAMES.index("left_ankle"), OPENPOSE_18_NAMES.index("right_ankle"))
TOES = ((0, 1), (3, 4))
"""The big and the small toe of the left and the right foot, among `FOOT_NAMES`."""


def draw_poses(
    poses: Poses,
    *,
    style: str = "controlnet",
    size: tuple[int, int] | None = None,
    parts: Collection[str] | None = None,
    threshold: float = 0.3,
    background: Colour | np.ndarray | None = None,
) -> np.ndarray:
    """The pose map of one picture: RGB uint8 (h, w, 3).

    Args:
        poses: keypoints in pixels of the source picture; coco_17 or coco_wholebody_133.
        style: a name of `STYLES`.
        size: (w, h) of the pose map, to which the keypoints are scaled; None: the source picture's.
        parts: what is drawn, of `PARTS`; None draws all that the style has, an empty collection nothing.
        threshold: points of a lower score are absent.
        background: None for black, a colour (r, g, b), or a uint8 picture (h, w, 3) of the pose map's size.

    Raises `InputError` for an unknown style, part or keypoint set, or a background of another shape.
    """
    return _draw(people(poses, threshold), poses.size, style, parts, background, size, poses.keypoint_set == "coco_17")


def draw_people(
    people: Sequence[OpenPosePerson],
    canvas_size: tuple[int, int],
    *,
    style: str = "controlnet",
    parts: Collection[str] | None = None,
    background: Colour | np.ndarray | None = None,
    size: tuple[int, int] | None = None,
) -> np.ndarray:
    """As `draw_poses`, from people in OpenPose's order, in pixels of a canvas of `canvas_size` (w, h)."""
    body_only = not any(points[:, 2].any() for one in people for part, points in one.parts().items() if part != "body")
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
    """The pose map over its picture: RGB uint8 (h, w, 3). Where the map is black the picture stays as it is.

    Args:
        image: RGB uint8 (h, w, 3) of the size of `poses`.
        opacity: 0 shows the picture alone, 1 hides it behind the limbs.

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
    background: Colour | np.ndarray | None,
    size: tuple[int, int] | None,
    body_only: bool,
) -> np.ndarray:
    import cv2

    figures, wanted = check_style(style), _check_parts(parts)
    w, h = size = _check_size(size or canvas_size)
    pixels = _background(background, size)
    enlarged = max((figures.short_side or 0) / min(size), 1)
    canvas = Canvas(int(w * enlarged), int(h * enlarged), body_only)
    scale = (canvas.w / canvas_size[0], canvas.h / canvas_size[1])
    drawn = [_Person.of(person, scale) for person in _chosen(people, figures)]
    if enlarged == 1:
        _Renderer(pixels, canvas, figures, wanted).draw(drawn)
        return pixels
    large = np.zeros((canvas.h, canvas.w, 3), np.uint8)
    _Renderer(large, canvas, figures, wanted).draw(drawn)
    pose_map = cv2.resize(large, size)
    return np.where(pose_map.any(axis=2, keepdims=True), pose_map, pixels)


def _check_parts(parts: Collection[str] | None) -> frozenset[str]:
    wanted = frozenset(PARTS if parts is None else [parts] if isinstance(parts, str) else parts)
    if unknown := wanted.difference(PARTS):
        raise InputError(
            f"parts: {', '.join(map(repr, sorted(unknown)))} not known; expected any of {', '.join(PARTS)}"
        )
    return wanted


def _check_size(size: Sequence[int]) -> tuple[int, int]:
    w, h = (int(side) for side in size)
    if min(w, h) < 1:
        raise InputError(f"size of a pose map: expected (w, h) of at least 1 pixel, got {(w, h)}")
    return w, h


def _check_picture(image: np.ndarray, size: tuple[int, int], what: str) -> None:
    w, h = size
    if image.shape != (h, w, 3) or image.dtype != np.uint8:
        raise InputError(f"{what}: expected uint8 of shape {(h, w, 3)}, got {image.dtype} of shape {image.shape}")


def _background(background: Colour | np.ndarray | None, size: tuple[int, int]) -> np.ndarray:
    """(h, w, 3) uint8 of its own to draw on."""
    w, h = size
    if isinstance(background, np.ndarray) and background.ndim == 3:
        _check_picture(background, size, "background")
        return np.array(background, order="C")
    colour = np.zeros(3) if background is None else np.asarray(background)
    if colour.shape != (3,) or not ((colour >= 0) & (colour <= 255)).all():
        raise InputError(f"background: expected None, a colour of three numbers 0-255 or a picture, got {background!r}")
    return np.full((h, w, 3), colour, np.uint8)


def _chosen(people: Sequence[OpenPosePerson], style: Style) -> Sequence[OpenPosePerson]:
    """All people, or the one whose body has the highest mean score."""
    return [max(people, key=lambda one: one.body[:, 2].mean())] if style.one_person and people else people


@dataclass(frozen=True)
class _Person:
    """Rows x, y, score in pixels of the canvas (float64, so that truncation to pixels does not depend on the scale)."""

    body: np.ndarray
    feet: np.ndarray
    face: np.ndarray
    hands: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, person: OpenPosePerson, scale: tuple[float, float]) -> _Person:
        part = {name: points * np.array([*scale, 1.0]) for name, points in person.parts().items()}
        return cls(part["body"], part["feet"], part["face"][:68], (part["left_hand"], part["right_hand"]))

    def toes(self) -> list[np.ndarray]:
        """Middle of the big and the small toe, left and right, of the lower score."""
        pairs = [self.feet[list(pair)] for pair in TOES]
        return [np.array([*pair[:, :2].mean(axis=0), pair[:, 2].min()]) for pair in pairs]


@dataclass(frozen=True)
class _Renderer:
    """Draws people on `pixels`, following the figures of a style."""

    pixels: np.ndarray
    canvas: Canvas
    style: Style
    parts: frozenset[str]

    def draw(self, people: Sequence[_Person]) -> None:
        layers = (self._limbs, self._joints, self._hands, self._face)
        if self.style.by_layer:
            for layer in layers:
                layer(people)
        else:
            for person in people:
                for layer in layers:
                    layer([person])

    def _limbs(self, people: Sequence[_Person]) -> None:
        for i, (start, end) in enumerate(LIMBS):
            if self._shows(start, end):
                for person in people:
                    self._limb(person.body[start], person.body[end], COLOURS[i])
        if self.style.feet == "toes" and "feet" in self.parts:
            for side, colour in enumerate((COLOURS[17], self.style.toe_colours[0])):
                for person in people:
                    self._limb(person.body[ANKLES[side]], person.toes()[side], colour)

    def _shows(self, *joints: int) -> bool:
        """Whether these joints of the body are switched on; a limb belongs to the head if one of its ends does."""
        return ("head" if HEAD.intersection(joints) else "body") in self.parts

    def _limb(self, start: np.ndarray, end: np.ndarray, colour: Colour) -> None:
        import cv2

        if not (start[2] and end[2]):
            return
        dx, dy = start[:2] - end[:2]
        length = math.hypot(dx, dy)
        if self.style.inside_only and length < 1:
            return
        centre = (int((start[0] + end[0]) / 2), int((start[1] + end[1]) / 2))
        axes = (int(length / 2), self.style.stick(self.canvas, length))
        outline = cv2.ellipse2Poly(centre, axes, int(math.degrees(math.atan2(dy, dx))), 0, 360, 1)
        shade = [int(int(c * self._light(start, end)) * self.style.dim) for c in colour]
        cv2.fillConvexPoly(self.pixels, outline, self._channels(shade))

    def _joints(self, people: Sequence[_Person]) -> None:
        radius = self.style.joint(self.canvas, 0)
        for i, colour in enumerate(COLOURS):
            if self._shows(i):
                for person in people:
                    self._dot(person.body[i], radius, colour)
        if "feet" not in self.parts:
            return
        for person in people:
            for point, colour in self._foot_dots(person):
                self._dot(point, radius, colour)

    def _foot_dots(self, person: _Person) -> Iterator[tuple[np.ndarray, Colour]]:
        if self.style.feet == "dots":
            yield from zip(person.feet, COLOURS, strict=False)
        elif self.style.feet == "toes":
            yield from zip(person.toes(), self.style.toe_colours, strict=True)

    def _hands(self, people: Sequence[_Person]) -> None:
        if "hands" not in self.parts:
            return
        for side in (0, 1):
            for person in people:
                self._hand(person.hands[side])

    def _hand(self, hand: np.ndarray) -> None:
        for (start, end), colour in zip(FINGERS, FINGER_COLOURS, strict=True):
            self._finger(hand[start], hand[end], colour)
        radius = self.style.hand_dot(self.canvas, 0)
        for point in hand:
            if self._off_edge(point):
                self._dot(point, radius, (0, 0, 255))

    def _finger(self, start: np.ndarray, end: np.ndarray, colour: tuple[float, ...]) -> None:
        import cv2

        if not (self._off_edge(start) and self._off_edge(end) and self._inside(start) and self._inside(end)):
            return
        (x1, y1), (x2, y2) = _pixel(start), _pixel(end)
        width = self.style.hand_line(self.canvas, math.hypot(x1 - x2, y1 - y2))
        light = int(255 * self._light(start, end)) / 255
        shade = [int(c) if self.style.cut_colours else c * light for c in colour]
        cv2.line(self.pixels, (x1, y1), (x2, y2), self._channels(shade), thickness=width)

    def _face(self, people: Sequence[_Person]) -> None:
        if "face" not in self.parts or self.style.face is None:
            return
        for point in (point for person in people for point in person.face):
            if self._off_edge(point):
                self._dot(point, self.style.face, (255, 255, 255))

    def _dot(self, point: np.ndarray, radius: int, colour: Sequence[float]) -> None:
        import cv2

        if point[2] and self._inside(point):
            shade = [int(c * self._light(point)) for c in colour]
            cv2.circle(self.pixels, _pixel(point), radius, self._channels(shade), thickness=-1)

    def _inside(self, point: np.ndarray) -> bool:
        """Whether the style draws the point there: some leave out what lies outside of the canvas."""
        x, y = _pixel(point)
        return not self.style.inside_only or (0 <= x < self.canvas.w and 0 <= y < self.canvas.h)

    @staticmethod
    def _off_edge(point: np.ndarray) -> bool:
        """Whether the point is there and not on the first row or column: points of hands and faces there are absent."""
        return bool(point[2]) and min(_pixel(point)) > 0

    def _light(self, *points: np.ndarray) -> float:
        """Brightness for these points: 1, or the product of their scores, which may exceed 1 and are cut there."""
        return math.prod(min(float(point[2]), 1.0) for point in points) if self.style.by_score else 1.0

    def _channels(self, colour: Sequence[float]) -> tuple[float, ...]:
        return tuple(reversed(colour)) if self.style.swap_red_blue else tuple(colour)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return int(point[0]), int(point[1])
