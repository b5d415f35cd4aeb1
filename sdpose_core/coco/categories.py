"""Which categories of a COCO file are people, or have the points of a keypoint set."""

from __future__ import annotations

import logging
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from ..errors import InputError
from ..skeletons import COCO_17, COCO_WHOLEBODY_133, KeypointSet
from .values import Id, read_id

log = logging.getLogger(__name__)

PERSON = 1
"""COCO's id of people."""
_PEOPLE = frozenset({"person", "persons", "people", "human", "humans", "pedestrian", "pedestrians"})

_NAMES = (
    "bicycle, car, motorcycle, airplane, bus, train, truck, boat, traffic light, fire hydrant, stop sign, "
    "parking meter, bench, bird, cat, dog, horse, sheep, cow, elephant, bear, zebra, giraffe, backpack, umbrella, "
    "handbag, tie, suitcase, frisbee, skis, snowboard, sports ball, kite, baseball bat, baseball glove, skateboard, "
    "surfboard, tennis racket, bottle, wine glass, cup, fork, knife, spoon, bowl, banana, apple, sandwich, orange, "
    "broccoli, carrot, hot dog, pizza, donut, cake, chair, couch, potted plant, bed, dining table, toilet, tv, "
    "laptop, mouse, remote, keyboard, cell phone, microwave, oven, toaster, sink, refrigerator, book, clock, vase, "
    "scissors, teddy bear, hair drier, toothbrush"
)
OBJECTS = tuple(_NAMES.split(", "))
"""The 79 COCO classes other than person, in the order of COCO: detectors return them too."""


def is_person(name: Any) -> bool:
    """Whether a category of this name is people."""
    return str(name).strip().casefold() in _PEOPLE


def names_by_id(categories: Sequence[Mapping[str, Any]]) -> dict[Id, str]:
    """Category id -> name; categories without either are left out."""
    names = {}
    for category in categories:
        try:
            names[read_id(category.get("id"))] = str(category["name"])
        except (ValueError, KeyError):
            continue
    return names


def used_categories(content: Mapping[str, Any], where: str) -> list[Mapping[str, Any]]:
    """The categories of a COCO file, without unused ones that are only the heading of others: some tools add one.

    `where` is the file, for errors. Raises `InputError` if they are not a list.
    """
    found = content.get("categories") or []
    if not isinstance(found, list):
        raise InputError(f"{where}: expected 'categories' to be a list of objects, found {found!r:.60}")
    listed = [each for each in found if isinstance(each, Mapping)]
    used = {category_of(each) for each in content["annotations"] if isinstance(each, Mapping)}
    headed = [(each.get("supercategory"), id(each)) for each in listed if each.get("supercategory")]

    def is_heading(category: Mapping[str, Any]) -> bool:
        heads = any(name == category.get("name") and other != id(category) for name, other in headed)
        return heads and category_of({"category_id": category.get("id")}) not in used

    return [each for each in listed if not is_heading(each)]


def category_of(entry: Mapping[str, Any]) -> Id | None:
    """The category id of an annotation or a detection; None if it has none that can be read."""
    try:
        return read_id(entry.get("category_id"))
    except ValueError:
        return None


def people_ids(found: Collection[Id], names: Mapping[Id, str], where: str) -> tuple[set[Id], str | None]:
    """Of the category ids `found` in a file, those of people, and a note about a guess.

    Args:
        names: category id -> name, as far as the file names them.

    Raises `InputError` if none can be told to be people: `where` is for the error.
    """
    people = {each for each in names if is_person(names[each])}
    if people or not found:
        return people, None
    if all(names.get(each, "").strip().casefold() in OBJECTS for each in found):
        return set(), None
    if len(names) == 1 and set(found) <= set(names):
        return set(names), f"the only category, {next(iter(names.values()))!r}, is taken for people"
    if not names and set(found) == {0}:
        return {0}, "the only category, 0, is taken for people"
    if not names and PERSON in found and 0 not in found:
        return {PERSON}, None
    ids = ", ".join(f"{each} ({names[each]})" if each in names else str(each) for each in sorted(found, key=str)[:8])
    expected = "a category named person" if names else f"{PERSON}, or a category named person"
    raise InputError(
        f"{where} holds no boxes of people: found the category ids {ids}, expected {expected}: keep only the boxes of "
        "people"
    )


