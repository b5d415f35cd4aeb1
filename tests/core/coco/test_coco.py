"""COCO files of others: ids, names, flags, categories, keypoints."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdpose_core.coco.annotations import Coco
from sdpose_core.coco.categories import keypoint_categories, people_ids
from sdpose_core.coco.files import picture_paths
from sdpose_core.coco.names import BARE, NameTable
from sdpose_core.coco.people import read_person
from sdpose_core.coco.values import IdTable, read_flag, read_id
from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133, KeypointSet

FOUR = KeypointSet("four", ("a", "b", "c", "d"))
POINTS = [10, 20, 2, 30, 40, 1, 0, 0, 0, 50, 60, 2]


# --- ids and flags ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "known"),
    [(785, 785), ("785", 785), (785.0, 785), ("785.0", 785), (" 785 ", 785), (-3, -3), ("-3", -3), (0, 0),
     ("000000000785", "000000000785"), ("img_785", "img_785"), ("6e1c-77", "6e1c-77"), ("1e3", "1e3")],
)  # fmt: skip
def test_ids_have_one_form(value: Any, known: Any) -> None:
    assert read_id(value) == known
    assert type(read_id(value)) is type(known)


@pytest.mark.parametrize("value", [None, True, [1], {}, 1.5, float("nan"), float("inf"), "", "  ", 1 << 63])
def test_what_is_no_id(value: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        read_id(value)


def test_ids_are_found_as_others_write_them_and_stay_as_they_are() -> None:
    table = IdTable(["0785", 12.0, "7", "007", "a"])
    assert [table.find(each) for each in (785, "785", "000785", 12, "12", "012", 7, "7", "007", "a")] == [
        "0785", "0785", "0785", 12, 12, 12, "7", "7", "007", "a",
    ]  # fmt: skip
    assert table.find("00007") is None  # "7" or "007"
    assert table.find("b") is None


@pytest.mark.parametrize(
    ("value", "flag"),
    [(0, False), (1, True), ("0", False), ("1", True), (0.0, False), ("false", False), ("True", True), (None, False),
     (True, True), ("", False), (float("nan"), False)],
)  # fmt: skip
def test_flags(value: Any, flag: bool) -> None:
    assert read_flag(value) is flag


# --- names -----------------------------------------------------------------------------------------------------------

NFD = unicodedata.normalize("NFD", "Zoë.png")


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("images/a.png", "/data/other/a.png"),
        ("images\\sub\\a.png", "a.png"),
        ("C:\\data\\a.png", "/home/x/a.png"),
        ("https://host/bucket/my%20a.png?version=2", "my a.png"),
        ("s3://bucket/a.png", "a.png"),
        ("./a.png", "a.png"),
        ("a.jpg", "a.png"),
        ("a", "a.png"),
        ("A.PNG", "a.png"),
        (NFD, "Zoë.png"),
        ("Zoë.JPG", NFD),
        (785, "000000000785.jpg"),
        (785, "COCO_val2014_000000000785.jpg"),
        ("000000000785.jpg", "COCO_val2014_000000000785.jpg"),
        ("COCO_train2014_000000000785", "000000000785.png"),
        ("0f1e2d3c-a.jpg", "a.jpg"),
        ("a_jpg.rf.0123456789abcdef0123456789abcdef.jpg", "a.jpg"),
        ("v1.2_frame.png", "v1.2_frame.jpg"),
    ],
)
def test_names_of_others_are_found(name: Any, wanted: str) -> None:
    match = NameTable([name, "other.png", "v1.3_frame.png"]).find(wanted)
    assert match is not None
    assert match[0] == name


def test_names_that_mean_something_else_are_not_found() -> None:
    table = NameTable(["a.png", "frame_0785.png", 12])
    for wanted in ("aa.png", "785.png", "frame_12.png", "0013.png"):
        assert table.find(wanted) is None
    assert NameTable([785]).find("000785.png", BARE) is None


def test_the_exact_name_comes_first_and_what_is_open_is_an_error() -> None:
    table = NameTable(["A.png", "a.png", "x/b.png", "y/b.png", "c.png", "c.jpg"])
    assert table.find("a.png") == ("a.png", 0)
    assert table.find("/data/y/b.png")[0] == "y/b.png"  # type: ignore[index]
    with pytest.raises(InputError, match=r"both 'x/b\.png' and 'y/b\.png'"):
        table.find("z/b.png")
    with pytest.raises(InputError, match=r"both 'c\.png' and 'c\.jpg'"):
        table.find("c.webp")


def test_a_name_goes_to_whom_it_fits_best() -> None:
    table = NameTable(["a.png", "b"])
    assert table.assign(["/d/a.png", "/d/a.jpg"]) == {"/d/a.png": "a.png"}
    with pytest.raises(InputError, match="'b' may mean both"):
        table.assign(["/d/b.png", "/d/b.jpg"])
    assert NameTable(["x/a.png"]).assign(["/d/x/a.png", "/d/y/a.png"]) == {"/d/x/a.png": "x/a.png"}


def test_picture_files_under_other_names(tmp_path: Path) -> None:
    for name in ("plain.jpg", "sub/deep.jpg", NFD, "other.PNG"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    names = ["plain.jpg", "images/plain.jpg", "sub\\deep.jpg", "Zoë.png", "other.jpg", "absent.jpg"]
    found = picture_paths(names[:1] + names[2:], tmp_path)
    assert [path.name for path in found] == ["plain.jpg", "deep.jpg", NFD, "other.PNG", "absent.jpg"]
    assert all(path.is_file() for path in found[:-1])
    assert picture_paths(names[1:2], tmp_path) == [tmp_path / "plain.jpg"]
    assert picture_paths(["a.jpg"], tmp_path / "absent") == [tmp_path / "absent" / "a.jpg"]


# --- annotations -----------------------------------------------------------------------------------------------------


def coco(images: list, annotations: list, **more: Any) -> Coco:
    return Coco.of({"images": images, "annotations": annotations, **more})


def person(**more: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "category_id": 1, "bbox": [5, 5, 60, 70], "keypoints": POINTS, **more}


IMAGE = {"id": 1, "file_name": "a.png", "width": 100, "height": 80}


def test_two_pictures_with_one_id_are_an_error_however_it_is_written() -> None:
    with pytest.raises(InputError, match=r"the id 1 \(also as '1'\): give each picture a unique id"):
        coco([IMAGE, {**IMAGE, "id": "1"}], [])


def test_annotations_of_pictures_that_are_not_listed_are_counted() -> None:
    found = coco([IMAGE], [person(), person(image_id=2), person(image_id="x")]).people(FOUR, crowds=False)
    assert (len(found.people), found.problems) == (1, [])
    assert found.reasons() == "2 of pictures that the file does not list"


@pytest.mark.parametrize("image_id", [1, "1", 1.0, "01"])
def test_annotations_find_their_picture(image_id: Any) -> None:
    assert coco([IMAGE], [person(image_id=image_id)]).annotations[0].image.id == 1


@pytest.mark.parametrize(
    "change",
    [{"keypoints": []}, {"keypoints": None}, {"iscrowd": "1"}, {"category_id": 2, "keypoints": [1, 2, 2] * 9}],
)
def test_who_is_no_labeled_person_is_no_damage(change: dict) -> None:
    categories = [{"id": 1, "name": "Person"}, {"id": 2, "name": "dog", "keypoints": list("abcdefghi")}]
    found = coco([IMAGE], [person(), person(id=2, **change)], categories=categories).people(FOUR, crowds=False)
    assert (len(found.people), found.problems, found.left_out.total()) == (1, [], 1)


@pytest.mark.parametrize(
    "keypoints",
    [
        [[10, 20, 2], [30, 40, 1], [0, 0, 0], [50, 60, 2]],
        ["10", "20", "2", "30", "40", "1", "0", "0", "0", "50", "60", "2"],
        [10, 20, 2.0, 30, 40, True, None, None, 0, 50, 60, 2],
        [10, 20, 2, 30, 40, 1, None, None, None, 50, 60, 2],
        [10, 20, 2, 30, 40, 1, float("nan"), float("nan"), "0", 50, 60, "2"],
        [[10, 20], [30, 40], [0, 0], [50, 60]],
        [[10, 20], [30, 40], [None, None], [50, 60]],
        [10, 20, 30, 40, 0, 0, 50, 60],
    ],
)
def test_keypoints_in_other_forms(keypoints: list) -> None:
    points = read_person(person(keypoints=keypoints), FOUR).points
    assert points[:, :2].tolist() == [[10, 20], [30, 40], [0, 0], [50, 60]]
    assert (points[:, 2] > 0).tolist() == [True, True, False, True]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": [None, 20, 2, *POINTS[3:]]}, "keypoints that are not numbers"),
        ({"keypoints": ["x", 20, 2, *POINTS[3:]]}, "keypoints that are not numbers"),
        ({"keypoints": POINTS[:9]}, "9 keypoint values instead of 12"),
        ({"keypoints": [[1, 2, 2, 2]] * 4}, "x, y, visibility of each point"),
        ({"keypoints": "1 2 2"}, "expected a list of numbers"),
        ({"bbox": [1, 2, float("nan"), 4]}, "bbox is"),
        ({"area": "large"}, "area is 'large'"),
        ({"keypoints": [0.1, 0.2, 2, 0.3, 0.4, 2, 0, 0, 0, 0.5, 1, 2]}, "from 0 to 1: expected pixels"),
        ({"bbox": [0.1, 0.2, 0.5, 0.6]}, "from 0 to 1: expected pixels"),
    ],
)
def test_damage_is_named_once(change: dict, message: str) -> None:
    found = coco([IMAGE], [person(), person(id="x", **change)]).people(FOUR, crowds=False)
    assert len(found.people) == len(found.problems) == 1
    assert found.problems[0].startswith("annotation x of a.png: ")
    assert message in found.problems[0]


def test_sizes_as_text_and_absent() -> None:
    images = [{**IMAGE, "width": "100", "height": 80.0}, {"id": 2, "width": 3}]
    assert coco(images, []).sizes() == {1: (100, 80)}
    with pytest.raises(InputError, match=r"picture 1 has the width and height \('wide', 80\)"):
        coco([{**IMAGE, "width": "wide"}], []).sizes()


@pytest.mark.parametrize(
    ("categories", "used", "chosen"),
    [
        ([], [1], {1}),
        ([{"id": 1, "name": "person", "keypoints": list("abcd")}, {"id": 2, "name": "dog"}], [1, 2], {1}),
        ([{"id": "1", "name": "Human"}, {"id": 2.0, "name": "car"}], ["1", 2], {1}),
        ([{"id": 3, "name": "dog", "keypoints": list("abcd")}, {"id": 4, "name": "x", "keypoints": ["q"]}],
         [3, 4], {3}),
        ([{"id": 3, "name": "dog", "keypoints": list("abcd")}, {"id": 4, "name": "cat", "keypoints": list("abcd")}],
         [3, 4], {3, 4}),
        ([{"id": 7, "name": "person", "keypoints": list("abc")}, {"id": 8, "name": "pen", "keypoints": list("wxyz")}],
         [7, 8], {8}),
        ([{"id": 0, "name": "person"}], [1], {1}),  # counted from 1 in the annotations
    ],
)  # fmt: skip
def test_categories_of_a_keypoint_set(categories: list, used: list, chosen: set) -> None:
    annotations = [person(category_id=each) for each in used]
    assert keypoint_categories(categories, annotations, FOUR) == chosen


def test_categories_of_other_points_are_named() -> None:
    categories = [{"id": i, "name": name, "keypoints": list(name)} for i, name in enumerate(("wxyz", "efgh"))]
    with pytest.raises(InputError, match=r"several categories have 4 keypoints .*\(efgh, wxyz\): keep only one"):
        keypoint_categories(categories, [], FOUR)


def test_whole_bodies_name_only_the_points_of_the_body() -> None:
    categories = [{"id": 1, "name": "person", "keypoints": list(COCO_17.names)}, {"id": 2, "name": "dog"}]
    assert keypoint_categories(categories, [person()], COCO_WHOLEBODY_133) == {1}


def test_people_among_categories() -> None:
    assert people_ids({1, 3, 62}, {}, "f") == ({1}, None)
    assert people_ids({5}, {5: "player"}, "f")[0] == {5}
    assert people_ids({0}, {}, "f")[0] == {0}
    for found, names in (({3}, {}), ({0, 1}, {}), ({1, 2}, {1: "ball", 2: "player"})):
        with pytest.raises(InputError, match="found the category ids"):
            people_ids(found, names, "f")


def test_ids_of_another_file() -> None:
    own = coco([IMAGE, {"id": "x7", "file_name": "b.png"}], [])
    assert own.ids_of({"1": "1", "x7": "x7", "b.jpg": "b.jpg", 9: 9}) == {"1": 1, "x7": "x7", "b.jpg": "x7"}
    assert own.ids_of({1: "img/b.png", 2: "img/a.png"}) == {1: "x7", 2: 1}  # other numbers, the same names
    assert own.ids_of({1: "frame_1.png"}) == {1: 1}
    twins = coco([{"id": "0001", "file_name": "x/0001.jpg"}, {"id": "0002", "file_name": "y/0001.jpg"}], [])
    assert twins.ids_of({"0001": "0001"}) == {"0001": "0001"}


def test_json_of_any_encoding_is_the_same(tmp_path: Path) -> None:
    from sdpose_core.coco.annotations import read_coco

    text = json.dumps({"images": [IMAGE], "annotations": [person()]})
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le"):
        (tmp_path / "a.json").write_bytes(text.encode(encoding))
        assert len(Coco.of(read_coco(tmp_path / "a.json")).annotations) == 1
    np.testing.assert_array_equal(read_person(person(), FOUR).bbox_xywh, [5, 5, 60, 70])
