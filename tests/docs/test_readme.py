"""The README does what it says: Python blocks are run, commands are parsed, links lead somewhere."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from sdpose_core.cli.main import build_parser

README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, flags=re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [
    command.strip()
    for language, code in BLOCKS
    if language in ("bash", "slurm")
    for line in code.splitlines()
    if not line.startswith("#")
    for command in line.split("&&")
    if command.strip()
]


@pytest.mark.parametrize("code", PYTHON, ids=range(len(PYTHON)))
def test_python_blocks_run(code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SDPOSE_HOME", "HF_HOME", "XDG_CACHE_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "no weights here"))
    code = code.replace('"out/', f'"{tmp_path}/').replace('"tests/', f'"{ROOT}/tests/')
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [c for c in COMMANDS if c.startswith("sdpose ")])
def test_commands_parse(command: str) -> None:
    build_parser().parse_args(shlex.split(command, comments=True)[1:])


def test_every_other_command_is_known() -> None:
    elsewhere = ("sdpose ", "python training/")  # the latter: tests/test_training_readme.py
    others = {command.partition("#")[0].strip() for command in COMMANDS if not command.startswith(elsewhere)}
    into_comfyui = {
        "cd ComfyUI/custom_nodes",
        "git clone REPOSITORY sdpose-annotator",
        "python -m pip install -r sdpose-annotator/requirements.txt",
    }
    extras = {f'pip install -e ".[{extra}]"' for extra in ("test", "torch", "train")}
    here = {"pip install -e .", "pytest"} | extras
    assert others == here | into_comfyui
    assert (ROOT / "requirements.txt").exists()


def test_every_node_is_in_the_table_with_its_picture() -> None:
    schemas = json.loads((ROOT / "tests" / "golden" / "node_schemas.json").read_text(encoding="utf-8"))
    rows = dict(re.findall(r'^\| \*\*(.+?)\*\* \|.*<img src="(.+?)"', README, flags=re.MULTILINE))
    assert rows == {schema["display_name"]: f"web/docs/images/{name}.jpg" for name, schema in schemas.items()}


def test_ci_runs_exactly_the_test_command_of_the_readme() -> None:
    assert 'pip install -e ".[test]" && pytest\n' in README
    assert 'pip install -e ".[test]" && pytest' in (ROOT / ".ci" / "run").read_text().splitlines()


@pytest.mark.parametrize("target", sorted(set(re.findall(r'(?:\]\(|src=")([^)"#:]+)[)"]', README))))
def test_links_lead_somewhere(target: str) -> None:
    assert (ROOT / target).exists()
