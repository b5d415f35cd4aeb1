"""Annotating many videos into one folder, in any number of processes, with a manifest.

OUT/.sdpose-batch/NAME.json is the record of an item, written atomically by the process that holds its lock,
NAME.lock. Manifests are made from these records.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import socket
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from types import NoneType
from typing import TYPE_CHECKING, Any

from ..errors import InputError, SDPoseError, counted, failing_alone, restated, writing
from ..files import atomic_write, now_on, open_regular
from ..resumable import InUse, begin, one_at_a_time, take_lock
from ..texts import parse_json
from .inputs import Item
from .shards import Shard, in_order

if TYPE_CHECKING:
    from ..annotate.clip import ClipOutcome

log = logging.getLogger(__name__)

STATE_FOLDER = ".sdpose-batch"
POLL = 1.0
"""Seconds to wait before trying again when only items that other processes work on are left."""
MANIFEST_EVERY = 10.0
"""Minimum seconds between two updates of the manifest, which take at most a twentieth of the time."""


TRIES = 2
"""An item has failed after the worker process died this often while working on it. Once may be a neighbor's fault."""

_CRASHED = "the file crashes a decoder: convert it with another program, or leave it out"
_NO_MEMORY = "too little memory? Use a smaller --batch-size or fewer processes"
_CAUSES = {"SIGSEGV": _CRASHED, "SIGBUS": _CRASHED, "SIGILL": _CRASHED, "SIGFPE": _CRASHED, "SIGABRT": _CRASHED,
           "SIGKILL": _NO_MEMORY}  # fmt: skip


def death(code: int | None = None) -> str:
    """What to say about an item whose worker process died `TRIES` times, the last time with this exit code."""
    known = {-number.value: number.name for number in signal.Signals}
    how = "" if code is None else f", the last time by {known[code]}" if code in known else f" with exit code {code:#x}"
    cause = _CAUSES.get(known.get(code or 0, ""), f"{_NO_MEMORY}; or {_CRASHED}")
    return f"its worker process died {TRIES} times{how} ({cause})"


class CannotStart(SDPoseError):
    """The model or detector cannot be loaded, for any item: the batch ends."""


def starting() -> AbstractContextManager[None]:
    """What is missing in this block for one item is missing for all: `CannotStart`."""
    return restated(None, CannotStart, of=SDPoseError)


Run = Callable[[Item, Path], "ClipOutcome"]
"""run(item, folder): annotates one video into a folder. `CannotStart` ends the batch; after any other error the item
has failed."""


