"""Moving and scaling whole figures: MimicMotion's fit of a clip to a reference, and fitting to a canvas."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from .body import NECK, Figure, NothingInCommon
from .frame import matching_frame

log = logging.getLogger(__name__)

AFFINE_NODES = (0, NECK, 5, 6, 11, 12, 13, 14, 15, 16, 1, 2, 3, 4)
"""The 14 joints of MimicMotion's fit: no elbows and wrists, which move too much."""


@dataclass(frozen=True)
class Similarity:
    """The map p -> `target` + `scale` * (p - `source`), in pixels, from one picture to another."""

    scale: float
    source: tuple[float, float]
    target: tuple[float, float]

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """(..., 2) -> (..., 2)."""
        return np.asarray(self.target) + self.scale * (points - np.asarray(self.source))


def fit_canvas(old: tuple[int, int], new: tuple[int, int]) -> Similarity:
    """Fit a picture of size `old` (w, h), centered, into a canvas of size `new`."""
    scale = min(new[0] / old[0], new[1] / old[1])
    return Similarity(scale, (old[0] / 2, old[1] / 2), (new[0] / 2, new[1] / 2))


def fit_affine(clip: Figure, reference: Figure) -> tuple[Similarity, dict[str, Any]]:
    """The map from a clip to a reference, and notes about it.

    MimicMotion's fit over all frames, blended with the fit to a single frame the more its pose equals the reference.
    Raises `NothingInCommon` if they have fewer than two joints in common.
    """
    pose = reference.nodes[matching_frame(reference, None)[0]]
    frame, likeness = matching_frame(clip, pose)
    fit, problem = least_squares(clip.nodes, pose)
    if likeness:
        still, _ = least_squares(clip.nodes[frame : frame + 1], pose)
        center = np.asarray(still.source)
        target = likeness * still(center) + (1 - likeness) * fit(center)
        scale = still.scale**likeness * fit.scale ** (1 - likeness)
        fit = Similarity(float(scale), still.source, tuple(target.tolist()))
    note: dict[str, Any] = {"frame": frame, "likeness": round(likeness, 4)}
    if problem:
        log.warning("affine: %s", problem)
        note["note"] = problem
    return fit, note


def least_squares(nodes: np.ndarray, pose: np.ndarray) -> tuple[Similarity, str | None]:
    """The map from a clip to a reference pose, as in MimicMotion's preprocessing.

    Fits y' = a y + b by least squares over all frames and the common joints of `AFFINE_NODES`; x uses the same a, to
    keep proportions, and its best shift.

    Args:
        nodes: (N, 19, 2) of the clip, NaN unseen.
        pose: (19, 2) of the reference, NaN unseen.

    Returns the map, and a note if a came from the sizes of the figures, because the fitted line is level or falls (one
    of them lies down or is upside down). Raises `NothingInCommon` for fewer than two joints in common, or no extent.
    """
    wanted = np.broadcast_to(pose[list(AFFINE_NODES)], (len(nodes), len(AFFINE_NODES), 2)).reshape(-1, 2)
    given = nodes[:, list(AFFINE_NODES)].reshape(-1, 2)
    both = np.isfinite(given).all(axis=1) & np.isfinite(wanted).all(axis=1)
    if both.sum() < 2:
        raise NothingInCommon("fewer than two joints in common")
    given, wanted = given[both], wanted[both]
    source, target = given.mean(axis=0), wanted.mean(axis=0)
    a, b = given - source, wanted - target
    if not a.any() or not b.any():
        raise NothingInCommon("all joints in one place")
    sizes = float(np.sqrt((b**2).sum() / (a**2).sum()))
    slope = float((a[:, 1] @ b[:, 1]) / max(a[:, 1] @ a[:, 1], 1e-9))
    usable = slope > 0.1 * sizes
    note = None if usable else "the fit of y is level or falls: scaled by the sizes of the figures"
    return Similarity(slope if usable else sizes, tuple(source), tuple(target)), note
