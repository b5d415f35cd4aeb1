"""Object keypoint similarity: how alike two poses are, by COCO's definition."""

from __future__ import annotations

import numpy as np

from .skeletons import KEYPOINT_SETS

BODY_POINTS = 17
UNKNOWN_SIGMA = 0.08
"""For keypoint sets without sigmas of their own: about that of a shoulder."""


def body_sigmas(keypoint_set: str, count: int) -> np.ndarray:
    """(K,) OKS sigmas of the points by which people are told apart: the 17 of the body, or all of an own set."""
    known = KEYPOINT_SETS.get(keypoint_set)
    if known is None or not known.sigmas:
        return np.full(count, UNKNOWN_SIGMA)
    return np.asarray(known.sigmas[:BODY_POINTS])


def oks(
    first: np.ndarray, second: np.ndarray, areas: np.ndarray, sigmas: np.ndarray, spread: float = 1.0
) -> np.ndarray:
    """Similarity of every pose of one list with every pose of another -> (N, M) in 0..1; 0 where no point is shared.

    Args:
        first: (N, K, 2) pixels, NaN unseen.
        second: (M, K, 2) pixels, NaN unseen.
        areas: (N,) square pixels of the people of `first`.
        sigmas: (K,) figures of the keypoint set.
        spread: widens the sigmas, for poses of different moments.

    Source: COCO keypoint evaluation, the mean of exp(-d^2 / (2 area (2 sigma)^2)) over the shared points.
    """
    squared = ((first[:, None] - second[None]) ** 2).sum(axis=-1)
    shared = np.isfinite(squared)
    width = 2 * np.maximum(areas, 1)[:, None, None] * (2 * spread * sigmas) ** 2
    likeness = np.where(shared, np.exp(-np.where(shared, squared, 0) / width), 0)
    return likeness.sum(axis=-1) / np.maximum(shared.sum(axis=-1), 1)
