"""Places without people, drawn in the perspective of the camera: rooms, streets, landscapes, halls, studios.

The ground is z = 0 (meters, z up); the camera looks roughly along +y; everything is behind the people. Planes
(`ground`) come first, then furniture, trees and cars (`props`), from far to near.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from sdpose_training.synthetic import props
from sdpose_training.synthetic.ground import FAR, Ground, Paint
from sdpose_training.synthetic.palette import from_hsv, muted_color
from sdpose_training.synthetic.render import Camera


def draw_place(rng: np.random.Generator, camera: Camera, size: tuple[int, int], grain: float = 1.0) -> np.ndarray:
    """(h, w, 3) float32 RGB 0..255 of `size` (w, h): one of `PLACES`; `grain` is the strength of textures."""
    kind = str(rng.choice(list(PLACES), p=np.array([share for share, _ in PLACES.values()])))
    return np.clip(PLACES[kind][1](rng, Ground(rng, camera, size, grain)), 0, 255).astype(np.float32)


def _wall(ground: Ground, color: np.ndarray, dark: float) -> Paint:
    """One color, darker toward the floor, over a skirting board."""

    def paint(a: np.ndarray, z: np.ndarray) -> np.ndarray:
        light = (1 + 0.02 * ground.noise(a, z, 3.0)) * (1 - dark * np.exp(-z / 0.5))
        return color * np.where(z < 0.08, 0.75, light)[:, None]

    return paint


def _plain(ground: Ground, color: np.ndarray, grain: float, meters: float = 1.0) -> Paint:
    """One color with spots."""
    return lambda a, b: color * (1 + grain * ground.noise(a, b, meters))[:, None]


def _floor(rng: np.random.Generator, ground: Ground) -> Paint:
    """Planks, tiles or a carpet."""
    color, kind = muted_color(rng, (0.25, 0.8), 0.5), rng.choice(["planks", "tiles", "carpet"])
    wide, long, grain = rng.uniform(0.08, 0.6), rng.uniform(0.5, 2.0), rng.uniform(0.03, 0.12)
    wide = max(wide, 0.3) if kind == "tiles" else wide

    def paint(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        row = np.floor(a / wide)
        light = 1 + grain * ground.noise(a, b * (0.15 if kind == "planks" else 1), 0.3 if kind == "carpet" else 1.0)
        if kind != "carpet":
            step = np.floor(b / (long if kind == "planks" else wide) + 0.37 * row * (kind == "planks"))
            light = light * (1 + 0.7 * grain * np.sin(row * 12.9 + step * 78.2))
            light = np.where((a / wide) % 1 < 0.012 / wide, light * 0.7, light)
        return color * light[:, None]

    return paint


def _facade(rng: np.random.Generator, ground: Ground) -> Paint:
    """A house front: windows in rows, a band along the ground."""
    wall, glass, frame = (
        muted_color(rng, (0.35, 0.9)),
        from_hsv(0.58, rng.uniform(0, 0.3), rng.uniform(0.15, 0.7)),
        muted_color(rng),
    )
    pitch, storey = rng.uniform(1.4, 3.2), rng.uniform(2.7, 3.6)
    half, low, high = rng.uniform(0.25, 0.42), rng.uniform(0.2, 0.35), rng.uniform(0.7, 0.88)
    bricks = rng.random() < 0.4
    shops = rng.random() < 0.4

    def paint(a: np.ndarray, z: np.ndarray) -> np.ndarray:
        light = 1 + 0.06 * ground.noise(a, z, 1.5)
        if bricks:
            row = np.floor(z / 0.12)
            light = light * (1 + 0.08 * np.sin(row * 91.7 + np.floor(a / 0.25 + 0.5 * (row % 2)) * 37.3))
        colors = wall * light[:, None]
        u, v = (a / pitch) % 1, (z / storey) % 1
        wide = np.where(z < storey, 0.44 if shops else half, half)
        inside = (np.abs(u - 0.5) < wide) & (v > np.where(z < storey, 0.05 if shops else low, low)) & (v < high)
        edge = inside & ((np.abs(u - 0.5) > wide - 0.04) | (np.abs(u - 0.5) < 0.015))
        lit = 1 + 0.5 * np.sin(np.floor(a / pitch) * 12.9 + np.floor(z / storey) * 78.2)
        colors[inside] = glass * lit[inside][:, None]
        colors[edge] = frame
        return colors

    return paint


def _earth(rng: np.random.Generator, ground: Ground) -> tuple[Paint, str]:
    """Grass, sand, snow, earth or stone."""
    kind = str(rng.choice(["grass", "sand", "snow", "earth", "stone"], p=[0.45, 0.15, 0.1, 0.15, 0.15]))
    hue, saturation, value = {
        "grass": (rng.uniform(0.19, 0.31), rng.uniform(0.3, 0.6), rng.uniform(0.3, 0.6)), "sand": (0.1, 0.3, 0.8),
        "snow": (0.58, 0.06, 0.92), "earth": (0.08, 0.4, 0.42), "stone": (0.6, 0.06, 0.52),
    }[kind]  # fmt: skip
    color, grain = from_hsv(hue, saturation, value), 0.03 if kind == "snow" else rng.uniform(0.08, 0.2)

    def paint(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        fade = np.clip(6 / np.maximum(np.abs(b - ground.camera.position[1]), 1), 0.15, 1)
        light = 1 + grain * (0.5 * ground.noise(a, b, 6.0) + fade * ground.noise(a, b, 0.25))
        return color * light[:, None]

    return paint, kind


def _room(rng: np.random.Generator, ground: Ground) -> np.ndarray:
    u = rng.uniform
    back, left, right, height = u(2.9, 6.0), -u(2.2, 5.0), u(2.2, 5.0), u(2.5, 3.4)
    wall = muted_color(rng, (0.45, 0.95), 0.35)
    ground.image[:] = wall * 0.6
    ground.plane(2, 0.0, _floor(rng, ground))
    if ground.camera.position[2] < height - 0.1:
        ground.plane(2, height, _plain(ground, np.full(3, u(200, 245)), 0.01))
    for axis, at, light in ((1, back, 1.0), (0, left, u(0.7, 1.0)), (0, right, u(0.7, 1.0))):
        ground.plane(axis, at, _wall(ground, wall * light, u(0.1, 0.35)))
    items = props.on_wall(rng, back - 0.01, left, right, height)
    return ground.paint(items + props.furniture(rng, back, left, right))


def _street(rng: np.random.Generator, ground: Ground) -> np.ndarray:
    u = rng.uniform
    _outdoor_sky(rng, ground)
    road, walk = np.full(3, u(70, 130)) + u(-6, 6, 3), np.full(3, u(120, 190)) + u(-10, 10, 3)
    curb, facade = u(2.5, 6), u(6, 18)

    def pavement(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        light = 1 + 0.06 * ground.noise(a, b, 0.6) + 0.04 * ground.noise(a, b, 5.0)
        colors = np.where((b > curb)[:, None], road, walk) * light[:, None]
        slabs = (b < curb) & (((a / 0.6) % 1 < 0.03) | ((b / 0.6) % 1 < 0.03))
        colors[slabs] *= 0.85
        colors[np.abs(b - curb) < 0.1] = walk * 1.1
        colors[(np.abs(b - curb - 2.6) < 0.07) & (a % 3 < 1.6)] = 225
        return colors

    ground.plane(2, 0.0, pavement)
    if rng.random() < 0.85:
        ground.plane(1, facade, _facade(rng, ground), below=u(4, 16))
    if rng.random() < 0.5:
        ground.plane(0, rng.choice([-1, 1]) * u(3.5, 9), _facade(rng, ground), below=u(4, 14))
    return ground.paint(props.on_street(rng, curb, facade))


def _landscape(rng: np.random.Generator, ground: Ground) -> np.ndarray:
    _outdoor_sky(rng, ground)
    paint, kind = _earth(rng, ground)
    haze = ground.image[np.abs(ground.elevation) < 6]
    haze = haze.mean(0) if len(haze) else ground.image.mean((0, 1))
    _hills(rng, ground, haze)
    if rng.random() < 0.25:  # a lake or the sea
        water, shore = from_hsv(0.56, rng.uniform(0.15, 0.5), rng.uniform(0.4, 0.8)), rng.uniform(5, 15)
        land = paint

        def paint(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            waves = 1 + 0.07 * ground.noise(a * 0.2, b, 0.8)
            return np.where((b > shore + ground.noise(a, a, 9.0))[:, None], water * waves[:, None], land(a, b))

    ground.plane(2, 0.0, paint)
    share = np.clip(ground.distance / 160 - 0.1, 0, 0.7)[..., None] * (ground.distance < FAR)[..., None]
    ground.image += (haze - ground.image) * share
    return ground.paint(props.in_nature(rng, kind))


def _hall(rng: np.random.Generator, ground: Ground) -> np.ndarray:
    """A gym, a stage or a sports ground: a floor with lines before a wide wall."""
    u, floor, line = rng.uniform, muted_color(rng, (0.3, 0.75), 0.55), muted_color(rng, (0.6, 1.0), 0.5)
    spacing, back, dark, height = u(1.5, 4.0), u(4, 12), u(0.15, 1.0), u(0.8, 3.0)
    wall = muted_color(rng, (0.15, 0.85))

    shift = u(0, spacing, 2)

    def court(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        a, b = a + shift[0], b + shift[1]
        colors = floor * (1 + 0.04 * ground.noise(a, b, 2.0))[:, None]
        colors[((a / spacing) % 1 < 0.05 / spacing) | ((b / spacing) % 1 < 0.05 / spacing)] = line
        return colors

    ground.image[:] = wall * 0.5
    ground.plane(2, 0.0, court)
    ground.plane(
        1,
        back,
        lambda a, z: wall * (1.1 - 0.2 * np.exp(-z) - 0.3 * ((z / height) % 1 < 0.06))[:, None] * (0.7 + 0.3 * dark),
    )
    return ground.paint(props.furniture(rng, back, -6, 6) if rng.random() < 0.4 else [])


def _studio(rng: np.random.Generator, ground: Ground) -> np.ndarray:
    """A backdrop without corners: paper, cloth or a wall, lighter in the middle."""
    color = muted_color(rng, (0.2, 0.98), 0.5)
    glow = np.exp(-((ground.rays[..., 0] / rng.uniform(0.2, 0.8)) ** 2) - (ground.elevation / rng.uniform(15, 50)) ** 2)
    floor = np.clip(-ground.elevation / 30, 0, 1)
    ground.image = (color * (0.75 + 0.35 * glow - rng.uniform(-0.1, 0.25) * floor)[..., None]).astype(np.float32)
    return ground.image


def _outdoor_sky(rng: np.random.Generator, ground: Ground) -> None:
    kind = rng.choice(["blue", "gray", "evening"], p=[0.5, 0.35, 0.15])
    if kind == "blue":
        ground.sky(
            from_hsv(rng.uniform(0.55, 0.62), rng.uniform(0.35, 0.7), rng.uniform(0.6, 0.95)),
            from_hsv(0.57, 0.15, 0.95),
        )
        ground.clouds(rng.uniform(0.1, 0.7))
    elif kind == "gray":
        ground.sky(np.full(3, rng.uniform(150, 225)), np.full(3, rng.uniform(190, 240)))
        ground.clouds(rng.uniform(0.2, 0.6))
    else:
        ground.sky(
            from_hsv(rng.uniform(0.6, 0.75), 0.4, rng.uniform(0.3, 0.7)), from_hsv(rng.uniform(0.03, 0.1), 0.5, 0.95)
        )


def _hills(rng: np.random.Generator, ground: Ground, haze: np.ndarray) -> None:
    """Up to three ranges of hills or woods along the horizon, hazy if far."""
    around = np.rad2deg(np.arctan2(ground.rays[..., 0], ground.rays[..., 1]))
    count = int(rng.integers(0, 4))
    for number in range(count):
        wavy = sum(
            rng.uniform(0.5, 1) / k * np.sin(np.deg2rad(around) * k * rng.uniform(2, 4) + rng.uniform(0, 6.3))
            for k in (1, 2, 4, 9)
        )
        crest = (count - number) * rng.uniform(1, 4) * (1 + 0.5 * wavy)
        near = (number + 1) / (count + 1)
        color = haze + (from_hsv(rng.uniform(0.2, 0.6), 0.35, 0.4) - haze) * near
        rough = ground.noise(around / 4, ground.elevation / 4, 1.0) * near
        below = (ground.elevation + 0.4 * rough < crest) & (ground.elevation > -4)
        ground.image[below] = (color * (1 + 0.1 * rough[..., None]))[below]


PLACES: dict[str, tuple[float, Callable[[np.random.Generator, Ground], np.ndarray]]] = {
    "room": (0.3, _room), "street": (0.24, _street), "landscape": (0.26, _landscape),
    "hall": (0.1, _hall), "studio": (0.1, _studio),
}  # fmt: skip
"""Share and painter of each kind of place."""
