"""Optimizers: AdamW, and others that keep less beside each weight."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import torch

from sdpose_core.dependencies import require
from sdpose_core.errors import InputError
from sdpose_training.recipe.recipe import OptimizerRecipe, Recipe

_KIND = "kind"
"""Entry of an optimizer's parameter groups that is saved with its state."""

RATE_FACTOR = "rate_factor"
"""Key of the optimizer's groups: multiple of the stage's learning rate."""


def parameter_groups(model: torch.nn.Module, new: Collection[str], recipe: OptimizerRecipe) -> list[dict[str, Any]]:
    """The trained parameters as the optimizer's groups; those in `new` have a learning rate of their own.

    Without a factor, there is one group, as in states of earlier versions.
    """
    factors = {name: recipe.new_learning_rate_factor if name in new else 1.0 for name, _ in model.named_parameters()}
    trained = [(factors[name], parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    return [
        {"params": [parameter for factor, parameter in trained if factor == each], RATE_FACTOR: each}
        for each in dict.fromkeys(factor for factor, _ in trained)
    ]


def make_optimizer(
    parameters: Sequence[torch.nn.Parameter] | Sequence[dict[str, Any]], recipe: OptimizerRecipe, rate: float
) -> Any:
    """The optimizer of a recipe, of parameters or of groups of them.

    Raises `MissingDependency` without bitsandbytes, and `InputError` for bfloat16 weights that would not be trained.
    """
    weights = [weight for each in parameters for weight in (each["params"] if isinstance(each, dict) else [each])]
    rounded = any(weight.dtype == torch.bfloat16 for weight in weights)
    optimizer = _optimizer(parameters, recipe, rate, rounded)
    for group in optimizer.param_groups:
        group[_KIND] = _kind(recipe, rounded)
    return optimizer


def check_kind(optimizer: Any, recipe: Recipe) -> None:
    """Raise `InputError` if a state of another kind of optimizer was loaded."""
    expected = _kind(recipe.optimizer, recipe.hardware.weights_dtype == "bf16" and not recipe.lora.rank)
    for group in optimizer.param_groups:
        if (found := group.get(_KIND, expected)) != expected:
            advice = "undo the changes to optimizer.kind and hardware.weights_dtype, or choose another --out"
            raise InputError(f"cannot resume: the state is of the optimizer {found!r}, not {expected!r}: {advice}")


def _kind(recipe: OptimizerRecipe, rounded: bool) -> str:
    return f"{recipe.kind}, rounded by chance" if rounded else recipe.kind


def _optimizer(parameters: Sequence[Any], recipe: OptimizerRecipe, rate: float, rounded: bool) -> Any:
    decay = recipe.weight_decay
    if rounded:
        if recipe.kind != "adamw":
            found = f"optimizer.kind {recipe.kind!r} with hardware.weights_dtype 'bf16'"
            raise InputError(f"{found}: its small steps would be rounded away: use 'adamw', or weights_dtype 'fp32'")
        return RoundedAdamW(parameters, rate, recipe.betas, decay)
    if recipe.kind == "adamw_8bit":
        bitsandbytes = require("bitsandbytes", "optimizer.kind 'adamw_8bit'")
        return bitsandbytes.optim.AdamW8bit(parameters, lr=rate, betas=recipe.betas, weight_decay=decay)
    if recipe.kind == "adafactor":
        return torch.optim.Adafactor(parameters, lr=rate, weight_decay=decay)
    # the fused version takes a tenth of the time for many small tensors
    return torch.optim.AdamW(parameters, lr=rate, betas=recipe.betas, weight_decay=decay, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    """Set the rate of each group, times the group's factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get(RATE_FACTOR, 1.0)


def state_bytes(recipe: OptimizerRecipe, parameter: torch.Tensor) -> int:
    """Bytes that the optimizer of a recipe keeps for a trained parameter, but for single numbers.

    AdamW keeps two averages in the parameter's dtype; with 8 bits, a scale per 256 numbers of each, and small tensors
    as without. Adafactor keeps rows and columns of a matrix, and the whole of a vector.
    """
    count = parameter.numel()
    if recipe.kind == "adamw_8bit" and count >= _SMALLEST_OF_8_BITS:
        return 2 * (count + 4 * math.ceil(count / 256))
    if recipe.kind == "adafactor":
        *outer, rows, columns = (1, *parameter.shape)
        factored = parameter.ndim > 1
        return parameter.element_size() * (math.prod(outer) * (rows + columns) if factored else count)
    return 2 * count * parameter.element_size()


_SMALLEST_OF_8_BITS = 4096
"""bitsandbytes keeps smaller tensors in float32."""


class RoundedAdamW(torch.optim.Optimizer):
    """AdamW for bfloat16 weights: computes in float32, and rounds weights and averages up or down by chance.

    Rounding to the nearest would lose each step below 1/512 of its weight, which are most at a learning rate of 3e-5.
    With rounding by chance, steps are right on average. The chance depends only on the number of steps: all processes
    round alike, and a resumed run as before.
    """

    def __init__(self, parameters: Iterable[Any], lr: float, betas: tuple[float, float], weight_decay: float) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": 1e-8, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            group["steps"] = group.get("steps", 0) + 1
            chance: dict[torch.device, torch.Generator] = {}
            for weight in group["params"]:
                if weight.grad is not None:
                    if weight.device not in chance:
                        chance[weight.device] = torch.Generator(weight.device).manual_seed(group["steps"])
                    self._step(weight, group, chance[weight.device])

    def _step(self, weight: torch.nn.Parameter, group: dict[str, Any], chance: torch.Generator) -> None:
        state = self.state[weight]
        if not state:
            state.update(mean=torch.zeros_like(weight), square=torch.zeros_like(weight))
        first, second = group["betas"]
        gradient = weight.grad.float()
        mean = state["mean"].float().lerp_(gradient, 1 - first)
        square = state["square"].float().lerp_(gradient.square(), 1 - second)
        root = square.sqrt().div_(math.sqrt(1 - second ** group["steps"])).add_(group["eps"])
        new = weight.float().mul_(1 - group["lr"] * group["weight_decay"])
        new.addcdiv_(mean, root, value=-group["lr"] / (1 - first ** group["steps"]))
        for target, value in ((state["mean"], mean), (state["square"], square), (weight, new)):
            target.copy_(rounded_by_chance(value, chance))


def rounded_by_chance(values: torch.Tensor, chance: torch.Generator) -> torch.Tensor:
    """float32 values, overwritten -> one of the two nearest bfloat16 numbers, so that the mean is the value.

    A bfloat16 number is the upper half of a float32 number's bits: what is added to the lower half carries over with
    the right probability.
    """
    bits = values.view(torch.int32)
    bits += torch.randint(1 << 16, bits.shape, dtype=torch.int32, device=bits.device, generator=chance)
    return bits.bitwise_and_(-1 << 16).view(torch.float32).to(torch.bfloat16)
