"""Giving a moving figure the limbs of another, in the manner of MusePose's alignment.

Every limb keeps the direction that it has in each frame; its length is multiplied by a ratio, reference to clip, that
is the same in all frames: so foreshortening stays, and so does the distance from the camera. The figure is put together
again from the root outwards; what hangs on a joint (face, hands, feet) is scaled about it.
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
"""No limb's ratio differs from the mean of all by more than this factor."""


@dataclass(frozen=True)
class Fit:
    """How a figure is made into another.

    Attributes:
        ratios: limb -> reference's length / clip's length.
        mean: mean of the ratios that are known.
        known: limbs that were measured in both.
        place: where things go: the way of the root and of the feet is moved and scaled so.
        root: node from which the figure is put together.
        grounded: the lower foot goes where `place` says, instead of the root's height.
        frame: the frame of the clip in which it stands where the reference does.
        likeness: how much that frame shows the very pose of the reference, 0 to 1.
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
    """What makes the figure of a clip into that of a reference (of one or more frames; its most typical one counts).

    Raises `NothingInCommon` if there is no limb, or no place, that both show.
    """
    still, _ = matching_frame(reference, None)
    pose, ground = reference.nodes[still], reference.lowest()[still]
    root = _root(clip, pose)
    grounded = feet and bool(np.isfinite(ground)) and bool(np.isfinite(clip.lowest()).any())
    frame, likeness = matching_frame(clip, pose, at, root, grounded)
    ratios = _ratios(clip, frame, reference, still, likeness)
    known = {name: float(ratio) for name, ratio in zip(NAMES, ratios, strict=True) if np.isfinite(ratio)}
    complete, mean = _completed(known)
    legs = [complete[name] for name in LEGS if name in known]
    travel = float(np.mean(legs)) if legs else mean
    source, target = root_path(clip.nodes, root)[frame], pose[root].copy()
    if grounded:
        source[1], target[1] = interpolated(clip.lowest())[frame], ground
    place = Similarity(travel, tuple(source.tolist()), tuple(target.tolist()))
    return Fit(complete, mean, tuple(known), place, root, grounded, frame, likeness)


def _ratios(clip: Figure, frame: int, reference: Figure, still: int, likeness: float) -> np.ndarray:
    """(M,) ratios, NaN unknown: of the lengths over the clip, or of single frames as far as they show the same pose.

    In the same pose limbs are foreshortened alike, and can be compared as they look. Otherwise a limb that points at
    the camera in the one but not in the other is unknown.
    """
    wanted, given = reference.at(still), clip.at(frame)
    over_time = np.where(too_short(wanted) == too_short(given), wanted / given, np.nan)
    as_seen = reference.lengths[still] / clip.lengths[frame]
    mixed = as_seen**likeness * over_time ** (1 - likeness)
    return np.where(np.isfinite(mixed), mixed, as_seen if likeness > 0.5 else over_time)


def _completed(known: dict[str, float]) -> tuple[dict[str, float], float]:
    """Every limb's ratio, and the mean of the known ones: the other side's, or that mean, for those unknown."""
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
    """The node at which the two figures are held together."""
    share = np.isfinite(clip.nodes[..., 0]).mean(axis=0) * np.isfinite(pose[:, 0])
    for node in ROOTS:
        if share[node] >= 0.5:
            return node
    if not share.any():
        raise NothingInCommon("no joint is seen in both")
    return int(np.argmax(share))


def refit(keypoints: np.ndarray, seen: np.ndarray, fit: Fit) -> np.ndarray:
    """(N, K, 2) COCO points and (N, K) which of them count -> (N, K, 2) as the other figure; NaN stays NaN.

    Points that do not count are moved, too, but nothing hangs on them: what is beyond a hidden joint hangs on the next
    one that is seen, its way scaled by the mean of the ratios in between.
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
    """Where the next points hang: (N, 2) before and after, and (N, 1) ratios and lengths of the limbs since then."""

    source: np.ndarray
    target: np.ndarray
    ratios: np.ndarray
    lengths: np.ndarray

    def onwards(self, length: float, ratio: float) -> _Hold:
        """One limb further out."""
        return replace(self, ratios=self.ratios + length * ratio, lengths=self.lengths + length)

    def carry(self, points: np.ndarray) -> np.ndarray:
        """(N, 2) -> (N, 2)."""
        return self.target + self.ratios / self.lengths * (points - self.source)

    def moved_to(self, node: np.ndarray) -> _Hold:
        """A new hold at a joint, in the frames in which it is seen."""
        there = np.isfinite(node).all(axis=1, keepdims=True)
        return _Hold(
            np.where(there, node, self.source), np.where(there, self.carry(node), self.target),
            np.where(there, 0, self.ratios), np.where(there, 0, self.lengths),
        )  # fmt: skip


def _to_the_ground(before: np.ndarray, after: np.ndarray, place: Similarity) -> np.ndarray:
    """(N,) pixels by which a figure is lowered, so that its lower ankle goes the way of the clip's."""
    wanted = place(np.stack([before, before], axis=1))[:, 1]
    shift = interpolated(wanted - after)
    return np.nan_to_num(shift)


def _tree(root: int, count: int) -> Iterator[tuple[int, int, str]]:
    """(child, parent, limb) from the root outwards; after the 19 nodes come COCO-WholeBody's points from 17 on."""
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
    """The joint on which a point of COCO-WholeBody beyond the body hangs, and the limb that scales it."""
    if point < 23:
        return (15, "left_shank") if point < 20 else (16, "right_shank")
    if point < 91:
        return NOSE, "head"
    return (9, "left_forearm") if point < 112 else (10, "right_forearm")
