"""COCO's object keypoint similarity (OKS) of two poses."""

from __future__ import annotations

import numpy as np

from .skeletons import KEYPOINT_SETS

BODY_POINTS = 17
UNKNOWN_SIGMA = 0.08
"""For keypoint sets without sigmas; about the sigma of a shoulder."""


def body_sigmas(keypoint_set: str, count: int) -> np.ndarray:
    """OKS sigmas (17,) of the body points, which tell people apart; (count,) equal ones for a set without sigmas."""
    known = KEYPOINT_SETS.get(keypoint_set)
    if known is None or not known.sigmas:
        return np.full(count, UNKNOWN_SIGMA)
    return np.asarray(known.sigmas[:BODY_POINTS])


def oks(
    first: np.ndarray, second: np.ndarray, areas: np.ndarray, sigmas: np.ndarray, spread: float = 1.0
) -> np.ndarray:
    """Similarity of every first with every second pose -> (N, M) in 0..1; 0 where they share no point.

    Args:
        first: (N, K, 2) pixels, NaN unseen.
        second: (M, K, 2) pixels, NaN unseen.
        areas: (N,) square pixels of the people of `first`.
        sigmas: (K,) of the keypoint set.
        spread: factor on the sigmas, for poses at different times.

    Source: COCO keypoint evaluation, the mean of exp(-d^2 / (2 area (2 sigma)^2)) over the shared points.
    """
    squared = ((first[:, None] - second[None]) ** 2).sum(axis=-1)
    shared = np.isfinite(squared)
    width = 2 * np.maximum(areas, 1)[:, None, None] * (2 * spread * sigmas) ** 2
    similarity = np.where(shared, np.exp(-np.where(shared, squared, 0) / width), 0)
    return similarity.sum(axis=-1) / np.maximum(shared.sum(axis=-1), 1)
