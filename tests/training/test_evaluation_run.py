"""Whole evaluations of tiny models: benchmarks, processes, stops and changes, what is written and what is refused."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from drawn_people import make_people
from paths import GOLDEN, ROOT
from stand_ins import StandInEstimator
from tiny import make_checkpoint

import evaluate
from evaluate import main
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.coco.annotations import Coco
from sdpose_core.errors import InputError
from sdpose_core.estimation.options import EstimatorOptions
from sdpose_core.files import sha256_of
from sdpose_core.model.config import SDPoseConfig
from sdpose_core.poses import Poses
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133
from sdpose_training.data.annotations import read_annotations, read_people
from sdpose_training.evaluation import prediction_run
from sdpose_training.evaluation import run as evaluation
from sdpose_training.evaluation.departures import departures
from sdpose_training.evaluation.oks_report import MIN_OKS
from sdpose_training.evaluation.prediction_run import predict
from sdpose_training.evaluation.predictions import read_predictions
from sdpose_training.evaluation.predictors import BY_MEMORY, batch_for_memory, load_sdpose_predictor
from sdpose_training.evaluation.protocols import BENCHMARKS, find_benchmark, scored_set
from sdpose_training.evaluation.tasks import Places, load_task, picture_files
from sdpose_training.fit.validation import average_precision
from sdpose_training.fit.validation import predict as predict_while_training
from sdpose_training.recipe.recipe import ValidationRecipe

SAMPLES = ROOT.parent / "shared" / "data" / "coco_samples"
PEOPLE = 20


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_people(tmp_path_factory.mktemp("data") / "people", PEOPLE)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Flat maps, as of an untrained head: two ways to compute them find the same maxima."""
    return make_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.safetensors", head_std=0.001)


def command(data: Path, out: Path, *more: str) -> list[str]:
    return ["--benchmark", "custom", "--data.root", str(data), "--out", str(out), *map(str, more)]


class Truth(StandInEstimator):
    """Finds everybody where the annotations say, moved by `error` pixels."""

    name = "the truth"

    def __init__(self, annotations: Path, points: int = 17, error: float = 0) -> None:
        self.keypoint_set = COCO_17.name if points == 17 else COCO_WHOLEBODY_133.name
        people, _ = read_people(read_annotations(annotations), Path(), COCO_17)
        self.boxes = people.boxes_xyxy
        self.points = np.zeros((len(people), points, 2), np.float32)
        self.points[:, :17] = people.keypoints + np.float32(error)

    def estimate(self, images: Sequence[np.ndarray], boxes: Sequence[np.ndarray], **_: Any) -> list[Poses]:
        assert all(image.dtype == np.uint8 and image.ndim == 3 for image in images)
        return [self._poses(image, own) for image, own in zip(images, boxes, strict=True)]

    def _poses(self, image: np.ndarray, boxes: np.ndarray) -> Poses:
        nearest = [int(np.abs(self.boxes - box).sum(axis=1).argmin()) for box in boxes]
        points = self.points[nearest]
        scored = np.concatenate([boxes, np.ones((len(boxes), 1))], axis=1)
        return Poses(points, np.ones(points.shape[:2]), scored, image.shape[1::-1], self.keypoint_set)


def with_peers(monkeypatch: pytest.MonkeyPatch, **peers: Any) -> None:
    """Stands in for the loader of peers: SPEC -> predictor."""
    monkeypatch.setattr(evaluation, "load_peer", lambda spec, **options: peers[spec])


def read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text())


# --- a run ---------------------------------------------------------------------------------------------------------


