"""The labeled set of drawn and painted people: its labels, and its pictures as the template packages hold them."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np

from sdpose_core.errors import InputError
from sdpose_core.files import sha256_of
from sdpose_core.images import read_image, to_rgb

HERE = Path(__file__).parent
HALVES = ("work", "held")
_VIDEOS = (".mp4", ".webm", ".mov")

Entry = dict[str, Any]
"""One picture: package, version, file, sha256, width, height, style, half, people (each: box, keypoints, note)."""


def load_labels(half: str | None = None, folder: Path = HERE) -> list[Entry]:
    """Entries of every labels_*.json in `folder`, of one half or of both.

    Pictures that show nobody have no people; their halves alternate in the order of the file. A box is x1, y1, x2, y2
    in pixels; keypoints are 17 times x, y, v in the order of COCO: v = 0 not labeled, 1 hidden, 2 visible.

    Raises:
        InputError: another half is asked for, or the folder holds no labels.
    """
    if half is not None and half not in HALVES:
        raise InputError(f"half is {half!r}: choose one of {', '.join(HALVES)}, or None for both")
    files = sorted(folder.glob("labels_*.json"))
    if not files:
        raise InputError(f"{folder} holds no labels_*.json: give the folder of the labeled set")
    entries = [entry for file in files for entry in _entries(json.loads(file.read_text("utf-8")))]
    return [entry for entry in entries if half in (None, entry["half"])]


def _entries(labels: dict[str, list[Entry]]) -> list[Entry]:
    empty = [
        {"half": HALVES[index % 2], "style": "", **entry, "people": []}
        for index, entry in enumerate(labels.get("empty", []))
    ]
    return labels["pictures"] + empty


def open_picture(entry: Entry, root: str | Path | None = None) -> np.ndarray:
    """The picture of an entry as RGB uint8 (H, W, 3); of a video or an animation the first frame.

    Args:
        root: folder of unpacked wheels, each in a folder of its own or all in one; None reads the installed packages.

    Raises:
        InputError: the package or the picture is missing, or the file is not the labeled one.
    """
    path = picture_path(entry, root)
    if sha256_of(path) != entry["sha256"]:
        raise InputError(f"{path} is not the labeled picture: get {entry['package']}=={entry['version']}")
    picture = _first_frame(path) if path.suffix.lower() in _VIDEOS else read_image(path)
    height, width = picture.shape[:2]
    if (width, height) != (entry["width"], entry["height"]):
        raise InputError(f"{path} has {width} x {height} pixels, its labels {entry['width']} x {entry['height']}")
    return picture


def picture_path(entry: Entry, root: str | Path | None = None) -> Path:
    """Where the file of an entry lies. `root`: see `open_picture`."""
    module = entry["file"].split("/")[0]
    if root is None:
        spec = importlib.util.find_spec(module)
        places = [Path(folder).parent for folder in spec.submodule_search_locations or []] if spec else []
    else:
        places = [Path(root), Path(root) / module]
    for place in places:
        if (place / entry["file"]).is_file():
            return place / entry["file"]
    where = root if root is not None else "the installed packages"
    raise InputError(f"{entry['file']} is not in {where}: get {entry['package']}=={entry['version']}")


def _first_frame(path: Path) -> np.ndarray:
    import av

    with av.open(str(path)) as container:
        frame = next(container.decode(video=0), None)
    if frame is None:
        raise InputError(f"{path} has no picture: the file may be damaged, get the package again")
    return to_rgb(frame.to_image())
