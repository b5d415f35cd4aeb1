"""Videos in a child process: what kills it, and what stops it."""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from batch_worker import FakeRun
from paths import ROOT, SUPPORT

from sdpose_core.batch.folder import TRIES, Batch, CannotStart, Record, annotate_videos, death, one_after_another
from sdpose_core.batch.inputs import Item, find_items
from sdpose_core.batch.worker import MOMENT, ChildRun, _Texts
from sdpose_core.errors import InputError


def test_words_about_the_moment_do_not_disturb_what_is_printed() -> None:
    sent: list[tuple[str, str]] = []
    texts = _Texts(SimpleNamespace(send=sent.append))  # type: ignore[arg-type]
    for text in ("half a ", f"{MOMENT}frame 3{MOMENT}", f"{MOMENT}frame 4{MOMENT}", "line\n"):
        texts.write(text)
    assert sent == [("moment", "frame 3"), ("moment", "frame 4"), ("text", "half a line")]


posix = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")


class Dangerous:
    """A run that does what the names of its items say. Each work is a line of OUT/log."""

    def __init__(self, batch: Batch) -> None:
        self.log = batch.out / "log"
        print("a new process", file=sys.stderr)

    def __call__(self, item: Item, folder: Path) -> object:
        with open(self.log, "a") as file:
            file.write(f"{item.name} {os.getpid()}\n")
        if item.name == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)
        if item.name == "once" and self.log.read_text().count("once") == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        if item.name == "memory":
            raise MemoryError
        if item.name == "defect":
            logging.getLogger("a.library").warning("%s: odd", item.name)
            raise LookupError("no such key")
        if item.name == "weights":
            raise CannotStart("no weights")
        return FakeRun()(item, folder)


def without_start(batch: Batch) -> Dangerous:
    raise InputError("nothing can be made")


def run_all(tmp_path: Path, names: list[str], make: object = Dangerous) -> tuple[dict[str, Record], list[str], Batch]:
    for name in names:
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.mp4").write_bytes(b"frames of " + name.encode())
    batch = Batch.begin(tmp_path / "out")
    items = find_items([str(tmp_path / "in")], batch.out).items
    texts: list[str] = []
    with ChildRun(batch, make, texts.append) as run:
        records = {record.name: record for record in annotate_videos(batch, items, one_after_another(batch, run))}
    return records, texts, batch


@posix
def test_what_kills_its_process_fails_alone_and_a_neighbors_fault_is_made_good(tmp_path: Path) -> None:
    names = ["a", "crash", "defect", "memory", "once", "z"]
    records, texts, batch = run_all(tmp_path, names)
    failed = {name: record.message for name, record in records.items() if record.status == "failed"}
    assert failed["crash"].startswith(
        f"its worker process died {TRIES} times, the last time by SIGSEGV (the file crash"
    )
    assert "too little memory" in failed["memory"]
    assert failed["defect"] == "LookupError: no such key"
    assert failed.keys() == {"crash", "memory", "defect"}, "all others are done"
    pids = dict.fromkeys(line.split()[1] for line in (batch.out / "log").read_text().splitlines())
    assert len(pids) == 4, "three processes died"
    assert texts.count("a new process") == 4
    assert any("Traceback" in text and "no such key" in text for text in texts)
    lines = [json.loads(line) for line in (batch.out / "manifest.jsonl").read_text().splitlines()]
    assert [(line["name"], line["status"]) for line in lines] == [(n, records[n].status) for n in sorted(records)]
    assert not multiprocessing.active_children()


def test_what_no_item_can_do_without_ends_the_batch(tmp_path: Path) -> None:
    with pytest.raises(CannotStart, match="no weights"):
        run_all(tmp_path, ["weights", "z"])
    with pytest.raises(CannotStart, match="nothing can be made"):
        run_all(tmp_path, ["z"], without_start)


def test_a_death_says_what_may_be_the_cause() -> None:
    assert "memory" in death(-9) and "crashes a decoder" in death(-11)
    assert "memory" in death() and "crashes a decoder" in death()
    assert "with exit code 0x3" in death(3)
    assert "0xc0000005" in death(0xC0000005)


# --- stopping ------------------------------------------------------------------------------------------------------

_PROGRAM = """
import sys, time, os
from pathlib import Path
from sdpose_core.batch.folder import Batch, annotate_videos, one_after_another
from sdpose_core.batch.inputs import find_items
from sdpose_core.batch.worker import ChildRun
from sdpose_core.cli.batch import _stoppable
from test_worker import Slow
if __name__ == "__main__":
    out = Path(sys.argv[1])
    batch = Batch.begin(out / "out")
    with ChildRun(batch, Slow, print) as run, _stoppable(run.kill):
        try:
            list(annotate_videos(batch, find_items([str(out / "in")], batch.out).items, one_after_another(batch, run)))
        except KeyboardInterrupt:
            print("stopped", flush=True)
"""


