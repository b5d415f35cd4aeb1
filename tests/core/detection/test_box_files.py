"""Boxes of others: formats, categories, names of pictures, frames, track ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdpose_core.detection.box_files import BoxFile
from sdpose_core.errors import InputError

BOX, XYXY = [10, 20, 30, 40], [10, 20, 40, 60]


def boxes(tmp_path: Path, content: Any) -> BoxFile:
    (tmp_path / "b.json").write_text(json.dumps(content))
    return BoxFile(tmp_path / "b.json")


def found(file: BoxFile, name: str = "a.png") -> list:
    return file.boxes_of(Path(name), True)[:, :4].tolist()


def row(**more: Any) -> dict[str, Any]:
    return {"file_name": "a.png", "bbox": BOX, **more}


# --- who is a person -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "others",
    [
        [row(category_id=1), row(category_id=3, bbox=[0, 0, 9, 9])],
        [row(category_id="1"), row(category_id=62.0)],
        [row(category_name="person"), row(category_name="car")],
        [row(label="Person"), row(label="dog")],
        [row(category_id=1), row(category_id=1, iscrowd="1")],
        {"a.png": [{"bbox": BOX, "category_id": 1}, {"bbox": BOX, "category_id": 2}]},
        {"a.png": {"bboxes": [XYXY, [0, 0, 5, 5]], "labels": [0, 2], "scores": [0.9, 0.8]}},
        {"bboxes": [XYXY, [0, 0, 5, 5]], "labels": [0, 2], "scores": [0.9, 0.8]},
        [{"name": "person", "box": dict(zip(("x1", "y1", "x2", "y2"), XYXY, strict=True)), "confidence": 0.5},
         {"name": "tie", "box": {"x1": 1, "y1": 2, "x2": 3, "y2": 4}}],
        [{"label": "person", "box": dict(zip(("xmin", "ymin", "xmax", "ymax"), XYXY, strict=True)), "score": 0.5},
         {"label": "cat", "box": {"xmin": 1, "ymin": 2, "xmax": 3, "ymax": 4}}],
        [row(class_id=1), row(class_id=3)],
        [row(label=1), row(label=18)],
        {"predictions": [row(category_id=1), row(category_id=2)]},
        {"images": [{"id": "7", "file_name": "x/a.png"}],
         "categories": [{"id": 3, "name": "car"}, {"id": 4, "name": "people"}],
         "annotations": [{"image_id": 7.0, "category_id": i, "bbox": BOX} for i in (3, 4)]},
    ],
)  # fmt: skip
def test_only_people_are_people(tmp_path: Path, others: Any) -> None:
    file = boxes(tmp_path, others)
    assert found(file) == [XYXY]
    assert any("left out" in note for note in file.notes)


@pytest.mark.parametrize("key", ["class", "class_id", "category", "label"])
def test_numbers_of_classes_of_which_none_is_known(tmp_path: Path, key: str) -> None:
    with pytest.raises(InputError, match="found the category ids 0, 2, expected 1"):
        boxes(tmp_path, [row(**{key: 0}), row(**{key: 2})])


def test_a_heading_of_categories_is_none(tmp_path: Path) -> None:
    categories = [{"id": 0, "name": "workers", "supercategory": "none"},
                  {"id": 1, "name": "welder", "supercategory": "workers"}]  # fmt: skip
    content = {"images": [{"id": 1, "file_name": "a.png"}], "categories": categories,
               "annotations": [{"image_id": 1, "category_id": 1, "bbox": BOX}]}  # fmt: skip
    file = boxes(tmp_path, content)
    assert found(file) == [XYXY]
    assert "welder" in file.notes[0]


def test_the_only_category_is_people_with_a_note(tmp_path: Path) -> None:
    content = {"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 9, "name": "skater"}],
               "annotations": [{"image_id": 1, "category_id": 9, "bbox": BOX}]}  # fmt: skip
    file = boxes(tmp_path, content)
    assert (found(file), file.notes) == ([XYXY], ["the only category, 'skater', is taken for people"])
    assert found(boxes(tmp_path, [row(category_id=0)])) == [XYXY]


@pytest.mark.parametrize(
    "content",
    [[row(label="car")], [row(label="Car"), row(label="dog")], {"a.png": {"bboxes": [XYXY], "labels": [2]}},
     {"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 3, "name": "car"}],
      "annotations": [{"image_id": 1, "category_id": 3, "bbox": BOX}]}],
)  # fmt: skip
def test_objects_are_nobody(tmp_path: Path, content: Any) -> None:
    file = boxes(tmp_path, content)
    assert found(file) == []
    assert "boxes that are not people are left out" in file.notes[0]


def test_categories_of_which_none_is_known_are_named(tmp_path: Path) -> None:
    for content in (
        [row(category_id=3)],
        [row(category_id=0), row(category_id=1)],
        [row(label="ball"), row(label="x")],
    ):
        with pytest.raises(InputError, match=r"b\.json holds no boxes of people: found the category ids"):
            boxes(tmp_path, content)


# --- values ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("score", "value"), [(None, 1), ("0.5", 0.5), (0.5, 0.5), (1, 1)])
def test_scores(tmp_path: Path, score: Any, value: float) -> None:
    assert boxes(tmp_path, [row(score=score)]).boxes_of(Path("a.png"), True)[0, 4] == value
    assert boxes(tmp_path, [[*XYXY, score]]).boxes_of(Path("a.png"), True)[0, 4] == value


@pytest.mark.parametrize(
    "content",
    [
        [row(), row(score=float("nan"))],
        [row(), row(bbox=[1, 2, None, 4])],
        [row(), row(bbox=["1", "2", "3", "4"])],
        [row(), row(bbox=None)],
        [row(), {"bbox": BOX}],
        [row(), {"image_id": True, "bbox": BOX}],
        [row(), row(iscrowd="perhaps")],
        [row(), {"keypoints": [1, 2, 2] * 17, "image_id": 1}],
    ],
)
def test_wrong_values_name_their_row_in_one_line(tmp_path: Path, content: Any) -> None:
    with pytest.raises(InputError, match=r"b\.json: entry 1 .*expected") as error:
        boxes(tmp_path, content)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("nobody", [[], {}, {"a.png": []}, {"a.png": None}, {"images": [], "annotations": []}])
def test_nobody(tmp_path: Path, nobody: Any) -> None:
    file = boxes(tmp_path, nobody)
    file.expect([Path("a.png")])
    assert file.boxes_of(Path("a.png"), True).shape == (0, 5)


def test_boxes_from_0_to_1_are_scaled_with_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = boxes(tmp_path, {"a.png": [[0, 0.5, 0.25, 1]], "b.png": [[0, 0, 1, 1]]})
    assert file.boxes_of(Path("a.png"), False, (400, 200)).tolist() == [[0, 100, 100, 200, 1]]
    assert file.boxes_of(Path("b.png"), False, (40, 20)).tolist() == [[0, 0, 40, 20, 1]]
    assert caplog.text.count("from 0 to 1") == 1
    with pytest.raises(InputError, match="from 0 to 1: expected pixels"):
        file.boxes_of(Path("a.png"), False)
    pixels = boxes(tmp_path, {"a.png": [[0, 0, 1, 1]], "b.png": [[0, 0, 50, 50]]})
    assert pixels.boxes_of(Path("a.png"), False, (400, 200)).tolist() == [[0, 0, 1, 1, 1]]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be"])
def test_encodings(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "b.json").write_bytes(json.dumps([row()]).encode(encoding))
    assert found(BoxFile(tmp_path / "b.json")) == [XYXY]


# --- pictures --------------------------------------------------------------------------------------------------------


def test_pictures_without_a_row_have_nobody(tmp_path: Path) -> None:
    file = boxes(tmp_path, [row(file_name="images\\a.png")])
    file.expect([tmp_path / "a.png", tmp_path / "b.png", tmp_path / "c.png"])
    assert found(file, str(tmp_path / "a.png")) == [XYXY]
    assert found(file, str(tmp_path / "b.png")) == []
    assert file.notes == ["2 of 3 pictures are not named: nobody is in them"]


def test_a_file_that_names_none_of_the_pictures(tmp_path: Path) -> None:
    file = boxes(tmp_path, [row(file_name="x.png"), row(file_name="y.png")])
    with pytest.raises(InputError, match=r"no boxes for a\.png, b\.png: it names x\.png, y\.png"):
        file.expect([Path("a.png"), Path("b.png")])


def test_pictures_with_all_boxes_left_out_are_named(tmp_path: Path) -> None:
    file = boxes(tmp_path, [row(category_id=3), row(file_name="b.png", category_id=1)])
    assert found(file) == []


def test_a_name_that_may_mean_two_pictures(tmp_path: Path) -> None:
    file = boxes(tmp_path, {"a": [XYXY]})
    with pytest.raises(InputError, match="'a' may mean both"):
        file.expect([tmp_path / "a.png", tmp_path / "a.jpg"])


# --- frames ----------------------------------------------------------------------------------------------------------


def of_frames(file: BoxFile, names: list[str | None]) -> list[int]:
    """x1 of the only box of each frame, -1 for nobody."""
    people = [file.people_of_frame(i, name)[0] for i, name in enumerate(names)]
    return [int(each[0, 0]) if len(each) else -1 for each in people]


FOLDER: list[str | None] = ["0001.png", "0002.png", "0003.png"]
VIDEO: list[str | None] = [None] * 3


@pytest.mark.parametrize(
    ("keys", "names", "expected"),
    [
        (["0001.png", "0002.png", "0003.png"], FOLDER, [0, 1, 2]),
        (["0001", "0003"], FOLDER, [0, -1, 1]),
        (["x/0001.jpg", "x/0003.jpg"], FOLDER, [0, -1, 1]),
        (["0", "1", "2"], FOLDER, [0, 1, 2]),
        (["1", "2", "3"], FOLDER, [0, 1, 2]),
        (["0", "2"], ["a.png", "b.png", "c.png"], [0, -1, 1]),
        (["frame_0001.png", "frame_0003.png"], ["frame_0001.png", "frame_0002.png", "frame_0003.png"], [0, -1, 1]),
        (["0001", "3"], ["f_0001.png", "f_0002.png", "f_0003.png"], [0, -1, 1]),
        (["1", "2"], ["f_0000.png", "f_0001.png", "f_0002.png"], [-1, 0, 1]),
        (["0", "2"], ["f_0001.png", "f_0002.png", "f_0003.png"], [0, -1, 1]),
        (["1", "3"], ["a.png", "b.png", "c.png"], [-1, 0, -1]),
        (["0", "2"], VIDEO, [0, -1, 1]),
        (["000000.png", "000002.jpg"], VIDEO, [0, -1, 1]),
        (["clip/frame_000000.png", "clip/frame_000002.png"], VIDEO, [0, -1, 1]),
        (["1", "2"], VIDEO, [-1, 0, 1]),
    ],
)
def test_frames_are_found_by_name_or_number(tmp_path: Path, keys: list[str], names: list, expected: list[int]) -> None:
    file = boxes(tmp_path, {key: [[i, 0, 50, 60]] for i, key in enumerate(keys)})
    if names[0]:
        file.expect_frames([tmp_path / name for name in names])
    assert of_frames(file, names) == expected


def test_numbers_that_begin_at_1_are_told(tmp_path: Path) -> None:
    file = boxes(tmp_path, {"1": [XYXY], "2": [XYXY]})
    file.people_of_frame(0)
    file.people_of_frame(1)
    assert [note for note in file.notes if "begin at 1" in note] == file.notes


@pytest.mark.parametrize(
    ("names", "note"),
    [(["f_1.png", "f_2.png", "f_3.png"], "as those in the names"), (["a.png", "b.png", "c.png"], "begin at 1"),
     (["a.png", "b.png"], "beyond the 2 pictures are left out: 1 of 2"),
     (["f_0.png", "f_1.png", "f_2.png"], "")],
)  # fmt: skip
def test_numbers_of_a_folder_that_do_not_begin_at_0_are_told(tmp_path: Path, names: list[str], note: str) -> None:
    file = boxes(tmp_path, {"1": [XYXY], "2": [XYXY]})
    file.expect_frames([tmp_path / name for name in names])
    assert any(note in each for each in file.notes) if note else not file.notes


def test_frames_of_which_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="it names x.png"):
        boxes(tmp_path, {"x.png": [XYXY]}).expect_frames([Path("0001.png")])
    for content in ({"x.png": [XYXY]}, {"a_1": [XYXY], "b_2": [XYXY]}, [XYXY]):
        with pytest.raises(InputError, match="by frame number"):
            boxes(tmp_path, content).people_of_frame(0)


@pytest.mark.parametrize(
    ("tracks", "ids"),
    [([3, 5], [3, 5]), ([3.0, "5"], [3, 5]), (["a", "b"], [0, 1]), ([3, None], None), ([-1, -1], None), ([4, 4], None),
     ([True, 2], None), ([[1], 2], None)],
)  # fmt: skip
def test_track_ids(tmp_path: Path, tracks: list, ids: list | None) -> None:
    file = boxes(tmp_path, [{"image_id": 0, "bbox": BOX, "track_id": track} for track in tracks])
    found = file.people_of_frame(0)[1]
    assert (None if found is None else found.tolist()) == ids


def test_text_tracks_keep_their_number_over_the_frames(tmp_path: Path) -> None:
    rows = [{"image_id": i, "bbox": BOX, "track_id": track} for i, track in enumerate(["ann", "bob", "ann"])]
    file = boxes(tmp_path, rows)
    np.testing.assert_array_equal([file.people_of_frame(i)[1] for i in range(3)], [[0], [1], [0]])


def test_animals_with_keypoints_count_where_there_are_no_people(tmp_path: Path) -> None:
    dog = {"id": 18, "name": "dog", "keypoints": ["nose", "tail"]}
    car, person = {"id": 3, "name": "car"}, {"id": 1, "name": "person", "keypoints": []}
    images = [{"id": 1, "file_name": "a.png"}]
    rows = [{"image_id": 1, "category_id": 18, "bbox": BOX}, {"image_id": 1, "category_id": 3, "bbox": BOX}]
    content = {"images": images, "categories": [dog, car], "annotations": rows}
    file = boxes(tmp_path, content)
    assert (found(file), file.notes) == ([XYXY], ["boxes that are not people are left out: 1 of category car"])
    assert found(boxes(tmp_path, {**content, "categories": [dog, car, person]})) == []
    assert found(boxes(tmp_path, {**content, "categories": [{**dog, "keypoints": []}, car]})) == []
