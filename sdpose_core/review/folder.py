"""The results of `sdpose image` in a folder, reviewed together: each picture is a frame."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, counted
from ..names import in_natural_order, is_hidden, output_name, path_inside
from ..poses import OF_POINTS, PoseSequence
from ..sequences.cleaning import DECIDED
from ..sequences.distrust import with_distrust
from ..stated import list_in, mapping_in
from .files import JOURNAL, SUFFIX, find_picture, open_journal, reviewed_poses, write_looked_at
from .identity import digest_of
from .picture_reviews import frames_of, joined_reviews, review_of_picture
from .pictures import Pictures, pictures_of_files
from .session import Estimate, ReviewSession

REVIEWED = "_reviewed"


def open_folder_review(
    folder: Path, *, pictures: Path | None = None, estimate: Estimate | None = None
) -> ReviewSession:
    """A review of the `.pose.npz` files of single pictures in a folder. Its journal is FOLDER/FOLDER.review.jsonl.

    Args:
        pictures: the folder of the pictures; None: they are looked for beside the poses and in the folder above.

    Raises `InputError` if the folder has none, or poses of different keypoint sets.
    """
    notes: list[str] = []
    parts = _parts_in(folder, notes)
    sequence = stacked([part.poses for part in parts])
    name = folder.resolve().name
    about = {"sequence": name, "sha256": _digest_of(parts), "frames": len(parts)}
    shown = _pictures_of(parts, pictures, notes)
    with open_journal(folder / f"{output_name(name, folder)}{JOURNAL}", about, notes) as journal:
        return ReviewSession(
            sequence, name=name, journal=journal, pictures=shown, estimate=estimate, store=FolderStore(parts),
            sizes=[part.poses.size for part in parts], notes=notes,
        )  # fmt: skip


@dataclass(frozen=True)
class Part:
    """The poses of one picture, with distrust, their file, and their digest (see `digest_of`)."""

    file: Path
    poses: PoseSequence
    digest: str


def _parts_in(folder: Path, notes: list[str]) -> list[Part]:
    """The poses of single pictures in a folder, without those that a review wrote. Raises `InputError` for none."""
    files = [file for file in in_natural_order(folder.glob(f"*{SUFFIX}")) if not is_hidden(file)]
    results = set(map(_result_of, files))
    loaded = [(file, PoseSequence.load(file)) for file in files if file not in results]
    pictures = [(file, poses) for file, poses in loaded if len(poses) == 1]
    clips = [file.name for file, poses in loaded if len(poses) > 1]
    if not pictures:
        what = f"only poses of clips in it: run sdpose review {folder / clips[0]}" if clips else f"no {SUFFIX} in it"
        raise InputError(
            f"{folder}: {what}; of a folder, the poses of pictures are reviewed, as 'sdpose image' writes them"
        )
    if clips:
        notes.append(f"{counted(len(clips), 'clip')} left out ({clips[0]}): review each by itself")
    known = judged([poses for _, poses in pictures])
    return [Part(file, poses, digest_of(poses)) for (file, _), poses in zip(pictures, known, strict=True)]


def _digest_of(parts: Sequence[Part]) -> str:
    """Of the poses of all pictures, and of their names: those without people are alike."""
    content = [[part.digest, str(part.poses.meta.get("source") or "")] for part in parts]
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:32]


def _result_of(file: Path) -> Path:
    """Where the corrected poses of a picture go."""
    return file.with_name(file.name.removesuffix(SUFFIX) + REVIEWED + SUFFIX)


def _pictures_of(parts: Sequence[Part], given: Path | None, notes: list[str]) -> Pictures | None:
    """The pictures of the parts; a note names one that is missing. None if all are."""
    found = [find_picture(part.poses, part.file, given) for part in parts]
    missing = [str(part.poses.meta.get("source") or part.file.name) for part, picture in zip(parts, found, strict=True)
               if picture is None]  # fmt: skip
    if missing:
        which = "the pictures are" if len(missing) == len(parts) else f"{counted(len(missing), 'picture')} of them"
        notes.append(f"{which} not shown: {missing[0]} is not there; name the folder of the pictures with --pictures")
    if len(missing) == len(parts):
        return None
    return pictures_of_files(found, [part.poses.size for part in parts])


_MADE_BY = ("preview", "weights", "clean", DECIDED)
"""Entries of meta on which distrust and what is shown depend."""


def stacked(parts: Sequence[PoseSequence]) -> PoseSequence:
    """Sequences of one frame each as one. Its size is the largest width and height.

    Its meta has what earlier reviews of them placed and checked, what their distrust is not calibrated for, and what
    all of them say of how they were made.
    Raises `InputError` if their keypoint sets differ.
    """
    keypoint_set = _keypoint_set_of(parts)
    size = tuple(np.max([part.size for part in parts], axis=0).tolist())
    arrays = {name: _padded(parts, name, fill) for name, fill in _FILLS.items()}
    names = [str(part.meta.get("source") or "") for part in parts]
    first = parts[0].meta
    common = {name: first[name] for name in _MADE_BY if name in first and all(p.meta.get(name) for p in parts)}
    meta = {**common, "frame_names": names, "model": first.get("model", ""), "review": joined_reviews(parts)}
    stated = [mapping_in(part.meta, "distrust") for part in parts]
    rough = sorted({str(group) for entry in stated for group in list_in(entry, "not_calibrated")})
    return PoseSequence(
        **arrays, frame_index=np.arange(len(parts)), pts=np.zeros(len(parts)), size=size, frame_rate=None,
        keypoint_set=keypoint_set,
        meta={**meta, **({"distrust": {"not_calibrated": rough}} if rough else {})},
    )  # fmt: skip


def _keypoint_set_of(parts: Sequence[PoseSequence]) -> str:
    sets = sorted({(part.keypoint_set, part.scores.shape[2]) for part in parts if part.track_ids.size})
    if len(sets) > 1:
        found = " and ".join(f"{name} ({count} points)" for name, count in sets)
        raise InputError(f"the pictures have poses of {found}: expected one keypoint set: move some away")
    return sets[0][0] if sets else parts[0].keypoint_set


def judged(parts: Sequence[PoseSequence]) -> list[PoseSequence]:
    """The parts, with distrust where they lack it; of all pictures of one kind and size at once.

    Raises `InputError` if their keypoint sets differ.
    """
    _keypoint_set_of(parts)
    kinds: dict[Any, list[int]] = {}
    for t, part in enumerate(parts):
        if part.distrust is None:
            marks = bool(part.meta.get("preview")), "weights" in part.meta, "clean" in part.meta
            kinds.setdefault((part.size, *marks), []).append(t)
    result = list(parts)
    for rows in kinds.values():
        alike = [parts[t] for t in rows]
        known = with_distrust(replace(stacked(alike), meta=alike[0].meta))
        assert known.distrust is not None and known.distrust_reasons is not None
        for row, t in enumerate(rows):
            shape = parts[t].scores.shape
            result[t] = replace(
                parts[t], distrust=known.distrust[row, : shape[1]].reshape(shape),
                distrust_reasons=known.distrust_reasons[row, : shape[1]].reshape(shape),
                meta={**parts[t].meta, "distrust": known.meta["distrust"]},
            )  # fmt: skip
    return result


_COMPARED = ("keypoints", "scores", "boxes", "track_ids")
_FILLS: dict[str, Any] = {
    "keypoints": np.nan, "scores": 0, "boxes": 0, "track_ids": -1, "distrust": np.nan, "distrust_reasons": 0,
    "edited": False,
}  # fmt: skip
"""Arrays of a sequence, and what an empty slot holds."""


def _padded(parts: Sequence[PoseSequence], name: str, fill: Any) -> np.ndarray:
    """An array of each part, (1, P_i, K, ...) or (1, P_i, ...), as one: (T, slots, ...).

    Pictures without people may have another number of points, and optional arrays may be missing.
    """
    like = next((part for part in parts if part.track_ids.size), parts[0])
    slots, values = max(part.track_ids.shape[1] for part in parts), getattr(like, name)
    shape, dtype = (like.scores.shape[2:], OF_POINTS[name]) if name in OF_POINTS else (values.shape[2:], values.dtype)
    result = np.full((len(parts), slots, *shape), fill, dtype)
    for row, part in zip(result, parts, strict=True):
        if part.track_ids.size and getattr(part, name) is not None:
            row[: part.track_ids.shape[1]] = getattr(part, name)[0]
    return result


class FolderStore:
    """Writes the corrected poses of each changed picture beside the ones that it had."""

    default_name = REVIEWED

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)

    def save(self, sequence: PoseSequence, name: str) -> Path:
        """Write NAME_reviewed.pose.npz for each picture that was changed or checked. Returns the folder.

        Earlier results are written again, as what they hold may have been undone. Raises `InputError`, with nothing
        written, if a file is in the way that is not such a result.
        """
        named = {t for op in sequence.meta["review"]["edits"] for t in frames_of(op)}
        written = {t for t, part in enumerate(self.parts) if reviewed_poses(_result_of(part.file)) == part.digest}
        wanted = {*named, *written, *(t for t in range(len(self.parts)) if self._is_changed(sequence, t))}
        for t in sorted(wanted - written):
            if os.path.lexists(path := _result_of(self.parts[t].file)):
                raise InputError(f"{path.name} exists and is not a review of these poses: move it away")
        for t in sorted(wanted):
            self._save_one(sequence, t)
        return self.parts[0].file.parent

    def _is_changed(self, sequence: PoseSequence, t: int) -> bool:
        """Whether there are other people than before, or others of their points: also by edits of other pictures."""
        part = self.parts[t].poses
        before, now = part.track_ids[0] >= 0, sequence.track_ids[t] >= 0
        pairs = [(getattr(part, name)[0, before], getattr(sequence, name)[t, now]) for name in _COMPARED]
        return (before.any() or now.any()) and not all(np.array_equal(was, now, equal_nan=True) for was, now in pairs)

    def _save_one(self, sequence: PoseSequence, t: int) -> None:
        part = self.parts[t]
        seen = sequence.track_ids[t] >= 0
        arrays: dict[str, Any] = dict.fromkeys(_FILLS)
        for name in _FILLS:
            if (values := getattr(sequence, name)) is not None:
                arrays[name] = values[t : t + 1, seen]
        done = review_of_picture(sequence.meta["review"], t, mapping_in(part.poses.meta, "review"))
        of = {"sequence": part.file.name, "sha256": part.digest}
        meta = {**part.poses.meta, "review": {"of": of, **done}}
        replace(part.poses, **arrays, keypoint_set=sequence.keypoint_set, meta=meta).save(_result_of(part.file))

    def save_training(self, session: ReviewSession, folder: str) -> tuple[Path, int, int]:
        """See `Store`."""
        parent = self.parts[0].file.parent
        return write_looked_at(session, path_inside(parent, folder, "the name of the folder"), session.name)
