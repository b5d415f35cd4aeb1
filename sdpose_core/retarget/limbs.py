"""Giving a moving figure the limb lengths of another, like MusePose's alignment.

Every limb keeps its direction; its length is multiplied by one ratio, reference to clip, for all frames, which keeps
foreshortening and distance from the camera. The figure is rebuilt from the root outward; points attached to a joint
(face, hands, feet) are scaled about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from .affine import Similarity
from .body import BONES, LIMBS, MID_HIP, NAMES, NECK, NOSE, Figure, NothingInCommon, body_nodes, lowest, too_short
from .frame import ROOTS, interpolated, matching_frame, root_path

LEGS = ("left_thigh", "right_thigh", "left_shank", "right_shank")
LIMIT = 3.0
"""Ratios are limited to this factor from the mean of all limbs."""


@dataclass(frozen=True)
class Fit:
    """How to turn one figure into another.

    Attributes:
        ratios: limb -> reference's length / clip's length.
        mean: mean of the known ratios.
        known: limbs measured in both.
        place: map of the paths of root and feet.
        root: node from which the figure is rebuilt.
        grounded: `place` sets the height of the lower foot instead of the root.
        frame: frame of the clip that is placed on the reference.
        likeness: of that frame's pose to the reference's, 0 to 1.
    """

    ratios: dict[str, float]
    mean: float
    known: tuple[str, ...]
    place: Similarity
    root: int
    grounded: bool
    frame: int
    likeness: float

    def scaled(self, factor: float, place: Similarity, grounded: bool) -> Fit:
        """The same proportions at another size and place."""
        ratios = {name: ratio * factor for name, ratio in self.ratios.items()}
        return replace(self, ratios=ratios, mean=self.mean * factor, place=place, grounded=grounded)


def fit_limbs(clip: Figure, reference: Figure, feet: bool = True, at: str = "typical") -> Fit:
    """Fit a clip's figure to a reference of one or more frames, of which the most typical one counts.

    Raises `NothingInCommon` if they have no limb or no joint in common.
    """
    still, _ = matching_frame(reference, None)
    pose, ground = reference.nodes[still], lowest(reference.nodes)[still]
    root = _root(clip, pose)
    grounded = feet and bool(np.isfinite(ground)) and bool(np.isfinite(lowest(clip.nodes)).any())
    frame, likeness = matching_frame(clip, pose, at, root, grounded)
    ratios = _ratios(clip, frame, reference, still, likeness)
    known = {name: float(ratio) for name, ratio in zip(NAMES, ratios, strict=True) if np.isfinite(ratio)}
    complete, mean = _completed(known)
    legs = [complete[name] for name in LEGS if name in known]
    travel = float(np.mean(legs)) if legs else mean
    source, target = root_path(clip.nodes, root)[frame], pose[root].copy()
    if grounded:
        source[1], target[1] = interpolated(lowest(clip.nodes))[frame], ground
    place = Similarity(travel, tuple(source.tolist()), tuple(target.tolist()))
    return Fit(complete, mean, tuple(known), place, root, grounded, frame, likeness)


def _ratios(clip: Figure, frame: int, reference: Figure, still: int, likeness: float) -> np.ndarray:
    """(M,) ratios, NaN unknown: of lengths over the clip, blended by likeness with those of the two frames.

    In the same pose, limbs have the same foreshortening and can be compared directly. Otherwise a limb that points at
    the camera in only one of them is unknown.
    """
    wanted, given = reference.at(still), clip.at(frame)
    over_time = np.where(too_short(wanted) == too_short(given), wanted / given, np.nan)
    as_seen = reference.lengths[still] / clip.lengths[frame]
    mixed = as_seen**likeness * over_time ** (1 - likeness)
    return np.where(np.isfinite(mixed), mixed, as_seen if likeness > 0.5 else over_time)


def _completed(known: dict[str, float]) -> tuple[dict[str, float], float]:
    """Ratios of all limbs and the mean of the known ones; unknown limbs get the other side's ratio or the mean."""
    known = dict(known)
    eyes = known.pop("eyes", None)
    if eyes is not None:
        known.setdefault("head", eyes)
    if not known:
        raise NothingInCommon("no limb is seen in both")
    mean = float(np.mean(list(known.values())))
    complete = {name: known.get(name, known.get(limb.pair or "", mean)) for name, limb in LIMBS.items()}
    return {name: float(np.clip(ratio, mean / LIMIT, mean * LIMIT)) for name, ratio in complete.items()}, mean


