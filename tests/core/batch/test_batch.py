"""Many videos: which they are, who does which, what is written about them, and that nothing dies of one of them."""

from __future__ import annotations

import errno
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path

import pytest
from batch_worker import FakeRun
from paths import SUPPORT

from sdpose_core.batch import folder as batch_module
from sdpose_core.batch.folder import Batch, CannotStart, Record, annotate_videos, one_after_another
from sdpose_core.batch.inputs import Item, find_items
from sdpose_core.batch.shards import Shard
from sdpose_core.errors import InputError
from sdpose_core.resumable import take_lock

WORKER = SUPPORT / "batch_worker.py"


def items_of(*names: str) -> list[Item]:
    return [Item(Path(name), name, name.rpartition(".")[0]) for name in names]


def fill(folder: Path, *names: str, content: bytes = b"frames of ") -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content + name.encode())
    return folder


def manifest(out: Path, name: str = "manifest.jsonl") -> dict[str, dict]:
    lines = [json.loads(line) for line in (out / name).read_text(encoding="utf-8").splitlines()]
    assert len({line["name"] for line in lines}) == len(lines)
    return {line["name"]: line for line in lines}


def results(out: Path) -> dict[str, bytes]:
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in sorted(out.rglob("*.pose.npz"))}


def run_all(folder: Path, out: Path, run: object = None, shard: Shard | None = None) -> list[Record]:
    batch = Batch.begin(out, "settings of the test", shard)
    items = find_items([str(folder)], out, recursive=True).items
    return list(annotate_videos(batch, items, one_after_another(batch, run or FakeRun())))


# --- shards --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("count", "of"), [(0, 3), (1, 1), (2, 8), (7, 2), (23, 7), (100, 40)])
def test_shards_are_a_partition(count: int, of: int) -> None:
    items = items_of(*(f"clip {i}.mp4" for i in range(count)))
    shuffled = random.Random(count * of).sample(items, count)
    shares = [Shard(number, of).choose(items) for number in range(1, of + 1)]
    assert sorted(item.relative for share in shares for item in share) == sorted(item.relative for item in items)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1
    assert shares == [Shard(number, of).choose(shuffled) for number in range(1, of + 1)]


def test_the_order_is_that_of_code_points_of_composed_names() -> None:
    composed, decomposed = "\u00e9.mp4", "e\u0301.mp4"
    names = ["b.mp4", "B.mp4", "a/z.mp4", "a b.mp4", "ä.mp4", "10.mp4", "2.mp4", "\u4eba.mp4"]
    expected = ["10.mp4", "2.mp4", "B.mp4", "a b.mp4", "a/z.mp4", "b.mp4", "ä.mp4"]
    for written in (composed, decomposed):
        order = [item.relative for item in Shard(1, 1).choose(items_of(*names, written))]
        assert order == [*expected, written, "\u4eba.mp4"]


def test_the_same_shares_in_any_folder_locale_and_hash_seed(tmp_path: Path) -> None:
    fill(tmp_path / "in", "b.mp4", "a/Ä.mp4", "a/é x.mp4", "c/d/e.mov", "Z.mkv")
    code = (
        "import sys; from pathlib import Path; from sdpose_core.batch.inputs import find_items\n"
        "from sdpose_core.batch.shards import Shard\n"
        "items = find_items([sys.argv[1]], Path('out'), recursive=True).items\n"
        "print(ascii([[i.relative for i in Shard(n, 2).choose(items)] for n in (1, 2)]))"
    )
    seen = set()
    for cwd, source, locale, seed in ((tmp_path, "in", "C.UTF-8", "1"), (tmp_path / "in" / "a", "..", "POSIX", "2")):
        env = {**os.environ, "LC_ALL": locale, "PYTHONHASHSEED": seed, "PYTHONUTF8": "1"}
        done = subprocess.run([sys.executable, "-c", code, source], cwd=cwd, env=env, capture_output=True, text=True)
        seen.add(done.stdout + done.stderr)
    assert seen == {"[['Z.mkv', 'a/\\xe9 x.mp4', 'c/d/e.mov'], ['a/\\xc4.mp4', 'b.mp4']]\n"}


