"""`--config` and `--print-config`: a settings file counts like options that are typed."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from paths import ROOT

from sdpose_core.cli.batch import settings_hash
from sdpose_core.cli.main import _parsed, build_parser, main

Parse = Callable[..., argparse.Namespace]


@pytest.fixture
def parse(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Parse:
    """The arguments of a command line; `text` is that of the file c.toml."""
    monkeypatch.chdir(tmp_path)

    def parse(line: str, text: str = "") -> argparse.Namespace:
        Path("c.toml").write_text(text, encoding="utf-8")
        words = line.split()
        return _parsed(build_parser(), words[0], words)

    return parse


FILE = """
threshold = 0.5           # for all commands
style = "xinsir"
every = 3                 # image has no such option

[image]
style = "dwpose"
overlay = true
parts = ["body", "hands"]
alpha_color = [1, 2, 3]

[video]
person = "largest:1"
size = "64x48"
no-clean = true

[batch]
list = ["a.txt", "b.txt"]

[export]
to = "coco"
frame-rate = "30000/1001"
"""


def test_a_file_counts_like_the_options_that_it_names(parse: Parse) -> None:
    for line, same in {
        "image p.png": "--threshold 0.5 --style dwpose --overlay --parts body,hands --alpha-color 1,2,3",
        "video p.mp4": "--threshold 0.5 --style xinsir --every 3 --person largest:1 --size 64x48 --no-clean",
        "batch v": "--threshold 0.5 --style xinsir --every 3 --list a.txt --list b.txt",
        "draw p.npz": "--threshold 0.5 --style xinsir",
        "export p.npz": "--to coco --frame-rate 30000/1001 --threshold 0.5",
        "doctor": "",
    }.items():
        named, typed = vars(parse(f"{line} --config c.toml", FILE)), vars(parse(f"{line} {same}"))
        assert (named.pop("config"), typed.pop("config")) == (Path("c.toml"), None)
        assert named == typed, line


def test_the_file_in_the_documentation_is_one(parse: Parse) -> None:
    [text] = re.findall(r"```toml\n(.*?)```", (ROOT / "docs" / "command.md").read_text(), flags=re.DOTALL)
    args = parse("image p.png --config c.toml", text)
    assert (args.model, args.threshold, args.out, args.overlay) == ("wholebody", 0.4, Path("poses"), True)
    assert parse("video p.mp4 --config c.toml", text).parts == ("body", "hands")


def test_the_command_line_wins(parse: Parse) -> None:
    for place in ("--config c.toml image p.png --threshold 0.7", "image p.png --threshold 0.7 --config=c.toml"):
        words = place.replace("--config c.toml image", "image --config c.toml")
        args = parse(words, FILE)
        assert (args.threshold, args.style, args.overlay) == (0.7, "dwpose", True)


def test_the_hash_of_a_batch_is_that_of_the_options(parse: Parse) -> None:
    typed = settings_hash(parse("batch v -o a --every 4 --model preview"))
    named = settings_hash(parse("batch v -o b --config c.toml", '[batch]\nevery = 4\nmodel = "preview"'))
    other = settings_hash(parse("batch v -o b --config c.toml", '[batch]\nevery = 5\nmodel = "preview"'))
    assert typed == named != other


MISTAKES = {
    "treshold = 1": "'treshold' is not an option: did you mean 'threshold'?",
    "xyzzy = 1": "'xyzzy' is not an option: 'sdpose COMMAND --help-all' lists the options",
    "[vidoe]\nevery = 1": "'vidoe' is not a command: did you mean 'video'?",
    "[image]\nevry = 1": "[image]: 'evry' is not an option of sdpose image",
    "[video]\nevry = 1": "[video]: 'evry' is not an option of sdpose video: did you mean 'every'?",
    "[video]\nevery = 0": "[video]: every: expected a whole number of at least 1, got '0'",
    "[video]\ncrop = 'afine'": "[video]: crop: unknown value 'afine': did you mean 'affine'?",
    "threshold = 'high'": "threshold: expected a score from 0 to 1, got 'high'",
    "overlay = 'yes'": "overlay: expected true or false, got 'yes'",
    "threshold = true": "threshold: expected a value such as that of --threshold, got True",
    "size = [64, 48]": "size: expected WIDTHxHEIGHT in pixels",
    "config = 'd.toml'": "'config' is not an option",
    "help = true": "'help' is not an option",
    "overlay = ": "c.toml is not valid TOML",
    "model = {a = 1}": "'model' is not a command",
}


@pytest.mark.parametrize("text", MISTAKES)
def test_a_mistake_is_one_line_that_names_the_file(
    text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("c.toml").write_text(text)
    assert main(["image", "p.png", "--config", "c.toml"]) == 2
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("sdpose image: c.toml") and MISTAKES[text] in line


def test_a_file_that_is_missing_and_an_abbreviation(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["image", "p.png", "--config", str(tmp_path / "none.toml")]) == 2
    assert "none.toml" in capsys.readouterr().err
    (tmp_path / "c.toml").write_text("threshold = 0.5")
    assert main(["image", "p.png", "--conf", str(tmp_path / "c.toml")]) == 2
    assert capsys.readouterr().err == "sdpose image: --config: write it in full\n"


@pytest.mark.parametrize(
    "line",
    [
        "image p.png --overlay --parts body,face --size 64x48 --alpha-color 1,2,3 --boxes b.json",
        "video p.mp4 --person mask:m.png --smooth 0.5 --no-cuts --frame-rate 24000/1001",
        'batch v --list a --list b.txt --shard 1/2 --model /w/日本"x\\.onnx',
        "export p.npz --to wan --frames 4n+1",
        "retarget p.npz --to c.png --size auto",
        "doctor",
    ],
)
def test_what_is_printed_is_a_settings_file(line: str, parse: Parse, capsys: pytest.CaptureFixture) -> None:
    typed = vars(parse(line))
    assert main([*line.split(), "--print-config"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    words = line.split()
    named = vars(parse(f"{' '.join(words[:2])} --config c.toml", printed.out))
    assert named.pop("config") == Path("c.toml") and typed.pop("config") is None
    assert named == typed
    assert main([*words[:2], "--config", "c.toml", "--print-config"]) == 0
    assert capsys.readouterr().out == printed.out


def test_printing_reads_and_writes_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["image", "missing.png", "-o", "out", "--print-config"]) == 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "expected"), [("true", "default"), ("false", False), ('"max-autotune"', "max-autotune")]
)
def test_compile_is_a_switch_or_a_mode(value: str, expected: str | bool, parse: Parse) -> None:
    args = parse("image p.png --config c.toml", f"[image]\ncompile = {value}\n")
    assert args.compile == expected


@pytest.mark.parametrize(
    ("words", "line"), [("", "false"), ("--compile", '"default"'), ("--compile p.png", '"default"')]
)
def test_compile_without_a_mode_is_in_the_printed_settings(
    words: str, line: str, capsys: pytest.CaptureFixture
) -> None:
    assert main(["image", *words.split(), "q.png", "--print-config"]) == 0
    assert f"compile = {line}\n" in capsys.readouterr().out
