"""Finding a picture by a name that another tool or another system wrote."""

from __future__ import annotations

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

from ..errors import InputError
from ..images import IMAGE_SUFFIXES
from ..names import folded

_SUFFIXES = IMAGE_SUFFIXES | {".json"}
_PREFIX = re.compile(r"coco_(?:train|val|test)\d{4}_|[0-9a-f]{8}-(?=.)")
"""Of COCO's pictures of 2014, and of uploads to annotation tools."""
_COPY = re.compile(r"_(?:jpe?g|png|webp|bmp)\.rf\.[0-9a-f]{32}")
"""Ending of the stem of pictures that an annotation tool has resized."""

EXACT, PATH, BASE, FOLDED_BASE, STEM, FOLDED_STEM, BARE, NUMBER = range(8)
"""How loosely two names match: as they are; as paths; without folders; also without case and in one Unicode form; and
without the suffix; without prefixes and endings of annotation tools; by the number that is the whole name."""


def plain_path(name: str) -> str:
    """A name with forward slashes, without a URL's scheme, host and escapes, in composed Unicode (NFC)."""
    text = name.replace("\\", "/")
    if "://" in text:
        text = urlsplit(text).path
    text = unquote(text) if "%" in text else text
    return unicodedata.normalize("NFC", text).removeprefix("./")


def stem_of(name: str) -> str:
    """The last part of a path without the suffix of a picture."""
    base = plain_path(name).rpartition("/")[2]
    stem, suffix = os.path.splitext(base)
    return stem if suffix.lower() in _SUFFIXES else base


def _forms(name: str | int) -> list[Hashable]:
    """The name as each way of matching compares it, from `EXACT` to `NUMBER`; None where it has no such form."""
    if isinstance(name, int):
        return [None, None, None, None, str(name), str(name), str(name), name]
    path, stem = plain_path(name), stem_of(name)
    base = path.rpartition("/")[2]
    bare = _COPY.sub("", _PREFIX.sub("", folded(stem), count=1))
    number = int(bare) if bare.isascii() and bare.isdecimal() else None
    return [name, path, base, folded(base), stem, folded(stem), bare, number]


class NameTable:
    """Names (or numbers that stand for names), by which pictures are found."""

    def __init__(self, names: Mapping[Any, str | int] | Iterable[str | int]) -> None:
        """`names`: key -> name, or names that are their own keys."""
        self._names = dict(names) if isinstance(names, Mapping) else {name: name for name in names}
        self._tables: list[dict[Hashable, list[Any]]] = [defaultdict(list) for _ in range(NUMBER + 1)]
        for key, name in self._names.items():
            for table, form in zip(self._tables, _forms(name), strict=True):
                if form is not None:
                    table[form].append(key)

    def find(self, wanted: str | int, loosest: int = NUMBER) -> tuple[Any, int] | None:
        """The key of a name and how loosely it matches; None if no name does.

        Raises `InputError` if several names match equally well, also by their folders.
        """
        for level, form in enumerate(_forms(wanted)[: loosest + 1]):
            found = self._tables[level].get(form) if form is not None else None
            if found:
                return self._nearest(wanted, found), level
        return None

    def _nearest(self, wanted: str | int, keys: Sequence[Any]) -> Any:
        """Of several names that match, the one that shares the most folders."""
        if len(keys) == 1:
            return keys[0]
        shared = [_shared_folders(str(wanted), str(self._names[key])) for key in keys]
        best = [key for key, count in zip(keys, shared, strict=True) if count == max(shared)]
        if len(best) > 1:
            both = " and ".join(repr(self._names[key]) for key in best[:2])
            raise InputError(f"{wanted}: both {both} may mean it: use names that differ, or give the folders too")
        return best[0]

    def assign(self, wanted: Sequence[str], loosest: int = NUMBER) -> dict[str, Any]:
        """Key of each wanted name that is found. A name goes to whom it matches best, and to nobody else.

        Raises `InputError` if it matches two of them equally loosely, or as `find`.
        """
        found = {name: match for name in dict.fromkeys(wanted) if (match := self.find(name, loosest))}
        best: dict[Any, tuple[tuple[int, int], str]] = {}
        ranks: dict[str, tuple[int, int]] = {}
        for name, (key, level) in found.items():
            ranks[name] = rank = (level, -_shared_folders(name, str(self._names[key])))
            held, other = best.get(key, ((NUMBER + 1, 0), ""))
            if rank == held and level > PATH:
                raise InputError(f"{self._names[key]!r} may mean both {other} and {name}: use names that differ")
            if rank < held:
                best[key] = (rank, name)
        return {name: key for name, (key, level) in found.items() if level <= PATH or ranks[name] == best[key][0]}


def _shared_folders(a: str, b: str) -> int:
    """Number of folders above two names that are the same, counted from the names."""
    pairs = zip(reversed(plain_path(a).split("/")[:-1]), reversed(plain_path(b).split("/")[:-1]), strict=False)
    count = 0
    for one, other in pairs:
        if folded(one) != folded(other):
            break
        count += 1
    return count
