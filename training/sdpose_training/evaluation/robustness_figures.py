"""Figures of robustness: mean performance under corruption, and the share of the clean performance that remains.

As defined by Michaelis et al. (arXiv 1907.07484): mPC is the mean over kinds of the mean over severities, and
rPC = mPC / performance on clean pictures. No kind is weighted by its difficulty for another model.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sdpose_core.errors import InputError
from sdpose_training.evaluation.coco_figures import FIGURES
from sdpose_training.evaluation.protocols import CORRUPTION
from sdpose_training.styles.corruptions import FAMILIES, KINDS, SEVERITIES, Corruption, kinds_of
from sdpose_training.templates import percent, plain_table

RISE = 0.01
"""A gain of AP from one severity to the next that is worth a remark."""

_AVERAGED = (*FIGURES, "OKS")

Figures = Mapping[str, float | None]


def summary(results: Mapping[Corruption | None, Mapping[str, Any]]) -> dict[str, Any]:
    """One result of the benchmark from those of each condition.

    Args:
        results: of clean pictures (None) and of each corruption: every kind with the same severities.

    Returns:
        The clean result, with the means under corruption in place of its figures (so "AP" is mPC), "parts" likewise,
        and "robustness": "clean" (figures), "kinds" (kind -> {"family", "severities": severity -> figures, "AP",
        "relative"}), "families" and "severities" (AP), "mPC", "rPC".
    """
    clean, corrupted = results[None], {key: value for key, value in results.items() if key is not None}
    names = [kind for kind in KINDS if any(key.kind == kind for key in corrupted)]
    steps = sorted({key.severity for key in corrupted})
    kinds = {kind: _of_kind([(step, corrupted[Corruption(kind, step)]) for step in steps], clean) for kind in names}
    mean_ap = _mean(kind["AP"] for kind in kinds.values())
    robustness = {
        "clean": _only_figures(clean),
        "kinds": {kind: {"family": KINDS[kind].family, **values} for kind, values in kinds.items()},
        "families": {family: group for family in FAMILIES if (group := _group(kinds, kinds_of(family), clean))},
        "severities": _by_severity(kinds.values()),
        "mPC": mean_ap,
        "rPC": relative(mean_ap, clean["AP"]),
    }
    parts = {part: _means([each["parts"][part] for each in corrupted.values()]) for part in clean["parts"]}
    counts = {**clean["counts"], "conditions": len(corrupted)}
    return {**clean, **_means(list(corrupted.values())), "parts": parts, "counts": counts, "robustness": robustness}


def relative(under_corruption: float | None, clean: float | None) -> float | None:
    """The share of the clean performance that remains; None if there is none."""
    return under_corruption / clean if under_corruption is not None and clean else None


def _of_kind(results: Sequence[tuple[int, Mapping[str, Any]]], clean: Mapping[str, Any]) -> dict[str, Any]:
    mean = _mean(result["AP"] for _, result in results)
    severities = {str(step): _only_figures(result) for step, result in results}
    return {"severities": severities, "AP": mean, "relative": relative(mean, clean["AP"])}


def _group(kinds: Mapping[str, Any], names: Iterable[str], clean: Mapping[str, Any]) -> dict[str, Any] | None:
    """A family: the mean over its kinds."""
    members = [kinds[name] for name in names if name in kinds]
    if not members:
        return None
    mean = _mean(member["AP"] for member in members)
    return {"severities": _by_severity(members), "AP": mean, "relative": relative(mean, clean["AP"])}


def _by_severity(kinds: Iterable[Mapping[str, Any]]) -> dict[str, float | None]:
    members = list(kinds)
    return {step: _mean(each["severities"][step]["AP"] for each in members) for step in members[0]["severities"]}


def _only_figures(result: Mapping[str, Any]) -> dict[str, Any]:
    return {name: result.get(name) for name in (*_AVERAGED, "parts")}


def _means(results: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    """The mean of each figure; every kind has the same severities, so the mean over all is the mean of means."""
    return {name: _mean(result[name] for result in results) for name in _AVERAGED if name in results[0]}


def _mean(values: Iterable[float | None]) -> float | None:
    """None if a value is None: nobody is of that size."""
    known = list(values)
    return None if None in known or not known else sum(known) / len(known)


def robustness_of(result: Mapping[str, Any]) -> Mapping[str, Any]:
    """The figures of robustness of a result; `InputError` if it has none."""
    if "robustness" not in result:
        raise InputError(
            f"{result.get('model')} on {result.get('benchmark')}: this result has no figures of robustness; expected "
            f"one of evaluate.py --benchmark {CORRUPTION}"
        )
    return result["robustness"]


def robustness_table(result: Mapping[str, Any]) -> str:
    """AP in percent by family, kind and severity, with remarks, as text. Raises `InputError` as `robustness_of`."""
    found = robustness_of(result)
    clean, kinds = found["clean"]["AP"], found["kinds"]
    rows = [["all", *_cells(clean, found["severities"], found["mPC"], found["rPC"])]]
    for family, group in found["families"].items():
        rows.append([family, *_cells(clean, group["severities"], group["AP"], group["relative"])])
        for kind in (name for name in kinds if kinds[name]["family"] == family):
            steps = {step: figures["AP"] for step, figures in kinds[kind]["severities"].items()}
            rows.append([f"  {kind}", *_cells(clean, steps, kinds[kind]["AP"], kinds[kind]["relative"])])
    header = ["", "clean", *found["severities"], "mean", "of clean"]
    title = f"{result['model']}: AP under corruption by severity (percent)"
    return "\n".join([title, plain_table(header, rows), *remarks(result)])


def _cells(clean: float | None, steps: Figures, mean: float | None, share: float | None) -> list[str]:
    return [percent(value) for value in (clean, *steps.values(), mean, share)]


def remarks(result: Mapping[str, Any]) -> list[str]:
    """What limits the figures, and where AP rises with the severity."""
    found = robustness_of(result)
    lines = [f"mPC {percent(found['mPC'])}, rPC {percent(found['rPC'])}"]
    kinds, steps = found["kinds"], found["severities"]
    if (len(kinds), len(steps)) != (len(KINDS), len(SEVERITIES)):
        lines.append(
            f"{len(kinds)} of {len(KINDS)} kinds and {len(steps)} of {len(SEVERITIES)} severities only: not the "
            "field's mPC and rPC."
        )
    if rising := [f"{kind} {before} to {after} (+{percent(gain)})" for kind, before, after, gain in rises(result)]:
        lines.append(f"AP rises with the severity: {', '.join(rising)}.")
    return lines


def rises(result: Mapping[str, Any]) -> list[tuple[str, str, str, float]]:
    """Where AP grows by more than `RISE` from one severity to the next, or from clean (0) to the first: kind, both
    severities, gain."""
    found = robustness_of(result)
    rising = []
    for kind, values in found["kinds"].items():
        steps = {"0": found["clean"]["AP"], **{step: each["AP"] for step, each in values["severities"].items()}}
        pairs = list(steps.items())
        for (before, low), (after, high) in zip(pairs[:-1], pairs[1:], strict=True):
            if low is not None and high is not None and high - low > RISE:
                rising.append((kind, before, after, high - low))
    return rising
