"""Packages that may be missing: imported where they are needed. The error says how to install them into this Python."""

from __future__ import annotations

import importlib
import importlib.util
import os
import shlex
import subprocess
import sys
from types import ModuleType

from .errors import MissingDependency, one_line

_EXTRA_OF = {
    "torch": "torch", "diffusers": "torch", "onnxruntime": "onnx", "onnxscript": "onnx-export",
    "transformers": "transformers", "controlnet_aux": "aux", "ray": "ray", "aiohttp": "review",
    "accelerate": "train", "anny": "train", "faster_coco_eval": "train", "jinja2": "train", "matplotlib": "train",
    "peft": "train", "pydantic": "train", "sklearn": "train", "tabulate": "train", "tomli_w": "train",
}  # fmt: skip

_PIP_NAME_OF = {"cv2": "opencv-python-headless", "sklearn": "scikit-learn"}
"""Packages that pip knows by another name. OpenCV without windows: it needs no libraries of a desktop."""


def require(module: str, what_for: str) -> ModuleType:
    """Import `module`. Raises `MissingDependency`, which says how to install it, or quotes the import error."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        broken = installed(package)
        found = f"importing it failed: {one_line(error)}" if broken else "it is not installed"
        raise MissingDependency(
            f"{what_for} needs the package {package!r}, but {found}. "
            f"Install it with: {install_command(package, broken=broken)}"
        ) from error


def opencv() -> ModuleType:
    """`cv2`. Raises `MissingDependency`: ComfyUI does not bring it, and requirements.txt leaves the user's alone."""
    return require("cv2", "SDPose Annotator")


def installed(module: str) -> bool:
    """Whether a package is installed. Does not import it."""
    return importlib.util.find_spec(module) is not None


def install_command(*packages: str, broken: bool = False) -> str:
    """The command that installs packages, given by their import names; `broken` ones are replaced.

    As a node pack, the library is not installed itself: the command calls the Python that runs it, by its path, and
    names the packages. Otherwise it names our extra that brings them.
    """
    extras = sorted({_EXTRA_OF[package] for package in packages if package in _EXTRA_OF})
    if not _is_pack() and extras:
        return f'pip install "sdpose-annotator[{",".join(extras)}]"'
    options = ["--force-reinstall", "--no-deps"] if broken else []
    names = [_PIP_NAME_OF.get(package, package) for package in packages]
    python = [sys.executable, "-m"] if _is_pack() else []
    words = [*python, "pip", "install", *options, *names]
    return subprocess.list2cmdline(words) if os.name == "nt" else shlex.join(words)


def _is_pack() -> bool:
    """Whether this is part of a node pack, and not the package `sdpose_core` that pip installs."""
    return __package__ != "sdpose_core"
