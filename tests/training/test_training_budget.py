"""The table before the first step: its numbers against real ones, and what is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from paths import ROOT
from safetensors.torch import save_file

from sdpose_core.checkpoints.layouts import save_checkpoint
from sdpose_core.skeletons import COCO_17
from sdpose_training.fit import budget, budget_table
from sdpose_training.fit.budget import Launch, Needs, Room, needs_of, state_bytes
from sdpose_training.fit.budget_flags import changed, fitting_flags, memory_ladder
from sdpose_training.fit.budget_table import Budget, refusal, refusals, table
from sdpose_training.fit.dry_run import _LiveTensors, step_memory
from sdpose_training.fit.kept_weights import remove_old_weights
from sdpose_training.fit.losses import heatmap_loss, rgb_loss
from sdpose_training.fit.optimizers import make_optimizer
from sdpose_training.fit.pace import Pace, hours_left, hours_of, hours_text, rate_text
from sdpose_training.fit.setup import plan_stages, samples_at
from sdpose_training.fit.starting_weights import outline, starting_model
from sdpose_training.recipe.recipe import CheckpointRecipe, Recipe, load_recipe
from train import main

DEBUG = ROOT / "training" / "recipes" / "debug_cpu.toml"
BODY = ROOT / "training" / "recipes" / "body.toml"
MIB = 1 << 20


@pytest.fixture
def by_formula(monkeypatch: pytest.MonkeyPatch) -> None:
    """Activations by a formula instead of a step without values, which takes a second of each size."""

    def step(recipe: Recipe, _keypoints: int, micro: int, *_: object) -> int:
        w, h = recipe.stages[0].input_size
        return micro * w * h * (20 if recipe.hardware.gradient_checkpointing else 80)

    monkeypatch.setattr(budget, "_step", step)
    monkeypatch.setattr(budget, "_heatmaps", lambda _recipe, _keypoints, people, _device: people)
    monkeypatch.setattr(budget, "_one_encoded", lambda *_: 1)


@pytest.mark.slow  # steps, and steps without values
@pytest.mark.parametrize("checkpointing", [True, False])
def test_the_computed_memory_of_a_step_is_that_of_a_real_step(checkpointing: bool) -> None:
    """The same count of living tensors, of a step on the CPU. Its attention and its strips differ: 10%."""
    recipe = load_recipe(DEBUG)
    model = starting_model(recipe, COCO_17).model.train()
    model.vae.requires_grad_(False)
    drawn = outline(recipe, COCO_17).train()
    drawn.vae.requires_grad_(False)
    for each in (model, drawn) if checkpointing else ():
        each.enable_gradient_checkpointing()
    live = _LiveTensors()
    with live:
        images, latents = torch.zeros(8, 3, 128, 64), torch.zeros(4, 4, 16, 8)
        found = model(latents=latents, tasks=("pose", "rgb"))
        weights = torch.ones(found.heatmaps.shape[:2])
        loss = heatmap_loss(found.heatmaps, torch.zeros_like(found.heatmaps), weights)
        (loss + rgb_loss(found.rgb_latents, torch.zeros_like(latents))).backward()
    assert len(images) == 8
    assert step_memory(drawn, 4, gradients=True) == pytest.approx(live.peak, rel=0.1)


@pytest.mark.usefixtures("by_formula")
def test_optimizer_states_and_files_have_the_computed_sizes(tmp_path: Path) -> None:
    recipe = load_recipe(DEBUG)
    model = starting_model(recipe, COCO_17).model
    model.vae.requires_grad_(False)
    trained = [p for p in model.parameters() if p.requires_grad]
    optimizer = make_optimizer(trained, recipe.optimizer, 1e-3)
    for parameter in trained:
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    states = [value for state in optimizer.state.values() for name, value in state.items() if name != "step"]
    needs = needs_of(recipe, 17, 12, Launch())
    held = sum(value.numel() * value.element_size() for value in states)
    assert needs.memory["optimizer states"] == held == sum(state_bytes(recipe.optimizer, p) for p in trained)
    assert needs.memory["gradients"] == needs.memory["weights"]
    save_checkpoint(model.state_dict(), model.config, tmp_path / "step-00000004.safetensors", dtype=torch.float32)
    file = (tmp_path / "step-00000004.safetensors").stat().st_size
    assert needs.disk["weights"] == pytest.approx(3 * file, rel=0.05)  # the best, the newest, and one being written


@pytest.mark.usefixtures("by_formula")
def test_what_changes_the_needs() -> None:
    def memory(*flags: str, launch: Launch = Launch()) -> dict[str, int]:  # noqa: B008
        return dict(needs_of(load_recipe(DEBUG, flags), 17, 12, launch).memory)

    usual = memory()
    assert memory("--optimizer.ema-decay", "0.9")["moving average"] == usual["gradients"] > 0
    assert memory("--hardware.batch-per-device", "1")["activations"] < usual["activations"]
    assert memory("--stages.1.input-size", "64,128")["activations"] < usual["activations"]
    assert memory("--optimizer.kind", "adamw_8bit")["optimizer states"] < 0.5 * usual["optimizer states"]
    shared = memory(launch=Launch(2, 2, sharded=("weights", "gradients", "optimizer")))
    assert [shared[part] for part in ("weights", "gradients", "optimizer states")] == [
        usual[part] // 2 for part in ("weights", "gradients", "optimizer states")
    ]
    assert memory("--model.train-vae", "on")["frozen VAE"] == 0


@pytest.mark.usefixtures("by_formula")
def test_shared_memory_is_that_of_the_waiting_batches() -> None:
    recipe = load_recipe(DEBUG, ["--hardware.workers", "3", "--hardware.batch-per-device", "2"])
    pictures = 3 * 4 * 2 * 2  # workers, batches of each, samples, pictures per sample
    assert needs_of(recipe, 17, 12, Launch(2, 2)).shared == 2 * pictures * 3 * 128 * 192


@pytest.mark.parametrize(("settings", "steps", "files"), [
    ((), 12, 3), (("--checkpoints.weights-every", "2"), 12, 4), (("--checkpoints.weights", "9"), 12, 4),
    (("--validation.people", "0"), 12, 2), (("--checkpoints.every", "0"), 12, 2),
])  # fmt: skip
@pytest.mark.usefixtures("by_formula")
def test_the_disk_holds_the_kept_weights(settings: tuple[str, ...], steps: int, files: int) -> None:
    recipe = load_recipe(DEBUG, settings)
    model = outline(recipe, COCO_17)
    assert plan_stages(recipe, 12, 1)[-1].end == steps
    one = 4 * sum(p.numel() for p in model.parameters())
    assert needs_of(recipe, 17, 12, Launch()).disk["weights"] == files * one


def test_the_disk_holds_an_adapter_beside_each_file_of_weights() -> None:
    fixed = budget._Fixed(0, 0, 0, 0, 0, saved=100, adapter=10)
    disk = budget._disk(load_recipe(DEBUG), 12, fixed)
    assert disk["weights"] == 10 * disk["adapters"] > 0


def debug_budget(room: Room, *flags: str) -> Budget:
    recipe = load_recipe(DEBUG, flags)
    return Budget(recipe, 17, 12, plan_stages(recipe, 12, 1), Launch(), room, Path("runs/debug"))


PLENTY = Room(1 << 40, None, 1 << 40, "the CPU")


@pytest.mark.usefixtures("by_formula")
def test_what_fits_is_not_refused() -> None:
    budget = debug_budget(PLENTY)
    assert refusals(budget) == []
    text = table(budget)
    for words in ("steps", "96", "stage 1, 128 x 192, 4 steps of 8", "memory of the CPU", "disk of runs/debug"):
        assert words in text


@pytest.mark.parametrize("share", [0.9, 0.6])
@pytest.mark.usefixtures("by_formula")
def test_the_named_flags_make_it_fit(share: float) -> None:
    flags = ("--hardware.gradient-checkpointing", "off", "--hardware.batch-per-device", "8")
    full = debug_budget(PLENTY, *flags)
    tight = replace(full, room=replace(PLENTY, memory=int(share * full.needs.peak)))
    [problem] = refusals(tight)
    assert problem.startswith("a step needs ") and "the CPU has " in problem
    assert "it fits with --hardware." in problem and "--budget warn" in refusal([problem])
    ways = [way.split() for way in problem.partition("it fits with ")[2].split(" or ")]
    assert ways
    for way in ways:
        assert tight.needs_with(changed(tight.recipe, way)).peak <= tight.room.memory


@pytest.mark.usefixtures("by_formula")
def test_shared_memory_and_disk_are_refused_with_what_fits() -> None:
    flags = ("--hardware.workers", "8", "--checkpoints.weights-every", "1")
    full = debug_budget(PLENTY, *flags)
    room = replace(PLENTY, shared=full.needs.shared // 2, disk=int(0.8 * sum(full.needs.disk.values())))
    shared, disk = refusals(replace(full, room=room))
    assert "--shm-size=1g" in shared and "it fits with --hardware.workers 4" in shared
    assert "it fits with --checkpoints.weights-every 0" in disk
    [hopeless] = refusals(debug_budget(replace(PLENTY, memory=1)))
    assert "no change of the recipe that is known here makes it fit" in hopeless


def test_several_changes_are_named_together_without_those_that_do_not_help() -> None:
    recipe = load_recipe(DEBUG)
    ladder = [("--seed", "1"), ("--name", "other"), ("--log.every", "7")]

    def fits(recipe: Recipe) -> bool:
        return (recipe.seed, recipe.log.every) == (1, 7)

    assert fitting_flags(recipe, ladder, fits) == [("--seed", "1", "--log.every", "7")]
    assert fitting_flags(recipe, ladder[:2], fits) == []


def test_changes_that_exclude_each_other_are_not_named_together() -> None:
    short = ["--hardware.batch-per-device", "2", "--validation.batch", "1"]
    recipe = load_recipe(BODY, ["--optimizer.ema-decay", "0.9", *short])

    def lighter(recipe: Recipe) -> bool:
        return recipe.hardware.weights_dtype == "bf16" and recipe.hardware.batch_per_device == 1

    [flags] = fitting_flags(recipe, memory_ladder(recipe, "cuda"), lighter)
    assert " ".join(flags) == ("--hardware.batch-per-device 1 --hardware.weights-dtype bf16 --optimizer.ema-decay 0")
    assert changed(recipe, flags).optimizer.kind == "adamw"


def test_lora_is_named_with_its_learning_rate() -> None:
    recipe = load_recipe(BODY)
    [flags] = fitting_flags(recipe, memory_ladder(recipe, "cuda"), lambda changed: changed.lora.rank > 0)
    assert flags == ("--lora.rank", "16", "--stages.0.learning-rate", "0.0003")
    with_lora = changed(recipe, flags)
    names = {flags[0] for flags in memory_ladder(with_lora, "cuda")}
    assert "--hardware.weights-dtype" in names and not names & {"--lora.rank", "--optimizer.kind"}


def test_the_ladder_holds_only_changes_of_the_recipe() -> None:
    for path in (DEBUG, BODY):
        recipe = load_recipe(path, ["--optimizer.ema-decay", "0.9"])
        for device in ("cpu", "cuda"):
            for flags in memory_ladder(recipe, device):
                assert changed(recipe, flags) != recipe


@pytest.mark.slow  # the model in several sizes, without values
def test_activations_depend_on_the_settings() -> None:
    def activations(*flags: str) -> int:
        return needs_of(load_recipe(DEBUG, flags), 17, 12, Launch(device="cuda")).memory["activations"]

    usual = activations()
    assert activations("--hardware.batch-per-device", "2") < usual < activations("--hardware.batch-per-device", "8")
    assert activations("--hardware.gradient-checkpointing", "off") > usual
    assert activations("--hardware.mixed-precision", "bf16") < usual
    assert activations("--rgb-reconstruction", "off") < usual


@pytest.mark.slow  # models of full size, without values
def test_a_card_of_24_gb_is_told_what_fits() -> None:
    recipe, launch = load_recipe(BODY), Launch(device="cuda")
    stages = plan_stages(recipe, 149_813, 1)
    room = Room(int(23.5 * budget.GIB), None, 1 << 50, "cuda:0")
    full = Budget(recipe, 17, 149_813, stages, launch, room, Path("runs/body"))
    assert full.needs.memory["optimizer states"] == pytest.approx(2 * 4 * 869.3e6, rel=0.01)
    [problem] = refusals(full)
    assert "it fits with --hardware.batch-per-device" in problem


def command(data: Path, out: Path, *more: str) -> list[str]:
    return ["--recipe", str(DEBUG), "--data.root", str(data), "--out", str(out), "--log.tensorboard", "off", *more]


@pytest.mark.usefixtures("by_formula")
def test_the_plan_trains_nothing(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(command(data, tmp_path / "run", "--plan")) == 0
    assert "optimizer states" in capsys.readouterr().out and not (tmp_path / "run").exists()


@pytest.mark.slow  # trains a few steps
def test_a_plan_can_measure_the_speed(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    short = ["--stages.0.samples", "16", "--stages.1.samples", "8"]
    assert main(command(data, tmp_path / "run", "--plan", "measure", *short)) == 0
    assert "stage 1: " in (text := capsys.readouterr().out) and "in all, without validation" in text
    assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("by_formula")
@pytest.mark.parametrize("mode", ["refuse", pytest.param("warn", marks=pytest.mark.slow)])
def test_a_run_that_does_not_fit_is_refused_before_its_weights_are_read(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch, mode: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(budget_table, "room_of", lambda *_: replace(PLENTY, memory=2 * MIB))
    monkeypatch.setenv("SDPOSE_HOME", str(tmp_path / "nothing"))
    settings = ["--model.base", "sd2-base"] if mode == "refuse" else ["--stages.0.samples", "8"]
    settings += ["--validation.people", "0", "--stages.1.samples", "8", "--budget", mode]
    assert main(command(data, tmp_path / "run", *settings)) == (1 if mode == "refuse" else 0)
    said = capsys.readouterr().err + caplog.text
    assert "a step needs " in said and ("--budget warn" in said) == (mode == "refuse")
    assert (tmp_path / "run").exists() == (mode == "warn")
    assert ("16/16 [" in said) == (mode == "warn")  # the bar counts samples


def test_the_room_is_that_of_the_machine(tmp_path: Path) -> None:
    accelerator = SimpleNamespace(device=torch.device("cpu"))
    one, two = (budget.room_of(accelerator, Launch(n, n), tmp_path / "not" / "yet") for n in (1, 2))
    assert 0 < two.memory < one.memory and one.disk > 0 and one.device == "the CPU"


def test_what_a_run_has_written_counts_as_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budget.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    (weights := tmp_path / "run" / "weights").mkdir(parents=True)
    before = budget.room_of(SimpleNamespace(device=torch.device("cpu")), Launch(), tmp_path / "run").disk
    (weights / "best.safetensors").write_bytes(bytes(50))
    after = budget.room_of(SimpleNamespace(device=torch.device("cpu")), Launch(), tmp_path / "run").disk
    assert after == before + 50


def test_hours_grow_with_the_pixels() -> None:
    stages = plan_stages(load_recipe(DEBUG), 12, 1)  # 8 steps of 64 x 128, 4 of 128 x 192: three times the pixels
    assert hours_left(stages, 0, stages[0], 1.0) * 3600 == pytest.approx(64 + 3 * 32)
    assert hours_left(stages, 10, stages[1], 2.0) * 3600 == pytest.approx(8)
    assert hours_of(stages, [2.0, 1.0]) * 3600 == pytest.approx(64)
    pace = Pace(stages)
    said = [pace.add(step, stages[0], seconds) for step, seconds in enumerate((90, 4, 4, 4, 40, 4), 1)]
    assert [text is None for text in said] == [True] * 4 + [False, True]
    assert said[4] == "2.0 samples per second: 60 seconds to the end"
    assert [hours_text(hours) for hours in (336, 16.42, 0.5)] == ["14.0 days", "16.4 hours", "30 minutes"]
    assert hours_text(0.01) == "36 seconds"
    assert (rate_text(0.25), rate_text(12.34)) == ("4.0 seconds per sample", "12.3 samples per second")
    assert [samples_at(stages, step) for step in (0, 7, 9, 12)] == [0, 56, 72, 96]


def test_old_weights_go_only_if_they_are_of_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for step in (2, 4, 6, 8, 10, 12):
        metadata = {"training_step": str(step if step != 4 else 99)}
        save_file({"weight": torch.zeros(1)}, tmp_path / f"step-{step:08d}.safetensors", metadata=metadata)
    for name in ("best.safetensors", "step-00000003.txt", "step-00000003.safetensors"):
        (tmp_path / name).write_text("mine")
    (tmp_path / "step-00000001.safetensors").symlink_to(tmp_path / "best.safetensors")
    remove_old_weights(tmp_path, 10, CheckpointRecipe(weights=2, weights_every=6))
    left = sorted(path.name.removesuffix(".safetensors") for path in tmp_path.iterdir())
    steps = [f"step-0000000{step}" for step in (1, 3)] + ["step-00000003.txt"]
    assert left == ["best", *steps, *(f"step-{step:08d}" for step in (4, 6, 8, 10, 12))]
    assert caplog.text.count("not removed") == 3


def test_needs_are_the_larger_of_a_step_and_a_validation() -> None:
    assert Needs({"weights": 3, "gradients": 4}, 9, 0, {}).peak == 9
    assert Needs({"weights": 3, "gradients": 4}, 5, 0, {}).peak == 7
