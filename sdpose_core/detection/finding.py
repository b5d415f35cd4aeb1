"""`PersonFinder`: a detector proposes generously, and a cheap pose decides who is there.

Detectors trained on photos give people in paintings and drawings low scores, or none; MoveNet's pose in such a box
tells them from background. So all boxes are tried: sure ones, doubtful ones, those of tiles, last the whole picture.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from .. import boxes as box_tools
from ..embedded.crowds import SEEN, doubles, same_pose, without
from ..embedded.movenet import MoveNet, movenet
from ..images import check_image
from ..onnx_devices import only_onnx
from .people import LOWEST, SURE_BOX, Detections, DetectorOptions, Found, PersonDetector, with_score_column

MOST_DOUBTFUL = 8
"""Doubtful boxes looked at in one picture."""
BEST_POINTS = 8
"""A pose is as sure as its best points: a portrait has no others."""
IN_ANY_BOX = 4 / 3
"""Share of `min_person_score` that is needed in a box that was not fitted to its pose, which shows more background."""
IN_A_PERSON = 3 / 2
"""The same for a box that lies within a person's box, where it may show a part of that person."""
WITHIN = 0.6
"""Share of a box that makes it lie within another."""
FIRST_LOOK = 2 / 3
"""The same for the first look at a doubtful box, before it is fitted."""
LIKELY = 2 * LOWEST
"""Minimum score of a doubtful box where the detector is sure of somebody; times `IN_A_PERSON` in a person's box."""
APART = 0.7
"""Sure boxes that overlap less (IoU) may be two people although the first look shows the same one in both."""
EXPLAINED = 0.5
"""Doubtful boxes that overlap a person by more (IoU) are that person's."""
MARGIN = 0.12
"""Padding of a box fitted to points, as a share of their longer side: head, hands and feet extend beyond the joints."""
TILE_SIDE = 640
"""Pictures with a shorter longer side are not cut into tiles, which would show nothing new."""
TILE_OVERLAP = 0.25


@dataclass(frozen=True)
class _Person:
    """A box and the pose in it; `score` is the detector's, `how` a phrase."""

    box: np.ndarray
    score: float
    how: str
    keypoints: np.ndarray
    scores: np.ndarray

    @property
    def strength(self) -> float:
        return pose_score(self.scores)

    @property
    def is_sure(self) -> bool:
        return self.how == SURE_BOX


def pose_score(scores: np.ndarray) -> float:
    """How sure a pose is: the mean score of its `BEST_POINTS` best points."""
    return float(np.sort(scores)[-BEST_POINTS:].mean())


