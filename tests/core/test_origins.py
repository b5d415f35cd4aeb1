"""What an output was made from: identities, origins, marks."""

from __future__ import annotations

import json
import re
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdpose_core.errors import InputError
from sdpose_core.files import unchanged
from sdpose_core.images import write_png
from sdpose_core.openpose.writer import write_openpose_json
from sdpose_core.origins import (
    MARK,
    Origin,
    OtherOrigin,
    file_identity,
    folder_identity,
    is_drawn,
    mark_of,
    mark_text,
    parse_mark,
    read_mark,
    weights_fingerprint,
)
from sdpose_core.poses import Poses
from sdpose_core.video.writer import SUFFIX, VideoWriter

BLACK = np.zeros((32, 48, 3), np.uint8)


def test_a_file_is_its_content_not_its_name_or_time(tmp_path):
    (tmp_path / "a").write_bytes(b"x" * 3_000_000)
    (tmp_path / "b").write_bytes(b"x" * 3_000_000)
    middle = bytearray(b"x" * 3_000_000)
    middle[1_500_000] ^= 1
    (tmp_path / "c").write_bytes(middle)
    assert file_identity(tmp_path / "a") == file_identity(tmp_path / "b") != file_identity(tmp_path / "c")


def test_a_folder_is_its_names_and_contents_in_order(tmp_path):
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(name.encode())
    files = [tmp_path / "1.png", tmp_path / "2.png"]
    first = folder_identity(files)
    assert first == folder_identity(files) and first["files"] == 2 and first["bytes"] == 10
    assert first != folder_identity(files[::-1])
    files[0].write_bytes(b"1.pnG")
    assert first != folder_identity(files)


def test_a_fingerprint_tells_weights_apart(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, 5_000_000, np.uint8)
    (tmp_path / "a").write_bytes(values.tobytes())
    (tmp_path / "b").write_bytes((values + 1).tobytes())
    (tmp_path / "copy").write_bytes((tmp_path / "a").read_bytes())
    a, b, copy = (weights_fingerprint([tmp_path / name]) for name in ("a", "b", "copy"))
    assert a["bytes"] == b["bytes"] and a["sample"] != b["sample"]
    assert copy == a, "the name does not matter"
    assert weights_fingerprint([tmp_path / "a", tmp_path / "b"])["bytes"] == 10_000_000


def test_poses_fitted_to_a_character_are_not_those_of_the_video():
    origin = Origin({"bytes": 1, "sha256": "a"}, {})
    meta = {"origin": origin.as_meta()}
    assert origin.difference(meta) is None
    assert origin.difference({**meta, "retarget": {"method": "limbs"}}) == "its poses were fitted to a character"


@pytest.mark.parametrize(
    ("meta", "reason"),
    [
        ({}, "does not say what it was made from"),
        ({"origin": {"source": {"bytes": 2, "sha256": "bb"}, "settings": {}}}, r"another file \(2 bytes, this one"),
        ({"origin": {"source": {"bytes": 1, "sha256": "aa"}, "settings": {"flip": True}}}, "flip was True, now False"),
    ],
)
def test_another_origin_is_refused(meta, reason, tmp_path):
    origin = Origin({"bytes": 1, "sha256": "aa"}, {"flip": False})
    with pytest.raises(OtherOrigin, match=rf"a\.pose\.npz exists, but .*{reason}.*: use --overwrite"):
        origin.refuse_other(meta, tmp_path / "a.pose.npz")
    origin.refuse_other({"origin": origin.as_meta()}, tmp_path)


@pytest.mark.parametrize(
    ("asked", "now", "computed", "reason"),
    [
        ("auto", "auto", "float32", None),
        ("auto", "float32", "float32", None),
        ("auto", "float32", "bfloat16", "estimator.dtype was 'auto: bfloat16', now 'float32'"),
        ("auto", "float32", None, "estimator.dtype was 'auto', now 'float32'"),
        ("float32", "float32", "float32", None),
        ("float32", "auto", "float32", "estimator.dtype was 'float32', now 'auto'"),
        ("float32", "bfloat16", "float32", "estimator.dtype was 'float32', now 'bfloat16'"),
        (None, "auto", "float32", None),  # as it was written before
        (None, "float32", "float32", None),
        (None, "bfloat16", "float32", "estimator.dtype was 'auto: float32', now 'bfloat16'"),
        ("fp32", "float32", "float32", None),
        ("fp32", "bfloat16", "float32", "estimator.dtype was 'float32', now 'bfloat16'"),
    ],
)
def test_auto_takes_any_of_its_choices_and_a_dtype_what_was_computed_in_it(asked, now, computed, reason):
    before, after = (Origin({"bytes": 1}, {"estimator": {"dtype": dtype, "crop": "affine"}}) for dtype in (asked, now))
    meta = {"origin": before.as_meta(), "settings": {"dtype": computed} if computed else {}}
    assert after.difference(meta) == (reason and f"it was made with other settings ({reason})")


@pytest.mark.parametrize("settings", [None, 3, {"estimator": 3}, {"estimator": {}}, {"estimator": {"dtype": [1]}}])
def test_settings_of_another_form_are_other_settings(settings):
    origin = Origin({"bytes": 1}, {"estimator": {"dtype": "float32"}})
    meta = {"origin": {"source": {"bytes": 1}, "settings": settings}, "settings": {"dtype": "float32"}}
    assert re.search("does not say what it was made from|made with other settings", origin.difference(meta))


