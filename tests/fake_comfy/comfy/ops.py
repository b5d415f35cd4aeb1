"""Stand-in for `comfy.ops`: the layers' classes, which here never fetch their weights from elsewhere."""

from __future__ import annotations

import torch


class disable_weight_init:
    """Layers that ComfyUI may keep offloaded."""

    class Linear(torch.nn.Linear):
        comfy_cast_weights = False

    class Conv2d(torch.nn.Conv2d):
        comfy_cast_weights = False

    class ConvTranspose2d(torch.nn.ConvTranspose2d):
        comfy_cast_weights = False

    class GroupNorm(torch.nn.GroupNorm):
        comfy_cast_weights = False

    class LayerNorm(torch.nn.LayerNorm):
        comfy_cast_weights = False
