"""Clips of synthetic people: motion without anny; frames, truth and annotations with it."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest

from make_synthetic_people import main
from sdpose_core.dependencies import installed
from sdpose_core.poses import PoseSequence
from sdpose_core.skeletons import COCO_WHOLEBODY_133
from sdpose_training.synthetic.motion import KINDS, Motion, sample_motion

needs_anny = pytest.mark.skipif(not installed("anny"), reason="anny (extra `train`) is not installed")


def motions(kind: str, count: int = 2) -> list[Motion]:
    found = (sample_motion(np.random.default_rng(seed), 2.0) for seed in range(200))
    return list(itertools.islice((motion for motion in found if motion.kind == kind), count))


@pytest.mark.parametrize("kind", KINDS)
def test_bones_turn_smoothly(kind):
    seconds = np.arange(0, 2, 0.04)
    for motion in motions(kind):
        poses = motion.at(seconds)
        turns = np.stack([[pose.bones[bone] for pose in poses] for bone in ("upperleg01.L", "lowerarm01.R", "head")])
        steps = turns[:, 1:] @ turns[:, :-1].swapaxes(2, 3)
        degrees = np.rad2deg(np.arccos(np.clip((np.trace(steps, axis1=2, axis2=3) - 1) / 2, -1, 1)))
        assert 0.1 < degrees.max() < 35, kind


def test_key_poses_are_reached_at_their_times():
    motion = motions("dance")[0]
    for number in (0, 1, 2):
        [pose] = motion.at(motion.times[[number]])
        np.testing.assert_allclose(pose.bones["head"], motion.keys[number].bones["head"], atol=1e-6)


def test_walkers_face_the_way_they_go_and_step_with_either_leg():
    for motion in [*motions("walk"), *motions("run")]:
        yaw = np.deg2rad(motion.yaw)
        facing = np.array([np.sin(yaw), -np.cos(yaw)])
        assert facing @ motion.velocity == pytest.approx(np.linalg.norm(motion.velocity))
        first, second = motion.keys[:2]
        assert first.bones["upperleg01.L"][1, 2] == pytest.approx(second.bones["upperleg01.R"][1, 2])


def test_people_who_turn_on_the_spot_stay_there():
    for motion in motions("turn"):
        places, yaws = motion.place_at(np.array([0.0, 2.0])), motion.yaw_at(np.array([0.0, 2.0]))
        np.testing.assert_array_equal(places[0], places[1])
        assert abs(yaws[1] - yaws[0]) > 100


@needs_anny
def test_clips_have_the_truth_of_every_frame_and_are_made_once(tmp_path, capsys):
    arguments = ["--clip", "3", "--count", "2", "--people", "3", "--size", "96x72", "--supersample", "1"]
    assert main([*arguments, "--seed", "4", "--out", str(tmp_path)]) == 0
    assert "2 clips of 3 frames, 2 made now" in capsys.readouterr().out
    for folder in sorted(tmp_path.glob("clip_*")):
        truth = PoseSequence.load(folder / "truth.pose.npz")
        content = json.loads((folder / "annotations.json").read_text(encoding="utf-8"))
        assert len(truth) == 3 == len(content["images"]) == len(list((folder / "images").iterdir()))
        for entry in content["annotations"]:
            frame = truth.frame(entry["image_id"] - 1)
            row = frame.track_ids.tolist().index(entry["track_id"])
            labeled = np.reshape(entry["keypoints"], (17, 3))
            seen = labeled[:, 2] > 0
            np.testing.assert_allclose(frame.keypoints[row, :17][seen], labeled[seen, :2], atol=0.01)
            assert (frame.scores[row, :17][labeled[:, 2] == 2] == 1).all()
        face = list(COCO_WHOLEBODY_133.parts["face"])
        assert np.isnan(truth.keypoints[:, :, face]).all()
        there = truth.track_ids >= 0
        assert np.isfinite(np.delete(truth.keypoints[there], face, axis=1)).all()
    assert main([*arguments, "--seed", "4", "--out", str(tmp_path)]) == 0
    assert "0 made now" in capsys.readouterr().out
    assert main([*arguments, "--seed", "5", "--out", str(tmp_path)]) == 1, "other settings"
