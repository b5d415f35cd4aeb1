"""MediaPipe's hand model on the hands of a body: 21 points where the forearms end.

The arm says where a hand is and whose it is; what the model says of the hand's side only refuses hands.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..skeletons import COCO_17
from .landmarks import ASSETS, LandmarkModel, is_refused
from .squares import Square, turn_of

WEIGHTS = ASSETS / "mediapipe_hand_landmark_full_f16.onnx"
SIDES = ("left", "right")
POINTS = 21
WRIST, MIDDLE_FINGER = 0, 9
"""Points of a hand: its root, and the root of the middle finger."""

ARM_FOUND = 0.2
"""Minimum score of the wrist, and half of it of the elbow, for a hand to be looked for."""
BEYOND_WRIST = 0.3
"""The first square's center lies this share of its side beyond the wrist, along the forearm."""
FOREARMS, TORSOS = 1.2, 0.5
"""Side of the first square in lengths of the forearm, and its minimum in lengths of the torso."""
PADDING = 1.7
"""Side of the next squares, in extents of the hand that was found."""
RUNS = 3

PRESENT = 0.5
"""Minimum of the mean presence of the runs, which is the hand's score."""
STEADY = 0.15
"""Maximum mean distance between the best run's points and those of the run closest to it, in extents of the hand."""
THIS_SIDE = 0.1
"""Minimum probability, of the model's own, that the hand is of the arm's side."""
AT_WRIST = 0.4
"""Maximum distance of the hand's root from the wrist, in lengths of the arm's measure (see `_measure`)."""
EXTENT = (0.22, 1.1)
"""Smallest and largest extent of a hand, in the same lengths."""
SAME = 0.3
"""Two hands are one if their points are nearer than this on average, in extents of the larger."""


@dataclass(frozen=True)
class Hand:
    """Points (21, 2) in picture pixels; presence: 0..1; right: probability of a right hand."""

    points: np.ndarray
    presence: float
    right: float

    @property
    def extent(self) -> float:
        """The longer side of the points' bounding box."""
        return float(np.ptp(self.points, axis=0).max())


class Hands:
    """Finds the hands of a body.

    Args:
        device, backend: see `OnnxModel`.

    Raises `MissingDependency` if nothing can run ONNX here.
    """

    name = "MediaPipe hand landmarks"

    def __init__(self, *, device: str | None = None, backend: str | None = None) -> None:
        self.model = LandmarkModel(self.name, WEIGHTS, device=device, backend=backend)

    def find(self, image: np.ndarray, keypoints: np.ndarray, scores: np.ndarray) -> dict[str, tuple[np.ndarray, float]]:
        """By side, the points (21, 2) in picture pixels and the score of each hand that is accepted.

        Args:
            keypoints, scores: (17, 2) in picture pixels and (17,) of the body.
        """
        found = {}
        for side in SIDES:
            elbow, wrist = (COCO_17.index(f"{side}_{name}") for name in ("elbow", "wrist"))
            if scores[wrist] < ARM_FOUND or scores[elbow] < ARM_FOUND / 2:
                continue
            hand = self._at(image, side, keypoints[elbow], keypoints[wrist], torso(keypoints, scores))
            if hand is not None:
                found[side] = hand
        return _without_doubles(found, keypoints)

    def settings(self) -> dict[str, float]:
        """What affects its results, for `meta`."""
        return {"hand_padding": PADDING, "hand_runs": RUNS}

    def _at(
        self, image: np.ndarray, side: str, elbow: np.ndarray, wrist: np.ndarray, torso_length: float
    ) -> tuple[np.ndarray, float] | None:
        """Points and score of the hand at the end of a forearm, None if it is refused.

        The model is not symmetric: what it does not see it may see in a mirror.
        """
        for mirrored in (False, True):
            square = first_square(elbow, wrist, torso_length)
            runs: list[Hand] = []
            for _ in range(RUNS):
                runs.append(self._look(image, square, mirrored))
                if is_refused([run.presence for run in runs], RUNS, PRESENT):
                    break
                square = _square_around(runs[-1])
            best = max(runs, key=lambda run: run.presence)
            score = float(np.mean([run.presence for run in runs]))
            steady = score >= PRESENT and _shift(best, runs) <= STEADY
            if steady and _belongs(best, side, elbow, wrist, torso_length):
                return best.points, score
        return None

    def _look(self, image: np.ndarray, square: Square, mirrored: bool) -> Hand:
        outputs = self.model.look(image, square, mirrored=mirrored)
        points, presence, right = (values.astype(np.float64) for values in outputs[:3])
        flat = points.reshape(POINTS, 3)[:, :2] / self.model.pixels
        if mirrored:
            flat[:, 0], right = 1 - flat[:, 0], 1 - right
        return Hand(square.to_picture(flat), float(presence[0]), float(right[0]))