def test_marks_survive_in_png_and_json(tmp_path):
    (tmp_path / "a.pose.npz").write_bytes(b"poses")
    mark = mark_of(tmp_path / "a.pose.npz", {"style": "controlnet", "size": (4, 5), "parts": None})
    assert parse_mark(mark_text(mark)) == mark and mark["drawing"]["size"] == [4, 5]
    write_png(tmp_path / "a.png", BLACK, {MARK: mark_text(mark)})
    (tmp_path / "a.json").write_text(json.dumps({"people": [], MARK: mark_text(mark)}))
    assert read_mark(tmp_path / "a.png") == read_mark(tmp_path / "a.json") == mark


@pytest.mark.parametrize("codec", SUFFIX)
def test_marks_survive_in_videos(codec, tmp_path):
    path, mark = tmp_path / f"踊{SUFFIX[codec]}", mark_of(None, {"style": "dwpose"})
    with VideoWriter(path, (48, 32), Fraction(25), codec=codec, comment=mark_text(mark)) as writer:
        writer.write(BLACK)
    assert read_mark(path) == mark


def test_no_mark(tmp_path):
    write_png(tmp_path / "a.png", BLACK)
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "c.mp4").write_bytes(b"no video")
    (tmp_path / "d.json").write_text("[1]")
    for name in ("a.png", "b.png", "c.mp4", "d.json", "missing.png", "x.txt"):
        assert read_mark(tmp_path / name) is None
    assert parse_mark(f"{MARK} 1.0 {{") == parse_mark(f"{MARK} 1.0 {'[' * 100_000}") == {}


# --- drawings that are there already -------------------------------------------------------------------------------


def drawn(folder: Path, name: str) -> tuple[Path, dict[str, Any]]:
    """A drawing of any kind, and its mark."""
    file, mark = folder / name, mark_of(None, {"style": "controlnet"})
    noise = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
    if name.endswith(".png"):
        write_png(file, noise, {MARK: mark_text(mark)})
    elif name.endswith(".json"):
        points = np.random.default_rng(0).uniform(1, 30, (1, 17, 2))
        poses = Poses(points, np.ones((1, 17)), [[1, 2, 30, 31, 1]], (48, 32), "coco_17")
        write_openpose_json(file, poses, mark=mark_text(mark))
    else:
        codec = next(codec for codec, suffix in SUFFIX.items() if file.suffix == suffix)
        with VideoWriter(file, (48, 32), Fraction(25), codec=codec, comment=mark_text(mark)) as writer:
            for _ in range(3):
                writer.write(noise)
    return file, mark


NAMES = ("a_pose.png", "a_keypoints.json", "a_kps.mp4", "a_kps.mkv", "a_overlay.webm", "a_overlay.gif")


def is_kept(file: Path, mark: dict[str, Any]) -> bool:
    try:
        return is_drawn(file, mark)
    except OtherOrigin:  # refused with what to do
        return False


@pytest.mark.parametrize("name", NAMES)
def test_a_drawing_with_any_changed_byte_is_not_kept(tmp_path: Path, name: str) -> None:
    file, mark = drawn(tmp_path, name)
    assert is_drawn(file, mark)
    whole = file.read_bytes()
    for place in np.linspace(0, len(whole) - 3, 60).astype(int).tolist():  # the last byte of JSON is a line end
        changed = bytearray(whole)
        changed[place] ^= 0x11
        file.write_bytes(changed)
        assert not is_kept(file, mark), place
    for length in (0, 1, len(whole) // 2, len(whole) - 3):
        file.write_bytes(whole[:length])
        assert not is_kept(file, mark), length
    file.write_bytes(whole)
    assert is_drawn(file, mark)


@pytest.mark.parametrize("name", NAMES)
def test_what_stands_in_place_of_a_drawing_is_not_kept(tmp_path: Path, name: str) -> None:
    file, mark = drawn(tmp_path, name)
    file.unlink()
    file.symlink_to(tmp_path / "nothing")
    assert not is_kept(file, mark)
    file.unlink()
    file.mkdir()
    assert not is_kept(file, mark)


@pytest.mark.parametrize("name", ["a_kps.mp4", "a_kps.mkv"])
def test_a_sealed_video_is_read_by_others(tmp_path: Path, name: str) -> None:
    import cv2

    file, _ = drawn(tmp_path, name)
    video = cv2.VideoCapture(str(file))
    assert [video.read()[0] for _ in range(4)] == [True, True, True, False]


def test_json_that_an_editor_changed_is_neither_kept_nor_replaced(tmp_path: Path) -> None:
    file, mark = drawn(tmp_path, "a_keypoints.json")
    content = json.loads(file.read_text())
    content["people"][0]["pose_keypoints_2d"][0] += 1
    file.write_text(json.dumps(content))
    with pytest.raises(OtherOrigin, match="was changed after it was written: use --overwrite"):
        is_drawn(file, mark)


def test_an_input_that_is_replaced_is_said(tmp_path: Path) -> None:
    (tmp_path / "1.png").write_bytes(b"1")
    with unchanged(tmp_path, None, tmp_path / "absent"):
        pass
    with pytest.raises(InputError, match="was replaced while it was read"), unchanged(tmp_path):
        (tmp_path / "1.png").write_bytes(b"22")
