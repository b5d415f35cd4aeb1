"""The 133 points of the person in a box: MoveNet's body, with the hands, face and feet of MediaPipe's models."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from ..skeletons import COCO_17, COCO_WHOLEBODY_133
from .blazepose import BlazePose
from .face_mesh import FaceMesh
from .hands import SIDES, Hands, is_same
from .movenet import movenet

OUTSIDE = 0.05
"""Points farther outside the picture than this share of their part's extent are absent."""

INDICES = {
    **{name: list(COCO_WHOLEBODY_133.parts[name]) for name in ("face", "left_hand", "right_hand")},
    **{
        f"{side}_foot": [COCO_WHOLEBODY_133.index(f"{side}_{point}") for point in ("big_toe", "heel")] for side in SIDES
    },
}
"""Where each part goes in the 133 points."""

SHARED = ("face", "left_hand", "right_hand")
"""Parts that may be found for two people."""


class WholeBody:
    """The embedded models together.

    Args:
        device, backend: see `OnnxModel`.

    Raises `MissingDependency` if nothing can run ONNX here.
    """

    name = "MoveNet, MediaPipe"

    def __init__(self, *, device: str | None = None, backend: str | None = None) -> None:
        self.body = movenet(backend, device)
        self.hands = Hands(device=device, backend=backend)
        self.face = FaceMesh(device=device, backend=backend)
        self.feet = BlazePose(device=device, backend=backend)
        self.models = [part.model for part in (self.body, self.hands, self.face, self.feet)]

    def find(self, image: np.ndarray, box: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Keypoints (133, 2) in picture pixels and scores (133,) of the person in a box (4,) x1, y1, x2, y2.

        A hand, face or foot that is not found, or does not fit the body, is absent (NaN, score 0); so are the small
        toes, which none of the models has.
        """
        body, body_scores = self.body.find(image, box)
        keypoints, scores = np.full((len(COCO_WHOLEBODY_133), 2), np.nan), np.zeros(len(COCO_WHOLEBODY_133))
        keypoints[: len(COCO_17)], scores[: len(COCO_17)] = body, body_scores
        for part, (points, score) in self._parts(image, box, body, body_scores).items():
            inside = _inside(points, image)
            keypoints[INDICES[part]] = np.where(inside[:, None], points, np.nan)
            scores[INDICES[part]] = np.where(inside, score, 0)
        return keypoints, scores

    def settings(self) -> dict[str, Any]:
        """What affects its results, for `meta`."""
        found: dict[str, Any] = {}
        for part in (self.body, self.hands, self.face, self.feet):
            found |= part.settings()
        return found

    def _parts(
        self, image: np.ndarray, box: np.ndarray, body: np.ndarray, body_scores: np.ndarray
    ) -> dict[str, tuple[np.ndarray, float]]:
        """Points and score of the parts that are found, by their names in `INDICES`."""
        hands, feet = self.hands.find(image, body, body_scores), self.feet.find(image, box, body, body_scores)
        face = self.face.find(image, body, body_scores)
        return {
            **{f"{side}_hand": hand for side, hand in hands.items()},
            **{f"{side}_foot": foot for side, foot in feet.items()},
            **({"face": face} if face else {}),
        }


def one_owner_each(keypoints: Sequence[np.ndarray], scores: Sequence[np.ndarray], boxes: Sequence[np.ndarray]) -> None:
    """Make a face or hand that was found for two people of a picture absent, in place, for one of them.

    The one whose box holds more of the pose keeps it.

    Args:
        keypoints, scores: (133, 2) in picture pixels and (133,) of each person.
        boxes: (4,) or (5,) of each person, from x1, y1, x2, y2 on.
    """
    held = [_held(*person) for person in zip(keypoints, scores, boxes, strict=True)]
    for a, b in combinations(range(len(keypoints)), 2):
        loser = a if held[a] < held[b] else b
        for name in SHARED:
            mine = INDICES[name]
            others = [mine] if name == "face" else [INDICES["left_hand"], INDICES["right_hand"]]
            if any(_same(keypoints[loser][mine], keypoints[a + b - loser][other]) for other in others):
                keypoints[loser][mine], scores[loser][mine] = np.nan, 0


def _held(keypoints: np.ndarray, scores: np.ndarray, box: np.ndarray) -> float:
    """Sum of the scores of the body points in the box."""
    body = keypoints[: len(COCO_17)]
    return float(scores[: len(COCO_17)][((body >= box[:2]) & (body <= box[2:4])).all(axis=1)].sum())


def _same(mine: np.ndarray, other: np.ndarray) -> bool:
    """Whether two faces or hands (N, 2) are one, by the points that both have; not if one is absent."""
    both = np.isfinite(mine).all(axis=1) & np.isfinite(other).all(axis=1)
    return bool(both.any()) and is_same(mine[both], other[both])


def _inside(points: np.ndarray, image: np.ndarray) -> np.ndarray:
    """(N,) whether each point of a part lies in the picture, or less than `OUTSIDE` outside it."""
    margin = OUTSIDE * np.ptp(points, axis=0).max()
    size = np.array(image.shape[1::-1])
    return ((points >= -margin) & (points <= size + margin)).all(axis=1)
