"""A tolerant reader of POSE_KEYPOINT, OpenPose JSON and the files of pose editors.

Tools differ in almost every detail (pixels or 0..1, None or [] or missing parts, 17, 18 or 25 body points, 68 to 70
face points, -1 or 0 or NaN for absent points). A frame's `notes` list everything that was guessed or repaired. Also
read: `keypoints` as lists of [x, y] or null beside a picture size (openpose-editor, OpenPose-Studio), and a dict of
named frames (OpenPose-Studio's collections).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError
from . import order
from .order import OpenPosePerson, gather

NORMALIZED_LIMIT = 2.0
"""Coordinates of a frame are fractions of the canvas if none exceeds this. Points a little outside the canvas exceed 1;
a frame in pixels never has all its points within two pixels of the corner."""

MAX_DEPTH = 8
"""Nesting of lists that is searched for frames."""

_BODY_EYES = [order.OPENPOSE_18_NAMES.index("right_eye"), order.OPENPOSE_18_NAMES.index("left_eye")]
_BODY_18_OF_25 = [order.BODY_25_NAMES.index(name) for name in order.OPENPOSE_18_NAMES]
_FEET_OF_25 = [order.BODY_25_NAMES.index(name) for name in order.FOOT_NAMES]


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
    path: str | Path, *, swap_hands: bool = False, size: tuple[int, int] | None = None
) -> list[PoseKeypointFrame]:
    """Read a JSON file of one or many frames, or a folder of such files sorted by name.

    Arguments and errors as in `read_pose_keypoint`; also `InputError` for a file that is missing or not JSON.
    """
    path = Path(path)
    files = sorted(path.glob("*.json")) if path.is_dir() else [path]
    if not files:
        raise InputError(f"{path}: no .json file in this folder")
    frames: list[PoseKeypointFrame] = []
    for file in files:
        content = _json_of(file)
        try:
            frames += read_pose_keypoint(content, swap_hands=swap_hands, size=size)
        except InputError as error:
            raise InputError(f"{file}: {error}") from None
    return frames


def _json_of(file: Path) -> Any:
    try:
        return json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file} is not JSON ({error}): expected OpenPose JSON") from None


def read_pose_keypoint(
    obj: Any, *, swap_hands: bool = False, size: tuple[int, int] | None = None
) -> list[PoseKeypointFrame]:
    """Read POSE_KEYPOINT or parsed OpenPose JSON: a frame, a list of frames, or an editor's format.

    Args:
        obj: the frames. Not modified.
        swap_hands: swap left and right hands (ComfyUI's native SDPose node and the community pack swap them).
        size: (w, h) of the canvas, for frames that do not give one.

    Raises:
        InputError: no frames, a part with an unexpected number of points, or values that are not numbers; the message
            names the frame, person and part.
    """
    return [
        _Frame(content, place, notes, swap_hands=swap_hands, size=size).read() for content, place, notes in _frames(obj)
    ]


def _frames(obj: Any, place: str = "", depth: int = 0) -> Iterator[tuple[Mapping[str, Any], str, list[str]]]:
    """Each frame's dict, its place for error messages, and its first notes."""
    if isinstance(obj, Mapping):
        if not obj or _is_frame(obj):
            yield obj, place or "frame", []
        elif all(isinstance(value, Mapping) and _is_frame(value) for value in obj.values()):
            for name, value in obj.items():
                yield value, f"frame {name!r}", [f"taken from a collection of {len(obj)} under the name {name!r}"]
        else:
            raise InputError(f"{place or 'frame'}: no 'people' among its keys ({', '.join(map(str, obj))[:80]})")
    elif isinstance(obj, list | tuple):
        if depth == MAX_DEPTH:
            raise InputError(f"{place}: lists are nested more than {MAX_DEPTH} deep: expected a list of frames")
        for number, value in enumerate(obj):
            yield from _frames(value, f"{place}, {number}" if place else f"frame {number}", depth + 1)
    else:
        place, found = place or "POSE_KEYPOINT", type(obj).__name__
        raise InputError(f"{place}: expected a dict with 'people' or a list of them, got {found}")


def _is_frame(obj: Mapping[str, Any]) -> bool:
    return any(key in obj for key in ("people", "keypoints", *order.PART_KEYS.values()))


class _Frame:
    """Reads one frame, collecting notes."""

    def __init__(
        self,
        content: Mapping[str, Any],
        place: str,
        notes: list[str],
        *,
        swap_hands: bool,
        size: tuple[int, int] | None,
    ) -> None:
        self.content, self.place, self.notes = content, place, notes
        self.keys = dict(order.PART_KEYS)
        if swap_hands:
            self.keys["left_hand"], self.keys["right_hand"] = self.keys["right_hand"], self.keys["left_hand"]
        self.size = self._canvas_size(size)

    def read(self) -> PoseKeypointFrame:
        entries = self._entries()
        parts = [self._parts(entry, f"{self.place}, person {number}") for number, entry in enumerate(entries)]
        self._to_pixels(parts)
        people = []
        for number, (entry, person) in enumerate(zip(entries, parts, strict=True)):
            if not any(points[:, 2].any() for points in person.values()):
                self.notes.append(f"person {number} has no points: left out")
                continue
            box = self._extras(entry, person, number)
            people.append(OpenPosePerson(**person, person_id=_person_id(entry), box=box))
            if _hands_swapped(person):
                self.notes.append(f"person {number}: each hand is nearer to the other wrist: swapped? (see swap_hands)")
        return PoseKeypointFrame(self.size, people, tuple(self.notes))

    def _canvas_size(self, fallback: tuple[int, int] | None) -> tuple[int, int]:
        for keys in (("canvas_width", "canvas_height"), ("width", "height")):
            w, h = (_number(self.content.get(key)) for key in keys)
            if 1 <= w < 1e6 and 1 <= h < 1e6:
                return int(w), int(h)
        if fallback is None:
            raise InputError(f"{self.place} has no canvas_width and canvas_height: give the size of the picture (w, h)")
        self.notes.append(f"no canvas size: used the given {fallback[0]} x {fallback[1]}")
        return fallback

    def _entries(self) -> list[Mapping[str, Any]]:
        if animals := self.content.get("animals"):
            self.notes.append(f"{len(animals)} animal{'s' * (len(animals) > 1)} left out")
        if "people" in self.content:
            entries = self.content["people"]
        elif "keypoints" in self.content:
            self.notes.append("a pose editor's file: [x, y] points without scores")
            entries = _editor_people(self.content)
        elif self.content:
            self.notes.append("a single person outside a 'people' list")
            entries = [self.content]
        else:
            entries = []
        if entries is None:
            return []
        if not isinstance(entries, list | tuple):
            raise InputError(f"{self.place}: 'people' should be a list, got {type(entries).__name__}")
        for number, entry in enumerate(entries):
            if not isinstance(entry, Mapping):
                raise InputError(f"{self.place}, person {number}: expected a dict, got {type(entry).__name__}")
        return list(entries)

    def _parts(self, entry: Mapping[str, Any], place: str) -> dict[str, np.ndarray]:
        """Part name -> (N, 3) float32 in the frame's units, absent points 0, 0, 0."""
        raw = {part: self._points(entry.get(key), f"{place}, {key}") for part, key in self.keys.items()}
        body, feet_of_body = self._body(raw["body"], place)
        feet = raw["feet"] if len(raw["feet"]) or feet_of_body is None else feet_of_body
        face = self._face(raw["face"], body, place)
        parts = {"body": body, "feet": feet, "face": face, **{s: raw[s] for s in ("left_hand", "right_hand")}}
        for part, points in parts.items():
            if not len(points):
                parts[part] = np.zeros((order.PART_SIZES[part], 3), np.float32)
            elif len(points) != order.PART_SIZES[part]:
                expected = {"body": "17, 18, 24 or 25", "face": "68, 69 or 70"}.get(part, order.PART_SIZES[part])
                raise InputError(f"{place}, {self.keys[part]}: expected {expected} points, got {len(points)}")
        return parts

    def _points(self, value: Any, place: str) -> np.ndarray:
        """A part's list -> (N, 3) float32 with absent points 0, 0, 0; (0, 3) for None, [] and a missing key."""
        if value is None or len(_as_list(value, place)) == 0:
            return np.zeros((0, 3), np.float32)
        points = _triples(_as_list(value, place), place)
        listed = points[:, 2] > 0
        odd = ~np.isfinite(points).all(axis=1) | (points[:, :2] < 0).all(axis=1) | (points[:, :2] == 0).all(axis=1)
        count = int((odd & (listed | np.isnan(points[:, 2]))).sum())
        if count:
            what = f"{count} point{'s' * (count > 1)} at 0, 0, negative or not finite"
            self.notes.append(f"{place}: {what}: taken as absent")
        points[odd | ~listed] = 0
        return points

    def _body(self, points: np.ndarray, place: str) -> tuple[np.ndarray, np.ndarray | None]:
        """Body of 17, 18, 24 or 25 points -> (18, 3), and (6, 3) feet if it includes them."""
        if len(points) == 17:
            self.notes.append(f"{place}: 17 body points, read as COCO; the neck is the midpoint of the shoulders")
            return gather(points, order.OPENPOSE_18_FROM_COCO_17), None
        if len(points) == 24:
            self.notes.append(f"{place}: 24 body points, read as 18 and the feet")
            return points[:18], points[18:]
        if len(points) == 25:
            self.notes.append(f"{place}: 25 body points, read as BODY_25 without the mid-hip")
            return points[_BODY_18_OF_25], points[_FEET_OF_25]
        return points, None

    def _face(self, points: np.ndarray, body: np.ndarray, place: str) -> np.ndarray:
        """Face of 68, 69 or 70 points -> (70, 3); missing eyes are the body's."""
        if len(points) not in (68, 69):
            return points
        self.notes.append(f"{place}: {len(points)} face points, the eyes were taken from the body")
        eyes = body[_BODY_EYES] if len(body) == 18 else np.zeros((2, 3), np.float32)
        face = np.concatenate([points[:68], eyes])
        return face if points[:68, 2].any() else np.zeros_like(face)

    def _to_pixels(self, people: list[dict[str, np.ndarray]]) -> None:
        """Scale the frame to its canvas if all its present points are fractions of it."""
        arrays = [points for person in people for points in person.values()]
        present = np.concatenate([points[points[:, 2] > 0, :2] for points in arrays] or [np.zeros((0, 2))])
        if not len(present) or max(self.size) <= NORMALIZED_LIMIT:
            return
        if np.abs(present).max() <= NORMALIZED_LIMIT:
            self.notes.append("coordinates in 0..1: scaled to the canvas")
            for points in arrays:
                points[:, :2] *= self.size
            return
        for number, person in enumerate(people):
            for part, points in person.items():
                seen = points[points[:, 2] > 0, :2]
                if len(seen) > 1 and np.abs(seen).max() <= 1:
                    self.notes.append(f"person {number}: {part} lies within one pixel of the corner (mixed units?)")

    def _extras(self, entry: Mapping[str, Any], parts: dict[str, np.ndarray], number: int) -> np.ndarray | None:
        """The box of the `sdpose` object; its scores replace third values of exactly 1.

        A present point whose score is below the threshold was added in an editor and keeps its 1.
        """
        extra = entry.get("sdpose")
        if extra is None:
            return None
        known = _sdpose_arrays(extra, self.keys)
        if known is None or any(len(known[part]) != len(points) for part, points in parts.items()):
            self.notes.append(f"person {number}: its 'sdpose' object has unexpected content: left out")
            return None
        for part, points in parts.items():
            unedited = (points[:, 2] == 1) & (known[part] >= max(float(known["threshold"][0]), 1e-6))
            points[unedited, 2] = known[part][unedited]
        return known["box"]


def _sdpose_arrays(extra: Any, keys: Mapping[str, str]) -> dict[str, np.ndarray] | None:
    """The `sdpose` object as arrays: "box" (5,), "threshold" (1,), scores of each part; None if it is malformed."""
    scores = extra.get("scores") if isinstance(extra, Mapping) else None
    if not isinstance(scores, Mapping):
        return None
    raw = {"box": extra.get("box"), "threshold": [extra.get("threshold")]}
    raw |= {part: scores.get(key) for part, key in keys.items()}
    try:
        known = {name: np.asarray(values, np.float32) for name, values in raw.items()}
    except (TypeError, ValueError):
        return None
    if known["body"].shape == (25,):
        known["body"] = known["body"][_BODY_18_OF_25]
    complete = known["box"].shape == (5,) and np.isfinite(known["threshold"]).all()
    return known if complete and all(values.ndim == 1 for values in known.values()) else None


def _as_list(value: Any, place: str) -> list[Any]:
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list | tuple):
        return list(value)
    raise InputError(f"{place}: expected a list of numbers, got {type(value).__name__}")


