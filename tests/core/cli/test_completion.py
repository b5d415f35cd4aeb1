"""Completion in a shell, as argcomplete asks for it."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sdpose_core.cli.completion import _FILES, _WORDS, add_completers
from sdpose_core.cli.main import COMPLETING, build_parser, main


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("a.PNG", "b.mp4", "c.pose.npz", "d.json", "e.toml", "f.onnx", "g.txt", ".h.png", "in/i.jpg"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch()
    return tmp_path


CASES = {
    "vi": ["video"],
    "image --styl": ["--style"],
    "image --overw": ["--overwrite"],
    "image a.PNG --style xin": ["xinsir", "xinsir_aux"],
    "image a.PNG --crop stretch_": ["stretch_demo", "stretch_native"],
    "image a.PNG --model pre": ["preview"],
    "image --model ": ["auto", "body", "f.onnx", "in/", "preview", "sd2-base", "wholebody", "wholebody-comfy"],
    "image --detector ": ["f.onnx", "full", "in/", "yolox"],
    "image ": ["a.PNG", "in/"],
    "image in/": ["in/i.jpg"],
    "image .h": [".h.png"],
    "image a.PNG -o ": ["in/"],
    "image --boxes ": ["d.json", "in/"],
    "image --config ": ["e.toml", "in/"],
    "video ": ["a.PNG", "b.mp4", "in/"],
    "video b.mp4 --person l": ["largest", "leftmost"],
    "batch b": ["b.mp4"],
    "draw ": ["c.pose.npz", "d.json", "in/"],
    "info ": ["b.mp4", "c.pose.npz", "d.json", "in/"],
    "export c.pose.npz --to anim": ["animate_anyone"],
    "retarget c.pose.npz --to ": ["a.PNG", "c.pose.npz", "d.json", "in/"],
    "download whole": ["wholebody", "wholebody-comfy"],
}


@pytest.mark.parametrize("line", CASES)
def test_what_may_follow(line: str, folder: Path) -> None:
    argcomplete = pytest.importorskip("argcomplete", reason='argcomplete is not installed: pip install "argcomplete"')
    parser = build_parser()
    add_completers(parser)
    finder = argcomplete.CompletionFinder(parser, always_complete_options=False)
    found: list[Any] = []
    while (text := finder.rl_complete(line, len(found))) is not None:
        found.append(text)
    start = line[: line.rfind(" ") + 1]
    assert sorted(text.removeprefix(start).rstrip() for text in found) == CASES[line]


def test_what_is_listed_belongs_to_an_argument() -> None:
    commands = build_parser().commands
    known = {action.dest for parser in commands.values() for action in parser._actions}
    known |= {f"{name} {action.dest}" for name, parser in commands.items() for action in parser._actions}
    assert {*_WORDS, *_FILES} <= known


def test_without_argcomplete_the_command_that_is_typed_does_not_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    original = builtins.__import__

    def missing(name: str, *args: Any, **more: Any) -> Any:
        if name == "argcomplete":
            raise ImportError(name)
        return original(name, *args, **more)

    monkeypatch.setattr(builtins, "__import__", missing)
    monkeypatch.setenv(COMPLETING, "1")
    assert main(["doctor"]) == 1
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow  # starts a process
def test_a_shell_is_answered(folder: Path) -> None:
    pytest.importorskip("argcomplete", reason='argcomplete is not installed: pip install "argcomplete"')
    line = "sdpose video b.mp4 --pers"
    asked = {COMPLETING: "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "COMP_TYPE": "9", "IFS": "\v"}
    answer = {"_ARGCOMPLETE_STDOUT_FILENAME": str(folder / "answer"), "_ARGCOMPLETE_IFS": "\v"}
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)), **asked, **answer}
    done = subprocess.run([sys.executable, "-m", "sdpose_core.cli"], capture_output=True, text=True, env=environment)
    assert (done.stdout, done.stderr) == ("", "")
    assert (folder / "answer").read_text().split() == ["--person"]
