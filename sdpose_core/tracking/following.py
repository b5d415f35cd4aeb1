"""Boxes without a detector: people are followed by their last poses as long as these can be trusted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import boxes as box_tools
from ..oks import body_sigmas, oks
from ..poses import Poses
from .options import TrackerOptions
from .scene_cuts import SceneCuts
from .tracker import MIN_POINTS, Tracker, plain_list

MARGIN = 0.1
"""A following box is wider than the points by this share of its longer side, on each side: crown, hands and feet lie
beyond the outermost joints, and people move."""
TRUST = 0.7
"""A person whose mean score falls below this share of that of the last detection has been lost."""
INSIDE = 0.7
"""A person of whose sure points a smaller share lies inside the box may be somebody else, who stands nearby."""
DOUBLE = 0.8
"""Two poses more alike than this (OKS) are one person, followed twice."""


class Following:
    """Says which frames need the detector, and gives the others their boxes.

    Args:
        every: the detector looks at each Nth frame at least.
        options: of the tracker: which points are sure, and whether cuts are looked for.
    """

    def __init__(self, every: int, options: TrackerOptions) -> None:
        self.every = every
        self.options = options
        self._cuts = SceneCuts(options.cut_threshold)
        self._last: Poses | None = None
        self._means: dict[int, float] = {}
        self._detected_at = 0
        self._detect_next = True

    def sees_cut(self, image: np.ndarray) -> bool:
        """Whether a scene begins with `image`; to be asked once for each frame, in order."""
        return self.every > 1 and self.options.cuts and self._cuts.update(image)

    def needs_detector(self, number: int) -> bool:
        """Whether frame `number` (of those estimated) is to be looked at by the detector."""
        return self.every == 1 or self._detect_next or number - self._detected_at >= self.every

    def detect(self, number: int) -> None:
        """The detector looks at frame `number`."""
        self._detected_at, self._detect_next = number, False

    def boxes(self, tracker: Tracker, frame_index: int) -> np.ndarray:
        """(N, 5) boxes of the people of the last poses, moved to `frame_index` of the source."""
        poses = self._last
        if poses is None or not len(poses):
            return np.zeros((0, 5), np.float32)
        predicted, ids = tracker.predict(frame_index)
        place = dict(zip(ids.tolist(), predicted, strict=True))
        rows = [
            self._box(poses, row, place.get(track_id, poses.boxes[row, :4])) for row, track_id in enumerate(_ids(poses))
        ]
        boxes = np.concatenate([np.stack(rows), poses.boxes[:, 4:]], axis=1)
        boxes[:, :4] = box_tools.clip(boxes[:, :4], poses.size)
        return boxes.astype(np.float32)

    def _box(self, poses: Poses, row: int, predicted: np.ndarray) -> np.ndarray:
        """(4,) the box around the sure points of a person (or their last box), moved like the predicted box."""
        box = old = poses.boxes[row, :4].astype(np.float64)
        sure = self._sure_points(poses, row)
        if len(sure) >= MIN_POINTS and _share_inside(sure, old) >= INSIDE:
            box = np.concatenate([sure.min(axis=0), sure.max(axis=0)])
        margin = MARGIN * (box[2:] - box[:2]).max()
        shift = (predicted - old)[:2]
        return np.concatenate([box[:2] - margin + shift, box[2:] + margin + shift])

    def _sure_points(self, poses: Poses, row: int) -> np.ndarray:
        """(N, 2) points of a person, pixels."""
        sure = (poses.scores[row] >= self.options.point_threshold) & np.isfinite(poses.keypoints[row]).all(axis=-1)
        return poses.keypoints[row, sure].astype(np.float64)

    def doubtful(self, poses: Poses, expected: int) -> bool:
        """Whether poses found in `expected` following boxes call for the detector."""
        if len(poses) < expected:
            return True
        assert self._last is not None
        known = [self._means.get(track_id, 0.0) for track_id in _ids(self._last)]
        left = [_share_inside(self._sure_points(poses, row), box[:4]) < INSIDE for row, box in enumerate(poses.boxes)]
        return any(left) or bool((_means(poses) < TRUST * np.asarray(known)).any()) or _any_double(poses)

    def accept(self, poses: Poses, detected: bool) -> None:
        """The tracked poses of the next frame; whether they were found in boxes of the detector."""
        if self.every == 1:
            return
        means = {track_id: float(mean) for track_id, mean in zip(_ids(poses), _means(poses), strict=True)}
        self._means = means if detected else {**means, **self._means}
        before = set() if self._last is None else set(_ids(self._last))
        if before - set(_ids(poses)):
            self._detect_next = True
        self._last = poses

    def doubt(self) -> None:
        """The next frame is to be looked at by the detector."""
        self._detect_next = True

    def state(self) -> dict[str, Any]:
        """Everything that `restore` needs, as JSON-able values."""
        return {
            "cuts": self._cuts.state(),
            "last": None if self._last is None else _poses_state(self._last),
            "means": {str(track_id): mean for track_id, mean in self._means.items()},
            "detected_at": self._detected_at,
            "detect_next": self._detect_next,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""
        self._cuts.restore(state["cuts"])
        self._last = None if state["last"] is None else _poses_from(state["last"])
        self._means = {int(track_id): mean for track_id, mean in state["means"].items()}
        self._detected_at, self._detect_next = state["detected_at"], state["detect_next"]


def _means(poses: Poses) -> np.ndarray:
    """(P,) mean score of the body's points."""
    count = len(body_sigmas(poses.keypoint_set, poses.scores.shape[1]))
    return poses.scores[:, :count].mean(axis=1) if len(poses) else np.zeros(0, np.float32)


def _ids(poses: Poses) -> list[int]:
    return np.asarray(poses.track_ids).tolist()


def _share_inside(points: np.ndarray, box: np.ndarray) -> float:
    """Share of the points (N, 2) that lie in a box (4,); 1 without points."""
    return float(((points >= box[:2]) & (points <= box[2:])).all(axis=1).mean()) if len(points) else 1.0


def _any_double(poses: Poses) -> bool:
    sigmas = body_sigmas(poses.keypoint_set, poses.scores.shape[1])
    points = poses.keypoints[:, : len(sigmas)].astype(np.float64)
    alike = oks(points, points, box_tools.area(poses.boxes[:, :4]), sigmas)
    return bool((alike - np.eye(len(poses)) > DOUBLE).any())


def _poses_state(poses: Poses) -> dict[str, Any]:
    return {
        "keypoints": plain_list(poses.keypoints.astype(np.float64)),
        "scores": poses.scores.astype(np.float64).tolist(),
        "boxes": poses.boxes.astype(np.float64).tolist(),
        "track_ids": _ids(poses),
        "size": list(poses.size),
        "keypoint_set": poses.keypoint_set,
        "points": poses.keypoints.shape[1],
    }


def _poses_from(state: Mapping[str, Any]) -> Poses:
    people, points = len(state["track_ids"]), state["points"]
    w, h = state["size"]
    return Poses(
        np.asarray(state["keypoints"], np.float32).reshape(people, points, 2),
        np.asarray(state["scores"], np.float32).reshape(people, points),
        np.asarray(state["boxes"], np.float32).reshape(people, 5),
        (w, h),
        state["keypoint_set"],
        np.asarray(state["track_ids"], np.int32),
    )
