"""The frames and people in parsed JSON, whatever tool wrote it: names of keys, nesting, lists of people.

Read are POSE_KEYPOINT and OpenPose of all versions, pose editors (openpose-editor, OpenPose-Studio), MMPose's
predictions, rtmlib's arrays, AlphaPose's lists, COCO keypoint results and Sapiens' 308 points.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Real
from typing import Any

from ..coco.categories import PERSON
from ..coco.values import read_number
from ..errors import InputError, counted
from ..names import natural_key
from ..poses import count_people
from . import order

MAX_DEPTH = 8
"""Nesting of lists that is searched for frames."""

MAX_GAP = 2
"""Frames may be missing from a list of people by frame number if it covers at least one of this many."""

_FRAME_NAME = r"(?:([0-9]{1,9})|.*_([0-9]{12})_keypoints)(?:\.[A-Za-z0-9]+)?"

_PART_OF = {
    "posekeypoints": "body", "bodykeypoints": "body", "keypoints": "body", "joints": "body",
    "sapienskeypoints": "body",
    "handleftkeypoints": "left_hand", "lefthandkeypoints": "left_hand",
    "handrightkeypoints": "right_hand", "righthandkeypoints": "right_hand",
    "facekeypoints": "face", "footkeypoints": "feet", "feetkeypoints": "feet",
}  # fmt: skip
"""Parts by `_plain` names of their keys."""

_PEOPLE = ("people", "persons", "instances", "bodies")
_WRAPPERS = ("frames", "instanceinfo", "predictions")
_CANVASES = (
    ("canvaswidth", "canvasheight"), ("width", "height"), ("imagewidth", "imageheight"), ("imgwidth", "imgheight"),
    ("framewidth", "frameheight"),
)  # fmt: skip
_SCORES = ("keypointscores", "keypointsscores", "scores", "confidences", "confidence")
_IDS = ("personid", "trackid", "idx")
_OF_A_PERSON = (*_IDS, *_SCORES, "score", "bbox", "bboxscore", "box", "imageid", "categoryid")
"""Keys by which a dict in a list is a person, not a frame with one person in it."""


@dataclass(frozen=True)
class RawFrame:
    """One frame as it is in the file.

    Attributes:
        place: for messages, such as "frame 3".
        people: a dict per person, see `RawPerson`.
        canvas: (w, h), or None if the file does not say.
        notes: what was guessed, one line each.
    """

    place: str
    people: list[Mapping[str, Any]]
    canvas: tuple[int, int] | None
    notes: list[str] = field(default_factory=list)


def frames_of(obj: Any, place: str = "", canvas: tuple[int, int] | None = None, depth: int = 0) -> Iterator[RawFrame]:
    """Each frame of parsed JSON, in order. `canvas` is for frames that state none.

    Raises `InputError` for content without frames or people in any known layout; it names the keys that were found.
    """
    if isinstance(obj, Mapping):
        yield from _frames_of_dict(obj, place, canvas, depth)
    elif isinstance(obj, list | tuple):
        if depth == MAX_DEPTH:
            raise InputError(f"{place}: lists are nested more than {MAX_DEPTH} deep: expected a list of frames")
        if obj and all(_is_person(value) for value in obj):
            yield from _frames_of_people(obj, place, canvas)
            return
        size = canvas or _canvas_of_any(value for value in obj if isinstance(value, Mapping))
        for number, value in enumerate(obj if any(obj) else ()):
            where = f"{place}, {number}" if place else f"frame {number}"
            if value is None or (isinstance(value, list | tuple) and not value):
                yield RawFrame(where, [], size)
            else:
                yield from frames_of(value, where, canvas, depth + 1)
    else:
        place, found = place or "POSE_KEYPOINT", type(obj).__name__
        raise InputError(f"{place}: expected a dict with 'people' or a list of them, got {found}")


def _frames_of_dict(
    obj: Mapping[str, Any], place: str, canvas: tuple[int, int] | None, depth: int
) -> Iterator[RawFrame]:
    canvas = _canvas_of(obj) or canvas
    wrapper = _key_of(obj, _WRAPPERS)
    value = obj if wrapper is None else obj[wrapper]
    _refuse_other_skeleton(obj, place or "frame")
    if not obj or is_frame(obj):
        yield _frame(obj, place or "frame", canvas)
    elif isinstance(value, Mapping):
        yield from _named_frames(value, place, canvas)
    elif value is not None:
        yield from frames_of(value, place, canvas, depth)


def _refuse_other_skeleton(obj: Mapping[str, Any], place: str) -> None:
    """Raise `InputError` if MMPose's `meta_info` names points in another order, as those of animals or of H3.6M."""
    meta = obj.get("meta_info")
    if not isinstance(meta, Mapping) or not isinstance(names := meta.get("keypoint_id2name"), Mapping):
        return
    if (first := str(names.get("0", "nose"))).lower() != "nose":
        found = f"{meta.get('dataset_name', 'another skeleton')!s:.40}, {first:.40} first"
        raise InputError(f"{place}: its points are in the order of {found}: expected people in COCO's order")


