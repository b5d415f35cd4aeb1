"""One order of names, one form, and lengths that the file system takes."""

from __future__ import annotations

import os
import unicodedata
from pathlib import Path

import pytest

from sdpose_core.errors import InputError
from sdpose_core.files import atomic_write, remove_abandoned
from sdpose_core.names import (
    distinct_names,
    fitted_name,
    folded,
    in_natural_order,
    is_hidden,
    name_limit,
    output_name,
    path_inside,
)


def test_numbers_sort_as_numbers_and_case_does_not_matter():
    names = ["Frame10.png", "frame2.png", "frame1.png", "a/10.png", "a/9.png", "٣.png", "b.png"]
    ordered = [path.as_posix() for path in in_natural_order(Path(name) for name in names)]
    assert ordered == ["a/9.png", "a/10.png", "b.png", "frame1.png", "frame2.png", "Frame10.png", "٣.png"]


def test_the_order_does_not_depend_on_composition():
    names = ["a10", "Ä2", "Ä10"]
    for form in ("NFC", "NFD"):
        shuffled = [Path(unicodedata.normalize(form, name)) for name in reversed(names)]
        assert [folded(path.name) for path in in_natural_order(shuffled)] == [folded(name) for name in names]


@pytest.mark.parametrize("name", ["._a.png", ".hidden", "__MACOSX/a.png", "x/__MACOSX/y/a.png"])
def test_hidden(name):
    assert is_hidden(Path(name)) and not is_hidden(Path("a.png"))


def test_a_fitted_name_is_short_whole_characters_and_unique():
    long, other = "踊" * 81, "踊" * 80 + "舞"
    assert fitted_name("a" * 50, 50) == "a" * 50
    fitted = {fitted_name(name, 100) for name in (long, other)}
    assert len(fitted) == 2 and all(len(name.encode()) <= 100 and name.startswith("踊" * 30) for name in fitted)
    assert fitted_name(long, 100) in fitted  # the same every time


@pytest.mark.parametrize("character", ["a", "é", "踊", "🕺"])
def test_all_our_suffixes_fit_behind_an_output_name(character, tmp_path):
    limit = name_limit(tmp_path)
    name = output_name(character * (limit // len(character.encode())), tmp_path)
    for suffix in ("_keypoints.json", "_overlay.mp4", ".partial.pose.npz", "_overlay.png"):
        with atomic_write(tmp_path / f"{name}{suffix}") as file:
            file.write(b"x")
    (tmp_path / f".{name}.sdpose").mkdir()
    assert len(os.listdir(tmp_path)) == 5


def test_leftovers_of_long_names_are_found(tmp_path):
    name = "踊" * 80 + ".png"
    with pytest.raises(KeyboardInterrupt), atomic_write(tmp_path / name) as file:
        kept = Path(file.name)
        raise KeyboardInterrupt
    kept.parent.mkdir()
    kept.write_bytes(b"half")
    remove_abandoned(tmp_path)
    assert not os.listdir(tmp_path)


OUTSIDE = (
    "../x.json", "a/../../x.json", "/etc/passwd", "~/x.json", "C:/x.json", "c:x.json", "..\\x.json", "\\\\host\\x",
    "..",
)  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_names_that_leave_the_folder_are_refused(name, tmp_path):
    with pytest.raises(InputError, match="the list names .* lies outside"):
        path_inside(tmp_path, name, "the list names")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "expected the name of a file"),
        (".", "expected the name of a file"),
        ("a\0b", "cannot be printed"),
        ("a\nb", "cannot be printed"),
        ("\x1b[31mred", "cannot be printed"),
        ("x" * 300, "more than 255 bytes"),
        (f"a/{'踊' * 100}/b", "more than 255 bytes"),
        (".ssh/authorized_keys", "begin with a dot"),
        ("a/.git/config", "begin with a dot"),
    ],
)
def test_other_names_that_are_refused(name, message, tmp_path):
    with pytest.raises(InputError, match=message):
        path_inside(tmp_path, name, "the list names", hidden=False)


@pytest.mark.parametrize("name", ["a.json", "unet/config.json", "a b/c..d/é", "...", "12:30.png", "./a.json"])
def test_names_inside_are_paths_below_the_folder(name, tmp_path):
    assert path_inside(tmp_path, name, "the list names") == tmp_path / name


def test_the_limit_of_a_folder_that_does_not_exist_yet(tmp_path):
    assert name_limit(tmp_path / "a" / "b") == name_limit(tmp_path)


def test_names_stay_short_where_they_are_distinct():
    pairs = [("a", "a.jpg"), ("a", "a.png"), ("b", "b.png"), ("a.jpg", "a.jpg.png"), ("b", "b.png")]
    assert distinct_names(pairs) == ["a.jpg", "a.png", "b", "a.jpg.png", "b"]


@pytest.mark.parametrize("first, second", [("a.png", "A.PNG"), ("é.png", "e\u0301.png"), ("x/a.png", "X/a.png")])
def test_names_that_some_systems_take_for_one_differ(first, second):
    names = distinct_names([(Path(name).with_suffix("").as_posix(), name) for name in (first, second)])
    assert len({folded(name) for name in names}) == 2 and names[0] == first
