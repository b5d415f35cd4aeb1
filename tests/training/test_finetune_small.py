"""Fine-tuning on little data: schedule, early stop, style filters, and a whole run of `finetune_small.toml`."""

from __future__ import annotations

import shutil
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import tiny
import torch
from paths import ROOT
from safetensors.torch import load_file

import train
from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_17
from sdpose_training.data.annotations import People, read_annotations, read_people
from sdpose_training.data.photometric import repaint
from sdpose_training.data.samples import PeopleSamples, SampleSettings
from sdpose_training.fit import validation
from sdpose_training.fit.log import RunLog, read_log
from sdpose_training.fit.optimizers import make_optimizer, parameter_groups, set_learning_rate
from sdpose_training.fit.setup import learning_rate, passes_multiple, plan_stages, sample_settings
from sdpose_training.fit.state import Progress
from sdpose_training.recipe.recipe import AugmentationRecipe, OptimizerRecipe, Recipe, Stage, StyleName, load_recipe
from sdpose_training.styles.filters import FILTERS

SMALL = ROOT / "training" / "recipes" / "finetune_small.toml"
BODY = ROOT / "training" / "recipes" / "body.toml"
PLAIN = AugmentationRecipe(half_body=0, scale_range=(0.9, 1.1), photometric=False, blur=0, median_blur=0, dropout=0)
SETTINGS = SampleSettings((64, 128), 2.0, 3, with_clean=True, seed=0)


@pytest.fixture
def people(data: Path) -> People:
    return read_people(read_annotations(data / "annotations" / "train.json"), data / "images", COCO_17)[0]


def rates(path: Path, people: int, *overrides: str) -> list[float]:
    recipe = load_recipe(path, overrides)
    (plan,) = plan_stages(recipe, people, 1)
    return [learning_rate(recipe.optimizer, plan, step) for step in range(plan.steps)]


# --- schedule --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("people", "steps", "warm"), [(100, 250, 13), (500, 1250, 63), (5000, 12500, 625)])
def test_the_warm_up_is_a_share_of_the_steps(people: int, steps: int, warm: int) -> None:
    found = np.array(rates(SMALL, people))
    assert len(found) == steps and found.argmax() == warm - 1
    assert found.max() == pytest.approx(3e-5, rel=0.01) and 0 < found[-1] < 3e-9
    assert found[0] == pytest.approx(3e-5 / warm)


def test_the_paper_s_recipe_never_ends_its_warm_up_on_500_people() -> None:
    found = rates(BODY, 500, "--stages.0.epochs", "20")
    assert len(found) == 79 and found[-1] == max(found) == pytest.approx(4.74e-6)


def test_steps_win_over_the_share() -> None:
    found = rates(SMALL, 500, "--optimizer.warmup-steps", "10")
    assert int(np.argmax(found)) == 9


def test_new_parameters_have_a_rate_of_their_own() -> None:
    model = torch.nn.ModuleDict({"unet": torch.nn.Linear(2, 2), "head": torch.nn.Linear(2, 3)})
    model["unet"].bias.requires_grad_(False)
    factor = OptimizerRecipe(new_learning_rate_factor=10.0)
    for recipe, new, expected in (
        (factor, ["head.weight"], {1.0: 2, 10.0: 1}),
        (factor, [], {1.0: 3}),
        (OptimizerRecipe(), ["head.weight"], {1.0: 3}),
    ):
        optimizer = make_optimizer(parameter_groups(model, new, recipe), recipe, 1.0)
        set_learning_rate(optimizer, 3e-5)
        found = {group["lr"] / 3e-5: len(group["params"]) for group in optimizer.param_groups}
        assert found == pytest.approx(expected)


# --- validation by epochs, early stop --------------------------------------------------------------------------------


