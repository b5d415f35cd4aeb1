"""Opening the poses of a clip for review, and writing the results beside them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from ..exports.training_data import write_training_data
from ..files import sha256_of
from ..names import output_name, path_inside
from ..origins import kept_poses
from ..poses import PoseSequence
from .journal import Journal
from .pictures import Pictures, find_video, pictures_of_files, pictures_of_video
from .session import Estimate, ReviewSession

SUFFIX = ".pose.npz"
JOURNAL = ".review.jsonl"
CHANGED = (
    "the poses have changed since they were corrected: the corrections so far are kept in {kept}, and are not applied"
)


def open_review(
    path: Path, *, video: Path | None = None, pictures: Path | None = None, estimate: Estimate | None = None
) -> ReviewSession:
    """A review of a `.pose.npz`. Its journal lies beside it, as NAME.review.jsonl.

    Args:
        video, pictures: what the poses were estimated from: a video, a folder of pictures or, for a single frame, a
            picture; None: found by its name beside the poses, or not shown.
        estimate: estimates the poses in a box again; None: not offered.

    Raises `InputError` for files that cannot be read or do not belong together, and `InUse` if they are under review.
    """
    if not path.name.endswith(SUFFIX):
        raise InputError(f"{path}: expected a {SUFFIX} file, or a folder with some")
    sequence = PoseSequence.load(path)
    about = {"sequence": path.name, "sha256": sha256_of(path), "frames": len(sequence)}
    notes: list[str] = []
    shown = _pictures(sequence, path, video or pictures, notes)
    journal = open_journal(path.with_name(path.name.removesuffix(SUFFIX) + JOURNAL), about, notes)
    try:
        return ReviewSession(
            sequence, name=path.name.removesuffix(SUFFIX), journal=journal, pictures=shown, estimate=estimate,
            store=ClipStore(path, about), notes=notes,
        )  # fmt: skip
    except BaseException:
        journal.close()
        raise


def open_journal(path: Path, about: Mapping[str, Any], notes: list[str]) -> Journal:
    """The journal of the poses that `about` states; one of other poses is set aside, and a note says so."""
    journal = Journal(path, about)
    if journal.entries and journal.about.get("sha256") != about["sha256"]:
        notes.append(CHANGED.format(kept=journal.set_aside(about).name))
    return journal


def _pictures(sequence: PoseSequence, path: Path, given: Path | None, notes: list[str]) -> Pictures | None:
    source = given or find_video(sequence, path)
    if source is None:
        name = sequence.meta.get("source")
        notes.append(
            f"the pictures are not shown: {name or 'their source'} is not beside the poses; name it with --video or "
            "--pictures"
        )
        return None
    if len(sequence) > 1 or sequence.frame_rate is not None:
        return pictures_of_video(sequence, source)
    if (picture := find_picture(sequence, path, source)) is None:
        name = sequence.meta.get("source")
        raise InputError(f"{source} has no {name}: expected the picture that the poses were estimated from")
    return pictures_of_files([picture])


def find_picture(sequence: PoseSequence, path: Path, given: Path | None) -> Path | None:
    """The picture of the single frame in `path`: `given`, or in that folder by its name, or near the poses."""
    if given is None:
        return find_video(sequence, path)
    picture = given / Path(str(sequence.meta.get("source") or "-")).name if os.path.isdir(given) else given
    return picture if picture.is_file() else None


class ClipStore:
    """Writes the results of a review beside the poses `path`."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path, self.about = path, about
        self.default_name = f"{path.name.removesuffix(SUFFIX).removesuffix('_reviewed')}_reviewed"

    def save(self, sequence: PoseSequence, name: str) -> Path:
        """Write NAME.pose.npz. What is there is replaced only if it was saved from a review of the same poses."""
        folder, name = self.path.parent, name.strip().removesuffix(SUFFIX)
        path = path_inside(folder, output_name(name, folder) + SUFFIX, "the name of the file", hidden=False)
        if path.parent != folder or "\\" in name:
            raise InputError(f"the name of the file {name!r} is a path: expected a name without folders")
        if path == self.path:
            raise InputError(f"{path.name} is under review and stays as it is: choose another name")
        if (there := kept_poses(path)) is not None and not self._is_ours(there):
            raise InputError(f"{path.name} exists and is not a review of these poses: choose another name")
        sequence.save(path)
        return path

    def _is_ours(self, sequence: PoseSequence) -> bool:
        review = sequence.meta.get("review")
        return isinstance(review, dict) and review.get("of", {}).get("sequence") == self.path.name

    def save_training(self, session: ReviewSession, folder: str) -> tuple[Path, int, int]:
        """See `Store`. The folder lies beside the poses."""
        out = path_inside(self.path.parent, folder, "the name of the folder")
        return write_looked_at(session, out, session.name)


def write_looked_at(session: ReviewSession, out: Path, name: str) -> tuple[Path, int, int]:
    """The frames that were looked at as training data in `out`: the folder, its pictures and people."""
    sequence = session.looked_at()
    people = (sequence.track_ids >= 0).sum(axis=1)
    frames = np.flatnonzero(people).tolist()
    if not frames or session.pictures is None:
        raise InputError("no frame was corrected or found right yet: training data are made of these")
    write_training_data(sequence, frames, session.pictures.picture, out, name, sizes=session.sizes)
    return out, len(frames), int(people.sum())
