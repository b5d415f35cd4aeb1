"""Masks, faces and poses of several people, presets and in-betweens, over the small stand-in for ComfyUI."""

from __future__ import annotations

import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch

SIZE = (192, 256)
FRAMES = 3


@pytest.fixture
def two(inside: Any) -> Any:
    """A sequence of two people with the ids 3 and 8, three frames; the second is absent in the last."""
    poses, preset = inside("sdpose_core.poses"), inside("sdpose_core.presets").preset
    one, other = (preset(name, SIZE, share=0.5) for name in ("standing", "waving"))
    arrays = [
        np.concatenate([getattr(p, name) + np.asarray(shift[: getattr(p, name).shape[-1]]) for p, shift in
                        ((one, (-40, 0, -40, 0, 0)), (other, (40, 0, 40, 0, 0)))])
        for name in ("keypoints", "boxes")
    ]  # fmt: skip
    scores = np.concatenate([one.scores, other.scores * 0.9])
    both = poses.Poses(arrays[0], scores, arrays[1], SIZE, one.keypoint_set, [3, 8])
    return poses.PoseSequence.from_poses([both, both, both.select([0])], frame_rate=Fraction(16))


def video(value: float = 0.5) -> torch.Tensor:
    return torch.full((FRAMES, SIZE[1], SIZE[0], 3), value)


# --- faces and masks of each person ----------------------------------------------------------------------------------


def test_faces_of_each_person_are_lists_with_ids(run: Any, two: Any) -> None:
    faces, boxes, info, ids = run("FaceCrops", image=video(), sequence=two, size=64, people="each person")
    assert ids == [3, 8]
    assert [tuple(batch.shape) for batch in faces] == [(FRAMES, 64, 64, 3)] * 2
    left, right = (rows[0][0]["x"] for rows in boxes)
    assert left < right, "3 is at the left"
    assert info.splitlines() == ["ID 3: a face in 3 of 3 frames", "ID 8: a face in 3 of 3 frames"]


def test_faces_of_one_person_are_one_batch(run: Any, two: Any) -> None:
    for person, expected in ((-1, 3), (8, 8)):
        faces, boxes, _, ids = run("FaceCrops", image=video(), sequence=two, size=64, person=person)
        assert ids == [expected] and len(faces) == len(boxes) == 1
    faces, _, info, ids = run("FaceCrops", image=video(), sequence=two, size=64, person=5)
    assert ids == [-1] and not faces[0].any() and info.startswith("nobody has ID 5: a face in 0")


def test_masks_of_everybody_one_and_each(run: Any, two: Any) -> None:
    [everybody], ids, info = run("PersonMasks", sequence=two)
    assert (
        everybody.shape == (FRAMES, SIZE[1], SIZE[0]) and ids == [-1] and info == "everybody: a mask in 3 of 3 frames"
    )
    each, ids, info = run("PersonMasks", sequence=two, people="each person")
    assert ids == [3, 8] and "ID 8: a mask in 2 of 3 frames" in info
    torch.testing.assert_close(torch.maximum(*each), everybody)
    assert not each[1][2].any()
    [one], ids, _ = run("PersonMasks", sequence=two, people="one person")
    assert ids == [3] and torch.equal(one, each[0])
    [eight], ids, _ = run("PersonMasks", sequence=two, people="one person", person=8)
    assert ids == [8] and torch.equal(eight, each[1])
    [nobody], ids, info = run("PersonMasks", sequence=two, people="one person", person=5)
    assert ids == [-1] and not nobody.any() and info == "nobody has ID 5: a mask in 0 of 3 frames"


def test_masks_of_poses_and_of_pose_keypoint(run: Any, two: Any) -> None:
    [expected], _, _ = run("PersonMasks", sequence=two)
    for poses in (two.frames(), run("Filter", poses=two, body=True, **dict.fromkeys(
            ("head", "hands", "face", "feet"), True))[1]):  # fmt: skip
        [mask], _, info = run("PersonMasks", sequence=poses)
        assert "tracked" in info and float((mask - expected).abs().mean()) < 0.005


def test_ids_choose_the_same_person_in_select_person(run: Any, two: Any) -> None:
    _, ids, _ = run("PersonMasks", sequence=two, people="each person")
    poses, _, _ = run("SelectPerson", poses=two, by="id", number=ids[1])
    assert [frame.track_ids.tolist() for frame in poses] == [[8], [8], []]


# --- pose maps in a mask ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("fill", "level"), [("black", 0), ("gray", 127 / 255)])
def test_the_control_video_for_vace(run: Any, two: Any, fill: str, level: float) -> None:
    [mask], _, _ = run("PersonMasks", sequence=two, people="one person", person=8)
    control, passed, info = run("DrawInMask", image=video(0.8), mask=mask, poses=two, fill=fill)
    assert torch.equal(passed, mask) and info == "5 people in 3 frames"
    outside = mask == 0
    assert (control[outside] - 0.8).abs().max() < 0.003
    inside = control[~outside]
    assert (inside - level).abs().max(dim=-1).values.lt(0.003).float().mean() > 0.4
    assert (inside.max(dim=-1).values > 0.9).any(), "the skeleton"
    assert (control[2] - 0.8).abs().max() < 0.003, "her mask is empty in the last frame"


