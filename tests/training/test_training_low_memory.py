"""Training in little memory: LoRA and its adapters, frozen parts, optimizers, half precision."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import tiny
import torch
from accelerate.state import AcceleratorState, PartialState
from paths import ROOT
from safetensors.torch import load_file

from sdpose_core.checkpoints.layouts import convert
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_17
from sdpose_training.fit.starting_weights import starting_model
from sdpose_training.fit.trained_parts import choose_trained
from sdpose_training.recipe.recipe import load_recipe
from train import main

DEBUG = ROOT / "training" / "recipes" / "debug_cpu.toml"
QUICK = ["--log.tensorboard", "off", "--validation.people", "0", "--hardware.gradient-checkpointing", "off"]
SHORT = [*QUICK, "--stages.0.samples", "24", "--stages.1.samples", "8", "--checkpoints.weights-dtype", "fp32"]
LAST = "step-00000004.safetensors"


@pytest.fixture(autouse=True)
def fresh_state() -> Iterator[None]:
    yield
    AcceleratorState._reset_state()
    PartialState._reset_state()


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make_checkpoint(tmp_path_factory.mktemp("base") / "mine.safetensors")


def command(data: Path, base: Path, out: Path, *more: str) -> list[str]:
    return [
        "--recipe",
        str(DEBUG),
        "--data.root",
        str(data),
        "--model.base",
        str(base),
        "--out",
        str(out),
        *SHORT,
        *more,
    ]


@pytest.fixture(scope="module")
def adapted(data: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with LoRA and an average of the weights."""
    out = tmp_path_factory.mktemp("runs") / "adapted"
    assert main(command(data, base, out, "--lora.rank", "4", "--optimizer.ema-decay", "0.5")) == 0
    return out


# --- LoRA ----------------------------------------------------------------------------------------------------------


def test_only_attention_head_and_class_embedding_have_changed(base: Path, adapted: Path) -> None:
    before, after = load_file(base), load_file(adapted / "weights" / LAST)
    assert before.keys() == after.keys()
    changed = {name for name in before if not before[name].equal(after[name])}
    attention = {name for name in before if name.endswith((".to_q.weight", ".to_k.weight", ".to_v.weight"))}
    attention |= {name for name in before if name.endswith(".to_out.0.weight") and name.startswith("unet.")}
    attention = {name for name in attention if name.startswith("unet.")}
    in_full = {name for name in before if name.startswith(("head.", "unet.class_embedding."))}
    assert attention <= changed <= attention | in_full
    assert {"head.final_layer.weight", "unet.class_embedding.linear_2.weight"} <= changed


def test_adapter_and_base_are_the_merged_weights(base: Path, adapted: Path, tmp_path: Path) -> None:
    merged = load_sdpose(adapted / "weights" / LAST, device="cpu").state_dict()
    adapter = adapted / "adapters" / LAST
    loaded = load_sdpose(adapter, base=base, device="cpu").state_dict()
    assert loaded.keys() == merged.keys() and all(loaded[name].equal(merged[name]) for name in merged)
    assert adapter.stat().st_size < 0.6 * base.stat().st_size  # tiny: most of it is the head
    report = convert(adapter, tmp_path / "whole.safetensors", base=base)
    written = load_file(report.path)
    assert all(written[name].equal(value) for name, value in merged.items())


def test_training_goes_on_from_an_adapter(data: Path, base: Path, adapted: Path) -> None:
    (beside := adapted / "adapters" / base.name).write_bytes(base.read_bytes())
    start = starting_model(load_recipe(DEBUG, ["--model.base", str(adapted / "adapters" / LAST)]), COCO_17)
    merged = load_file(adapted / "weights" / LAST)
    assert all(value.equal(merged[name]) for name, value in start.model.state_dict().items())
    beside.unlink()


@pytest.mark.parametrize(("change", "message"), [
    (["--lora.targets", "to_q,to_x"], "no linear layer of the U-Net is called 'to_x': try attn1.to_k"),
    (["--model.base", "scratch"], "LoRA needs a trained U-Net"),
    (["--model.random-unet", "on"], "LoRA needs a trained U-Net"),
])  # fmt: skip
def test_lora_that_cannot_work_is_refused(base: Path, change: list[str], message: str) -> None:
    recipe = load_recipe(DEBUG, ["--model.base", str(base), "--lora.rank", "4", *change])
    with pytest.raises(InputError, match=message):
        choose_trained(starting_model(recipe, COCO_17).model, recipe)


# --- frozen parts --------------------------------------------------------------------------------------------------


def test_frozen_parts_are_not_trained(base: Path) -> None:
    recipe = load_recipe(DEBUG, ["--model.base", str(base), "--model.freeze", "unet.down_blocks,unet.up_blocks.1,head"])
    model = starting_model(recipe, COCO_17).model
    trained = choose_trained(model, recipe)
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    frozen = ("unet.down_blocks.", "unet.up_blocks.1.", "head.", "vae.")
    assert len(trained) == len(names) == sum(not n.startswith(frozen) for n, _ in model.named_parameters())
    assert not any(name.startswith(frozen) for name in names)


@pytest.mark.parametrize(("parts", "message"), [
    ("unet.down_block", r"no part 'unet.down_block': did you mean 'unet.down_blocks'"),
    ("unet.down_blocks.9", "model has no part"), ("nothing", r"known are unet, head, vae, unet.conv_in, .*mid_block"),
    ("unet,head", "nothing is left to train"),
])  # fmt: skip
def test_parts_that_cannot_be_frozen_are_named(base: Path, parts: str, message: str) -> None:
    recipe = load_recipe(DEBUG, ["--model.base", str(base), "--model.freeze", parts])
    with pytest.raises(InputError, match=message):
        choose_trained(starting_model(recipe, COCO_17).model, recipe)
