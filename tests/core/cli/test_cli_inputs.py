"""Names as they are typed: what each command makes of them, and what it makes of its own results."""

from __future__ import annotations

import io
import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stand_ins import RunHere, StandInEstimator
from video_files import levels, write

from sdpose_core.cli import batch, image, video
from sdpose_core.cli.main import main
from sdpose_core.images import write_png
from sdpose_core.origins import MARK, mark_text
from sdpose_core.poses import Poses

GRAY = np.full((48, 64, 3), 90, np.uint8)


class Middle(StandInEstimator):
    """All points in the middle of the box."""

    def estimate(self, images: Any, boxes: Any, **_: Any) -> list[Poses]:
        return [self._one(picture, box) for picture, box in zip(images, boxes, strict=True)]

    def _one(self, picture: np.ndarray, boxes: np.ndarray) -> Poses:
        middle = np.repeat((boxes[:, None, :2] + boxes[:, None, 2:4]) / 2, 17, axis=1)
        size = (picture.shape[1], picture.shape[0])
        return Poses(middle, np.ones((len(boxes), 17)), boxes, size, "coco_17", meta={"model": self.name})


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for module in (image, batch, video):
        monkeypatch.setattr(module, "make_estimator", lambda _args: Middle())
    monkeypatch.setattr(batch, "ChildRun", RunHere)  # a child would have the real estimator


def picture(name: str) -> None:
    """A picture under a name that leaves no room for a temporary one."""
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    write_png("made.tmp", GRAY)
    os.rename("made.tmp", name)


def clip(name: str, codec: str = "lossless") -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    write(Path(f"made{Path(name).suffix}"), levels(2), codec=codec)
    os.rename(f"made{Path(name).suffix}", name)


def run(command: str, *arguments: str, out: str = "out") -> int:
    return main([command, *arguments, "-o", out, "--detector", "full"])


def made(folder: str = "out") -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in Path(folder).rglob("*.pose.npz"))


COMMANDS: list[tuple[str, Callable[[str], None], str]] = [("image", picture, ".png"), ("batch", clip, ".mp4")]
commands = pytest.mark.parametrize(("command", "make", "suffix"), COMMANDS, ids=["image", "batch"])

NAMES = ["@me", "-a", "-o", "--out", "[1]", "b*", "c?", "#d", " e ", "f\ng", "日本", "%s", "{x}", "x" * 251, "踊" * 83]


@commands
def test_every_name_that_a_file_can_have(command: str, make: Callable[[str], None], suffix: str) -> None:
    for name in NAMES:
        make(f"{name}{suffix}" if name.startswith("-") else f"./{name}{suffix}")
    assert run(command, *sorted(name for name in os.listdir() if name.endswith(suffix))) == 0
    results = made()
    assert len(results) == len(NAMES)
    assert {f"{name}.pose.npz" for name in NAMES[:-2]} < set(results)
    assert all("~" in name for name in set(results) - {f"{name}.pose.npz" for name in NAMES[:-2]})


@commands
def test_a_bad_input_fails_alone_and_only_nothing_at_all_is_wrong_usage(
    command: str, make: Callable[[str], None], suffix: str, capsys: pytest.CaptureFixture
) -> None:
    Path("empty").mkdir()
    make(f"x/a{suffix}")
    make(f"y/a{suffix}")
    bad = ["empty", f"no*{suffix}", "", f"gone{suffix}", "a\0b" + suffix, "n" * 5000, f"y/a{suffix}"]
    assert run(command, f"x/a{suffix}", *bad) == 1
    lines = capsys.readouterr().err.splitlines()
    assert sum(": failed: " in line for line in lines) == len(bad), lines
    assert f"1 done, 0 kept, {len(bad)} failed" in lines
    assert made() == ["a.pose.npz"]
    assert run(command, "empty", f"no*{suffix}") == 2
    assert run(command, "empty") == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith(f"sdpose {command}: empty: no ")


@commands
def test_names_of_one_stem_or_that_differ_in_case(command: str, make: Callable[[str], None], suffix: str) -> None:
    other = {".png": ".bmp", ".mp4": ".mkv"}[suffix]
    make(f"in/a{suffix}")
    if suffix == ".png":
        from PIL import Image

        Image.fromarray(GRAY).save("in/a.bmp")
    else:
        clip("in/a.mkv", codec="ffv1")
    assert run(command, "in") == 0
    assert made() == sorted([f"a{suffix}.pose.npz", f"a{other}.pose.npz"])
    if sys.platform == "linux":
        make(f"case/b{suffix}")
        make(f"case/B{suffix}")
        assert run(command, "case", out="cases") == 0
        assert len({name.casefold() for name in made("cases")}) == 2


