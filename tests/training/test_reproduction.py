"""Jobs of a reproduction: what runs, what is kept, what a failure ends; and the list of claims."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from sdpose_core.errors import InputError
from sdpose_training.ablation.arms import read_list
from sdpose_training.evaluation.paper_tables import TABLES
from sdpose_training.evaluation.protocols import find_benchmark, scored_set
from sdpose_training.reproduction import jobs as jobs_module
from sdpose_training.reproduction.claims import CLAIMS, EVALUATIONS, FIGURE, MORE, TABLE, choose, evaluations
from sdpose_training.reproduction.jobs import (
    BLOCKED,
    DONE,
    FAILED,
    KEPT,
    MISSING,
    SCRIPTS,
    Job,
    Named,
    Outcome,
    Output,
    in_order,
    run_all,
)
from sdpose_training.reproduction.parts import Ablation

WRITES = """\
import pathlib, sys
*words, out = sys.argv[1:]
with open(sys.argv[0] + ".count", "a") as file:
    file.write("x")
print("first line\\rfound: 3 of 4")
if "fail" in words:
    sys.exit(f"stand-in: {words[0]} is not there: get it from the shop")
if "nothing" not in words:
    path = pathlib.Path(out)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(" ".join(words))
"""


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A script that writes its last argument, and counts its starts."""
    folder = tmp_path / "scripts"
    folder.mkdir()
    (folder / "writes.py").write_text(WRITES)
    monkeypatch.setattr(jobs_module, "SCRIPTS", folder)
    return folder / "writes.py"


def job(name: str, *words: str | Path | Named, **more: object) -> Job:
    return Job(name, "writes.py", (*words, Output("a.txt")), ("a.txt",), **more)  # type: ignore[arg-type]


def starts(script: Path) -> int:
    return len(Path(f"{script}.count").read_text()) if Path(f"{script}.count").exists() else 0


def outcomes(jobs: list[Job], out: Path) -> dict[str, Outcome]:
    return {each.name: outcome for each, outcome in run_all(jobs, out)}


def test_a_finished_job_is_kept_also_where_its_folder_was_moved(script: Path, tmp_path: Path) -> None:
    def both(out: Path) -> list[Job]:
        first = job("first", "one")
        return [job("second", first.result(out), Named("x", first.result(out)), after=(first,))]

    out = tmp_path / "out"
    found = outcomes(both(out), out)
    assert {name: outcome.state for name, outcome in found.items()} == {"first": DONE, "second": DONE}
    assert all(outcome.cpu_seconds is None or outcome.cpu_seconds > 0 for outcome in found.values())
    moved = out.rename(tmp_path / "moved")
    assert {outcome.state for outcome in outcomes(both(moved), moved).values()} == {KEPT}
    assert starts(script) == 2


@pytest.mark.parametrize(
    "other",
    [
        job("a", "two"),
        job("a", "one", identity={"weights": "other"}),
        job("a", "one", after=(job("before"),)),
    ],
    ids=["arguments", "files", "what came before"],
)
def test_other_settings_run_in_another_folder(script: Path, tmp_path: Path, other: Job) -> None:
    first = job("a", "one", identity={"weights": "x"})
    assert outcomes([first], tmp_path)["a"].state == DONE
    assert outcomes([other], tmp_path)["a"].state == DONE
    assert first.folder(tmp_path) != other.folder(tmp_path)
    assert first.result(tmp_path).read_text() == "one"


def test_a_removed_result_is_made_again(script: Path, tmp_path: Path) -> None:
    outcomes([job("a", "one")], tmp_path)
    job("a", "one").result(tmp_path).unlink()
    assert outcomes([job("a", "one")], tmp_path)["a"].state == DONE


def test_a_failure_ends_only_what_needs_it(script: Path, tmp_path: Path) -> None:
    bad = job("bad", "people", "fail")
    silent = job("silent", "nothing")
    lacking = job("lacking", missing="weights: get them")
    needs = job("needs", after=(bad, lacking))
    found = outcomes([bad, silent, lacking, needs, job("good")], tmp_path)
    assert {name: outcome.state for name, outcome in found.items()} == {
        "bad": FAILED, "silent": FAILED, "lacking": MISSING, "needs": BLOCKED, "good": DONE,
    }  # fmt: skip
    assert found["bad"].problem == "it ended with 1: stand-in: people is not there: get it from the shop"
    assert found["silent"].problem == "it ended without an error, but wrote no a.txt"
    assert found["lacking"].problem == "weights: get them"
    assert found["needs"].problem == "it needs the results of: bad, lacking"
    assert outcomes([bad], tmp_path)["bad"].state == FAILED, "a failure is tried again"


