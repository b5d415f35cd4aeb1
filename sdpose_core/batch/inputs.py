"""Finding the videos that folders, patterns and list files name, and naming their results."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..images import IMAGE_SUFFIXES
from ..input_kinds import Elsewhere, Kind
from ..inputs import Named, expand
from ..names import distinct_names, fitted_name, name_limit, output_name
from ..video.frames import VIDEO_SUFFIXES
from ..video.opening import is_still_picture, is_video

_PICTURES = Elsewhere("picture", IMAGE_SUFFIXES, is_still_picture, "sdpose image", "sdpose image")
VIDEOS = Kind("video", VIDEO_SUFFIXES, is_video, from_folders=True, elsewhere=_PICTURES)

PATH_LIMIT = 4095
"""Bytes of a path that Linux takes; others take less, or have no limit."""
ROOM = 80
"""Bytes of it that are left free for state folders, suffixes and temporary names."""


@dataclass(frozen=True)
class Item(Named):
    """One video of a batch.

    Attributes:
        name: of its results below OUT: `relative` without the suffix, or with it if two share a stem; parts that are
            too long for the file system are shortened.
    """

    name: str

    def folder(self, out: Path) -> Path:
        """The folder of its results."""
        return out / PurePosixPath(self.name).parent

    @property
    def stem(self) -> str:
        """NAME in NAME.pose.npz."""
        return PurePosixPath(self.name).name


@dataclass(frozen=True)
class FoundItems:
    """What the arguments of `sdpose batch` name.

    Attributes:
        items: the videos.
        failed: (what was named, why it gives no item).
        results: number of files left out because they are results of ours.
        left_out: what else is in the folders, see `Inputs`.
    """

    items: list[Item]
    failed: list[tuple[str, str]]
    results: int
    left_out: str = ""


def find_items(inputs: Sequence[str], out: Path, *, lists: Sequence[Path] = (), recursive: bool = False) -> FoundItems:
    """The items named by the arguments of `sdpose batch`, each source once; see `inputs.expand`.

    Those that would write the files of another one have failed.
    """
    found = expand(inputs, VIDEOS, out, lists=lists, recursive=recursive)
    names = distinct_names([(_without_suffix(named), named.relative) for named in found.sources])
    owner: dict[str, Path] = {}
    items: list[Item] = []
    failed = list(found.failed)
    for named, name in zip(found.sources, names, strict=True):
        item = Item(named.source, named.relative, _fitted(name, out))
        if ".." in PurePosixPath(item.name).parts:  # as of a name that ends with it
            failed.append((str(item.source), "its results would lie outside OUT: expected the name of a video"))
        elif (other := owner.setdefault(item.name, item.source)) != item.source:
            reason = f"would write the same files as {other}: name the folder that holds both, or use a list file"
            failed.append((str(item.source), f"{reason}, so that they go into separate folders of OUT"))
        elif len(os.fsencode(os.path.abspath(out / item.name))) > PATH_LIMIT - ROOM:
            reason = f"its results would have paths of more than {PATH_LIMIT} bytes: use an OUT with a shorter path"
            failed.append((str(item.source), reason))
        else:
            items.append(item)
    return FoundItems(items, failed, found.results, found.left_out)


def _without_suffix(named: Named) -> str:
    if os.path.isdir(named.source):
        return named.relative
    path = PurePosixPath(named.relative)
    return path.with_name(path.stem).as_posix() if path.name else named.relative


def _fitted(name: str, out: Path) -> str:
    """A name below `out` whose parts the file system takes."""
    *folders, last = PurePosixPath(name).parts
    limit = name_limit(out)
    return PurePosixPath(*(fitted_name(folder, limit) for folder in folders), output_name(last, out)).as_posix()
