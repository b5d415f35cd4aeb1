"""Adapters: small files that load together with the base they were trained on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sdpose_core.checkpoints.adapters import adapter_of, merged_state
from sdpose_core.checkpoints.layouts import convert, inspect_checkpoint, read_checkpoint, save_checkpoint
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.cli.main import main
from sdpose_core.errors import CheckpointError
from sdpose_core.estimation.loading import load_estimator


@pytest.fixture(scope="module")
def folder(checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """my.safetensors, an adapter, and its base beside it."""
    folder = tmp_path_factory.mktemp("adapter")
    shutil.copy(checkpoint, folder / "base.safetensors")
    tiny.make_adapter(folder / "my.safetensors", folder / "base.safetensors")
    return folder


def rewritten(source: Path, target: Path, metadata: dict[str, str], **tensors: torch.Tensor) -> Path:
    """A copy with other metadata, and other or more tensors."""
    with safe_open(source, framework="pt") as file:
        texts = {**file.metadata(), **metadata}
    save_file({**load_file(source), **tensors}, target, metadata=texts)
    return target


def test_an_adapter_is_its_base_with_the_product_added_and_another_head(folder: Path, tmp_path: Path) -> None:
    changes = tiny.make_adapter(tmp_path / "my.safetensors", folder / "base.safetensors")
    before = load_file(folder / "base.safetensors")
    model = load_sdpose(tmp_path / "my.safetensors", base=folder / "base.safetensors", device="cpu", dtype="fp32")
    for name, value in model.state_dict().items():
        expected = changes[name] if name.startswith("head.") else before[name] + changes.get(name, 0)
        torch.testing.assert_close(value, expected, rtol=0, atol=1e-6)
    assert not model.state_dict()[tiny.ADAPTED].equal(before[tiny.ADAPTED]) and model.with_rgb_branch


def test_merging_is_the_formula_of_the_paper() -> None:
    state = {"x.weight": torch.eye(2), "x.lora_A.weight": torch.tensor([[1.0, 2.0]]), "x.bias": torch.ones(2)}
    merged = merged_state({**state, "x.lora_B.weight": torch.tensor([[3.0], [0.0]])}, scale=0.5)
    assert {name: value.tolist() for name, value in merged.items()} == {
        "x.weight": [[2.5, 3], [0, 1]],
        "x.bias": [1, 1],
    }


def test_its_base_is_found_beside_it_in_the_folders_given_and_by_content(folder: Path, tmp_path: Path) -> None:
    adapter = tmp_path / "my.safetensors"
    shutil.copy(folder / "my.safetensors", adapter)
    expected = load_sdpose(folder / "my.safetensors", device="cpu").state_dict()
    models = tmp_path / "models"
    (models / "a").mkdir(parents=True)
    (models / "b").mkdir()
    shutil.copy(folder / "base.safetensors", models / "b")
    tiny.make_checkpoint(models / "a" / "base.safetensors", seed=5)  # another one of the same name
    found = load_sdpose(adapter, search=[models], device="cpu").state_dict()
    assert all(found[name].equal(value) for name, value in expected.items())
    renamed = tmp_path / "other.safetensors"
    shutil.copy(folder / "base.safetensors", renamed)
    _, state, info = read_checkpoint(adapter, base=renamed, with_rgb_branch=True)
    assert all(state[name].equal(value) for name, value in expected.items()) and info.layout == "adapter"


def test_a_base_that_is_missing_or_another_is_named(folder: Path, tmp_path: Path, checkpoint: Path) -> None:
    adapter = tmp_path / "my.safetensors"
    shutil.copy(folder / "my.safetensors", adapter)
    with pytest.raises(CheckpointError, match=r"needs its base 'base\.safetensors' .*not on this machine: put it"):
        load_sdpose(adapter, device="cpu")
    tiny.make_checkpoint(tmp_path / "base.safetensors", seed=5)
    with pytest.raises(CheckpointError, match=r"base\.safetensors has other content: get the weights"):
        load_estimator(adapter)
    tiny.make_adapter(adapter, folder / "base.safetensors", base="body")
    with pytest.raises(CheckpointError, match="download it with 'sdpose download body'"):
        inspect_checkpoint(adapter)
    with pytest.raises(CheckpointError, match="is no adapter: leave out the base"):
        load_sdpose(checkpoint, base=checkpoint, device="cpu")


def test_an_adapter_with_the_name_of_its_base_says_where_the_base_goes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As RUN/adapters/best.safetensors, trained on the best.safetensors of an earlier run."""
    adapter, home = tmp_path / "base.safetensors", tmp_path / "home"
    shutil.copy(folder / "my.safetensors", adapter)
    monkeypatch.setenv("SDPOSE_HOME", str(home))
    with pytest.raises(CheckpointError, match=r"put it into .*home, as the adapter has its name"):
        inspect_checkpoint(adapter)
    home.mkdir()
    shutil.copy(folder / "base.safetensors", home)
    assert inspect_checkpoint(adapter)[1].layout == "adapter"


