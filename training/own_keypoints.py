"""Keypoint sets of one's own: from a TOML file, or from the category of a COCO annotation file."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from recipe_values import read_toml

from sdpose_core.errors import InputError
from sdpose_core.skeletons import KEYPOINT_SETS, KeypointSet
from sdpose_core.skeletons import keypoint_set as known_keypoint_set

log = logging.getLogger(__name__)

FROM_ANNOTATIONS = "annotations"
_KEYS = ("name", "names", "links", "flip_pairs", "sigmas", "upper_body", "lower_body")


def find_keypoint_set(name: str, categories: Sequence[Mapping[str, Any]] = ()) -> KeypointSet:
    """The set that a recipe names.

    Args:
        name: a known set, a TOML file, or "annotations".
        categories: of the COCO file, for "annotations".

    Raises `InputError`: none of these, or a table that does not fit together.
    """
    if name == FROM_ANNOTATIONS:
        return from_category(categories)
    if name.endswith(".toml"):
        return from_table(read_toml(name), name)
    return known_keypoint_set(name)


def from_category(categories: Sequence[Mapping[str, Any]]) -> KeypointSet:
    """The set of the first category that has keypoints: "keypoints" (names), "skeleton" (pairs from 1), and, beyond
    COCO, "flip_pairs", "sigmas", "upper_body", "lower_body". A known set is recognised by its names."""
    for category in categories:
        if names := category.get("keypoints"):
            for known in KEYPOINT_SETS.values():
                if tuple(names) == known.names:
                    return known
            links = [(a - 1, b - 1) for a, b in category.get("skeleton", ())]
            table = {key: category[key] for key in _KEYS if key in category}
            own = f"{category.get('name', 'own')}_{len(names)}"
            return from_table({**table, "name": own, "names": names, "links": links}, "the annotations' category")
    raise InputError("the annotation file has no category with keypoint names: name a set in data.keypoint_set")


def from_table(table: Mapping[str, Any], source: str) -> KeypointSet:
    """A set from plain values.

    Args:
        table: "name", "names"; optionally "links", "flip_pairs", "sigmas", "upper_body", "lower_body", where points are
            given by name or by index. Without "flip_pairs", names that differ in left and right are paired.
        source: for messages.

    Raises `InputError`: unknown keys or names, missing ones, or figures that do not fit together.
    """
    if unknown := [key for key in table if key not in _KEYS]:
        raise InputError(f"{source}: unknown keys {', '.join(unknown)}; known are {', '.join(_KEYS)}")
    names = tuple(str(name) for name in table.get("names", ()))
    if not names or not table.get("name"):
        raise InputError(f"{source}: a keypoint set needs 'name' and 'names'")
    if table["name"] in KEYPOINT_SETS:
        raise InputError(f"{source}: the name {table['name']!r} is that of a known set, choose another")
    bare = KeypointSet(name=str(table["name"]), names=names)

    def index(point: int | str) -> int:
        return point if isinstance(point, int) else bare.index(point)

    def pairs(key: str) -> tuple[tuple[int, int], ...]:
        return tuple((index(a), index(b)) for a, b in table.get(key, ()))

    return KeypointSet(
        name=bare.name,
        names=names,
        links=pairs("links"),
        flip_pairs=pairs("flip_pairs") if "flip_pairs" in table else mirrored_names(names),
        sigmas=tuple(float(sigma) for sigma in table.get("sigmas", ())),
        upper_body=tuple(map(index, table.get("upper_body", ()))),
        lower_body=tuple(map(index, table.get("lower_body", ()))),
    )


def mirrored_names(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Pairs of points whose names differ in "left" and "right"."""
    place = {name: i for i, name in enumerate(names)}
    pairs = [
        (i, place[name.replace("left", "right")])
        for name, i in place.items()
        if "left" in name and name.replace("left", "right") in place
    ]
    if pairs:
        log.info("flip pairs taken from the names: %s", ", ".join(f"{names[a]} - {names[b]}" for a, b in pairs))
    return tuple(pairs)
