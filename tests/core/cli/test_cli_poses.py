"""Commands that take pose sequences, with OpenPose JSON of others and with files of other kinds."""

from __future__ import annotations

import json
import pickle
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sdpose_core.cli.main import main
from sdpose_core.drawing.pose_maps import draw_poses
from sdpose_core.images import read_image, write_png
from sdpose_core.openpose import to_openpose
from sdpose_core.poses import Poses, PoseSequence
from sdpose_core.video.opening import open_video

SIZE = (96, 64)


def pose(shift: int = 0) -> Poses:
    points = np.c_[np.linspace(20, 60, 17), np.linspace(8, 56, 17)] + [shift, 0]
    return Poses(points[None], np.full((1, 17), 0.9), np.zeros((1, 5)), SIZE, "coco_17")


def openpose(shift: int = 0, canvas: bool = True) -> dict[str, Any]:
    content = to_openpose(pose(shift), scores=True)
    people = [{"person_id": [-1], "pose_keypoints_2d": person["pose_keypoints_2d"]} for person in content["people"]]
    size = {"canvas_width": SIZE[0], "canvas_height": SIZE[1]} if canvas else {}
    return {"version": 1.3, "people": people, **size}


def write(path: Path, content: Any, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(json.dumps(content).encode(encoding))
    return path


def run(*words: object) -> int:
    return main([str(word) for word in words])


@pytest.fixture
def error(capsys: pytest.CaptureFixture) -> Any:
    """The one line of a command that fails."""

    def error(*words: object) -> str:
        assert run(*words) in (1, 2)
        lines = capsys.readouterr().err.strip().splitlines()
        assert len(lines) == 1 and lines[0].startswith(f"sdpose {words[0]}: ")
        return lines[0]

    return error


# --- draw ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
@pytest.mark.parametrize("name", ["a_keypoints.json", "A.JSON"])
def test_draw_of_edited_json(encoding: str, name: str, tmp_path: Path) -> None:
    file, out = write(tmp_path / name, openpose(), encoding), tmp_path / "map.png"
    assert run("draw", file, "-o", out) == 0
    np.testing.assert_array_equal(read_image(out), draw_poses(pose()))


def test_draw_names_its_result_after_the_file_or_the_folder(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = write(tmp_path / "walk" / "a_keypoints.json", openpose())
    clip = write(tmp_path / "clip.json", [openpose(n) for n in range(2)])
    for source, name in (
        (file, "walk/a_pose.png"), (tmp_path / "walk", "walk_pose.png"), (clip, "clip_kps.mp4")
    ):  # fmt: skip
        assert run("draw", source) == 0
        assert capsys.readouterr().out.strip() == str(tmp_path / name)
        assert (tmp_path / name).is_file()


def test_draw_of_a_folder_in_natural_order(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for number in (1, 9, 10):
        write(tmp_path / "walk" / f"f{number}_keypoints.json", openpose(number))
    (tmp_path / "walk" / "._f1_keypoints.json").write_bytes(b"\0\5\26")
    assert run("draw", tmp_path / "walk", "-o", tmp_path / "maps") == 0
    for place, number in enumerate((1, 9, 10)):
        drawn = read_image(tmp_path / "maps" / f"{place:06d}.png")
        np.testing.assert_array_equal(drawn, draw_poses(pose(number)))
    assert "taken as 25 frames per second" in capsys.readouterr().err


def test_the_frame_rate_of_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    clip = write(tmp_path / "clip.json", [openpose(n) for n in range(3)])
    assert run("draw", clip, "-o", tmp_path / "clip.mp4", "--frame-rate", "30000/1001") == 0
    assert "frames per second" not in capsys.readouterr().err
    with open_video(tmp_path / "clip.mp4") as video:
        assert video.info.frame_rate == Fraction(30000, 1001)


def test_json_of_picture_sizes_that_are_not_stated(tmp_path: Path, error: Any) -> None:
    file = write(tmp_path / "cmu.json", openpose(canvas=False))
    assert "give the size of the picture with --canvas WxH" in error("draw", file, "-o", tmp_path / "a.png")
    assert run("draw", file, "-o", tmp_path / "a.png", "--canvas", "96x64") == 0
    np.testing.assert_array_equal(read_image(tmp_path / "a.png"), draw_poses(pose()))
    write_png(tmp_path / "frames" / "0.png", np.zeros((64, 96, 3), np.uint8))
    assert run("draw", file, "-o", tmp_path / "b.png", "--background", tmp_path / "frames") == 0
    np.testing.assert_array_equal(read_image(tmp_path / "b.png"), draw_poses(pose()))


def test_a_stated_canvas_counts(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = write(tmp_path / "a.json", openpose())
    assert run("draw", file, "-o", tmp_path / "a.png", "--canvas", "500x500") == 0
    assert "it states its canvas, 96 x 64: --canvas was not used for it" in capsys.readouterr().err
    assert read_image(tmp_path / "a.png").shape == (64, 96, 3)


# --- the other commands ----------------------------------------------------------------------------------------------


def test_info_of_json(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    clip = write(tmp_path / "clip.json", [openpose(n, canvas=False) for n in range(3)])
    assert run("info", clip, "--canvas", "96x64", "--frame-rate", "10", "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["frames"], found["size"], found["frame_rate"], found["seconds"]) == (3, [96, 64], "10", 0.3)
    assert [person["frames"] for person in found["people"]] == [3]


def test_info_of_a_folder_with_pictures_is_that_of_the_pictures(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    write(tmp_path / "both" / "a_keypoints.json", openpose())
    write_png(tmp_path / "both" / "a.png", np.zeros((8, 8, 3), np.uint8))
    assert run("info", tmp_path / "both") == 0
    assert "kind: video" in capsys.readouterr().out


@pytest.mark.parametrize("sequence", ["clip.json", "walk.pose.npz"])
@pytest.mark.parametrize("reference", ["cmu.json", "cmu"])
def test_retarget_with_json_on_both_sides(sequence: str, reference: str, tmp_path: Path) -> None:
    write(tmp_path / "clip.json", [openpose(n, canvas=False) for n in range(3)])
    PoseSequence.from_poses([pose(n) for n in range(3)], frame_rate=Fraction(25)).save(tmp_path / "walk.pose.npz")
    write(tmp_path / "cmu.json", openpose(canvas=False))
    write(tmp_path / "cmu" / "0.json", openpose(canvas=False))
    out = tmp_path / "out.pose.npz"
    call = ["retarget", tmp_path / sequence, "--to", tmp_path / reference, "-o", out]
    assert run(*call) == 2
    assert run(*call, "--canvas", "96x64", "--size", "200x128") == 0
    assert PoseSequence.load(out).size == (200, 128)
    assert run(*call, "--canvas", "96x64", "--overwrite") == 0
    found = PoseSequence.load(out)
    assert (found.size, found.frame_rate, len(found)) == (SIZE, Fraction(25), 3)
    np.testing.assert_allclose(found.keypoints[0], pose().keypoints, atol=0.5)


def test_export_of_json_and_with_json_as_reference(tmp_path: Path) -> None:
    clip = write(tmp_path / "clip.json", [openpose(n, canvas=False) for n in range(3)])
    reference = write(tmp_path / "cmu.json", openpose(canvas=False))
    assert (
        run("export", clip, "--to", "controlnet", "-o", tmp_path / "out", "--canvas", "96x64", "--frame-rate", 12) == 0
    )
    with open_video(tmp_path / "out" / "clip_pose.mp4") as video:
        assert (video.info.frame_rate, len(list(video.frames()))) == (12, 3)
    call = ["export", clip, "--to", "unianimate", "-o", tmp_path / "out", "--reference", reference]
    assert run(*call) == 2
    assert run(*call, "--canvas", "96x64") == 0
    assert (tmp_path / "out" / "clip" / "ref_pose.jpg").exists()


def test_what_we_export_as_openpose_we_read_back(tmp_path: Path) -> None:
    PoseSequence.from_poses([pose(n) for n in range(3)], frame_rate=Fraction(25)).save(tmp_path / "walk.pose.npz")
    assert run("export", tmp_path / "walk.pose.npz", "--to", "openpose", "-o", tmp_path / "out") == 0
    assert run("draw", tmp_path / "out" / "walk_openpose", "-o", tmp_path / "maps") == 0
    for n in range(3):
        np.testing.assert_array_equal(read_image(tmp_path / "maps" / f"{n:06d}.png"), draw_poses(pose(n)))


@pytest.mark.parametrize("command", ["draw", "info", "retarget"])
def test_a_sequence_without_people_is_said(command: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    empty = write(tmp_path / "empty.json", {**openpose(), "people": []})
    more = {
        "draw": ["-o", tmp_path / "out.png"],
        "info": [],
        "retarget": ["--to", write(tmp_path / "a.json", openpose()), "-o", tmp_path / "out.pose.npz"],
    }[command]
    assert run(command, empty, *more) == 0
    assert f"{empty}: nobody is in it" in capsys.readouterr().err


# --- files of other kinds --------------------------------------------------------------------------------------------

KINDS = {
    "x.pkl": "is a Python pickle, which may run any code and is never opened: expected a .pose.npz",
    "renamed.npz": "is a Python pickle",
    "other.npz": "is not a .pose.npz: it lacks keypoints",
    "objects.npz": "it holds Python objects, which are never opened",
    "y.npy": "is a single NumPy array",
    "p.png": "is a picture: expected a .pose.npz, OpenPose JSON, or a folder of JSON files; `sdpose image` estimates",
    "v.mp4": "is a video: expected a .pose.npz, OpenPose JSON, or a folder of JSON files; `sdpose video` estimates",
    "words.txt": "is of an unknown kind: expected a .pose.npz",
    "json.txt": "is JSON under another suffix: rename it to json.json",
    "empty.npz": "is empty: expected a .pose.npz",
    "none.json": "has no frames: expected OpenPose JSON of at least one",
    "broken.json": "is not JSON",
    "zero.json": "is not JSON (it is empty)",
    "sizes.json": "its frames have canvases of 96 x 64 and 32 x 24: all frames of a clip must have the same size",
    "huge.json": "the pose map has 60,000 x 60,000 = 3,600,000,000 pixels, the limit is 178,000,000: make it smaller",
    "unknown.json": "no known part among its keys (skeleton): expected pose_keypoints_2d",
    "missing.json": "no such file or folder",
    "folder": "no .json file in this folder",
}


@pytest.fixture
def others(tmp_path: Path) -> Path:
    (tmp_path / "x.pkl").write_bytes(pickle.dumps([1]))
    (tmp_path / "renamed.npz").write_bytes(pickle.dumps({"a": 1}))
    np.savez(tmp_path / "other.npz", a=1)
    np.savez(tmp_path / "objects.npz", keypoints=np.array([{}], object))
    np.save(tmp_path / "y.npy", np.zeros(3))
    write_png(tmp_path / "p.png", np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "v.mp4").write_bytes(b"\0\0\0\x18ftypisom")
    (tmp_path / "words.txt").write_text("hello")
    (tmp_path / "json.txt").write_text(json.dumps(openpose()))
    (tmp_path / "empty.npz").touch()
    (tmp_path / "none.json").write_text("[]")
    (tmp_path / "broken.json").write_text("{")
    (tmp_path / "zero.json").touch()
    write(tmp_path / "sizes.json", [openpose(), {**openpose(), "canvas_width": 32, "canvas_height": 24}])
    write(tmp_path / "huge.json", {**openpose(), "canvas_width": 60000, "canvas_height": 60000})
    write(tmp_path / "unknown.json", {**openpose(), "people": [{"skeleton": [1.0] * 54}]})
    (tmp_path / "folder").mkdir()
    return tmp_path


@pytest.mark.parametrize(
    ("command", "name"),
    [*(("draw", name) for name in KINDS), *(("retarget", name) for name in ("x.pkl", "none.json", "p.png")),
     *(("export", name) for name in ("y.npy", "unknown.json", "folder"))],
)  # fmt: skip
def test_files_of_other_kinds_are_one_line(command: str, name: str, others: Path, error: Any) -> None:
    more = {
        "draw": ["-o", others / "out.png"],
        "retarget": ["--to", write(others / "fine.json", openpose()), "-o", others / "out.pose.npz"],
        "export": ["--to", "openpose", "-o", others / "out"],
    }[command]
    assert KINDS[name] in error(command, others / name, *more)
