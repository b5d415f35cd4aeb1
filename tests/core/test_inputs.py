"""What files, folders, patterns and lists name, and what in them is no input."""

from __future__ import annotations

import os
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from sdpose_core.errors import InputError
from sdpose_core.images import write_png
from sdpose_core.input_kinds import PICTURES
from sdpose_core.inputs import Inputs, expand, is_result, pictures_in
from sdpose_core.origins import MARK, mark_text

BLACK = np.zeros((8, 8, 3), np.uint8)
MARKED = {MARK: mark_text({"poses": None, "drawing": {}})}

pytestmark = pytest.mark.filterwarnings("error")


@pytest.fixture(autouse=True)
def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def fill(*names: str) -> None:
    for name in names:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_bytes(b"pixels")


def found(*texts: str, out: str = "out", **options: object) -> list[str]:
    inputs = expand(texts, PICTURES, Path(out), **options)
    assert inputs.failed == []
    return [named.source.as_posix() for named in inputs.sources]


def failed(*texts: str, **options: object) -> Inputs:
    inputs = expand([*texts, "good.png"], PICTURES, Path("out"), **options)
    assert [named.source.name for named in inputs.sources] == ["good.png"], "the good one is done"
    return inputs


def test_a_folder_gives_its_pictures_in_natural_order_without_hidden_ones() -> None:
    fill("in/f10.png", "in/f2.JPG", "in/F3.jfif", "in/f1.jpe", "in/._f1.jpe", "in/.f.png", "in/a.txt", "in/sub/x.png")
    fill("in/__MACOSX/._f1.jpe", "in/f4.mpo", "in/f5.apng")
    ordered = ["in/f1.jpe", "in/f2.JPG", "in/F3.jfif", "in/f4.mpo", "in/f5.apng", "in/f10.png"]
    assert found("in") == ordered
    assert [path.as_posix() for path in pictures_in(Path("in"))] == ordered
    assert found("in/*") == ordered


@pytest.mark.parametrize(
    "name", ["[1].png", "a*.png", "a?.png", "@me.png", "-a.png", "#a.png", "~a.png", " a .png", "'a'.png"]
)
def test_what_exists_is_taken_as_it_is(name: str) -> None:
    fill(name, f"folder of {name}/b.png")
    assert found(name) == [name]
    assert found(f"folder of {name}") == [f"folder of {name}/b.png"]
    Path("list.txt").write_text(f"./{name}\n", encoding="utf-8")
    assert found("@list.txt") == [name]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("[2024] trip/*.png", ["[2024] trip/[a] 1.png", "[2024] trip/b.png"]),
        ("[2024] trip/[a]*.png", ["[2024] trip/[a] 1.png"]),
        ("[2024] trip/[b].png", ["[2024] trip/b.png"]),
        ("**/b.png", ["[2024] trip/b.png", "[2024] trip/x/y/b.png"]),
        ("*/**/*.png", ["[2024] trip/[a] 1.png", "[2024] trip/b.png", "[2024] trip/x/y/b.png"]),
        ("[2024] trip/**", ["[2024] trip/[a] 1.png", "[2024] trip/b.png", "[2024] trip/x/y/b.png"]),
        ("[2024] */x/**/*", ["[2024] trip/x/y/b.png"]),
        ("*trip", ["[2024] trip/[a] 1.png", "[2024] trip/b.png"]),
        ("[2024]*", ["[2024] trip/[a] 1.png", "[2024] trip/b.png"]),
        ("raw/*.dat", ["raw/scan.dat"]),
        ("raw/sc*", ["raw/scan.dat"]),
    ],
)
def test_patterns(pattern: str, expected: list[str]) -> None:
    fill("[2024] trip/b.png", "[2024] trip/[a] 1.png", "[2024] trip/x/y/b.png", "[2024] trip/notes.txt", "raw/scan.dat")
    assert found(pattern) == expected
    assert found(os.path.abspath(pattern)) == [Path(os.path.abspath(name)).as_posix() for name in expected]


