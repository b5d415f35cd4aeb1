"""Stand-in for `comfy.model_patcher`: holds a model; like the real one it sets the model's `device`."""

from __future__ import annotations

from typing import Any


class CoreModelPatcher:
    def __init__(self, model: Any, load_device: Any, offload_device: Any) -> None:
        model.device = load_device
        self.model, self.load_device, self.offload_device = model, load_device, offload_device
