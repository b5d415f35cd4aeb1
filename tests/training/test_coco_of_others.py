"""COCO files of other tools: training and evaluation read the same, and say what they leave out."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from evaluate import main
from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_17
from sdpose_training.data.annotations import read_annotations, read_people
from sdpose_training.data.keypoint_sets import find_keypoint_set
from sdpose_training.evaluation.predictions import Predictions, read_predictions
from sdpose_training.evaluation.protocols import BENCHMARKS
from sdpose_training.evaluation.scoring import score
from sdpose_training.evaluation.tasks import Places, check_pictures, load_task
from sdpose_training.recipe.toml_files import read_toml

Change = Callable[[dict[str, Any]], None]
W, H = 160, 120


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three pictures and their annotations, to be changed by `changed`."""
    (tmp_path / "images").mkdir()
    (tmp_path / "annotations").mkdir()
    for number in (7, 8, 9):
        cv2.imwrite(str(tmp_path / "images" / f"{number:04d}.jpg"), np.full((H, W, 3), 20 * number, np.uint8))
    return tmp_path


def clean() -> dict[str, Any]:
    rng = np.random.default_rng(5)
    annotations = []
    for number in range(6):
        points = np.concatenate([rng.uniform(20, 100, (17, 2)).round(2), np.full((17, 1), 2)], axis=1)
        points[3] = 0
        low, high = points[points[:, 2] > 0, :2].min(axis=0), points[:, :2].max(axis=0)
        box = [*low.tolist(), *(high - low).tolist()]
        annotations.append({
            "id": 100 + number, "image_id": 7 + number % 3, "category_id": 1, "iscrowd": 0, "bbox": box,
            "area": box[2] * box[3], "num_keypoints": 16, "keypoints": points.ravel().tolist(),
        })  # fmt: skip
    images = [{"id": i, "file_name": f"{i:04d}.jpg", "width": W, "height": H} for i in (7, 8, 9)]
    category = {"id": 1, "name": "person", "keypoints": list(COCO_17.names), "skeleton": []}
    return {"images": images, "annotations": annotations, "categories": [category]}


def write(folder: Path, content: dict[str, Any], encoding: str = "utf-8") -> Path:
    path = folder / "annotations" / "val.json"
    path.write_bytes(json.dumps(content).encode(encoding))
    return path


