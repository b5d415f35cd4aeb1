"""Versions of the libraries and of the code, for the records of a run."""

from __future__ import annotations

import importlib.metadata
import platform
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import sdpose_core

PACKAGES = ("torch", "diffusers", "accelerate", "peft", "numpy", "opencv-python", "safetensors", "faster-coco-eval")


def environment() -> dict[str, Any]:
    """Time, command line, platform and versions of this process."""
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "command": sys.argv,
        "platform": platform.platform(),
        **versions(),
    }


def versions() -> dict[str, Any]:
    """Versions of this code, Python and the packages that affect results."""
    return {
        "sdpose_annotator": sdpose_core.__version__,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in PACKAGES},
    }


def git_commit() -> str | None:
    """Commit of the code, with "-dirty" if files were changed; None outside a git checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return None
    return done.stdout.strip() or None


def package_version(package: str) -> str | None:
    """The version of an installed package; None without it."""
    loaded = getattr(sys.modules.get(package), "__version__", None)  # of torch, it also names the build: 2.14.1+cu130
    try:
        return str(loaded or importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return None
