"""The pages of help: two levels, examples that run, and errors that name what was meant."""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stand_ins import RunHere, StandInDetector, StandInEstimator
from video_files import levels
from video_files import write as write_video

from sdpose_core.cli import batch, export, image, retarget, video
from sdpose_core.cli.help import ALWAYS, EXAMPLES, GROUPS, MAIN_OPTIONS, START
from sdpose_core.cli.main import build_parser, main
from sdpose_core.images import write_png
from sdpose_core.poses import Poses

COMMANDS = build_parser().commands
every_command = pytest.mark.parametrize("name", COMMANDS)


def page(*words: str, capsys: pytest.CaptureFixture) -> str:
    """What a command line prints that asks for help."""
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert not stopped.value.code
    printed = capsys.readouterr()
    assert printed.err == ""
    return printed.out


def described(text: str) -> set[str]:
    """The long options that a page describes, each at the beginning of a line."""
    rows = re.findall(r"^  (-.*?)(?:  |$)", text, flags=re.MULTILINE)
    return {option for row in rows for option in re.findall(r"--[a-z-]+", row)}


def long_options(parser: argparse.ArgumentParser) -> set[str]:
    return {name for name in parser._option_string_actions if name.startswith("--")}


@every_command
def test_all_options_are_on_the_second_page_and_the_main_ones_on_the_first(
    name: str, capsys: pytest.CaptureFixture
) -> None:
    parser = COMMANDS[name]
    everything, main_page = page(name, "--help-all", capsys=capsys), page(name, "--help", capsys=capsys)
    assert described(everything) == long_options(parser)
    assert described(main_page) == ({*MAIN_OPTIONS[name], *ALWAYS} if name in MAIN_OPTIONS else long_options(parser))
    assert page(name, "-h", capsys=capsys) == main_page
    hidden = len(described(everything)) - len(described(main_page))
    assert hidden == 0 or f"sdpose {name} --help-all shows {hidden} more options." in main_page
    for positional in parser._get_positional_actions():
        assert str(positional.metavar) in main_page
    for text in (everything, main_page):
        assert [line.strip() for line in text.splitlines() if line.startswith("  sdpose ")] == list(EXAMPLES[name])


@every_command
def test_everything_is_described(name: str) -> None:
    assert all(action.help for action in COMMANDS[name]._actions)
    assert all(action.required is False for action in COMMANDS[name]._actions if action.dest in ("out", "config"))


def test_the_lists_of_help_name_what_exists() -> None:
    assert set(EXAMPLES) == set(COMMANDS) == {name for names in GROUPS.values() for name in names}
    for name, options in MAIN_OPTIONS.items():
        assert set(options) <= long_options(COMMANDS[name]), name
        assert len(set(options)) == len(options)
    assert all(len(examples) == 2 for examples in EXAMPLES.values())