def test_what_names_no_input_fails_alone() -> None:
    fill("good.png", "empty/notes.txt")
    Path("empty list.txt").write_text("\n# nothing\n")
    Path("binary.txt").write_bytes(b"\xff\xd8\xff\x00\x01\n\xfe\x00")
    names = ["", "empty", "no*.png", "@nothing.txt", "@empty list.txt", "@binary.txt"]
    inputs = failed(*names)
    assert [text for text, _ in inputs.failed] == ["''", *names[1:]]
    assert all("\n" not in reason for _, reason in inputs.failed)


@pytest.mark.parametrize("name", ["missing.png", "a\0b.png", "x" * 300 + ".png", "x/" * 3000 + "a.png", "[" * 300])
def test_a_path_that_cannot_be_is_left_to_the_command(name: str) -> None:
    fill("good.png")
    inputs = expand([name, "good.png"], PICTURES, Path("out"))
    assert len(inputs.sources) + len(inputs.failed) == 2


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_list_in_any_form_that_editors_and_shells_write(encoding: str, line_end: str) -> None:
    fill("in/踊り 1.png", "in/b.png", "in/sub/c.png", "in/e '.png")
    lines = [
        "# comment",
        '"踊り 1.png"',
        "  b.png  ",
        "'b.png'",
        "sub",
        "",
        "e '.png",
        "list.txt",
        os.path.abspath("in/b.png"),
    ]
    Path("in/list.txt").write_bytes(line_end.join(lines).encode(encoding))
    assert found("@in/list.txt") == ["in/踊り 1.png", "in/b.png", "in/sub/c.png", "in/e '.png"]
    assert found(lists=[Path("in/list.txt")]) == found("@in/list.txt")


def test_paths_in_a_list_as_other_programs_write_them() -> None:
    fill("in/a b.png", "in/b.png", "in/c.png", "in/d.png", "in/back\\slash.png")
    lines = ["\u202aa b.png", "\u201cb.png\u201d", "\ufeff# joined", "\ufeffsub\\..\\c.png", "\xa0d.png\u200e"]
    Path("in/sub").mkdir()
    Path("in/list.txt").write_text("\n".join([*lines, "back\\slash.png", "\u200b", ".\\b.png"]), encoding="utf-8")
    assert found("@in/list.txt") == ["in/a b.png", "in/b.png", "in/c.png", "in/d.png", "in/back\\slash.png"]


def test_a_list_in_a_legacy_code_page_says_so_at_the_names_that_are_not_found() -> None:
    fill("good.png")
    Path("list.txt").write_bytes("good.png\nmüde.png\n".encode("cp1252"))
    inputs = expand(["@list.txt"], PICTURES, Path("out"))
    assert [named.source.name for named in inputs.sources] == ["good.png"]
    assert inputs.failed == [(r"m\udcfcde.png", "list.txt is not in UTF-8 here: save it as UTF-8")]


def test_pictures_in_formats_that_are_not_read_are_counted() -> None:
    fill("in/a.png", "in/b.HEIC", "in/c.heic", "in/d.DNG", "in/e.txt", "in/.f.heic")
    inputs = expand(["in"], PICTURES, Path("out"))
    assert [named.source.name for named in inputs.sources] == ["a.png"]
    assert inputs.unreadable == {".heic": 2, ".dng": 1}


def test_a_line_of_a_list_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    fill("good.png", "home/h.png")
    monkeypatch.setenv("HOME", os.path.abspath("home"))
    monkeypatch.setenv("USERPROFILE", os.path.abspath("home"))
    Path("list.txt").write_text("b\0c.png\n~/h.png\n" + "y" * 5000 + "\n", encoding="utf-8")
    inputs = expand(["@list.txt", "good.png", "~/h.png"], PICTURES, Path("out"))
    assert [named.source.name for named in inputs.sources] == ["h.png", "y" * 5000, "good.png"]
    assert [text for text, _ in inputs.failed] == ["b\0c.png"]


