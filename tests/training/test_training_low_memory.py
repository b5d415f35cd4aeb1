"""Training in little memory: LoRA and its adapters, frozen parts, optimizers, half precision."""

from __future__ import annotations

import copy
import shutil
import socket
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from accelerate import Accelerator
from accelerate_state import forget_accelerate
from paths import ROOT
from safetensors.torch import load_file
from test_training_run import PATIENCE, losses, start

from sdpose_core.checkpoints.adapters import adapter_of
from sdpose_core.checkpoints.layouts import convert
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.errors import InputError, MissingDependency
from sdpose_core.model.network import SDPose
from sdpose_core.skeletons import COCO_17
from sdpose_core.tensor_files import open_tensors
from sdpose_training.fit import setup
from sdpose_training.fit.endings import NonFiniteLoss, SkippedSteps
from sdpose_training.fit.log import read_log
from sdpose_training.fit.lora import check_same_adapter
from sdpose_training.fit.optimizers import check_kind, make_optimizer, rounded_by_chance, state_bytes
from sdpose_training.fit.starting_weights import starting_model
from sdpose_training.fit.trained_parts import choose_trained
from sdpose_training.recipe.recipe import OptimizerRecipe, load_recipe
from train import main

pytestmark = pytest.mark.usefixtures("fresh_state")

DEBUG = ROOT / "training" / "recipes" / "debug_cpu.toml"
QUICK = ["--log.tensorboard", "off", "--validation.people", "0", "--hardware.gradient-checkpointing", "off"]
SHORT = [*QUICK, "--stages.0.samples", "24", "--stages.1.samples", "8", "--checkpoints.weights-dtype", "fp32"]
LAST = "step-00000004.safetensors"


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
def started(base: Path) -> SDPose:
    """The starting model: tests take copies."""
    return starting_model(load_recipe(DEBUG, ["--model.base", str(base)]), COCO_17).model


