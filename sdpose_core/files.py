"""Atomic writing: to a temporary name beside the target, which is then renamed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from .errors import InputError
from .names import fitted_name, name_limit

ZIP, HEIC = "a ZIP archive", "a HEIC picture"

_BEGINNINGS = (
    (b"PK", ZIP),
    (b"\x89PNG", "a PNG picture"), (b"\xff\xd8\xff", "a JPEG picture"), (b"GIF8", "a GIF picture"),
    (b"II*\0", "a TIFF picture"), (b"MM\0*", "a TIFF picture"), (b"BM", "a BMP picture"),
    (b"\x1aE\xdf\xa3", "a Matroska or WebM video"), (b"\x93NUMPY", "a single NumPy array (.npy)"),
    (b"\x80", "a Python pickle, which may run any code and is never opened"), (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF"), (b"{", "JSON"), (b"[", "JSON"),
)  # fmt: skip
"""How files of other kinds begin, for messages."""

_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"mif1")

_TEMPORARY = 16
"""Bytes that `atomic_path` adds to a name: two dots, 8 random characters, and ".part"; one to spare."""


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path in the folder of `path`; renamed to `path` when the block ends, removed when it fails.

    It keeps the suffix of `path`, for writers that choose the format by name.
    Raises `InputError` if the folder cannot be written to.
    """
    path = Path(path)
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        suffix = f".part{path.suffix}"
        handle, name = tempfile.mkstemp(prefix=f".{temporary_stem(path)}.", suffix=suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str = "wb") -> Iterator[IO]:
    """An open file whose content appears under `path` only when the block ends without an error."""
    with atomic_path(path) as temporary:
        with open(temporary, mode, encoding=None if "b" in mode else "utf-8") as handle:
            yield handle
            handle.flush()
            os.fsync(handle.fileno())


@contextlib.contextmanager
def atomic_folder(path: str | Path, pattern: str) -> Iterator[Path]:
    """A temporary folder beside `path`; renamed to `path` when the block ends, removed when it fails.

    An existing folder is replaced only if all its files match `pattern`, so that no other files are lost.
    Raises `InputError` if it holds anything else, or cannot be written.
    """
    path = Path(path)
    if os.path.exists(path) and not (os.path.isdir(path) and all(entry.match(pattern) for entry in path.iterdir())):
        raise InputError(f"{path} already exists and holds other things than {pattern}: choose another folder")
    with _writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", suffix=".part", dir=path.parent))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            if path.exists():
                path.rename(temporary.with_suffix(".old"))
            temporary.rename(path)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
            shutil.rmtree(temporary.with_suffix(".old"), ignore_errors=True)


def same_again(path: Path, make: Callable[[Path], None]) -> bool:
    """Whether `make(other)` gives the bytes that are at `path`, a file or a folder of files.

    Raises `InputError` if nothing can be written beside `path`.
    """
    with _writing(path), tempfile.TemporaryDirectory(prefix=".", suffix=".part", dir=path.parent) as folder:
        again = Path(folder) / path.name
        make(again)
        return _digests(path) == _digests(again)


def _digests(path: Path) -> dict[str, str]:
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.is_file())
    return {file.relative_to(path).as_posix(): sha256_of(file) for file in files}


def kind_of(path: str | Path) -> str:
    """What a file is, by its first bytes, in words for a message: "a PNG picture"; "" if they do not tell."""
    try:
        with open(path, "rb") as handle:
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
    """The part of a temporary file's name that says which file it becomes: its stem, shortened if it is long."""
    return fitted_name(path.stem, name_limit(path.parent) - len(os.fsencode(path.suffix)) - _TEMPORARY)


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None


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
        return getattr(error, "strerror", None) or str(error)
    return None


def _umask() -> int:
    value = os.umask(0)
    os.umask(value)
    return value


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file as 64 hex digits, read in blocks."""
    digest = hashlib.sha256()
    with open(path, "rb") as handle:
        while block := handle.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


# --- seals ---------------------------------------------------------------------------------------------------------

_SEAL = b"sdpose-sha256:"
_SEAL_BYTES = len(_SEAL) + 64
_SEAL_HEADERS = {".mp4": (8 + _SEAL_BYTES).to_bytes(4, "big") + b"free", ".mkv": bytes([0xEC, 0x80 | _SEAL_BYTES])}
"""How unused space begins in each format: a box "free", an element Void. Players skip it."""


def seal(path: Path, suffix: str) -> None:
    """Append the SHA-256 of a finished video, as unused space at its end, so that any later change can be found."""
    with open(path, "ab") as file:
        file.write(_SEAL_HEADERS[suffix.lower()])
    digest = sha256_of(path)
    with open(path, "ab") as file:
        file.write(_SEAL + digest.encode())


def is_sealed(path: Path) -> bool:
    """Whether a video ends with a seal, and not one of its bytes has changed since."""
    try:
        size = path.stat().st_size - _SEAL_BYTES
        if size < 0:
            return False
        digest = hashlib.sha256()
        with open(path, "rb") as file:
            for start in range(0, size, 1 << 20):
                digest.update(file.read(min(1 << 20, size - start)))
            return file.read() == _SEAL + digest.hexdigest().encode()
    except OSError:
        return False
