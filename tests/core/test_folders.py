"""Folders are replaced and removed only if they are ours, and the old one stays until the new one is in place."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sdpose_core import files, folders
from sdpose_core.errors import InputError
from sdpose_core.files import atomic_write, temporary_path
from sdpose_core.folders import FolderKind, atomic_folder

KIND = FolderKind("a test folder", ("made_by_us", "part/*.txt"), marker="made_by_us")


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
from sdpose_core.files import temporary_path
open_files = [temporary_path(Path(sys.argv[1]) / name) for name in ("a.png", "b.v1.npz", "{long}.json")]
for each in open_files:
    each.__enter__()
with temporary_path(Path(sys.argv[1]) / "exported", folder=True) as folder:
    (folder / "0.png").touch()
    os._exit(9)
""".replace("{long}", "x" * 250)


def test_what_a_killed_process_left_goes_at_the_next_use_of_the_folder(tmp_path: Path) -> None:
    out = tmp_path / "out"
    subprocess.run([sys.executable, "-c", KILLED, str(out)], check=False)
    left = os.listdir(out)
    assert len(left) == 4 and all(name.startswith(".") for name in left)
    own = [".bashrc", ".a.abcd1234.part.png", ".a.sdpose.part.png", "a.abcd1234.sdpose.part.png"]
    for name in own:
        (out / name).touch()
    (out / ".c.abcd1234.sdpose.part").symlink_to(tmp_path)
    with temporary_path(out / "living.png") as living:
        files._cleaned.clear()
        with atomic_write(out / "new.json", "w") as file:
            file.write("{}")
        assert living.exists(), "the temporary file of a living process stays"
    assert sorted(os.listdir(out)) == sorted([*own, ".c.abcd1234.sdpose.part", "new.json"])
