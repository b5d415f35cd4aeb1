"""The manifest of a batch sorted by distrust, for whoever looks at the results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..files import atomic_write
from .folder import Batch, Record
from .inputs import Item
from .shards import in_order

NAME = "manifest_by_distrust.jsonl"


def write_by_distrust(batch: Batch, items: Sequence[Item]) -> list[Path]:
    """Write the records of this share, and once every item of the whole list has one, of all: the most distrusted
    first. Items without figures come last, by name. Returns the files."""
    mine = batch.shard.choose(items) if batch.shard else items
    share = f".{batch.shard.number}-of-{batch.shard.of}" if batch.shard else ""
    files = [_write(batch, mine, batch.out / NAME.replace(".", f"{share}.", 1))]
    if batch.shard and all(batch.result_of(item) for item in items):
        files.append(_write(batch, items, batch.out / NAME))
    return files


def _write(batch: Batch, items: Sequence[Item], path: Path) -> Path:
    records = [record for item in in_order(items) if (record := batch.result_of(item))]
    with atomic_write(path) as file:
        file.writelines(record.line() for record in sorted(records, key=_rank))
    return path


def _rank(record: Record) -> float:
    """By the share of doubtful points, falling; 1 without figures."""
    doubtful = record.distrust.get("doubtful")
    return -doubtful if isinstance(doubtful, int | float) else 1.0
