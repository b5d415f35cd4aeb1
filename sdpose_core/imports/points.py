"""Keypoint names as other tools write them -> our keypoint sets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..errors import InputError
from ..skeletons import COCO_17, COCO_WHOLEBODY_133, KeypointSet

SHOWN = 5
"""Names in a message."""

_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
_SIDES = {"l": "left", "r": "right"}


@dataclass(frozen=True)
class PointTable:
    """Where the points of a file belong.

    Attributes:
        keypoint_set: of the sequence.
        places: name in the file -> index in `keypoint_set`.
        unknown: names that are no points of the set; they are left out.
    """

    keypoint_set: KeypointSet
    places: Mapping[str, int]
    unknown: tuple[str, ...] = ()

    def notes(self) -> list[str]:
        """What was left out, and which points the file does not have."""
        notes = []
        if self.unknown:
            notes.append(f"points of other names are left out: {_listed(self.unknown)}")
        body = [name for i, name in enumerate(COCO_17.names) if i not in set(self.places.values())]
        if body:
            notes.append(f"points of the body that the file does not have are absent: {_listed(body)}")
        return notes


def point_table(names: Sequence[str]) -> PointTable:
    """The table of the names of a file, in its order; the whole body if any name is beyond the body.

    Case, spaces, hyphens, the order of the words, and L and R for left and right do not matter. Names that are all
    numbers count as places, if there are 17 or 133 of them.

    Raises `InputError` if no name is known, or two mean the same point.
    """
    if len(names) in (len(COCO_17), len(COCO_WHOLEBODY_133)) and all(re.fullmatch("[0-9]+", name) for name in names):
        return _by_number(names)
    known = {_words(name): index for index, name in enumerate(COCO_WHOLEBODY_133.names)}
    places = {name: known[_words(name)] for name in names if _words(name) in known}
    if not places:
        raise InputError(
            f"none of its {len(names)} points has a known name ({_listed(names)}): expected the names of COCO such as "
            "left_wrist, or 17 or 133 points numbered in COCO's order: rename the points of the skeleton"
        )
    if len(set(places.values())) < len(places):
        raise InputError(f"two points mean the same one ({_twice(places)}): rename one of them")
    keypoint_set = COCO_17 if max(places.values()) < len(COCO_17) else COCO_WHOLEBODY_133
    return PointTable(keypoint_set, places, tuple(name for name in names if name not in places))


def counted_table(count: int) -> PointTable:
    """The table of points without names, which are in COCO's order. Raises `InputError` unless there are 17 or 133."""
    for keypoint_set in (COCO_17, COCO_WHOLEBODY_133):
        if count == len(keypoint_set):
            return PointTable(keypoint_set, {str(number): number for number in range(count)})
    raise InputError(f"{count} points without names: expected 17 or 133 in COCO's order, or points with names")


def _by_number(names: Sequence[str]) -> PointTable:
    numbers = sorted(int(name) for name in names)
    first = numbers[0]
    if numbers != list(range(first, first + len(names))) or first > 1:
        raise InputError(f"points numbered {_listed(names)}: expected 0 to {len(names) - 1} or 1 to {len(names)}")
    return PointTable(counted_table(len(names)).keypoint_set, {name: int(name) - first for name in names})


def _words(name: str) -> tuple[str, ...]:
    """The words of a name in one form: "LWrist", "wrist.left" and "left_wrist" are the same."""
    words = (word.lower().lstrip("0") or "0" for word in _WORDS.findall(name))
    return tuple(sorted(_SIDES.get(word, word) for word in words))


def _twice(places: Mapping[str, int]) -> str:
    names: dict[int, str] = {}
    for name, place in places.items():
        if place in names:
            return f"{names[place]} and {name}"
        names[place] = name
    raise AssertionError("every place is there once")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(f"{name:.40}" for name in names[:SHOWN]) + more
