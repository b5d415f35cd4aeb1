"""Distrust: every signal answers to its fault and is quiet beside it; the probabilities; odd sequences."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from moving_people import figure

from sdpose_core.errors import InputError
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.sequences import distrust as module
from sdpose_core.sequences.cleaning import clean
from sdpose_core.sequences.distrust import HIGH, REASONS, scenes, with_distrust
from sdpose_core.sequences.suspicion.calibration import FORMS, SCORES, basis, calibration, read_table
from sdpose_core.sequences.suspicion.layout import GROUPS, layout_of
from sdpose_core.sequences.suspicion.signals import SIGNALS, signals_of
from sdpose_core.sequences.suspicion.windows import middle_of_seven
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133

AT = {name: i for i, name in enumerate(COCO_17.names)}
ALL = tuple(SIGNALS)
FRAME = 20


def person(t: int, at: tuple[float, float] = (100, 300), step: float = 2.0) -> np.ndarray:
    return figure(at[0] + step * t, at[1], 200, t / 14, 1)


def clip(*people: np.ndarray, ids: tuple[int, ...] | None = None, meta: dict | None = None) -> PoseSequence:
    """A clip at 25 frames per second of people (T, 17, 2) each, with boxes a little larger than their points."""
    points = np.stack(people, axis=1).astype(np.float32)
    boxes = np.concatenate(
        [np.nanmin(points, axis=2) - 8, np.nanmax(points, axis=2) + 8, points[:, :, 0, :1] * 0 + 1], axis=2
    )
    track_ids = np.tile(ids or np.arange(len(people)), (len(points), 1))
    number = np.arange(len(points))
    return PoseSequence(
        points, np.full(points.shape[:3], 0.8), np.nan_to_num(boxes), track_ids, number, number / 25, (640, 360),
        Fraction(25), "coco_17", meta or {"preview": True},
    )  # fmt: skip


def walk(frames: int = 41, **where) -> np.ndarray:
    return np.stack([person(t, **where) for t in range(frames)])


def signals(sequence: PoseSequence, track_id: int = 0, raw: PoseSequence | None = None) -> dict[str, np.ndarray]:
    """Name -> (N, K) of one person."""
    for scene, _, _ in scenes(sequence, raw):
        if scene.track.id == track_id:
            points = np.arange(sequence.scores.shape[2])
            return dict(zip(ALL, signals_of(scene, points, ALL), strict=True))
    raise AssertionError(f"nobody has id {track_id}")


def moved(points: np.ndarray, frame: int, name: str, by: tuple[float, float]) -> np.ndarray:
    result = points.copy()
    result[frame, AT[name]] += by
    return result


# Each signal: its fault, and quiet beside it


def test_a_jump_is_seen_where_it_is_and_nowhere_else():
    still, faulty = signals(clip(walk())), signals(clip(moved(walk(), FRAME, "left_wrist", (0, -60))))
    for name in ("jump", "jitter", "rare"):
        gain = faulty[name] - still[name]
        assert gain[FRAME, AT["left_wrist"]] > (0.2 if name == "rare" else 0.8), name
        assert np.abs(gain[: FRAME - 3]).max() < 0.1 and np.abs(gain[FRAME, AT["right_ankle"]]) < 0.1, name
    assert faulty["jump"].argmax() == FRAME * 17 + AT["left_wrist"]
    assert np.abs(faulty["jump"] - still["jump"])[FRAME + 1 :].max() < 0.1


def test_steady_motion_is_no_jump_however_fast():
    fast = signals(clip(walk(step=25.0)))
    assert fast["jump"].max() < 0.7
    assert signals(clip(np.repeat(person(0)[None], 41, 0) + 25 * np.arange(41)[:, None, None]))["jump"].max() == 0


def test_a_stretched_bone_is_seen_at_its_ends():
    points = walk()
    points[FRAME : FRAME + 8, AT["right_ankle"], 1] += 80
    found, still = signals(clip(points)), signals(clip(walk()))
    assert found["long_bone"][FRAME + 5, AT["right_ankle"]] > 0.3
    assert found["long_bone"][FRAME + 5, AT["right_knee"]] > found["long_bone"][FRAME + 5, AT["left_knee"]] + 0.1
    assert (found["long_bone"] - still["long_bone"])[FRAME + 5, AT["left_wrist"]] == pytest.approx(0, abs=0.05)


def test_exchanged_sides_are_seen_in_the_limbs_that_are_exchanged():
    points = walk()
    points[:, [AT["left_wrist"], AT["left_elbow"]], 0] -= 25  # apart from the right arm
    swapped = points.copy()
    pairs = [(AT[f"left_{part}"], AT[f"right_{part}"]) for part in ("shoulder", "elbow", "wrist")]
    for left, right in pairs:
        swapped[FRAME, [left, right]] = points[FRAME, [right, left]]
    found, still = signals(clip(swapped))["swapped"], signals(clip(points))["swapped"]
    assert found[FRAME, AT["left_wrist"]] > 0.5 > 0.2 > still[FRAME, AT["left_wrist"]]
    assert found[FRAME, AT["left_ankle"]] < 0.2 and found[FRAME - 4, AT["left_wrist"]] < 0.2


def test_shoulders_and_hips_that_face_opposite_ways():
    points = np.repeat(person(0)[None], 9, 0)
    for left, right in (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip")):
        points[:, AT[left], 0], points[:, AT[right], 0] = 125, 95
    assert signals(clip(points))["facing"].max() == 0
    points[4, [AT["left_hip"], AT["right_hip"]]] = points[4, [AT["right_hip"], AT["left_hip"]]]
    found = signals(clip(points))["facing"]
    assert found[4].min() > 0.3 and found[[3, 5]].max() == 0


def test_both_sides_at_one_place():
    points = walk()
    points[:, AT["left_ankle"], 0] = points[:, AT["right_ankle"], 0] + 60
    points[FRAME, AT["left_ankle"]] = points[FRAME, AT["right_ankle"]]
    found = signals(clip(points))["collapsed"]
    assert found[FRAME, [AT["left_ankle"], AT["right_ankle"]]].min() == 1 and found[FRAME - 1, AT["left_ankle"]] == 0
    assert found[:, AT["nose"]].max() == 0


def test_a_point_outside_the_picture_or_the_box():
    sequence = clip(walk())
    keypoints = np.array(sequence.keypoints)
    keypoints[5, 0, AT["left_wrist"]] = (-30, 200)
    keypoints[6, 0, AT["right_wrist"]] = (400, 200)
    found = signals(replace(sequence, keypoints=keypoints))
    assert found["beyond"][5, AT["left_wrist"]] > 1 and found["beyond"][6, AT["right_wrist"]] > 1
    assert found["border"][5, AT["left_wrist"]] == 1 and found["border"][6, AT["right_wrist"]] == 0
    found["beyond"][[5, 6], [AT["left_wrist"], AT["right_wrist"]]] = 0
    assert found["beyond"].max() == 0


def test_exchanged_ids_make_both_jump():
    first, second = walk(), walk(at=(420, 320), step=-2.0)
    swap = slice(FRAME, FRAME + 2)
    first[swap], second[swap] = second[swap].copy(), first[swap].copy()
    for track_id in (0, 1):
        found = signals(clip(first, second), track_id)
        assert found["box_jump"][swap].min() > 1.5 and found["jump"][swap].min() > 1.5
        assert found["box_jump"][[FRAME - 5, FRAME + 6]].max() < 0.7


def test_who_appears_within_the_clip_is_distrusted_at_first():
    late = walk(at=(300, 300))
    sequence = clip(walk(), late)
    ids = np.array(sequence.track_ids)
    ids[:15, 1] = -1
    found = signals(replace(sequence, track_ids=ids), 1)["brief"]
    assert found[0].min() == pytest.approx(1) and found[13:].max() == 0
    assert signals(sequence, 1)["brief"].max() == 0
    cut = replace(sequence, track_ids=ids, meta={"preview": True, "clip": {"scene_cuts": [15]}})
    assert signals(cut, 1)["brief"].max() == 0, "a cut explains it"


def test_two_people_with_one_wrist():
    first, second = walk(), walk(at=(260, 300))
    second[FRAME, AT["left_wrist"]] = first[FRAME, AT["left_wrist"]]
    found = signals(clip(first, second))
    assert found["shared"][FRAME, AT["left_wrist"]] == 1
    found["shared"][FRAME, AT["left_wrist"]] = 0
    assert found["shared"].max() == 0
    assert found["covered"][FRAME, AT["left_wrist"]] == 1, "the other's box reaches it"
    assert found["covered"][FRAME - 1].max() == 0


def test_low_scores_count_against_the_points_own():
    sequence = clip(walk())
    scores = np.array(sequence.scores)
    scores[FRAME, 0, AT["nose"]] = 0.3
    scores[:, 0, AT["left_ear"]] = 0.3
    found = signals(replace(sequence, scores=scores))
    assert found["score"][FRAME, AT["nose"]] == pytest.approx(-np.log(0.3), abs=1e-3)
    assert found["score_drop"][FRAME, AT["nose"]] == pytest.approx(2, abs=1e-3)
    assert found["score_drop"][:, AT["left_ear"]].max() == 0, "it always has this score"


def test_what_cleaning_moved_and_filled():
    raw = clip(moved(walk(), FRAME, "left_wrist", (0, -60)))
    keypoints = np.array(raw.keypoints)
    keypoints[10, 0, AT["nose"]] = np.nan
    raw = replace(raw, keypoints=keypoints)
    found = signals(clean(raw), raw=raw)
    assert found["filled"][10, AT["nose"]] == 1 and found["filled"].sum() == 1
    assert found["moved"][FRAME, AT["left_wrist"]] > 1 and found["moved"][FRAME - 5].max() < 0.7
    assert found["raw_jump"][FRAME, AT["left_wrist"]] > 1


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
        assert not calibration("preview", form).borrowed
        scores = [FORMS[form].index(name) for name in SCORES if name in FORMS[form]]
        assert all((curves.slopes[scores] == 0).all() for curves in calibration("any", form).groups.values())


def test_the_calibration_follows_what_was_done_to_the_sequence():
    raw = clip(walk())
    cleaned = clean(raw)
    named = [with_distrust(*case).meta["distrust"]["calibration"] for case in (
        (raw,), (cleaned,), (cleaned, raw), (replace(raw, meta={}),),
        (replace(raw, frame_rate=None, pts=raw.pts * 0),),
    )]  # fmt: skip
    assert named == ["preview raw", "preview cleaned", "preview cleaned_raw", "any raw", "preview picture"]


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


def test_only_small_people_are_another_matter_than_large_ones():
    sequence = clip(moved(walk(), FRAME, "left_wrist", (0, -60)))
    larger = replace(
        sequence, keypoints=sequence.keypoints * 2, boxes=sequence.boxes * [2, 2, 2, 2, 1], size=(1279, 719)
    )
    found, expected = signals(larger), signals(sequence)
    assert found["small"].max() < expected["small"].max()
    for name in set(ALL) - {"small"}:
        np.testing.assert_allclose(found[name], expected[name], atol=5e-3, err_msg=name)


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


def test_the_middle_of_seven_is_the_median():
    rng = np.random.default_rng(2)
    values, still = rng.normal(size=(50, 3)), np.zeros(50)
    expected = [np.median(values[t - 3 : t + 4], axis=0) for t in range(3, 47)]
    np.testing.assert_allclose(middle_of_seven(values, still)[3:47], expected)
    values[10:15, 0] = np.nan
    found = middle_of_seven(values, still)[12, 0]
    assert found in values[[9, 15], 0], "of two known ones, one"
    values[5:20] = np.nan
    assert np.isnan(middle_of_seven(values, still)[12]).all()


def test_a_pause_ends_a_path():
    values = np.concatenate([np.zeros((10, 1)), np.full((10, 1), 100.0)])
    assert np.isin(middle_of_seven(values, np.repeat([0, 1], 10)), [0, 100]).all()
    np.testing.assert_array_equal(middle_of_seven(values, np.repeat([0, 1], 10)), values)


def test_layouts_name_every_point():
    for points in (COCO_17, COCO_WHOLEBODY_133):
        layout = layout_of(points.name, len(points))
        named = {name: GROUPS[layout.group[i]] for i, name in enumerate(points.names)}
        assert (named["nose"], named["left_hip"], named["right_knee"]) == ("head", "trunk", "middles")
        assert named["left_wrist"] == "ends"
        assert [points.names[layout.partner[points.index(name)]] for name in ("left_eye", "right_ankle")] == [
            "right_eye", "left_ankle"]  # fmt: skip
        assert layout.partner[0] == -1
    assert [named[name] for name in ("left_heel", "face-3", "right_thumb4")] == ["feet", "face", "hands"]
    assert layout.side[COCO_WHOLEBODY_133.index("left_thumb4")] == layout.side[AT["left_wrist"]]
