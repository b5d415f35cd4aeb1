"""Recipes: TOML and command line into one frozen tree, and the order of samples."""

from __future__ import annotations

import dataclasses
import json
import random
import runpy
import sys
from pathlib import Path

import pytest
from paths import ROOT

from sdpose_core.errors import InputError
from sdpose_training.data.order import SampleOrder, micro_batches, plan_batches
from sdpose_training.fit.folder import RunFolder
from sdpose_training.recipe.recipe import Recipe, Stage, load_recipe, recipe_from
from sdpose_training.recipe.toml_files import read_toml, to_toml
from sdpose_training.recipe.values import differences, known_keys, with_overrides

RECIPES = ROOT / "training" / "recipes"
OTHERS = {path for start in ("ablations", "distill") for path in RECIPES.glob(f"{start}_*")}
"""Lists of runs, and the recipes of another script."""


@pytest.mark.parametrize("path", sorted(set(RECIPES.glob("*.toml")) - OTHERS), ids=lambda path: path.stem)
def test_every_recipe_is_read_and_written_back(path: Path, tmp_path: Path) -> None:
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    (tmp_path / "again.toml").write_text(to_toml(recipe))
    assert load_recipe(tmp_path / "again.toml") == recipe


def test_the_papers_settings() -> None:
    body, whole = load_recipe(RECIPES / "body.toml"), load_recipe(RECIPES / "wholebody.toml")
    for recipe, level, points, epochs in ((body, "F1", "coco_17", 40), (whole, "F2", "coco_wholebody_133", 42)):
        (stage,) = recipe.stages
        assert (stage.input_size, stage.heatmap_sigma, stage.total_batch) == ((768, 1024), 6.0, 128)
        assert (stage.learning_rate, stage.epochs) == (3e-5, epochs)
        assert (recipe.model.feature_levels, recipe.data.keypoint_set) == ((level,), points)
        assert recipe.rgb_reconstruction and (recipe.loss.heatmap, recipe.loss.rgb) == (1, 1)
        assert not recipe.model.train_vae and recipe.model.timestep == 999
        assert recipe.data.visible == "touching" and recipe.augmentation.as_released
        assert recipe.augmentation.blur_kind == "box" and recipe.loss.reduction == "mean"
    assert (body.data.min_visible, whole.data.min_visible) == (3, 8)
    assert (body.data.need_body, whole.data.need_body) == (False, True)


