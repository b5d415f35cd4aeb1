"""Points of people as they are in a file: their keys, counts and units."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..errors import InputError, counted
from . import order
from .goliath import GOLIATH_COUNT, MHR_COUNT, whole_body_of_goliath
from .layouts import as_list, number_of, part_of, scores_of

PIXELS, FRACTIONS, SIGNED = "pixels", "0..1", "-1..1"

NORMALIZED_LIMIT = 2.0
"""Coordinates of a clip are fractions of the canvas if none exceeds this. Points a little outside the canvas exceed 1;
a clip in pixels never has all its points within two pixels of the corner."""

FAR_OUTSIDE = -0.5
"""No point of a clip in 0..1 lies farther outside than half a canvas: below this, the range is -1..1."""

SURELY_NEGATIVE = -0.02
"""Coordinates above this may be rounded zeros or absent points at -1 pixel."""

ONE_NEGATIVE, BOTH_NEGATIVE = 0.25, 0.05
"""Shares of the points with a negative coordinate, or two, from which the range of a clip is -1..1: in 0..1 these
points lie outside the canvas, two negative ones beyond its corner; in -1..1 they fill three quarters of it."""

MIXED_POINTS = 3
"""A frame with this many points, all within one pixel of the corner, has other units than its clip in pixels."""

MANY_NUMBERS = 10
"""A list of at least this many numbers or points under an unknown key may be a part in another tool's spelling."""

OPENPOSE_BODY = len(order.OPENPOSE_18_NAMES)

_BODY_EYES = [order.OPENPOSE_18_NAMES.index("right_eye"), order.OPENPOSE_18_NAMES.index("left_eye")]
_BODY_18_OF_25 = [order.BODY_25_NAMES.index(name) for name in order.OPENPOSE_18_NAMES]
_FEET_OF_25 = [order.BODY_25_NAMES.index(name) for name in order.FOOT_NAMES]
_COUNTS = {"body": "17, 18, 24, 25, 26, 70, 133, 136 or 308", "face": "68, 69 or 70"}
_WHOLE = {17: "COCO", 26: "Halpe", 70: "MHR70", 133: "COCO-WholeBody", 136: "Halpe", 308: "Sapiens"}


@dataclass
class RawPerson:
    """A person's parts as they are in the file.

    Attributes:
        place: for messages, such as "frame 3, person 0".
        keys: part name -> the key it was found under.
        parts: part name -> (N, 3) float32 x, y, score in the file's units; score 0 where a point is not listed.
    """

    place: str
    keys: dict[str, str]
    parts: dict[str, np.ndarray]

    def listed(self) -> np.ndarray:
        """(N, 2) coordinates of the points that may count as present in some unit."""
        points = np.concatenate([np.zeros((0, 3)), *self.parts.values()])
        xy = points[(points[:, 2] > 0) & np.isfinite(points).all(axis=1), :2]
        return xy[~((xy == 0).all(axis=1) | (xy == -1).all(axis=1))]


def read_person(entry: Mapping[str, Any], place: str, notes: list[str], *, swap_hands: bool) -> RawPerson:
    """The parts of a person's dict. Raises `InputError` for a dict without points that names other keys, see `part_of`,
    and for values that are not numbers."""
    keys = _keys_of_parts(entry, notes)
    scores, parts = scores_of(entry), {}
    for part, key in keys.items():
        values = [] if entry[key] is None else as_list(entry[key], f"{place}, {key}")
        parts[part] = _triples(values, scores if part == "body" else None, f"{place}, {key}")
    if not any(len(points) for points in parts.values()):
        _refuse_unknown(entry, place, bool(keys))
    if swap_hands:
        other = {"left_hand": "right_hand", "right_hand": "left_hand"}
        keys = {other.get(part, part): key for part, key in keys.items()}
        parts = {other.get(part, part): points for part, points in parts.items()}
    return RawPerson(place, keys, parts)


def _keys_of_parts(entry: Mapping[str, Any], notes: list[str]) -> dict[str, str]:
    """Part name -> its key: OpenPose's own if it holds anything, otherwise another spelling that does."""
    keys: dict[str, str] = {}
    for key, value in entry.items():
        part = part_of(key)
        if part is None:
            if str(key).lower().endswith("3d") and _filled(value):
                notes.append(f"{key} left out: points in three dimensions")
            continue
        official = key == order.PART_KEYS[part]
        if part not in keys or (_filled(value) and (official or not _filled(entry[keys[part]]))):
            keys[part] = key
    for part, key in keys.items():
        if key not in (order.PART_KEYS[part], "keypoints") and _filled(entry[key]):
            notes.append(f"{key} read as {order.PART_KEYS[part]}")
    return keys


def _filled(value: Any) -> bool:
    return value is not None and (not hasattr(value, "__len__") or len(value) > 0)


