"""Annotations and predictions with odd values: what training and evaluation can use, or one line."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from odd_values import odd_versions

from sdpose_core.coco.annotations import Coco
from sdpose_core.errors import SDPoseError
from sdpose_core.images import write_png
from sdpose_core.skeletons import COCO_17
from sdpose_training.data.annotations import read_annotations, read_people
from sdpose_training.evaluation.predictions import read_predictions
from sdpose_training.fit.state import _read_progress

POINTS = np.random.default_rng(0).uniform(5, 45, (17, 2)).tolist()
PERSON = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [1, 2, 30, 40], "area": 100.5, "iscrowd": 0,
          "keypoints": [value for x, y in POINTS for value in (x, y, 2)]}  # fmt: skip
COCO = {
    "images": [{"id": 1, "file_name": "a.png", "width": 64, "height": 48}],
    "annotations": [PERSON, {**PERSON, "id": 2}],
    "categories": [{"id": 1, "name": "person", "keypoints": list(COCO_17.names)}],
}
PREDICTIONS = {
    "ours": [{"id": 0, "img_id": 1, "keypoints": POINTS, "keypoint_scores": [0.9] * 17, "bbox_score": 0.9,
              "bbox_scale": [40.0, 50.0]}],
    "coco": [{"image_id": 1, "category_id": 1, "keypoints": PERSON["keypoints"], "score": 0.8}],
    "with pictures": {"images": [{"id": 5, "file_name": "a.png"}], "categories": [{"id": 1, "name": "person"}],
                      "annotations": [{"image_id": 5, "keypoints": PERSON["keypoints"], "score": 0.8}]},
}  # fmt: skip


def test_odd_annotations_are_one_line(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", np.zeros((48, 64, 3), np.uint8))
    for odd in odd_versions(COCO, 80):
        (tmp_path / "a.json").write_text(json.dumps(odd))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                people, _ = read_people(read_annotations(tmp_path / "a.json"), tmp_path, COCO_17)
        except SDPoseError as error:
            assert "\n" not in str(error) and len(str(error)) < 900
            continue
        assert all(np.isfinite(values).all() for values in (people.boxes_xyxy, people.keypoints, people.areas)), odd


@pytest.mark.parametrize("kind", PREDICTIONS)
def test_odd_predictions_are_one_line(kind: str, tmp_path: Path) -> None:
    for odd in odd_versions(PREDICTIONS[kind], 60):
        (tmp_path / "p.json").write_text(json.dumps(odd))
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                found = read_predictions(tmp_path / "p.json", Coco.of(COCO))
        except SDPoseError as error:
            assert "\n" not in str(error) and len(str(error)) < 900
            continue
        assert not np.isinf(found.keypoints).any(), odd
        assert all(np.isfinite(v).all() for v in (found.keypoint_scores, found.box_scores, found.box_scales)), odd


@pytest.mark.parametrize("text", ["[]", "5", '{"step": "7"}', '{"step": 1, "bad": 2}', '{"steps": 1}', "[" * 10_000])
def test_odd_progress_does_not_fit(text: str, tmp_path: Path) -> None:
    (tmp_path / "progress.json").write_text(text)
    with pytest.raises((ValueError, TypeError)):  # as `load_state` reports
        _read_progress(tmp_path / "progress.json")
