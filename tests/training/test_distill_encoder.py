"""A small encoder is taught to replace the VAE's: its crops, its errors, whole runs, and what loads its file."""

from __future__ import annotations

import copy
import json
import logging
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from tiny import make_checkpoint, make_model

from distill_encoder import main
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.errors import InputError, SDPoseError
from sdpose_core.model.encoder_config import SIZES, EncoderConfig
from sdpose_core.model.folding import fold_constants
from sdpose_core.model.tiny_encoder import make_encoder
from sdpose_training.distill.budget import needs_of
from sdpose_training.distill.crops import Crops, CropSamples, Pictures, held_out, random_box, read_pictures
from sdpose_training.distill.errors_of import ErrorSum, relative_error
from sdpose_training.distill.recipe import (
    DistillRecipe,
    PicturesRecipe,
    TeachingStage,
    ValidationRecipe,
    load_distill_recipe,
)
from sdpose_training.distill.setup import Teacher, keep_teacher
from sdpose_training.distill.validation import compare
from sdpose_training.fit.log import RunLog, read_log
from sdpose_training.fit.setup import plan_stages
from sdpose_training.recipe.recipe import CropAugmentation

pytestmark = pytest.mark.usefixtures("fresh_state")

RECIPES = Path(__file__).resolve().parents[2] / "training" / "recipes"
PLAIN = CropAugmentation(flip=0, shift=0, scale=0, rotation=0, photometric=False, blur=0, median_blur=0, dropout=0)
TINY = [
    "--recipe", str(RECIPES / "distill_encoder_cpu.toml"), "--student.widths", "8,16", "--student.blocks", "0,1",
    "--stages.0.input-size", "64,128", "--stages.1.input-size", "64,128", "--log.every", "1", "--budget", "off",
    "--optimizer.warmup-steps", "0", "--validation.batch", "12",
]  # fmt: skip


def command(data: Path, checkpoint: Path, out: Path, *more: str) -> list[str]:
    labels = data / "annotations"
    people = ["--annotations", str(labels / "train.json"), "--data.val-annotations", str(labels / "val.json")]
    return ["--weights", str(checkpoint), "--pictures", str(data / "images"), *people, "--out", str(out), *TINY, *more]


def pictures(folder: Path, count: int) -> Path:
    rng = np.random.default_rng(0)
    for i in range(count):
        path = folder / ("more" if i % 2 else ".") / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(path), rng.integers(0, 255, (60 + i, 90, 3), dtype=np.uint8))
    return folder


# --- crops -----------------------------------------------------------------------------------------------------------


def test_held_out_pictures_depend_on_their_names_alone() -> None:
    names = [f"{i}.png" for i in range(200)]
    held = held_out(names, 0.1)
    assert len(held) == 20 and held == held_out(names[::-1], 0.1)
    without = [name for name in names if name not in sorted(held)[:5]]
    assert len(held_out(without, 0.1) & held) >= 14  # mostly the same ones after some were removed
    assert len(held_out(["a", "b"], 0.01)) == 1 and len(held_out(["a", "b"], 0.99)) == 1


def test_random_boxes_are_inside_and_of_all_sizes() -> None:
    rng = np.random.default_rng(0)
    boxes = np.stack([random_box(rng, (300, 200)) for _ in range(500)])
    assert (boxes[:, :2] >= 0).all() and (boxes[:, 2:] <= (300.001, 200.001)).all()
    heights = boxes[:, 3] - boxes[:, 1]
    assert heights.min() < 60 and heights.max() > 180
    assert (random_box(rng, (5, 400)) <= (5.001, 400, 5.001, 400.001)).all()  # narrow pictures


def test_pictures_of_subfolders_are_split_and_read_the_same_way_each_time(tmp_path: Path) -> None:
    found = read_pictures(PicturesRecipe(str(pictures(tmp_path, 10)), held_out=0.3), make_model().config.skeleton)
    assert (len(found.train), len(found.val)) == (7, 3) and not set(found.train.files) & set(found.val.files)
    augmentation = CropAugmentation(dropout=0)
    one, other = (CropSamples(found.train, augmentation, (64, 128), seed) for seed in (0, 1))
    assert one[(1, 2)]["input"].shape == (128, 64, 3) and (one[(1, 2)]["input"] == one[(1, 2)]["input"]).all()
    assert (one[(1, 2)]["input"] != one[(2, 2)]["input"]).any() and (
        one[(1, 2)]["input"] != other[(1, 2)]["input"]
    ).any()
    assert (found.val.at_inference(0, (64, 128))[0] == found.val.at_inference(0, (64, 128))[0]).all()


