"""The worst frames of a sequence with distrust."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from sdpose_core.poses import PoseSequence
from sdpose_core.sequences.distrust import REASONS
from sdpose_core.sequences.doubts import (
    WORDS,
    described,
    doubtful_share,
    doubts_of,
    figures,
    in_words,
    reasons_of,
    worst_people,
)

FRAMES, WRIST, KNEE = 100, 9, 13


def sequence(**values: np.ndarray) -> PoseSequence:
    """Two people for four seconds, every point with a distrust of .1."""
    shape = (FRAMES, 2, 17)
    arrays = {
        "keypoints": np.full((*shape, 2), 5.0),
        "scores": np.full(shape, 0.9),
        "boxes": np.tile([1, 1, 9, 9, 1], (FRAMES, 2, 1)),
        "track_ids": np.tile([3, 8], (FRAMES, 1)),
        "frame_index": np.arange(FRAMES) + 1000,
        "pts": np.arange(FRAMES) / 25,
        "distrust": np.full(shape, 0.1),
        "distrust_reasons": np.zeros(shape, np.uint16),
    }
    return PoseSequence(**{**arrays, **values}, size=(20, 20), frame_rate=Fraction(25), keypoint_set="coco_17")


def doubtful(places: dict[tuple[int, int, int], float]) -> PoseSequence:
    """The sequence with {(frame, slot, point): distrust}, for jumps and exchanged sides."""
    given = sequence()
    distrust, reasons = np.array(given.distrust), np.array(given.distrust_reasons)
    for place, value in places.items():
        distrust[place] = value
        reasons[place] = (1 << REASONS.index("jump")) | (1 << REASONS.index("left_right"))
    return sequence(distrust=distrust, distrust_reasons=reasons)


def test_the_worst_come_first_one_for_each_person_and_second() -> None:
    found = doubts_of(
        doubtful({(10, 0, WRIST): 0.7, (12, 0, KNEE): 0.9, (12, 1, KNEE): 0.6, (30, 0, WRIST): 0.8, (60, 1, 0): 0.45})
    )
    assert [(d.t, d.id, round(d.distrust, 2), d.points) for d in found] == [
        (12, 3, 0.9, (KNEE,)), (30, 3, 0.8, (WRIST,)), (12, 8, 0.6, (KNEE,)),
    ]  # fmt: skip
    assert all(set(d.reasons) == {"jump", "left_right"} for d in found)


def test_what_was_found_right_stands_for_its_second() -> None:
    given = doubtful({(10, 0, WRIST): 0.7, (12, 0, KNEE): 0.9, (30, 0, WRIST): 0.8, (12, 1, KNEE): 0.6})
    assert given.distrust is not None and given.distrust_reasons is not None
    right = np.zeros((FRAMES, 2), bool)
    right[12, 0] = True
    found = worst_people(
        given.distrust, given.distrust_reasons, given.track_ids, given.keypoint_set, given.frame_rate, right
    )
    assert [(d.t, d.id) for d in found] == [(30, 3), (12, 8)]


def test_figures_name_frames_of_the_source_and_points() -> None:
    given = doubtful({(10, 0, WRIST): 0.7, (10, 0, KNEE): 0.9, (70, 1, WRIST): 0.6})
    found = figures(given, most=1)
    assert found == {
        "doubtful": round(3 / (FRAMES * 2 * 17), 5),
        "frames": 2,
        "worst": [
            {"frame": 1010, "seconds": 0.4, "id": 3, "distrust": 0.9, "reasons": [*_both()],
             "points": ["left_knee", "left_wrist"]}
        ],
        "calibrated": True,
    }  # fmt: skip
    uncalibrated = replace(given, meta={**given.meta, "distrust": {"not_calibrated": ["head"]}})
    assert not figures(uncalibrated)["calibrated"]
    line = in_words(found["worst"][0])
    assert line.startswith("frame 1010 (0.4 s), person 3: 90% likely to be wrong (") and "left_knee, left_wrist" in line
    assert described(given, doubts_of(given)[1])["frame"] == 1070
    assert doubtful_share(given, 8) == pytest.approx(1 / (FRAMES * 17))


def _both() -> tuple[str, ...]:
    return tuple(name for name in REASONS if name in ("jump", "left_right"))


def test_absent_points_and_empty_slots_count_for_nothing() -> None:
    distrust = np.full((FRAMES, 2, 17), 0.9)
    distrust[:, 0] = np.nan
    ids = np.tile([3, -1], (FRAMES, 1))
    given = sequence(distrust=distrust, track_ids=ids)
    assert doubts_of(given) == [] and doubtful_share(given) == 0


def test_every_reason_has_words() -> None:
    assert set(WORDS) == set(REASONS)
    assert reasons_of((1 << len(REASONS)) - 1) == REASONS
