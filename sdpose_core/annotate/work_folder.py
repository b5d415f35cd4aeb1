"""The work folder of an unfinished clip: what is done so far, so that a run that was killed can go on.

`settings.json` says of which source and with which settings the chunks were made. `chunk_00000.npz` and so on hold the
finished frames (each is a `.pose.npz` of its own, with the state from which to go on) and end with a SHA-256 of their
bytes and of the chunk before: a damaged chunk, or one of another run, is told by it. `lock` is held by the process at
work; the system lets go of it when the process dies, however it dies.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import logging
import os
import shutil
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np

from ..errors import InputError
from ..files import atomic_write
from ..poses import PoseSequence
from .chunks import ChunkResult

log = logging.getLogger(__name__)

DIGEST = 64
"""Hex digits of a SHA-256, the last bytes of a chunk: the comment that a zip file may end with."""
HEAD = 1 << 20
"""Bytes of the beginning and of the end of a source that are compared."""


class DamagedChunk(Exception):
    """A chunk whose bytes are not those that were written, or that does not follow the one before."""


class WorkFolder:
    """The work folder at `path`, locked for this process until `close` or `remove`.

    Raises `InputError` if another process is at work in it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = _lock(path)
        self._before_all = ""
        self._digests: list[str] = []
        self.last: ChunkResult | None = None

    def __enter__(self) -> WorkFolder:
        return self

    def __exit__(self, *_: object) -> None:
        if self.path.exists() and not (self.path / "settings.json").exists():
            self.remove()  # nothing to go on with
        self.close()

    def __len__(self) -> int:
        return len(self._digests)

    @property
    def complete(self) -> bool:
        """Whether the last frame is done."""
        return self.last is not None and self.last.last

    def begin(self, settings: Mapping[str, Any]) -> list[str]:
        """Take up the chunks that were made with these settings (JSON-able); returns what was out of the ordinary.

        Chunks of other settings, or of another source, are thrown away; of a damaged chunk and its followers likewise.
        """
        wanted, found = json.loads(json.dumps(settings)), self._settings()
        notes = []
        if found != wanted:
            if found is not None:
                changed = [key for key in {**found, **wanted} if found.get(key) != wanted.get(key)]
                notes.append(f"an earlier run with another {', another '.join(changed)} is thrown away: starting over")
            self.clear()
            with atomic_write(self.path / "settings.json", "w") as handle:
                json.dump(wanted, handle, indent=1, sort_keys=True)
        self._before_all = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
        notes += self._take_up()
        for note in notes:
            log.warning("%s: %s", self.path.name, note)
        return notes

    def _take_up(self) -> list[str]:
        """Check all chunks in order."""
        try:
            for chunk, digest in self._read_all():
                self._digests.append(digest)
                self.last = chunk
        except DamagedChunk as error:
            bad = self._chunks()[len(self) :]
            for path in reversed(bad):
                path.unlink()
            followers = f" with the {len(bad) - 1} after it" if len(bad) > 1 else ""
            return [f"{error}: it is done again{followers}"]
        return []

    def _settings(self) -> Any:
        try:
            return json.loads((self.path / "settings.json").read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None

    def _chunks(self) -> list[Path]:
        return sorted(self.path.glob("chunk_*.npz"))

    def _read_all(self) -> Iterator[tuple[ChunkResult, str]]:
        previous = self._before_all
        for number, path in enumerate(self._chunks()):
            if path.name != self._chunk_path(number).name:
                raise DamagedChunk(f"{self._chunk_path(number).name} is missing")
            chunk, previous = read_chunk(path, previous)
            yield chunk, previous

    def _chunk_path(self, number: int) -> Path:
        return self.path / f"chunk_{number:05d}.npz"

    def chunks(self) -> Iterator[ChunkResult]:
        """The finished chunks, read one by one. Raises `InputError` if one was damaged since `begin`."""
        try:
            for chunk, _ in self._read_all():
                yield chunk
        except DamagedChunk as error:
            raise InputError(f"{self.path}: {error}; run the same again, it is done anew") from None

    def add(self, chunk: ChunkResult) -> None:
        """Keep the next chunk. Raises `InputError` where it cannot be written."""
        previous = self._digests[-1] if self._digests else self._before_all
        self._digests.append(write_chunk(self._chunk_path(len(self)), chunk, previous))
        self.last = chunk

    def clear(self) -> None:
        """Throw away everything but the lock."""
        (self.path / "settings.json").unlink(missing_ok=True)  # first: without it there is nothing to take up
        for path in sorted(self.path.iterdir()):
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "lock":
                path.unlink()
        self._digests, self.last = [], None

    def remove(self) -> None:
        """Throw the folder away."""
        if self._lock.closed:
            return
        self.clear()
        if os.name != "nt":  # Windows removes no open file; elsewhere nobody may take the lock in between
            (self.path / "lock").unlink(missing_ok=True)
        self.close()
        with contextlib.suppress(OSError):  # another process may have begun here
            if os.name == "nt":
                (self.path / "lock").unlink(missing_ok=True)
            self.path.rmdir()

    def close(self) -> None:
        """Let other processes work here."""
        self._lock.close()


def write_chunk(path: Path, chunk: ChunkResult, previous: str) -> str:
    """Write a chunk atomically; returns its digest, which covers `previous`, that of the chunk before."""
    buffer = io.BytesIO()
    state = np.asarray(json.dumps(chunk.state))
    np.savez(
        buffer, **chunk.sequence.arrays(), estimated=chunk.estimated, state=state, last=np.asarray(chunk.last)
    )  # fmt: skip
    with zipfile.ZipFile(buffer, "a") as file:
        file.comment = b"0" * DIGEST
    body = buffer.getvalue()[:-DIGEST]
    digest = _digest(body, previous)
    with atomic_write(path) as handle:
        handle.write(body + digest.encode())
    return digest


def read_chunk(path: Path, previous: str) -> tuple[ChunkResult, str]:
    """A chunk and its digest. Raises `DamagedChunk`."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DamagedChunk(f"{path.name} cannot be read ({error.strerror or error})") from None
    body, digest = content[:-DIGEST], content[-DIGEST:].decode("ascii", "replace")
    if _digest(body, previous) != digest:
        raise DamagedChunk(f"{path.name} is damaged")
    with np.load(io.BytesIO(content), allow_pickle=False) as file:
        chunk = ChunkResult(
            PoseSequence.load(path), file["estimated"], json.loads(str(file["state"])), bool(file["last"])
        )
    return chunk, digest


def _digest(body: bytes, previous: str) -> str:
    return hashlib.sha256(previous.encode() + body).hexdigest()


def source_identity(path: Path) -> dict[str, Any]:
    """By what a source is known again: size, time of change, and a hash of its beginning and end.

    Of a folder of pictures: names, sizes and times of change of its files.
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


def _lock(folder: Path) -> IO[str]:
    """The open lock file of a folder, which is made if need be."""
    path = folder / "lock"
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            handle = open(path, "a+", encoding="utf-8")
        except FileNotFoundError:
            continue  # its last owner removed the folder in between
        except OSError as error:
            raise InputError(f"cannot write {folder}: {error.strerror or error}") from None
        if not _take(handle):
            handle.seek(0)
            owner = handle.read().strip() or "another process"
            handle.close()
            raise InputError(f"{owner} is at work on this clip (lock: {path}): wait for it, or use another folder")
        if path.exists() and os.path.samestat(os.fstat(handle.fileno()), path.stat()):
            handle.truncate(0)
            handle.write(f"process {os.getpid()}\n")
            handle.flush()
            return handle
        handle.close()  # its last owner removed it in between


def _take(handle: IO[str]) -> bool:
    """Lock an open file for this process; False if another has it."""
    try:
        if os.name == "nt":
            import msvcrt

            handle.seek(1 << 20)
            msvcrt.locking(handle.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    except OSError as error:
        log.warning("%s cannot be locked (%s): see to it that no other process does this clip", handle.name, error)
    return True
