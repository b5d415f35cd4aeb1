"""The folder of a run:

RUN/config.toml        the recipe with all values
RUN/environment.json   library versions, git commit, command line; one entry per start
RUN/log.jsonl          one line per step and event
RUN/checkpoints/       states to resume from
RUN/weights/           weights for inference, and their model card
RUN/adapters/          with LoRA: the same as small files, which need the base
RUN/pictures/          predictions on validation people
RUN/curve.png          loss and validation AP
RUN/tensorboard/
"""

from __future__ import annotations

import json
import logging
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sdpose_core.files import atomic_write
from sdpose_core.texts import read_json
from sdpose_training.environment import environment
from sdpose_training.recipe.toml_files import read_toml, to_toml
from sdpose_training.recipe.values import build, differences

log = logging.getLogger(__name__)

_FREE_TO_CHANGE = re.compile(r"hardware\.|log\.|checkpoints\.|hub\.|validation\.|data\.(more\.\d+\.)?root$|name$")


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run."""

    root: Path

    @property
    def states(self) -> Path:
        return self.root / "checkpoints"

    @property
    def weights(self) -> Path:
        return self.root / "weights"

    @property
    def adapters(self) -> Path:
        return self.root / "adapters"

    @property
    def pictures(self) -> Path:
        return self.root / "pictures"

    @property
    def log(self) -> Path:
        return self.root / "log.jsonl"

    def write_settings(self, recipe: Any) -> list[str]:
        """Write config.toml and environment.json; returns the keys of the recipe that changed since the last start."""
        path = self.root / "config.toml"
        changed = differences(build(type(recipe), read_toml(path)), recipe) if path.exists() else []
        for key in changed:
            level = logging.INFO if _FREE_TO_CHANGE.match(key) else logging.WARNING
            log.log(level, "%s: the recipe has a new value for %s", self.root, key)
        with atomic_write(path, "w") as file:
            file.write(to_toml(recipe))
        history = self.root / "environment.json"
        starts = _starts(history)
        with atomic_write(history, "w") as file:
            json.dump([*starts, environment()], file, indent=2)
        return changed


def _starts(history: Path) -> list[dict[str, Any]]:
    """Earlier starts of a run; `InputError` for a damaged file."""
    if not history.exists():
        return []
    starts = read_json(history, "a list of earlier starts (nothing else is in it): remove the file", list)
    return starts
