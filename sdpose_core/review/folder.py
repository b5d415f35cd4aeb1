"""The results of `sdpose image` in a folder, reviewed together: each picture is a frame."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..files import sha256_of
from ..names import in_natural_order, path_inside
from ..poses import PoseSequence
from ..sequences.distrust import with_distrust
from .files import JOURNAL, SUFFIX, find_picture, open_journal, write_looked_at
from .pictures import pictures_of_files
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
    files = [file for file in in_natural_order(folder.glob(f"*{SUFFIX}")) if not file.name.endswith(REVIEWED + SUFFIX)]
    parts = [(file, PoseSequence.load(file)) for file in files if not file.name.startswith(".")]
    parts = [(file, part) for file, part in parts if len(part) == 1]
    if not parts:
        raise InputError(f"{folder}: no {SUFFIX} of a picture in it: expected the results of 'sdpose image'")
    digest = hashlib.sha256("".join(sha256_of(file) for file, _ in parts).encode()).hexdigest()
    about = {"sequence": folder.name, "sha256": digest, "frames": len(parts)}
    notes: list[str] = []
    found = [find_picture(part, file, pictures) for file, part in parts]
    missing = [part.meta.get("source") for (_, part), picture in zip(parts, found, strict=True) if picture is None]
    if missing:
        notes.append(
            f"the pictures are not shown: {missing[0]} and others are not there; name their folder with --pictures"
        )
    shown = None if missing else pictures_of_files([picture for picture in found if picture is not None])
    name = folder.resolve().name
    journal = open_journal(folder / f"{name}{JOURNAL}", about, notes)
    try:
        return ReviewSession(
            stacked([part for _, part in parts]), name=name, journal=journal, pictures=shown, estimate=estimate,
            store=FolderStore([file for file, _ in parts], [part for _, part in parts]),
            sizes=[part.size for _, part in parts], notes=notes,
        )  # fmt: skip
    except BaseException:
        journal.close()
        raise


def stacked(parts: Sequence[PoseSequence]) -> PoseSequence:
    """Sequences of one frame each as one, with distrust. Its size is the largest width and height.

    Raises `InputError` if their keypoint sets differ.
    """
    sets = sorted({part.keypoint_set for part in parts})
    if len(sets) > 1:
        raise InputError(f"the pictures have poses of {' and '.join(sets)}: expected one keypoint set: move some away")
    size = tuple(np.max([part.size for part in parts], axis=0).tolist())
    known = [part if part.distrust is not None else with_distrust(part) for part in parts]
    slots = max(part.track_ids.shape[1] for part in parts)
    arrays = {name: _padded([getattr(part, name) for part in known], slots, fill) for name, fill in _FILLS.items()}
    edited = [np.zeros(part.scores.shape, bool) if part.edited is None else part.edited for part in parts]
    names = [str(part.meta.get("source") or "") for part in parts]
    return PoseSequence(
        **arrays, frame_index=np.arange(len(parts)), pts=np.zeros(len(parts)), size=size, frame_rate=None,
        keypoint_set=sets[0], meta={"frame_names": names, "model": parts[0].meta.get("model", "")},
        edited=_padded(edited, slots, False),
    )  # fmt: skip


_FILLS: dict[str, Any] = {
    "keypoints": np.nan, "scores": 0, "boxes": 0, "track_ids": -1, "distrust": np.nan, "distrust_reasons": 0,
}  # fmt: skip


def _padded(parts: Sequence[np.ndarray], slots: int, fill: Any) -> np.ndarray:
    """Arrays (1, P_i, ...) -> (T, slots, ...)."""
    result = np.full((len(parts), slots, *parts[0].shape[2:]), fill, parts[0].dtype)
    for row, part in zip(result, parts, strict=True):
        row[: part.shape[1]] = part[0]
    return result


class FolderStore:
    """Writes the corrected poses of each changed picture beside the ones that it had."""

    default_name = REVIEWED

    def __init__(self, files: Sequence[Path], parts: Sequence[PoseSequence]) -> None:
        self.files, self.parts = list(files), list(parts)

    def save(self, sequence: PoseSequence, name: str) -> Path:
        """Write NAME_reviewed.pose.npz for each picture that was changed or checked. Returns the folder."""
        review = sequence.meta["review"]
        edits: dict[int, list[Any]] = {}
        for op in review["edits"]:
            for t in range(op.get("t", op.get("from", 0)), op.get("t", op.get("to", 0)) + 1):
                edits.setdefault(t, []).append(op)
        for t, ops in edits.items():
            self._save_one(sequence, t, ops)
        return self.files[0].parent

    def _save_one(self, sequence: PoseSequence, t: int, ops: list[Any]) -> None:
        part, file = self.parts[t], self.files[t]
        seen = sequence.track_ids[t] >= 0
        arrays = {name: getattr(sequence, name)[t : t + 1, seen] for name in (*_FILLS, "edited")}
        review = {"of": {"sequence": file.name, "sha256": sha256_of(file)}, "edits": ops}
        path = file.with_name(file.name.removesuffix(SUFFIX) + REVIEWED + SUFFIX)
        replace(part, **arrays, meta={**part.meta, "review": review}).save(path)

    def save_training(self, session: ReviewSession, folder: str) -> tuple[Path, int, int]:
        """See `Store`."""
        parent = self.files[0].parent
        return write_looked_at(session, path_inside(parent, folder, "the name of the folder"), session.name)
