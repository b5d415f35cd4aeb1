"""Folders are replaced and removed only if they are ours, and the old one stays until the new one is in place."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sdpose_core import files, folders
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_path, atomic_write, temporary_folder
from sdpose_core.folders import FolderKind, atomic_folder

KIND = FolderKind("a test folder", ("made_by_us", "part/*.txt"), markers=("made_by_us",))


def make(path: Path, text: str = "1") -> Path:
    with atomic_folder(path, KIND) as folder:
        (folder / "made_by_us").touch()
        (folder / "part").mkdir()
        (folder / "part" / "a.txt").write_text(text)
    return path


def content(folder: Path) -> dict[str, str]:
    return {file.relative_to(folder).as_posix(): file.read_text() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_folder_of_ours_is_replaced(tmp_path: Path, exchanges: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not exchanges:
        monkeypatch.setattr(folders, "_exchanged", lambda *_: False)
    path = make(make(tmp_path / "out"), "2")
    assert content(path) == {"made_by_us": "", "part/a.txt": "2"}
    assert os.listdir(tmp_path) == ["out"]
    KIND.remove(path)
    KIND.remove(path)  # nothing is there: nothing to do
    assert os.listdir(tmp_path) == []


def foreign_file(path: Path) -> None:
    make(path)
    (path / "diary.txt").write_text("dear")


def link_inside(path: Path) -> None:
    make(path)
    (path / "part" / "b.txt").symlink_to(path.parent / "precious")


def linked_subfolder(path: Path) -> None:
    make(path)
    (path / "more").symlink_to(path.parent / "precious", target_is_directory=True)


def no_marker(path: Path) -> None:
    make(path)
    (path / "made_by_us").unlink()


def link(path: Path) -> None:
    make(path.with_name("elsewhere"))
    path.symlink_to(path.with_name("elsewhere"), target_is_directory=True)


FOREIGN = {
    foreign_file: "holds 'diary.txt', which does not belong",
    link_inside: "holds 'part/b.txt'",
    linked_subfolder: "holds 'more'",
    no_marker: "has no made_by_us",
    link: "is a link to",
    Path.touch: "is a file",
    lambda path: path.symlink_to("nowhere"): "is a link to nowhere",
}


@pytest.mark.parametrize("prepare", FOREIGN)
def test_what_is_not_ours_is_neither_replaced_nor_removed(tmp_path: Path, prepare) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "photo.png").write_text("family")
    prepare(tmp_path / "out")
    before = sorted(tmp_path.rglob("*"))
    for attempt in (make, KIND.remove):
        with pytest.raises(InputError, match=FOREIGN[prepare] + ".*nothing was removed"):
            attempt(tmp_path / "out")
    assert sorted(tmp_path.rglob("*")) == before


def test_what_appears_meanwhile_stays(tmp_path: Path) -> None:
    make(tmp_path / "out")
    with pytest.raises(InputError, match=r"diary\.txt"), atomic_folder(tmp_path / "out", KIND):
        (tmp_path / "out" / "diary.txt").write_text("dear")
    assert content(tmp_path / "out") == {"made_by_us": "", "part/a.txt": "1", "diary.txt": "dear"}


def test_what_appears_while_the_old_folder_is_looked_at_stays(tmp_path: Path) -> None:
    def look(_: Path) -> bool:
        if looked:
            (tmp_path / "out" / "diary.txt").write_text("dear")
        return True

    looked: list[Path] = []
    kind = FolderKind("a folder", ("*.txt",), is_ours=look)
    for text in "1", "2":
        with atomic_folder(tmp_path / "out", kind) as folder:
            (folder / "a.txt").write_text(text)
            looked.append(folder)
    assert content(tmp_path / "out") == {"a.txt": "2", "diary.txt": "dear"}


def test_a_file_in_a_subfolder_needs_a_pattern_of_its_own(tmp_path: Path) -> None:
    kind = FolderKind("a test folder", ("*.txt",))
    (tmp_path / "out" / "mine").mkdir(parents=True)
    (tmp_path / "out" / "mine" / "a.txt").touch()
    assert "holds 'mine/a.txt'" in (kind.why_not(tmp_path / "out") or "")


def test_a_folder_that_cannot_be_read_is_not_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, scan = make(tmp_path / "out"), os.scandir

    def refuse(folder: str) -> object:
        if os.fspath(folder).endswith("part"):
            raise PermissionError(13, "Permission denied", folder)
        return scan(folder)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(InputError, match="cannot be read.*part: Permission denied.*nothing was removed"):
        make(path)


@pytest.mark.parametrize("reason", ["current", "mounted", "parent"])
def test_a_folder_that_must_stay_gets_other_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reason: str) -> None:
    path = make(tmp_path / "out")
    (path / "part" / "b.txt").touch()
    (path / f".out.abcd1234.{files._machine()}.sdpose.part").mkdir()  # of a killed process
    inode = path.stat().st_ino
    if reason == "current":
        monkeypatch.chdir(path)
        make(Path("."), "2")
    else:
        refuse = {"mounted": (os.path, "ismount", lambda _: True), "parent": (os, "access", lambda *_: False)}
        monkeypatch.setattr(*refuse[reason])
        make(path, "2")
    assert content(path) == {"made_by_us": "", "part/a.txt": "2"} and path.stat().st_ino == inode
    assert sorted(os.listdir(path)) == ["made_by_us", "part"] and os.listdir(tmp_path) == ["out"]
    (path / "diary.txt").touch()
    with pytest.raises(InputError, match=r"diary\.txt"):
        make(path)


def test_a_leftover_that_is_not_ours_stays(tmp_path: Path) -> None:
    (tmp_path / ".out.sdpose-old").mkdir()
    (tmp_path / ".out.sdpose-old" / "diary.txt").touch()
    make(make(tmp_path / "out"))
    assert content(tmp_path / ".out.sdpose-old") == {"diary.txt": ""}


def test_an_empty_folder_may_be_replaced(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    assert content(make(tmp_path / "out")) == {"made_by_us": "", "part/a.txt": "1"}


def test_killed_between_the_two_renames_nothing_is_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = make(tmp_path / "out")
    path.rename(tmp_path / ".out.sdpose-old")  # as a killed process leaves it, where names cannot be exchanged
    with pytest.raises(RuntimeError), atomic_folder(path, KIND):
        assert content(path) == {"made_by_us": "", "part/a.txt": "1"}
        raise RuntimeError("stopped")
    assert content(path) == {"made_by_us": "", "part/a.txt": "1"}
    make(tmp_path / "old").rename(tmp_path / ".out.sdpose-old")  # killed after the second rename
    make(path, "2")
    assert os.listdir(tmp_path) == ["out"] and content(path)["part/a.txt"] == "2"


# --- temporary files -----------------------------------------------------------------------------------------------

KILLED = """
import os, sys
from pathlib import Path
from sdpose_core.files import temporary_folder
open_files = [temporary_folder(Path(sys.argv[1]) / name) for name in ("a.png", "b.v1.npz", "{long}.json")]
for each in open_files:
    each.__enter__()
