"""The value types of the library: `Poses` (one picture) and `PoseSequence` (a clip), and the file format `.pose.npz`.

Both are frozen and validated. Keypoints are pixels (x, y) of the source picture, NaN where no point was found. Scores
are raw (a heatmap's maximum may exceed 1); thresholds are applied when poses are drawn or written.
"""

from __future__ import annotations

import json
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from .errors import InputError, counted
from .files import ZIP, atomic_write, kind_of
from .skeletons import KEYPOINT_SETS

USUAL_RATE = Fraction(25)
"""Frames per second of a folder of pictures, and of a source that states none."""

FORMAT_VERSION = 1
_ARRAYS = ("keypoints", "scores", "boxes", "track_ids", "frame_index", "pts")
_REQUIRED = (*_ARRAYS, "size", "frame_rate", "keypoint_set", "meta")


def _array(value: Any, dtype: type, shape: tuple[int | None, ...], what: str) -> np.ndarray:
    """`value` as a read-only array of `dtype` and `shape` (None: any length); `InputError` otherwise."""
    frozen = isinstance(value, np.ndarray) and not value.flags.writeable and value.base is None
    convert = np.asarray if frozen else np.array  # a long clip is large: copy it only if it could change
    try:
        array: np.ndarray = convert(value, dtype=dtype)
    except (TypeError, ValueError) as error:
        raise InputError(f"{what}: expected an array of numbers ({error})") from None
    if array.ndim != len(shape) or any(want not in (None, got) for want, got in zip(shape, array.shape, strict=True)):
        expected = ", ".join("any" if n is None else str(n) for n in shape)
        raise InputError(f"{what}: expected shape ({expected}), got shape {array.shape}")
    array.setflags(write=False)
    return array


def count_people(number: int) -> str:
    """A number of people in words, for messages."""
    return counted(number, "person", "people") if number else "nobody"


def _check_keypoint_count(keypoint_set: str, count: int) -> None:
    known = KEYPOINT_SETS.get(keypoint_set)
    if known is not None and len(known) != count:
        raise InputError(f"keypoints: {keypoint_set!r} has {len(known)} points, the array has {count}")


def _check_size(size: Sequence[int]) -> tuple[int, int]:
    if len(size) != 2 or int(size[0]) < 1 or int(size[1]) < 1:
        raise InputError(f"size: expected (width, height) of at least 1 pixel, got {tuple(size)!r}")
    return int(size[0]), int(size[1])


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
        meta: model, settings, notes.
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
        keypoints = _array(self.keypoints, np.float32, (None, None, 2), "keypoints")
        people, count = keypoints.shape[:2]
        _check_keypoint_count(self.keypoint_set, count)
        ids = np.arange(people) if self.track_ids is None else self.track_ids
        box_index = np.arange(people) if self.box_index is None else self.box_index
        object.__setattr__(self, "keypoints", keypoints)
        object.__setattr__(self, "scores", _array(self.scores, np.float32, (people, count), "scores"))
        object.__setattr__(self, "boxes", _array(self.boxes, np.float32, (people, 5), "boxes"))
        object.__setattr__(self, "track_ids", _array(ids, np.int32, (people,), "track_ids"))
        object.__setattr__(self, "box_index", _array(box_index, np.int32, (people,), "box_index"))
        object.__setattr__(self, "size", _check_size(self.size))

    def __len__(self) -> int:
        return len(self.keypoints)

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
        meta: model, SHA-256 of the weights, settings, versions, source; JSON-able.
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

    def __post_init__(self) -> None:
        keypoints = _array(self.keypoints, np.float32, (None, None, None, 2), "keypoints")
        frames, people, count = keypoints.shape[:3]
        _check_keypoint_count(self.keypoint_set, count)
        parts = {
            "scores": (np.float32, (frames, people, count)),
            "boxes": (np.float32, (frames, people, 5)),
            "track_ids": (np.int32, (frames, people)),
            "frame_index": (np.int64, (frames,)),
            "pts": (np.float64, (frames,)),
        }
        object.__setattr__(self, "keypoints", keypoints)
        for name, (dtype, shape) in parts.items():
            object.__setattr__(self, name, _array(getattr(self, name), dtype, shape, name))
        object.__setattr__(self, "size", _check_size(self.size))
        rate = self.frame_rate
        if rate is not None and (not isinstance(rate, Fraction) or rate <= 0):
            raise InputError(f"frame_rate: expected a positive Fraction or None, got {rate!r}")

    def __len__(self) -> int:
        return len(self.keypoints)

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
            n = len(frame)
            keypoints[t, :n], scores[t, :n], boxes[t, :n] = frame.keypoints, frame.scores, frame.boxes
            track_ids[t, :n] = frame.track_ids
        index = np.arange(total) if frame_index is None else np.asarray(frame_index)
        seconds = np.zeros(total) if frame_rate is None else index / float(frame_rate)
        return cls(
            keypoints, scores, boxes, track_ids, index,
            seconds if pts is None else np.asarray(pts), first.size, frame_rate, first.keypoint_set,
            dict(first.meta) if meta is None else meta,
        )  # fmt: skip

    def frame(self, t: int) -> Poses:
        """The people seen in frame number `t` (a position, not `frame_index`), empty slots left out."""
        seen = self.track_ids[t] >= 0
        return Poses(
            self.keypoints[t, seen], self.scores[t, seen], self.boxes[t, seen], self.size, self.keypoint_set,
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
        path = Path(path)
        data = _read_arrays(path)
        if missing := [name for name in _REQUIRED if name not in data]:
            raise InputError(f"{path} is not a .pose.npz: it lacks {', '.join(missing)}")
        meta = _read_meta(str(data.pop("meta")), path)
        numerator, denominator = _array(data.pop("frame_rate"), np.int64, (2,), f"{path}: frame_rate").tolist()
        if denominator < 1:
            raise InputError(f"{path}: frame_rate: expected a fraction, got {numerator}/{denominator}")
        w, h = _array(data.pop("size"), np.int32, (2,), f"{path}: size").tolist()
        rate = Fraction(numerator, denominator) if numerator else None
        name = str(data.pop("keypoint_set"))
        return cls(**data, size=(w, h), frame_rate=rate, keypoint_set=name, meta=meta)


def _read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Those arrays of a `.pose.npz` that are in a file."""
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            raise ValueError("it holds a single array")
        with file:
            return {name: file[name] for name in _REQUIRED if name in file.files}
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    except (ValueError, EOFError, zlib.error, zipfile.BadZipFile) as error:
        if (kind := kind_of(path)) != ZIP:
            kind = kind or "of an unknown kind"
            raise InputError(f"{path} is {kind}: expected a .pose.npz, as `sdpose` writes it") from None
        if "allow_pickle" in str(error):
            raise InputError(f"{path} is not a .pose.npz: it holds Python objects, which are never opened") from None
        raise InputError(f"{path} cannot be read as .pose.npz ({error}): it is damaged or of another kind") from None


def _read_meta(text: str, path: Path) -> dict[str, Any]:
    try:
        meta = json.loads(text)
    except ValueError as error:
        raise InputError(f"{path}: meta is not JSON ({error}): the file is damaged") from None
    version = meta.get("format_version", 0) if isinstance(meta, dict) else None
    if not isinstance(version, int):
        raise InputError(f"{path}: meta: expected a JSON object with a whole number as format_version, got {text:.60}")
    if version > FORMAT_VERSION:
        raise InputError(f"{path} has format version {version}, this library reads up to {FORMAT_VERSION}: update it")
    return meta
