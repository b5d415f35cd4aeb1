"""Checkpoints after the paper's third version: told from the others, strictly read, refused where they do not fit."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from paths import DATA
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sdpose_core.bench.modes import Mode
from sdpose_core.bench.settings import Settings
from sdpose_core.bench.ways import NETWORK_STAGES, WAYS, build
from sdpose_core.checkpoints.layouts import convert, inspect_checkpoint, read_checkpoint, save_checkpoint
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.cli.main import main
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.estimation.loading import load_estimator
from sdpose_core.images import read_image
from sdpose_core.model.config import SDPoseConfig, UNetConfig, VAEConfig
from sdpose_core.model.network import SDPose
from sdpose_core.poses import PoseSequence


@pytest.fixture(scope="module")
def version_3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_version_3(tmp_path_factory.mktemp("weights") / "v3.safetensors")


def texts_of(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


def images() -> torch.Tensor:
    return torch.rand(1, 3, 128, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1


# --- told apart -----------------------------------------------------------------------------------------------------


def test_only_what_needs_it_has_the_new_format_version(version_3: Path, checkpoint: Path) -> None:
    """So an older library says that it must be updated, and reads all other files as before."""
    assert texts_of(version_3)["format_version"] == "3" and texts_of(checkpoint)["format_version"] == "1"
    assert "aggregation" not in texts_of(checkpoint)["config"]
    assert json.loads(texts_of(version_3)["config"])["aggregation"] == "gated"


@pytest.mark.parametrize("layout", ["ours", "diffusers"])
def test_layouts_keep_everything(version_3: Path, tmp_path: Path, layout: str) -> None:
    path = tmp_path / ("x" if layout == "diffusers" else "x.safetensors")
    report = convert(version_3, path, layout)
    assert ("released code cannot read" in " ".join(report.notes)) == (layout == "diffusers")
    config, state, _ = read_checkpoint(path, with_rgb_branch=True)
    _, expected, _ = read_checkpoint(version_3, with_rgb_branch=True)
    assert config == tiny.VERSION_3 and state.keys() == expected.keys()
    assert all(state[name].equal(expected[name]) for name in state)
    assert not any("reconstruction" in name for name in read_checkpoint(path)[1])
    one, two = (load_sdpose(each, dtype="fp32", device="cpu") for each in (version_3, path))
    torch.testing.assert_close(one.heatmaps(images()), two.heatmaps(images()), rtol=0, atol=1e-4)
    torch.testing.assert_close(one.reconstruct(images()), two.reconstruct(images()), rtol=0, atol=1e-4)


@pytest.mark.parametrize("changes", [
    {"feature_levels": ("F2", "F3", "F4")}, {"reconstruction": "rgb_pass"},
    {"aggregation": "sum", "feature_levels": ("F2",)}, {"aggregation": "sum"},
])  # fmt: skip
def test_a_file_without_configuration_is_known_by_its_tensors(tmp_path: Path, changes: dict) -> None:
    unet = UNetConfig((64, 128, 192, 192), 1, (1, 2, 3, 3), 32)
    config = replace(
        SDPoseConfig(unet=unet, vae=VAEConfig((32, 32, 64, 64), 1), feature_levels=("F1", "F3")),
        **{"aggregation": "gated", "reconstruction": "pose_pass", **changes},
    )
    path = tmp_path / "x.safetensors"
    save_checkpoint(SDPose(config, with_rgb_branch=True).state_dict(), config, path)
    save_file(load_file(path), path)
    assert inspect_checkpoint(path)[0] == config


def test_results_say_how_levels_were_fused(version_3: Path) -> None:
    [found] = load_estimator(version_3, device="cpu").estimate(
        [read_image(DATA / "astronaut.png")], [torch.tensor([[60.0, 0, 400, 500]]).numpy()]
    )
    assert found.meta["settings"]["aggregation"] == "gated" and found.meta["settings"]["feature_levels"] == ["F1", "F2"]


# --- refused --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("level", ["F1", "F1,F3", "F2,F3,F4"])
def test_an_aggregation_is_read_at_its_own_levels_only(version_3: Path, level: str) -> None:
    with pytest.raises(CheckpointError, match="aggregates F1, F2 and cannot be read at F"):
        load_sdpose(version_3, feature_level=level, device="cpu")
    assert load_sdpose(version_3, feature_level="F1,F2", device="cpu").config.aggregation == "gated"


def test_a_head_of_one_level_is_not_read_as_an_aggregation(checkpoint: Path, tmp_path: Path) -> None:
    path = tmp_path / "edited.safetensors"
    config = json.dumps(
        {**json.loads(texts_of(checkpoint)["config"]), "aggregation": "gated", "feature_levels": ["F1", "F2"]}
    )
    save_file(load_file(checkpoint), path, metadata={**texts_of(checkpoint), "config": config})
    with pytest.raises(CheckpointError, match="aggregation 'gated' by its configuration, 'sum' by its tensors"):
        load_sdpose(path, device="cpu")


@pytest.mark.parametrize(("change", "message"), [
    ({"aggregation": "sum"}, "aggregation 'sum' by its configuration, 'gated' by its tensors"),
    ({"reconstruction": "rgb_pass"}, "reconstruction 'rgb_pass' by its configuration, 'pose_pass' by its tensors"),
    ({"aggregation": "attention"}, "aggregation: expected sum or gated"),
])  # fmt: skip
def test_a_configuration_that_contradicts_the_tensors_is_told(
    version_3: Path, tmp_path: Path, change: dict[str, str], message: str
) -> None:
    path = tmp_path / "edited.safetensors"
    config = json.dumps({**json.loads(texts_of(version_3)["config"]), **change})
    save_file(load_file(version_3), path, metadata={**texts_of(version_3), "config": config})
    with pytest.raises(CheckpointError, match=message):
        load_sdpose(path, device="cpu")


def test_missing_and_unexpected_tensors_are_named(version_3: Path, tmp_path: Path) -> None:
    state = load_file(version_3)
    for change, message in (
        ({"head.aggregation.gates.F2.bias": None}, r"at F1, F2 \(gated\): missing: head\.aggregation\.gates\.F2\.bias"),
        ({"head.aggregation.gates.F3.bias": torch.zeros(1)}, r"unexpected: head\.aggregation\.gates\.F3\.bias"),
        ({"head.aggregation.mix.bias": torch.zeros(3)}, r"of another shape: head\.aggregation\.mix\.bias"),
    ):
        path = tmp_path / "x.safetensors"
        changed = {name: value for name, value in {**state, **change}.items() if value is not None}
        save_file(changed, path, metadata=texts_of(version_3))
        with pytest.raises(CheckpointError, match=message):
            read_checkpoint(path)


@pytest.mark.parametrize("changes", [{}, {"reconstruction": "rgb_pass"}, {"aggregation": "sum"}])
def test_comfyuis_layout_cannot_hold_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], changes: dict[str, str]
) -> None:
    source = tiny.make_version_3(tmp_path / "v3.safetensors", replace(tiny.VERSION_3, **changes))
    assert main(["convert", str(source), str(tmp_path / "comfy.safetensors"), "--layout", "comfy"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "ComfyUI's layout has no place for" in line and "use layout 'ours'" in line
    assert [path.name for path in tmp_path.iterdir()] == ["v3.safetensors"]


def test_levels_that_are_summed_still_go_into_every_layout(tmp_path: Path) -> None:
    config = replace(tiny.SMALL, feature_levels=("F2", "F3"))
    source = tiny.make_checkpoint(tmp_path / "sum.safetensors", config)
    convert(source, tmp_path / "comfy.safetensors", "comfy")
    assert inspect_checkpoint(tmp_path / "comfy.safetensors")[0] == config


def test_without_its_reconstruction_it_stays_the_same_estimator(version_3: Path, tmp_path: Path) -> None:
    config, state, _ = read_checkpoint(version_3)
    report = save_checkpoint(state, config, tmp_path / "small", layout="diffusers")
    assert "the RGB branch" in " ".join(report.notes)
    model = load_sdpose(tmp_path / "small", device="cpu", dtype="fp32")
    assert model.config == tiny.VERSION_3 and not model.with_rgb_branch
    expected = load_sdpose(version_3, device="cpu", dtype="fp32").heatmaps(images())
    torch.testing.assert_close(model.heatmaps(images()), expected, rtol=0, atol=1e-4)
    with pytest.raises(InputError, match="without its RGB branch"):
        model.reconstruct(images())


@pytest.mark.parametrize("changes", [{}, {"aggregation": "sum", "reconstruction": "rgb_pass"}])
def test_every_way_of_the_benchmark_gives_its_heatmaps(tmp_path: Path, changes: dict[str, str]) -> None:
    """Plain diffusers modules with the weights' own head, on the whole U-Net, which version 3 has only a part of."""
    path = tiny.make_version_3(tmp_path / "v3.safetensors", replace(tiny.VERSION_3, **changes))
    config, expected = Settings(weights=path).config, load_sdpose(path, device="cpu", dtype="fp32").heatmaps(images())
    for way in WAYS:
        value = images()
        with torch.no_grad():
            for name, step in build(way, config, torch.device("cpu"), Mode("fp32"), weights=path):
                value = step(value) if name in NETWORK_STAGES else value
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-4)


