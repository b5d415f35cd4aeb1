"""COCO keypoints: annotation files, also of CVAT, and lists of results."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..coco.annotations import Coco, CocoAnnotation, CocoImage, coco_content
from ..coco.categories import category_of, people_ids
from ..coco.names import stem_of
from ..coco.people import WHOLEBODY_FIELDS, AnnotatedPerson, read_person
from ..coco.values import read_id
from ..errors import InputError, counted
from ..names import natural_key
from ..skeletons import COCO_17, COCO_WHOLEBODY_133, KeypointSet
from .found import Found, FoundFrame, FoundPerson
from .points import PointTable, point_table

_ID_KEYS = ("track_id", "instance_id")
_FRAME_KEYS = ("frame_index", "frame_id")


def is_coco(content: Any) -> bool:
    """Whether parsed JSON is a COCO annotation file."""
    return isinstance(content, Mapping) and all(isinstance(content.get(k), list) for k in ("images", "annotations"))


def is_results(content: Any) -> bool:
    """Whether parsed JSON is a list of COCO keypoint results."""
    first = content[0] if isinstance(content, list) and content else None
    return isinstance(first, Mapping) and {"image_id", "keypoints"} <= set(first)


# --- annotations -----------------------------------------------------------------------------------------------------


def from_annotations(content: Mapping[str, Any]) -> Found:
    """The pictures and people of a COCO file: 17 points, COCO-WholeBody's 133, or any whose names are known.

    Labeled points, visible or hidden, have score 1. Ids over time are `track_id` or `instance_id` of the annotation
    or, as CVAT writes them, of its `attributes`. Raises `InputError` for damaged entries; it names the first.
    """
    content, notes = _in_known_order(coco_content(content, "it"))
    coco = Coco.of(content)
    keypoint_set = _set_of(coco)
    found = coco.people(keypoint_set, crowds=False)
    if problems := [*coco.problems, *found.problems]:
        raise InputError(f"{problems[0]} ({counted(len(problems), 'damaged entry', 'damaged entries')}): correct it")
    if reasons := found.reasons():
        notes.append(f"left out: {reasons}")
    people: dict[Any, list[FoundPerson]] = {image: [] for image in coco.images}
    for annotation, person in found.people:
        people[annotation.image.id].append(_person(annotation, person))
    numbers = _numbers(list(coco.images.values()))
    frames = [
        FoundFrame(numbers[key], image.file_name, image.size(), people[key]) for key, image in coco.images.items()
    ]
    return Found(frames, keypoint_set, notes)


def _person(annotation: CocoAnnotation, person: AnnotatedPerson) -> FoundPerson:
    points = person.points.copy()
    points[:, 2] = points[:, 2] > 0
    return FoundPerson(points, _track_of(annotation.entry), _xyxy(person.bbox_xywh))


def _xyxy(box_xywh: np.ndarray, score: float = 1.0) -> np.ndarray | None:
    """(5,) x1, y1, x2, y2, score; None for a box without area, as files have where there is none."""
    x, y, w, h = box_xywh.tolist()
    return np.asarray([x, y, x + w, y + h, score]) if w > 0 and h > 0 else None


def _track_of(entry: Mapping[str, Any]) -> int | None:
    """The id over time; None without one. Raises `InputError` for one that is no whole number from 0."""
    attributes = entry.get("attributes")
    places = (entry, attributes if isinstance(attributes, Mapping) else {})
    value = next((place[key] for place in places for key in _ID_KEYS if place.get(key) is not None), None)
    if value is None:
        return None
    try:
        found = read_id(value)
    except ValueError as error:
        raise InputError(f"annotation {entry.get('id')}: it has the track_id {error}") from None
    if not isinstance(found, int) or not 0 <= found < 1 << 31:
        raise InputError(f"annotation {entry.get('id')}: track_id is {value!r:.40}, expected a number from 0")
    return found


def _set_of(coco: Coco) -> KeypointSet:
    """The whole body if any annotation has more than the body."""
    count = 3 * len(COCO_WHOLEBODY_133)
    for annotation in coco.annotations:
        entry = annotation.entry
        keypoints = entry.get("keypoints")
        if any(entry.get(key) for key in WHOLEBODY_FIELDS[1:]):
            return COCO_WHOLEBODY_133
        if isinstance(keypoints, list) and len(keypoints) in (count, count // 3) and len(keypoints) > 3 * len(COCO_17):
            return COCO_WHOLEBODY_133
    return COCO_17


def _numbers(images: Sequence[CocoImage]) -> dict[Any, int]:
    """Image id -> frame number: stated, in the file names, the ids, or the place in natural order of the names."""
    for key in _FRAME_KEYS:
        stated = [image.entry.get(key) for image in images]
        if all(type(number) is int and number >= 0 for number in stated) and len(set(stated)) == len(stated):
            return {image.id: int(number) for image, number in zip(images, stated, strict=True)}  # type: ignore[arg-type]
    names = [image.file_name for image in images]
    if None in names:
        ids = [image.id for image in images]
        if all(type(number) is int and number >= 0 for number in ids):
            return {number: number for number in ids}
        return {number: place for place, number in enumerate(ids)}
    if (numbers := numbers_in([str(name) for name in names])) is not None:
        return {image.id: number for image, number in zip(images, numbers, strict=True)}
    ordered = sorted(images, key=lambda image: natural_key(str(image.file_name)))
    return {image.id: place for place, image in enumerate(ordered)}


def numbers_in(names: Sequence[str]) -> list[int] | None:
    """The numbers at the end of names that differ in nothing else, such as clip_000012.png; None if they do."""
    found = [re.fullmatch(r"(.*?)([0-9]{1,9})", stem_of(name)) for name in names]
    if not all(found) or len({match[1] for match in found if match}) > 1:
        return None
    numbers = [int(match[2]) for match in found if match]
    return numbers if len(set(numbers)) == len(numbers) else None


# --- names of points -------------------------------------------------------------------------------------------------


def _in_known_order(content: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The content with the points of every category in the order of a known set, and notes.

    Raises `InputError` if a category with annotated points has no known name among them.
    """
    used = {category_of(each) for each in content["annotations"] if isinstance(each, Mapping) and each.get("keypoints")}
    tables: dict[Any, tuple[PointTable, list[str]]] = {}
    others: list[InputError] = []
    ordered = False
    for category in content.get("categories") or ():
        names = category.get("keypoints") if isinstance(category, Mapping) else None
        key = category_of({"category_id": category.get("id")}) if isinstance(names, list) else None
        if not names or key not in used:
            continue
        ordered |= _is_ordered(names)
        try:
            if not _is_ordered(names):
                tables[key] = (point_table([str(name) for name in names]), [str(name) for name in names])
        except InputError as error:  # perhaps animals beside people
            others.append(error)
    if others and not tables and not ordered:
        raise others[0]
    notes = [note for table, _ in tables.values() for note in table.notes()]
    if not tables:
        return dict(content), notes
    categories = [_renamed(each, tables) for each in content["categories"]]
    annotations = [_reordered(each, tables) for each in content["annotations"]]
    return {**content, "categories": categories, "annotations": annotations}, notes


