"""The poses that come with the library: people of natural proportions, with left and right where they belong."""

from __future__ import annotations

import numpy as np
import pytest

from sdpose_core.drawing.pose_maps import draw_poses
from sdpose_core.errors import InputError
from sdpose_core.presets import PRESETS, STANDING, _load, preset
from sdpose_core.skeletons import COCO_WHOLEBODY_133

SIZE = (512, 768)
AT = {name: i for i, name in enumerate(COCO_WHOLEBODY_133.names)}
LIMBS = {
    "upper arm": ("shoulder", "elbow"), "forearm": ("elbow", "wrist"), "thigh": ("hip", "knee"),
    "shank": ("knee", "ankle"), "foot": ("heel", "big_toe"), "hand": ("hand_root", "middle_finger4"),
}  # fmt: skip


def spread(points: np.ndarray, first: str, last: str, side: str) -> np.ndarray:
    return np.linalg.norm(points[..., AT[f"{side}_{first}"], :] - points[..., AT[f"{side}_{last}"], :], axis=-1)


@pytest.mark.parametrize("limb", LIMBS)
def test_limbs_have_one_length_in_all_poses_and_on_both_sides(limb: str) -> None:
    left, right = (spread(_load(), *LIMBS[limb], side) for side in ("left", "right"))
    tolerance = 0.35 if limb == "hand" else 0.12  # fingers curl; the joints of the mesh move a little with the skin
    assert np.abs(np.asarray([left, right]) / np.median([left, right]) - 1).max() < tolerance


def test_proportions_are_those_of_an_adult() -> None:
    points = _load()[PRESETS.index("standing")]
    length = {limb: float(spread(points, *ends, "left")) for limb, ends in LIMBS.items()}
    height = float(points[AT["nose"], 2]) + 0.2
    assert height == pytest.approx(STANDING, abs=0.08)
    shares = {"upper arm": 0.17, "forearm": 0.145, "thigh": 0.24, "shank": 0.23, "foot": 0.14, "hand": 0.1}
    for limb, share in shares.items():
        assert length[limb] / height == pytest.approx(share, abs=0.035), limb
    assert all(_load()[i][AT["left_heel"], 2] < 0.2 for i, name in enumerate(PRESETS) if name in ("standing", "T-pose"))


@pytest.mark.parametrize("size", [(512, 768), (1024, 576), (64, 512)], ids=str)
@pytest.mark.parametrize("turn", [0, 75, 180])
@pytest.mark.parametrize("name", PRESETS)
def test_it_is_on_the_canvas_with_its_box(name: str, turn: int, size: tuple[int, int]) -> None:
    poses = preset(name, size, turn=turn)
    seen = poses.scores[0] > 0
    points = poses.keypoints[0, seen]
    assert np.isfinite(points).all() and np.isnan(poses.keypoints[0, ~seen]).all()
    assert (points >= 0).all() and (points <= size).all()
    np.testing.assert_allclose(poses.boxes[0], [*points.min(axis=0), *points.max(axis=0), 1], rtol=1e-6)
    assert not seen[23:91].any(), "no face points"


@pytest.mark.parametrize("name", PRESETS)
def test_it_draws(name: str) -> None:
    drawn = draw_poses(preset(name, (256, 384)))
    assert (drawn.any(axis=2).mean() > 0.005) and drawn.shape == (384, 256, 3)


@pytest.mark.parametrize("name", ["standing", "T-pose", "A-pose", "sitting", "arms up", "squatting", "hands on hips"])
def test_frontal_poses_are_symmetric_and_face_you(name: str) -> None:
    points = preset(name, SIZE).keypoints[0]
    flipped = points[COCO_WHOLEBODY_133.flip_indices] * (-1, 1) + (SIZE[0], 0)
    body = [i for i in range(23) if np.isfinite(points[i, 0])]
    assert len(body) == 23
    np.testing.assert_allclose(points[body], flipped[body], atol=6)
    assert points[AT["left_shoulder"], 0] > points[AT["right_shoulder"], 0] + 40, "her left is at your right"


HIDDEN = {
    0: set(), 180: {"nose", "left_eye", "right_eye"}, 90: {"left_eye", "left_ear"}, -90: {"right_eye", "right_ear"},
}  # fmt: skip
"""Turned to her left, she shows her right side."""


@pytest.mark.parametrize("turn", HIDDEN)
def test_the_far_side_of_the_head_is_hidden(turn: int) -> None:
    scores = preset("standing", SIZE, turn=turn).scores[0, :5]
    assert {COCO_WHOLEBODY_133.names[i] for i in range(5) if not scores[i]} == HIDDEN[turn]


def test_turned_to_the_left_she_faces_the_right_edge() -> None:
    points = preset("standing", SIZE, turn=90).keypoints[0]
    assert points[AT["nose"], 0] > np.nanmean(points[3:5, 0]) + 10
    assert points[AT["left_big_toe"], 0] > points[AT["left_heel"], 0] + 20


def test_mirroring_is_that_of_the_picture() -> None:
    points, mirrored = preset("waving", SIZE).keypoints[0], preset("waving", SIZE, mirror=True).keypoints[0]
    assert points[AT["right_wrist"], 1] < points[AT["nose"], 1] < points[AT["left_wrist"], 1]
    assert mirrored[AT["left_wrist"], 1] < mirrored[AT["nose"], 1] < mirrored[AT["right_wrist"], 1]
    np.testing.assert_allclose(np.sort(points[:17, 0]), np.sort(SIZE[0] - mirrored[:17, 0]), atol=1e-3)


def test_poses_have_one_scale_and_one_ground() -> None:
    ground = {name: np.nanmax(preset(name, SIZE).keypoints[0, :, 1]) for name in ("standing", "sitting", "walking")}
    assert max(ground.values()) - min(ground.values()) < 1
    standing, walking = (preset(name, SIZE).keypoints[0] for name in ("standing", "walking"))
    trunk = [np.linalg.norm(points[5:7].mean(axis=0) - points[11:13].mean(axis=0)) for points in (standing, walking)]
    assert trunk[0] == pytest.approx(trunk[1], rel=0.05)


@pytest.mark.parametrize(
    ("change", "message"), [({"name": "siting"}, "did you mean 'sitting'|sitting"), ({"share": 0}, "share")]
)
def test_what_is_unknown_is_refused(change: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        preset(**{"name": "sitting", "size": SIZE, **change})
