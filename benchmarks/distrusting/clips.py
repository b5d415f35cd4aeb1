"""Estimates of rendered clips and of photos, and how far each point is from the truth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from sdpose_core.annotate.chunks import join_chunks
from sdpose_core.annotate.clip_options import ClipOptions
from sdpose_core.annotate.stream import estimate_frames
from sdpose_core.boxes import xywh_to_xyxy
from sdpose_core.detection.people import PersonDetector
from sdpose_core.estimation.crop_jobs import Estimator
from sdpose_core.images import read_image
from sdpose_core.oks import oks
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.sequences.cleaning import clean
from sdpose_core.sequences.short_tracks import drop_short_tracks
from sdpose_core.sequences.suspicion.layout import WRONG, WRONG_PART
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133
from sdpose_core.video.frames import Frame

FACE = 0.4
"""Face as a share of the torso in rendered clips, whose faces have no points of their own."""
_FIELDS = {"keypoints": 0, "foot_kpts": 17, "face_kpts": 23, "lefthand_kpts": 91, "righthand_kpts": 112}
_EYES_AND_NOSE = {1: slice(65, 71), 2: slice(59, 65), 0: slice(53, 54)}
"""Body point -> the face points whose mean lies there: outlines of the left and right eye, tip of the nose."""


@dataclass(frozen=True)
class Estimated:
    """A clip: as estimated, cleaned as by `sdpose video`, and its truth."""

    raw: PoseSequence
    cleaned: PoseSequence
    truth: PoseSequence


def estimated(folder: Path, name: str, estimator: Estimator, detector: PersonDetector) -> Estimated:
    """The clip in a folder; estimates are kept beside it under `name`."""
    kept = folder / f"{name}.pose.npz"
    truth = PoseSequence.load(folder / "truth.pose.npz")
    if not kept.exists():
        options = ClipOptions(clean=None)
        frames = _frames(folder, truth)
        chunks = list(estimate_frames(frames, estimator, detector, options, frame_rate=truth.frame_rate))
        drop_short_tracks(join_chunks(chunks)).save(kept)
    raw = PoseSequence.load(kept)
    return Estimated(raw, clean(raw), truth)


def _frames(folder: Path, truth: PoseSequence) -> Iterator[Frame]:
    for index, pts in zip(truth.frame_index.tolist(), truth.pts.tolist(), strict=True):
        yield Frame(index, pts, read_image(folder / "images" / f"frame_{index:05d}.jpg"))


def as_pictures(sequence: PoseSequence, every: int = 2) -> PoseSequence:
    """Some of the frames of a clip, as pictures that have nothing to do with one another."""
    names = ("keypoints", "scores", "boxes", "track_ids", "frame_index", "pts")
    some = {name: getattr(sequence, name)[::every] for name in names}
    return replace(sequence, **{**some, "pts": some["pts"] * 0}, frame_rate=None)


def errors(sequence: PoseSequence, truth: PoseSequence) -> np.ndarray:
    """(T, P, K) distance of each point from the truth in radii; above 1 is wrong. NaN where the truth is not known.

    A track is the person whom it follows in most of its frames; on somebody else, or on nobody, all its points are
    infinitely wrong.
    """
    assert np.array_equal(sequence.frame_index, truth.frame_index)
    nearest = np.full(sequence.track_ids.shape, -1)
    for t in range(len(sequence)):
        for slot, person in _nearest(sequence.frame(t), truth.frame(t)).items():
            nearest[t, np.flatnonzero(sequence.track_ids[t] >= 0)[slot]] = person
    result = np.full(sequence.scores.shape, np.nan)
    usual = _usual_torsos(truth)
    for track_id in np.unique(sequence.track_ids[sequence.track_ids >= 0]).tolist():
        frames, slots = np.nonzero(sequence.track_ids == track_id)
        people, counts = np.unique(nearest[frames, slots], return_counts=True)
        person = int(people[counts.argmax()])
        for t, slot in zip(frames.tolist(), slots.tolist(), strict=True):
            there = np.flatnonzero(truth.track_ids[t] == person) if person >= 0 else ()
            points = sequence.keypoints[t, slot]
            if len(there):
                true = truth.keypoints[t, there[0]]
                result[t, slot] = _distances(points, true, usual[person])
            else:
                result[t, slot] = np.inf
            result[t, slot, ~np.isfinite(points[:, 0])] = np.nan
    return result


def _nearest(found: Poses, truth: Poses) -> dict[int, int]:
    """Row of a found person -> track id of the true one, at most one to one; by OKS with wide tolerances."""
    from scipy.optimize import linear_sum_assignment

    if not len(found) or not len(truth):
        return {}
    sides = truth.boxes[:, 2:4] - truth.boxes[:, :2]
    similar = oks(truth.keypoints[:, :17], found.keypoints[:, :17], sides.prod(axis=1) * 0.6,
                  np.asarray(COCO_17.sigmas), spread=2)  # fmt: skip
    rows, columns = linear_sum_assignment(-similar)
    ids = truth.track_ids.tolist()
    return {int(c): ids[r] for r, c in zip(rows, columns, strict=True) if similar[r, c] > 0.1}


def torso(points: np.ndarray) -> float:
    """Longer diagonal between shoulders and hips of (K, 2), pixels; NaN if unknown."""
    lengths = [float(np.linalg.norm(points[a] - points[b])) for a, b in ((5, 12), (6, 11))]
    known = [length for length in lengths if np.isfinite(length)]
    return max(known, default=np.nan)


def _usual_torsos(truth: PoseSequence) -> dict[int, float]:
    ids = np.unique(truth.track_ids[truth.track_ids >= 0]).tolist()
    points = {i: truth.keypoints[truth.track_ids == i] for i in ids}
    return {i: float(np.median([torso(one) for one in some])) for i, some in points.items()}


def _distances(points: np.ndarray, true: np.ndarray, usual_torso: float) -> np.ndarray:
    """(K, 2) twice -> (K,) distances in the radii of `WRONG` and `WRONG_PART`."""
    size = max(torso(true), 0.5 * usual_torso)
    count = len(points)
    radii = np.full(count, WRONG * size)
    distances = np.linalg.norm(points - true[:count], axis=-1)
    if count == len(COCO_WHOLEBODY_133):
        for part in ("left_hand", "right_hand"):
            hand = list(COCO_WHOLEBODY_133.parts[part])
            radii[hand] = WRONG_PART * np.maximum(np.ptp(true[hand], axis=0).max(), 0.2 * size)
        face = list(COCO_WHOLEBODY_133.parts["face"])
        if not np.isfinite(true[face]).any():
            anchors = [np.linalg.norm(points[at].mean(axis=0) - true[body]) for body, at in _EYES_AND_NOSE.items()]
            distances[face], radii[face] = max(anchors), WRONG_PART * FACE * size
        else:
            extent = np.nanmax(true[face], axis=0) - np.nanmin(true[face], axis=0)
            radii[face] = WRONG_PART * np.nanmax(extent)
    return distances / radii


def photos(folder: Path, estimator: Estimator) -> Iterator[tuple[PoseSequence, np.ndarray]]:
    """Each annotated COCO photo as a sequence of one frame, estimated in the annotated boxes; its errors (1, P, K)."""
    content = json.loads((folder / "test_coco_wholebody.json").read_text(encoding="utf-8"))
    for image in content["images"]:
        people = [one for one in content["annotations"] if one["image_id"] == image["id"] and one["num_keypoints"]]
        boxes = xywh_to_xyxy(np.array([one["bbox"] for one in people], np.float64))
        [found] = estimator.estimate([read_image(folder / image["file_name"])], [boxes])
        rows = [
            _distances(points, _annotated(people[i]), 0.0)
            for points, i in zip(found.keypoints, found.box_index.tolist(), strict=True)
        ]
        yield PoseSequence.from_poses([found]), np.stack(rows)[None]


def _annotated(entry: dict) -> np.ndarray:
    """(133, 2) points of an annotation, NaN where not labeled."""
    points = np.full((133, 2), np.nan)
    for name, first in _FIELDS.items():
        values = np.asarray(entry[name], np.float64).reshape(-1, 3)
        seen = values[:, 2] > 0
        points[first : first + len(values)][seen] = values[seen, :2]
    return points