@pytest.mark.parametrize("epochs", [0.5, 1.0, 3.0])
def test_validations_fall_on_the_first_step_of_each_epoch_that_is_full(epochs: float) -> None:
    """13 people, batches of 4, then of 6: no epoch ends with a step."""
    stages = (Stage(samples=60, total_batch=4), Stage(samples=60, total_batch=6))
    plans = plan_stages(Recipe(stages=stages), 13, 1)
    seen = np.cumsum([0] + [4] * 15 + [6] * 10)
    found = [step for step in range(1, 26) if passes_multiple(plans, step, 13 * epochs)]
    expected = [int(np.argmax(seen >= full)) for full in np.arange(13 * epochs, 121, 13 * epochs)]
    assert found == sorted(set(expected)) and len(found) == int(120 / (13 * epochs))
    assert not any(passes_multiple(plans, step, 0) for step in range(30))


@pytest.mark.parametrize(("patience", "aps", "last", "best"), [
    (2, [0.1, 0.2, 0.3, 0.4, 0.5], None, 5),
    (2, [0.0, 0.0, 0.0, 0.1, 0.0, 0.0, 0.9], 6, 4),  # a new head begins at 0
    (2, [0.1, 0.3, 0.2, 0.31, 0.1, 0.31, 0.9], 6, 4),
    (1, [0.2, 0.1], 2, 1),
    (0, [0.2, 0.1, 0.1, 0.1, 0.1], None, 1),
])  # fmt: skip
def test_a_run_ends_after_the_patience_without_a_better_ap(
    patience: int, aps: list[float], last: int | None, best: int
) -> None:
    progress = Progress()
    for progress.step, ap in enumerate(aps, 1):
        progress.judge(ap)
        if progress.exhausts(patience):
            break
    assert progress.exhausts(patience) == (last is not None)
    assert (progress.step, progress.best_step, progress.best_ap) == (last or len(aps), best, aps[best - 1])


def test_patience_without_validations_is_refused() -> None:
    with pytest.raises(InputError, match=r"validation: patience counts validations.*set every_epochs or every"):
        load_recipe(SMALL, ["--validation.every-epochs", "0"])
    assert load_recipe(SMALL, ["--validation.every-epochs", "0", "--validation.people", "0"])


# --- style filters ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("style", FILTERS)
def test_crop_and_clean_target_are_repainted_and_the_keypoints_stay(people: People, style: str) -> None:
    plain = PeopleSamples(people, PLAIN, SETTINGS)[(1, 4)]
    settings = replace(SETTINGS, filters=(FILTERS[style],))
    styled = PeopleSamples(people, replace(PLAIN, style_share=1.0), settings)[(1, 4)]
    np.testing.assert_array_equal(styled["clean"], FILTERS[style](plain["clean"]))
    np.testing.assert_array_equal(styled["input"], styled["clean"])
    for name in ("rows", "columns", "weights"):
        np.testing.assert_array_equal(styled[name], plain[name])


def test_without_styles_nothing_is_drawn(people: People) -> None:
    whole = AugmentationRecipe()
    before = PeopleSamples(people, whole, SETTINGS)[(3, 7)]["input"]
    for share, filters, same in ((1.0, (), True), (0.0, (FILTERS["oil"],), True), (1.0, (FILTERS["oil"],), False)):
        samples = PeopleSamples(people, replace(whole, style_share=share), replace(SETTINGS, filters=filters))
        assert np.array_equal(samples[(3, 7)]["input"], before) == same


def test_each_style_has_its_share_and_depends_on_the_seed_alone() -> None:
    image = np.zeros((8, 8, 3), np.uint8)
    filters = (lambda rgb: rgb + 1, lambda rgb: rgb + 2)
    found = [repaint(np.random.default_rng(seed), image, filters, 0.3)[0, 0, 0] for seed in range(4000)]
    np.testing.assert_allclose(np.bincount(found) / 4000, (0.7, 0.15, 0.15), atol=0.02)
    assert found[:9] == [repaint(np.random.default_rng(seed), image, filters, 0.3)[0, 0, 0] for seed in range(9)]


def test_a_recipe_knows_the_filters_and_hands_them_to_the_samples() -> None:
    assert get_args(StyleName) == tuple(FILTERS)
    recipe = load_recipe(SMALL, ["--augmentation.styles", "edge,oil"])
    assert sample_settings(recipe, recipe.stages[0]).filters == (FILTERS["edge"], FILTERS["oil"])
    assert not sample_settings(Recipe(), Stage(epochs=1)).filters


