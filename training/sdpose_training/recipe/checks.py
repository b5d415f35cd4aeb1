"""Values of a recipe that are of the right kind and make no sense: told before a run begins, not hours into it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from sdpose_core.errors import InputError

if TYPE_CHECKING:
    from sdpose_training.recipe.recipe import Recipe

DTYPE_NAMES = ("fp32", "bf16", "fp16")

Test = Callable[[Any], bool]


def _share(value: float) -> bool:
    return 0 <= value <= 1


def _positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _not_negative(value: float) -> bool:
    return math.isfinite(value) and value >= 0


def _one_of_dtypes(value: str) -> bool:
    return value in DTYPE_NAMES


def _rising_shares(values: tuple[float, float]) -> bool:
    return 0 <= values[0] <= values[1] <= 1


def _size(values: tuple[int, int]) -> bool:
    return all(side >= 64 and side % 64 == 0 for side in values)


_CHECKS: dict[str, tuple[Test, str]] = {
    "seed": (lambda seed: 0 <= seed < 1 << 63, "0 or more, in 64 bits"),
    "model.timestep": (lambda step: 0 <= step < 1000, "0 to 999"),
    "data.min_visible": (_not_negative, "0 or more"),
    "data.max_bad": (_not_negative, "0 or more"),
    "augmentation.flip": (_share, "a probability, 0 to 1"),
    "augmentation.half_body": (_share, "a probability, 0 to 1"),
    "augmentation.shift": (_share, "a probability, 0 to 1"),
    "augmentation.scale": (_share, "a probability, 0 to 1"),
    "augmentation.rotation": (_share, "a probability, 0 to 1"),
    "augmentation.blur": (_share, "a probability, 0 to 1"),
    "augmentation.median_blur": (_share, "a probability, 0 to 1"),
    "augmentation.dropout": (_share, "a probability, 0 to 1"),
    "augmentation.dropout_range": (_rising_shares, "two shares of the crop, the smaller one first"),
    "augmentation.scale_range": (lambda two: 0 < two[0] <= two[1], "two factors above 0, the smaller one first"),
    "loss.heatmap": (_not_negative, "a weight of 0 or more"),
    "loss.rgb": (_not_negative, "a weight of 0 or more"),
    "optimizer.betas": (lambda two: all(0 <= beta < 1 for beta in two), "two numbers from 0 to below 1"),
    "optimizer.weight_decay": (_not_negative, "0 or more"),
    "optimizer.warmup_steps": (_not_negative, "0 or more"),
    "optimizer.max_grad_norm": (_not_negative, "0 (off) or more"),
    "optimizer.ema_decay": (lambda decay: 0 <= decay < 1, "0 (off) to below 1"),
    "hardware.batch_per_device": (_positive, "1 or more"),
    "hardware.vae_dtype": (_one_of_dtypes, f"one of {', '.join(DTYPE_NAMES)}"),
    "hardware.workers": (_not_negative, "0 or more"),
    "hardware.threads": (_not_negative, "0 (as PyTorch chooses) or more"),
    "log.every": (_positive, "1 or more"),
    "validation.batch": (_positive, "1 or more"),
    "checkpoints.every": (_not_negative, "0 (only at the end) or more"),
    "checkpoints.keep": (_positive, "1 or more"),
    "checkpoints.weights_dtype": (_one_of_dtypes, f"one of {', '.join(DTYPE_NAMES)}"),
}
_STAGE_CHECKS: dict[str, tuple[Test, str]] = {
    "input_size": (_size, "a width and height that are multiples of 64"),
    "heatmap_sigma": (_positive, "above 0"),
    "learning_rate": (_positive, "a number above 0"),
    "total_batch": (_positive, "1 or more"),
}


def check_recipe(recipe: Recipe) -> None:
    """Raise `InputError` for the first value that cannot be meant."""
    for key, (test, expected) in _CHECKS.items():
        value: Any = recipe
        for name in key.split("."):
            value = getattr(value, name)
        _check(key, value, test, expected)
    for number, stage in enumerate(recipe.stages):
        for name, (test, expected) in _STAGE_CHECKS.items():
            _check(f"stages.{number}.{name}", getattr(stage, name), test, expected)


def _check(key: str, value: Any, test: Test, expected: str) -> None:
    if not test(value):
        raise InputError(f"{key}: expected {expected}, found {value!r}")
