"""Work that goes on: settings beside it, pieces with checksums, one process at a time."""

from __future__ import annotations

import errno
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import pytest

from sdpose_core import files
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_write
from sdpose_core.resumable import (
    DamagedPiece,
    InUse,
    begin,
    first_difference,
    one_at_a_time,
    plain,
    read_piece,
    read_settings,
    refuse_other,
    release_and_remove,
    settings_hash,
    take_lock,
    write_piece,
)

SETTINGS = {"seed": 1, "size": (3, 4), "model": {"name": "body", "stages": [{"samples": 8}]}}


# --- settings ------------------------------------------------------------------------------------------------------


def test_the_first_process_decides_on_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "work" / "settings.json"
    assert read_settings(file) is None
    assert begin(file, SETTINGS) == plain(SETTINGS)
    assert begin(file, {"seed": 2}) == plain(SETTINGS)
    refuse_other(begin(file, SETTINGS), SETTINGS, tmp_path, "pictures", "choose another --out")
    assert [path.name for path in file.parent.iterdir()] == ["settings.json"]


DIFFERENCES: dict[str, tuple[Any, Any, str]] = {
    "a value": ({"seed": 1}, {"seed": 2}, "seed was 1, now 2"),
    "a nested value": ({"a": {"b": {"c": "x"}}}, {"a": {"b": {"c": "y"}}}, "a.b.c was 'x', now 'y'"),
    "in a list": ({"stages": [{"n": 8}, {"n": 1}]}, {"stages": [{"n": 8}, {"n": 2}]}, "stages.1.n was 1, now 2"),
    "a longer list": ({"names": ["a"]}, {"names": ["a", "b"]}, "names was ['a'], now ['a', 'b']"),
    "a new key": ({}, {"seed": None}, "seed was not set, now None"),
    "a key that went": ({"seed": {"a": 1}}, {}, "seed was {'a': 1}, now not set"),
    "another type": ({"a": 1}, {"a": {"b": 1}}, "a was 1, now {'b': 1}"),
    "the first of two": ({"a": 1, "b": 1}, {"b": 2, "a": 2}, "a was 1, now 2"),
    "another file": (
        {"boxes": {"bytes": 1200, "sha256": "12345678ab"}},
        {"boxes": {"bytes": 1200, "sha256": "abcdef0123"}},
        "boxes was a file (1,200 bytes, 12345678), now a file (1,200 bytes, abcdef01)",
    ),
    "a long value": ({"a": "x" * 200}, {"a": 1}, f"a was '{'x' * 89}, now 1"),
}


@pytest.mark.parametrize(("found", "asked", "expected"), DIFFERENCES.values(), ids=DIFFERENCES)
def test_other_settings_are_refused_with_the_first_difference(
    tmp_path: Path, found: Any, asked: Any, expected: str
) -> None:
    assert first_difference(found, asked) == expected
    assert first_difference(found, found) is None
    with pytest.raises(InputError) as refused:
        refuse_other(found, asked, tmp_path, "pictures", "choose another --out")
    message = str(refused.value)
    assert message == f"{tmp_path} holds pictures made with other settings ({expected}): choose another --out"


def test_the_hash_of_settings_does_not_depend_on_the_order_of_keys() -> None:
    assert settings_hash({"a": 1, "b": (2, 3)}) == settings_hash({"b": [2, 3], "a": 1})
    assert settings_hash({"a": 1}) != settings_hash({"a": 2})


@pytest.mark.parametrize(
    ("text", "expected"), [("{", "is damaged"), ("", "is damaged"), ("5", "expected the settings")]
)
def test_damaged_settings_are_never_taken_for_others(tmp_path: Path, text: str, expected: str) -> None:
    (tmp_path / "settings.json").write_text(text)
    with pytest.raises(InputError, match=expected):
        begin(tmp_path / "settings.json", SETTINGS)
    assert (tmp_path / "settings.json").read_text() == text


