"""Values of other packs, which may be tensors of any number type on any device, as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np


def is_tensor(value: Any) -> bool:
    """Whether it is a torch tensor; torch is not imported for this."""
    return hasattr(value, "detach") and hasattr(value, "is_floating_point")


def as_array(value: Any) -> np.ndarray:
    """A tensor, array, list or number as an array; floating-point tensors become float32, as numpy has no bfloat16."""
    if not is_tensor(value):
        return np.asarray(value)
    tensor = value.detach().cpu()
    return (tensor.float() if tensor.is_floating_point() else tensor).numpy()


def without_tensors(value: Any) -> Any:
    """Lists with all tensors in them as plain numbers; named tuples, such as segments, stay as they are."""
    if is_tensor(value) or isinstance(value, np.ndarray):
        return as_array(value).tolist()
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(without_tensors(part) for part in value)
    return value
