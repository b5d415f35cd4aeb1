"""People as a camera sees them: the visible surface of every sample, and which keypoints are hidden.

Visibility as in COCO: 2 visible, 1 in the picture but hidden (by the person, other people, an object, or by hanging
cloth or hair), 0 outside. A keypoint is visible if the first surface on its line of sight is the skin or cloth over it
(`BodyModel.patches`). Pixel centers have integer coordinates. "Samples" are the pixels of the supersampled picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from sdpose_training.synthetic.body import ZONES, BodyModel
from sdpose_training.synthetic.drapes import Drape
from sdpose_training.synthetic.looks import Look
from sdpose_training.synthetic.render import NEAR, Camera, Canvas

LOOKS = ("plain", "dressed")
_FACE_POINTS = 5


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
        looks: one of `LOOKS`: bare bodies before patterns, or people with hair and clothes in rooms, streets, ...
    """

    size: tuple[int, int] = (288, 384)
    style: str = "mixed"
    max_people: int = 4
    supersample: int = 2
    hidden_face: str = "label"
    backgrounds: tuple[Path, ...] = ()
    looks: str = LOOKS[0]

    def notes(self, backgrounds: list) -> dict:
        """For the notes of a folder, as JSON. Folders of plain people have no `looks`: those of before it go on."""
        notes = asdict(self) | {"size": list(self.size), "backgrounds": backgrounds}
        return {name: value for name, value in notes.items() if (name, value) != ("looks", LOOKS[0])}


@dataclass(frozen=True, eq=False)
class Mesh:
    """What is drawn of a person: vertices (V, 3), normals (V, 3), faces (F, 3).

    Each vertex has a point of the reference body, (V, 3), and a zone, (V,): `len(ZONES)` and more for what hangs.
    """

    vertices: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    reference: np.ndarray
    zone: np.ndarray


@dataclass(frozen=True, eq=False)
class Person:
    """A posed person in the world, in meters: dressed vertices (V, 3), unit normals, keypoints (65, 3); yaw 0 faces the
    camera. `drapes` are what hangs around the body."""

    vertices: np.ndarray
    normals: np.ndarray
    keypoints: np.ndarray
    look: Look
    family: str
    yaw_degrees: float
    drapes: tuple[Drape, ...] = ()

    def mesh(self, body: BodyModel) -> Mesh:
        """The body, whose faces come first, and the drapes."""
        if not self.drapes:
            return Mesh(self.vertices, self.normals, body.faces, body.reference_vertices, body.zone)
        firsts = np.cumsum([len(self.vertices), *(len(drape.vertices) for drape in self.drapes)])
        zones = [np.full(len(drape.vertices), len(ZONES) + i) for i, drape in enumerate(self.drapes)]
        return Mesh(
            np.concatenate([self.vertices, *(drape.vertices for drape in self.drapes)]),
            np.concatenate([self.normals, *(drape.normals for drape in self.drapes)]),
            np.concatenate([body.faces, *(d.faces + first for d, first in zip(self.drapes, firsts, strict=False))]),
            np.concatenate([body.reference_vertices, *(drape.reference for drape in self.drapes)]),
            np.concatenate([body.zone, *zones]),
        )

    def paint(self, body: BodyModel, points: np.ndarray, zone: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Points (N, 3) of the reference body, zones (N,) of the mesh -> colors (N, 3), parts (N,) for outlines."""
        colors, parts = self.look.paint(body, points, zone)
        for i, drape in enumerate(self.drapes, start=len(ZONES)):
            colors[zone == i], parts[zone == i] = drape.cloth.paint(points[zone == i]), drape.part
        return colors, parts


@dataclass(frozen=True, eq=False)
class View:
    """People as seen by the camera.

    Attributes:
        meshes: one per person.
        camera: for the samples.
        surfaces: (h, w) of the samples: `firsts[n]` is the first surface of person n; objects follow all people.
        inverse_depth: (h, w) 1 / meters.
        covered: (N,) flat indices of the samples that show a surface; owner: (N,) number of its person, objects last.
        object_colors: (M, 3) RGB.
    """

    people: list[Person]
    meshes: list[Mesh]
    camera: Camera
    supersample: int
    surfaces: np.ndarray
    inverse_depth: np.ndarray
    firsts: np.ndarray
    covered: np.ndarray
    owner: np.ndarray
    object_colors: np.ndarray


def draw_people(
    body: BodyModel,
    people: list[Person],
    camera: Camera,
    settings: SceneSettings,
    objects: Sequence[tuple[np.ndarray, float, np.ndarray]] = (),
) -> View:
    """The view of people and objects: (mask of the samples (h, w) bool, depth in meters, color (3,)) each."""
    fine, meshes = camera.scaled(settings.supersample), [person.mesh(body) for person in people]
    firsts = np.cumsum([0, *(len(mesh.faces) for mesh in meshes)])
    canvas = Canvas((settings.size[0] * settings.supersample, settings.size[1] * settings.supersample))
    for mesh, first in zip(meshes, firsts, strict=False):
        canvas.draw(*fine.project(mesh.vertices), mesh.faces, int(first))
    for number, (mask, depth, _) in enumerate(objects):
        canvas.draw_flat(mask, depth, int(firsts[-1]) + number)
    surfaces, inverse_depth = canvas.read()
    covered = np.flatnonzero(surfaces >= 0)
    owner = np.searchsorted(firsts, surfaces.ravel()[covered], side="right") - 1
    colors = np.array([color for *_, color in objects]).reshape(-1, 3)
    return View(
        people, meshes, fine, settings.supersample, surfaces, inverse_depth, firsts, covered, owner, colors
    )  # fmt: skip


def keypoint_visibility(
    body: BodyModel, view: View, number: int, hidden_face: str = "label"
) -> tuple[np.ndarray, np.ndarray]:
    """Keypoints (65, 2) of a person in pixels of the picture; (65,) 2 visible, 1 hidden, inside or outside."""
    fine, depth = view.camera.project(view.people[number].keypoints)
    h, w = view.surfaces.shape
    column, row = (np.clip(np.round(fine[:, i]), 0, side - 1).astype(int) for i, side in ((0, w), (1, h)))
    surface, inverse = view.surfaces[row, column], view.inverse_depth[row, column]
    face = surface - view.firsts[number]
    on_person = (face >= 0) & (surface < view.firsts[number + 1])
    on_body = on_person & (face < len(body.faces))
    over_joint = on_body & body.patches[np.arange(len(fine)), np.where(on_body, face, 0)]
    visible = over_joint | (inverse < 1 / np.maximum(depth, NEAR))  # or the surface is behind the joint
    visibility = np.where(visible, 2, 1)
    if hidden_face == "omit":
        visibility[:_FACE_POINTS][(on_person & ~visible)[:_FACE_POINTS]] = 0
    visibility[depth < NEAR] = 0
    return (fine + 0.5) / view.supersample - 0.5, visibility
