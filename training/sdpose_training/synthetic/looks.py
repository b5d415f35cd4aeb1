"""Looks of synthetic people: body shapes, skin, hair, and clothes with patterns and thickness.

Clothes are colors on the reference body: a garment covers the trunk between two heights and part of the arms. Colors
are RGB, 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdpose_training.synthetic.body import KEYPOINT_NAMES, ZONES, BodyModel

_SKIN_TONES = np.array(
    [[246, 214, 192], [228, 185, 152], [198, 150, 112], [150, 102, 70], [105, 68, 46], [68, 44, 33]], float
)
_HAIR_COLORS = np.array(
    [[25, 20, 18], [60, 40, 28], [110, 75, 45], [190, 150, 90], [130, 60, 30], [170, 170, 170]], float
)
_ANKLE, _WAIST, _SHOULDER_X, _WRIST_X = -0.76, 0.08, 0.165, 0.45  # on the reference body, meters


def sample_shape(rng: np.random.Generator) -> dict[str, float]:
    """anny's phenotypes, 0..1: mostly adults, one in six is a child; no infants."""
    age = rng.uniform(0.28, 0.55) if rng.random() < 0.17 else rng.uniform(0.6, 1.0)
    return {
        "age": age,
        "gender": float(np.clip(rng.choice([0.1, 0.9]) + rng.normal(0, 0.12), 0, 1)),
        "muscle": rng.uniform(0.1, 0.95),
        "weight": float(np.clip(rng.normal(0.5, 0.24), 0.02, 1)),
        "height": float(np.clip(rng.normal(0.5, 0.08), 0.3, 0.7)),
        "proportions": rng.uniform(0, 1),
    }


def random_color(rng: np.random.Generator) -> np.ndarray:
    """(3,) RGB; gray and muted colors are as frequent as bright ones."""
    color = rng.uniform(0, 255, 3)
    return color.mean() + (color - color.mean()) * rng.choice([0.15, 0.6, 1.0, 1.3])


@dataclass(frozen=True)
class Cut:
    """Extent of clothes: heights on the trunk, share of the arm covered by a sleeve; collar; shoes."""

    top_hem: float
    sleeve: float
    waist: float
    leg_hem: float
    collar: bool
    shoes: bool

    def covers(self, points: np.ndarray, zone: np.ndarray) -> list[np.ndarray]:
        """Whether shoes, bottom and top cover points (N, 3) of the reference body, (N,) bool each; innermost first."""
        z = points[:, 2]
        trunk, arm, foot, neck = (zone == ZONES.index(name) for name in ("trunk", "arm", "foot", "neck"))
        along = (np.abs(points[:, 0]) - _SHOULDER_X) / (_WRIST_X - _SHOULDER_X)
        return [
            (foot | (trunk & (z < _ANKLE))) & self.shoes,
            trunk & (z > self.leg_hem) & (z < self.waist),
            (trunk & (z > self.top_hem)) | (arm & (along < self.sleeve)) | (neck & self.collar),
        ]


