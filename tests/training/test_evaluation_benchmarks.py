"""Benchmarks besides the paper's: CrowdPose, OCHuman, HumanArt by scenario, COCO with ground-truth boxes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from random_truth import random_found, random_truth
from stand_ins import StandInEstimator

from evaluate import main
from sdpose_core.coco.annotations import Coco
from sdpose_core.images import write_png
from sdpose_core.poses import Poses
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133
from sdpose_training.data.truth import read_truth
from sdpose_training.evaluation import run as evaluation
from sdpose_training.evaluation.departures import departures
from sdpose_training.evaluation.picture_groups import SCENARIOS, group_figures, picture_groups
from sdpose_training.evaluation.picture_matches import MATCH_FIGURES, match_pictures
from sdpose_training.evaluation.predictions import Predictions, write_predictions
from sdpose_training.evaluation.protocols import BENCHMARKS, scored_set
from sdpose_training.evaluation.scored_points import CROWDPOSE_12, CROWDPOSE_14, as_crowdpose, scored_points
from sdpose_training.evaluation.scoring import score
from sdpose_training.evaluation.tasks import Places, load_task

PAPER = {"predictor": {"settings": {"flip_test": True, "crop": "affine", "input_size": [768, 1024]}}}


def crowdpose(pictures: int = 30) -> dict[str, Any]:
    """A file like CrowdPose's: 14 points, no area, a crowd index per picture, people without points."""
    truth = random_truth(pictures)
    rng = np.random.default_rng(0)
    points = truth.keypoints[:, :14].copy()
    annotations = [
        {
            "id": i + 1, "image_id": truth.image_ids[i], "category_id": 1, "iscrowd": 0,
            "bbox": truth.boxes_xywh[i].tolist(), "keypoints": points[i].ravel().tolist(),
            "num_keypoints": int((points[i, :, 2] > 0).sum()),
        }
        for i in range(len(truth.ids))
    ]  # fmt: skip
    images = [
        {"id": i, "file_name": f"{i}.png", "width": 640, "height": 640, "crowdIndex": round(float(rng.uniform()), 2)}
        for i in truth.picture_ids
    ]
    names = [*COCO_17.names[5:], "head", "neck"]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person", "keypoints": names}],
    }


def found_in(content: dict[str, Any], points: int, error: float = 6) -> Predictions:
    """Everybody with labeled points, some pixels off; of 17 points the last twelve are those of CrowdPose."""
    rng = np.random.default_rng(1)
    content = {"annotations": [each for each in content["annotations"] if each["num_keypoints"]]}
    known = np.asarray([each["keypoints"] for each in content["annotations"]]).reshape(-1, 14, 3)
    keypoints = rng.uniform(0, 500, (len(known), points, 2))
    moved = known[..., :2] + rng.normal(0, error, known[..., :2].shape)
    if points == 14:
        keypoints = moved
    else:
        keypoints[:, 5:17] = moved[:, :12]
    count = len(known)
    ids = tuple(each["image_id"] for each in content["annotations"])
    scores = rng.permutation(count) / count
    return Predictions(np.arange(count), ids, keypoints, np.ones((count, points)), scores, np.full((count, 2), 90.0))


# --- CrowdPose -----------------------------------------------------------------------------------------------------


def test_crowdpose_has_cocos_limbs_and_two_more() -> None:
    assert CROWDPOSE_14.names[:12] == CROWDPOSE_12.names == COCO_17.names[5:]
    assert CROWDPOSE_14.names[12:] == ("head", "neck")
    tenths = [0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87, 0.89, 0.89, 0.79, 0.79]
    assert [10 * sigma for sigma in CROWDPOSE_14.sigmas] == pytest.approx(tenths)
    assert CROWDPOSE_14.flip_indices.tolist() == [1, 0, 3, 2, 5, 4, 7, 6, 9, 8, 11, 10, 12, 13]
    links = {frozenset((CROWDPOSE_14.names[a], CROWDPOSE_14.names[b])) for a, b in CROWDPOSE_14.links}
    assert {frozenset(("left_ankle", "left_knee")), frozenset(("head", "neck"))} <= links


@pytest.mark.parametrize(
    ("predicted", "scored"),
    [("coco_17", "crowdpose_12"), ("coco_wholebody_133", "crowdpose_12"), ("person_14", "crowdpose_14")],
)
def test_which_points_of_crowdpose_are_scored(predicted: str, scored: str) -> None:
    assert scored_set(BENCHMARKS["crowdpose"], predicted) == scored


