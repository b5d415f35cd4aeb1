"""Which frames follow a correction: those that share its error, and no others."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from review_clips import of_person, two_people

from sdpose_core.poses import PoseSequence
from sdpose_core.review.canvas import Canvas
from sdpose_core.review.operations import apply

ERROR = np.array([30.0, -40.0])
POINTS = [7, 9]


def with_error(first: int, last: int) -> PoseSequence:
    """`two_people` with `POINTS` of person 4 at a wrong place from frame `first` to `last`."""
    sequence = two_people()
    keypoints = sequence.keypoints.copy()
    for t in range(first, last + 1):
        keypoints[t, sequence.track_ids[t].tolist().index(4), POINTS] += ERROR
    return replace(sequence, keypoints=keypoints)


def corrected(sequence: PoseSequence, t: int, spread: int) -> np.ndarray:
    """(T, 2, 2) `POINTS` of person 4 after frame `t` was corrected by hand."""
    canvas = Canvas(sequence)
    right = of_person(two_people(), 4)[t, POINTS]
    apply(canvas, {"kind": "move", "t": t, "id": 4, "points": POINTS, "to": right.tolist(), "spread": spread})
    return of_person(canvas.result(), 4)[:, POINTS]


@pytest.mark.parametrize("t", [0, 20, 39])
def test_a_jump_of_one_frame_leaves_its_neighbors_as_they_are(t):
    truth = of_person(two_people(), 4)[:, POINTS]
    np.testing.assert_allclose(corrected(with_error(t, t), t, spread=5), truth, atol=1e-4)


def test_an_error_of_some_frames_is_corrected_in_all_of_them_and_no_others():
    truth = of_person(two_people(), 4)[:, POINTS]
    wrong = np.linalg.norm(of_person(with_error(18, 22), 4)[:, POINTS] - truth, axis=-1).max(axis=1)
    left = np.linalg.norm(corrected(with_error(18, 22), 20, spread=8) - truth, axis=-1).max(axis=1)
    assert (left[18:23] < 0.2 * wrong[18:23]).all()
    assert left[:18].max() < 1e-4 and left[23:].max() < 1e-4


def test_an_error_of_the_whole_clip_fades_over_the_range():
    truth = of_person(two_people(), 4)[:, POINTS]
    left = np.linalg.norm(corrected(with_error(0, 39), 20, spread=5) - truth, axis=-1).max(axis=1)
    assert (np.diff(left[20:27]) > 0).all() and left[20] < 1e-4 and left[26:] == pytest.approx(50, abs=1e-3)


def test_an_absent_frame_next_to_the_correction_is_passed_over():
    sequence = with_error(20, 20)
    ids = sequence.track_ids.copy()
    ids[21][ids[21] == 4] = -1
    truth = of_person(two_people(), 4)[:, POINTS]
    found = corrected(replace(sequence, track_ids=ids), 20, spread=5)
    np.testing.assert_allclose(np.delete(found, 21, axis=0), np.delete(truth, 21, axis=0), atol=1e-4)
