"""Opening the poses of a clip for review, and writing the results beside them."""

from __future__ import annotations

import contextlib
import itertools
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, restated
from ..exports.training_data import write_training_data
from ..names import file_inside, output_name, path_inside
from ..npz_files import read_npz
from ..poses import PoseSequence
from ..stated import mapping_in
from ..texts import parse_json
from ..video.frames import VIDEO_SUFFIXES
from .identity import digest_of
from .journal import Journal
from .pictures import Pictures, find_video, other_source, pictures_of_files, pictures_of_video
from .session import Estimate, ReviewSession

SUFFIX = ".pose.npz"
JOURNAL = ".review.jsonl"
NOT_SHOWN = "the pictures are not shown: {why}; name them with --video or --pictures"
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
        how = ": first run sdpose video or sdpose image with it" if path.suffix.lower() in VIDEO_SUFFIXES else ""
        raise InputError(f"{path}: expected a {SUFFIX} file, or a folder with some{how}")
    sequence = PoseSequence.load(path)
    about = {"sequence": path.name, "sha256": digest_of(sequence), "frames": len(sequence)}
    name, notes = path.name.removesuffix(SUFFIX), list[str]()
    shown = _pictures(sequence, path, video or pictures, notes)
    with open_journal(path.with_name(output_name(name, path.parent) + JOURNAL), about, notes) as journal:
        return ReviewSession(
            sequence, name=name, journal=journal, pictures=shown, estimate=estimate, store=ClipStore(path, about),
            notes=notes,
        )  # fmt: skip


@contextlib.contextmanager
def open_journal(path: Path, about: Mapping[str, Any], notes: list[str]) -> Iterator[Journal]:
    """The journal of the poses that `about` states, for their session; it is closed again if that cannot begin.

    A journal of other poses is set aside, and one of these poses that was set aside before is taken up; notes say so.
    """
    journal = Journal(path, about)
    try:
        if journal.entries and journal.about.get("sha256") != about["sha256"]:
            notes.append(CHANGED.format(kept=journal.set_aside(about).name))
        if not journal.entries and journal.take_up(about["sha256"]):
            notes.append("the corrections that were made to these poses before are applied again")
        journal.about.update(about)  # the file may have got another name
        with restated(f"{path}: move it away to begin again"):
            yield journal
    except BaseException:
        journal.close()
        raise


def _pictures(sequence: PoseSequence, path: Path, given: Path | None, notes: list[str]) -> Pictures | None:
    """The pictures that are given, or found beside the poses; if those are not usable, a note says why."""
    if (source := given or find_video(sequence, path)) is None:
        name = sequence.meta.get("source")
        notes.append(NOT_SHOWN.format(why=f"{name or 'their source'} is not beside the poses"))
        return None
    try:
        shown = _pictures_in(sequence, path, source)
    except InputError as error:
        if given is not None:
            raise
        notes.append(NOT_SHOWN.format(why=error))
        return None
    notes += other_source(sequence, source)
    return shown


def _pictures_in(sequence: PoseSequence, path: Path, source: Path) -> Pictures:
    if len(sequence) > 1 or sequence.frame_rate is not None:
        return pictures_of_video(sequence, source)
    if (picture := find_picture(sequence, path, source)) is None:
        name = sequence.meta.get("source")
        raise InputError(f"{source} has no {name}: expected the picture that the poses were estimated from")
    return pictures_of_files([picture], [sequence.size])


def find_picture(sequence: PoseSequence, path: Path, given: Path | None) -> Path | None:
    """The picture of the single frame in `path`: `given`, or in that folder by its name, or near the poses."""
    if given is None:
        return find_video(sequence, path)
    picture = given / Path(str(sequence.meta.get("source") or "-")).name if os.path.isdir(given) else given
    return picture if os.path.isfile(picture) else None


class ClipStore:
    """Writes the results of a review beside the poses `path`."""

    def __init__(self, path: Path, about: Mapping[str, Any]) -> None:
        self.path, self.about = path, about
        self.default_name = self._free_name(f"{path.name.removesuffix(SUFFIX).removesuffix('_reviewed')}_reviewed")

    def _free_name(self, name: str) -> str:
        """The name, or NAME-2 and so on: the first one that is free, or has an earlier result of this review."""
        name = "".join(char if char.isprintable() and char not in "\\:" else "_" for char in name).lstrip(".")
        name = output_name(name, self.path.parent)
        names = itertools.chain([name], (f"{name}-{number}" for number in itertools.count(2)))
        return next(name for name in names if self._may_write(self.path.with_name(name + SUFFIX)))

    def _may_write(self, path: Path) -> bool:
        return path != self.path and (not os.path.lexists(path) or reviewed_poses(path) == self.about["sha256"])

    def save(self, sequence: PoseSequence, name: str) -> Path:
        """Write NAME.pose.npz. What is there is replaced only if it was saved from a review of the same poses."""
        folder, name = self.path.parent, name.strip().removesuffix(SUFFIX)
        if not name.isprintable():
            raise InputError(f"the name of the file {name!r:.60} has characters that cannot be printed: choose another")
        path = file_inside(folder, output_name(name, folder) + SUFFIX, "the name of the file", hidden=False)
        if path == self.path:
            raise InputError(f"{path.name} is under review and stays as it is: choose another name")
        if not self._may_write(path):
            raise InputError(f"{path.name} exists and is not a review of these poses: choose another name")
        sequence.save(path)
        return path

    def save_training(self, session: ReviewSession, folder: str) -> tuple[Path, int, int]:
        """See `Store`. The folder lies beside the poses."""
        out = path_inside(self.path.parent, folder, "the name of the folder")
        return write_looked_at(session, out, session.name)


def reviewed_poses(path: Path) -> str | None:
    """The digest (see `digest_of`) of the poses whose review wrote a `.pose.npz`; None for any other file."""
    try:
        meta = parse_json(str(read_npz(path, str(path), ("meta",))["meta"]), "meta", "an object", dict)
    except (InputError, KeyError):
        return None
    return mapping_in(mapping_in(meta, "review"), "of").get("sha256")


def write_looked_at(session: ReviewSession, out: Path, name: str) -> tuple[Path, int, int]:
    """The frames that were looked at as training data in `out`: the folder, its pictures and people."""
    sequence = session.looked_at()
    people = (sequence.track_ids >= 0).sum(axis=1)
    frames = np.flatnonzero(people).tolist()
    if not frames or session.pictures is None:
        raise InputError("no point was placed by hand and nobody was found right yet: training data are made of these")
    write_training_data(sequence, frames, session.pictures.picture, out, name, sizes=session.sizes)
    return out, len(frames), int(people.sum())
