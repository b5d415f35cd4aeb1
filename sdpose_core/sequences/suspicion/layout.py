"""What distrust knows about a keypoint set: groups, sides and bones, and the sizes that errors are measured in."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np

from ...oks import BODY_POINTS
from ...skeletons import HEAD, KEYPOINT_SETS
from ..flips import flip_groups
from ..tracks import Track
from .windows import distance

GROUPS = ("head", "trunk", "middles", "ends", "feet", "face", "hands")
"""Nose, eyes, ears; shoulders, hips; elbows, knees; wrists, ankles; feet; face; hands. Points of a set without such
names are all `middles`."""
_WORDS = {"trunk": ("shoulder", "hip"), "middles": ("elbow", "knee"), "ends": ("wrist", "ankle")}

WRONG, WRONG_PART = 0.1, 0.2
"""A point is wrong if it is off by more than this share of the torso; in hands and face, of the hand or face."""

TORSO = 0.3
"""Torso as a share of the longer side of the box, where it is not seen."""
_HAND, _FACE = 0.35, 0.4
"""Hand and face, as shares of the torso, where they are not seen."""

_BONES = {  # in torsos: what few people exceed
    ("shoulder", "shoulder"): 0.75, ("hip", "hip"): 0.55, ("shoulder", "hip"): 1.0, ("shoulder", "elbow"): 0.65,
    ("elbow", "wrist"): 0.6, ("hip", "knee"): 0.85, ("knee", "ankle"): 0.85, ("eye", "ear"): 0.25,
    ("nose", "eye"): 0.15, ("eye", "eye"): 0.15, ("ear", "shoulder"): 0.6,
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Layout:
    """A keypoint set of K points.

    Attributes:
        group: (K,) index into `GROUPS`; groups: how many there are.
        body: indices of the points that place the person: shoulders and hips, or all.
        partner: (K,) the point on the other side, -1 for none.
        sides: pairs (P, 2) left and right of the body that change sides together: arms, legs, head.
        side: (K,) which of these a point goes with, -1 for none: a hand goes with the arms.
        bones: pairs of points with a length; usual_lengths: in torsos, 0 where unknown.
        homes: point of a hand, foot or face -> (a point of its part, the body point where that must be).
        widths: pairs (left, right): shoulders, hips, eyes.
        hands, face: indices of each hand and of the face.
    """

    group: np.ndarray
    body: np.ndarray
    partner: np.ndarray
    sides: list[np.ndarray]
    side: np.ndarray
    bones: tuple[tuple[int, int], ...]
    usual_lengths: tuple[float, ...]
    homes: dict[int, tuple[int, int]]
    widths: list[tuple[int, int]]
    torso: tuple[tuple[int, int], ...]
    hands: list[np.ndarray] = field(default_factory=list)
    face: np.ndarray | None = None
    groups: int = len(GROUPS)

    def bones_of(self, point: int) -> list[int]:
        """Indices of the bones that end at a point."""
        return [number for number, bone in enumerate(self.bones) if point in bone]


@lru_cache(maxsize=8)
def layout_of(keypoint_set: str, count: int) -> Layout:
    """The layout of a set by name; of an unknown one with `count` points, without sides and bones."""
    known = KEYPOINT_SETS.get(keypoint_set)
    if known is None:
        everything = np.arange(count)
        nothing = np.full(count, -1)
        return Layout(
            np.full(count, GROUPS.index("middles")), everything, nothing, [], nothing, (), (), {}, [], ()
        )  # fmt: skip
    names = known.names
    partner = np.full(count, -1)
    for left, right in known.flip_pairs:
        partner[left], partner[right] = right, left
    groups, side = flip_groups(keypoint_set), np.full(count, -1)
    for number, pairs in enumerate(groups):
        side[pairs.ravel()] = number
    bones = tuple(link for link in known.links if not names[link[0]].startswith("face"))
    trunk = [i for i, name in enumerate(names[:BODY_POINTS]) if any(word in name for word in _WORDS["trunk"])]
    at = {name: i for i, name in enumerate(names)}
    widths = [(at[f"left_{name}"], at[f"right_{name}"]) for name in ("shoulder", "hip", "eye")]
    return Layout(
        _group_of_each(keypoint_set), np.asarray(trunk), partner,
        [pairs[pairs.max(axis=1) < BODY_POINTS] for pairs in groups], side, bones,
        tuple(_usual_length(names[a], names[b]) for a, b in bones), _homes(keypoint_set), widths,
        ((at["left_shoulder"], at["right_hip"]), (at["right_shoulder"], at["left_hip"])),
        [np.asarray(known.parts[part]) for part in ("left_hand", "right_hand") if part in known.parts],
        np.asarray(known.parts["face"]) if "face" in known.parts else None,
    )  # fmt: skip


def _group_of_each(keypoint_set: str) -> np.ndarray:
    known = KEYPOINT_SETS[keypoint_set]
    group = np.full(len(known), GROUPS.index("middles"))
    for i, name in enumerate(known.names):
        if name in HEAD:
            group[i] = GROUPS.index("head")
        for label, words in _WORDS.items():
            if any(word in name for word in words):
                group[i] = GROUPS.index(label)
    for part, label in (("feet", "feet"), ("face", "face"), ("left_hand", "hands"), ("right_hand", "hands")):
        group[list(known.parts.get(part, ()))] = GROUPS.index(label)
    return group


def _usual_length(first: str, second: str) -> float:
    for (a, b), length in _BONES.items():
        if (a in first and b in second) or (b in first and a in second):
            return length
    return 0.0


def _homes(keypoint_set: str) -> dict[int, tuple[int, int]]:
    """Point -> (first point of its part, body point): hands at wrists, the face's nose at the nose, feet at ankles."""
    known = KEYPOINT_SETS[keypoint_set]
    homes: dict[int, tuple[int, int]] = {}
    anchors = {"left_hand": (0, "left_wrist"), "right_hand": (0, "right_wrist"), "face": (30, "nose")}
    for part, (anchor, body) in anchors.items():
        points = known.parts.get(part, ())
        homes |= {point: (points[anchor], known.index(body)) for point in points}
    for side in ("left", "right"):
        heel = f"{side}_heel"
        if heel in known.names:
            foot = [i for i in known.parts["feet"] if known.names[i].startswith(side)]
            homes |= {point: (known.index(heel), known.index(f"{side}_ankle")) for point in foot}
    return homes


