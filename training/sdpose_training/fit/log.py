"""The logs of a run: log.jsonl, and optionally TensorBoard and Weights & Biases."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import IO, Any

import numpy as np

from sdpose_core.errors import MissingDependency
from sdpose_core.files import atomic_write
from sdpose_core.texts import read_json_lines
from sdpose_training.fit.folder import RunFolder
from sdpose_training.recipe.recipe import LogRecipe
from sdpose_training.recipe.toml_files import to_toml

log = logging.getLogger(__name__)


class RunLog:
    """Writes lines {"kind": "step", "step": ..., ...} and sends the same figures to the trackers; main process only."""

    def __init__(self, folder: RunFolder, recipe: Any, step: int) -> None:
        """Continue after `step`: lines of later steps, left by an interrupted run, are dropped."""
        if folder.log.exists():
            _drop_after(folder.log, step)
        folder.log.parent.mkdir(parents=True, exist_ok=True)
        self._file: IO[str] = open(folder.log, "a", encoding="utf-8")
        self._tensorboard = _tensorboard(folder.root, recipe.log, step)
        self._wandb = _wandb(folder.root, recipe)

    def write(self, kind: str, step: int, **values: Any) -> None:
        """Write one line and flush it; numbers go to the trackers as "kind/name"."""
        self._file.write(json.dumps({"kind": kind, "step": step, **values}) + "\n")
        self._file.flush()
        numbers = {f"{kind}/{name}": v for name, v in values.items() if isinstance(v, (int, float))}
        if self._tensorboard:
            for name, value in numbers.items():
                self._tensorboard.add_scalar(name, value, step)
        if self._wandb and numbers:
            self._wandb.log(numbers, step=step)

    def picture(self, name: str, step: int, image: np.ndarray) -> None:
        """Send an RGB uint8 picture (H, W, 3) to the trackers."""
        if self._tensorboard:
            self._tensorboard.add_image(name, image, step, dataformats="HWC")
        if self._wandb:
            import wandb

            self._wandb.log({name: wandb.Image(image)}, step=step)

    def close(self) -> None:
        """Close the file and the trackers."""
        self._file.close()
        if self._tensorboard:
            self._tensorboard.close()
        if self._wandb:
            self._wandb.finish()


def read_log(path: Path, kind: str | None = None) -> list[dict[str, Any]]:
    """The lines of a log.jsonl, optionally of one kind; damaged ones are left out with a warning."""
    return [line for _, line in read_json_lines(path) if kind in (None, line.get("kind"))]


def _drop_after(path: Path, step: int) -> None:
    kept = [line for _, line in read_json_lines(path) if isinstance(line.get("step"), int) and line["step"] <= step]
    with atomic_write(path, "w") as file:
        file.writelines(f"{json.dumps(line)}\n" for line in kept)


def _tensorboard(root: Path, recipe: LogRecipe, step: int) -> Any:
    if not recipe.tensorboard:
        return None
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        log.warning("TensorBoard is not installed: only log.jsonl is written (pip install tensorboard)")
        return None
    return SummaryWriter(str(root / "tensorboard"), purge_step=step + 1)


def _wandb(root: Path, recipe: Any) -> Any:
    if not recipe.log.wandb:
        return None
    try:
        import wandb
    except ImportError as error:
        raise MissingDependency("log.wandb needs the package 'wandb': pip install wandb") from error
    settings = {"toml": to_toml(recipe)}
    return wandb.init(project="sdpose", name=recipe.name, dir=str(root), id=root.name, resume="allow", config=settings)
