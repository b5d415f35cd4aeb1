"""One synthetic picture: people with exact keypoints in front of a camera, and their annotations.

Visibility as in COCO: 2 visible, 1 in the picture but hidden (by the person, other people or an object), 0 outside. A
keypoint is visible if the first surface on its line of sight is the skin or cloth over it (`BodyModel.patches`).
Pixel centers have integer coordinates. "Samples" are the pixels of the supersampled picture, which are then averaged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sdpose_training.synthetic.backgrounds import random_object, sample_background
from sdpose_training.synthetic.body import BodyModel
from sdpose_training.synthetic.looks import Look, random_color, sample_look, sample_shape
from sdpose_training.synthetic.poses import euler, sample_pose
from sdpose_training.synthetic.render import NEAR, Camera, Canvas, corner_weights, look_at
from sdpose_training.synthetic.styles import STYLES, Layers, finish

PEOPLE = (0.55, 0.27, 0.12, 0.06)
"""Probabilities of one to four people."""
_FACE_POINTS = 5
_PARTS = {"foot": slice(17, 23), "lefthand": slice(23, 44), "righthand": slice(44, 65)}


@dataclass(frozen=True)
class SceneSettings:
    """Settings of a picture.

    Attributes:
        size: (w, h) pixels.
        style: one of `STYLES`, or `mixed`.
        max_people: 1..4.
        supersample: samples per pixel side.
        hidden_face: visibility of nose, eyes and ears behind the person's head: 1 (`label`) or 0 (`omit`).
        backgrounds: pictures to cut backgrounds from.
    """

    size: tuple[int, int] = (288, 384)
    style: str = "mixed"
    max_people: int = len(PEOPLE)
    supersample: int = 2
    hidden_face: str = "label"
    backgrounds: tuple[Path, ...] = ()


@dataclass(frozen=True, eq=False)
class Person:
    """A posed person in the world, in meters: dressed vertices (V, 3), unit normals, keypoints (65, 3); yaw 0 faces the
    camera."""

    vertices: np.ndarray
    normals: np.ndarray
    keypoints: np.ndarray
    look: Look
    family: str
    yaw_degrees: float


@dataclass(frozen=True, eq=False)
class View:
    """People as seen by the camera.

    Attributes:
        camera: for the samples.
        surfaces: (h, w) of the samples: person n has surfaces n F .. (n + 1) F - 1; objects follow all people.
        inverse_depth: (h, w) 1 / meters.
        covered: (N,) flat indices of the samples that show a surface; owner: (N,) number of its person.
        object_colors: (M, 3) RGB.
    """

    people: list[Person]
    camera: Camera
    supersample: int
    surfaces: np.ndarray
    inverse_depth: np.ndarray
    covered: np.ndarray
    owner: np.ndarray
    object_colors: np.ndarray


def make_picture(body: BodyModel, settings: SceneSettings, rng: np.random.Generator) -> tuple[np.ndarray, dict]:
    """RGB uint8 (h, w, 3) and its record: `style` and `people`, a list of COCO annotations without ids.

    Repeats with the next random numbers until at least five of the 17 points of the main person are visible.
    """
    while True:
        view = sample_view(rng, body, settings)
        found = [annotate(body, view, number, settings) for number in range(len(view.people))]
        if found[0] and found[0]["keypoints"][2::3].count(2) >= 5:
            break
    shares = np.array(list(STYLES.values()))
    style = str(rng.choice(list(STYLES), p=shares / shares.sum())) if settings.style == "mixed" else settings.style
    picture = finish(rng, style, layers_of(rng, body, view, settings, outlined=style in ("flat", "sketch")))
    return picture, {"style": style, "people": [annotation for annotation in found if annotation]}


def sample_view(rng: np.random.Generator, body: BodyModel, settings: SceneSettings) -> View:
    """Random people, camera and objects, drawn into a depth buffer."""
    people = _sample_people(rng, body, settings.max_people)
    camera = _sample_camera(rng, people, settings.size)
    return draw_people(body, people, camera, settings, objects=_sample_objects(rng, camera, people, settings))


def draw_people(
    body: BodyModel,
    people: list[Person],
    camera: Camera,
    settings: SceneSettings,
    objects: Sequence[tuple[np.ndarray, float, np.ndarray]] = (),
) -> View:
    """The view of people and objects: (mask of the samples (h, w) bool, depth in meters, color (3,)) each."""
    fine, faces = camera.scaled(settings.supersample), len(body.faces)
    canvas = Canvas(tuple(side * settings.supersample for side in settings.size))
    for number, person in enumerate(people):
        canvas.draw(*fine.project(person.vertices), body.faces, number * faces)
    for number, (mask, depth, _) in enumerate(objects):
        canvas.draw_flat(mask, depth, len(people) * faces + number)
    surfaces, inverse_depth = canvas.read()
    covered = np.flatnonzero(surfaces >= 0)
    owner = surfaces.ravel()[covered] // faces
    colors = np.array([color for *_, color in objects]).reshape(-1, 3)
    return View(people, fine, settings.supersample, surfaces, inverse_depth, covered, owner, colors)


def _sample_people(rng: np.random.Generator, body: BodyModel, max_people: int) -> list[Person]:
    """The main person is at the origin, the others around it, at least 0.4 m apart."""
    chances = np.array(PEOPLE[:max_people])
    count = 1 + int(rng.choice(len(chances), p=chances / chances.sum()))
    poses = [sample_pose(rng) for _ in range(count)]
    vertices, keypoints = body.pose(poses, [sample_shape(rng) for _ in range(count)])
    people, spots = [], [np.zeros(2)]
    while len(spots) < count:
        spot = np.array([rng.choice([-1, 1]) * rng.uniform(0.15, 1.4), rng.uniform(-0.7, 2.5)])
        if min(np.linalg.norm(spot - other) for other in spots) > 0.4:
            spots.append(spot)
    for pose, points, joints, spot in zip(poses, vertices, keypoints, spots, strict=True):
        look, yaw = sample_look(rng), _sample_yaw(rng)
        turn, move, normals = euler(z=yaw), np.array([*spot, 0.0]), body.normals(points)
        dressed = points + normals * look.bulk(body)[:, None]
        people.append(Person(dressed @ turn.T + move, normals @ turn.T, joints @ turn.T + move, look, pose.family, yaw))
    return people


def _sample_yaw(rng: np.random.Generator) -> float:
    """Half face the camera roughly, one in seven is seen from behind, the rest have any direction."""
    return float(rng.choice([rng.uniform(-60, 60), rng.uniform(140, 220), rng.uniform(-180, 180)], p=[0.5, 0.14, 0.36]))


def _sample_camera(rng: np.random.Generator, people: list[Person], size: tuple[int, int]) -> Camera:
    """Random distance, height and roll; zoom and shift to frame the main person or everybody, sometimes cut off."""
    main = people[0].vertices
    target = (main.min(0) + main.max(0)) / 2
    distance, rise = rng.uniform(2.3, 8), np.deg2rad(np.clip(rng.normal(5, 13), -25, 60))
    roll = rng.uniform(-90, 90) if rng.random() < 0.04 else rng.normal(0, 6)
    position = target + distance * np.array([0, -np.cos(rise), np.sin(rise)])
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
    rng: np.random.Generator, camera: Camera, people: list[Person], settings: SceneSettings
) -> list[tuple[np.ndarray, float, np.ndarray]]:
    """In three of ten pictures, one to three objects in front of, between or behind people: mask, depth, color."""
    count = int(rng.integers(1, 4)) if rng.random() < 0.3 else 0
    depth = camera.project(people[0].keypoints[:17])[1].mean()
    size = tuple(side * settings.supersample for side in settings.size)
    return [
        (random_object(rng, size, (0.08, 0.5)), max(depth + rng.uniform(-1.2, 0.6), 2 * NEAR), random_color(rng))
        for _ in range(count)
    ]


def annotate(body: BodyModel, view: View, number: int, settings: SceneSettings) -> dict | None:
    """COCO annotation of person `number`, or None if the person is not visible.

    With fewer than two of the 17 points visible, there is a box but no keypoints, as usual in COCO.
    """
    samples = view.covered[view.owner == number]
    if not len(samples):
        return None
    points, visibility = keypoint_visibility(body, view, number, settings.hidden_face)
    inside = (points >= 0).all(1) & (points <= np.array(settings.size) - 1).all(1)
    visibility = np.where(inside, visibility, 0)
    if (visibility[:17] == 2).sum() < 2:
        visibility[:] = 0
    values = np.column_stack([np.round(points, 2), visibility]) * (visibility > 0)[:, None]
    return {
        "keypoints": _numbers(values[:17]),
        "num_keypoints": int((visibility[:17] > 0).sum()),
        **_whole_body_fields(values),
        "bbox": _bbox_xywh(samples, view, points[visibility == 2]),
        "area": len(samples) / view.supersample**2,
        "iscrowd": 0,
        "pose_family": view.people[number].family,
        "yaw_degrees": round(view.people[number].yaw_degrees, 1),
    }


def keypoint_visibility(
    body: BodyModel, view: View, number: int, hidden_face: str = "label"
) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (65, 2) of a person in pixels of the picture; (65,) 2 visible, 1 hidden, inside or outside."""
    fine, depth = view.camera.project(view.people[number].keypoints)
    h, w = view.surfaces.shape
    column, row = (np.clip(np.round(fine[:, i]), 0, side - 1).astype(int) for i, side in ((0, w), (1, h)))
    surface, inverse = view.surfaces[row, column], view.inverse_depth[row, column]
    on_person = (surface >= 0) & (surface // len(body.faces) == number)
    over_joint = on_person & body.patches[np.arange(len(fine)), surface % len(body.faces)]
    visible = over_joint | (inverse < 1 / np.maximum(depth, NEAR))  # or the surface is behind the joint
    visibility = np.where(visible, 2, 1)
    if hidden_face == "omit":
        visibility[:_FACE_POINTS][(on_person & ~visible)[:_FACE_POINTS]] = 0
    visibility[depth < NEAR] = 0
    return (fine + 0.5) / view.supersample - 0.5, visibility


def _bbox_xywh(samples: np.ndarray, view: View, visible: np.ndarray) -> list[float]:
    """Bounding box in whole pixels of a person's samples (N,) and visible keypoints (M, 2)."""
    rows, columns = np.divmod(samples, view.surfaces.shape[1])
    low = np.array([[columns.min(), rows.min()]]) // view.supersample
    high = np.array([[columns.max(), rows.max()]]) // view.supersample + 1
    low, high = np.vstack([low, np.floor(visible)]).min(0), np.vstack([high, np.ceil(visible)]).max(0)
    return _numbers(np.concatenate([low, high - low]))


def _whole_body_fields(values: np.ndarray) -> dict:
    """COCO-WholeBody's fields from (65, 3). A part is valid if at least half of its points are in the picture."""
    fields: dict = {"face_kpts": [0.0] * (68 * 3), "face_valid": False, "face_box": [0.0] * 4}
    for part, where in _PARTS.items():
        points = values[where]
        labeled = points[points[:, 2] > 0, :2]
        valid = 2 * len(labeled) >= len(points)
        fields[f"{part}_kpts"], fields[f"{part}_valid"] = _numbers(points), valid
        if part != "foot":
            extent = np.concatenate([labeled.min(0), np.ptp(labeled, axis=0)]) if valid else np.zeros(4)
            fields[f"{part}_box"] = _numbers(np.round(extent, 2))
    return fields


def _numbers(values: np.ndarray) -> list[float]:
    return [float(x) for x in values.ravel()]


def layers_of(rng: np.random.Generator, body: BodyModel, view: View, settings: SceneSettings, outlined: bool) -> Layers:
    """Color, light and outlines of the samples, averaged over pixels; and a background."""
    import cv2

    h, w = view.surfaces.shape
    samples, parts = np.zeros((h * w, 4), np.float32), np.zeros(h * w, np.int32)  # samples: color, light
    cover = (view.surfaces >= 0).astype(np.float32)
    toward_light, ambient = _sample_light(rng), rng.uniform(0.35, 0.8)
    for number in range(len(view.people)):
        shown = view.covered[view.owner == number]
        samples[shown, :3], lambert, part = _shade(body, view, number, shown, toward_light)
        samples[shown, 3], parts[shown] = ambient + (1.15 - ambient) * lambert, part + 16 * (number + 1)
    objects = view.covered[view.owner >= len(view.people)]
    which = view.surfaces.ravel()[objects] - len(view.people) * len(body.faces)
    samples[objects, :3], samples[objects, 3], parts[objects] = view.object_colors[which], 0.9, 1000 + which
    lines = _outlines(parts.reshape(h, w), view.inverse_depth) if outlined else np.zeros((h, w), np.float32)
    small, cover, lines = (
        cv2.resize(image, settings.size, interpolation=cv2.INTER_AREA)
        for image in (samples.reshape(h, w, 4), cover, lines)
    )
    background = sample_background(rng, settings.size, settings.backgrounds)
    return Layers(small[..., :3], small[..., 3], cover, np.minimum(lines * 1.5, 1), background)


def _sample_light(rng: np.random.Generator) -> np.ndarray:
    """Unit vector toward a light in front of the people, not below them (the camera looks roughly along +y)."""
    direction = np.array([rng.uniform(-1, 1), rng.uniform(-1, -0.1), rng.uniform(0.1, 1)])
    return direction / np.linalg.norm(direction)


def _shade(
    body: BodyModel, view: View, number: int, samples: np.ndarray, toward_light: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Samples (N,) of a person -> colors (N, 3), incident light (N,) 0..1, parts (N,)."""
    person, width = view.people[number], view.surfaces.shape[1]
    corners = body.faces[view.surfaces.ravel()[samples] - number * len(body.faces)]
    pixels, _ = view.camera.project(person.vertices)
    weights = corner_weights(pixels[corners], np.column_stack([samples % width, samples // width])).astype(np.float32)
    lambert = np.clip(person.normals @ toward_light, 0, 1)
    at_vertices = np.column_stack([body.reference_vertices, lambert]).astype(np.float32)
    values = sum(weights[:, i, None] * at_vertices[corners[:, i]] for i in range(3))
    colors, parts = person.look.paint(body, values[:, :3], body.zone[corners[:, 0]])
    return colors, values[:, 3], parts


def _outlines(parts: np.ndarray, inverse_depth: np.ndarray) -> np.ndarray:
    """(h, w) float32, 1 where the right or lower neighbor is another part or at a very different depth."""
    lines = np.zeros(parts.shape, np.float32)
    for here, there in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        a, b = inverse_depth[here], inverse_depth[there]
        lines[here][(np.abs(a - b) > 0.03 * np.maximum(a, b)) | (parts[here] != parts[there])] = 1
    return lines
