"""One synthetic picture: people with exact keypoints in front of a camera, and their annotations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from sdpose_training.synthetic.annotation import annotate
from sdpose_training.synthetic.backgrounds import random_object
from sdpose_training.synthetic.body import BodyModel
from sdpose_training.synthetic.light import Light
from sdpose_training.synthetic.looks import sample_shape
from sdpose_training.synthetic.poses import euler, sample_pose
from sdpose_training.synthetic.render import NEAR, Camera, corner_weights, look_at
from sdpose_training.synthetic.staging import Staging, stage
from sdpose_training.synthetic.styles import Layers, finish
from sdpose_training.synthetic.view import Person, SceneSettings, View, draw_people

PEOPLE = (0.55, 0.27, 0.12, 0.06)
"""Probabilities of one to four people."""
_OUTLINED = ("flat", "sketch")


def make_picture(body: BodyModel, settings: SceneSettings, rng: np.random.Generator) -> tuple[np.ndarray, dict]:
    """RGB uint8 (h, w, 3) and its record: `style` and `people`, a list of COCO annotations without ids.

    Repeats with the next random numbers until at least five of the 17 points of the main person are visible.
    """
    looks = stage(settings, rng)
    while True:
        view = sample_view(rng, body, settings, looks)
        found = [annotate(body, view, number, settings) for number in range(len(view.people))]
        if found[0] and found[0]["keypoints"][2::3].count(2) >= 5:
            break
    style = looks.style(rng)
    picture = looks.develop(finish(rng, style, layers_of(rng, body, view, looks, style)))
    return picture, {"style": style, "people": [annotation for annotation in found if annotation]}


def sample_view(
    rng: np.random.Generator, body: BodyModel, settings: SceneSettings, looks: Staging | None = None
) -> View:
    """Random people, camera and objects, drawn into a depth buffer."""
    looks = looks or stage(settings, rng)
    people = _sample_people(rng, body, settings.max_people, looks)
    camera = _sample_camera(rng, people, settings.size, looks.lowest_camera)
    return draw_people(body, people, camera, settings, objects=_sample_objects(rng, camera, people, looks))


def _sample_people(rng: np.random.Generator, body: BodyModel, max_people: int, looks: Staging) -> list[Person]:
    """The main person is at the origin, the others around it, at least 0.4 m apart."""
    chances = np.array(PEOPLE[:max_people])
    count = 1 + int(rng.choice(len(chances), p=chances / chances.sum()))
    poses = [sample_pose(rng) for _ in range(count)]
    vertices, keypoints = body.pose(poses, [sample_shape(rng) for _ in range(count)], looks.proportions(count))
    people, spots = [], [np.zeros(2)]
    while len(spots) < count:
        spot = np.array([rng.choice([-1, 1]) * rng.uniform(0.15, 1.4), rng.uniform(-0.7, 2.5)])
        if min(np.linalg.norm(spot - other) for other in spots) > 0.4:
            spots.append(spot)
    for number, (pose, points, joints, spot) in enumerate(zip(poses, vertices, keypoints, spots, strict=True)):
        look, yaw = looks.look(rng, number), _sample_yaw(rng)
        turn, move = euler(z=yaw), np.array([*spot, 0.0])
        dressed, normals = look.dress(body, points)
        bare = Person(dressed @ turn.T + move, normals @ turn.T, joints @ turn.T + move, look, pose.family, yaw)
        people.append(looks.drape(body, bare, number))
    return people


def _sample_yaw(rng: np.random.Generator) -> float:
    """Half face the camera roughly, one in seven is seen from behind, the rest have any direction."""
    return float(rng.choice([rng.uniform(-60, 60), rng.uniform(140, 220), rng.uniform(-180, 180)], p=[0.5, 0.14, 0.36]))


def _sample_camera(rng: np.random.Generator, people: list[Person], size: tuple[int, int], lowest: float) -> Camera:
    """Random distance, height and roll; zoom and shift to frame the main person or everybody, sometimes cut off."""
    main = people[0].vertices
    target = (main.min(0) + main.max(0)) / 2
    distance, rise = rng.uniform(2.3, 8), np.deg2rad(np.clip(rng.normal(5, 13), -25, 60))
    roll = rng.uniform(-90, 90) if rng.random() < 0.04 else rng.normal(0, 6)
    position = target + distance * np.array([0, -np.cos(rise), np.sin(rise)])
    position[2] = max(position[2], lowest)
    camera = look_at(position, target + rng.normal(0, 0.1, 3), roll)
    framed = main if rng.random() < 0.6 else np.concatenate([person.vertices for person in people])
    points, depth = camera.project(framed)
    points = points[depth > NEAR]
    low, high = points.min(0), points.max(0)
    fill = rng.uniform(0.45, 1.0) if rng.random() < 0.8 else rng.uniform(1.0, 1.8)
    focal = fill * min(size[0] * 1.15 / (high - low)[0], size[1] / (high - low)[1])
    slack = np.abs(size - (high - low) * focal)
    center = np.array(size) / 2 - (low + high) / 2 * focal + rng.uniform(-0.5, 0.5, 2) * slack
    return replace(camera, focal_px=float(focal), center_px=(float(center[0]), float(center[1])))


def _sample_objects(
    rng: np.random.Generator, camera: Camera, people: list[Person], looks: Staging
) -> list[tuple[np.ndarray, float, np.ndarray]]:
    """In three of ten pictures, one to three objects in front of, between or behind people: mask, depth, color."""
    count = int(rng.integers(1, 4)) if rng.random() < 0.3 else 0
    depth = camera.project(people[0].keypoints[:17])[1].mean()
    size = tuple(side * looks.settings.supersample for side in looks.settings.size)
    return [
        (random_object(rng, size, (0.08, 0.5)), max(depth + rng.uniform(-1.2, 0.6), 2 * NEAR), looks.object_color(rng))
        for _ in range(count)
    ]


def layers_of(rng: np.random.Generator, body: BodyModel, view: View, looks: Staging, style: str) -> Layers:
    """Color, light and outlines of the samples, averaged over pixels; and a background."""
    import cv2

    size = looks.settings.size
    h, w = view.surfaces.shape
    samples, parts = np.zeros((h * w, 4), np.float32), np.zeros(h * w, np.int32)  # samples: color, light
    rim, cover, light = np.zeros(h * w, np.float32), (view.surfaces >= 0).astype(np.float32), looks.light(rng)
    for number in range(len(view.people)):
        shown = view.covered[view.owner == number]
        samples[shown, :3], values, part = _shade(body, view, number, shown, light)
        samples[shown, 3], rim[shown] = light.brightness(values), light.rim(values)
        parts[shown] = part + 16 * (number + 1)
    objects = view.covered[view.owner >= len(view.people)]
    which = view.surfaces.ravel()[objects] - view.firsts[-1]
    samples[objects, :3], samples[objects, 3], parts[objects] = view.object_colors[which], 0.9, 1000 + which
    outlined = style in _OUTLINED
    lines = _outlines(parts.reshape(h, w), view.inverse_depth) if outlined else np.zeros((h, w), np.float32)
    small, rim, cover, lines, inverse_depth = (
        cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        for image in (samples.reshape(h, w, 4), rim.reshape(h, w), cover, lines, view.inverse_depth.astype(np.float32))
    )
    return Layers(
        color=small[..., :3], light=small[..., 3] * (1 - looks.occlusion(inverse_depth, cover)), cover=cover,
        lines=np.minimum(lines * 1.5, 1), background=looks.background(rng, view), rim=rim[..., None] * light.rim_color,
    )  # fmt: skip


def _shade(
    body: BodyModel, view: View, number: int, samples: np.ndarray, light: Light
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples (N,) of a person -> colors (N, 3), values of the light (N, C), parts (N,)."""
    mesh, width = view.meshes[number], view.surfaces.shape[1]
    corners = mesh.faces[view.surfaces.ravel()[samples] - view.firsts[number]]
    pixels, _ = view.camera.project(mesh.vertices)
    weights = corner_weights(pixels[corners], np.column_stack([samples % width, samples // width])).astype(np.float32)
    toward_camera = view.camera.position - mesh.vertices
    toward_camera /= np.linalg.norm(toward_camera, axis=1, keepdims=True)
    at_vertices = np.column_stack([mesh.reference, light.at_vertices(mesh.normals, toward_camera)]).astype(np.float32)
    values = sum(weights[:, i, None] * at_vertices[corners[:, i]] for i in range(3))
    colors, parts = view.people[number].paint(body, values[:, :3], mesh.zone[corners[:, 0]])
    return colors, values[:, 3:], parts


def _outlines(parts: np.ndarray, inverse_depth: np.ndarray) -> np.ndarray:
    """(h, w) float32, 1 where the right or lower neighbor is another part or at a very different depth."""
    lines = np.zeros(parts.shape, np.float32)
    for here, there in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        a, b = inverse_depth[here], inverse_depth[there]
        lines[here][(np.abs(a - b) > 0.03 * np.maximum(a, b)) | (parts[here] != parts[there])] = 1
    return lines
