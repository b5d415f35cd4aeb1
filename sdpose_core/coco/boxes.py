"""Boxes of people in JSON files of other tools."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..boxes import xywh_to_xyxy
from ..errors import InputError
from ..pose_values import MAX_COORDINATE, check_people
from .annotations import Coco
from .categories import OBJECTS, names_by_id, people_ids, posed_ids, used_categories
from .people import are_shares
from .values import Id, as_written, is_coordinate, is_number, read_flag, read_id, read_number

FORMATS = (
    "a list of [x1, y1, x2, y2] or [x1, y1, x2, y2, score] (for one picture), an object {file name: such a list}, "
    'a list of {"file_name" or "image_id": ..., "bbox": [x, y, width, height], "score": ...} (COCO detections), or a '
    'COCO file with "images" and "annotations", as annotation tools export it'
)

_PICTURE_KEYS = ("file_name", "image_id", "img_path", "filename")
_LABEL_KEYS = ("category_name", "category", "label", "class_name", "name")
_ID_KEYS = ("category_id", "class_id", "class", "category", "label")
_CORNERS = (("x1", "y1", "x2", "y2"), ("xmin", "ymin", "xmax", "ymax"))
_LISTS = ("predictions", "detections", "results")
"""Keys that some tools put around the list of detections."""


@dataclass(frozen=True)
class BoxRow:
    """One box.

    Attributes:
        picture: id or name of the picture, as in the file; None in a file for one picture.
        box_xyxy: (4,) float32, as in the file: pixels, or shares of the picture.
        score: 1 if there is none.
        track_id: as in the file.
    """

    picture: Any
    box_xyxy: np.ndarray
    score: float
    track_id: Any = None


@dataclass
class BoxRows:
    """The boxes of people in a file.

    Attributes:
        rows: in the order of the file.
        names: id or name of each picture in the file, also of those without boxes -> name to find it by.
        single: whether the file is for one picture, without a name.
        notes: what was left out or guessed.
    """

    rows: list[BoxRow] = field(default_factory=list)
    names: dict[Any, Any] = field(default_factory=dict)
    single: bool = False
    notes: list[str] = field(default_factory=list)

    @property
    def are_shares(self) -> bool:
        """Whether the boxes are from 0 to 1: shares of the width and height of the pictures."""
        return are_shares(np.asarray([row.box_xyxy for row in self.rows]))


@dataclass(frozen=True)
class _Entry:
    """A box before the choice of people; `category`: an id, a name, or None."""

    row: BoxRow
    category: Id | None = None
    crowd: bool = False


def read_boxes(content: Any, where: str) -> BoxRows:
    """The boxes of people in parsed JSON of one of the `FORMATS`, or of detectors' predictions with "bboxes".

    Crowds and other categories are left out. In a COCO file without people, these are the categories that name
    keypoints: animals and things with a keypoint set of their own. `where` is the file, for errors. Raises `InputError`
    for another format, values that are not numbers, or categories of which none can be told to be people.
    """
    found = BoxRows()
    names: dict[Id, str] = {}
    posed: set[Id] = set()
    content = _unwrapped(content)
    if isinstance(content, Mapping) and isinstance(content.get("annotations"), list):
        categories = used_categories(content, where)
        names, posed = names_by_id(categories), posed_ids(categories)
        entries = _annotated(content, found, where)
    elif isinstance(content, Mapping) and isinstance(content.get("bboxes"), list):
        found.single = True
        entries = _predicted(content, None, where)
    elif isinstance(content, Mapping):
        entries = _by_name(content, found, where)
    elif isinstance(content, list) and content and all(isinstance(row, Mapping) for row in content):
        found.single = all(isinstance(row.get("box"), Mapping) and _picture(row) is None for row in content)
        entries = _detections(content, where, single=found.single)
    elif isinstance(content, list):
        found.single = bool(content)
        entries = _plain(content, None, f"{where}, the list")
    else:
        raise InputError(f"{where}: found {type(content).__name__}, expected {FORMATS}")
    _keep_people(list(entries), names, posed, found, where)
    return found


def _unwrapped(content: Any) -> Any:
    """Detections that name their pictures, without an object around their list."""
    lists = [content[key] for key in _LISTS if content.get(key)] if isinstance(content, Mapping) else []
    rows = lists[0] if len(lists) == 1 and isinstance(lists[0], list) else []
    return rows if rows and all(isinstance(row, Mapping) and _picture(row) is not None for row in rows) else content


def _keep_people(entries: Sequence[_Entry], names: dict[Id, str], posed: set[Id], found: BoxRows, where: str) -> None:
    """Add the boxes of people to `found`, or of what else has keypoints, and what was left out to its notes."""
    categories = {each.category for each in entries if each.category is not None}
    names = {**names, **{each: each for each in categories if isinstance(each, str)}}
    people, guess = (posed, None) if posed else people_ids(categories, names, where)
    others = [each.category for each in entries if each.category not in (None, *people)]
    left = Counter(names.get(category, str(category)) for category in others if category is not None)
    crowds = sum(each.crowd for each in entries)
    found.rows = [each.row for each in entries if not each.crowd and each.category in (None, *people)]
    check_people(max(Counter(row.picture for row in found.rows).values(), default=0), where)
    if not found.single:
        found.names = {**{each.row.picture: each.row.picture for each in entries}, **found.names}
    if left:
        kinds = ", ".join(f"{count} of category {name}" for name, count in left.most_common(8))
        found.notes.append(f"boxes that are not people are left out: {kinds}")
    if crowds:
        found.notes.append(f"crowds are left out: {crowds}")
    if categories and (unknown := sum(each.category is None for each in entries)):
        found.notes.append(f"boxes without a category are taken for people: {unknown}")
    if guess:
        found.notes.append(guess)


def _plain(rows: Any, picture: Any, where: str) -> Iterator[_Entry]:
    """A list of x1, y1, x2, y2 and perhaps a score."""
    if rows is None:
        return
    if not isinstance(rows, list):
        raise InputError(f"{where}: found {type(rows).__name__}, which holds no boxes: expected {FORMATS}")
    for i, row in enumerate(rows):
        if not isinstance(row, list) or len(row) not in (4, 5) or not all(map(is_number, row[:4])):
            raise InputError(f"{where}, box {i}: found {row!r:.80}, expected {FORMATS}")
        if not all(map(is_coordinate, row[:4])):
            raise InputError(f"{where}, box {i}: found {row!r:.80}, expected numbers up to {MAX_COORDINATE:,}")
        score = _score(row[4] if len(row) == 5 else None, f"{where}, box {i}")
        yield _Entry(BoxRow(picture, np.asarray(row[:4], np.float32), score))


def _by_name(content: Mapping[str, Any], found: BoxRows, where: str) -> Iterator[_Entry]:
    """{name: boxes}; a name without boxes is a picture with nobody."""
    for name, rows in content.items():
        picture = _key(name)
        found.names[picture] = picture
        if isinstance(rows, Mapping) and isinstance(rows.get("bboxes"), list):
            yield from _predicted(rows, picture, f"{where}, {name!r:.60}")
        elif isinstance(rows, list) and rows and all(isinstance(row, Mapping) for row in rows):
            for i, row in enumerate(rows):
                yield _detection(row, i, f"{where}, {name!r:.60}", picture)
        else:
            yield from _plain(rows, picture, f"{where}, {name!r:.60}")


def _key(name: str) -> Any:
    """A number for a key that is one, as JSON has only texts for keys."""
    try:
        known = read_id(name)
    except ValueError:
        return name
    return known if isinstance(known, int) else name


def _predicted(content: Mapping[str, Any], picture: Any, where: str) -> Iterator[_Entry]:
    """Detections of one picture in columns: "bboxes" (x1, y1, x2, y2), "scores", "labels" (in the order of COCO)."""
    count = len(content["bboxes"])
    scores, labels = ([None] * count if content.get(key) is None else content[key] for key in ("scores", "labels"))
    if not all(isinstance(column, list) and len(column) == count for column in (scores, labels)):
        raise InputError(f"{where}: expected as many scores and labels as bboxes ({count})")
    rows = _plain(content["bboxes"], picture, f"{where}, 'bboxes'")
    for i, (entry, score, label) in enumerate(zip(rows, scores, labels, strict=True)):
        value = entry.row.score if score is None else _score(score, f"{where}, 'scores': entry {i}")
        yield _Entry(BoxRow(picture, entry.row.box_xyxy, value), _class_name(label, f"{where}, 'labels': entry {i}"))


def _class_name(label: Any, entry: str) -> Id | None:
    """The name of COCO's class of this number from 0, which is a person; a name stays."""
    if label is None or isinstance(label, str):
        return label
    names = ("person", *OBJECTS)
    if not isinstance(label, int) or not 0 <= label < len(names):
        raise InputError(f"{entry} is {label!r:.40}, expected a number from 0 to {len(names) - 1} or a name")
    return names[label]


