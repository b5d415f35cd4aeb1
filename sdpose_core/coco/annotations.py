"""Pictures, annotations and categories of a COCO file."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..pose_values import MAX_SIDE
from ..skeletons import KeypointSet
from ..texts import read_json
from .categories import category_of, keypoint_categories
from .names import BARE, NameTable
from .people import AnnotatedPerson, has_points, read_person, without_visibility
from .values import IdTable, as_written, read_flag, read_id, read_number

UNLISTED = "of pictures that the file does not list"
REPEATED = "that are there twice"


def read_coco(path: str | Path) -> dict[str, Any]:
    """A COCO file as parsed JSON; `InputError` if it is missing, damaged or not in COCO's format."""
    return coco_content(read_json(path, "a COCO file"), str(path))


def coco_content(content: Any, path: str) -> dict[str, Any]:
    """Parsed JSON, if it is in COCO's format; `InputError`, which names the file `path`, if not."""
    if not isinstance(content, dict) or not all(isinstance(content.get(k), list) for k in ("images", "annotations")):
        raise InputError(f"{path} is not in COCO's format: expected the lists 'images' and 'annotations'")
    categories = content.get("categories") or []
    if not isinstance(categories, list) or not all(isinstance(category, dict) for category in categories):
        raise InputError(f"{path}: expected 'categories' to be a list of objects, found {categories!r:.60}")
    return {**content, "categories": categories}


@dataclass(frozen=True)
class CocoImage:
    """One picture: its id as in the file, its place in "images", its file name (None without one) and its entry."""

    id: Any
    number: int
    file_name: str | None
    entry: Mapping[str, Any]

    def size(self) -> tuple[int, int] | None:
        """(w, h) in pixels; None if the file does not have both. `InputError` for a size that is not one."""
        w, h = self.entry.get("width"), self.entry.get("height")
        if w is None or h is None:
            return None
        try:
            size = (w, h) if type(w) is int is type(h) else (int(read_number(w)), int(read_number(h)))
        except ValueError:
            size = (0, 0)
        if min(size) < 1 or max(size) > MAX_SIDE:
            raise InputError(f"picture {self.id!r} has the width and height {(w, h)!r:.60}; expected pixels")
        return size


@dataclass(frozen=True)
class CocoAnnotation:
    """One annotation: its id as in the file, its picture, whether it is a crowd, and its entry."""

    id: Any
    image: CocoImage
    crowd: bool
    entry: Mapping[str, Any]

    @property
    def name(self) -> str:
        """For messages."""
        return _where(self.id, self.image)


def _where(annotation_id: Any, image: CocoImage | None) -> str:
    picture = "an unknown picture" if image is None else image.file_name or f"picture {image.id}"
    return f"annotation {annotation_id} of {picture}"


@dataclass(frozen=True)
class Coco:
    """A COCO file.

    Attributes:
        images: by id, as in the file. A whole number written as 785.0 is 785.
        annotations: those that can be read, of pictures that the file lists.
        categories: as in the file.
        left_out: reason -> number of annotations: pictures that are not listed, the same annotation again.
        problems: messages about damaged entries.
    """

    images: Mapping[Any, CocoImage]
    annotations: Sequence[CocoAnnotation]
    categories: Sequence[Mapping[str, Any]] = ()
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Coco:
        """Read parsed JSON. Ids that are written differently (785, "785", 785.0) are the same.

        Raises `InputError` if two pictures have the same id.
        """
        problems: list[str] = []
        images = {image.id: image for image in _read_images(content["images"], problems)}
        table = IdTable(images)
        annotations: list[CocoAnnotation] = []
        left_out: Counter[str] = Counter()
        by_id: dict[Any, Any] = {}
        for number, entry in enumerate(content["annotations"]):
            try:
                annotation = _read_annotation(entry, number, images, table)
            except ValueError as error:
                problems.append(str(error))
                continue
            if annotation is None:
                left_out[UNLISTED] += 1
            elif by_id.setdefault(annotation.id, entry) is not entry and by_id[annotation.id] == entry:
                left_out[REPEATED] += 1
            else:
                annotations.append(annotation)
        return cls(images, annotations, content.get("categories") or (), left_out, problems)

    def without_name(self) -> list[str]:
        """Messages about pictures without a file name."""
        return [
            f"image number {each.number}: it has the file_name {each.entry.get('file_name')!r:.60}, expected a text"
            for each in self.images.values()
            if each.file_name is None
        ]

    def sizes(self) -> dict[Any, tuple[int, int]]:
        """Image id -> (w, h), where the file has it. Raises `InputError` for a size that is not one."""
        return {key: size for key, image in self.images.items() if (size := image.size())}

    def ids_of(self, names: Mapping[Any, Any]) -> dict[Any, Any]:
        """Picture of another file -> the id that it has here; those not found are left out.

        Pictures are found by their names where the other file has names besides ids and one of them is known here, else
        by their ids, and then by what is a name instead of an id.

        Args:
            names: id or name in the other file -> its file name, or again the id or name.

        Raises `InputError` if a name may mean two pictures.
        """
        table = IdTable(self.images)
        files = NameTable({key: image.file_name for key, image in self.images.items() if image.file_name})
        by_id = {key: mine for key in names if (mine := table.find(key)) is not None}
        texts = {k: v for k, v in names.items() if isinstance(v, str) and not (v == k and k in by_id)}
        by_name = {key: match[0] for key, name in texts.items() if (match := files.find(name, BARE))}
        if any(names[key] != key for key in by_name):
            return by_name
        return {**by_name, **by_id}

    def people(self, keypoint_set: KeypointSet, *, crowds: bool, unlabeled: bool = False) -> PeopleFound:
        """The annotations that have the points of a keypoint set; others are counted, damage is named.

        Args:
            crowds: whether they count as people.
            unlabeled: whether people without keypoints do; their points are zeros.

        Raises `InputError` as `keypoint_categories`.
        """
        found = PeopleFound(left_out=self.left_out.copy())
        chosen = keypoint_categories(self.categories, [each.entry for each in self.annotations], keypoint_set)
        for each in self.annotations:
            if chosen is not None and category_of(each.entry) not in (None, *chosen):
                found.left_out["of other categories"] += 1
            elif each.crowd and not crowds:
                found.left_out["crowds"] += 1
            elif not (unlabeled or has_points(each.entry)):
                found.left_out["without keypoints"] += 1
            else:
                found.read(each, keypoint_set)
        return found


