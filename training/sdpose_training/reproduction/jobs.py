"""Commands of a reproduction: each runs in its own process and folder, and is kept when it is done."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdpose_core.errors import one_line
from sdpose_core.files import atomic_write
from sdpose_core.resumable import begin, plain, settings_hash
from sdpose_core.texts import read_json
from sdpose_core.version import __version__

log = logging.getLogger(__name__)

SCRIPTS = Path(__file__).parents[2]
"""The folder of the scripts that the commands run: training/."""

RUNS = "runs"
"""Folder of all jobs inside the output folder."""

_DONE, _SETTINGS, LOG = "done.json", "settings.json", "log"
"""Ends of the names of what is beside a job's folder, which belongs to its command."""

_HASH_DIGITS = 8
_POLL_SECONDS = 0.05

DONE, KEPT, FAILED, MISSING, BLOCKED = "done", "kept", "failed", "missing", "blocked"
"""How a job ended: it ran, an earlier run with the same settings had done it, it failed, it lacks something, or a job
that it needs did not end well."""


@dataclass(frozen=True)
class Output:
    """An argument that names a file in the job's own folder ("" for the folder itself)."""

    name: str = ""


@dataclass(frozen=True)
class Named:
    """An argument NAME=PATH."""

    name: str
    path: Path


Argument = str | Path | Output | Named


@dataclass(frozen=True)
class Job:
    """One command.

    Attributes:
        name: for people and for its folder; unique.
        script: in training/.
        arguments: of the command; a `Path` in the output folder of the reproduction may be moved with it.
        results: files that it writes, relative to its folder.
        after: jobs whose results it reads.
        identity: what else decides the result, such as hashes of files.
        missing: what it lacks, and where to get it; None if it can run.
        seconds: how long it takes, None if unknown.
        note: what is special about it, for the page.
    """

    name: str
    script: str
    arguments: tuple[Argument, ...]
    results: tuple[str, ...]
    after: tuple[Job, ...] = ()
    identity: Mapping[str, Any] = field(default_factory=dict)
    missing: str | None = None
    seconds: float | None = None
    note: str = ""

    def settings(self, out: Path) -> dict[str, Any]:
        """Everything that decides the result, as plain values; `out` is the output folder of the reproduction."""
        words = [_settled(argument, out) for argument in self.arguments]
        before = [settings_hash(job.settings(out)) for job in self.after]
        own = {"script": self.script, "arguments": words, "identity": self.identity, "after": before}
        return plain({**own, "version": __version__})

    def folder(self, out: Path) -> Path:
        """Its folder: other settings have another one, so that results are never mixed."""
        words = re.sub(r"[^\w.-]+", "-", self.name).strip("-").lower()
        return out / RUNS / f"{words}-{settings_hash(self.settings(out))[:_HASH_DIGITS]}"

    def result(self, out: Path) -> Path:
        """Its first result."""
        return self.folder(out) / self.results[0]

    def words(self, out: Path) -> list[str]:
        """The arguments as text."""
        folder = self.folder(out)
        return [_word(argument, folder) for argument in self.arguments]

    def command(self, out: Path) -> str:
        """The command line, from the folder of the project, that gives this result alone."""
        return shlex.join(["python", f"training/{self.script}", *self.words(out)])


@dataclass(frozen=True)
class Outcome:
    """How a job ended, and its costs in seconds (CPU None if the system does not measure it)."""

    state: str
    seconds: float = 0.0
    cpu_seconds: float | None = None
    problem: str = ""

    @property
    def is_good(self) -> bool:
        return self.state in (DONE, KEPT)


def _word(argument: Argument, folder: Path) -> str:
    """An argument as the command has it."""
    if isinstance(argument, Named):
        return f"{argument.name}={argument.path}"
    return str(folder / argument.name) if isinstance(argument, Output) else str(argument)