@dataclass(frozen=True)
class Record:
    """The result for one item: a line of the manifest.

    Attributes:
        name: name of its files below OUT.
        source: full path it was read from.
        status: "done", "kept" (its files were already there) or "failed".
        message: why it failed or was kept; otherwise a phrase about the result.
        seconds: wall time of the work.
        frames, people: of the sequence; people are distinct ids.
        batch_size: crops per pass.
        files: size in bytes of each file, by its path below OUT.
        settings: hash of every setting that changes the result.
        shard: "i/n", or None.
        host: name of the machine.
        finished: Unix time.
        distrust: with --check the figures of the poses, see `doubts.figures`; else empty.
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
    distrust: Mapping[str, Any] = field(default_factory=dict)

    def line(self) -> bytes:
        """One line of JSON. Names that are not valid Unicode keep their bytes as escapes."""
        return json.dumps(asdict(self), ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"

    @classmethod
    def parse(cls, line: bytes) -> Record:
        """The reverse of `line`. Raises `ValueError` for anything else."""
        values = parse_json(line.decode("utf-8", "surrogateescape"), "the record")
        names = {field.name for field in fields(cls)}
        if not isinstance(values, dict) or not {"name", "source", "status"} <= set(values) <= names:
            raise ValueError(f"expected a record with some of {', '.join(sorted(names))}")
        if odd := [name for name, value in values.items() if not isinstance(value, _TYPES[name])]:
            raise ValueError(f"{odd[0]} is {values[odd[0]]!r:.40}")
        if values["status"] not in ("done", "kept", "failed"):
            raise ValueError(f"status is {values['status']!r:.40}")
        return cls(**values)


_TYPES: Mapping[str, Any] = {
    **dict.fromkeys(("name", "source", "status", "message", "settings", "host"), str),
    **dict.fromkeys(("frames", "people"), int), **dict.fromkeys(("seconds", "finished"), (int, float)),
    "batch_size": (int, NoneType), "files": dict, "shard": (str, NoneType), "distrust": dict,
}  # fmt: skip
"""Of the fields of a record."""


@dataclass(frozen=True)
class Batch:
    """A folder of results, shared by any number of processes.

    Attributes:
        out: the folder.
        settings: hash of the settings of this run.
        shard: the share of this process, or None for all items.
        began: start of this run, by the clock of the file system.
    """

    out: Path
    settings: str
    shard: Shard | None
    began: float

    @classmethod
    def begin(cls, out: Path, settings: str = "", shard: Shard | None = None) -> Batch:
        """Start a run. Raises `InputError` if `out` cannot be written to."""
        with writing(out):
            (out / STATE_FOLDER).mkdir(parents=True, exist_ok=True)
            return cls(out, settings, shard, now_on(out / STATE_FOLDER))

    def attempt(self, item: Item, run: Run) -> Record | None:
        """Lock an item, annotate it, and write its record; None if another process works on it.

        An item that another process finished since this run began keeps that process's record. One whose lock or record
        cannot be written has failed.

        Raises:
            CannotStart: `run` could not load the model or the detector.
            InputError: the record cannot be written (such as on a full disk): the batch should end.
        """
        file = self.state_file(item, ".json")
        try:
            if os.path.isdir(file):
                raise InputError(f"{file} is a folder: expected a record or nothing, remove it")
            lock = take_lock(self.state_file(item, ".lock"))
        except InUse:
            return None
        except InputError as error:
            return self._record(item, {"status": "failed", "message": str(error)}, 0.0)
        try:
            earlier, written = self._recorded(item)
            if earlier is None and os.path.lexists(file):
                log.warning("%s is damaged: the item is checked again", file)
            if earlier is not None and written > self.began and earlier.source == _full_path(item.source):
                return earlier
            record = self._do(item, run, earlier)
            with atomic_write(file) as handle:
                handle.write(record.line())
            return record
        finally:
            lock.release()

    def _do(self, item: Item, run: Run, earlier: Record | None) -> Record:
        start = time.monotonic()
        about: dict[str, Any]
        try:
            with failing_alone(item.source):
                outcome = run(item, item.folder(self.out))
                files = {path.relative_to(self.out).as_posix(): os.path.getsize(path) for path in outcome.files}
                about = {"status": outcome.status, "message": outcome.message, "people": outcome.people}
                about |= {"frames": outcome.frames, "batch_size": outcome.batch_size, "files": files}
                about |= {"distrust": dict(outcome.distrust)} if outcome.distrust else {}
        except CannotStart:
            raise
        except SDPoseError as error:
            about = {"status": "failed", "message": str(error)}
        if about["status"] == "kept" and earlier is not None and earlier.status != "failed":
            return replace(earlier, name=item.name, source=_full_path(item.source), **about)
        return self._record(item, about, time.monotonic() - start)

    def _record(self, item: Item, about: Mapping[str, Any], seconds: float) -> Record:
        return Record(
            item.name, _full_path(item.source), **about, seconds=round(seconds, 3), settings=self.settings,
            shard=str(self.shard) if self.shard else None, host=socket.gethostname(), finished=round(time.time(), 3),
        )  # fmt: skip

    def agree(self, mine: Mapping[str, Any]) -> dict[str, Any]:
        """The `mine` of the first process with these settings; the same for every process, rerun and shard.

        Raises `InputError` for a damaged file.
        """
        with one_at_a_time(self.agreement):
            found = begin(self.agreement, mine)
        if {key: type(value) for key, value in found.items()} != {key: type(value) for key, value in mine.items()}:
            raise InputError(f"{self.agreement} is damaged or from another version: delete it")
        return found

    @property
    def agreement(self) -> Path:
        """The file with the values that all processes use."""
        return self.out / STATE_FOLDER / f"settings-{self.settings}.json"

    def manifest(self) -> Path:
        """The manifest of this process's share."""
        tag = f".{self.shard.number}-of-{self.shard.of}" if self.shard else ""
        return self.out / f"manifest{tag}.jsonl"

    def write_manifests(self, items: Sequence[Item], unwritten: Mapping[str, Record] | None = None) -> None:
        """Write this share's manifest and, once every item of the whole list has a record, `manifest.jsonl`.

        `unwritten` are records, by the names of their items, that could not be written.
        """
        unwritten = unwritten or {}
        self._write_manifest(self.manifest(), self.shard.choose(items) if self.shard else items, unwritten)
        if self.shard and all(self.result_of(item) or item.name in unwritten for item in items):
            self._write_manifest(self.out / "manifest.jsonl", items, unwritten)

    def _write_manifest(self, path: Path, items: Sequence[Item], unwritten: Mapping[str, Record]) -> None:
        written = None
        # Another process may finish an item while the manifest is written: repeat until nothing has changed.
        while written != (text := b"".join(self._lines(items, unwritten))):
            with atomic_write(path) as file:
                file.write(text)
            written = text

    def _lines(self, items: Sequence[Item], unwritten: Mapping[str, Record]) -> Iterator[bytes]:
        for item in in_order(items):
            record = self.result_of(item) or unwritten.get(item.name)
            if record is not None:
                yield record.line()

    def result_of(self, item: Item) -> Record | None:
        """The record of an item, None without a whole one, or if its files are gone."""
        record = self._recorded(item)[0]
        return record if record and all(os.path.isfile(self.out / file) for file in record.files) else None

    def state_file(self, item: Item, suffix: str) -> Path:
        """The file of an item below OUT/.sdpose-batch/."""
        return item.folder(self.out / STATE_FOLDER) / f"{item.stem}{suffix}"

    def _recorded(self, item: Item) -> tuple[Record | None, float]:
        """The record of an item, None without a whole one, and when it was written, by the clock of the file system."""
        path = self.state_file(item, ".json")
        try:
            with open_regular(path) as file:
                return Record.parse(file.read()), os.path.getmtime(path)
        except (OSError, ValueError):
            return None, 0.0