def torso(keypoints: np.ndarray, scores: np.ndarray) -> float:
    """Length of the torso, from shoulders to hips; where the hips are not seen, from the width of the shoulders."""
    shoulders, hips = keypoints[5:7], keypoints[11:13]
    if scores[11:13].max() < ARM_FOUND:
        return 1.3 * float(np.linalg.norm(shoulders[0] - shoulders[1]))
    return float(np.linalg.norm(shoulders.mean(axis=0) - hips.mean(axis=0)))


def first_square(elbow: np.ndarray, wrist: np.ndarray, torso_length: float) -> Square:
    """Where to look for the hand of a forearm, which points up in it."""
    forearm = wrist - elbow
    length = max(float(np.linalg.norm(forearm)), 1e-6)
    side = max(FOREARMS * length, TORSOS * torso_length, 1.0)
    center = wrist + BEYOND_WRIST * side * forearm / length
    return Square((float(center[0]), float(center[1])), side, turn_of(forearm))


def _square_around(hand: Hand) -> Square:
    """The square around a hand's points, turned so that the middle finger's root is above the wrist."""
    turn = turn_of(hand.points[MIDDLE_FINGER] - hand.points[WRIST])
    return Square.around(hand.points, PADDING, turn)


def _measure(elbow: np.ndarray, wrist: np.ndarray, torso_length: float) -> float:
    """What the hand is measured by: the forearm, or a share of the torso where the forearm points at the viewer."""
    return max(float(np.linalg.norm(wrist - elbow)), 0.4 * torso_length, 1.0)


def _belongs(hand: Hand, side: str, elbow: np.ndarray, wrist: np.ndarray, torso_length: float) -> bool:
    """Whether a hand is of this side, at the wrist, of a size that fits the arm, and not turned against it."""
    measure = _measure(elbow, wrist, torso_length)
    along = float((wrist - elbow) @ (hand.points[MIDDLE_FINGER] - hand.points[WRIST]))
    return (
        (hand.right if side == "right" else 1 - hand.right) >= THIS_SIDE
        and float(np.linalg.norm(hand.points[WRIST] - wrist)) <= AT_WRIST * measure
        and EXTENT[0] <= hand.extent / measure <= EXTENT[1]
        and along >= 0
    )


def _shift(best: Hand, runs: list[Hand]) -> float:
    """Mean distance of the best run's points to those of the run closest to it, in extents of the hand."""
    others = [run for run in runs if run is not best]
    return min(_distance(best.points, run.points) for run in others) / max(best.extent, 1e-6)


def is_same(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two hands or faces (N, 2) are one: nearer than `SAME` on average, in extents of the larger."""
    extent = max(float(np.ptp(points, axis=0).max()) for points in (a, b))
    return _distance(a, b) <= SAME * extent


def _distance(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a - b, axis=1).mean())


def _without_doubles(
    found: dict[str, tuple[np.ndarray, float]], keypoints: np.ndarray
) -> dict[str, tuple[np.ndarray, float]]:
    """The same, without a hand that was found for both arms: the arm with the nearer wrist keeps it."""
    if len(found) < 2:
        return found
    points = {side: hand[0] for side, hand in found.items()}
    if not is_same(points["left"], points["right"]):
        return found
    wrists = {side: keypoints[COCO_17.index(f"{side}_wrist")] for side in SIDES}
    nearer = min(SIDES, key=lambda side: float(np.linalg.norm(points[side][WRIST] - wrists[side])))
    return {nearer: found[nearer]}
