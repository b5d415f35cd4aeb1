"""BlazePose on the box of a body: its heels and big toes."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from ..skeletons import COCO_17
from .landmarks import ASSETS, LandmarkModel, sigmoid
from .squares import Square, square_around

WEIGHTS = ASSETS / "mediapipe_pose_landmark_full_f16.onnx"
FEET = MappingProxyType({"left": (27, 31, 29), "right": (28, 32, 30)})
"""BlazePose's ankle, big toe and heel, by side."""

BOX_PADDING = 1.25
"""Side of the square, in longer sides of the box."""
ANKLE_FOUND = 0.2
"""Minimum score of the body's ankle for a foot to be taken."""
PRESENT = 0.5
"""Minimum presence of a body, and..."""
VISIBLE = 0.3
"""...minimum visibility of heel and toe."""
AGREES = 0.06
"""Maximum distance between the two models' ankles, in longer sides of the box."""


class BlazePose:
    """Finds the feet of a body.

    Args:
        device, backend: see `OnnxModel`.

    Raises `MissingDependency` if nothing can run ONNX here.
    """

    name = "BlazePose full"

    def __init__(self, *, device: str | None = None, backend: str | None = None) -> None:
        self.model = LandmarkModel(self.name, WEIGHTS, device=device, backend=backend)

    def find(
        self, image: np.ndarray, box: np.ndarray, keypoints: np.ndarray, scores: np.ndarray
    ) -> dict[str, tuple[np.ndarray, float]]:
        """By side, big toe and heel (2, 2) in picture pixels and the score of each foot that is accepted.

        Args:
            box: (4,) x1, y1, x2, y2 in picture pixels.
            keypoints, scores: (17, 2) in picture pixels and (17,) of the body.
        """
        ankles = {side: COCO_17.index(f"{side}_ankle") for side in FEET}
        sides = [side for side, ankle in ankles.items() if scores[ankle] >= ANKLE_FOUND]
        if not sides:
            return {}
        square = Square(*square_around(box, BOX_PADDING))
        values, presence = self.model.look(image, square)[:2]
        values = values.reshape(-1, 5)
        points = square.to_picture(values[:, :2].astype(np.float64) / self.model.pixels)
        farthest = AGREES * square.side / BOX_PADDING
        visible = sigmoid(values[:, 3])
        found = {}
        for side in sides:
            ankle, *foot = FEET[side]
            apart = keypoints[ankles[side]] - points[ankle]
            seen = float(visible[foot].min())
            if presence[0] < PRESENT or seen < VISIBLE or np.linalg.norm(apart) > farthest:
                continue
            found[side] = points[foot] + apart / 2, min(seen, float(scores[ankles[side]]))
        return found

    def settings(self) -> dict[str, float]:
        """What affects its results, for `meta`."""
        return {"feet_box_padding": BOX_PADDING}
