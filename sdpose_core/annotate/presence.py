"""Points that are not there: those outside the picture, and specks of a body that is otherwise not seen."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from ..poses import Poses
from ..skeletons import KEYPOINT_SETS, KeypointSet

SEEN = 0.3
"""Score of a point that is drawn by default."""
HINTED = 0.15
"""Minimum score of a point that holds its neighbors on the skeleton."""
SPECK = 2
"""Groups of at most so many connected body points are specks beside a larger group."""


@dataclass(frozen=True)
class Presence:
    """Which points stay although they are not there.

    Attributes:
        keep_outside: points outside the picture, and those of score 0, whose estimator saw no evidence inside it.
        keep_isolated: single body points, and pairs, whose neighbors on the skeleton are not even hinted at, beside a
            larger group.
    """

    keep_outside: bool = False
    keep_isolated: bool = False

    def apply(self, poses: Poses) -> Poses:
        """The poses without these points: NaN, score 0. Custom keypoint sets have no skeleton, so no specks."""
        if not len(poses):
            return poses
        gone = np.zeros(poses.scores.shape, bool)
        if not self.keep_outside:
            gone |= outside(poses)
        known = KEYPOINT_SETS.get(poses.keypoint_set)
        if known is not None and not self.keep_isolated:
            gone |= isolated(poses, known, gone)
        keypoints = np.where(gone[..., None], np.nan, poses.keypoints)
        return replace(poses, keypoints=keypoints, scores=np.where(gone, 0, poses.scores))


DEFAULT_PRESENCE = Presence()


def outside(poses: Poses) -> np.ndarray:
    """(P, K) bool: points outside the picture or of score 0."""
    w, h = poses.size
    x, y = np.moveaxis(poses.keypoints, -1, 0)
    return (x < 0) | (y < 0) | (x > w) | (y > h) | (poses.scores <= 0)


def isolated(poses: Poses, keypoint_set: KeypointSet, gone: np.ndarray) -> np.ndarray:
    """(P, K) bool: the body points in groups of at most `SPECK` that are not the person's largest group."""
    body = len(keypoint_set.parts["body"])
    links = [link for link in keypoint_set.links if max(link) < body]
    result = np.zeros(gone.shape, bool)
    hinted = (poses.scores >= HINTED) & ~gone
    for person, points in enumerate(hinted[:, :body]):
        groups = _groups(np.flatnonzero(points).tolist(), links)
        for group in sorted(groups, key=len)[:-1]:
            if len(group) <= SPECK:
                result[person, list(group)] = True
    return result & (poses.scores >= SEEN)


def _groups(points: list[int], links: list[tuple[int, int]]) -> list[set[int]]:
    """The points, in groups that links connect."""
    groups = [{point} for point in points]
    for a, b in links:
        joined = [group for group in groups if a in group or b in group]
        if len(joined) == 2:
            groups = [group for group in groups if group not in joined] + [joined[0] | joined[1]]
    return groups