@commands
def test_the_same_command_again_on_its_own_folder_makes_nothing_new(
    command: str, make: Callable[[str], None], suffix: str, capsys: pytest.CaptureFixture
) -> None:
    make(f"in/a{suffix}")
    make(f"in/踊り{suffix}")
    assert run(command, "in", "--overlay", out="in") == 0
    files = sorted(os.listdir("in"))
    shell = [f"in/{name}" for name in os.listdir("in") if not name.startswith(".")]
    for again in (["in"], [f"in/*{suffix}"], ["in/*"], shell, ["in", *shell]):
        capsys.readouterr()
        assert run(command, *again, "--overlay", out="in") == 0
        printed = capsys.readouterr().err
        assert printed.count("passed over") == 1
        assert "0 done, 2 kept, 0 failed" in printed
        assert sorted(os.listdir("in")) == files
    results = [name for name in shell if "_overlay" in name]
    assert run(command, *results) == 2
    assert "results of sdpose" in capsys.readouterr().err


def test_a_folder_of_frames_that_is_also_out(capsys: pytest.CaptureFixture) -> None:
    for number in (1, 2, 10):
        picture(f"in/f{number}.png")
    assert run("video", "in", out="in") == 0
    write_png("in/f3.png", GRAY[:8], {MARK: mark_text({"poses": None, "drawing": {}})})
    (Path("in") / "in.pose.npz").unlink()
    for name in ("in_kps.mp4", "in_kps_play.mp4"):
        (Path("in") / name).unlink()
    assert run("video", "in", out="in") == 0
    assert "3 frames" in capsys.readouterr().err
    for name in ("in/in_kps.mp4", "in/f3.png"):
        assert run("video", name) == 2
        assert "is a result of sdpose" in capsys.readouterr().err


def test_a_list_of_pictures_and_one_of_videos() -> None:
    picture("in/a.png")
    picture("frames/2.png")
    picture("frames/10.png")
    clip("in/b.mp4")
    Path("in/pictures.txt").write_bytes('"a.png"\r\n../frames\r\nnone.png\r\n'.encode("utf-16"))
    assert run("image", "@in/pictures.txt") == 1
    assert made() == ["10.pose.npz", "2.pose.npz", "a.pose.npz"]
    Path("in/videos.txt").write_bytes("b.mp4 \r\n../frames\r\nvideos.txt\r\n".encode("utf-16-le"))
    assert run("batch", "@in/videos.txt", out="videos") == 0
    assert made("videos") == ["b.pose.npz", "frames.pose.npz"]


def test_out_that_is_no_folder_is_said_before_any_work(capsys: pytest.CaptureFixture) -> None:
    picture("in/a.png")
    clip("in/b.mp4")
    Path("out").write_text("mine")
    for arguments in (["image", "in"], ["batch", "in"], ["video", "in/b.mp4"]):
        assert run(*arguments) == 2
        assert "OUT: out is a file: expected a folder" in capsys.readouterr().err
    assert Path("out").read_text() == "mine"


@pytest.mark.parametrize("arguments", [["video", "", "-o", "out"], ["image", "a.png", "-o", ""], ["draw", ""]])
def test_an_empty_name_is_not_the_current_folder(arguments: list[str], capsys: pytest.CaptureFixture) -> None:
    picture("a.png")
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    assert "expected a file or a folder, got ''" in capsys.readouterr().err
    assert os.listdir() == ["a.png"]


def test_a_picture_and_a_video_of_it_in_one_folder(capsys: pytest.CaptureFixture) -> None:
    pictures = [Image.fromarray(GRAY + shade) for shade in (0, 40)]
    pictures[0].save("a.gif", save_all=True, append_images=pictures[1:])
    assert run("video", "a.gif") == 0
    assert run("image", "a.gif") == 1
    assert "it was annotated as a video" in capsys.readouterr().err


def test_pictures_that_are_not_read_are_said(capsys: pytest.CaptureFixture) -> None:
    picture("in/a.png")
    for name in ("b.HEIC", "c.cr2"):
        (Path("in") / name).write_bytes(b"?")
    assert run("image", "in") == 0
    assert "left out 2 files (.cr2, .heic): convert to JPEG or PNG" in capsys.readouterr().err