def _refuse_unknown(entry: Mapping[str, Any], place: str, known: bool) -> None:
    """Raise `InputError` for a person without points whose other keys may hold them: never an empty picture."""
    others = [key for key in entry if not part_of(key)]
    lists = [key for key in others if isinstance(entry[key], list | tuple | np.ndarray)]
    points = [key for key in lists if len(entry[key]) >= MANY_NUMBERS]
    if points or (others and not known):
        expected = f"{', '.join(order.PART_KEYS.values())}, or keypoints"
        found = ", ".join(map(str, points if known else others))[:120]
        raise InputError(f"{place}: no known part among its keys ({found}): expected {expected}")


def _triples(values: list[Any], scores: list[Any] | None, place: str) -> np.ndarray:
    """A flat list of x, y, score, or a list of [x, y], [x, y, score], {"x", "y"} and None -> (N, 3) float32.

    `scores` (N,) are those of [x, y] points.
    """
    if len(values) == 1 and isinstance(values[0], list | tuple) and len(values[0]) > 3:
        values = list(values[0])  # MMPose's (1, K, 2)
    if all(value is None for value in values):
        return np.zeros((0, 3), np.float32)
    points = _as_points(values, scores, place)
    try:
        with np.errstate(over="ignore"):
            array = np.array(points, np.float32)
            if scores is not None:
                array = np.concatenate([array[:, :2], np.array(scores, np.float32).reshape(len(array), -1)], axis=1)
    except (TypeError, ValueError, IndexError, OverflowError):
        raise InputError(f"{place}: expected numbers, got {_short(values)}{_count_of(scores, points)}") from None
    if array.ndim != 2 or array.shape[1] != 3:
        raise InputError(f"{place}: expected numbers, got {_short(values)}")
    flags = array[:, 2]
    if np.isin(flags, (0, 1, 2)).all() and (flags == 2).any():
        array[:, 2] = np.minimum(flags, 1)  # COCO's visibility: 1 hidden, 2 visible
    return array


def _as_points(values: list[Any], scores: list[Any] | None, place: str) -> list[Any]:
    if any(isinstance(value, list | tuple | Mapping) for value in values):
        return [_point(value) for value in values]
    if scores is not None and len(values) == 2 * len(scores):
        return [[*values[i : i + 2], 1] for i in range(0, len(values), 2)]
    if len(values) % 3:
        raise InputError(f"{place}: expected x, y, score per point, got {len(values)} numbers (not a multiple of 3)")
    if len(values) == 4 * OPENPOSE_BODY and _four_each(values):
        raise InputError(f"{place}: expected x, y, score per point, got x, y, z, score")
    return [values[i : i + 3] for i in range(0, len(values), 3)]


def _four_each(values: list[Any]) -> bool:
    """Whether each fourth number is a score, and each third is none."""
    numbers = np.asarray([number_of(value) for value in values])
    fourth, third = numbers[3::4], numbers[2::3]
    return bool(((fourth >= 0) & (fourth <= 1)).all() and not ((third >= 0) & (third <= 1)).all())


def _point(value: Any) -> Any:
    if value is None:
        return [0, 0, 0]
    if isinstance(value, Mapping):
        score = next((value[key] for key in ("score", "confidence", "c", "visibility") if key in value), 1)
        return [value.get("x"), value.get("y"), score]
    return [*value, 1][:3] if isinstance(value, list | tuple) else value


def _short(values: Sequence[Any]) -> str:
    return " ".join(str(values).split())[:60]


def _count_of(scores: Sequence[Any] | None, points: Sequence[Any]) -> str:
    return "" if scores is None or len(scores) == len(points) else f": {len(points)} points, {len(scores)} scores"


def units_of(people: Iterable[RawPerson]) -> str:
    """The range of a clip's coordinates, by the points of all its people: PIXELS, FRACTIONS or SIGNED."""
    points = np.concatenate([np.zeros((0, 2)), *(person.listed() for person in people)])
    if not len(points) or np.abs(points).max() > NORMALIZED_LIMIT:
        return PIXELS
    negative = points < SURELY_NEGATIVE
    one, both = negative.any(axis=1).mean(), negative.all(axis=1).mean()
    signed = points.min() < FAR_OUTSIDE or one > ONE_NEGATIVE or both > BOTH_NEGATIVE
    return SIGNED if signed else FRACTIONS


def refuse_mixed_units(people: Sequence[RawPerson], place: str) -> None:
    """Raise `InputError` if a frame of a clip in pixels is in fractions."""
    points = np.concatenate([np.zeros((0, 2)), *(person.listed() for person in people)])
    if len(points) >= MIXED_POINTS and np.abs(points).max() <= 1:
        raise InputError(
            f"{place}: all its points lie within 1, those of other frames are pixels: give all frames in one unit"
        )