def posed_ids(categories: Sequence[Mapping[str, Any]]) -> set[Id]:
    """Ids of the categories with names of keypoints, if none of all categories is people; otherwise none."""
    if any(is_person(name) for name in names_by_id(categories).values()):
        return set()
    return set(names_by_id([each for each in categories if each.get("keypoints")]))


def keypoint_categories(
    categories: Sequence[Mapping[str, Any]], annotations: Iterable[Mapping[str, Any]], keypoint_set: KeypointSet
) -> set[Id] | None:
    """Ids of the categories whose annotations have the points of `keypoint_set`; None: all of them.

    People by name come first, then categories that name these points, then as many points.

    Raises `InputError` if several categories have as many points, of different names, or one has these points in
    another order.
    """
    names, points = names_by_id(categories), {category_of({"category_id": c.get("id")}): c for c in categories}
    lists = {each: c.get("keypoints") for each, c in points.items()}
    listed = {each: own for each, own in lists.items() if each is not None and isinstance(own, list)}
    counts = {len(keypoint_set), *((len(COCO_17),) if keypoint_set.name == COCO_WHOLEBODY_133.name else ())}
    fitting = {each for each, own in listed.items() if len(own) in counts}
    chosen = {each for each in names if is_person(names[each]) and (each in fitting or not listed.get(each))}
    chosen = (
        chosen or {each for each in fitting if plain_names(listed[each]) == plain_names(keypoint_set.names)} or fitting
    )
    if len({tuple(map(str, listed[each])) for each in chosen if listed.get(each)}) > 1:
        several = ", ".join(sorted(names.get(each, str(each)) for each in chosen))
        raise InputError(
            f"several categories have {len(keypoint_set)} keypoints of different names ({several}): keep only one"
        )
    for each in chosen & fitting:
        _check_order(listed[each], keypoint_set)
    used = {category_of(each): each for each in annotations if each.get("keypoints")}
    if chosen and (chosen & used.keys() or None in used or not used.keys() - names.keys()):
        return chosen
    return _by_count(annotations, counts) or None


def plain_names(names: Iterable[Any]) -> list[str]:
    """Names of points without case, spaces and hyphens: "Left Eye" is left_eye."""
    return [re.sub(r"[\W_]+", "_", str(name).strip().casefold()) for name in names]


def _check_order(names: Sequence[Any], keypoint_set: KeypointSet) -> None:
    """Raise `InputError` for the same names in another order; a warning says that other names are not looked at."""
    found, known = plain_names(names), plain_names(keypoint_set.names[: len(names)])
    if found == known:
        return
    place = next(i for i, name in enumerate(found) if name != known[i])
    if sorted(found) != sorted(known):
        log.warning(
            "the category names other points than %r (number %d is %s, not %s): they are taken in its order",
            keypoint_set.name, place, names[place], keypoint_set.names[place],
        )  # fmt: skip
    else:
        raise InputError(
            f"the category has the points of {keypoint_set.name!r} in another order (number {place} is "
            f"{found[place]} instead of {known[place]}): sort them, or take the keypoint set 'annotations'"
        )


def _by_count(annotations: Iterable[Mapping[str, Any]], counts: Collection[int]) -> set[Id]:
    """Categories that have an annotation with as many keypoints, for files that do not name them."""
    return {
        category
        for each in annotations
        if (category := category_of(each)) is not None and _count(each.get("keypoints")) in counts
    }


def _count(keypoints: Any) -> int | None:
    """Number of points of a list of numbers or of points."""
    if not isinstance(keypoints, list | tuple) or not keypoints:
        return None
    return len(keypoints) if isinstance(keypoints[0], list | tuple) else len(keypoints) // 3
