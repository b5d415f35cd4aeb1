"""Training after the paper's third version: its start, its two losses from one pass, whole runs, recipes and arms."""

from __future__ import annotations

import logging
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import tiny
import torch
from paths import GOLDEN, ROOT
from safetensors.torch import load_file

from sdpose_core.checkpoints.layouts import read_checkpoint
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.errors import CheckpointError, InputError
from sdpose_core.model.backbone import POSE, RGB
from sdpose_core.model.config import SDPoseConfig
from sdpose_core.skeletons import COCO_17
from sdpose_training.ablation.arms import read_list
from sdpose_training.fit.log import RunLog, read_log
from sdpose_training.fit.losses import heatmap_loss, rgb_loss
from sdpose_training.fit.model_card import _levels_text, _rgb_text
from sdpose_training.fit.starting_weights import Start, outline, starting_model
from sdpose_training.recipe.recipe import Recipe, load_recipe
from train import main

pytestmark = pytest.mark.usefixtures("fresh_state")

RECIPES = ROOT / "training" / "recipes"
DEBUG = RECIPES / "debug_cpu.toml"
VERSION_3 = ["--model.feature-levels", "F1,F2", "--model.aggregation", "gated", "--model.reconstruction", "pose_pass"]
SHORT = [
    *VERSION_3, "--log.tensorboard", "off", "--validation.people", "0", "--hardware.gradient-checkpointing", "off",
    "--stages.0.samples", "40", "--stages.1.samples", "8",
]  # fmt: skip
LAST = "step-00000006.safetensors"


def started(*changes: str) -> Start:
    return starting_model(load_recipe(DEBUG, [*VERSION_3, *changes]), COCO_17)


def command(data: Path, out: Path, *more: str) -> list[str]:
    return ["--recipe", str(DEBUG), "--data.root", str(data), "--out", str(out), "--budget", "off", *SHORT, *more]


def losses(out: Path) -> list[tuple[float, float]]:
    return [(line["heatmap_loss"], line["rgb_loss"]) for line in read_log(out / "log.jsonl", "step")]


# --- the start ------------------------------------------------------------------------------------------------------


