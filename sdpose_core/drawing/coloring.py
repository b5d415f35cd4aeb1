"""Limbs and colors of what is drawn: OpenPose's body, and custom keypoint sets by a rule."""

from __future__ import annotations

import colorsys
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

from ..openpose.order import OPENPOSE_18_NAMES
from ..skeletons import HEAD, KeypointSet
from .styles import Color

PALE = 0.4
"""Saturation of what has no side, in a set that has sides."""

LEFT_HUES = (1 / 12, 5 / 12)
"""Orange to teal; far enough from their mirror images (hue -> 1 - hue) to tell left from right."""

STICKS: tuple[tuple[int, int], ...] = (
    (1, 2), (1, 5), (2, 3), (3, 4), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (1, 11), (11, 12), (12, 13),
    (1, 0), (0, 14), (14, 16), (0, 15), (15, 17),
)  # fmt: skip
"""Limbs between points of `OPENPOSE_18_NAMES`, in drawing order."""

HEAD_POINTS = frozenset(OPENPOSE_18_NAMES.index(name) for name in HEAD)

COLORS: tuple[Color, ...] = (
    (255, 0, 0), (255, 85, 0), (255, 170, 0), (255, 255, 0), (170, 255, 0), (85, 255, 0), (0, 255, 0), (0, 255, 85),
    (0, 255, 170), (0, 255, 255), (0, 170, 255), (0, 85, 255), (0, 0, 255), (85, 0, 255), (170, 0, 255),
    (255, 0, 255), (255, 0, 170), (255, 0, 85),
)  # fmt: skip


@dataclass(frozen=True)
class Coloring:
    """What the renderer draws as the body.

    Attributes:
        limbs: pairs of points, in drawing order.
        limb_colors: of each limb.
        point_colors: of each point.
        head: points that the part "head" switches.
    """

    limbs: tuple[tuple[int, int], ...]
    limb_colors: tuple[Color, ...]
    point_colors: tuple[Color, ...]
    head: frozenset[int] = frozenset()


OPENPOSE = Coloring(STICKS, COLORS[: len(STICKS)], COLORS, HEAD_POINTS)


def coloring_of(points: KeypointSet) -> Coloring:
    """The coloring of a custom set: all its links, in colors that depend on nothing but the set.

    What is left or right, by the flip pairs, gets pure colors: the left side has hues from orange over green to
    teal, in the order of links (or points); the right side the same hues mirrored, from pink over violet to blue. What
    has no side is pale, with hues all around the circle; pure, if the set has no sides at all.
    """
    partner = {right: left for left, right in points.flip_pairs}
    side = dict.fromkeys(partner.values(), 1) | dict.fromkeys(partner, -1)

    def limb(link: tuple[int, int]) -> tuple[Hashable, int]:
        return frozenset(partner.get(i, i) for i in link), sum(side.get(i, 0) for i in link)

    return Coloring(
        limbs=points.links,
        limb_colors=_colors([limb(link) for link in points.links]),
        point_colors=_colors([(partner.get(i, i), side.get(i, 0)) for i in range(len(points))]),
    )


def _colors(items: Sequence[tuple[Hashable, int]]) -> tuple[Color, ...]:
    """A color of each (key, side): side above 0 is left, below 0 right; a left and a right of one key are mirrored."""
    sided = list(dict.fromkeys(key for key, side in items if side))
    central = [number for number, (_, side) in enumerate(items) if not side]
    colors = []
    for number, (key, side) in enumerate(items):
        if side:
            low, high = LEFT_HUES
            hue = low + (high - low) * (sided.index(key) + 0.5) / len(sided)
            colors.append(_color(hue if side > 0 else 1 - hue, 1.0))
        else:
            colors.append(_color(central.index(number) / len(central), PALE if sided else 1.0))
    return tuple(colors)


def _color(hue: float, saturation: float) -> Color:
    """RGB 0-255 of a hue 0..1."""
    red, green, blue = (round(255 * channel) for channel in colorsys.hsv_to_rgb(hue, saturation, 1))
    return red, green, blue
