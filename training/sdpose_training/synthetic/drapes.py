"""Sheets of cloth or hair around a posed body: rows of points that follow the body, then hang.

A row follows the part of the body at one height of the reference body: around it (`ring`: skirts) or behind it
(`behind`: capes, hair). Left, down and back are directions of the body; meters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from sdpose_training.synthetic.body import KEYPOINT_NAMES, ZONES, BodyModel
from sdpose_training.synthetic.looks import Cloth

_BAND = 0.024  # half the height of the band of a row
_SUPPORTS = 32


@dataclass(frozen=True, eq=False)
class Drape:
    """A two-sided sheet: vertices (N, 3), unit normals, faces (M, 3).

    `cloth` paints it at the points `reference` (N, 3); `part` is its number for outlines.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    reference: np.ndarray
    cloth: Cloth
    part: int


@dataclass(frozen=True, eq=False)
class Figure:
    """A posed body in the world: vertices (V, 3) with clothes, keypoints (65, 3)."""

    body: BodyModel
    vertices: np.ndarray
    keypoints: np.ndarray
    _bands: dict = field(default_factory=dict)

    def band(self, height: float, *zones: str) -> np.ndarray:
        """(N, 3) vertices of the zones near a height of the reference body."""
        key = round(height, 3), zones
        if key not in self._bands:
            z, half = self.body.reference_vertices[:, 2], _BAND
            allowed = np.isin(self.body.zone, [ZONES.index(zone) for zone in zones])
            while not (near := allowed & (np.abs(z - height) < half)).any():
                half += _BAND
            self._bands[key] = self.vertices[near]
        return self._bands[key]

    def joints(self, *names: str) -> np.ndarray:
        """(N, 3) keypoints by name."""
        return self.keypoints[[KEYPOINT_NAMES.index(name) for name in names]]

    def down(self, height: float, *zones: str) -> np.ndarray:
        """(3,) unit direction of the body at a height, toward the feet."""
        return unit(self.band(height - 0.05, *zones).mean(0) - self.band(height + 0.05, *zones).mean(0))


def unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-9)


def swing(sway: tuple[float, float], phase: float, seconds: float) -> float:
    """How far cloth or hair swings to the left; `sway` is the reach, and cycles per second."""
    reach, cycles = sway
    return reach * np.sin(2 * np.pi * cycles * seconds + phase)


def axes(left: np.ndarray, down: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The direction to the left that is perpendicular to `down`, and the one to the back."""
    left = unit(left - (left @ down) * down)
    return left, np.cross(left, down)


def ring(
    points: np.ndarray, left: np.ndarray, down: np.ndarray, gap: float, span: tuple[float, float], columns: int
) -> np.ndarray:
    """(columns, 3) points around `points` (N, 3), `gap` outside of their hull.

    They go from `span[0]` to `span[1]` degrees: 0 is in front, 90 to the left.
    """
    left, back = axes(left, down)
    angles = np.deg2rad(np.linspace(*span, _SUPPORTS))
    outward = np.sin(angles)[:, None] * left - np.cos(angles)[:, None] * back
    hull = points[(points @ outward.T).argmax(0)] + gap * outward
    return _even(hull, columns)


def behind(points: np.ndarray, left: np.ndarray, down: np.ndarray, gap: float, sideways: np.ndarray) -> np.ndarray:
    """(C, 3) points `gap` behind `points` (N, 3), `sideways` (C,) meters to the left of their middle."""
    left, back = axes(left, down)
    middle = points.mean(0)
    x, y = (points - middle) @ left, (points - middle) @ back
    reach = np.where(np.abs(x - sideways[:, None]) < 0.07, y, -np.inf).max(1)
    reach = np.where(np.isfinite(reach), reach, np.quantile(y, 0.5))
    padded = np.pad(reach, 1, mode="edge")
    smooth = np.maximum(reach, (padded[:-2] + padded[1:-1] + padded[2:]) / 3)
    return middle + sideways[:, None] * left + (smooth + gap)[:, None] * back


def hang(rows: list[np.ndarray], length: float, flare: float, wind: np.ndarray, step: float = 0.05) -> list[np.ndarray]:
    """Continue at least two rows (C, 3) downward by `length`, wider by `flare` per meter, moved by the wind (3,)."""
    last, along = rows[-1], unit((rows[-1] - rows[-2]).mean(0))
    down = np.array([0.0, 0.0, -1.0]) + wind
    added = []
    for _ in range(max(round(length / step), 0)):
        along = unit(0.6 * along + 0.4 * down)
        outward = last - last.mean(0)
        outward = unit(outward - (outward @ along)[:, None] * along)
        last = last + step * along + flare * step * outward
        last = np.column_stack([last[:, :2], np.maximum(last[:, 2], 0.006)])  # on the ground, not under it
        added.append(last)
    return rows + added


def fold(rows: Sequence[np.ndarray], depth: float, waves: float, phase: float) -> np.ndarray:
    """Rows (R, C, 3) with folds that grow downward to `depth` meters."""
    grid = np.stack(rows)
    outward = unit(grid - grid.mean(1, keepdims=True))
    share = np.linspace(0, 1, len(grid))[:, None, None] ** 0.8
    angle = np.linspace(0, 2 * np.pi, grid.shape[1])[None, :, None]
    return grid + depth * share * (0.5 + 0.5 * np.sin(waves * angle + phase + share)) * outward


def sheet(grid: np.ndarray, cloth: Cloth, part: int, closed: bool = False) -> Drape:
    """A drape of grid points (R, C, 3); `closed`: the last column is joined to the first."""
    r, c = grid.shape[:2]
    number = np.arange(r * c).reshape(r, c)
    right = np.roll(number, -1, 1) if closed else number[:, 1:]
    here = number if closed else number[:, :-1]
    a, b, d, e = here[:-1].ravel(), right[:-1].ravel(), here[1:].ravel(), right[1:].ravel()
    faces = np.concatenate([np.stack([a, d, b], 1), np.stack([b, d, e], 1)])
    points = grid.reshape(-1, 3)
    corners = points[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.zeros_like(points)
    for corner in range(3):
        np.add.at(normals, faces[:, corner], across)
    normals = unit(normals)
    return Drape(
        np.concatenate([points, points]), np.concatenate([normals, -normals]),
        np.concatenate([faces, faces[:, ::-1] + len(points)]), np.tile(_flattened(r, c), (2, 1)), cloth, part,
    )  # fmt: skip


def _flattened(rows: int, columns: int) -> np.ndarray:
    """(R C, 3) points on the reference body's front whose pattern the sheet shows."""
    z, x = np.meshgrid(0.3 - 0.05 * np.arange(rows), np.linspace(-0.5, 0.5, columns), indexing="ij")
    return np.stack([x.ravel(), np.full(x.size, -0.1), z.ravel()], axis=1)


def _even(line: np.ndarray, columns: int) -> np.ndarray:
    """Points at equal distances on a polyline (M, 3)."""
    lengths = np.concatenate([[0], np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))])
    at = np.linspace(0, lengths[-1], columns)
    return np.stack([np.interp(at, lengths, line[:, axis]) for axis in range(3)], axis=1)
