"""Faces over time: the margin of Wan-Animate, square and steady boxes, what happens while a face is away."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from sdpose_core.errors import InputError
from sdpose_core.exports.faces import face_boxes, face_crops
from sdpose_core.poses import Poses, PoseSequence

SIZE = (640, 480)


def sequence(centers: np.ndarray, half: tuple[float, float], away: tuple[int, ...] = ()) -> PoseSequence:
    """One whole body, id 5, whose face points fill a box of `half` sides around each of the centers (T, 2)."""
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 8)), -1).reshape(-1, 2)[-68:] * half
    frames = []
    for t, center in enumerate(centers):
        keypoints = np.tile(np.asarray(center, np.float32), (1, 133, 1))
        keypoints[0, 23:91] = grid + center
        scores = np.full((1, 133), 0.9)
        scores[0, :5] = scores[0, 23:91] = 0.1 if t in away else 0.9
        frames.append(Poses(keypoints, scores, [[0, 0, 9, 9, 1]], SIZE, "coco_wholebody_133", [5]))
    return PoseSequence.from_poses(frames, frame_rate=Fraction(20))


def still(count: int, center: tuple[float, float] = (300, 200)) -> np.ndarray:
    return np.tile(np.asarray(center, np.float64), (count, 1))


@pytest.mark.parametrize("half", [(30, 30), (24, 30), (40, 26)])
def test_the_margin_is_wan_animates(half: tuple[float, float]) -> None:
    """Wan-Video/Wan2.2, wan/modules/animate/preprocess/utils.py, get_face_bboxes with scale 1.3: w and h grow by
    sqrt(1.3); half of the new width on each side, three quarters of the new height above, one below."""
    points = sequence(still(1), half).keypoints[0, 0, 23:91]
    (x1, y1), (x2, y2) = points.min(axis=0), points.max(axis=0)
    growth = 1.3**0.5 - 1
    left, right = x1 - (x2 - x1) * growth / 2, x2 + (x2 - x1) * growth / 2
    top, bottom = y1 - 3 * (y2 - y1) * growth / 4, y2 + (y2 - y1) * growth / 4
    [box] = face_boxes(sequence(still(1), half), 5)
    side = max(right - left, bottom - top)
    np.testing.assert_allclose(box[2:] - box[:2], side, rtol=1e-5, err_msg="square")
    np.testing.assert_allclose((box[:2] + box[2:]) / 2, ((left + right) / 2, (top + bottom) / 2), rtol=1e-5)


def test_a_trembling_face_gets_a_steady_box() -> None:
    rng = np.random.default_rng(0)
    centers = still(80) + rng.normal(0, 3, (80, 2))
    jitter = [
        np.abs(np.diff(face_boxes(sequence(centers, (30, 30)), 5, smooth_seconds=s), n=2, axis=0)).mean()
        for s in (0, 0.2)
    ]
    assert jitter[1] < 0.2 * jitter[0]


def test_a_moving_face_stays_in_the_middle() -> None:
    centers = np.stack([np.linspace(100, 500, 40), np.full(40, 200)], axis=1)
    boxes = face_boxes(sequence(centers, (30, 30)), 5)
    middle = (boxes[:, 0] + boxes[:, 2]) / 2
    assert np.abs(middle - centers[:, 0])[4:-4].max() < 0.1, "no lag"
    assert np.abs(middle - centers[:, 0]).max() < 25, "inside of the margin at the ends"


def test_the_last_box_stays_while_the_face_is_away() -> None:
    centers = np.concatenate([still(5), still(5, (100, 100)), still(5, (400, 300))])
    boxes = face_boxes(sequence(centers, (30, 30), away=tuple(range(5, 10))), 5, smooth_seconds=0)
    assert (boxes[5:10] == boxes[4]).all() and np.abs(boxes[10] - boxes[4]).min() > 90


def test_no_box_before_the_face_is_seen_nor_for_anybody_else() -> None:
    boxes = face_boxes(sequence(still(6), (30, 30), away=(0, 1)), 5)
    assert np.isnan(boxes[:2]).all() and np.isfinite(boxes[2:]).all()
    assert np.isnan(face_boxes(sequence(still(6), (30, 30), away=tuple(range(6))), 5)).all()
    assert np.isnan(face_boxes(sequence(still(6), (30, 30)), 4)).all()


@pytest.mark.parametrize(("center", "half"), [((5, 5), (30, 30)), ((635, 475), (30, 30)), ((320, 240), (400, 400))])
def test_boxes_lie_in_the_picture_where_they_fit(center: tuple[float, float], half: tuple[float, float]) -> None:
    [box] = face_boxes(sequence(still(1, center), half), 5)
    if half[0] < 100:
        assert box.min() >= 0 and box[2] <= 640 and box[3] <= 480
    else:
        np.testing.assert_allclose((box[:2] + box[2:]) / 2, (320, 240), atol=1e-3)


HEADS = {  # nose, left eye, right eye, left ear, right ear; then the box around the face points, all of one COCO person
    "frontal": [(0, 0), (7, -6.5), (-7, -6.5), (15, -4), (-15, -4)],
    "profile": [(0, 0), (-3, -6), None, (-18, -3), None],
}


@pytest.mark.parametrize("name", HEADS)
def test_a_body_gives_an_estimate(name: str) -> None:
    keypoints, scores = np.full((1, 17, 2), 300.0, np.float32), np.full((1, 17), 0.9)
    for index, point in enumerate(HEADS[name]):
        scores[0, index] = 0.0 if point is None else 0.9
        keypoints[0, index] = (300, 200) if point is None else np.add((300, 200), point)
    body = Poses(keypoints, scores, [[0, 0, 9, 9, 1]], SIZE, "coco_17", [5])
    [box] = face_boxes(PoseSequence.from_poses([body]), 5)
    assert 24 < box[2] - box[0] < 40
    assert box[0] < 300 < box[2] and box[1] < 194 and box[3] > 205
    if name == "profile":
        assert (box[0] + box[2]) / 2 < 298, "towards the ear"
    unseen = Poses(keypoints, np.zeros((1, 17)), body.boxes, SIZE, "coco_17", [5])
    assert np.isnan(face_boxes(PoseSequence.from_poses([unseen]), 5)).all()


def test_other_keypoint_sets_have_no_face() -> None:
    mice = Poses(np.zeros((1, 3, 2)), np.ones((1, 3)), np.zeros((1, 5)), SIZE, "mouse_3")
    with pytest.raises(InputError, match="mouse_3"):
        face_boxes(PoseSequence.from_poses([mice]), 0)


def ramp() -> np.ndarray:
    picture = np.zeros((480, 640, 3), np.uint8)
    picture[..., 0], picture[..., 1] = np.arange(640) % 256, np.arange(480)[:, None] % 256
    return picture


@pytest.mark.parametrize("box", [(10, 20, 138, 148), (10.4, 20.7, 74.4, 84.7), (0, 0, 250, 250)])
def test_a_crop_shows_its_box(box: tuple[float, ...]) -> None:
    """The middle of pixel i of the crop lies at x1 + (i + 0.5) * side / size in the picture."""
    [crop] = face_crops([ramp()], [box], size=128)
    assert crop.shape == (128, 128, 3) and crop.dtype == np.uint8
    inner = np.arange(4, 124)
    expected = (inner + 0.5) * (box[2] - box[0]) / 128 - 0.5
    assert np.abs(crop[64, inner, 0] - (expected + box[0])).max() < 1.1
    assert np.abs(crop[inner, 64, 1] - (expected + box[1])).max() < 1.1


def test_crops_are_black_outside_and_without_a_box() -> None:
    white = np.full((480, 640, 3), 255, np.uint8)
    for box in ((-100, -100, 100, 100), (-50, -50, 0, 0)):
        [crop] = face_crops([white], [box], size=100)
        assert not crop[:48, :48].any() and bool(crop[52:, 52:].all()) == (box[2] > 0)
    [crop] = face_crops([white], [(np.nan,) * 4], size=16)
    assert crop.shape == (16, 16, 3) and not crop.any()


def test_crops_come_one_at_a_time() -> None:
    taken: list[int] = []

    def frames():
        for number in range(3):
            taken.append(number)
            yield ramp()

    crops = face_crops(frames(), [(0, 0, 64, 64)] * 3, size=64)
    next(crops)
    assert taken == [0]


def test_boxes_are_averaged_over_seconds() -> None:
    """A pause between two places: each keeps its own; a wrong rate changes nothing."""
    centers = [(100.0, 100.0)] * 8 + [(200.0, 100.0)] * 8
    near = sequence(centers, (30, 30))
    paused = replace(near, pts=near.pts + np.where(np.arange(16) < 8, 0, 3.0))
    x = face_boxes(paused, 5)[:, 0]
    assert np.ptp(x[:8]) < 1e-6
    assert np.ptp(x[8:]) < 1e-6
    wrong = replace(near, frame_rate=Fraction(1000))
    np.testing.assert_array_equal(face_boxes(wrong, 5), face_boxes(near, 5))