@pytest.mark.parametrize(("text", "number", "of"), [("1/1", 1, 1), ("2/8", 2, 8), ("12/12", 12, 12)])
def test_a_shard_is_read(text: str, number: int, of: int) -> None:
    assert Shard.parse(text) == Shard(number, of)
    assert str(Shard.parse(text)) == text


@pytest.mark.parametrize("text", ["", "0/4", "5/4", "1", "1/0", "-1/4", "a/b", "1/2/3", "1.5/2"])
def test_a_wrong_shard_says_what_is_expected(text: str) -> None:
    with pytest.raises(InputError, match=r"expected i/n"):
        Shard.parse(text)


def slurm(task: int, first: int, last: int, step: int = 1, count: int | None = None) -> dict[str, str]:
    count = (last - first) // step + 1 if count is None else count
    values = {"ID": task, "MIN": first, "MAX": last, "STEP": step, "COUNT": count}
    return {f"SLURM_ARRAY_TASK_{name}": str(value) for name, value in values.items()}


@pytest.mark.parametrize(("first", "last", "step"), [(0, 3, 1), (1, 8, 1), (5, 5, 1), (0, 6, 2), (10, 40, 10)])
def test_a_slurm_array_is_a_set_of_shards(first: int, last: int, step: int) -> None:
    tasks = range(first, last + 1, step)
    shards = [Shard.parse("auto", slurm(task, first, last, step)) for task in tasks]
    assert shards == [Shard(number, len(tasks)) for number in range(1, len(tasks) + 1)]


@pytest.mark.parametrize("environment", [{}, slurm(1, 1, 7, 1, count=3), {**slurm(1, 1, 4), "SLURM_ARRAY_TASK_ID": ""}])
def test_auto_outside_an_even_slurm_array_is_refused(environment: dict[str, str]) -> None:
    with pytest.raises(InputError, match=r"sbatch --array=1-N"):
        Shard.parse("auto", environment)


# --- inputs --------------------------------------------------------------------------------------------------------


def found(inputs: list[str], out: Path, **options: object) -> dict[str, str]:
    return {item.relative: item.name for item in find_items(inputs, out, **options).items}


def test_a_folder_stands_for_its_videos_and_with_recursive_for_those_below(tmp_path: Path) -> None:
    folder = fill(tmp_path, "b.mp4", "a.MOV", "x/b.mp4", "notes.txt", ".hidden.mp4", ".cache/c.mp4", "x/y/d.webm")
    assert found([str(folder)], tmp_path / "out") == {"a.MOV": "a", "b.mp4": "b"}
    everything = {"a.MOV": "a", "b.mp4": "b", "x/b.mp4": "x/b", "x/y/d.webm": "x/y/d"}
    assert found([str(folder)], tmp_path / "out", recursive=True) == everything


@pytest.mark.parametrize("out", ["out", "."])
def test_outputs_are_no_inputs(tmp_path: Path, out: str) -> None:
    folder = fill(tmp_path, "a.mp4", "of the user_kps.mp4", f"{out}/a_kps.mp4", f"{out}/a.pose.npz")
    expected = {"a.mp4": "a", "of the user_kps.mp4": "of the user_kps"}
    assert found([str(folder)], tmp_path / out, recursive=True) == expected


def test_a_pattern_is_mirrored_below_its_fixed_part(tmp_path: Path) -> None:
    fill(tmp_path, "in/a/x.mp4", "in/b/x.mp4", "in/b/x.txt")
    assert found([f"{tmp_path}/in/*/x*"], tmp_path / "out") == {"a/x.mp4": "a/x", "b/x.mp4": "b/x"}
    assert found([f"{tmp_path}/in/**/*.mp4"], tmp_path / "out") == {"a/x.mp4": "a/x", "b/x.mp4": "b/x"}


def test_two_of_one_stem_keep_their_suffix(tmp_path: Path) -> None:
    folder = fill(tmp_path, "a.mp4", "A.mov", "b.mp4")
    assert found([str(folder)], tmp_path / "out") == {"A.mov": "A.mov", "a.mp4": "a.mp4", "b.mp4": "b"}