class Slow:
    """Finishes `a`; works on `b` until it is stopped; then writes what it has, which takes a while."""

    def __init__(self, batch: Batch) -> None:
        self.out = batch.out

    def __call__(self, item: Item, folder: Path) -> object:
        if item.name == "a":
            return FakeRun()(item, folder)
        (self.out / "pid").write_text(str(os.getpid()))
        try:  # the stop may come as soon as the file is there
            (self.out / "pid").rename(self.out / "working")
            for _ in range(6000):
                time.sleep(0.1)  # a signal that comes just before a sleep does not end it
        finally:
            (self.out / "stopping").touch()
            time.sleep(0.5 if not (self.out / "in no hurry").exists() else 600)
            (self.out / "partial").touch()
        raise AssertionError


def start(tmp_path: Path) -> tuple[subprocess.Popen, int]:
    for name in ("a", "b"):
        (tmp_path / "in").mkdir(exist_ok=True)
        (tmp_path / "in" / f"{name}.mp4").write_bytes(b"frames")
    (tmp_path / "out").mkdir(exist_ok=True)
    (tmp_path / "program.py").write_text(_PROGRAM)
    paths = os.pathsep.join([str(ROOT), str(SUPPORT), str(Path(__file__).parent)])
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "program.py"), str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        text=True, start_new_session=True, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    wait_for(tmp_path / "out" / "working")
    return process, int((tmp_path / "out" / "working").read_text())


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


def ended(pid: int) -> bool:
    """Whether a process is gone, within a while."""
    for _ in range(500):
        try:
            os.kill(pid, 0)
            if "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text():  # nobody waits for it
                return True
        except (ProcessLookupError, FileNotFoundError):
            return True
        time.sleep(0.02)
    return False


@posix
@pytest.mark.slow  # starts processes
@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "twice", "SIGKILL"])
def test_a_stop_ends_parent_and_child_and_keeps_what_is_finished(tmp_path: Path, how: str) -> None:
    out = tmp_path / "out"
    process, child = start(tmp_path)
    if how == "twice":
        (out / "in no hurry").touch()
    if how in ("Ctrl-C", "twice"):
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to both
    else:
        process.send_signal(signal.SIGKILL if how == "SIGKILL" else signal.SIGTERM)
    if how == "twice":
        wait_for(out / "stopping")
        os.killpg(process.pid, signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert ended(child)
    if how == "SIGKILL":
        return
    assert errors == "", "nothing of it is an error"
    assert printed == "stopped\n"
    assert (out / "partial").exists() == (how != "twice")
    assert [json.loads(line)["name"] for line in (out / "manifest.jsonl").read_text().splitlines()] == ["a"]


@posix
@pytest.mark.slow  # starts the program
def test_the_command_survives_a_decoder_that_crashes(tmp_path: Path) -> None:
    """`sdpose batch` itself, where the decoder of one file is a segmentation fault."""
    import shutil

    (tmp_path / "in").mkdir()
    for name in ("a", "bad", "c"):
        shutil.copy(ROOT / "tests" / "data" / "dancer.mp4", tmp_path / "in" / f"{name}.mp4")
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "def crash(event, arguments):\n"
        "    if event == 'open' and str(arguments[0]).endswith('bad.mp4') and 'spawn_main' in str(sys.orig_argv):\n"
        "        os.kill(os.getpid(), signal.SIGSEGV)\n"
        "sys.addaudithook(crash)\n"
    )
    line = [sys.executable, "-m", "sdpose_core.cli", "batch", str(tmp_path / "in"), "-o", str(tmp_path / "out")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([*line, "--model", "preview-body", "--every", "20"], capture_output=True, text=True, env=env)
    assert done.returncode == 1, done.stderr
    assert done.stderr.splitlines()[-1] == "2 done, 0 kept, 1 failed"
    assert done.stderr.count("model: ") == 1, "announced once, though three processes loaded it"
    assert f"{tmp_path}/in/bad.mp4: failed: its worker process died 2 times, the last time by SIGSEGV" in done.stderr
    assert "Traceback" not in done.stderr and "leaked" not in done.stderr
    again = subprocess.run([*line, "--model", "preview-body", "--every", "20"], capture_output=True, text=True)
    assert again.stderr.splitlines()[-1] == "1 done, 2 kept, 0 failed", "the rerun does what is left"
