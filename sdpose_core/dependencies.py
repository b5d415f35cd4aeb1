"""Optional packages: imported where they are needed. If one is missing, the error says how to install it."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from .errors import MissingDependency

_EXTRA_OF = {
    "torch": "torch", "diffusers": "torch", "onnxruntime": "onnx", "onnxscript": "onnx-export",
    "transformers": "transformers", "controlnet_aux": "aux", "ray": "ray", "aiohttp": "review",
    "accelerate": "train", "anny": "train", "faster_coco_eval": "train", "jinja2": "train", "matplotlib": "train",
    "pydantic": "train", "sklearn": "train", "tabulate": "train", "tomli_w": "train",
}  # fmt: skip


def require(module: str, what_for: str) -> ModuleType:
    """Import `module`. Raises `MissingDependency`, which names the extra to install, or quotes the import error."""
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
    """Whether a package is installed. Does not import it."""
    return importlib.util.find_spec(module) is not None
