"""Worker processes: each imports the library once and runs cases through the real commands, one after another.

A worker reads lines "KIND NUMBER" and writes a line of JSON per case. It can crash and hang: its parent starts another.
"""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import json
import logging
import os
import re
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from .cases import Case, Place, make_case
from .checks import check_messages, check_results, listing

MEMORY_LIMIT = 3 << 30
HANG_SECONDS = 20.0
Program = Callable[[Sequence[str]], Any]


_HEAVY = ("av", "cv2", "onnxruntime", "scipy.optimize", "torch", "diffusers", "accelerate", "faster_coco_eval")
"""Imported when a worker starts: on a busy machine that alone may take longer than a case may."""


def programs() -> dict[str, Program]:
    """The commands and scripts by name, and the readers of files that have no command."""
    for package in (*_HEAVY, "sdpose_core.model.network"):
        importlib.import_module(package)
    import evaluate
    import make_synthetic_people
    import train
    from sdpose_core.cli.main import main
    from sdpose_core.skeletons import keypoint_set
    from sdpose_training.ablation.arms import read_list
    from sdpose_training.data.annotations import read_annotations, read_people
    from sdpose_training.data.keypoint_sets import find_keypoint_set
    from sdpose_training.options import exit_status
    from sdpose_training.peers.loading import load_peer
    from sdpose_training.recipe.recipe import load_recipe

    def reader(read: Callable[..., Any]) -> Program:
        def run(words: Sequence[str]) -> int:
            def work() -> None:
                read(*words)

            return exit_status("read", work)

        return run

    body = keypoint_set("coco_17")
    return {
        "sdpose": main,
        "evaluate": evaluate.main,
        "train": train.main,
        "synthetic": lambda words: make_synthetic_people.main(list(words)),
        "recipe": reader(load_recipe),
        "ablation": reader(lambda path: read_list(Path(path))),
        "points": reader(find_keypoint_set),
        "people": reader(lambda path, folder: read_people(read_annotations(path), Path(folder), body)),
        "peer": reader(load_peer),
    }


class Worker:
    """Runs cases in `folder`, with everything that is written to the two outputs, by libraries too, in files."""

    def __init__(self, seeds: Path, folder: Path, seed: int) -> None:
        self._seeds, self._folder, self._seed = seeds, folder, seed
        self._temporary = folder / "tmp"
        self._temporary.mkdir(parents=True)
        os.environ["TMPDIR"] = str(self._temporary)
        (folder / "outside").mkdir()
        (folder / "outside" / "keep.png").write_bytes((seeds / "pictures" / "rgb.png").read_bytes())
        self._answers = os.fdopen(os.dup(1), "w")
        self._out, self._err = folder / "stdout", folder / "stderr"
        for number, path in ((1, self._out), (2, self._err)):
            handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_APPEND)
            os.dup2(handle, number)
        self._trace = open(folder / "trace", "w")
        faulthandler.enable(self._trace)
        self._programs = programs()

    def serve(self) -> None:
        """Answer each line of standard input."""
        self._answer({"ready": os.getpid()})
        for line in sys.stdin:
            kind, number = line.split()
            self._answer(self.run(kind, int(number)))

    def _answer(self, values: dict[str, Any]) -> None:
        print(json.dumps(values), file=self._answers, flush=True)

    def run(self, kind: str, number: int) -> dict[str, Any]:
        """Make a case, run its commands and check what came of it."""
        began = time.process_time()
        _reset_peak()
        folder = self._folder / f"{kind}-{number}"
        case = make_case(kind, number, self._seed, Place(self._seeds, folder))
        (folder / "case.json").write_text(json.dumps({"what": case.what, "commands": case.commands}, indent=1))
        before, outside = listing(folder / "in"), self._around(folder)
        findings, codes, printed = [], [], []
        faulthandler.dump_traceback_later(HANG_SECONDS - 1, file=self._trace)
        for program, *words in case.commands:
            code, error = self._call(program, words, folder)
            text = self._err.read_text("utf-8", "replace")
            if error is not None:
                findings.append(("traceback", error))
            else:
                findings += [("meaning", problem) for problem in check_messages(case, code, text)]
            codes.append(code)
            printed.append(self._out.read_text("utf-8", "replace"))
            with open(folder / "messages", "a", encoding="utf-8") as file:
                file.write(f"$ {program} {' '.join(words)}\n{text}-> {code}\n")
        faulthandler.cancel_dump_traceback_later()
        findings += [("meaning", problem) for problem in self._problems(case, folder, codes, printed)]
        if listing(folder / "in") != before:
            findings.append(("meaning", "an input was changed"))
        findings += [("meaning", f"changed or written beside OUT: {name}") for name in self._around(folder) - outside]
        if (peak := _peak()) > MEMORY_LIMIT:
            findings.append(("memory", "more than 3 GB"))
        return {
            "kind": kind, "number": number, "what": case.what, "codes": codes, "findings": findings, "peak": peak,
            "seconds": time.process_time() - began, "folder": str(folder),
        }  # fmt: skip

    def _problems(self, case: Case, folder: Path, codes: list[int], printed: list[str]) -> list[str]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                return list(dict.fromkeys(check_results(case, folder, codes, printed)))
            except Exception as error:  # noqa: BLE001  (a result that cannot be read is what is looked for)
                return [f"a result cannot be read: {_where(error)}"]

    def _around(self, folder: Path) -> set[str]:
        """What a case must not change or add to: everything but IN and OUT."""
        ours = {"in", "out", "case.json", "messages", folder.name}
        names = {path.name for place in (folder, self._folder) for path in place.iterdir()} - ours
        inside = {**listing(self._folder / "outside"), **listing(self._temporary)}
        inside.pop(".ses", None)  # of onnxruntime
        return names | {f"{name} {digest}" for name, digest in inside.items()}

    def _call(self, program: str, words: list[str], folder: Path) -> tuple[int, str | None]:
        """The exit code, and where an exception came from that the program did not catch."""
        for number in (1, 2):
            os.ftruncate(number, 0)
        logging.getLogger().handlers.clear()
        before = os.getcwd()
        os.chdir(folder)
        try:
            code = self._programs[program](words)
            return int(code or 0), None
        except SystemExit as end:
            return (end.code if isinstance(end.code, int) else int(end.code is not None)), None
        except BaseException as error:  # noqa: BLE001  (it is what is looked for)
            traceback.print_exc()
            return -1, _where(error)
        finally:
            os.chdir(before)
            sys.stdout.flush()
            sys.stderr.flush()


def _where(error: BaseException) -> str:
    """The type of an exception, and the last place in our code that it passed."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [frame for frame in frames if "/sdpose_" in frame.filename or "/training/" in frame.filename]
    last = (ours or frames)[-1]
    text = " ".join(str(error).split())[:100]
    return f"{type(error).__name__} in {short_path(last.filename)}:{last.lineno} {last.name}: {text}"


def short_path(path: str) -> str:
    """The path of one of our files in the repository."""
    return re.sub(r".*/(sdpose_core|training)/", r"\1/", path)


def _reset_peak() -> None:
    with contextlib.suppress(OSError):  # other systems than Linux: the peak of the process
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    """Peak memory in bytes since `_reset_peak`."""
    try:
        return int(re.search(r"VmHWM:\s*(\d+)", Path("/proc/self/status").read_text())[1]) * 1024  # type: ignore[index]
    except (OSError, TypeError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def serve(seeds: str, seed: str, folder: str) -> None:
    """The whole life of a worker process."""
    warnings.simplefilter("always", RuntimeWarning)
    Worker(Path(seeds), Path(folder), int(seed)).serve()