with temporary_folder(Path(sys.argv[1]) / "exported") as folder:
    (folder / "0.png").touch()
    os._exit(9)
""".replace("{long}", "x" * 250)


def test_what_a_killed_process_left_goes_at_the_next_use_of_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False)
    left = os.listdir(out)
    assert len(left) == 4 and all(name.startswith(".") for name in left)
    token = f"{files._machine()}.sdpose.part"
    own = [".bashrc", ".a.abcd1234.part.png", f".a.{token}.png", f"a.abcd1234.{token}.png"]
    for name in own:
        (out / name).touch()
    (out / f".c.abcd1234.{token}").symlink_to(tmp_path)
    os.mkfifo(out / f".d.abcd1234.{token}")  # opened, it would wait for a writer
    own += [f".c.abcd1234.{token}", f".d.abcd1234.{token}"]
    with temporary_folder(out / "living.png") as living:
        files._cleaned.clear()
        with atomic_write(out / "new.json", "w") as file:
            file.write("{}")
        assert living.exists(), "the temporary file of a living process stays"
    assert sorted(os.listdir(out)) == sorted([*own, "new.json"])


def test_what_another_machine_left_goes_after_a_day(tmp_path: Path) -> None:
    """Its processes may hold locks that are not seen here."""
    old, new = tmp_path / ".a.abcd1234.00000000.sdpose.part", tmp_path / ".b.abcd1234.00000000.sdpose.part"
    for folder in (old, new):
        folder.mkdir()
    files.remove_abandoned(tmp_path)
    assert old.exists() and new.exists()
    yesterday = time.time() - 25 * 3600
    os.utime(old, (yesterday, yesterday))
    files.remove_abandoned(tmp_path)
    assert list(tmp_path.iterdir()) == [new]


def test_a_folder_that_another_process_takes_before_it_is_locked_is_not_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It finds the new folder unlocked, locks it and removes it, now or a little later."""
    make_new, made, handles = files.tempfile.mkdtemp, [], []

    def taken(**names: object) -> str:
        made.append(make_new(**names))
        if len(made) < 3:
            handles.append(os.open(made[-1], os.O_RDONLY))
            fcntl.flock(handles[-1], fcntl.LOCK_EX)
        if len(made) == 2:
            os.rmdir(made[-1])
        return made[-1]

    monkeypatch.setattr(files.tempfile, "mkdtemp", taken)
    with temporary_folder(tmp_path / "a.png") as temporary:
        assert str(temporary) == made[2]
    for handle in handles:
        os.close(handle)


def test_a_writer_may_replace_its_file(tmp_path: Path) -> None:
    """As that of safetensors does: another process does not take the new one for abandoned, and a kill leaves nothing
    else."""
    with atomic_path(tmp_path / "a.safetensors") as temporary:
        for name in ("first", "second"):
            (temporary.parent / ".tmp").write_text(name)
            os.replace(temporary.parent / ".tmp", temporary)
            (temporary.parent / ".tmp-of-a-killed-process").touch()
        files.remove_abandoned(tmp_path)
    assert content(tmp_path) == {"a.safetensors": "second"}


EIGHT = """
import sys, time
from pathlib import Path
from sdpose_core.files import atomic_write
from sdpose_core.folders import FolderKind, atomic_folder
out, number, begin = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
time.sleep(max(0, begin - time.time()))
for round in range(15):
    with atomic_write(out / f"{number}-{round}.txt", "w") as file:
        file.write("whole")
    with atomic_folder(out / "shared", FolderKind("a test folder", ("*.txt",))) as folder:
        (folder / f"{number}.txt").write_text("whole")
"""


@pytest.mark.slow  # eight processes
def test_processes_that_start_at_once_do_not_remove_each_others_files(tmp_path: Path) -> None:
    for round in range(3):
        out = tmp_path / str(round)
        out.mkdir()
        for number in range(5):
            (out / f".{number}.abcd123{number}.{files._machine()}.sdpose.part").mkdir()
        words = [sys.executable, "-c", EIGHT, str(out)]
        begin = str(time.time() + 2)
        runs = [subprocess.Popen([*words, str(number), begin], stderr=subprocess.PIPE) for number in range(8)]
        assert [run.communicate()[1] for run in runs] == [b""] * 8
        expected = {f"{number}-{turn}.txt" for number in range(8) for turn in range(15)} | {"shared"}
        assert set(os.listdir(out)) == expected and len(os.listdir(out / "shared")) == 1
