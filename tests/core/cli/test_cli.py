"""The command as a user meets it: real pictures through the embedded models, and bad input of every kind."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from paths import DATA
from PIL import Image
from remembered import forget

from sdpose_core.cli.arguments import show_path
from sdpose_core.cli.main import main
from sdpose_core.images import read_image
from sdpose_core.poses import PoseSequence
from sdpose_core.streams import log_to_stderr

pytestmark = pytest.mark.usefixtures("remembered_networks")


@pytest.fixture(autouse=True)
def no_weights(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """No SDPose weights of this machine may leak into these tests."""
    empty = tmp_path_factory.mktemp("empty")
    for name in ("SDPOSE_HOME", "HF_HOME", "XDG_CACHE_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(empty))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_the_quick_start(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["image", str(DATA / "astronaut.png"), "-o", str(tmp_path)]) == 0
    assert names(tmp_path) == ["astronaut.pose.npz", "astronaut_keypoints.json", "astronaut_pose.png"]
    poses = PoseSequence.load(tmp_path / "astronaut.pose.npz").frame(0)
    assert len(poses) == 1
    nose, left_eye, right_eye = poses.keypoints[0, :3]
    assert np.abs(nose - (222, 125)).max() < 12, "the astronaut's nose"
    assert left_eye[0] > nose[0] > right_eye[0], "the person's left is the viewer's right"
    assert poses.meta["preview"] is True
    printed = capsys.readouterr()
    assert "preview" in printed.err
    assert "not SDPose" in printed.err
    assert printed.out == ""
    with Image.open(tmp_path / "astronaut_pose.png") as pose_map:
        assert (pose_map.size, pose_map.mode) == ((512, 512), "RGB")
        assert np.asarray(pose_map).any()


def test_the_json_agrees_with_the_poses(tmp_path: Path) -> None:
    source = str(DATA / "grace_hopper.jpg")
    assert main(["image", source, "-o", str(tmp_path / "a"), "--model", "preview"]) == 0
    assert main(["image", source, "-o", str(tmp_path / "b"), "--model", "preview", "--json-scores"]) == 0
    poses = PoseSequence.load(tmp_path / "a" / "grace_hopper.pose.npz").frame(0)
    plain = json.loads((tmp_path / "a" / "grace_hopper_keypoints.json").read_text())
    scored = json.loads((tmp_path / "b" / "grace_hopper_keypoints.json").read_text())
    nose = plain["people"][0]["pose_keypoints_2d"][:3]
    np.testing.assert_allclose(nose[:2], poses.keypoints[0, 0], atol=0.01)
    assert nose[2] == 1.0
    assert scored["people"][0]["pose_keypoints_2d"][2] == pytest.approx(float(poses.scores[0, 0]), abs=1e-4)


def test_the_same_command_gives_the_same_bytes(tmp_path: Path) -> None:
    for out in ("a", "b"):
        forget()
        assert main(["image", str(DATA / "astronaut.png"), "-o", str(tmp_path / out), "--overlay"]) == 0
    for path in (tmp_path / "a").iterdir():
        if path.suffix != ".npz":  # a zip file carries the time of writing
            assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name
    first, second = (PoseSequence.load(tmp_path / out / "astronaut.pose.npz") for out in ("a", "b"))
    np.testing.assert_array_equal(first.keypoints, second.keypoints)
    assert first.meta == second.meta


def test_every_drawing_option_reaches_the_pose_map(tmp_path: Path) -> None:
    base = ["image", str(DATA / "astronaut.png"), "--model", "preview-body", "-o"]  # no point of it reaches 0.99
    variants = {
        "plain": [],
        "style": ["--style", "xinsir"],
        "parts": ["--parts", "head"],
        "threshold": ["--threshold", "0.99"],
        "size": ["--size", "256x384"],
    }
    maps = {}
    for name, options in variants.items():
        assert main([*base, str(tmp_path / name), *options]) == 0
        with Image.open(tmp_path / name / "astronaut_pose.png") as pose_map:
            maps[name] = np.asarray(pose_map)
    assert maps["size"].shape == (384, 256, 3)
    assert not maps["threshold"].any()
    for name in ("style", "parts"):
        assert maps[name].any()
        assert (maps[name] != maps["plain"]).any()


def test_boxes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text(json.dumps({"astronaut.png": [[90, 20, 400, 500], [5, 5, 5, 5]]}))
    command = ["image", str(DATA / "astronaut.png"), "-o", str(tmp_path / "out")]
    assert main([*command, "--boxes", str(tmp_path / "boxes.json")]) == 0
    poses = PoseSequence.load(tmp_path / "out" / "astronaut.pose.npz").frame(0)
    np.testing.assert_allclose(poses.boxes[:, :4], [[90, 20, 400, 500]])
    assert poses.meta["boxes_from"] == "given"
    assert "empty or inverted" in str(poses.meta["dropped_boxes"])


def test_one_picture_gets_the_same_answer_as_many(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    for name in ("a", "b"):
        Image.new("RGB", (64, 48), (90, 120, 90)).save(tmp_path / f"{name}.png")
    assert main(["image", str(tmp_path / "a.png"), "-o", str(tmp_path / "one")]) == 0
    assert "nobody found" in (said := capsys.readouterr().err)
    assert "try --min-person-score" in said
    assert main(["image", str(tmp_path / "a.png"), str(tmp_path / "b.png"), "-o", str(tmp_path / "two")]) == 0
    for out in ("one", "two"):
        found = PoseSequence.load(tmp_path / out / "a.pose.npz")
        assert len(found.frame(0)) == 0
        assert "nobody found" in found.meta["boxes_from"]


def _truncated(path: Path) -> None:
    path.write_bytes((DATA / "grace_hopper.jpg").read_bytes()[:3000])


BAD_PICTURES = {
    "truncated.jpg": _truncated,
    "empty.png": lambda path: path.write_bytes(b""),
    "text.png": lambda path: path.write_text("hello"),
    "folder.png": lambda path: path.mkdir(),
    "missing.png": lambda path: None,
}


def test_bad_pictures_give_one_line_each_and_the_good_ones_are_done(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    for name, make in BAD_PICTURES.items():
        make(tmp_path / name)
    inputs = [str(tmp_path / name) for name in BAD_PICTURES if name != "folder.png"]
    assert main(["image", *inputs, str(DATA / "astronaut.png"), "-o", str(tmp_path / "out")]) == 1
    printed = capsys.readouterr().err
    for name in BAD_PICTURES:
        if name != "folder.png":
            assert len([line for line in printed.splitlines() if f"{name}: failed" in line]) == 1
    assert "Traceback" not in printed
    assert "1 done, 0 kept, 4 failed" in printed
    assert names(tmp_path / "out") == ["astronaut.pose.npz", "astronaut_keypoints.json", "astronaut_pose.png"]


GOOD_PICTURES = {
    "gray.png": lambda image: image.convert("L"),
    "cmyk.jpg": lambda image: image.convert("CMYK"),
    "alpha.png": lambda image: image.convert("RGBA"),
    "palette.gif": lambda image: image.convert("P"),
    "sixteen.png": lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257),
}


def test_every_kind_of_picture_gives_the_same_nose(tmp_path: Path) -> None:
    with Image.open(DATA / "astronaut.png") as image:
        for name, change in GOOD_PICTURES.items():
            change(image.convert("RGB")).save(tmp_path / name)
        exif = Image.Exif()
        exif[0x0112] = 6  # stored turned by 90 degrees
        image.convert("RGB").rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    assert main(["image", str(tmp_path), "-o", str(tmp_path / "out"), "--model", "preview"]) == 0
    for name in [*GOOD_PICTURES, "turned.png"]:
        poses = PoseSequence.load(tmp_path / "out" / f"{Path(name).stem}.pose.npz").frame(0)
        assert len(poses) >= 1, name
        assert np.abs(poses.keypoints[0, 0] - (222, 125)).max() < 15, name


@pytest.mark.parametrize("size", [(1, 1), (12_000, 40), pytest.param((12_000, 9_000), marks=pytest.mark.slow)])
def test_extreme_sizes(tmp_path: Path, size: tuple[int, int]) -> None:
    Image.new("RGB", size, (120, 90, 60)).save(tmp_path / "x.png", compress_level=1)
    assert main(["image", str(tmp_path / "x.png"), "-o", str(tmp_path / "out"), "--model", "preview"]) == 0
    with Image.open(tmp_path / "out" / "x_pose.png") as pose_map:
        assert pose_map.size == size


def test_a_stated_pixel_limit(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    Image.new("RGB", (100, 100)).save(tmp_path / "x.png")
    command = ["image", str(tmp_path / "x.png"), "-o", str(tmp_path / "out")]
    assert main([*command, "--max-pixels", "9999"]) == 1
    assert "9999" in capsys.readouterr().err.replace(",", "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["image"],
        ["image", "x.png", "-o"],
        ["image", "x.png", "-o", "out", "--size", "12"],
        ["image", "x.png", "-o", "out", "--size", "0x5"],
        ["image", "x.png", "-o", "out", "--size", "100000x100000"],
        ["video", "x.mp4", "-o", "out", "--size", "13400x13400"],
        ["batch", "x", "-o", "out", "--size", "1x99999999999999"],
        ["draw", "x.pose.npz", "-o", "x.png", "--size", "178000001x1"],
        ["export", "x.pose.npz", "--to", "coco", "-o", "out", "--size", "100000x100000"],
        ["image", "x.png", "-o", "out", "--parts", "elbows"],
        ["image", "x.png", "-o", "out", "--batch-size", "0"],
        ["image", "x.png", "-o", "out", "--if-nobody", "ghost"],
        ["image", "x.png", "-o", "out", "--threshold", "2"],
        ["video", "x.mp4", "-o", "out", "--threshold", "nan"],
        ["image", "x.png", "-o", "out", "--min-person-score", "1.5"],
        ["image", "x.png", "-o", "out", "--detector-threshold", "-0.1"],
        ["image", "x.png", "-o", "out", "--min-size", "inf"],
        ["export", "x.pose.npz", "--to", "coco", "--threshold", "30"],
        ["paint"],
    ],
)
def test_wrong_usage_is_exit_code_2(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "usage:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--style", "cubist"], "controlnet"),
        (["--boxes", "missing.json"], "missing.json"),
    ],
)
def test_wrong_values_are_exit_code_2_and_one_line(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["image", str(DATA / "astronaut.png"), "-o", str(tmp_path), *options]) == 2
    printed = capsys.readouterr().err.strip()
    assert message in printed
    assert "\n" not in printed
    assert names(tmp_path) == []


def test_an_output_folder_that_cannot_be_made(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "out").write_text("a file is in the way")
    assert main(["image", str(DATA / "astronaut.png"), "-o", str(tmp_path / "out")]) == 2
    assert "out" in capsys.readouterr().err


def test_a_full_disk_leaves_no_partial_output(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_space(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    assert main(["image", str(DATA / "astronaut.png"), "-o", str(tmp_path), "--model", "preview"]) == 1
    assert "No space left on device" in capsys.readouterr().err
    assert names(tmp_path) == []


@pytest.mark.parametrize("model", ["body", "no/such/checkpoint.safetensors", str(DATA / "astronaut.png")])
def test_weights_that_cannot_be_loaded_give_one_line(model: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["image", str(DATA / "astronaut.png"), "-o", str(tmp_path), "--model", model]) == 1
    printed = capsys.readouterr().err
    assert "Traceback" not in printed
    assert names(tmp_path) == []


def test_doctor_reports(capsys: pytest.CaptureFixture) -> None:
    assert main(["doctor"]) == 0
    printed = capsys.readouterr().out
    for expected in ("numpy", "detector:", "preview:", "weights body", "weights wholebody", "sdpose download"):
        assert expected in printed


@pytest.mark.slow  # starts a process
@pytest.mark.skipif(os.name == "nt", reason="SIGINT to a process of its own")
def test_a_stop_while_the_program_loads_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a shell's background jobs ignore it
        "def stop(event, args):\n"
        "    if event == 'import' and args[0] == 'sdpose_core.cli.main': os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.addaudithook(stop)\n"
    )
    paths = os.pathsep.join([str(tmp_path), *filter(None, sys.path)])
    command = [sys.executable, "-m", "sdpose_core.cli", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": paths})
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "sdpose: stopped\n")


def test_a_stopped_run_says_how_to_go_on(tmp_path: Path) -> None:
    code = (
        "import sdpose_core.annotate.pictures as a, sdpose_core.cli.main as c, sys\n"
        "def stop(*_, **__): raise KeyboardInterrupt\n"
        "a.annotate_images = stop\n"
        f"sys.exit(c.main(['image', {str(DATA / 'astronaut.png')!r}, '-o', {str(tmp_path)!r}, '--model', 'preview']))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 130
    assert "run the same command again" in done.stderr
    assert "Traceback" not in done.stderr


def test_names_cannot_steer_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    file = tmp_path / "\x1b]0;title\x07\x9b2J_keypoints.json"
    file.write_text('{"people": [], "canvas_width": 8, "canvas_height": 8}')
    assert main(["info", str(file)]) == 0
    printed = capsys.readouterr()
    assert r"\x1b]0;title\x07\x9b2J" in printed.out and r"\x1b]0;title\x07\x9b2J" in printed.err  # "nobody is in it"
    assert not {"\x1b", "\x07", "\x9b"} & {*printed.out, *printed.err}


def test_the_log_and_paths_in_a_terminal_are_on_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    log_to_stderr(logging.WARNING)
    logging.getLogger("sdpose_core.x").warning("%s: damaged", "a\x1b[2J\nERROR b.mp4")
    assert capsys.readouterr().err == "WARNING sdpose_core.x: a\\x1b[2J\\nERROR b.mp4: damaged\n"
    for terminal, expected in (True, "a\\x1bb\n"), (False, "a\x1bb\n"):
        monkeypatch.setattr(sys.stdout, "isatty", lambda terminal=terminal: terminal)
        show_path(Path("a\x1bb"))
        assert capsys.readouterr().out == expected


# --- files to look at ------------------------------------------------------------------------------------------------


def test_pictures_side_by_side_and_on_one_sheet(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def run(*options: str) -> str:
        command = ["image", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--compare", "--sheet", *options]
        assert main(command) == 1, "one picture is damaged"
        return capsys.readouterr().err

    (tmp_path / "in").mkdir()
    Image.open(DATA / "astronaut.png").crop((0, 0, 401, 512)).save(tmp_path / "in" / "a.png")
    (tmp_path / "in" / "b.png").write_bytes(b"damaged")
    assert "contact sheet: " in run()
    ours = ["a.pose.npz", "a_compare.png", "a_keypoints.json", "a_pose.png", "sheet.html"]
    assert names(tmp_path / "out") == ours
    strip = read_image(tmp_path / "out" / "a_compare.png")
    np.testing.assert_array_equal(strip[:, :401], read_image(tmp_path / "in" / "a.png"))
    np.testing.assert_array_equal(strip[:, 802:], read_image(tmp_path / "out" / "a_pose.png"))
    first = (tmp_path / "out" / "sheet.html").read_text(encoding="utf-8")
    assert first.index("<h2>b</h2>") < first.index("<h2>a</h2>")
    (tmp_path / "out" / "sheet.html").unlink()
    assert "a.png: kept" in run()
    again = (tmp_path / "out" / "sheet.html").read_text(encoding="utf-8")
    assert again.count("data:image/webp") == 2 and "1 person" in again
    drawn = read_image(tmp_path / "out" / "a_pose.png")
    assert "drawn again from the keypoints: a_pose.png, a_compare.png" in run("--line-width", "9")
    assert (read_image(tmp_path / "out" / "a_pose.png") > 0).sum() > 1.5 * (drawn > 0).sum()
    (tmp_path / "out" / "sheet.html").write_text("my own notes", encoding="utf-8")
    command = ["image", str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--sheet"]
    assert main(command) == 2 and "no contact sheet of sdpose" in capsys.readouterr().err
    assert main(["image", str(tmp_path / "out"), "-o", str(tmp_path / "out2")]) == 2, "no result is an input"
