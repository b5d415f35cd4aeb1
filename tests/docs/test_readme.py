"""README and docs/ do what they say: Python blocks run, commands are parsed, links lead somewhere."""

from __future__ import annotations

import contextlib
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

from sdpose_core.cli.main import build_parser
from sdpose_core.detection.box_files import BoxFile

PAGES = ["README.md", "CONTRIBUTING.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))]
TEXTS = {page: (ROOT / page).read_text(encoding="utf-8") for page in PAGES}
README = TEXTS["README.md"]
README_BYTES = 9000

BLOCKS = [
    (page, language, code)
    for page, text in TEXTS.items()
    for language, code in re.findall(r"^ *```(\w+)\n(.*?)^ *```", text, flags=re.DOTALL | re.MULTILINE)
]
PYTHON = [(page, code) for page, language, code in BLOCKS if language == "python"]
COMMANDS = [
    command.strip()
    for _, language, code in BLOCKS
    if language in ("bash", "slurm")
    for line in code.splitlines()
    if not line.strip().startswith("#")
    for command in line.split("&&")
    if command.strip()
]
NEEDS_FILES = ("docs/benchmark.md",)
"""Pages whose Python needs files that a reader makes first (an ONNX export): compiled, not run."""


FOLDERS = "(?:tests|benchmarks|sdpose_core|nodes|training|docs)"
YOURS = ("/NAME.py", "/NODE_ID.md")
"""Ends of paths of files that a reader makes."""


def slug(heading: str) -> str:
    """The anchor that GitHub gives a heading."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-")


def links() -> list[tuple[str, str]]:
    """(page, target) of each link and picture that leads into the repository."""
    found = {
        (page, target)
        for page, text in TEXTS.items()
        for target in re.findall(r'(?:\]\(|src=")([^)"\s]+)[)"]', text)
        if "://" not in target
    }
    return sorted(found)


@pytest.mark.parametrize(("page", "code"), PYTHON, ids=[f"{page}-{i}" for i, (page, _) in enumerate(PYTHON)])
def test_python_blocks_run(page: str, code: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if page in NEEDS_FILES:
        compile(code, page, "exec")
        return
    for name in ("SDPOSE_HOME", "HF_HOME", "XDG_CACHE_HOME", "HF_HUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / "no weights here"))
    code = re.sub(r'(f?)"(out|tests)/', lambda m: f'{m[1]}"{tmp_path if m[2] == "out" else ROOT / "tests"}/', code)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", [c for c in dict.fromkeys(COMMANDS) if c.startswith("sdpose ")])
def test_commands_parse(command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    with contextlib.nullcontext() if not {"--help", "--help-all"} & {*words} else pytest.raises(SystemExit):
        build_parser().parse_args(words)


def test_every_other_command_is_known() -> None:
    elsewhere = ("sdpose ", "python training/")  # the latter: test_training_readme.py
    others = {command.partition(" #")[0].strip() for command in COMMANDS if not command.startswith(elsewhere)}
    environment = {"python3 -m venv .venv", "source .venv/bin/activate"}
    into_comfyui = {"cd ComfyUI/custom_nodes", "python -m pip install -r sdpose-annotator/requirements.txt"}
    extras = ("test", "test,dev", "torch", "onnx-export", "completion", "review")
    installs = {"pip install -e ."} | {f'pip install -e ".[{extra}]"' for extra in extras}
    contributing = {
        "pre-commit install", "pytest", "pytest tests/core/drawing", "ruff check .", "ruff format --check .",
        "PYTHONPATH=training lint-imports", "mypy", "bash .ci/run",
        "COMFYUI_PATH=/path/to/ComfyUI pytest -m comfy tests/nodes",
    }  # fmt: skip
    benchmarks = {
        "python benchmarks/memory_of_many_runs.py",
        "python benchmarks/art_people/measure.py --packages FOLDER --half held --model preview-body",
        'PYTHONPATH=tests/support python -c "from pathlib import Path; import tiny; '
        "tiny.make_checkpoint(Path('tiny.safetensors'))\"",
        "python benchmarks/preview_speed.py --shifts --device openvino --model tiny.onnx",
        "python benchmarks/half_precision.py --checkpoint runs/synthetic/weights/best.safetensors "
        "--data.root people --people 200",
        "benchmarks/gpu_table.sh --out card",
        "benchmarks/gpu_table.sh --out card --weights W.safetensors --picture a.jpg --data.root people --write-docs",
        "benchmarks/gpu_table.sh --out try --device cpu --tiny",
    }
    assert others == environment | into_comfyui | installs | contributing | benchmarks
    for command in others:
        if name := re.fullmatch(r"(?:python|pytest) ((?:docs|tests|benchmarks)/\S+)", command):
            assert (ROOT / name[1]).exists()


def test_the_powershell_form_runs_the_same_commands() -> None:
    [powershell] = [code for page, language, code in BLOCKS if language == "powershell"]
    assert "&&" not in powershell
    assert "pip install -e .; if ($?) { sdpose image tests/data/astronaut.png -o out }" in powershell


def test_the_two_commands_stand_behind_an_environment() -> None:
    """Debian 12 and Ubuntu 24 refuse to install outside of one (PEP 668)."""
    venv, *commands = (
        README.index(text)
        for text in (
            "python3 -m venv .venv && source .venv/bin/activate\n",
            "pip install -e . && sdpose image tests/data/astronaut.png -o out\n",
            'pip install -e ".[test]" && pytest\n',
        )
    )
    assert venv < min(commands)


def test_ci_runs_the_test_command_of_the_readme() -> None:
    assert 'pip install -e ".[test]" && pytest\n' in README
    assert 'pip install -e ".[test]" && pytest' in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_readme_is_short() -> None:
    assert len(README.encode()) <= README_BYTES


def test_every_node_is_in_the_table() -> None:
    schemas = json.loads((ROOT / "tests" / "golden" / "node_schemas.json").read_text(encoding="utf-8"))
    rows = re.findall(r"^\| \*\*(.+?)\*\* \|", TEXTS["docs/comfyui.md"], flags=re.MULTILINE)
    assert sorted(rows) == sorted(schema["display_name"] for schema in schemas.values())


def test_every_page_is_linked_from_the_readme() -> None:
    unlinked = {page for page in PAGES if page != "README.md" and f"]({page})" not in README}
    assert unlinked == {"docs/feature_analysis.md"}  # training/README.md links it


def test_the_forms_of_boxes_json_are_read(tmp_path: Path) -> None:
    section = TEXTS["docs/inputs.md"].partition("## Boxes")[2].partition("\n## ")[0]
    files = re.findall(r"```json\n(.*?)```", section, flags=re.DOTALL)
    pictures = ("any.png", "b.jpg", "000000.png")
    for text, picture, first in zip(files, pictures, ((33, 10), (12, 8), (33, 10)), strict=True):
        (tmp_path / "boxes.json").write_text(text)
        boxes = BoxFile(tmp_path / "boxes.json").boxes_of(Path(picture), only_picture=True)
        assert tuple(boxes[0, :2]) == first
        assert boxes[0, 3] > boxes[0, 1] + 400  # corners, whatever the file gives


def test_paths_in_code_font_exist() -> None:
    """`tests/...py` and the like were moved once; a page must not keep the old place."""
    for page, text in TEXTS.items():
        for path in re.findall(rf"\b({FOLDERS}/[\w/.-]+\.(?:py|md|toml))\b", text):
            assert (ROOT / path).exists() or path.endswith(YOURS), f"{page} names {path}"


@pytest.mark.parametrize(("page", "target"), links())
def test_links_lead_somewhere(page: str, target: str) -> None:
    path, _, anchor = target.partition("#")
    file = (ROOT / page).parent / path if path else ROOT / page
    assert file.exists()
    if anchor:
        headings = re.findall(r"^#+ (.+)$", file.read_text(encoding="utf-8"), flags=re.MULTILINE)
        assert anchor in {slug(heading) for heading in headings}
