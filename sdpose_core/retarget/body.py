"""The body as a tree of limbs, and the limb lengths of a person.

A limb that points at the camera looks short. In a clip its length is measured where it looks long; in a single picture,
a limb that is impossibly short compared to its neighbors counts as unseen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

NOSE, LEFT_EAR, RIGHT_EAR, ANKLES = 0, 3, 4, (15, 16)
NECK, MID_HIP = 17, 18
"""Nodes are COCO's 17 points, then the midpoints of the shoulders and of the hips."""

_MIDPOINTS = {NECK: (5, 6), MID_HIP: (11, 12)}

QUANTILE = 0.8
"""Quantile over the frames taken as a limb's length. The median is too short for limbs that swing toward the camera,
above all arms; the maximum is noise."""

TOO_SHORT = 0.6
"""A limb shorter than this share of its usual length relative to its neighbors points at the camera (by more than about
53 degrees)."""


class NothingInCommon(ValueError):
    """A clip and a reference have too little in common for a fit."""


@dataclass(frozen=True)
class Limb:
    """A measured length of the body.

    Attributes:
        ends: its two nodes.
        usual: its length in trunk lengths, from people standing upright in COCO.
        pair: the same limb on the other side.
        beside: the limbs it is compared with: neighbors, and the same limb on the other side.
    """

    ends: tuple[int, int]
    usual: float
    pair: str | None = None
    beside: tuple[str, ...] = ()


def _sided(name: str, left: tuple[int, int], right: tuple[int, int], usual: float, beside: str) -> dict[str, Limb]:
    both = (f"left_{beside}", f"right_{beside}")
    return {
        f"left_{name}": Limb(left, usual, f"right_{name}", (f"right_{name}", *both)),
        f"right_{name}": Limb(right, usual, f"left_{name}", (f"left_{name}", *both)),
    }


LIMBS: Mapping[str, Limb] = MappingProxyType(
    {
        "trunk": Limb((MID_HIP, NECK), 1.0, beside=("shoulders",)),
        "shoulders": Limb((5, 6), 0.7, beside=("trunk",)),
        "hips": Limb((11, 12), 0.43, beside=("trunk",)),
        "neck": Limb((NECK, NOSE), 0.4, beside=("trunk",)),
        "head": Limb((LEFT_EAR, RIGHT_EAR), 0.3),
        "eyes": Limb((1, 2), 0.14, beside=("head", "trunk")),
        **_sided("upper_arm", (5, 7), (6, 8), 0.57, "forearm"),
        **_sided("forearm", (7, 9), (8, 10), 0.5, "upper_arm"),
        **_sided("thigh", (11, 13), (12, 14), 0.87, "shank"),
        **_sided("shank", (13, 15), (14, 16), 0.83, "thigh"),
    }
)
"""The head is the largest distance among nose and ears, which changes little when it turns; the eyes replace it if no
ear is seen."""

NAMES = tuple(LIMBS)
USUAL = np.asarray([limb.usual for limb in LIMBS.values()])

BONES: tuple[tuple[int, int, str], ...] = (
    (MID_HIP, NECK, "trunk"), (NECK, 5, "shoulders"), (NECK, 6, "shoulders"), (MID_HIP, 11, "hips"),
    (MID_HIP, 12, "hips"), (NECK, NOSE, "neck"), (NOSE, 1, "head"), (NOSE, 2, "head"), (NOSE, 3, "head"),
    (NOSE, 4, "head"), (5, 7, "left_upper_arm"), (7, 9, "left_forearm"), (6, 8, "right_upper_arm"),
    (8, 10, "right_forearm"), (11, 13, "left_thigh"), (13, 15, "left_shank"), (12, 14, "right_thigh"),
    (14, 16, "right_shank"),
)  # fmt: skip
"""Node, node, and the limb whose ratio scales the vector between them."""


