"""Keypoint sets: names, skeleton links, flip pairs, OKS sigmas, parts. "Left" is the person's left.

Source: COCO (17 points) and COCO-WholeBody (133 points: 0-16 body, 17-22 feet, 23-90 face, 91-111 left hand, 112-132
right hand). OpenPose's order is in `openpose/order.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from .errors import InputError, counted, did_you_mean


@dataclass(frozen=True)
class KeypointSet:
    """A named set of K keypoints.

    Attributes:
        name: as in `.pose.npz`, checkpoints and error messages.
        names: K keypoint names, in order.
        links: index pairs that the skeleton connects.
        flip_pairs: (left, right) pairs that swap when the picture is mirrored.
        sigmas: K OKS sigmas (fraction of the person's scale), or empty if unknown.
        upper_body, lower_body: indices for half-body augmentation.
        parts: part name -> indices, only of the parts that the set has.
    """

    name: str
    names: tuple[str, ...]
    links: tuple[tuple[int, int], ...] = ()
    flip_pairs: tuple[tuple[int, int], ...] = ()
    sigmas: tuple[float, ...] = ()
    upper_body: tuple[int, ...] = ()
    lower_body: tuple[int, ...] = ()
    parts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.names)
        if len(set(self.names)) != count:
            raise InputError(f"keypoint set {self.name!r}: names are not unique")
        if self.sigmas and len(self.sigmas) != count:
            raise InputError(f"keypoint set {self.name!r}: expected {count} sigmas, got {len(self.sigmas)}")
        pairs = [i for pair in self.flip_pairs for i in pair]
        used = [*pairs, *(i for link in self.links for i in link), *self.upper_body, *self.lower_body]
        used += [i for indices in self.parts.values() for i in indices]
        if any(not 0 <= i < count for i in used):
            raise InputError(
                f"keypoint set {self.name!r}: its links, pairs or parts have an index outside 0..{count - 1}"
            )
        if len(set(pairs)) != len(pairs):
            raise InputError(f"keypoint set {self.name!r}: a keypoint is in more than one flip pair")
        object.__setattr__(self, "parts", MappingProxyType(dict(self.parts)))

    def __len__(self) -> int:
        return len(self.names)

    def __reduce__(self):
        values = (self.links, self.flip_pairs, self.sigmas, self.upper_body, self.lower_body)
        return KeypointSet, (self.name, self.names, *values, dict(self.parts))

    def index(self, name: str) -> int:
        """Index of a keypoint by name. Raises `InputError` for an unknown name."""
        try:
            return self.names.index(name)
        except ValueError:
            hint = did_you_mean(name, self.names)
            raise InputError(f"keypoint set {self.name!r} has no keypoint {name!r}{hint and ': '}{hint}") from None

    @property
    def flip_indices(self) -> np.ndarray:
        """(K,) int: for each channel of a mirrored picture's result, its channel in the original."""
        indices = np.arange(len(self))
        for left, right in self.flip_pairs:
            indices[left], indices[right] = right, left
        return indices


_BODY_NAMES = (
    "nose", "left_eye", "right_eye", "left_ear", "right_ear", "left_shoulder", "right_shoulder", "left_elbow",
    "right_elbow", "left_wrist", "right_wrist", "left_hip", "right_hip", "left_knee", "right_knee", "left_ankle",
    "right_ankle",
)  # fmt: skip
_BODY_LINKS = (
    (15, 13), (13, 11), (16, 14), (14, 12), (11, 12), (5, 11), (6, 12), (5, 6), (5, 7), (6, 8), (7, 9), (8, 10),
    (1, 2), (0, 1), (0, 2), (1, 3), (2, 4), (3, 5), (4, 6),
)  # fmt: skip
_BODY_PAIRS = ((1, 2), (3, 4), (5, 6), (7, 8), (9, 10), (11, 12), (13, 14), (15, 16))
_BODY_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107, 0.087, 0.087, 0.089,
    0.089,
)  # fmt: skip

