"""Results of evaluate.py side by side: estimators against benchmarks, with intervals and differences."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_WHOLEBODY_133
from sdpose_training.evaluation.bootstrap import Bootstrap
from sdpose_training.evaluation.comparison_intervals import Measured, Uncertainty, uncertainty_of
from sdpose_training.evaluation.paper_tables import peers_of
from sdpose_training.evaluation.picture_matches import PictureMatches
from sdpose_training.evaluation.result import UNNAMED

DOMAINS = {
    "coco": "COCO", "coco-gt-boxes": "COCO (ground-truth boxes)", "crowdpose": "CrowdPose",
    "ochuman-val": "OCHuman val", "ochuman": "OCHuman", "coco-wholebody": "COCO-WholeBody", "humanart": "HumanArt",
    "coco-ood-monet": "COCO-OOD Monet", "coco-ood-ukiyoe": "COCO-OOD Ukiyo-e",
    "coco-ood-corruption": "COCO-OOD Corruption",
}  # fmt: skip
"""Benchmarks in their order: photographs, then art and other styles as the paper lists them."""

WHOLE = " (133)"
"""Ends the name of a domain that is evaluated with the points of the whole body."""

PHOTOS = ("photo", "photos", "photograph", "photographs")
"""Domains of custom data that come first."""

AS_STATED = "Domains in the order of --order."
PHOTOS_FIRST = "Domains: photographs first, then as the paper lists them, then others as given."

SHOWN = ("AP", "AR")
PAPER = "SDPose in the paper"
NOT_COMPARABLE = "not to be compared with the paper"

Figures = Mapping[str, float | None]
Found = tuple[PictureMatches | None, str]
"""Matches, or None and why there are none."""

DEFAULT = Bootstrap()


@dataclass(frozen=True)
class Comparison:
    """A table of estimators against domains.

    Attributes:
        domains: label of each column.
        rows: estimator -> domain -> figures as fractions; a domain that was not evaluated is absent. The last row,
            `PAPER`, has the paper's figures for SDPose, if the results have any.
        peers: the same for the paper's figures of other estimators.
        remarks: what limits the comparison.
        order: says in which order the domains are.
        uncertainty: intervals and differences, None without matches.
        groups: domain and grouping of its pictures -> estimator -> group -> figures.
    """

    domains: tuple[str, ...]
    rows: Mapping[str, Mapping[str, Figures]]
    peers: Mapping[str, Mapping[str, Figures]]
    remarks: tuple[str, ...]
    order: str = PHOTOS_FIRST
    uncertainty: Uncertainty | None = None
    groups: Mapping[str, Mapping[str, Mapping[str, Figures]]] = field(default_factory=dict)

    @property
    def all_remarks(self) -> tuple[str, ...]:
        """Also those of the intervals."""
        return (*self.remarks, *(self.uncertainty.remarks if self.uncertainty else ()))

    def content(self) -> dict[str, Any]:
        """For JSON."""
        plain = {key: getattr(self, key) for key in ("domains", "order", "rows", "peers", "groups")}
        found = self.uncertainty.content() if self.uncertainty else {}
        return {**plain, "remarks": self.all_remarks, **found}


def compare(
    results: Sequence[Mapping[str, Any]], matches: Sequence[Found] = (), bootstrap: Bootstrap = DEFAULT,
    order: Sequence[str] = (),
) -> Comparison:  # fmt: skip
    """Results of `evaluate.py` as a table.

    Args:
        results: for any number of estimators and benchmarks.
        matches: of each result, as `matches_of` gives them, for intervals and differences; (): none.
        bootstrap: how to resample.
        order: domains that come first; the others follow in the usual order.

    Raises `InputError` without results, if one is incomplete, or for an unknown domain in `order`.
    """
    if not results:
        raise InputError("nothing to compare: give at least one result of evaluate.py")
    rows: dict[str, dict[str, Figures]] = {}
    paper: dict[str, Figures] = {}
    labels = _labels(results)
    for label, result in zip(labels, results, strict=True):
        rows.setdefault(label, {})[_domain(result)] = _figures(result)
        if result.get("paper"):
            paper[_domain(result)] = _figures(result["paper"])
    if paper:
        rows[PAPER] = paper
    domains = tuple(_ordered(results, order))
    measured = [
        Measured(label, _domain(result), result["AP"], *found)
        for label, result, found in zip(labels, results, matches, strict=False)
    ]
    measured.sort(key=lambda each: list(rows).index(each.estimator))
    uncertainty = uncertainty_of(measured, domains, bootstrap) if measured and bootstrap.resamples else None
    return Comparison(
        domains, rows, peers_of(domains) if paper else {}, tuple(_remarks(results)),
        AS_STATED if order else PHOTOS_FIRST, uncertainty, _groups(labels, results, domains),
    )  # fmt: skip


def _groups(
    labels: Sequence[str], results: Sequence[Mapping[str, Any]], domains: Sequence[str]
) -> dict[str, dict[str, dict[str, Figures]]]:
    """Domain and grouping -> estimator -> group -> figures, of the results that have groups of pictures."""
    tables: dict[str, dict[str, dict[str, Figures]]] = {}
    for domain in domains:
        for label, result in zip(labels, results, strict=True):
            for grouping, groups in result.get("groups", {}).items() if _domain(result) == domain else ():
                tables.setdefault(f"{domain} by {grouping}", {})[label] = groups
    return tables


def _entry(result: Mapping[str, Any], *keys: str) -> str:
    """The value of the first of these keys, at the top level or in the settings."""
    places = (result, result.get("settings", {}))
    found = [place[key] for place in places for key in keys if key in place]
    if not found:
        raise InputError(f"this is not a result of evaluate.py: it has no {keys[0]!r}, only {', '.join(result)}")
    return str(found[0])


def _labels(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """The row of each result: the model's name, with its weight file where models share a name, and with a number where
    results share both."""
    names = [_entry(result, "model", "name") for result in results]
    weights = [result.get("hashes", {}).get("weights") or {} for result in results]
    identities = [json.dumps(each, sort_keys=True) for each in weights]
    shared = {name for name in names if len({i for n, i in zip(names, identities, strict=True) if n == name}) > 1}
    seen: Counter[tuple[str, ...]] = Counter()
    rows: dict[str, list[tuple[str, int]]] = {}
    labels = []
    for name, each, identity, result in zip(names, weights, identities, results, strict=True):
        seen[name, identity, _domain(result)] += 1
        row = (identity, seen[name, identity, _domain(result)])
        label = f"{name}, {Path(each['path']).name}" if name in shared and "path" in each else name
        known = rows.setdefault(label, [])
        if row not in known:
            known.append(row)
        number = known.index(row) + 1
        labels.append(label if number == 1 else f"{label} ({number})")
    return labels


def _domain(result: Mapping[str, Any]) -> str:
    benchmark = _entry(result, "benchmark")
    if domain := result.get("settings", {}).get("domain"):
        return str(domain)
    label = DOMAINS.get(benchmark, benchmark)
    whole = result.get("settings", {}).get("keypoint_set") == COCO_WHOLEBODY_133.name
    return f"{label}{WHOLE}" if whole and benchmark != "coco-wholebody" else label


def _ordered(results: Sequence[Mapping[str, Any]], order: Sequence[str] = ()) -> list[str]:
    """Each domain once: those of `order`, then body before whole body, photographs, `DOMAINS`, and others as given."""
    found = list(dict.fromkeys(map(_domain, results)))
    _refuse_unknown(order, found)
    known = list(DOMAINS.values())

    def place(label: str) -> tuple[int, bool, int]:
        plain = label.removesuffix(WHOLE)
        whole = plain != label or plain == DOMAINS["coco-wholebody"]
        rank = -1 if plain.casefold() in PHOTOS else known.index(plain) if plain in known else len(known)
        return (order.index(label) if label in order else len(order)), whole, rank

    return sorted(found, key=place)


def domains_of(benchmarks: Sequence[str]) -> list[str]:
    """The domains that results of these benchmarks may have, whatever the keypoints."""
    labels = [DOMAINS.get(name, name) for name in benchmarks]
    return [*labels, *(f"{label}{WHOLE}" for label in labels if label != DOMAINS["coco-wholebody"])]


def check_order(order: Sequence[str], coming: Sequence[str], earlier: Sequence[Mapping[str, Any]]) -> None:
    """`InputError` for a name in `order` that neither the `coming` domains nor those of `earlier` results have."""
    _refuse_unknown(order, [*coming, *map(_domain, earlier)])


def _refuse_unknown(order: Sequence[str], domains: Sequence[str]) -> None:
    if unknown := [name for name in order if name not in domains]:
        raise InputError(f"--order names {unknown[0]!r}: the results have {', '.join(dict.fromkeys(domains))}")


def _figures(result: Mapping[str, Any]) -> Figures:
    kinds = float | int | None
    figures = {key: value for key, value in result.items() if key[:2] in SHOWN and isinstance(value, kinds)}
    if missing := [key for key in SHOWN if key not in figures]:
        raise InputError(f"this is not a result of evaluate.py: it has no {missing[0]}, only {', '.join(result)}")
    return figures


def _remarks(results: Sequence[Mapping[str, Any]]) -> list[str]:
    remarks = []
    for domain in _ordered(results):
        column = [result for result in results if _domain(result) == domain]
        if len({_ground(result) for result in column}) > 1:
            remarks.append(f"{domain}: the rows differ in pictures, annotations or boxes.")
        for result in column:
            if (differences := result.get("departures")) and result["benchmark"] not in UNNAMED:
                who = f"{domain}, {_entry(result, 'model', 'name')}"
                remarks.append(f"{who}: {NOT_COMPARABLE}: {'; '.join(differences)}.")
        older = [result for result in column if result.get("paper") and "departures" not in result]
        counts = [result.get("counts", {}) for result in older]
        partial = [c for c in counts if c.get("benchmark_pictures") not in (None, c.get("pictures"))]
        if parts := [f"{c['pictures']:,} of {c['benchmark_pictures']:,}" for c in partial]:
            remarks.append(f"{domain}: measured on {parts[0]} pictures; the paper's figures are for all.")
    return remarks


def _ground(result: Mapping[str, Any]) -> tuple[Any, ...]:
    hashes = result.get("hashes", {})
    return result.get("counts", {}).get("pictures"), hashes.get("annotations"), hashes.get("boxes")
