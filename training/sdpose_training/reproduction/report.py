"""From claims and outcomes to the table of what runs, and to the page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import sdpose_core
from sdpose_core.errors import counted
from sdpose_training.environment import versions
from sdpose_training.reproduction.claims import MORE, Claim
from sdpose_training.reproduction.jobs import (
    BLOCKED,
    DONE,
    FAILED,
    KEPT,
    MISSING,
    Job,
    Outcome,
    in_order,
    kept,
    settled,
)
from sdpose_training.reproduction.page import Embedded, RunLine, Section, embedded, write_report
from sdpose_training.reproduction.setup import Setup
from sdpose_training.reproduction.small import NOTICE
from sdpose_training.reproduction.tables import Outcomes, remarks_of, tables_of
from sdpose_training.templates import hours_text, plain_table

PAGE = "index.html"

PLAN_COLUMNS = ("what", "state", "time", "for", "missing, and where to get it")
WAITING = "runs"
"""The state of a job that can run, before it has."""

_PICTURES = (".png", ".jpg")


def jobs_of(claims: Sequence[Claim], setup: Setup) -> list[Job]:
    """All jobs, each once, after those that they need."""
    return in_order(job for claim in claims for part in claim.parts for job in part.jobs(setup))


def known_outcomes(jobs: Sequence[Job], setup: Setup) -> dict[str, Outcome]:
    """What is known before anything runs: what an earlier run has done, and what is missing."""
    found: dict[str, Outcome] = {}
    for job in jobs:
        if known := settled(job) or kept(job, setup.out):
            found[job.name] = known
    return found


def plan_rows(claims: Sequence[Claim], setup: Setup, outcomes: Outcomes) -> list[tuple[str, ...]]:
    """Rows of `PLAN_COLUMNS`: what runs before what is missing."""
    users: dict[str, list[Claim]] = {}
    for claim in claims:
        for job in in_order(job for part in claim.parts for job in part.jobs(setup)):
            users.setdefault(job.name, []).append(claim)
    rows = []
    for job in jobs_of(claims, setup):
        outcome = outcomes.get(job.name)
        state = outcome.state if outcome else WAITING
        used = _used_for(users[job.name])
        rows.append((job.name, state, _time(job, outcome), used, outcome.problem if outcome else ""))
    rows += [(name, MISSING, "", "", why) for name, why in setup.absent.items()]
    return sorted(rows, key=lambda row: row[1] in (MISSING, BLOCKED))


def plan_text(claims: Sequence[Claim], setup: Setup, outcomes: Outcomes) -> str:
    """The plan for the screen: a table, what is missing line by line, and a sum."""
    rows = plan_rows(claims, setup, outcomes)
    names: dict[str, list[str]] = {}
    for name, state, *_, why in rows:
        if state == MISSING:
            names.setdefault(why, []).append(name)
    missing = [f"missing for {'; '.join(found)}:\n    {why}" for why, found in names.items()]
    table = plain_table(PLAN_COLUMNS[:-1], [row[:-1] for row in rows], numbers=False)
    return "\n\n".join(filter(None, [table, "\n".join(missing), total_text(jobs_of(claims, setup), outcomes)]))


def _used_for(claims: Sequence[Claim]) -> str:
    """ "tables 1, 3; figure 6"."""
    by_kind: dict[str, list[str]] = {}
    for claim in claims:
        by_kind.setdefault(claim.kind, []).append(claim.number)
    more = by_kind.pop(MORE, [])
    parts = [f"{kind}{'s' if len(found) > 1 else ''} {', '.join(found)}" for kind, found in by_kind.items()]
    parts += more
    return "; ".join(parts)


def _time(job: Job, outcome: Outcome | None) -> str:
    """What a job took, or takes by an estimate."""
    if outcome and outcome.state in (DONE, KEPT, FAILED) and outcome.seconds:
        cpu = "" if outcome.cpu_seconds is None else f", {hours_text(outcome.cpu_seconds / 3600)} of CPU"
        return hours_text(outcome.seconds / 3600) + cpu
    return "unknown" if job.seconds is None else f"about {hours_text(job.seconds / 3600)}"


def total_text(jobs: Sequence[Job], outcomes: Outcomes) -> str:
    """One line: how many commands run, and how long all of them take."""
    waiting = [job for job in jobs if job.name not in outcomes]
    states = [outcome.state for outcome in outcomes.values()]
    seconds = sum(job.seconds or 0.0 for job in waiting)
    unknown = any(job.seconds is None for job in waiting)
    time = f"{'more than ' if unknown else 'about '}{hours_text(seconds / 3600)}" if waiting else "nothing to do"
    return (
        f"{counted(len(waiting), 'command')} to run ({time}), {states.count(KEPT)} kept from an earlier run, "
        f"{states.count(MISSING)} missing something"
    )


def write(claims: Sequence[Claim], setup: Setup, outcomes: Mapping[str, Outcome]) -> Path:
    """Write the page with what is known so far; returns its path."""
    sections = [_section(claim, setup, outcomes) for claim in claims]
    path = setup.out / PAGE
    title = "SDPose: the paper's figures, measured here"
    notice = NOTICE if setup.small else ""
    write_report(
        path, title, notice, _facts(setup, outcomes), sections, PLAN_COLUMNS, plan_rows(claims, setup, outcomes)
    )
    return path


def _facts(setup: Setup, outcomes: Outcomes) -> dict[str, str]:
    commit = versions()["git_commit"]
    states = [outcome.state for outcome in outcomes.values()]
    named = [(state, states.count(state)) for state in (DONE, KEPT, FAILED, BLOCKED, MISSING)]
    cpu = sum(outcome.cpu_seconds or 0.0 for outcome in outcomes.values())
    wall = sum(outcome.seconds for outcome in outcomes.values() if outcome.is_good)
    return {
        "estimators": "; ".join(f"{each.name} ({each.keypoint_set})" for each in setup.candidates) or "none",
        "data": str(setup.root or "none"),
        "commands": ", ".join(f"{count} {state}" for state, count in named if count) or "none ran yet",
        "time": f"{hours_text(wall / 3600)} (sum over the commands), {hours_text(cpu / 3600)} of CPU",
        "version": f"{sdpose_core.__version__}, commit {commit or 'unknown'}",
    }


def _section(claim: Claim, setup: Setup, outcomes: Outcomes) -> Section:
    jobs = [job for part in claim.parts for job in part.jobs(setup)]
    return Section(
        claim.anchor, claim.name, claim.title, claim.says, tables_of(claim, setup, outcomes),
        _pictures(jobs, setup, outcomes), [*claim.differences, *remarks_of(claim, setup, outcomes)],
        [_run_line(job, setup, outcomes) for job in jobs],
    )  # fmt: skip


def _pictures(jobs: Sequence[Job], setup: Setup, outcomes: Outcomes) -> list[Embedded]:
    """The pictures among the results of jobs that are done."""
    done = [job for job in jobs if (outcome := outcomes.get(job.name)) and outcome.is_good]
    files = [(job, job.folder(setup.out) / name) for job in done for name in job.results]
    return [embedded(path, job.name) for job, path in files if path.suffix in _PICTURES and path.is_file()]


def _run_line(job: Job, setup: Setup, outcomes: Outcomes) -> RunLine:
    outcome = outcomes.get(job.name)
    state, problem = (outcome.state, outcome.problem) if outcome else (WAITING, "")
    commands = [each.command(setup.out) for each in in_order([job]) if each.arguments]
    return RunLine(job.name, state, _time(job, outcome), problem, commands)
