"""Things in the places behind synthetic people: furniture, windows, cars, trees, lamp posts. Meters; z is up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from sdpose_training.synthetic.palette import fabric_color, from_hsv, muted_color
from sdpose_training.synthetic.render import Camera

_SIDES = (
    ((0, 1, 5, 4), (0.0, -1.0, 0.0), 1.0), ((1, 3, 7, 5), (1.0, 0.0, 0.0), 0.75),
    ((2, 0, 4, 6), (-1.0, 0.0, 0.0), 0.75),
    ((4, 5, 7, 6), (0.0, 0.0, 1.0), 1.15), ((0, 1, 3, 2), (0.0, 0.0, -1.0), 0.45),
)  # fmt: skip
"""Corners (bits: x, y, z), normal and light of the sides of a box; its far side is never seen."""


class Item(Protocol):
    """A thing at a `place` (3,)."""

    @property
    def place(self) -> np.ndarray: ...

    def draw(self, image: np.ndarray, camera: Camera) -> None:
        """Paint it on the picture (h, w, 3) float32."""
        ...


@dataclass(frozen=True, eq=False)
class Box:
    """A box along the axes: corners `low` and `high` (3,); `color` (3,) RGB."""

    low: np.ndarray
    high: np.ndarray
    color: np.ndarray

    @property
    def place(self) -> np.ndarray:
        return (self.low + self.high) / 2

    def draw(self, image: np.ndarray, camera: Camera) -> None:
        corners = np.array([[(self.low, self.high)[i >> axis & 1][axis] for axis in range(3)] for i in range(8)])
        for numbers, normal, light in _SIDES:
            quad = corners[list(numbers)]
            if (camera.position - quad[0]) @ np.array(normal) > 0:
                fill(image, camera, quad, self.color * light)


@dataclass(frozen=True, eq=False)
class Crown:
    """Leaves: `spots` (N, 3) of `radius` meters in the colors (N, 3), painted in their order."""

    spots: np.ndarray
    radius: float
    colors: np.ndarray

    @property
    def place(self) -> np.ndarray:
        return self.spots.mean(0) - [0, 0.01, 0]

    def draw(self, image: np.ndarray, camera: Camera) -> None:
        import cv2

        pixels, depth = camera.project(self.spots)
        if (depth < 0.5).any():
            return
        for (x, y), far, color in zip(np.clip(pixels, -4000, 4000), depth, self.colors, strict=True):
            cv2.circle(image, (int(x), int(y)), max(int(self.radius * camera.focal_px / far), 1), color.tolist(), -1)


@dataclass(frozen=True, eq=False)
class Wheel:
    """A wheel seen from the side."""

    place: np.ndarray
    radius: float

    def draw(self, image: np.ndarray, camera: Camera) -> None:
        turns = np.linspace(0, 2 * np.pi, 17)[:-1]
        circle = np.stack([np.cos(turns), np.zeros(16), np.sin(turns)], axis=1)
        for share, gray in ((1.0, 28.0), (0.55, 150.0), (0.2, 90.0)):
            fill(image, camera, self.place + share * self.radius * circle, np.full(3, gray))


def fill(image: np.ndarray, camera: Camera, corners: np.ndarray, color: np.ndarray) -> None:
    """Paint a convex polygon (N, 3) of the world, unless it reaches behind the camera."""
    import cv2

    pixels, depth = camera.project(corners)
    if (depth > 0.3).all():
        points = np.round(np.clip(pixels, -8000, 8000) * 16).astype(np.int32)
        cv2.fillConvexPoly(image, points, np.clip(color, 0, 255).tolist(), cv2.LINE_8, 4)


def box(x: float, y: float, z: float, w: float, d: float, h: float, color: np.ndarray) -> Box:
    """A box of width `w`, depth `d` and height `h`, whose front lower left corner is (x, y, z)."""
    low = np.array([x, y, z])
    return Box(low, low + [w, d, h], color)


def on_wall(rng: np.random.Generator, y: float, left: float, right: float, height: float) -> list[Item]:
    """Windows with or without curtains, a door, pictures on the wall at depth `y`."""
    u, items = rng.uniform, []
    for x in np.arange(left + u(0.2, 1), right - 1, u(1.3, 2.4)):
        kind = rng.choice(["window", "door", "picture", "nothing"], p=[0.3, 0.12, 0.28, 0.3])
        if kind == "window":
            w, low, top, white = u(0.8, 1.3), u(0.6, 1.0), height - u(0.3, 0.6), np.full(3, u(200, 250))
            sky = from_hsv(0.57, u(0, 0.35), u(0.75, 1.0))
            items += [
                box(x, y, low, w, 0.01, top - low, white),
                box(x + 0.06, y - 0.01, low + 0.06, w - 0.12, 0.01, top - low - 0.12, sky),
                box(x + w / 2 - 0.02, y - 0.02, low, 0.04, 0.01, top - low, white),
            ]
            if rng.random() < 0.5:
                items += _curtains(rng, x, y, w, low, top)
        elif kind == "door":
            color = muted_color(rng, (0.3, 0.9))
            items += [box(x, y, 0, 0.95, 0.01, 2.1, color * 0.8), box(x + 0.06, y - 0.01, 0, 0.83, 0.01, 2.04, color)]
        elif kind == "picture":
            w, h, z = u(0.3, 0.9), u(0.3, 0.8), u(1.2, 1.6)
            items += [
                box(x, y, z, w, 0.01, h, muted_color(rng, (0.1, 0.5))),
                box(x + 0.04, y - 0.01, z + 0.04, w - 0.08, 0.01, h - 0.08, muted_color(rng, (0.4, 0.95), 0.6)),
                box(x + 0.04, y - 0.02, z + 0.04, w - 0.08, 0.01, h * u(0.2, 0.5), muted_color(rng, (0.2, 0.8), 0.6)),
            ]
    return items


def _curtains(rng: np.random.Generator, x: float, y: float, w: float, low: float, top: float) -> list[Box]:
    color, bottom = fabric_color(rng), rng.choice([0.05, low - 0.1])
    strips = [side + i * 0.06 for side in (x - 0.15, x + w - 0.2) for i in range(6)]
    return [box(at, y - 0.06, bottom, 0.06, 0.01, top - bottom + 0.1, color * rng.uniform(0.8, 1.1)) for at in strips]


def furniture(rng: np.random.Generator, back: float, left: float, right: float) -> list[Item]:
    """Cupboards, shelves, tables and sofas along the wall, some meters behind the middle."""
    items: list[Item] = []
    for _ in range(int(rng.integers(1, 6))):
        x, kind = rng.uniform(left, right - 1), rng.choice(["cupboard", "shelf", "table", "sofa", "plant"])
        color = muted_color(rng, (0.2, 0.85), 0.55)
        items += _FURNITURE[str(kind)](rng, x, back, color)
    return items


def _cupboard(rng: np.random.Generator, x: float, back: float, color: np.ndarray) -> list[Item]:
    w, h, d = rng.uniform(0.6, 1.8), rng.uniform(0.7, 2.2), rng.uniform(0.35, 0.6)
    doors = max(round(w / 0.5), 1)
    fronts = [
        box(x + i * w / doors + 0.02, back - d - 0.005, 0.08, w / doors - 0.04, 0.004, h - 0.12, color * 1.12)
        for i in range(doors)
    ]
    return [box(x, back - d, 0, w, d, h, color), *fronts]


def _shelf(rng: np.random.Generator, x: float, back: float, color: np.ndarray) -> list[Item]:
    w, h, d = rng.uniform(0.7, 1.8), rng.uniform(1.2, 2.2), 0.32
    items: list[Item] = [box(x, back - d, 0, w, d, h, color * 0.55)]
    for level in np.arange(0.1, h - 0.25, 0.36):
        items.append(box(x, back - d - 0.01, level - 0.03, w, 0.01, 0.03, color))
        at = x + 0.03
        while at < x + w - 0.1 and rng.random() < 0.93:
            thick = rng.uniform(0.03, 0.09)
            items.append(box(at, back - d - 0.01, level, thick, 0.01, rng.uniform(0.16, 0.3), fabric_color(rng)))
            at += thick + (rng.random() < 0.1) * 0.1
    return items


def _table(rng: np.random.Generator, x: float, back: float, color: np.ndarray) -> list[Item]:
    w, d, h, y = rng.uniform(0.8, 1.8), rng.uniform(0.5, 0.9), rng.uniform(0.45, 0.8), back - rng.uniform(0.9, 1.4)
    legs = [box(x + i * (w - 0.06), y + j * (d - 0.06), 0, 0.06, 0.06, h, color * 0.8) for j in (1, 0) for i in (0, 1)]
    things = [
        box(
            x + rng.uniform(0, w - 0.25),
            y + 0.2,
            h + 0.04,
            rng.uniform(0.08, 0.25),
            0.1,
            rng.uniform(0.05, 0.3),
            fabric_color(rng),
        )
        for _ in range(rng.integers(0, 4))
    ]
    return [*legs, box(x, y, h, w, d, 0.04, color), *things]


def _sofa(rng: np.random.Generator, x: float, back: float, color: np.ndarray) -> list[Item]:
    w, y, color = rng.uniform(0.9, 2.2), back - 0.95, fabric_color(rng)
    cushions = [
        box(x + 0.2 + i * 0.5, y + 0.35, 0.45, 0.42, 0.15, 0.35, fabric_color(rng)) for i in range(int(w / 0.7))
    ]
    return [
        box(x, y + 0.6, 0, w, 0.25, 0.85, color),
        *cushions,
        box(x, y, 0.1, w, 0.8, 0.33, color * 1.05),
        box(x, y, 0.1, 0.18, 0.8, 0.52, color * 0.92),
        box(x + w - 0.18, y, 0.1, 0.18, 0.8, 0.52, color * 0.92),
    ]


def _plant(rng: np.random.Generator, x: float, back: float, color: np.ndarray) -> list[Item]:
    y, h = back - 0.5, rng.uniform(0.5, 1.4)
    return [
        box(x, y, 0, 0.3, 0.3, 0.32, color),
        _crown(rng, np.array([x + 0.15, y + 0.15, 0.3 + h / 2]), (0.3, 0.3, h / 2), 120),
    ]


_FURNITURE = {"cupboard": _cupboard, "shelf": _shelf, "table": _table, "sofa": _sofa, "plant": _plant}


def _crown(rng: np.random.Generator, middle: np.ndarray, radii: Sequence[float], count: int) -> Crown:
    """Leaves in an ellipsoid: brighter above, darker below."""
    spots = rng.normal(size=(count, 3))
    spots = spots / np.linalg.norm(spots, axis=1, keepdims=True) * rng.uniform(0.3, 1, (count, 1)) ** 0.4
    hue, saturation, value = (
        rng.choice([rng.uniform(0.2, 0.33), rng.uniform(0.06, 0.14)], p=[0.85, 0.15]),
        rng.uniform(0.3, 0.6),
        rng.uniform(0.25, 0.5),
    )
    light = (1 + 0.4 * spots[:, 2] + rng.normal(0, 0.15, count))[:, None]
    order = np.argsort(-spots[:, 1])  # far ones first
    return Crown(
        (middle + spots * radii)[order],
        0.15 * float(np.mean(radii)),
        np.clip(from_hsv(hue, saturation, value) * light, 0, 255)[order],
    )


def tree(rng: np.random.Generator, x: float, y: float) -> list[Item]:
    """A trunk and a crown."""
    h, r = rng.uniform(2.5, 8), rng.uniform(0.8, 2.2)
    trunk, bark = rng.uniform(0.08, 0.25), from_hsv(0.07, 0.35, rng.uniform(0.2, 0.45))
    return [
        box(x - trunk, y, 0, 2 * trunk, 2 * trunk, h * 0.8, bark),
        _crown(rng, np.array([x, y, h]), (r, r, r * rng.uniform(0.7, 1.5)), 220),
    ]


def car(rng: np.random.Generator, x: float, y: float) -> list[Item]:
    """A body, a cabin with windows, wheels; seen from the side."""
    color, dark = fabric_color(rng), np.full(3, 30.0)
    wheels = [Wheel(np.array([x + at, y - 0.02, 0.31]), 0.31) for at in (0.85, 3.3)]
    return [
        box(x + 0.9, y + 0.1, 0.8, 2.2, 1.4, 0.6, color * 0.9),
        box(x, y, 0.3, 4.2, 1.6, 0.55, color),
        box(x + 1.0, y + 0.09, 0.88, 0.95, 0.01, 0.42, dark * 2),
        box(x + 2.05, y + 0.09, 0.88, 0.95, 0.01, 0.42, dark * 2),
        *wheels,
    ]


def on_street(rng: np.random.Generator, curb: float, facade: float) -> list[Item]:
    """Parked cars, trees, lamp posts."""
    u, items = rng.uniform, []
    if rng.random() < 0.5 and facade > curb + 4:
        for x in np.arange(u(-12, -8), 10, u(4.8, 8)):
            items += car(rng, x, curb + u(0.3, 0.8))
    for _ in range(rng.integers(0, 4)):
        x, y = rng.choice([-1, 1]) * u(1.5, 9), u(3.2, facade)
        items += tree(rng, x, y) if rng.random() < 0.55 else _lamp(rng, x, y)
    return items


def _lamp(rng: np.random.Generator, x: float, y: float) -> list[Item]:
    color, h = np.full(3, rng.uniform(30, 110)), rng.uniform(3, 6)
    return [box(x, y, 0, 0.09, 0.09, h, color), box(x - 0.2, y, h, 0.5, 0.2, 0.1, color * 1.3)]


def in_nature(rng: np.random.Generator, kind: str) -> list[Item]:
    """Trees, bushes, rocks or a fence; few in sand and snow."""
    u, items = rng.uniform, []
    for _ in range(int(rng.integers(0, 9 if kind in ("grass", "earth") else 4))):
        x, y = u(-14, 14), u(4, 30)
        choice = rng.choice(["tree", "bush", "rock"], p=[0.55, 0.3, 0.15])
        if choice == "tree":
            items += tree(rng, x, y)
        elif choice == "bush":
            r = u(0.4, 1.2)
            items.append(_crown(rng, np.array([x, y, r * 0.6]), (r, r, r * 0.7), 150))
        else:
            items.append(box(x, y, 0, u(0.3, 1.2), u(0.3, 1), u(0.2, 0.7), np.full(3, u(90, 160))))
    if rng.random() < 0.15:
        y, color = u(3.5, 9), muted_color(rng, (0.3, 0.9))
        items += [box(x, y, 0, 0.1, 0.05, 1.1, color) for x in np.arange(-9, 9, 1.5)]
        items += [box(-9, y - 0.02, z, 18, 0.03, 0.1, color) for z in (0.45, 0.85)]
    return items