@pytest.mark.parametrize(
    "damaged", [{"bytes": 5, "sha256": [1]}, {"bytes": "5", "sha256": "a"}, {"bytes": 5, "sample": None}]
)
def test_a_damaged_identity_differs_in_one_line(damaged: dict) -> None:
    found = first_difference({"source": damaged}, {"source": {"bytes": 5, "sha256": "abc"}})
    assert found is not None and found.startswith("source") and "\n" not in found


# --- pieces --------------------------------------------------------------------------------------------------------

ARRAYS = {"keypoints": np.arange(12.0).reshape(2, 3, 2), "state": np.asarray(json.dumps({"next": 5}))}


def test_a_piece_is_read_as_it_was_written_and_is_an_npz(tmp_path: Path) -> None:
    digest = write_piece(tmp_path / "a.npz", ARRAYS, "before")
    arrays, read = read_piece(tmp_path / "a.npz", "before")
    assert read == digest
    assert arrays.keys() == ARRAYS.keys()
    np.testing.assert_array_equal(arrays["keypoints"], ARRAYS["keypoints"])
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        np.testing.assert_array_equal(file["keypoints"], ARRAYS["keypoints"])


def flip(path: Path, place: float) -> None:
    content = bytearray(path.read_bytes())
    content[int(place * (len(content) - 1))] ^= 1
    path.write_bytes(content)


def as_before(path: Path) -> None:
    """As the version before wrote the parts of predictions: no checksum."""
    with open(path, "wb") as file:
        np.savez(file, **ARRAYS)


DAMAGE: dict[str, Callable[[Path], Any]] = {
    **{f"a bit at {place}": lambda path, place=place: flip(path, place) for place in (0, 0.3, 0.6, 0.95, 1)},
    "cut short": lambda path: path.write_bytes(path.read_bytes()[:-10]),
    "empty": lambda path: path.write_bytes(b""),
    "gone": lambda path: path.unlink(),
    "of another run": lambda path: write_piece(path, ARRAYS, "another"),
    "without a checksum": as_before,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_piece_is_found_out(tmp_path: Path, damage: Callable[[Path], Any]) -> None:
    path = tmp_path / "part_000001.npz"
    write_piece(path, ARRAYS, "before")
    damage(path)
    with pytest.raises(DamagedPiece, match=r"^part_000001\.npz is (damaged|unreadable)"):
        read_piece(path, "before")


def test_killed_between_write_and_rename_the_piece_before_stays_and_the_leftover_goes(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "a.npz"
    write_piece(path, ARRAYS, "before")
    files._cleaned.clear()
    killed = "import os, sys; from pathlib import Path; from sdpose_core.files import atomic_write\n"
    killed += "with atomic_write(Path(sys.argv[1])) as file: file.write(b'half'); file.flush(); os._exit(9)"
    for name in ("a.npz", "b.v1.npz"):  # the second removes what the first left
        subprocess.run([sys.executable, "-c", killed, str(path.with_name(name))], check=False)
        assert len(list(path.parent.iterdir())) == 2
    assert list(path.parent.glob("[!.]*")) == [path], "a leftover has a hidden name"
    read_piece(path, "before")
    write_piece(path, ARRAYS, "before")  # this process is not the one that was killed: it cleans the folder first
    assert list(path.parent.iterdir()) == [path]


def test_a_failed_write_leaves_the_piece_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_piece(tmp_path / "a.npz", ARRAYS, "before")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="No space left"):
        write_piece(tmp_path / "a.npz", {}, "before")
    assert read_piece(tmp_path / "a.npz", "before")[0].keys() == ARRAYS.keys()
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


# --- several processes ---------------------------------------------------------------------------------------------

HOLD = (
    "import sys, time; from pathlib import Path; from sdpose_core.resumable import *\n"
    "try: lock = take_lock(Path(sys.argv[1])); print('mine', flush=True); time.sleep(600)\n"
    "except InUse: print('in use', flush=True)"
)


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen]]:
    """Python code in a process of its own; killed at the end."""
    processes: list[subprocess.Popen] = []

    def run(code: str, *arguments: object) -> subprocess.Popen:
        command = [sys.executable, "-c", code, *map(str, arguments)]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield run
    for process in processes:
        process.kill()
        process.communicate()


