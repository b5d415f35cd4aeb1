"""All transfers between memory and a device; tests count them. On CUDA asynchronous, through pinned memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch


def upload(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """The array as a tensor on `device`, without waiting; on the CPU it may share the array's memory."""
    import torch

    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == "cuda" and torch.cuda.is_available():
        tensor = tensor.pin_memory()  # torch keeps this memory until the copy is done
    return tensor.to(device, non_blocking=True)


class Download:
    """A transfer from a device to memory. Only `array` waits for it."""

    def __init__(self, tensor: torch.Tensor) -> None:
        import torch

        self._tensor, self._arrived = tensor, None
        if tensor.device.type == "cuda" and torch.cuda.is_available():
            self._tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._tensor.copy_(tensor, non_blocking=True)
            self._arrived = torch.cuda.Event()
            self._arrived.record(torch.cuda.current_stream(tensor.device))
        elif tensor.device.type != "cpu":
            self._tensor = tensor.cpu()

    def array(self) -> np.ndarray:
        if self._arrived is not None:
            self._arrived.synchronize()
        return self._tensor.numpy()
