"""Distrust: every signal answers to its fault and is quiet beside it; the probabilities; odd sequences."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from walking_people import AT, FRAME, clip, moved, person, signals, walk

from sdpose_core.errors import InputError
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.sequences import distrust as module
from sdpose_core.sequences.cleaning import clean
from sdpose_core.sequences.distrust import HIGH, REASONS, with_distrust
from sdpose_core.sequences.suspicion.calibration import FORMS, SCORES, basis, calibration, read_table
from sdpose_core.sequences.suspicion.layout import GROUPS
from sdpose_core.skeletons import COCO_WHOLEBODY_133

# The probabilities


def test_distrust_is_high_at_a_fault_with_its_reason():
    good, bad = with_distrust(clip(walk())), with_distrust(clip(moved(walk(), FRAME, "left_wrist", (0, -90))))
    at = (FRAME, 0, AT["left_wrist"])
    assert bad.distrust[at] > max(HIGH, 2 * good.distrust[at])
    assert bad.distrust_reasons[at] & (1 << REASONS.index("jump"))
    assert bad.distrust[at] == bad.distrust.max()
    assert np.abs(bad.distrust - good.distrust)[: FRAME - 3].max() < 0.1
    assert (bad.distrust_reasons[bad.distrust < HIGH] == 0).all() and bad.meta["distrust"]["reasons"] == list(REASONS)


def test_more_suspicion_is_never_less_distrust():
    for name, entry in read_table()["curves"].items():
        for group, curves in entry.items():
            assert np.min(curves["slopes"]) >= 0, (name, group)
            assert len(curves["slopes"]) == len(FORMS[name.split(" ")[1]]) == len(curves["usual"])
            assert group in GROUPS


def test_every_estimator_and_form_has_a_calibration():
    for form in FORMS:
        for estimator in ("preview", "heatmaps", "any"):
            assert set(calibration(estimator, form).groups) == set(GROUPS), (estimator, form)
        assert not calibration("preview", form).borrowed and not calibration("any", form).borrowed
        scores = [FORMS[form].index(name) for name in SCORES if name in FORMS[form]]
        assert all((curves.slopes[scores] == 0).all() for curves in calibration("any", form).groups.values())


def test_the_calibration_follows_what_was_done_to_the_sequence():
    raw = clip(walk())
    cleaned = clean(raw)
    named = [with_distrust(*case).meta["distrust"]["calibration"] for case in (
        (raw,), (cleaned,), (cleaned, raw), (replace(raw, meta={}),), (replace(raw, meta={"weights": {}}),),
        (replace(raw, frame_rate=None, pts=raw.pts * 0),),
    )]  # fmt: skip
    assert named == [
        "preview raw",
        "preview cleaned",
        "preview cleaned_raw",
        "any raw",
        "preview raw",
        "preview picture",
    ]


def test_what_is_not_calibrated_is_named():
    table = {**read_table(), "curves": dict(read_table()["curves"])}
    assert set(calibration("heatmaps", "raw", table).borrowed) == set(GROUPS)
    body = {group: table["curves"]["any raw"][group] for group in ("head", "trunk", "middles", "ends")}
    used = calibration("heatmaps", "raw", {**table, "curves": {**table["curves"], "heatmaps raw": body}})
    assert (used.name, set(used.borrowed)) == ("heatmaps raw", {"feet", "face", "hands"})
    found = with_distrust(replace(clip(walk()), meta={"weights": {}}))
    assert set(found.meta["distrust"]["not_calibrated"]) == {"head", "trunk", "middles", "ends"}
    assert "not_calibrated" not in with_distrust(clip(walk())).meta["distrust"]


def test_parts_of_the_basis_add_up():
    values = np.linspace(0, 5, 50)
    np.testing.assert_allclose(sum(basis(values, np.array([1.0, 2.5]))), values)


# Invariances


@pytest.mark.parametrize("change", ["moved", "other slots", "other ids"])
def test_distrust_does_not_depend_on(change):
    first, second = moved(walk(), FRAME, "left_wrist", (0, -60)), walk(at=(420, 320), step=-2.0)
    sequence = clip(first, second)
    if change == "moved":
        other = clip(first + 50, second + 50)
        sequence, other = (within_a_large_picture(one) for one in (sequence, other))
    elif change == "other slots":
        flipped = {name: getattr(sequence, name)[:, ::-1] for name in ("keypoints", "scores", "boxes", "track_ids")}
        other = replace(sequence, **flipped)
    else:
        other = replace(sequence, track_ids=sequence.track_ids * 5 + 3)
    found, expected = with_distrust(other).distrust, with_distrust(sequence).distrust
    found = found[:, ::-1] if change == "other slots" else found
    np.testing.assert_allclose(found, expected, atol=2e-3)


def within_a_large_picture(sequence: PoseSequence) -> PoseSequence:
    boxes = sequence.boxes + np.array([1000, 1000, 1000, 1000, 0], np.float32)
    return replace(sequence, size=(4000, 4000), keypoints=sequence.keypoints + 1000, boxes=boxes)


def test_points_in_chunks_are_as_all_at_once(monkeypatch):
    sequence = whole_bodies()
    chunked = with_distrust(sequence)
    monkeypatch.setattr(module, "POINTS_AT_ONCE", 133)
    whole = with_distrust(sequence)
    np.testing.assert_array_equal(chunked.distrust, whole.distrust)
    np.testing.assert_array_equal(chunked.distrust_reasons, whole.distrust_reasons)


def whole_bodies() -> PoseSequence:
    """Noise, with absent points and people."""
    rng = np.random.default_rng(0)
    points = 200 + 40 * rng.normal(size=(1, 2, 133, 2)) + rng.normal(size=(30, 2, 133, 2))
    points[rng.random((30, 2, 133)) < 0.2] = np.nan
    ids = np.tile([4, 9], (30, 1))
    ids[12:15, 1] = -1
    boxes = np.tile([80, 80, 320, 320, 0.9], (30, 2, 1))
    number = np.arange(30)
    return PoseSequence(
        points, rng.uniform(0, 1, (30, 2, 133)), boxes, ids, number, number / 25, (400, 400), Fraction(25),
        COCO_WHOLEBODY_133.name, {"preview": True},
    )  # fmt: skip


# Odd sequences


def test_absent_points_and_empty_slots_are_unknown():
    sequence = whole_bodies()
    found = with_distrust(sequence)
    there = np.isfinite(sequence.keypoints[..., 0]) & (sequence.track_ids >= 0)[..., None]
    np.testing.assert_array_equal(np.isfinite(found.distrust), there)
    assert (found.distrust_reasons[~there] == 0).all()
    assert 0 <= np.nanmin(found.distrust) and np.nanmax(found.distrust) <= 1


def test_points_placed_by_hand_are_trusted():
    sequence = clip(moved(walk(), FRAME, "left_wrist", (0, -90)))
    edited = np.zeros(sequence.scores.shape, bool)
    edited[FRAME, 0, AT["left_wrist"]] = True
    found = with_distrust(replace(sequence, edited=edited))
    assert found.distrust[FRAME, 0, AT["left_wrist"]] == 0 == found.distrust_reasons[FRAME, 0, AT["left_wrist"]]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_single_picture(count):
    points = np.stack([person(0, at=(100 + 150 * i, 300)) for i in range(count)]) if count else np.zeros((0, 17, 2))
    boxes = [[*p.min(0), *p.max(0), 1] for p in points]
    poses = Poses(points, np.full((count, 17), 0.9), np.reshape(boxes, (-1, 5)), (640, 360), "coco_17")
    found = with_distrust(PoseSequence.from_poses([poses]))
    assert found.distrust.shape == (1, count, 17) and np.isfinite(found.distrust).all()


def test_pictures_have_nothing_to_do_with_one_another():
    sequence = clip(walk(9), walk(9, at=(300, 300)))
    pictures = replace(sequence, frame_rate=None, pts=sequence.pts * 0)
    order = np.array([4, 0, 8, 3, 1, 7, 2, 5, 6])
    names = ("keypoints", "scores", "boxes", "track_ids")
    mixed = replace(pictures, **{name: getattr(pictures, name)[order] for name in names})
    np.testing.assert_array_equal(with_distrust(mixed).distrust, with_distrust(pictures).distrust[order])


def test_an_unknown_keypoint_set_and_people_without_boxes():
    points = np.random.default_rng(1).uniform(0, 300, (12, 1, 5, 2))
    number = np.arange(12)
    sequence = PoseSequence(
        points, np.ones((12, 1, 5)), np.zeros((12, 1, 5)), np.zeros((12, 1)), number, number / 25, (300, 300),
        Fraction(25), "fish",
    )  # fmt: skip
    assert np.isfinite(with_distrust(sequence).distrust).all()


def test_a_raw_sequence_of_other_frames_is_refused():
    raw = clip(walk())
    with pytest.raises(InputError, match="raw: 20 frames .* expected the same 41 frames"):
        with_distrust(clean(raw), clip(walk(20)))


def test_a_person_whom_the_raw_sequence_lacks():
    raw = clip(walk())
    cleaned = replace(clean(raw), track_ids=raw.track_ids + 7)
    assert signals(cleaned, 7, raw)["filled"].min() == 1
