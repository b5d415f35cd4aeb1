"""Fitting clips to references, on figures whose limbs and motion are known."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from paths import ROOT

from sdpose_core.cli.main import main
from sdpose_core.errors import InputError
from sdpose_core.images import write_png
from sdpose_core.openpose.writer import write_openpose_json
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.retarget.affine import AFFINE_NODES, least_squares
from sdpose_core.retarget.body import BONES, LIMBS, MID_HIP, NECK, body_nodes
from sdpose_core.retarget.fitting import METHODS, describe_canvas, retarget
from sdpose_core.sequences.cleaning import clean

SIZE = (1000, 1000)
SIDES = ("left", "right")
USUAL = {name: limb.usual for name, limb in LIMBS.items()}
PROPORTIONS = ("trunk", "shoulders", "hips", "neck", "head", "upper_arm", "forearm", "thigh", "shank")
CHAINS = [bone for bone in BONES if bone[2] != "head"]


# --- figures --------------------------------------------------------------------------------------------------------


def upright() -> dict[str, float]:
    """Angles of the limbs in degrees, 0 is to the right of the picture, 90 is down; the person faces the camera."""
    return {
        "trunk": -90, "neck": -90, "shoulders": 0, "hips": 0, "left_upper_arm": 60, "right_upper_arm": 120,
        "left_forearm": 80, "right_forearm": 100, "left_thigh": 85, "right_thigh": 95, "left_shank": 90,
        "right_shank": 90,
    }  # fmt: skip


def figure(
    limbs: dict[str, float],
    angles: dict[str, float],
    hips: tuple[float, float],
    scale: float = 100,
    turned: float = 1.0,
) -> np.ndarray:
    """(17, 2): limbs in lengths of the trunk, the trunk `scale` pixels long; `turned` narrows shoulders and hips."""

    def way(limb: str, share: float = 1.0) -> np.ndarray:
        name = limb.partition("_")[2] if limb.startswith(SIDES) else limb
        length = limbs.get(limb, limbs.get(name, USUAL.get(limb, 0))) * scale * share
        return length * np.asarray([np.cos(np.radians(angles[limb])), np.sin(np.radians(angles[limb]))])

    points = np.zeros((17, 2))
    root = np.asarray(hips, np.float64)
    neck = root + way("trunk")
    points[11], points[12] = root + way("hips", 0.5), root - way("hips", 0.5)
    points[5], points[6] = neck + way("shoulders", 0.5), neck - way("shoulders", 0.5)
    points[0] = neck + way("neck")
    head = limbs["head"] * scale * np.asarray([[0.25, -0.15], [-0.25, -0.15], [0.5, -0.05], [-0.5, -0.05]])
    points[1:5] = points[0] + head
    for a, b, limb in BONES:
        if limb.startswith(SIDES):
            points[b] = points[a] + way(limb)
    return points


def usual() -> dict[str, float]:
    return {name: USUAL.get(name, USUAL.get(f"left_{name}", 0)) for name in PROPORTIONS}


def other(seed: int, spread: float = 0.15) -> dict[str, float]:
    """Somebody else's proportions."""
    factors = np.random.default_rng(seed).uniform(1 - spread, 1 + spread, len(PROPORTIONS))
    return {name: value * factor for (name, value), factor in zip(usual().items(), factors, strict=True)}


