"""Custom keypoint sets: from a TOML file, or from the category of a COCO annotation file."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from sdpose_core.coco.categories import is_person, plain_names
from sdpose_core.errors import InputError, restated
from sdpose_core.skeletons import KEYPOINT_SETS, KeypointSet, custom_set, is_positive
from sdpose_core.skeletons import keypoint_set as known_keypoint_set
from sdpose_training.recipe.recipe import FROM_ANNOTATIONS
from sdpose_training.recipe.toml_files import read_toml

log = logging.getLogger(__name__)

_KEYS = ("name", "names", "links", "flip_pairs", "sigmas", "upper_body", "lower_body")


def find_keypoint_set(name: str, categories: Sequence[Mapping[str, Any]] = ()) -> KeypointSet:
    """A known set by its name, the set of a TOML file, or for "annotations" the set of the COCO file's categories.

    Raises `InputError`: an unknown name, or an invalid set.
    """
    if name == FROM_ANNOTATIONS:
        return from_category(categories)
    if name.lower().endswith(".toml"):
        return from_table(read_toml(name), name)
    return known_keypoint_set(name)


def from_category(categories: Sequence[Mapping[str, Any]]) -> KeypointSet:
    """The set of the category person, else of the only one with keypoints: "keypoints" (names), "skeleton" (pairs,
    counted from 1) and, beyond COCO, "flip_pairs", "sigmas", "upper_body", "lower_body". A known set is recognized by
    its names.

    Raises `InputError`: no category has keypoints, several have different ones and none is people, or the set is
    invalid.
    """
    source = "the annotations' category"
    if not isinstance(categories, list | tuple) or not all(isinstance(each, Mapping) for each in categories):
        raise InputError(f"'categories' of the annotations: expected a list of objects, found {categories!r:.60}")
    with_points = [category for category in categories if category.get("keypoints")]
    if not with_points:
        raise InputError("the annotation file has no category with keypoint names: name a set in keypoint_set")
    with_points = [each for each in with_points if is_person(each.get("name"))] or with_points
    category = with_points[0]
    names = category["keypoints"]
    if other := [str(each.get("name")) for each in with_points if each["keypoints"] != names]:
        found = f"{category.get('name')}; {', '.join(other)}"
        raise InputError(
            f"the annotation file has categories with different keypoints ({found}): keep only one of them"
        )
    for known in KEYPOINT_SETS.values():
        if isinstance(names, list | tuple) and plain_names(names) == plain_names(known.names):
            return known
    try:
        links = [(a - 1, b - 1) for a, b in category.get("skeleton") or ()]
    except (TypeError, ValueError) as error:
        raise InputError(f"{source}: 'skeleton': expected a list of pairs of numbers from 1: {error}") from error
    table = {key: category[key] for key in _KEYS if key in category}
    set_name = f"{category.get('name', 'own')}_{len(names) if isinstance(names, list) else 0}"
    return from_table({**table, "name": set_name, "names": names, "links": links}, source)


def from_table(table: Mapping[str, Any], source: str) -> KeypointSet:
    """A set from "name", "names" and optional "links", "flip_pairs", "sigmas", "upper_body", "lower_body", with points
    by name or index. Without "flip_pairs", names that differ only in left and right are paired. `source` is for errors.

    Raises `InputError`: unknown or missing keys, unknown names, or values that weights could not carry.
    """
    if unknown := [key for key in table if key not in _KEYS]:
        raise InputError(f"{source}: unknown keys {', '.join(unknown)}; known are {', '.join(_KEYS)}")
    name, names = table.get("name"), table.get("names")
    if not name or not names:
        raise InputError(f"{source}: a keypoint set needs 'name' and 'names'")
    if not _is_text(name):
        raise InputError(f"{source}: 'name': expected a text in one line, found {name!r:.60}")
    if not isinstance(names, list | tuple) or not all(map(_is_text, names)):
        raise InputError(f"{source}: 'names': expected a list of names, texts in one line, found {names!r:.120}")
    if name in KEYPOINT_SETS:
        raise InputError(f"{source}: {name!r} is the name of a known set: choose another name")
    with restated(source):
        return _with_references(KeypointSet(name, tuple(names)), table)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value.isprintable() and bool(value.strip())


def _with_references(bare: KeypointSet, table: Mapping[str, Any]) -> KeypointSet:
    """The set with what refers to its points; it is checked as when weights are read."""
    pairs = _pairs(bare, table, "flip_pairs") if "flip_pairs" in table else mirrored_names(bare.names)
    links, sigmas = _pairs(bare, table, "links"), table.get("sigmas", ())
    if not isinstance(sigmas, list | tuple) or not all(is_positive(each) for each in sigmas):
        raise InputError(f"'sigmas': expected numbers above 0, found {sigmas!r:.60}")
    described = {"names": bare.names, "links": links, "flip_pairs": pairs, "sigmas": sigmas}
    upper, lower = (_indices(bare, table.get(key, ()), repr(key)) for key in ("upper_body", "lower_body"))
    return replace(custom_set(bare.name, described), upper_body=upper, lower_body=lower)


def _pairs(bare: KeypointSet, table: Mapping[str, Any], key: str) -> tuple[tuple[int, ...], ...]:
    pairs = table.get(key, ())
    if not isinstance(pairs, list | tuple):
        raise InputError(f"{key!r}: expected a list of pairs, found {pairs!r:.60}")
    found = tuple(_indices(bare, pair, f"a pair in {key!r}") for pair in pairs)
    for pair, points in zip(pairs, found, strict=True):
        if len(set(points)) != 2 or len(points) != 2:
            raise InputError(f"{key!r}: expected pairs of two different points, found {pair!r:.60}")
    return found


def _indices(bare: KeypointSet, points: Any, what: str) -> tuple[int, ...]:
    """The indices of points that are named or numbered."""
    if not isinstance(points, list | tuple) or not all(type(each) in (int, str) for each in points):
        raise InputError(f"{what}: expected a list of names or numbers of points, found {points!r:.60}")
    return tuple(each if isinstance(each, int) else bare.index(each) for each in points)


_LEFT = re.compile(r"left|(?<![a-z])l(?![a-z])", re.IGNORECASE)
"""In a name: the word "left", or a single l as in l_eye or shoulder.L."""


def mirrored_names(names: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """Pairs of points whose names differ only in "left" and "right", or "l" and "r", ignoring case."""
    place = {name.lower(): i for i, name in enumerate(names)}
    pairs = []
    for name, left in place.items():
        other = _LEFT.sub(lambda found: "right" if len(found[0]) > 1 else "r", name)
        if other != name and other in place:
            pairs.append((left, place[other]))
    if pairs:
        log.info("flip pairs taken from the names: %s", ", ".join(f"{names[a]} - {names[b]}" for a, b in pairs))
    else:
        advice = "list left and right points in flip_pairs, or set flip_pairs = [] if there are none"
        log.warning("no flip pairs in the names %s, so mirroring swaps no points: %s", ", ".join(names[:6]), advice)
    return tuple(pairs)
