"""The body as a tree of limbs: where its joints are, and how long a person's limbs are over a clip.

A limb that points at the camera looks short. Over a clip its length is therefore taken where it looks long; in a single
picture, a limb that looks impossibly short beside its neighbors counts as not seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

NOSE, LEFT_EAR, RIGHT_EAR, ANKLES = 0, 3, 4, (15, 16)
NECK, MID_HIP = 17, 18
"""Nodes are COCO's 17 points, then the middles of the shoulders and of the hips."""

_MIDDLES = {NECK: (5, 6), MID_HIP: (11, 12)}

QUANTILE = 0.8
"""Share of the frames in which a limb looks shorter than the length taken for it. The median is too short for limbs
that swing towards the camera (arms above all, and the result's arms become too long); the maximum is noise."""

TOO_SHORT = 0.6
"""A limb shorter than this, beside what is usual and its neighbors or the same limb of the other side, points at the
camera (by more than about 53 degrees)."""


class NothingInCommon(ValueError):
    """A clip and a reference show nothing by which one could be fitted to the other."""


@dataclass(frozen=True)
class Limb:
    """A length of the body.

    Attributes:
        ends: the two nodes it is measured between.
        usual: its length in lengths of the trunk, among the people of COCO's pictures who stand upright.
        pair: the same limb of the other side.
        beside: the limbs it is judged beside (the longest of them): neighbors, and the same limb of the other side.
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
"""What is measured. The head is the largest distance among nose and ears, which changes little when it turns; the eyes
stand in for it where no ear is seen."""

NAMES = tuple(LIMBS)
USUAL = np.asarray([limb.usual for limb in LIMBS.values()])

BONES: tuple[tuple[int, int, str], ...] = (
    (MID_HIP, NECK, "trunk"), (NECK, 5, "shoulders"), (NECK, 6, "shoulders"), (MID_HIP, 11, "hips"),
    (MID_HIP, 12, "hips"), (NECK, NOSE, "neck"), (NOSE, 1, "head"), (NOSE, 2, "head"), (NOSE, 3, "head"),
    (NOSE, 4, "head"), (5, 7, "left_upper_arm"), (7, 9, "left_forearm"), (6, 8, "right_upper_arm"),
    (8, 10, "right_forearm"), (11, 13, "left_thigh"), (13, 15, "left_shank"), (12, 14, "right_thigh"),
    (14, 16, "right_shank"),
)  # fmt: skip
"""Node, node, and the limb whose ratio scales the way between them."""


@dataclass(frozen=True)
class Figure:
    """One person over N frames, measured.

    Attributes:
        nodes: (N, 19, 2) pixels, NaN where not seen.
        lengths: (N, M) pixels of each of `NAMES`, NaN where not seen.
        proportions: (M,) pixels, the lengths of the unforeshortened limbs at scale 1.
        scale: (N,) how large the person is in each frame (the distance from the camera); NaN where nothing is seen.
    """

    nodes: np.ndarray
    lengths: np.ndarray
    proportions: np.ndarray
    scale: np.ndarray

    def at(self, frame: int) -> np.ndarray:
        """(M,) pixels: the limbs' lengths as they would look unforeshortened in a frame; NaN where never seen."""
        return self.proportions * self.scale[frame]

    def unit(self) -> float:
        """Length of the trunk in pixels at scale 1, as the most limbs have it; NaN if none is seen."""
        return float(quantile((self.proportions / USUAL)[:, None], 0.5)[0])

    def lowest(self) -> np.ndarray:
        """(N,) y of the lower ankle, NaN where neither is seen."""
        return lowest(self.nodes)


def body_nodes(keypoints: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """(N, K, 2) COCO points, (N, K) which of them count -> (N, 19, 2), NaN where unseen.

    Of a pair of which one is hidden, the other stands for the middle.
    """
    body = np.where(seen[:, :17, None], keypoints[:, :17], np.nan).astype(np.float64)
    return np.concatenate([body, *(_middle(body[:, list(pair)])[:, None] for pair in _MIDDLES.values())], axis=1)


def _middle(pair: np.ndarray) -> np.ndarray:
    """(N, 2, 2) -> (N, 2)."""
    first, second = pair[:, 0], pair[:, 1]
    return (np.where(np.isnan(first), second, first) + np.where(np.isnan(second), first, second)) / 2


def lowest(nodes: np.ndarray) -> np.ndarray:
    """(N, 19, 2) -> (N,) y of the lower ankle, NaN where neither is seen."""
    return np.fmax(*(nodes[:, ankle, 1] for ankle in ANKLES))


def measure(keypoints: np.ndarray, seen: np.ndarray) -> Figure:
    """A person over N frames: (N, K, 2) COCO points, (N, K) which of them count."""
    nodes = body_nodes(keypoints, seen)
    lengths = limb_lengths(nodes)
    proportions, scale = _proportions(lengths)
    return Figure(nodes, lengths, proportions, scale)


def limb_lengths(nodes: np.ndarray) -> np.ndarray:
    """(N, 19, 2) -> (N, M) pixels, NaN where an end is not seen or both ends are in one place."""

    def between(a: int, b: int) -> np.ndarray:
        return np.linalg.norm(nodes[:, a] - nodes[:, b], axis=-1)

    lengths = np.stack([between(*limb.ends) for limb in LIMBS.values()], axis=1)
    head = NAMES.index("head")
    for ear in (LEFT_EAR, RIGHT_EAR):
        lengths[:, head] = np.fmax(lengths[:, head], between(NOSE, ear))
    return np.where(lengths > 1e-3, lengths, np.nan)


def _proportions(lengths: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N, M) -> (M,) lengths at scale 1, (N,) scales: lengths without what the distance from the camera does to them.

    The scale of a frame is taken from the limbs that look long in it, as foreshortening only shortens.
    """
    proportions = quantile(lengths, QUANTILE)
    scale = np.ones(len(lengths))
    for _ in range(3):
        scale = quantile((lengths / proportions).T, 0.75)
        proportions = quantile(lengths / scale[:, None], QUANTILE)
    return proportions, scale


def quantile(values: np.ndarray, share: float) -> np.ndarray:
    """(N, M) -> (M,): the value with this share of the column's others below it; NaN is left out."""
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
