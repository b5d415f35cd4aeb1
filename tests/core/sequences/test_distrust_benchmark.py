"""What `benchmarks/distrust.py` counts, and the calibration on a few stored clips that it was not fitted on."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from distrusting.clips import as_pictures, errors, torso
from distrusting.figures import Judged, calibration_error, ranking, reliability
from distrusting.fit import Samples, fit, knots_of
from paths import ROOT

from sdpose_core.poses import PoseSequence
from sdpose_core.sequences.distrust import with_distrust
from sdpose_core.sequences.suspicion.calibration import FORMS, SCORES
from sdpose_core.sequences.suspicion.layout import GROUPS

STORED = ROOT / "tests" / "data" / "distrust"
"""Rendered clips held out of the fit: body points as estimated by the preview, and the truth."""


def stored() -> list[tuple[PoseSequence, PoseSequence]]:
    return [
        (PoseSequence.load(path), PoseSequence.load(Path(str(path).replace("_raw", "_truth"))))
        for path in sorted(STORED.glob("*_raw.pose.npz"))
    ]


@pytest.fixture(scope="module")
def truth() -> PoseSequence:
    return stored()[0][1]


def test_the_truth_is_not_wrong_and_a_tenth_of_the_torso_is(truth):
    off = errors(truth, truth)
    assert np.nanmax(off) == 0
    t, slot = np.argwhere(truth.track_ids >= 0)[0]
    for share, wrong in ((0.09, False), (0.11, True)):
        keypoints = np.array(truth.keypoints)
        keypoints[t, slot, 9, 0] += share * torso(truth.keypoints[t, slot])
        assert (errors(replace(truth, keypoints=keypoints), truth)[t, slot, 9] > 1) == wrong


def test_a_track_on_somebody_else_is_all_wrong():
    truth = next(t for _, t in stored() if (t.track_ids >= 0).all(axis=1).sum() > 20 and t.track_ids.shape[1] > 1)
    both = np.flatnonzero((truth.track_ids[:, :2] >= 0).all(axis=1))
    t = both[len(both) // 2]
    ids = np.array(truth.track_ids)
    ids[t, :2] = ids[t, 1::-1]
    off = errors(replace(truth, track_ids=ids), truth)
    assert (off[t, :2] > 1).any(axis=1).all() and np.nanmax(np.delete(off, t, axis=0)) == 0


def test_nobody_there_is_infinitely_wrong(truth):
    away = replace(truth, keypoints=truth.keypoints + 3000)
    off = errors(away, truth)
    assert np.isinf(off[truth.track_ids >= 0]).all()


def test_ranking_and_calibration_of_known_points():
    wrong = np.repeat([True, False], [10, 190])
    perfect = ranking(wrong, wrong.astype(float))
    assert (perfect.auc, perfect.precision, perfect.recall) == (1, 1, 1)
    opposite = ranking(wrong, -wrong.astype(float))
    assert (opposite.auc, opposite.precision, opposite.recall) == (0, 0, 0)
    judged = Judged(wrong, np.full(200, 0.25), np.zeros(200))
    assert calibration_error(judged) == pytest.approx(0.2) and reliability(judged) == [(0.25, 0.05, 200)]


def test_the_fit_finds_which_signal_matters():
    rng = np.random.default_rng(0)
    samples, names = Samples(), FORMS["raw"]
    values = rng.uniform(0, 3, (len(names), 4000)).astype(np.float32)
    odds = 3 * values[names.index("jump")] - 5
    samples.values["head"], samples.wrong["head"] = [values], [rng.random(4000) < 1 / (1 + np.exp(-odds))]
    curves = fit(samples, "raw", knots_of([("raw", samples)]), GROUPS, without=SCORES)
    assert set(curves) == set(GROUPS)
    slopes = np.asarray(curves["head"]["slopes"])
    assert slopes.sum(axis=1).argmax() == names.index("jump") and slopes[names.index("jump")].mean() > 1.5
    assert (slopes[[names.index(name) for name in SCORES]] == 0).all()


def judged(form: str) -> Judged:
    parts = []
    for raw, truth in stored():
        sequence, truth = (as_pictures(raw), as_pictures(truth)) if form == "picture" else (raw, truth)
        off, distrust = errors(sequence, truth), with_distrust(sequence).distrust
        known = ~np.isnan(off)
        parts.append(Judged(off[known] > 1, distrust[known], sequence.scores[known]))
    return Judged.joined(parts)


@pytest.mark.parametrize("form", ["raw", "picture"])
def test_stored_clips_are_ranked_better_than_by_score_and_calibrated(form):
    points = judged(form)
    by_distrust, by_score = ranking(points.wrong, points.distrust), ranking(points.wrong, -points.score)
    assert by_distrust.auc > by_score.auc + 0.03 and by_distrust.auc > 0.7
    assert calibration_error(points) < 0.15
