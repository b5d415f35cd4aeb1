"""Boxes without a detector: people are followed by their last poses while these are reliable."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from .. import boxes as box_tools
from ..oks import body_sigmas, oks
from ..poses import Poses
from .options import TrackerOptions
from .scene_cuts import SceneCuts
from .track import MIN_POINTS, plain_list
from .tracker import Tracker

MARGIN = 0.1
"""Padding of the points' box on each side, as a share of its longer side: head, hands and feet extend beyond the
joints, and people move."""
TRUST = 0.7
"""Below this share of the mean score at the last detection, a person counts as lost."""
INSIDE = 0.7
"""With a smaller share of confident points inside the box, the pose may belong to somebody nearby."""
DOUBLE = 0.8
"""Above this OKS, two poses are one person followed twice."""


class Following:
    """Decides which frames need the detector, and makes the boxes of the others.

    Args:
        every: the detector runs at least every Nth frame.
        options: the tracker's: `point_threshold`, `cuts` and `cut_threshold` are used.
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
        """Whether a scene begins with `image`; call it once per frame, in order."""
        return self.every > 1 and self.options.cuts and self._cuts.update(image)

    def needs_detector(self, number: int) -> bool:
        """Whether the detector must run on frame `number` (of those estimated)."""
        return self.every == 1 or self._detect_next or number - self._detected_at >= self.every

    def detect(self, number: int) -> None:
        """Record that the detector runs on frame `number`."""
        self._detected_at, self._detect_next = number, False

    def boxes(self, tracker: Tracker, frame_index: int, seconds: float | None = None) -> np.ndarray:
        """(N, 5) boxes of the last poses, moved to frame `frame_index` of the source, at `seconds`."""
        poses = self._last
        if poses is None or not len(poses):
            return np.zeros((0, 5), np.float32)
        predicted, ids = tracker.predict(frame_index, seconds)
        place = dict(zip(ids.tolist(), predicted, strict=True))
        moved = [self._box(poses, row, place.get(key, poses.boxes[row, :4])) for row, key in enumerate(_ids(poses))]
        boxes = np.concatenate([np.stack(moved), poses.boxes[:, 4:]], axis=1)
        boxes[:, :4] = box_tools.clip(boxes[:, :4], poses.size)
        return boxes.astype(np.float32)

    def _box(self, poses: Poses, row: int, predicted: np.ndarray) -> np.ndarray:
        """(4,) the box around a person's confident points (or their last box), moved like the predicted box."""
        box = old = poses.boxes[row, :4].astype(np.float64)
        points = self._confident_points(poses, row)
        if len(points) >= MIN_POINTS and _share_inside(points, old) >= INSIDE:
            box = np.concatenate([points.min(axis=0), points.max(axis=0)])
        margin = MARGIN * (box[2:] - box[:2]).max()
        shift = (predicted - old)[:2]
        return np.concatenate([box[:2] - margin + shift, box[2:] + margin + shift])

    def _confident_points(self, poses: Poses, row: int) -> np.ndarray:
        """(N, 2) points of a person, pixels."""
        kept = (poses.scores[row] >= self.options.point_threshold) & np.isfinite(poses.keypoints[row]).all(axis=-1)
        return poses.keypoints[row, kept].astype(np.float64)

    def doubtful(self, poses: Poses, expected: int) -> bool:
        """Whether the poses estimated in `expected` boxes are so poor that the detector must run."""
        if len(poses) < expected:
            return True
        assert self._last is not None
        known = [self._means.get(track_id, 0.0) for track_id in _ids(self._last)]
        inside = [_share_inside(self._confident_points(poses, row), box[:4]) for row, box in enumerate(poses.boxes)]
        faded = (_means(poses) < TRUST * np.asarray(known)).any()
        return min(inside, default=1) < INSIDE or bool(faded) or _any_double(poses)

    def accept(self, poses: Poses, detected: bool) -> None:
        """Take over the tracked poses of a frame; `detected`: they come from boxes of the detector."""
        if self.every == 1:
            return
        means = {track_id: float(mean) for track_id, mean in zip(_ids(poses), _means(poses), strict=True)}
        self._means = means if detected else {**means, **self._means}
        if self._last is not None and set(_ids(self._last)) - set(_ids(poses)):
            self._detect_next = True
        self._last = poses

    def doubt(self) -> None:
        """Run the detector on the next frame."""
        self._detect_next = True

    def state(self) -> dict[str, Any]:
        """What `restore` needs, JSON-able."""
        return {
            "cuts": self._cuts.state(),
            "last": None if self._last is None else _poses_state(self._last),
            "means": {str(track_id): mean for track_id, mean in self._means.items()},
            "detected_at": self._detected_at,
            "detect_next": self._detect_next,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state`."""
        self._cuts.restore(state["cuts"])
        self._last = None if state["last"] is None else _poses_from(state["last"])
        self._means = {int(track_id): mean for track_id, mean in state["means"].items()}
        self._detected_at, self._detect_next = state["detected_at"], state["detect_next"]


def _means(poses: Poses) -> np.ndarray:
    """(P,) mean body score."""
    count = len(body_sigmas(poses.keypoint_set, poses.scores.shape[1]))
    return poses.scores[:, :count].mean(axis=1) if len(poses) else np.zeros(0, np.float32)


def _ids(poses: Poses) -> list[int]:
    return np.asarray(poses.track_ids).tolist()


def _share_inside(points: np.ndarray, box: np.ndarray) -> float:
    """Share of the points (N, 2) inside a box (4,); 1 without points."""
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
