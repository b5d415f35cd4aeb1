"""Mutated inputs of all kinds through the commands: nothing may crash, hang, give a traceback or a wrong result.

    python benchmarks/fuzz_inputs.py [--inputs 2000] [--seed 0] [--workers 2] [--kinds npz,json] [--keep DIR]
    python benchmarks/fuzz_inputs.py --seed 0 --case npz:17 --keep DIR     # make one again, and show its messages

An input is made from the seed, its kind and its number alone. Each runs in a worker process, which is killed after
20 s. Prints a table, and a line per finding with the case that shows it. Exit code 1 if there is a finding.
"""

from __future__ import annotations

import argparse
import json
import os
import queue
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "training"), str(ROOT / "tests" / "support")]

from fuzzing.cases import KINDS
from fuzzing.seeds import make_seeds
from fuzzing.workers import HANG_SECONDS, serve, short_path

START_SECONDS = 120.0
CEILING = 6 << 30
"""Bytes at which a worker is killed at once, before the machine is in need."""
SORTS = ("traceback", "crash", "hang", "memory", "meaning")


def deal(inputs: int, kinds: Sequence[str]) -> list[tuple[str, int]]:
    """Kind and number of the cases: by the shares of the kinds, mixed evenly."""
    total = sum(KINDS[kind][0] for kind in kinds)
    counts = {kind: max(1, round(inputs * KINDS[kind][0] / total)) for kind in kinds}
    cases = [(number / count, kind, number) for kind, count in counts.items() for number in range(count)]
    return [(kind, number) for _, kind, number in sorted(cases)]