def whole_body(body: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """(17, 2) -> (133, 2): feet, face and hands somewhere about ankles, nose and wrists."""
    points = np.concatenate([body, np.zeros((116, 2))])
    for joint, indices in {
        15: range(17, 20), 16: range(20, 23), 0: range(23, 91), 9: range(91, 112), 10: range(112, 133)
    }.items():  # fmt: skip
        points[list(indices)] = body[joint] + rng.uniform(-15, 15, (len(indices), 2))
    return points


def poses(points: np.ndarray | Sequence[np.ndarray], size: tuple[int, int] = SIZE, score: float = 0.9) -> Poses:
    """One or several people with boxes 10 px about their points."""
    people = np.asarray(points, np.float64)
    people = people[None] if people.ndim == 2 else people
    low, high = np.nanmin(people, axis=1) - 10, np.nanmax(people, axis=1) + 10
    boxes = np.concatenate([low, high, np.full((len(people), 1), 0.8)], axis=1)
    name = "coco_17" if people.shape[1] == 17 else "coco_wholebody_133"
    return Poses(people, np.full(people.shape[:2], score), boxes, size, name)


def sequence(frames: Sequence[np.ndarray | Sequence[np.ndarray]], size: tuple[int, int] = SIZE) -> PoseSequence:
    return PoseSequence.from_poses([poses(frame, size) for frame in frames], frame_rate=Fraction(25))


def dance(
    limbs: dict[str, float], frames: int = 40, seed: int = 0, grow: float = 0.0, foreshorten: bool = False
) -> list[np.ndarray]:
    """Limbs that swing, about a place that wanders; `grow` per frame; arms and thighs may point at the camera."""
    rng = np.random.default_rng(seed)
    phases, speeds = rng.uniform(0, 6, 12), rng.uniform(0.1, 0.4, 12)
    made = []
    for t in range(frames):
        swings = 40 * np.sin(speeds * t + phases)
        swings[2:4] *= 0.3
        angles = {name: angle + swing for (name, angle), swing in zip(upright().items(), swings, strict=True)}
        own = dict(limbs)
        if foreshorten:
            short = np.cos(np.radians(65 * np.sin(0.3 * t + phases[:4])))
            for limb, factor in zip(("left_forearm", "right_upper_arm", "left_thigh", "trunk"), short, strict=True):
                own[limb] = limbs.get(limb, limbs.get(limb.partition("_")[2])) * factor
        scale = 100 * (1 + grow) ** t
        made.append(figure(own, angles, (400 + 3 * t, 500 + 20 * np.sin(0.2 * t)), scale))
    return made


def lengths(points: np.ndarray) -> np.ndarray:
    """(..., 17, 2) -> (..., 14) pixels of the bones of the chains."""
    people = points.reshape(-1, 17, 2)
    nodes = body_nodes(people, np.isfinite(people).all(axis=-1))
    found = [np.linalg.norm(nodes[:, a] - nodes[:, b], axis=-1) for a, b, _ in CHAINS]
    return np.stack(found, axis=-1).reshape(*points.shape[:-2], len(CHAINS))


def person(result: PoseSequence, slot: int = 0) -> np.ndarray:
    """(T, K, 2)."""
    return result.keypoints[:, slot].astype(np.float64)


# --- nothing changes where nothing should ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "grow", "method", "seed"),
    [  # every pair of kind, growth and method, and every seed
        ("body", 0.0, "limbs", 0), ("body", 0.02, "affine", 1), ("body", -0.01, "none", 2),
        ("whole body", 0.0, "affine", 3), ("whole body", 0.02, "none", 4), ("whole body", -0.01, "limbs", 0),
        ("two people", 0.0, "none", 1), ("two people", 0.02, "limbs", 2), ("two people", -0.01, "affine", 3),
    ],
)  # fmt: skip
def test_a_clip_fitted_to_its_own_first_frame_is_unchanged(method: str, seed: int, grow: float, kind: str) -> None:
    rng = np.random.default_rng(seed)
    frames = dance(other(seed), seed=seed, grow=grow, foreshorten=True)
    if kind == "whole body":
        frames = [whole_body(points, rng) for points in frames]
    for points in frames:
        points[rng.random(len(points)) < 0.1] = np.nan
    if kind == "two people":
        frames = [
            np.stack([a, b + [300, -20]]) for a, b in zip(frames, dance(other(9), seed=seed + 50), strict=True)
        ]  # fmt: skip
    clip = sequence(frames)
    result = retarget(clip, clip.frame(0), method)
    np.testing.assert_allclose(result.keypoints, clip.keypoints, atol=1e-3)
    np.testing.assert_allclose(result.boxes, clip.boxes, atol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_a_clip_fitted_to_itself_is_unchanged(method: str) -> None:
    clip = sequence(dance(other(1), foreshorten=True))
    np.testing.assert_allclose(retarget(clip, clip, method).keypoints, clip.keypoints, atol=1e-3)


@pytest.mark.parametrize("seed", range(3))
def test_a_first_frame_that_was_estimated_anew_changes_little(seed: int) -> None:
    """Figures 300 px high; without the comparison in that frame the foreshortened limbs would be 30% short."""
    frames = dance(usual(), seed=seed, foreshorten=True)
    again = frames[0] + np.random.default_rng(seed).normal(0, 1, (17, 2))
    moved = np.abs(person(retarget(sequence(frames), poses(again))) - frames)
    assert np.median(moved) < 5
    assert np.quantile(moved, 0.95) < 15


@pytest.mark.parametrize("method", METHODS)
def test_what_is_not_geometry_stays(method: str) -> None:
    clip = replace(sequence(dance(usual())), meta={"model": "x", "clean": {"smooth": 1.2}})
    result = retarget(clip, poses(figure(other(2), upright(), (300, 400), 120), (640, 800)), method)
    for name in ("scores", "track_ids", "frame_index", "pts"):
        np.testing.assert_array_equal(getattr(result, name), getattr(clip, name))
    assert result.boxes[..., 4].tolist() == clip.boxes[..., 4].tolist()
    assert (result.frame_rate, result.keypoint_set, result.size) == (Fraction(25), "coco_17", (640, 800))
    assert result.meta["model"] == "x"
    assert result.meta["retarget"]["method"] == method


# --- limbs ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seed", "grow"), [(0, 0.0), (1, 0.015), (2, 0.0), (3, 0.015)])
def test_limbs_get_the_lengths_of_the_reference(seed: int, grow: float) -> None:
    clip = dance(other(seed + 100), seed=seed, grow=grow)
    reference = figure(other(seed), {**upright(), "left_upper_arm": 20, "right_thigh": 130}, (500, 450), 150)
    result = retarget(sequence(clip), poses(reference))
    [note] = result.meta["retarget"]["people"].values()
    there = person(result)
    relative = lengths(there) / lengths(reference)
    np.testing.assert_allclose(relative[note["frame"]], 1, rtol=0.01)
    np.testing.assert_allclose(relative / relative[:, :1], 1, rtol=0.01)


@pytest.mark.parametrize("seed", range(2))
def test_limbs_keep_their_directions(seed: int) -> None:
    clip = np.stack(dance(other(seed + 100), seed=seed, foreshorten=True))
    result = person(retarget(sequence(clip), poses(figure(other(seed), upright(), (500, 450), 150))))
    seen = np.isfinite(clip).all(axis=-1)
    for a, b, limb in BONES:
        before, after = (body_nodes(points, seen)[:, b] - body_nodes(points, seen)[:, a] for points in (clip, result))
        cross = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
        assert np.abs(cross / np.linalg.norm(before, axis=1) / np.linalg.norm(after, axis=1)).max() < 1e-3, limb
        assert ((before * after).sum(axis=1) > 0).all(), limb


@pytest.mark.parametrize("limb", ["left_forearm", "right_upper_arm", "left_thigh"])
def test_a_limb_that_often_points_at_the_camera_is_not_made_too_long(limb: str) -> None:
    clip = dance(usual(), 60, foreshorten=True)
    bone = [bone[2] for bone in CHAINS].index(limb)
    median = np.median([lengths(points)[bone] for points in clip])
    reference = figure(usual(), upright(), (500, 450), 100)
    result = retarget(sequence(clip), poses(reference))
    [note] = result.meta["retarget"]["people"].values()
    assert note["ratios"][limb] == pytest.approx(1, abs=0.09)
    assert lengths(reference)[bone] / median > 1.2


def test_whoever_comes_nearer_keeps_growing() -> None:
    clip = dance(usual(), 50, grow=0.02)
    result = person(retarget(sequence(clip), poses(figure(other(4), upright(), (500, 450), 130))))
    trunk = [bone[2] for bone in CHAINS].index("trunk")
    before, after = (lengths(np.asarray(points))[:, trunk] for points in (clip, result))
    np.testing.assert_allclose(after / after[0], before / before[0], rtol=1e-3)


def test_the_typical_or_the_first_frame_has_the_size_of_the_reference() -> None:
    clip, reference = sequence(dance(usual(), 41, grow=0.02)), figure(other(4), upright(), (500, 450), 130)
    trunk = [bone[2] for bone in CHAINS].index("trunk")
    for at, frames in (("first", [0]), ("typical", range(12, 29))):
        result = retarget(clip, poses(reference), at=at)
        relative = lengths(person(result))[:, trunk] / lengths(reference)[trunk]
        assert int(np.abs(relative - 1).argmin()) in frames


@pytest.mark.parametrize("hidden", [7, 8, 13, 9])
def test_what_is_beyond_a_hidden_joint_stays_attached(hidden: int) -> None:
    """Different ratios along the chain: without the joint between, the way is scaled by what lies between."""
    limbs = usual()
    reference = figure(
        {**limbs, "upper_arm": 2 * limbs["upper_arm"], "thigh": 1.6 * limbs["thigh"]}, upright(), (500, 400)
    )
    straight = {**upright(), "left_forearm": 60, "right_forearm": 120, "left_shank": 85}
    clip = np.stack([figure(limbs, straight, (400, 500))] * 9)
    whole = person(retarget(sequence(clip), poses(reference), feet=False))
    clip[4, hidden] = np.nan
    result = person(retarget(sequence(clip), poses(reference), feet=False))
    assert np.isnan(result[4, hidden]).all()
    others = [point for point in range(17) if point != hidden]
    # in a straight limb the mean of the ratios, weighted by what is usual, is the ratio of the whole
    np.testing.assert_allclose(result[4, others], whole[4, others], atol=0.5)
    np.testing.assert_allclose(result[5], whole[5], atol=0.1)


def test_where_the_hips_are_hidden_they_go_along_with_the_shoulders() -> None:
    clip = np.stack(dance(usual())) + [150, 0] * np.sin(np.arange(40) / 3)[:, None, None]
    reference = poses(figure(other(3), upright(), (500, 400)))
    whole = person(retarget(sequence(clip), reference, at="first"))
    clip[10:25, [11, 12]] = np.nan
    assert np.nanmax(np.abs(person(retarget(sequence(clip), reference, at="first")) - whole)) < 20


def test_no_ratio_is_far_from_the_others() -> None:
    reference = figure({**usual(), "head": 3.0}, upright(), (500, 400))
    [note] = retarget(sequence(dance(usual())), poses(reference)).meta["retarget"]["people"].values()
    known = [ratio for limb, ratio in note["ratios"].items() if limb not in ("eyes", "head")]
    assert note["ratios"]["head"] == pytest.approx(3 * np.mean([*known, 10]), rel=0.05)


def test_absent_points_stay_absent_and_no_others_appear() -> None:
    rng = np.random.default_rng(0)
    clip = np.stack([whole_body(points, rng) for points in dance(usual())])
    clip[rng.random(clip.shape[:2]) < 0.4] = np.nan
    for method in METHODS:
        result = person(retarget(sequence(clip), poses(figure(other(3), upright(), (500, 400))), method))
        np.testing.assert_array_equal(np.isnan(result), np.isnan(clip))


def test_nothing_hangs_on_points_of_low_scores() -> None:
    clip = sequence(dance(usual()))
    keypoints, scores = np.array(clip.keypoints), np.array(clip.scores)
    rng = np.random.default_rng(0)
    keypoints[:, 0, [7, 11, 12]], scores[:, 0, [7, 11, 12]] = rng.uniform(0, 999, (40, 3, 2)), 0.1
    unsure = replace(clip, keypoints=keypoints, scores=scores)
    reference = poses(figure(other(3), upright(), (500, 400)))
    keypoints[:, 0, [7, 11, 12]] = np.nan
    absent = retarget(replace(clip, keypoints=keypoints, scores=scores), reference)
    others = [point for point in range(17) if point not in (7, 11, 12)]
    result = retarget(unsure, reference)
    np.testing.assert_array_equal(result.keypoints[:, 0, others], absent.keypoints[:, 0, others])
    assert np.isfinite(result.keypoints).all()


def test_a_sequence_whose_visibility_was_decided_needs_no_scores() -> None:
    clip = sequence(dance(usual()))
    cleaned = replace(clean(clip), scores=np.full_like(clip.scores, 0.01))
    result = retarget(cleaned, poses(figure(other(3), upright(), (500, 400))))
    [note] = result.meta["retarget"]["people"].values()
    assert note["unseen"] == []


def test_hands_face_and_feet_are_scaled_with_their_limbs_and_stay_attached() -> None:
    rng = np.random.default_rng(0)
    clip = np.stack([whole_body(points, rng) for points in dance(usual())])
    limbs = usual()
    longer = {**limbs, "forearm": 1.3 * limbs["forearm"], "head": 1.5 * limbs["head"], "shank": 0.8 * limbs["shank"]}
    result = person(retarget(sequence(clip), poses(figure(longer, upright(), (500, 400)))))
    for joint, part, ratio in (
        (9, slice(91, 112), 1.3), (10, slice(112, 133), 1.3), (0, slice(23, 91), 1.5), (0, slice(1, 5), 1.5),
        (15, slice(17, 20), 0.8), (16, slice(20, 23), 0.8),
    ):  # fmt: skip
        before, after = (points[:, part] - points[:, joint, None] for points in (clip, result))
        np.testing.assert_allclose(after, ratio * before, atol=0.01 * np.abs(before).max())


@pytest.mark.parametrize("seed", range(5))
def test_whatever_the_skeletons_are_the_result_is_finite_and_of_the_size_of_the_reference(seed: int) -> None:
    rng = np.random.default_rng(seed)
    clip = rng.uniform(100, 900, (12, 17, 2))
    clip[rng.random((12, 17)) < 0.3] = np.nan
    reference = rng.uniform(100, 900, (17, 2))
    reference[rng.random(17) < 0.3] = np.nan
    for method in METHODS:
        result = retarget(sequence(clip), poses(reference), method)
        np.testing.assert_array_equal(np.isnan(person(result)), np.isnan(clip))
        assert np.isfinite(result.boxes).all()
        if method != "none":
            [note] = result.meta["retarget"]["people"].values()
            assert 0.02 < note["scale"] < 50


# --- the ground -----------------------------------------------------------------------------------------------------


def jumping() -> tuple[np.ndarray, np.ndarray]:
    """(60, 17, 2) of somebody who bends the knees, jumps 80 px and lands; and how high they are (60,)."""
    t = np.arange(60)
    height = np.where((t > 25) & (t < 45), 80 * np.sin(np.pi * (t - 25) / 20), 0)
    bent = 40 * np.exp(-(((t - 20) / 5.0) ** 2))
    made = []
    for up, angle in zip(height, bent, strict=True):
        pose = {**upright(), "left_thigh": 90 - angle, "right_thigh": 90 + angle, "left_shank": 90 + angle,
                "right_shank": 90 - angle}  # fmt: skip
        points = figure(usual(), pose, (400, 0))
        made.append(points + [0, 700 - up - points[[15, 16], 1].max()])
    return np.stack(made), height


@pytest.mark.parametrize("seed", range(2))
def test_feet_stand_on_the_ground_of_the_reference_and_a_jump_stays_a_jump(seed: int) -> None:
    clip, height = jumping()
    reference = figure(other(seed, 0.3), upright(), (300, 350), 140)
    result = retarget(sequence(clip), poses(reference))
    [note] = result.meta["retarget"]["people"].values()
    low = person(result)[:, [15, 16], 1].max(axis=1)
    np.testing.assert_allclose(low, reference[[15, 16], 1].max() - note["scale"] * height, atol=0.01)
    legs = [note["ratios"][f"{side}_{limb}"] for side in SIDES for limb in ("thigh", "shank")]
    assert note["scale"] == pytest.approx(np.mean(legs), abs=1e-3)


def test_a_clip_that_begins_in_the_air_lands_on_the_ground() -> None:
    clip, _ = jumping()
    reference = figure(other(1), upright(), (300, 350), 140)
    for at in ("first", "typical"):
        low = person(retarget(sequence(clip[35:]), poses(reference), at=at))[:, [15, 16], 1].max(axis=1)
        assert low[-1] == pytest.approx(reference[[15, 16], 1].max(), abs=1e-2)


def test_without_feet_the_hips_are_held() -> None:
    clip, _ = jumping()
    limbs = usual()
    reference = figure({**limbs, "shank": 1.5 * limbs["shank"]}, upright(), (300, 350), 100)
    made = retarget(sequence(clip), poses(reference), feet=False)
    result, frame = person(made), made.meta["retarget"]["people"]["0"]["frame"]
    hips = result[:, [11, 12]].mean(axis=1)
    np.testing.assert_allclose(hips[frame], reference[[11, 12]].mean(axis=0), atol=0.01)
    grounded = person(retarget(sequence(clip), poses(reference)))
    assert abs(grounded[20, 15, 1] - result[20, 15, 1]) > 0.3


def test_feet_that_are_hidden_for_a_while_make_no_jerk() -> None:
    clip = np.stack(dance(usual()))
    whole = person(retarget(sequence(clip), poses(figure(other(3), upright(), (500, 400)))))
    clip[10:20, [15, 16]] = np.nan
    result = person(retarget(sequence(clip), poses(figure(other(3), upright(), (500, 400)))))
    assert np.nanmax(np.abs(result - whole)) < 12
    assert np.nanmax(np.abs(np.diff(result[:, 0], axis=0) - np.diff(whole[:, 0], axis=0))) < 8


# --- references that show little ------------------------------------------------------------------------------------


def test_a_limb_that_the_reference_lacks_gets_the_other_sides_ratio_or_the_mean_of_the_known() -> None:
    reference = figure(other(6), upright(), (500, 400), 140)
    reference[[9, 13, 14]] = np.nan
    result = retarget(sequence(dance(usual())), poses(reference))
    [note] = result.meta["retarget"]["people"].values()
    ratios, unseen = note["ratios"], note["unseen"]
    assert sorted(unseen) == sorted(
        ["left_forearm", *(f"{side}_{limb}" for side in SIDES for limb in ("thigh", "shank"))]
    )
    mean = np.mean([ratio for limb, ratio in ratios.items() if limb not in unseen and limb != "eyes"])
    assert ratios["left_forearm"] == ratios["right_forearm"]
    assert ratios["left_thigh"] == pytest.approx(mean, abs=1e-3)


def test_half_a_body_is_held_by_the_neck() -> None:
    reference = figure(other(5), upright(), (500, 1080), 400)
    reference[11:] = np.nan
    result = retarget(sequence(dance(usual())), poses(reference))
    [note] = result.meta["retarget"]["people"].values()
    assert not note["grounded"]
    np.testing.assert_allclose(
        person(result)[note["frame"], [5, 6]].mean(axis=0), reference[[5, 6]].mean(axis=0), atol=0.01
    )
    assert np.isfinite(person(result)[:, 15]).all()


def test_points_cut_by_the_edge_of_the_reference_are_not_measured() -> None:
    reference = figure(usual(), {**upright(), "left_forearm": 90, "right_forearm": 90}, (500, 900), 400)
    reference[[9, 10, 11, 12], 1] = 995  # the estimator puts there what lies below
    reference[13:] = np.nan
    result = retarget(sequence(dance(usual())), poses(reference))
    [note] = result.meta["retarget"]["people"].values()
    assert {"trunk", "hips", "left_forearm", "right_forearm"} <= set(note["unseen"])
    assert note["ratios"]["left_forearm"] == pytest.approx(4, rel=0.02)


def test_a_sitting_reference_does_not_shorten_the_thighs() -> None:
    limbs = {**usual(), "left_thigh": 0.25, "right_thigh": 0.25}
    reference = figure(limbs, upright(), (500, 400), 120)
    result = retarget(sequence(dance(usual())), poses(reference))
    [note] = result.meta["retarget"]["people"].values()
    assert note["unseen"] == ["left_thigh", "right_thigh"]
    assert note["ratios"]["left_thigh"] == pytest.approx(1.2, rel=0.02)


@pytest.mark.parametrize("sideways", ["reference", "clip"])
def test_side_views_give_neither_narrow_nor_huge_shoulders(sideways: str) -> None:
    narrow = {**usual(), "shoulders": 0.1, "hips": 0.06}
    clip = dance(narrow if sideways == "clip" else usual())
    reference = figure(narrow if sideways == "reference" else usual(), upright(), (500, 400), 120)
    [note] = retarget(sequence(clip), poses(reference)).meta["retarget"]["people"].values()
    assert {"shoulders", "hips"} <= set(note["unseen"])
    assert note["ratios"]["shoulders"] == pytest.approx(1.2, rel=0.02)


def test_both_from_the_side_can_be_compared() -> None:
    narrow = {**usual(), "shoulders": 0.1, "hips": 0.06}
    reference = figure({**narrow, "shoulders": 0.12}, upright(), (500, 400))
    [note] = retarget(sequence(dance(narrow)), poses(reference)).meta["retarget"]["people"].values()
    assert note["ratios"]["shoulders"] == pytest.approx(1.2, rel=0.02)


def test_one_arm_that_points_at_the_camera_is_as_long_as_the_other() -> None:
    reference = figure({**usual(), "left_upper_arm": 0.2, "left_forearm": 0.2}, upright(), (500, 400))
    [note] = retarget(sequence(dance(usual())), poses(reference)).meta["retarget"]["people"].values()
    assert set(note["unseen"]) == {"left_upper_arm", "left_forearm"}
    assert note["ratios"]["left_forearm"] == note["ratios"]["right_forearm"]


def test_a_clip_of_half_a_body_fits_a_whole_one() -> None:
    clip = np.stack(dance(usual()))
    clip[:, 11:] = np.nan
    reference = figure(other(5), upright(), (500, 400), 120)
    result = retarget(sequence(clip), poses(reference))
    [note] = result.meta["retarget"]["people"].values()
    np.testing.assert_allclose(
        person(result)[note["frame"], [5, 6]].mean(axis=0), reference[[5, 6]].mean(axis=0), atol=0.01
    )


# --- affine ---------------------------------------------------------------------------------------------------------


def test_affine_finds_an_exact_map() -> None:
    clip = np.stack(dance(usual(), 1))
    result = retarget(sequence(clip), poses(2 * clip[0] + [-300, -500], (1200, 900)), "affine")
    np.testing.assert_allclose(person(result)[0], 2 * clip[0] + [-300, -500], atol=1e-3)
    np.testing.assert_allclose(
        result.boxes[0, 0, :4], sequence(clip).boxes[0, 0, :4] * 2 + [-300, -500, -300, -500], atol=1e-3
    )


def by_hand(*points: tuple[int, float, float]) -> np.ndarray:
    nodes = np.full((19, 2), np.nan)
    for node, x, y in points:
        nodes[node] = x, y
    return nodes


@pytest.mark.parametrize(
    ("clip", "reference", "scale", "moved"),
    [
        # y 0, 10 -> 5, 25: a = 2, b = 5; x 1, 3 -> 10, 10: shift 10 - 2 * 2 = 6, so that (0, 0) -> (6, 5)
        ([by_hand((0, 1, 0), (15, 3, 10))], by_hand((0, 10, 5), (15, 10, 25)), 2, (6, 5)),
        # two frames, y 0, 10 and 2, 12 -> 0, 10: means 6 and 5, products 25+25+15+35 over 36+16+16+36: a = 100 / 104
        ([by_hand((0, 0, 0), (15, 0, 10)), by_hand((0, 0, 2), (15, 0, 12))], by_hand((0, 0, 0), (15, 0, 10)),
         100 / 104, (0, 5 - 600 / 104)),
        # y 0, 1, 2 -> 0, 0, 3 : a = 3/2, b = 1 - 3/2; x stays apart by nothing: shift 4
        ([by_hand((0, 0, 0), (NECK, 0, 1), (11, 0, 2))], by_hand((0, 4, 0), (NECK, 4, 0), (11, 4, 3)), 1.5, (4, -0.5)),
        # elbows and wrists (7 to 10) and joints that one of both lacks do not count
        ([by_hand((0, 0, 0), (15, 0, 10), (9, 500, 900), (1, 77, 77))],
         by_hand((0, 0, 0), (15, 0, 30), (9, 1, 1), (2, 5, 5)), 3, (0, 0)),
    ],
)  # fmt: skip
def test_affine_by_hand(clip: list, reference: np.ndarray, scale: float, moved: tuple[float, float]) -> None:
    fit, note = least_squares(np.stack(clip), reference)
    assert (fit.scale, note) == (pytest.approx(scale), None)
    assert fit(np.zeros(2)) == pytest.approx(moved)


def test_affine_is_the_rule_of_mimicmotion_over_all_frames() -> None:
    """y' = a y + b over 14 joints and all frames by a fit of first degree; x' = a x + mean(x' - a x); in pixels."""
    clip, reference = dance(usual(), foreshorten=True), figure(other(3), {**upright(), "trunk": -60}, (500, 400), 80)
    nodes, pose = (body_nodes(np.asarray(p).reshape(-1, 17, 2), np.ones((1, 17), bool)) for p in (clip, reference))
    given, wanted = nodes[:, AFFINE_NODES], np.broadcast_to(pose[:, AFFINE_NODES], (40, 14, 2))
    a, b = np.polyfit(given[..., 1].ravel(), wanted[..., 1].ravel(), 1)
    shift = np.mean(wanted[..., 0] - a * given[..., 0])
    result = retarget(sequence(clip), poses(reference), "affine")
    np.testing.assert_allclose(person(result), a * np.asarray(clip) + [shift, b], atol=1e-2)


def test_the_14_joints_are_all_but_elbows_and_wrists() -> None:
    assert sorted(AFFINE_NODES) == [*range(7), *range(11, 17), NECK]
    assert MID_HIP not in AFFINE_NODES


def test_affine_of_somebody_who_stands_on_the_head_is_scaled_by_the_sizes() -> None:
    clip = dance(usual(), 1)
    result = retarget(sequence(clip), poses(-clip[0] + [900, 1000]), "affine")
    [note] = result.meta["retarget"]["people"].values()
    assert "level or falls" in note["note"]
    assert note["scale"] == pytest.approx(1, abs=0.01)


# --- canvases -------------------------------------------------------------------------------------------------------


def test_none_lays_the_picture_onto_the_canvas() -> None:
    clip = sequence([np.asarray([[x, 2.0 * x] for x in range(17)])], (100, 100))
    result = retarget(clip, Poses.empty((300, 200), "coco_17"), "none")
    np.testing.assert_allclose(person(result)[0], [[2 * x + 50, 4 * x] for x in range(17)], atol=1e-4)
    np.testing.assert_allclose(result.boxes[0, 0, :4], [30, -20, 102, 84], atol=1e-4)
    assert result.size == (300, 200)


def test_none_takes_any_keypoint_set() -> None:
    hand = Poses(np.ones((1, 5, 2)), np.ones((1, 5)), np.ones((1, 5)), (10, 10), "my hand")
    result = retarget(PoseSequence.from_poses([hand]), Poses.empty((30, 30), "coco_17"), "none")
    assert (result.keypoints == 3).all()


@pytest.mark.parametrize("method", ["limbs", "affine"])
def test_another_canvas_has_the_reference_centred_on_it(method: str) -> None:
    clip, reference = sequence(dance(usual())), poses(figure(other(2), upright(), (500, 400), 120))
    plain = person(retarget(clip, reference, method))
    result = retarget(clip, reference, method, canvas=(300, 500))
    assert result.size == (300, 500)
    np.testing.assert_allclose(person(result), plain * 0.3 + [0, 100], atol=0.01)


def test_empty_slots_stay_empty() -> None:
    clip = PoseSequence.from_poses(
        [poses(np.stack([points, points + 200])) if t % 2 else poses(points) for t, points in enumerate(dance(usual()))]
    )
    for method in METHODS:
        result = retarget(clip, poses(figure(other(2), upright(), (500, 400), 120), (640, 480)), method)
        assert np.isnan(result.keypoints[::2, 1]).all()
        assert not result.boxes[::2, 1].any()


def test_boxes_keep_their_margins() -> None:
    clip = sequence(dance(usual()))
    result = retarget(clip, poses(figure(usual(), upright(), (500, 400), 200)))
    points, margin = person(result), 10 * 2.0
    np.testing.assert_allclose(result.boxes[:, 0, :2], points.min(axis=1) - margin, atol=0.5)
    np.testing.assert_allclose(result.boxes[:, 0, 2:4], points.max(axis=1) + margin, atol=0.5)


# --- several people -------------------------------------------------------------------------------------------------


def pair() -> PoseSequence:
    """A grown-up on the right (id 0) and a child of half the size on the left (id 1)."""
    grown, child = dance(usual()), dance(usual(), seed=5)
    return sequence(
        [np.stack([a + [300, 0], (b - [400, 700]) * 0.5 + [150, 700]]) for a, b in zip(grown, child, strict=True)]
    )


def test_people_are_matched_from_left_to_right() -> None:
    left, right = figure(other(1), upright(), (200, 400), 90), figure(other(2), upright(), (700, 400), 160)
    result = retarget(pair(), poses(np.stack([right, left])))
    for track, reference in ((1, left), (0, right)):
        note = result.meta["retarget"]["people"][str(track)]
        np.testing.assert_allclose(
            lengths(person(result, track)[note["frame"]]), lengths(reference), rtol=0.01
        )  # fmt: skip
        assert abs(person(result, track)[note["frame"], :, 0].mean() - reference[:, 0].mean()) < 60


def test_all_get_the_proportions_of_one_and_keep_their_sizes_among_themselves() -> None:
    reference = figure(other(1), upright(), (500, 400), 150)
    clip = pair()
    result = retarget(clip, poses(reference))
    assert result.meta["retarget"]["match"] == "same"
    grown, child = (lengths(person(result, slot)) for slot in (0, 1))
    np.testing.assert_allclose(child / child[:, :1], grown / grown[:, :1], rtol=0.01)
    np.testing.assert_allclose(child[:, 0] / grown[:, 0], 0.5, rtol=0.02)
    note = result.meta["retarget"]["people"]["0"]
    np.testing.assert_allclose(grown[note["frame"]], lengths(reference), rtol=0.01)
    feet = [person(result, slot)[:, [15, 16], 1].max(axis=1) for slot in (0, 1)]
    before = [person(clip, slot)[:, [15, 16], 1].max(axis=1) for slot in (0, 1)]
    np.testing.assert_allclose(feet[1] - feet[0], note["scale"] * (before[1] - before[0]), atol=0.1)


def test_affine_moves_a_group_as_one() -> None:
    clip = pair()
    result = retarget(clip, poses(figure(other(1), upright(), (500, 400), 150)), "affine")
    scales = {note["scale"] for note in result.meta["retarget"]["people"].values()}
    assert len(scales) == 1
    np.testing.assert_allclose(
        person(result, 1) - person(result, 0), (person(clip, 1) - person(clip, 0)) * scales.pop(), atol=0.1
    )


def test_whoever_has_no_partner_goes_along() -> None:
    three = [np.stack([*frame, frame[0] + [-100, 30]]) for frame in pair().keypoints]
    clip = sequence(three)
    reference = poses(np.stack([figure(other(1), upright(), (200, 400), 90), figure(usual(), upright(), (600, 400))]))
    result = retarget(clip, reference)
    notes = result.meta["retarget"]["people"]
    [alone] = [track for track, note in notes.items() if "along" in note.get("note", "")]
    before, after = (lengths(person(each, int(alone))) for each in (clip, result))
    np.testing.assert_allclose(after, notes[alone]["scale"] * before, rtol=1e-3)


def test_people_who_come_later_do_not_take_the_places_of_the_first() -> None:
    frames = [frame if t < 20 else np.stack([*frame, frame[1] - [100, 0]]) for t, frame in enumerate(pair().keypoints)]
    clip = sequence(frames)
    np.testing.assert_allclose(retarget(clip, clip.frame(0)).keypoints, clip.keypoints, atol=1e-3)


def test_one_person_of_the_clip_and_one_of_the_reference() -> None:
    left, right = figure(other(1), upright(), (200, 400), 90), figure(other(2), upright(), (700, 400), 160)
    both = poses(np.stack([right, left]))
    result = retarget(pair(), both, person=1, reference_person="leftmost")
    assert np.unique(result.track_ids).tolist() == [1]
    alone = retarget(pair(), poses(left), person="id:1")
    np.testing.assert_allclose(result.keypoints, alone.keypoints, atol=1e-4)
    largest = retarget(pair(), both, person="largest")
    np.testing.assert_allclose(
        largest.keypoints, retarget(pair(), poses(right), person=0).keypoints, atol=1e-4
    )  # fmt: skip


# --- the other set, and errors --------------------------------------------------------------------------------------


def test_clip_and_reference_may_be_of_different_sets() -> None:
    rng = np.random.default_rng(0)
    body = dance(usual())
    whole = [whole_body(points, rng) for points in body]
    reference = figure(other(1), upright(), (500, 400), 120)
    for method in ("limbs", "affine"):
        small = person(retarget(sequence(body), poses(whole_body(reference, rng)), method))
        large = person(retarget(sequence(whole), poses(reference), method))
        assert (small.shape, large.shape) == ((40, 17, 2), (40, 133, 2))
        np.testing.assert_allclose(large[:, :17], small, atol=1e-3)


def test_a_reference_of_many_frames_is_measured_over_all_of_them() -> None:
    clip, reference = sequence(dance(usual())), sequence(dance(other(8), 60, seed=4, foreshorten=True))
    [note] = retarget(clip, reference).meta["retarget"]["people"].values()
    wanted = other(8)
    for limb in ("left_forearm", "right_upper_arm", "left_thigh"):
        ratio = wanted[limb.partition("_")[2]] / USUAL[limb] / (wanted["shoulders"] / USUAL["shoulders"])
        assert note["ratios"][limb] / note["ratios"]["shoulders"] == pytest.approx(ratio, rel=0.08)


def custom() -> Poses:
    return Poses(np.ones((1, 5, 2)), np.ones((1, 5)), np.ones((1, 5)), (10, 10), "my hand")


@pytest.mark.parametrize(
    ("reference", "arguments", "message"),
    [
        (Poses.empty((10, 10), "coco_17"), {}, "no person was found in the reference"),
        (custom(), {}, "the reference is 'my hand'"),
        (poses(np.full((17, 2), 300.0)), {}, "nothing in common"),
        (poses(figure(usual(), upright(), (500, 400)), score=0.1), {}, "nothing in common"),
        (poses(figure(usual(), upright(), (500, 400))), {"method": "affin"}, "limbs, affine, none"),
        (poses(figure(usual(), upright(), (500, 400))), {"match": "all"}, "order, same"),
        (poses(figure(usual(), upright(), (500, 400))), {"at": "last"}, "typical, first"),
        (poses(figure(usual(), upright(), (500, 400))), {"person": 7}, r"not in the sequence: it has ids \[0\]"),
        (poses(figure(usual(), upright(), (500, 400))), {"reference_person": 7}, "not in the reference"),
        (poses(figure(usual(), upright(), (500, 400))), {"person": "tallest"}, "leftmost"),
    ],
)
@pytest.mark.parametrize("method", ["limbs", "affine"])
def test_errors_say_what_to_do(reference: Poses, arguments: dict, message: str, method: str) -> None:
    with pytest.raises(InputError, match=message):
        retarget(sequence(dance(usual(), 5)), reference, **{"method": method, **arguments})


def test_a_clip_without_anybody_stays_so() -> None:
    clip = PoseSequence.from_poses([Poses.empty((10, 10), "coco_17")] * 3)
    for method in METHODS:
        result = retarget(clip, poses(figure(usual(), upright(), (500, 400))), method)
        assert (result.keypoints.shape, result.size) == ((3, 0, 17, 2), SIZE)


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def clip_file(tmp_path: Path) -> Path:
    sequence(dance(usual())).save(tmp_path / "dance.pose.npz")
    return tmp_path / "dance.pose.npz"


def test_a_defect_of_ours_is_not_taken_for_a_reference_without_common_joints(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_args: object) -> None:
        raise ValueError("ours")

    monkeypatch.setattr("sdpose_core.retarget.fitting.fit_limbs", broken)
    both = poses(figure(usual(), upright(), (500, 400)))
    with pytest.raises(ValueError, match="^ours$"):
        retarget(PoseSequence.from_poses([both]), both)


def test_the_command_with_each_kind_of_reference(clip_file: Path, capsys: pytest.CaptureFixture) -> None:
    folder, reference = clip_file.parent, poses(figure(other(1), upright(), (500, 400), 120), (900, 800))
    reference.save(folder / "her.pose.npz")
    write_openpose_json(folder / "her.json", reference)
    results = {}
    for name in ("her.pose.npz", "her.json", ROOT / "tests" / "data" / "astronaut.png"):
        out = folder / "out" / f"{Path(name).name}.pose.npz"
        call = ["retarget", str(clip_file), "--to", str(folder / name), "-o", str(out), "--model", "preview-body"]
        assert main(call) == 0
        said = capsys.readouterr()
        assert said.out.strip() == str(out)
        assert "person 0: scale" in said.err
        results[Path(name).name] = PoseSequence.load(out)
    expected = retarget(PoseSequence.load(clip_file), reference)
    for name in ("her.pose.npz", "her.json"):
        assert results[name].size == (900, 800)
        np.testing.assert_allclose(results[name].keypoints, expected.keypoints, atol=1e-3)
    assert results["astronaut.png"].meta["retarget"]["reference"]["source"] == "astronaut.png"


def test_every_option_reaches_the_result(clip_file: Path, capsys: pytest.CaptureFixture) -> None:
    folder = clip_file.parent
    both = np.stack([figure(other(1), upright(), (300, 400), 120), figure(other(2), upright(), (700, 400), 60)])
    poses(both).save(folder / "two.pose.npz")
    out = folder / "out.pose.npz"
    call = ["retarget", str(clip_file), "--to", str(folder / "two.pose.npz"), "-o", str(out), "--overwrite"]

    def run(*options: str) -> PoseSequence:
        assert main([*call, *options]) == 0
        return PoseSequence.load(out)

    plain = run("--person", "0")
    for options in (
        ["--method", "affine"], ["--method", "none"], ["--reference-person", "rightmost"], ["--at", "first"],
        ["--no-feet"], ["--size", "300x400"],
    ):  # fmt: skip
        assert not np.allclose(run(*options).keypoints, plain.keypoints, atol=0.1), options
    assert run("--match", "order").meta["retarget"]["match"] == "order"
    assert main([*call, "--threshold", "0.95"]) == 1
    assert "nothing in common" in capsys.readouterr().err


def test_only_the_same_result_is_kept_unless_it_should_be_overwritten(
    clip_file: Path, capsys: pytest.CaptureFixture
) -> None:
    out = clip_file.parent / "out.pose.npz"
    out.write_bytes(b"mine")
    call = ["retarget", str(clip_file), "--to", str(clip_file), "-o", str(out)]
    assert main(call) == 1
    assert (out.read_bytes(), "--overwrite" in capsys.readouterr().err) == (b"mine", True)
    assert main([*call, "--overwrite"]) == 0
    written = out.read_bytes()
    assert main(call) == 0
    assert (out.read_bytes(), "kept" in capsys.readouterr().err) == (written, True)
    assert main([*call, "--method", "none"]) == 1
    assert out.read_bytes() == written
    np.testing.assert_allclose(PoseSequence.load(out).keypoints, PoseSequence.load(clip_file).keypoints, atol=1e-3)


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--to", "nothing.png"], 2, "nothing.png"),
        (["--to", "words.txt"], 2, "expected a picture"),
        (["--to", "dance.pose.npz", "--person", "9"], 1, "person '9' is not in the sequence"),
        (["--to", "dance.pose.npz", "-o", "here.npz"], 2, "ends in .pose.npz"),
        (["--to", "black.png"], 1, "no person was found in the reference"),
    ],
)
def test_errors_of_the_command_are_one_line(
    options: list[str], code: int, message: str, clip_file: Path, capsys: pytest.CaptureFixture, monkeypatch
) -> None:
    monkeypatch.chdir(clip_file.parent)
    write_png(Path("black.png"), np.zeros((200, 200, 3), np.uint8))
    call = ["retarget", "dance.pose.npz", "-o", "new.pose.npz", "--model", "preview-body", "--if-nobody", "empty"]
    assert main([*call, *options]) == code
    last = capsys.readouterr().err.strip().splitlines()[-1]
    assert last.startswith("sdpose retarget: ")
    assert message in last
    assert not Path("new.pose.npz").exists()


