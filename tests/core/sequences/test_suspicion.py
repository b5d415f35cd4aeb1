"""Every signal of distrust answers to its fault and is quiet beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from walking_people import ALL, AT, FRAME, clip, moved, person, signals, walk

from sdpose_core.sequences.cleaning import clean
from sdpose_core.sequences.suspicion.layout import GROUPS, layout_of
from sdpose_core.sequences.suspicion.windows import middle_of_seven
from sdpose_core.skeletons import COCO_17, COCO_WHOLEBODY_133

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


def test_only_small_people_are_another_matter_than_large_ones():
    sequence = clip(moved(walk(), FRAME, "left_wrist", (0, -60)))
    larger = replace(
        sequence, keypoints=sequence.keypoints * 2, boxes=sequence.boxes * [2, 2, 2, 2, 1], size=(1279, 719)
    )
    found, expected = signals(larger), signals(sequence)
    assert found["small"].max() < expected["small"].max()
    for name in set(ALL) - {"small"}:
        np.testing.assert_allclose(found[name], expected[name], atol=5e-3, err_msg=name)


# Windows and layouts


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
