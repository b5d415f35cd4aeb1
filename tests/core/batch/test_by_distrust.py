"""The manifest sorted by distrust, of one process and of shares."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from batch_worker import FakeOutcome

from sdpose_core.batch.by_distrust import write_by_distrust
from sdpose_core.batch.folder import Batch, Record
from sdpose_core.batch.inputs import Item
from sdpose_core.batch.shards import Shard

FIGURES = {"a": 0.01, "b": None, "c": 0.3, "d": 0.02}


def run(item: Item, folder: Path) -> Any:
    file = folder / f"{item.stem}.pose.npz"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(b"poses")
    doubtful = FIGURES[item.stem]
    figures = {} if doubtful is None else {"doubtful": doubtful, "frames": 1, "worst": []}
    return FakeOutcome("done", files=[file], distrust=figures)


def items_of(folder: Path) -> list[Item]:
    return [Item(folder / f"{name}.mp4", f"{name}.mp4", name) for name in FIGURES]


def names(file: Path) -> list[str]:
    return [json.loads(line)["name"] for line in file.read_text().splitlines()]


def test_the_most_doubtful_come_first_and_those_without_figures_last(tmp_path: Path) -> None:
    batch, items = Batch.begin(tmp_path), items_of(tmp_path)
    for item in items:
        batch.attempt(item, run)
    assert [file.name for file in write_by_distrust(batch, items)] == ["manifest_by_distrust.jsonl"]
    assert names(tmp_path / "manifest_by_distrust.jsonl") == ["c", "d", "a", "b"]


def test_shares_write_their_own_and_the_last_one_that_of_all(tmp_path: Path) -> None:
    items = items_of(tmp_path)
    written = []
    for number in (1, 2):
        batch = Batch.begin(tmp_path, shard=Shard(number, 2))
        for item in Shard(number, 2).choose(items):
            batch.attempt(item, run)
        written.append([file.name for file in write_by_distrust(batch, items)])
    assert written == [
        ["manifest_by_distrust.1-of-2.jsonl"],
        ["manifest_by_distrust.2-of-2.jsonl", "manifest_by_distrust.jsonl"],
    ]
    assert names(tmp_path / "manifest_by_distrust.1-of-2.jsonl") == ["c", "a"]
    assert names(tmp_path / "manifest_by_distrust.jsonl") == ["c", "d", "a", "b"]


def test_records_of_before_have_no_figures(tmp_path: Path) -> None:
    record = Record("a", "a.mp4", "done", distrust={"doubtful": 0.5})
    line = json.loads(record.line())
    assert Record.parse(record.line()) == record
    del line["distrust"]
    assert Record.parse(json.dumps(line).encode()) == replace(record, distrust={})
