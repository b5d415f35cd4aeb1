"""Removes old weights of a run: the best, the newest and those at regular steps stay."""

from __future__ import annotations

import logging
import re
from pathlib import Path

from safetensors import SafetensorError, safe_open

from sdpose_core.errors import reason_of
from sdpose_training.recipe.recipe import CheckpointRecipe

log = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{8})\.safetensors")


def remove_old_weights(folder: Path, step: int, recipe: CheckpointRecipe) -> None:
    """Remove weights of earlier steps than the newest `recipe.weights` up to `step`.

    Those at multiples of `recipe.weights_every` stay, and everything that this run did not write.
    """
    steps = sorted(each for each in _steps(folder) if each <= step)
    for old in steps[: -recipe.weights]:
        if not recipe.weights_every or old % recipe.weights_every:
            _remove(folder / f"step-{old:08d}.safetensors", old)


def _steps(folder: Path) -> list[int]:
    found = (_NAME.fullmatch(path.name) for path in folder.glob("step-*"))
    return [int(match[1]) for match in found if match]


def _remove(path: Path, step: int) -> None:
    """Remove weights; a link, and a file that is not of this step, stay with a warning."""
    try:
        if not path.is_symlink() and _training_step(path) == str(step):
            path.unlink()
        else:
            log.warning("%s is not of this run: it was not removed", path)
    except OSError as error:
        log.warning("%s was not removed: %s", path, reason_of(error))


def _training_step(path: Path) -> str | None:
    """The step that the header of weights names; None for another file."""
    try:
        with safe_open(path, framework="np") as file:
            return (file.metadata() or {}).get("training_step")
    except SafetensorError:
        return None