def test_sdpose_alone_shows_examples_and_all_commands(capsys: pytest.CaptureFixture) -> None:
    assert main([]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out == page("--help", capsys=capsys) == page("-h", capsys=capsys)
    places = [printed.out.index(f"\n  {name} ") for names in GROUPS.values() for name in names]
    assert places == sorted(places), "the commands are not in their order"
    assert printed.out.index("examples:") < min(places)
    assert all(f"  {example}" in printed.out for example, _ in START)


def test_a_narrow_terminal(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setenv("COLUMNS", "60")
    assert main([]) == 0
    long = [line for line in capsys.readouterr().out.splitlines() if len(line) > 60]
    assert all(line.startswith("  sdpose ") or re.match("  [a-z]+ ", line) for line in long)


# --- the examples run ------------------------------------------------------------------------------------------------


class Anybody(StandInEstimator):
    """Finds in each box one person whose points fill it."""

    def estimate(self, images: Any, boxes: Any, **_: Any) -> list[Poses]:
        return [self._one(picture, found) for picture, found in zip(images, boxes, strict=True)]

    def _one(self, picture: np.ndarray, boxes: np.ndarray) -> Poses:
        spread = np.c_[np.linspace(0.2, 0.8, 17), np.linspace(0.1, 0.9, 17) ** 2]
        points = boxes[:, None, :2] + spread * (boxes[:, None, 2:4] - boxes[:, None, :2])
        size = (picture.shape[1], picture.shape[0])
        return Poses(points, np.ones((len(boxes), 17)), boxes, size, "coco_17", meta=self.meta())


class Middle(StandInDetector):
    """Finds one person in each picture."""

    def detect(self, picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        h, w = picture.shape[:2]
        return np.array([[w / 4, 2, w * 3 / 4, h - 2]], np.float32), np.ones(1, np.float32)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the files that the examples name."""
    folder = tmp_path_factory.mktemp("examples")
    gray = np.full((64, 48, 3), 90, np.uint8)
    for name in ("photo.png", "character.png", "photos/a.png", "scans/b.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        write_png(folder / name, gray)
    (folder / "photo.png").rename(folder / "photo.jpg")
    (folder / "videos" / "deep").mkdir(parents=True)
    for name in ("dancer.mp4", "videos/deep/a.mp4"):
        write_video(folder / name, levels(3))
    (folder / "videos.txt").write_text("dancer.mp4\n")
    return folder


RUN = [
    *(example for example, _ in START),
    *(
        example
        for name in ("image", "video", "batch", "draw", "export", "retarget", "info")
        for example in EXAMPLES[name]
    ),
    EXAMPLES["import"][1],
]
MADE = {
    "sdpose image photo.jpg": "sdpose_out/photo_pose.png",
    "sdpose video dancer.mp4": "sdpose_out/dancer_kps.mp4",
    "sdpose batch videos/ --recursive": "sdpose_out/deep/a_kps.mp4",
    "sdpose draw sdpose_out/dancer.pose.npz --style xinsir": "sdpose_out/dancer_xinsir.mp4",
    "sdpose draw photo_keypoints.json -o photo_map.png": "photo_map.png",
    "sdpose export sdpose_out/dancer.pose.npz --to animate_anyone": "sdpose_out/animate_anyone/dancer_kps.mp4",
    "sdpose export photo_keypoints.json --to coco -o annotations": "annotations/photo_annotations.json",
    "sdpose retarget sdpose_out/dancer.pose.npz --to character.png": "sdpose_out/dancer_retargeted.pose.npz",
    EXAMPLES["retarget"][1]: "fitted.pose.npz",
    EXAMPLES["import"][1]: "corrected.pose.npz",
}


def test_the_examples_run_in_the_order_of_the_pages(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(folder)
    for module in (image, batch, video, retarget):
        monkeypatch.setattr(module, "make_estimator", lambda _args: Anybody())
    for module, name in ((image, "make_detector"), (video, "make_clip_detector"), (batch, "make_clip_detector")):
        monkeypatch.setattr(module, name, lambda _args: Middle())
    monkeypatch.setattr(retarget, "make_detector", lambda _args: Middle())
    monkeypatch.setattr(batch, "ChildRun", RunHere)
    assert export.read_reference is retarget.read_reference
    for example in dict.fromkeys(RUN):
        assert main(shlex.split(example)[1:]) == 0, (example, capsys.readouterr().err)
        if example == "sdpose image photo.jpg":
            assert "results are in sdpose_out" in capsys.readouterr().err
            (folder / "photo_keypoints.json").write_text((folder / "sdpose_out/photo_keypoints.json").read_text())
        if example in MADE:
            assert os.path.exists(MADE[example]), (example, sorted(map(str, Path().rglob("*"))))


@every_command
def test_the_other_examples_are_understood(name: str) -> None:
    for example in EXAMPLES[name]:
        program, *words = shlex.split(example)
        assert program == "sdpose"
        assert build_parser().parse_args(words).command == name


# --- mistakes --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["vidoe"], "unknown command 'vidoe': did you mean 'video'?"),
        (["paint"], "unknown command 'paint': choose from image, video, batch"),
        (["image", "a.png", "--overlya"], "unknown option '--overlya': did you mean '--overlay'?"),
        (["video", "a.mp4", "--end", "1"], "unknown option '--end': 'sdpose video --help-all' lists the options"),
        (["image", "a.png", "--xyzzy=3"], "unknown option '--xyzzy=3': 'sdpose image --help-all' lists the options"),
        (["image", "a.png", "--crop", "afine"], "argument --crop: unknown value 'afine': did you mean 'affine'?"),
        (["image", "a.png", "--compile", "max-autotun"], "unknown value 'max-autotun': did you mean 'max-autotune'?"),
        (["image", "a.png", "--compile", "MAX-AUTOTUNE"], "unknown value 'MAX-AUTOTUNE'"),
        (["image", "--compile"], "the following arguments are required: INPUT"),
        (["export", "a.npz", "--to", "animate_anione"], "did you mean 'animate_anyone'?"),
        (["export", "a.npz", "--to", "?"], "choose from animate_anyone, open_animate_anyone"),
        (["video", "a.mp4", "b.mp4"], "one more argument than expected: 'b.mp4': 'sdpose batch' takes several videos"),
        (["info", "a.mp4", "b.mp4"], "one more argument than expected: 'b.mp4'"),
        (["image"], "the following arguments are required: INPUT"),
        (["-v"], "COMMAND"),
    ],
)
def test_a_mistake_is_one_line_that_names_what_was_meant(
    words: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(words)
    assert stopped.value.code == 2
    usage, line = capsys.readouterr().err.splitlines()
    assert usage.startswith("usage: sdpose ") and len(usage) < 80
    assert line.startswith("sdpose") and message in line


@pytest.mark.parametrize("command", ["image", "batch"])
def test_inputs_may_stand_between_the_options(command: str) -> None:
    words = [command, "a", "--overlay", "b", "-o", "out", "c", "d"]
    args = build_parser().parse_args(words)
    assert (args.inputs, args.out, args.overlay) == (["a", "b", "c", "d"], Path("out"), True)


@pytest.mark.parametrize("command", ["image", "video", "batch"])
@pytest.mark.parametrize(
    ("words", "mode"),
    [
        ("--compile a", "default"),
        ("a --compile", "default"),
        ("--compi a", "default"),
        ("--compile -- a", "default"),
        ("--compile --overlay a", "default"),
        ("--compile max-autotune a", "max-autotune"),
        ("--compile=reduce-overhead a", "reduce-overhead"),
        ("-- a", False),
    ],
)
def test_an_input_is_not_taken_for_the_value_of_compile(command: str, words: str, mode: str | bool) -> None:
    args = build_parser().parse_args([command, *words.split()])
    inputs = [str(args.input)] if command == "video" else args.inputs
    assert (inputs, args.compile) == (["a"], mode)


def test_an_input_whose_name_is_nearly_a_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("default.png").touch()
    args = build_parser().parse_args(["image", "--compile", "default.png"])
    assert (args.inputs, args.compile) == (["default.png"], "default")


def test_every_optional_value_is_one_of_a_few_so_that_inputs_can_be_told_apart() -> None:
    for parser in build_parser().commands.values():
        for action in parser._option_string_actions.values():
            assert action.nargs not in ("*", "+")
            assert action.nargs != "?" or (action.choices and action.const in action.choices)


def test_results_go_to_one_folder_if_none_is_named() -> None:
    for name in ("image", "video", "batch"):
        assert build_parser().parse_args([name, "x"]).out == Path("sdpose_out")


def test_one_frame_of_json_is_drawn_as_a_picture_beside_it(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    person = {"pose_keypoints_2d": [20, 10, 1] * 18}
    frame = {"canvas_width": 48, "canvas_height": 64, "people": [person]}
    (tmp_path / "one.json").write_text(json.dumps(frame))
    (tmp_path / "two.json").write_text(json.dumps([frame, frame]))
    assert main(["draw", str(tmp_path / "one.json")]) == main(["draw", str(tmp_path / "two.json")]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / name) for name in ("one_pose.png", "two_kps.mp4")]
