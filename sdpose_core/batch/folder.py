"""Many videos into one folder: who does what, what became of each, and a manifest of it all.

What is known of an item is one small file, OUT/.sdpose-batch/NAME.json, written whole by the process that held the
item's lock, NAME.lock beside it. Manifests are made of these, so that any number of processes can share OUT.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, SDPoseError
from ..files import atomic_write
from ..resumable import InUse, begin, one_at_a_time, take_lock
from .inputs import Item
from .shards import Shard, in_order

if TYPE_CHECKING:
    from ..annotate.clip import ClipOutcome

log = logging.getLogger(__name__)

STATE_FOLDER = ".sdpose-batch"
POLL = 1.0
"""Seconds between two looks at items that other processes are at, when nothing else is left to do."""
MANIFEST_EVERY = 10.0
"""A running batch renews its manifest at most this often (seconds), and spends a twentieth of its time on that."""


class CannotStart(Exception):
    """The model or detector cannot be had: no item's fault, and the same for all of them."""


Run = Callable[[Item, Path], "ClipOutcome"]
"""run(item, folder): annotates one video into a folder. Its `SDPoseError`s and defects are the item's; `CannotStart`
ends the batch."""


@dataclass(frozen=True)
class Record:
    """What became of one item: a line of the manifest.

    Attributes:
        name: what its files are called below OUT.
        source: where it was read from.
        status: "done", "kept" (its files were there) or "failed".
        message: why it failed or was kept; a phrase about the result otherwise.
        seconds: how long it took when it was done (wall time).
        frames, people: of the sequence; people are distinct ids.
        batch_size: crops per pass in force.
        files: size in bytes of each file, by its path below OUT.
        settings: hash of every setting that changes the result.
        shard: "i/n", or None.
        host: who did it.
        finished: Unix time.
    """

    name: str
    source: str
    status: str
    message: str = ""
    seconds: float = 0.0
    frames: int = 0
    people: int = 0
    batch_size: int | None = None
    files: Mapping[str, int] = field(default_factory=dict)
    settings: str = ""
    shard: str | None = None
    host: str = ""
    finished: float = 0.0

    def line(self) -> bytes:
        """One line of JSON. Names that are no Unicode keep their bytes as escapes."""
        return json.dumps(asdict(self), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


@dataclass(frozen=True)
class Batch:
    """A folder of results, shared by any number of processes.

    Attributes:
        out: the folder.
        settings: hash of the settings of this run.
        shard: the share that this process does, or None for all.
        began: when this run began, by the clock of the file system.
    """

    out: Path
    settings: str
    shard: Shard | None
    began: float

    @classmethod
    def begin(cls, out: Path, settings: str = "", shard: Shard | None = None) -> Batch:
        """Raises `InputError` where `out` cannot be written to."""
        try:
            (out / STATE_FOLDER).mkdir(parents=True, exist_ok=True)
            return cls(out, settings, shard, _now_on(out / STATE_FOLDER))
        except OSError as error:
            raise InputError(f"cannot write to {out}: {error.strerror or error}") from None

    def attempt(self, item: Item, run: Run) -> Record | None:
        """Lock an item, do it, and write its record; None if another process is at it.

        An item that another process finished since this run began is taken as it is.

        Raises:
            CannotStart: `run` could not load what it needs.
            InputError: the record cannot be written (a full disk, say): the batch should end.
        """
        try:
            lock = take_lock(self.state_file(item, ".lock"))
        except InUse:
            return None
        try:
            earlier, written = self._recorded(item)
            if earlier is not None and written > self.began:
                return earlier
            record = self._do(item, run, earlier)
            with atomic_write(self.state_file(item, ".json")) as file:
                file.write(record.line())
            return record
        finally:
            lock.release()

    def _do(self, item: Item, run: Run, earlier: Record | None) -> Record:
        start = time.monotonic()
        about: dict[str, Any] = {"name": item.name, "source": str(item.source)}
        try:
            outcome = run(item, item.folder(self.out))
            files = {path.relative_to(self.out).as_posix(): path.stat().st_size for path in outcome.files}
            about |= {"status": outcome.status, "message": outcome.message, "people": outcome.people}
            about |= {"frames": outcome.frames, "batch_size": outcome.batch_size, "files": files}
        except CannotStart:
            raise
        except SDPoseError as error:
            about |= {"status": "failed", "message": str(error)}
        except Exception as error:  # one bad video never stops the others
            log.exception("%s: a defect, or a file that no rule foresaw", item.source)
            about |= {"status": "failed", "message": f"{type(error).__name__}: {error}"}
        if about["status"] == "kept" and earlier is not None and earlier.status != "failed":
            other = "" if earlier.settings == self.settings else "; made with other settings"
            return replace(earlier, status="kept", message=about["message"] + other, files=about["files"])
        return Record(
            **about, seconds=round(time.monotonic() - start, 3), settings=self.settings,
            shard=str(self.shard) if self.shard else None, host=socket.gethostname(), finished=round(time.time(), 3),
        )  # fmt: skip

    def agree(self, mine: Mapping[str, Any]) -> dict[str, Any]:
        """What the first process with these settings said with `agree`: the same for every process, rerun or shard."""
        with one_at_a_time(self.agreement):
            return begin(self.agreement, mine)

    @property
    def agreement(self) -> Path:
        """Where it is written what the processes agreed on."""
        return self.out / STATE_FOLDER / f"settings-{self.settings}.json"

    def manifest(self) -> Path:
        """The manifest of this process's share."""
        tag = f".{self.shard.number}-of-{self.shard.of}" if self.shard else ""
        return self.out / f"manifest{tag}.jsonl"

    def write_manifests(self, items: Sequence[Item]) -> None:
        """Write this share's manifest and, once every item of the whole list has a record, `manifest.jsonl`."""
        own = self.shard.choose(items) if self.shard else items
        self._write_manifest(self.manifest(), own)
        if self.shard and all(self.state_file(item, ".json").exists() for item in items):
            self._write_manifest(self.out / "manifest.jsonl", items)

    def _write_manifest(self, path: Path, items: Sequence[Item]) -> None:
        written = None
        # Another process may finish between our reading and our writing: read again until nothing is new.
        while written != (text := b"".join(self._lines(items))):
            with atomic_write(path) as file:
                file.write(text)
            written = text

    def _lines(self, items: Sequence[Item]) -> Iterator[bytes]:
        for item in in_order(items):
            record, _ = self._recorded(item)
            if record is not None:
                yield record.line()

    def state_file(self, item: Item, suffix: str) -> Path:
        """Where something about an item is kept."""
        folder = item.folder(self.out / STATE_FOLDER)
        return folder / f"{item.stem}{suffix}"

    def _recorded(self, item: Item) -> tuple[Record | None, float]:
        """The record of an item and when it was written, by the clock of the file system."""
        path = self.state_file(item, ".json")
        try:
            return Record(**json.loads(path.read_bytes())), path.stat().st_mtime
        except FileNotFoundError:
            return None, 0.0
        except (ValueError, TypeError) as error:
            log.warning("%s cannot be read (%s): the item is looked at again", path, error)
            return None, 0.0


def _now_on(folder: Path) -> float:
    """The present time by the clock of the file system that holds `folder`: this machine's may be another."""
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"0")
        file.flush()
        return os.fstat(file.fileno()).st_mtime