@dataclass
class PeopleFound:
    """The people of `Coco.people`.

    Attributes:
        people: annotations and their points, in the order of the file.
        left_out: reason -> number of annotations that are no labeled people.
        problems: messages about damaged annotations.
        guessed: number of people whose points have no visibility.
    """

    people: list[tuple[CocoAnnotation, AnnotatedPerson]] = field(default_factory=list)
    left_out: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    guessed: int = 0

    def read(self, annotation: CocoAnnotation, keypoint_set: KeypointSet) -> None:
        """Add an annotation to the people, or to the problems. Without keypoints, its points are zeros."""
        entry = annotation.entry
        if not has_points(entry):
            entry = {**entry, "keypoints": [0, 0, 0] * len(keypoint_set)}
        try:
            self.people.append((annotation, read_person(entry, keypoint_set)))
        except ValueError as error:
            self.problems.append(f"{annotation.name}: {error}")
        else:
            self.guessed += without_visibility(entry, keypoint_set)

    def report(self, log: logging.Logger, used: int) -> None:
        """Log how many people are used, how many are left out and why, and what was guessed."""
        reasons = self.reasons()
        log.log(
            logging.WARNING if self.left_out[UNLISTED] or self.left_out[REPEATED] else logging.INFO,
            "%d of %d annotations are used%s", used, used + self.left_out.total() + len(self.problems),
            f"; left out: {reasons}" if reasons else "",
        )  # fmt: skip
        if self.guessed:
            log.warning(
                "people whose points have no visibility: %d; all points but 0, 0 count as labeled", self.guessed
            )

    def reasons(self) -> str:
        """Who was left out and why, as a phrase; "" if nobody was."""
        return ", ".join(f"{count} {reason}" for reason, count in self.left_out.items() if count)


def _read_images(entries: Sequence[Any], problems: list[str]) -> Iterator[CocoImage]:
    seen: dict[Any, Any] = {}
    for number, entry in enumerate(entries):
        try:
            known = _id_of(entry, "id")
        except ValueError as error:
            problems.append(f"image number {number}: {error}")
            continue
        if known in seen:
            both = f"{seen[known]!r}" + (f" (also as {entry['id']!r})" if seen[known] != entry["id"] else "")
            advice = "give each picture a unique id (renumber the pictures when you join files)"
            raise InputError(f"annotations: two entries of 'images' have the id {both}: {advice}")
        seen[known] = entry["id"]
        name = entry.get("file_name")
        yield CocoImage(as_written(entry["id"]), number, name if isinstance(name, str) and name else None, entry)


def _read_annotation(entry: Any, number: int, images: Mapping[Any, CocoImage], table: IdTable) -> CocoAnnotation | None:
    """One annotation; None if its picture is not listed. `ValueError` names it."""
    if not isinstance(entry, Mapping):
        raise ValueError(f"annotation number {number}: expected an object, found {entry!r:.40}")
    image = None
    try:
        _id_of(entry, "image_id")
        image = images.get(table.find(entry["image_id"]))
        known = _annotation_id(entry, number)
        crowd = _crowd(entry)
    except ValueError as error:
        raise ValueError(f"{_where(entry.get('id'), image)}: {error}") from None
    return None if image is None else CocoAnnotation(known, image, crowd, entry)


def _id_of(entry: Any, key: str) -> Any:
    if not isinstance(entry, Mapping):
        raise ValueError(f"expected an object, found {entry!r:.60}")
    try:
        return read_id(entry.get(key))
    except ValueError as error:
        raise ValueError(f"it has the {key} {error}") from None


def _annotation_id(entry: Mapping[str, Any], number: int) -> Any:
    """As in the file; the place in the file if there is none."""
    if entry.get("id") is None:
        return number
    _id_of(entry, "id")
    return as_written(entry["id"])


def _crowd(entry: Mapping[str, Any]) -> bool:
    try:
        return read_flag(entry.get("iscrowd"))
    except ValueError as error:
        raise ValueError(f"iscrowd is {error}") from None
