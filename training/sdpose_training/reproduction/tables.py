"""Our figures beside the paper's, as rows of text for the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdpose_core.texts import read_json
from sdpose_training.evaluation.paper_tables import SDPOSE, TABLES, PaperTable
from sdpose_training.evaluation.result import read_result
from sdpose_training.evaluation.robustness_figures import robustness_of
from sdpose_training.reproduction.claims import EVALUATIONS, MORE, Claim
from sdpose_training.reproduction.figure_parts import Features
from sdpose_training.reproduction.jobs import Job, Outcome
from sdpose_training.reproduction.parts import Ablation, Corruptions, Evaluation
from sdpose_training.reproduction.setup import CHECKPOINT, Setup
from sdpose_training.styles.corruptions import FAMILIES
from sdpose_training.templates import percent

OURS, PAPER, PEERS, DIFFERENCE = "ours", "paper", "peers", "difference"
"""Kinds of rows: measured here, SDPose in the paper, others in the paper, ours minus the paper's."""

NONE = "–"
_BOTH = ("AP", "AR")
_WHOLE = "all"

_SILHOUETTES = {
    "Sapiens, pretrained": ("-0.161", "+0.347"),
    "Stable Diffusion 2, deeper blocks": ("up to +0.22", "near 0"),
    "SDPose, mid level": ("+0.45 to +0.48", "near 0"),
}
"""The paper's scores by person and by style (section 5.4)."""

Outcomes = Mapping[str, Outcome]
"""By the name of the job."""


@dataclass(frozen=True)
class TableRow:
    """A label and its cells; `kind` is one of those above."""

    label: str
    cells: tuple[str, ...]
    kind: str = OURS


@dataclass(frozen=True)
class Table:
    """A table of the page.

    Attributes:
        title: above it.
        groups: columns that share a heading: the heading, and how many.
        columns: headings of all columns but the first.
        rows: in order.
    """

    title: str
    groups: tuple[tuple[str, int], ...]
    columns: tuple[str, ...]
    rows: tuple[TableRow, ...]


def tables_of(claim: Claim, setup: Setup, outcomes: Outcomes) -> list[Table]:
    """All tables of a claim, with what could be measured so far."""
    tables = [] if any(isinstance(part, Ablation) for part in claim.parts) else [
        evaluation_table(TABLES[key], setup, outcomes) for key in claim.tables
    ]  # fmt: skip
    if claim.kind == MORE:
        tables += other_tables([part for part in claim.parts if isinstance(part, Evaluation)], setup, outcomes)
    for number, part in enumerate(claim.parts):
        if isinstance(part, Ablation):
            file = _ablation_file(part, setup, outcomes)
            tables.append(ablation_table(TABLES[claim.tables[number]], part.arms, file))
        elif isinstance(part, Corruptions):
            tables.append(corruption_table(results_of(part.evaluation, setup, outcomes)))
        elif isinstance(part, Features):
            tables += [features_table(job.result(setup.out)) for job in _good(part.jobs(setup), outcomes)]
    return tables


def _good(jobs: Sequence[Job], outcomes: Outcomes) -> list[Job]:
    return [job for job in jobs if job.name in outcomes and outcomes[job.name].is_good]


def results_of(part: Evaluation, setup: Setup, outcomes: Outcomes) -> dict[tuple[str, str], dict[str, Any]]:
    """(option, name) of each estimator -> its result, of those that are done."""
    candidates = setup.of_set(part.keypoint_set)
    jobs = part.jobs(setup)
    if not candidates:
        return {}
    pairs = zip(candidates, jobs, strict=True)
    return {(c.option, c.name): read_result(job.result(setup.out)) for c, job in pairs if _good([job], outcomes)}


