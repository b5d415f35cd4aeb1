"""The files that users of ComfyUI may name: those in the folders that ComfyUI gives them, and what its owner allows."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from ...sdpose_core.errors import InputError
from ...sdpose_core.names import path_inside

ALLOWED = "SDPOSE_COMFYUI_FOLDERS"
"""Environment variable: more folders, separated as in PATH; `*` allows every path."""

EVERYWHERE = "*"
_GIVEN = ("input", "output", "temp")


def _entries() -> list[str]:
    return [entry.strip() for entry in os.environ.get(ALLOWED, "").split(os.pathsep) if entry.strip()]


def open_folders() -> set[str]:
    """ComfyUI's own folders and those that the owner of the server opened to users, see `both_ways`."""
    import folder_paths

    allowed = [os.path.expanduser(entry) for entry in _entries() if entry != EVERYWHERE]
    return both_ways([*(folder_paths.get_directory_by_type(kind) for kind in _GIVEN), *allowed])


def both_ways(folders: Iterable[str]) -> set[str]:
    """The full paths of folders, as written and where links lead."""
    return {way(folder) for folder in folders for way in (os.path.abspath, os.path.realpath)}


def input_path(text: str) -> Path:
    """A name in ComfyUI's input folder, or a full path in a folder that is open to users.

    It may be written as shells and Windows write it: in quotes, with ~ or \\. A path elsewhere is refused without
    looking whether anything is there. Raises `InputError` for it, for a name that leads out of the input folder, and
    if nothing is there.
    """
    text = text.strip()
    bare = text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text
    places = [_place(name) for name in dict.fromkeys((text, bare, bare.replace("\\", "/")))]
    found = next((place for place in places if os.path.exists(place)), None)
    if found is None:
        where = "" if os.path.isabs(os.path.expanduser(bare)) else " in ComfyUI's input folder"
        raise InputError(f"path: {bare[:200]} does not exist{where}: expected a video file or a folder of frames")
    return found


def _place(name: str) -> Path:
    """Where a name or full path leads, without `..`. Looks at no file but the folders that are open to users."""
    import folder_paths

    full = os.path.expanduser(name)
    if not os.path.isabs(full):
        return path_inside(Path(folder_paths.get_input_directory()), name, "path")
    place = Path(os.path.abspath(full))
    if EVERYWHERE not in _entries() and not any(map(place.is_relative_to, open_folders())):
        raise InputError(
            f"path: {name[:200]!r} lies outside ComfyUI's {', '.join(_GIVEN)} folders: put the video into the input "
            f"folder, or let the owner of this ComfyUI allow its folder with {ALLOWED}"
        )
    return place