def test_each_file_is_one_input_however_it_is_named() -> None:
    fill("in/a.png", "other/b.png")
    os.symlink("a.png", "in/a link.png")
    os.symlink("../other/b.png", "in/b link.png")
    Path("list.txt").write_text("in/a.png\n./in/../in/a.png\n")
    assert found("in", "in/a.png", "./in/*.png", "in/a link.png", "@list.txt") == ["in/a.png", "in/b link.png"]


def test_linked_folders_are_entered_once_and_broken_links_are_reported() -> None:
    fill("in/z/a.png", "real/r.png", "in/out/old.png", "good.png")
    for target, link in [("../real", "in/linked"), ("..", "in/z/up"), ("z", "in/again"), ("out", "in/to out")]:
        os.symlink(target, link)
    assert found("in", out="in/out", recursive=True) == ["in/z/a.png", "in/linked/r.png"]
    assert found("in/**/*.png", out="in/out") == ["in/linked/r.png", "in/z/a.png"]
    os.symlink("gone.png", "in/broken.png")
    os.symlink("gone", "in/broken")
    os.symlink("gone.txt", "in/notes.txt")
    inputs = expand(["in"], PICTURES, Path("in/out"), recursive=True)
    assert [text for text, _ in inputs.failed] == ["in/broken", "in/broken.png"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes on this system")
def test_pipes_and_devices_that_are_called_as_inputs_are_reported() -> None:
    fill("in/a.png")
    os.mkfifo("in/pipe.png")
    os.mkfifo("in/pipe.txt")
    os.symlink(os.devnull, "in/null.png")
    for text in ("in", "in/*.png", "**/*.png"):
        inputs = expand([text], PICTURES, Path("out"))
        assert [named.source.name for named in inputs.sources] == ["a.png"]
        assert [text for text, _ in inputs.failed] == ["in/null.png", "in/pipe.png"]
        assert all("not a regular file" in reason for _, reason in inputs.failed)


def test_results_are_no_inputs() -> None:
    fill("a.png", "a_pose.png", "a_overlay.png", "a.pose.npz", "a_kps.mp4", "of the user_pose.png", "b_kps.mp4")
    Path("frames").mkdir()
    write_png("marked.PNG", BLACK, MARKED)
    write_png("frames/000001.png", BLACK, MARKED)
    results = {name for name in os.listdir() if is_result(Path(name))}
    assert results == {"a_pose.png", "a_overlay.png", "a_kps.mp4", "a.pose.npz", "marked.PNG", "frames"}
    for texts in (["."], ["*.png", "*.PNG"], sorted(os.listdir())):
        inputs = expand([text for text in texts if text != "b_kps.mp4"], PICTURES, Path("."))
        assert [named.source.name for named in inputs.sources] == ["a.png", "of the user_pose.png"]
        assert inputs.results == (6 if "frames" in texts else 3)
    assert [path.name for path in pictures_in(Path("."))] == ["a.png", "of the user_pose.png"]
    assert [path.name for path in pictures_in(Path("frames"))] == ["000001.png"], "nothing else is there"


@pytest.mark.skipif(sys.platform != "linux", reason="names of arbitrary bytes, case and composition are Linux's")
def test_names_that_only_linux_tells_apart() -> None:
    names = ["a.png", "A.png", unicodedata.normalize("NFC", "é.png"), unicodedata.normalize("NFD", "é.png"), "b\n.png"]
    fill(*(f"in/{name}" for name in names))
    with open(b"in/caf\xe9.png", "wb") as file:
        file.write(b"pixels")
    Path("list.txt").write_bytes(b"in/caf\xe9.png\n")
    assert len(found("in")) == 6
    assert found("@list.txt") == [os.fsdecode(b"in/caf\xe9.png")]


def test_a_folder_that_cannot_be_read_is_one_error() -> None:
    with pytest.raises(InputError, match="nowhere cannot be read: No such file"):
        pictures_in(Path("nowhere"))