def _named_frames(obj: Mapping[str, Any], place: str, canvas: tuple[int, int] | None) -> Iterator[RawFrame]:
    """Frames by name or number: in natural order if all have a number, otherwise as they come."""
    nested = {str(name): value for name, value in obj.items() if isinstance(value, Mapping | list)}
    if not nested or not all(map(_is_named_frame, nested.values())) or not any(nested.values()):
        keys = ", ".join(map(str, obj))[:80]
        expected = f"expected a frame with 'people', each with {order.PART_KEYS['body']!r}"
        raise InputError(f"{place or 'frame'}: no 'people' among its keys ({keys}): {expected}, or a list of frames")
    names, missing = list(nested), 0
    if all(re.search("[0-9]", name) for name in names):
        names, missing = with_missing(sorted(names, key=natural_key))
    canvas = canvas or _canvas_of_any(value for value in nested.values() if isinstance(value, Mapping))
    for number, name in enumerate(names):
        value = nested.get(name, {})
        content: Mapping[str, Any] = value if isinstance(value, Mapping) else {"people": value}
        frame = _frame(content, f"frame {name!r:.60}", _canvas_of(content) or canvas)
        frame.notes.insert(0, f"taken from a collection of {len(nested)} under the name {name!r:.60}")
        if missing and number == 0:
            frame.notes.append(missing_note(missing))
        yield frame


def _is_named_frame(value: Any) -> bool:
    if isinstance(value, Mapping):
        return is_frame(value)
    return all(isinstance(person, Mapping) and _has_parts(person) for person in value)


def _frame(content: Mapping[str, Any], place: str, canvas: tuple[int, int] | None) -> RawFrame:
    frame = RawFrame(place, [], canvas)
    if animals := content.get("animals"):
        frame.notes.append(f"{counted(len(animals), 'animal')} left out")
    people, keypoints = _key_of(content, _PEOPLE), _key_of(content, ("keypoints",))
    if people is not None:
        frame.people.extend(_people(content[people], people, frame))
    elif keypoints is not None:
        frame.people.extend(_people_of_keypoints(content, keypoints, frame.notes))
    elif content:
        frame.notes.append("a single person outside a 'people' list")
        frame.people.append(content)
    return frame


def _people(value: Any, key: str, frame: RawFrame) -> Iterator[Mapping[str, Any]]:
    """The people under the key `key`: a list, one person, or a dict of people by id."""
    if isinstance(value, Mapping) and value:
        single = _has_parts(value) or not all(isinstance(person, Mapping) for person in value.values())
        frame.notes.append(f"{key!r} is {'one person' if single else 'a dict of people'}, not a list")
        value = [value] if single else [{"person_id": name, **person} for name, person in value.items()]
    if value is None or isinstance(value, Mapping):
        return
    if not isinstance(value, list | tuple):
        raise InputError(f"{frame.place}: {key!r} should be a list, got {type(value).__name__}")
    for number, person in enumerate(value):
        if person is None:
            frame.notes.append(f"person {number} is null: left out")
        elif isinstance(person, Mapping):
            yield person
        else:
            raise InputError(f"{frame.place}, person {number}: expected a dict, got {type(person).__name__}")


