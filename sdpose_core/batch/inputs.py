"""Finding the videos that folders, patterns and list files name, and naming their results."""

from __future__ import annotations

import glob
import os
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import InputError
from ..video.frames import VIDEO_SUFFIXES
from ..video.opening import is_video


@dataclass(frozen=True)
class Item:
    """One video of a batch.

    Attributes:
        source: the file, or folder of pictures.
        relative: its POSIX path below the folder, pattern or list that named it; the same on every machine.
        name: of its results below OUT: `relative` without the suffix, or with it if two share a stem.
    """

    source: Path
    relative: str
    name: str

    def folder(self, out: Path) -> Path:
        """The folder of its results."""
        return out / PurePosixPath(self.name).parent

    @property
    def stem(self) -> str:
        """NAME in NAME.pose.npz."""
        return PurePosixPath(self.name).name


def find_items(inputs: Sequence[str], out: Path, *, lists: Sequence[Path] = (), recursive: bool = False) -> list[Item]:
    """The items named by the arguments of `sdpose batch`, each source once.

    Args:
        inputs: videos, folders, glob patterns, and `@FILE` for lists.
        out: files below it are not inputs.
        lists: more list files: a video or a folder of pictures per line; blank lines and lines that begin with # are
            skipped. Relative paths are relative to the list.
        recursive: also search the subfolders of folders.

    Raises `InputError` if a folder, pattern or list names no video, or two sources would write the same files.
    """
    found: dict[str, tuple[Path, str]] = {}
    sources = [pair for text in inputs for pair in _named_by(text, out, recursive)]
    sources += [pair for path in lists for pair in _listed(path)]
    for source, relative in sources:
        found.setdefault(os.path.abspath(source), (source, relative))
    return _named(list(found.values()))


def _named_by(text: str, out: Path, recursive: bool) -> Iterator[tuple[Path, str]]:
    path = Path(text)
    if text.startswith("@"):
        return _listed(Path(text[1:]))
    if path.is_dir():
        return _below(path, _videos_in(path, out, recursive), f"{path}: no videos in this folder", recursive)
    if not path.exists() and glob.has_magic(text):
        matches = (Path(match) for match in sorted(glob.glob(text, recursive=True)))
        videos = [match for match in matches if _is_input(match)]
        return _below(_fixed_part(text), videos, f"{text}: no video matches this pattern", True)
    return iter([(path, path.name)])


def _below(base: Path, videos: Sequence[Path], nothing: str, recursive: bool) -> Iterator[tuple[Path, str]]:
    if not videos:
        hint = "" if recursive else ": --recursive also searches its subfolders"
        raise InputError(f"{nothing} ({', '.join(sorted(VIDEO_SUFFIXES))}){hint}")
    return ((video, Path(os.path.relpath(video, base)).as_posix()) for video in videos)


def _videos_in(folder: Path, out: Path, recursive: bool) -> list[Path]:
    results = out.resolve()
    videos: list[Path] = []
    for here, folders, files in os.walk(folder):
        if not recursive:
            folders.clear()
        inside = (name for name in folders if not name.startswith(".") and (Path(here) / name).resolve() != results)
        folders[:] = sorted(inside)
        videos += [path for path in (Path(here) / name for name in sorted(files)) if _is_input(path)]
    return videos


def _is_input(path: Path) -> bool:
    """Whether a file is a video to annotate: not a result of ours, not hidden or half written."""
    ours = path.stem.endswith("_kps") and path.with_name(f"{path.stem.removesuffix('_kps')}.pose.npz").exists()
    return not path.name.startswith(".") and is_video(path) and not ours


def _fixed_part(pattern: str) -> Path:
    """The part of a pattern before the first wildcard."""
    parts = Path(pattern).parts
    first = next(index for index, part in enumerate(parts) if glob.has_magic(part))
    return Path(*parts[:first])


def _listed(path: Path) -> Iterator[tuple[Path, str]]:
    """The entries of a list file. The relative name of an absolute path begins below the common folder of them all."""
    try:
        text = path.read_text(encoding="utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise InputError(f"list {path} cannot be read: {error.strerror or error}") from None
    lines = [line.strip() for line in text.split("\n")]
    entries = [Path(line) for line in lines if line and not line.startswith("#")]
    if not entries:
        raise InputError(f"list {path} names no video: expected one path per line")
    outside = [entry for entry in entries if entry.is_absolute() or ".." in entry.parts]
    absolute = [Path(os.path.normpath(path.absolute().parent / entry)) for entry in outside]
    try:
        common = os.path.commonpath([entry.parent for entry in absolute]) if absolute else ""
    except ValueError:
        raise InputError(f"list {path} names videos on several drives: make one list per drive") from None
    for entry in entries:
        source = Path(os.path.normpath(path.parent / entry))
        below = os.path.relpath(os.path.abspath(source), common) if entry in outside else entry
        yield source, Path(below).as_posix()


def _named(sources: Sequence[tuple[Path, str]]) -> list[Item]:
    """Items with names; sources that share a stem keep their suffixes. Raises `InputError` if they share that too."""
    plain = [_without_suffix(source, relative) for source, relative in sources]
    sharing: dict[str, int] = {}
    for name in map(_folded, plain):
        sharing[name] = sharing.get(name, 0) + 1
    owner: dict[str, Path] = {}
    items: list[Item] = []
    for (source, relative), name in zip(sources, plain, strict=True):
        item = Item(source, relative, name if sharing[_folded(name)] == 1 else relative)
        other = owner.setdefault(_folded(item.name), source)
        if other != source:
            raise InputError(
                f"{other} and {source} would write the same files: name the folder that holds both, or use a list "
                "file, so that they go into separate folders of OUT"
            )
        items.append(item)
    return items


def _without_suffix(source: Path, relative: str) -> str:
    return relative if source.is_dir() else PurePosixPath(relative).with_suffix("").as_posix()


def _folded(name: str) -> str:
    """One form for all names that are the same file on some systems."""
    return unicodedata.normalize("NFC", name).casefold()
