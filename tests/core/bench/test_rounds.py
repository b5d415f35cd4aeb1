"""Ways that take turns, and which round counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from sdpose_core.bench import rounds as bench_rounds
from sdpose_core.bench.passes import measure_growth
from sdpose_core.bench.processes import container_memory, stolen_ticks
from sdpose_core.bench.rounds import Subject, quietest_pair, run_rounds
from sdpose_core.bench.settings import Settings
from sdpose_core.errors import SDPoseError

RELEASED, OURS, NATIVE, BF16 = (
    Subject(*each) for each in (("released", "fp32"), ("ours", "fp32"), ("native", "fp32"), ("ours", "bf16"))
)
ANSWER = (np.zeros((1, 1, 2, 2)), np.zeros((1, 1, 2)), np.ones((1, 1)))


class Machine:
    """Stands in for processes: who ran in which, what it cost, and what was alive."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, free: int | None = 100) -> None:
        self.free, self.started, self.alive, self.most = free, 0, 0, 0
        self.turns: list[Subject] = []
        self.grown: list[tuple[str, int]] = []
        self.fails: dict[Subject, Exception] = {}
        machine = self

        class Process:
            def __init__(self) -> None:
                machine.started += 1
                machine.alive += 1
                machine.most = max(machine.most, machine.alive)
                self.open = True

            def call(self, function: object, *args: Any) -> Any:
                assert self.open, "a process that was closed"
                if function is measure_growth:
                    machine.grown.append((args[1], machine.alive))
                    return {"people": []}
                subject = Subject(args[0], args[2])
                machine.turns.append(subject)
                if subject in machine.fails:
                    raise machine.fails[subject]
                cost = 1.0 + len(machine.turns)
                run = {"seconds": cost, "cpu_seconds": cost, "stages": {}, "first_pass_seconds": None}
                return {**run, "peak_memory_bytes": 50, "free_memory_bytes": machine.free}, ANSWER

            def close(self) -> None:
                machine.alive -= self.open
                self.open = False

            def __enter__(self) -> Process:
                return self

            def __exit__(self, *_: object) -> None:
                self.close()

        monkeypatch.setattr(bench_rounds, "OwnProcess", Process)
        monkeypatch.setattr(bench_rounds, "_SPARE", 0)


def test_the_quietest_round_of_a_pair_counts() -> None:
    """Load on one of the two in the first and the last round; in the second both are near their best."""
    pair = quietest_pair([6.0, 6.1, 9.0], [15.0, 10.1, 10.0])
    assert pair == {"ratio": 6.1 / 10.1, "round": 2, "costs": [6.1, 10.1], "spread": [0.4, 0.9]}


def test_both_of_a_pair_weigh_the_same() -> None:
    """Each in units of its own lowest cost: else the slower way would choose the round."""
    pair = quietest_pair([2.0, 1.0], [100.0, 103.0])
    assert pair["round"] == 2


def test_one_round_is_its_own_pair() -> None:
    assert quietest_pair([3.0], [4.0]) == {"ratio": 0.75, "round": 1, "costs": [3.0, 4.0], "spread": [0.75, 0.75]}


def test_all_take_turns_in_processes_that_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    found = run_rounds([RELEASED, OURS, NATIVE], {RELEASED, OURS, NATIVE}, Settings(device="cpu", rounds=3))
    assert machine.turns == [RELEASED, OURS, NATIVE, NATIVE, OURS, RELEASED, RELEASED, OURS, NATIVE]
    assert machine.started == 3 and machine.alive == 0 and found.kept
    assert [run["cpu_seconds"] for run in found.runs[OURS]] == [3, 6, 9]
    assert found.fastest(OURS, "cpu_seconds")["cpu_seconds"] == 3
    assert [note["cpu_seconds"][str(NATIVE)] for note in found.notes] == [4, 5, 10]
    assert all(0 <= note["stolen"] <= 1 for note in found.notes)


@pytest.mark.parametrize("free", [54, None])
def test_without_memory_for_all_each_turn_has_a_process_of_its_own(
    free: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """54 bytes are not 1.1 times the 50 of the largest."""
    machine = Machine(monkeypatch, free)
    found = run_rounds([RELEASED, OURS], {RELEASED, OURS}, Settings(device="cpu", rounds=2))
    assert machine.started == 4 and machine.most == 1 and machine.alive == 0 and not found.kept
    assert len(found.runs[OURS]) == 2


def test_a_mode_that_fails_loses_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.fails[BF16] = RuntimeError("no compiler\nand a long story")
    found = run_rounds([RELEASED, OURS, BF16], {RELEASED, OURS}, Settings(device="cpu", rounds=2))
    assert found.errors == {BF16: "RuntimeError: no compiler"}
    assert machine.turns.count(BF16) == 1 and machine.turns.count(OURS) == 2 and machine.alive == 0


@pytest.mark.parametrize(("free", "started", "alive"), [(100, 4, [2, 1]), (0, 6, [1, 1])])
def test_several_people_come_last_where_the_models_are(
    free: int, started: int, alive: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other ways' processes end before; each of ours after its turn."""
    machine = Machine(monkeypatch, free)
    subjects = [RELEASED, OURS, NATIVE, BF16]
    found = run_rounds(subjects, {RELEASED, OURS}, Settings(device="cpu", rounds=1, people=(1, 2)))
    assert machine.grown == [("fp32", alive[0]), ("bf16", alive[1])] and set(found.growth) == {OURS, BF16}
    assert machine.started == started and machine.alive == 0


def test_out_of_memory_is_told_in_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(monkeypatch)
    machine.fails[RELEASED] = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    with pytest.raises(SDPoseError, match="memory of cpu ran out while the released way was measured in fp32"):
        run_rounds([RELEASED, OURS], {RELEASED, OURS}, Settings(device="cpu"))
    assert machine.alive == 0


def test_time_that_the_host_took(tmp_path: Path) -> None:
    assert stolen_ticks(tmp_path / "nothing") == (0, 0)
    (tmp_path / "stat").write_text("cpu  10 0 20 60 1 0 2 7 0 0\ncpu0 5 0 10 30 0 0 1 3 0 0\n")
    assert stolen_ticks(tmp_path / "stat") == (7, 100)


def test_the_limit_of_a_container_counts(tmp_path: Path) -> None:
    assert container_memory(tmp_path) > 1 << 60
    (tmp_path / "memory.current").write_text("100\n")
    (tmp_path / "memory.stat").write_text("anon 60\nactive_file 10\ninactive_file 20\nfile 40\n")
    for limit, left in (("max\n", 1 << 62), ("350\n", 280), ("50\n", 0)):
        (tmp_path / "memory.max").write_text(limit)
        assert container_memory(tmp_path) == left