def test_one_source_named_twice_is_one_item_and_two_of_one_name_are_refused(tmp_path: Path) -> None:
    fill(tmp_path, "x/a.mp4", "y/a.mp4")
    one = [f"{tmp_path}/x", f"{tmp_path}/x/a.mp4", f"{tmp_path}/y/../x/*.mp4"]
    assert found(one, tmp_path / "out") == {"a.mp4": "a"}
    two = find_items([f"{tmp_path}/x/a.mp4", f"{tmp_path}/y/a.mp4"], tmp_path / "out")
    assert [item.source for item in two.items] == [tmp_path / "x/a.mp4"]
    [(text, reason)] = two.failed
    assert text == f"{tmp_path}/y/a.mp4"
    assert "same files" in reason and "name the folder that holds both" in reason


@pytest.mark.parametrize("what", ["empty", "empty/*.mp4", "@empty/list.txt", "@nowhere.txt"])
def test_what_names_no_video_is_said(tmp_path: Path, what: str) -> None:
    fill(tmp_path, "empty/list.txt", content=b"# ")
    text = what.replace("@", f"@{tmp_path}/") if "@" in what else f"{tmp_path}/{what}"
    good = fill(tmp_path, "good.mp4") / "good.mp4"
    found = find_items([text, str(good)], tmp_path / "out")
    assert [item.name for item in found.items] == ["good"], "the others are done"
    [(failed, reason)] = found.failed
    assert failed == text
    assert re.search("no video|cannot be read", reason)


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"], ids=["plain", "byte order mark"])
def test_a_list_is_read_line_by_line(tmp_path: Path, line_end: str, mark: str) -> None:
    (tmp_path / "in" / "frames.v1").mkdir(parents=True)
    dancers = "\u65e5\u672c/\u8e0a\u308a"
    lines = ["# a comment", "", "  two words.mp4  ", f"{dancers}.mp4", "#also a comment", "./#1 hit.mp4", "[x].mp4"]
    lines.append("frames.v1")
    path = tmp_path / "in" / "list.txt"
    path.write_bytes((mark + line_end.join(lines)).encode())
    expected = {
        "two words.mp4": "two words", f"{dancers}.mp4": dancers, "#1 hit.mp4": "#1 hit", "[x].mp4": "[x]",
        "frames.v1": "frames.v1",
    }  # fmt: skip
    assert found([f"@{path}"], tmp_path / "out") == expected
    assert found([], tmp_path / "out", lists=[path]) == expected
    assert {item.source for item in find_items([], tmp_path / "out", lists=[path]).items} == {
        tmp_path / "in" / relative for relative in expected
    }


