"""Confidence intervals of the figures in a comparison, and paired differences between its estimators."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from sdpose_training.evaluation.bootstrap import FEW_PICTURES, Bootstrap, Estimate, estimate, resampled_figures
from sdpose_training.evaluation.picture_matches import PictureMatches

INTERVALS_OF = ("AP", "AP50", "AP75", "AR")
_AGREEMENT = 1e-6
"""Matches that give another AP than their result are not used."""


@dataclass(frozen=True)
class Measured:
    """One result in a comparison.

    Attributes:
        estimator, domain: its row and column.
        ap: as its file says.
        matches: None if there are none: `note` says why.
    """

    estimator: str
    domain: str
    ap: float | None
    matches: PictureMatches | None
    note: str = ""

    def problem(self) -> str:
        """Why there can be no interval, "" if there can be one."""
        if self.matches is None:
            return self.note
        found = self.matches.figures()["AP"]
        fits = np.isnan(found) if self.ap is None else abs(found - self.ap) <= _AGREEMENT
        return "" if fits else "its matches do not give its AP: evaluate again"


@dataclass(frozen=True)
class Difference:
    """How much better the first estimator is than the second, on the same resamples of the same pictures."""

    domain: str
    first: str
    second: str
    figures: Mapping[str, Estimate]


@dataclass(frozen=True)
class Uncertainty:
    """What resampling pictures says of a comparison.

    Attributes:
        bootstrap: how it was done.
        intervals: estimator -> domain -> figure.
        differences: of each pair of estimators on each domain.
        remarks: what is missing, and why.
    """

    bootstrap: Bootstrap
    intervals: Mapping[str, Mapping[str, Mapping[str, Estimate]]]
    differences: tuple[Difference, ...]
    remarks: tuple[str, ...]

    @property
    def title(self) -> str:
        """Such as "95% intervals of 1,000 resamples of the pictures"."""
        return f"{self.bootstrap.level:.0%} intervals of {self.bootstrap.resamples:,} resamples of the pictures"

    def interval(self, estimator: str, domain: str, figure: str) -> Estimate | None:
        """The interval of one cell, None without one."""
        return self.intervals.get(estimator, {}).get(domain, {}).get(figure)

    def content(self) -> dict[str, Any]:
        """For JSON: intervals as [low, high], differences as [difference, low, high], fractions."""
        intervals = {
            name: {domain: {f: [e.low, e.high] for f, e in figures.items()} for domain, figures in row.items()}
            for name, row in self.intervals.items()
        }
        differences = [
            {"domain": each.domain, "first": each.first, "second": each.second,
             **{name: [e.value, e.low, e.high] for name, e in each.figures.items()}}
            for each in self.differences
        ]  # fmt: skip
        settings = {key: getattr(self.bootstrap, key) for key in ("resamples", "seed", "level")}
        return {"bootstrap": settings, "intervals": intervals, "differences": differences}


def uncertainty_of(results: Sequence[Measured], domains: Sequence[str], bootstrap: Bootstrap) -> Uncertainty:
    """Intervals of each result with matches, and the difference of each pair that was measured on the same pictures.

    Args:
        results: in the order of the table.
        domains: in its order.
        bootstrap: the resamples, the same for all results with as many pictures.
    """
    problems = {id(each): each.problem() for each in results}
    usable = [each for each in results if not problems[id(each)]]
    remarks = [
        f"{each.domain}, {each.estimator}: no interval: {problems[id(each)]}." for each in results if each not in usable
    ]
    sampled = {id(each): resampled_figures(_matches(each), bootstrap) for each in usable}
    intervals: dict[str, dict[str, dict[str, Estimate]]] = {each.estimator: {} for each in usable}
    differences: list[Difference] = []
    for domain in domains:
        column = [each for each in usable if each.domain == domain]
        for each in column:
            figures = _estimates(_matches(each).figures(), sampled[id(each)], bootstrap)
            intervals[each.estimator][domain] = figures
        remarks += _column_remarks(domain, column)
        differences += _pairs(column, sampled, bootstrap)
    return Uncertainty(bootstrap, intervals, tuple(differences), tuple(remarks))


def _matches(result: Measured) -> PictureMatches:
    assert result.matches is not None
    return result.matches


def _estimates(
    values: Mapping[str, float], sampled: Mapping[str, np.ndarray], bootstrap: Bootstrap
) -> dict[str, Estimate]:
    found = {name: estimate(values[name], sampled[name], bootstrap.level) for name in INTERVALS_OF}
    return {name: each for name, each in found.items() if np.isfinite([each.value, each.low, each.high]).all()}


def _pairs(
    column: Sequence[Measured], sampled: Mapping[int, Mapping[str, np.ndarray]], bootstrap: Bootstrap
) -> Iterator[Difference]:
    """Of each pair of a domain's results, if their pictures are the same."""
    for first, second in combinations(column, 2):
        if _matches(first).picture_ids != _matches(second).picture_ids:
            continue
        ours, theirs = _matches(first).figures(), _matches(second).figures()
        values = {name: ours[name] - theirs[name] for name in INTERVALS_OF}
        apart = {name: sampled[id(first)][name] - sampled[id(second)][name] for name in INTERVALS_OF}
        if figures := _estimates(values, apart, bootstrap):
            yield Difference(first.domain, first.estimator, second.estimator, figures)


def _column_remarks(domain: str, column: Sequence[Measured]) -> Iterator[str]:
    ids = [_matches(each).picture_ids for each in column]
    if len(set(ids)) > 1:
        yield f"{domain}: no differences between results of different pictures."
    few = min((len(each) for each in ids), default=FEW_PICTURES)
    if few < FEW_PICTURES:
        yield f"{domain}: intervals of {few} pictures are too narrow to rely on; {FEW_PICTURES} or more are needed."