def _root(clip: Figure, pose: np.ndarray) -> int:
    """The node by which the clip is placed on the reference."""
    share = np.isfinite(clip.nodes[..., 0]).mean(axis=0) * np.isfinite(pose[:, 0])
    for node in ROOTS:
        if share[node] >= 0.5:
            return node
    if not share.any():
        raise NothingInCommon("no joint is seen in both")
    return int(np.argmax(share))


def refit(keypoints: np.ndarray, seen: np.ndarray, fit: Fit) -> np.ndarray:
    """(N, K, 2) COCO points and (N, K) which of them count -> (N, K, 2) as the other figure; NaN stays NaN.

    Points that do not count are moved too, but carry nothing: points beyond a hidden joint are attached to the next
    seen one, with the mean ratio of the limbs in between.
    """
    nodes = body_nodes(keypoints, seen)
    points = np.concatenate([keypoints[:, :17], nodes[:, 17:], keypoints[:, 17:]], axis=1)
    start, none = root_path(nodes, fit.root), np.zeros((len(nodes), 1))
    moved = np.empty_like(points)
    moved[:, fit.root] = fit.place(points[:, fit.root])
    holds = {fit.root: _Hold(start, fit.place(start), none, none)}
    for child, parent, limb in _tree(fit.root, points.shape[1]):
        hold = holds[parent].onwards(LIMBS[limb].usual, fit.ratios[limb])
        moved[:, child] = hold.carry(points[:, child])
        if child < nodes.shape[1]:
            holds[child] = hold.moved_to(nodes[:, child])
    result = np.delete(moved, [NECK, MID_HIP], axis=1)
    if fit.grounded:
        result[..., 1] += _to_the_ground(lowest(nodes), lowest(body_nodes(result, seen)), fit.place)[:, None]
    return result


@dataclass(frozen=True)
class _Hold:
    """An anchor of the next points: (N, 2) before and after, and (N, 1) sums of the limbs since then."""

    source: np.ndarray
    target: np.ndarray
    ratios: np.ndarray
    lengths: np.ndarray

    def onwards(self, length: float, ratio: float) -> _Hold:
        return replace(self, ratios=self.ratios + length * ratio, lengths=self.lengths + length)

    def carry(self, points: np.ndarray) -> np.ndarray:
        return self.target + self.ratios / self.lengths * (points - self.source)

    def moved_to(self, node: np.ndarray) -> _Hold:
        """A new hold at a joint, in the frames that show it."""
        seen = np.isfinite(node).all(axis=1, keepdims=True)
        return _Hold(
            np.where(seen, node, self.source), np.where(seen, self.carry(node), self.target),
            np.where(seen, 0, self.ratios), np.where(seen, 0, self.lengths),
        )  # fmt: skip


def _to_the_ground(before: np.ndarray, after: np.ndarray, place: Similarity) -> np.ndarray:
    """(N,) pixels to lower a figure, so that its lower ankle follows the clip's."""
    wanted = place(np.stack([before, before], axis=1))[:, 1]
    return np.nan_to_num(interpolated(wanted - after))


def _tree(root: int, count: int) -> Iterator[tuple[int, int, str]]:
    """(child, parent, limb) from the root outward; the 19 nodes are followed by COCO-WholeBody's points from 17 on."""
    reached, waiting = {root}, list(BONES)
    while waiting:
        rest = []
        for a, b, limb in waiting:
            if a in reached or b in reached:
                yield (b, a, limb) if a in reached else (a, b, limb)
                reached |= {a, b}
            else:
                rest.append((a, b, limb))
        waiting = rest
    for node in range(19, count):
        yield node, *_holder(node - 2)


def _holder(point: int) -> tuple[int, str]:
    """The joint that carries a COCO-WholeBody point beyond the body, and the limb that scales it."""
    if point < 23:
        return (15, "left_shank") if point < 20 else (16, "right_shank")
    if point < 91:
        return NOSE, "head"
    return (9, "left_forearm") if point < 112 else (10, "right_forearm")
