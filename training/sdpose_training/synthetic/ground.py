"""The ground, walls and sky that a camera sees, colored per pixel by where its ray meets them. Meters, z up."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sdpose_training.synthetic.props import Item
from sdpose_training.synthetic.render import Camera

FAR = 400.0
"""Meters: nothing is farther."""
_TILE = 256

Paint = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Places (N,), (N,) on a plane in meters -> RGB (N, 3)."""


class Ground:
    """The rays of a camera's pixels, and textures on the planes that they meet. `image` is the picture so far."""

    def __init__(self, rng: np.random.Generator, camera: Camera, size: tuple[int, int], grain: float) -> None:
        self.camera, self.size = camera, size
        x, y = np.meshgrid(np.arange(size[0], dtype=np.float32), np.arange(size[1], dtype=np.float32))
        seen = np.stack([x - camera.center_px[0], y - camera.center_px[1], np.full_like(x, camera.focal_px)], axis=-1)
        rays = (seen / np.float32(camera.focal_px)) @ camera.rotation.astype(np.float32)
        self.rays = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
        self.distance = np.full(size[::-1], FAR, np.float32)
        self.image = np.zeros((*size[::-1], 3), np.float32)
        self.elevation = np.rad2deg(np.arcsin(np.clip(self.rays[..., 2], -1, 1)))
        self._tile = grain * _noise_tile(rng)

    def sky(self, zenith: np.ndarray, horizon: np.ndarray) -> None:
        share = np.clip(self.elevation / 45, 0, 1)[..., None] ** 0.6
        self.image = (horizon + (zenith - horizon) * share).astype(np.float32)

    def clouds(self, amount: float) -> None:
        """White clouds, larger overhead."""
        height = np.maximum(self.rays[..., 2], 0.02)
        value = self.noise(self.rays[..., 0] / height / 3, self.rays[..., 1] / height / 3, 1.0)
        cover = np.clip(value * 0.5 + amount - 0.5, 0, 1) * np.clip(self.elevation / 8, 0, 1)
        self.image += (250 - self.image) * cover[..., None]

    def plane(self, axis: int, at: float, paint: Paint, below: float = np.inf) -> None:
        """Paint the plane where coordinate `axis` is `at`, up to the height `below`."""
        rays = self.rays[..., axis]
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (at - self.camera.position[axis]) / rays
        meets = (t > 0.05) & (t < self.distance)
        place = self.camera.position.astype(np.float32) + self.rays[meets] * t[meets][:, None]
        meets[meets] = (shown := (place[:, 2] < below) & (place[:, 2] > -0.001 if axis != 2 else True))
        place = place[shown]
        first, second = place[:, 1 if axis == 0 else 0], place[:, 1 if axis == 2 else 2]
        self.image[meets] = paint(first, second)
        self.distance[meets] = t[meets]

    def noise(self, first: np.ndarray, second: np.ndarray, meters: float) -> np.ndarray:
        """Smooth noise at places in meters, with a standard deviation of `grain` and details of about `meters` / 10."""
        import cv2

        scale = _TILE / 16 / meters
        u, v = ((value * scale % _TILE).astype(np.float32).reshape(1, -1) for value in (first, second))
        parts = (
            [u[:, i : i + 30000] for i in range(0, u.size, 30000)],
            [v[:, i : i + 30000] for i in range(0, v.size, 30000)],
        )
        done = [
            cv2.remap(self._tile, a, b, cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
            for a, b in zip(*parts, strict=True)
        ]
        return np.concatenate(done, axis=1).reshape(first.shape) if done else np.zeros(first.shape, np.float32)

    def paint(self, items: list[Item]) -> np.ndarray:
        """The picture with furniture and the like, from far to near."""
        for item in sorted(items, key=lambda item: -float(np.linalg.norm(item.place - self.camera.position))):
            item.draw(self.image, self.camera)
        return self.image


def _noise_tile(rng: np.random.Generator) -> np.ndarray:
    import cv2

    tile = np.zeros((_TILE, _TILE), np.float32)
    for cells, weight in ((8, 1.0), (32, 0.7), (128, 0.5)):
        grid = rng.standard_normal((cells, cells)).astype(np.float32)
        tile += (
            weight
            * cv2.resize(np.tile(grid, (3, 3)), (3 * _TILE,) * 2, interpolation=cv2.INTER_CUBIC)[
                _TILE : 2 * _TILE, _TILE : 2 * _TILE
            ]
        )
    return tile / tile.std()
