"""How far features cluster by person or by style: silhouette scores, and a t-SNE to look at."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sdpose_core.dependencies import require
from sdpose_core.errors import InputError

PERPLEXITY = 30.0
"""Of the t-SNE for 120 points or more; otherwise a quarter of the number of points."""


@dataclass(frozen=True, eq=False)
class Separation:
    """Results of one level of a network.

    Attributes:
        width: number of channels.
        plane: (S, N, 2) t-SNE of N people in S styles.
        by_person, by_style: silhouette scores of the features, -1..1: how much nearer a crop is to others of the same
            person (or style) than to the nearest other person (or style).
        plane_by_person, plane_by_style: the same for `plane`.
    """

    model: str
    level: str
    width: int
    plane: np.ndarray
    by_person: float
    by_style: float
    plane_by_person: float
    plane_by_style: float


def separate(model: str, level: str, vectors: np.ndarray, *, standardize: bool = True, seed: int = 0) -> Separation:
    """Scores and t-SNE of features (S, N, C) of N people in S styles.

    `standardize` first gives every channel mean 0 and standard deviation 1 over all crops; the seed is for the t-SNE.

    Raises `InputError`: fewer than two people or styles, or numbers that are not finite; `MissingDependency` without
    scikit-learn.
    """
    styles, people, width = vectors.shape
    if styles < 2 or people < 2:
        raise InputError(f"expected at least 2 styles and 2 people to compare, got {styles} and {people}")
    if not np.isfinite(vectors).all():
        raise InputError(f"features {level} of {model} are not finite")
    rows = vectors.reshape(-1, width).astype(np.float64)
    if standardize:
        rows = standardized(rows)
    plane = _plane(rows, seed)
    style, person = np.repeat(np.arange(styles), people), np.tile(np.arange(people), styles)
    scores = [_silhouette(points, labels) for points in (rows, plane) for labels in (person, style)]
    return Separation(model, level, width, plane.reshape(styles, people, 2), *scores)


def standardized(rows: np.ndarray) -> np.ndarray:
    """(M, C) with mean 0 and standard deviation 1 in every channel; constant channels become 0."""
    centered = rows - rows.mean(axis=0)
    deviation = centered.std(axis=0)
    varies = deviation > 1e-6 * max(float(deviation.max()), 1e-30)
    return np.where(varies, centered / np.where(varies, deviation, 1), 0)


def perplexity_of(crops: int) -> float:
    return min(PERPLEXITY, crops / 4)


def _plane(rows: np.ndarray, seed: int) -> np.ndarray:
    manifold = require("sklearn.manifold", "the t-SNE picture")
    tsne = manifold.TSNE(perplexity=perplexity_of(len(rows)), init="pca", random_state=seed)
    return tsne.fit_transform(rows.astype(np.float32))


def _silhouette(rows: np.ndarray, labels: np.ndarray) -> float:
    metrics = require("sklearn.metrics", "silhouette scores")
    return float(metrics.silhouette_score(rows, labels))
