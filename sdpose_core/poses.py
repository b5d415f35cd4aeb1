"""The value types of the library: `Poses` (one picture) and `PoseSequence` (a clip), and the file format `.pose.npz`.

Both are frozen and validated. Keypoints are pixels (x, y) of the source picture, NaN where no point was found. Scores
are raw (a heatmap's maximum may exceed 1); thresholds are applied when poses are drawn or written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from .errors import InputError, counted, restated
from .files import atomic_write
from .npz_files import read_npz
from .pose_values import (
    as_array,
    check_entries,
    check_finite,
    check_frames,
    check_keypoint_set,
    check_rate,
    check_share,
    check_size,
    check_track_ids,
)
from .skeletons import KEYPOINT_SETS, SKELETON, KeypointSet, skeleton_of
from .texts import parse_json

USUAL_RATE = Fraction(25)
"""Frames per second of a folder of pictures, and of a source that states none."""

FORMAT_VERSION = 1
_ARRAYS = ("keypoints", "scores", "boxes", "track_ids", "frame_index", "pts")
_REQUIRED = (*_ARRAYS, "size", "frame_rate", "keypoint_set", "meta")
OF_POINTS: Mapping[str, type] = MappingProxyType(
    {"distrust": np.float32, "distrust_reasons": np.uint16, "edited": bool}
)
"""Optional arrays (T, P, K) of a sequence, and their types."""


def count_people(number: int) -> str:
    """A number of people in words, for messages."""
    return counted(number, "person", "people") if number else "nobody"


@dataclass(frozen=True, eq=False)
class Poses:
    """The P people of one picture.

    Attributes:
        keypoints: (P, K, 2) float32, pixels (x, y) of the source picture, NaN where no point was found.
        scores: (P, K) float32, raw scores.
        boxes: (P, 5) float32: x1, y1, x2, y2 in pixels, score.
        size: (w, h) of the source picture.
        keypoint_set: name of the set ("coco_17", "coco_wholebody_133", or a custom name).
        track_ids: (P,) int32; 0..P-1 unless tracked.
        meta: model, settings, notes; of a custom set also its `skeleton`, see `skeletons.described`.
        box_index: (P,) int32, the box given to the estimator in which each person was found; 0..P-1 by default. It is
            not saved.

    Raises `InputError` if the shapes do not match.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    size: tuple[int, int]
    keypoint_set: str
    track_ids: np.ndarray = None  # type: ignore[assignment]  # an array after __post_init__
    meta: Mapping[str, Any] = field(default_factory=dict)
    box_index: np.ndarray = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        keypoints = as_array(self.keypoints, np.float32, (None, None, 2), "keypoints")
        people, count = keypoints.shape[:2]
        check_keypoint_set(self.keypoint_set, count)
        ids = np.arange(people) if self.track_ids is None else self.track_ids
        box_index = np.arange(people) if self.box_index is None else self.box_index
        object.__setattr__(self, "keypoints", keypoints)
        object.__setattr__(self, "scores", as_array(self.scores, np.float32, (people, count), "scores"))
        object.__setattr__(self, "boxes", as_array(self.boxes, np.float32, (people, 5), "boxes"))
        object.__setattr__(self, "track_ids", as_array(ids, np.int32, (people,), "track_ids"))
        object.__setattr__(self, "box_index", as_array(box_index, np.int32, (people,), "box_index"))
        object.__setattr__(self, "size", check_size(self.size))

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def skeleton(self) -> KeypointSet:
        """Names and links of the points, see `skeletons.skeleton_of`."""
        return skeleton_of(self.keypoint_set, self.keypoints.shape[-2], self.meta)

    @classmethod
    def empty(cls, size: tuple[int, int], keypoint_set: str, meta: Mapping[str, Any] | None = None) -> Poses:
        """No people, in a picture of `size` (w, h)."""
        count = len(KEYPOINT_SETS[keypoint_set]) if keypoint_set in KEYPOINT_SETS else 0
        shape = (0, count)
        return cls(np.zeros((*shape, 2)), np.zeros(shape), np.zeros((0, 5)), size, keypoint_set, meta=meta or {})

    def select(self, indices: Sequence[int] | np.ndarray) -> Poses:
        """The people at `indices` (or under a boolean mask), in that order."""
        index = np.asarray(indices)
        index = index if index.dtype == bool else index.astype(np.int64)
        names = ("keypoints", "scores", "boxes", "track_ids", "box_index")
        return replace(self, **{name: getattr(self, name)[index] for name in names})

    def with_ids_of_boxes(self, track_ids: Sequence[int] | np.ndarray) -> Poses:
        """The same poses with the track ids (N,) of the N boxes given to the estimator."""
        return replace(self, track_ids=np.asarray(track_ids, np.int32)[self.box_index])

    def with_meta(self, **meta: Any) -> Poses:
        """The same poses with entries of `meta` added or replaced."""
        return replace(self, meta={**self.meta, **meta})

    def mean_scores(self) -> np.ndarray:
        """(P,) mean keypoint score of each person (0 for a person without points)."""
        return self.scores.mean(axis=1) if self.scores.shape[1] else np.zeros(len(self), np.float32)

    def save(self, path: str | Path) -> None:
        """Write a `.pose.npz` of one frame."""
        PoseSequence.from_poses([self]).save(path)