WAITS = """\
import pathlib, signal, sys, time
folder = pathlib.Path(sys.argv[-1]).parent
def save(*_):
    (folder / "saved").touch()
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
folder.mkdir(parents=True)
(folder / "ready").touch()
time.sleep(60)
"""


def test_an_interruption_lets_the_command_save_its_state(
    script: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.write_text(WAITS)
    each = job("a")
    folder = each.folder(tmp_path)

    class Clock:
        """Time in which Ctrl-C is pressed once, when the command is at work."""

        monotonic = staticmethod(time.monotonic)
        pressed = False

        def sleep(self, seconds: float) -> None:
            if (folder / "ready").exists() and not self.pressed:
                self.pressed = True
                raise KeyboardInterrupt
            time.sleep(seconds)

    monkeypatch.setattr(jobs_module, "time", Clock())
    with pytest.raises(KeyboardInterrupt):
        outcomes([each], tmp_path)
    assert (folder / "saved").exists()
    assert jobs_module.kept(each, tmp_path) is None


def test_jobs_come_once_and_after_what_they_need() -> None:
    a = job("a")
    b = job("b", after=(a,))
    c = job("c", after=(b, a))
    assert [each.name for each in in_order([c, b, a, c])] == ["a", "b", "c"]


def test_a_path_is_the_same_however_it_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    spelled = [job("a", path).folder(tmp_path) for path in (Path("x"), Path("./y/../x"), tmp_path / "x")]
    assert len(set(spelled)) == 1


def test_a_file_of_this_project_is_the_same_in_every_checkout(tmp_path: Path) -> None:
    assert (
        job("a", SCRIPTS / "recipes" / "body.toml").settings(tmp_path)["arguments"][0] == "TRAINING/recipes/body.toml"
    )


def test_a_command_is_what_a_shell_takes(tmp_path: Path) -> None:
    each = job("a b", "two words", Named("n", Path("p q")))
    folder = each.folder(tmp_path)
    assert folder.name.startswith("a-b-")
    assert each.command(tmp_path) == f"python training/writes.py 'two words' 'n=p q' {folder}/a.txt"


def test_a_damaged_note_says_what_to_do(script: Path, tmp_path: Path) -> None:
    outcomes([job("a")], tmp_path)
    jobs_module.beside(job("a").folder(tmp_path), "done.json").write_text("{")
    with pytest.raises(InputError, match="remove"):
        outcomes([job("a")], tmp_path)


# --- the claims ----------------------------------------------------------------------------------------------------


def test_every_table_of_the_paper_is_claimed() -> None:
    claimed = [claim for claim in CLAIMS if claim.kind == TABLE]
    assert [claim.number for claim in claimed] == ["1", "2", "3", "4", "5", "6", "7"]
    assert sorted(key for claim in claimed for key in claim.tables) == sorted(TABLES)
    for claim in claimed:
        assert {TABLES[key].number for key in claim.tables} == {int(claim.number)}


def test_every_column_of_the_paper_is_filled_by_an_evaluation() -> None:
    domains = {domain for key, table in TABLES.items() if not key.startswith("2") for domain in table.domains()}
    assert domains == set(EVALUATIONS)
    for claim in CLAIMS:
        for key in claim.tables if claim.number != "2" else ():
            assert all(EVALUATIONS[domain] in claim.parts for domain in TABLES[key].domains())
    for part in evaluations():
        assert scored_set(find_benchmark(part.benchmark), part.keypoint_set), (
            "raises for keypoints that it does not have"
        )


def test_ablations_are_those_of_the_recipes() -> None:
    for part in (part for claim in CLAIMS for part in claim.parts if isinstance(part, Ablation)):
        found = read_list(SCRIPTS / "recipes" / part.list)
        assert found.title == part.title
        assert len(found.arms) * len(found.seeds) >= part.arms


def test_claims_have_their_own_places() -> None:
    assert len({claim.anchor for claim in CLAIMS}) == len(CLAIMS)
    assert all(claim.says and claim.parts and claim.differences for claim in CLAIMS)


def test_choosing_claims() -> None:
    assert choose(None, None) == CLAIMS
    assert [claim.name for claim in choose(("3", "1", "3"), None)] == ["Table 3", "Table 1"]
    assert [claim.kind for claim in choose(("4",), ("6",), ("corruption",))] == [TABLE, FIGURE, MORE]
    with pytest.raises(InputError, match="--tables 8: expected some of 1, 2, 3"):
        choose(("8",), None)
    with pytest.raises(InputError, match="--more nothing: expected some of corruption"):
        choose(None, None, ("nothing",))


def test_settings_are_plain_values(tmp_path: Path) -> None:
    each = replace(job("a", Named("n", tmp_path / "x")), identity={"k": (1, 2)})
    found = each.settings(tmp_path)
    assert json.loads(json.dumps(found)) == found
    assert found["arguments"] == ["n=OUT/x", "OWN/a.txt"]
