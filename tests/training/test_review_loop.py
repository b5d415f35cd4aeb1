"""The loop of review and training, as docs/review_training.md describes it."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import review_loop
from paths import ROOT

from sdpose_core.poses import PoseSequence


@pytest.mark.slow  # three trainings of a tiny model
def test_20_corrected_frames_make_the_model_better_where_nobody_corrected_it(tmp_path: Path) -> None:
    found = review_loop.run(tmp_path / "loop")
    first, tuned, control = (found[model] for model in ("first", "tuned", "control"))
    assert first["day"]["right"] > 0.95, "the first model does not know its own figures"
    for clip in ("same", "other"):
        assert first[clip]["right"] < 0.3
        assert tuned[clip]["right"] > first[clip]["right"] + 0.5
        assert tuned[clip]["median"] < first[clip]["median"] / 2
        assert control[clip]["right"] < first[clip]["right"] + 0.2, "it got better without the corrections"
    images = json.loads((tmp_path / "loop" / "data" / "annotations" / "train.json").read_text())["images"]
    images += json.loads((tmp_path / "loop" / "data" / "annotations" / "val.json").read_text())["images"]
    assert tuple(image["frame_index"] for image in images) == review_loop.CORRECTED
    assert not set(review_loop.CORRECTED) & set(review_loop.HELD_OUT)


def test_points_count_as_right_by_their_distance() -> None:
    truth = np.stack([review_loop.figure(t, np.zeros(8)) for t in range(3)])
    sequence = review_loop.sequence_of(truth)
    keypoints = np.array(sequence.keypoints)
    keypoints[1, 0, :5] += (0, 2 * review_loop.NEAR)
    keypoints[2, 0, 0] = np.nan
    changed = PoseSequence(**{**vars(sequence), "keypoints": keypoints})
    assert review_loop.figures(changed, truth, (0,)) == {"right": 1.0, "median": 0.0}
    assert review_loop.figures(changed, truth, (1, 2))["right"] == round(1 - 6 / 34, 3)


def test_the_document_names_the_files_that_are_there() -> None:
    page = (ROOT / "docs" / "review_training.md").read_text(encoding="utf-8")
    assert "benchmarks/review_loop.py" in page and (ROOT / "benchmarks" / "review_loop.toml").is_file()
