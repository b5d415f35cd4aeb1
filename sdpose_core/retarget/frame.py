"""The frame of a clip that matches a reference, and the path of a joint across frames that hide it."""

from __future__ import annotations

import numpy as np

from .body import MID_HIP, NECK, NOSE, Figure, lowest, quantile

ROOTS = (MID_HIP, NECK, NOSE)
"""Candidates for the root of a figure, best first."""

LIKE = 0.02
"""Difference of two poses, as a share of the figure's spread, at which their likeness has dropped to 1/e."""


def matching_frame(
    clip: Figure, pose: np.ndarray | None, at: str = "typical", root: int = MID_HIP, grounded: bool = True
) -> tuple[int, float]:
    """The frame of a clip to compare with the reference (19, 2), and the likeness of the two poses, 0 to 1.

    If the reference is (nearly) a frame of the clip, that frame. Otherwise, of the frames that show most of the figure
    with its feet on the ground, the "first" one, or the most "typical" one in size and place.
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
    """(N,) deviation of place and size from their medians over the clip, in trunk lengths."""
    path = root_path(clip.nodes, root)
    y = interpolated(lowest(clip.nodes)) if grounded else path[:, 1]
    places = np.stack([path[:, 0] / clip.unit(), y / clip.unit(), np.log(interpolated(clip.scale))], axis=1)
    return np.nan_to_num(np.abs(places - np.median(places, axis=0)).sum(axis=1))


def _differences(nodes: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """(N,) distance of a pose from each frame after the best translation and scaling, as a share of the pose's spread.

    NaN if they have fewer than four joints in common, or far fewer than other frames.
    """
    both = np.isfinite(nodes[:, :17]).all(axis=-1) & np.isfinite(pose[:17]).all(axis=-1)
    count = both.sum(axis=1)
    enough = (count >= 4) & (count >= 0.8 * count.max())
    weights = both[..., None] / np.maximum(count, 1)[:, None, None]
    a, b = np.where(both[..., None], nodes[:, :17], 0), np.where(both[..., None], pose[:17], 0)
    a, b = a - (a * weights).sum(axis=1, keepdims=True), b - (b * weights).sum(axis=1, keepdims=True)
    spread_a, spread_b = (a**2 * weights).sum(axis=(1, 2)), (b**2 * weights).sum(axis=(1, 2))
    scale = np.maximum((a * b * weights).sum(axis=(1, 2)), 0) / np.maximum(spread_a, 1e-9)
    residual = ((scale[:, None, None] * a - b) ** 2 * weights).sum(axis=(1, 2))
    return np.where(enough, np.sqrt(residual / np.maximum(spread_b, 1e-9)), np.nan)


def _in_the_air(clip: Figure) -> np.ndarray:
    """(N,) whether the feet are clearly higher than at other times within about a second.

    When somebody comes nearer, the ground under them moves down in proportion to their size: this motion is removed
    first.
    """
    low = interpolated(lowest(clip.nodes))
    if np.isnan(low).any():
        return np.zeros(len(low), bool)
    scale = interpolated(clip.scale)
    grown = scale - scale.mean()
    level = low - grown * (grown @ (low - low.mean())) / (grown @ grown + 0.05**2 * len(low))
    around = np.lib.stride_tricks.sliding_window_view(np.pad(level, 25, constant_values=np.nan), 51)
    return level < quantile(around.T, 0.5) - 0.1 * clip.unit() * scale


def interpolated(values: np.ndarray) -> np.ndarray:
    """(N,) or (N, D) with NaN -> gaps filled linearly along N, ends held. All NaN stays NaN."""
    known = np.isfinite(values).reshape(len(values), -1).all(axis=1)
    if known.all() or not known.any():
        return values
    frames = np.arange(len(values))
    columns = values.reshape(len(values), -1).T
    filled = np.stack([np.interp(frames, frames[known], column[known]) for column in columns], axis=1)
    return filled.reshape(values.shape)


def root_path(nodes: np.ndarray, root: int) -> np.ndarray:
    """(N, 19, 2) -> (N, 2) path of the root without gaps: while hidden it moves along with other joints."""
    path = nodes[:, root].copy()
    for other in (*ROOTS, *range(17)):
        missing = np.isnan(path).any(axis=1)
        if not missing.any():
            break
        offset = interpolated(path - nodes[:, other])
        path[missing] = (nodes[:, other] + offset)[missing]
    return interpolated(path)