def test_one_mask_for_all_frames_of_another_size(run: Any, two: Any) -> None:
    mask = torch.zeros(1, SIZE[1] // 2, SIZE[0] // 2)
    mask[:, :, : SIZE[0] // 4] = 1
    control, passed, _ = run("DrawInMask", image=video(), mask=mask, poses=two)
    assert passed.shape == (FRAMES, SIZE[1], SIZE[0]) and passed[:, :, : SIZE[0] // 2].all()
    assert (control[:, :, SIZE[0] // 2 :] - 0.5).abs().max() < 0.003


def test_other_numbers_of_frames_are_refused(run: Any, input_error: type[Exception], two: Any) -> None:
    with pytest.raises(input_error, match="frames: 3 in image, 2 in mask, 3 in poses: connect the same frames"):
        run("DrawInMask", image=video(), mask=torch.ones(2, 8, 8), poses=two)


# --- poses from other nodes ------------------------------------------------------------------------------------------


def points(count: int) -> np.ndarray:
    return np.stack([np.arange(count) * 0.3 + 10, 200 - np.arange(count) * 0.4], axis=1)


def test_sam_3d_body_becomes_poses_with_ids(run: Any) -> None:
    person = {"pred_keypoints_2d": points(70), "bbox": torch.tensor([5.0, 100, 60, 220])}
    source = {"frames": [[person, person], [person, person]], "image_size": (256, 192), "faces": None}
    poses, sequence, keypoints, info = run("PosesFrom", source=source, frame_rate=25)
    assert [frame.track_ids.tolist() for frame in poses] == [[0, 1]] * 2
    assert sequence.size == SIZE and sequence.frame_rate == 25 and "2 frames at 25 fps, 2 people" in info
    assert len(keypoints[0]["people"]) == 2
    np.testing.assert_allclose(sequence.keypoints[0, 0, 9], points(70)[62], rtol=1e-6)


def test_sapiens_and_texts_become_poses(run: Any) -> None:
    frame = {
        "canvas_width": 192, "canvas_height": 256,
        "people": [{"keypoints_2d": np.c_[points(308), np.full(308, 0.7)].tolist()}],
    }  # fmt: skip
    for source in ([frame, frame], json.dumps([frame, frame])):
        poses, sequence, _, info = run("PosesFrom", source=source)
        assert poses[0].keypoint_set == "coco_wholebody_133" and len(sequence) == 2
        np.testing.assert_allclose(poses[0].keypoints[0, 91], points(308)[62], rtol=1e-6)
        assert "read as Sapiens" in info and poses[0].scores[0, 91] == pytest.approx(0.7)


def test_what_is_no_pose_is_refused(run: Any, input_error: type[Exception]) -> None:
    for source, message in (("hello", "source is not JSON"), ("{}", "canvas"), ([{"a": 1}], "expected")):
        with pytest.raises(input_error, match=message):
            run("PosesFrom", source=source)


# --- poses that no picture shows -------------------------------------------------------------------------------------


def test_a_preset_shows_itself_and_gives_poses(nodes: dict[str, type], run: Any) -> None:
    poses, keypoints, info = run("Preset", pose="waving", width=192, height=256)
    assert poses[0].size == SIZE and len(keypoints[0]["people"]) == 1 and "waving, 192 x 256" in info
    values = {"pose": "waving", "width": 192, "height": 256, "turn": 0, "mirror": False, "size": 0.8}
    [shown] = nodes["SDPoseAnnotatorPreset"].execute(**values).ui["images"]
    assert shown.shape == (256, 192, 3) and shown.any()


def test_in_betweens_of_two_presets(run: Any) -> None:
    first, last = (run("Preset", pose=pose, width=192, height=256)[0] for pose in ("standing", "waving"))
    sequence, keypoints, info = run("Interpolate", first=first, last=last, frames=5, frame_rate=8)
    assert len(sequence) == len(keypoints) == 5 and sequence.frame_rate == 8 and "5 frames at 8 fps, 1 person" in info
    np.testing.assert_allclose(sequence.keypoints[-1, 0], last[0].keypoints[0], atol=1e-3)


def test_a_last_pose_of_another_size_is_fitted_and_said(run: Any, two: Any) -> None:
    small = run("Preset", pose="waving", width=96, height=128)[1]
    sequence, _, info = run("Interpolate", first=two, last=small, frames=4)
    assert sequence.size == SIZE and "last is 96 x 128: fitted into 192 x 256" in info
    assert sequence.track_ids[0].tolist() == [3], "of the first, the last frame counts"