def radii(track: Track, layout: Layout, alone: bool = False) -> np.ndarray:
    """(N, K) float32 pixels, at least .5: the error from which on a point is wrong, see `WRONG`, `WRONG_PART`.

    The person's usual torso, hands and face as shares of the box, times the box of each frame; `alone`: as they are
    in each frame, for pictures.
    """
    box = _box_sides(track)
    torso = _share([distance(track.keypoints[:, a], track.keypoints[:, b]) for a, b in layout.torso], box, TORSO, alone)
    torso = np.clip(torso, 0.5 * TORSO, 2.2 * TORSO)
    result = np.repeat((WRONG * torso * box)[:, None], track.scores.shape[1], axis=1)
    parts = [(hand, _HAND) for hand in layout.hands]
    if layout.face is not None:
        parts.append((layout.face, _FACE))
    for points, usual in parts:
        share = _share([_extent(track.keypoints[:, points])], box, usual * torso, alone)
        result[:, points] = (WRONG_PART * np.clip(share, 0.5 * usual * torso, 2 * usual * torso) * box)[:, None]
    return np.maximum(result, 0.5).astype(np.float32)


def _extent(points: np.ndarray) -> np.ndarray:
    """(N, k, 2) -> (N,) longer side of the rectangle around the known points, NaN without any."""
    known = np.isfinite(points)
    high, low = np.where(known, points, -np.inf).max(axis=1), np.where(known, points, np.inf).min(axis=1)
    return np.where(np.isfinite(high) & np.isfinite(low), high - low, np.nan).max(axis=-1)


def _box_sides(track: Track) -> np.ndarray:
    """(N,) longer side of the box in pixels; of the points where there is no box."""
    sides = track.sizes()
    if (sides[track.present] <= 1).any():
        extent = np.nan_to_num(_extent(track.keypoints), nan=1.0)
        sides = np.where(sides <= 1, np.maximum(extent, 1), sides)
    return sides


def _share(lengths: list[np.ndarray], box: np.ndarray, unknown: float | np.ndarray, alone: bool) -> np.ndarray:
    """(N,) the largest of the lengths (N,) each as a share of the box: `alone` of each frame, else the median of all.

    `unknown` where there is none.
    """
    if not lengths:
        return np.broadcast_to(unknown, box.shape)
    largest = np.fmax.reduce(np.stack(lengths)) / box
    if not alone:
        known = largest[np.isfinite(largest)]
        largest = np.full(len(box), np.median(known) if len(known) else np.nan)
    return np.where(np.isfinite(largest), largest, unknown)
