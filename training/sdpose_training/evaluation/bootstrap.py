"""Confidence intervals by resampling pictures, and paired differences between estimators.

A resample draws as many pictures as there are, with replacement. All estimators of a domain are measured on the same
resamples, so that the difficulty of the pictures cancels in their differences.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from sdpose_training.evaluation.picture_matches import MATCH_FIGURES, PictureMatches

FEW_PICTURES = 30
"""With fewer, percentile intervals are too narrow to rely on."""


@dataclass(frozen=True)
class Bootstrap:
    """How to resample.

    Attributes:
        resamples: how many; 0: none.
        seed: the same seed gives the same resamples of as many pictures.
        level: share of the resamples inside an interval.
    """

    resamples: int = 1000
    seed: int = 0
    level: float = 0.95


@dataclass(frozen=True)
class Estimate:
    """A figure or a difference as a fraction, and the ends of its interval; NaN where nothing can be said."""

    value: float
    low: float
    high: float

    @property
    def apart(self) -> bool:
        """Whether the interval does not contain 0."""
        return self.low > 0 or self.high < 0


def resamples(pictures: int, bootstrap: Bootstrap) -> Iterator[np.ndarray]:
    """(pictures,) int, how often each picture is drawn, for each resample."""
    rng = np.random.default_rng(bootstrap.seed)
    for _ in range(bootstrap.resamples):
        yield np.bincount(rng.integers(0, pictures, pictures), minlength=pictures)


def resampled_figures(matches: PictureMatches, bootstrap: Bootstrap) -> dict[str, np.ndarray]:
    """Figure -> (R,) its value on each resample; NaN where nobody in it counts."""
    rows = [matches.figures(weights) for weights in resamples(len(matches.picture_ids), bootstrap)]
    return {name: np.asarray([row[name] for row in rows]) for name in MATCH_FIGURES}


def estimate(value: float, sampled: np.ndarray, level: float) -> Estimate:
    """A value with its percentile interval: the middle `level` of (R,) resampled values."""
    known = sampled[np.isfinite(sampled)]
    if not len(known):
        return Estimate(value, float("nan"), float("nan"))
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return Estimate(value, float(low), float(high))
