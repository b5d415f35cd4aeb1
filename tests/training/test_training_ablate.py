"""Lists of ablations: read, run on a tiny model, gone on with, and printed beside the paper's table."""

from __future__ import annotations

import json
import shutil
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from paths import ROOT

import ablate
from make_tiny_prior import main as make_prior
from sdpose_core.checkpoints.loading import load_sdpose
from sdpose_core.errors import InputError
from sdpose_core.skeletons import COCO_17
from sdpose_training.ablation import runs as ablation_runs
from sdpose_training.ablation.arms import choose_arms, read_list
from sdpose_training.ablation.table import summary, table_lines
from sdpose_training.fit.losses import term_weights
from sdpose_training.fit.starting_weights import config_of, starting_model
from sdpose_training.recipe.recipe import load_recipe

RECIPES = ROOT / "training" / "recipes"
PAPER_BODY = {  # arXiv 2509.24980, table 2: AP on COCO, HumanArt, COCO-OOD Monet
    "full": (81.3, 71.2, 63.5), "no_rgb": (80.8, 69.8, 62.5), "scratch": (74.9, 53.8, 52.7),
    "f2": (81.1, 70.4, 64.3), "f3": (81.0, 70.6, 63.5), "f4": (79.2, 65.0, 58.1),
}  # fmt: skip
LIST = f"""
title = "Two arms"
recipe = "{(RECIPES / "debug_cpu.toml").as_posix()}"
seeds = [3]

[[arms]]
name = "full"
title = "full (F1)"
paper = {{ COCO = [81.3, 85.2] }}

[[arms]]
name = "f4"
set.model.feature_levels = ["F4"]
set.rgb_reconstruction = false
paper = {{ COCO = [79.2, 83.4] }}
"""


@pytest.fixture(autouse=True)
def on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_USE_CPU", "true")


@pytest.fixture
def arms(tmp_path: Path) -> Path:
    path = tmp_path / "arms.toml"
    path.write_text(LIST)
    return path


PRETENDED = """
import pathlib, shutil, sys
out = pathlib.Path(sys.argv[sys.argv.index("--out") + 1])
(out / "weights").mkdir()
shutil.copy({weights!r}, out / "weights" / "step-00000003.safetensors")
(out / "log.jsonl").write_text('{{"kind": "step", "step": 3, "samples": 24}}\\n{{"kind": "end"}}\\n')
"""