@pytest.mark.parametrize(("metadata", "message"), [
    ({"lora_rank": "x"}, "metadata is damaged"), ({"lora_rank": "0"}, "metadata is damaged"),
    ({"base": "../base.safetensors"}, "metadata is damaged"), ({"base_sha256": "["}, "metadata is damaged"),
    ({"format": "other"}, "no configuration"),
])  # fmt: skip
def test_damaged_metadata_is_told(folder: Path, tmp_path: Path, metadata: dict[str, str], message: str) -> None:
    path = rewritten(folder / "my.safetensors", tmp_path / "my.safetensors", metadata)
    with pytest.raises(CheckpointError, match=message):
        load_sdpose(path, base=folder / "base.safetensors", device="cpu")


@pytest.mark.parametrize("shape", [(2, 5), (3, 32), (2, 32, 1)])
def test_matrices_that_do_not_fit_are_told(folder: Path, tmp_path: Path, shape: tuple[int, ...]) -> None:
    name = tiny.ADAPTED.replace(".weight", ".lora_A.weight")
    path = rewritten(folder / "my.safetensors", tmp_path / "my.safetensors", {}, **{name: torch.zeros(shape)})
    with pytest.raises(CheckpointError, match="do not fit the base at unet.mid_block"):
        load_sdpose(path, base=folder / "base.safetensors", device="cpu")


@pytest.mark.parametrize(
    "layout", ["ours", *(pytest.param(each, marks=pytest.mark.slow) for each in ("diffusers", "comfy"))]
)
def test_conversion_makes_whole_weights_in_the_number_type_of_the_base(tmp_path: Path, layout: str) -> None:
    config = replace(tiny.SMALL, unet=replace(tiny.SMALL.unet, cross_attention_dim=16))
    base = tmp_path / "base.safetensors"
    save_checkpoint(tiny.make_model(config, with_rgb_branch=True).state_dict(), config, base, dtype=torch.float16)
    tiny.make_adapter(tmp_path / "my.safetensors", base, config)
    out = tmp_path / ("whole" if layout == "diffusers" else "whole.safetensors")
    assert main(["convert", str(tmp_path / "my.safetensors"), str(out), "--layout", layout]) == 0
    _, expected, _ = read_checkpoint(tmp_path / "my.safetensors", with_rgb_branch=True)
    _, state, info = read_checkpoint(out, with_rgb_branch=True)
    assert {value.dtype for value in state.values()} == {torch.float16} and adapter_of(info.metadata, out) is None
    assert all(value.equal(expected[name].half()) for name, value in state.items())
    again = tmp_path / "again.safetensors"
    assert main(["convert", str(out), str(again), "--base", str(base)]) == 1  # it is no adapter


def test_stable_diffusion_can_be_the_base(tmp_path: Path) -> None:
    """A folder with unet/ and vae/ alone: head and class embedding come from the adapter."""
    folder = tiny.golden_folder(tmp_path / "sd2", "body")
    shutil.rmtree(folder / "decoder")
    path = tmp_path / "my.safetensors"
    changes = tiny.make_adapter(path, folder, tiny.BODY)
    state = load_sdpose(path, device="cpu", dtype="fp32").state_dict()
    unet = load_file(folder / "unet" / "diffusion_pytorch_model.safetensors")
    assert state["unet.conv_in.weight"].equal(unet["conv_in.weight"].float())
    merged = unet[tiny.ADAPTED.removeprefix("unet.")].float() + changes[tiny.ADAPTED]
    torch.testing.assert_close(state[tiny.ADAPTED], merged, rtol=0, atol=1e-5)
    assert state["head.final_layer.weight"].equal(changes["head.final_layer.weight"])


def test_without_the_rgb_branch_it_has_none(folder: Path, tmp_path: Path) -> None:
    config = replace(tiny.SMALL, feature_levels=("F2",))
    path = tmp_path / "my.safetensors"
    tiny.make_adapter(path, folder / "base.safetensors", config, rgb_branch=False)
    config, state, _ = read_checkpoint(path, base=folder / "base.safetensors", with_rgb_branch=True)
    rgb_only = ("unet.up_blocks.3.", "unet.conv_out.", "unet.conv_norm_out.")
    assert config.feature_levels == ("F2",) and not any(name.startswith(rgb_only) for name in state)
    report = convert(path, tmp_path / "whole.safetensors", base=folder / "base.safetensors")
    assert report.tensors == len(state)


def test_what_it_says_about_itself(folder: Path) -> None:
    _, info = inspect_checkpoint(folder / "my.safetensors")
    assert info.metadata["keypoint_set"] == "coco_17" and json.loads(info.metadata["lora_targets"]) == ["to_q"]
    names = ("base", "lora_rank", "lora_alpha", "rgb_branch")
    assert [info.metadata[name] for name in names] == ["base.safetensors", "2", "3.0", "true"]
    assert (folder / "my.safetensors").stat().st_size < (folder / "base.safetensors").stat().st_size / 2
