"""Which frame of a clip stands for a reference, and the way of a joint through the frames in which it is hidden."""

from __future__ import annotations

import numpy as np

from .body import MID_HIP, NECK, NOSE, Figure, quantile

ROOTS = (MID_HIP, NECK, NOSE)
"""Where a figure is held, the best first."""

LIKE = 0.02
"""Difference of two poses, in shares of the figure's spread, beyond which they are not taken for the same."""


def matching_frame(
    clip: Figure, pose: np.ndarray | None, at: str = "typical", root: int = MID_HIP, grounded: bool = True
) -> tuple[int, float]:
    """The frame of a clip in which a figure stands for the reference (19, 2), and how alike the poses are, 0 to 1.

    A reference that is a frame of the clip, or nearly so, is compared with that frame. Otherwise it is a frame in which
    most of the figure is seen and its feet are not in the air: the "first" one, or the most "typical" one in size and
    in the place of root or feet.
    """
    if pose is not None:
        differences = _differences(clip.nodes, pose)
        if np.isfinite(differences).any():
            frame = int(np.argmax(differences <= np.nanmin(differences) + 0.01 * LIKE))
            likeness = float(np.exp(-((differences[frame] / LIKE) ** 2)))
            if likeness > 0.1:
                return frame, likeness
    seen = np.isfinite(clip.nodes[:, :17, 0]).sum(axis=1)
    usable = seen >= 0.8 * seen.max()
    standing = usable & ~_in_the_air(clip)
    usable = standing if standing.any() else usable
    oddness = np.zeros(len(seen)) if at == "first" else _oddness(clip, root, grounded)
    return int(np.argmin(np.where(usable, oddness, np.inf))), 0.0


def _oddness(clip: Figure, root: int, grounded: bool) -> np.ndarray:
    """(N,) how far place and size are from their medians over the clip, in lengths of the trunk."""
    path = root_path(clip.nodes, root)
    y = interpolated(clip.lowest()) if grounded else path[:, 1]
    places = np.stack([path[:, 0] / clip.unit(), y / clip.unit(), np.log(interpolated(clip.scale))], axis=1)
    return np.nan_to_num(np.abs(places - np.median(places, axis=0)).sum(axis=1))


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
    scale = np.maximum((a * b * weights).sum(axis=(1, 2)), 0) / np.maximum(own, 1e-9)
    left = ((scale[:, None, None] * a - b) ** 2 * weights).sum(axis=(1, 2))
    return np.where(enough, np.sqrt(left / np.maximum(spread, 1e-9)), np.nan)


def _in_the_air(clip: Figure) -> np.ndarray:
    """(N,) whether the feet are clearly above where they are at other times within a second or so.

    The ground on which somebody comes nearer goes down in the picture in proportion to the size of the person: that
    part of the motion is taken out first.
    """
    low = interpolated(clip.lowest())
    if np.isnan(low).any():
        return np.zeros(len(low), bool)
    scale = interpolated(clip.scale)
    grown = scale - scale.mean()
    level = low - grown * (grown @ (low - low.mean())) / (grown @ grown + 0.05**2 * len(low))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(level, 25, constant_values=np.nan), 51)
    return level < quantile(around.T, 0.5) - 0.1 * clip.unit() * scale


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