def _annotated(content: Mapping[str, Any], found: BoxRows, where: str) -> Iterator[_Entry]:
    """A COCO file; without "images" the annotations are taken as detections."""
    if not isinstance(content.get("images"), list):
        yield from _detections(content["annotations"], where)
        return
    coco = Coco.of(content)
    found.names.update({image.id: image.file_name or image.id for image in coco.images.values()})
    left = coco.left_out.copy()
    for i, each in enumerate(coco.annotations):
        if each.entry.get("bbox") is None:
            left["without a box"] += 1
        else:
            yield _detection(each.entry, i, where, each.image.id)
    left[f"that are damaged, such as {coco.problems[0]}" if coco.problems else ""] += len(coco.problems)
    found.notes += [f"annotations {reason} are left out: {count}" for reason, count in left.items() if count]


def _picture(row: Mapping[str, Any]) -> Any:
    return next((row[key] for key in _PICTURE_KEYS if row.get(key) is not None), None)


def _detections(rows: Sequence[Any], where: str, *, single: bool = False) -> Iterator[_Entry]:
    """COCO's detections; `single`: of one picture, which they do not name."""
    for i, row in enumerate(rows):
        yield _detection(row, i, where, None if single else _picture_of(row, f"{where}: entry {i}"))


def _picture_of(row: Any, entry: str) -> Any:
    """The id or name of a detection's picture."""
    picture = _picture(row) if isinstance(row, Mapping) else None
    if picture is None:
        raise InputError(f"{entry} names no picture: found {row!r:.80}, expected {FORMATS}")
    try:
        known = read_id(picture)
    except ValueError as error:
        raise InputError(f"{entry} has the image_id {error}") from None
    return known if isinstance(known, int) and row.get("file_name") is None else as_written(picture)


