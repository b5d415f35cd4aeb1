"""Counted operations of the ways, and how near each comes to the machine's peak."""

from __future__ import annotations

import dataclasses
from typing import Any

from ..model.config import SDPoseConfig
from .measure import cost_key, stage_gflop
from .modes import Mode


def count_gflop(way: str, config: SDPoseConfig, mode: Mode | None = None, device_type: str = "cpu") -> dict[str, float]:
    """GFLOP of the network's stages for one person on a type of device, counted on shapes."""
    import torch

    from .ways import NETWORK_STAGES, build

    mode, meta = mode or Mode("fp32"), torch.device("meta")
    in_strips = device_type == "cpu" and mode.dtype in ("fp32", "bf16")
    mode = dataclasses.replace(mode, compile=False)
    w, h = config.input_size
    images = torch.empty(1, 3, h, w, device=meta)
    with torch.no_grad():
        return stage_gflop(build(way, config, meta, mode, in_strips=in_strips), images, NETWORK_STAGES)


def add_gflop(result: dict[str, Any], gflop: dict[str, float], peak: float, device_type: str) -> None:
    """Add counted operations and the share of the measured peak to a way's result."""
    cost = cost_key(device_type)
    for name, amount in gflop.items():
        stage = result["stages"][name]
        stage["gflop"] = amount
        stage["share_of_peak"] = amount / max(stage[cost], 1e-9) / peak
    result["gflop"] = sum(gflop.values())
    result["share_of_peak"] = result["gflop"] / result[cost] / peak