def answer(process: subprocess.Popen) -> str:
    return process.stdout.readline().strip()


def test_a_lock_is_held_by_one_and_free_again_afterwards(tmp_path: Path) -> None:
    lock = take_lock(tmp_path / "new" / "a.lock")
    with pytest.raises(InUse, match="another process uses this folder .*a.lock"):
        take_lock(tmp_path / "new" / "a.lock")
    take_lock(tmp_path / "new" / "b.lock").release()
    lock.release()
    release_and_remove(take_lock(tmp_path / "new" / "a.lock"))
    assert not (tmp_path / "new" / "a.lock").exists()


def test_a_link_is_no_lock(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("mine")
    (tmp_path / "a.lock").symlink_to("precious.txt")
    with pytest.raises(InputError, match=r"a\.lock is a link to precious\.txt"):
        take_lock(tmp_path / "a.lock")
    assert (tmp_path / "precious.txt").read_text() == "mine"


def test_of_many_processes_one_gets_the_lock(tmp_path: Path, start: Callable[..., subprocess.Popen]) -> None:
    racers = [start(HOLD, tmp_path / "a.lock") for _ in range(4)]
    assert Counter(map(answer, racers)) == {"mine": 1, "in use": 3}


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="this system has no SIGKILL")
def test_the_lock_of_a_killed_process_is_free_at_once(tmp_path: Path, start: Callable[..., subprocess.Popen]) -> None:
    holder = start(HOLD, tmp_path / "a.lock")
    assert answer(holder) == "mine"
    with pytest.raises(InUse):
        take_lock(tmp_path / "a.lock")
    holder.kill()
    holder.wait()
    take_lock(tmp_path / "a.lock").release()


def test_processes_that_begin_together_agree(tmp_path: Path, start: Callable[..., subprocess.Popen]) -> None:
    code = (
        "import json, sys; from pathlib import Path; from sdpose_core.resumable import *\n"
        "file = Path(sys.argv[1])\n"
        "with one_at_a_time(file): print(json.dumps(begin(file, {'batch': int(sys.argv[2])})), flush=True)"
    )
    processes = [start(code, tmp_path / "agreed.json", n) for n in range(4)]
    answers = [answer(process) for process in processes]
    assert [process.wait() for process in processes] == [0] * 4  # the last one has removed the lock file
    assert len(set(answers)) == 1
    assert json.loads(answers[0]) == read_settings(tmp_path / "agreed.json")
    assert [path.name for path in tmp_path.iterdir()] == ["agreed.json"]


def test_one_at_a_time_waits(tmp_path: Path, start: Callable[..., subprocess.Popen]) -> None:
    code = (
        "import sys; from pathlib import Path; from sdpose_core.resumable import *\n"
        "print('ready', flush=True)\n"
        "with one_at_a_time(Path(sys.argv[1])): print(Path(sys.argv[1]).read_text(), flush=True)"
    )
    with one_at_a_time(tmp_path / "file"):
        other = start(code, tmp_path / "file")
        assert answer(other) == "ready"
        time.sleep(0.3)
        with atomic_write(tmp_path / "file", "w") as file:
            file.write("written before the other came in")
    assert answer(other) == "written before the other came in"


@pytest.mark.parametrize(
    ("number", "works"), [(errno.ENOLCK, True), (errno.EOPNOTSUPP, True), (errno.EACCES, False), (errno.EROFS, False)]
)
def test_without_locks_it_warns_and_without_the_file_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, number: int, works: bool
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise OSError(number, "told by the system")

    monkeypatch.setattr(filelock.FileLock, "acquire", fails)
    if works:
        take_lock(tmp_path / "a.lock").release()
        assert "cannot be locked (told by the system)" in caplog.text
    else:
        with pytest.raises(InputError, match=r"cannot write .*a\.lock: told by the system"):
            take_lock(tmp_path / "a.lock")