def evaluation_table(paper: PaperTable, setup: Setup, outcomes: Outcomes) -> Table:
    """The estimators of a setup in the columns of a table of the paper, then the paper's rows."""
    found = {domain: results_of(EVALUATIONS[domain], setup, outcomes) for domain in paper.domains()}
    rows = []
    for option, name in dict.fromkeys(key for results in found.values() for key in results):
        values = [_value(found[domain].get((option, name)), part, figure) for domain, part, figure in paper.columns]
        rows.append(TableRow(name, tuple(map(_shown, values))))
        comparable = all(not _why_not(found[domain].get((option, name))) for domain in paper.domains())
        if option == CHECKPOINT and comparable and not setup.small:
            rows.append(_difference(values, paper.rows[SDPOSE]))
    rows.append(TableRow("SDPose in the paper", tuple(map(_shown, paper.rows[SDPOSE])), PAPER))
    others = {name: cells for name, cells in paper.rows.items() if name != SDPOSE}
    rows += [TableRow(f"{name} in the paper", tuple(map(_shown, cells)), PEERS) for name, cells in others.items()]
    return Table(_title(paper), *_headings(paper), tuple(rows))


def _title(paper: PaperTable) -> str:
    key = next(key for key, table in TABLES.items() if table is paper)
    return f"AP and AR in percent, table {key}"


def _headings(paper: PaperTable) -> tuple[tuple[tuple[str, int], ...], tuple[str, ...]]:
    """Domains and parts with how many columns they span, and the figures."""
    spans: dict[str, int] = {}
    by_part = any(part for _, part, _ in paper.columns)
    for domain, part, _ in paper.columns:
        name = (part or _WHOLE).replace("_", " ") if by_part else domain
        spans[name] = spans.get(name, 0) + 1
    return tuple(spans.items()), tuple(figure for _, _, figure in paper.columns)


def _value(result: Mapping[str, Any] | None, part: str, figure: str) -> float | None:
    """A figure in percent; None if it was not measured."""
    figures = (result or {}) if not part else (result or {}).get("parts", {}).get(part, {})
    value = figures.get(figure)
    return None if value is None else 100 * value


def _shown(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f}"


def _difference(ours: Sequence[float | None], paper: Sequence[float | None]) -> TableRow:
    pairs = zip(ours, paper, strict=True)
    cells = (NONE if None in pair else f"{pair[0] - pair[1]:+.1f}" for pair in pairs)  # type: ignore[operator]
    return TableRow("difference to SDPose in the paper", tuple(cells), DIFFERENCE)


def _why_not(result: Mapping[str, Any] | None) -> list[str]:
    """Why a result may not be compared with the paper's; empty if it may, or if there is none."""
    return list((result or {}).get("departures", ()))


def remarks_of(claim: Claim, setup: Setup, outcomes: Outcomes) -> list[str]:
    """What stands in for the paper's data, and differences from its protocol of each result of a claim."""
    remarks: dict[str, dict[str, list[str]]] = {}  # what is said -> of which part -> of which of its estimators
    for part in claim.parts:
        jobs = part.jobs(setup)
        if not isinstance(part, Evaluation):
            for job in jobs:
                remarks.setdefault(job.note, {})[job.name] = []
            continue
        remarks.setdefault(jobs[0].note if jobs else "", {})[part.name] = []
        for (_, name), result in results_of(part, setup, outcomes).items():
            if reasons := _why_not(result):
                text = f"not to be compared with the paper: {'; '.join(reasons)}"
                remarks.setdefault(text, {}).setdefault(part.name, []).append(name)
    return [f"{_who(parts)}: {text}." for text, parts in remarks.items() if text]


def _who(parts: Mapping[str, Sequence[str]]) -> str:
    """Parts with their estimators, each set of estimators once."""
    together: dict[tuple[str, ...], list[str]] = {}
    for part, names in parts.items():
        together.setdefault(tuple(names), []).append(part)
    return "; ".join(
        "; ".join(found) + (f" ({', '.join(names)})" if names else "") for names, found in together.items()
    )