def test_a_run_says_everything(data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = tmp_path / "results" / "r.json"
    assert main(["--checkpoint", str(checkpoint), *command(data, out)]) == 0
    result = read(out)
    assert {"AP", "AP50", "AP75", "APm", "APl", "AR", "AR50", "parts", "settings", "versions"} <= result.keys()
    assert 0 <= result["AP"] <= result["AP50"] <= 1
    assert result["counts"]["boxes"] == result["counts"]["annotated_people"] == PEOPLE
    assert result["hashes"]["weights"]["sha256"] == {"tiny.safetensors": sha256_of(checkpoint)}
    assert result["hashes"]["annotations"] == sha256_of(data / "annotations" / "val.json")
    assert result["settings"]["predictor"]["settings"]["flip_test"] is True
    assert result["settings"]["batch"] == 64
    assert result["versions"]["packages"]["torch"] == torch.__version__
    shown = capsys.readouterr().out
    assert f"custom: {PEOPLE} pictures, {PEOPLE} annotated people" in shown
    assert re.search(rf"SDPose tiny +{100 * result['AP']:.1f} ", shown)
    assert {path.name for path in out.parent.iterdir()} == {"r.json", "r.matches.npz"}  # nothing unfinished is left


@pytest.mark.parametrize("more", [[], ["--restart"]])
def test_a_folder_of_others_in_the_place_of_unfinished_predictions_is_left_alone(
    data: Path, checkpoint: Path, tmp_path: Path, more: list[str], capsys: pytest.CaptureFixture
) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "part_000000.npz").write_text("precious")
    (tmp_path / "a.parts").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    (tmp_path / "b.parts").mkdir()
    (tmp_path / "b.parts" / "chapter.docx").write_text("precious")
    before = sorted(tmp_path.rglob("*"))
    for name, reason in (("a", "is a link to"), ("b", "holds 'chapter.docx'")):
        assert main(["--checkpoint", str(checkpoint), *command(data, tmp_path / f"{name}.json"), *more]) == 1
        assert reason in capsys.readouterr().err
    assert sorted(tmp_path.rglob("*")) == before


def test_the_figures_are_those_of_the_validation_while_training(data: Path, checkpoint: Path, tmp_path: Path) -> None:
    people, _ = read_people(read_annotations(data / "annotations" / "val.json"), data / "images", COCO_17)
    model = load_sdpose(checkpoint, device="cpu")
    keypoints, scores = predict_while_training(
        model, people, range(len(people)), ValidationRecipe(batch=4, flip_test=True)
    )
    out, saved = tmp_path / "r.json", tmp_path / "p.json"
    asked = ["--checkpoint", str(checkpoint), "--nms", "none", "--batch", "4", "--save-predictions", str(saved)]
    assert main([*asked, *command(data, out)]) == 0
    people_found = read_predictions(saved)
    # constants are folded for inference, and the maps of random weights have no sharp peaks
    np.testing.assert_allclose(people_found.keypoints, np.nan_to_num(keypoints), rtol=0, atol=0.1)
    np.testing.assert_allclose(people_found.keypoint_scores, scores, rtol=0, atol=1e-4)
    expected = average_precision(people, keypoints, scores)
    result = read(out)
    for name in ("AP", "AP50", "AP75", "AR"):
        assert result[name] == pytest.approx(expected[name], abs=1e-3), name
    assert result["OKS"] == pytest.approx(expected["OKS"], abs=MIN_OKS)  # less belongs to nobody