def _settled(argument: Argument, out: Path) -> str:
    """An argument as the settings have it: the same however a path is spelled, and wherever this project and the output
    folder are."""
    if isinstance(argument, Output):
        return f"OWN/{argument.name}"
    if isinstance(argument, Named):
        return f"{argument.name}={_settled(argument.path, out)}"
    if not isinstance(argument, Path):
        return argument
    whole, root = Path(os.path.abspath(argument)), Path(os.path.abspath(out))
    known = {"OUT": root, "TRAINING": SCRIPTS}
    inside = (
        f"{name}/{whole.relative_to(place).as_posix()}" for name, place in known.items() if place in whole.parents
    )
    return next(inside, str(whole))


def in_order(jobs: Iterable[Job]) -> list[Job]:
    """All jobs, each once, after those that it needs."""
    found: dict[str, Job] = {}

    def add(job: Job) -> None:
        for needed in job.after:
            add(needed)
        found.setdefault(job.name, job)

    for job in jobs:
        add(job)
    return list(found.values())


def beside(folder: Path, end: str) -> Path:
    """A file about a job, beside its folder."""
    return folder.with_name(f"{folder.name}.{end}")


def kept(job: Job, out: Path) -> Outcome | None:
    """What an earlier run with the same settings noted, if its results are still there."""
    folder = job.folder(out)
    note = beside(folder, _DONE)
    if not note.exists() or not all((folder / name).exists() for name in job.results):
        return None
    noted = read_json(note, "the costs of a job: remove its folder", dict)
    return Outcome(KEPT, float(noted.get("seconds", 0.0)), noted.get("cpu_seconds"))


def run_all(jobs: Iterable[Job], out: Path) -> Iterator[tuple[Job, Outcome]]:
    """Run the jobs one after the other; yields each with its outcome. A failure ends only what needs the job.

    If the generator is closed or interrupted, the running process is asked to save its state, and waited for.
    """
    ended: dict[str, Outcome] = {}
    for job in in_order(jobs):
        broken = [needed.name for needed in job.after if not ended[needed.name].is_good]
        if job.missing:
            outcome = Outcome(MISSING, problem=job.missing)
        elif broken:
            outcome = Outcome(BLOCKED, problem=f"it needs the results of: {', '.join(broken)}")
        else:
            outcome = kept(job, out) or _run(job, out)
        ended[job.name] = outcome
        yield job, outcome


def _run(job: Job, out: Path) -> Outcome:
    """Run the job's command; its log has what it prints."""
    folder = job.folder(out)
    begin(beside(folder, _SETTINGS), job.settings(out))
    log.info("%s: %s (its output: %s)", job.name, job.command(out), beside(folder, LOG))
    began = time.monotonic()
    with open(beside(folder, LOG), "wb") as file:
        command = [sys.executable, str(SCRIPTS / job.script), *job.words(out)]
        process = subprocess.Popen(command, stdout=file, stderr=subprocess.STDOUT)
        try:
            code, cpu_seconds = _wait(process)
        finally:
            if process.returncode is None:
                process.terminate()
                _wait(process)
    seconds = time.monotonic() - began
    if problem := _problem(job, folder, code):
        return Outcome(FAILED, seconds, cpu_seconds, problem)
    with atomic_write(beside(folder, _DONE), "w") as file:
        json.dump({"seconds": seconds, "cpu_seconds": cpu_seconds}, file)
    return Outcome(DONE, seconds, cpu_seconds)


def _wait(process: subprocess.Popen[bytes]) -> tuple[int, float | None]:
    """The exit code of the process and its CPU seconds, children included."""
    if not hasattr(os, "wait4"):
        return process.wait(), None
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
            return process.returncode, usage.ru_utime + usage.ru_stime
        time.sleep(_POLL_SECONDS)


def _problem(job: Job, folder: Path, code: int) -> str:
    """Why a job that ended did not end well; "" if it did."""
    if code:
        return f"it ended with {code}: {_last_line(beside(folder, LOG))}"
    absent = [name for name in job.results if not (folder / name).exists()]
    return f"it ended without an error, but wrote no {absent[0]}" if absent else ""


def _last_line(path: Path) -> str:
    """The last line that a process printed, without states of progress bars before it."""
    lines = re.split(r"[\r\n]+", path.read_text(encoding="utf-8", errors="replace").strip())
    return one_line(Exception(lines[-1])) if lines[-1] else "it printed nothing"
