"""What a person names as input: files, folders, patterns and lists, without the results of earlier runs."""

from __future__ import annotations

import functools
import glob
import os
import re
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .errors import InputError, reason_of
from .files import is_from_shell, why_missing
from .images import IMAGE_SUFFIXES
from .input_kinds import Kind
from .names import in_natural_order, is_hidden
from .origins import DRAWINGS, read_mark
from .texts import read_text

_ALWAYS = re.compile(r".*\.pose\.npz|manifest(\.\d+-of-\d+)?\.jsonl", re.DOTALL)
"""Names of files that only we write."""


def is_result(path: Path) -> bool:
    """Whether a file was made by this library: by its name, its mark, or the NAME.pose.npz that it lies beside.

    Of a folder: whether that is true of all its pictures.
    """
    if os.path.isdir(path):
        found = _pictures(path)
        return bool(found) and all(map(is_result, found))
    if not os.path.isfile(path):
        return False
    stems = [path.name[: -len(end)] for end in DRAWINGS if path.name.lower().endswith(end)]
    beside = any(os.path.isfile(path.with_name(f"{stem}.pose.npz")) for stem in stems)
    return beside or bool(_ALWAYS.fullmatch(path.name)) or read_mark(path) is not None


def pictures_in(folder: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> list[Path]:
    """The pictures of a folder in natural order, without hidden files.

    Our own results are left out, unless the folder holds nothing else. Raises `InputError` if it cannot be read.
    """
    found = _pictures(folder, suffixes)
    return [path for path in found if not is_result(path)] or found


def _pictures(folder: Path, suffixes: Collection[str] = IMAGE_SUFFIXES) -> list[Path]:
    return [path for path in _entries(folder) if path.suffix.lower() in suffixes and os.path.isfile(path)]


def _entries(folder: Path) -> list[Path]:
    """The files and folders in a folder in natural order, without hidden ones. Raises `InputError`."""
    try:
        return in_natural_order(entry for entry in folder.iterdir() if not is_hidden(entry))
    except (OSError, ValueError) as error:
        raise InputError(f"{folder} cannot be read: {reason_of(error)}") from None


# --- what the arguments of a command name --------------------------------------------------------------------------


@dataclass(frozen=True)
class Named:
    """One input.

    Attributes:
        source: the file, or folder of pictures. It may be missing.
        relative: its POSIX path below the folder, pattern or list that named it; the same on every machine.
    """

    source: Path
    relative: str


@dataclass
class Inputs:
    """What the arguments of a command name.

    Attributes:
        sources: each file once, however often and by whatever links it is named.
        failed: (what was named, why it gives no input).
        results: number of files left out because they are results of ours.
        unreadable: number of files in the folders that are of this kind but not read, by suffix.
        left_out: what else is in the folders, and the command that takes it; "" if there is nothing.
    """

    sources: list[Named] = field(default_factory=list)
    failed: list[tuple[str, str]] = field(default_factory=list)
    results: int = 0
    unreadable: Mapping[str, int] = field(default_factory=dict)
    left_out: str = ""


def expand(
    texts: Iterable[str], kind: Kind, out: Path, *, lists: Sequence[Path] = (), recursive: bool = False
) -> Inputs:
    """The inputs named by the arguments of a command. What names none is in `failed`; the others are not affected.

    Args:
        texts: files, folders, glob patterns, and `@FILE` for lists. What exists is taken as it is, whatever its name.
        out: the folder for results; files below it are no inputs, unless they are named from inside it.
        lists: more list files: a path per line; blank lines and lines that begin with # are skipped. Relative paths
            are relative to the list.
        recursive: also search the subfolders of folders, and those that links lead to.
    """
    search = _Search(kind, out, recursive)
    for text in texts:
        search.take(text, functools.partial(search.named_by, text))
    for path in lists:
        search.take(str(path), functools.partial(search.listed, path))
    left_out = kind.elsewhere.left_out(search.others, out) if kind.elsewhere else ""
    return Inputs(list(search.found.values()), search.failed, len(search.results), search.unreadable, left_out)


class _Search:
    def __init__(self, kind: Kind, out: Path, recursive: bool) -> None:
        self.kind, self.recursive = kind, recursive
        self.found: dict[str, Named] = {}
        self.results: set[str] = set()
        self.failed: list[tuple[str, str]] = []
        self.unreadable: Counter[str] = Counter()
        self.others: Counter[str] = Counter()
        self._argument, self._given_out = "", out
        self._out = os.path.realpath(out)

    def take(self, text: str, find: Callable[[], Iterable[Named]]) -> None:
        """Add what an argument names, or why it names nothing."""
        self._argument = text
        try:
            for named in find():
                self._add(named)
        except InputError as error:
            self.failed.append((text or repr(text), str(error)))

    def _add(self, named: Named) -> None:
        try:
            key = os.path.realpath(named.source)
        except (OSError, ValueError):  # the command says what is wrong with it
            key = str(named.source)
        if key in self.found or key in self.results:
            return
        if is_result(named.source):
            self.results.add(key)
        elif (other := self.kind.elsewhere) and other.accepts(named.source):
            self.failed.append((str(named.source), other.where(str(named.source), self._given_out)))
        else:
            self.found[key] = named

    def named_by(self, text: str) -> Iterable[Named]:
        """The inputs of one argument."""
        if not text:
            raise InputError(f"an empty argument: expected a {self.kind.word} or a folder")
        if "\0" in text:
            raise InputError(f"a null byte in a name: expected a {self.kind.word} or a folder")
        path = Path(text)
        if os.path.isdir(path):
            return _below(path, self._files_of(path))
        if os.path.lexists(path):
            return [Named(path, path.name)]
        if text.startswith("@"):
            return self.listed(Path(text[1:]))
        if text.startswith("~") and (home := os.path.expanduser(text)) != text:
            return self.named_by(home)
        return self._matching(text) if glob.has_magic(text) else [Named(path, path.name)]

    def _accepted(self, folder: Path) -> list[Path]:
        """The files of this kind in a folder; those in formats that are not read are counted."""
        files = list(self._walk(folder))
        suffixes = (path.suffix.lower() for path in files)
        self.unreadable.update(suffix for suffix in suffixes if suffix in self.kind.unreadable)
        return self._without_others(files)

    def _without_others(self, files: Sequence[Path]) -> list[Path]:
        """The files of this kind. Those that another command takes are counted, without results of ours."""
        accepted = [path for path in files if self.kind.accepts(path)]
        if other := self.kind.elsewhere:
            rest = set(files).difference(accepted)
            self.others[self._argument] += sum(
                path.suffix.lower() in other.suffixes and os.path.isfile(path) and not is_result(path) for path in rest
            )
        return accepted

    def _none(self, what: str, text: str, hint: str = "") -> str:
        """The error of a folder or pattern without inputs of this kind; it names what another command would take."""
        if self.kind.elsewhere and (count := self.others.pop(text, 0)):
            return f"{what}, but {self.kind.elsewhere.left_out({text: count}, self._given_out)}"
        return self.kind.none(what) + hint

    def _walk(self, root: Path) -> Iterator[Path]:
        """The files of a folder; with `recursive`, also of those below it."""
        for _, entries in self._folders(root, self.recursive):
            yield from (path for path in entries if not os.path.isdir(path) and self._is_file(path))

    def _is_file(self, path: Path) -> bool:
        """Whether this is a file. Broken links, pipes and devices that are called as inputs are reported."""
        if os.path.isfile(path):
            return True
        reason = why_missing(path)
        if path.suffix.lower() in self.kind.suffixes or (reason and self.recursive and not path.suffix):
            what = f"it is not a regular file: expected a {self.kind.word}, remove it"
            if reason:
                link = f"a broken link to {os.readlink(path)}" if path.is_symlink() else "it cannot be read"
                what = f"{link} ({reason}): mend it, or remove it"
            if (str(path), what) not in self.failed:
                self.failed.append((str(path), what))
        return False

    def _folders(self, root: Path, recursive: bool) -> Iterator[tuple[Path, list[Path]]]:
        """A folder, and those below it, with their entries. Each comes once: those that links lead to come last."""
        entered: set[str] = set()
        folders, links = deque([root]), deque[Path]()
        while folders or links:
            folder = folders.popleft() if folders else links.popleft()
            real = os.path.realpath(folder)
            if real in entered or self._is_out(real, root):
                continue
            entered.add(real)
            try:
                entries = _entries(folder)
            except InputError as error:
                if folder == root:
                    raise
                self.failed.append((str(folder), str(error)))
                continue
            yield folder, entries
            for path in entries if recursive else ():
                if os.path.isdir(path):
                    (links if path.is_symlink() else folders).append(path)

    def _is_out(self, real: str, root: Path) -> bool:
        """Whether a folder holds the results, seen from a root outside of them."""
        return _is_below(real, self._out) and not _is_below(os.path.realpath(root), self._out)

    def _matching(self, pattern: str) -> Iterable[Named]:
        """The files that match a pattern; if there are none, those in the folders that match it."""
        base, rest = _split(pattern)
        # Brackets may be meant: "[2024]*.png" as typed, after the pattern of that form.
        for parts in dict.fromkeys((rest, tuple(part.replace("[", "[[]") for part in rest))):
            found = (path for path in self._matches(base, parts) if not is_hidden(path))
            inside = in_natural_order(path for path in found if not self._is_out(os.path.realpath(path), base))
            matches = [path for path in inside if os.path.isdir(path) or self._is_file(path)]
            if files := self._of_this_kind(matches, parts[-1]):
                return _below(base, files)
            if folders := [path for path in matches if os.path.isdir(path)]:
                return _below(base, [file for folder in folders for file in self._files_of(folder)])
        raise InputError(self._none(f"no {self.kind.word} matches this pattern", pattern))

    def _matches(self, base: Path, parts: tuple[str, ...]) -> Iterator[Path]:
        """What matches a pattern below `base`; `**` stands for any number of folders, each entered once."""
        if "**" not in parts:
            yield from (base / name for name in glob.glob(os.path.join(*parts), root_dir=base))
            return
        place = parts.index("**")
        for start in self._matches(base, parts[:place]) if place else [base]:
            if os.path.isdir(start):
                for folder, _ in self._folders(start, recursive=True):
                    yield from self._matches(folder, parts[place + 1 :] or ("*",))

    def _of_this_kind(self, matches: Sequence[Path], pattern: str) -> list[Path]:
        """Files of this kind among the matches; if there are none, files of unknown suffixes that were meant."""
        files = self._without_others(matches)
        if files or not pattern.strip("*.") or any(os.path.isdir(path) for path in matches):
            return files
        known = {*IMAGE_SUFFIXES, *self.kind.suffixes}
        return [path for path in matches if path.suffix.lower() not in known and os.path.isfile(path)]

    def _files_of(self, folder: Path) -> list[Path]:
        """The inputs in a folder; that there are none is reported."""
        files = self._accepted(folder)
        if not files and not _is_below(os.path.realpath(folder), self._out):
            hint = ": --recursive also searches its subfolders" if self.kind.from_folders and not self.recursive else ""
            self.failed.append((str(folder), self._none(f"no {self.kind.word}s in this folder", self._argument, hint)))
        return files

    def listed(self, path: Path) -> Iterator[Named]:
        """The entries of a list. The relative name of an absolute path begins below the common folder of them all."""
        if reason := why_missing(path):
            raise InputError(f"list {path} cannot be read: {reason}")
        text = read_text(path, errors="surrogateescape")
        if "\0" in text and _is_foreign(text):
            raise InputError(f"list {path} is not text: expected one path per line")
        lines = [line for line in text.split("\n") if not (_bare(line) or "#").startswith("#")]
        if not lines:
            raise InputError(f"list {path} names no {self.kind.word}: expected one path per line")
        damaged = [line for line in lines if "\0" in line]
        self.failed += [(line[:80], f"a line of {path} with a null byte: expected a path") for line in damaged]
        here = Path() if is_from_shell(path) else path.parent
        entries = [_entry(line, here) for line in lines if "\0" not in line]
        foreign = {entry for entry in entries if _is_foreign(entry) and not os.path.lexists(here / entry)}
        self.failed += [
            (ascii(str(entry))[1:-1], f"{path} is not in UTF-8 here: save it as UTF-8") for entry in sorted(foreign)
        ]
        entries = [entry for entry in entries if entry not in foreign]
        outside = [entry for entry in entries if entry.is_absolute() or ".." in entry.parts]
        absolute = [Path(os.path.abspath(here / entry)) for entry in outside]
        try:
            common = os.path.commonpath([entry.parent for entry in absolute]) if absolute else ""
        except ValueError:
            drives = f"list {path} names {self.kind.word}s on several drives: make one list per drive"
            raise InputError(drives) from None
        for entry in entries:
            source = Path(os.path.normpath(here / entry))
            if os.path.realpath(source) == os.path.realpath(path):  # as in dir /b > list.txt
                continue
            below = os.path.relpath(os.path.abspath(source), common) if entry in outside else entry
            named = Named(source, Path(below).as_posix() if Path(below).name else Path(os.path.abspath(source)).name)
            if os.path.isdir(source) and not self.kind.from_folders:
                yield from (Named(file, f"{named.relative}/{file.name}") for file in self._files_of(source))
            else:
                yield named


def _below(base: Path, files: Sequence[Path]) -> list[Named]:
    """Inputs with names relative to `base`, or if a pattern leads out of it, to the folder that holds them all. A link
    is left out if the file it leads to is there under its own name."""
    real = {os.path.realpath(file) for file in files if not file.is_symlink()}
    kept = [file for file in files if not (file.is_symlink() and os.path.realpath(file) in real)]
    top = os.path.commonpath([os.path.abspath(folder) for folder in (base, *(file.parent for file in kept))])
    return [Named(file, Path(os.path.relpath(file, top)).as_posix()) for file in kept]


def _is_below(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def _split(pattern: str) -> tuple[Path, tuple[str, ...]]:
    """The longest leading folders of a pattern that exist as they are written, and the rest."""
    parts = Path(pattern).parts
    count = next(n for n in range(len(parts), -1, -1) if n == 0 or os.path.isdir(Path(*parts[:n])))
    return Path(*parts[:count]), parts[count:]


_UNSEEN = "\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff"
"""Marks that Windows puts before a path that is copied from a dialog, or that joined lists have in the middle."""


def _bare(line: str) -> str:
    return line.strip().strip(_UNSEEN).strip()


def _is_foreign(entry: str | Path) -> bool:
    """Whether a path has bytes that are not UTF-8."""
    return any("\udc80" <= char <= "\udcff" for char in str(entry))


def _entry(line: str, folder: Path) -> Path:
    """The path in a line of a list: as it is if that exists, else without spaces and quotes around it, and with ~."""
    plain = _bare(line)
    unquoted = plain[1:-1] if len(plain) > 1 and plain[0] + plain[-1] in ('""', "''", "\u201c\u201d") else plain
    forms = (line, plain, unquoted, os.path.expanduser(unquoted), unquoted.replace("\\", "/"))
    return Path(next((form for form in forms if os.path.lexists(folder / form)), unquoted))