@pytest.mark.slow  # two starts of the program
def test_two_processes_write_the_same_files(coco: Path, checkpoint: Path, tmp_path: Path) -> None:
    """With detected boxes, several of a picture, as the protocol of COCO has it: figures and predictions alike."""

    def asked(name: str) -> list[str]:
        model = ["--checkpoint", str(checkpoint), "--batch", "1", "--device", "cpu"]  # chunks of 8, 8 and 5 boxes
        files = ["--out", str(tmp_path / f"{name}.json"), "--save-predictions", str(tmp_path / f"{name}_people.json")]
        return [*model, "--benchmark", "coco", "--data.root", str(coco), *files]

    assert main(asked("one")) == 0
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    threads = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    arguments = [sys.executable, str(ROOT / "training" / "evaluate.py"), *asked("two")]
    both = [
        subprocess.Popen(
            arguments,
            env={**os.environ, **shared, **threads, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in (0, 1)
    ]
    outputs = [process.communicate(timeout=600) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert (tmp_path / "two.json").read_bytes() == (tmp_path / "one.json").read_bytes()
    people = (tmp_path / "one_people.json").read_bytes()
    assert len(json.loads(people)) == PEOPLE + 1
    assert (tmp_path / "two_people.json").read_bytes() == people
    assert outputs[0][0].count("annotated people") == 1
    assert outputs[1][0] == ""


# --- stops and changes ---------------------------------------------------------------------------------------------


def stop_after(monkeypatch: pytest.MonkeyPatch, parts: int) -> list[int]:
    """Ctrl-C in the part behind; returns the first boxes of the parts that were begun."""
    begun: list[int] = []
    original = prediction_run._predict_chunk

    def counted(predictor: Any, task: Any, chunk: Any) -> Any:
        begun.append(chunk.first)
        if len(begun) > parts:
            raise KeyboardInterrupt
        return original(predictor, task, chunk)

    monkeypatch.setattr(prediction_run, "_predict_chunk", counted)
    return begun


@pytest.mark.slow  # takes seconds
def test_a_stopped_run_goes_on(
    data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    asked = ["--checkpoint", str(checkpoint), "--batch", "1"]
    assert main([*asked, *command(data, tmp_path / "whole.json")]) == 0
    with monkeypatch.context() as patch:
        assert stop_after(patch, 1) == []
        assert main([*asked, *command(data, tmp_path / "r.json")]) == 130
        assert not (tmp_path / "r.json").exists()
        assert "run the same command again to resume" in capsys.readouterr().err
    begun = stop_after(monkeypatch, 10)
    assert main([*asked, *command(data, tmp_path / "r.json")]) == 0
    assert begun == [8, 16]
    assert (tmp_path / "r.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


@pytest.mark.slow  # takes seconds
def test_a_damaged_part_is_predicted_again_and_it_is_said(
    data: Path,
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    asked = ["--checkpoint", str(checkpoint), "--batch", "1"]
    assert main([*asked, *command(data, tmp_path / "whole.json")]) == 0
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        assert main([*asked, *command(data, tmp_path / "r.json")]) == 130
    [part] = tmp_path.rglob("part_000001.npz")
    part.write_bytes(part.read_bytes()[:-1] + b"-")
    begun = stop_after(monkeypatch, 10)
    assert main([*asked, *command(data, tmp_path / "r.json")]) == 0
    assert begun == [8, 16]
    assert "part_000001.npz is damaged" in caplog.text and "predicted again" in caplog.text
    assert (tmp_path / "r.json").read_bytes() == (tmp_path / "whole.json").read_bytes()


def test_a_run_with_a_batch_by_memory_keeps_it(
    data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(prediction_run, "batch_for_memory", lambda estimator: 2)
        stop_after(patch, 0)
        assert main(["--checkpoint", str(checkpoint), *command(data, tmp_path / "r.json")]) == 130
    assert main(["--checkpoint", str(checkpoint), *command(data, tmp_path / "r.json")]) == 0
    assert read(tmp_path / "r.json")["settings"]["batch"] == 2


def test_changed_settings_are_refused(
    data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    own = tmp_path / "own.safetensors"
    shutil.copy(checkpoint, own)
    out = tmp_path / "r.json"
    asked = ["--checkpoint", str(own), "--batch", "1"]
    with monkeypatch.context() as patch:
        stop_after(patch, 1)
        assert main([*asked, *command(data, out)]) == 130
    assert main([*asked, *command(data, out, "--no-flip-test")]) == 1
    assert "predictor.settings.flip_test was True, now False" in capsys.readouterr().err
    make_checkpoint(own, seed=1)
    assert main([*asked, *command(data, out)]) == 1
    message = capsys.readouterr().err
    assert "predictor.weights.sha256.own.safetensors was" in message
    assert "--restart" in message
    assert main([*asked, *command(data, out, "--restart")]) == 0
    assert read(out)["hashes"]["weights"]["sha256"] == {"own.safetensors": sha256_of(own)}


# --- predictors ----------------------------------------------------------------------------------------------------


def test_batch_by_memory(checkpoint: Path) -> None:
    options = EstimatorOptions(device="cpu", flip_test=True)
    predictor = load_sdpose_predictor(checkpoint, options, by_memory=True)
    assert (predictor.batch_size, predictor.flip_test, predictor.crop) == (BY_MEMORY, True, "affine")
    for size, batch in (((768, 1024), 1), ((512, 704), 2), ((192, 256), 16), ((64, 64), 64)):
        predictor.model.config = SDPoseConfig(input_size=size)
        assert batch_for_memory(predictor) == batch
    with pytest.raises(InputError, match="--peer preview"):
        load_sdpose_predictor("preview")


def test_an_answer_belongs_to_the_box_it_names(coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In another order than the boxes, and with one of a picture left out."""
    annotations = coco / "annotations" / "person_keypoints_val2017.json"

    class Backwards(Truth):
        def _poses(self, image: np.ndarray, boxes: np.ndarray) -> Poses:
            poses = super()._poses(image, boxes)
            return poses.select(np.arange(len(poses))[::-1][: max(1, len(poses) - 1)])

    with_peers(monkeypatch, whole=Truth(annotations), some=Backwards(annotations))
    results = {}
    for name in ("whole", "some"):
        out = tmp_path / f"{name}.json"
        asked = ["--benchmark", "coco", "--data.root", str(coco), "--out", str(out), "--peer", name]
        assert main([*asked, "--save-predictions", str(tmp_path / f"{name}_predictions.json")]) == 0
        rows = json.loads((tmp_path / f"{name}_predictions.json").read_text())
        results[name] = {json.dumps(row, sort_keys=True) for row in rows}
    assert results["some"] < results["whole"]


def test_peers_and_comparison(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    annotations = data / "annotations" / "val.json"
    good, worse = Truth(annotations), Truth(annotations, error=6)
    worse.name = "six pixels off"
    with_peers(monkeypatch, good=good, worse=worse)
    seen: list[Any] = []
    monkeypatch.setattr(evaluate, "write_comparison", lambda table, folder: seen.append((table, folder)))
    out, plots = tmp_path / "r.json", tmp_path / "plots"
    asked = ["--compare", plots, "--resamples", 50]
    assert main(["--peer", "good", "--peer", "worse", *command(data, out, *asked)]) == 0
    first, second = read(out), read(tmp_path / "r_custom_six_pixels_off.json")
    assert (first["AP"], first["AR"], first["OKS"]) == pytest.approx((1, 1, 1))
    assert second["AP"] < 0.9
    ((table, folder),) = seen
    assert folder == plots and list(table.rows) == ["the truth", "six pixels off"]
    (difference,) = table.uncertainty.differences
    assert difference.figures["AP"].value == pytest.approx(1 - second["AP"]) and difference.figures["AP"].low > 0
    assert "custom: the truth - six pixels off" in capsys.readouterr().out
    assert main(["--peer", "worse", *command(data, tmp_path / "again.json", "--also", out, *asked)]) == 0
    again = seen[-1][0].uncertainty.differences[0]
    assert (again.first, again.second) == ("six pixels off", "the truth")
    assert (again.figures["AP"].low, again.figures["AP"].high) == pytest.approx(
        (-difference.figures["AP"].high, -difference.figures["AP"].low)
    )
    (tmp_path / "r.matches.npz").unlink()
    assert main(["--peer", "worse", *command(data, tmp_path / "more.json", "--also", out, *asked)]) == 0
    assert "custom, the truth: no interval: r.matches.npz is not beside its result" in capsys.readouterr().out
    assert seen[-1][0].uncertainty.differences == ()


# --- benchmarks ----------------------------------------------------------------------------------------------------


@pytest.fixture
def coco(data: Path, tmp_path: Path) -> Path:
    """The people in the folders of COCO; boxes as detected, one of another category, one twice."""
    root = tmp_path / "everything" / "COCO"
    for folder in ("val2017", "val2017oil"):
        shutil.copytree(data / "images", root / folder)
    (root / "annotations").mkdir()
    content = read(data / "annotations" / "val.json")
    shutil.copy(data / "annotations" / "val.json", root / "annotations" / "person_keypoints_val2017.json")
    boxes = [
        {"image_id": a["image_id"], "category_id": 1, "bbox": a["bbox"], "score": 0.9} for a in content["annotations"]
    ]
    boxes += [{**boxes[0], "category_id": 3}, {**boxes[0], "score": 0.3}]
    (root / "person_detection_results").mkdir()
    name = "COCO_val2017_detections_AP_H_70_person.json"
    (root / "person_detection_results" / name).write_text(json.dumps(boxes))
    return root


@pytest.mark.parametrize(("benchmark", "paper"), [("coco", 0.813), ("coco-ood-monet", 0.643)])
def test_benchmarks_of_coco(
    coco: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    benchmark: str,
    paper: float,
) -> None:
    with_peers(monkeypatch, body=Truth(coco / "annotations" / "person_keypoints_val2017.json"))
    for root in (coco, coco.parent):  # the folder itself, or the one that holds it
        out = tmp_path / f"{root.name}.json"
        assert main(["--peer", "body", "--benchmark", benchmark, "--data.root", str(root), "--out", str(out)]) == 0
        result = read(out)
        assert result["AP"] == pytest.approx(1)
        assert (result["counts"]["boxes"], result["counts"]["kept"]) == (PEOPLE + 1, PEOPLE)
        assert result["paper"]["AP"] == paper
        assert result["settings"]["boxes"] == "COCO_val2017_detections_AP_H_70_person.json"
    shown = capsys.readouterr().out
    assert f"SDPose in the paper, Table {'3' if benchmark == 'coco' else '1'}" in shown
    assert f"not to be compared with the paper: {PEOPLE} of 5,000 pictures" in shown


def test_whole_bodies_are_scored_by_their_bodies(coco: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    annotations = coco / "annotations" / "person_keypoints_val2017.json"
    with_peers(monkeypatch, whole=Truth(annotations, 133), body=Truth(annotations))
    out = tmp_path / "r.json"
    assert main(["--peer", "whole", "--benchmark", "coco", "--data.root", str(coco), "--out", str(out)]) == 0
    assert read(out)["AP"] == pytest.approx(1)
    assert read(out)["settings"]["keypoint_set"] == COCO_17.name
    with pytest.raises(
        InputError, match="coco_wholebody_133, the model predicts 'coco_17': choose coco or coco-gt-boxes or ochuman"
    ):
        scored_set(BENCHMARKS["coco-wholebody"], COCO_17.name)


def test_humanart_names_its_own_folder(data: Path, tmp_path: Path) -> None:
    root = tmp_path / "HumanArt"
    shutil.copytree(data / "images", root / "images" / "oil")
    content = read(data / "annotations" / "val.json")
    for image in content["images"]:
        image["file_name"] = f"HumanArt/images/oil/{image['file_name']}"
    (root / "annotations").mkdir()
    (root / "annotations" / "validation_humanart.json").write_text(json.dumps(content))
    for given in (root, tmp_path):
        task = load_task(BENCHMARKS["humanart"], Places(given), COCO_17.name)
        assert all(path.is_file() for path in task.files.values())
        assert set(task.box_scores) == {1}
        assert task.boxes is None


def test_whole_body_annotations_as_custom_data() -> None:
    places = Places(GOLDEN, "i_synth_gt_wholebody.json", ".")
    task = load_task(BENCHMARKS["custom"], places, COCO_WHOLEBODY_133.name)
    assert task.keypoint_set is COCO_WHOLEBODY_133
    assert load_task(BENCHMARKS["custom"], places, COCO_17.name).keypoint_set is COCO_17


def test_the_first_pictures_only(coco: Path) -> None:
    task = load_task(BENCHMARKS["coco"], Places(coco, pictures=3), COCO_17.name)
    assert (len(task.files), len(task.boxes_xyxy)) == (3, 4)
    task = load_task(BENCHMARKS["coco"], Places(coco, ground_truth_boxes=True), COCO_17.name)
    assert (len(task.boxes_xyxy), task.boxes) == (PEOPLE, None)


@pytest.mark.parametrize(
    ("remove", "message"),
    [
        ("annotations", r"coco: no annotations at .*person_keypoints_val2017\.json.*--annotations.*cocodataset"),
        ("val2017", r"coco: no images at .*val2017: .*--images"),
        ("person_detection_results", r"coco: no boxes at .*AP_H_70_person\.json.*--boxes.*sapiens-pose-coco"),
    ],
)
def test_what_is_missing_is_named(coco: Path, remove: str, message: str) -> None:
    shutil.rmtree(coco / remove)
    with pytest.raises(InputError, match=message):
        load_task(BENCHMARKS["coco"], Places(coco), COCO_17.name)


def test_boxes_that_cannot_be_read(coco: Path) -> None:
    for content, message in (
        ('{"a": 1}', "holds no boxes: expected a list"),
        ("[{", "is not JSON"),
        ('[{"image_id": 99, "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]', "none of its 1 boxes"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4], "score": NaN}]', "entry 0 has the score nan"),
        ('[{"image_id": [1], "category_id": 1, "bbox": [1, 2, 3, 4], "score": 1}]', "expected a number or a text"),
        ('[{"image_id": 1, "category_id": 1, "bbox": [1, 2], "score": 1}]', "expected a bbox of x, y, width, height"),
        ('[{"image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "score": 1}]', "holds no boxes of people"),
    ):
        (coco / "boxes.json").write_text(content)
        with pytest.raises(InputError, match=message):
            load_task(BENCHMARKS["coco"], Places(coco, boxes="boxes.json"), COCO_17.name)
    with pytest.raises(InputError, match="no such folder"):
        load_task(BENCHMARKS["coco"], Places(coco / "absent"), COCO_17.name)
    with pytest.raises(InputError, match="unknown benchmark 'cocoo'"):
        find_benchmark("cocoo")


def test_annotations_that_cannot_be_scored_are_told_first(coco: Path) -> None:
    path = coco / "annotations" / "person_keypoints_val2017.json"
    content = read(path)
    for what, damage, message in (
        ("annotations", {"area": float("nan")}, "area is nan"),
        ("images", {"width": "wide"}, r"picture 0 has the width and height \('wide', 200\)"),
        ("images", {"id": 1}, "two entries of 'images' have the id 1"),
    ):
        first, *others = content[what]
        path.write_text(json.dumps({**content, what: [{**first, **damage}, *others]}))
        with pytest.raises(InputError, match=message):
            load_task(BENCHMARKS["coco"], Places(coco), COCO_17.name)


def test_pictures_of_another_size_or_damaged(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    root = tmp_path / "people"
    shutil.copytree(data, root)
    with_peers(monkeypatch, body=Truth(root / "annotations" / "val.json"))
    cv2.imwrite(str(root / "images" / "003.jpg"), np.zeros((20, 30, 3), np.uint8))
    assert main(["--peer", "body", *command(root, tmp_path / "r.json")]) == 1
    assert "003.jpg: 30 x 20 pixels, annotated as 160 x 200" in capsys.readouterr().err
    (root / "images" / "003.jpg").write_bytes(b"no picture")
    assert main(["--peer", "body", *command(root, tmp_path / "r.json")]) == 1
    assert "003.jpg: the picture is damaged" in capsys.readouterr().err


def test_the_paper_s_rows_are_those_of_its_tables() -> None:
    rows = {(b.name, kind): row for b in BENCHMARKS.values() for kind, row in b.paper.items()}
    whole = {name: row.figures for (name, kind), row in rows.items() if kind == COCO_WHOLEBODY_133.name}
    assert {name: (row["AP"], row["AR"]) for name, row in whole.items()} == {
        "coco-wholebody": (71.5, 78.4),
        "coco-ood-monet": (46.6, 54.8),
        "coco-ood-ukiyoe": (47.7, 56.4),
    }
    body = {name: row.figures for (name, kind), row in rows.items() if kind == COCO_17.name}
    assert {name: (row["AP"], row["AR"]) for name, row in body.items()} == {
        "coco": (81.3, 85.2),
        "humanart": (71.2, 73.9),
        "coco-ood-monet": (64.3, 68.9),
        "coco-ood-ukiyoe": (66.0, 70.7),
    }


# --- what else is written ------------------------------------------------------------------------------------------


def test_given_predictions(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    given = ["--predictions", str(GOLDEN / "i_preds_synth_wholebody.json")]
    given += ["--annotations", str(GOLDEN / "i_synth_gt_wholebody.json")]
    assert main([*given, "--out", str(tmp_path / "r.json")]) == 0
    result = read(tmp_path / "r.json")
    official = read(GOLDEN / "i_metric.json")["synth_wholebody"]["stats"]
    assert result["AP"] == pytest.approx(official["coco-wholebody/AP"], abs=1e-5)
    assert result["APl"] == pytest.approx(official["coco-wholebody/AP (L)"], abs=1e-5)
    hands = [result["parts"][name]["AP"] for name in ("left_hand", "right_hand")]
    assert result["parts"]["hands"]["AP"] == pytest.approx(np.mean(hands))
    assert set(result["hashes"]) == {"predictions", "annotations"}
    shown = capsys.readouterr().out
    assert re.search(r"i_preds_synth_wholebody +51\.4 ", shown)
    assert re.search(r"  right hand +62\.9 ", shown)


def test_given_predictions_of_a_benchmark(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """Whole bodies are scored by their bodies where only these are annotated; bodies are no whole bodies."""
    annotations = ["--annotations", str(GOLDEN / "i_synth_gt_wholebody.json"), "--out", str(tmp_path / "r.json")]
    whole, body = (str(GOLDEN / f"i_preds_synth_{name}.json") for name in ("wholebody", "body"))
    assert main(["--predictions", whole, *annotations, "--benchmark", "coco"]) == 0
    result = read(tmp_path / "r.json")
    assert (result["settings"]["keypoint_set"], result["paper"]["AP"]) == (COCO_17.name, 0.813)
    assert main(["--predictions", body, *annotations, "--benchmark", "coco-wholebody"]) == 1
    assert "coco-wholebody has annotations of coco_wholebody_133" in capsys.readouterr().err


def test_what_is_to_be_shown_beside_is_read_first(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    absent = tmp_path / "absent.json"
    assert main(["--peer", "preview", *command(data, tmp_path / "r.json", "--also", absent)]) == 1
    assert "absent.json: No such file" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_saved_predictions_score_the_same(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with_peers(monkeypatch, body=Truth(data / "annotations" / "val.json", error=5))
    saved = tmp_path / "p.json"
    assert main(["--peer", "body", *command(data, tmp_path / "a.json", "--save-predictions", saved)]) == 0
    annotations = str(data / "annotations" / "val.json")
    again = ["--predictions", str(saved), "--annotations", annotations, "--out", str(tmp_path / "b.json")]
    assert main(again) == 0
    first, second = read(tmp_path / "a.json"), read(tmp_path / "b.json")
    assert 0.1 < first["AP"] < 1
    assert [second[name] for name in ("AP", "AR", "OKS")] == [first[name] for name in ("AP", "AR", "OKS")]


def test_gallery_and_dump(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    truth = Truth(data / "annotations" / "val.json", error=1)
    truth.points[7] += 12
    with_peers(monkeypatch, body=truth)
    more = ("--gallery", tmp_path / "worst", "--gallery-people", "3", "--oks-dump", tmp_path / "oks.json")
    assert main(["--peer", "body", *command(data, tmp_path / "r.json", *more)]) == 0
    page = (tmp_path / "worst" / "index.html").read_text()
    assert page.count("<figure>") == 3
    assert "the truth on custom" in page
    assert page.index("007.jpg") + 3 == page.index(".jpg")  # the worst one comes first
    sources = re.findall(r'src="([^"]*)"', page)
    assert len(sources) == 6
    assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
    known, found = (_decoded(source) for source in sources[:2])
    assert known.shape == found.shape
    assert known.shape[0] == 360
    assert np.abs(known.astype(int) - found).mean() > 2  # the drawn poses are apart
    worst = min(
        (person for picture in read(tmp_path / "oks.json")["pictures"] for person in picture["people"]),
        key=lambda person: person["oks"],
    )
    assert worst["annotation_id"] == 107


def _decoded(source: str) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(base64.b64decode(source.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to evaluate"),
        (["--checkpoint", "c"], "--benchmark is missing: choose one of coco"),
        (["--checkpoint", "c", "--benchmark", "coco"], "--data.root is missing"),
        (["--checkpoint", "c", "--benchmark", "cocoo"], "invalid choice: 'cocoo'"),
        (["--predictions", "p.json"], "needs --annotations"),
        (["--predictions", "p.json", "--annotations", "a.json", "--peer", "preview"], "leave out --checkpoint"),
        (["--predictions", "p.json", "--annotations", "a.json", "--gallery", "g"], "needs --images"),
        (["--peer", "x", "--batch", "0"], "expected auto or a number of at least 1"),
        (["--peer", "x", "--input-size", "64"], "expected WIDTHxHEIGHT"),
    ],
)
def test_wrong_usage(arguments: list[str], message: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([*arguments, "--out", "r.json"])
    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_a_device_that_does_not_exist(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for model in (["--peer", "preview"], ["--peer", "vitpose:somewhere"], ["--checkpoint", "nothing.safetensors"]):
        assert main([*model, "--device", "gpu", *command(data, tmp_path / "r.json")]) == 1
        assert "unknown device 'gpu': choose auto, cuda" in capsys.readouterr().err


def test_errors_are_one_line(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["--checkpoint", str(tmp_path / "none.safetensors"), *command(data, tmp_path / "r.json")]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("evaluate: ")
    assert "none.safetensors" in line


@pytest.mark.skipif(not SAMPLES.is_dir(), reason="the four check photos are not here")
def test_preview_on_four_photographs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from sdpose_core.estimation.preview import PreviewEstimator

    with_peers(monkeypatch, preview=PreviewEstimator(body_only=True))
    arguments = ["--annotations", "test_coco.json", "--images", ".", "--ground-truth-boxes"]
    out = tmp_path / "r.json"
    where = ["--benchmark", "coco", "--data.root", str(SAMPLES), "--out", str(out)]
    assert main(["--peer", "preview", *arguments, *where]) == 0
    assert read(out)["AP"] > 0.7
    assert read(out)["counts"]["annotated_people"] == 12


def test_missing_pictures_are_told_before_anything_is_predicted(
    data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(data, tmp_path / "people")
    sorted((copy / "images").iterdir())[-1].unlink()
    assert main(["--checkpoint", str(checkpoint), *command(copy, tmp_path / "r.json")]) == 1
    assert f"1 of {PEOPLE} pictures are missing" in capsys.readouterr().err
    assert not (tmp_path / "r.parts").exists()


def test_entries_that_are_no_pictures_are_told(data: Path, tmp_path: Path) -> None:
    content = json.loads((data / "annotations" / "val.json").read_text())
    for spoilt in ([], {"file_name": "a.png"}, {"id": 3}, {"id": [3], "file_name": "a.png"}, {"id": 3, "file_name": 1}):
        with pytest.raises(InputError, match=r"a\.json: image number 1: (it has the|expected an object)"):
            coco = Coco.of({"images": [content["images"][0], spoilt], "annotations": []})
            picture_files(coco, data, tmp_path / "a.json")


def test_a_model_of_own_points_is_not_scored_as_another_set(data: Path) -> None:
    with pytest.raises(
        InputError, match="predicts 'pen_21', but .* has 'coco_17': give the right set with --keypoint-set"
    ):
        load_task(BENCHMARKS["custom"], Places(data), "pen_21")


def test_the_vae_runs_in_fp32_whatever_the_rest_does(checkpoint: Path) -> None:
    predictor = load_sdpose_predictor(checkpoint, EstimatorOptions(dtype="bf16", device="cpu", batch_size=2))
    seen: list[torch.dtype] = []
    predictor.model.vae.register_forward_hook(
        lambda _module, inputs, output: seen.extend([inputs[0].dtype, output.dtype])
    )
    w, h = predictor.model.config.input_size
    pixels = np.random.default_rng(0).integers(0, 255, (1, h, w, 3), np.uint8)
    predictor.heatmaps(pixels)
    assert seen == [torch.float32, torch.float32]
    assert (predictor.meta()["settings"]["dtype"], predictor.meta()["settings"]["vae_dtype"]) == ("bfloat16", "float32")


def test_what_is_not_the_paper_s_protocol_is_said() -> None:
    made = {"settings": {"flip_test": False, "crop": "affine", "input_size": [384, 512]}}
    settings = {"boxes": "ground truth", "nms": "oks", "score_mode": "bbox_keypoint", "predictor": made}
    counts = {"pictures": 5000}
    found = departures(BENCHMARKS["coco"], COCO_17.name, settings, counts)
    assert found == ["boxes: ground truth", "no flip test", "crops of 384 x 512"]
    made["settings"] |= {"flip_test": True, "input_size": [768, 1024]}
    name = Path(BENCHMARKS["coco"].boxes).name
    assert departures(BENCHMARKS["coco"], COCO_17.name, {**settings, "boxes": name}, counts) == []


def test_a_stop_loses_no_finished_benchmark(
    coco: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ["--checkpoint", str(checkpoint), "--benchmark", "coco", "--benchmark", "coco-ood-monet"]
    arguments += ["--data.root", str(coco), "--out", str(tmp_path / "r.json")]
    shutil.copytree(coco / "val2017", coco / "val2017oil", dirs_exist_ok=True)
    done: list[str] = []

    def stop_at_the_second(predictor: Any, task: Any, *args: Any, **options: Any) -> Any:
        done.append(task.benchmark.name)
        if len(done) == 2:
            raise KeyboardInterrupt
        return predict(predictor, task, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(evaluation, "predict", stop_at_the_second)
        assert main(arguments) == 130
    calls: list[int] = []
    chunk = prediction_run._predict_chunk

    def counted(predictor: Any, task: Any, part: Any) -> Any:
        calls.append(task.benchmark.name)
        return chunk(predictor, task, part)

    monkeypatch.setattr(prediction_run, "_predict_chunk", counted)
    assert main(arguments) == 0
    assert set(calls) == {"coco-ood-monet"}
    assert not list(tmp_path.glob("*.parts"))


def test_each_domain_of_custom_data_has_its_table(
    data: Path, checkpoint: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = ["--checkpoint", str(checkpoint), *command(data, tmp_path / "a.json", "--domain", "photo")]
    assert main(first) == 0
    second = command(data, tmp_path / "b.json", "--domain", "sketch", "--also", tmp_path / "a.json")
    assert main(["--checkpoint", str(checkpoint), *second]) == 0
    headings = re.findall(r"^custom \((\w+)\): ", capsys.readouterr().out, re.MULTILINE)
    assert headings == ["photo", "sketch", "photo"]
