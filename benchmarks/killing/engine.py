"""Kills a command at random and at chosen moments, runs it again, and compares with an undisturbed run."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
STARTER = Path(__file__).with_name("starter.py")
PATIENCE = 180
"""Seconds after which a command is taken to hang."""

Digests = dict[str, str]
"""Path below the work folder -> what it holds."""


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Variables of the environment for the commands of this checkout."""
    path = f"{ROOT}{os.pathsep}{ROOT / 'training'}"
    usual = {"PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    return {**os.environ, **usual, **(more or {})}


class Job:
    """A small piece of work for one command, in a folder with `in` (inputs) and `out` (what it writes).

    Attributes:
        name: of the command.
        weight: its share of the kills.
        folders: patterns of folders in `out` that are replaced as a whole.
        growing: patterns of files in `out` that are written bit by bit, or with times, and so are compared only in the
            end, by `digest`.
        variants: number of ways to change the settings or the source after a kill.
        modules: to import once instead of in each run.
        why_not: why it cannot run here; "" if it can.
    """

    name = ""
    weight = 6
    folders: Sequence[str] = ()
    growing: Sequence[str] = ()
    variants = 0
    modules: Sequence[str] = ()
    why_not = ""

    def prepare(self, folder: Path, run: Callable[[list[str]], None]) -> None:
        """Make the inputs, and with `run` what exists before."""
        raise NotImplementedError

    def argv(self, folder: Path) -> list[list[str]]:
        """The programs to start together, each without the interpreter."""
        raise NotImplementedError

    def changed(self, folder: Path, variant: int) -> list[list[str]]:
        """The programs with other settings, after changing the inputs if need be."""
        raise NotImplementedError

    def variables(self) -> dict[str, str]:
        """Of the environment, besides the usual ones."""
        return {}

    def digest(self, file: Path) -> str:
        """Of what is promised of a file: its bytes."""
        return hashlib.sha256(file.read_bytes()).hexdigest()[:16]

    def fingerprint(self, folder: Path) -> Digests:
        """All files, and empty folders."""
        paths = sorted(path for path in folder.rglob("*") if not path.is_dir() or not any(path.iterdir()))
        return {path.relative_to(folder).as_posix(): "" if path.is_dir() else self.digest(path) for path in paths}

    def visible(self, found: Digests) -> Digests:
        """What users see of a fingerprint: the files that are whole at every moment, and the folders of `folders`."""
        units: dict[str, list[str]] = {}
        for name, digest in found.items():
            parts = Path(name).parts
            if any(part.startswith(".") for part in parts) or any(fnmatch(name, each) for each in self.growing):
                continue
            unit = "/".join(parts[:2]) if any(fnmatch(name, f"out/{each}/*") for each in self.folders) else name
            units.setdefault(unit, []).append(f"{name} {digest}")
        return {unit: "\n".join(parts) for unit, parts in units.items()}


@dataclass
class Tally:
    """What was counted for one command; `stories` tells each failure."""

    name: str
    kills: int = 0
    lost: int = 0
    litter: int = 0
    different: int = 0
    seconds: float = 0.0
    stories: list[str] = field(default_factory=list)

    @property
    def failed(self) -> bool:
        return bool(self.stories)

    def note(self, kind: str, story: str) -> None:
        setattr(self, kind, getattr(self, kind) + 1)
        self.stories.append(f"{self.name}: {kind}: {story}")


class Killer:
    """Kills one job again and again; `base` is its state before the command, `work` where it runs."""

    def __init__(self, job: Job, place: Path, seed: int, starter: Starter) -> None:
        self.began = time.perf_counter()
        self.job, self.tally = job, Tally(job.name)
        self.base, self.work, self.counts = place / "base", place / "work", place / "counts"
        for name in ("in", "out"):
            (self.base / name).mkdir(parents=True)
        self.starter = starter
        job.prepare(self.base, self._prepare)
        self.rng = np.random.default_rng([seed, *job.name.encode()])
        self.old = self.job.visible(self.job.fingerprint(self.base))
        self._fresh()
        self._finish(self.job.argv(self.work), count=True)
        self.changes, self.seconds = len(self.counts.read_bytes()), self.work_seconds
        self.truth = job.fingerprint(self.work)
        self.new = self.job.visible(self.truth)
        self.others: dict[int, Digests] = {}

    def _prepare(self, program: list[str]) -> None:
        """Run a program in the base folder."""
        run = self.starter.start(program, self.base, self.job.variables(), None, 0)
        if run.wait():
            raise RuntimeError(f"{program}: {run.errors.read_text(errors='replace')}")

    def _fresh(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.base, self.work)

    # --- processes -------------------------------------------------------------------------------------------------

    def _start(self, programs: list[list[str]], stop_at: int | None = None) -> list[Run]:
        """Start the programs; changes of files are counted in the first one, unless `stop_at` is None."""
        self.counts.unlink(missing_ok=True)
        counts = [self.counts if stop_at is not None and number == 0 else None for number in range(len(programs))]
        variables = self.job.variables()
        return [
            self.starter.start(program, self.work, variables, file, stop_at or 0)
            for program, file in zip(programs, counts, strict=True)
        ]

    def _wait_for_work(self, run: Run) -> float:
        """Until the first change of a file; returns the time."""
        while run.poll() is None and not (self.counts.exists() and self.counts.stat().st_size):
            time.sleep(0.001)
        return time.perf_counter()

    def _finish(self, programs: list[list[str]], count: bool = False, may_fail: bool = False) -> bool:
        """Run to the end; whether all exit codes are 0. Raises `RuntimeError` if they are not, unless they may."""
        runs = self._start(programs, 0 if count else None)
        began = self._wait_for_work(runs[0]) if count else 0.0
        codes = [run.wait() for run in runs]
        self.work_seconds = time.perf_counter() - began
        texts = [run.errors.read_text(errors="replace") for run in runs]
        if any("Traceback" in text for text in texts) or (any(codes) and not may_fail):
            raise RuntimeError(f"exit codes {codes}: {' / '.join(text[-400:] for text in texts)}")
        return not any(codes)

    def _kill(self, moment: float | int) -> str:
        """Kill at a change (int), or so many seconds after the first one; returns when in words, "" if it had ended."""
        at_change = isinstance(moment, int)
        runs = self._start(self.job.argv(self.work), moment if at_change else 0)
        if at_change:
            alive = runs[0].wait() == -signal.SIGKILL
        else:
            self._wait_for_work(runs[0])
            time.sleep(moment)
            alive = runs[0].poll() is None
        victims = runs if self.rng.integers(2) else runs[:1]
        for run in victims:
            run.kill()
        for run in runs:
            run.wait()
        when = f"before change {moment} of {self.changes}" if at_change else f"after {moment:.3f} s"
        return "" if not alive else when if len(runs) == 1 else f"{when}, {len(victims)} of {len(runs)}"

    # --- rounds ----------------------------------------------------------------------------------------------------

    def rounds(self, kills: int) -> Tally:
        """Kill and run again until there were so many kills."""
        number = 0
        while self.tally.kills < kills:
            self._fresh()
            self._round(number, twice=number % 3 == 2 and self.tally.kills + 2 <= kills)
            number += 1
        self.tally.seconds = time.perf_counter() - self.began
        return self.tally

    def _round(self, number: int, twice: bool) -> None:
        when = []
        for attempt in range(1 + twice):
            by_change = (number + attempt) % 2 == 0
            moment = int(self.rng.integers(1, self.changes + 1)) if by_change else self.rng.uniform(0, self.seconds)
            if not (words := self._kill(moment)):
                if attempt:
                    break
                self._fresh()  # it had ended: the machine is faster now, or an earlier process did the work
                words = self._kill(int(self.rng.integers(1, max(2, self.changes // 2))))
            when.append(words or "not at all")
            self.tally.kills += 1
            self._check_whole(", ".join(when))
        try:
            if number % 4 == 3 and self.job.variants:
                self._check_changed(number // 4 % self.job.variants, ", ".join(when))
            else:
                self._finish(self.job.argv(self.work))
                self._check_same(", ".join(when))
        except RuntimeError as error:
            self.tally.note("different", f"killed {', '.join(when)}: {error}")

    def _check_whole(self, when: str) -> None:
        """What users see is completely old or completely new."""
        found = self.job.visible(self.job.fingerprint(self.work))
        for unit in sorted({*self.old, *found}):
            if found.get(unit) not in (self.old.get(unit), self.new.get(unit)):
                self.tally.note("lost", f"killed {when}: {unit} is neither the old nor the new one")

    def _check_same(self, when: str) -> None:
        found = self.job.fingerprint(self.work)
        for name in sorted({*found, *self.truth}):
            if name not in self.truth:
                self.tally.note("litter", f"killed {when}: {name} is left")
            elif name not in found:
                self.tally.note("lost", f"killed {when}: {name} is missing")
            elif found[name] != self.truth[name]:
                self.tally.note("different", f"killed {when}: {name}")

    def _check_changed(self, variant: int, when: str) -> None:
        """Other settings after the kill give what they give without it, or are refused, and nothing is mixed."""
        when += f", then changed ({variant})"
        done = self._finish(self.job.changed(self.work, variant), may_fail=True)
        found = self.job.visible(self.job.fingerprint(self.work))
        if variant not in self.others:
            self._fresh()
            self._finish(self.job.changed(self.work, variant))
            self.others[variant] = self.job.visible(self.job.fingerprint(self.work))
        other = self.others[variant]
        if done and found != other:
            names = [name for name in {*found, *other} if found.get(name) != other.get(name)]
            self.tally.note("different", f"killed {when}: {', '.join(sorted(names))}")
        for item in {item_of(name) for name in found}:
            own = {name: digest for name, digest in found.items() if item_of(name) == item}
            if not any(own.items() <= whole.items() for whole in (self.old, self.new, other)):
                self.tally.note("different", f"killed {when}: {item} is mixed: {', '.join(own)}")


def item_of(name: str) -> str:
    """What the files of one source have in common: their names up to the first dot or underscore."""
    return re.match(r"[^._]*", name)[0]  # type: ignore[index]  # it always matches


class Starter:
    """A process that starts programs, see `starter.py`."""

    def __init__(self, modules: Sequence[str], place: Path) -> None:
        self.place, self.count = place, 0
        self._process = subprocess.Popen(
            [sys.executable, str(STARTER), ",".join(modules)], env=environment(), text=True, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )  # fmt: skip

    def start(
        self, program: Sequence[str], folder: Path, variables: Mapping[str, str], counts: Path | None, stop_at: int
    ) -> Run:
        self.count += 1
        errors = self.place / f"errors-{self.count % 8}"
        request = {"program": list(program), "folder": str(folder), "variables": dict(variables), "stop_at": stop_at}
        return Run(self, self.ask({**request, "errors": str(errors), "counts": str(counts or "")}), errors)

    def ask(self, request: Mapping[str, Any]) -> int | None:
        assert self._process.stdin and self._process.stdout
        print(json.dumps(request), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())

    def close(self) -> None:
        self._process.communicate()


@dataclass
class Run:
    """A running program."""

    starter: Starter
    pid: int
    errors: Path
    code: int | None = None

    def poll(self) -> int | None:
        """Its exit code; negative: the signal that ended it; None: it runs."""
        if self.code is None:
            self.code = self.starter.ask({"pid": self.pid})
        return self.code

    def wait(self) -> int:
        """Until it ends. Raises `RuntimeError` if it hangs."""
        until = time.monotonic() + PATIENCE
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                self.kill()
                raise RuntimeError("it hangs")
            time.sleep(0.002)
        return code

    def kill(self) -> None:
        """SIGKILL to its process group."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