def _full_path(source: Path) -> str:
    """As in the record: two processes may run in different folders."""
    return os.path.abspath(source)


Attempts = Callable[[Sequence[Item]], Iterator["tuple[Item, Record | None]"]]
"""attempts(items): tries each item once and yields its record, or None if another process works on it."""


def one_after_another(batch: Batch, run: Run) -> Attempts:
    """Attempts in this process."""
    return lambda items: ((item, batch.attempt(item, run)) for item in items)


def annotate_videos(
    batch: Batch, items: Sequence[Item], attempts: Attempts, *, on_wait: Callable[[Item], None] | None = None
) -> Generator[Record, None, None]:
    """Annotate the items of this batch's shard; yields a `Record` per item, as they are finished.

    Items that other processes work on are tried again at the end, until all items are finished. The manifests are
    updated now and then, and when the iteration ends or is closed.

    Args:
        items: the whole list, from which the shard takes its share.
        on_wait: called with an item that another process works on, when no other items are left.

    Raises `InputError` at the end if results were removed from the folder meanwhile: the manifest does not have them.
    """
    todo = batch.shard.choose(items) if batch.shard else in_order(items)
    renew_at = time.monotonic() + MANIFEST_EVERY
    failed: dict[str, Record] = {}
    finished: list[Item] = []
    try:
        while todo:
            busy: list[Item] = []
            for item, record in attempts(todo):
                if record is None:
                    busy.append(item)
                    continue
                if record.status == "failed":
                    failed[item.name] = record
                else:
                    finished.append(item)
                yield record
                if (now := time.monotonic()) > renew_at:
                    batch.write_manifests(items, failed)
                    renew_at = time.monotonic() + max(MANIFEST_EVERY, 20 * (time.monotonic() - now))
            if len(busy) == len(todo):
                if on_wait:
                    on_wait(busy[0])
                time.sleep(POLL)
            todo = busy
    finally:
        batch.write_manifests(items, failed)
    if lost := [item for item in finished if batch.result_of(item) is None]:
        results = f"results of {counted(len(lost), 'video')}, such as {lost[0].name},"
        raise InputError(f"{batch.out}: {results} were removed meanwhile: run the same command again")