# --- adapters, programs ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rgb_branch", [True, False])
def test_an_adapter_on_a_model_of_one_level(checkpoint: Path, tmp_path: Path, rgb_branch: bool) -> None:
    """The base's own output layers, and up-blocks after the last level, are no part of the whole."""
    shutil.copy(checkpoint, tmp_path / "base.safetensors")
    config = replace(tiny.VERSION_3, feature_levels=("F2", "F3"))
    changes = tiny.make_adapter(
        tmp_path / "my.safetensors", tmp_path / "base.safetensors", config, rgb_branch=rgb_branch
    )
    found, state, _ = read_checkpoint(tmp_path / "my.safetensors", with_rgb_branch=True)
    assert found == config and not any(name.startswith(("unet.conv_out", "unet.up_blocks.3")) for name in state)
    convert(tmp_path / "my.safetensors", tmp_path / "whole.safetensors")
    assert set(load_file(tmp_path / "whole.safetensors")) == set(state)
    mix = "head.aggregation.mix.weight"
    assert state[mix].equal(changes[mix])


@pytest.mark.slow  # whole programs
def test_pictures_and_videos_by_the_command(version_3: Path, tmp_path: Path) -> None:
    picture = str(DATA / "astronaut.png")
    assert main(["image", picture, "-o", str(tmp_path), "--model", str(version_3), "--device", "cpu"]) == 0
    meta = PoseSequence.load(tmp_path / "astronaut.pose.npz").meta
    assert meta["settings"]["aggregation"] == "gated"
    assert main(["info", str(tmp_path / "astronaut.pose.npz")]) == 0


@pytest.mark.slow  # exports
def test_onnx_gives_the_same_heatmaps(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    from sdpose_core.checkpoints.onnx_export import export_onnx
    from sdpose_core.estimation.onnx import OnnxNetwork

    config = replace(tiny.VERSION_3, input_size=(64, 64))
    source = tiny.make_version_3(tmp_path / "v3.safetensors", config)
    report = export_onnx(source, tmp_path / "v3.onnx")
    network = OnnxNetwork(report.path, ["CPUExecutionProvider"])
    assert network.config == config
    model = load_sdpose(source, device="cpu", dtype="fp32")
    for count in (1, 3):
        crops = torch.rand(count, 3, 64, 64, generator=torch.Generator().manual_seed(count)) * 2 - 1
        expected = model.heatmaps(crops)
        assert expected.abs().max() > 0.1
        torch.testing.assert_close(network.heatmaps(crops), expected, atol=1e-4, rtol=0)
