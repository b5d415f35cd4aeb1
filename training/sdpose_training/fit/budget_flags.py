"""Finds changes of a recipe with which it fits a machine, as arguments of train.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict

from sdpose_core.model.config import FEATURES
from sdpose_training.recipe.recipe import SCRATCH, Recipe, recipe_from
from sdpose_training.recipe.values import with_overrides

Flags = tuple[str, ...]
"""("--key", "value", ...)"""

MAX_CHOICES = 4
"""Ways that are named."""

MIN_SIDE = 256
"""Pixels of the shorter side of a proposed input; less shows too little of a person."""


def changed(recipe: Recipe, flags: Sequence[str]) -> Recipe:
    """The recipe with arguments "--key", "value", ... applied."""
    values = json.loads(json.dumps(asdict(recipe)))  # lists, as in a TOML file
    return recipe_from(with_overrides(values, flags, Recipe))


def fitting_flags(recipe: Recipe, ladder: Sequence[Flags], fits: Callable[[Recipe], bool]) -> list[Flags]:
    """Changes with which a recipe fits, at most `MAX_CHOICES`.

    Single rungs of the ladder that suffice, the first of each key, or else the shortest beginning of it that does,
    without the rungs that it does not need; [] if all of them together do not suffice. Values that the recipe has
    already are left out.
    """
    alone: dict[str, Flags] = {}
    for flags in ladder:
        if len(alone) < MAX_CHOICES and flags[0] not in alone and fits(changed(recipe, flags)):
            alone[flags[0]] = flags
    return [_new_values(recipe, flags) for flags in alone.values() or _together(recipe, ladder, fits)]


def _new_values(recipe: Recipe, flags: Flags) -> Flags:
    pairs = zip(flags[::2], flags[1::2], strict=True)
    return tuple(word for pair in pairs if changed(recipe, pair) != recipe for word in pair)


def _together(recipe: Recipe, ladder: Sequence[Flags], fits: Callable[[Recipe], bool]) -> list[Flags]:
    for length in range(2, len(ladder) + 1):
        rungs = list(ladder[:length])
        if fits(changed(recipe, _joined(rungs))):
            for rung in list(rungs):
                fewer = [other for other in rungs if other is not rung]
                if fits(changed(recipe, _joined(fewer))):
                    rungs = fewer
            return [_joined(rungs)]
    return []


def _joined(rungs: Sequence[Flags]) -> Flags:
    """The arguments of all rungs; of those with the same key, the last counts."""
    values = {key: value for rung in rungs for key, value in zip(rung[::2], rung[1::2], strict=True)}
    return tuple(word for pair in values.items() for word in pair)


def memory_ladder(recipe: Recipe, device: str) -> list[Flags]:
    """Changes that save memory of the device; those that cost the least quality come first."""
    hardware, optimizer = recipe.hardware, recipe.optimizer
    rungs: list[Flags] = []
    if not hardware.gradient_checkpointing:
        rungs.append(("--hardware.gradient-checkpointing", "on"))
    if hardware.mixed_precision == "no" and device == "cuda":
        rungs.append(("--hardware.mixed-precision", "bf16"))
    rungs += [("--hardware.batch-per-device", str(batch)) for batch in _halves(hardware.batch_per_device)]
    if recipe.validation.people:
        rungs += [("--validation.batch", str(batch)) for batch in _halves(recipe.validation.batch)]
    if optimizer.ema_decay:
        rungs.append(("--optimizer.ema-decay", "0"))
    return [*rungs, *_lighter_training(recipe), *_smaller_inputs(recipe)]


def _lighter_training(recipe: Recipe) -> Iterator[Flags]:
    """Other optimizers, half of the weights, LoRA: changes of how, and of what is trained."""
    hardware, has_lora = recipe.hardware, recipe.lora.rank > 0
    if recipe.optimizer.kind == "adamw" and hardware.weights_dtype == "fp32":
        if not has_lora:
            yield ("--optimizer.kind", "adamw_8bit")
        if hardware.mixed_precision == "bf16":  # trained weights of bf16 exclude 8 bits and an average
            yield _BF16_WEIGHTS[:2] if has_lora else _BF16_WEIGHTS
    adapts = recipe.model.read_out == FEATURES
    if adapts and not has_lora and recipe.model.base != SCRATCH and not recipe.model.random_unet:
        yield ("--lora.rank", "16", *_rates_of_lora(recipe))


_BF16_WEIGHTS = ("--hardware.weights-dtype", "bf16", "--optimizer.kind", "adamw", "--optimizer.ema-decay", "0")


def _rates_of_lora(recipe: Recipe) -> Iterator[str]:
    """Ten times the learning rates of a full training; those of new weights are high enough then."""
    for number, stage in enumerate(recipe.stages):
        yield from (f"--stages.{number}.learning-rate", f"{10 * stage.learning_rate:g}")
    yield from ("--optimizer.new-learning-rate-factor", "1")


def _halves(number: int) -> Iterator[int]:
    while number > 1:
        number //= 2
        yield number


def _smaller_inputs(recipe: Recipe) -> Iterator[Flags]:
    """All stages at three quarters and at half of their size, in multiples of 64."""
    for share in (0.75, 0.5):
        flags: list[str] = []
        for number, stage in enumerate(recipe.stages):
            w, h = (int(side * share) // 64 * 64 for side in stage.input_size)
            if min(w, h) >= MIN_SIDE:
                flags += [f"--stages.{number}.input-size", f"{w},{h}"]
        if flags:
            yield tuple(flags)


def shared_memory_ladder(recipe: Recipe) -> list[Flags]:
    """Fewer loader processes; without any, nothing is shared."""
    return [("--hardware.workers", str(number)) for number in (*_halves(recipe.hardware.workers), 0)]


def disk_ladder(recipe: Recipe) -> list[Flags]:
    """Fewer files of a run."""
    checkpoints = recipe.checkpoints
    rungs: list[Flags] = []
    if checkpoints.weights_every:
        rungs.append(("--checkpoints.weights-every", "0"))
    if checkpoints.weights > 1:
        rungs.append(("--checkpoints.weights", "1"))
    if checkpoints.keep > 1:
        rungs.append(("--checkpoints.keep", "1"))
    if checkpoints.weights_dtype == "fp32":
        rungs.append(("--checkpoints.weights-dtype", "fp16"))
    if recipe.log.pictures_every:
        rungs.append(("--log.pictures-every", "0"))
    return rungs