class Process:
    """A worker process, started when it is first needed and again after it died.

    Args:
        command: what starts one, without its folder, which comes last.
        folder: has a folder for each start.
    """

    def __init__(self, command: Sequence[str], folder: Path) -> None:
        self._command, self._folder = command, folder
        self._process: subprocess.Popen[str] | None = None
        self._started = 0
        self._here = folder

    def run(self, kind: str, number: int) -> dict[str, Any]:
        """The result of a case, also if it ends the process."""
        began = time.monotonic()
        if self._process is None:
            self._start()
            began = time.monotonic()
        assert self._process is not None and self._process.stdin is not None
        self._process.stdin.write(f"{kind} {number}\n")
        self._process.stdin.flush()
        answer, problem = self._wait(HANG_SECONDS)
        if answer is None:
            code = self.stop()
            where = _last_place(self._here / "trace")
            if not problem:
                where = f"{_signal(code)}; {where}; {_last_line(self._here / 'stderr')}"
            folder = str(self._here / f"{kind}-{number}")
            answer = {
                "kind": kind, "number": number, "what": _what(folder), "codes": [], "peak": 0, "seconds": 0.0,
                "folder": folder, "findings": [(problem or "crash", where)],
            }  # fmt: skip
        return answer | {"wall": time.monotonic() - began}

    def _start(self) -> None:
        self._started += 1
        self._here = self._folder / str(self._started)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
        self._process = subprocess.Popen(
            [*self._command, str(self._here)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env=environment, start_new_session=True,
        )  # fmt: skip
        if self._wait(START_SECONDS)[0] is None:
            raise RuntimeError("a worker did not start")

    def _wait(self, seconds: float) -> tuple[dict[str, Any] | None, str]:
        """The next answer; or None and "hang" or "memory", or "" if the process has ended."""
        assert self._process is not None and self._process.stdout is not None
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if select.select([self._process.stdout], [], [], 0.3)[0]:
                line = self._process.stdout.readline()
                return (json.loads(line), "") if line else (None, "")
            if _resident(self._process.pid) > CEILING:
                return None, "memory"
        return None, "hang"

    def stop(self) -> int:
        """End the process and those that it started; returns its exit code."""
        if self._process is None:
            return 0
        process, self._process = self._process, None
        try:
            code = process.wait(0.0 if process.poll() is not None else 10.0)  # one that crashes may not be gone yet
        except subprocess.TimeoutExpired:
            code = 0
        try:
            os.killpg(process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        process.wait()
        return code


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError):
        return 0


def _last_line(file: Path) -> str:
    lines = file.read_text("utf-8", "replace").splitlines() if file.exists() else []
    return lines[-1][:200] if lines else ""


def _signal(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def _last_place(trace: Path) -> str:
    """Where our code was, as `faulthandler` wrote it."""
    lines = re.findall(r'File "(.*)", line (\d+) in (\S+)', trace.read_text() if trace.exists() else "")
    ours = [line for line in lines if "/sdpose_" in line[0] or "/training/" in line[0]] or lines
    if not ours:
        return "place unknown"
    path, number, name = ours[0]
    return f"{short_path(path)}:{number} {name}"


def _what(folder: str) -> str:
    try:
        return str(json.loads((Path(folder) / "case.json").read_text())["what"])
    except (OSError, ValueError):
        return ""


def run_cases(cases: Sequence[tuple[str, int]], seed: int, workers: int, keep: Path | None) -> Iterator[dict[str, Any]]:
    """The results of the cases in the order in which they are finished; inputs with findings are kept."""
    todo: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    results: queue.SimpleQueue[dict[str, Any] | BaseException] = queue.SimpleQueue()
    for case in cases:
        todo.put(case)
    with tempfile.TemporaryDirectory(prefix="fuzz") as temporary:
        make_seeds(Path(temporary) / "seeds", {kind for kind, _ in cases})

        def work(number: int) -> None:
            command = [sys.executable, __file__, "--worker", str(Path(temporary) / "seeds"), str(seed)]
            process = Process(command, Path(temporary) / f"worker{number}")
            try:
                while True:
                    results.put(process.run(*todo.get_nowait()))
            except queue.Empty:
                pass
            except BaseException as error:  # noqa: BLE001  (raised again below)
                results.put(error)
            finally:
                process.stop()

        for number in range(workers):
            threading.Thread(target=work, args=(number,), daemon=True).start()
        for _ in cases:
            result = results.get()
            if isinstance(result, BaseException):
                raise result
            _put_away(result, keep)
            yield result


def _put_away(result: dict[str, Any], keep: Path | None) -> None:
    folder = Path(result["folder"])
    messages = folder / "messages"
    result["messages"] = messages.read_text(encoding="utf-8") if messages.exists() else ""
    if keep is not None and result["findings"] and folder.exists():
        target = keep / folder.name
        shutil.rmtree(target, ignore_errors=True)
        pipes = shutil.ignore_patterns("pipe")
        shutil.copytree(folder, target, symlinks=True, ignore=pipes)
    shutil.rmtree(folder, ignore_errors=True)


def table(results: Sequence[dict[str, Any]]) -> str:
    """Numbers per kind."""
    lines = [
        f"{'kind':<12}{'inputs':>8}{'accepted':>10}{'refused':>9}"
        + "".join(f"{sort:>11}" for sort in SORTS)
        + f"{'CPU s':>8}"
    ]
    for kind in [*KINDS, "all"]:
        some = [result for result in results if kind in (result["kind"], "all")]
        if not some:
            continue
        accepted = sum(bool(result["codes"]) and not any(result["codes"]) for result in some)
        found = [sum(any(name == sort for name, _ in result["findings"]) for result in some) for sort in SORTS]
        refused = sum(any(code in (1, 2) for code in result["codes"]) for result in some)
        seconds = sum(result["seconds"] for result in some)
        lines.append(
            f"{kind:<12}{len(some):>8}{accepted:>10}{refused:>9}"
            + "".join(f"{n:>11}" for n in found)
            + f"{seconds:>8.1f}"
        )
    return "\n".join(lines)


def distinct(results: Sequence[dict[str, Any]]) -> dict[tuple[str, str, str], list[dict[str, Any]]]:
    """Findings of one kind and cause -> the cases that show it."""
    found: dict[tuple[str, str, str], list[dict[str, Any]]] = defaultdict(list)
    for result in sorted(results, key=lambda each: (each["kind"], each["number"])):
        for sort, text in result["findings"]:
            cause = text.split(": ")[0] if sort == "traceback" else re.sub(r"\d+", "N", text)
            found[result["kind"], sort, cause].append(result | {"text": text})
    return dict(found)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=2000, metavar="N")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2, metavar="N", help="processes (default: 2)")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"default: {','.join(KINDS)}")
    parser.add_argument("--case", metavar="KIND:NUMBER", help="only this one")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="folder for the inputs with findings")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.worker:
        serve(*args.worker)
        return 0
    kinds = args.kinds.split(",")
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"unknown kinds: {', '.join(sorted(unknown))}; known are {', '.join(KINDS)}")
    cases = deal(args.inputs, kinds)
    if args.case:
        kind, number = args.case.split(":")
        cases = [(kind, int(number))]
    began = time.monotonic()
    results = []
    for result in run_cases(cases, args.seed, args.workers, args.keep):
        results.append(result)
        if args.case:
            print(result["messages"])
    print(table(results))
    seconds = sum(result["seconds"] for result in results)
    peak = max(result["peak"] for result in results) / (1 << 30)
    rate = len(results) / max(seconds, 1e-9)
    print(f"{time.monotonic() - began:.0f} s, {rate:.1f} inputs per CPU second, peak {peak:.2f} GiB")
    for (kind, sort, _), shown in distinct(results).items():
        again = f"--seed {args.seed} --case {kind}:{shown[0]['number']}"
        print(f"{sort}: {shown[0]['text']} [{len(shown)} x {kind}; {again}; {shown[0]['what'][:120]}]")
    return int(any(result["findings"] for result in results))


if __name__ == "__main__":
    sys.exit(main())
