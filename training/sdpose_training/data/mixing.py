"""Several data sets in one run: keypoints mapped by name."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from sdpose_core.coco.categories import plain_names
from sdpose_core.errors import InputError
from sdpose_core.skeletons import KeypointSet
from sdpose_core.tensor_files import some
from sdpose_training.data.annotations import People

log = logging.getLogger(__name__)

NAMES_SHOWN = 20
"""Keypoint names of a list in the log or in an error."""


def map_points(own: KeypointSet, wanted: KeypointSet) -> np.ndarray:
    """(K,) int: for each point of `wanted`, the point of `own` with the same name, or -1.

    Names are compared without case, spaces and hyphens: "Left Eye" is left_eye. Raises `InputError` if no name is in
    both sets, or if a set has a name twice in this sense.
    """
    places = {name: place for place, name in enumerate(_distinct_names(own))}
    found = np.array([places.get(name, -1) for name in _distinct_names(wanted)])
    if (found < 0).all():
        expected = f"{wanted.name!r} ({_listed(wanted.names)})"
        raise InputError(f"{own.name!r} ({_listed(own.names)}) has no keypoint name of {expected}: give the same names")
    return found


def _distinct_names(points: KeypointSet) -> list[str]:
    names = plain_names(points.names)
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"keypoint set {points.name!r}: several points are called {twice}: expected different names")
    return names


def describe_map(own: KeypointSet, wanted: KeypointSet) -> str:
    """What `map_points` found, for the log: names in both sets, names only in `wanted`, names only in `own`."""
    found = map_points(own, wanted)
    pairs = [(name, own.names[place]) for name, place in zip(wanted.names, found, strict=True) if place >= 0]
    both = [name if name == other else f"{name} = {other}" for name, other in pairs]
    absent = [name for name, place in zip(wanted.names, found, strict=True) if place < 0]
    unused = [name for place, name in enumerate(own.names) if place not in found]
    parts = [f"{len(both)} of {len(wanted)} keypoints: {_listed(both)}"]
    parts += [f"not labeled: {_listed(absent)}"] if absent else []
    parts += [f"left out: {_listed(unused)}"] if unused else []
    return "; ".join(parts)


def _listed(names: Sequence[str]) -> str:
    return some(names, NAMES_SHOWN)


def with_points(people: People, wanted: KeypointSet) -> People:
    """The people with the keypoints of `wanted`, by name; points that they lack are not labeled (visibility 0).

    People without any of the points are left out. Raises `InputError` if nobody is left, and as `map_points`.
    """
    places = map_points(people.keypoint_set, wanted)
    there = places >= 0
    keypoints = np.where(there[:, None], people.keypoints[:, places], np.float32(0))
    visibility = np.where(there, people.visibility[:, places], np.float32(0))
    labeled = np.flatnonzero(visibility.any(axis=1))
    if not len(labeled):
        names = _listed([wanted.names[i] for i in np.flatnonzero(there)])
        raise InputError(f"none of {len(people)} people has a labeled point of {wanted.name!r} (looked for {names})")
    if len(labeled) < len(people):
        log.info("%d people without a labeled point of %r are left out", len(people) - len(labeled), wanted.name)
    mapped = replace(people, keypoint_set=wanted, keypoints=keypoints, visibility=visibility)
    return mapped if len(labeled) == len(people) else mapped.select(labeled.tolist())