def all_ids(kind: Callable[[int], Any], annotation_kind: Callable[[int], Any] | None = None) -> Change:
    def change(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image["id"] = kind(image["id"])
        for each in content["annotations"]:
            each["image_id"] = (annotation_kind or kind)(each["image_id"])

    return change


def annotations(**values: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        for each in content["annotations"]:
            for key, value in values.items():
                each[key] = value(each[key]) if callable(value) else value

    return change


def images(**values: Callable[[Any], Any]) -> Change:
    def change(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image.update({key: value(image[key]) for key, value in values.items()})

    return change


def without(what: str, *keys: str) -> Change:
    def change(content: dict[str, Any]) -> None:
        content[what] = [{k: v for k, v in each.items() if k not in keys} for each in content[what]]

    return change


def added(count: int, **values: Any) -> Change:
    def change(content: dict[str, Any]) -> None:
        first = content["annotations"][0]
        content["annotations"] += [{**first, "id": 10**6 + i, **values} for i in range(count)]

    return change


def dogs(content: dict[str, Any]) -> None:
    content["categories"].append({"id": 2, "name": "dog", "keypoints": list("abcd"), "skeleton": []})
    added(150, category_id=2, keypoints=[20, 20, 2] * 4)(content)


def nulls(values: list) -> list:
    return [None if i // 3 == 3 else value for i, value in enumerate(values)]


FORMS: dict[str, Change] = {
    "ids as text": all_ids(str),
    "ids as floats": all_ids(float),
    "ids in words": all_ids("img_{}".format),
    "negative ids": all_ids(lambda i: -i),
    "text here, numbers there": all_ids(str, int),
    "leading zeros in one place": all_ids(int, "{:012d}".format),
    "annotation ids in words": annotations(id="{:08x}-abc".format),
    "annotation ids as text": annotations(id=str),
    "no annotation ids": without("annotations", "id"),
    "flags as text": annotations(iscrowd="0"),
    "flags in words": annotations(iscrowd="False"),
    "no flags": annotations(iscrowd=None),
    "counts as text": annotations(num_keypoints=str),
    "counts as floats": annotations(num_keypoints=float),
    "counts that are all 0": annotations(num_keypoints=0),
    "no area and no segmentation": without("annotations", "area"),
    "numbers as text": annotations(bbox=lambda box: [str(value) for value in box]),
    "lists of points": annotations(keypoints=lambda values: np.reshape(values, (-1, 3)).tolist()),
    "null where not labeled": annotations(keypoints=nulls),
    "no visibilities": annotations(keypoints=lambda values: np.reshape(values, (-1, 3))[:, :2].tolist()),
    "sizes as text": images(width=str, height=float),
    "no sizes": without("images", "width", "height"),
    "names with folders": images(file_name="data/train/{}".format),
    "names with backslashes": images(file_name=lambda name: f"C:\\data\\{name}"),
    "names of another suffix": images(file_name=lambda name: name.replace(".jpg", ".PNG")),
    "addresses": images(file_name="https://host/pictures/{}?key=1".format),
    "empty lists of points": added(150, keypoints=[], num_keypoints=0),
    "nothing labeled": added(150, keypoints=[0] * 51, num_keypoints=0),
    "objects without points": added(150, keypoints=None),
    "other categories": dogs,
    "unlisted pictures": added(150, image_id=12345),
    "no categories": lambda content: content.pop("categories"),
    "everything twice": lambda content: content["annotations"].extend(list(content["annotations"])),
    "one id for all": annotations(id=1),
    "names of points in words": lambda content: content["categories"][0].update(
        keypoints=[name.replace("_", " ").title() for name in COCO_17.names]
    ),
    "categories counted from 0": lambda content: content["categories"][0].update(id=0),
}


@pytest.mark.parametrize("form", FORMS)
def test_training_and_evaluation_read_all_forms_alike(folder: Path, form: str) -> None:
    expected, _ = read_people(clean(), folder / "images", COCO_17)
    content = clean()
    FORMS[form](content)
    people, problems = read_people(read_annotations(write(folder, content)), folder / "images", COCO_17)
    assert problems == []
    for name in ("boxes_xyxy", "keypoints", "visibility", "picture_sizes", "areas"):
        np.testing.assert_array_equal(getattr(people, name), getattr(expected, name), name)
    assert people.files == expected.files

    task = load_task(BENCHMARKS["custom"], Places(folder), COCO_17.name)
    check_pictures(task.files)
    assert [task.files[i] for i in task.image_ids] == list(expected.files)
    assert {image["id"] for image in content["images"]} == set(task.files)  # as in the file
    keypoints = np.where(people.visibility[..., None] > 0, people.keypoints, np.nan).astype(np.float64)
    count = len(people)
    exact = Predictions(
        np.arange(count), task.image_ids, keypoints, np.ones((count, 17)), np.linspace(1, 0.5, count),
        np.full((count, 2), 90.0),
    )  # fmt: skip
    figures = score(exact, task.content, task.keypoint_set, nms="none").figures
    assert (figures["AP"], figures["AR"]) == (1, 1)


def test_clean_files_keep_their_whole_numbers_and_order(folder: Path) -> None:
    people, _ = read_people(clean(), folder / "images", COCO_17)
    assert people.annotation_ids.dtype == people.image_ids.dtype == np.int64
    assert people.annotation_ids.tolist() == list(range(100, 106))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_annotations_and_recipes_in_other_encodings(folder: Path, encoding: str) -> None:
    assert len(read_people(read_annotations(write(folder, clean(), encoding)), folder, COCO_17)[0]) == 6
    (folder / "r.toml").write_bytes('name = "ü"\r\n'.encode(encoding))
    assert read_toml(folder / "r.toml") == {"name": "ü"}


def test_one_line_says_who_is_left_out_and_why(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = clean()
    dogs(content)
    added(2, iscrowd=True)(content)
    added(3, keypoints=[])(content)
    added(4, bbox=None)(content)
    with caplog.at_level(logging.INFO):
        read_people(content, folder / "images", COCO_17)
    (line,) = [record.getMessage() for record in caplog.records if "are used" in record.getMessage()]
    assert line == (
        "6 of 165 annotations are used; left out: 150 of other categories, 2 crowds, 3 without keypoints, "
        "4 without a box in the picture"
    )


def test_coordinates_from_0_to_1_are_an_error(folder: Path) -> None:
    content = clean()
    for each in content["annotations"]:
        each["keypoints"] = [v / (W, H)[i % 3] if i % 3 < 2 else v for i, v in enumerate(each["keypoints"])]
        each["bbox"] = [v / (W, H)[i % 2] for i, v in enumerate(each["bbox"])]
    write(folder, content)
    for read in (
        lambda: read_people(content, folder / "images", COCO_17),
        lambda: load_task(BENCHMARKS["custom"], Places(folder), COCO_17.name),
    ):
        with pytest.raises(InputError, match="coordinates from 0 to 1: expected pixels"):
            read()


@pytest.mark.parametrize(
    ("change", "message"),
    [(lambda content: content["categories"][0]["keypoints"].reverse(), "in another order"),
     (annotations(keypoints=lambda values: [*values[:-1], 3]), "visibility 3, expected 0")],
)  # fmt: skip
def test_points_of_another_meaning_are_an_error(folder: Path, change: Change, message: str) -> None:
    content = clean()
    change(content)
    with pytest.raises(InputError, match=message):
        read_people(content, folder / "images", COCO_17)
    with pytest.raises(InputError, match=message):
        load_task(BENCHMARKS["custom"], Places(write(folder, content).parents[1]), COCO_17.name, COCO_17.name)


def test_other_names_and_corners_instead_of_sizes_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    content = clean()
    content["categories"][0]["keypoints"] = [f"p{i}" for i in range(17)]
    annotations(bbox=lambda box: [box[0] + 60, box[1], box[0] + box[2] + 60, box[1] + box[3]])(content)
    read_people(content, folder / "images", COCO_17)
    assert "number 0 is p0, not nose" in caplog.text
    assert "6 of 6 boxes reach beyond their picture" in caplog.text


def test_nobody_left_says_why(folder: Path) -> None:
    content = clean()
    annotations(iscrowd="1")(content)
    with pytest.raises(InputError, match="among 6 annotations; left out: 6 crowds$"):
        read_people(content, folder / "images", COCO_17)


def test_people_are_chosen_among_categories_with_points() -> None:
    dog = {"id": 2, "name": "dog", "keypoints": list("abcd")}
    assert find_keypoint_set("annotations", [dog, *clean()["categories"]]) is COCO_17


def test_two_files_for_one_name_are_an_error(folder: Path) -> None:
    content = clean()
    images(file_name=lambda name: name.replace(".jpg", ".webp"))(content)
    (folder / "images" / "0007.png").touch()
    with pytest.raises(InputError, match=r"0007\.webp: both '0007\.jpg' and '0007\.png' may mean it"):
        read_people(content, folder / "images", COCO_17)


# --- boxes of evaluation ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        lambda boxes: [{"image_id": 7, "category_id": 1, "bbox": box, "score": 1} for box in boxes],
        lambda boxes: [{"image_id": "0007", "category_id": "1", "bbox": box} for box in boxes],
        lambda boxes: [{"file_name": "x/0007.png", "bbox": box, "score": "1"} for box in boxes],
        lambda boxes: {"0007.jpg": [[x, y, x + w, y + h] for x, y, w, h in boxes]},
        lambda boxes: {"images": [{"id": 1, "file_name": "0007.jpg"}], "annotations": [
            {"image_id": "1", "category_id": 1, "bbox": box} for box in boxes]},
        lambda boxes: [{"image_id": 7.0, "bbox": [x / W, y / H, w / W, h / H]} for x, y, w, h in boxes],
    ],
)  # fmt: skip
def test_boxes_of_evaluation(folder: Path, form: Callable[[list], Any]) -> None:
    write(folder, clean())
    boxes = [[8, 6, 80, 60], [16, 12, 40, 30]]
    (folder / "boxes.json").write_text(json.dumps(form(boxes)))
    task = load_task(BENCHMARKS["custom"], Places(folder, boxes="boxes.json"), COCO_17.name)
    np.testing.assert_allclose(task.boxes_xyxy, [[8, 6, 88, 66], [16, 12, 56, 42]], rtol=1e-5)
    assert task.image_ids == (7, 7)
    assert task.box_scores.tolist() == [1, 1]


# --- predictions -----------------------------------------------------------------------------------------------------


def results(content: dict[str, Any]) -> list[dict[str, Any]]:
    """COCO's results: everybody where they are, the third two pixels off."""
    found = []
    for number, each in enumerate(content["annotations"]):
        points = np.reshape(each["keypoints"], (-1, 3)) + [2.0 * (number == 2), 0, 0]
        points[:, 2] = 0.9
        found.append({
            "image_id": each["image_id"], "category_id": 1, "score": 1 - number / 9,
            "keypoints": points.ravel().tolist(),
        })  # fmt: skip
    return found


def evaluated(folder: Path, predictions: Any, *more: str, encoding: str = "utf-8") -> dict[str, Any] | None:
    """The result of `evaluate.py --predictions`, None after an error."""
    (folder / "p.json").write_bytes(json.dumps(predictions).encode(encoding))
    files = ["--predictions", folder / "p.json", "--annotations", folder / "annotations" / "val.json"]
    status = main([*map(str, files), "--out", str(folder / "out.json"), *more])
    return json.loads((folder / "out.json").read_text()) if status == 0 else None


def test_coco_results_are_scored_as_they_are(folder: Path) -> None:
    from faster_coco_eval import COCO, COCOeval_faster

    content = clean()
    twice = [*results(content), {**results(content)[0], "score": 0.2}]  # NMS would drop it
    write(folder, content)
    result = evaluated(folder, twice)
    assert result is not None
    truth = COCO(str(folder / "annotations" / "val.json"))
    official = COCOeval_faster(truth, truth.loadRes(str(folder / "p.json")), "keypoints")
    official.evaluate()
    official.accumulate()
    official.summarize()
    assert [result[name] for name in ("AP", "AP50", "AP75")] == pytest.approx(official.stats[:3].tolist())
    assert (result["settings"]["nms"], result["settings"]["score_mode"]) == ("none", "bbox")
    assert result["counts"]["kept"] == 7
    asked = evaluated(folder, twice, "--nms", "oks")
    assert asked is not None
    assert asked["counts"]["kept"] == 6


@pytest.mark.parametrize(
    "form",
    [
        lambda rows: [{**row, "image_id": str(row["image_id"])} for row in rows],
        lambda rows: [{**row, "image_id": float(row["image_id"])} for row in rows],
        lambda rows: [{**row, "image_id": f"{row['image_id']:04d}.png"} for row in rows],
        lambda rows: [{**row, "keypoints": np.reshape(row["keypoints"], (-1, 3)).tolist()} for row in rows],
        lambda rows: [{**row, "bbox": [1, 2, 3, 4], "area": 3, "id": 5} for row in rows],
        lambda rows: [*rows, {**rows[0], "image_id": 999}],
        lambda rows: {"annotations": rows, "images": []},
        lambda rows: {"annotations": [{**row, "image_id": row["image_id"] - 7} for row in rows],
                      "images": [{"id": i, "file_name": f"other/{i + 7:04d}.jpg"} for i in range(3)]},
    ],
)  # fmt: skip
def test_forms_of_coco_results(folder: Path, form: Callable[[list], Any]) -> None:
    write(folder, clean())
    usual, other = evaluated(folder, results(clean())), evaluated(folder, form(results(clean())), encoding="utf-16")
    assert usual is not None
    assert other is not None
    assert [other[name] for name in ("AP", "AR")] == [usual[name] for name in ("AP", "AR")]


def test_what_evaluate_writes_can_be_read(folder: Path) -> None:
    write(folder, clean())
    first = evaluated(folder, results(clean()), "--save-predictions", str(folder / "saved.json"))
    again = evaluated(folder, json.loads((folder / "saved.json").read_text()), "--nms", "none", "--score-mode", "bbox")
    assert first is not None
    assert again is not None
    assert again["AP"] == first["AP"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda rows: {"AP": 1, "AR": 1, "benchmark": "x"}, "give the file that --save-predictions wrote"),
        (lambda rows: {"mean_oks": 1, "pictures": []}, "give the file that --save-predictions wrote"),
        (lambda rows: [{k: v for k, v in row.items() if k != "score"} for row in rows], "entry 0 lacks 'score'"),
        (lambda rows: [{**row, "score": None} for row in rows], "entry 0 has the score None"),
        (lambda rows: [{**row, "image_id": None} for row in rows], "entry 0 has the image_id None"),
        (lambda rows: [{**row, "keypoints": [1, 2]} for row in rows], "expected keypoints as x, y, score"),
        (lambda rows: [{**row, "image_id": 999} for row in rows], "these predictions are for another annotation file"),
        (lambda rows: {"people": rows}, "expected a list"),
        (lambda rows: [5], "entry 0 lacks 'id'"),
    ],
)
def test_predictions_that_cannot_be_read_are_told_in_one_line(
    folder: Path, change: Callable[[list], Any], message: str, capsys: pytest.CaptureFixture
) -> None:
    write(folder, clean())
    assert evaluated(folder, change(results(clean()))) is None
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert message in line


def test_predictions_from_0_to_1_are_an_error(folder: Path) -> None:
    content = clean()
    shares = [{**each, "keypoints": [v / 160 if i % 3 < 2 else v for i, v in enumerate(each["keypoints"])]}
              for each in results(content)]  # fmt: skip
    (folder / "p.json").write_text(json.dumps(shares))
    with pytest.raises(InputError, match="keypoints from 0 to 1: expected pixels"):
        read_predictions(folder / "p.json")


def test_our_own_export_is_read(tmp_path: Path) -> None:
    """The results file of `sdpose export --to coco`, of 17 and of 133 points."""
    for points, name in ((17, "coco_17"), (133, "coco_wholebody_133")):
        rows = {"image_id": 0, "category_id": 1, "score": 0.5, "bbox": [1, 2, 3, 4], "keypoints": [1, 2, 0.5] * 17}
        if points == 133:
            counts = {"foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
            rows |= {key: [1, 2, 0.5] * count for key, count in counts.items()}
        (tmp_path / "r.json").write_text(json.dumps([rows]))
        assert read_predictions(tmp_path / "r.json").keypoints.shape == (1, points, 2), name