def test_annotated_pictures_are_split_alike_in_any_folder(data: Path, tmp_path: Path) -> None:
    labels, points = str(data / "annotations" / "train.json"), make_model().config.skeleton
    shutil.copytree(data / "images", tmp_path / "elsewhere")
    here, there = (
        read_pictures(PicturesRecipe(str(folder), labels, held_out=0.3), points)
        for folder in (data / "images", tmp_path / "elsewhere")
    )
    assert len(here.val) and not set(here.train.files) & set(here.val.files)
    assert [file.name for file in here.val.files] == [file.name for file in there.val.files]


def test_boxes_without_keypoints_are_enough(data: Path, tmp_path: Path) -> None:
    content = json.loads((data / "annotations" / "train.json").read_text())
    points, everybody = make_model().config.skeleton, len(content["annotations"])

    def read(change: Callable[[int, dict], None]) -> Pictures:
        changed = copy.deepcopy(content)
        for number, each in enumerate(changed["annotations"]):
            change(number, each)
        (tmp_path / "boxes.json").write_text(json.dumps(changed))
        return read_pictures(PicturesRecipe(str(data / "images"), str(tmp_path / "boxes.json"), held_out=0.3), points)

    as_it_is = read(lambda *_: None)
    for change in (lambda _, each: each.pop("keypoints"), lambda _, each: each.update(keypoints=[0] * 51)):
        found = read(change)
        assert len(found.train) + len(found.val) == everybody and not found.problems
        assert found.train.files == as_it_is.train.files
        np.testing.assert_array_equal(found.train.people.boxes_xyxy, as_it_is.train.people.boxes_xyxy)
    some = read(lambda number, each: each.pop("keypoints") if number % 2 else None)
    settings = ValidationRecipe(batch=12)
    model = make_model()
    figures = [compare(Accelerator(cpu=True), model, model.vae, each.val, settings) for each in (some, found)]
    assert 0 <= figures[0]["AP"] == figures[0].pop("AP_full_encoder"), "of those with keypoints"
    assert {**figures[1], "AP": figures[0]["AP"]} == figures[0], "of the same crops, without AP"
    with pytest.raises(InputError, match="no person with a box among"):
        read(lambda _, each: each.pop("bbox"))


def test_damaged_pictures_are_named_and_replaced(tmp_path: Path) -> None:
    good, bad = (pictures(tmp_path, 1) / "0.png", tmp_path / "bad.png")
    bad.write_bytes(b"no picture")
    sample = CropSamples(Crops((good, bad)), PLAIN, (64, 128), 0)[(0, 1)]
    assert sample["index"] in (0, 1) and any("bad.png" in problem for problem in sample["problems"])
    with pytest.raises(SDPoseError, match=r"pictures in a row cannot be read: .*bad.png"):
        CropSamples(Crops((bad,)), PLAIN, (64, 128), 0)[(0, 0)]


# --- errors ----------------------------------------------------------------------------------------------------------


def test_errors_are_in_units_of_the_targets_spread() -> None:
    target = torch.randn(6, 3, 8, 4, generator=torch.Generator().manual_seed(0)) * 5 + torch.arange(3)[:, None, None]
    mean = target.mean(dim=(0, 2, 3), keepdim=True).expand_as(target)
    assert relative_error(target, target) == 0
    assert float(relative_error(mean, target)) == pytest.approx(1)
    assert float(relative_error(target + 3 * (mean - target), target)) == pytest.approx(9)
    parts, found = [ErrorSum(), ErrorSum()], target + 0.5 * (mean - target)
    for i, part in enumerate(parts):
        part.add(found[3 * i : 3 * i + 2], target[3 * i : 3 * i + 2])
        part.add(found[3 * i + 2 : 3 * i + 3], target[3 * i + 2 : 3 * i + 3])
    assert parts[0].join(parts[1]).rms == pytest.approx(0.5)
    assert ErrorSum().rms == 0