def parts_in_pixels(person: RawPerson, units: str, size: tuple[int, int], notes: list[str]) -> dict[str, np.ndarray]:
    """Part name -> its (N, 3) of `PART_SIZES` in pixels of a canvas of `size` (w, h), absent points 0, 0, 0.

    Raises `InputError` for a part with an unexpected number of points.
    """
    raw = {part: np.zeros((0, 3), np.float32) for part in order.PART_SIZES}
    for part, points in person.parts.items():
        raw[part] = _present(points, units, f"{person.place}, {person.keys[part]}", notes)
        if units == SIGNED:
            raw[part][:, :2] = np.where(raw[part][:, 2:] > 0, (raw[part][:, :2] + 1) / 2, 0)
        if units != PIXELS:
            raw[part][:, :2] *= size
    parts = _of_whole_body(raw, notes) or _of_body(raw, notes)
    parts["face"] = _face(parts["face"], parts["body"], notes)
    for part, points in parts.items():
        if not len(points):
            parts[part] = np.zeros((order.PART_SIZES[part], 3), np.float32)
        elif len(points) != order.PART_SIZES[part]:
            expected = _COUNTS.get(part, order.PART_SIZES[part])
            raise InputError(f"{person.place}, {person.keys[part]}: expected {expected} points, got {len(points)}")
    return parts


def _present(points: np.ndarray, units: str, place: str, notes: list[str]) -> np.ndarray:
    """A part's points with the absent ones 0, 0, 0: not listed, or at an impossible place."""
    points = points.copy()
    listed, xy = points[:, 2] > 0, points[:, :2]
    odd = ~np.isfinite(points).all(axis=1)
    odd |= (xy == -1).all(axis=1) if units == SIGNED else (xy < 0).all(axis=1) | (xy == 0).all(axis=1)
    count = int((odd & (listed | np.isnan(points[:, 2]))).sum())
    if count:
        where = "-1, -1" if units == SIGNED else "0, 0, negative"
        notes.append(f"{place}: {counted(count, 'point')} at {where} or not finite: taken as absent")
    points[odd | ~listed] = 0
    return points


def _of_whole_body(raw: Mapping[str, np.ndarray], notes: list[str]) -> dict[str, np.ndarray] | None:
    """Parts of a body in COCO's, Halpe's or Goliath's order with 17, 26, 70, 133, 136 or 308 points; None for another
    number."""
    body = raw["body"]
    if len(body) not in _WHOLE:
        return None
    notes.append(f"{len(body)} body points, read as {_WHOLE[len(body)]}; the neck is the midpoint of the shoulders")
    whole = np.zeros((133, 3), np.float32)
    if len(body) in (MHR_COUNT, GOLIATH_COUNT):
        whole = whole_body_of_goliath(body)
    elif len(body) in (26, 136):
        for coco, halpe in order.COCO_WHOLEBODY_133_FROM_HALPE.items():
            if halpe < len(body):
                whole[coco] = body[halpe]
    else:
        whole[: len(body)] = body
    parts = order.parts_of_whole_body(whole)
    return {part: raw[part] if part != "body" and len(raw[part]) else points for part, points in parts.items()}


def _of_body(raw: Mapping[str, np.ndarray], notes: list[str]) -> dict[str, np.ndarray]:
    """Parts with a body of 18, 24 or 25 points, the last two with feet."""
    body, feet = raw["body"], raw["feet"]
    if len(body) == 24:
        notes.append("24 body points, read as 18 and the feet")
        body, own_feet = body[:18], body[18:]
    elif len(body) == 25:
        notes.append("25 body points, read as BODY_25 without the mid-hip")
        body, own_feet = body[_BODY_18_OF_25], body[_FEET_OF_25]
    else:
        own_feet = feet
    return {**raw, "body": body, "feet": feet if len(feet) else own_feet}


def _face(points: np.ndarray, body: np.ndarray, notes: list[str]) -> np.ndarray:
    """Face of 68, 69 or 70 points -> (70, 3); missing eyes are the body's."""
    if len(points) not in (68, 69):
        return points
    notes.append(f"{len(points)} face points, the eyes were taken from the body")
    eyes = body[_BODY_EYES] if len(body) == 18 else np.zeros((2, 3), np.float32)
    face = np.concatenate([points[:68], eyes])
    return face if points[:68, 2].any() else np.zeros_like(face)


def sdpose_arrays(extra: Any, keys: Mapping[str, str]) -> dict[str, np.ndarray] | None:
    """The `sdpose` object as arrays: "box" (5,), "threshold" (1,), scores of each part; None if it is malformed."""
    scores = extra.get("scores") if isinstance(extra, Mapping) else None
    if not isinstance(scores, Mapping):
        return None
    raw = {"box": extra.get("box"), "threshold": [extra.get("threshold")]}
    raw |= {part: scores.get(key) for part, key in keys.items()}
    try:
        with np.errstate(over="ignore"):
            known = {name: np.asarray(values, np.float32) for name, values in raw.items()}
    except (TypeError, ValueError, OverflowError):
        return None
    if known["body"].shape == (25,):
        known["body"] = known["body"][_BODY_18_OF_25]
    complete = known["box"].shape == (5,) and all(values.ndim == 1 for values in known.values())
    return known if complete and all(np.isfinite(values).all() for values in known.values()) else None