def test_which_predicted_points_they_are() -> None:
    assert scored_points(CROWDPOSE_12, 17) == scored_points(CROWDPOSE_12, 133) == list(range(5, 17))
    assert scored_points(CROWDPOSE_14, 14) == list(range(14))
    assert scored_points(CROWDPOSE_14, 17) is None
    assert scored_points(COCO_17, len(COCO_WHOLEBODY_133)) == list(range(17))


def test_crowdpose_is_scored_as_by_its_own_evaluation() -> None:
    """faster-coco-eval has the rules of CrowdPose's evaluation, with its areas and its levels of crowding."""
    faster = pytest.importorskip("faster_coco_eval", reason="the scorer is of the extra train")
    content = crowdpose()
    found = found_in(content, 14)
    scored = score(
        found, as_crowdpose(content, CROWDPOSE_14), CROWDPOSE_14, nms="none", score_mode="bbox", grouping="crowdpose"
    )
    results = [
        {
            "id": i + 1, "image_id": found.image_ids[i], "category_id": 1, "score": float(found.box_scores[i]),
            "keypoints": np.concatenate([found.keypoints[i], np.ones((14, 1))], axis=1).ravel().tolist(),
        }
        for i in range(len(found))
    ]  # fmt: skip
    truth = faster.COCO(content)
    theirs = faster.COCOeval_faster(
        truth, truth.loadRes(results), "keypoints_crowd", kpt_oks_sigmas=list(CROWDPOSE_14.sigmas), use_area=False
    )
    theirs.evaluate()
    theirs.accumulate()
    theirs.summarize()
    stats = dict(zip(("AP", "AP50", "AP75", "AR", "AR50", "AR75", "easy", "medium", "hard"), theirs.stats, strict=True))
    ours = {name: scored.figures[name] for name in MATCH_FIGURES}
    ours |= {level: group["AP"] for level, group in scored.groups["crowding"].items()}
    assert 0.1 < ours["AP"] < 0.9
    assert ours == pytest.approx(stats, abs=5e-5)  # theirs are rounded to four digits by level


def test_models_with_cocos_points_are_scored_on_the_limbs() -> None:
    content = crowdpose()
    twelve = as_crowdpose(content, CROWDPOSE_12)
    truth = read_truth(twelve, CROWDPOSE_12)
    boxes = np.asarray([each["bbox"] for each in content["annotations"]])
    np.testing.assert_allclose(truth.areas, 0.53 * boxes[:, 2] * boxes[:, 3])
    assert truth.labeled.tolist() == [int((k[:, 2] > 0).sum()) for k in truth.keypoints]
    exact = found_in(content, 17, error=0).points(scored_points(CROWDPOSE_12, 17) or [])
    assert score(exact, twelve, CROWDPOSE_12, nms="none").figures["AP"] == pytest.approx(1)
    assert len(content["annotations"][0]["keypoints"]) == 42, "the file itself is left alone"


def test_crowdpose_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    content = crowdpose()
    (tmp_path / "a.json").write_text(json.dumps(content))
    write_predictions(found_in(content, 17, error=0), tmp_path / "p.json")
    given = ["--predictions", str(tmp_path / "p.json"), "--annotations", str(tmp_path / "a.json")]
    assert main([*given, "--benchmark", "crowdpose", "--nms", "none", "--out", str(tmp_path / "r.json")]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["settings"]["keypoint_set"] == "crowdpose_12" and result["AP"] == pytest.approx(1)
    assert list(result["groups"]["crowding"]) == ["easy", "medium", "hard"]
    assert sum(group["pictures"] for group in result["groups"]["crowding"].values()) == 30
    assert result["paper_comparable"] is False
    shown = " ".join(capsys.readouterr().out.split())
    assert "by crowding pictures p AP p AR easy" in shown
    assert "the paper has no figures for crowdpose" in shown and "12 of crowdpose's 14 points" in shown


class Limbs(StandInEstimator):
    """Finds the annotated person whose box it gets; of COCO's 17 points, those of CrowdPose."""

    name = "limbs"
    keypoint_set = COCO_17.name

    def __init__(self, content: dict[str, Any]) -> None:
        self.people = {tuple(each["bbox"]): each for each in content["annotations"]}

    def estimate(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray], **_: Any) -> list[Poses]:
        return [self._poses(image, own) for image, own in zip(images, boxes, strict=True)]

    def _poses(self, image: np.ndarray, boxes: np.ndarray) -> Poses:
        points = np.zeros((len(boxes), 17, 2), np.float32)
        for found, (x1, y1, x2, y2) in zip(points, boxes.tolist(), strict=True):
            known = self.people[x1, y1, x2 - x1, y2 - y1]["keypoints"]
            found[5:] = np.reshape(known, (-1, 3))[:12, :2]
        scored = np.concatenate([boxes, np.ones((len(boxes), 1))], axis=1)
        return Poses(points, np.ones((len(boxes), 17)), scored, image.shape[1::-1], self.keypoint_set)


