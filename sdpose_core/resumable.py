"""Work that can be stopped at any moment and resumed: settings, finished pieces, and locks.

The settings that determine the result are kept beside it as JSON, so that work with other settings is never mixed in.
A finished piece is an `.npz` that ends with the SHA-256 of its bytes and of what it follows (the hash of the settings,
or the piece before), which reveals damage. A lock is freed by the system when its process ends, even if it is killed.
Files are written atomically (`files.py`).
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import logging
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from filelock import BaseFileLock, FileLock, Timeout

from .errors import InputError, reason_of
from .files import atomic_write, clean_once, open_regular
from .npz_files import read_npz
from .texts import read_json

log = logging.getLogger(__name__)

_HEX_DIGITS = 64
"""Of the SHA-256 at the end of a piece, which is stored as the comment of its zip file."""
_NOT_SET = type("NotSet", (), {"__repr__": lambda self: "not set"})()
_NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}
"""Errors of file systems without locks."""


class InUse(InputError):
    """Another process holds the lock."""


class DamagedPiece(Exception):
    """A piece whose bytes changed since it was written, or that follows another piece than it should."""


# --- settings ------------------------------------------------------------------------------------------------------


def plain(settings: Any) -> Any:
    """Settings as they are read back from JSON: tuples become lists."""
    return json.loads(json.dumps(settings))


def settings_hash(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings, whatever the order of their keys."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()


def read_settings(file: Path) -> dict[str, Any] | None:
    """The settings in a file; None if it does not exist. Raises `InputError` if it is damaged."""
    if not os.path.lexists(file):
        return None
    try:
        return read_json(file, "the settings of its folder", dict)
    except InputError as error:
        raise InputError(f"{file} is damaged ({error}): remove its folder, or choose another") from None


def begin(file: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings in `file`; if it does not exist, `settings` are written to it."""
    clean_once(file.parent)
    found = read_settings(file)
    if found is not None:
        return found
    with atomic_write(file, "w") as handle:
        json.dump(settings, handle, indent=1)
    return plain(settings)


def first_difference(found: Any, asked: Any, name: str = "") -> str | None:
    """The dotted name and both values of the first difference between two trees of JSON; None if they are equal."""
    if isinstance(found, list) and isinstance(asked, list) and len(found) == len(asked):
        found, asked = dict(enumerate(found)), dict(enumerate(asked))
    if not (isinstance(found, dict) and isinstance(asked, dict)) or (_is_file(found) and _is_file(asked)):
        return None if found == asked else f"{name} was {_shown(found)}, now {_shown(asked)}"
    pairs = ((key, found.get(key, _NOT_SET), asked.get(key, _NOT_SET)) for key in {**found, **asked})
    differences = (first_difference(was, now, f"{name}.{key}" if name else str(key)) for key, was, now in pairs)
    return next(filter(None, differences), None)


def _is_file(value: Any) -> bool:
    """Whether a value is the identity or the fingerprint of a file, see `origins.py`."""
    if not isinstance(value, dict) or not isinstance(value.get("bytes"), int):
        return False
    return isinstance(value.get("sha256", value.get("sample")), str)


def _shown(value: Any) -> str:
    if _is_file(value):
        return f"a file ({value['bytes']:,} bytes, {value.get('sha256', value.get('sample')):.8})"
    return f"{value!r:.90}"


def refuse_other(found: Mapping[str, Any], asked: Mapping[str, Any], folder: Path, what: str, advice: str) -> None:
    """Raise `InputError` if the settings found in `folder` are not those asked for; `advice` says what to do."""
    if difference := first_difference(found, plain(asked)):
        raise InputError(f"{folder} holds {what} made with other settings ({difference}): {advice}")


# --- finished pieces -----------------------------------------------------------------------------------------------


def write_piece(path: Path, arrays: Mapping[str, np.ndarray], follows: str) -> str:
    """Write arrays atomically as a piece; returns its digest, which covers `follows`."""
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)  # type: ignore[arg-type]  # numpy's stub takes a name for its option allow_pickle
    with zipfile.ZipFile(buffer, "a") as file:
        file.comment = b"0" * _HEX_DIGITS
    body = buffer.getvalue()[:-_HEX_DIGITS]
    digest = _digest(body, follows)
    with atomic_write(path) as handle:
        handle.write(body + digest.encode())
    return digest


def read_piece(path: Path, follows: str) -> tuple[dict[str, np.ndarray], str]:
    """The arrays of a piece and its digest. Raises `DamagedPiece`."""
    try:
        with open_regular(path) as file:
            content = file.read()
    except OSError as error:
        raise DamagedPiece(f"{path.name} is unreadable ({reason_of(error)})") from None
    body, digest = content[:-_HEX_DIGITS], content[-_HEX_DIGITS:].decode("ascii", "replace")
    if _digest(body, follows) != digest:
        raise DamagedPiece(f"{path.name} is damaged or from another version")
    try:
        return read_npz(content, path.name), digest
    except InputError as error:  # the digest is right: another version wrote it
        raise DamagedPiece(str(error)) from None


def _digest(body: bytes, follows: str) -> str:
    return hashlib.sha256(follows.encode() + body).hexdigest()


# --- several processes ---------------------------------------------------------------------------------------------


def take_lock(path: Path, *, wait: bool = False) -> BaseFileLock:
    """The lock with the lock file `path`, held by this process until it calls `release` or ends.

    On a file system without locks, a warning is logged and nothing is locked.

    Raises:
        InUse: another process holds it, and `wait` is false.
        InputError: the file cannot be written, or is a link.
    """
    if path.is_symlink():  # some versions of filelock would empty the file that it leads to
        raise InputError(f"{path} is a link to {os.readlink(path)}: expected a lock file or nothing: remove it")
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=-1 if wait else 0)
    except Timeout:
        raise InUse(f"another process uses this folder (lock: {path}): wait for it, or use another folder") from None
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise InputError(f"cannot write {path}: {reason_of(error)}") from None
        log.warning("%s cannot be locked (%s): let no other process use this output", path, error.strerror)
    return lock


def release_and_remove(lock: BaseFileLock) -> None:
    """Release a lock and remove its file."""
    with contextlib.suppress(PermissionError):  # Windows cannot remove an open file; filelock removes it there
        Path(lock.lock_file).unlink(missing_ok=True)
    lock.release()


@contextlib.contextmanager
def one_at_a_time(file: Path) -> Iterator[None]:
    """A lock for work on `file`: other processes wait until the block ends. The lock file is then removed."""
    lock = take_lock(file.with_name(f".{file.name}.lock"), wait=True)
    try:
        yield
    finally:
        release_and_remove(lock)
