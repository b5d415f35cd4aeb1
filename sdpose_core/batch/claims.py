"""Who works on what, on shared storage: a claim is a folder with its holder's file in it.

The folder is made beside its place and renamed into it, which only one of several processes can do (renaming onto a
folder that is not empty fails on every file system). A dead holder's file is removed by its own, unique name, so that
taking over can never remove the claim of somebody who was faster. Needs nothing but rename and unlink: local disks,
NFS, Lustre and the like.
"""

from __future__ import annotations

import contextlib
import functools
import json
import logging
import os
import shutil
import socket
import tempfile
import threading
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError

log = logging.getLogger(__name__)

HEARTBEAT = 30.0
"""Seconds between two signs of life of a holder: the time of its file."""
STALE_AFTER = 600.0
"""Seconds without a sign of life after which a claim of another machine is taken over."""
_ATTEMPTS = 5


class Claimed(Exception):
    """Somebody else is at it; the text says who."""


class ClaimLost(Exception):
    """This process was taken for dead and its work given to another."""


@dataclass(frozen=True)
class _Holder:
    file: Path
    machine: str
    host: str
    pid: int
    started: str | None
    beat: float

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"

    def is_dead(self) -> bool:
        """On this machine: whether the process is gone. Elsewhere, or where that cannot be told: by the heartbeat."""
        if self.machine == _machine():
            alive = _is_running(self.pid, self.started)
            if alive is not None:
                return not alive
        return now_on(self.file.parents[1]) - self.beat > STALE_AFTER


class Claim:
    """A claim held by this process, kept alive by a thread until the block ends."""

    def __init__(self, folder: Path, file: Path) -> None:
        self._folder, self._file = folder, file
        self._released = threading.Event()
        self._lost = False
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Claim:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._released.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self._file.unlink(missing_ok=True)
            self._folder.rmdir()

    def check(self) -> None:
        """Raise `ClaimLost` if the last heartbeat found the claim taken over."""
        if self._lost:
            raise ClaimLost(f"{self._folder.stem} was taken over by another process: this one was silent for too long")

    def _beat(self) -> None:
        while not self._released.wait(HEARTBEAT):
            try:
                os.utime(self._file)
            except FileNotFoundError:
                self._lost = True
                return
            except OSError as error:
                log.warning("no sign of life could be given at %s: %s", self._file, error)


def take(folder: Path) -> Claim:
    """Claim `folder` (a path that nobody else uses).

    Raises:
        Claimed: a living process holds it.
        InputError: nothing can be written there.
    """
    for _ in range(_ATTEMPTS):
        holder = _holder_of(folder)
        if holder is not None:
            if not holder.is_dead():
                raise Claimed(str(holder))
            log.warning("%s left %s unfinished: taking over", holder, folder.stem)
            holder.file.unlink(missing_ok=True)
        claim = _try(folder)
        if claim is not None:
            return claim
    raise Claimed("another process")


def _holder_of(folder: Path) -> _Holder | None:
    """Who holds a claim, or None (nobody, or the holder let go just now)."""
    try:
        for file in folder.iterdir():
            data = json.loads(file.read_text(encoding="utf-8"))
            return _Holder(file=file, beat=file.stat().st_mtime, **data)
    except FileNotFoundError:
        pass
    return None


def _try(folder: Path) -> Claim | None:
    """Make the claim; None where another was faster."""
    token = uuid.uuid4().hex
    made = folder.with_name(f".{token}.claim")
    mine = {"machine": _machine(), "host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}
    try:
        made.mkdir(parents=True)
        (made / token).write_text(json.dumps(mine), encoding="utf-8")
    except OSError as error:
        shutil.rmtree(made, ignore_errors=True)
        raise InputError(f"cannot write to {folder.parent}: {error.strerror or error}") from None
    with contextlib.suppress(OSError):
        folder.rmdir()  # left empty by whoever removed a dead holder; one that is held is not empty
    try:
        made.rename(folder)
    except OSError:
        shutil.rmtree(made, ignore_errors=True)
        return None
    return Claim(folder, folder / token)


def now_on(folder: Path) -> float:
    """The present time by the clock of the file system that holds `folder`: other machines' clocks may be wrong."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"0")
        file.flush()
        return os.fstat(file.fileno()).st_mtime


@functools.cache
def _machine() -> str:
    """What process numbers are valid within: this host since its last start and, on Linux, this container."""
    parts = [socket.gethostname()]
    with contextlib.suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        parts.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(parts)


def _is_running(pid: int, started: str | None) -> bool | None:
    """Whether that very process runs on this machine; None where it cannot be told."""
    if started is not None:
        return _started(pid) == started
    if os.name != "posix":  # there, os.kill would end the process instead of asking
        return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return None  # a process has this number: the one we mean, or one that got the number later


def _started(pid: int) -> str | None:
    """When a process started (kernel ticks), so that a number given out again is not mistaken; Linux only."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields: list[Any] = text.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else fields[19]  # a zombie has ended
