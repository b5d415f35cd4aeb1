"""What a file of annotations holds, and the pose sequence made of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any

import numpy as np

from ..errors import InputError, counted
from ..poses import USUAL_RATE, Poses, PoseSequence
from ..skeletons import KeypointSet
from ..tracking.frames import track_frames


@dataclass(frozen=True, eq=False)
class FoundPerson:
    """One person in one frame.

    Attributes:
        points: (K, 3) x, y in pixels, score; x and y of absent points (score 0) do not matter.
        track: id over time, or None.
        box: (5,) x1, y1, x2, y2, score; None: the smallest that holds the points, score 1.
    """

    points: np.ndarray
    track: int | None = None
    box: np.ndarray | None = None


@dataclass(frozen=True)
class FoundFrame:
    """One picture: its number in the source, file name and size (w, h) as far as known, and the people in it."""

    number: int
    name: str | None = None
    size: tuple[int, int] | None = None
    people: Sequence[FoundPerson] = ()


@dataclass(frozen=True)
class Found:
    """The content of a file.

    Attributes:
        frames: in any order; numbers are unique.
        notes: what was guessed or left out.
    """

    frames: Sequence[FoundFrame]
    keypoint_set: KeypointSet
    notes: list[str] = field(default_factory=list)


def to_sequence(
    found: Found, *, size: tuple[int, int] | None = None, frame_rate: Fraction | None = None, source: str = ""
) -> PoseSequence:
    """The annotations as a sequence. People without ids are tracked, without pictures.

    Args:
        size: (w, h) for frames that state none; of frames of several sizes, only those of this size are kept.
        frame_rate: None: `USUAL_RATE`; a single frame has none.
        source: for `meta["source"]`.

    `meta["notes"]` says what was guessed. Raises `InputError` if there are no frames, a size is missing, or several
    sizes are mixed.
    """
    if not found.frames:
        raise InputError("it has no pictures: expected at least one")
    notes = list(found.notes)
    frames = _of_one_size(sorted(found.frames, key=lambda frame: frame.number), size, notes)
    poses = [_poses(frame, found.keypoint_set, notes) for frame in frames]
    numbers = [frame.number for frame in frames]
    sequence = _joined(frames, poses, numbers, frame_rate, notes)
    meta: dict[str, Any] = {"source": source, "notes": notes}
    names = [frame.name for frame in frames if frame.name is not None]
    if len(names) == len(frames):
        meta |= {"frame_names": names} if len(frames) > 1 else {"source": names[0]}
    return replace(sequence, frame_index=np.asarray(numbers, np.int64), meta={**meta, **_cuts(sequence)})


def _cuts(sequence: PoseSequence) -> dict[str, Any]:
    return {"clip": sequence.meta["clip"]} if "clip" in sequence.meta else {}


def _of_one_size(frames: Sequence[FoundFrame], size: tuple[int, int] | None, notes: list[str]) -> Sequence[FoundFrame]:
    """The frames with their size, which is the same for all."""
    if size is None and any(frame.size is None for frame in frames):
        raise InputError("it does not state the size of the pictures: give it with --canvas WxH or --video SOURCE")
    sized = [replace(frame, size=frame.size or size) for frame in frames]
    sizes = Counter(frame.size for frame in sized)
    if len(sizes) == 1:
        [only] = sizes
        if size not in (None, only):
            notes.append("it states the size {} x {}, which is used".format(*only or (0, 0)))
        return sized
    chosen = [frame for frame in sized if frame.size == size]
    if not chosen:
        listed = ", ".join(f"{w} x {h} ({n} pictures)" for (w, h), n in sizes.most_common(4))  # type: ignore[misc]
        raise InputError(
            f"pictures of {len(sizes)} sizes: {listed}: a sequence has one: choose it with --canvas WxH, and import "
            "each size into its own file"
        )
    notes.append(f"{counted(len(sized) - len(chosen), 'picture')} of other sizes left out")
    return chosen


def _poses(frame: FoundFrame, keypoint_set: KeypointSet, notes: list[str]) -> Poses:
    """The people of a frame who have points; ids only if all have one."""
    assert frame.size is not None
    people = [person for person in frame.people if (person.points[:, 2] > 0).any()]
    if not people:
        return Poses.empty(frame.size, keypoint_set.name)
    points = np.stack([person.points for person in people])
    points[points[..., 2] <= 0] = (np.nan, np.nan, 0)
    ids = [person.track for person in people]
    if None not in ids and len(set(ids)) < len(ids):
        twice = Counter(ids).most_common(1)[0][0]
        raise InputError(f"{frame.name or f'frame {frame.number}'} has the person {twice} twice: expected one of each")
    boxes = np.stack([_box(person, row) for person, row in zip(people, points, strict=True)])
    track_ids = np.arange(len(ids)) if None in ids else np.asarray(ids)
    meta = {"untracked": None in ids}
    return Poses(points[..., :2], points[..., 2], boxes, frame.size, keypoint_set.name, track_ids, meta)


def _box(person: FoundPerson, points: np.ndarray) -> np.ndarray:
    if person.box is not None:
        return person.box
    seen = points[points[:, 2] > 0, :2]
    return np.asarray([*seen.min(axis=0), *seen.max(axis=0), 1])


def _joined(
    frames: Sequence[FoundFrame], poses: list[Poses], numbers: list[int], rate: Fraction | None, notes: list[str]
) -> PoseSequence:
    """The poses as a sequence with ids and times."""
    if len(poses) == 1:
        return PoseSequence.from_poses(poses)
    if rate is None:
        notes.append(f"annotations have no times: taken as {USUAL_RATE} frames per second (--frame-rate)")
    rate = rate or USUAL_RATE
    seconds = [number / float(rate) for number in numbers]
    if not any(frame.meta.get("untracked") for frame in poses):
        return PoseSequence.from_poses(poses, frame_rate=rate, pts=seconds)
    some = any(person.track is not None for frame in frames for person in frame.people)
    notes.append(f"{'some people' if some else 'people'} have no ids: they were tracked without pictures")
    return track_frames(poses, rate, pts=seconds)