def _people_of_keypoints(content: Mapping[str, Any], key: str, notes: list[str]) -> Sequence[Mapping[str, Any]]:
    """People of a frame's `keypoints`: a list per person, one person's points, or a list with 18 points for each."""
    points = as_list([] if content[key] is None else content[key], key)
    scores = scores_of(content)
    in_a_row = bool(points) and all(point is None or _is_point(point) for point in points)
    if any(isinstance(point, Real | str) for point in points) or (in_a_row and len(points) % 18):
        notes.append("a single person outside a 'people' list")
        return [content]
    if in_a_row:
        groups = [points[i : i + 18] for i in range(0, len(points), 18)]
        of_groups = [scores[i : i + 18] for i in range(0, len(scores), 18)] if scores else []
    else:
        groups, of_groups = points, scores or []
    notes.append("people as lists of points" if scores else "a pose editor's file: [x, y] points without scores")
    people: list[dict[str, Any]] = [{order.PART_KEYS["body"]: group} for group in groups]
    for person, values in zip(people, of_groups, strict=False):
        person["keypoint_scores"] = values
    for other in content:
        if other != key and part_of(other):
            for person, values in zip(people, content[other] or [], strict=False):
                person[other] = values
    return people


def _frames_of_people(
    people: Sequence[Mapping[str, Any]], place: str, canvas: tuple[int, int] | None
) -> Iterator[RawFrame]:
    """Frames of a list of people: one for each picture that they name, otherwise one."""
    image = _key_of(people[0], ("imageid",))
    if image is None or any(image not in person for person in people):
        notes = [f"a list of {count_people(len(people))}, read as one frame"]
        yield RawFrame(place or "frame", list(people), _canvas_of_any(people) or canvas, notes)
        return
    chosen, notes = _of_people_category(people)
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for person in chosen:
        groups.setdefault(_as_text(person[image]), []).append(person)
    names = sorted(groups, key=natural_key)
    found = f"{len(names)} frames, from {names[0]} to {names[-1]}" if len(names) > 1 else f"one frame, {names[0]}"
    notes.insert(0, f"a list of people by {image}: {found}")
    names, missing = with_missing(names)
    if missing:
        notes.append(missing_note(missing))
    for number, name in enumerate(names):
        group = groups.get(name, [])
        yield RawFrame(f"image {name}", group, _canvas_of_any(group) or canvas, notes if number == 0 else [])


def _of_people_category(people: Sequence[Mapping[str, Any]]) -> tuple[list[Mapping[str, Any]], list[str]]:
    """The entries of COCO's category of people, if any has it; otherwise all."""
    key = _key_of(people[0], ("categoryid",))
    found = [person for person in people if key and number_of(person.get(key)) == PERSON]
    if not found or len(found) == len(people):
        return list(people), []
    return found, [f"{len(people) - len(found)} entries of other categories than {PERSON} left out"]


def with_missing(names: list[str]) -> tuple[list[str], int]:
    """Names in natural order, with the numbers between them that the list of a video lacks; how many. They are such as
    0.jpg, or those that OpenPose gives the files of a video."""
    matches = [re.fullmatch(_FRAME_NAME, name) for name in names]
    numbered = {int(match[1] or match[2]): name for match, name in zip(matches, names, strict=True) if match}
    if len(numbered) < len(names):
        return names, 0
    span = range(min(numbered), max(numbered) + 1)
    if len(span) > MAX_GAP * len(names):
        return names, 0
    return [numbered.get(number, str(number)) for number in span], len(span) - len(names)


def missing_note(count: int) -> str:
    return f"frames without people in place of {counted(count, 'missing number')}"


def _canvas_of(content: Mapping[str, Any]) -> tuple[int, int] | None:
    for names in _CANVASES:
        keys = [_key_of(content, (name,)) for name in names]
        w, h = (number_of(content[key]) if key is not None else 0.0 for key in keys)
        if 1 <= w < 1e6 and 1 <= h < 1e6:
            return int(w), int(h)
    return _canvas_of_sapiens(content)