@dataclass(frozen=True, eq=False)
class PoseSequence:
    """T frames of up to P people each: what a `.pose.npz` holds.

    Attributes:
        keypoints: (T, P, K, 2) float32 source pixels, NaN unseen.
        scores: (T, P, K) float32 raw scores.
        boxes: (T, P, 5) float32 x1, y1, x2, y2, score.
        track_ids: (T, P) int32, -1 for an empty slot.
        frame_index: (T,) int64 number of the frame in the source.
        pts: (T,) float64 seconds.
        size: (w, h) of the source.
        frame_rate: frames per second as a Fraction, or None for pictures (stored as 0/1).
        keypoint_set: name of the keypoint set.
        meta: model, SHA-256 of the weights, settings, versions, source; of a custom set also its `skeleton`, see
            `skeletons.described`; JSON-able.
        distrust: (T, P, K) float32 probability that a point is wrong, NaN unknown; None: not computed.
        distrust_reasons: (T, P, K) uint16 bit mask of `sequences.distrust.REASONS`; None: not computed.
        edited: (T, P, K) bool, what was placed or deleted by hand, see `review`; None: nothing.
    """

    keypoints: np.ndarray
    scores: np.ndarray
    boxes: np.ndarray
    track_ids: np.ndarray
    frame_index: np.ndarray
    pts: np.ndarray
    size: tuple[int, int]
    frame_rate: Fraction | None
    keypoint_set: str
    meta: Mapping[str, Any] = field(default_factory=dict)
    distrust: np.ndarray | None = None
    distrust_reasons: np.ndarray | None = None
    edited: np.ndarray | None = None

    def __post_init__(self) -> None:
        keypoints = as_array(self.keypoints, np.float32, (None, None, None, 2), "keypoints")
        frames, people, count = keypoints.shape[:3]
        check_keypoint_set(self.keypoint_set, count)
        parts = {
            "scores": (np.float32, (frames, people, count)),
            "boxes": (np.float32, (frames, people, 5)),
            "track_ids": (np.int32, (frames, people)),
            "frame_index": (np.int64, (frames,)),
            "pts": (np.float64, (frames,)),
        }
        object.__setattr__(self, "keypoints", keypoints)
        for name, (dtype, shape) in parts.items():
            object.__setattr__(self, name, as_array(getattr(self, name), dtype, shape, name))
        for name, values in self.of_points().items():
            object.__setattr__(self, name, as_array(values, OF_POINTS[name], (frames, people, count), name))
        object.__setattr__(self, "size", check_size(self.size))
        self._check()

    def of_points(self) -> dict[str, np.ndarray]:
        """Those of its optional arrays (T, P, K) that it has, by name."""
        arrays = {name: getattr(self, name) for name in OF_POINTS}
        return {name: values for name, values in arrays.items() if values is not None}

    def _check(self) -> None:
        """Raise `InputError` for values that no sequence has; what an empty slot holds does not matter."""
        check_rate(self.frame_rate)
        if not isinstance(self.meta, Mapping):
            raise InputError(f"meta: expected a mapping of names to values, got {type(self.meta).__name__}")
        if SKELETON in self.meta:
            self.skeleton  # noqa: B018 - raises for a damaged one
        check_track_ids(self.track_ids)
        seen = self.track_ids >= 0
        check_finite(self.keypoints, seen, "keypoints", absent=True)
        check_finite(self.scores, seen, "scores")
        check_finite(self.boxes, seen, "boxes")
        if self.distrust is not None:
            check_finite(self.distrust, seen, "distrust", absent=True)
            check_share(self.distrust, seen, "distrust")

    def __len__(self) -> int:
        return len(self.keypoints)

    @property
    def skeleton(self) -> KeypointSet:
        """Names and links of the points, see `skeletons.skeleton_of`."""
        return skeleton_of(self.keypoint_set, self.keypoints.shape[-2], self.meta)

    @classmethod
    def from_poses(
        cls,
        poses: Sequence[Poses],
        *,
        frame_rate: Fraction | None = None,
        pts: Sequence[float] | None = None,
        frame_index: Sequence[int] | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> PoseSequence:
        """Stack the frames; slots beyond a frame's people are empty (NaN, score 0, track id -1)."""
        if not poses:
            raise InputError("a pose sequence needs at least one frame, got none")
        first = poses[0]
        for number, frame in enumerate(poses):
            if (frame.size, frame.keypoint_set) != (first.size, first.keypoint_set):
                raise InputError(
                    f"frame {number} is {frame.keypoint_set!r} at {frame.size}, the first is "
                    f"{first.keypoint_set!r} at {first.size}: all frames of a sequence must agree"
                )
        total, people, count = len(poses), max(len(p) for p in poses), max(p.keypoints.shape[1] for p in poses)
        keypoints = np.full((total, people, count, 2), np.nan, np.float32)
        scores = np.zeros((total, people, count), np.float32)
        boxes = np.zeros((total, people, 5), np.float32)
        track_ids = np.full((total, people), -1, np.int32)
        for t, frame in enumerate(poses):
            if not (n := len(frame)):
                continue  # of a keypoint set that is not known here, it has no points at all
            keypoints[t, :n], scores[t, :n], boxes[t, :n] = frame.keypoints, frame.scores, frame.boxes
            track_ids[t, :n] = frame.track_ids
        index = np.arange(total) if frame_index is None else np.asarray(frame_index)
        seconds = np.zeros(total) if frame_rate is None else index / float(frame_rate)
        return cls(
            keypoints, scores, boxes, track_ids, index,
            seconds if pts is None else np.asarray(pts), first.size, frame_rate, first.keypoint_set,
            dict(first.meta) if meta is None else meta,
        )  # fmt: skip

    def shown_scores(self, index: Any = ...) -> np.ndarray:
        """`scores[index]`, at least 1 for points that were placed by hand, so that no threshold takes them away."""
        scores = self.scores[index]
        return scores if self.edited is None else np.where(self.edited[index], np.maximum(scores, 1), scores)

    def frame(self, t: int) -> Poses:
        """The people seen in frame number `t` (a position, not `frame_index`), with `shown_scores`; no empty slots."""
        seen = self.track_ids[t] >= 0
        return Poses(
            self.keypoints[t, seen], self.shown_scores(t)[seen], self.boxes[t, seen], self.size, self.keypoint_set,
            self.track_ids[t, seen], self.meta,
        )  # fmt: skip

    def frames(self) -> list[Poses]:
        """All frames as `Poses`."""
        return [self.frame(t) for t in range(len(self))]

    def arrays(self) -> dict[str, Any]:
        """The arrays of a `.pose.npz`, by name."""
        rate = self.frame_rate
        return {
            **{name: getattr(self, name) for name in _ARRAYS},
            **self.of_points(),
            "size": np.asarray(self.size, np.int32),
            "frame_rate": np.asarray([rate.numerator, rate.denominator] if rate else [0, 1], np.int64),
            "keypoint_set": np.asarray(self.keypoint_set),
            "meta": np.asarray(json.dumps({**self.meta, "format_version": FORMAT_VERSION}, sort_keys=True)),
        }

    def save(self, path: str | Path) -> None:
        """Write a `.pose.npz`, atomically; loadable with `allow_pickle=False`."""
        with atomic_write(path) as handle:
            np.savez_compressed(handle, **self.arrays())

    @classmethod
    def load(cls, path: str | Path) -> PoseSequence:
        """Read a `.pose.npz`. Raises `InputError` for a file that is missing, damaged or of another kind."""
        return cls.of_arrays(read_npz(Path(path), str(path), (*_REQUIRED, *OF_POINTS)), str(path))

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, np.ndarray], where: str) -> PoseSequence:
        """The reverse of `arrays`. Raises `InputError`, which begins with `where`, for values that no sequence has."""
        if missing := [name for name in _REQUIRED if name not in arrays]:
            raise InputError(f"{where} is not a .pose.npz: it lacks {', '.join(missing)}")
        with restated(where):
            meta = _read_meta(_text(arrays, "meta"))
            rate = _read_rate(arrays["frame_rate"])
            name, size = _text(arrays, "keypoint_set"), check_size(arrays["size"])
            values = {name: arrays[name] for name in (*_ARRAYS, *OF_POINTS) if name in arrays}
            sequence = cls(**values, size=size, frame_rate=rate, keypoint_set=name, meta=meta)
            check_frames(sequence.frame_index, sequence.pts)
            if not len(sequence):
                raise InputError("the pose sequence has no frames: expected at least one")
            return sequence