def other_tables(parts: Sequence[Evaluation], setup: Setup, outcomes: Outcomes) -> list[Table]:
    """Benchmarks that no table of the paper has, side by side, then the groups of pictures of each."""
    found = {part: results for part in parts if (results := results_of(part, setup, outcomes))}
    if not found:
        return []
    rows = []
    for key in dict.fromkeys(key for results in found.values() for key in results):
        values = [_value(results.get(key), "", figure) for results in found.values() for figure in _BOTH]
        rows.append(TableRow(key[1], tuple(map(_shown, values))))
    groups = tuple((part.benchmark, len(_BOTH)) for part in found)
    tables = [Table("AP and AR in percent", groups, _BOTH * len(found), tuple(rows))]
    return tables + [table for part, results in found.items() for table in _group_tables(part, results)]


def _group_tables(part: Evaluation, results: Mapping[tuple[str, str], Mapping[str, Any]]) -> list[Table]:
    """AP of every group of pictures that a benchmark has: a column each."""
    tables = []
    for grouping in dict.fromkeys(name for result in results.values() for name in result.get("groups", {})):
        held = {name: result.get("groups", {}).get(grouping, {}) for (_, name), result in results.items()}
        names = tuple(dict.fromkeys(group for groups in held.values() for group in groups))
        rows = [
            TableRow(label, tuple(percent(groups.get(name, {}).get("AP")) for name in names))
            for label, groups in held.items()
        ]
        tables.append(Table(f"AP in percent by {grouping}, {part.benchmark}", (), names, tuple(rows)))
    return tables


def corruption_table(results: Mapping[tuple[str, str], Mapping[str, Any]]) -> Table:
    """AP on clean pictures and under corruption, by family."""
    rows = []
    for (_, name), result in results.items():
        found = robustness_of(result)
        families = [found["families"].get(family, {}).get("AP") for family in FAMILIES]
        values = [found["clean"]["AP"], found["mPC"], found["rPC"], *families]
        rows.append(TableRow(name, tuple(_shown(None if value is None else 100 * value) for value in values)))
    return Table("AP in percent", (), ("clean", "mPC", "rPC", *FAMILIES), tuple(rows))


# --- ablations and features ----------------------------------------------------------------------------------------


def _ablation_file(part: Ablation, setup: Setup, outcomes: Outcomes) -> Path | None:
    """The table of a finished ablation: the one that was given, or of the job."""
    if folder := setup.ablations.get(part.title):
        return folder / "table.json"
    done = _good(part.jobs(setup), outcomes)
    return done[0].result(setup.out) if done else None


def ablation_table(paper: PaperTable, names: Sequence[str], file: Path | None) -> Table:
    """The arms with these names that were measured, then the paper's rows."""
    arms = read_json(file, "the table of ablate.py", dict)["arms"] if file else []
    tests = list(dict.fromkeys(test for arm in arms for test in arm["mean"]))
    empty = (NONE,) * len(paper.columns)
    rows = [
        TableRow(arm["title"], (*(_pair(arm["mean"].get(test)) for test in tests), *empty))
        for arm in arms if arm["name"] in names and any(arm["mean"].values())
    ]  # fmt: skip
    own = (NONE,) * len(tests)
    for name, cells in paper.rows.items():
        rows.append(TableRow(f"{name} in the paper", (*own, *map(_shown, cells)), PAPER))
    groups, columns = _headings(paper)
    measured = (("measured here", len(tests)),) if tests else ()
    heads = tuple(f"{test} AP / AR" for test in tests)
    return Table(_title(paper), measured + groups, heads + columns, tuple(rows))


def _pair(figures: Mapping[str, float] | None) -> str:
    return NONE if figures is None else f"{100 * figures['AP']:.1f} / {100 * figures['AR']:.1f}"


def features_table(file: Path) -> Table:
    """Silhouette scores of a feature analysis, then those that the paper states."""
    analysis = read_json(file, "the result of analyze_features.py", dict)
    names = ("silhouette_by_person", "silhouette_by_style")
    rows = [
        TableRow(f"{each['network']}, {each['level']}", tuple(f"{each[name]:+.3f}" for name in names))
        for each in analysis["results"]
    ]
    rows += [TableRow(f"{name} in the paper", cells, PAPER) for name, cells in _SILHOUETTES.items()]
    return Table("Silhouette scores, -1 to 1", (), ("by person", "by style"), tuple(rows))