class PersonFinder:
    """Finds people with a detector and the embedded MoveNet.

    Args:
        detector: proposes boxes down to `LOWEST`, suppressed, unlimited in number.
        options: which people are returned. Boxes of a score of at least `threshold` are sure. `min_person_score` is
            the minimum score of the pose in a doubtful box that was fitted to it: the mean of its 8 best points, as
            far as the mirrored picture has them too. In a sure box, (1 - its score) of that is enough. `sure_only`
            leaves out all but sure boxes.
    """

    def __init__(self, detector: PersonDetector, options: DetectorOptions) -> None:
        self.detector, self.options = detector, options
        self.limits, self.name = options.limits(), detector.name

    @functools.cached_property
    def judge(self) -> MoveNet:
        return movenet(self.options.backend, only_onnx(self.options.device))

    def meta(self) -> dict[str, Any]:
        """See `PersonDetector.meta`: the detector's, with the judge and what it demands."""
        weights = self.judge.model
        judge = {"name": MoveNet.name, "sha256": {weights.path.name: weights.sha256}, **self.judge.settings()}
        return {**self.detector.meta(), "settings": asdict(self.limits), "judge": judge | self.options.confirming()}

    def detect(self, image: np.ndarray) -> Detections:
        """See `PersonDetector.detect`. The score of a box that was not sure is its pose's, below that of sure ones."""
        boxes = self.find(image).boxes
        return boxes[:, :4], boxes[:, 4]

    def find(self, image: np.ndarray) -> Found:
        """The people of an RGB uint8 picture (H, W, 3), and how each was found."""
        check_image(image)
        if self.options.sure_only and not self.options.min_person_score:
            return self._as_detected(image)
        proposed = with_score_column(*self.detector.detect(image))
        sure = proposed[proposed[:, 4] >= self.limits.threshold]
        looked = self._told_apart(image, [self._look(image, row, SURE_BOX) for row in sure])
        people = [p for p in looked if p.strength >= (1 - p.score) * self.options.min_person_score]
        not_there = len(looked) - len(people)
        if not self.options.sure_only:
            people = self._search(image, people, proposed[proposed[:, 4] < self.limits.threshold])
        return self._result(_distinct(people), not_there)

    def _told_apart(self, image: np.ndarray, people: list[_Person]) -> list[_Person]:
        """The people; who got the pose of somebody else is looked for again, with that one erased."""
        people = list(people)
        poses, boxes = [(p.keypoints, p.scores) for p in people], [p.box for p in people]
        for owner, other in doubles(poses, boxes):
            if box_tools.iou(boxes[owner][None], boxes[other][None])[0, 0] < APART:
                hidden = without(image, poses[owner], boxes[owner])
                people[other] = self._look(hidden, np.append(boxes[other], people[other].score), people[other].how)
        return people

    def _as_detected(self, image: np.ndarray) -> Found:
        """The sure boxes as they are: nothing is asked of their poses."""
        boxes, scores = self.detector.detect(image)
        size = image.shape[1], image.shape[0]
        return Found(with_score_column(*self.limits.apply(boxes, scores, size, nms=False)))

    def _search(self, image: np.ndarray, people: list[_Person], doubtful: np.ndarray) -> list[_Person]:
        """The people, with those that the detector is not sure of; more is tried while nobody is found."""
        likely = [row for row in doubtful if not people or row[4] >= LIKELY * _strictness(row, people)]
        people = self._confirmed(image, people, likely[:MOST_DOUBTFUL], "doubtful box")
        if not people:
            people = self._confirmed(image, people, self._tiles(image), "box in a part of the picture")
        if not people:
            h, w = image.shape[:2]
            people = self._confirmed(image, people, np.asarray([[0, 0, w, h, 0]], np.float32), "whole picture")
        return people

    def _confirmed(
        self, image: np.ndarray, people: list[_Person], boxes: Iterable[np.ndarray], kind: str
    ) -> list[_Person]:
        """The people, and those whose pose confirms one of the boxes, (5,) each."""
        people = list(people)
        for row in boxes:
            needed = self.options.min_person_score * _strictness(row, people)
            if not _is_explained(row, people) and self._shows_somebody(image, row, people, needed):
                how = f"{kind}{f' (score {row[4]:.2f})' if row[4] else ''}, confirmed by its pose"
                people += self._confirm(image, self._look(image, row, how), needed)
        return people

    def _shows_somebody(self, image: np.ndarray, row: np.ndarray, people: Iterable[_Person], needed: float) -> bool:
        """Whether a glance at a box (5,) shows a person who is not one of the sure ones; in most boxes it does not."""
        pose = self.judge.glance(image, row[:4])
        return pose_score(pose[1]) >= FIRST_LOOK * needed and not any(
            person.is_sure and same_pose(pose, (person.keypoints, person.scores)) for person in people
        )

    def _confirm(self, image: np.ndarray, person: _Person, needed: float) -> list[_Person]:
        """The person in the box fitted to their pose, or else in their own box; nobody if neither is sure enough."""
        if person.strength < FIRST_LOOK * needed:
            return []
        fitted = self._fitted(image, person)
        if fitted and self._is_certain(image, fitted, needed):
            return [fitted]
        return [person] if self._is_certain(image, person, IN_ANY_BOX * needed) else []

    def _is_certain(self, image: np.ndarray, person: _Person, needed: float) -> bool:
        """Whether the pose has the score that is needed, in the picture and as far as the mirrored one has it too."""
        return person.strength >= needed and pose_score(self.judge.agreed(image, person.box)) >= needed

    def _look(self, image: np.ndarray, row: np.ndarray, how: str) -> _Person:
        return _Person(row[:4], float(row[4]), how, *self.judge.find(image, row[:4]))

    def _fitted(self, image: np.ndarray, person: _Person) -> _Person | None:
        """The person in the box around the points of their pose, looked at again; None without such a box."""
        h, w = image.shape[:2]
        box = fitted_box(person.keypoints, person.scores, (w, h))
        return None if box is None else self._look(image, np.append(box, person.score), person.how)

    def _tiles(self, image: np.ndarray) -> np.ndarray:
        """(N, 5) boxes that the detector sees in overlapping quarters of a large picture, best first."""
        h, w = image.shape[:2]
        if max(h, w) < 2 * TILE_SIDE:
            return np.zeros((0, 5), np.float32)
        found = [_shifted(self.detector.detect(np.ascontiguousarray(image[y, x])), x, y) for y, x in tiles((w, h))]
        boxes = np.concatenate(found)
        boxes = boxes[box_tools.nms(boxes[:, :4], boxes[:, 4], self.limits.nms_iou)]
        return boxes[boxes[:, 4] >= 5 * LOWEST][:MOST_DOUBTFUL]

    def _result(self, people: Sequence[_Person], not_there: int) -> Found:
        below = self.limits.threshold * 0.99
        scores = [person.score if person.is_sure else min(person.strength, below) for person in people]
        rows = np.asarray([[*p.box, s] for p, s in zip(people, scores, strict=True)], np.float32).reshape(-1, 5)
        order = np.argsort(-rows[:, 4], kind="stable")
        order = order[self.limits.are_large(rows[order])][: self.limits.max_people]
        return Found(rows[order], tuple(people[i].how for i in order), not_there)


