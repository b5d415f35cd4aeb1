"""What a reproduction has: estimators that load, and data that are there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from drawn_people import make_people
from tiny import make_checkpoint

from sdpose_core.errors import InputError
from sdpose_training.evaluation.protocols import BODY, WHOLEBODY
from sdpose_training.reproduction.setup import CHECKPOINT, PEER, Loading, find_grounds, load_candidates
from sdpose_training.reproduction.small import LAYOUTS

CPU = Loading("cpu", "fp32")


@pytest.mark.slow
def test_every_estimator_is_loaded_and_timed(tmp_path: Path) -> None:
    checkpoint = make_checkpoint(tmp_path / "tiny.safetensors")
    found, absent = load_candidates([str(checkpoint)], ["preview", "rtmpose:nowhere.onnx"], CPU)
    assert [(each.option, each.keypoint_set) for each in found] == [(CHECKPOINT, BODY), (PEER, BODY)]
    assert all(each.seconds and each.seconds > 0 for each in found)
    assert [each.source for each in found] == [checkpoint, "preview"]
    assert found[0].name == "SDPose tiny"
    assert list(absent) == ["rtmpose:nowhere.onnx"]
    assert "nowhere.onnx" in absent["rtmpose:nowhere.onnx"]


def test_other_weights_are_another_identity(tmp_path: Path) -> None:
    identities = []
    for seed in (0, 1):
        path = make_checkpoint(tmp_path / "tiny.safetensors", seed=seed)
        identities.append(load_candidates([str(path)], [], CPU)[0][0].identity)
    assert identities[0] != identities[1]


def test_two_estimators_of_one_name_are_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "a" / "tiny.safetensors", tmp_path / "b" / "tiny.safetensors"
    for path in (first, second):
        path.parent.mkdir()
        make_checkpoint(path)
    with pytest.raises(InputError, match="two estimators are named 'SDPose tiny': rename a file"):
        load_candidates([str(first), str(second)], [], CPU)


def test_data_are_read_before_anything_runs(tmp_path: Path) -> None:
    people = make_people(tmp_path / "people", 3)
    root = tmp_path / "COCO"
    (root / "annotations").mkdir(parents=True)
    (people / "images").rename(root / "val2017")
    shutil.copyfile(people / "annotations" / "val.json", root / LAYOUTS[0][0])
    found = find_grounds(tmp_path, [("coco-gt-boxes", BODY), ("coco", BODY), ("humanart", BODY)])
    assert found["coco-gt-boxes", BODY].boxes == 3
    assert found["coco-gt-boxes", BODY].missing is None
    assert "no boxes at" in str(found["coco", BODY].missing)
    assert "https://" in str(found["humanart", BODY].missing)
    assert "--annotations" not in str(found["humanart", BODY].missing), "an option of another script"
    content = json.loads((root / LAYOUTS[0][0]).read_text())
    (root / "val2017" / content["images"][0]["file_name"]).unlink()
    missing = find_grounds(root, [("coco-gt-boxes", BODY)])["coco-gt-boxes", BODY].missing
    assert "1 of 3 pictures are missing" in str(missing)
    assert "--images" not in str(missing)


def test_without_data_everything_is_missing() -> None:
    assert find_grounds(None, [("coco", BODY), ("coco-wholebody", WHOLEBODY)])["coco", BODY].missing == (
        "the data: give --data.root DIR"
    )
