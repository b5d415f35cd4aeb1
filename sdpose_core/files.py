"""Reading that never waits, and atomic writing: into a temporary folder beside the target, then moved.

Whole folders: see `folders.py`.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import platform
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, BinaryIO

from .errors import InputError, reason_of, writing
from .names import fitted_name, name_limit

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

ZIP, HEIC, LIST = "a ZIP archive", "a HEIC picture", "a list of other files"
_PICKLE = "a Python pickle, which may run any code and is never opened"

_BEGINNINGS = (
    (b"PK", ZIP),
    (b"\x89PNG", "a PNG picture"), (b"\xff\xd8\xff", "a JPEG picture"), (b"GIF8", "a GIF picture"),
    (b"II*\0", "a TIFF picture"), (b"MM\0*", "a TIFF picture"), (b"BM", "a BMP picture"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"), (b"\x93NUMPY", "a single NumPy array (.npy)"),
    (b"\x80\2", _PICKLE), (b"\x80\3", _PICKLE), (b"\x80\4", _PICKLE), (b"\x80\5", _PICKLE),
    (b"\x1f\x8b", "a gzip archive"), (b"%PDF", "a PDF"), (b"{", "JSON"), (b"[", "JSON"),
    (b"#EXTM3U", LIST), (b"ffconcat", LIST), (b"v=0", LIST),
)  # fmt: skip
"""How files of other kinds begin, for messages."""

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")

_TOKEN = ".sdpose.part"
"""Ends the names of our temporary folders: .NAME.xxxxxxxx.MACHINE.sdpose.part."""

_OURS = re.compile(rf"\..*\.[a-z0-9_]{{8}}\.([0-9a-f]{{8}}){re.escape(_TOKEN)}", re.DOTALL)

_TEMPORARY = len(_TOKEN) + 20
"""Bytes that a temporary name adds to a name: three dots, 8 random characters, 8 of the machine, the token; one to
spare."""

_LONG_AGO = 24 * 3600
"""Seconds without a change after which a temporary folder of another machine, whose locks may not be seen here, counts
as abandoned."""

_cleaned: set[str] = set()
"""Folders in which this process has looked for what killed processes left."""


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A path for a new file with the suffix of `path`, in a temporary folder; moved to `path` when the block ends.

    What killed processes left in the folder of `path` is removed, see `remove_abandoned`.
    Raises `InputError` if that folder cannot be written to.
    """
    path = Path(path)
    with writing(path), temporary_folder(path) as folder:
        new = folder / f"new{path.suffix}"  # a short name: Windows limits the whole path
        yield new
        os.chmod(new, 0o666 & ~_umask())
        os.replace(new, path)


@contextlib.contextmanager
def temporary_folder(path: Path) -> Iterator[Path]:
    """A new folder beside `path` and on the same file system; removed when the block ends, if still there.

    It is locked meanwhile, so that other processes do not take it for one that a killed process left. (Files are not
    locked themselves: some writers, such as that of safetensors, replace them.)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    clean_once(path.parent)
    prefix, suffix = f".{temporary_stem(path)}.", f".{_machine()}{_TOKEN}"
    while True:
        temporary = Path(tempfile.mkdtemp(prefix=prefix, suffix=suffix, dir=path.parent))
        with contextlib.suppress(_Taken):  # taken for abandoned by another process, before it was locked
            lock = _lock(temporary)
            break
    try:
        temporary.chmod(0o777 & ~_umask())
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        _release(lock)


@functools.cache
def _machine() -> str:
    """8 hex digits that differ between machines, not between the containers on one."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_bytes()
    except OSError:
        name = platform.node().encode()
    return hashlib.sha256(name).hexdigest()[:8]


class _Taken(Exception):
    """Another process has locked a temporary folder, or removed it, or it is not a folder."""


def _lock(folder: Path) -> int | None:
    """The lock of a temporary folder, which ends with the process; None where folders have no locks (Windows, some
    network drives): nothing counts as abandoned there. Raises `_Taken`."""
    if fcntl is None:
        return None
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        raise _Taken from None
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(handle), os.stat(folder)):
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:
        os.close(handle)
        return None
    os.close(handle)
    raise _Taken


def _release(lock: int | None) -> None:
    if lock is not None:
        os.close(lock)


def clean_once(folder: Path) -> None:
    """Remove what killed processes left in a folder, at the first use of the folder by this process.

    Writers do it by themselves. What only looks whether its files are there calls it, as a process may have been killed
    after the last of them was in place.
    """
    if (place := os.path.realpath(folder)) not in _cleaned:
        _cleaned.add(place)
        remove_abandoned(folder)


def remove_abandoned(folder: Path) -> None:
    """Remove the temporary folders in `folder` that belong to no living process."""
    with contextlib.suppress(OSError):  # it cannot be listed, and says so when it is written to
        for entry in os.scandir(folder):
            if (name := _OURS.fullmatch(entry.name)) and (name[1] == _machine() or _is_old(entry)):
                with contextlib.suppress(_Taken):
                    if (lock := _lock(Path(entry.path))) is not None:
                        shutil.rmtree(entry.path, ignore_errors=True)
                        _release(lock)


def _is_old(entry: os.DirEntry) -> bool:
    """Whether nothing changed in a folder for long."""
    return now_on(Path(entry.path).parent) - entry.stat(follow_symlinks=False).st_mtime > _LONG_AGO


