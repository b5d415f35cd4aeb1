"""What the package promises as a whole: light import, relative imports, metadata that agrees."""

from __future__ import annotations

import ast
import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from paths import ROOT

import sdpose_core

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.mark.parametrize(
    "statement", ["import sdpose_core", "import sdpose_core.cli.main; sdpose_core.cli.main.build_parser()"]
)
def test_importing_loads_nothing_heavy(statement: str) -> None:
    heavy = (
        "torch",
        "cv2",
        "onnxruntime",
        "diffusers",
        "transformers",
        "controlnet_aux",
        "PIL",
        "scipy",
        "av",
        "argcomplete",
    )
    code = f"{statement}\nimport sys\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")


def test_every_public_name_is_there() -> None:
    assert sdpose_core.__version__
    for name in set(sdpose_core.__all__) - {"__version__"}:
        assert getattr(sdpose_core, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing_like_this"):
        _ = sdpose_core.nothing_like_this


def _imported_modules(path: Path) -> list[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plain = [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    absolute = [node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.level == 0]
    return plain + absolute


def test_imports_inside_the_pack_are_relative() -> None:
    """No linter of .ci/run tells an absolute import of the pack's own modules from a relative one."""
    own = {"sdpose_core", "nodes", "training", "tests"}
    for path in (*(ROOT / "sdpose_core").rglob("*.py"), *(ROOT / "nodes").rglob("*.py")):
        assert not own.intersection(name.partition(".")[0] for name in _imported_modules(path)), path


def test_requirements_are_the_base_dependencies_and_diffusers_without_opencv() -> None:
    """pip would put its opencv-python over an OpenCV with other contents (contrib) or without windows (headless)."""
    lines = (line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines())
    left = [name for name in PROJECT["dependencies"] if "opencv" not in name]
    assert [line for line in lines if line] == [*left, "diffusers"]


def test_nothing_is_pinned() -> None:
    extras = [name for names in PROJECT["optional-dependencies"].values() for name in names]
    for requirement in [*PROJECT["dependencies"], *extras]:
        assert re.fullmatch(r"[a-z0-9-]+(\[[a-z-]+\])?(; python_version < '3\.11')?", requirement), requirement
    assert not [name for name in PROJECT["dependencies"] if name.startswith(("torch", "onnxruntime"))]


def test_the_command_runs_as_a_module() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "sdpose_core.cli", "--version"], capture_output=True, text=True, env=os.environ
    )
    assert done.stdout.strip() == f"sdpose {sdpose_core.__version__}"
    assert importlib.metadata.version("sdpose-annotator") == sdpose_core.__version__