def test_the_command_line_wins() -> None:
    arguments = [
        "--data.root", "d", "--rgb-reconstruction", "off", "--stages.0.learning-rate=1e-5", "--seed", "7",
        "--stages.0.input_size", "192,256", "--model.feature-levels", "F1,F2", "--augmentation.scale-range", "0.8, 1.2",
    ]  # fmt: skip
    recipe = load_recipe(RECIPES / "body.toml", arguments)
    assert (recipe.data.root, recipe.rgb_reconstruction, recipe.seed) == ("d", False, 7)
    assert recipe.stages[0] == Stage((192, 256), epochs=40, learning_rate=1e-5)
    assert recipe.model.feature_levels == ("F1", "F2") and recipe.augmentation.scale_range == (0.8, 1.2)
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data.rot", "x"], "did you mean 'data.root'"),
        (["--stages.0.sample", "5"], r"did you mean 'stages.N.samples'"),
        (["--stages.3.samples", "5"], "no number 3"),
        (["--seed", "many"], r"body\.toml: seed: expected a whole number, found 'many'"),
        (["--rgb-reconstruction", "maybe"], "rgb_reconstruction: expected on or off, found 'maybe'"),
        (["--stages.0.input_size", "192"], "expected 2 values"),
        (["--seed"], "--seed has no value"),
        (["seed", "5"], "expected --key value, got 'seed'"),
        (["--stages.0.schedule", "step"], "'constant' or 'cosine'"),
        (["--stages.0.epochs", "0"], "epochs or samples"),
        (["--stages.0.samples", "-5"], "stages.0.samples: expected 0 or more"),
        (["--stages.0.epochs", "1e300"], "stages.0.epochs: expected 1e.06 or less"),
        (["--stages.0.total-batch", "100000000"], "stages.0.total_batch: expected 65536 or less"),
        (["--validation.every", "-4"], "validation.every: expected 0 or more"),
        (["--validation.people", "-7"], "validation.people: expected -1 or more"),
        (["--log.pictures-every", "-1"], "log.pictures_every: expected 0 or more"),
        (["--lora.rank", "4", "--lora.targets", ""], "lora: targets: expected names of layers"),
        (["--data", "x"], "unknown recipe key 'data'"),
    ],
)
def test_mistakes_are_named(arguments: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        load_recipe(RECIPES / "body.toml", arguments)


def test_mistakes_in_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean 'model.base'"):
        recipe_from({"model": {"bas": "x"}})
    with pytest.raises(InputError, match="cannot read"):
        read_toml(tmp_path / "none.toml")
    (tmp_path / "bad.toml").write_text("a = ")
    with pytest.raises(InputError, match="not valid TOML"):
        read_toml(tmp_path / "bad.toml")


def test_the_run_folder_keeps_recipe_versions_and_commit(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    assert folder.write_settings(Recipe(seed=1)) == []
    changed = dataclasses.replace(Recipe(seed=2), stages=(Stage(samples=5),))
    assert folder.write_settings(changed) == ["seed", "stages.0.epochs", "stages.0.samples"]
    assert load_recipe(tmp_path / "run" / "config.toml") == changed
    starts = json.loads((tmp_path / "run" / "environment.json").read_text())
    assert len(starts) == 2 and {"git_commit", "packages", "command", "time"} <= starts[0].keys()
    assert starts[0]["packages"]["numpy"]


def test_differences_are_found_in_every_value() -> None:
    assert differences(Recipe(), Recipe()) == []
    assert "stages.N.samples" in known_keys(Recipe) and "model.unet.layers_per_block" in known_keys(Recipe)


@pytest.mark.parametrize(
    ("total", "processes", "largest", "micro", "accumulation"),
    [(128, 1, 16, 16, 8), (128, 8, 16, 16, 1), (8, 2, 8, 4, 1), (12, 2, 4, 3, 2), (6, 3, 1, 1, 2), (7, 1, 4, 1, 7)],
)
def test_the_total_batch_is_kept(total: int, processes: int, largest: int, micro: int, accumulation: int) -> None:
    plan = plan_batches(total, processes, largest)
    assert (plan.micro, plan.accumulation) == (micro, accumulation)
    assert plan.micro * plan.accumulation * plan.processes == total


def test_a_batch_that_cannot_be_shared_is_refused() -> None:
    with pytest.raises(InputError, match="total batch of 9 cannot be shared by 2"):
        plan_batches(9, 2, 4)


def _keys(people: int, steps: range, processes: int, micro: int, total: int = 8) -> list[list[tuple[int, int]]]:
    """Per step the samples of all processes, in their order."""
    plan = plan_batches(total, processes, micro)
    shares = [list(micro_batches(SampleOrder(3, (people,)), 20, steps, plan, p)) for p in range(processes)]
    per_step = plan.accumulation
    return [
        [key for share in shares for batch in share[i * per_step : (i + 1) * per_step] for key in batch]
        for i in range(len(steps))
    ]


def test_the_order_depends_on_the_seed_alone() -> None:
    whole = _keys(10, range(12), 1, 8)
    assert _keys(10, range(12), 2, 4) == whole and _keys(10, range(12), 4, 1) == whole
    assert _keys(10, range(5, 12), 2, 2) == whole[5:]
    flat = [key for step in whole for key in step]
    for epoch in range(2, 11):  # 20 samples were seen before: two epochs
        assert sorted(index for e, index in flat if e == epoch) == list(range(10)), epoch


@pytest.mark.parametrize("package", ["pydantic", "tomli_w"])
def test_without_the_train_extra_a_script_ends_in_one_line(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    file = ROOT / "training" / "sdpose_training" / "recipe" / "__init__.py"
    with pytest.raises(SystemExit, match=rf"needs the package '{package}'.*sdpose-annotator\[train\]"):
        runpy.run_path(str(file))


@pytest.mark.parametrize(
    ("text", "advice"), [('name = "C:\\Users"', "write paths with /"), ("a = " + "[" * 5000 + "]" * 5000, "recursion")]
)
def test_paths_of_windows_and_deep_lists_are_one_line(tmp_path: Path, text: str, advice: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(InputError, match=f"not valid TOML: .*{advice}"):
        load_recipe(tmp_path / "r.toml")


ODD = ("nan", "1e400", "9" * 5000, "1979-05-27", "[[1]]", "{a = 1}", "[" * 3000, '"\\u0000"', "true", "-1")


@pytest.mark.parametrize("seed", range(40))
def test_random_damage_is_one_line_or_a_recipe(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    lines = (ROOT / "training" / "recipes" / "debug_cpu.toml").read_text().splitlines()
    place = chance.choice([i for i, line in enumerate(lines) if " = " in line and not line.startswith("#")])
    key = lines[place].split(" = ")[0]
    lines[place] = f"{key}{chance.choice(['', '', 'x', '.y'])} = {chance.choice(ODD)}"
    content = bytearray("\n".join(lines).encode())
    if seed % 4 == 0:
        content[chance.randrange(len(content))] = chance.choice([0, 255, 34, 91])
    (tmp_path / "r.toml").write_bytes(content)
    key = chance.choice(known_keys(Recipe)).replace("N", chance.choice(["0", "9", "²", "9" * 5000]))
    overrides = [f"--{key}{chance.choice(['', '', '.x'])}", chance.choice(["", "nan", "9" * 5000, "1,2", "\0"])]
    try:
        load_recipe(tmp_path / "r.toml", overrides if seed % 2 else [])
    except InputError as error:
        assert "\n" not in str(error) and len(str(error)) < 1000


@pytest.mark.parametrize(("text", "message"), [
    ("a." * 3000 + "b = 1", "nested deeper than 8 levels"),
    ("seed = " + "9" * 5000, "not valid TOML"),
    ("model = 1", "model: expected a table of values, found 1"),
    ("[model]\nbase = 'x'\nbase = 'y'", "not valid TOML"),
    ("x" * 5000 + " = 1", "unknown recipe key 'xxx"),
    ("seed = 1979-05-27", "seed: expected a whole number, found '1979-05-27'"),
])  # fmt: skip
def test_odd_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(InputError, match=message) as error:
        load_recipe(tmp_path / "r.toml")
    assert "\n" not in str(error.value) and len(str(error.value)) < 500


def test_an_override_in_what_is_no_table() -> None:
    with pytest.raises(InputError, match="--model.base: expected a table of values in the recipe, found 1"):
        with_overrides({"model": 1}, ["--model.base", "x"], Recipe)
