"""The folder of a run: its resolved recipe, and what it ran with.

RUN/config.toml        the recipe, every value
RUN/environment.json   library versions, git commit, command line; one entry per start
RUN/log.jsonl          one line per step and event
RUN/checkpoints/       states to go on from
RUN/weights/           weights for inference, and their model card
RUN/pictures/          predictions on validation people
RUN/curve.png          loss and validation AP
RUN/tensorboard/
"""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdpose_core.errors import InputError
from sdpose_core.files import atomic_write
from sdpose_training.environment import environment
from sdpose_training.recipe.recipe import Recipe, recipe_from
from sdpose_training.recipe.toml_files import read_toml, to_toml
from sdpose_training.recipe.values import differences

log = logging.getLogger(__name__)

_FREE_TO_CHANGE = ("hardware.", "log.", "checkpoints.", "validation.", "data.root", "name")


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run."""

    root: Path

    @property
    def states(self) -> Path:
        """To go on from."""
        return self.root / "checkpoints"

    @property
    def weights(self) -> Path:
        """For inference."""
        return self.root / "weights"

    @property
    def pictures(self) -> Path:
        """Predictions during the run."""
        return self.root / "pictures"

    @property
    def log(self) -> Path:
        """One line per step and event."""
        return self.root / "log.jsonl"

    def write_settings(self, recipe: Recipe) -> list[str]:
        """Write config.toml and environment.json; returns how the recipe differs from that of an earlier start."""
        path = self.root / "config.toml"
        changed = differences(recipe_from(read_toml(path)), recipe) if path.exists() else []
        for key in changed:
            level = logging.INFO if key.startswith(_FREE_TO_CHANGE) else logging.WARNING
            log.log(level, "the recipe now has another value for %s than when %s was begun", key, self.root)
        with atomic_write(path, "w") as file:
            file.write(to_toml(recipe))
        history = self.root / "environment.json"
        starts = _starts(history)
        with atomic_write(history, "w") as file:
            json.dump([*starts, environment()], file, indent=2)
        return changed


def _starts(history: Path) -> list[dict[str, Any]]:
    """Earlier starts of a run; raises `InputError` for a file that holds something else."""
    if not history.exists():
        return []
    try:
        starts = json.loads(history.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{history} is not valid JSON ({error}): remove it, it only tells of earlier starts") from None
    if not isinstance(starts, list):
        raise InputError(f"{history}: expected a list of starts, found {starts!r:.40}: remove it")
    return starts