def test_absolute_paths_of_a_list_are_mirrored_below_their_common_folder(tmp_path: Path) -> None:
    path = tmp_path / "lists" / "list.txt"
    path.parent.mkdir()
    path.write_text(f"{tmp_path}/data/a/x.mp4\n../data/b/x.mp4\n{tmp_path}/data/b/c/x.mp4\n")
    assert list(found([f"@{path}"], tmp_path / "out")) == ["a/x.mp4", "b/x.mp4", "b/c/x.mp4"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of arbitrary bytes are Linux's")
def test_a_name_that_is_no_unicode_goes_through(tmp_path: Path) -> None:
    source = os.path.join(os.fsencode(tmp_path), b"in", b"caf\xe9.mp4")
    os.mkdir(os.path.dirname(source))
    with open(source, "wb") as file:
        file.write(b"frames")
    (tmp_path / "in" / "list.txt").write_bytes(b"caf\xe9.mp4\n")
    listed, in_folder = f"@{tmp_path}/in/list.txt", f"{tmp_path}/in"
    assert find_items([listed], tmp_path / "out") == find_items([in_folder], tmp_path / "out")

    def run(item: Item, folder: Path) -> object:
        return FakeRun.__call__(FakeRun(), Item(item.source, item.relative, "cafe"), folder)

    [record] = run_all(tmp_path / "in", tmp_path / "out", run)
    assert record.status == "done"
    [line] = manifest(tmp_path / "out").values()
    assert os.fsencode(line["source"]) == source


# --- the batch -----------------------------------------------------------------------------------------------------


def test_one_damaged_video_does_not_stop_the_others_and_the_manifest_says_it(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a.mp4", "x/c.mp4")
    fill(folder, "b.mp4", content=b"damaged ")
    records = run_all(folder, tmp_path / "out")
    assert [(r.name, r.status) for r in records] == [("a", "done"), ("b", "failed"), ("x/c", "done")]
    lines = manifest(tmp_path / "out")
    assert list(lines) == ["a", "b", "x/c"]
    assert lines == {record.name: asdict(record) for record in records}
    assert lines["b"]["message"] == f"{folder}/b.mp4: no frame of it can be read"
    assert lines["b"]["files"] == {}
    size = (tmp_path / "out" / "x" / "c.pose.npz").stat().st_size
    expected = {
        "source": f"{folder}/x/c.mp4", "frames": 3, "people": 1, "batch_size": 4, "files": {"x/c.pose.npz": size},
        "settings": "settings of the test", "shard": None,
    }  # fmt: skip
    assert {key: lines["x/c"][key] for key in expected} == expected
    assert abs(lines["a"]["finished"] - time.time()) < 600


def test_a_rerun_does_only_what_is_not_done(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a.mp4", "c.mp4")
    bad = fill(folder, "b.mp4", content=b"damaged ") / "b.mp4"
    first = {record.name: record for record in run_all(folder, tmp_path / "out", FakeRun(seconds=0.05))}
    bad.write_bytes(b"repaired")
    log = tmp_path / "work.log"
    records = {record.name: record for record in run_all(folder, tmp_path / "out", FakeRun(log))}
    assert {name: record.status for name, record in records.items()} == {"a": "kept", "b": "done", "c": "kept"}
    assert log.read_text() == "b.mp4\n"
    for name in ("a", "c"):
        assert (records[name].seconds, records[name].finished) == (first[name].seconds, first[name].finished)
    assert manifest(tmp_path / "out")["a"]["status"] == "kept"


def test_a_record_of_another_source_is_not_taken_for_this_one(tmp_path: Path) -> None:
    """Two batches at the same time, of two memory cards with the same names."""
    cards = [fill(tmp_path / name, "a.mp4", content=name.encode()) for name in ("card1", "card2")]
    second = Batch.begin(tmp_path / "out")
    run_all(cards[0], tmp_path / "out")

    def refuses(item: Item, folder: Path) -> object:
        raise InputError("a.pose.npz exists, but it was made from another file")

    items = find_items([str(cards[1])], second.out).items
    [record] = annotate_videos(second, items, one_after_another(second, refuses))
    assert (record.status, record.source) == ("failed", str(cards[1] / "a.mp4"))
    assert manifest(tmp_path / "out")["a"]["status"] == "failed"


def test_a_defect_is_one_items_failure_with_its_traceback_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def run(item: Item, folder: Path) -> object:
        return FakeRun()(item, folder) if item.name != "a" else {}["no such key"]

    records = run_all(fill(tmp_path / "in", "a.mp4", "b.mp4"), tmp_path / "out", run)
    assert [(r.status, r.message) for r in records] == [("failed", "KeyError: 'no such key'"), ("done", "1 person")]
    assert "Traceback" in caplog.text


def test_a_model_that_cannot_be_loaded_ends_the_batch_at_once(tmp_path: Path) -> None:
    calls = []

    def run(item: Item, folder: Path) -> object:
        calls.append(item.name)
        raise CannotStart("no weights")

    with pytest.raises(CannotStart, match="no weights"):
        run_all(fill(tmp_path / "in", "a.mp4", "b.mp4"), tmp_path / "out", run)
    assert calls == ["a"]
    assert manifest(tmp_path / "out") == {}


def test_a_full_disk_for_one_video_leaves_nothing_half_written(tmp_path: Path) -> None:
    def run(item: Item, folder: Path) -> object:
        if item.name == "a":
            folder.mkdir(exist_ok=True)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return FakeRun()(item, folder)

    folder = fill(tmp_path / "in", "a.mp4", "b.mp4")
    records = run_all(folder, tmp_path / "out", run)
    assert [(r.name, r.status) for r in records] == [("a", "failed"), ("b", "done")]
    assert "No space left" in records[0].message
    assert [record.status for record in run_all(folder, tmp_path / "out")] == ["done", "kept"]


def test_a_disk_too_full_for_the_record_ends_the_batch_and_the_rerun_finishes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = fill(tmp_path / "in", "a.mp4", "b.mp4", "c.mp4"), tmp_path / "out"
    real = os.replace

    def full(source: str, target: str) -> None:
        if str(target).endswith("b.json"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(source, target)

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", full)
        with pytest.raises(InputError, match=r"cannot write .*b\.json: No space left"):
            run_all(folder, out)
    assert sorted(results(out)) == ["a.pose.npz", "b.pose.npz"]
    assert not list(out.rglob("*.part*"))
    assert [(r.name, r.status) for r in run_all(folder, out)] == [("a", "kept"), ("b", "kept"), ("c", "done")]
    assert list(manifest(out)) == ["a", "b", "c"]


def test_a_damaged_record_is_made_again(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a.mp4")
    run_all(folder, tmp_path / "out")
    (tmp_path / "out" / batch_module.STATE_FOLDER / "a.json").write_bytes(b'{"name": "a"')
    assert [record.status for record in run_all(folder, tmp_path / "out")] == ["kept"]
    assert manifest(tmp_path / "out")["a"]["files"].keys() == {"a.pose.npz"}


@pytest.mark.parametrize(
    "record",
    [
        {"name": "a", "source": 5, "status": "done"},
        {"name": "a", "source": "x", "status": "done", "files": []},
        {"name": "a", "source": "x", "status": "done", "seconds": "long"},
        [[]],
    ],
)
def test_a_record_with_odd_values_is_damaged(record: object) -> None:
    with pytest.raises(ValueError, match="is|expected a record"):
        Record.parse(json.dumps(record).encode())


def test_a_record_with_a_name_that_is_no_unicode_is_read_back() -> None:
    record = Record("a\udcff", "/x/a\udcff.mp4", "done", seconds=1, files={"a\udcff.pose.npz": 3})
    assert Record.parse(record.line()) == record


def test_damaged_agreements_of_a_batch_say_what_to_do(tmp_path: Path) -> None:
    batch = Batch.begin(tmp_path, "abc")
    mine = {"batch_size": 4, "model": "m"}
    assert batch.agree(mine) == mine
    for text in ("{", '{"model": "m"}', '{"batch_size": "4", "model": "m"}'):
        batch.agreement.write_text(text)
        with pytest.raises(InputError, match="is damaged"):
            batch.agree(mine)


def test_stopping_keeps_what_is_finished_and_frees_the_item(tmp_path: Path) -> None:
    def run(item: Item, folder: Path) -> object:
        if item.name == "b":
            raise KeyboardInterrupt
        return FakeRun()(item, folder)

    folder = fill(tmp_path / "in", "a.mp4", "b.mp4", "c.mp4")
    with pytest.raises(KeyboardInterrupt):
        run_all(folder, tmp_path / "out", run)
    assert manifest(tmp_path / "out").keys() == {"a"}
    take_lock(tmp_path / "out" / batch_module.STATE_FOLDER / "b.lock").release()
    assert [record.status for record in run_all(folder, tmp_path / "out")] == ["kept", "done", "done"]


def test_results_that_are_removed_meanwhile_are_not_in_the_manifest(tmp_path: Path) -> None:
    folder, out = fill(tmp_path / "in", "a.mp4", "b.mp4", "c.mp4"), tmp_path / "out"

    def run(item: Item, target: Path) -> object:
        if item.name == "b":
            shutil.rmtree(out / batch_module.STATE_FOLDER)
        if item.name == "c":
            (out / "b.pose.npz").unlink()
        return FakeRun()(item, target)

    with pytest.raises(InputError, match="results of 2 videos, such as a, were removed"):
        run_all(folder, out, run)
    assert manifest(out).keys() == {"c"}
    assert [record.status for record in run_all(folder, out)] == ["kept", "done", "kept"]
    assert manifest(out).keys() == {"a", "b", "c"}


def test_an_item_that_another_finished_meanwhile_is_taken_as_it_is(tmp_path: Path) -> None:
    """So two processes of one list do not do an item twice, even with --overwrite."""
    folder, out, log = fill(tmp_path / "in", "a.mp4"), tmp_path / "out", tmp_path / "work.log"
    items = find_items([str(folder)], out).items
    one, other = Batch.begin(out), Batch.begin(out)
    time.sleep(0.02)

    def overwriting(item: Item, target: Path) -> object:
        (target / f"{item.stem}.pose.npz").unlink(missing_ok=True)
        return FakeRun(log)(item, target)

    first = list(annotate_videos(one, items, one_after_another(one, overwriting)))
    assert list(annotate_videos(other, items, one_after_another(other, overwriting))) == first
    assert log.read_text() == "a.mp4\n"


def test_shards_write_their_own_manifest_and_the_last_one_the_whole(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", "a.mp4", "b.mp4", "c.mp4", "d.mp4", "e.mp4")
    out = tmp_path / "out"
    run_all(folder, out, shard=Shard(2, 3))
    run_all(folder, out, shard=Shard(1, 3))
    assert not (out / "manifest.jsonl").exists()
    run_all(folder, out, shard=Shard(3, 3))
    parts = [manifest(out, f"manifest.{number}-of-3.jsonl") for number in (1, 2, 3)]
    assert [list(part) for part in parts] == [["a", "d"], ["b", "e"], ["c"]]
    whole = manifest(out)
    assert list(whole) == ["a", "b", "c", "d", "e"]
    assert whole == parts[0] | parts[1] | parts[2]
    assert [whole[name]["shard"] for name in "abcde"] == ["1/3", "2/3", "3/3", "1/3", "2/3"]


def test_processes_agree_on_what_the_first_one_said(tmp_path: Path) -> None:
    one, other = Batch.begin(tmp_path, "x"), Batch.begin(tmp_path, "x")
    assert one.agree({"batch_size": 8}) == {"batch_size": 8}
    assert other.agree({"batch_size": 1}) == {"batch_size": 8}
    assert Batch.begin(tmp_path, "y").agree({"batch_size": 1}) == {"batch_size": 1}


# --- real processes ------------------------------------------------------------------------------------------------


def start(folder: Path, out: Path, shard: str = "-", seconds: float = 0, hang_at: str = "") -> subprocess.Popen:
    command = [sys.executable, str(WORKER), str(folder), str(out), shard, str(seconds), hang_at]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 600
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.02)


NAMES = ("a.mp4", "b.mp4", "x/a.mp4", "x/y/e.mov", "f.mkv", "g.mp4", "h.mp4")


def test_two_shards_side_by_side_make_what_one_process_makes(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", *NAMES)
    run_all(folder, tmp_path / "one")
    pair = [start(folder, tmp_path / "two", f"{number}/2", seconds=0.02) for number in (1, 2)]
    assert [process.communicate()[1] for process in pair] == ["", ""]
    assert results(tmp_path / "two") == results(tmp_path / "one")
    assert sorted((tmp_path / "two" / "work.log").read_text().split()) == sorted(NAMES)
    one, two = manifest(tmp_path / "one"), manifest(tmp_path / "two")
    assert list(one) == list(two)
    assert all(one[name]["files"] == two[name]["files"] for name in one)


def test_two_processes_of_one_list_share_it_and_both_end_with_all_of_it(tmp_path: Path) -> None:
    folder = fill(tmp_path / "in", *NAMES)
    pair = [start(folder, tmp_path / "out", seconds=0.1) for _ in range(2)]
    lines = [process.communicate()[0].splitlines() for process in pair]
    assert [len(part) for part in lines] == [len(NAMES)] * 2
    assert sorted((tmp_path / "out" / "work.log").read_text().split()) == sorted(NAMES)
    assert {line["status"] for line in manifest(tmp_path / "out").values()} <= {"done", "kept"}
    assert len(manifest(tmp_path / "out")) == len(NAMES)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_a_killed_workers_item_is_done_by_the_rerun(tmp_path: Path) -> None:
    folder, out = fill(tmp_path / "in", *NAMES), tmp_path / "out"
    worker = start(folder, out, hang_at="f.mkv")
    wait_for(out / "hanging")
    worker.kill()
    worker.communicate()
    take_lock(out / batch_module.STATE_FOLDER / "f.lock").release()
    assert all(batch_module.STATE_FOLDER in path.parts for path in out.rglob("*.lock"))
    done_before = len(results(out))
    statuses = Counter(record.status for record in run_all(folder, out))
    assert statuses == {"kept": done_before, "done": len(NAMES) - done_before}
    run_all(folder, tmp_path / "one")
    assert results(out) == results(tmp_path / "one")


def test_an_item_of_a_living_worker_is_waited_for_and_done_when_it_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batch_module, "POLL", 0.02)
    folder, out = fill(tmp_path / "in", *NAMES), tmp_path / "out"
    worker = start(folder, out, hang_at="b.mp4")
    wait_for(out / "hanging")
    waited = []

    def on_wait(item: Item) -> None:
        waited.append(item.relative)
        worker.kill()
        worker.communicate()

    batch = Batch.begin(out)
    items = find_items([str(folder)], out, recursive=True).items
    records = list(annotate_videos(batch, items, one_after_another(batch, FakeRun()), on_wait=on_wait))
    assert waited == ["b.mp4"]
    assert (records[-1].name, records[-1].status) == ("b", "done")
    assert results(out).keys() == {f"{item.name}.pose.npz" for item in items}


# --- what lies in .sdpose-batch, and lines of lists ----------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"null", b"[" * 100_000, b'{"name": 1, "source": 2, "status": 3}', b'{"a": 1}', b"\xff\xfe\0",
     b"1" * 9999, b'{"name": "a", "source": "x", "status": "done", "more": 1}'],
    ids=range(9),
)  # fmt: skip
@pytest.mark.parametrize("suffix", [".json", ".lock"])
def test_a_cut_or_foreign_state_file_is_made_again(tmp_path: Path, content: bytes, suffix: str) -> None:
    state = tmp_path / "out" / batch_module.STATE_FOLDER
    state.mkdir(parents=True)
    (state / f"b{suffix}").write_bytes(content)
    records = run_all(fill(tmp_path / "in", "a.mp4", "b.mp4"), tmp_path / "out")
    assert [(record.name, record.status) for record in records] == [("a", "done"), ("b", "done")]
    assert list(manifest(tmp_path / "out")) == ["a", "b"]


@pytest.mark.parametrize("blocked", ["b.json", "b.lock", "x"])
def test_something_else_in_the_place_of_a_state_file_fails_its_items_alone(tmp_path: Path, blocked: str) -> None:
    state = tmp_path / "out" / batch_module.STATE_FOLDER
    state.mkdir(parents=True)
    if blocked == "x":
        (state / "x").write_bytes(b"a file where a folder should be")
    else:
        (state / blocked).mkdir()
    folder = fill(tmp_path / "in", "a.mp4", "b.mp4", "c.mp4", "x/d.mp4")
    failed = "x/d" if blocked == "x" else "b"
    records = {record.name: record for record in run_all(folder, tmp_path / "out")}
    assert {name for name, record in records.items() if record.status == "failed"} == {failed}
    assert str(state / blocked) in records[failed].message
    assert manifest(tmp_path / "out") == {name: asdict(record) for name, record in records.items()}


def test_a_record_that_may_not_be_read_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, out = fill(tmp_path / "in", "a.mp4"), tmp_path / "out"
    run_all(folder, out)
    real = Path.read_bytes

    def read_bytes(path: Path) -> bytes:
        if path.name == "a.json":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return real(path)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", read_bytes)
        assert [record.status for record in run_all(folder, out)] == ["kept"]


def test_a_file_that_is_gone_when_its_size_is_asked_fails_its_item(tmp_path: Path) -> None:
    def run(item: Item, folder: Path) -> object:
        outcome = FakeRun()(item, folder)
        if item.name == "a":
            outcome.files[0].unlink()
        return outcome

    records = run_all(fill(tmp_path / "in", "a.mp4", "b.mp4"), tmp_path / "out", run)
    assert [(record.name, record.status) for record in records] == [("a", "failed"), ("b", "done")]
    assert "No such file" in records[0].message


def test_lines_of_a_list_that_no_file_can_have(tmp_path: Path) -> None:
    fill(tmp_path / "in", "a.mp4")
    long = "n" * 300 + ".mp4"
    (tmp_path / "list.txt").write_text(f"in/a.mp4\nin/\0.mp4\nin/{long}\n{'d/' * 3000}x.mp4\n")
    found = find_items([f"@{tmp_path}/list.txt"], tmp_path / "out")
    assert [reason for _, reason in found.failed if "null byte" in reason]
    batch = Batch.begin(tmp_path / "out")
    records = list(annotate_videos(batch, found.items, one_after_another(batch, FakeRun())))
    assert [record.status for record in records if record.name == "in/a"] == ["done"]
    assert {record.status for record in records if record.name != "in/a"} == {"failed"}