@pytest.fixture(scope="module")
def adapted(data: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with LoRA and an average of the weights."""
    out = tmp_path_factory.mktemp("runs") / "adapted"
    assert main(command(data, base, out, "--lora.rank", "4", "--optimizer.ema-decay", "0.5")) == 0
    return out


# --- LoRA ----------------------------------------------------------------------------------------------------------


@pytest.mark.slow  # trains
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


@pytest.mark.slow  # trains
def test_adapter_and_base_are_the_merged_weights(base: Path, adapted: Path, tmp_path: Path) -> None:
    merged = load_sdpose(adapted / "weights" / LAST, device="cpu").state_dict()
    adapter = adapted / "adapters" / LAST
    loaded = load_sdpose(adapter, base=base, device="cpu").state_dict()
    assert loaded.keys() == merged.keys() and all(loaded[name].equal(merged[name]) for name in merged)
    assert adapter.stat().st_size < 0.6 * base.stat().st_size  # tiny: most of it is the head
    report = convert(adapter, tmp_path / "whole.safetensors", base=base)
    written = load_file(report.path)
    assert all(written[name].equal(value) for name, value in merged.items())


@pytest.mark.slow  # trains
def test_training_goes_on_from_an_adapter(data: Path, base: Path, adapted: Path) -> None:
    (beside := adapted / "adapters" / base.name).write_bytes(base.read_bytes())
    start = starting_model(load_recipe(DEBUG, ["--model.base", str(adapted / "adapters" / LAST)]), COCO_17)
    merged = load_file(adapted / "weights" / LAST)
    assert all(value.equal(merged[name]) for name, value in start.model.state_dict().items())
    beside.unlink()


@pytest.mark.slow  # trains
def test_a_resumed_run_keeps_its_lora_and_its_base(adapted: Path) -> None:
    """Other matrices or another base would give adapters that are not what was trained."""
    folder = adapted / "adapters"
    with open_tensors(folder / LAST) as tensors:
        own = adapter_of(tensors.metadata, folder / LAST)
    assert own is not None
    check_same_adapter(own, folder)
    check_same_adapter(replace(own, base="moved.safetensors"), folder)
    check_same_adapter(own, folder / "none")
    for other, message in (
        (replace(own, rank=8), "lora.rank was 4, now 8: undo"),
        (replace(own, alpha=99.0), "lora.alpha was 16.0, now 99.0"),
        (replace(own, base_sha256=("0" * 64,)), "model.base is another file than before"),
        (None, "it trains LoRA of rank 4, the recipe has none"),
    ):
        with pytest.raises(InputError, match=message):
            check_same_adapter(other, folder)


@pytest.mark.parametrize(("change", "message"), [
    (["--lora.targets", "to_q,to_x"], "no linear layer of the U-Net is called 'to_x': try attn1.to_k"),
    (["--lora.rank", "10000"], "the target layers have ranks up to 32, found 10000"),
    (["--model.base", "scratch"], "LoRA needs a trained U-Net"),
    (["--model.random-unet", "on"], "LoRA needs a trained U-Net"),
])  # fmt: skip
def test_lora_that_cannot_work_is_refused(started: SDPose, change: list[str], message: str) -> None:
    recipe = load_recipe(DEBUG, ["--model.base", "base", "--lora.rank", "4", *change])
    with pytest.raises(InputError, match=message):
        choose_trained(copy.deepcopy(started), recipe)


# --- frozen parts --------------------------------------------------------------------------------------------------


def test_frozen_parts_are_not_trained(started: SDPose) -> None:
    recipe = load_recipe(DEBUG, ["--model.freeze", "unet.down_blocks,unet.up_blocks.1,head"])
    model = copy.deepcopy(started)
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
def test_parts_that_cannot_be_frozen_are_named(started: SDPose, parts: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose_trained(copy.deepcopy(started), load_recipe(DEBUG, ["--model.freeze", parts]))


# --- optimizers ----------------------------------------------------------------------------------------------------


def weights_after(recipe: OptimizerRecipe, dtype: torch.dtype, rate: float, steps: int) -> torch.Tensor:
    """Weights 0.5 (64, 64) after steps of gradients 1."""
    weight = torch.nn.Parameter(torch.full((64, 64), 0.5, dtype=dtype))
    optimizer = make_optimizer([weight], recipe, rate)
    for _ in range(steps):
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    return weight.detach().float()


@pytest.mark.parametrize("kind", ["adamw", "adamw_8bit", "adafactor"])
def test_each_optimizer_takes_steps_of_the_learning_rate(kind: str) -> None:
    if kind == "adamw_8bit":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: pip install bitsandbytes")
    moved = 0.5 - weights_after(OptimizerRecipe(kind=kind, weight_decay=0), torch.float32, 1e-3, 10)
    expected = 1e-2 if kind != "adafactor" else 0.5 * 1e-2  # relative to the weights' root mean square
    torch.testing.assert_close(moved, torch.full_like(moved, expected), rtol=0.03, atol=0)


@pytest.mark.parametrize("kind", ["adamw", "adamw_8bit", "adafactor"])
@pytest.mark.parametrize("shape", [(7,), (64, 128), (5000,), (8, 4, 3, 3), (96, 96, 1, 1)])
def test_the_size_of_an_optimizers_state(kind: str, shape: tuple[int, ...]) -> None:
    if kind == "adamw_8bit":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: pip install bitsandbytes")
    weight, recipe = torch.nn.Parameter(torch.ones(shape)), OptimizerRecipe(kind=kind)
    optimizer = make_optimizer([weight], recipe, 1e-3)
    weight.grad = torch.ones_like(weight)
    optimizer.step()
    kept = {name: value for name, value in optimizer.state[weight].items() if isinstance(value, torch.Tensor)}
    size = sum(v.numel() * v.element_size() for name, v in kept.items() if v.ndim and not name.startswith("qmap"))
    assert size == state_bytes(recipe, weight)


def test_bfloat16_weights_move_by_steps_below_their_precision() -> None:
    """Numbers around 0.5 are 2^-9 apart: rounded to the nearest, no step of 3e-5 would move them."""
    recipe = OptimizerRecipe(weight_decay=0)
    weights = weights_after(recipe, torch.bfloat16, 3e-5, 40)
    assert float(weights.mean()) == pytest.approx(0.5 - 40 * 3e-5, abs=1e-4)
    assert weights.equal(weights_after(recipe, torch.bfloat16, 3e-5, 40))  # the chance is the same in each run
    same = weights_after(recipe, torch.float32, 1e-2, 40)
    torch.testing.assert_close(weights_after(recipe, torch.bfloat16, 1e-2, 40), same, rtol=0, atol=0.02)


def test_rounding_by_chance_is_right_on_average_and_one_of_the_two_nearest() -> None:
    values = torch.tensor([1 + 1 / 512, -1 - 3 / 512, 3.0, 0.0, 1e-30, -7e20])
    many = values.repeat(20_000, 1)
    rounded = rounded_by_chance(many.clone(), torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(rounded.mean(0), values.double(), rtol=2e-5, atol=1e-35)
    assert set(rounded[:, 0].tolist()) == {1, 1 + 1 / 128} and set(rounded[:, 2].tolist()) == {3}


@pytest.mark.parametrize("kind", ["adamw_8bit", "adafactor"])
def test_bfloat16_weights_need_rounding_by_chance(kind: str) -> None:
    weight = torch.nn.Parameter(torch.ones(2, dtype=torch.bfloat16))
    with pytest.raises(InputError, match="rounded away: use 'adamw', or weights_dtype 'fp32'"):
        make_optimizer([weight], OptimizerRecipe(kind=kind), 1e-3)


def test_what_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    with pytest.raises(MissingDependency, match="optimizer.kind 'adamw_8bit' needs the package 'bitsandbytes'"):
        make_optimizer([torch.nn.Parameter(torch.ones(2))], OptimizerRecipe(kind="adamw_8bit"), 1e-3)


@pytest.mark.parametrize(("change", "found"), [
    (["--optimizer.kind", "adafactor"], "'adamw', not 'adafactor'"),
    (["--hardware.weights-dtype", "bf16"], "'adamw', not 'adamw, rounded by chance'"),
])  # fmt: skip
def test_a_state_of_another_optimizer_is_refused(change: list[str], found: str) -> None:
    optimizer = make_optimizer([torch.nn.Parameter(torch.ones(2))], OptimizerRecipe(), 1e-3)
    check_kind(optimizer, load_recipe(DEBUG))
    with pytest.raises(InputError, match=f"the state is of the optimizer {found}"):
        check_kind(optimizer, load_recipe(DEBUG, change))


# --- half precision ------------------------------------------------------------------------------------------------


def scaling_accelerator(_precision: str) -> Accelerator:
    """fp16 with scaling on a CPU, where accelerate itself trains in float32; the first two steps overflow."""
    accelerator = Accelerator()
    accelerator.state._mixed_precision, accelerator.native_amp = "fp16", True
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40, backoff_factor=2.0**-14)
    return accelerator


@pytest.mark.slow  # fp16 on a CPU
def test_steps_that_overflow_in_fp16_are_skipped(
    data: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(setup, "make_accelerator", scaling_accelerator)
    out = tmp_path / "run"
    assert (
        main(
            command(
                data,
                base,
                out,
                "--optimizer.ema-decay",
                "0.5",
                "--checkpoints.every",
                "1",
                "--checkpoints.weights-every",
                "1",
            )
        )
        == 0
    )
    steps = read_log(out / "log.jsonl", "step")
    skipped = ["gradient_norm" not in line for line in steps]
    assert len(steps) == 4 and skipped[0] and not skipped[-1]
    assert caplog.text.count("gradients overflow in fp16") == sum(skipped)
    before = load_file(base)
    for step, was_skipped in enumerate(skipped, 1):
        after = load_file(out / "weights" / f"step-{step:08d}.safetensors")
        assert was_skipped == all(after[name].equal(before[name]) for name in before)
        before = after


def test_fp16_that_overflows_for_ever_ends_the_run() -> None:
    steps, figures = SkippedSteps(), {"loss": 1.0, "gradient_norm": float("inf")}
    for _ in range(SkippedSteps.MOST):
        assert steps.counted(figures, True) == {"loss": 1.0}
    steps.counted(figures, False)
    for _ in range(SkippedSteps.MOST):
        steps.counted(figures, True)
    with pytest.raises(NonFiniteLoss, match="31 steps in a row are not finite in fp16"):
        steps.counted(figures, True)


@pytest.mark.parametrize(("change", "message"), [
    (["--hardware.mixed-precision", "fp16"], "'fp16' needs a GPU"),
    (["--hardware.weights-dtype", "bf16"], "weights_dtype 'bf16' with mixed_precision 'no'"),
    (["--hardware.weights-dtype", "bf16", "--hardware.mixed-precision", "bf16", "--optimizer.ema-decay", "0.9"],
     "ema_decay needs hardware.weights_dtype 'fp32'"),
])  # fmt: skip
def test_precisions_that_cannot_work_are_refused(
    data: Path, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], change: list[str], message: str
) -> None:
    assert main(command(data, base, tmp_path / "run", *change)) == 1
    assert message in capsys.readouterr().err


@pytest.mark.slow  # trains
@pytest.mark.parametrize("lora", [False, True])
def test_weights_in_bfloat16(data: Path, base: Path, lora: bool) -> None:
    """All of U-Net and head, or with LoRA all that is frozen; and they are trained."""
    half = [
        "--hardware.weights-dtype",
        "bf16",
        "--hardware.mixed-precision",
        "bf16",
        "--lora.rank",
        "2" if lora else "0",
    ]
    average = ["--optimizer.ema-decay", "0.9"] if lora else []  # of what is trained, so of float32
    recipe = load_recipe(DEBUG, ["--data.root", str(data), "--model.base", str(base), *SHORT, *half, *average])
    parts = setup.set_up(recipe)
    assert (parts.average is not None) == lora
    dtypes = {n: p.dtype for n, p in parts.model.named_parameters() if n.startswith(("unet.", "head."))}
    trained = {name for name, parameter in parts.model.named_parameters() if parameter.requires_grad}
    assert {name for name, dtype in dtypes.items() if dtype == torch.float32} == (trained if lora else set())
    before = {name: parts.model.get_parameter(name).clone() for name in trained}
    heatmaps = parts.trained(torch.rand(2, 3, 128, 64)).heatmaps
    heatmaps.square().mean().backward()
    parts.optimizer.step()
    changed = {name for name, value in before.items() if not parts.model.get_parameter(name).equal(value)}
    assert any("lora_B" in name for name in changed) == lora and any("head." in name for name in changed)


# --- whole runs ----------------------------------------------------------------------------------------------------

BF16 = ("--hardware.weights-dtype", "bf16", "--hardware.mixed-precision", "bf16")
LORA = ("--lora.rank", "4")
KINDS = {
    "LoRA": LORA, "LoRA below bf16": (*LORA, *BF16), "bf16": BF16, "Adafactor": ("--optimizer.kind", "adafactor"),
    "8 bits": ("--optimizer.kind", "adamw_8bit"), "frozen": ("--model.freeze", "unet.down_blocks,unet.class_embedding"),
    "compiled": (*LORA, "--hardware.compile", "on", "--hardware.gradient-checkpointing", "on"),
    "channels last": ("--hardware.channels-last", "on", "--hardware.gradient-checkpointing", "on"),
}  # fmt: skip


def test_without_a_compiler_one_line_says_so_before_the_first_step(
    data: Path, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(_function: object) -> object:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler")

    monkeypatch.setattr(torch, "compile", failing)
    assert main([*command(data, base, tmp_path / "run"), "--hardware.compile", "on"]) == 1
    last = capsys.readouterr().err.splitlines()[-1]
    assert "compile needs a C++ compiler" in last and last.endswith("install that, or turn compile off")
    assert not (tmp_path / "run" / "weights").exists()


@pytest.mark.slow  # trains twice
@pytest.mark.parametrize("kind", KINDS)
def test_resumed_is_bit_equal(
    data: Path, base: Path, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "8 bits":
        pytest.importorskip("bitsandbytes", reason="bitsandbytes is not installed: pip install bitsandbytes")
    # traced, and run without the minutes that its C++ takes to compile
    monkeypatch.setattr("sdpose_training.fit.precision.need_compiler", lambda device: None)
    compile_ = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda self, **how: compile_(self, backend="aot_eager", **how))
    line = command(data, base, tmp_path / "run", *KINDS[kind], "--checkpoints.every", "2")
    assert main(line) == 0
    whole, first = load_file(tmp_path / "run" / "weights" / LAST), losses(tmp_path / "run")
    (tmp_path / "run" / "weights" / LAST).unlink()
    shutil.rmtree(tmp_path / "run" / "checkpoints" / "step-00000004")
    forget_accelerate()
    assert main([*line, "--resume", "auto"]) == 0
    again = load_file(tmp_path / "run" / "weights" / LAST)
    assert again.keys() == load_file(base).keys()
    assert losses(tmp_path / "run") == first and all(again[name].equal(value) for name, value in whole.items())
    assert any(not again[name].equal(value) for name, value in load_file(base).items())


@pytest.mark.slow  # three starts of the program
@pytest.mark.parametrize("kind", ["LoRA", "LoRA below bf16", "bf16"])
def test_two_processes_train_as_one(data: Path, base: Path, tmp_path: Path, kind: str) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}
    more = (*SHORT, "--model.base", str(base), *KINDS[kind])
    one = start(data, tmp_path / "one", *more)
    both = [start(data, tmp_path / "two", *more, RANK=rank, LOCAL_RANK=rank, **shared) for rank in ("0", "1")]
    for process in (one, *both):
        _, errors = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, errors
    tolerance = 1e-5 if kind == "LoRA" else 2e-2
    np.testing.assert_allclose(losses(tmp_path / "two"), losses(tmp_path / "one"), rtol=tolerance, atol=tolerance)
    if kind == "LoRA":
        ours, theirs = (load_file(tmp_path / run / "adapters" / LAST) for run in ("two", "one"))
        assert ours.keys() == theirs.keys()
        assert max((ours[name] - theirs[name]).abs().max().item() for name in theirs) < 1e-3
