"""Names that users give to checkpoints, peers and results, and what is checked before a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import reproduce_paper
from evaluate import main
from sdpose_training.evaluation.result import read_named
from sdpose_training.options import split_name


@pytest.mark.parametrize(
    ("value", "name", "source"),
    [
        ("preview", "", "preview"),
        ("MoveNet=preview", "MoveNet", "preview"),
        ("SDPose, tiny=runs/a/best.safetensors", "SDPose, tiny", "runs/a/best.safetensors"),
        ("heatmap:a.onnx,udp=on", "", "heatmap:a.onnx,udp=on"),
        ("HRNet=heatmap:a.onnx,udp=on,decode=dark", "HRNet", "heatmap:a.onnx,udp=on,decode=dark"),
        ("=preview", "", "preview"),
        ("name=", "name", ""),
    ],
)
def test_a_name_is_what_stands_before_the_source(value: str, name: str, source: str) -> None:
    assert split_name(value) == (name, source)


def test_a_file_with_an_equals_sign_is_that_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lr=3.safetensors").touch()
    assert split_name("lr=3.safetensors") == ("", "lr=3.safetensors")


def test_results_under_another_name(tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(json.dumps({"benchmark": "coco", "model": "SDPose best", "AP": 0.5, "AR": 0.6, "counts": {}}))
    assert read_named(f"F2={file}")[0]["model"] == "F2"
    assert read_named(str(file)) == ({**read_named(f"F2={file}")[0], "model": "SDPose best"}, file)


COMMON = ["--benchmark", "coco", "--data.root", "nowhere", "--out", "out.json"]
ALIKE = ["--checkpoint", "a/best.safetensors", "--checkpoint", "b/best.safetensors"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (ALIKE, "two models are named 'SDPose best'"),
        (["--peer", "preview", "--peer", "preview"], "two models are named 'preview'"),
        (["--checkpoint", "X=a.safetensors", "--peer", "X=preview"], "two models are named 'X'"),
        (["--peer", "preview", "--compare", "c", "--order", "photo"], "--order names 'photo': the results have COCO"),
        (["--peer", "preview", "--compare", "file"], "--compare: file is a file: expected a folder"),
    ],
)
def test_mistakes_are_found_before_anything_is_loaded(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    assert main([*COMMON, *options]) == 1  # the data are not there either: otherwise, they would be named
    assert message in capsys.readouterr().err


def test_an_order_may_name_the_whole_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main([*COMMON, "--peer", "preview", "--compare", "c", "--order", "COCO (133),COCO"]) == 1
    assert "nowhere" in capsys.readouterr().err


def test_the_folder_of_a_reproduction_may_not_be_a_file(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "file").touch()
    assert reproduce_paper.main(["--plan", "--out", str(tmp_path / "file")]) == 1
    captured = capsys.readouterr()
    assert "is a file: expected a folder" in captured.err and not captured.out
