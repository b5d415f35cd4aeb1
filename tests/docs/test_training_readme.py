"""Commands of the training documentation: each is parsed, recipe values included, by the script that it names."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections.abc import Callable

import pytest
from paths import ROOT

from sdpose_core.cli.main import build_parser as sdpose_parser

sys.path.insert(0, str(ROOT / "training"))

import ablate
import analyze_features
import curves
import distill_encoder
import downstream_check
import make_coco_ood
import make_synthetic_people
import make_tiny_prior
import push_to_hub
import reproduce_paper
import robustness
import train
from sdpose_training.ablation.arms import read_list
from sdpose_training.distill.recipe import load_distill_recipe
from sdpose_training.evaluation import options as evaluation_options
from sdpose_training.figures import options as figure_options
from sdpose_training.recipe.recipe import load_recipe


def commands(path: str) -> list[str]:
    """Every line of the shell blocks of a page; lines that go on (backslash) are one."""
    text = (ROOT / path).read_text(encoding="utf-8")
    blocks = re.findall(r"```(?:sh|bash)\n(.*?)```", text, flags=re.DOTALL)
    lines = "".join(blocks).replace("\\\n", " ").splitlines()
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


COMMANDS = [line for page in ("training/README.md", "docs/robustness.md") for line in commands(page)]
COMMANDS += [line for line in commands("README.md") if "training/" in line]
PARSERS: dict[str, Callable[[], argparse.ArgumentParser]] = {
    "train.py": train.build_parser,
    "distill_encoder.py": distill_encoder.build_parser,
    "ablate.py": ablate.build_parser,
    "make_tiny_prior.py": make_tiny_prior.build_parser,
    "evaluate.py": evaluation_options.build_parser,
    "analyze_features.py": analyze_features.build_parser,
    "downstream_check.py": downstream_check.build_parser,
    "make_figures.py": figure_options.build_parser,
    "make_synthetic_people.py": make_synthetic_people.build_parser,
    "curves.py": curves.build_parser,
    "robustness.py": robustness.build_parser,
    "make_coco_ood.py": make_coco_ood.build_parser,
    "push_to_hub.py": push_to_hub.build_parser,
    "reproduce_paper.py": reproduce_paper.build_parser,
}
READ_BY_SHELL = ("pip install", "cp ", "for ", "done", "docker build", "sbatch ")


@pytest.mark.parametrize("command", COMMANDS)
def test_the_command_is_understood(command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(command.replace("$style", "flat"), comments=True)
    if words[0] == "sdpose":
        sdpose_parser().parse_args(words[1:])
        return
    scripts = [index for index, word in enumerate(words) if word.startswith("training/") and word.endswith(".py")]
    if not scripts:
        assert command.startswith(READ_BY_SHELL)
        return
    name, given = words[scripts[0]].removeprefix("training/"), words[scripts[0] + 1 :]
    if name == "make_coco_ood.py" and given[0] == "convert":
        make_coco_ood.build_convert_parser().parse_args(given[1:])
        return
    options, recipe_values = PARSERS[name]().parse_known_args(given)
    if name == "ablate.py":
        read_list(options.list, recipe_values)
    elif name == "distill_encoder.py":
        load_distill_recipe(options.recipe, recipe_values)
    elif name in ("train.py", "make_tiny_prior.py"):
        load_recipe(options.recipe, recipe_values)
    else:
        assert not recipe_values


def test_each_script_is_documented() -> None:
    for name in PARSERS:
        assert any(f"training/{name}" in command for command in COMMANDS)


def test_the_commands_of_the_recipes_headers_are_understood() -> None:
    """Each recipe of synthetic people says with which people it was made."""
    found = 0
    for path in (ROOT / "training" / "recipes").glob("synthetic_*.toml"):
        for arguments in re.findall(r"^# Data: make_synthetic_people.py (.+)$", path.read_text(), flags=re.MULTILINE):
            make_synthetic_people.build_parser().parse_args(shlex.split(arguments))
            found += 1
    assert found == 2