# --- sizes and operations --------------------------------------------------------------------------------------------


@pytest.mark.slow  # seconds
def test_operations_and_memory_of_the_recipe_for_a_card() -> None:
    """GFLOP at 768 x 1024 as in training/README.md; the tiny U-Net stands for the full one, which takes seconds."""
    recipe = load_distill_recipe(RECIPES / "distill_encoder.toml")
    stages = plan_stages(recipe, 1000, 1)
    needs = needs_of(recipe, make_model().config, EncoderConfig(), stages, "cuda")
    assert needs.encoder == pytest.approx(132, abs=0.5)
    assert needs.operations[0] == pytest.approx(needs.vae + 3 * needs.encoder, rel=0.02)  # forward and backward
    assert needs.operations[1] > needs.operations[0]
    assert needs.memory["encoder"] == needs.memory["gradients"] == 4 * 4_867_492
    with torch.device("meta"):
        taesd = make_encoder(EncoderConfig("taesd", *SIZES["taesd"]))
    assert sum(value.numel() for value in taesd.parameters()) == 1_222_532


# --- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("arguments", "words"), [
    (["--pictures", "."], "--weights: expected the SDPose checkpoint"),
    (["--weights", "CHECKPOINT"], r"--pictures \(not given\): expected a folder"),
    (["--weights", "CHECKPOINT", "--pictures", "nowhere"], "--pictures nowhere: expected a folder of pictures"),
    (["--weights", "CHECKPOINT", "--stages.1.input-size", "64,64"], "the same input_size in all stages"),
    (["--weights", "CHECKPOINT", "--hardware.weights-dtype", "bf16"], 'the encoder is trained in "fp32"'),
    (["--weights", "CHECKPOINT", "--student.widths", "8"], "the layout 'small' has 2"),
    (["--weights", "CHECKPOINT", "--stages.0.latents", "0"], "expected a weight above 0"),
    (["--weights", "CHECKPOINT", "--data.val-annotations", "v.json"], "val_annotations without annotations"),
    (["--weights", "CHECKPOINT", "--stages.0.feature", "1"], "did you mean 'stages.N.features'"),
])  # fmt: skip
def test_mistakes_are_one_line(
    checkpoint: Path, tmp_path: Path, arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [str(checkpoint) if argument == "CHECKPOINT" else argument for argument in arguments]
    more = [argument for argument in TINY if argument not in ("--student.widths", "8,16")]
    assert main([*more, *given, "--out", str(tmp_path / "run")]) == 1
    [line] = [line for line in capsys.readouterr().err.splitlines() if line.startswith("distill_encoder: ")]
    import re

    assert re.search(words, line), line


def test_a_run_keeps_its_teacher(tmp_path: Path) -> None:
    model = make_model()
    keep_teacher(tmp_path, Teacher(model, "a.safetensors", ("12", "34")))
    keep_teacher(tmp_path, Teacher(model, "renamed.safetensors", ("34", "12")))
    with pytest.raises(InputError, match="was started with other weights"):
        keep_teacher(tmp_path, Teacher(model, "b.safetensors", ("56",)))


def test_the_recipes_are_complete() -> None:
    for name in ("distill_encoder", "distill_encoder_cpu"):
        recipe = load_distill_recipe(RECIPES / f"{name}.toml")
        assert recipe.name == name and [stage.needs_unet for stage in recipe.stages] == [False, True]
    assert DistillRecipe().stages == (TeachingStage(epochs=1),)


# --- learning --------------------------------------------------------------------------------------------------------


def test_features_pull_at_the_encoder_through_the_frozen_model() -> None:
    model = fold_constants(make_model())
    model.enable_gradient_checkpointing()
    encoder = make_encoder(EncoderConfig("small", (8, 8), (0, 0)))
    images = torch.rand(1, 3, 128, 64) * 2 - 1
    with torch.no_grad():
        exact = model.features_of(model.latents(images))
    relative_error(model.features_of(encoder(images)), exact).backward()
    assert all(weight.grad is not None and weight.grad.abs().max() > 0 for weight in encoder.parameters())
    assert all(weight.grad is None for weight in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["small"])
def test_taught_long_on_one_picture_it_gives_the_same_features(layout: str) -> None:
    model = fold_constants(make_model())
    torch.manual_seed(0)
    widths, blocks = ((32, 64), (1, 2)) if layout == "small" else ((32,), (0, 0, 1, 2))
    encoder = make_encoder(EncoderConfig(layout, widths, blocks))
    coarse = torch.rand(1, 3, 16, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    images = torch.nn.functional.interpolate(coarse, size=(128, 64), mode="bicubic").clamp(-1, 1)
    with torch.no_grad():
        target = model.latents(images)
        exact = model.features_of(target)
    steps = 400
    optimizer = torch.optim.AdamW(encoder.parameters(), 3e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        latents = encoder(images)
        (relative_error(latents, target) + relative_error(model.features_of(latents), exact)).backward()
        optimizer.step()
        optimizer.zero_grad()
        schedule.step()
    with torch.no_grad():
        assert relative_error(model.features_of(encoder(images)), exact) < 1e-3


@pytest.mark.slow
def test_a_run_learns_and_its_file_is_used(
    data: Path, checkpoint: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "run"
    length = ["--stages.0.samples", "800", "--stages.1.samples", "160", "--validation.every", "50"]
    assert main(command(data, checkpoint, out, *length)) == 0
    steps, measured = (read_log(out / "log.jsonl", kind) for kind in ("step", "validation"))
    assert steps[0]["features_loss"] == 0 < steps[-1]["features_loss"]
    assert steps[-1]["latents_loss"] < 0.3 * steps[0]["latents_loss"]
    assert measured[-1]["latents_error"] < 0.8 and "AP_full_encoder" in measured[-1]
    file = out / "encoder.safetensors"
    assert load_file(file).keys() == load_file(out / "weights" / "best.safetensors").keys()
    model = load_sdpose(checkpoint, device="cpu", tiny_encoder=file)
    stated = model.approximations["tiny_encoder"]
    assert stated["layout"] == "small" and stated["fits_weights"] is True and "other weights" not in caplog.text
    other = make_checkpoint(tmp_path / "other.safetensors", seed=3)
    with caplog.at_level(logging.WARNING):
        stated = load_sdpose(other, device="cpu", tiny_encoder=file).approximations["tiny_encoder"]
    assert stated["fits_weights"] is False and stated["taught_for"]["name"] == checkpoint.name
    assert "was taught for other weights (tiny.safetensors) than other.safetensors" in caplog.text
    start = ["--start", str(file), "--stages.0.samples", "8", "--stages.1.samples", "8"]
    assert main(command(data, checkpoint, tmp_path / "more", *start)) == 0
    assert read_log(tmp_path / "more" / "log.jsonl", "step")[0]["latents_loss"] < 0.3 * steps[0]["latents_loss"]


@pytest.mark.slow
def test_stopped_and_resumed_is_bit_equal(
    data: Path, checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    length = ["--stages.0.samples", "24", "--stages.1.samples", "24", "--optimizer.ema-decay", "0.9"]
    assert main(command(data, checkpoint, tmp_path / "whole", *length)) == 0
    out, write = tmp_path / "stopped", RunLog.write

    def terminate_at_four(self: RunLog, kind: str, step: int, **values: object) -> None:
        write(self, kind, step, **values)
        if kind == "step" and step == 4:
            signal.raise_signal(signal.SIGTERM)

    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "write", terminate_at_four)
        assert main(command(data, checkpoint, out, *length)) == 0
    assert not (out / "encoder.safetensors").exists()
    assert main(command(data, checkpoint, out, *length)) == 1  # without --resume an existing run is not touched
    assert main(command(data, checkpoint, out, *length, "--resume", "auto")) == 0
    mine, theirs = (read_log(run / "log.jsonl", "step") for run in (out, tmp_path / "whole"))
    assert [(s["step"], s["loss"], s["gradient_norm"]) for s in mine] == [
        (s["step"], s["loss"], s["gradient_norm"]) for s in theirs
    ]
    ours, whole = (load_file(run / "encoder.safetensors") for run in (out, tmp_path / "whole"))
    assert all(ours[name].equal(whole[name]) for name in whole)
    mine, theirs = (read_log(run / "log.jsonl", "validation")[-1] for run in (out, tmp_path / "whole"))
    assert json.dumps({**mine, "seconds": 0}) == json.dumps({**theirs, "seconds": 0})