def test_a_run_on_crowdpose_with_its_detections(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = crowdpose(pictures=3)
    for each in content["annotations"]:
        each["bbox"] = [round(value) for value in each["bbox"]]
    root = tmp_path / "crowdpose"
    (root / "annotations").mkdir(parents=True)
    (root / "images").mkdir()
    for image in content["images"]:
        write_png(root / "images" / image["file_name"], np.zeros((640, 640, 3), np.uint8))
    (root / "annotations" / "mmpose_crowdpose_test.json").write_text(json.dumps(content))
    people = [each for each in content["annotations"] if each["num_keypoints"]]
    boxes = [{"image_id": p["image_id"], "category_id": 1, "bbox": p["bbox"], "score": 0.9} for p in people]
    (root / "annotations" / "det_for_crowd_test_0.1_0.5.json").write_text(json.dumps(boxes))
    monkeypatch.setattr(evaluation, "load_peer", lambda spec, **options: Limbs(content))
    asked = ["--peer", "limbs", "--benchmark", "crowdpose", "--data.root", str(tmp_path)]
    assert main([*asked, "--out", str(tmp_path / "r.json")]) == 0
    result = json.loads((tmp_path / "r.json").read_text())
    assert result["AP"] == pytest.approx(1) and result["settings"]["keypoint_set"] == "crowdpose_12"
    assert result["settings"]["boxes"] == "det_for_crowd_test_0.1_0.5.json"
    assert result["departures"][1:3] == [
        "3 of 8,000 pictures", "12 of crowdpose's 14 points: COCO has neither its head nor its neck"
    ]  # fmt: skip


# --- groups of pictures --------------------------------------------------------------------------------------------


def humanart(*names: str, **entries: Any) -> Coco:
    images = [{"id": n, "file_name": name, **entries} for n, name in enumerate(names)]
    return Coco.of({"images": images, "annotations": []})


def test_humanart_by_scenario() -> None:
    groups = picture_groups(
        humanart(
            "HumanArt/images/2D_virtual_human/oil_painting/000000000000.jpg",
            "HumanArt/images/3D_virtual_human/garage_kits/1.jpg",
            "HumanArt/images/real_human/dance/1.jpg",
            "HumanArt/images/2D_virtual_human/cartoon/1.jpg",
        ),
        "humanart",
    )
    assert groups["scene"] == {"natural": [2], "artificial": [0, 1, 3], "artificial 2D": [0, 3], "artificial 3D": [1]}
    assert list(groups["scenario"].items()) == [
        ("dance", [2]), ("cartoon", [3]), ("oil painting", [0]), ("garage kits", [1])
    ]  # fmt: skip
    assert sum(map(len, SCENARIOS.values())) == 19


def test_humanart_says_scenarios_in_its_entries_too(caplog: pytest.LogCaptureFixture) -> None:
    assert picture_groups(humanart("1.jpg", category="kids drawing"), "humanart") == {
        "scene": {"artificial": [0], "artificial 2D": [0]}, "scenario": {"kids drawing": [0]}
    }  # fmt: skip
    assert picture_groups(humanart("coco/val2017/1.jpg"), "humanart") == {}
    assert "1 of 1 pictures are in no group of humanart" in caplog.text


def test_ochuman_by_overlap() -> None:
    boxes = {0: [[0, 0, 10, 10], [0, 0, 10, 8]], 1: [[0, 0, 10, 10], [4, 0, 10, 10], [50, 50, 5, 5]], 2: [[0, 0, 9, 9]]}
    images = [{"id": n, "file_name": f"{n}.jpg"} for n in boxes]
    annotations = [{"id": 10 * n + k, "image_id": n, "bbox": b} for n, bs in boxes.items() for k, b in enumerate(bs)]
    groups = picture_groups(Coco.of({"images": images, "annotations": annotations}), "ochuman")
    assert groups == {"overlap": {"up to 0.75": [1], "above 0.75": [0]}}


def test_groups_have_the_figures_of_their_pictures() -> None:
    truth = random_truth()
    matches = match_pictures(truth, random_found(truth, error=15), COCO_17.sigmas)
    some = list(truth.picture_ids[:25])
    group = group_figures(matches, {"half": {"first": some, "nobody": []}})["half"]
    assert {name: group["first"][name] for name in MATCH_FIGURES} == matches.figures(matches.weights_of(some))
    assert (group["first"]["pictures"], group["first"]["annotated_people"]) == (25, matches.people[:25].sum())
    assert group["nobody"] == {**dict.fromkeys(MATCH_FIGURES), "pictures": 0, "annotated_people": 0}


# --- files and what differs from the paper -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ochuman", "OCHuman/annotations/ochuman_coco_format_test_range_0.00_1.00.json"),
        ("ochuman-val", "OCHuman/annotations/ochuman_coco_format_val_range_0.00_1.00.json"),
        ("coco-gt-boxes", "COCO/annotations/person_keypoints_val2017.json"),
    ],
)
def test_where_benchmarks_with_annotated_boxes_are(name: str, file: str, tmp_path: Path) -> None:
    content = {
        "images": [{"id": 1, "file_name": "1.jpg", "width": 640, "height": 640}],
        "categories": [{"id": 1, "name": "person"}],
        "annotations": [
            {"id": 1, "image_id": 1, "category_id": 1, "bbox": [10, 10, 50, 80], "area": 900, "iscrowd": 0,
             "keypoints": [20, 20, 2] * 17, "num_keypoints": 17},
            {"id": 2, "image_id": 1, "category_id": 1, "bbox": [60, 10, 50, 80], "area": 900, "iscrowd": 0,
             "keypoints": [0, 0, 0] * 17, "num_keypoints": 0},
        ],
    }  # fmt: skip
    path = tmp_path / file
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(content))
    (tmp_path / file.split("/")[0] / BENCHMARKS[name].images).mkdir()
    task = load_task(BENCHMARKS[name], Places(tmp_path), COCO_17.name)
    assert task.boxes is None and task.boxes_xyxy.tolist() == [[10, 10, 60, 90]], "only of people with points"