def _triples(values: list[Any], place: str) -> np.ndarray:
    """A flat list of x, y, score, or a list of [x, y], [x, y, score] and None -> (N, 3) float32."""
    nested = all(value is None or isinstance(value, list | tuple) for value in values)
    if not nested and len(values) % 3:
        raise InputError(f"{place}: expected x, y, score per point, got {len(values)} numbers (not a multiple of 3)")
    if nested:
        points = [[0, 0, 0] if value is None else [*value, 1][:3] for value in values]
    else:
        points = [values[i : i + 3] for i in range(0, len(values), 3)]
    try:
        with np.errstate(over="ignore"):
            array = np.array(points, np.float32)
    except (TypeError, ValueError):
        raise InputError(f"{place}: expected numbers, got {str(values)[:60]}") from None
    if array.ndim != 2 or array.shape[1] != 3:
        raise InputError(f"{place}: expected numbers, got {str(values)[:60]}")
    return array


def _editor_people(content: Mapping[str, Any]) -> list[dict[str, Any]]:
    """People from `keypoints`: a list per person, or one list with 18 points for each."""
    groups = _as_list(content["keypoints"] or [], "keypoints")
    if all(group is None or _is_point(group) for group in groups):
        groups = [groups[i : i + 18] for i in range(0, len(groups), 18)]
    people: list[dict[str, Any]] = [{order.PART_KEYS["body"]: group} for group in groups]
    for key in order.PART_KEYS.values():
        for person, points in zip(people, content.get(key) or [], strict=False):
            person[key] = points
    return people


def _is_point(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(v, Real) for v in value)


def _person_id(entry: Mapping[str, Any]) -> int | None:
    value = entry.get("person_id")
    value = value[0] if isinstance(value, list | tuple) and value else value
    number = _number(value)
    return int(number) if 0 <= number < 2**31 else None


def _number(value: Any) -> float:
    """A real number (numpy's too) as a float, anything else as NaN."""
    return float(value) if isinstance(value, Real) else float("nan")


def _hands_swapped(parts: Mapping[str, np.ndarray]) -> bool:
    wrists = {side: parts["body"][order.OPENPOSE_18_NAMES.index(f"{side}_wrist")] for side in ("left", "right")}
    roots = {side: parts[f"{side}_hand"][0] for side in ("left", "right")}
    if any(point[2] <= 0 for point in (*wrists.values(), *roots.values())):
        return False

    def nearer_to(hand: str, wrist: str, other: str) -> bool:
        return bool(np.hypot(*(roots[hand] - wrists[wrist])[:2]) < np.hypot(*(roots[hand] - wrists[other])[:2]))

    return nearer_to("left", "right", "left") and nearer_to("right", "left", "right")
