"""Names of files: one order, one form to compare them in, and lengths that the file system takes."""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath

from .errors import InputError

USUAL_LIMIT = 255
"""Bytes that most file systems take as a name."""

ROOM = 40
"""Bytes of a name that are left free for suffixes such as `_keypoints.json` and for the names of temporary files."""


def path_inside(folder: Path, name: str, what: str, *, hidden: bool = True) -> Path:
    """The path below `folder` of a file that somebody else names: the one place where names from outside become paths.

    Args:
        name: relative, on any system; folders are separated by /.
        what: the words before the name in a message, such as "the hub lists a file".
        hidden: whether names that begin with a dot are allowed.

    Raises `InputError` for a name that leaves `folder` or is absolute, is empty, has control characters, or is too long
    for the file system. Links that are already there are followed: they are the user's own.
    """
    shown = f"{what} {name[:80]!r}"
    if not name.isprintable():
        raise InputError(f"{shown}: its name has characters that cannot be printed: rename it")
    parts = PurePosixPath(name).parts
    if PureWindowsPath(name).anchor or name.startswith("/") or {"..", "~"} & {*parts, *PureWindowsPath(name).parts}:
        raise InputError(f"{shown} lies outside {folder}: expected a name below it, without '..'")
    if not parts:
        raise InputError(f"{shown}: expected the name of a file below {folder}")
    if not hidden and any(part.startswith(".") for part in parts):
        raise InputError(f"{shown}: names that begin with a dot are refused")
    if max(len(os.fsencode(part)) for part in parts) > (limit := name_limit(folder)):
        raise InputError(f"{shown}: its name has more than {limit} bytes: shorten it")
    return folder.joinpath(*parts)


def file_inside(folder: Path, name: str, what: str, *, hidden: bool = True) -> Path:
    """`path_inside` of a file in `folder` itself. Raises `InputError` also for a name with folders, on any system."""
    path = path_inside(folder, name, what, hidden=hidden)
    if path.name != name or "\\" in name:
        raise InputError(f"{what} {name!r} is a path: expected a name without folders")
    return path


def natural_key(name: str) -> tuple[list[tuple[int, int | str]], str]:
    """Sort key that compares numbers as numbers (frame2 before frame10), the same on every system."""
    parts = re.split(r"([0-9]+)", folded(name))
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts], name


def in_natural_order(paths: Iterable[Path]) -> list[Path]:
    """Paths in natural order, folder by folder."""
    return sorted(paths, key=lambda path: [natural_key(part) for part in path.parts])


def folded(name: str) -> str:
    """One form for all names that are the same file on some systems: composed (NFC), without case."""
    return unicodedata.normalize("NFC", name).casefold()


def is_hidden(path: Path) -> bool:
    """Whether a file is hidden, as are the `._NAME` companions of macOS, or lies in `__MACOSX`."""
    return path.name.startswith(".") or "__MACOSX" in path.parts


def name_limit(folder: Path) -> int:
    """Bytes that the file system of `folder`, which may not exist yet, takes as a name."""
    folder = folder.absolute()
    while not os.path.isdir(folder) and folder != folder.parent:
        folder = folder.parent
    try:
        return min(os.pathconf(folder, "PC_NAME_MAX"), USUAL_LIMIT)
    except (AttributeError, OSError, ValueError):  # Windows; a file system that does not say
        return USUAL_LIMIT


def fitted_name(name: str, limit: int) -> str:
    """`name`, or if it has more than `limit` bytes its beginning with 8 hex digits of its hash: always the same."""
    content = os.fsencode(name)
    if len(content) <= limit:
        return name
    digest = hashlib.sha256(content).hexdigest()[:8]
    beginning = content[: max(limit - 9, 0)].decode("utf-8", "ignore").rstrip()
    return f"{beginning}~{digest}"


def output_name(name: str, folder: Path) -> str:
    """NAME of the files of an input in `folder`: short enough for all our suffixes and temporary names."""
    return fitted_name(name, name_limit(folder) - ROOM)


def distinct_names(names: Sequence[tuple[str, str]]) -> list[str]:
    """For each pair (short, full) of names the short one, or the full one if another would write the same files.

    Names are compared as by systems that ignore case or compose names; full names that differ in that alone get 8 hex
    digits of their hash. Equal full names get equal names: the caller decides what to do with them.
    """
    chosen = {full: short for short, full in names}
    while clashing := _clashing(chosen):
        chosen.update((full, full) for full in clashing)
    taken: set[str] = set()
    for full, name in chosen.items():
        if folded(name) in taken:
            chosen[full] = f"{name}~{hashlib.sha256(os.fsencode(full)).hexdigest()[:8]}"
        taken.add(folded(chosen[full]))
    return [chosen[full] for _, full in names]


def _clashing(chosen: dict[str, str]) -> list[str]:
    """Full names whose short name another one has too."""
    owners = Counter(map(folded, chosen.values()))
    return [full for full, name in chosen.items() if name != full and owners[folded(name)] > 1]
