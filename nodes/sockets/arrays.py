"""Values of other packs, which may be tensors of any number type on any device, as arrays."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...sdpose_core.images import as_array, is_tensor


def without_tensors(value: Any) -> Any:
    """Lists with all tensors in them as plain numbers; named tuples, such as segments, stay as they are."""
    if is_tensor(value) or isinstance(value, np.ndarray):
        return as_array(value).tolist()
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(without_tensors(part) for part in value)
    return value
