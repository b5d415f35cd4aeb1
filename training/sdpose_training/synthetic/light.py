"""Light on synthetic people: a main light, light from sky and ground, and light from behind along the outlines."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sdpose_training.synthetic.palette import from_hsv
from sdpose_training.synthetic.render import Camera

_SPLAT_M = 0.025  # meters that a vertex covers in a shadow


@dataclass(frozen=True, eq=False)
class Light:
    """One light: `toward` it (3,), unit length; share of light everywhere."""

    toward: np.ndarray
    ambient: float
    rim_color: np.ndarray = field(default_factory=lambda: np.zeros(3, np.float32), kw_only=True)

    def at_vertices(self, normals: np.ndarray, toward_camera: np.ndarray) -> np.ndarray:
        """Unit normals and directions (V, 3) -> (V, C) values to interpolate."""
        return np.clip(normals @ self.toward, 0, 1)[:, None]

    def brightness(self, values: np.ndarray) -> np.ndarray:
        """Interpolated values (N, C) -> light (N,), about 0.3..1.2."""
        return self.ambient + (1.15 - self.ambient) * values[:, 0]

    def rim(self, values: np.ndarray) -> np.ndarray:
        """Interpolated values (N, C) -> light from behind (N,), 0..1."""
        return np.zeros(len(values), np.float32)


@dataclass(frozen=True, eq=False)
class SceneLight(Light):
    """The light of a place.

    Attributes:
        sky: light from above minus light from below.
        wrap: how far the main light reaches around; 0 is hard.
        rim_strength: light from behind on the outlines, in `rim_color` (3,) RGB; 0 is none.
        shadow: darkness of shadows on the ground, 0..1.
    """

    sky: float
    wrap: float
    rim_strength: float
    shadow: float

    def at_vertices(self, normals: np.ndarray, toward_camera: np.ndarray) -> np.ndarray:
        lit = np.clip((normals @ self.toward + self.wrap) / (1 + self.wrap), 0, 1)
        around = self.ambient * (1 + self.sky * normals[:, 2])
        edge = np.clip(1 - np.abs((normals * toward_camera).sum(1)), 0, 1) ** 4
        side = np.clip(0.5 - normals @ self.toward, 0, 1)  # the side that the main light does not reach
        return np.column_stack([around + (1.3 - self.ambient) * lit, self.rim_strength * edge * side])

    def brightness(self, values: np.ndarray) -> np.ndarray:
        return values[:, 0]

    def rim(self, values: np.ndarray) -> np.ndarray:
        return values[:, 1]


def sample_light(rng: np.random.Generator) -> Light:
    """A light in front of the people, not below them (the camera looks roughly along +y)."""
    direction = np.array([rng.uniform(-1, 1), rng.uniform(-1, -0.1), rng.uniform(0.1, 1)])
    return Light(direction / np.linalg.norm(direction), rng.uniform(0.35, 0.8))


def sample_scene_light(rng: np.random.Generator) -> SceneLight:
    """From the front or the side; in one of six pictures from behind, with bright outlines."""
    u, behind = rng.uniform, rng.random() < 1 / 6
    direction = np.array([u(-1, 1), u(0.2, 1) if behind else u(-1, 0), u(0.35, 1.6)])
    return SceneLight(
        direction / np.linalg.norm(direction), ambient=u(0.35, 0.75), sky=u(0.1, 0.35), wrap=u(0, 0.5),
        rim_strength=u(0.6, 1.4) if behind else u(0, 0.5),
        rim_color=from_hsv(rng.choice([0.1, 0.6]) + rng.normal(0, 0.03), u(0, 0.35), 1.0), shadow=u(0.3, 0.75),
    )  # fmt: skip


def ground_shadow(light: SceneLight, people: list[np.ndarray], camera: Camera, size: tuple[int, int]) -> np.ndarray:
    """(h, w) share of light that people, vertices (V, 3) each, take from the ground z = 0; `size` is (w, h)."""
    import cv2

    cast, near = np.zeros(size[::-1], np.float32), np.zeros(size[::-1], np.float32)
    for vertices in people:
        height = np.maximum(vertices[:, 2:], 0)
        shift = light.toward[:2] / max(light.toward[2], 0.2)
        low = height[:, 0] < 0.3
        _splat(cast, np.column_stack([vertices[:, :2] - height * shift, np.zeros(len(vertices))]), camera)
        _splat(near, np.column_stack([vertices[low, :2], np.zeros(low.sum())]), camera)
    pixels = camera.focal_px / max(float(np.linalg.norm(camera.position - people[0].mean(0))), 0.5)  # per meter
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * round(pixels * _SPLAT_M) + 1,) * 2)
    cast = cv2.GaussianBlur(cv2.dilate(cast, disc), (0, 0), max(0.018 * pixels, 0.7))
    near = cv2.GaussianBlur(cv2.dilate(near, disc), (0, 0), max(0.05 * pixels, 0.8))
    return np.clip(light.shadow * (cast + 0.7 * near), 0, 0.85)


def _splat(canvas: np.ndarray, points: np.ndarray, camera: Camera) -> None:
    """Set the pixels of points (N, 3) to 1."""
    pixels, depth = camera.project(points)
    column, row = np.round(np.clip(pixels, -2, 1e5)).astype(int).T
    inside = (depth > 0.2) & (column >= 0) & (row >= 0) & (column < canvas.shape[1]) & (row < canvas.shape[0])
    canvas[row[inside], column[inside]] = 1


def occlusion(inverse_depth: np.ndarray, cover: np.ndarray) -> np.ndarray:
    """(h, w) share of light lost behind something nearer, from 1 / depth (h, w), 0 outside of `cover` (h, w).

    A surface is darker where its surroundings are nearer (Luft et al. 2006, "Image enhancement by unsharp masking the
    depth buffer").
    """
    import cv2

    sigma = 0.02 * max(inverse_depth.shape)
    around = cv2.GaussianBlur(inverse_depth, (0, 0), sigma) / np.maximum(cv2.GaussianBlur(cover, (0, 0), sigma), 1e-3)
    here = inverse_depth / np.maximum(cover, 1e-3)
    return np.clip(9 * (around - here) / np.maximum(here, 1e-3), 0, 0.4) * (cover > 0.05)