def test_what_was_done_is_written_with_the_result(clip_file: Path) -> None:
    out = clip_file.parent / "out.pose.npz"
    assert main(["retarget", str(clip_file), "--to", str(clip_file), "-o", str(out)]) == 0
    meta = PoseSequence.load(out).meta["retarget"]
    assert json.loads(json.dumps(meta)) == meta
    assert set(meta["people"]["0"]["ratios"]) == set(LIMBS)
    assert meta["people"]["0"]["likeness"] == 1


# --- the canvas -----------------------------------------------------------------------------------------------------


def walking_out() -> tuple[PoseSequence, Poses]:
    """A clip that walks 60 pixels per frame to the left, out of the picture of its reference."""
    points = figure(usual(), upright(), (200, 500))
    return sequence([points - [60 * t, 0] for t in range(5)]), poses(points)


@pytest.mark.parametrize("method", METHODS)
def test_points_outside_the_canvas_are_counted(method: str) -> None:
    clip, reference = walking_out()
    result = retarget(clip, reference, method)
    out = (result.keypoints < 0).any(axis=-1)
    found = result.meta["retarget"]["outside"]
    assert found == {"points": int(out.sum()), "frames": int(out.any(axis=(1, 2)).sum())} and found["points"]
    assert describe_canvas(result) == (
        f"{found['points']} points in {found['frames']} of 5 frames lie outside the canvas of 1000 x 1000"
    )
    assert "outside" not in retarget(sequence([reference.keypoints[0]] * 2), reference, method).meta["retarget"]


