"""People whom the detector missed: they are looked for where they should be, and kept if a cheap pose confirms them.

Somebody who was tracked is looked for in the box where the tracker expects them. Somebody new in the first frames of a
clip or of a scene is looked for in the frames before. MoveNet judges; the estimator runs on confirmed boxes only.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import boxes as box_tools
from ..embedded.movenet import movenet
from ..oks import body_sigmas, oks
from ..poses import Poses
from ..skeletons import COCO_17
from ..tracking.track import MIN_POINTS
from ..tracking.tracker import Tracker
from ..video.frames import Frame
from .images import CHUNK_PIXELS

if TYPE_CHECKING:
    from .chunk_builder import OpenChunk

FIRST_FRAMES = 12
"""Frames of a scene in which somebody new is looked for backward; fewer if the pictures are large."""
SURE = 0.3
"""Minimum score of a point that counts."""
FEWEST_SURE = 7
"""Minimum number of sure points of the 17: about those of a passer-by of whom half is hidden."""
INSIDE = 0.75
"""Minimum share of the sure points in the box, which is widened by a tenth."""
SAME = 0.35
"""From this OKS on, a pose is that of a person who was found already, such as the one who hides the other."""

EstimateMore = Callable[[Frame, np.ndarray], Poses]
"""(frame, boxes (N, 5)) -> their poses."""


def confirmed(image: np.ndarray, box: np.ndarray, points: np.ndarray, others: Poses) -> np.ndarray | None:
    """(5,) the box of the person expected in `box` (4,), and the mean score of the pose; None if nobody new is there.

    Args:
        image: RGB uint8 (H, W, 3).
        points: (K, 2) the person's expected body points, NaN unseen. The box moves as far as the pose is from them.
        others: the people who were found in the picture.
    """
    size = (image.shape[1], image.shape[0])
    box = box_tools.clip(np.asarray(box[None, :4], np.float64), size)[0]
    if (box[2:] - box[:2]).min() < 2:
        return None
    keypoints, scores = movenet(None, None).find(image, box)
    sure = scores >= SURE
    if sure.sum() < FEWEST_SURE or _share_inside(keypoints[sure], box) < INSIDE or _is_one_of(others, keypoints, sure):
        return None
    if len(points) == len(keypoints):
        off = (keypoints - points)[sure & np.isfinite(points).all(axis=1)]
        box = box + np.tile(np.median(off, axis=0), 2) if len(off) >= MIN_POINTS else box
    return np.append(box_tools.clip(box[None], size)[0], scores.mean()).astype(np.float32)


def _share_inside(points: np.ndarray, box: np.ndarray) -> float:
    margin = 0.1 * (box[2:] - box[:2]).max()
    return float(((points >= box[:2] - margin) & (points <= box[2:] + margin)).all(axis=1).mean())


def _is_one_of(others: Poses, keypoints: np.ndarray, sure: np.ndarray) -> bool:
    """Whether a pose (17, 2) is that of somebody in `others`; by boxes, if their points are not COCO's."""
    if not len(others):
        return False
    pose = np.where(sure[:, None], keypoints, np.nan)[None]
    extent = np.concatenate([np.nanmin(pose[0], axis=0), np.nanmax(pose[0], axis=0)])[None]
    boxes = others.boxes[:, :4].astype(np.float64)
    if len(body_sigmas(others.keypoint_set, others.keypoints.shape[1])) != len(COCO_17):
        return bool((box_tools.iou(boxes, extent) > 0.5).any())
    theirs = np.stack([_sure_points(others.select([row])) for row in range(len(others))])
    alike = oks(theirs, pose, box_tools.area(boxes), body_sigmas(COCO_17.name, len(COCO_17)))
    return bool((alike >= SAME).any())


def _sure_points(person: Poses) -> np.ndarray:
    """(K, 2) the sure body points of one person, NaN for the others."""
    count = len(body_sigmas(person.keypoint_set, person.keypoints.shape[1]))
    return np.where(person.scores[0, :count, None] >= SURE, person.keypoints[0, :count], np.nan)


@dataclass
class _Beginning:
    """The first frames of a scene, as far as they are in one chunk."""

    chunk: OpenChunk
    frames: list[Frame]
    ids: set[int]


class MissedPeople:
    """Looks for people whom the detector missed, frame by frame.

    Args:
        tracker: says where people are expected; learns who was confirmed there.
        estimate: poses of confirmed boxes.
    """

    def __init__(self, tracker: Tracker, estimate: EstimateMore) -> None:
        self.tracker, self.estimate = tracker, estimate
        w, h = tracker.size
        self.length = max(1, min(FIRST_FRAMES, CHUNK_PIXELS // (2 * w * h)))
        self._beginning: _Beginning | None = None

    def found(self, frame: Frame, poses: Poses) -> Poses:
        """The poses of a frame, with those of the people who were tracked and whom the detector missed here."""
        boxes = []
        for track_id, box, points in self.tracker.missed(poses, frame.index, frame.image, frame.pts):
            there = confirmed(frame.image, box, points, poses)
            self.tracker.looked_for(track_id, there is not None)
            boxes += [] if there is None else [there]
        return joined(poses, self.estimate(frame, np.stack(boxes))) if boxes else poses

    def look_back(self, frame: Frame, tracked: Poses, chunk: OpenChunk, first: bool) -> int:
        """Look for new people in the earlier frames of the scene; returns in how many frames somebody was found.

        Args:
            tracked: the people of `frame`, with their ids.
            chunk: of the frame; only its frames are changed.
            first: whether the clip begins with this frame.
        """
        if first or tracked.meta.get("scene_cut"):
            self._beginning = _Beginning(chunk, [], set())
        beginning = self._beginning
        if beginning is None or beginning.chunk is not chunk:
            self._beginning = None
            return 0
        new = [row for row, own in enumerate(tracked.track_ids.tolist()) if own not in beginning.ids]
        count = sum(self._back_from(tracked.select([row]), beginning) for row in new)
        beginning.ids.update(tracked.track_ids.tolist())
        beginning.frames.append(frame)
        if len(beginning.frames) == self.length:
            self._beginning = None
        return count

    def forget(self, chunk: OpenChunk) -> None:
        """Let go of the frames of a finished chunk."""
        if self._beginning is not None and self._beginning.chunk is chunk:
            self._beginning = None

    def _back_from(self, person: Poses, beginning: _Beginning) -> int:
        """Follow one new person back as far as they are confirmed; returns the number of frames."""
        count = 0
        for frame in reversed(beginning.frames):
            there = beginning.chunk.found[frame.index]
            box = confirmed(frame.image, person.boxes[0], _sure_points(person), there)
            if box is None:
                break
            before = self.estimate(frame, box[None])
            if not len(before):
                break
            person = replace(before, track_ids=person.track_ids)
            together = joined(there, person)
            order = np.argsort(together.track_ids, kind="stable")
            beginning.chunk.found[frame.index] = together.select(order)
            count += 1
        return count


def joined(first: Poses, second: Poses) -> Poses:
    """The people of both, with the meta of the first."""
    if not len(first):
        return replace(second, meta=first.meta)
    names = ("keypoints", "scores", "boxes", "track_ids", "box_index")
    arrays: dict[str, Any] = {name: np.concatenate([getattr(first, name), getattr(second, name)]) for name in names}
    return replace(first, **arrays)