def _canvas_of_sapiens(content: Mapping[str, Any]) -> tuple[int, int] | None:
    """(w, h) in a file of Sapiens2, whose `image_size` is (h, w); `num_keypoints` tells it from other tools' files."""
    size, count = _key_of(content, ("imagesize",)), _key_of(content, ("numkeypoints",))
    if size is None or count is None or not isinstance(content[size], list | tuple) or len(content[size]) != 2:
        return None
    h, w = map(number_of, content[size])
    return (int(w), int(h)) if 1 <= w < 1e6 and 1 <= h < 1e6 else None


def _canvas_of_any(people: Iterable[Mapping[str, Any]]) -> tuple[int, int] | None:
    return next((canvas for canvas in map(_canvas_of, people) if canvas), None)


def is_frame(obj: Mapping[str, Any]) -> bool:
    """Whether a dict has people, or the points of one."""
    return _key_of(obj, _PEOPLE) is not None or _has_parts(obj)


def _is_person(obj: Any) -> bool:
    """Whether this is a person in a list, not a frame: it has points and what only people have, and no canvas."""
    if not isinstance(obj, Mapping) or _key_of(obj, _PEOPLE) is not None or not _has_parts(obj):
        return False
    return _key_of(obj, _OF_A_PERSON) is not None and (
        _canvas_of(obj) is None or _key_of(obj, ("imageid",)) is not None
    )


def _has_parts(obj: Mapping[str, Any]) -> bool:
    return any(part_of(key) for key in obj)


def part_of(key: Any) -> str | None:
    """The part whose points are under a key, in the spelling of any tool; None for other keys."""
    return _PART_OF.get(_plain(key))


def scores_of(entry: Mapping[str, Any]) -> list[Any] | None:
    """The scores of the body's points in a list of their own, or None."""
    key = _key_of(entry, _SCORES)
    value: Any = entry[key] if key is not None else None
    value = value.tolist() if hasattr(value, "tolist") else value
    return list(value) if isinstance(value, list | tuple) else None


def id_of(entry: Mapping[str, Any]) -> int | None:
    """A person's id, or None."""
    key = _key_of(entry, _IDS)
    value = entry[key] if key is not None else None
    value = value[0] if isinstance(value, list | tuple) and value else value
    number = number_of(value)
    return int(number) if 0 <= number < 2**31 else None


def _key_of(content: Mapping[str, Any], names: Sequence[str]) -> str | None:
    """The key of a dict that is called one of the `_plain` `names`, the first of them that there is."""
    plain = {_plain(key): key for key in reversed(list(content))}
    return next((plain[name] for name in names if name in plain), None)


def _plain(key: Any) -> str:
    """A key without case, punctuation and the ending 2d: pose_keypoints_2d and poseKeypoints2D are posekeypoints."""
    return re.sub("[^a-z0-9]", "", str(key).lower()).removesuffix("2d").replace("kpts", "keypoints")


def _is_point(value: Any) -> bool:
    if isinstance(value, Mapping):
        return "x" in value and "y" in value
    return isinstance(value, list | tuple) and len(value) in (2, 3) and all(isinstance(v, Real | str) for v in value)


def _as_text(value: Any) -> str:
    """An id as text: 7, 7.0 and "7" are one."""
    return str(int(float(value))) if isinstance(value, Real) and float(value).is_integer() else str(value)


def as_list(value: Any, place: str) -> list[Any]:
    """A list, tuple, array, tensor, or columns `{"x": [...], "y": [...]}` as a list. Raises `InputError`."""
    value = value.tolist() if hasattr(value, "tolist") else value
    if isinstance(value, list | tuple):
        return list(value)
    if isinstance(value, Mapping) and isinstance(value.get("x"), list) and isinstance(value.get("y"), list):
        columns = [value["x"], value["y"], *(value[key] for key in ("visible",) if isinstance(value.get(key), list))]
        return [list(point) for point in zip(*columns, strict=False)]
    raise InputError(f"{place}: expected a list of numbers, got {type(value).__name__}")


def number_of(value: Any) -> float:
    """A finite number (numpy's too, or as text) as a float, anything else as NaN."""
    try:
        return read_number(value)
    except ValueError:
        return float("nan")