def _text(arrays: Mapping[str, np.ndarray], name: str) -> str:
    array = arrays[name]
    if array.dtype.kind != "U" or array.ndim:
        raise InputError(f"{name}: expected a text, got an array of {array.dtype} of shape {array.shape}")
    try:
        return str(array[()])
    except ValueError as error:
        raise InputError(f"{name}: expected a text ({error}): the file is damaged") from None


def _read_rate(array: np.ndarray) -> Fraction | None:
    """Frames per second of (2,) numerator and denominator; 0/1: none."""
    numerator, denominator = as_array(array, np.int64, (2,), "frame_rate").tolist()
    if denominator < 1 or numerator < 0:
        raise InputError(f"frame_rate: expected a fraction from 0/1, got {numerator}/{denominator}")
    return Fraction(numerator, denominator) if numerator else None


def _read_meta(text: str) -> dict[str, Any]:
    meta = parse_json(text, "meta", "a JSON object; the file is damaged")
    version = meta.get("format_version", 0) if isinstance(meta, dict) else None
    if type(version) is not int:
        raise InputError(f"meta: expected a JSON object with a whole number as format_version, got {text:.60}")
    if version > FORMAT_VERSION:
        raise InputError(f"it has format version {version}, this library reads up to {FORMAT_VERSION}: update it")
    check_entries(meta)
    return meta