Attempts = Callable[[Sequence[Item]], Iterator["tuple[Item, Record | None]"]]
"""attempts(items): tries each item once and yields its record, or None where another process is at it."""


def one_after_another(batch: Batch, run: Run) -> Attempts:
    """Attempts in this process."""

    return lambda items: ((item, batch.attempt(item, run)) for item in items)


def annotate_videos(
    batch: Batch,
    items: Sequence[Item],
    attempts: Attempts,
    *,
    on_wait: Callable[[Item], None] | None = None,
) -> Generator[Record, None, None]:
    """Do the items of this batch's shard; yields a `Record` per item, as they are finished.

    Items that other processes are at are looked at again in the end: the iteration ends when all are finished, whoever
    did them. The manifests are renewed now and then, and whenever the iteration ends, or is ended.

    Args:
        items: the whole list, of which the shard is taken.
        on_wait: called with an item that another process is at, when there is nothing to do but wait.
    """
    todo = batch.shard.choose(items) if batch.shard else in_order(items)
    renew_at = time.monotonic() + MANIFEST_EVERY
    try:
        while todo:
            busy: list[Item] = []
            for item, record in attempts(todo):
                if record is None:
                    busy.append(item)
                    continue
                yield record
                if (now := time.monotonic()) > renew_at:
                    batch.write_manifests(items)
                    renew_at = time.monotonic() + max(MANIFEST_EVERY, 20 * (time.monotonic() - now))
            if len(busy) == len(todo):
                if on_wait:
                    on_wait(busy[0])
                time.sleep(POLL)
            todo = busy
    finally:
        batch.write_manifests(items)
