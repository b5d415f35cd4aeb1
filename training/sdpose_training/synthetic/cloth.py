"""Skirts, coats and capes of synthetic people, as sheets over the posed body (see `drapes`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdpose_training.synthetic.drapes import Drape, Figure, behind, fold, hang, ring, sheet, swing
from sdpose_training.synthetic.looks import Cloth

_TOP, _KNEE = -0.06, -0.39  # heights on the reference body where a skirt leaves the hips and the legs
SKIRT_PART, CAPE_PART = 12, 13
_COLUMNS = 40


@dataclass(frozen=True, eq=False)
class Skirt:
    """A skirt, or the lower part of a dress or coat.

    Attributes:
        length: meters from the hips to the hem.
        flare: meters wider per meter.
        folds: depth at the hem in meters, and number.
        open_degrees: angle at the front that is open; 0 for skirts.
        sway: meters that the hem swings, and cycles per second.
    """

    cloth: Cloth
    length: float
    flare: float
    folds: tuple[float, int]
    open_degrees: float
    sway: tuple[float, float]
    phase: float

    def drape(self, figure: Figure, seconds: float) -> Drape:
        left = _left(figure, "hip")
        heights = np.arange(_TOP, max(_TOP - self.length, _KNEE), -0.05)
        span = (self.open_degrees, 360 - self.open_degrees)
        rows = [
            ring(figure.band(z, "trunk"), left, figure.down(z, "trunk"), 0.02 + self.flare * (_TOP - z), span, _COLUMNS)
            for z in heights
        ]
        wind = swing(self.sway, self.phase, seconds) * left / np.linalg.norm(left)
        rows = hang(rows, self.length - 0.05 * (len(rows) - 1), self.flare, wind)
        return sheet(fold(rows, *self.folds, self.phase), self.cloth, SKIRT_PART)


@dataclass(frozen=True, eq=False)
class Cape:
    """A cape or, if narrow, the ends of a scarf, down from the shoulders.

    Attributes:
        length: meters. width: meters at the shoulders. flare: meters wider per meter.
        wind: meters to the back per meter of the part that hangs.
    """

    cloth: Cloth
    length: float
    width: float
    flare: float
    wind: float
    sway: tuple[float, float]
    phase: float

    def drape(self, figure: Figure, seconds: float) -> Drape:
        left = _left(figure, "shoulder")
        rows, done = [], 0.0
        for z in np.arange(0.47, -0.09, -0.05):
            if done > self.length:
                break
            half = (self.width + self.flare * done) / 2 * (0.7 if z > 0.46 else 1.0)
            gap = 0.02 + 0.1 * done
            rows.append(
                behind(figure.band(z, "trunk"), left, figure.down(z, "trunk"), gap, np.linspace(half, -half, 24))
            )
            done += 0.05
        back = np.cross(left, [0.0, 0.0, -1.0])
        wind = self.wind * back + swing(self.sway, self.phase, seconds) * left / np.linalg.norm(left)
        rows = hang(rows, self.length - done, self.flare / 2, wind)
        return sheet(fold(rows, 0.05, 5, self.phase), self.cloth, CAPE_PART)


def _left(figure: Figure, joint: str) -> np.ndarray:
    right, left = figure.joints(f"right_{joint}", f"left_{joint}")
    return left - right
