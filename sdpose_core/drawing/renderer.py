"""The renderer of pose maps: draws people on a canvas in a style.

Limbs are filled ellipses in the colors of a `Coloring`, fingers are lines, joints and face points are dots.
Written by hand because ControlNets expect the exact pixels of their training maps, style by style.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..dependencies import opencv
from ..openpose.order import OPENPOSE_18_NAMES
from .coloring import COLORS, OPENPOSE, Coloring
from .styles import Canvas, Color, Style

FINGERS: tuple[tuple[int, int], ...] = tuple(
    (0 if joint == first else joint - 1, joint) for first in (1, 5, 9, 13, 17) for joint in range(first, first + 4)
)
FINGER_COLORS: tuple[tuple[float, ...], ...] = tuple(
    tuple(255 * channel for channel in colorsys.hsv_to_rgb(i / len(FINGERS), 1, 1)) for i in range(len(FINGERS))
)
ANKLES = (OPENPOSE_18_NAMES.index("left_ankle"), OPENPOSE_18_NAMES.index("right_ankle"))
TOES = ((0, 1), (3, 4))
"""Big and small toe of the left and the right foot, in `FOOT_NAMES`."""

CLIP_AT = 2.0**20
"""Pixels. Coordinates are clipped to this: OpenCV is slow with large ones and fails beyond 32 bits."""


_NONE = np.zeros((0, 3))


@dataclass(frozen=True)
class DrawnPerson:
    """One person: rows of x, y, score in pixels of the canvas; float64, so that scaling does not change truncation."""

    body: np.ndarray
    feet: np.ndarray
    face: np.ndarray
    hands: tuple[np.ndarray, np.ndarray]

    @classmethod
    def of(cls, parts: Mapping[str, np.ndarray], scale: tuple[float, float]) -> DrawnPerson:
        """A person of the parts of an `OpenPosePerson`, or of a "body" (K, 3) alone."""
        scaled = {name: points * np.array([*scale, 1.0]) for name, points in parts.items()}
        part = {name: points.clip(-CLIP_AT, CLIP_AT) for name, points in scaled.items()}
        feet, face, left, right = (part.get(name, _NONE) for name in ("feet", "face", "left_hand", "right_hand"))
        return cls(part["body"], feet, face[:68], (left, right))

    def toes(self) -> list[np.ndarray]:
        """Midpoints of big and small toe, left and right, with the lower score."""
        pairs = [self.feet[list(pair)] for pair in TOES]
        return [np.array([*pair[:, :2].mean(axis=0), pair[:, 2].min()]) for pair in pairs]


@dataclass(frozen=True)
class Renderer:
    """Draws people on `pixels` in a style, all its widths times `scale`."""

    pixels: np.ndarray
    canvas: Canvas
    style: Style
    parts: frozenset[str]
    scale: float = 1.0
    coloring: Coloring = OPENPOSE

    def draw(self, people: Sequence[DrawnPerson]) -> None:
        layers = (self._limbs, self._joints, self._hands, self._face)
        if self.style.by_layer:
            for layer in layers:
                layer(people)
        else:
            for person in people:
                for layer in layers:
                    layer([person])

    def _limbs(self, people: Sequence[DrawnPerson]) -> None:
        for (start, end), color in zip(self.coloring.limbs, self.coloring.limb_colors, strict=True):
            if self._shows(start, end):
                for person in people:
                    self._limb(person.body[start], person.body[end], color)
        if self.style.feet == "toes" and "feet" in self.parts:
            for side, color in enumerate((COLORS[17], self.style.toe_colors[0])):
                for person in people:
                    self._limb(person.body[ANKLES[side]], person.toes()[side], color)

    def _scaled(self, width: int) -> int:
        """A width of the style in whole pixels, at least one; a half is rounded up."""
        return max(int(width * self.scale + 0.5), 1)

    def _thickness(self, width: int) -> int:
        """The thickness of a line that is `scale` times as many pixels across as one of `width`. OpenCV draws an odd
        number: one more than an even thickness, two more than an odd one."""
        if self.scale == 1:
            return width
        across = 1 if width == 1 else width + 1 + width % 2
        return max(2 * int(across * self.scale / 2), 1)

    def _shows(self, *joints: int) -> bool:
        """Whether these body joints are drawn; a limb belongs to the head if one of its ends does."""
        return ("head" if self.coloring.head.intersection(joints) else "body") in self.parts

    def _limb(self, start: np.ndarray, end: np.ndarray, color: Color) -> None:
        cv2 = opencv()

        if not (start[2] and end[2]):
            return
        dx, dy = start[:2] - end[:2]
        length = math.hypot(dx, dy)
        if self.style.inside_only and length < 1:
            return
        center = (int((start[0] + end[0]) / 2), int((start[1] + end[1]) / 2))
        axes = (int(length / 2), self._scaled(self.style.stick(self.canvas, length)))
        outline = cv2.ellipse2Poly(center, axes, int(math.degrees(math.atan2(dy, dx))), 0, 360, 1)
        shade = [int(int(c * self._light(start, end)) * self.style.dim) for c in color]
        cv2.fillConvexPoly(self.pixels, np.asarray(outline), self._channels(shade))

    def _joints(self, people: Sequence[DrawnPerson]) -> None:
        radius = self._scaled(self.style.joint(self.canvas, 0))
        for i, color in enumerate(self.coloring.point_colors):
            if self._shows(i):
                for person in people:
                    self._dot(person.body[i], radius, color)
        if "feet" not in self.parts:
            return
        for person in people:
            for point, color in self._foot_dots(person):
                self._dot(point, radius, color)

    def _foot_dots(self, person: DrawnPerson) -> Iterator[tuple[np.ndarray, Color]]:
        if self.style.feet == "dots":
            yield from zip(person.feet, COLORS, strict=False)
        elif self.style.feet == "toes":
            yield from zip(person.toes(), self.style.toe_colors, strict=True)

    def _hands(self, people: Sequence[DrawnPerson]) -> None:
        if "hands" not in self.parts:
            return
        for side in (0, 1):
            for person in people:
                self._hand(person.hands[side])

    def _hand(self, hand: np.ndarray) -> None:
        if not len(hand):
            return
        for (start, end), color in zip(FINGERS, FINGER_COLORS, strict=True):
            self._finger(hand[start], hand[end], color)
        radius = self._scaled(self.style.hand_dot(self.canvas, 0))
        for point in hand:
            if self._off_edge(point):
                self._dot(point, radius, (0, 0, 255))

    def _finger(self, start: np.ndarray, end: np.ndarray, color: tuple[float, ...]) -> None:
        cv2 = opencv()

        if not (self._off_edge(start) and self._off_edge(end) and self._inside(start) and self._inside(end)):
            return
        (x1, y1), (x2, y2) = _pixel(start), _pixel(end)
        width = self._thickness(self.style.hand_line(self.canvas, math.hypot(x1 - x2, y1 - y2)))
        light = int(255 * self._light(start, end)) / 255
        shade = [int(c) if self.style.cut_colors else c * light for c in color]
        cv2.line(self.pixels, (x1, y1), (x2, y2), self._channels(shade), thickness=width)

    def _face(self, people: Sequence[DrawnPerson]) -> None:
        if "face" not in self.parts or self.style.face is None:
            return
        radius = self._scaled(self.style.face)
        for point in (point for person in people for point in person.face):
            if self._off_edge(point):
                self._dot(point, radius, (255, 255, 255))

    def _dot(self, point: np.ndarray, radius: int, color: Sequence[float]) -> None:
        cv2 = opencv()

        if point[2] and self._inside(point):
            shade = [int(c * self._light(point)) for c in color]
            cv2.circle(self.pixels, _pixel(point), radius, self._channels(shade), thickness=-1)

    def _inside(self, point: np.ndarray) -> bool:
        """Whether the point is on the canvas, or the style draws outside of it too."""
        x, y = _pixel(point)
        return not self.style.inside_only or (0 <= x < self.canvas.w and 0 <= y < self.canvas.h)

    @staticmethod
    def _off_edge(point: np.ndarray) -> bool:
        """Whether a hand or face point is present; those in the first row or column count as absent."""
        return bool(point[2]) and min(_pixel(point)) > 0

    def _light(self, *points: np.ndarray) -> float:
        """Brightness: 1, or the product of the scores, each clipped to 1."""
        return math.prod(min(float(point[2]), 1.0) for point in points) if self.style.by_score else 1.0

    def _channels(self, color: Sequence[float]) -> tuple[float, ...]:
        return tuple(reversed(color)) if self.style.swap_red_blue else tuple(color)


def _pixel(point: np.ndarray) -> tuple[int, int]:
    return int(point[0]), int(point[1])