@pytest.mark.parametrize(
    ("name", "keypoint_set", "settings", "counts", "expected"),
    [
        ("coco", "coco_17", {}, 5000, []),
        ("coco", "coco_17", {"boxes": "ground truth"}, 5000, ["boxes: ground truth"]),
        ("coco", "coco_17", {}, 4, ["4 of 5,000 pictures"]),
        ("coco", "coco_17", {"annotations": "mine.json"}, 5000, ["annotations: mine.json"]),
        ("coco", "coco_17", {"images": "/x/val2017filter_oil"}, 5000, ["pictures: /x/val2017filter_oil"]),
        ("coco-ood-monet", "coco_17", {"images": "/x/val2017oil", "painted": "monet"}, 5000,
         ["pictures painted by make_coco_ood.py (monet), not the published ones"]),
        ("coco-gt-boxes", "coco_17", {}, 5000, ["the paper has no figures for coco-gt-boxes"]),
        ("crowdpose", "crowdpose_14", {}, 8000, ["the paper has no figures for crowdpose"]),
        ("crowdpose", "crowdpose_12", {}, 8000, ["the paper has no figures for crowdpose",
         "12 of crowdpose's 14 points: COCO has neither its head nor its neck"]),
        ("humanart", "coco_17", {"pictures": 50}, 50, ["the first 50 pictures"]),
    ],
)  # fmt: skip
def test_every_difference_from_the_paper_is_named(
    name: str, keypoint_set: str, settings: dict, counts: int, expected: list[str]
) -> None:
    assert departures(BENCHMARKS[name], keypoint_set, {**PAPER, **settings}, {"pictures": counts}) == expected


def test_predictions_from_a_file_may_be_made_in_any_way() -> None:
    (found,) = departures(BENCHMARKS["coco"], "coco_17", {}, {"pictures": 5000})
    assert found == "predictions from a file: their boxes, crops and flip test are not known"
    assert departures(None, "coco_17", PAPER, {}) == ["no benchmark of the paper"]
