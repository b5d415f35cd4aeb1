"""Optional packages: imported where they are needed, and named with the way to install them when they are absent."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from .errors import MissingDependency

_EXTRA_OF = {
    "torch": "torch",
    "diffusers": "torch",
    "onnxruntime": "onnx",
    "onnxscript": "onnx-export",
    "transformers": "transformers",
    "controlnet_aux": "aux",
    "ray": "ray",
    "accelerate": "train",
    "faster_coco_eval": "train",
    "matplotlib": "train",
    "anny": "train",
    "sklearn": "train",
    "jinja2": "train",
    "tabulate": "train",
}


def require(module: str, what_for: str) -> ModuleType:
    """Import `module`, or raise `MissingDependency` that names the extra which brings it.

    A package that is installed but broken keeps its own error message, quoted in ours.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        package = module.partition(".")[0]
        extra = _EXTRA_OF.get(package)
        how = f'pip install "sdpose-annotator[{extra}]"' if extra else f"pip install {package}"
        found = "it is not installed" if not installed(package) else f"importing it failed: {error}"
        raise MissingDependency(
            f"{what_for} needs the package {package!r}, but {found}. Install it with: {how}"
        ) from error


def installed(module: str) -> bool:
    """Whether a package can be found, without importing it."""
    return importlib.util.find_spec(module) is not None
