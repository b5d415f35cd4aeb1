"""Scoring against the official code's numbers: rescoring, OKS-NMS, COCO's figures, whole-body parts."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from paths import GOLDEN

from sdpose_core.codec.crops import box_to_center_scale, fix_aspect
from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133, KeypointSet
from sdpose_training.data.annotations import read_annotations
from sdpose_training.data.truth import read_truth
from sdpose_training.evaluation.coco_figures import FIGURES, SCORERS, Detections, coco_figures, extents
from sdpose_training.evaluation.oks_report import match_people, mean_oks, write_oks
from sdpose_training.evaluation.predictions import (
    BOX_ASPECT,
    Predictions,
    box_scales,
    read_predictions,
    write_predictions,
)
from sdpose_training.evaluation.scoring import keep_people, mean_of_good, person_scores, score, similarities

CASES = {"synth_body": COCO_17, "synth_wholebody": COCO_WHOLEBODY_133}
VARIANTS = {
    "stats": {},
    "stats_nms_none": {"nms": "none"},
    "stats_nms_soft_oks_nms": {"nms": "soft"},
    "stats_score_mode_bbox": {"score_mode": "bbox"},
}
OFFICIAL_NAMES = ("AP", "AP .5", "AP .75", "AP (M)", "AP (L)", "AR", "AR .5", "AR .75", "AR (M)", "AR (L)")
OFFICIAL_PARTS = ("body", "feet", "face", "left_hand", "right_hand")


def golden(name: str) -> Any:
    return json.loads((GOLDEN / name).read_text())


@pytest.fixture(scope="module")
def metric() -> dict[str, Any]:
    return golden("i_metric.json")


@pytest.fixture(scope="module")
def annotations() -> dict[str, Any]:
    return golden("i_synth_gt_wholebody.json")


def given(case: str) -> Predictions:
    return read_predictions(GOLDEN / f"i_preds_{case}.json")


# --- the official numbers ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scorer", SCORERS)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("case", CASES)
def test_figures_are_the_official_ones(metric: dict, annotations: dict, case: str, variant: str, scorer: str) -> None:
    if scorer == "pycocotools":
        pytest.importorskip("pycocotools", reason="the reference scorer is not installed")
    scored = score(given(case), annotations, CASES[case], scorer=scorer, **VARIANTS[variant])
    official = {key.partition("/")[2]: value for key, value in metric[case][variant].items()}
    for ours, theirs in zip(FIGURES, OFFICIAL_NAMES, strict=True):
        assert scored.figures[ours] == pytest.approx(official[theirs], abs=1e-5), ours


@pytest.mark.parametrize("scorer", SCORERS)
def test_parts_are_the_official_ones(metric: dict, annotations: dict, scorer: str) -> None:
    if scorer == "pycocotools":
        pytest.importorskip("pycocotools", reason="the reference scorer is not installed")
    scored = score(given("synth_wholebody"), annotations, COCO_WHOLEBODY_133, scorer=scorer)
    assert tuple(scored.parts) == OFFICIAL_PARTS
    ours = [figures[name] for figures in (*scored.parts.values(), scored.figures) for name in FIGURES]
    printed = [float(line.rpartition("=")[2]) for line in metric["synth_wholebody"]["summary_lines"]]
    np.testing.assert_allclose(ours, printed, rtol=0, atol=5.001e-4)  # printed with three digits


@pytest.mark.parametrize("case", CASES)
def test_nms_keeps_the_same_people_in_the_same_order(metric: dict, annotations: dict, case: str) -> None:
    scored = score(given(case), annotations, CASES[case])
    ids, scores = zip(*metric[case]["kept_id_score"], strict=True)
    assert scored.kept.ids.tolist() == list(ids)
    np.testing.assert_allclose(scored.scores, scores, rtol=0, atol=1e-6)
    assert (scored.counts["predictions"], scored.counts["kept"]) == (metric[case]["num_preds"], len(ids))


def test_oks_of_predictions(metric: dict) -> None:
    unit = metric["oks_iou_unit"]
    people = np.asarray([unit["g"], *unit["d"]]).reshape(-1, 17, 3)[..., :2]
    areas = np.asarray([unit["a_g"], *unit["a_d"]])
    ours = similarities(people, areas, np.asarray(COCO_17.sigmas))
    np.testing.assert_allclose(ours[0, 1:], unit["result"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(ours, ours.T)


@pytest.mark.parametrize(("kind", "own"), [("body", COCO_17), ("wholebody", COCO_WHOLEBODY_133), ("humanart", COCO_17)])
def test_sigmas_and_flips_are_the_official_ones(kind: str, own: KeypointSet) -> None:
    table = golden("metainfo.json")[kind]
    np.testing.assert_allclose(own.sigmas, table["sigmas"], rtol=0, atol=1e-7)
    assert own.flip_indices.tolist() == table["flip_indices"]
    arrays = np.load(GOLDEN / "d_flip.npz")
    np.testing.assert_array_equal(own.flip_indices, arrays[f"{len(own)}_flip_indices"])
    np.testing.assert_allclose(own.sigmas, arrays[f"{len(own)}_sigmas"], rtol=0, atol=1e-7)


def test_box_scales_are_those_of_the_crop() -> None:
    boxes = np.array([[10, 20, 110, 60], [5, 5, 25, 205]], np.float32)
    np.testing.assert_allclose(box_scales(boxes), [[125, 125 / 0.75], [250 * 0.75, 250]])
    np.testing.assert_array_equal(box_scales(boxes), fix_aspect(box_to_center_scale(boxes)[1], BOX_ASPECT))


# --- rules, one by one ---------------------------------------------------------------------------------------------


def some(count: int, ids: list[int] | None = None, images: tuple = (), points: int = 17) -> Predictions:
    rng = np.random.default_rng(3)
    return Predictions(
        np.asarray(ids if ids is not None else range(count)),
        images or (1,) * count,
        rng.uniform(0, 100, (count, points, 2)),
        rng.uniform(0.3, 1, (count, points)),
        np.linspace(1, 0.5, count),
        np.full((count, 2), 100.0),
    )


def test_person_score() -> None:
    people = some(3)
    people.keypoint_scores[0] = 0.2  # not above the threshold
    people.keypoint_scores[1, :] = 0
    people.keypoint_scores[1, 4] = 0.8
    scores = person_scores(people)
    assert scores[:2].tolist() == pytest.approx([0, 0.75 * 0.8])
    np.testing.assert_array_equal(person_scores(people, "bbox"), people.box_scores)
    np.testing.assert_allclose(mean_of_good(people.keypoint_scores)[2], people.keypoint_scores[2].mean())


def test_nms_is_within_a_picture_and_ids_count_once() -> None:
    people = some(5, ids=[0, 1, 2, 2, 3], images=(7, 7, 9, 9, 7))
    people.keypoints[:] = people.keypoints[0]
    people.keypoints[4] += 500
    kept, twice = keep_people(people, people.box_scores, np.asarray(COCO_17.sigmas))
    assert kept.tolist() == [0, 4, 2]
    assert twice == 1
    assert keep_people(people, people.box_scores, np.asarray(COCO_17.sigmas), "none")[0].tolist() == [0, 1, 4, 2]


def test_soft_nms_keeps_twenty() -> None:
    people = some(25)
    people.keypoints[:5] = people.keypoints[0]  # the best five are one person
    kept, _ = keep_people(people, people.box_scores, np.asarray(COCO_17.sigmas), "soft")
    assert len(kept) == 20
    assert kept[:2].tolist() == [0, 5]
    assert not {1, 2, 3, 4} & set(kept[:16].tolist())


def test_points_that_are_not_there_do_not_count() -> None:
    points = np.array([[[1.0, 2], [5, 4], [np.nan, np.nan]], [[np.nan, np.nan]] * 3])
    assert extents(points).tolist() == [8, 0]
    whole = np.full((1, 133, 2), 900.0)
    whole[0, :17] = np.linspace(0, 10, 17)[:, None]
    assert extents(whole).tolist() == [100]


def test_nothing_found_is_a_result(annotations: dict) -> None:
    none = given("synth_body").select([])
    scored = score(none, annotations, COCO_17)
    assert scored.figures["AP"] == scored.figures["AR"] == 0
    assert mean_oks(match_people(scored)) == 0


def test_sizes_that_nobody_has_are_none(annotations: dict) -> None:
    large = {**annotations, "annotations": [{**a, "area": 20_000} for a in annotations["annotations"]]}
    figures = score(given("synth_body"), large, COCO_17).figures
    assert figures["APm"] is None
    assert figures["APl"] > 0.5


def test_ids_of_any_kind(annotations: dict) -> None:
    usual = score(given("synth_body"), annotations, COCO_17)
    named = {
        **annotations,
        "images": [{**image, "id": f"p{image['id']}"} for image in annotations["images"]],
        "annotations": [{**a, "id": a["id"] - 1, "image_id": f"p{a['image_id']}"} for a in annotations["annotations"]],
    }
    people = given("synth_body")
    renamed = Predictions(
        people.ids, tuple(f"p{i}" for i in people.image_ids), people.keypoints, people.keypoint_scores,
        people.box_scores, people.box_scales,
    )  # fmt: skip
    assert score(renamed, named, COCO_17).figures == usual.figures


def test_own_keypoints_without_sigmas(annotations: dict, caplog: pytest.LogCaptureFixture) -> None:
    own = KeypointSet("own_17", tuple(f"p{i}" for i in range(17)))
    scored = score(given("synth_body"), annotations, own)
    assert set(scored.sigmas) == {0.08}
    assert "no OKS sigmas" in caplog.text
    assert scored.parts == {}


# --- OKS of each person --------------------------------------------------------------------------------------------


def test_each_person_and_its_prediction(annotations: dict, tmp_path: Path) -> None:
    truth = read_truth(annotations, COCO_17)
    own = [i for i in range(len(truth.ids)) if truth.labeled[i] and not truth.crowd[i]]
    points = truth.keypoints[own, :, :2].copy()
    points[1] += 4
    exact = Predictions(
        np.arange(len(own)), tuple(truth.image_ids[i] for i in own), points, np.ones(points.shape[:2]),
        np.linspace(1, 0.9, len(own)), np.full((len(own), 2), 50.0),
    ).select(range(len(own) - 1))  # fmt: skip
    scored = score(exact, annotations, COCO_17, nms="none")
    matches = match_people(scored)
    assert [match.person for match in matches] == own
    assert [match.prediction for match in matches[:-1]] == [scored.kept.ids.tolist().index(i) for i in range(12)]
    assert matches[-1].prediction is None
    assert [match.oks for match in matches[2:-1]] == pytest.approx([1] * 10)
    spread = 2 * truth.areas[own[1]] * (2 * np.asarray(COCO_17.sigmas)[truth.keypoints[own[1], :, 2] > 0]) ** 2
    assert matches[1].oks == pytest.approx(np.exp(-32 / spread).mean())
    write_oks(scored, matches, {100: "a.jpg"}, tmp_path / "oks.json")
    dump = json.loads((tmp_path / "oks.json").read_text())
    people = [person for picture in dump["pictures"] for person in picture["people"]]
    assert sorted(person["annotation_id"] for person in people) == sorted(truth.ids[i] for i in own)
    assert dump["mean_oks"] == pytest.approx(np.mean([match.oks for match in matches]))
    assert dump["pictures"][0]["file_name"] == "a.jpg"


def test_a_prediction_far_away_belongs_to_nobody(annotations: dict, tmp_path: Path) -> None:
    people = given("synth_body").select([0])
    people.keypoints[:] = 1e4
    scored = score(people, annotations, COCO_17)
    matches = match_people(scored)
    assert all(match.prediction is None for match in matches)
    write_oks(scored, matches, {}, tmp_path / "oks.json")
    pictures = json.loads((tmp_path / "oks.json").read_text())["pictures"]
    assert [p["unmatched_predictions"] for p in pictures if p["unmatched_predictions"]] == [[0]]


# --- files ---------------------------------------------------------------------------------------------------------


def test_predictions_written_and_read(tmp_path: Path) -> None:
    people = some(4, images=(5, 5, "x", 6))
    write_predictions(people, tmp_path / "p.json")
    again = read_predictions(tmp_path / "p.json")
    assert again.image_ids == people.image_ids
    np.testing.assert_array_equal(again.keypoints, people.keypoints)
    np.testing.assert_array_equal(again.box_scales, people.box_scales)


def _without(key: str) -> Callable[[list], Any]:
    return lambda people: [{k: v for k, v in person.items() if k != key} for person in people]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_without("bbox_score"), "lacks 'bbox_score'"),
        (lambda people: [], "at least one"),
        (lambda people: {"people": people}, "expected a list"),
        (
            lambda people: [people[0], {**people[1], "keypoints": people[1]["keypoints"][:5]}],
            "numbers of the same shape in all entries",
        ),
        (lambda people: [{**people[0], "keypoint_scores": [1]}], "expected the shapes"),
        (lambda people: [{**people[0], "img_id": [100]}], r"img_id \[100\], expected a number or a text"),
        (lambda people: [{**people[0], "img_id": None}], "img_id None, expected a number or a text"),
        (lambda people: [{**people[0], "img_id": []}], r"img_id \[\], expected a number or a text"),
        (lambda people: [{**people[0], "id": 10**30}], "too large"),
        (lambda people: [people[0], {**people[1], "bbox_score": None}], "entry 1 has the bbox_score None"),
        (lambda people: [{**people[0], "bbox_score": float("inf")}], "entry 0 has the bbox_score inf"),
        (lambda people: [{**people[0], "bbox_scale": [float("nan"), 4]}], r"entry 0 has the bbox_scale \[nan, 4\]"),
        (lambda people: [{**people[0], "bbox_scale": [-5, 4]}], r"entry 0 has the bbox_scale \[-5, 4\]"),
    ],
)
def test_predictions_that_cannot_be_read(tmp_path: Path, damage: Callable[[list], Any], message: str) -> None:
    path = tmp_path / "p.json"
    path.write_text(json.dumps(damage(golden("i_preds_synth_body.json"))))
    with pytest.raises(InputError, match=message):
        read_predictions(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), None])
def test_points_that_are_no_numbers_are_not_there(annotations: dict, tmp_path: Path, value: float | None) -> None:
    people = golden("i_preds_synth_body.json")
    people[0]["keypoints"][3] = [value, 5]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(people))
    predictions = read_predictions(path)
    assert np.argwhere(np.isnan(predictions.keypoints)).tolist() == [[0, 3, 0]]
    scored = score(predictions, annotations, COCO_17)
    assert 0 < scored.figures["AP"] <= 1


@pytest.mark.parametrize(
    ("what", "damage", "message"),
    [
        ("annotations", {"area": float("nan")}, "area is nan, expected a number"),
        ("annotations", {"area": -3}, "area is -3, expected a number of at least 0"),
        ("annotations", {"area": [1]}, r"area is \[1\], expected a number"),
        ("annotations", {"bbox": [1, 2, 3]}, r"bbox is \[1, 2, 3\], expected the numbers x, y, width, height"),
        ("annotations", {"bbox": "x"}, "bbox is 'x'"),
        ("annotations", {"num_keypoints": "all"}, "num_keypoints is 'all', expected a number"),
        ("annotations", {"image_id": [100]}, r"has the image_id \[100\], expected a number or a text"),
        ("annotations", {"keypoints": [float("nan"), 1, 2] * 17}, "keypoints that are not numbers"),
        ("images", {"id": None}, "has the id None, expected a number or a text"),
        ("images", {"id": 101}, "two entries of 'images' have the id 101: give each picture a unique id"),
    ],
)
def test_annotations_that_cannot_be_scored(annotations: dict, what: str, damage: dict, message: str) -> None:
    """None of them may pass as a figure: an area that is no number would cost 9 points of AP without a word."""
    first, *others = annotations[what]
    with pytest.raises(InputError, match=message):
        score(given("synth_body"), {**annotations, what: [{**first, **damage}, *others]}, COCO_17)


@pytest.mark.parametrize("absent", ["num_keypoints", "iscrowd"])
def test_annotations_may_leave_out_what_can_be_told(annotations: dict, absent: str) -> None:
    fewer = [{k: v for k, v in each.items() if k != absent or each["iscrowd"]} for each in annotations["annotations"]]
    null = [each if absent in each else {**each, absent: None} for each in fewer]
    for content in (fewer, null):
        scored = score(given("synth_body"), {**annotations, "annotations": content}, COCO_17)
        assert scored.figures["AP"] == pytest.approx(0.77479, abs=1e-5)


@pytest.mark.parametrize("categories", [{"a": 1}, [1], "person"])
def test_categories_are_a_list_of_objects(tmp_path: Path, categories: Any) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": categories}))
    with pytest.raises(InputError, match="expected 'categories' to be a list of objects"):
        read_annotations(path)
    path.write_text(json.dumps({"images": [], "annotations": [], "categories": None}))
    assert read_annotations(path)["categories"] == []


def test_predictions_of_other_data(annotations: dict) -> None:
    with pytest.raises(InputError, match="predictions of 17 points, but 'coco_wholebody_133' has 133"):
        score(given("synth_body"), annotations, COCO_WHOLEBODY_133)
    texts = [{**image, "id": f"p{image['id']}"} for image in annotations["images"]]
    named = [{**each, "image_id": f"p{each['image_id']}"} for each in annotations["annotations"]]
    with pytest.raises(InputError, match=r"such as 100; theirs are like 'p100'\)"):
        score(given("synth_body"), {"images": texts, "annotations": named}, COCO_17)
    with pytest.raises(InputError, match="51 keypoint values instead of 12"):
        score(some(1, images=(100,), points=4), annotations, KeypointSet("four", ("a", "b", "c", "d")))
    with pytest.raises(InputError, match="none of 0 annotations"):
        score(given("synth_body"), {**annotations, "annotations": []}, COCO_17)


def test_predictions_of_pictures_that_are_not_annotated_are_left_out(
    annotations: dict, caplog: pytest.LogCaptureFixture
) -> None:
    fewer = {**annotations, "images": annotations["images"][1:]}
    first = [i for i, picture in enumerate(given("synth_body").image_ids) if picture == 100]
    scored = score(given("synth_body"), fewer, COCO_17)
    assert f"the annotations lack are left out: {len(first)}, such as of 100" in caplog.text
    others = given("synth_body").select([i for i in range(len(given("synth_body"))) if i not in first])
    assert scored.figures == score(others, fewer, COCO_17).figures
    with pytest.raises(InputError, match=r"lack image ids of the predictions \(1, such as 100;"):
        score(given("synth_body").select(first), fewer, COCO_17)


@pytest.mark.parametrize(("option", "value"), [("nms", "hard"), ("score_mode", "best"), ("scorer", "other")])
def test_unknown_words(annotations: dict, option: str, value: str) -> None:
    with pytest.raises(InputError, match=f"unknown .*{value!r}: choose one of"):
        score(given("synth_body"), annotations, COCO_17, **{option: value})


def test_no_detections_at_all(annotations: dict) -> None:
    empty = Detections((), np.zeros((0, 17, 2)), np.zeros(0), np.zeros(0))
    assert coco_figures(read_truth(annotations, COCO_17), empty, COCO_17.sigmas)["AP"] == 0


@pytest.mark.parametrize("sizes", [(30**2, 96**2), (96**2, 200**2), (31**2,), (50**2, 97**2)])
def test_sizes_that_nobody_has_are_none_though_nobody_is_found(annotations: dict, sizes: tuple[int, ...]) -> None:
    """As the evaluators say it where a detection that is no match is there."""
    people = [a for a in annotations["annotations"] if a["num_keypoints"] and not a["iscrowd"]]
    own = [{**a, "area": area} for a, area in zip(people, sizes, strict=False)]
    content = {**annotations, "annotations": own}
    far = given("synth_body").select([0])
    far.keypoints[:] = 1e5 + np.arange(34).reshape(1, 17, 2)
    assert score(far.select([]), content, COCO_17).figures == score(far, content, COCO_17).figures
