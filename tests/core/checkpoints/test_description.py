"""`sdpose info` of weights: what they are, and with `--check` whether their values can be true."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from tiny import SMALL, make_checkpoint

from sdpose_core.checkpoints.layouts import convert
from sdpose_core.cli.main import main
from sdpose_core.tensor_files import starts_as_safetensors

KERNEL = "unet.mid_block.resnets.0.conv1.weight"


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.safetensors")


def changed(weights: Path, path: Path, value: float) -> str:
    """The weights with one kernel that is `value` in its first row, or everywhere if that is 0."""
    tensors = load_file(weights)
    tensors[KERNEL][: 1 if value else None] = value
    with safe_open(weights, "pt") as file:
        save_file(tensors, path, file.metadata())
    return str(path)


@pytest.mark.parametrize("layout", ["ours", "diffusers", "comfy"])
def test_weights_of_every_layout_are_described(
    weights: Path, layout: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = weights if layout == "ours" else tmp_path / ("folder" if layout == "diffusers" else "c.safetensors")
    if layout != "ours":
        convert(weights, path, layout)
    assert main(["info", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["layout"], found["keypoint_set"], found["points"]) == (layout, "coco_17", 17)
    assert found["feature_levels"] == ["F1"] and found["tensors"] > 100 and found["numbers"] > 100_000
    assert layout != "ours" or found["size"] == list(SMALL.input_size)
    assert "--check reads all values" in found["checked"] and "all_zero" not in found


def test_values_are_read_only_if_asked(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["info", str(weights), "--check"]) == 0
    assert "checked: all values are finite\nall zero: -\n" in capsys.readouterr().out
    holes = changed(weights, tmp_path / "holes.safetensors", 0)
    assert main(["info", holes, "--check"]) == 0
    assert f"all zero: {KERNEL}\n" in capsys.readouterr().out
    for value in (float("nan"), float("inf")):
        damaged = changed(weights, tmp_path / "damaged.safetensors", value)
        assert main(["info", damaged]) == 0
        assert main(["info", damaged, "--check"]) == 1
        [line] = capsys.readouterr().err.splitlines()
        assert f"damaged.safetensors: NaN or infinity in 1 tensor ({KERNEL}" in line


@pytest.mark.parametrize("name", ["weights", "weights.bin", "WEIGHTS.SAFETENSORS"])
def test_weights_of_any_suffix_are_described(
    weights: Path, name: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    shutil.copyfile(weights, tmp_path / name)
    assert main(["info", str(tmp_path / name)]) == 0
    assert "keypoint set: coco_17\n" in capsys.readouterr().out


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".ckpt"])
def test_a_pickle_is_to_be_converted(suffix: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.save({"x": torch.zeros(1)}, tmp_path / f"weights{suffix}")
    assert main(["info", str(tmp_path / f"weights{suffix}")]) == 1
    assert f"convert it with 'sdpose convert weights{suffix}" in capsys.readouterr().err


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_a_pipe_is_not_waited_for(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert main(["info", str(tmp_path / "pipe")]) == 1
    assert "is not a regular file" in capsys.readouterr().err


def test_other_files_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"no weights")
    assert main(["info", str(tmp_path / "x.safetensors")]) == 1
    assert main(["info", str(tmp_path / "missing.safetensors")]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_an_onnx_file_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.onnx").write_bytes(b"\x08\x08")
    assert main(["info", str(tmp_path / "a.onnx")]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "a.onnx is an ONNX file: info reads poses, videos and weights" in line
    assert main(["info", str(tmp_path / "b.onnx")]) == 1
    assert "b.onnx" in (error := capsys.readouterr().err) and "is an ONNX file" not in error


def test_a_text_with_a_brace_in_the_ninth_place_is_no_weights(tmp_path: Path, weights: Path) -> None:
    (tmp_path / "a.json").write_text('{"p": [ {"keypoints": []}]}')
    assert (tmp_path / "a.json").read_text()[8] == "{"
    assert not starts_as_safetensors(tmp_path / "a.json") and starts_as_safetensors(weights)


def test_all_values_of_fp8_weights_are_read(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with safe_open(weights, "pt") as file:
        metadata = file.metadata()
    tensors = load_file(weights)
    tensors[KERNEL] = tensors[KERNEL].to(torch.float8_e4m3fn)
    save_file(tensors, tmp_path / "fp8.safetensors", metadata)
    assert main(["info", str(tmp_path / "fp8.safetensors"), "--check"]) == 0
    assert "all values are finite" in capsys.readouterr().out