@pytest.fixture
def pretended(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In place of train.py a script that hands out tiny weights: what follows the training is tested without it."""
    script = tmp_path / "pretended.py"
    script.write_text(PRETENDED.format(weights=str(checkpoint)))
    monkeypatch.setattr(ablation_runs, "TRAIN", script)


def command(arms: Path, data: Path, out: Path, *more: str) -> list[str]:
    return [
        "--list", str(arms), "--data.root", str(data), "--out", str(out), "--test", f"drawn={data}",
        "--threads-per-job", "1", "--log.tensorboard", "off", "--log.pictures-every", "0",
        "--validation.every", "0", "--stages.0.samples", "16", "--stages.1.samples", "8", *more,
    ]  # fmt: skip


@pytest.mark.slow  # two starts of the program
def test_two_arms_are_trained_measured_and_not_repeated(
    arms: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert ablate.main(command(arms, data, out, "--jobs", "2")) == 0
    printed = capsys.readouterr().out
    row = next(line for line in printed.splitlines() if line.startswith("| full (F1)"))
    assert "81.3 / 85.2" in row and printed.strip() == (out / "table.md").read_text().strip()
    content = json.loads((out / "table.json").read_text())
    for arm, level in zip(content["arms"], ("F1", "F4"), strict=True):
        (run,) = arm["runs"]
        assert (run["seed"], run["samples"], run["steps"], run["attempts"]) == (3, 24, 3, 1)
        assert set(run["tests"]) == {"in-domain", "drawn"} and run["minutes"] > 0 and run["environment"]["packages"]
        assert run["tests"]["drawn"]["people"] == 12
        weights = out / arm["name"] / "seed-3" / "weights" / run["weights"]["name"]
        assert load_sdpose(weights).config.feature_levels == (level,)

    def refuse(*_: object) -> None:
        raise AssertionError("trained or measured again")

    monkeypatch.setattr(ablation_runs, "_Process", refuse)
    monkeypatch.setattr(ablation_runs, "_figures", refuse)
    assert ablate.main(command(arms, data, out, "--jobs", "2")) == 0
    assert capsys.readouterr().out == printed
    assert ablate.main(command(arms, data, out, "--stages.1.samples", "16")) == 1  # the same folder, another recipe
    assert "holds a run made with other settings (stages.1.samples was 8, now 16)" in capsys.readouterr().err


@pytest.mark.slow  # two starts of the program
def test_an_interrupted_arm_goes_on(arms: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    arguments = command(arms, data, out, "--only", "f4", "--stages.0.samples", "80", "--checkpoints.every", "1")
    args, overrides = ablate.build_parser().parse_known_args(arguments)
    (arm,) = choose_arms(read_list(args.list, overrides).arms, args.only)
    run = ablation_runs.make_run(arm, 3, out, 1)
    process = ablation_runs._Process(run, [])
    while process.process.poll() is None and not list(run.folder.states.glob("step-*")):
        time.sleep(0.01)
    process.process.kill()
    process.process.wait()
    reached = max(int(path.name.removeprefix("step-")) for path in run.folder.states.glob("step-*"))
    assert not run.is_trained and reached < 11
    assert ablate.main(arguments) == 0
    lines = [json.loads(line) for line in run.folder.log.read_text().splitlines()]
    steps = [line["step"] for line in lines if line["kind"] == "step"]
    assert steps == list(range(1, 12)) and [line["kind"] for line in lines].count("start") == 2
    assert run.result["steps"] == 11
    assert "| f4" in capsys.readouterr().out


def test_a_failing_arm_is_told_in_one_line_and_the_others_go_on(
    arms: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "train.py"
    broken.write_text("import sys\nprint('first')\nsys.exit('train: no such weights')\n")
    monkeypatch.setattr(ablation_runs, "TRAIN", broken)
    assert ablate.main(command(arms, data, tmp_path / "out")) == 1
    said = capsys.readouterr()
    assert said.err.strip().splitlines()[-2:] == [
        f"ablate: {arm}, seed 3: train.py ended with 1 (train: no such weights)" for arm in ("full", "f4")
    ]
    assert "| full (F1) | –" in said.out


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--only", "f3"], "--only f3: the list has no such arm; it has full, f4"),
        (["--model.bse", "x"], "did you mean 'model.base'?"),
        (["--test", "drawn"], "--test drawn: expected NAME=DIR"),
        (["--test", "oil=missing"], "test oil: no annotations at missing"),
        (["--seeds", "1,0,1"], "--seeds: expected numbers from 0, each once, such as 0, 1, found (1, 0, 1)"),
        (["--test", "drawn={data}"], "--test drawn: two tests have this name"),
        (["--test", "in-domain={data}"], "--test in-domain: two tests have this name"),
    ],
)
def test_mistakes_are_one_line(
    more: list[str], message: str, arms: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ablate.main(command(arms, data, tmp_path / "out", *(word.format(data=data) for word in more))) == 1
    said = capsys.readouterr().err.strip()
    assert message in said and "\n" not in said


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recipe = 'debug_cpu.toml'", "is no list of ablations"),
        ("recip = 'x'", "unknown key 'recip': did you mean 'recipe'?"),
        (LIST + LIST[LIST.index("[[arms]]") :], "two arms have the name 'full'"),
        (LIST.replace("set.model.feature_levels", "set.model.feature_level"), "arm 'f4': unknown recipe key"),
        (LIST.replace("[81.3, 85.2]", "[81.3]"), r"arm 'full': expected 'paper' to be a table of \[AP, AR\]"),
        (LIST.replace("{ COCO = [81.3, 85.2] }", "3"), r"expected 'paper' to be a table of \[AP, AR\], found 3"),
        (LIST.replace("[81.3, 85.2]", "['a', 'b']"), r"expected 'paper' to be a table of \[AP, AR\]"),
        (LIST.replace("[3]", "[0, 0]"), r"seeds: expected numbers from 0, each once, such as 0, 1, found \[0, 0\]"),
        (LIST.replace("[3]", "3"), "seeds: expected numbers from 0"),
        (LIST.replace("[3]", "[]"), "seeds: expected numbers from 0"),
        (LIST.replace("[3]", "[0.5]"), "seeds: expected numbers from 0"),
        (LIST[: LIST.index("[[arms]]")] + "arms = [1]", r"expected each of \[\[arms\]\] to be a table, found 1"),
        ("recipe = 3\n[[arms]]\nname = 'a'", "is no list of ablations"),
        (LIST + "[[arms]]\nname = 'x'\nset = 3", "arm 'x': expected 'set' to be a table of recipe values, found 3"),
    ],
)
def test_lists_are_checked(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "list.toml"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_list(path)


@pytest.mark.parametrize("name", ["body", "synthetic"])
def test_the_paper_s_arms(name: str) -> None:
    arms = [arm for arm in read_list(RECIPES / f"ablations_{name}.toml").arms if "Monet" in arm.paper]  # table 2
    assert {arm.name: tuple(arm.paper[b][0] for b in ("COCO", "HumanArt", "Monet")) for arm in arms} == PAPER_BODY
    by_name = {arm.name: arm.recipe for arm in arms}
    assert not by_name["no_rgb"].rgb_reconstruction and by_name["scratch"].model.random_unet
    assert [by_name[each].model.feature_levels for each in ("full", "f2", "f3", "f4")] == [
        ("F1",), ("F2",), ("F3",), ("F4",),
    ]  # fmt: skip
    wholebody = [arm for arm in read_list(RECIPES / "ablations_wholebody.toml").arms if arm.paper]
    assert [arm.recipe.model.feature_levels for arm in wholebody] == [("F1",), ("F2",), ("F3",), ("F4",)]
    assert [arm.paper["Monet"] for arm in wholebody] == [(44.7, 53.0), (46.6, 54.8), (45.5, 53.8), (37.1, 45.4)]


def test_the_arms_of_open_choices() -> None:
    listed = read_list(RECIPES / "ablations_synthetic.toml").arms
    arms = {arm.name: arm.recipe for arm in listed if not arm.paper and not arm.name.startswith("v3")}
    recipe = arms["full_sums"]
    config = config_of(recipe, recipe.stages[0], COCO_17, recipe.model.unet, recipe.model.vae)
    shares = {name: round(term_weights(recipe.loss, config)[1], 3) for name, recipe in arms.items()}
    sums, full_size = round(32 / 68, 3), round(1 / 17, 3)
    expected = {"full_sums": sums, "full_17": full_size, "scratch_sums": sums, "scratch_17": full_size, "head_all": 1}
    assert shares == expected
    assert {name for name, recipe in arms.items() if recipe.model.random_unet} == {"scratch_sums", "scratch_17"}
    assert arms["head_all"].model.head_init == "all"


def test_summary_and_cells() -> None:
    runs = [
        {"seed": s, "samples": 8, "minutes": 1.0, "cpu_minutes": None, "tests": {"oil": figures}}
        for s, figures in enumerate([
            {"AP": 0.2, "AP50": 0.4, "AR": 0.3, "OKS": 0.5, "annotations": "x"},
            {"AP": 0.4, "AP50": 0.6, "AR": 0.5, "OKS": 0.7, "annotations": "x"},
        ])
    ]  # fmt: skip
    found = summary(runs, "oil")
    assert found is not None
    assert (found["AP"], found["AR"], found["AP_std"]) == pytest.approx((0.3, 0.4, 0.02**0.5))
    assert summary(runs, "photo") is None
    arms = read_list(RECIPES / "ablations_wholebody.toml").arms
    lines = table_lines("T", arms, {"f2": runs}, ["oil", "photo"])
    row = [cell.strip() for cell in next(x for x in lines if x.startswith("| F2")).split("|")[1:-1]]
    assert row == ["F2 (as released)", "0, 1", "30.0 ± 14.1 / 40.0", "–", "71.5 / 78.4", "46.6 / 54.8"]


@pytest.mark.slow  # trains a prior
@pytest.mark.parametrize("level", ["F1", "F2", "F3", "F4"])
def test_a_tiny_prior_starts_every_arm(level: str, prior: Path) -> None:
    size = ["--model.feature-levels", level, "--model.base", str(prior)]
    own = starting_model(load_recipe(RECIPES / "debug_cpu.toml", size), COCO_17).model
    bare = starting_model(load_recipe(RECIPES / "debug_cpu.toml", [*size, "--model.random-unet", "on"]), COCO_17).model
    with torch.no_grad():
        maps = own(torch.zeros(1, 3, 128, 64), tasks=("pose", "rgb"))
    assert maps.heatmaps.shape == (1, 17, 32, 16) and maps.rgb_latents.shape == (1, 4, 16, 8)
    equal = {name: torch.equal(value, bare.state_dict()[name]) for name, value in own.state_dict().items()}
    assert all(equal[name] for name in equal if name.startswith("vae.")) and equal["empty_prompt_embedding"]
    assert not equal["unet.conv_in.weight"] and not equal["unet.mid_block.resnets.0.conv1.weight"]
    assert own.vae.scaling_factor == bare.vae.scaling_factor != 0.18215


@pytest.fixture(scope="module")
def prior(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("prior")
    rng = np.random.default_rng(2)
    for i in range(3):
        cv2.imwrite(str(folder / f"{i}.png"), rng.integers(0, 255, (96, 80, 3), dtype=np.uint8))
    sizes = ["--recipe", str(RECIPES / "debug_cpu.toml"), "--pictures", str(folder), "--out", str(folder / "prior")]
    assert make_prior([*sizes, "--vae-samples", "16", "--unet-samples", "8"]) == 0
    assert set(json.loads((folder / "prior" / "prior.json").read_text())) >= {"vae", "unet", "pictures"}
    return folder / "prior"


@pytest.mark.parametrize("jobs", ["0", "-1", "two"])
def test_numbers_of_jobs_that_make_no_sense(jobs: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        ablate.main(["--list", "x.toml", "--out", str(tmp_path), "--jobs", jobs])
    assert "expected a number of at least 1" in capsys.readouterr().err


def test_missing_pictures_of_a_test_are_told_before_training(
    arms: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = shutil.copytree(data, tmp_path / "other")
    shutil.rmtree(other / "images")
    (other / "images").mkdir()
    assert ablate.main(command(arms, data, tmp_path / "out", "--test", f"other={other}")) == 1
    assert "none of the first" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*/*/log.jsonl"))


@pytest.mark.usefixtures("pretended")
@pytest.mark.slow
def test_other_annotations_are_measured_anew_and_one_failure_ends_nothing(
    arms: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, out = shutil.copytree(data, tmp_path / "people"), tmp_path / "out"
    assert ablate.main(command(arms, data, out, "--jobs", "2")) == 0
    table = (out / "table.json").read_text()
    for arm in json.loads(table)["arms"]:
        (run,) = arm["runs"]
        assert (run["seed"], run["samples"], run["steps"], run["attempts"]) == (3, 24, 3, 1)
        assert set(run["tests"]) == {"in-domain", "drawn"} and run["tests"]["drawn"]["people"] == 12
    path = data / "annotations" / "val.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, "annotations": content["annotations"][:5]}))
    measured, figures = [], ablation_runs._figures

    def first_fails(run: ablation_runs.Run, *args: object) -> dict:
        measured.append(run.arm.name)
        if len(measured) == 1:
            raise InputError("a disk that broke")
        return figures(run, *args)

    monkeypatch.setattr(ablation_runs, "_figures", first_fails)
    assert ablate.main(command(arms, data, out)) == 1
    assert measured == ["full", "f4"] and "a disk that broke" in capsys.readouterr().err
    content = json.loads((out / "table.json").read_text())
    assert content["arms"][1]["runs"][0]["tests"]["drawn"]["people"] == 5
