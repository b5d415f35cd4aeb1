"""Dressed people: muted clothes, drawn faces, and the skirts, capes, hair and hats that hang around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import numpy as np

from sdpose_training.synthetic.body import KEYPOINT_NAMES, ZONES, BodyModel
from sdpose_training.synthetic.cloth import Cape, Skirt
from sdpose_training.synthetic.drapes import Drape, Figure
from sdpose_training.synthetic.hair import Hat, LongHair, Tail
from sdpose_training.synthetic.looks import Cloth, Look, sample_look
from sdpose_training.synthetic.palette import fabric_color, from_hsv
from sdpose_training.synthetic.proportions import Proportions, sample_proportions

_SMOOTH = 12
"""How often the surface under clothes is smoothed."""
_IRISES = np.array([[70, 45, 30], [50, 80, 110], [60, 90, 60], [90, 90, 95]], float)


class Hanging(Protocol):
    """Something that hangs on a body."""

    def drape(self, figure: Figure, seconds: float) -> Drape:
        """Its sheet on a posed body, `seconds` into a clip."""
        ...


@dataclass(frozen=True, eq=False)
class DressedLook(Look):
    """A look with eyes of any size, a fringe, strands of hair and folds.

    Attributes:
        eyes: size of the eyes. iris: (3,) RGB. fringe: meters that hair covers of the forehead.
        waves: (3, 4) of strands and folds: direction on the reference body times frequency, and phase.
        creases: how much the folds tilt the surface of clothes.
    """

    eyes: float
    iris: np.ndarray
    fringe: float
    waves: np.ndarray
    creases: float

    def paint(self, body: BodyModel, points: np.ndarray, zone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        colors, parts = super().paint(body, points, zone)
        if self.hair is not None:
            rows = np.flatnonzero(np.isin(zone, [ZONES.index("head"), ZONES.index("hair")]))
            x, z = points[rows, 0], points[rows, 2]
            edge = 0.684 - self.fringe * (1 + 0.35 * np.sin(x * 130 + self.waves[0, 3]))
            hairy = rows[(parts[rows] == 4) | ((z > edge) & (points[rows, 1] < -0.06))]
            strands = 1 + 0.05 * np.sin(210 * points[hairy, 0] + 60 * points[hairy, 1] + self.waves[1, 3])
            colors[hairy], parts[hairy] = self.hair * strands[:, None], 4
        return colors, parts

    def dress(self, body: BodyModel, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As of `Look`, but clothes lie over the hollows of the body, and normals are those of the clothes."""
        surface, normals = super().dress(body, points)
        clothed = self._clothed(body)
        hollow = ((body.smooth(points, _SMOOTH) - points)[clothed] * normals[clothed]).sum(1)
        surface[clothed] += np.clip(hollow, 0, 0.05)[:, None] * normals[clothed]
        smooth = body.normals(body.smooth(surface, 4))
        return surface, np.where(clothed[:, None], smooth, normals)

    def _clothed(self, body: BodyModel) -> np.ndarray:
        """(V,) bool: vertices under clothes that are not shoes."""
        _, bottom, top = self.cut.covers(body.reference_vertices, body.zone)
        return bottom | top

    def tilted(self, body: BodyModel, normals: np.ndarray) -> np.ndarray:
        """Normals (V, 3) with the folds of clothes."""
        clothed = self._clothed(body)
        points = body.reference_vertices[clothed]
        tilt = sum(
            np.sin(points @ wave[:3] + wave[3])[:, None] * wave[:3] / np.linalg.norm(wave[:3]) for wave in self.waves
        )
        tilted = normals.copy()
        tilted[clothed] += self.creases * tilt
        return tilted / np.maximum(np.linalg.norm(tilted, axis=1, keepdims=True), 1e-9)

    def _face(self, body: BodyModel, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Colors and parts of points (N, 3) of the head: skin with eyes, lashes, brows and a mouth."""
        nose, *eyes = (body.reference_keypoints[KEYPOINT_NAMES.index(n)] for n in ("nose", "left_eye", "right_eye"))
        size, lips = self.eyes, self.skin * [0.85, 0.5, 0.5]
        spots = [(nose + [0, 0.01, -0.047], np.array([0.024, 0.03, 0.007]), lips, 0.8)]
        for eye in eyes:
            wide, tall = 0.016 * min(size, 1.45), 0.008 * size
            spots.append(
                (eye + [0, 0, 0.25 * tall], np.array([wide * 1.12, 0.03, tall * 1.25]), self.brows * 0.5, 0.85)
            )
            spots.append((eye - [0, 0, 0.1 * tall], np.array([wide, 0.03, tall]), np.full(3, 240.0), 1.0))
            spots.append((eye - [0, 0, 0.1 * tall], np.array([0.5 * wide, 0.03, 0.95 * tall]), self.iris, 1.0))
            spots.append((eye, np.array([0.26 * wide, 0.03, 0.5 * tall]), np.full(3, 18.0), 1.0))
            spots.append(
                (eye + [0.2 * wide, 0, 0.45 * tall], np.array([0.2, 0.9, 0.2]) * wide, np.full(3, 255.0), size > 1.3)
            )
            spots.append((eye + [0, 0, 0.012 + 1.3 * tall], np.array([0.021, 0.03, 0.004]), self.brows, 0.75))
        colors, parts = np.tile(self.skin, (len(points), 1)), np.zeros(len(points), np.int64)
        for number, (middle, radii, color, share) in enumerate(spots):
            inside = (((points - middle) / radii) ** 2).sum(1) < 1
            colors[inside], parts[inside] = colors[inside] * (1 - share) + color * share, 5 + min(number, 6)
        return colors, parts


@dataclass(frozen=True, eq=False)
class Outfit:
    """What a person looks like in `dressed` pictures."""

    look: DressedLook
    proportions: Proportions
    hangings: Sequence[Hanging]

    def drapes(self, body: BodyModel, vertices: np.ndarray, keypoints: np.ndarray, seconds: float) -> tuple[Drape, ...]:
        """What hangs on a posed body in the world: vertices (V, 3), keypoints (65, 3)."""
        figure = Figure(body, vertices, keypoints)
        return tuple(hanging.drape(figure, seconds) for hanging in self.hangings)


def sample_outfit(rng: np.random.Generator, drawn: bool) -> Outfit:
    """A random outfit; `drawn` people have other proportions more often, and fancier hair."""
    proportions, plain = sample_proportions(rng, drawn), sample_look(rng)
    worn = tuple(replace(cloth, colors=np.stack([_fabric(rng, plain.skin), fabric_color(rng)])) for cloth in plain.worn)
    worn = tuple(cloth if rng.random() < 0.5 else replace(cloth, kind="plain") for cloth in worn)
    look = replace(plain, worn=worn)
    if look.hair is not None and drawn and rng.random() < 0.3:
        look = replace(look, hair=from_hsv(rng.random(), rng.uniform(0.2, 0.6), rng.uniform(0.4, 0.95)))
    look = replace(look, thickness=(0.008, rng.uniform(0.006, 0.03), rng.uniform(0.008, 0.035), look.thickness[3]))
    look, lower = _sample_lower(rng, look)
    hangings = [*lower, *_sample_cape(rng)]
    look, above = _sample_hair(rng, look)
    directions = rng.normal(size=(3, 3)) * [1.0, 1.0, 0.6]
    waves = np.column_stack([directions * rng.uniform(18, 45, (3, 1)), rng.uniform(0, 2 * np.pi, 3)])
    irises = from_hsv(rng.random(), 0.6, 0.75) if drawn and rng.random() < 0.5 else _IRISES[rng.integers(len(_IRISES))]
    return Outfit(
        DressedLook(
            **{each.name: getattr(look, each.name) for each in fields(Look)}, eyes=proportions.eyes, iris=irises,
            fringe=rng.uniform(0.0, 0.035) if rng.random() < 0.6 else -0.1, waves=waves,
            creases=rng.uniform(0.05, 0.22),
        ),
        proportions, [*hangings, *above],
    )  # fmt: skip


def _fabric(rng: np.random.Generator, skin: np.ndarray) -> np.ndarray:
    """A color of clothes that differs from the skin, as people would look undressed otherwise."""
    while True:
        color = fabric_color(rng)
        alike = color @ skin / np.linalg.norm(color) / np.linalg.norm(skin)
        if alike < np.cos(np.deg2rad(9)) or not 0.5 < np.linalg.norm(color) / np.linalg.norm(skin) < 1.8:
            return color


def _sample_lower(rng: np.random.Generator, look: Look) -> tuple[Look, list[Hanging]]:
    """In three of ten, a skirt, dress or open coat."""
    kind = rng.choice(["none", "skirt", "dress", "coat"], p=[0.68, 0.14, 0.12, 0.06])
    if kind == "none":
        return look, []
    u, coat = rng.uniform, kind == "coat"
    cloth = look.worn[1] if kind == "skirt" else look.worn[2]
    length = float(rng.choice([u(0.22, 0.42), u(0.42, 0.72)], p=[0.6, 0.4]))
    skirt = Skirt(
        cloth, length, flare=u(0.02, 0.3), folds=(u(0.005, 0.035), int(rng.integers(5, 13))),
        open_degrees=u(12, 40) if coat else 0.0, sway=(u(0.02, 0.15), u(0.5, 1.1)), phase=u(0, 6.3),
    )  # fmt: skip
    hem = look.cut.leg_hem if coat else -0.14
    cut = replace(look.cut, leg_hem=hem, top_hem=u(-0.1, -0.07) if kind != "skirt" else max(look.cut.top_hem, 0.0))
    worn = look.worn if coat or kind == "skirt" else (look.worn[0], cloth, cloth)
    return replace(look, cut=cut, worn=worn), [skirt]


def _sample_cape(rng: np.random.Generator) -> list[Hanging]:
    """One in eight has a cape, or a scarf with long ends."""
    if rng.random() > 0.12:
        return []
    u, scarf = rng.uniform, rng.random() < 0.3
    cloth = Cloth("plain" if rng.random() < 0.7 else "stripes", np.stack([fabric_color(rng), fabric_color(rng)]),
                  np.array([0.0, 0.0, 1.0]), u(30, 90), u(-0.5, 0.5), np.zeros((2, 3)))  # fmt: skip
    width = u(0.06, 0.12) if scarf else u(0.3, 0.42)
    return [Cape(cloth, u(0.5, 1.15), width, u(0.0, 0.35), u(0.0, 0.9), (u(0.05, 0.25), u(0.4, 1.2)), u(0, 6.3))]


def _sample_hair(rng: np.random.Generator, look: Look) -> tuple[Look, list[Hanging]]:
    """Short hair (about half), long hair, tails, hats."""
    u, above = rng.uniform, []
    if look.hair is not None:
        color, kind = _strands(look.hair), rng.choice(["short", "long", "tail", "tails"], p=[0.5, 0.33, 0.11, 0.06])
        sway = (u(0.03, 0.2), u(0.6, 1.4))
        if kind == "long":
            above = [
                LongHair(
                    color,
                    float(rng.choice([u(-0.03, 0.06), u(0.08, 0.6)])),
                    u(48, 75),
                    u(0.002, 0.015),
                    sway,
                    u(0, 6.3),
                )
            ]
        elif kind == "tail":
            above = [Tail(color, 180, u(0.6, 0.7), u(0.2, 0.6), u(0.025, 0.05), u(0.5, 0.8), sway, u(0, 6.3))]
        elif kind == "tails":
            height, length, radius, phase = u(0.61, 0.7), u(0.2, 0.7), u(0.022, 0.045), u(0, 6.3)
            above = [Tail(color, side, height, length, radius, 0.7, sway, phase) for side in (125, 235)]
    if rng.random() < 0.13:
        color = fabric_color(rng)
        look = replace(look, hair=color, thickness=(*look.thickness[:3], u(0.012, 0.03)))
        if rng.random() < 0.7:
            above = [*above, Hat(_plain(color), u(0.03, 0.13), float(rng.choice([0.0, u(0.12, 0.4)], p=[0.7, 0.3])))]
    return look, above


def _plain(color: np.ndarray) -> Cloth:
    return Cloth("plain", np.stack([color, color]), np.array([1.0, 0.0, 0.0]), 1.0, 0.0, np.zeros((2, 3)))


def _strands(color: np.ndarray) -> Cloth:
    """Hair with darker strands along its length."""
    return Cloth("stripes", np.stack([color, color * 0.8]), np.array([1.0, 0.0, 0.0]), 140.0, 0.3, np.zeros((2, 3)))
