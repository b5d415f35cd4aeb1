"""Leaving out tracks that are too short to be people."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from sdpose_core.annotate.clip import finish_sequence
from sdpose_core.annotate.clip_options import ClipOptions
from sdpose_core.errors import InputError
from sdpose_core.poses import PoseSequence
from sdpose_core.sequences.short_tracks import LEFT_OUT, drop_short_tracks


def clip(
    frames: int, present: dict[int, list[int]], *, rate: int = 20, cuts: tuple[int, ...] = (), step: int = 1
) -> PoseSequence:
    """People by id, in these frames."""
    ids = np.full((frames, len(present)), -1, np.int32)
    for slot, (person, shown) in enumerate(present.items()):
        ids[shown, slot] = person
    seen = ids >= 0
    keypoints = np.where(seen[..., None, None], 10.0, np.nan) * np.ones((1, 1, 17, 2))
    boxes = np.where(seen[..., None], [0, 0, 20, 20, 0.9], 0)
    index = np.arange(frames) * step
    return PoseSequence(
        keypoints, np.where(seen[..., None], 0.9, 0) * np.ones(17), boxes, ids, index, index / rate, (64, 48),
        Fraction(rate), "coco_17", {"clip": {"counts": {}, "scene_cuts": [cut * step for cut in cuts]}},
    )  # fmt: skip


def people(sequence: PoseSequence) -> list[int]:
    return np.unique(sequence.track_ids[sequence.track_ids >= 0]).tolist()


def test_the_time_in_the_clip_counts_whatever_the_gaps() -> None:
    shown = {0: [*range(60)], 1: [20, 21, 22, 23, 24], 2: [20, 21, 22, 40, 41, 42], 3: [50]}
    sequence = clip(60, shown)
    kept = drop_short_tracks(sequence, 0.3)  # six frames
    assert people(kept) == [0, 2]
    assert kept.meta["clip"]["counts"] == {LEFT_OUT: 2}
    assert drop_short_tracks(sequence, 0) is sequence
    assert drop_short_tracks(kept, 0.3) is kept


def test_seconds_are_those_of_the_frames_that_were_kept() -> None:
    assert people(drop_short_tracks(clip(60, {0: [*range(60)], 1: [20, 21]}, step=3), 0.3)) == [0, 1]
    assert people(drop_short_tracks(clip(60, {0: [*range(60)], 1: [20]}, step=3), 0.3)) == [0]


@pytest.mark.parametrize(("shown", "kept"), [([0, 1, 2], True), ([0, 1], False), ([57, 58, 59], True), ([59], False)])
def test_half_is_enough_for_whom_the_clip_cuts_off(shown: list[int], kept: bool) -> None:
    assert people(drop_short_tracks(clip(60, {0: [*range(60)], 1: shown}), 0.3)) == [0, 1] if kept else [0]


def test_a_scene_and_a_clip_that_are_short_keep_their_people() -> None:
    assert people(drop_short_tracks(clip(1, {0: [0]}), 0.3)) == [0]
    assert people(drop_short_tracks(clip(4, {0: [0, 1, 2, 3], 1: [1, 2]}), 0.3)) == [0, 1]
    shown = {0: [*range(20)], 1: [20, 21, 22, 23], 2: [*range(24, 60)], 3: [30]}
    assert people(drop_short_tracks(clip(60, shown, cuts=(20, 24)), 0.3)) == [0, 1, 2]


def test_an_empty_clip_stays_empty() -> None:
    sequence = clip(5, {})
    assert drop_short_tracks(sequence, 0.3) is sequence


def test_it_is_the_last_step_of_a_clip_and_has_a_setting() -> None:
    sequence = clip(60, {0: [*range(60)], 1: [30, 31]})
    assert people(finish_sequence(sequence, ClipOptions(clean=None))) == [0]
    assert people(finish_sequence(sequence, ClipOptions(clean=None, min_track=0))) == [0, 1]
    given = replace(sequence, meta={**sequence.meta, "boxes_from": "given"})
    assert people(finish_sequence(given, ClipOptions(clean=None))) == [0, 1]
    with pytest.raises(InputError, match="min_track"):
        ClipOptions(min_track=-1)