def _is_ordered(names: Sequence[Any]) -> bool:
    return any(list(names) == list(known.names) for known in (COCO_17, COCO_WHOLEBODY_133))


def _renamed(category: Any, tables: Mapping[Any, tuple[PointTable, list[str]]]) -> Any:
    key = category_of({"category_id": category.get("id")}) if isinstance(category, Mapping) else None
    return {**category, "keypoints": list(tables[key][0].keypoint_set.names)} if key in tables else category


def _reordered(annotation: Any, tables: Mapping[Any, tuple[PointTable, list[str]]]) -> Any:
    """An annotation with its points in the order of the table's set; others as they are."""
    key = category_of(annotation) if isinstance(annotation, Mapping) else None
    values = annotation.get("keypoints") if key in tables else None
    if not isinstance(values, list) or not values:
        return annotation
    table, names = tables[key]
    rows = values if isinstance(values[0], list) else [values[i : i + 3] for i in range(0, len(values), 3)]
    if len(rows) != len(names) or not all(isinstance(row, list) for row in rows):
        where = f"annotation {annotation.get('id')}"
        raise InputError(f"{where}: {len(rows)} points, its category names {len(names)}: correct the file")
    placed: list[Any] = [[0, 0, 0] for _ in range(len(table.keypoint_set))]
    for name, row in zip(names, rows, strict=True):
        if name in table.places:
            placed[table.places[name]] = list(row)
    return {**annotation, "keypoints": [value for row in placed for value in row]}


