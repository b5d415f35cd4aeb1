"""Where a package is missing, a node says one line that can be pasted: ComfyUI's own Python and the right name."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from comfy_host import node
from paths import ROOT
from tiny import make_checkpoint

import sdpose_core.dependencies as library

IMAGE = torch.zeros(1, 64, 48, 3)


def hide(monkeypatch: pytest.MonkeyPatch, *packages: str) -> None:
    for package in packages:
        monkeypatch.setitem(sys.modules, package, None)


def pip_line(error: BaseException) -> list[str]:
    """The words of the command that ends the message, which is one line."""
    text = str(error)
    assert "\n" not in text
    return shlex.split(text.partition("Install it with: ")[2])


@pytest.mark.parametrize("there", [True, False])
def test_the_manager_installs_opencv_only_where_there_is_none(monkeypatch: pytest.MonkeyPatch, there: bool) -> None:
    ran: list[list[str]] = []
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: object() if there else None)
    monkeypatch.setattr(subprocess, "run", lambda command, check: ran.append(command))
    code = (ROOT / "install.py").read_text(encoding="utf-8")
    exec(compile(code, "install.py", "exec"), {})
    assert ran == ([] if there else [[sys.executable, "-m", "pip", "install", "opencv-python-headless"]])


@pytest.mark.parametrize("name", ["Detect", "Draw"])
def test_without_opencv_the_node_says_what_to_run(
    nodes: dict[str, type], inside: Any, sequence: Any, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    hide(monkeypatch, "cv2")
    prompt = node(f"SDPoseAnnotator{name}", **{"Detect": {"image": IMAGE}, "Draw": {"poses": sequence}}[name])
    missing = inside("sdpose_core.errors").MissingDependency
    with pytest.raises(missing, match="needs the package 'cv2', but it is not installed") as caught:
        nodes[prompt["class_type"]].execute(**prompt["inputs"])
    assert pip_line(caught.value) == [sys.executable, "-m", "pip", "install", "opencv-python-headless"]


def test_opencv_that_asks_for_libraries_of_a_desktop_is_replaced(
    inside: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    with pytest.raises(inside("sdpose_core.errors").MissingDependency, match=r"importing it failed: libGL") as caught:
        inside("sdpose_core.dependencies").opencv()
    assert pip_line(caught.value)[1:] == "-m pip install --force-reinstall --no-deps opencv-python-headless".split()


def test_without_diffusers_the_loader_says_what_to_run(
    nodes: dict[str, type], pack: ModuleType, inside: Any, base: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_checkpoint(base / "models" / "sdpose" / "without.safetensors")
    monkeypatch.delitem(sys.modules, f"{pack.__name__}.sdpose_core.checkpoints.loading", raising=False)
    hide(monkeypatch, "diffusers")
    with pytest.raises(inside("sdpose_core.errors").MissingDependency, match="SDPose needs .*'diffusers'") as caught:
        nodes["SDPoseAnnotatorLoadModel"].execute("without.safetensors", "auto", "auto", False)
    assert pip_line(caught.value) == [sys.executable, "-m", "pip", "install", "diffusers"]


@pytest.mark.parametrize(
    ("system", "python", "expected"),
    [
        ("posix", "/opt/comfy/python", "/opt/comfy/python -m pip install diffusers"),
        ("posix", "/My Tools/python", "'/My Tools/python' -m pip install diffusers"),
        ("nt", r"D:\python_embeded\python.exe", r"D:\python_embeded\python.exe -m pip install diffusers"),
        ("nt", r"C:\My Tools\python.exe", r'"C:\My Tools\python.exe" -m pip install diffusers'),
    ],
)
def test_the_path_of_python_is_quoted(
    inside: Any, monkeypatch: pytest.MonkeyPatch, system: str, python: str, expected: str
) -> None:
    command = inside("sdpose_core.dependencies").install_command
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", python)
        patch.setattr(os, "name", system)
        found = command("diffusers")
    assert found == expected


def test_the_library_names_its_extra() -> None:
    assert library.install_command("torch", "diffusers") == 'pip install "sdpose-annotator[torch]"'
    assert library.install_command("cv2") == "pip install opencv-python-headless"


def test_the_names_are_those_that_pip_knows(inside: Any) -> None:
    """Every package that the code asks for and that is here: its module belongs to the distribution that we name."""
    texts = (path.read_text(encoding="utf-8") for path in (ROOT / "sdpose_core").rglob("*.py"))
    asked = {module for text in texts for module in re.findall(r'\brequire\("(\w+)', text)}
    distributions = importlib.metadata.packages_distributions()
    here = asked & distributions.keys() - {"cv2"}
    assert len(here) > 4
    for module in here:
        named = inside("sdpose_core.dependencies").install_command(module).split()[-1]
        assert named.replace("_", "-").lower() in [name.replace("_", "-").lower() for name in distributions[module]]