def test_long_names_of_folders_videos_and_frames() -> None:
    long = "踊" * 84
    clip(f"in/{long}/{'a' * 250}.mp4")
    assert main(["batch", "in", "-r", "-o", "out", "--detector", "full"]) == 0
    [name] = made()
    assert name.startswith("踊" * 80)
    picture(f"{long}/1.png")
    assert run("video", long, out="out2") == 0
    assert len(made("out2")) == 1
    [sequence] = Path("out2").glob("*.pose.npz")
    for command in (
        ["draw", str(sequence), "--codec", "ffv1"],
        ["export", str(sequence), "--to", "openpose", "-o", "e"],
    ):
        assert main(command) == 0
    assert main(["export", str(sequence), "--to", "controlnet", "-o", "e", "--name", "n" * 300]) == 0


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other limits")
@pytest.mark.parametrize("length", [4060, 6000])
def test_a_path_that_is_too_long_as_a_whole_is_one_line(length: int, capsys: pytest.CaptureFixture) -> None:
    picture(f"in/{'a' * 60}.png")
    clip("in/b.mp4")
    out = os.path.abspath(".")
    while len(out) + 210 < length:
        out += "/" + "d" * 200
    out += "/" + "e" * (length - len(out) - 1)
    for arguments in (["image", "in"], ["batch", "in"], ["video", "in/b.mp4"]):
        assert run(*arguments, out=out) in (1, 2)
        printed = capsys.readouterr().err
        assert "Traceback" not in printed
        assert printed


def test_a_report_in_a_legacy_code_page(monkeypatch: pytest.MonkeyPatch) -> None:
    picture("日本\n.png")
    assert run("image", "日本\n.png") == 0
    [sequence] = Path("out").glob("*.npz")
    for arguments in (
        ["info", str(sequence)],
        ["draw", str(sequence), "-o", "絵.png"],
        ["image", "日本\n.png", "-o", "o"],
    ):
        outputs = [io.TextIOWrapper(io.BytesIO(), encoding="cp1252") for _ in range(2)]
        monkeypatch.setattr(sys, "stdout", outputs[0])
        monkeypatch.setattr(sys, "stderr", outputs[1])
        assert main(arguments) == 0
        written = b"".join(output.buffer.getvalue() for output in outputs)
        assert b"\\u65e5" in written or b"\\u7d75" in written


@pytest.mark.parametrize("suffix", [".rmvb", ".M2V", ".qt", ".ogm", ".mpe", ".MOD", ".265"])
def test_suffixes_of_old_videos(suffix: str) -> None:
    clip("v.mp4")
    Path("in").mkdir()
    os.rename("v.mp4", f"in/v{suffix}")  # read by content
    assert run("batch", "in") == 0


def test_animated_pictures_are_videos_once() -> None:
    from PIL import Image

    frames = [Image.fromarray(np.full((48, 64, 3), level, np.uint8)) for level in (10, 200)]
    for name in ("a.gif", "b.webp", "c.apng", "d.png"):
        kind = "PNG" if name == "c.apng" else None
        Path("in").mkdir(exist_ok=True)
        frames[0].save(f"in/{name}", kind, save_all=True, append_images=frames[1:], duration=100)
    frames[0].save("in/still.png")
    frames[0].save("in/still.gif")
    assert run("batch", "in") == 0
    assert made() == ["a.pose.npz", "b.pose.npz", "c.pose.npz", "d.pose.npz"]
    assert run("image", "in", out="pictures") == 0
    assert len(made("pictures")) == 6


def test_what_is_printed_has_no_control_characters(
    capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "a\n\x1b[31m\x9b\u202e\u2028\udc9b.gif"
    Image.new("RGB", (8, 8)).save(name, save_all=True, append_images=[Image.new("RGB", (8, 8), "red")])
    Path("b\r.png").write_bytes(b"no picture")
    monkeypatch.setattr(logging.root, "handlers", [])
    assert main(["image", ".", "-o", "out", "--model", "preview-body", "--detector", "full"]) == 1
    text = capsys.readouterr().err
    shown = "a\\n\\x1b[31m\\x9b\\u202e\\u2028\\udc9b.gif"
    assert f"{shown}: an animation" in text and f"{shown}: done" in text and "b\\r.png: failed" in text
    assert not set("\x1b\x9b\u202e\u2028\udc9b") & set(text)


def test_an_error_about_a_name_is_one_line(capsys: pytest.CaptureFixture) -> None:
    names = ["a\nb.mp4", "n" * 5000, "n" * 5000 + ".npz"]
    for arguments in (*(["info", name] for name in names), *(["video", name, "-o", "out"] for name in names)):
        assert main(arguments) in (1, 2)
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        assert lines[0].startswith(f"sdpose {arguments[0]}: ")
