"""The work folder of an unfinished clip, from which a killed run resumes.

`settings.json` holds the identity of the source and the settings of the chunks. `chunk_00000.npz` and so on hold the
finished frames: each is a `.pose.npz` with the state from which to resume, and a piece (see `resumable.py`) that
follows the chunk before. `saved` has the SHA-256 of the finished poses: if they are in place, only drawings are left.
The process at work holds `lock`.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, one_line
from ..files import atomic_write, remove_abandoned, sha256_of
from ..folders import FolderKind
from ..origins import OtherOrigin
from ..poses import PoseSequence
from ..resumable import (
    DamagedPiece,
    begin,
    first_difference,
    plain,
    read_piece,
    read_settings,
    release_and_remove,
    settings_hash,
    take_lock,
    write_piece,
)
from ..texts import parse_json
from .chunks import ChunkResult

log = logging.getLogger(__name__)

SETTINGS, SAVED, LOCK = "settings.json", "saved", "lock"

WORK = FolderKind(
    "the work folder of a clip",
    (SETTINGS, SAVED, LOCK, "chunk_*.npz", "*.pose.npz", "*.mp4", "*.mkv", "*.webm", "*.gif", ".*.part*", ".*.part/*"),
    markers=(LOCK, SETTINGS),  # Windows removes the lock with the process
)  # fmt: skip


def is_unfinished(path: Path, sequence: Path) -> bool:
    """Whether the work folder at `path` holds a run whose poses are not written to `sequence` yet."""
    return os.path.exists(path / SETTINGS) and not _is_saved(path, sequence)


def _is_saved(path: Path, sequence: Path) -> bool:
    try:
        return (path / SAVED).read_text(encoding="utf-8") in ("", sha256_of(sequence))  # "" of earlier versions
    except (OSError, ValueError):
        return False


class WorkFolder:
    """The work folder at `path`, locked for this process until `close` or `remove`.

    Raises `InputError` if another process has locked it, and for a link, or a folder with files of others.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        WORK.check(path)
        self._lock = take_lock(path / LOCK)
        self._closed = False
        self._digests: list[str] = []
        self._hash = ""
        self.last: ChunkResult | None = None

    def __enter__(self) -> WorkFolder:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._closed and not os.path.exists(self._settings_file):
            self.remove()  # nothing to resume from
        self.close()

    def __len__(self) -> int:
        return len(self._digests)

    @property
    def complete(self) -> bool:
        """Whether the last frame is done."""
        return self.last is not None and self.last.last

    @property
    def _settings_file(self) -> Path:
        return self.path / SETTINGS

    def is_saved(self, sequence: Path) -> bool:
        """Whether the poses of this run are in `sequence`: only drawings are left."""
        return _is_saved(self.path, sequence)

    def note_saved(self, sequence: Path) -> None:
        """Record that the poses in this file are those of the run, just before they are put in their place."""
        with atomic_write(self.path / SAVED, "w") as file:
            file.write(sha256_of(sequence))

    def begin(self, settings: Mapping[str, Any], overwrite: bool = False) -> list[str]:
        """Load the chunks made with these settings (JSON-able); returns notes on unusual events.

        A damaged chunk and those after it are removed. With `overwrite`, so are chunks of another source or with other
        settings; otherwise `OtherOrigin` is raised, unless nothing is finished.
        """
        settings = plain(settings)
        notes = self._notes_on_other(settings, overwrite)
        (self.path / SAVED).unlink(missing_ok=True)
        if notes or not os.path.exists(self._settings_file):
            self.clear()
        begin(self._settings_file, settings)
        self._hash = settings_hash(settings)
        notes += self._load_chunks()
        for note in notes:
            log.warning("%s: %s", self.path.name, note)
        return notes

    def _notes_on_other(self, settings: Mapping[str, Any], overwrite: bool) -> list[str]:
        """Why the existing chunks cannot be used, if they have other settings."""
        try:
            found = read_settings(self._settings_file)
        except InputError:
            return ["the settings of an unfinished run are damaged: starting over"]
        difference = None if found is None else first_difference(found, settings)
        if found is None or difference is None:
            return []
        what = "had other settings" if found.get("source") == settings.get("source") else "was of another source"
        if not overwrite and self._chunks():
            raise OtherOrigin(
                f"{self.path} holds an unfinished run that {what} ({difference}): finish it with its own command, use "
                "--overwrite to start over, or another folder"
            )
        return [f"an unfinished run {what} ({difference}): starting over"]

    def _load_chunks(self) -> list[str]:
        try:
            for chunk, digest in self._read_all():
                self._digests.append(digest)
                self.last = chunk
        except DamagedPiece as error:
            bad = self._chunks()[len(self) :]
            for path in reversed(bad):
                path.unlink()
            followers = f", as are the {len(bad) - 1} after it" if len(bad) > 1 else ""
            return [f"{error}: it is estimated again{followers}"]
        return []

    def _chunks(self) -> list[Path]:
        return sorted(self.path.glob("chunk_*.npz"))

    def _read_all(self) -> Iterator[tuple[ChunkResult, str]]:
        digest = self._hash
        for number, path in enumerate(self._chunks()):
            if path.name != self._chunk_path(number).name:
                raise DamagedPiece(f"{self._chunk_path(number).name} is missing")
            arrays, digest = read_piece(path, digest)
            yield _chunk_of(arrays, path.name), digest

    def _chunk_path(self, number: int) -> Path:
        return self.path / f"chunk_{number:05d}.npz"

    def chunks(self) -> Iterator[ChunkResult]:
        """The finished chunks, read one by one. Raises `InputError` if one was damaged since `begin`."""
        try:
            for chunk, _ in self._read_all():
                yield chunk
        except DamagedPiece as error:
            raise InputError(f"{self.path}: {error}: run the same command again to estimate it again") from None

    def add(self, chunk: ChunkResult) -> None:
        """Save the next chunk. Raises `InputError` if it cannot be written."""
        arrays = {**chunk.sequence.arrays(), "estimated": chunk.estimated}
        arrays |= {"state": np.asarray(json.dumps(chunk.state)), "last": np.asarray(chunk.last)}
        follows = self._digests[-1] if self._digests else self._hash
        self._digests.append(write_piece(self._chunk_path(len(self)), arrays, follows))
        self.last = chunk

    def clear(self) -> None:
        """Remove all that we write but the lock; what somebody else put there meanwhile stays."""
        self._settings_file.unlink(missing_ok=True)  # first: without it, no chunk is used
        remove_abandoned(self.path)
        for path in sorted(self.path.iterdir()):
            if path.name != LOCK and WORK.fits(path, path.name):
                path.unlink()
        self._digests, self.last = [], None

    def remove(self) -> None:
        """Remove the folder, unless somebody else put a file there meanwhile."""
        self.clear()
        release_and_remove(self._lock)
        self._closed = True
        with contextlib.suppress(OSError):  # or another process has started to use it
            self.path.rmdir()

    def close(self) -> None:
        """Release the lock."""
        self._lock.release()
        self._closed = True


def _chunk_of(arrays: Mapping[str, np.ndarray], name: str) -> ChunkResult:
    try:
        state = parse_json(str(arrays["state"]), f"{name}: state")
        return ChunkResult(PoseSequence.of_arrays(arrays, name), arrays["estimated"], state, bool(arrays["last"]))
    except (InputError, KeyError) as error:  # its bytes are those that were written
        raise DamagedPiece(f"{name} is from another version ({one_line(error)})") from None
