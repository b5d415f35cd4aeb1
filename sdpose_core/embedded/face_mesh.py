"""MediaPipe's face mesh on the head of a body: the 68 face points, chosen among its 468."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from ..skeletons import COCO_17
from .landmarks import ASSETS, LandmarkModel, is_refused, sigmoid
from .squares import Square, turn_of

WEIGHTS = ASSETS / "mediapipe_face_landmark_f16.onnx"
MESH_POINTS = 468

FACE_68_FROM_MESH = MappingProxyType({
    "jaw": (162, 234, 93, 132, 58, 136, 149, 148, 152, 377, 378, 365, 288, 361, 323, 454, 389),
    "right brow": (70, 63, 105, 66, 107),
    "left brow": (336, 296, 334, 293, 300),
    "bridge of the nose": (168, 197, 5, 4),
    "nostrils": (75, 97, 2, 326, 305),
    "right eye": (33, 160, 158, 133, 153, 144),
    "left eye": (362, 385, 387, 263, 373, 380),
    "outer lips": (61, 39, 37, 0, 267, 269, 291, 321, 405, 17, 181, 91),
    "inner lips": (78, 81, 13, 311, 308, 402, 14, 178),
})  # fmt: skip
"""Points of the mesh, in the order of COCO-WholeBody's 68 face points.

The widely used table, but for the jaw at the ears' height, the outer ends of the brows and the sides of the lips: there
the points of this one are nearer to the annotated ones on the project's check photos."""

CHOSEN = np.array([index for part in FACE_68_FROM_MESH.values() for index in part])
MESH_RIGHT_EYE, MESH_LEFT_EYE = 33, 263
"""Outer corners of the eyes, in the mesh."""
NOSE_TIP = 30
RIGHT_EYE, LEFT_EYE = slice(36, 42), slice(42, 48)
"""Of the 68 points: what the body has too."""

HEAD_FOUND = 0.2
"""Minimum mean score of the body's nose and eyes for a face to be looked for."""
EYE_DISTANCES, EAR_DISTANCES = 4.2, 1.9
"""Side of the first square: the larger of so many distances between the eyes, and between the ears."""
PADDING = 1.5
"""Side of the next squares, in extents of the mesh that was found."""
RUNS = 3
PRESENT = 0.5
"""Minimum presence, on average of the runs; a face that is turned away is near 0, a seen one near 1."""
AGREES = 0.25
"""Maximum distance of the mesh's nose and eyes from the body's, in extents of the face."""


class FaceMesh:
    """Finds the face of a body.

    Args:
        device, backend: see `OnnxModel`.

    Raises `MissingDependency` if nothing can run ONNX here.
    """

    name = "MediaPipe face mesh"

    def __init__(self, *, device: str | None = None, backend: str | None = None) -> None:
        self.model = LandmarkModel(self.name, WEIGHTS, device=device, backend=backend)

    def find(self, image: np.ndarray, keypoints: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, float] | None:
        """Points (68, 2) in picture pixels and score of the face; None if there is none or it is another person's.

        Args:
            keypoints, scores: (17, 2) in picture pixels and (17,) of the body.
        """
        if scores[:3].mean() < HEAD_FOUND:
            return None
        square, runs = _first_square(keypoints), []
        for _ in range(RUNS):
            runs.append(self._look(image, square))
            if is_refused([presence for _, presence in runs], RUNS, PRESENT):
                return None
            mesh = runs[-1][0]
            square = Square.around(mesh, PADDING, _turn(mesh[MESH_RIGHT_EYE] - mesh[MESH_LEFT_EYE]))
        face = max(runs, key=lambda run: run[1])[0][CHOSEN]
        score = float(np.mean([presence for _, presence in runs]))
        return (face, score) if score >= PRESENT and disagreement(face, keypoints) <= AGREES else None

    def settings(self) -> dict[str, float]:
        """What affects its results, for `meta`."""
        return {"face_padding": PADDING, "face_runs": RUNS}

    def _look(self, image: np.ndarray, square: Square) -> tuple[np.ndarray, float]:
        """Points (468, 2) in picture pixels, presence 0..1."""
        points, presence = self.model.look(image, square)[:2]
        flat = points.reshape(MESH_POINTS, 3)[:, :2].astype(np.float64) / self.model.pixels
        return square.to_picture(flat), float(sigmoid(presence)[0])


def disagreement(face: np.ndarray, keypoints: np.ndarray) -> float:
    """Largest distance of nose tip and eyes of a face (68, 2) from those of a body (17, 2), in extents of the face."""
    own = np.stack([face[NOSE_TIP], face[LEFT_EYE].mean(axis=0), face[RIGHT_EYE].mean(axis=0)])
    extent = max(float(np.ptp(face, axis=0).max()), 1e-6)
    return float(np.linalg.norm(own - keypoints[:3], axis=1).max()) / extent


def _first_square(keypoints: np.ndarray) -> Square:
    nose, left_eye, right_eye, left_ear, right_ear = keypoints[: COCO_17.index("right_ear") + 1]
    eyes, ears = float(np.linalg.norm(left_eye - right_eye)), float(np.linalg.norm(left_ear - right_ear))
    center = (nose + left_eye + right_eye) / 3
    side = max(EYE_DISTANCES * eyes, EAR_DISTANCES * ears, 1.0)
    return Square((float(center[0]), float(center[1])), side, _turn(right_eye - left_eye))


def _turn(to_right_eye: np.ndarray) -> float:
    """The turn of the square in which the person's right eye is level with the left one, on its left."""
    return turn_of(np.array([-to_right_eye[1], to_right_eye[0]]))
