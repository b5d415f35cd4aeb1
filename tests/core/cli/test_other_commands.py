"""Inputs that another command takes: `sdpose image` of videos, `sdpose video` and `batch` of pictures."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from stand_ins import RunHere, StandInEstimator
from video_files import levels, write

from sdpose_core.cli import batch, image, video
from sdpose_core.cli.main import build_parser, main
from sdpose_core.poses import Poses


class Nobody(StandInEstimator):
    """Finds a person without points."""

    def estimate(self, images: Any, boxes: Any, **_: Any) -> list[Poses]:
        return [self._one(picture, found) for picture, found in zip(images, boxes, strict=True)]

    def _one(self, picture: np.ndarray, boxes: np.ndarray) -> Poses:
        points, size = np.full((len(boxes), 17, 2), 5.0), (picture.shape[1], picture.shape[0])
        return Poses(points, np.ones((len(boxes), 17)), boxes, size, "coco_17", meta=self.meta())


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    write(folder / "a.mp4", levels(2))
    stills = [Image.fromarray(np.full((48, 64, 3), shade, np.uint8)) for shade in (60, 200)]
    for name in ("p.png", "q.jpg", "still.gif", "still.webp"):
        stills[0].save(folder / name)
    stills[0].save(folder / "moves.gif", save_all=True, append_images=stills[1:])
    return folder


@pytest.fixture(autouse=True)
def here(files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    for module in (image, batch, video):
        monkeypatch.setattr(module, "make_estimator", lambda _args: Nobody())
    monkeypatch.setattr(batch, "ChildRun", RunHere)


def put(folder: str, *names: str) -> str:
    Path(folder).mkdir(parents=True)
    for name in names:
        shutil.copy(name, folder)
    return folder


def run(*words: str) -> int:
    return main([*words, "--detector", "full"])


def told(capsys: pytest.CaptureFixture) -> list[str]:
    """The command that the only line names, as words; it is one that is understood."""
    [line] = capsys.readouterr().err.splitlines()
    words = shlex.split(line.partition("run: ")[2])
    build_parser().parse_args(words[1:])
    return words


@pytest.mark.parametrize(
    ("command", "name", "wanted"),
    [
        ("image", "a.mp4", "video"),
        ("video", "p.png", "image"),
        ("video", "q.jpg", "image"),
        ("video", "still.gif", "image"),
        ("batch", "still.webp", "image"),
    ],
)
def test_a_file_of_the_other_kind_names_the_command_that_takes_it(
    command: str, name: str, wanted: str, capsys: pytest.CaptureFixture
) -> None:
    assert run(command, name, "-o", "my out") == 2
    words = told(capsys)
    assert words == ["sdpose", wanted, name, "-o", "my out"]
    assert run(*words[1:]) == 0
    assert os.listdir("my out")


def test_the_content_counts_where_it_tells(capsys: pytest.CaptureFixture) -> None:
    os.rename("a.mp4", "a.gif")
    os.rename("p.png", "p.mp4")
    assert run("image", "a.gif") == 2
    assert told(capsys)[:3] == ["sdpose", "video", "a.gif"]
    assert run("image", "p.mp4", "moves.gif") == 0
    assert run("video", "moves.gif", "-o", "moves") == run("batch", "moves.gif", "-o", "more") == 0


def test_among_others_it_fails_alone(capsys: pytest.CaptureFixture) -> None:
    assert run("image", "p.png", "a.mp4", "gone.mp4") == 1
    lines = capsys.readouterr().err.splitlines()
    assert "a.mp4: failed: it is a video; run: sdpose video a.mp4 -o sdpose_out" in lines
    assert "1 done, 0 kept, 2 failed" in lines
    assert not any("gone.mp4" in line and "run:" in line for line in lines)


def test_a_mixed_folder_says_once_what_was_left_out(capsys: pytest.CaptureFixture) -> None:
    put("mixed", "p.png", "a.mp4")
    shutil.copy("a.mp4", "mixed/b.mov")
    (Path("mixed") / ".hidden.mp4").touch()
    (Path("mixed") / "notes.txt").touch()
    assert run("image", "mixed") == 0
    left = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert left == ["left out 2 videos; for them, run: sdpose batch mixed -o sdpose_out"]
    assert run("batch", "mixed", "-o", "mixed") == 0
    left = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert left == ["left out 1 picture; for it, run: sdpose image mixed -o mixed"]
    assert run("image", "mixed", "-o", "mixed") == 0
    left = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    assert left == ["left out 2 videos; for them, run: sdpose batch mixed -o mixed"], "our own results are not counted"


@pytest.mark.parametrize("text", ["clips", "clips/*"])
def test_a_folder_with_nothing_else(text: str, capsys: pytest.CaptureFixture) -> None:
    put("clips", "a.mp4")
    assert run("image", text) == 2
    assert told(capsys) == ["sdpose", "batch", text, "-o", "sdpose_out"]
    if text == "clips":
        assert run("video", text) == 2
        assert told(capsys) == ["sdpose", "batch", text, "-o", "sdpose_out"]
    put("stills", "p.png")
    assert run("batch", "stills") == 2
    assert told(capsys) == ["sdpose", "image", "stills", "-o", "sdpose_out"]


@pytest.mark.parametrize("command", ["image", "video", "batch"])
def test_a_hidden_file_is_an_input_only_if_it_is_named(command: str) -> None:
    name = "p.png" if command == "image" else "a.mp4"
    put("in/.deep", name)
    shutil.copy(name, f"in/.{name}")
    shutil.copy(name, f".{name}")
    assert run(command, f".{name}") == 0
    assert sorted(os.listdir("sdpose_out"))[0].startswith(f".{Path(name).stem}.pose.npz")
    assert run(command, f"in/.{name}", "-o", "b") == 0
    if command != "video":
        assert run(command, "in", *(["-r"] if command == "batch" else []), "-o", "c") == 2
        assert run(command, "in/.deep", "-o", "c") == 0
