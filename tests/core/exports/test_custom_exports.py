"""Exports of custom keypoint sets: to COCO, with or without pictures, and to nothing that needs OpenPose's points."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from custom_sets import HAND, PEN, SETS, custom_poses

from sdpose_core.errors import InputError
from sdpose_core.exports.targets import TARGETS, export
from sdpose_core.images import write_png
from sdpose_core.poses import PoseSequence
from sdpose_core.skeletons import KeypointSet
from sdpose_training.data.annotations import read_annotations, read_people
from sdpose_training.data.keypoint_sets import from_category


def clip_of(points: KeypointSet, frames: int = 2) -> PoseSequence:
    places = np.random.default_rng(0).uniform(5, 60, (len(points), 2)).round(2)
    return PoseSequence.from_poses([custom_poses(points, places + t) for t in range(frames)])


@pytest.mark.parametrize("points", SETS, ids=lambda points: points.name)
def test_coco_has_all_points_and_what_training_reads_of_the_set(points: KeypointSet, tmp_path: Path) -> None:
    clip = clip_of(points)
    export(clip, "coco", tmp_path, name="clip")
    content = json.loads((tmp_path / "clip_annotations.json").read_text())
    found = from_category(content["categories"])
    assert (found.names, found.links, found.flip_pairs) == (points.names, points.links, points.flip_pairs)
    assert found.sigmas == points.sigmas and found.name == f"{points.name.split('_')[0]}_{len(points)}"
    for name in ("annotations", "results"):
        rows = json.loads((tmp_path / f"clip_{name}.json").read_text())
        for row, poses in zip(rows["annotations"] if name == "annotations" else rows, clip.frames(), strict=True):
            found_points = np.reshape(row["keypoints"], (-1, 3))
            np.testing.assert_allclose(found_points[:, :2], poses.keypoints[0], atol=1e-3)
    assert content["annotations"][0]["num_keypoints"] == len(points)


def test_pictures_for_training(tmp_path: Path) -> None:
    clip, source = clip_of(PEN, 3), tmp_path / "source"
    source.mkdir()
    for t in range(3):
        write_png(source / f"{t}.png", np.full((64, 96, 3), t, np.uint8))
    export(clip, "coco", tmp_path / "out", name="pens", video=source)
    path = tmp_path / "out" / "annotations" / "train.json"
    points = from_category(json.loads(path.read_text())["categories"])
    people, problems = read_people(read_annotations(path), tmp_path / "out" / "images", points)
    assert points == PEN and len(people) == 2 and not problems
    np.testing.assert_allclose(people.keypoints[0], clip.keypoints[0, 0], atol=1e-3)


@pytest.mark.parametrize("target", [target for target in TARGETS if target != "coco"])
def test_other_tools_need_openposes_points(target: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"{target} needs the points of coco_17 or coco_wholebody_133, .*'hand_21'"):
        export(clip_of(HAND), target, tmp_path / "out")
    assert not (tmp_path / "out").exists()
