"""Starts Python programs as children of a process that has imported their packages, which saves seconds per run.

    python starter.py MODULE,...        reads requests and writes answers as lines of JSON

Each program gets a process group. If asked, its changes of files are counted, and SIGKILL ends the group before one of
them: Python announces what it is about to do (`sys.addaudithook`), so that every window between two renames can be hit.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import runpy
import signal
import sys
from typing import Any

CHANGES = {"os.chmod", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "shutil.rmtree"}
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
EXCHANGE = "renameat2"
"""Called through ctypes: Python announces only that it is looked up."""


def is_change(event: str, arguments: tuple[Any, ...], folder: str) -> bool:
    """Whether an event is a change of a file below `folder`; names below an open folder are taken for such."""
    if event == "ctypes.dlsym":
        return arguments[1] == EXCHANGE
    if event not in CHANGES and not (event == "open" and arguments[2] & WRITES):
        return False
    path = arguments[0]
    if not isinstance(path, (str, bytes, os.PathLike)):
        return False
    name = os.fsdecode(path)
    return name.startswith(folder) or (event in ("os.remove", "os.rmdir") and not os.path.isabs(name))


def watch(folder: str, counts: str, last: int) -> None:
    """From now on add a byte to the file `counts` for each change; kill the process group before number `last`."""
    log = os.open(counts, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    seen = 0

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal seen
        if is_change(event, arguments, folder):
            seen += 1
            os.write(log, b".")
            if seen == last:
                os.killpg(0, signal.SIGKILL)

    sys.addaudithook(count)


def serve() -> dict[str, Any] | None:
    """Answer requests: start a program, or tell its exit code. Returns the program in a child, None at the end."""
    while line := sys.stdin.readline():
        request, answer = json.loads(line), None
        if "program" in request:
            answer = os.fork()
            if answer == 0:
                return request
        else:
            with contextlib.suppress(ChildProcessError):
                pid, status = os.waitpid(request["pid"], os.WNOHANG)
                answer = os.waitstatus_to_exitcode(status) if pid else None
        print(json.dumps(answer), flush=True)
    return None


def run(request: dict[str, Any]) -> None:
    """Run a program as `__main__`."""
    os.setsid()
    for stream, (file, flags) in enumerate([(os.devnull, os.O_RDONLY), (os.devnull, os.O_WRONLY)]):
        os.dup2(os.open(file, flags), stream)
    os.dup2(os.open(request["errors"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    os.chdir(request["folder"])
    os.environ.update(request["variables"])
    if request["counts"]:
        watch(request["folder"], request["counts"], request["stop_at"])
    program = request["program"]
    if program[0] == "-m":
        sys.argv = program[1:]
        runpy.run_module(program[1], run_name="__main__", alter_sys=True)
    else:
        sys.argv = program
        sys.path[0] = os.path.dirname(program[0])
        runpy.run_path(program[0], run_name="__main__")


if __name__ == "__main__":
    for name in filter(None, sys.argv[1].split(",")):
        importlib.import_module(name)
    if child := serve():
        run(child)
