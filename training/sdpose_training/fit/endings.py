"""The ways in which a run ends early: a signal, too many damaged files, a loss that is no number."""

from __future__ import annotations

import json
import logging
import math
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from sdpose_core.errors import SDPoseError
from sdpose_core.files import atomic_path

log = logging.getLogger(__name__)


class NonFiniteLoss(SDPoseError):
    """The loss or the gradient is infinite or not a number; the batch is on disk."""


class StopSignal:
    """While its block runs, SIGTERM (a scheduler's notice) and the first Ctrl-C set `asked`; the second Ctrl-C ends."""

    def __init__(self) -> None:
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        self._before = {number: signal.signal(number, self._ask) for number in (signal.SIGTERM, signal.SIGINT)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _ask(self, number: int, _frame: Any) -> None:
        if self.asked and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.asked = True
        log.warning("signal %d: stopping after this step", number)


def check_finite(figures: Mapping[str, float], batches: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Raise `NonFiniteLoss` if a figure of a step is not finite, after writing its batches to `path` (safetensors)."""
    if all(math.isfinite(value) for value in figures.values()):
        return
    from safetensors.torch import save_file

    names = [name for name, value in batches[0].items() if isinstance(value, torch.Tensor)]
    tensors = {name: torch.cat([batch[name] for batch in batches]).contiguous() for name in names}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata={"figures": json.dumps(figures)})
    raise NonFiniteLoss(
        f"loss {figures['loss']}, gradient norm {figures['gradient_norm']}: stopped before the weights are spoilt. The "
        f"batch is in {path}: look at it, or lower the learning rate, and go on from the last checkpoint"
    )


def check_bad(bad: Sequence[str], max_bad: int) -> None:
    """Raise `SDPoseError` if there are more damaged files and annotations than a recipe allows."""
    if len(bad) > max_bad:
        raise SDPoseError(
            f"{len(bad)} damaged pictures or annotations, data.max_bad allows {max_bad}; the last: {bad[-1]}"
        )
