"""A tolerant reader of POSE_KEYPOINT, OpenPose JSON and the files of other pose tools.

Tools differ in almost every detail: names of keys and nesting (`layouts`), numbers of points, pixels, 0..1 or -1..1,
None or [] or missing parts, -1 or 0 or NaN for absent points (`points`). A frame's `notes` list everything that was
guessed or repaired.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, restated
from ..names import in_natural_order, is_hidden
from ..pose_values import check_people
from ..texts import read_json
from . import order
from .layouts import RawFrame, frames_of, id_of, missing_note, with_missing
from .order import OpenPosePerson
from .points import (
    NORMALIZED_LIMIT,
    PIXELS,
    RawPerson,
    parts_in_pixels,
    read_person,
    refuse_mixed_units,
    sdpose_arrays,
    units_of,
)

JSON_SUFFIX = ".json"

ASK = "give the size of the picture (w, h)"
"""What to do about a missing canvas size, for callers in Python."""


@dataclass(frozen=True)
class PoseKeypointFrame:
    """One frame as read.

    Attributes:
        size: (w, h) of the canvas.
        people: everybody with at least one present point, in pixels of the canvas.
        notes: what was guessed or repaired, one line each.
    """

    size: tuple[int, int]
    people: list[OpenPosePerson]
    notes: tuple[str, ...] = ()


def read_openpose_json(
    path: str | Path, *, swap_hands: bool = False, size: tuple[int, int] | None = None, ask: str = ASK
) -> list[PoseKeypointFrame]:
    """Read a JSON file of one or many frames, or a folder of such files in natural order of their names.

    Where the names number the frames of a video, see `with_missing`, nobody is in those that are missing.

    Arguments and errors as in `read_pose_keypoint`; also `InputError` for a file that is missing or not JSON.
    """
    files = {file.name: list(_frames_in(file)) for file in json_files(path)}
    frames = [frame for found in files.values() for frame in found]
    names, missing = with_missing(list(files))
    if missing and all(len(found) == 1 for found in files.values()):
        nobody = RawFrame(str(path), [], frames[0].canvas)
        frames[0].notes.append(missing_note(missing))
        frames = [frame for name in names for frame in files.get(name, [nobody])]
    return _read(frames, swap_hands=swap_hands, size=size, ask=ask)


def _frames_in(file: Path) -> Iterator[RawFrame]:
    content = read_json(file, "OpenPose JSON")
    with restated(file):
        for frame in frames_of(content):
            yield replace(frame, place=f"{file}: {frame.place}")


def json_files(path: str | Path) -> list[Path]:
    """The file itself, or the JSON files of a folder in natural order. Raises `InputError` if it has none."""
    path = Path(path)
    if not os.path.isdir(path):
        return [path]
    files = [file for file in path.iterdir() if file.suffix.lower() == JSON_SUFFIX and not is_hidden(file)]
    if not files:
        raise InputError(f"{path}: no .json file in this folder")
    return in_natural_order(files)


def read_pose_keypoint(
    obj: Any, *, swap_hands: bool = False, size: tuple[int, int] | None = None, ask: str = ASK
) -> list[PoseKeypointFrame]:
    """Read POSE_KEYPOINT or parsed OpenPose JSON: a frame, a list of frames, or another tool's layout (`layouts`).

    Args:
        obj: the frames. Not modified.
        swap_hands: swap left and right hands (ComfyUI's native SDPose node and the community pack swap them).
        size: (w, h) of the canvas, for frames that do not give one.
        ask: what the error says to do if a frame gives no canvas, and `size` is None.

    The units (pixels, 0..1 or -1..1) are those of all frames together.

    Raises:
        InputError: no frames, a part with an unexpected number of points, people without a known part, frames in
            different units, or values that are not numbers; the message names the frame, person and part.
    """
    return _read(list(frames_of(obj)), swap_hands=swap_hands, size=size, ask=ask)


def _read(
    frames: Sequence[RawFrame], *, swap_hands: bool, size: tuple[int, int] | None, ask: str
) -> list[PoseKeypointFrame]:
    people: list[list[RawPerson]] = []
    for frame in frames:
        if frame.canvas is None and size is None:
            raise InputError(f"{frame.place} has no canvas_width and canvas_height: {ask}")
        check_people(len(frame.people), frame.place)
        places = [f"{frame.place}, person {number}" for number in range(len(frame.people))]
        people.append(
            [read_person(e, p, frame.notes, swap_hands=swap_hands) for e, p in zip(frame.people, places, strict=True)]
        )
    units = units_of(person for persons in people for person in persons)
    sizes = [frame.canvas or size or (1, 1) for frame in frames]
    if max(map(max, sizes), default=0) <= NORMALIZED_LIMIT:
        units = PIXELS
    first = next((number for number, persons in enumerate(people) if persons), 0)
    if units != PIXELS:
        frames[first].notes.insert(0, f"coordinates in {units}: scaled to the canvas")
    result = [
        _finished(frame, persons, units, canvas) for frame, persons, canvas in zip(frames, people, sizes, strict=True)
    ]
    if result and (note := _mostly_outside(result)):
        result[first] = replace(result[first], notes=(note, *result[first].notes))
    return result


def _finished(frame: RawFrame, persons: Sequence[RawPerson], units: str, size: tuple[int, int]) -> PoseKeypointFrame:
    notes = frame.notes
    if frame.canvas is None:
        notes.insert(0, f"no canvas size: used the given {size[0]} x {size[1]}")
    if units == PIXELS and max(size) > NORMALIZED_LIMIT:
        refuse_mixed_units(persons, frame.place)
    people = []
    for number, (entry, person) in enumerate(zip(frame.people, persons, strict=True)):
        parts = parts_in_pixels(person, units, size, notes)
        if not any(points[:, 2].any() for points in parts.values()):
            notes.append(f"person {number} has no points: left out")
            continue
        if units == PIXELS:
            notes += _in_the_corner(parts, number)
        box = _extras(entry, person.keys, parts, number, notes)
        people.append(OpenPosePerson(**parts, person_id=id_of(entry), box=box))
        if _hands_swapped(parts):
            notes.append(f"person {number}: each hand is nearer to the other wrist: swapped? (see swap_hands)")
    return PoseKeypointFrame(size, people, tuple(dict.fromkeys(notes)))


def _in_the_corner(parts: Mapping[str, np.ndarray], number: int) -> list[str]:
    notes = []
    for part, points in parts.items():
        seen = points[points[:, 2] > 0, :2]
        if len(seen) > 1 and np.abs(seen).max() <= 1:
            notes.append(f"person {number}: {part} lies within one pixel of the corner (mixed units?)")
    return notes


def _mostly_outside(frames: Sequence[PoseKeypointFrame]) -> str | None:
    """A note if most points of a clip lie outside its canvas, whose size is probably another."""
    inside, total, far = 0, 0, np.zeros(2)
    for frame in frames:
        for person in frame.people:
            points = np.concatenate([points[points[:, 2] > 0, :2] for points in person.parts().values()])
            inside += int(((points >= 0) & (points <= frame.size)).all(axis=1).sum())
            total, far = total + len(points), np.maximum(far, points.max(axis=0))
    if 2 * inside >= total:
        return None
    canvas, (x, y) = "{} x {}".format(*frames[0].size), far
    found = f"{total - inside} of {total} points lie outside the canvas, {canvas} (up to {x:.6g}, {y:.6g})"
    return f"{found}: is its size right?"


def _extras(
    entry: Mapping[str, Any], found: Mapping[str, str], parts: dict[str, np.ndarray], number: int, notes: list[str]
) -> np.ndarray | None:
    """The box of the `sdpose` object; its scores replace third values of exactly 1.

    A present point whose score is below the threshold was added in an editor and keeps its 1.
    """
    extra = entry.get("sdpose")
    if extra is None:
        return None
    known = sdpose_arrays(extra, {**order.PART_KEYS, **found})
    if known is None or any(len(known[part]) != len(points) for part, points in parts.items()):
        notes.append(f"person {number}: its 'sdpose' object has unexpected content: left out")
        return None
    for part, points in parts.items():
        unedited = (points[:, 2] == 1) & (known[part] >= max(float(known["threshold"][0]), 1e-6))
        points[unedited, 2] = known[part][unedited]
    return known["box"]


def _hands_swapped(parts: Mapping[str, np.ndarray]) -> bool:
    wrists = {side: parts["body"][order.OPENPOSE_18_NAMES.index(f"{side}_wrist")] for side in ("left", "right")}
    roots = {side: parts[f"{side}_hand"][0] for side in ("left", "right")}
    if any(point[2] <= 0 for point in (*wrists.values(), *roots.values())):
        return False

    def nearer_to(hand: str, wrist: str, other: str) -> bool:
        return bool(np.hypot(*(roots[hand] - wrists[wrist])[:2]) < np.hypot(*(roots[hand] - wrists[other])[:2]))

    return nearer_to("left", "right", "left") and nearer_to("right", "left", "right")