@pytest.mark.parametrize("method", METHODS)
def test_an_automatic_canvas_holds_all_points_at_the_same_scale(method: str) -> None:
    clip, reference = walking_out()
    plain, result = retarget(clip, reference, method), retarget(clip, reference, method, canvas="auto")
    x, y = result.meta["retarget"]["reference_at"]
    assert x > 0 and y == 0 and result.size == tuple(result.meta["retarget"]["canvas"]) == (1000 + x + x % 2, 1000)
    np.testing.assert_allclose(result.keypoints, plain.keypoints + [x, y], atol=1e-2)
    assert (result.keypoints >= 0).all() and "outside" not in result.meta["retarget"]
    assert (
        describe_canvas(result)
        == f"canvas extended to {result.size[0]} x 1000: the reference's picture begins at {x}, 0"
    )


def test_an_automatic_canvas_is_the_references_if_all_is_inside() -> None:
    clip, reference = walking_out()
    still = sequence([reference.keypoints[0]] * 2)
    result = retarget(still, reference, canvas="auto")
    assert result.size == reference.size and describe_canvas(result) == ""
    with pytest.raises(InputError, match="expected \\(w, h\\), None or 'auto', got 'big'"):
        retarget(clip, reference, canvas="big")


def test_absent_and_faint_points_are_not_counted() -> None:
    clip, reference = walking_out()
    faint = replace(clip, scores=np.where((clip.keypoints < 0).any(axis=-1), 0.1, clip.scores))
    assert "outside" not in retarget(faint, reference, "none").meta["retarget"]


def test_the_command_says_what_is_outside_and_makes_room(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    clip, reference = walking_out()
    clip.save(tmp_path / "clip.pose.npz")
    reference.save(tmp_path / "reference.pose.npz")
    call = ["retarget", str(tmp_path / "clip.pose.npz"), "--to", str(tmp_path / "reference.pose.npz"), "-o"]
    assert main([*call, str(tmp_path / "a.pose.npz")]) == 0
    assert "frames lie outside the canvas of 1000 x 1000: --size auto makes room" in capsys.readouterr().err
    assert main([*call, str(tmp_path / "b.pose.npz"), "--size", "auto"]) == 0
    assert "canvas extended to" in capsys.readouterr().err
    assert PoseSequence.load(tmp_path / "b.pose.npz").size[0] > 1000
