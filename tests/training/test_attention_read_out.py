"""GenLoc's way behind the same trainer, evaluator and ablation: a frozen U-Net, learned embeddings and read-out."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from accelerate_state import forget_accelerate
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from paths import GOLDEN, ROOT
from safetensors.torch import load_file, save_file

from evaluate import main as evaluate
from sdpose_core.checkpoints.layouts import inspect_checkpoint, read_checkpoint
from sdpose_core.errors import InputError
from sdpose_core.model.attention_maps import AttentionReadOut
from sdpose_core.skeletons import COCO_17
from sdpose_training.ablation.arms import read_list
from sdpose_training.evaluation.paper_tables import TABLES
from sdpose_training.features.models import ModelOptions, load_feature_model
from sdpose_training.fit.budget import Launch, needs_of
from sdpose_training.fit.budget_flags import memory_ladder
from sdpose_training.fit.log import read_log
from sdpose_training.fit.losses import heatmap_loss
from sdpose_training.fit.starting_weights import starting_model
from sdpose_training.fit.trained_parts import choose_trained
from sdpose_training.recipe.recipe import load_recipe
from train import main as train

pytestmark = pytest.mark.usefixtures("fresh_state")

RECIPES = ROOT / "training" / "recipes"
DEBUG = RECIPES / "debug_cpu.toml"
MAPS = ["--model.read-out", "cross_attention", "--model.feature-levels", "F1,F2,F3", "--rgb-reconstruction", "off"]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A folder in Stable Diffusion's layout."""
    for part in ("unet", "vae"):
        shutil.copytree(GOLDEN / "tiny_ckpt" / part, tmp_path / "sd" / part)
    return tmp_path / "sd"


def test_only_embeddings_and_read_out_are_trained_unless_the_recipe_says_more(base: Path) -> None:
    recipe = load_recipe(DEBUG, [*MAPS, "--model.base", str(base)])
    start = starting_model(recipe, COCO_17)
    choose_trained(start.model, recipe)
    trained = {name for name, parameter in start.model.named_parameters() if parameter.requires_grad}
    assert trained == {f"head.{name}" for name, _ in start.model.head.named_parameters()} == set(start.new)
    stored = load_file(base / "unet" / "diffusion_pytorch_model.safetensors")
    assert start.model.unet.conv_in.weight.equal(stored["conv_in.weight"].float())
    assert start.model.unet.class_embedding is None
    more = load_recipe(DEBUG, [*MAPS, "--model.base", str(base), "--model.train-unet", "on"])
    choose_trained(start.model, more)
    assert all(p.requires_grad for name, p in start.model.named_parameters() if not name.startswith("vae."))


def test_the_base_s_empty_prompt_is_the_first_background(base: Path) -> None:
    text = torch.randn(1, 2, 16)
    save_file({"empty_prompt_embedding": text}, base / "empty_prompt_embedding.safetensors")
    head = starting_model(load_recipe(DEBUG, [*MAPS, "--model.base", str(base)]), COCO_17).model.head
    assert isinstance(head, AttentionReadOut) and torch.equal(head.background_embeddings, text[0])


def test_a_base_as_stable_diffusion_1_5(base: Path) -> None:
    """Eight heads everywhere (here two), 1 x 1 convolutions around the attention, and no word of it in config.json."""
    recipe = load_recipe(DEBUG, [*MAPS, "--model.base", str(base)])
    sizes = asdict(replace(recipe.model.unet, use_linear_projection=False, attention_head_dim=(2,) * 4))
    plain = UNet2DConditionModel(**{**sizes, "attention_head_dim": 2})
    plain.save_pretrained(base / "unet")
    stored = json.loads((base / "unet" / "config.json").read_text())
    kept = {name: value for name, value in stored.items() if name in sizes or name == "_class_name"}
    del kept["use_linear_projection"]
    (base / "unet" / "config.json").write_text(json.dumps(kept))
    start = starting_model(recipe, COCO_17)
    weights = start.model.unet.state_dict()
    assert weights["mid_block.attentions.0.proj_in.weight"].ndim == 4
    assert all(torch.equal(value, plain.state_dict()[name]) for name, value in weights.items())
    maps, _ = start.model.unet(
        torch.zeros(1, 4, 16, 8), start.model.unet.embedding(999, ["pose"]), start.model.text(1), num_pose=1
    )
    assert {level: tuple(each.shape[1:3]) for level, each in maps.items()} == dict.fromkeys(("F1", "F2", "F3"), (17, 4))


def test_the_loss_falls_with_a_frozen_u_net() -> None:
    recipe = load_recipe(DEBUG, MAPS)
    model = starting_model(recipe, COCO_17).model
    trained = choose_trained(model, recipe)
    latents = torch.randn(2, 4, 16, 8, generator=torch.Generator().manual_seed(0))
    target = torch.rand(2, 17, 1, 1).expand(-1, -1, 32, 16)
    optimizer, losses = torch.optim.AdamW(trained, lr=1e-2), []
    for _ in range(12):
        loss = heatmap_loss(model(latents=latents).heatmaps, target, torch.ones(2, 17))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