def fitted_box(keypoints: np.ndarray, scores: np.ndarray, size: tuple[int, int]) -> np.ndarray | None:
    """(4,) box around the points seen, padded, inside a picture of `size` (w, h); None without two of them."""
    points = keypoints[scores >= SEEN]
    if len(points) < 2:
        return None
    low, high = points.min(axis=0), points.max(axis=0)
    margin = MARGIN * (high - low).max()
    box = box_tools.clip(np.concatenate([low - margin, high + margin]), size).astype(np.float32)
    return None if box_tools.box_problem(box, size) else box


def tiles(size: tuple[int, int]) -> list[tuple[slice, slice]]:
    """The rows and columns of four overlapping quarters of a picture of `size` (w, h)."""
    columns, rows = (_halves(length) for length in size)
    return [(row, column) for row in rows for column in columns]


def _halves(length: int) -> tuple[slice, slice]:
    share = round(length * (1 + TILE_OVERLAP) / 2)
    return slice(0, share), slice(length - share, length)


def _shifted(found: Detections, columns: slice, rows: slice) -> np.ndarray:
    """(N, 5) boxes of a tile, in pixels of the picture."""
    return with_score_column(*found) + np.asarray([columns.start, rows.start, columns.start, rows.start, 0], np.float32)


def _is_explained(row: np.ndarray, people: Iterable[_Person]) -> bool:
    boxes = np.asarray([person.box for person in people], np.float32).reshape(-1, 4)
    return bool((box_tools.iou(row[None, :4], boxes) > EXPLAINED).any())


def _strictness(row: np.ndarray, people: Iterable[_Person]) -> float:
    """`IN_A_PERSON` for a box (5,) that lies mostly in a person's box, else 1."""
    shared = [np.concatenate([np.maximum(row[:2], p.box[:2]), np.minimum(row[2:4], p.box[2:])]) for p in people]
    return IN_A_PERSON if any(box_tools.area(box) > WITHIN * box_tools.area(row[:4]) for box in shared) else 1


def _distinct(people: Iterable[_Person]) -> list[_Person]:
    """The people without those who are another one with a worse pose; sure boxes first."""
    kept: list[_Person] = []
    for person in sorted(people, key=lambda p: (p.is_sure, p.strength), reverse=True):
        if not any(_is_same(person, other) for other in kept):
            kept.append(person)
    return kept


def _is_same(first: _Person, second: _Person) -> bool:
    same = same_pose((first.keypoints, first.scores), (second.keypoints, second.scores))
    return bool(box_tools.iou(first.box[None], second.box[None])[0, 0] > EXPLAINED) if same is None else same