def now_on(folder: Path) -> float:
    """The current time by the clock of the file system that holds `folder`, which may differ from this machine's."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"0")
        file.flush()
        return os.fstat(file.fileno()).st_mtime


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """An open file whose content appears under `path` only when the block ends without an error."""
    with atomic_path(path) as temporary:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())


def same_again(path: Path, make: Callable[[Path], None]) -> bool:
    """Whether `make(other)` gives the bytes that are at `path`, a file or a folder of files.

    Raises `InputError` if nothing can be written beside `path`.
    """
    with writing(path), temporary_folder(path) as folder:
        again = folder / path.name
        make(again)
        return _digests(path) == _digests(again)


def _digests(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): sha256_of(file) for file in files}


class NotRegular(OSError):
    """A pipe, a socket or a device, where a file was expected."""


def is_from_shell(path: str | Path) -> bool:
    """Whether a path names what the shell passes on: `/dev/stdin`, or `<(find ...)`."""
    return os.path.abspath(path).startswith(("/dev/stdin", "/dev/fd/", "/proc/self/fd/"))


def open_regular(path: str | Path) -> BinaryIO:
    """A file, open for reading: the one place where pipes, sockets and devices, which block or never end, are refused.

    Raises `NotRegular`, other kinds of `OSError`, and `ValueError` for a null byte in the name.
    """
    file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | getattr(os, "O_NONBLOCK", 0)))
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotRegular(errno.EINVAL, "it is not a regular file", str(path))
    return file


def kind_of(path: str | Path) -> str:
    """What a file is, by its first bytes, in words for a message: "a PNG picture"; "" if they do not tell."""
    try:
        with open_regular(path) as handle:
            head = handle.read(64)
    except (OSError, ValueError):  # a null byte in the name
        return ""
    if head[4:8] == b"ftyp":
        return HEIC if head[8:12] in _HEIC_BRANDS and b"avif" not in head else "an MP4, MOV or AVIF file"
    if head[:4] == b"RIFF":
        return "a WebP picture" if head[8:12] == b"WEBP" else "an AVI video"
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    found = (kind for begin, kind in _BEGINNINGS if (head if begin[0] > 127 else start).startswith(begin))
    return "empty" if not head else next(found, "")


def temporary_stem(path: Path) -> str:
    """The part of a temporary folder's name that says what it becomes: its stem, shortened if it is long."""
    return fitted_name(path.stem, name_limit(path.parent) - _TEMPORARY)


@contextlib.contextmanager
def unchanged(*paths: str | Path | None) -> Iterator[None]:
    """Raise `InputError` at the end of the block if one of the files, or of the files in the folders, was replaced.

    They are compared by size, time and place on the disk.
    """
    given = [Path(path) for path in paths if path is not None]
    before = [_places_of(path) for path in given]
    yield
    for path, was in zip(given, before, strict=True):
        if _places_of(path) != was:
            raise InputError(f"{path} was replaced while it was read: the result may be of both: run it again")


def _places_of(path: Path) -> list[tuple[str, int, int, int]]:
    places = []
    for file in (path, *(sorted(path.iterdir()) if path.is_dir() else ())):
        with contextlib.suppress(OSError):
            facts = file.stat()
            places.append((str(file), facts.st_size, facts.st_mtime_ns, facts.st_ino))
    return places


def why_missing(path: str | Path) -> str | None:
    """Why a file or folder cannot be found, as a phrase; None if it is there. Any text is a valid path."""
    try:
        os.stat(path)
    except FileNotFoundError:
        return "no such file or folder"
    except (OSError, ValueError) as error:  # no permission, too long a name, a null byte
        return reason_of(error)
    return None


@functools.cache
def _umask() -> int:
    """The permissions that new files of this process lack; to read them is to change them, for all threads."""
    value = os.umask(0o077)
    os.umask(value)
    return value


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file as 64 hex digits, read in blocks."""
    digest = hashlib.sha256()
    with open_regular(path) as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# --- seals ---------------------------------------------------------------------------------------------------------

_SEAL = b"sdpose-sha256:"
_SEAL_BYTES = len(_SEAL) + 64
_VOID = bytes([0xEC, 0x80 | _SEAL_BYTES])
_SEAL_HEADERS = {
    ".mp4": (8 + _SEAL_BYTES).to_bytes(4, "big") + b"free", ".mkv": _VOID, ".webm": _VOID,
    ".gif": b"!\xfe" + bytes([_SEAL_BYTES]),
}  # fmt: skip
"""How unused space begins in each format: a box "free", an element Void, a comment. Players skip it."""
_GIF_END = b"\0;"
"""The end of a comment, and of a GIF: the only format whose last byte must stay the last one."""


def seal(path: Path, suffix: str) -> None:
    """Append the SHA-256 of a finished video, as unused space at its end, so that any later change can be found."""
    is_gif = suffix.lower() == ".gif"
    with open(path, "r+b") as file:
        file.seek(-1 if is_gif else 0, os.SEEK_END)
        file.write(_SEAL_HEADERS[suffix.lower()])
    digest = sha256_of(path)
    with open(path, "ab") as file:
        file.write(_SEAL + digest.encode() + (_GIF_END if is_gif else b""))


def is_sealed(path: Path) -> bool:
    """Whether a video ends with a seal, and not one of its bytes has changed since."""
    try:
        end = _GIF_END if path.suffix.lower() == ".gif" else b""
        size = path.stat().st_size - _SEAL_BYTES - len(end)
        if size < 0:
            return False
        digest = hashlib.sha256()
        with open_regular(path) as file:
            for start in range(0, size, 1 << 20):
                digest.update(file.read(min(1 << 20, size - start)))
            return file.read() == _SEAL + digest.hexdigest().encode() + end
    except OSError:
        return False
