"""Folders that this library writes: the one place that replaces and removes them.

A folder is removed only if it is not a link, has the marker of its kind, and holds nothing but what we write.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from .errors import InputError, reason_of, writing
from .files import remove_abandoned, temporary_folder

_OLD = ".sdpose-old"
"""Ends the name of a folder that is being replaced, where both names cannot be exchanged at once."""


@dataclass(frozen=True)
class FolderKind:
    """A kind of folder that this library writes.

    Attributes:
        word: what it is, as in "an exported checkpoint".
        patterns: of all its files, as POSIX paths below it.
        markers: files of which one must be there, which shows that the folder is ours; () if none is needed.
        is_ours: whether one of its files is ours; None: its name is enough.
    """

    word: str
    patterns: tuple[str, ...]
    markers: tuple[str, ...] = ()
    is_ours: Callable[[Path], bool] | None = None

    def why_not(self, path: Path) -> str | None:
        """Why the folder at `path` may not be removed, as a phrase; None if it may, or if nothing is there."""
        if not os.path.lexists(path):
            return None
        if path.is_symlink():
            return f"is a link to {os.readlink(path)}"
        if not path.is_dir():
            return "is a file"
        try:
            found = [file.relative_to(path).as_posix() for file in _entries_below(path)]
        except OSError as error:
            return f"cannot be read ({error.filename}: {reason_of(error)})"
        if foreign := [name for name in found if not self.fits(path / name, name)]:
            return f"holds {foreign[0]!r}, which does not belong to {self.word}"
        if found and self.markers and not set(self.markers) & set(found):
            return f"is not {self.word} of ours (it has no {self.markers[0]})"
        return None

    def fits(self, file: Path, name: str) -> bool:
        """Whether a file, called `name` below the folder, is one that we write."""
        depth = name.count("/")  # fnmatch takes a slash for any other character
        known = any(fnmatch(name, pattern) and pattern.count("/") == depth for pattern in self.patterns)
        plain = not file.is_symlink() and not file.is_dir()
        return known and plain and (self.is_ours is None or self.is_ours(file))

    def check(self, path: Path) -> None:
        """Raise `InputError` if the folder at `path` may not be removed, see `why_not`."""
        if reason := self.why_not(path):
            raise _refusal(path, reason)

    def remove(self, path: Path) -> None:
        """Remove the folder at `path`, if it is there. Raises `InputError` as `check`."""
        self.check(path)
        if os.path.lexists(path):
            with writing(path), temporary_folder(path) as folder:  # so that no half of it is left under its name
                path.rename(folder / path.name)


def _refusal(path: Path, reason: str) -> InputError:
    return InputError(f"{path} {reason}: nothing was removed; move it away, or choose another name")


def _entries_below(folder: Path) -> Iterator[Path]:
    """The files below a folder, and the links, which are not followed; empty folders do not count.

    Raises `OSError` for a folder that cannot be read.
    """

    def fail(error: OSError) -> None:
        raise error

    for place, folders, files in os.walk(folder, onerror=fail):
        yield from (Path(place, name) for name in files)
        yield from (Path(place, name) for name in folders if os.path.islink(os.path.join(place, name)))


@contextlib.contextmanager
def atomic_folder(path: str | Path, kind: FolderKind) -> Iterator[Path]:
    """A temporary folder that takes the place of `path` when the block ends; it is removed when the block fails.

    The old folder stays until the new one is in place. Only where the folder itself must stay (see `_must_stay`), its
    files are replaced one by one. Raises `InputError` if it may not be removed (`FolderKind`), or nothing can be
    written.
    """
    path = Path(os.path.abspath(path))
    with writing(path):
        if stays := _must_stay(path):
            remove_abandoned(path)
        _restore(path, kind)
        kind.check(path)
        before = list(_entries_below(path)) if stays else []
        with temporary_folder(path / path.name if stays else path) as temporary:
            yield temporary
            if stays:
                _refill(path, temporary, before)
            else:
                _replace(path, temporary, kind)


def _must_stay(path: Path) -> bool:
    """Whether a folder cannot be renamed: it is mounted, or the current one, or in a folder that is not ours."""
    if not path.is_dir():
        return False
    return (
        os.path.ismount(path)
        or Path.cwd().is_relative_to(os.path.realpath(path))
        or not os.access(path.parent, os.W_OK)
    )


def _refill(path: Path, temporary: Path, before: list[Path]) -> None:
    """Move all files below `temporary` to `path`, and remove those that were there before and have no successor."""
    new = {path / file.relative_to(temporary): file for file in _entries_below(temporary)}
    for target, file in sorted(new.items()):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)
    for file in before:
        if file not in new:
            file.unlink()


def _replace(path: Path, temporary: Path, kind: FolderKind) -> None:
    """Move `temporary` to `path`, and remove what was there, unless it has changed since it was checked."""
    if not os.path.lexists(path):
        temporary.rename(path)
    elif _exchanged(temporary, path):
        if reason := kind.why_not(temporary):  # looked at where nobody else changes it
            _exchanged(temporary, path)
            raise _refusal(path, reason)
    else:
        kind.check(path)
        old = _old(path)
        path.rename(old)
        temporary.rename(path)
        shutil.rmtree(old)


def _old(path: Path) -> Path:
    return path.with_name(f".{path.name}{_OLD}")


def _restore(path: Path, kind: FolderKind) -> None:
    """Finish the replacement of `path` by a process that was killed between its two renames."""
    old = _old(path)
    if not os.path.lexists(old) or kind.why_not(old):
        return
    if os.path.lexists(path):
        shutil.rmtree(old)
    else:
        old.rename(path)


def _exchanged(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; False where the system or the file system cannot."""
    names = os.fsencode(one), os.fsencode(other)
    here, exchange = -100, 2  # AT_FDCWD; RENAME_EXCHANGE on Linux, RENAME_SWAP on macOS
    library = ctypes.CDLL(None) if sys.platform != "win32" else None
    if rename := getattr(library, "renameat2", None):
        return rename(here, names[0], here, names[1], exchange) == 0
    if rename := getattr(library, "renamex_np", None):
        return rename(*names, exchange) == 0
    return False
