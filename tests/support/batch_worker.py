"""A batch process with a fake model, for tests of parallel work.

    python batch_worker.py IN OUT SHARD|- [SECONDS per item] [HANG_AT]

Each result is the item's name and its reversed content; a source that begins with "damaged" cannot be read. At the item
HANG_AT, the process writes OUT/hanging and waits to be killed.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdpose_core.batch.folder import Batch, annotate_videos, one_after_another
from sdpose_core.batch.inputs import Item, find_items
from sdpose_core.batch.shards import Shard
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_write


@dataclass
class FakeOutcome:
    status: str
    message: str = ""
    people: int = 1
    frames: int = 3
    batch_size: int | None = 4
    files: list[Path] = field(default_factory=list)
    distrust: dict[str, Any] = field(default_factory=dict)


class FakeRun:
    """Like `annotate_clip`, without videos: keeps existing files, fails on damaged sources, logs its work."""

    def __init__(self, log: Path | None = None, seconds: float = 0, hang_at: str = "") -> None:
        self.log, self.seconds, self.hang_at = log, seconds, hang_at

    def __call__(self, item: Item, folder: Path) -> FakeOutcome:
        target = folder / f"{item.stem}.pose.npz"
        if target.exists():
            return FakeOutcome("kept", "its files already exist", files=[target])
        if self.log:
            with open(self.log, "a", encoding="utf-8") as log:
                log.write(f"{item.relative}\n")
        content = item.source.read_bytes()
        if content.startswith(b"damaged"):
            raise InputError(f"{item.source}: no frame of it can be read")
        if item.relative == self.hang_at:
            (self.log.parent / "hanging").touch()
            time.sleep(600)
        time.sleep(self.seconds)
        with atomic_write(target) as file:
            file.write(item.name.encode() + content[::-1])
        return FakeOutcome("done", "1 person", files=[target])


def main(source: str, out: str, shard: str, seconds: str = "0", hang_at: str = "") -> None:
    batch = Batch.begin(Path(out), "fake", None if shard == "-" else Shard.parse(shard))
    run = FakeRun(Path(out) / "work.log", float(seconds), hang_at)
    for record in annotate_videos(
        batch, find_items([source], batch.out, recursive=True).items, one_after_another(batch, run)
    ):
        print(record.name, record.status, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