# --- results ---------------------------------------------------------------------------------------------------------


def from_results(content: Sequence[Any]) -> Found:
    """The people of a list of keypoint results, by picture; third values are the scores of the points.

    The pictures have no size, see `to_sequence`. Raises `InputError` for damaged entries; it names the first.
    """
    entries = [(number, entry) for number, entry in enumerate(content)]
    if odd := next((number for number, entry in entries if not isinstance(entry, Mapping)), None):
        raise InputError(f"result number {odd}: expected an object, found {content[odd]!r:.40}")
    chosen, _ = people_ids({key for _, entry in entries if (key := category_of(entry)) is not None}, {}, "it")
    people = [(n, entry) for n, entry in entries if category_of(entry) is None or category_of(entry) in chosen]
    whole = any(_is_whole(entry) for _, entry in people)
    keypoint_set = COCO_WHOLEBODY_133 if whole else COCO_17
    by_picture: dict[Any, list[FoundPerson]] = {}
    for number, entry in people:
        try:
            picture = read_id(entry.get("image_id"))
            by_picture.setdefault(picture, []).append(_result(entry, keypoint_set))
        except ValueError as error:
            raise InputError(f"result number {number}: {error}: correct it") from None
    left = len(entries) - len(people)
    notes = [f"{counted(left, 'result')} of other categories left out"] if left else []
    return Found(_frames_of(by_picture), keypoint_set, notes)


def _is_whole(entry: Mapping[str, Any]) -> bool:
    """Whether an entry has more than the points of the body."""
    keypoints = entry.get("keypoints")
    longer = isinstance(keypoints, list) and len(keypoints) > 3 * len(COCO_17)
    return longer or any(entry.get(key) for key in WHOLEBODY_FIELDS[1:])


def _result(entry: Mapping[str, Any], keypoint_set: KeypointSet) -> FoundPerson:
    person = read_person(_within_visibility(entry), keypoint_set)
    points = np.asarray(_values(entry, keypoint_set), np.float64).reshape(-1, 3)
    score = entry.get("score")
    box = _xyxy(person.bbox_xywh, float(score) if isinstance(score, int | float) and score == score else 1.0)
    return FoundPerson(points, _track_of(entry), box)


def _values(entry: Mapping[str, Any], keypoint_set: KeypointSet) -> list[Any]:
    """x, y, score of all points in a row."""
    fields = [key for key in WHOLEBODY_FIELDS if entry.get(key)]
    if len(entry["keypoints"]) == 3 * len(keypoint_set):
        fields = ["keypoints"]
    return [value for key in fields for value in entry[key]]


def _within_visibility(entry: Mapping[str, Any]) -> dict[str, Any]:
    """The entry with scores as visibilities: `read_person` checks the numbers, and refuses visibilities above 2."""
    checked = dict(entry)
    for key in WHOLEBODY_FIELDS:
        if isinstance(values := entry.get(key), list) and values and not isinstance(values[0], list):
            shown = [min(value, 2) if isinstance(value, int | float) else value for value in values[2::3]]
            checked[key] = [*values]
            checked[key][2::3] = shown
    return checked


def _frames_of(by_picture: Mapping[Any, list[FoundPerson]]) -> list[FoundFrame]:
    """Frames by number if all pictures have one, else in natural order of their names."""
    if all(isinstance(picture, int) and picture >= 0 for picture in by_picture):
        return [FoundFrame(picture, None, None, people) for picture, people in by_picture.items()]
    names = sorted(map(str, by_picture), key=natural_key)
    numbers = numbers_in(names) or list(range(len(names)))
    known = {str(picture): people for picture, people in by_picture.items()}
    return [FoundFrame(number, name, None, known[name]) for number, name in zip(numbers, names, strict=True)]