@dataclass(frozen=True)
class Figure:
    """One person over N frames, measured.

    Attributes:
        nodes: (N, 19, 2) pixels, NaN unseen.
        lengths: (N, M) pixels of each of `NAMES`, NaN unseen.
        proportions: (M,) pixels, lengths without foreshortening at scale 1.
        scale: (N,) relative size of the person (distance from the camera), NaN if nothing is seen.
    """

    nodes: np.ndarray
    lengths: np.ndarray
    proportions: np.ndarray
    scale: np.ndarray

    def at(self, frame: int) -> np.ndarray:
        """(M,) pixels: lengths in a frame without foreshortening; NaN if never seen."""
        return self.proportions * self.scale[frame]

    def unit(self) -> float:
        """Trunk length in pixels at scale 1, the median over all limbs; NaN if none is seen."""
        return float(quantile((self.proportions / USUAL)[:, None], 0.5)[0])


def body_nodes(keypoints: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(N, K, 2) COCO points, (N, K) which of them count -> (N, 19, 2), NaN unseen.

    If one point of a pair is hidden, the other replaces the midpoint.
    """
    body = np.where(seen[:, :17, None], keypoints[:, :17], np.nan).astype(np.float64)
    return np.concatenate([body, *(_midpoint(body[:, a], body[:, b])[:, None] for a, b in _MIDPOINTS.values())], axis=1)


def _midpoint(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return (np.where(np.isnan(first), second, first) + np.where(np.isnan(second), first, second)) / 2


def lowest(nodes: np.ndarray) -> np.ndarray:
    """(N, 19, 2) -> (N,) y of the lower ankle, NaN if neither is seen."""
    return np.fmax(*(nodes[:, ankle, 1] for ankle in ANKLES))


def measure(keypoints: np.ndarray, seen: np.ndarray) -> Figure:
    """A person over N frames: (N, K, 2) COCO points, (N, K) which of them count."""
    nodes = body_nodes(keypoints, seen)
    lengths = limb_lengths(nodes)
    return Figure(nodes, lengths, *_proportions(lengths))


def limb_lengths(nodes: np.ndarray) -> np.ndarray:
    """(N, 19, 2) -> (N, M) pixels, NaN if an end is unseen or both are in one place."""

    def between(a: int, b: int) -> np.ndarray:
        return np.linalg.norm(nodes[:, a] - nodes[:, b], axis=-1)

    lengths = np.stack([between(*limb.ends) for limb in LIMBS.values()], axis=1)
    head = NAMES.index("head")
    for ear in (LEFT_EAR, RIGHT_EAR):
        lengths[:, head] = np.fmax(lengths[:, head], between(NOSE, ear))
    return np.where(lengths > 1e-3, lengths, np.nan)


def _proportions(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, M) lengths -> (M,) lengths at scale 1, (N,) scales.

    The limbs that look longest give a frame's scale, as foreshortening only shortens.
    """
    proportions = quantile(lengths, QUANTILE)
    scale = np.ones(len(lengths))
    for _ in range(3):
        scale = quantile((lengths / proportions).T, 0.75)
        proportions = quantile(lengths / scale[:, None], QUANTILE)
    return proportions, scale


def quantile(values: np.ndarray, share: float) -> np.ndarray:
    """(N, M) -> (M,): quantile of each column, ignoring NaN; always one of its values."""
    ordered = np.sort(values, axis=0)
    count = np.isfinite(values).sum(axis=0)
    rank = np.ceil(share * np.maximum(count - 1, 0)).astype(np.int64)
    return np.take_along_axis(ordered, rank[None], axis=0)[0]


def too_short(lengths: np.ndarray) -> np.ndarray:
    """(M,) pixels -> (M,) bool: limbs that seem to point at the camera."""
    usual = dict(zip(NAMES, lengths / USUAL, strict=True))
    short = np.zeros(len(lengths), bool)
    for index, (name, limb) in enumerate(LIMBS.items()):
        others = [usual[other] for other in limb.beside if np.isfinite(usual[other])]
        short[index] = bool(others) and usual[name] < TOO_SHORT * max(others)
    return short
