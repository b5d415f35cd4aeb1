"""The same network with faster kernels on x86 processors.

PyTorch multiplies float32 matrices with MKL and convolves with oneDNN. On an AMD EPYC (Zen 5) MKL gets half of what
oneDNN gets from the same cores. So large linear layers go through oneDNN, as convolutions of 1 x 1 pixels; weights and
tensors are laid out channels-last, which oneDNN needs for that and likes for the rest. Results differ in rounding only.

Measured and left out: attention as oneDNN products in chunks (on a busy machine slower than PyTorch's fused attention),
weights packed beforehand (faster for the smallest convolutions only, and then the model has no state dict), huge pages
(no difference).
"""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import nn

MIN_ROWS = 64
"""Of a product that goes through oneDNN. The two tokens of the text stay with MKL."""

Module = TypeVar("Module", bound=nn.Module)


def optimize_for_cpu(model: Module) -> Module:
    """Faster layers in place, for a frozen float32 model on an x86 CPU; any other model is left as it is.

    The names and values of the state dict stay. Returns `model`.
    """
    weight = next(model.parameters())
    if weight.device.type == "cpu" and weight.dtype == torch.float32 and not weight.requires_grad and has_fast_onednn():
        model.to(memory_format=torch.channels_last)
        for module in model.modules():
            if type(module) is nn.Linear:
                module.__class__ = OneDNNLinear
    return model


def has_fast_onednn() -> bool:
    """Whether this PyTorch has both libraries: so on x86; elsewhere the products are left to PyTorch's choice."""
    return torch.backends.mkl.is_available() and torch.backends.mkldnn.is_available()


class OneDNNLinear(nn.Linear):
    """`torch.nn.Linear`, computed by oneDNN where that is worth it; has no state of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(..., in_features) -> (..., out_features)."""
        rows = x.numel() // self.in_features
        if rows < MIN_ROWS or x.device.type != "cpu" or x.dtype != torch.float32:
            return super().forward(x)
        pixels = x.reshape(1, rows, 1, self.in_features).permute(0, 3, 1, 2)
        filters = self.weight.view(self.out_features, 1, 1, self.in_features).permute(0, 3, 1, 2)
        return F.conv2d(pixels, filters, self.bias).permute(0, 2, 3, 1).reshape(*x.shape[:-1], self.out_features)