def test_from_stable_diffusion_it_starts_as_its_denoiser(tmp_path: Path) -> None:
    """The aggregation adds nothing yet, and the reconstruction is the U-Net's own output, for the label of pose."""
    for part in ("unet", "vae"):
        shutil.copytree(GOLDEN / "tiny_ckpt" / part, tmp_path / "sd2" / part)
    start = started("--model.base", str(tmp_path / "sd2"))
    usual = starting_model(load_recipe(DEBUG, ["--model.base", str(tmp_path / "sd2")]), COCO_17).model
    latents = torch.randn(1, 4, 16, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        embedding, text = usual.unet.embedding(999, [POSE]), start.model.empty_prompt_embedding
        expected = usual.unet(latents, embedding, text, num_pose=0)[1]
        assert start.model(latents=latents, tasks=(RGB,)).rgb_latents.equal(expected)
    assert all("reconstruction" not in name for name in start.new) and "head.aggregation.mix.weight" in start.new


def test_a_random_unet_has_a_random_reconstruction(tmp_path: Path) -> None:
    base = tiny.make_checkpoint(tmp_path / "base.safetensors")
    known = load_file(base)["unet.conv_out.weight"]
    name = "head.reconstruction.out.weight"
    assert started("--model.base", str(base)).model.state_dict()[name].equal(known)
    assert not started("--model.base", str(base), "--model.random-unet", "on").model.state_dict()[name].equal(known)
    at_f2 = started("--model.base", str(base), "--model.feature-levels", "F2,F3")  # of another width
    assert name in at_f2.new and "head.reconstruction.out.bias" in at_f2.new


def test_models_of_both_kinds_start_from_each_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    one = tiny.make_checkpoint(tmp_path / "one.safetensors")
    several = tiny.make_version_3(tmp_path / "several.safetensors")
    latents = torch.randn(1, 4, 16, 8, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = load_sdpose(one, device="cpu", dtype="fp32")(latents=latents).heatmaps
        found = started("--model.base", str(one)).model(latents=latents).heatmaps
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)  # a finished model is where learning starts
    again = started("--model.base", str(several)).model.state_dict()
    assert all(again[name].equal(value) for name, value in load_file(several).items())
    with caplog.at_level(logging.WARNING), pytest.raises(CheckpointError, match="--model.reconstruction pose_pass"):
        starting_model(load_recipe(DEBUG, ["--model.base", str(several)]), COCO_17)
    starting_model(load_recipe(DEBUG, ["--model.base", str(several), "--rgb-reconstruction", "off"]), COCO_17)
    assert "no place for head.aggregation." in caplog.text  # levels that the recipe does not use are told


# --- training -------------------------------------------------------------------------------------------------------


def test_both_losses_fall_from_one_pass() -> None:
    model = started().model.train()
    latents = torch.randn(2, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    target = torch.zeros(2, 17, 16, 16)
    target[:, :, 4:12, 4:12] = 0.5
    optimizer = torch.optim.AdamW([weight for weight in model.parameters() if weight.requires_grad], lr=3e-3)
    seen = []
    for _ in range(12):
        found = model(latents=latents, tasks=(POSE, RGB))
        terms = heatmap_loss(found.heatmaps, target, torch.ones(2, 17)), rgb_loss(found.rgb_latents, latents)
        seen.append([term.item() for term in terms])
        optimizer.zero_grad()
        sum(terms).backward()
        optimizer.step()
    (heatmap, rgb), (last_heatmap, last_rgb) = seen[0], seen[-1]
    assert last_heatmap < 0.5 * heatmap and last_rgb < 0.7 * rgb


def test_choices_that_cannot_work_are_told() -> None:
    for changes, message in (
        (["--model.aggregation", "gated"], "two or more feature levels"),
        (["--model.aggregation", "attention"], "model.aggregation: expected 'sum' or 'gated'"),
        (["--model.reconstruction", "rgb"], "model.reconstruction: expected 'rgb_pass' or 'pose_pass'"),
    ):
        with pytest.raises(InputError, match=message):
            outline(load_recipe(DEBUG, changes), COCO_17)
    sizes = ["--model.unet.out-channels", "8"]  # of layers that this model does not have
    assert started(*sizes).model.head.reconstruction.out.out_channels == 4


@pytest.mark.slow  # trains
def test_a_stopped_run_goes_on_bit_for_bit(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, out, write = tmp_path / "whole", tmp_path / "stopped", RunLog.write
    assert main(command(data, whole)) == 0

    def terminate_at_three(self: RunLog, kind: str, step: int, **values: object) -> None:
        write(self, kind, step, **values)
        if kind == "step" and step == 3:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "write", terminate_at_three)
        assert main(command(data, out)) == 0
    assert len(losses(out)) < 6
    assert main(command(data, out, "--model.aggregation", "sum", "--resume", "auto")) == 1  # another model
    assert main(command(data, out, "--resume", "auto")) == 0
    assert losses(out) == losses(whole) and all(rgb > 0 for _, rgb in losses(out))
    ours, theirs = (load_file(run / "weights" / LAST) for run in (out, whole))
    assert ours.keys() == theirs.keys() and all(ours[name].equal(theirs[name]) for name in theirs)


@pytest.mark.slow  # trains, validates, draws
def test_a_whole_run_with_average_and_pictures(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    more = ["--optimizer.ema-decay", "0.9", "--validation.people", "4", "--hardware.gradient-checkpointing", "on"]
    assert main(command(data, out, *more, "--model.feature-levels", "F2,F3")) == 0
    config, state, _ = read_checkpoint(out / "weights" / "best.safetensors", with_rgb_branch=True)
    assert (config.aggregation, config.reconstruction) == ("gated", "pose_pass")
    assert "head.reconstruction.out.weight" in state and not any("up_blocks.3" in name for name in state)
    card = (out / "weights" / "README.md").read_text()
    assert "F2 + F3 (gated aggregation)" in card and "RGB task on, from the pose pass" in card
    assert next((out / "pictures").iterdir()).exists()


@pytest.mark.slow  # trains
def test_lora_writes_an_adapter_that_is_the_merged_weights(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("peft")
    base = tiny.make_checkpoint(tmp_path / "mine.safetensors")
    out = tmp_path / "run"
    assert main(command(data, out, "--model.base", str(base), "--lora.rank", "4")) == 0
    merged = load_sdpose(out / "weights" / LAST, device="cpu").state_dict()
    loaded = load_sdpose(out / "adapters" / LAST, base=base, device="cpu").state_dict()
    assert loaded.keys() == merged.keys() and all(loaded[name].equal(merged[name]) for name in merged)
    assert "head.aggregation.mix.weight" in load_file(out / "adapters" / LAST)


# --- recipes and arms -----------------------------------------------------------------------------------------------


def same_but(recipe: Recipe, other: Recipe, **model: object) -> bool:
    return replace(recipe, name=other.name, model=replace(recipe.model, **model)) == other


@pytest.mark.parametrize(("name", "levels"), [("body", ("F1", "F2")), ("wholebody", ("F2", "F3"))])
def test_the_recipes_differ_from_the_second_version_only_where_they_say(name: str, levels: tuple[str, ...]) -> None:
    usual, recipe = load_recipe(RECIPES / f"{name}.toml"), load_recipe(RECIPES / f"{name}_v3.toml")
    assert same_but(usual, recipe, feature_levels=levels, aggregation="gated", reconstruction="pose_pass")
    text = (RECIPES / f"{name}_v3.toml").read_text()
    assert text.count("guess:") == 5 and "only the abstract" in text


@pytest.mark.parametrize(("name", "key"), [("body", "body"), ("wholebody", "wholebody"), ("synthetic", "body")])
def test_the_arms_take_the_third_version_apart(name: str, key: str) -> None:
    arms = {arm.name: arm.recipe.model for arm in read_list(RECIPES / f"ablations_{name}.toml").arms}
    recipe, usual = load_recipe(RECIPES / f"{key}_v3.toml").model, load_recipe(RECIPES / f"{key}.toml").model
    choices = {n: (m.feature_levels, m.aggregation, m.reconstruction) for n, m in arms.items() if n.startswith("v3")}
    levels, one = recipe.feature_levels, usual.feature_levels
    expected = {
        "v3": (levels, "gated", "pose_pass"), "v3_sum": (levels, "sum", "pose_pass"),
        "v3_rgb_pass": (levels, "gated", "rgb_pass"), "v3_one_level": (one, "sum", "pose_pass"),
    }  # fmt: skip
    assert {name: choice for name, choice in choices.items() if name != "v3_no_rgb"} == expected


def test_the_levels_are_the_two_best_of_table_2() -> None:
    """The rule by which they were chosen, as the abstract does not name them."""
    for name in ("body", "wholebody"):
        arms = read_list(RECIPES / f"ablations_{name}.toml").arms
        means = {
            arm.recipe.model.feature_levels[0]: sum(ap for ap, _ in arm.paper.values()) / len(arm.paper)
            for arm in arms
            if arm.name in ("full", "f1", "f2", "f3", "f4")
        }
        best = sorted(sorted(means, key=lambda level: -means[level])[:2])
        assert load_recipe(RECIPES / f"{name}_v3.toml").model.feature_levels == tuple(best)


def test_the_card_names_levels_and_task() -> None:
    recipe = load_recipe(RECIPES / "body_v3.toml")
    assert _levels_text(tiny.VERSION_3) == "F1 + F2 (gated aggregation)" and _levels_text(SDPoseConfig()) == "F1"
    assert _rgb_text(recipe) == "on, from the pose pass"
    assert _rgb_text(replace(recipe, rgb_reconstruction=False)) == "off"