def _detection(row: Mapping[str, Any], number: int, where: str, picture: Any) -> _Entry:
    """One detection in COCO's form."""
    entry = f"{where}: entry {number}"
    box, score = _box(row, entry), _score(row.get("score", row.get("confidence")), entry)
    try:
        crowd = read_flag(row.get("iscrowd"))
    except ValueError as error:
        raise InputError(f"{entry} has the iscrowd {error}") from None
    return _Entry(BoxRow(picture, box, score, row.get("track_id")), _category(row), crowd)


def _box(row: Mapping[str, Any], entry: str) -> np.ndarray:
    corners, values, form = row.get("box"), row.get("bbox"), "x, y, width, height"
    if isinstance(corners, Mapping) and values is None:
        keys = next((keys for keys in _CORNERS if keys[0] in corners), _CORNERS[0])
        values, form = [corners.get(key) for key in keys], "x1, y1, x2, y2"
    if not isinstance(values, list | tuple) or len(values) != 4 or not all(map(is_coordinate, values)):
        found = f"has the bbox {values!r:.60}" if "bbox" in row else "has no bbox"
        raise InputError(
            f"{entry} {found}, expected a bbox of {form}: numbers up to {MAX_COORDINATE:,}, in pixels of the picture"
        )
    box = np.asarray(values, np.float32)
    return box if form.startswith("x1") else xywh_to_xyxy(box)


def _score(value: Any, entry: str) -> float:
    try:
        score = 1.0 if value is None else read_number(value)
    except ValueError:
        score = np.inf
    if abs(score) > MAX_COORDINATE:
        raise InputError(f"{entry} has the score {value!r:.40}, expected a finite number")
    return score


def _category(row: Mapping[str, Any]) -> Id | None:
    """The category id of a detection, or its name where it has one."""
    names = (row[key] for key in _LABEL_KEYS if isinstance(row.get(key), str))
    for value in (*names, *(row[key] for key in _ID_KEYS if row.get(key) is not None)):
        try:
            return read_id(value)
        except ValueError:
            continue
    return None