@dataclass(frozen=True, eq=False)
class Cloth:
    """Colors of a garment: plain, striped, checked, or with a print on the chest."""

    kind: str
    colors: np.ndarray  # (2, 3)
    direction: np.ndarray  # (3,), unit length
    pitch: float
    share: float
    print_box: np.ndarray  # (2, 3): middle, half size

    def paint(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 3) of the reference body -> colors (N, 3)."""
        if self.kind == "plain":
            return np.broadcast_to(self.colors[0], points.shape)
        if self.kind == "stripes":
            second = np.sin(points @ self.direction * self.pitch) > self.share
        elif self.kind == "checks":
            second = np.sin(points[:, 0] * self.pitch) * np.sin(points[:, 2] * self.pitch) > 0
        else:
            second = (np.abs(points - self.print_box[0]) < self.print_box[1]).all(1)
        return self.colors[second.astype(int)]


@dataclass(frozen=True, eq=False)
class Look:
    """Skin, hair and clothes of one person. `worn`: shoes, bottom, top."""

    skin: np.ndarray
    brows: np.ndarray
    hair: np.ndarray | None
    cut: Cut
    worn: tuple[Cloth, Cloth, Cloth]
    thickness: tuple[float, float, float, float]  # meters: shoes, bottom, top, hair

    def bulk(self, body: BodyModel) -> np.ndarray:
        """(V,) thickness of cloth or hair over the skin, in meters."""
        bulk = np.zeros(len(body.zone))
        for covered, meters in zip(self.cut.covers(body.reference_vertices, body.zone), self.thickness, strict=False):
            bulk[covered] = meters
        if self.hair is not None:
            bulk[body.zone == ZONES.index("hair")] = self.thickness[3]
        return bulk

    def dress(self, body: BodyModel, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Vertices (V, 3) of a posed body -> the surface of skin, clothes and hair (V, 3); unit normals (V, 3)."""
        normals = body.normals(points)
        return points + normals * self.bulk(body)[:, None], normals

    def paint(self, body: BodyModel, points: np.ndarray, zone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 3) of the reference body, zones (N,) -> colors (N, 3), parts (N,) for outlines."""
        colors, parts = np.tile(self.skin, (len(points), 1)), np.zeros(len(points), np.int64)
        head = np.flatnonzero(zone == ZONES.index("head"))
        colors[head], parts[head] = self._face(body, points[head])
        for part, (covered, cloth) in enumerate(zip(self.cut.covers(points, zone), self.worn, strict=True), start=1):
            colors[covered], parts[covered] = cloth.paint(points[covered]), part
        if self.hair is not None:
            hairy = zone == ZONES.index("hair")
            colors[hairy], parts[hairy] = self.hair, 4
        return colors, parts

    def _face(self, body: BodyModel, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Colors and parts of points (N, 3) of the head: skin with eyes, brows and a mouth."""
        nose, *eyes = (body.reference_keypoints[KEYPOINT_NAMES.index(n)] for n in ("nose", "left_eye", "right_eye"))
        spots = [(nose + [0, 0.01, -0.047], (0.026, 0.03, 0.009), np.array([150.0, 55.0, 60.0]), 0.6)]
        for eye in eyes:
            spots.append((eye, (0.018, 0.03, 0.009), np.full(3, 235.0), 0.6))
            spots.append((eye, (0.008, 0.03, 0.008), np.full(3, 28.0), 0.9))
            spots.append((eye + [0, 0, 0.022], (0.022, 0.03, 0.005), self.brows, 0.7))
        colors, parts = np.tile(self.skin, (len(points), 1)), np.zeros(len(points), np.int64)
        for part, (middle, radii, color, share) in enumerate(spots, start=5):
            inside = (((points - middle) / radii) ** 2).sum(1) < 1
            colors[inside], parts[inside] = colors[inside] * (1 - share) + color * share, part
        return colors, parts


def sample_look(rng: np.random.Generator) -> Look:
    """Random skin, hair and clothes."""
    tone = rng.uniform(0, len(_SKIN_TONES) - 1)
    skin = np.array([np.interp(tone, range(len(_SKIN_TONES)), channel) for channel in _SKIN_TONES.T])
    natural = _HAIR_COLORS[rng.integers(len(_HAIR_COLORS))] * rng.uniform(0.7, 1.3)
    hair = np.clip(natural if rng.random() < 0.85 else random_color(rng), 0, 255)
    return Look(
        skin=np.clip(skin * rng.uniform(0.9, 1.08), 0, 255),
        brows=_HAIR_COLORS[rng.integers(3)],
        hair=hair if rng.random() < 0.9 else None,
        cut=_sample_cut(rng),
        worn=(_sample_cloth(rng), _sample_cloth(rng), _sample_cloth(rng)),
        thickness=(0.008, rng.uniform(0, 0.03), rng.uniform(0, 0.035), rng.uniform(0.003, 0.035)),
    )


def _sample_cut(rng: np.random.Generator) -> Cut:
    u = rng.uniform
    return Cut(
        top_hem=float(rng.choice([u(-0.12, 0.06), u(-0.6, -0.2)], p=[0.86, 0.14])),  # shirt, dress
        sleeve=float(rng.choice([-1.0, u(0.1, 0.5), u(0.85, 1.05)], p=[0.15, 0.35, 0.5])),
        waist=_WAIST + u(-0.05, 0.04),
        leg_hem=float(rng.choice([_ANKLE - 0.02, u(-0.6, -0.35), u(-0.3, -0.1)], p=[0.65, 0.15, 0.2])),
        collar=bool(rng.random() < 0.2),
        shoes=bool(rng.random() < 0.85),
    )


def _sample_cloth(rng: np.random.Generator) -> Cloth:
    u, direction = rng.uniform, rng.normal(size=3)
    return Cloth(
        kind=str(rng.choice(["plain", "stripes", "checks", "print"], p=[0.6, 0.16, 0.1, 0.14])),
        colors=np.clip(np.stack([random_color(rng), random_color(rng)]), 0, 255),
        direction=direction / np.linalg.norm(direction),
        pitch=u(30, 160),
        share=u(-0.6, 0.6),
        print_box=np.array([[u(-0.1, 0.1), 0, u(0.1, 0.4)], u(0.04, 0.15, 3) + [0, 0.2, 0]]),
    )
