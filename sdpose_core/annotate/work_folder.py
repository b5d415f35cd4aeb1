"""The work folder of an unfinished clip, from which a killed run resumes.

`settings.json` names the source and the settings of the chunks. `chunk_00000.npz` and so on hold the finished frames:
each is a `.pose.npz` with the state from which to resume, and a piece (see `resumable.py`) that follows the chunk
before. The process at work holds `lock`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
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
from .chunks import ChunkResult

log = logging.getLogger(__name__)

HEAD = 1 << 20
"""Bytes at the beginning and at the end of a source that are compared."""


class WorkFolder:
    """The work folder at `path`, locked for this process until `close` or `remove`.

    Raises `InputError` if another process has locked it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = take_lock(path / "lock")
        self._closed = False
        self._digests: list[str] = []
        self._hash = ""
        self.last: ChunkResult | None = None

    def __enter__(self) -> WorkFolder:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._closed and not self._settings_file.exists():
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
        return self.path / "settings.json"

    def begin(self, settings: Mapping[str, Any]) -> list[str]:
        """Load the chunks made with these settings (JSON-able); returns notes on unusual events.

        Chunks with other settings or of another source are removed, and so are a damaged chunk and those after it.
        """
        settings = plain(settings)
        notes = self._notes_on_other(settings)
        if notes or not self._settings_file.exists():
            self.clear()
        begin(self._settings_file, settings)
        self._hash = settings_hash(settings)
        notes += self._load_chunks()
        for note in notes:
            log.warning("%s: %s", self.path.name, note)
        return notes

    def _notes_on_other(self, settings: Mapping[str, Any]) -> list[str]:
        """Why the existing chunks cannot be used, if they have other settings."""
        try:
            found = read_settings(self._settings_file)
        except InputError:
            return ["the settings of an unfinished run are damaged: starting over"]
        difference = None if found is None else first_difference(found, settings)
        return [f"an unfinished run had other settings ({difference}): starting over"] if difference else []

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
            state = json.loads(str(arrays["state"]))
            yield ChunkResult(PoseSequence.load(path), arrays["estimated"], state, bool(arrays["last"])), digest

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
        """Remove everything but the lock."""
        self._settings_file.unlink(missing_ok=True)  # first: without it, no chunk is used
        for path in sorted(self.path.iterdir()):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()
        self._digests, self.last = [], None

    def remove(self) -> None:
        """Remove the folder."""
        self.clear()
        release_and_remove(self._lock)
        self._closed = True
        with contextlib.suppress(OSError):  # another process may have started to use it
            self.path.rmdir()

    def close(self) -> None:
        """Release the lock."""
        self._lock.release()
        self._closed = True


def source_identity(path: Path) -> dict[str, Any]:
    """What identifies a source: its size, modification time, and a hash of its beginning and end.

    For a folder of pictures: the names, sizes and modification times of its files.
    """
    try:
        if path.is_dir():
            entries = sorted((p.name, p.stat().st_size, p.stat().st_mtime_ns) for p in path.iterdir() if p.is_file())
            return {"files": len(entries), "hash": hashlib.sha256(json.dumps(entries).encode()).hexdigest()}
        stat = path.stat()
        with open(path, "rb") as handle:
            ends = handle.read(HEAD)
            handle.seek(max(0, stat.st_size - HEAD))
            ends += handle.read(HEAD)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    return {"bytes": stat.st_size, "changed": stat.st_mtime_ns, "hash": hashlib.sha256(ends).hexdigest()}