@pytest.mark.parametrize(("arguments", "message"), [
    (["--rgb-reconstruction", "on"], 'read_out "cross_attention" does not go with rgb_reconstruction: turn it off'),
    (["--lora.rank", "4"], "does not go with lora.rank"),
    (["--hardware.compile", "on"], "does not go with hardware.compile"),
    (["--model.read-out", "features", "--model.train-unet", "on"], 'train_unet is for read_out = "cross_attention"'),
    (["--model.read-out", "attention"], "model.read_out: expected 'features' or 'cross_attention'"),
])  # fmt: skip
def test_settings_that_do_not_go_together(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe(DEBUG, [*MAPS, *arguments])


def test_levels_without_cross_attention_are_told() -> None:
    recipe = load_recipe(DEBUG, [*MAPS, "--model.feature-levels", "F4"])
    with pytest.raises(InputError, match="this U-Net has no cross-attention at F4; choose from F1, F2, F3"):
        starting_model(recipe, COCO_17)


def test_the_recipe_and_the_arms_are_the_papers_contrast() -> None:
    recipe = load_recipe(RECIPES / "genloc_body.toml")
    assert recipe.model.read_out == "cross_attention" and not recipe.model.train_unet
    body = load_recipe(RECIPES / "body.toml")
    assert (recipe.augmentation, recipe.data, recipe.loss) == (body.augmentation, body.data, body.loss)
    for name in ("body", "synthetic", "genloc"):
        arm = next(arm for arm in read_list(RECIPES / f"ablations_{name}.toml").arms if arm.name == "genloc")
        row = {domain: TABLES["1, body"].row("GenLoc (SD1.5)", domain) for domain in ("COCO", "HumanArt")}
        assert arm.paper == {domain: (each.figures["AP"], each.figures["AR"]) for domain, each in row.items() if each}
    ways = {arm.name: arm.recipe for arm in read_list(RECIPES / "ablations_genloc.toml").arms}
    assert {name for name, each in ways.items() if each.model.read_out == "cross_attention"} == {
        "genloc", "genloc_unet",
    }  # fmt: skip
    assert len({(each.stages, each.augmentation, each.seed) for each in ways.values()}) == 1  # the same samples


@pytest.mark.slow  # counts the tensors of four steps
def test_a_frozen_u_net_needs_less_memory() -> None:
    frozen, trained = (load_recipe(DEBUG, [*MAPS, "--model.train-unet", on]) for on in ("off", "on"))
    needs = [needs_of(recipe, 17, 64, Launch()) for recipe in (frozen, trained)]
    assert needs[0].memory["optimizer states"] < needs[1].memory["optimizer states"] / 5


def test_lora_is_not_proposed() -> None:
    assert not any("--lora.rank" in flags for flags in memory_ladder(load_recipe(RECIPES / "genloc_body.toml"), "cuda"))


@pytest.mark.slow  # whole runs
def test_a_run_resumes_bit_for_bit_and_is_evaluated(data: Path, tmp_path: Path) -> None:
    out, again = tmp_path / "run", tmp_path / "again"
    arguments = [
        "--recipe", str(DEBUG), "--data.root", str(data), "--budget", "off", "--log.tensorboard", "off", *MAPS,
        "--validation.every", "0", "--stages.0.samples", "32", "--stages.1.samples", "16",
        "--optimizer.ema-decay", "0.9", "--checkpoints.every", "3", "--checkpoints.weights", "9",
    ]  # fmt: skip
    assert train([*arguments, "--out", str(out)]) == 0
    shutil.copytree(out, again)
    shutil.rmtree(again / "checkpoints" / "step-00000006")
    for path in [*(again / "weights").glob("step-00000006*"), again / "log.jsonl"]:
        path.unlink()
    forget_accelerate()
    assert train([*arguments, "--out", str(again), "--resume", "auto"]) == 0
    paths = [folder / "weights" / "step-00000006.safetensors" for folder in (out, again)]
    first, second = map(load_file, paths)
    assert all(torch.equal(first[name], second[name]) for name in first)
    config, _ = inspect_checkpoint(paths[0])
    assert config.reads_attention and config.feature_levels == ("F1", "F2", "F3")
    assert "cross-attention maps of F1 + F2 + F3" in (out / "weights" / "README.md").read_text()
    start = starting_model(load_recipe(DEBUG, MAPS), COCO_17).model.state_dict()
    changed = {name for name, value in read_checkpoint(paths[0])[1].items() if not torch.equal(value, start[name])}
    assert changed == {name for name in start if name.startswith("head.")}
    assert read_log(out / "log.jsonl", "step")[-1]["rgb_loss"] == 0
    report = tmp_path / "report.json"
    assert evaluate([
        "--checkpoint", str(paths[0]), "--benchmark", "custom", "--data.root", str(data),
        "--annotations", "annotations/val.json", "--images", "images", "--ground-truth-boxes", "--out", str(report),
    ]) == 0  # fmt: skip
    assert "AP" in json.loads(report.read_text())
    with pytest.raises(InputError, match="feature analysis: not for a model"):
        load_feature_model("genloc", str(paths[0]), ModelOptions(device="cpu"))
