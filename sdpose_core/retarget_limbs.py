"""Giving a moving figure the limbs of another, in the manner of MusePose's alignment.

Every limb keeps the direction that it has in each frame; its length is multiplied by a ratio, reference to clip, that is
the same in all frames: so foreshortening stays, and so does the distance from the camera. The figure is put together
again from the root outwards; what hangs on a joint (face, hands, feet) is scaled about it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from .retarget_affine import Similarity
from .retarget_body import BONES, LIMBS, MID_HIP, NAMES, NECK, NOSE, Figure, body_nodes, lowest

ROOTS = (MID_HIP, NECK, NOSE)
"""Where a figure is held, the best first."""

LEGS = ("left_thigh", "right_thigh", "left_shank", "right_shank")
LIMIT = 3.0
"""No limb's ratio differs from the mean of all by more than this factor."""

LIKE = 0.08
"""Difference of two poses, in shares of the figure's spread, beyond which they are not taken for the same."""


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
        return Fit(
            ratios, self.mean * factor, self.known, place, self.root, grounded, self.frame, self.likeness
        )  # fmt: skip


# --- the frame that is compared -------------------------------------------------------------------------------------


def matching_frame(clip: Figure, pose: np.ndarray) -> tuple[int, float]:
    """The frame of a clip in which a figure stands for the reference (19, 2), and how alike the poses are, 0 to 1.

    A reference that is a frame of the clip, or nearly so, is compared with that frame. Otherwise it is the first frame
    in which most of the figure is seen and its feet are on the ground: there the animation of the reference begins.
    """
    differences = _differences(clip.nodes, pose)
    if np.isfinite(differences).any():
        frame = int(np.argmax(differences <= np.nanmin(differences) + 0.01 * LIKE))
        likeness = float(np.exp(-((differences[frame] / LIKE) ** 2)))
        if likeness > 0.1:
            return frame, likeness
    seen = np.isfinite(clip.nodes[:, :17, 0]).sum(axis=1)
    usable = seen >= 0.8 * seen.max()
    standing = usable & ~_in_the_air(clip)
    return int(np.argmax(standing if standing.any() else usable)), 0.0


