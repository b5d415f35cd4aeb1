"""What is in a file or folder of weights, without loading a model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from ..dependencies import require
from ..errors import CheckpointError, counted
from ..tensor_files import PICKLES, Tensors, all_finite, some, starts_as_safetensors
from .reading import damage_named, opened

NOT_CHECKED = "names and shapes only; --check reads all values"


def are_weights(path: Path) -> bool:
    """Whether this looks like weights, by suffix or content: a safetensors file, a pickle, or a folder in diffusers'
    layout."""
    if path.is_dir():
        return all((path / part).is_dir() for part in ("unet", "decoder"))
    return path.suffix.lower() in (".safetensors", *PICKLES) or starts_as_safetensors(path)


def describe_weights(path: Path, *, check: bool = False) -> dict[str, Any]:
    """Configuration and tensors of SDPose weights as JSON-able values, from the headers.

    With `check`, all values are read: "all_zero" names the matrices and kernels that are zero, which training never
    leaves (but a download with holes).

    Raises `CheckpointError` for other files, pickles too, and with `check` for values that are not finite.
    """
    require("torch", "reading weights")
    with opened(path) as found:
        config, tensors = found.config(), found.tensors
        about = {
            "kind": "weights of SDPose", "layout": found.info.layout, "keypoint_set": config.keypoint_set,
            "points": config.num_keypoints, "feature_levels": list(config.feature_levels),
            "size": list(config.input_size), "tensors": len(tensors.shapes),
            "numbers": sum(math.prod(shape) for shape in tensors.shapes.values()),
        }  # fmt: skip
        with damage_named(path):
            zeros = _zeros(path, tensors) if check else {}
        return {**about, "checked": "all values are finite" if check else NOT_CHECKED, **zeros}


def _zeros(path: Path, tensors: Tensors) -> dict[str, list[str]]:
    """Reads one tensor at a time. Raises `CheckpointError` if some are not finite."""
    damaged, zero = [], []
    for name, shape in tensors.shapes.items():
        values = tensors.read(name)
        if not all_finite(values):
            damaged.append(name)
        elif len(shape) > 1 and not values.any():
            zero.append(name)
    if damaged:
        what = f"NaN or infinity in {counted(len(damaged), 'tensor')} ({some(damaged)})"
        raise CheckpointError(f"{path}: {what}: the weights are damaged, get them again")
    return {"all_zero": zero}
