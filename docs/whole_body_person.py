"""A rendered person with 133 exact points, for the pictures of the documentation. Needs the extra `train`.

The synthetic people of `training/` have 65 points: body, feet and hands. The 68 points of the face are added here, at
fixed places on the mesh.
"""

from __future__ import annotations

import numpy as np

from sdpose_core.poses import Poses
from sdpose_training.synthetic.body import BodyModel
from sdpose_training.synthetic.scene import SceneSettings, make_picture, sample_view

SEED = 4133
"""A person who faces the camera with hands and feet in view, chosen by eye."""

_HALF_JAW = [(-0.072 * np.cos(t), 0.645 - 0.104 * np.sin(t) ** 0.8) for t in np.linspace(0, np.pi, 17)]
_RIGHT_BROW = [(-0.052, 0.668), (-0.043, 0.674), (-0.033, 0.675), (-0.022, 0.673), (-0.012, 0.668)]
_NOSE = [(0, 0.651), (0, 0.638), (0, 0.625), (0, 0.6115)]
_NOSTRILS = [(-0.014, 0.601), (-0.007, 0.599), (0, 0.598), (0.007, 0.599), (0.014, 0.601)]
_RIGHT_EYE = [(-0.0447, 0.6507), (-0.035, 0.656), (-0.025, 0.656), (-0.0147, 0.6507), (-0.025, 0.646), (-0.035, 0.646)]
_MOUTH = [
    (-0.025, 0.574), (-0.016, 0.5805), (-0.007, 0.583), (0, 0.582), (0.007, 0.583), (0.016, 0.5805),
    (0.025, 0.574), (0.016, 0.567), (0.007, 0.5645), (0, 0.564), (-0.007, 0.5645), (-0.016, 0.567),
    (-0.021, 0.574), (-0.008, 0.5755), (0, 0.575), (0.008, 0.5755), (0.021, 0.574), (0.008, 0.5725), (0, 0.572),
    (-0.008, 0.5725),
]  # fmt: skip


def _mirrored(points: list[tuple[float, float]], order: list[int]) -> list[tuple[float, float]]:
    return [(-points[i][0], points[i][1]) for i in order]


FACE_68 = np.array(
    _HALF_JAW
    + _RIGHT_BROW + _mirrored(_RIGHT_BROW, [4, 3, 2, 1, 0])
    + _NOSE + _NOSTRILS
    + _RIGHT_EYE + _mirrored(_RIGHT_EYE, [3, 2, 1, 0, 5, 4])
    + _MOUTH
)  # fmt: skip
"""(68, 2) x to the person's left and z up, in meters on the reference body."""


def whole_body_person(size: tuple[int, int], seed: int = SEED) -> tuple[np.ndarray, Poses]:
    """RGB uint8 (h, w, 3) of one person, and the 133 points in pixels, all with score 1."""
    body, settings = BodyModel(), SceneSettings(size, "shaded", max_people=1)
    view = sample_view(np.random.default_rng(seed), body, settings)
    picture, _ = make_picture(body, settings, np.random.default_rng(seed))  # draws the same view first
    person = view.people[0]
    points = np.concatenate([person.keypoints[:23], _face(body, person.vertices), person.keypoints[23:]])
    pixels, _ = view.camera.project(points)
    pixels = (pixels + 0.5) / settings.supersample - 0.5
    box = np.concatenate([pixels.min(0), pixels.max(0), [1.0]])
    return picture, Poses(pixels[None], np.ones((1, 133)), box[None], size, "coco_wholebody_133")


def _face(body: BodyModel, vertices: np.ndarray) -> np.ndarray:
    """(68, 3) points on the posed mesh; on the reference body they are seen from the front at `FACE_68`."""
    corners = body.reference_vertices[body.faces][:, :, [0, 2]]
    near = (np.abs(corners).max(axis=(1, 2)) < 0.8) & (corners[:, :, 1].min(1) > 0.5)
    faces, corners = body.faces[near], corners[near]
    return np.array([_on_the_skin(point, corners, faces, body.reference_vertices, vertices) for point in FACE_68])


def _on_the_skin(
    point: np.ndarray, corners: np.ndarray, faces: np.ndarray, reference: np.ndarray, vertices: np.ndarray
) -> np.ndarray:
    """(3,) point on the posed mesh for a point of the reference, which moves to the middle until it hits the mesh."""
    for shrink in np.linspace(1, 0.5, 51):
        weights = _weights(corners, point * [shrink, 1])
        hit = np.flatnonzero((weights >= 0).all(1))
        if hit.size:
            depths = (weights[hit] * reference[faces[hit], 1]).sum(1)
            first = hit[depths.argmin()]
            return weights[first] @ vertices[faces[first]]
    raise ValueError(f"{point} is not on the face: expected points of FACE_68")


def _weights(corners: np.ndarray, point: np.ndarray) -> np.ndarray:
    """(F, 3) barycentric weights of a point (2,) in triangles (F, 3, 2)."""
    a, b, c = corners[:, 0], corners[:, 1], corners[:, 2]

    def doubled(p: np.ndarray, q: np.ndarray, r: np.ndarray) -> np.ndarray:
        u, v = q - p, r - p
        return u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]

    whole = doubled(a, b, c)
    whole = np.where(np.abs(whole) < 1e-15, np.nan, whole)
    weights = np.stack([doubled(point, b, c), doubled(a, np.broadcast_to(point, b.shape), c),
                        doubled(a, b, np.broadcast_to(point, b.shape))], axis=1)  # fmt: skip
    return weights / whole[:, None]