def _differences(nodes: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(N,) distance of a pose from each frame after the best move and scaling, in shares of the pose's spread.

    NaN where fewer than four joints, or much fewer than elsewhere, are seen in both.
    """
    both = np.isfinite(nodes[:, :17]).all(axis=-1) & np.isfinite(pose[:17]).all(axis=-1)
    count = both.sum(axis=1)
    enough = (count >= 4) & (count >= 0.8 * count.max())
    weights = both[..., None] / np.maximum(count, 1)[:, None, None]
    a, b = np.where(both[..., None], nodes[:, :17], 0), np.where(both[..., None], pose[:17], 0)
    a, b = a - (a * weights).sum(axis=1, keepdims=True), b - (b * weights).sum(axis=1, keepdims=True)
    spread, own = (b**2 * weights).sum(axis=(1, 2)), (a**2 * weights).sum(axis=(1, 2))
    scale = (a * b * weights).sum(axis=(1, 2)) / np.maximum(own, 1e-9)
    left = ((scale[:, None, None] * a - b) ** 2 * weights).sum(axis=(1, 2))
    return np.where(enough, np.sqrt(left / np.maximum(spread, 1e-9)), np.nan)


def _in_the_air(clip: Figure) -> np.ndarray:
    """(N,) whether the feet are clearly above where they are at other times within half a second or so."""
    low = interpolated(clip.lowest())
    if np.isnan(low).any():
        return np.zeros(len(low), bool)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(low, 12, constant_values=np.nan), 25)
    trunk = np.nanmedian(clip.proportions / np.asarray([limb.usual for limb in LIMBS.values()]))
    return low < np.nanmedian(around, axis=1) - 0.15 * trunk


# --- ratios ---------------------------------------------------------------------------------------------------------


def fit_limbs(clip: Figure, reference: Figure, feet: bool = True) -> Fit:
    """What makes the figure of a clip into that of a reference (of one or more frames; its first good one counts).

    Raises `ValueError` if there is no limb, or no place, that both show.
    """
    still, _ = matching_frame(reference, np.full((19, 2), np.nan))
    pose = reference.nodes[still]
    frame, likeness = matching_frame(clip, pose)
    ratios = _ratios(clip, frame, reference, still, likeness)
    if not np.isfinite(ratios).any():
        raise ValueError("no limb is seen in both")
    complete, mean = _completed(dict(zip(NAMES, ratios, strict=True)))
    known = tuple(name for name, ratio in zip(NAMES, ratios, strict=True) if np.isfinite(ratio))
    legs = [complete[name] for name in LEGS if name in known]
    travel = float(np.mean(legs)) if legs else mean
    root = _root(clip, pose)
    path = root_path(clip.nodes, root)
    grounded = feet and np.isfinite(lowest(pose[None])[0]) and bool(np.isfinite(clip.lowest()).any())
    source, target = path[frame].copy(), pose[root].copy()
    if grounded:
        source[1], target[1] = interpolated(clip.lowest())[frame], lowest(pose[None])[0]
    place = Similarity(travel, tuple(source.tolist()), tuple(target.tolist()))
    return Fit(complete, mean, known, place, root, bool(grounded), frame, likeness)


def _ratios(clip: Figure, frame: int, reference: Figure, still: int, likeness: float) -> np.ndarray:
    """(M,) ratios, NaN unknown: of the lengths over the clip, or of single frames as far as they show the same pose.

    In the same pose limbs are foreshortened alike, and can be compared as they look.
    """
    over_time = reference.at(still) / clip.at(frame)
    as_seen = reference.lengths[still] / clip.lengths[frame]
    mixed = as_seen**likeness * over_time ** (1 - likeness)
    return np.where(np.isfinite(mixed), mixed, as_seen if likeness > 0.5 else over_time)


def _completed(ratios: dict[str, float]) -> tuple[dict[str, float], float]:
    """Every limb's ratio, and the mean of the known ones: the other side's, or that mean, for those unknown."""
    mean = float(np.mean([ratio for ratio in ratios.values() if np.isfinite(ratio)]))
    if not np.isfinite(ratios["head"]):
        ratios = {**ratios, "head": ratios["eyes"]}
    complete = {}
    for name, limb in LIMBS.items():
        choices = (ratios[name], ratios[limb.pair] if limb.pair else np.nan, mean)
        ratio = next(choice for choice in choices if np.isfinite(choice))
        complete[name] = float(np.clip(ratio, mean / LIMIT, mean * LIMIT))
    return complete, mean


def _root(clip: Figure, pose: np.ndarray) -> int:
    """The node at which the two figures are held together."""
    share = np.isfinite(clip.nodes[..., 0]).mean(axis=0) * np.isfinite(pose[:, 0])
    for node in ROOTS:
        if share[node] >= 0.5:
            return node
    if not share.any():
        raise ValueError("no joint is seen in both")
    return int(np.argmax(share))


# --- putting together -----------------------------------------------------------------------------------------------


def interpolated(values: np.ndarray) -> np.ndarray:
    """(N,) or (N, D) with NaN -> the same with gaps filled along N; ends are held. All NaN stays NaN."""
    known = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if known.all() or not known.any():
        return values
    frames = np.arange(len(values))
    columns = values.reshape(len(values), -1).T
    filled = np.stack([np.interp(frames, frames[known], column[known]) for column in columns], axis=1)
    return filled.reshape(values.shape)


def root_path(nodes: np.ndarray, root: int) -> np.ndarray:
    """(N, 19, 2) -> (N, 2) the way of the root, without gaps: where it is hidden it goes along with other joints."""
    path = nodes[:, root].copy()
    for other in (*ROOTS, *range(17)):
        missing = np.isnan(path).any(axis=1)
        if not missing.any():
            break
        offset = interpolated(path - nodes[:, other])
        path[missing] = (nodes[:, other] + offset)[missing]
    return interpolated(path)


def refit(keypoints: np.ndarray, seen: np.ndarray, fit: Fit) -> np.ndarray:
    """(N, K, 2) COCO points and (N, K) which of them count -> (N, K, 2) as the other figure; NaN stays NaN.

    Points that do not count are moved, too, but nothing hangs on them: what is beyond a hidden joint hangs on the next
    one that is seen, its way scaled by the mean of the ratios in between.
    """
    nodes = body_nodes(keypoints, seen)
    low = lowest(nodes)
    start = root_path(nodes, fit.root)
    hidden = np.zeros(len(nodes))
    bases = {fit.root: (start, fit.place(start), hidden, hidden)}
    result = np.full(keypoints.shape, np.nan)
    if fit.root < 17:
        result[:, fit.root] = fit.place(keypoints[:, fit.root])
    for child, parent, limb in _tree(fit.root, keypoints.shape[1]):
        point = nodes[:, child] if child in (NECK, MID_HIP) else keypoints[:, child if child < 17 else child - 2]
        source, target, ratios, ways = bases[parent]
        usual = LIMBS[limb].usual
        ratios, ways = ratios + usual * fit.ratios[limb], ways + usual
        moved = target + (ratios / ways)[:, None] * (point - source)
        if child not in (NECK, MID_HIP):
            result[:, child if child < 17 else child - 2] = moved
        if child < 19:
            there = np.isfinite(nodes[:, child]).all(axis=1)
            bases[child] = (
                np.where(there[:, None], nodes[:, child], source), np.where(there[:, None], moved, target),
                np.where(there, 0, ratios), np.where(there, 0, ways),
            )  # fmt: skip
    if fit.grounded:
        result[..., 1] += _to_the_ground(low, lowest(body_nodes(result, seen)), fit.place)[:, None]
    return result


def _to_the_ground(before: np.ndarray, after: np.ndarray, place: Similarity) -> np.ndarray:
    """(N,) pixels by which a figure is lowered, so that its lower ankle goes the way of the clip's."""
    wanted = place(np.stack([before, before], axis=1))[:, 1]
    shift = interpolated(wanted - after)
    return np.nan_to_num(shift)


def _tree(root: int, count: int) -> Iterator[tuple[int, int, str]]:
    """(child, parent, limb) of all nodes from the root outwards; nodes from 19 on are COCO-WholeBody's points from 17."""
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
    for point in range(17, count):
        yield point + 2, *_holder(point)


def _holder(point: int) -> tuple[int, str]:
    """The joint on which a point of COCO-WholeBody beyond the body hangs, and the limb that scales it."""
    if point < 23:
        return (15, "left_shank") if point < 20 else (16, "right_shank")
    if point < 91:
        return NOSE, "head"
    return (9, "left_forearm") if point < 112 else (10, "right_forearm")
