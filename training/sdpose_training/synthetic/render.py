"""A triangle renderer in numpy: a camera, an exact depth buffer, and the visible surface of every pixel.

All triangles of a picture are drawn at once: split into pixel rows, and rows into pixels. The nearest surface is the
maximum of one 64-bit number per pixel (inverse depth in the high bits, surface index in the low ones). Pixel centers
have integer coordinates. Depth is the distance along the camera's axis, in meters.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

NEAR = 0.25  # meters: closer triangles are not drawn
_SURFACE_BITS = 22
_DEPTH_STEPS = 2.0**36  # of inverse depth: 1 / NEAR x this stays below 2**(63 - _SURFACE_BITS)


@dataclass(frozen=True, eq=False)
class Camera:
    """Pinhole. The rows of `rotation` (3, 3) are the picture's right, down and forward directions in the world."""

    position: np.ndarray
    rotation: np.ndarray
    focal_px: float = 1.0
    center_px: tuple[float, float] = (0.0, 0.0)

    def project(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """World points (..., 3) -> pixels (..., 2), depth (...)."""
        seen = (points - self.position) @ self.rotation.T
        depth = seen[..., 2]
        safe = np.where(np.abs(depth) < 1e-6, 1e-6, depth)
        return seen[..., :2] * (self.focal_px / safe[..., None]) + np.asarray(self.center_px), depth

    def scaled(self, factor: int) -> Camera:
        """The same view with `factor` times the resolution."""
        x, y = ((c + 0.5) * factor - 0.5 for c in self.center_px)
        return Camera(self.position, self.rotation, self.focal_px * factor, (x, y))


def look_at(position: np.ndarray, target: np.ndarray, roll_degrees: float = 0.0) -> Camera:
    """A camera at `position` whose axis goes through `target`, with z up before the roll. Focal length 1."""
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(forward, right)
    c, s = np.cos(np.deg2rad(roll_degrees)), np.sin(np.deg2rad(roll_degrees))
    return Camera(np.asarray(position, float), np.stack([c * right + s * down, c * down - s * right, forward]))


class Canvas:
    """The depth buffer of a picture of `size` (w, h). The caller numbers surfaces from 0."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self._nearest = np.zeros(size[0] * size[1], np.int64)

    def draw(self, pixels: np.ndarray, depth: np.ndarray, faces: np.ndarray, first_surface: int = 0) -> None:
        """Draw a mesh: vertices (V, 2) in pixels, depth (V,), faces (F, 3), counterclockwise as seen from outside.

        Face i is surface `first_surface + i`.
        """
        faces = faces[:, ::-1]  # the picture's y points down
        area = _cross(*(pixels[faces[:, i]] for i in range(3)))
        shown = np.flatnonzero((area > 1e-9) & (depth > NEAR)[faces].all(1))
        corners, inverse, area = pixels[faces[shown]], 1.0 / depth[faces[shown]], area[shown]
        face, y = self._rows(corners)
        first, last = self._spans(corners, face, y)
        row, x = _expand(first, last)
        face, y = face[row], y[row]
        plane = _planes(corners, inverse, area)[face]
        key = ((plane[:, 0] * x + plane[:, 1] * y + plane[:, 2]) * _DEPTH_STEPS).astype(np.int64) << _SURFACE_BITS
        np.maximum.at(self._nearest, y * self.size[0] + x, key | (first_surface + 1 + shown[face]))

    def draw_flat(self, mask: np.ndarray, depth: float, surface: int) -> None:
        """Draw a flat object that faces the camera: mask (h, w) bool at one depth."""
        key = (int(_DEPTH_STEPS / depth) << _SURFACE_BITS) | (surface + 1)
        self._nearest = np.where(mask.ravel(), np.maximum(self._nearest, key), self._nearest)

    def read(self) -> tuple[np.ndarray, np.ndarray]:
        """(h, w) int, the visible surface of each pixel (-1: none); (h, w) float, 1 / depth in meters (0: none)."""
        surfaces = (self._nearest & ((1 << _SURFACE_BITS) - 1)) - 1
        shape = self.size[::-1]
        return surfaces.reshape(shape), ((self._nearest >> _SURFACE_BITS) * (1 / _DEPTH_STEPS)).reshape(shape)

    def _rows(self, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixel rows of triangles (F, 3, 2) -> triangle index (R,), y (R,)."""
        a, b, c = (corners[:, i, 1] for i in range(3))
        top = np.maximum(np.ceil(np.minimum(np.minimum(a, b), c)), 0).astype(np.int64)
        bottom = np.minimum(np.floor(np.maximum(np.maximum(a, b), c)), self.size[1] - 1).astype(np.int64)
        return _expand(top, bottom)

    def _spans(self, corners: np.ndarray, face: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First and last pixel (R,) of each row inside its triangle (last < first if there is none)."""
        first, last = np.zeros(len(face)), np.full(len(face), self.size[0] - 1.0)
        for i in range(3):
            (x0, y0), (x1, y1) = corners[:, i].T, corners[:, (i + 1) % 3].T
            rise = y1 - y0
            slope = (x1 - x0) / np.where(rise == 0, 1.0, rise)
            cut = (x0 - slope * y0)[face] + slope[face] * y
            rising, falling = (rise > 0)[face], (rise < 0)[face]
            last = np.where(rising, np.minimum(last, cut), last)
            first = np.where(falling, np.maximum(first, cut), first)
        return np.ceil(first - 1e-9).astype(np.int64), np.floor(last + 1e-9).astype(np.int64)


def corner_weights(corners: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Barycentric weights (N, 3), 0..1, of points (N, 2) in triangles (N, 3, 2) too small for perspective to matter."""
    a, b, c = (corners[:, i] for i in range(3))
    area = _cross(a, b, c)
    of_b, of_c = _cross(a, points, c) / area, _cross(a, b, points) / area
    return np.clip(np.stack([1 - of_b - of_c, of_b, of_c], axis=1), 0, 1)


def _cross(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> np.ndarray:
    """Twice the signed area (N,) of triangles with corners (N, 2) each."""
    return (b[:, 0] - a[:, 0]) * (c[:, 1] - a[:, 1]) - (b[:, 1] - a[:, 1]) * (c[:, 0] - a[:, 0])


def _expand(first: np.ndarray, last: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Ranges first..last (N,) -> for every integer in them, the index of the range and the integer."""
    count = np.maximum(last - first + 1, 0)
    index = np.repeat(np.arange(len(count)), count)
    return index, np.arange(len(index)) - (np.cumsum(count) - count)[index] + first[index]


def _planes(corners: np.ndarray, values: np.ndarray, area: np.ndarray) -> np.ndarray:
    """Coefficients (F, 3) of a x + b y + c with the values (F, 3) at the corners (F, 3, 2)."""
    (ax, ay), (bx, by), (cx, cy) = (corners[:, i].T for i in range(3))
    u, v = values[:, 1] - values[:, 0], values[:, 2] - values[:, 0]
    slope_x = (u * (cy - ay) - v * (by - ay)) / area
    slope_y = (v * (bx - ax) - u * (cx - ax)) / area
    return np.stack([slope_x, slope_y, values[:, 0] - slope_x * ax - slope_y * ay], axis=1)