_FEET_NAMES = (
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
_FEET_LINKS = ((15, 17), (15, 18), (15, 19), (16, 20), (16, 21), (16, 22))
_FEET_PAIRS = ((17, 20), (18, 21), (19, 22))
_FEET_SIGMAS = (0.068, 0.066, 0.066, 0.092, 0.094, 0.094)

_FACE_PAIRS = (
    (23, 39), (24, 38), (25, 37), (26, 36), (27, 35), (28, 34), (29, 33), (30, 32), (40, 49), (41, 48), (42, 47),
    (43, 46), (44, 45), (54, 58), (55, 57), (59, 68), (60, 67), (61, 66), (62, 65), (63, 70), (64, 69), (71, 77),
    (72, 76), (73, 75), (78, 82), (79, 81), (83, 87), (84, 86), (88, 90),
)  # fmt: skip
_FACE_SIGMAS = (
    0.042, 0.043, 0.044, 0.043, 0.040, 0.035, 0.031, 0.025, 0.020, 0.023, 0.029, 0.032, 0.037, 0.038, 0.043, 0.041,
    0.045, 0.013, 0.012, 0.011, 0.011, 0.012, 0.012, 0.011, 0.011, 0.013, 0.015, 0.009, 0.007, 0.007, 0.007, 0.012,
    0.009, 0.008, 0.016, 0.010, 0.017, 0.011, 0.009, 0.011, 0.009, 0.007, 0.013, 0.008, 0.011, 0.012, 0.010, 0.034,
    0.008, 0.008, 0.009, 0.008, 0.008, 0.007, 0.010, 0.008, 0.009, 0.009, 0.009, 0.007, 0.007, 0.008, 0.011, 0.008,
    0.008, 0.008, 0.010, 0.008,
)  # fmt: skip

_FINGERS = ("thumb", "forefinger", "middle_finger", "ring_finger", "pinky_finger")
_HAND_SIGMAS = (
    0.029, 0.022, 0.035, 0.037, 0.047, 0.026, 0.025, 0.024, 0.035, 0.018, 0.024, 0.022, 0.026, 0.017, 0.021, 0.021,
    0.032, 0.020, 0.019, 0.022, 0.031,
)  # fmt: skip


def _hand_names(side: str) -> tuple[str, ...]:
    return (f"{side}_hand_root", *(f"{side}_{finger}{joint}" for finger in _FINGERS for joint in (1, 2, 3, 4)))


def _hand_links(root: int) -> tuple[tuple[int, int], ...]:
    tips = [(root + 4 * finger + joint, root + 4 * finger + joint + 1) for finger in range(5) for joint in range(4)]
    return tuple((root, b) if (a - root) % 4 == 0 else (a, b) for a, b in tips)


COCO_17 = KeypointSet(
    name="coco_17",
    names=_BODY_NAMES,
    links=_BODY_LINKS,
    flip_pairs=_BODY_PAIRS,
    sigmas=_BODY_SIGMAS,
    upper_body=tuple(range(11)),
    lower_body=tuple(range(11, 17)),
    parts={"body": tuple(range(17))},
)

COCO_WHOLEBODY_133 = KeypointSet(
    name="coco_wholebody_133",
    names=(*_BODY_NAMES, *_FEET_NAMES, *(f"face-{i}" for i in range(68)), *_hand_names("left"), *_hand_names("right")),
    links=(*_BODY_LINKS, *_FEET_LINKS, *_hand_links(91), *_hand_links(112)),
    flip_pairs=(*_BODY_PAIRS, *_FEET_PAIRS, *_FACE_PAIRS, *((i, i + 21) for i in range(91, 112))),
    sigmas=(*_BODY_SIGMAS, *_FEET_SIGMAS, *_FACE_SIGMAS, *_HAND_SIGMAS, *_HAND_SIGMAS),
    upper_body=tuple(range(11)),
    lower_body=tuple(range(11, 23)),
    parts={
        "body": tuple(range(17)),
        "feet": tuple(range(17, 23)),
        "face": tuple(range(23, 91)),
        "left_hand": tuple(range(91, 112)),
        "right_hand": tuple(range(112, 133)),
    },
)

KEYPOINT_SETS: Mapping[str, KeypointSet] = MappingProxyType({s.name: s for s in (COCO_17, COCO_WHOLEBODY_133)})


def keypoint_set(name: str) -> KeypointSet:
    """The keypoint set called `name` (or `body`, `wholebody` for short). Raises `InputError` for an unknown one."""
    known = {**KEYPOINT_SETS, "body": COCO_17, "wholebody": COCO_WHOLEBODY_133}
    if name not in known:
        hint = did_you_mean(name, known)
        raise InputError(f"unknown keypoint set {name!r}: known are {', '.join(sorted(known))}{hint and '; '}{hint}")
    return known[name]


DESCRIBED = ("names", "links", "flip_pairs", "sigmas")
"""What weights and poses carry of a custom set, beside its name."""

SKELETON = "skeleton"
"""The entry of `meta` with the description of a custom set."""


def described(points: KeypointSet) -> dict[str, Any]:
    """The entry of `meta` that `skeleton_of` reads: lists under `DESCRIBED`; {} for a known set, which needs none."""
    if points.name in KEYPOINT_SETS:
        return {}
    pairs = {key: [list(pair) for pair in getattr(points, key)] for key in ("links", "flip_pairs")}
    return {SKELETON: {"names": list(points.names), **pairs, "sigmas": list(points.sigmas)}}


def skeleton_of(name: str, count: int, meta: Mapping[str, Any]) -> KeypointSet:
    """The set called `name` of poses with `count` points: a known one, the one that `meta` describes, or numbered
    points without links.

    Raises `InputError` for a description that is damaged, or of another number of points (0: nobody was seen).
    """
    if name in KEYPOINT_SETS:
        return KEYPOINT_SETS[name]
    if SKELETON not in meta:
        return numbered(name, count)
    points = custom_set(name, meta[SKELETON])
    if count not in (0, len(points)):
        named = counted(len(points), "point")
        raise InputError(f"keypoint set {name!r}: its description has {named}, the poses have {count}")
    return points


def numbered(name: str, count: int, flip_pairs: tuple[tuple[int, int], ...] = ()) -> KeypointSet:
    """A custom set of which only the number of points is known: the names are "0", "1", ..."""
    return KeypointSet(name, tuple(map(str, range(count))), flip_pairs=flip_pairs)


def custom_set(name: str, table: Any) -> KeypointSet:
    """A custom set from the values under `DESCRIBED`, with points by index. Raises `InputError` for other values."""
    found = table if isinstance(table, Mapping) else {}
    names, links, pairs, sigmas = (found.get(key, ()) for key in DESCRIBED)
    fits = _is_list(names, lambda each: isinstance(each, str) and each.isprintable() and each) and names
    if not (fits and _is_list(links, _is_pair) and _is_list(pairs, _is_pair) and _is_list(sigmas, is_positive)):
        expected = "names as texts, links and flip_pairs as pairs of numbers, sigmas above 0"
        raise InputError(f"keypoint set {name!r:.60}: expected {expected}, found {table!r:.120}")
    return KeypointSet(
        name, tuple(names), tuple((a, b) for a, b in links), tuple((a, b) for a, b in pairs), tuple(sigmas)
    )


def _is_list(values: Any, fits: Callable[[Any], Any]) -> bool:
    return isinstance(values, list | tuple) and all(fits(each) for each in values)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(type(each) is int for each in value)


def is_positive(value: Any) -> bool:
    """Whether a value is a finite number above 0, as a sigma must be."""
    return type(value) in (int, float) and 0 < value < math.inf


HEAD = ("nose", "left_eye", "right_eye", "left_ear", "right_ear")
"""Body points of the part "head"."""

PARTS: tuple[str, ...] = ("body", "hands", "face", "feet", "head")
"""Parts that can be switched on and off. "head" is `HEAD` with its limbs; "face" is the 68 face points."""