def test_styles_on_the_command_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Recipe] = []
    monkeypatch.setattr(train, "run", lambda recipe, *_: seen.append(recipe))
    command = ["--recipe", str(BODY), "--out", "run"]
    assert train.main([*command, "--styles", "oil,sketch", "--style-share", ".4"]) == 0
    assert train.main([*command, "--styles", "edge"]) == 0
    assert train.main(command) == 0
    found = [(recipe.augmentation.styles, recipe.augmentation.style_share) for recipe in seen]
    assert found == [(("oil", "sketch"), 0.4), (("edge",), 0.3), ((), 0.3)]
    assert train.main([*command, "--styles", "oil,monet"]) == 1
    expected = "augmentation.styles: expected 'oil', 'sketch', 'posterise' or 'edge', found 'monet'"
    assert expected in capsys.readouterr().err
    assert train.main([*command, "--style-share", "30"]) == 1
    assert "augmentation.style_share: expected 1 or less, found 30" in capsys.readouterr().err


# --- a whole run -----------------------------------------------------------------------------------------------------


def outcome(out: Path) -> dict[str, list]:
    """Losses by step, AP and mean OKS by validation, and how it ended."""
    lines = read_log(out / "log.jsonl")
    return {
        "losses": [(s["step"], s["heatmap_loss"], s["rgb_loss"]) for s in lines if s["kind"] == "step"],
        "validations": [(s["step"], s["AP"], s["OKS"]) for s in lines if s["kind"] == "validation"],
        "stops": [(s["step"], s["best_step"]) for s in lines if s["kind"] == "early_stop"],
    }


@pytest.mark.slow  # three short trainings
def test_it_trains_validates_each_epoch_stops_early_and_resumes_bit_equal(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fresh_state: None
) -> None:
    base = tiny.make_checkpoint(tmp_path / "base.safetensors", head_std=0.01)
    command = ["--recipe", str(SMALL), "--model.base", str(base), "--data.root", str(data), "--log.every", "1"]
    command += ["--stages.0.input-size", "64,128", "--stages.0.heatmap-sigma", "2", "--stages.0.total-batch", "4"]
    command += ["--hardware.workers", "0", "--hardware.mixed-precision", "no", "--log.tensorboard", "off"]
    command += ["--validation.patience", "2"]
    write, measured = RunLog.write, validation.average_precision

    def aps_in_turn() -> Callable[..., dict[str, float]]:
        """The real figures, but with an AP that has its best in the third epoch."""
        aps = iter((0.1, 0.3, 0.4, 0.2, 0.4))
        return lambda *args: {**measured(*args), "AP": next(aps)}

    def stop_at_seven(self: RunLog, kind: str, step: int, **values: object) -> None:
        write(self, kind, step, **values)
        if kind == "step" and step == 7:
            signal.raise_signal(signal.SIGTERM)

    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    monkeypatch.setattr(validation, "average_precision", aps_in_turn())
    assert train.main([*command, "--out", str(whole)]) == 0
    monkeypatch.setattr(validation, "average_precision", aps_in_turn())
    with monkeypatch.context() as patch:
        patch.setattr(RunLog, "write", stop_at_seven)
        assert train.main([*command, "--out", str(resumed)]) == 0
    assert not outcome(resumed)["stops"]
    assert train.main([*command, "--out", str(resumed), "--resume", "auto"]) == 0

    found, last = outcome(whole), 15  # 12 people in batches of 4: three steps per epoch
    assert [step for step, _, _ in found["validations"]] == [3, 6, 9, 12, 15]
    assert found["stops"] == [(15, 9)] and found["losses"][-1][0] == 15  # two epochs without a better AP
    assert outcome(resumed) == found
    names = ["best", f"step-{last:08d}"]
    for name in names:
        ours, theirs = (load_file(run / "weights" / f"{name}.safetensors") for run in (resumed, whole))
        assert all(ours[key].equal(theirs[key]) for key in theirs), name
    shutil.rmtree(whole / "weights")
    assert train.main([*command, "--out", str(whole), "--resume", "auto"]) == 0  # it stays ended
    assert outcome(whole) == found and not (whole / "weights").exists()
