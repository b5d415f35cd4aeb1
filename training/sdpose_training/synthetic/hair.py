"""Long hair, tails and hats of synthetic people, as sheets and tubes around the posed head (see `drapes`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdpose_training.synthetic.drapes import Drape, Figure, axes, behind, fold, hang, ring, sheet, swing, unit
from sdpose_training.synthetic.looks import Cloth

HAIR_PART, HAT_PART = 14, 15
_HEAD = ("head", "hair", "neck")
_CROWN, _CHIN = 0.69, 0.53  # heights on the reference body


@dataclass(frozen=True, eq=False)
class LongHair:
    """Hair over the ears and down the back.

    Attributes:
        length: meters from the chin down; can be negative (a bob).
        open_degrees: angle at the face that is free of hair. gap: meters between head and hair.
    """

    color: Cloth
    length: float
    open_degrees: float
    gap: float
    sway: tuple[float, float]
    phase: float

    def drape(self, figure: Figure, seconds: float) -> Drape:
        left, down = _head_axes(figure)
        span, columns = (self.open_degrees, 360 - self.open_degrees), 26
        heights = np.arange(_CROWN, max(_CHIN, _CHIN - self.length) - 0.001, -0.04)
        rows = [
            ring(figure.band(z, *_HEAD), left, down, self.gap + 0.06 * (_CROWN - z), span, columns) for z in heights
        ]
        right, other = figure.joints("right_shoulder", "left_shoulder")
        half = 0.42 * float(np.linalg.norm(rows[-1][0] - rows[-1][-1])) + 0.05
        for done in np.arange(0.06, min(self.length, 0.5), 0.06):
            z = 0.5 - (done - 0.06)
            points = figure.band(z, "trunk", "neck")
            lateral = np.linspace(half, -half, columns) * (1 - 0.5 * done)
            rows.append(behind(points, other - right, figure.down(z, "trunk"), 0.03, lateral))
        wind = swing(self.sway, self.phase, seconds) * unit(other - right)
        rows = hang(rows, self.length - 0.5, 0.0, wind)
        return sheet(fold(rows, 0.012, 9, self.phase), self.color, HAIR_PART)


@dataclass(frozen=True, eq=False)
class Tail:
    """One tail of hair that starts `degrees` around the head from the face, at a height of the reference head."""

    color: Cloth
    degrees: float
    height: float
    length: float
    radius: float
    stiffness: float
    sway: tuple[float, float]
    phase: float

    def drape(self, figure: Figure, seconds: float) -> Drape:
        left, down = _head_axes(figure)
        points = figure.band(self.height, *_HEAD)
        start = ring(points, left, down, 0.0, (self.degrees, self.degrees), 2)[0]
        along = unit(unit(start - points.mean(0)) - 0.35 * down)
        path, fall = [start], np.array([0.0, 0.0, -1.0]) + swing(self.sway, self.phase, seconds) * left
        for _ in range(12):
            path.append(path[-1] + self.length / 12 * along)
            along = unit(self.stiffness * along + (1 - self.stiffness) * fall)
        return sheet(_tube(np.stack(path), left, self.radius), self.color, HAIR_PART, closed=True)


@dataclass(frozen=True, eq=False)
class Hat:
    """A brim around the head, and a cone of `height` meters above it (0: only the brim)."""

    cloth: Cloth
    brim: float
    height: float

    def drape(self, figure: Figure, seconds: float) -> Drape:
        left, down = _head_axes(figure)
        points, columns = figure.band(0.705, *_HEAD), 32
        inner = ring(points, left, down, 0.006, (0, 360), columns)
        outer = inner + self.brim * unit(inner - inner.mean(0)) + 0.25 * self.brim * down
        rows = [outer, inner]
        if self.height:
            top = inner.mean(0) - self.height * down
            rows += [inner + share * (top - inner) for share in (0.25, 0.5, 0.75, 0.98)]
        return sheet(np.stack(rows), self.cloth, HAT_PART)


def _head_axes(figure: Figure) -> tuple[np.ndarray, np.ndarray]:
    """The head's directions to the left and down."""
    nose, right, left = figure.joints("nose", "right_ear", "left_ear")
    across = unit(left - right)
    front = nose - (left + right) / 2
    down = unit(np.cross(-front, across))
    return axes(across, down)[0], down


def _tube(path: np.ndarray, left: np.ndarray, radius: float) -> np.ndarray:
    """(N, 8, 3) rings around a path (N, 3), thickest in its first third, pointed at its end."""
    share = np.linspace(0, 1, len(path))
    width = radius * np.minimum(0.45 + 2.2 * share, 1) * (1 - share**2.5)
    along = unit(np.gradient(path, axis=0))
    across = unit(left - (along @ left)[:, None] * along)
    other = np.cross(across, along)
    angles = 2 * np.pi * np.arange(8)[None, :, None] / 8
    return path[:, None] + width[:, None, None] * (np.cos(angles) * across[:, None] + np.sin(angles) * other[:, None])
